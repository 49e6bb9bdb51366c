//! Too much of everything.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coterie::cluster::LogEvent;

use super::common::Watched;
use super::common::wait_until;
use super::shared::{
    GROWTH_MAX, assert_bounded, assert_finds_a_death, assert_nobody_panicked, assert_serves, counter, native,
    resident, residents, wait_for_links,
};
use super::sockets::{connect, ping, read_message, said, wait_for_close};

#[test]
fn who_asks_without_reading_is_cut_off() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let seed = cluster.socket(0);
    let before = counter(seed, "connections_cut_off");
    let floods: Vec<JoinHandle<()>> = [0, cluster.peers()[0]]
        .map(|node| {
            let address = cluster.socket(node);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream
                    .set_write_timeout(Some(Duration::from_millis(100)))
                    .expect("an option of every socket");
                let many: Vec<u8> = said(&ping()).repeat(500);
                let mut left = &many[..];
                // Whole frames only, so that nothing but the missing reader is wrong.
                wait_until(&format!("node {node} to close the connection"), || match stream.write(left) {
                    Ok(count) => {
                        left = if count == left.len() { &many[..] } else { &left[count..] };
                        false
                    }
                    Err(error) => {
                        !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
                    }
                });
            })
        })
        .into();
    wait_until("the seed to count it", || counter(seed, "connections_cut_off") > before);
    let _newcomer = assert_serves(&mut cluster, "others do read");
    let ends: Vec<bool> = floods.into_iter().map(|flood| flood.join().is_ok()).collect();
    assert_eq!(ends, [true, true], "closed by the seed, by the peer");
    assert_nobody_panicked(&mut cluster);
}

#[test]
fn a_flood_of_questions_keeps_nobody_else_waiting() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let over = Arc::new(AtomicBool::new(false));
    let floods: Vec<JoinHandle<u64>> = [0, 0, cluster.peers()[0], cluster.peers()[0]]
        .map(|node| {
            let (address, over) = (cluster.socket(node), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut stream = connect(address);
                let many: Vec<u8> = said(&ping()).repeat(200);
                let mut answers = 0;
                while !over.load(Ordering::SeqCst) {
                    stream.write_all(&many).expect("it is read");
                    for _ in 0..200 {
                        assert_eq!(read_message(&stream).expect("it answers")["type"], "PONG");
                        answers += 1;
                    }
                }
                answers
            })
        })
        .into();
    let _newcomer = assert_serves(&mut cluster, "in the flood");
    assert_finds_a_death(&mut cluster);
    over.store(true, Ordering::SeqCst);
    for flood in floods {
        assert!(flood.join().expect("it was answered to the end") > 0);
    }
    let wrongly: Vec<&LogEvent> = {
        let victim = cluster.address(5).to_string();
        cluster.look();
        let dead = cluster.seen.iter().map(|(_, e)| e).filter(|e| e.event == "DEAD_CONFIRMED");
        dead.filter(|e| e.get("dead") != victim).collect()
    };
    assert_eq!(wrongly, Vec::<&LogEvent>::new(), "nobody died of it");
    assert_bounded(&cluster, &memory[..5]);
}

#[test]
fn half_frames_of_many_connections_are_held_once() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    const CONNECTIONS: u64 = 32;
    const BYTES: u64 = (2 << 20) - 1;
    let targets = [0, cluster.peers()[0]];
    let before = targets.map(|node| resident(&cluster, node));
    let mut open = Vec::new();
    for node in targets {
        for _ in 0..CONNECTIONS {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(&0x0020_0000_u32.to_be_bytes()).expect("it is read");
            stream.write_all(&vec![b' '; usize::try_from(BYTES).expect("it fits")]).expect("it is read");
            open.push(stream);
        }
    }
    let _newcomer = assert_serves(&mut cluster, "with little memory");
    for (node, before) in targets.iter().zip(before) {
        // A buffer that doubles may be twice as long as what is in it.
        let most = before + 2 * CONNECTIONS * BYTES / 1024 + GROWTH_MAX;
        assert!(
            resident(&cluster, *node) <= most,
            "node {node}: {} KiB, {before} before",
            resident(&cluster, *node)
        );
    }
    for stream in &open {
        wait_for_close("a frame of which one byte is missing", stream);
    }
}
