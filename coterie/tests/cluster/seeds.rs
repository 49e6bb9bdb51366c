//! What becomes of a cluster when its seeds fail.

use std::collections::BTreeSet;

use coterie::cluster::LogEvent;
use coterie::cluster::directory::stderr_of;

use super::common::{DEADLINE, TestCluster, Watched, run, status, wait_until};

#[test]
fn members_survive_kill_9_of_all_seeds_at_once() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let seeds = cluster.seeds();
    for &seed in &seeds {
        cluster.kill(seed);
    }
    // One peer dies while nobody is there to be told.
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    let mark = cluster.mark();
    for &seed in &seeds {
        cluster.start(seed);
    }
    cluster.wait_for("a leader", mark, &seeds, |_, e| e.event == "LEADER");
    let rest: Vec<usize> = (0..7).filter(|&index| index != victim).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &rest);
    let again = cluster.seen[mark..].iter().filter(|(_, e)| e.event == "REGISTERED").count();
    assert_eq!(again, 0, "what was registered is not registered, nor printed, again");
    let declared = cluster.seen[mark..].iter().filter(|(_, e)| e.event == "DECLARED_DEAD").count();
    assert_eq!(declared, 0, "nobody alive was removed");
}

#[test]
fn a_minority_of_the_seeds_refuses_and_a_majority_goes_on() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let seeds = cluster.seeds();
    let mark = cluster.mark();
    let leader = cluster.leader();
    let leader_name = cluster.address(leader).to_string();
    cluster.kill(leader);
    let followers: Vec<usize> = seeds.iter().copied().filter(|&seed| seed != leader).collect();
    cluster.wait_for("another leader", mark, &followers, |_, e| {
        e.event == "LEADER" && e.get("leader") != leader_name
    });
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &followers);
    // Now only one of three is left: nothing can be decided any more.
    let mark = cluster.mark();
    cluster.kill(followers[0]);
    cluster.wait_for("the loss to be said", mark, &[followers[1]], |_, e| {
        e.event == "QUORUM_LOST" && e.get("available") == "1"
    });
    let shown = status(cluster.socket(followers[1]));
    assert!(shown.contains("leader none") && shown.contains("1 of 3 voters"), "{shown}");
    let second = cluster.peers()[1];
    cluster.kill(second);
    let last = cluster.peers()[2];
    cluster.wait_for("a suspicion", mark, &[last], |_, e| e.event == "SUSPICION");
    cluster.start(victim);
    cluster.wait_for("a registration that times out", mark, &[followers[1]], |_, e| {
        e.event == "REGISTER_TIMEOUT"
    });
    let decided = cluster
        .events_of(mark, followers[1])
        .iter()
        .any(|e| e.event == "DEAD_CONFIRMED" || e.event == "REGISTERED");
    assert!(!decided, "a minority decides nothing");
    // With a second seed back, both are decided.
    cluster.start(followers[0]);
    cluster.wait_for("its end to be said", mark, &[followers[1]], |_, e| e.event == "QUORUM");
    cluster.wait_for_death(mark, cluster.address(second), &[followers[0], followers[1], last]);
    cluster.wait_for("the return of the first victim", mark, &[victim], |_, e| e.event == "JOINED");
}

#[test]
fn a_seed_that_was_down_catches_up() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let seed = cluster.seeds()[1];
    cluster.kill(seed);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != seed).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &others);
    cluster.start(seed);
    // What was decided without it is told in one line, and is no news.
    cluster.wait_for("what it missed", mark, &[seed], |_, e| e.event == "VIEW" && e.get("died") == "1");
    assert!(cluster.events_of(mark, seed).iter().all(|e| e.event != "DEAD_CONFIRMED"));
}

