//! The operator's commands.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use super::common::{TestCluster, Watched, command, run, wait_until};
use super::output::{stderr, stdout};

/// `coterie watch` with these options; what it tells, and what it says is wrong.
fn watching(args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, Lines<BufReader<ChildStderr>>) {
    let mut command = command();
    command.arg("watch").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = command.spawn().unwrap();
    let told = BufReader::new(watch.stdout.take().unwrap()).lines();
    let problems = BufReader::new(watch.stderr.take().unwrap()).lines();
    (watch, told, problems)
}

#[test]
fn a_running_cluster_answers_an_operator() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0", "--tag", "zone=a"]);
    let seed = cluster.address(cluster.seeds()[1]).to_string();
    for args in [vec!["members", "--seed", &seed], vec!["members", "--linearizable", "--seed", &seed]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(
            stdout(&output).contains("2 members") && stdout(&output).contains("zone=a"),
            "{}",
            stdout(&output)
        );
    }
    let output = run(&["status", "--seed", &seed]);
    assert!(stdout(&output).starts_with(&format!("seed {seed}: leader ")), "{}", stdout(&output));
    let mark = cluster.mark();
    wait_until("somebody to hand it to", || {
        let any = cluster.seeds().into_iter().map(|index| cluster.address(index).to_string());
        any.into_iter()
            .any(|seed| run(&["send", "--seed", &seed, "from", "outside"]).status.code() == Some(0))
    });
    cluster.wait("the message everywhere", mark, |events| {
        let heard = events
            .iter()
            .filter(|(_, e)| e.event.starts_with("GOSSIP") && e.get("content") == "from outside");
        heard.filter(|(_, e)| !e.get("via").is_empty()).count() >= 2
    });
    let mut watch =
        command().args(["watch", "--seed", &seed, "--for", "20s"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("2 members"));
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    let expected = format!("{} died; 1 members", cluster.address(victim));
    assert!(lines.any(|line| line.unwrap().ends_with(&expected)));
    // How it was found follows, in the order in which it happened.
    let told: Vec<String> = lines.by_ref().take(6).map(Result::unwrap).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    for (line, step) in told.iter().zip([
        "how the death of ",
        " suspects it: connection_lost",
        " jurors say dead",
        " of the seeds",
        " ms  carried: ",
        " ms  to be committed as epoch ",
    ]) {
        assert!(line.contains(step), "{step:?} is missing in {told:?}");
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn up_shows_a_death_as_a_timeline_and_ends_by_itself_and_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let place = place.to_str().unwrap();
    let output = run(&["up", "--dir", place, "--for", "8s", "--kill-after", "3s"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for step in [
        "formed in ",
        "kill -9 peer ",
        "link broken",
        "suspicion: connection_lost",
        " answers dead",
        "report with ",
        "ballot ",
        "vote of seed ",
        "committed and confirmed",
        "purged: 5 members left",
        "confirmed everywhere ",
    ] {
        assert!(said.contains(step), "{step:?} is missing in:\n{said}");
    }
    let records: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{place}/cluster.json")).unwrap()).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 9);
    let other = run(&["up", "--dir", place, "--peers", "9"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("--peers 9: the cluster in ") && stderr(&other).contains(" has 6 "));
    let again = run(&["up", "--dir", place, "--for", "5s"]);
    let said = stdout(&again);
    assert!(said.starts_with("resuming 3 seeds and 6 peers") && said.contains("formed in "), "{said}");
    let same = records[0]["address"].as_str().unwrap();
    assert!(said.contains(same), "on its ports: {same}");
}

#[test]
fn no_child_outlives_up_not_even_its_kill_9_and_a_live_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let mut up = command()
        .args(["up", "--peers", "2", "--dir", place.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("formed in ")));
    let second = run(&["up", "--dir", place.to_str().unwrap(), "--for", "1s"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains(&format!("a cluster is live here, pid {}", up.id())),
        "{}",
        stderr(&second)
    );
    let records: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.join("cluster.json")).unwrap()).unwrap();
    let pids: Vec<u64> =
        records.as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 5);
    up.kill().unwrap();
    up.wait().unwrap();
    // A process that ended may still be waited for by its new parent: then it has no command line any more.
    let lives = |pid: &u64| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    wait_until("the end of all nodes", || !pids.iter().any(lives));
}

#[test]
fn up_goes_on_when_its_seeds_end() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let mut up = command()
        .args(["up", "--peers", "2", "--for", "60s", "--dir", place.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("formed in ")));
    let records: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.join("cluster.json")).unwrap()).unwrap();
    let of = |role: &str| {
        let nodes = records.as_array().unwrap().iter().filter(|node| node["role"] == role);
        nodes.map(|node| i32::try_from(node["pid"].as_u64().unwrap()).unwrap()).collect::<Vec<_>>()
    };
    let end = |pid: i32, signal| {
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    };
    let seeds = of("seed");
    seeds[..2].iter().for_each(|seed| end(*seed, rustix::process::Signal::KILL));
    assert!(lines.any(|line| line.contains(" QUORUM_LOST ")), "the loss is told");
    end(seeds[2], rustix::process::Signal::KILL);
    end(of("peer")[0], rustix::process::Signal::TERM);
    assert!(lines.any(|line| line.contains(" SHUTTING_DOWN")), "what happens is told without any seed");
    end(i32::try_from(up.id()).unwrap(), rustix::process::Signal::TERM);
    assert_eq!(up.wait().unwrap().code(), Some(0));
}

