//! Frames and connections that do not end.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use coterie::cluster::LogEvent;
use coterie_common::limits::{CONNECTIONS_MAX, GUESTS_MAX};

use super::common::Watched;
use super::common::wait_until;
use super::one_host::{connect_from, is_open};
use super::shared::{
    assert_bounded, assert_finds_a_death, assert_serves, counter, descriptors, native, peer_counter,
    residents, stderr_of, wait_for_links,
};
use super::sockets::{connect, ping, read_message, said, wait_for_close};

#[test]
fn frames_that_never_end_are_given_up_and_everybody_else_is_served_meanwhile() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let broken = counter(cluster.socket(0), "connections_broken_off");
    let lines = stderr_of(&cluster, 0).lines().count();
    let mut open = Vec::new();
    for node in [0, cluster.peers()[0]] {
        let half = [&0x0010_0000_u32.to_be_bytes()[..], &[b'{'; 100_000]].concat();
        let second = [&said(&ping())[..], &[0, 0, 1]].concat();
        for (what, bytes) in [
            ("one byte", vec![0]),
            ("a length", vec![0, 0, 1, 0]),
            ("half a frame", half),
            ("half a second one", second),
        ] {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(&bytes).expect("it is read");
            open.push((format!("{what} at node {node}"), stream));
        }
    }
    let _newcomer = assert_serves(&mut cluster, "while frames do not end");
    assert_finds_a_death(&mut cluster);
    for (what, stream) in &open {
        wait_for_close(what, stream);
    }
    let given_up = counter(cluster.socket(0), "connections_broken_off") - broken;
    assert_eq!(given_up, 4, "each is counted");
    let said = stderr_of(&cluster, 0).lines().count() - lines;
    assert!(said <= 4, "at most a line for each: {}", stderr_of(&cluster, 0));
    let survivors: Vec<u64> = memory[..5].to_vec();
    assert_bounded(&cluster, &survivors);
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
}

/// `FRAME_TIME_MAX` is the time "from the first to the last byte of one frame", not between two bytes of it.
#[test]
fn a_frame_that_drips_in_for_ever_is_given_up_too() {
    let cluster = native(1, 1);
    let drips: Vec<JoinHandle<()>> = [0, 1]
        .map(|node| {
            let address = cluster.socket(node);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream.write_all(&0x0010_0000_u32.to_be_bytes()).expect("it is read");
                // A write fails some time after the other end has closed.
                wait_until(&format!("the end of a dripping frame at node {node}"), || {
                    std::thread::park_timeout(Duration::from_millis(200));
                    stream.write_all(b"{").is_err()
                });
            })
        })
        .into();
    let ends: Vec<bool> = drips.into_iter().map(|drip| drip.join().is_ok()).collect();
    assert_eq!(ends, [true, true], "given up at the seed, at the peer");
}