/// What two empty seeds print for an operator who knows that the third will not come: the options to begin without it.
fn advice_of_two(cluster: &TestCluster) -> String {
    // What each said last: before the two had met, each knew of one directory.
    let last = |seed: usize| {
        let said =
            std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[seed].record)).unwrap_or_default();
        let told = said.lines().rev().find_map(|line| line.split_once("with --form-without "));
        told.map(|(_, args)| args.to_owned()).unwrap_or_default()
    };
    let knows_two =
        |advice: &str| advice.split_once(" --directories ").is_some_and(|(_, ids)| ids.contains(','));
    wait_until("both seeds to tell of two directories", || knows_two(&last(0)) && last(0) == last(1));
    last(0)
}

/// One seed of three is silent. It may hold a history, so nothing begins, until the operator says that it will not
/// come; that holds for these directories alone.
#[test]
fn a_cluster_begins_without_a_seed_at_the_operators_word_and_lets_it_in_when_it_comes() {
    let mut cluster = TestCluster::prepare(3, 2, &[], &["--messages", "0"]);
    let (early, late) = (cluster.seeds()[..2].to_vec(), cluster.seeds()[2]);
    for index in early.iter().copied().chain(cluster.peers()) {
        cluster.start(index);
    }
    let advice = advice_of_two(&cluster);
    assert!(cluster.events_of(0, early[0]).iter().all(|e| e.event != "LEADER"), "nothing has begun");
    let (without, directories) = advice.split_once(" --directories ").unwrap();
    assert_eq!(without, cluster.address(late).to_string());
    let args = |directories: &str| {
        ["--form-without", without, "--directories", directories].map(str::to_owned).to_vec()
    };
    // With the word about other directories they wait on.
    cluster.cluster.layout.seed_args = args("1,2");
    let mark = cluster.mark();
    early.iter().for_each(|&seed| cluster.kill(seed));
    early.iter().for_each(|&seed| cluster.start(seed));
    let advised = cluster.stderr().matches("with --form-without ").count();
    wait_until("them to wait again", || {
        cluster.stderr().matches("with --form-without ").count() >= advised + 2
    });
    assert!(cluster.events_of(mark, early[0]).iter().all(|e| e.event != "LEADER"), "nothing has begun");
    cluster.cluster.layout.seed_args = args(directories);
    early.iter().for_each(|&seed| cluster.kill(seed));
    early.iter().for_each(|&seed| cluster.start(seed));
    cluster.wait_for_all("JOINED", &cluster.peers());
    assert!(cluster.stderr().contains(&format!("a cluster begins without {without}")), "it is said loudly");
    cluster.cluster.layout.seed_args = Vec::new();
    cluster.start(late);
    cluster.wait_for("the members at the late seed", 0, &[late], |_, e| {
        (e.event == "REGISTERED" || e.event == "VIEW") && e.get("members") == "2"
    });
    // It counts as a voter from then on: with one of the others dead, decisions go on.
    cluster.kill(early[0]);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &[early[1], late]);
}

#[test]
fn a_seed_that_lost_its_directory_ends_with_advice() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let seed = cluster.seeds()[0];
    let own = cluster.address(seed);
    cluster.kill(seed);
    let data = cluster.cluster.nodes[seed].record.data.clone().unwrap();
    std::fs::remove_dir_all(data).unwrap();
    cluster.start(seed);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(DEADLINE), Some(1));
    let said = cluster.stderr();
    let expected = format!("has a history with this seed: run coterie seed-replace {own}");
    assert!(
        said.contains("seed: data directory is empty, but cluster ") && said.contains(&expected),
        "{said}"
    );
}

#[test]
fn an_orderly_stop_of_the_leader_hands_leadership_over() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let name =
        cluster.seen.iter().rev().find(|(_, e)| e.event == "LEADER").unwrap().1.get("leader").to_owned();
    let leader = cluster.seeds().into_iter().find(|&seed| cluster.address(seed).to_string() == name).unwrap();
    let mark = cluster.mark();
    assert_eq!(cluster.stop(leader), Some(0));
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != leader).collect();
    cluster.wait_for("another leader", mark, &others, |_, e| e.event == "LEADER" && e.get("leader") != name);
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &others);
}

