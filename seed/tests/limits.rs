//! What is too much for a seed is refused by the name of the limit, and nothing else suffers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_common::limits::{
    ABSENCE_GRACE, ALL_TAGS_BYTES_MAX, BALLOTS_MAX, DEATHS_PER_ENTRY_MAX, FORWARDED_MAX, HINTS_PER_SECOND,
    JOINERS_PROBED_MAX, JSON_PEER_LIST_MAX, MEMBERS_MAX, REQUESTS_PER_SECOND, SEEDS_MAX, TAG_BYTES_MAX,
    VIA_BYTES_MAX,
};
use coterie_common::message::{
    Answer, BallotId, Candidate, Cause, ClusterId, DeathReport, SeedChange, SeedId, SessionMessage, Subject,
    Vote,
};
use coterie_common::{
    Address, Epoch, Finding, HostEvidence, Incarnation, Instant, Life, MemberId, Message, Patience,
    ProbeTarget, Tags, Timestamp, Why, Wire,
};
use coterie_seed::core::entry::{Body, SeedRecord};
use coterie_seed::core::{Commit, Config, Effect, Entry, Input, Payload, Registry, Seed, SessionId};

fn address(number: usize) -> Address {
    let [_, high, middle, low] = (number as u32).to_be_bytes();
    Address::new([10, high, middle, low].into(), 7_000)
}

fn candidate(number: usize, tag_bytes: usize) -> Candidate {
    let tags: Tags =
        if tag_bytes > 0 { [("t".to_owned(), "x".repeat(tag_bytes - 3))].into() } else { Tags::new() };
    Candidate { address: address(number), life: Life(1), wire: Wire::Native, tags }
}

/// The registry of a cluster of so many seeds, of which the first alone has a vote.
fn founded(seeds: u64) -> Registry {
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![[SeedId(0)].into()]);
    let record = |id: u64| {
        (SeedId(id), SeedRecord { address: format!("10.255.0.{}:5011", id + 1), directory_id: Some(id + 1) })
    };
    let found = Body::Found { cluster: ClusterId([1; 16]), seeds: (0..seeds).map(record).collect() };
    registry.apply(1, &Entry::new(found));
    registry
}

/// The registry of a cluster of one seed with so many members, each with so many bytes of tags.
fn registry(members: usize, tag_bytes: usize) -> Registry {
    let mut registry = founded(1);
    for number in 0..members {
        let candidate = candidate(number, tag_bytes);
        let ballot = BallotId { term: 1, number: number as u64 };
        let replaces = Incarnation::NONE;
        let subject = Subject::Admission { address: candidate.address, life: candidate.life, replaces };
        let (finding, host) = (Finding::Alive, HostEvidence::Unknown);
        let votes = vec![Vote { seed: SeedId(0), ballot, subject, finding, host }];
        registry.apply(number as u64 + 2, &Entry::new(Body::Join { ballot, candidate, replaces, votes }));
    }
    assert_eq!(registry.members().len(), members);
    registry
}

/// The only seed of a cluster, leading.
fn leader(registry: Registry) -> Seed {
    let config = Config {
        id: SeedId(0),
        address: "10.255.0.1:5011".parse().unwrap(),
        seeds: [(SeedId(0), "10.255.0.1:5011".to_owned())].into(),
        directory_id: 1,
        cluster: None,
        requests_from: 0,
        patience: Patience::default(),
        printed: 0,
        started: Timestamp::default(),
    };
    let mut seed = Seed::new(config, registry, [7; 32]);
    seed.step(Instant::START, Input::Leader { leader: Some(SeedId(0)), term: 1 });
    seed
}

fn register(seed: &mut Seed, request: u64, candidate: Candidate) -> Option<Answer> {
    let effects = seed.step(Instant::START, Input::Register { request, candidate });
    effects.into_iter().find_map(|effect| match effect {
        Effect::Reply { answer, .. } => Some(answer),
        _ => None,
    })
}

fn assert_limit(answer: Option<Answer>, named: usize) {
    let Some(Answer::Refused(refusal)) = answer else { panic!("not refused: {answer:?}") };
    assert_eq!(refusal.why, Why::Limit);
    assert!(refusal.detail.contains(&named.to_string()), "{refusal}");
}

#[test]
fn one_ballot_too_many_is_refused_and_those_under_way_go_on() {
    let mut seed = leader(registry(0, 0));
    for number in 0..BALLOTS_MAX.get() {
        assert_eq!(register(&mut seed, number as u64, candidate(number, 0)), None);
    }
    assert_limit(register(&mut seed, 9_999, candidate(BALLOTS_MAX.get(), 0)), BALLOTS_MAX.get());
    let probed = Input::Probed {
        target: ProbeTarget { address: address(0), life: Life(1) },
        finding: Finding::Alive,
        host: HostEvidence::Unknown,
    };
    let effects = seed.step(Instant::START, probed);
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Propose(Entry { body: Body::Join { .. }, .. }))),
        "{effects:?}"
    );
}