#[test]
fn a_thousand_connections_held_open_keep_nobody_out() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let targets = [0, cluster.peers()[0]];
    let before: Vec<usize> = targets.iter().map(|node| descriptors(&cluster, *node)).collect();
    let lines: Vec<usize> = targets.iter().map(|node| stderr_of(&cluster, *node).lines().count()).collect();
    let broken = counter(cluster.socket(0), "connections_broken_off");
    // Looked at before the others are opened: on a busy machine the first may be closed again by then, for they are
    // silent.
    let held_open = |(node, before): (&usize, &usize)| {
        let streams: Vec<TcpStream> = (0..1_000).map(|_| connect(cluster.socket(*node))).collect();
        wait_until("a thousand accepted connections", || descriptors(&cluster, *node) >= before + 1_000);
        streams
    };
    let open: Vec<Vec<TcpStream>> = targets.iter().zip(&before).map(held_open).collect();
    let _newcomer = assert_serves(&mut cluster, "room for everybody");
    assert_finds_a_death(&mut cluster);
    assert_bounded(&cluster, &memory[..5]);
    // They are not kept for ever, either.
    for (node, streams) in targets.iter().zip(&open) {
        streams.iter().for_each(|stream| wait_for_close(&format!("silence at node {node}"), stream));
    }
    assert_eq!(counter(cluster.socket(0), "connections_broken_off") - broken, 1_000, "each is counted");
    for ((node, before), lines) in targets.iter().zip(&before).zip(&lines) {
        wait_until("the descriptors to be given back", || descriptors(&cluster, *node) <= before + 20);
        let said = stderr_of(&cluster, *node).lines().count() - lines;
        assert!(said <= 10, "rate-limited: {said} lines at node {node}");
    }
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_live_on() {
    let mut cluster = native(3, 2);
    wait_for_links(&mut cluster);
    for node in [0, cluster.peers()[0]] {
        let before = descriptors(&cluster, node);
        let held: Vec<TcpStream> = (0..CONNECTIONS_MAX)
            .map(|number| {
                // Of several hosts: one alone would have too many sooner.
                let mut stream = connect_from([127, 79, 0, (number % 3) as u8], cluster.socket(node));
                stream.write_all(&said(&ping())).expect("somebody who asks may stay");
                stream
            })
            .collect();
        // Those that the node had count too, so the last few of ours are turned away.
        wait_until("all connections to be used", || {
            descriptors(&cluster, node) >= before + CONNECTIONS_MAX - 20
        });
        // One more is answered, for a node that is busy is no dead one; until so many others have come.
        let ask = |_| {
            let mut stream = connect_from([127, 79, 0, 3], cluster.socket(node));
            stream.write_all(&said(&ping())).expect("it is there");
            assert_eq!(read_message(&stream).expect("it answers")["type"], "PONG", "node {node}");
            stream
        };
        let guests: Vec<TcpStream> = (0..GUESTS_MAX + 20).map(ask).collect();
        // Some may stay, in the place of connections of the cluster's own that came and went.
        wait_until("the others to be closed", || {
            guests.iter().filter(|guest| is_open(guest)).count() <= GUESTS_MAX + 10
        });
        assert_eq!(read_message(&held[0]).expect("the first is still there")["type"], "PONG");
        drop(held);
        wait_until("room", || descriptors(&cluster, node) <= before + 20);
        let refused = match node {
            0 => counter(cluster.socket(0), "connections_over_limit"),
            peer => peer_counter(&mut cluster, peer, "connections_over_limit"),
        };
        assert!(refused > 0, "node {node} counts them");
    }
    let _newcomer = assert_serves(&mut cluster, "room again");
    assert_finds_a_death(&mut cluster);
}

#[test]
fn a_connection_that_closes_without_a_byte_is_not_worth_a_word() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let before = (cluster.stderr(), counter(cluster.socket(0), "connections_broken_off"));
    let descriptors_before: Vec<usize> = (0..3).map(|node| descriptors(&cluster, node)).collect();
    let mark = cluster.mark();
    for node in 0..3 {
        for round in 0..500 {
            let stream = connect(cluster.socket(node));
            if round % 2 == 0 {
                stream.shutdown(Shutdown::Write).expect("it is open");
            }
        }
    }
    for (node, before) in descriptors_before.iter().enumerate() {
        wait_until("their descriptors to be given back", || descriptors(&cluster, node) <= before + 5);
    }
    assert_eq!((cluster.stderr(), counter(cluster.socket(0), "connections_broken_off")), before);
    let newcomer = assert_serves(&mut cluster, "nothing was said");
    let name = newcomer.me.to_string();
    let others = |e: &&LogEvent| {
        !e.line.contains(&name) && !["GOSSIP", "GOSSIP_SENT", "VIEW"].contains(&e.event.as_str())
    };
    let log: Vec<&LogEvent> = cluster.seen[mark..].iter().map(|(_, e)| e).filter(others).collect();
    assert_eq!(log, Vec::<&LogEvent>::new());
}