/// Ranks in an edited list are not the ids of the log: a seed that took them for such dialled itself as another one,
/// and was its own majority.
#[test]
fn a_seed_whose_list_was_edited_keeps_to_the_seeds_of_its_log() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let seed = cluster.seeds()[0];
    cluster.kill(seed);
    let list = coterie::cluster::directory::seeds_of(cluster.path());
    let edited = format!("127.0.0.1,1\n{}", std::fs::read_to_string(&list).unwrap());
    let mark = cluster.mark();
    let mut process = {
        let record = cluster.cluster.nodes[seed].record.clone();
        std::fs::write(&list, edited).unwrap();
        coterie::cluster::Command::new(
            std::process::Command::new(super::common::program()),
            &record,
            cluster.path(),
            &[],
        )
        .spawn()
        .unwrap()
    };
    cluster.wait_for("a leader at the restarted seed", mark, &[seed], |_, e| e.event == "LEADER");
    assert!(cluster.stderr().contains("the seed list differs from the log"), "{}", cluster.stderr());
    // It decides nothing alone: without the two others, nothing is decided; with one of them, everything.
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != seed).collect();
    cluster.kill(others[0]);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &[seed, others[1]]);
    assert!(process.is_alive());
}

#[test]
fn a_seed_whose_disk_takes_no_more_stops_with_the_reason_and_the_others_carry_on() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let seed = cluster.seeds()[2];
    let others: Vec<usize> = cluster.seeds()[..2].to_vec();
    // A file-size limit below what the log has already: its next write fails, as on a full disk.
    let pid = cluster.cluster.nodes[seed].process.as_ref().unwrap().id();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(32 << 10), maximum: None }).unwrap();
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let survivors: Vec<usize> = others.iter().copied().chain(cluster.peers()[1..].iter().copied()).collect();
    cluster.wait_for_death(mark, dead, &survivors);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(DEADLINE), Some(1));
    let said = cluster.stderr();
    assert!(said.contains("seed: data directory ") && said.contains("the log has stopped: "), "{said}");
    let last = cluster.whole_log(seed).last().cloned().unwrap();
    assert!(last.get("reason").contains("the log has stopped: "), "its log says why: {}", last.line);
    // With room again, what was acknowledged is there, and what it missed comes.
    cluster.start(seed);
    cluster.wait_for("what it missed", mark, &[seed], |_, e| e.event == "VIEW" && e.get("died") == "1");
}

#[test]
fn a_leader_that_stands_still_is_succeeded_and_learns_what_it_missed() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let (leader, victim) = (cluster.leader(), cluster.peers()[1]);
    let name = cluster.address(leader).to_string();
    let others: Vec<usize> = (0..6).filter(|&index| index != leader && cluster.peers()[1] != index).collect();
    let mark = cluster.mark();
    cluster.pause(leader);
    cluster.kill(victim);
    let dead = cluster.address(victim);
    cluster.wait_for_death(mark, dead, &others);
    let succeeded = cluster.seen[mark..].iter().any(|(_, e)| e.event == "LEADER" && e.get("leader") != name);
    assert!(succeeded, "another leads");
    cluster.resume(leader);
    cluster.wait_for_death(mark, dead, &[leader]);
    let epochs: BTreeSet<Option<u64>> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "DEAD_CONFIRMED")
        .map(|(_, e)| e.number("epoch"))
        .collect();
    assert_eq!(epochs.len(), 1, "one death, one epoch");
    let mark = cluster.mark();
    cluster.start(victim);
    cluster.wait_for("a join at every seed", mark, &cluster.seeds(), |_, e| e.event == "REGISTERED");
}