/// Nothing is left behind that the next command would resume.
#[test]
fn a_peer_to_be_killed_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let output = run(&["up", "--peers", "0", "--kill-after", "5s", "--dir", place.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--kill-after: there is no peer to be killed"), "{}", stderr(&output));
    assert!(!place.join("cluster.json").exists());
}

/// A seed that had lost its directory ended at once when the cluster was resumed, and with it the command, beside two
/// seeds that had a leader.
#[test]
fn up_forms_beside_a_seed_that_ends_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let up = || run(&["up", "--peers", "2", "--for", "8s", "--dir", place.to_str().unwrap()]);
    let first = up();
    assert!(stdout(&first).contains("formed in "), "{}{}", stdout(&first), stderr(&first));
    let records: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.join("cluster.json")).unwrap()).unwrap();
    let (data, port) = (records[0]["data"].as_str().unwrap(), records[0]["address"].as_str().unwrap());
    let port = port.rsplit_once(':').unwrap().1;
    std::fs::remove_dir_all(data).unwrap();
    let second = up();
    assert_eq!(second.status.code(), Some(0), "{}{}", stdout(&second), stderr(&second));
    assert!(stdout(&second).contains("formed in "), "{}{}", stdout(&second), stderr(&second));
    let said = std::fs::read_to_string(place.join(format!("outputfile_seed_{port}.stderr.txt"))).unwrap();
    assert!(said.contains("data directory is empty, but cluster "), "{said}");
}

/// No command needs to be told which seed is up: each takes the list, and goes on with the next.
#[test]
fn every_question_goes_to_the_next_seed_of_the_list_where_one_is_down() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let (seeds, victim) = (cluster.seeds(), cluster.peers()[0]);
    let list = cluster.path().join("config.csv").display().to_string();
    let (mut watch, mut told, _problems) = watching(&["--config", &list]);
    assert!(told.next().unwrap().unwrap().ends_with("2 members"));
    // The first of the list, which is watched.
    cluster.kill(seeds[0]);
    let shown = run(&["members", "--config", &list]);
    assert!(stdout(&shown).contains("2 members"), "{}{}", stdout(&shown), stderr(&shown));
    let shown = run(&["status", "--config", &list]);
    assert!(
        stdout(&shown).starts_with(&format!("seed {}: ", cluster.address(seeds[1]))),
        "{}",
        stdout(&shown)
    );
    wait_until("somebody to hand it to", || {
        run(&["send", "--config", &list, "hello"]).status.code() == Some(0)
    });
    let mark = cluster.mark();
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &seeds[1..]);
    let expected = format!("{} died; 1 members", cluster.address(victim));
    assert!(told.any(|line| line.unwrap().ends_with(&expected)), "watched on at another seed");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Its kernel goes on taking connections, so only that nothing is answered tells.
#[test]
fn a_seed_that_stands_still_is_no_answer_and_watch_goes_on_at_the_next() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let (seeds, victim) = (cluster.seeds(), cluster.peers()[0]);
    let list = cluster.path().join("config.csv").display().to_string();
    let (mut watch, mut told, mut problems) = watching(&["--for", "60s", "--config", &list]);
    assert!(told.next().unwrap().unwrap().ends_with("2 members"));
    cluster.pause(seeds[0]);
    let still = cluster.address(seeds[0]).to_string();
    let expected = format!("coterie: {still}: no answer; trying again");
    assert!(problems.any(|line| line.unwrap() == expected));
    let mark = cluster.mark();
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &seeds[1..]);
    let expected = format!("{} died; 1 members", cluster.address(victim));
    assert!(told.any(|line| line.unwrap().ends_with(&expected)), "watched on at another seed");
    watch.kill().unwrap();
    watch.wait().unwrap();
    // Who asks that seed alone hears that it does not answer; and, of a change, that it may be made all the same.
    let refused = |args: &[&str]| {
        let output = run(&[args, &["--seed", &still]].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stdout(&output));
        stderr(&output)
    };
    assert_eq!(refused(&["watch", "--for", "1s"]), format!("coterie: {still}: has told of no members\n"));
    let added = refused(&["seed-add", "127.0.0.1:9"]);
    let waits = format!("{still} has not answered yet: for a leader with a majority it waits 10 s\n");
    assert_eq!(added, format!("{waits}coterie: {still}: no answer: undecided, it may still happen\n"));
    cluster.resume(seeds[0]);
}

/// Between two attempts to reach its seed nobody listened for Ctrl-C, whose handler was in place already.
#[test]
fn watch_waits_for_its_seed_tells_what_it_missed_and_ends_when_it_is_told_to() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let (seeds, victim) = (cluster.seeds(), cluster.peers()[0]);
    let seed = cluster.address(seeds[0]).to_string();
    let (mut watch, mut told, mut problems) = watching(&["--seed", &seed]);
    assert!(told.next().unwrap().unwrap().ends_with("2 members"));
    let mark = cluster.mark();
    cluster.kill(seeds[0]);
    assert!(problems.next().unwrap().unwrap().ends_with("; trying again"));
    // It dies while nobody tells of it, and is told of when the seed is back.
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &seeds[1..]);
    cluster.start(seeds[0]);
    let expected = format!("{} died; 1 members", cluster.address(victim));
    assert!(told.any(|line| line.unwrap().ends_with(&expected)));
    assert!(problems.next().unwrap().unwrap().ends_with(" answers: watching on"));
    cluster.kill(seeds[0]);
    assert!(problems.next().unwrap().unwrap().ends_with("; trying again"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(watch.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}
