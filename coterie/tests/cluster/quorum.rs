//! A majority of the seeds that is lost for a while, and what waits for it.

use std::time::Duration;

use crate::common::{TestCluster, Watched};

/// How soon what waited for a majority is decided when there is a leader again.
const DECIDED_WITHIN: Duration = Duration::from_secs(2);

/// Kills these seeds and then a peer, whose death nobody can decide; returns how long after the next leader it is known
/// everywhere.
fn death_after_the_next_leader(cluster: &mut TestCluster, lost: [usize; 2]) -> Duration {
    let [left, ..] = cluster.seeds().into_iter().filter(|seed| !lost.contains(seed)).collect::<Vec<_>>()[..]
    else {
        panic!("one seed is left")
    };
    let mark = cluster.mark();
    lost.iter().for_each(|&seed| cluster.kill(seed));
    cluster.wait_for("the loss to be said", mark, &[left], |_, e| e.event == "QUORUM_LOST");
    let (dead, others) = (cluster.peers()[0], cluster.peers()[1..].to_vec());
    cluster.kill(dead);
    // Long enough for whoever asks again to ask less and less often.
    let name = cluster.address(dead).to_string();
    cluster.wait("a report that nobody decides, again and again", mark, |events| {
        let reports = |peer: &usize| {
            let is_report = |(index, e): &&(usize, coterie::cluster::LogEvent)| {
                index == peer && e.event == "DEAD_REPORT" && e.get("dead") == name
            };
            events.iter().filter(is_report).count()
        };
        others.iter().any(|peer| reports(peer) >= 4)
    });
    let mark = cluster.mark();
    cluster.start(lost[0]);
    let everybody: Vec<usize> = others.iter().copied().chain([left, lost[0]]).collect();
    cluster.wait_for_death(mark, cluster.address(dead), &everybody);
    let time = |event: &str, node: usize| {
        let events = cluster.events_of(mark, node);
        let found = events.iter().find(|e| e.event == event && (event == "LEADER" || e.get("dead") == name));
        let found = found.unwrap_or_else(|| panic!("no {event}"));
        humantime::parse_rfc3339_weak(&found.time).expect("a time")
    };
    let led = time("LEADER", lost[0]);
    let last = everybody.iter().map(|&node| time("DEAD_CONFIRMED", node)).max().expect("there are nodes");
    last.duration_since(led).unwrap_or_default()
}

/// The survivor follows at the end: nobody answers, and the reports wait at it.
#[test]
fn a_death_that_a_follower_could_not_have_decided_is_found_soon_after_the_next_leader() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let other = cluster.seeds().into_iter().find(|seed| *seed != leader).expect("there are three");
    let took = death_after_the_next_leader(&mut cluster, [other, leader]);
    assert!(took <= DECIDED_WITHIN, "{took:?}");
}

/// The survivor leads at the end: it holds ballots that run out, and answers that there is no majority. Whoever had
/// reported took that for a verdict, and left the dead alone for longer and longer.
#[test]
fn a_death_that_a_leader_could_not_decide_is_found_soon_after_the_next_leader() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|seed| *seed != leader).collect();
    let took = death_after_the_next_leader(&mut cluster, [others[0], others[1]]);
    assert!(took <= DECIDED_WITHIN, "{took:?}");
}