/// All seeds lose their disks and begin anew under running peers: the numbers of two logs mean nothing to each other.
/// The peers say so, forget what the former seeds told them, and join as other lives. They showed the former view for
/// ever.
#[test]
fn peers_follow_seeds_that_have_begun_anew_and_mix_nothing_of_two_clusters() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    for &seed in &seeds {
        let data = cluster.cluster.nodes[seed].record.data.clone().expect("a seed has a directory");
        std::fs::remove_dir_all(data).unwrap();
    }
    let mark = cluster.mark();
    seeds.iter().for_each(|&seed| cluster.start(seed));
    cluster.wait_for("the change of cluster", mark, &peers, |_, e| e.event == "CLUSTER_CHANGED");
    cluster.wait_for("their return", mark, &peers, |_, e| e.event == "JOINED");
    let seed = cluster.address(seeds[0]).to_string();
    wait_until("all three to be members", || {
        let shown = run(&["members", "--seed", &seed, "--linearizable"]).stdout;
        String::from_utf8(shown).unwrap().contains("3 members")
    });
    for &peer in &peers {
        let events = cluster.events_of(mark, peer);
        let changed = events.iter().position(|e| e.event == "CLUSTER_CHANGED").expect("it was waited for");
        let (before, after) = events.split_at(changed);
        assert!(before.iter().all(|e| e.event != "VIEW"), "a view of the new log in the old cluster");
        assert!(after.iter().all(|e| e.event != "DEAD_CONFIRMED" && e.event != "LEFT"), "{after:?}");
    }
    assert!(cluster.stderr().contains("is of another cluster"), "the reason is said");
}

/// Two of three seeds lost their disks, and their operator had them begin anew without the third. That one comes back
/// with the history: it is refused by name at both ends, follows nobody, and keeps what it has. It had followed their
/// leader without a word, and lost every entry.
#[test]
fn a_seed_with_a_history_follows_no_cluster_that_others_have_begun_beside_it() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    let (anew, old) = (&seeds[..2], seeds[2]);
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    for &seed in anew {
        let data = cluster.cluster.nodes[seed].record.data.clone().expect("a seed has a directory");
        std::fs::remove_dir_all(data).unwrap();
    }
    let mark = cluster.mark();
    anew.iter().for_each(|&seed| cluster.start(seed));
    let advice = advice_of_two(&cluster);
    let (without, directories) = advice.split_once(" --directories ").unwrap();
    cluster.cluster.layout.seed_args =
        ["--form-without", without, "--directories", directories].map(str::to_owned).to_vec();
    anew.iter().for_each(|&seed| cluster.kill(seed));
    anew.iter().for_each(|&seed| cluster.start(seed));
    cluster.wait_for("the peers' change of cluster", mark, &peers, |_, e| e.event == "CLUSTER_CHANGED");
    cluster.wait_for("their return", mark, &peers, |_, e| e.event == "JOINED");
    // It is told of the same, and has a history: nothing of that concerns it.
    let mark = cluster.mark();
    cluster.start(old);
    let socket = cluster.socket(old);
    let said = |cluster: &TestCluster, index: usize| {
        std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[index].record)).unwrap_or_default()
    };
    let names = |text: &str, of: usize| {
        let name = cluster.address(of).to_string();
        text.lines().any(|line| line.contains("this seed is of cluster") && line.contains(&name))
    };
    wait_until("both ends to refuse", || {
        names(&said(&cluster, old), anew[0]) && names(&said(&cluster, anew[0]), old)
    });
    assert!(status(socket).contains("leader none"), "{}", status(socket));
    // A second start finds on its disk what the first found: the same two clusters are told apart again, at one end or
    // the other of a connection.
    let told = |text: &str| text.matches("this seed is of cluster ").count();
    let clusters = |text: &str| {
        let words = text.split("cluster ").skip(1).filter_map(|rest| rest.get(..4)).map(str::to_owned);
        words.filter(|word| word.chars().all(|c| c.is_ascii_hexdigit())).collect::<BTreeSet<_>>()
    };
    let before = said(&cluster, old);
    cluster.kill(old);
    cluster.start(old);
    wait_until("a refusal again", || told(&said(&cluster, old)) > told(&before));
    assert_eq!((clusters(&before).len(), clusters(&said(&cluster, old))), (2, clusters(&before)));
    let led = cluster.events_of(mark, old).iter().any(|e| e.event == "LEADER" || e.event == "VIEW");
    assert!(!led, "it follows nobody");
}