#[test]
fn joiners_are_asked_about_as_many_at_a_time_as_the_seeds_can_probe() {
    let mut seed = leader(registry(0, 0));
    let mut probed = Vec::new();
    let mut step = |seed: &mut Seed, now: Instant, input: Input| {
        for effect in seed.step(now, input) {
            if let Effect::Probe(order) = effect {
                probed.push(order.target());
            }
        }
        probed.len()
    };
    let most = JOINERS_PROBED_MAX.get();
    for number in 0..most + 2 {
        let input = Input::Register { request: number as u64, candidate: candidate(number, 0) };
        step(&mut seed, Instant::START, input);
        seed.verify();
    }
    assert_eq!(step(&mut seed, Instant::START, Input::Wake), most);
    let target = ProbeTarget { address: address(3), life: Life(1) };
    let found = Input::Probed { target, finding: Finding::Alive, host: HostEvidence::Unknown };
    assert_eq!(step(&mut seed, Instant::START, found), most + 1, "one is found, the next is looked at");
    seed.verify();
    assert_eq!(probed[..most], (0..most).map(joiner).collect::<Vec<_>>());
    assert_eq!(probed[most], joiner(most), "who came first comes first");
}

fn joiner(number: usize) -> ProbeTarget {
    ProbeTarget { address: address(number), life: Life(1) }
}

#[test]
fn a_full_cluster_takes_no_new_member_but_a_new_life_of_an_old_one() {
    let mut seed = leader(registry(MEMBERS_MAX, 0));
    assert_limit(register(&mut seed, 1, candidate(MEMBERS_MAX, 0)), MEMBERS_MAX);
    let again = Candidate { life: Life(2), ..candidate(0, 0) };
    assert_eq!(register(&mut seed, 2, again), None, "it is being probed");
}

#[test]
fn tags_are_limited_for_one_and_for_all() {
    let mut seed = leader(registry(ALL_TAGS_BYTES_MAX / TAG_BYTES_MAX, TAG_BYTES_MAX - 2));
    assert_limit(register(&mut seed, 1, candidate(5_000, TAG_BYTES_MAX + 1)), TAG_BYTES_MAX);
    assert_limit(register(&mut seed, 2, candidate(5_001, 200)), ALL_TAGS_BYTES_MAX);
    assert_eq!(register(&mut seed, 3, candidate(5_002, 0)), None, "without tags there is room");
}

fn member(number: usize) -> MemberId {
    MemberId { address: address(number), incarnation: Incarnation(number as u64 + 2) }
}

/// A member says that the connections to these broke.
fn report(seed: &mut Seed, session: u64, reporter: usize, dead: std::ops::Range<usize>) -> Vec<ProbeTarget> {
    let epoch = seed.registry().epoch();
    let mut said = vec![
        SessionMessage::Cluster(Some(ClusterId([1; 16]))),
        SessionMessage::Open { member: member(reporter), life: Life(1), epoch },
    ];
    said.extend(dead.map(|number| {
        SessionMessage::Report(DeathReport {
            dead: member(number),
            suspected: None,
            timestamp: Timestamp::default(),
            cause: Cause::ConnectionLost,
            votes: Vec::new(),
            undecided: true,
        })
    }));
    let mut probed = Vec::new();
    for message in said {
        let (session, wire) = (SessionId(session), Wire::Native);
        let input = Input::Session { session, wire, message: Message::Session(message) };
        for effect in seed.step(seed.now(), input) {
            if let Effect::Probe(order) = effect {
                probed.push(order.target());
            }
        }
    }
    probed
}

#[test]
fn many_deaths_are_shared_out_among_entries_that_fit_a_frame() {
    let count = DEATHS_PER_ENTRY_MAX + 44;
    let mut seed = leader(registry(count + 2, 0));
    let mut targets = report(&mut seed, 1, count, 0..200);
    targets.extend(report(&mut seed, 2, count + 1, 200..count));
    assert_eq!(targets.len(), count, "each is probed, for proof knows no budget");
    let mut sizes = Vec::new();
    let mut take = |effects: Vec<Effect>| {
        for effect in effects {
            if let Effect::Propose(Entry { body: Body::Deaths(verdicts), .. }) = effect {
                sizes.push(verdicts.len());
            }
        }
    };
    for target in targets {
        let (finding, host) = (Finding::Refused, HostEvidence::Unknown);
        take(seed.step(Instant::START, Input::Probed { target, finding, host }));
    }
    take(seed.step(Instant::START + Duration::from_millis(40), Input::Wake));
    assert_eq!(sizes.iter().sum::<usize>(), count, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= DEATHS_PER_ENTRY_MAX), "{sizes:?}");
}

