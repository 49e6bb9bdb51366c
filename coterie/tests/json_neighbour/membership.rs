//! Its membership: registered once, by whichever seed, and back after a restart.

use std::collections::{BTreeMap, BTreeSet};

use coterie::cluster::LogEvent;
use serde_json::json;

use super::common::{TestCluster, Watched, run, wait_until};
use super::program::{Heard, Kind, Program};
use super::shared::{is_registered, native, native_names, none_about, sorted, wait_for_members};
use super::wire::{address_in, addresses, ask, text};

#[test]
fn a_program_that_registers_with_every_seed_is_one_member_with_one_incarnation() {
    let mut cluster = native(3, 3);
    let (first, second) = (Program::start(&cluster), Program::start(&cluster));
    for seed in cluster.seeds() {
        let answer = first.register(cluster.socket(seed));
        assert_eq!(answer["status"], "ok", "{answer}");
        assert_eq!(
            sorted(addresses(&answer["peer_list"])),
            native_names(&cluster),
            "all but the asker: {answer}"
        );
    }
    // A second registration on a kept connection changes nothing either.
    let seed = cluster.socket(0);
    first.tell_seed(seed, &first.register_request());
    first.wait_for("a second answer on the same connection", |h| h.is("REGISTER_RESPONSE"));
    let again = first.heard().into_iter().find(|h| h.is("REGISTER_RESPONSE")).expect("waited for it").message;
    assert_eq!(again["status"], "ok", "{again}");

    // The second program comes later in the log, so what the first one caused has been said by then.
    second.join(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("the second program at every seed", 0, &seeds, |_, e| is_registered(e, &second.name()));
    let mut admissions = BTreeSet::new();
    for seed in seeds {
        let log = cluster.whole_log(seed);
        let lines: Vec<&LogEvent> = log.iter().filter(|e| is_registered(e, &first.name())).collect();
        assert_eq!(lines.len(), 1, "one REGISTERED at seed {seed}: {lines:?}");
        admissions.insert((lines[0].get("incarnation").to_owned(), lines[0].get("epoch").to_owned()));
    }
    assert_eq!(admissions.len(), 1, "one incarnation, one epoch: {admissions:?}");
    wait_for_members(&mut cluster, 5);

    let listed = run(&["members", "--seed", &seed.to_string()]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    let own = |line: &&str| line.split(' ').next() == Some(first.name().as_str());
    assert_eq!(listed.lines().filter(own).count(), 1, "{listed}");
    let open = first.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended);
    assert_eq!(open.len(), 3, "no registration closed the connection of another");
}

#[test]
fn a_member_is_listed_to_others_and_not_to_itself() {
    let mut cluster = native(3, 2);
    let (first, second) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    let own = &first;
    let request =
        json!({"type": "PEER_LIST_REQUEST", "ip": own.me().ip().to_string(), "port": own.me().port()});
    for seed in cluster.seeds() {
        let seed = cluster.socket(seed);
        first.tell_seed(seed, &request);
        let is_list = |h: &Heard| h.is("PEER_LIST_RESPONSE") && first.seed_of(h.connection) == Some(seed);
        first.wait_for("a list on the kept connection", is_list);
        let list = first.heard().into_iter().find(is_list).expect("waited for it").message;
        let mut expected = native_names(&cluster);
        expected.push(second.name());
        assert_eq!(sorted(addresses(&list["peer_list"])), sorted(expected), "{list}");

        // Anybody may ask. A stranger is told of all members.
        let stranger = json!({"type": "PEER_LIST_REQUEST", "ip": "192.0.2.7", "port": 9});
        let answer = ask(seed, &stranger);
        assert_eq!(answer["type"], "PEER_LIST_RESPONSE");
        let mut everybody = native_names(&cluster);
        everybody.extend([first.name(), second.name()]);
        assert_eq!(sorted(addresses(&answer["peer_list"])), sorted(everybody), "{answer}");
    }
}

/// `peer_list` is "without the asker", and the asker is named in the request.
#[test]
fn a_member_that_asks_for_the_peers_on_a_fresh_connection_is_not_in_its_own_list() {
    let mut cluster = native(1, 2);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 3);
    let request = json!({"type": "PEER_LIST_REQUEST", "ip": program.me().ip().to_string(), "port": program.me().port()});
    let answer = ask(cluster.socket(0), &request);
    assert_eq!(sorted(addresses(&answer["peer_list"])), native_names(&cluster), "{answer}");
}

