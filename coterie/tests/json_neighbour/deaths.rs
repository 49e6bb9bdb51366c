//! Deaths: those of others, and its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use coterie::cluster::LogEvent;
use serde_json::json;

use super::common::Watched;
use super::common::wait_until;
use super::program::{Connection, Habits, Heard, Kind, Program};
use super::shared::{
    coterie_address, is_registered, link_with_all, native, none_about, patient, wait_for_gossip,
    wait_for_members,
};
use super::wire::{address_in, addresses};

#[test]
fn its_vote_counts_in_a_jury_and_it_is_told_the_verdict() {
    let mut cluster = patient(3, 2, "4s");
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 3);
    let (survivor, victim) = (cluster.peers()[0], cluster.peers()[1]);
    let dead = cluster.socket(victim);
    let victims_name = dead.to_string();
    cluster.wait_for("the link of the two", 0, &[survivor], |_, e| {
        e.event == "LINK_UP" && e.get("peer") == victims_name
    });
    let mark = cluster.mark();
    // A process closes its sockets one after the other: the program looks when the listener is closed too.
    program.pause();
    cluster.kill(victim);
    program.resume();
    let everybody: Vec<usize> = cluster.seeds().into_iter().chain([survivor]).collect();
    let address = cluster.address(victim);
    cluster.wait_for_death(mark, address, &everybody);

    let request =
        program.heard().into_iter().find(|h| h.is("SUSPECT_REQUEST")).expect("it was asked").message;
    assert_eq!(address_in(&request, "suspect_"), dead.to_string());
    assert_eq!(address_in(&request, "requester_"), cluster.address(survivor).to_string());
    let vote = cluster.events_of(mark, survivor).into_iter().find(|e| e.event == "SUSPECT_RESPONSE").cloned();
    let vote = vote.expect("its vote arrived");
    assert_eq!((vote.get("from"), vote.get("alive")), (program.name().as_str(), "false"), "{}", vote.line);
    // The survivor and the program are the whole jury, so both were needed.
    let report = cluster.events_of(mark, survivor).into_iter().find(|e| e.event == "DEAD_REPORT").cloned();
    let report = report.expect("the survivor reported it");
    assert_eq!(report.number("votes"), Some(2), "{}", report.line);

    let seeds: Vec<SocketAddr> = cluster.seeds().into_iter().map(|s| cluster.socket(s)).collect();
    wait_until("the news from every seed", || program.deaths_told(dead).len() == seeds.len());
    let once: BTreeMap<SocketAddr, usize> = seeds.into_iter().map(|seed| (seed, 1)).collect();
    assert_eq!(program.deaths_told(dead), once, "once on each kept connection");
}

#[test]
fn a_juror_that_is_busy_for_two_seconds_is_not_accused() {
    let mut cluster = native(1, 2);
    let program = Program::start_with(&cluster, Habits { busy: Duration::from_secs(2), strips: false });
    program.join(&cluster);
    wait_for_members(&mut cluster, 3);
    let (survivor, victim) = (cluster.peers()[0], cluster.peers()[1]);
    program.dial(cluster.socket(survivor));
    let name = program.name();
    cluster.wait_for("its link", 0, &[survivor], |_, e| e.event == "LINK_UP" && e.get("peer") == name);
    let mark = cluster.mark();
    let dead = cluster.address(victim);
    cluster.kill(victim);
    cluster.wait_for_death(mark, dead, &[0, survivor]);
    program.wait_for("the question", |h| h.is("SUSPECT_REQUEST"));
    // Pings that follow the question on its connection are read when the check is over. If both dialled each other,
    // the pair has a newer connection by then, and pings come on that.
    let question = program.heard().iter().position(|h| h.is("SUSPECT_REQUEST")).expect("waited for it");
    wait_until("pings after the check", || {
        program.heard()[question..].iter().filter(|h| h.is("PING")).count() >= 2
    });
    cluster.look();
    none_about(&cluster, "SUSPICION", "suspect", program.me());
    none_about(&cluster, "DEAD_CONFIRMED", "dead", program.me());
}