/// A seed told of the leader of the vote on its disk, before anybody led it: a resumed cluster was called formed.
#[test]
fn a_seed_that_starts_alone_knows_no_leader() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let seeds = cluster.seeds();
    let (first, second) = (seeds[0], seeds[1]);
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    let mark = cluster.mark();
    cluster.start(first);
    cluster.wait_for("the first seed", mark, &[first], |_, e| e.event == "LISTENING");
    // It has read its vote when it knows the term.
    let seed = cluster.socket(first);
    wait_until("its log", || {
        let status = status(seed);
        status.contains(", term ") && !status.contains(", term 0,")
    });
    let alone = cluster.mark();
    cluster.start(second);
    cluster.wait_for("a leader", alone, &[first, second], |_, e| e.event == "LEADER");
    let leaders: Vec<&LogEvent> =
        cluster.seen[mark..alone].iter().map(|(_, e)| e).filter(|e| e.event == "LEADER").collect();
    assert_eq!(leaders, Vec::<&LogEvent>::new(), "nobody led it");
}

/// The same, where the others have a newer leader: the old one was told of in the moment before the new one.
#[test]
fn a_seed_that_missed_an_election_does_not_tell_of_the_leader_before_it() {
    let mut cluster = TestCluster::form(5, 1, &["--messages", "0"]);
    let (seeds, old) = (cluster.seeds(), cluster.leader());
    let late = seeds.iter().copied().find(|&seed| seed != old).unwrap();
    let name = cluster.address(old).to_string();
    cluster.wait_for_all("LEADER", &seeds);
    cluster.kill(late);
    let mark = cluster.mark();
    cluster.kill(old);
    let rest: Vec<usize> = seeds.into_iter().filter(|&seed| seed != old && seed != late).collect();
    cluster.wait_for("another leader", mark, &rest, |_, e| e.event == "LEADER" && e.get("leader") != name);
    let mark = cluster.mark();
    cluster.start(late);
    cluster.wait_for("the new leader", mark, &[late], |_, e| {
        e.event == "LEADER" && !["none", name.as_str()].contains(&e.get("leader"))
    });
    let told = cluster.events_of(mark, late).iter().any(|e| e.event == "LEADER" && e.get("leader") == name);
    assert!(!told, "that one is dead");
}

/// A seed that had just started knew nobody: it called every reporter a stranger, the peers dropped what they had
/// rightly suspected, and the death was found ten seconds after there was a leader again.
#[test]
fn what_is_reported_while_no_seed_can_decide_is_decided_as_soon_as_one_can() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    let mark = cluster.mark();
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    cluster.start(seeds[0]);
    cluster.wait_for("the seed", mark, &seeds[..1], |_, e| e.event == "LISTENING");
    let seed = cluster.socket(seeds[0]);
    wait_until("the sessions of all four", || {
        let told = status(seed);
        let sessions = told.lines().find_map(|line| line.strip_suffix(" sessions")?.rsplit(' ').next());
        // One is that of this question.
        sessions.and_then(|count| count.parse::<usize>().ok()).is_some_and(|count| count > 4)
    });
    cluster.kill(peers[0]);
    let survivors = &peers[1..];
    cluster.wait("a report", mark, |events| events.iter().any(|(_, e)| e.event == "DEAD_REPORT"));
    let members = run(&["members", "--seed", &seed.to_string()]);
    assert_eq!(members.status.code(), Some(1), "what its disk alone tells is told to nobody");
    let led = cluster.mark();
    cluster.start(seeds[1]);
    cluster.wait_for("a leader", led, &[seeds[1]], |_, e| e.event == "LEADER");
    cluster.wait_for_death(mark, cluster.address(peers[0]), survivors);
    let dropped: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "SUSPICION_DROPPED")
        .map(|(_, e)| e.line.as_str())
        .collect();
    assert_eq!(dropped, Vec::<&str>::new(), "nobody had found it alive");
    let strangers = cluster.seen[mark..].iter().any(|(_, e)| e.get("reason") == "stranger");
    assert!(!strangers, "the reporters are members");
}