/// The first after a quiet time is told at once.
#[test]
fn deaths_that_are_found_one_after_the_other_share_entries_in_a_large_cluster() {
    for (members, expected) in [(400, vec![1, 9]), (40, vec![1; 10])] {
        let mut seed = leader(registry(members, 0));
        let mut sizes = Vec::new();
        let mut step = |seed: &mut Seed, now: Instant, input: Input| {
            for effect in seed.step(now, input) {
                if let Effect::Propose(Entry { body: Body::Deaths(deaths), .. }) = effect {
                    sizes.push(deaths.len());
                }
            }
        };
        let mut now = Instant::START + Duration::from_secs(1);
        seed.step(now, Input::Wake);
        for number in 0..10 {
            now = now + Duration::from_millis(1);
            for target in report(&mut seed, 1, members - 1, number..number + 1) {
                let (finding, host) = (Finding::Refused, HostEvidence::Unknown);
                step(&mut seed, now, Input::Probed { target, finding, host });
                seed.verify();
            }
        }
        let due = seed.next_deadline();
        assert!(due > now, "it waits for what is to come");
        step(&mut seed, due.max(now + Duration::from_millis(25)), Input::Wake);
        assert_eq!(sizes, expected, "{members} members");
    }
}

fn pushes(effects: Vec<Effect>) -> usize {
    effects.into_iter().filter(|effect| matches!(effect, Effect::Push { .. })).count()
}

/// Who ends is told at once, and who joined before with it.
#[test]
fn joins_wait_for_each_other_where_there_are_many_sessions() {
    let members = 100;
    let mut seed = leader(registry(members, 0));
    let start = Instant::START + Duration::from_secs(1);
    seed.step(start, Input::Wake);
    for number in 0..members {
        report(&mut seed, number as u64 + 1, number, 0..0);
    }
    let join = |seed: &mut Seed, now: Instant, number: usize| {
        let (ballot, candidate) = (BallotId { term: 1, number: number as u64 }, candidate(number, 0));
        let (replaces, subject) = (
            Incarnation::NONE,
            Subject::Admission { address: candidate.address, life: Life(1), replaces: Incarnation::NONE },
        );
        let vote =
            Vote { seed: SeedId(0), ballot, subject, finding: Finding::Alive, host: HostEvidence::Unknown };
        apply(seed, now, Body::Join { ballot, candidate, replaces, votes: vec![vote] })
    };
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(join(&mut seed, at(0), members), 1, "the first after a quiet time");
    for id in 1..=members {
        seed.step(at(0), Input::SessionDrained(SessionId(id as u64)));
    }
    assert_eq!(join(&mut seed, at(1), members + 1), 0);
    assert_eq!(seed.next_deadline(), at(25), "a quarter of what 100 sessions cost");
    assert_eq!(pushes(seed.step(at(25), Input::Wake)), 1);
    for id in 1..=members {
        seed.step(at(25), Input::SessionDrained(SessionId(id as u64)));
    }
    assert_eq!(join(&mut seed, at(26), members + 2), 0);
    assert_eq!(apply(&mut seed, at(27), Body::Leave(member(3))), 1, "who leaves is no join");
    seed.verify();
}

/// The log has another entry; returns how many things are pushed.
fn apply(seed: &mut Seed, now: Instant, body: Body) -> usize {
    let index = seed.registry().applied() + 1;
    let mut after = seed.registry().clone();
    let outcome = after.apply(index, &Entry::new(body.clone()));
    assert!(!outcome.changes.is_empty(), "{outcome:?}");
    pushes(
        seed.step(now, Input::Committed(vec![Commit { index, payload: Payload::Entry(Entry::new(body)) }])),
    )
}

/// The rest are found absent again when some of these are over. Of those that there may be the seeds are asked about
/// some at a time: half of what each may probe, which is a twentieth of the members.
#[test]
fn no_more_absences_are_voted_on_at_a_time_than_there_may_be_ballots_and_probes() {
    let mut seed = leader(registry(BALLOTS_MAX.get() + 2, 0));
    let (mut probes, mut now) = (0, Instant::START);
    while now < Instant::START + ABSENCE_GRACE.get() + Duration::from_millis(100) {
        now = now + Duration::from_millis(100);
        let effects = seed.step(now, Input::Wake);
        probes += effects.iter().filter(|effect| matches!(effect, Effect::Probe(_))).count();
    }
    assert_eq!(seed.counters().get("ballots_of_absence"), Some(&(BALLOTS_MAX.get() as u64)));
    assert_eq!(probes, (BALLOTS_MAX.get() + 2) / 20 / 2);
}