#[test]
fn it_reports_a_death_without_votes_and_the_seeds_find_out_for_themselves() {
    let mut cluster = native(3, 1);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 2);
    let victim = cluster.peers()[0];
    let dead = cluster.socket(victim);
    let name = dead.to_string();
    // The peers may know it sooner than this seed has written it.
    cluster.wait_for("its registration at every seed", 0, &cluster.seeds(), |_, e| is_registered(e, &name));
    let registered = cluster.seen.iter().find(|(_, e)| is_registered(e, &name)).expect("waited for it");
    let incarnation = registered.1.get("incarnation").to_owned();
    let mark = cluster.mark();
    cluster.kill(victim);
    program.report(cluster.socket(1), dead);
    let (address, seeds) = (cluster.address(victim), cluster.seeds());
    cluster.wait_for_death(mark, address, &seeds);

    let reports: Vec<&(usize, LogEvent)> =
        cluster.seen[mark..].iter().filter(|(_, e)| e.event == "DEAD_REPORT").collect();
    assert_eq!(reports.len(), 1, "nobody else was there to report it: {reports:?}");
    let (seed, report) = reports[0];
    assert_eq!(*seed, 1, "at the seed that was told");
    assert_eq!(report.get("reporter"), program.name(), "the reporter is the session's: {}", report.line);
    assert_eq!(
        (report.get("incarnation"), report.number("votes")),
        (incarnation.as_str(), Some(0)),
        "{}",
        report.line
    );
    let line = format!("Dead Node:{}:{}:1763617490.250000:{}", dead.ip(), dead.port(), program.me().ip());
    assert_eq!(report.get("report"), line);
    let position =
        |wanted: &dyn Fn(usize, &LogEvent) -> bool| cluster.seen.iter().position(|(i, e)| wanted(*i, e));
    let reported = position(&|i, e| i == 1 && e.event == "DEAD_REPORT");
    let proposed = position(&|_, e| e.event == "DEAD_PROPOSAL");
    assert!(reported < proposed, "the report opened the ballot: {reported:?} {proposed:?}");
    let votes: BTreeSet<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "DEAD_VOTE" && e.get("vote") == "yes")
        .map(|(_, e)| e.get("voter"))
        .collect();
    assert!(votes.len() >= 2, "a majority of the seeds probed it: {votes:?}");

    wait_until("the news from every seed", || program.deaths_told(dead).len() == 3);
    assert!(program.deaths_told(dead).values().all(|times| *times == 1), "{:?}", program.deaths_told(dead));
}

#[test]
fn a_false_report_about_a_living_peer_is_refused_and_nobody_dies() {
    let mut cluster = native(3, 2);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    let mark = cluster.mark();
    let (accused, victim) = (cluster.peers()[0], cluster.peers()[1]);
    let seeds = cluster.seeds();
    // About a native peer and about another program, at every seed.
    for wrongly in [cluster.socket(accused), watcher.me()] {
        for seed in &seeds {
            program.report(cluster.socket(*seed), wrongly);
        }
        let name = wrongly.to_string();
        cluster.wait_for("the refusal at every seed", mark, &seeds, |_, e| {
            e.event == "DEAD_REJECTED" && e.get("dead") == name && e.get("reason").starts_with("alive")
        });
    }
    // A real death comes later in the log.
    let dead = cluster.address(victim);
    cluster.kill(victim);
    program.report(cluster.socket(0), cluster.socket(victim));
    let everybody: Vec<usize> = seeds.iter().copied().chain([accused]).collect();
    cluster.wait_for_death(mark, dead, &everybody);
    for wrongly in [cluster.socket(accused), watcher.me()] {
        none_about(&cluster, "DEAD_CONFIRMED", "dead", wrongly);
        assert_eq!(program.deaths_told(wrongly), BTreeMap::new());
    }
    assert!(cluster.seen.iter().all(|(_, e)| e.event != "DECLARED_DEAD"));
    assert_eq!(
        program.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(),
        3,
        "nor is it sent away"
    );
}

