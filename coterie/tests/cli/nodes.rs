//! Starting a node: lists, addresses, directories, and what is said when they are wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;

use super::common::{DEADLINE, TestCluster, Watched, command, own_ip, run, wait_until};
use super::output::{stderr, stdout};

/// A seed list with this text, and what a seed at 127.0.0.1:5011 says of it.
pub(crate) fn with_list(text: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list");
    std::fs::write(&file, text).unwrap();
    let output = run(&["seed", "127.0.0.1", "5011", "--config", file.to_str().unwrap()]);
    let said = stderr(&output).replace(file.to_str().unwrap(), "LIST");
    (output.status.code(), said)
}

#[test]
fn a_bad_seed_list_is_one_line_that_names_file_line_and_value() {
    for (text, expected) in [
        ("", "seed: LIST: lists no seed\n"),
        (
            "127.0.0.1,5011\nnonsense\n",
            "seed: LIST:2: \"nonsense\" mixes `ip,port` and `ip:port` in one file\n",
        ),
        ("127.0.0.1,0\n", "seed: LIST:1: port 0 is not between 1 and 65535\n"),
        ("127.0.0.1:70000\n", "seed: LIST:1: port 70000 is not between 1 and 65535\n"),
        (
            "127.0.0.1,5011,key\n",
            "seed: LIST: lists keys, but closed clusters are not supported by this version\n",
        ),
        (
            "{\"num_seeds\": 3, \"Seed_addresses\": [{\"Host\": \"127.0.0.1\", \"Port\": 5011}]}",
            "seed: LIST: num_seeds is 3, but Seed_addresses holds 1\n",
        ),
        (
            "127.0.0.1,5012\r\n\r\n# 5011\r\n",
            "seed: 127.0.0.1:5011 is not in the seed list (127.0.0.1:5012)\n",
        ),
    ] {
        assert_eq!(with_list(text), (Some(2), expected.to_owned()), "{text:?}");
    }
    let output = run(&["peer", "6001", "--config", "/nowhere/config.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "peer: /nowhere/config.csv: No such file or directory (os error 2)\n");
}

/// As the programs that ours takes the place of expect.
#[test]
fn the_list_is_the_first_of_three_names_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let json = r#"{"num_seeds": 1, "Seed_addresses": [{"Host": "10.0.0.3", "Port": 3}]}"#;
    for (file, text, named) in [
        ("config.json", json, "10.0.0.3:3"),
        ("config.txt", "10.0.0.2:2", "10.0.0.2:2"),
        ("config.csv", "10.0.0.1,1", "10.0.0.1:1"),
    ] {
        std::fs::write(directory.path().join(file), text).unwrap();
        let output = command().args(["seed", "5011"]).current_dir(directory.path()).output().unwrap();
        let expected = format!("seed: 127.0.0.1:5011 is not in the seed list ({named})\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn wrong_usage_is_named_and_exits_with_2() {
    for (args, expected) in [
        (&["seed"][..], "no address is given"),
        (&["peer", "70000"], "port 70000 is not between 1 and 65535"),
        (&["peer", "10.0.0.999", "6001"], "\"10.0.0.999\" is neither an IP nor a host name"),
        (&["peer", "6001", "--patience", "5ms"], "must be from 50ms to 60s"),
        (&["peer", "6001", "--overlay", "ring"], "[possible values: pareto, zipf, random]"),
        (&["seed", "6001", "--listen", "127.0.0.1:0"], "port 0 is not between 1 and 65535"),
        (&["seed-add", "127.0.0.1", "--seed", "127.0.0.1:6001"], "\"127.0.0.1\" is not `ip:port`"),
        (&["seed-remove", "0.0.0.0:6001", "--seed", "127.0.0.1:6001"], "\"0.0.0.0\" is nobody's address"),
        (&["up", "--base-port", "0"], "0 is not in 1..=65535"),
        (&["seed", "6001", "--log-format", "xml"], "[possible values: text, json]"),
        (&["seed", "6001", "--log-events", "some"], "[possible values: all, membership, none]"),
        (&["peer", "6001", "--tag", "nothing"], "must be key=value"),
        (&[], "coterie: what is to be done? --help lists the commands"),
        (&["dance"], "coterie: unrecognized subcommand 'dance'"),
        (&["members"], "coterie: no seed list: there is no config.csv, no config.txt, no config.json"),
        (&["seed", "1500"], "seed: no seed list: there is no config.csv, no config.txt, no config.json"),
        (&["seed", "6001", "--log-file", "{host}.txt"], "braces can hold {role}, {ip}, {port}"),
        (&["up", "--for", "3s", "--kill-after", "5s"], "--kill-after 5s is not before the end, --for 3s"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$0\" peer --help >/dev/full"]).arg(super::common::program());
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("stdout: No space left on device"), "{}", stderr(&output));
}

#[test]
fn too_few_descriptors_are_named() {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 8; exec \"$0\" peer 6001"]).arg(super::common::program());
    let output = shell.current_dir(tempfile::tempdir().unwrap().path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(stderr(&output), "peer: 8 open files are too few, a process needs 32 (ulimit -n)\n");
}

#[test]
fn help_gives_an_example_and_version_a_version() {
    for command in ["seed", "peer", "up"] {
        let output = run(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("example: "), "{command}");
    }
    assert!(stdout(&run(&["--version"])).starts_with("coterie 0."));
}

#[test]
fn an_address_in_use_or_not_ours_is_named_and_exits_with_1() {
    let ip = own_ip();
    let taken = TcpListener::bind((ip, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("config.csv");
    std::fs::write(&list, format!("{ip},{port}\n192.0.2.1,{port}\n")).unwrap();
    for (address, problem) in
        [(format!("{ip}:{port}"), "Address already in use"), (format!("192.0.2.1:{port}"), "Cannot assign")]
    {
        let output = run(&["seed", &address, "--config", list.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with(&format!("seed: {address}: {problem}")), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    // That port is taken at this test's own address only; for `up` one at 127.0.0.1 has to be.
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let run_directory = directory.path().join("run");
    let output = run(&[
        "up",
        "--base-port",
        &port.to_string(),
        "--dir",
        run_directory.to_str().unwrap(),
        "--for",
        "1s",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with(&format!("coterie: 127.0.0.1:{port}: Address already in use")),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_directory_that_is_a_file_is_refused_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(&["up", "--dir", file.path().to_str().unwrap(), "--for", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with(&format!("coterie: {}", file.path().display())),
        "{}",
        stderr(&output)
    );
    assert_eq!(stderr(&output).lines().count(), 1);
}

#[test]
fn seeds_with_different_lists_refuse_each_other_and_say_why() {
    let ip = own_ip();
    let directory = tempfile::tempdir().unwrap();
    let ports: Vec<u16> = {
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
        held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
    };
    let list = |name: &str, ports: &[u16]| {
        let file = directory.path().join(name);
        std::fs::write(&file, ports.iter().map(|port| format!("{ip},{port}\n")).collect::<String>()).unwrap();
        file
    };
    let (first, second) = (list("a.csv", &ports[..2]), list("b.csv", &ports));
    let mut children = Vec::new();
    for (index, file) in [(0, &first), (1, &second)] {
        let log = std::fs::File::create(directory.path().join(format!("stderr-{index}"))).unwrap();
        let child = command()
            .args(["seed", &format!("{ip}:{}", ports[index]), "--config", file.to_str().unwrap()])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        children.push(child);
    }
    let said =
        |index: usize| std::fs::read_to_string(directory.path().join(format!("stderr-{index}"))).unwrap();
    wait_until("the refusal", || {
        said(0).contains("seed lists differ") && said(1).contains("seed lists differ")
    });
    assert!(said(0).contains(&format!("{ip}:{}", ports[2])), "the difference is named: {}", said(0));
    for mut child in children {
        assert!(child.try_wait().unwrap().is_none(), "they go on waiting");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_health_check_tells_who_takes_part() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let check = |role: &str, address: String| run(&[role, "--check", &address]).status.code();
    let (seed, peer) = (cluster.address(cluster.seeds()[0]), cluster.address(cluster.peers()[0]));
    assert_eq!(check("seed", seed.to_string()), Some(0));
    assert_eq!(check("peer", peer.to_string()), Some(0));
    assert_eq!(check("peer", seed.to_string()), Some(1), "that is no peer");
    assert_eq!(check("seed", peer.to_string()), Some(1), "that is no seed");
    cluster.kill(cluster.peers()[0]);
    assert_eq!(check("peer", peer.to_string()), Some(1));
    // A seed that is left alone can decide nothing, and says so.
    cluster.kill(cluster.seeds()[1]);
    cluster.kill(cluster.seeds()[2]);
    wait_until("the seed to notice", || check("seed", seed.to_string()) == Some(1));
}

#[test]
fn the_console_ends_with_exit_and_the_peer_runs_on() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let peers = cluster.peers();
    cluster.say(peers[0], "exit");
    cluster.say(peers[0], "nobody reads this");
    let mark = cluster.mark();
    cluster.say(peers[1], "still there?");
    cluster.wait_for("the message", mark, &peers[..1], |_, e| {
        e.event == "GOSSIP" && e.get("content") == "still there?"
    });
    let said = cluster.seen.iter().any(|(_, e)| e.get("content") == "nobody reads this");
    assert!(!said);
    cluster.say(peers[1], "/neighbours");
    wait_until("the answer on stderr", || cluster.stderr().contains("1 links, "));
}

#[test]
fn ctrl_c_ends_a_node_in_order() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    for index in [cluster.peers()[0], cluster.seeds()[0]] {
        let mut process = cluster.cluster.nodes[index].process.take().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(process.wait_or_kill(DEADLINE), Some(0));
        let last = cluster.whole_log(index).last().cloned().unwrap();
        assert_eq!((last.event.as_str(), last.get("message")), ("SHUTTING_DOWN", "Shutting down."));
    }
}

#[test]
fn two_log_files_hold_the_same_lines() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("{role}_{ip}_{port}.log"), directory.path().join("output.txt"));
    let args = ["--messages", "0", "--log-file", one.to_str().unwrap(), "--log-file", two.to_str().unwrap()];
    let mut cluster = TestCluster::prepare(1, 1, &[], &args);
    cluster.cluster.start_all().unwrap();
    let peer = cluster.peers()[0];
    cluster.wait_for_all("JOINED", &[peer]);
    let address = cluster.address(peer);
    assert_eq!(cluster.stop(peer), Some(0));
    let own = directory.path().join(format!("peer_{}_{}.log", address.ip(), address.port()));
    let (own, shared) = (std::fs::read_to_string(own).unwrap(), std::fs::read_to_string(two).unwrap());
    assert!(own.contains(" JOINED ") && own.ends_with("SHUTTING_DOWN message=\"Shutting down.\"\n"), "{own}");
    assert_eq!(own, shared);
}

#[test]
fn seeds_and_peers_may_be_named_by_host() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let peer_port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    std::fs::write(directory.path().join("config.csv"), format!("localhost,{port}\n")).unwrap();
    let spawn = |args: &[&str]| {
        command()
            .args(args)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut seed = spawn(&["seed", "localhost", &port.to_string()]);
    let mut peer = spawn(&["peer", "auto", &peer_port.to_string()]);
    wait_until("membership", || {
        run(&["peer", "--check", &format!("127.0.0.1:{peer_port}")]).status.success()
    });
    for child in [&mut peer, &mut seed] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // By the name, which stays when it is given another address: the seed stood beside its own data, and found none.
    assert!(directory.path().join(format!("data/seed_localhost_{port}/log.redb")).exists());
}

/// A wrong port looked the same, whether nobody listens there, somebody who says nothing, or a web server.
#[test]
fn a_peer_tells_what_is_wrong_with_each_of_its_seeds() {
    let ip = own_ip();
    let listeners = [(); 2].map(|()| TcpListener::bind((ip, 0)).unwrap());
    let [web, mute] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let closed = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
    let [web_listener, _mute_listener] = listeners;
    std::thread::spawn(move || {
        for stream in web_listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let list = [web, mute, closed].map(|seed| format!("{},{}\n", seed.ip(), seed.port())).concat();
    std::fs::write(directory.path().join("config.csv"), list).unwrap();
    let own = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port();
    let mut peer = command()
        .args(["peer", &ip.to_string(), &own.to_string()])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(peer.stderr.take().unwrap()).lines();
    let said =
        lines.find_map(|line| line.ok().filter(|line| line.contains("waiting for the seeds"))).unwrap();
    for reason in [
        format!("{web} an answer in HTTP, not a frame"),
        format!("{mute} was silent for too long"),
        format!("{closed} refuses connections"),
    ] {
        assert!(said.contains(&reason), "{reason} is missing in {said}");
    }
    peer.kill().unwrap();
    peer.wait().unwrap();
}

#[test]
fn a_data_directory_of_another_cluster_is_refused_with_the_reason() {
    let mut cluster = TestCluster::form(3, 0, &[]);
    let seeds = cluster.seeds();
    let data = |cluster: &TestCluster, seed: usize| cluster.cluster.nodes[seed].record.data.clone().unwrap();
    // The same seeds begin another cluster, and one of them is given its directory of before.
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    let former = cluster.path().join("former.redb");
    std::fs::rename(data(&cluster, seeds[0]).join("log.redb"), &former).unwrap();
    seeds.iter().for_each(|&seed| std::fs::remove_dir_all(data(&cluster, seed)).unwrap());
    let mark = cluster.mark();
    seeds.iter().for_each(|&seed| cluster.start(seed));
    cluster.wait_for("another cluster", mark, &seeds, |_, e| e.event == "LEADER");
    cluster.kill(seeds[0]);
    std::fs::rename(&former, data(&cluster, seeds[0]).join("log.redb")).unwrap();
    cluster.start(seeds[0]);
    wait_until("the refusal", || cluster.stderr().contains("this seed is of cluster"));
}

/// What logrotate does: it moves the file away and says SIGHUP, which ended a node at once.
#[test]
fn a_log_file_that_was_moved_away_is_made_again_at_sighup() {
    let mut cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    let peer = cluster.peers()[0];
    let node = &cluster.cluster.nodes[peer];
    let (log, pid) = (node.record.log.clone(), node.process.as_ref().unwrap().id());
    let moved = log.with_extension("1");
    std::fs::rename(&log, &moved).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let mut said = 0;
    wait_until("a line in the new file", || {
        said += 1;
        cluster.say(peer, &format!("message {said}"));
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" GOSSIP_SENT content=\"message "))
    });
    let before = std::fs::read_to_string(&moved).unwrap();
    assert!(before.contains(" JOINED "), "what was written before stays where it is: {before}");
    assert!(cluster.cluster.is_alive(peer));
    assert_eq!(cluster.stop(peer), Some(0));
}

/// Its neighbours found it dead, where it could have left.
#[test]
fn a_node_leaves_in_order_when_its_terminal_is_closed() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let mut cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind((cluster.ip, 0)).unwrap().local_addr().unwrap();
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let terminal = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let mut peer = std::process::Command::new("setsid")
        // This test may run under nohup, whose children do not mind their terminals.
        .args(["--ctty", "env", "--default-signal=HUP"])
        .arg(super::common::program())
        .args(["peer", &address.to_string(), "--messages", "0", "--config"])
        .arg(cluster.path().join("config.csv"))
        .current_dir(directory.path())
        .stdin(std::fs::File::open(terminal).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mark, name) = (cluster.mark(), address.to_string());
    cluster.wait_for("its registration", 0, &[0], |_, e| e.event == "REGISTERED" && e.get("peer") == name);
    drop(keyboard);
    cluster.wait_for("its departure", mark, &[0], |_, e| e.event == "LEFT" && e.get("peer") == name);
    assert_eq!(peer.wait().unwrap().code(), Some(0));
}

#[test]
fn at_a_terminal_a_node_asks_for_the_address_that_is_missing() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let directory = tempfile::tempdir().unwrap();
    let (ip, list) = (own_ip(), directory.path().join("config.csv"));
    std::fs::write(&list, format!("{ip},5011\n")).unwrap();
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let terminal = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let mut seed = command()
        .args(["seed", "--config", list.to_str().unwrap()])
        .current_dir(directory.path())
        .stdin(std::fs::File::open(terminal).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = std::fs::File::from(keyboard);
    keyboard.write_all(format!("{ip} 5011\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(seed.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains(&format!("SEED {ip}:5011 LISTENING")), "{first}");
    seed.kill().unwrap();
    let said = String::from_utf8(seed.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.starts_with("address of this seed"), "{said}");
    drop(keyboard);
}