#[test]
fn one_seed_too_many_is_refused() {
    let add = || SessionMessage::ChangeSeeds(SeedChange::Add("10.255.1.1:5011".to_owned()));
    let refusal = |seeds: usize| {
        let mut seed = leader(founded(seeds as u64));
        let effects = say(&mut seed, Wire::Native, add());
        effects.into_iter().find_map(|effect| match effect {
            Effect::Send {
                message: Message::Session(SessionMessage::SeedsChanged(Err(refusal))), ..
            } => Some(refusal),
            _ => None,
        })
    };
    assert_eq!(refusal(SEEDS_MAX - 1), None);
    assert_limit(refusal(SEEDS_MAX).map(Answer::Refused), SEEDS_MAX);
}

fn say(seed: &mut Seed, wire: Wire, message: SessionMessage) -> Vec<Effect> {
    let session = SessionId(1);
    seed.step(Instant::START, Input::Session { session, wire, message: Message::Session(message) })
}

#[test]
fn a_json_program_is_given_so_many_members_and_no_more() {
    let mut seed = leader(registry(JSON_PEER_LIST_MAX + 7, 0));
    let effects = say(&mut seed, Wire::Json, SessionMessage::ListRequest { asker: None });
    let lists: Vec<usize> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { message: Message::Session(SessionMessage::List(roster)), .. } => {
                Some(roster.members.len())
            }
            _ => None,
        })
        .collect();
    assert_eq!(lists, [JSON_PEER_LIST_MAX]);
}

#[test]
fn hints_that_come_too_often_are_dropped_and_counted() {
    let mut seed = leader(registry(2, 0));
    let member =
        |number: usize| MemberId { address: address(number), incarnation: Incarnation(number as u64 + 2) };
    let open = SessionMessage::Open { member: member(0), life: Life(1), epoch: Epoch(3) };
    say(&mut seed, Wire::Native, SessionMessage::Cluster(Some(ClusterId([1; 16]))));
    say(&mut seed, Wire::Native, open);
    let hint = SessionMessage::Hint { suspect: member(1), cause: Cause::PingsMissed };
    for _ in 0..=HINTS_PER_SECOND.get() {
        say(&mut seed, Wire::Native, hint.clone());
    }
    assert_eq!(seed.counters().get("hints_dropped"), Some(&1));
}

#[test]
fn reports_and_reads_that_come_too_often_are_not_taken() {
    let mut seed = leader(registry(2, 0));
    let id =
        |number: usize| MemberId { address: address(number), incarnation: Incarnation(number as u64 + 2) };
    let open = SessionMessage::Open { member: id(0), life: Life(1), epoch: Epoch(3) };
    say(&mut seed, Wire::Native, SessionMessage::Cluster(Some(ClusterId([1; 16]))));
    say(&mut seed, Wire::Native, open);
    for _ in 0..=REQUESTS_PER_SECOND.get() {
        say(&mut seed, Wire::Native, SessionMessage::Leave(id(1)));
    }
    assert_eq!(seed.counters().get("requests_dropped"), Some(&1));
    let effects = say(&mut seed, Wire::Native, SessionMessage::Observe { linearizable: true });
    assert!(matches!(&effects[..], [Effect::Close { .. }]), "{effects:?}");
}

#[test]
fn so_many_requests_wait_for_a_leader_and_no_more() {
    let mut seed = leader(registry(0, 0));
    seed.step(Instant::START, Input::Leader { leader: None, term: 1 });
    for number in 0..FORWARDED_MAX.get() {
        assert_eq!(register(&mut seed, number as u64, candidate(number, 0)), None);
    }
    assert_limit(register(&mut seed, 99_999, candidate(FORWARDED_MAX.get(), 0)), FORWARDED_MAX.get());
}

#[test]
fn an_observers_name_is_as_long_as_a_name_can_be() {
    let mut seed = leader(registry(1, 0));
    let long = SessionMessage::Say { content: "hello".into(), via: "x".repeat(VIA_BYTES_MAX + 1) };
    let effects = say(&mut seed, Wire::Native, long);
    let refused = |e: &Effect| {
        matches!(e, Effect::Send { message: Message::Session(SessionMessage::Said(Err(_))), .. })
    };
    assert!(effects.iter().any(refused), "{effects:?}");
}