#[test]
fn when_it_dies_everybody_confirms_it_and_when_it_registers_again_it_is_back() {
    let mut cluster = native(3, 3);
    let (mut program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    let me = program.me();
    wait_for_members(&mut cluster, 5);
    let peers = cluster.peers();
    link_with_all(&mut cluster, &program);
    let name = program.name();
    let mark = cluster.mark();
    program.kill();
    let everybody: Vec<usize> = (0..6).collect();
    cluster.wait_for_death(mark, coterie_address(me), &everybody);
    let confirmed: Vec<&LogEvent> =
        cluster.seen[mark..].iter().map(|(_, e)| e).filter(|e| e.event == "DEAD_CONFIRMED").collect();
    assert_eq!(confirmed.len(), 6, "once at each node: {confirmed:?}");
    let epochs: BTreeSet<&str> = confirmed.iter().map(|e| e.get("epoch")).collect();
    assert_eq!(epochs.len(), 1, "one entry: {epochs:?}");
    let old: u64 = confirmed[0].number("incarnation").expect("a number");
    let accused: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "SUSPICION")
        .map(|(_, e)| e.get("suspect"))
        .collect();
    assert!(!accused.is_empty() && accused.iter().all(|a| *a == name), "its neighbours noticed: {accused:?}");
    wait_until("the news from every seed", || watcher.deaths_told(me).len() == 3);

    let again = Program::start_at(me);
    let mark = cluster.mark();
    again.join(&cluster);
    cluster.wait_for("its new registration", mark, &[0, 1, 2], |_, e| is_registered(e, &name));
    let new = cluster.seen[mark..]
        .iter()
        .find(|(_, e)| is_registered(e, &name))
        .and_then(|(_, e)| e.number("incarnation"));
    assert!(new > Some(old), "a new incarnation: {new:?} after {old}");
    wait_for_members(&mut cluster, 5);
    // It takes part again.
    let link = again.dial(cluster.socket(peers[0]));
    again.say_on(link, &again.gossip("back again"));
    wait_for_gossip(&mut cluster, mark, "back again", &peers);
    // On the same session the death came before the return became visible.
    for seed in cluster.seeds() {
        let seed = cluster.socket(seed);
        watcher.tell_seed(seed, &json!({"type": "PEER_LIST_REQUEST", "ip": watcher.me().ip().to_string(), "port": watcher.me().port()}));
        let on_it = |h: &Heard| watcher.seed_of(h.connection) == Some(seed);
        let is_listed =
            |h: &Heard| h.is("PEER_LIST_RESPONSE") && addresses(&h.message["peer_list"]).contains(&name);
        watcher.wait_for("its name in a list", |h| on_it(h) && is_listed(h));
        let heard: Vec<Heard> = watcher.heard().into_iter().filter(|h| on_it(h)).collect();
        let told = heard.iter().position(|h| h.is("DEAD_CONFIRMED"));
        assert!(told.is_some() && told < heard.iter().position(is_listed), "{heard:?}");
    }
    assert!(
        watcher.deaths_told(me).values().all(|times| *times == 1),
        "told once: {:?}",
        watcher.deaths_told(me)
    );
}

#[test]
fn when_it_stands_still_with_open_sockets_its_neighbours_have_it_confirmed_dead() {
    let mut cluster = native(3, 2);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    link_with_all(&mut cluster, &program);
    let name = program.name();
    let mark = cluster.mark();
    program.pause();
    let everybody: Vec<usize> = (0..5).collect();
    cluster.wait_for_death(mark, coterie_address(program.me()), &everybody);
    let cause = cluster.seen[mark..]
        .iter()
        .find(|(_, e)| e.event == "SUSPICION")
        .map(|(_, e)| e.get("cause").to_owned());
    assert_eq!(cause.as_deref(), Some("pings_missed"));
    wait_until("the news from every seed", || watcher.deaths_told(program.me()).len() == 3);

    // When it moves again it finds its links and sessions closed, and is a member when it registers again.
    program.resume();
    let ours = |c: &Connection| matches!(c.kind, Kind::Seed(_)) || c.neighbour.is_some();
    wait_until("its connections to be closed by ours", || {
        program.connections(|c| ours(c) && !c.ended).is_empty()
    });
    let mark = cluster.mark();
    program.join(&cluster);
    cluster.wait_for("its return", mark, &[0, 1, 2], |_, e| is_registered(e, &name));
    wait_for_members(&mut cluster, 4);
}

#[test]
fn when_it_stands_still_without_a_neighbour_the_seeds_find_it_dead_by_themselves() {
    let mut cluster = native(3, 0);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    let mark = cluster.mark();
    program.pause();
    let seeds = cluster.seeds();
    cluster.wait_for_death(mark, coterie_address(program.me()), &seeds);
    assert!(cluster.seen[mark..].iter().all(|(_, e)| e.event != "DEAD_REPORT"), "nobody accused it");
    wait_until("the news from every seed", || watcher.deaths_told(program.me()).len() == 3);
    // The other one has said as little on its sessions, but answers where it listens.
    none_about(&cluster, "DEAD_CONFIRMED", "dead", watcher.me());
    assert_eq!(watcher.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(), 3);
    wait_until("a look after the quiet one", || watcher.count(|h| h.is("PING")) > 0);
}