#[test]
fn life_0_cannot_take_the_address_of_a_living_native_peer() {
    let mut cluster = native(3, 2);
    let owner = cluster.peers()[0];
    let address = cluster.socket(owner);
    let registered = |cluster: &TestCluster, seed: usize| {
        cluster.whole_log(seed).iter().filter(|e| is_registered(e, &address.to_string())).count()
    };
    for seed in cluster.seeds() {
        for life in [None, Some(0)] {
            let mut request =
                json!({"type": "REGISTER_REQUEST", "ip": address.ip().to_string(), "port": address.port()});
            if let Some(life) = life {
                request["life"] = json!(life);
            }
            let answer = ask(cluster.socket(seed), &request);
            assert_eq!(answer["status"], "rejected", "{answer}");
            assert_eq!(text(&answer, "reason"), "address_in_use", "{answer}");
            assert_eq!(answer["retry"], false, "{answer}");
            assert_eq!(answer["peer_list"], json!([]), "{answer}");
        }
    }
    // Later in the log than anything the attempts could have left there.
    let program = Program::joined(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("a later registration", 0, &seeds, |_, e| is_registered(e, &program.name()));
    for seed in seeds {
        assert_eq!(registered(&cluster, seed), 1, "the owner's own registration at seed {seed}");
    }
    wait_for_members(&mut cluster, 3);
    none_about(&cluster, "DEAD_CONFIRMED", "dead", address);
    assert!(cluster.seen.iter().all(|(_, e)| e.event != "DECLARED_DEAD"));
}

#[test]
fn a_registration_without_a_majority_times_out_and_succeeds_when_the_seeds_are_back() {
    let mut cluster = native(3, 0);
    cluster.kill(1);
    cluster.kill(2);
    let program = Program::start(&cluster);
    let answer = program.register(cluster.socket(0));
    assert_eq!(answer["status"], "timeout", "{answer}");
    assert_eq!(answer["retry"], true, "{answer}");
    cluster.start(1);
    cluster.start(2);
    let mut answer = json!(null);
    wait_until("a registration to be granted", || {
        answer = program.register(cluster.socket(0));
        answer["status"] == "ok"
    });
    program.join(&cluster);
    let mark = 0;
    let seeds = cluster.seeds();
    // The second seed that came back may have taken part only when it was decided: to it that is no news, but a view.
    let is_known =
        |e: &LogEvent| is_registered(e, &program.name()) || e.event == "VIEW" && e.get("members") == "1";
    cluster.wait_for("the registration at every seed", mark, &seeds, |_, e| is_known(e));
}

#[test]
fn a_program_that_restarts_at_once_is_ok_everywhere_and_still_the_same_member() {
    // Nobody is its neighbour, so nobody notices that it was away.
    let mut cluster = native(3, 0);
    let mut program = Program::joined(&cluster);
    let me = program.me();
    program.kill();
    let again = Program::start_at(me);
    again.join(&cluster);
    let other = Program::joined(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("a later registration", 0, &seeds, |_, e| is_registered(e, &other.name()));
    for seed in seeds {
        let lines = cluster.whole_log(seed).into_iter().filter(|e| is_registered(e, &me.to_string())).count();
        assert_eq!(lines, 1, "one entry at seed {seed}");
    }
    assert_eq!(again.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(), 3);
}

#[test]
fn a_program_that_loses_its_sessions_but_answers_stays_a_member() {
    let mut cluster = native(3, 1);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 2);
    for session in program.connections(|c| matches!(c.kind, Kind::Seed(_))) {
        program.close(session);
    }
    // The seeds miss it, ask for themselves, and find it alive.
    let name = program.name();
    let refuted = |e: &LogEvent| {
        e.event == "DEAD_REJECTED" && e.get("dead") == name && e.get("reason").starts_with("alive")
    };
    cluster.wait("an absence that is refuted", 0, |events| events.iter().any(|(_, e)| refuted(e)));
    let answer = ask(cluster.socket(0), &json!({"type": "PEER_LIST_REQUEST", "ip": "192.0.2.7", "port": 9}));
    assert!(addresses(&answer["peer_list"]).contains(&program.name()), "{answer}");
    cluster.look();
    none_about(&cluster, "DEAD_CONFIRMED", "dead", program.me());
}

#[test]
fn a_new_life_at_its_address_replaces_it_and_no_death_is_told() {
    let mut cluster = TestCluster::prepare(1, 1, &[], &["--messages", "0"]);
    cluster.start(0);
    cluster.wait_for_all("LEADER", &[0]);
    let peer = cluster.peers()[0];
    let mut old = Program::start_at(cluster.socket(peer));
    let watcher = Program::start(&cluster);
    old.join(&cluster);
    watcher.join(&cluster);
    // Nobody is its neighbour, so nobody accuses it before the new life is there.
    old.kill();
    cluster.start(peer);
    cluster.wait_for_all("JOINED", &[peer]);
    let mut victim = Program::joined(&cluster);
    victim.dial(cluster.socket(peer));
    wait_for_members(&mut cluster, 3);
    victim.kill();
    watcher.wait_for("a later death", |h| {
        h.is("DEAD_CONFIRMED") && address_in(&h.message, "dead_") == victim.name()
    });
    assert_eq!(watcher.deaths_told(old.me()), BTreeMap::new(), "it was replaced");
    none_about(&cluster, "DEAD_CONFIRMED", "dead", old.me());
    // Another seed may have told the watcher, sooner than this one has written it.
    let last = victim.name();
    cluster.wait_for("the later death", 0, &[0], |_, e| e.event == "DEAD_CONFIRMED" && e.get("dead") == last);
    let lines: Vec<LogEvent> =
        cluster.whole_log(0).into_iter().filter(|e| is_registered(e, &old.name())).collect();
    assert_eq!(lines.len(), 2, "the old life and the new one: {lines:?}");
}
