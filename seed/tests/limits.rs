//! What is too much for a seed is refused by the name of the limit, and nothing else suffers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_common::limits::{
    ABSENCE_GRACE, ALL_TAGS_BYTES_MAX, BALLOTS_MAX, DEATHS_PER_ENTRY_MAX, FORWARDED_MAX, HINTS_PER_SECOND,
    JOINERS_PROBED_MAX, JSON_PEER_LIST_MAX, MEMBERS_MAX, REQUESTS_PER_SECOND, SEEDS_MAX, TAG_BYTES_MAX,
    VIA_BYTES_MAX,
};
use coterie_common::message::{
    Answer, BallotId, Candidate, Cause, ClusterId, DeathReport, MeshMessage, SeedChange, SeedId,
    SessionMessage, Subject, Vote, VoteReply,
};
use coterie_common::{
    Address, Epoch, Finding, HostEvidence, Incarnation, Instant, Life, MemberId, Message, Patience,
    ProbeTarget, Refusal, Secret, Tags, Timestamp, Why, Wire,
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
        registry.apply(number as u64 + 2, &Entry::new(admission(number, tag_bytes)));
    }
    assert_eq!(registry.members().len(), members);
    registry
}

/// The entry that admits a member, by the vote of the only seed.
fn admission(number: usize, tag_bytes: usize) -> Body {
    let candidate = candidate(number, tag_bytes);
    let ballot = BallotId { term: 1, number: number as u64 };
    let replaces = Incarnation::NONE;
    let subject = Subject::Admission { address: candidate.address, life: candidate.life, replaces };
    let (finding, host) = (Finding::Alive, HostEvidence::Unknown);
    let votes = vec![Vote { seed: SeedId(0), ballot, subject, finding, host }];
    Body::Join { ballot, candidate, replaces, votes }
}

/// The only seed of a cluster, leading.
fn leader(registry: Registry) -> Seed {
    leader_with(registry, Patience::default())
}

fn leader_with(registry: Registry, patience: Patience) -> Seed {
    let config = Config {
        id: SeedId(0),
        address: "10.255.0.1:5011".parse().unwrap(),
        seeds: [(SeedId(0), "10.255.0.1:5011".to_owned())].into(),
        directory_id: 1,
        cluster: None,
        requests_from: 0,
        patience,
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

/// Three seeds, and this one leads: what it asks another about.
#[test]
fn joiners_are_asked_about_in_turn_as_many_as_the_seeds_can_probe() {
    let mut registry = founded(3);
    registry.set_seeds(2, vec![(0..3).map(SeedId).collect()]);
    let mut seed = leader(registry);
    let mut asked: Vec<(BallotId, Address)> = Vec::new();
    let mut step = |seed: &mut Seed, now: Instant, input: Input| {
        let effects = seed.step(now, input);
        seed.verify();
        for effect in &effects {
            if let Effect::ToSeed { to: SeedId(1), message: MeshMessage::RegisterProposal(proposal) } = effect
            {
                asked.push((proposal.ballot, proposal.candidate.address));
            }
        }
        (asked.clone(), effects)
    };
    let most = JOINERS_PROBED_MAX.get();
    for number in 0..most + 3 {
        let input = Input::Register { request: number as u64, candidate: candidate(number, 0) };
        step(&mut seed, Instant::START, input);
    }
    let (first, _) = step(&mut seed, Instant::START, Input::Wake);
    let addresses = |asked: &[(BallotId, Address)]| asked.iter().map(|(_, at)| *at).collect::<Vec<_>>();
    assert_eq!(addresses(&first), (0..most).map(address).collect::<Vec<_>>());
    // Two vote for the fourth: it is the log's, and the next is asked about.
    for voter in [1, 2] {
        let input = vote(voter, &first[3], None);
        step(&mut seed, Instant::START, input);
    }
    let (asked, _) = step(&mut seed, Instant::START, Input::Wake);
    assert_eq!(addresses(&asked)[most..], [address(most)]);
    // Two vote against the fifth: it is lost, and another is asked about.
    for voter in [1, 2] {
        let input = vote(voter, &first[4], Some(Why::NotAnswering.into()));
        step(&mut seed, Instant::START, input);
    }
    let (asked, _) = step(&mut seed, Instant::START, Input::Wake);
    assert_eq!(addresses(&asked)[most..], [address(most), address(most + 1)]);
    // The time of all others is over, and not that of the one which waited.
    let later = Instant::START + Duration::from_millis(2_001);
    let (asked, _) = step(&mut seed, later, Input::Wake);
    assert_eq!(addresses(&asked)[most..], [address(most), address(most + 1), address(most + 2)]);
}

fn vote(voter: u64, (ballot, joiner): &(BallotId, Address), refusal: Option<Refusal>) -> Input {
    let (address, life, replaces) = (*joiner, Life(1), Incarnation::NONE);
    let subject = Subject::Admission { address, life, replaces };
    let finding = if refusal.is_none() { Finding::Alive } else { Finding::Silent };
    let vote = Vote { seed: SeedId(voter), ballot: *ballot, subject, finding, host: HostEvidence::Unknown };
    let message = MeshMessage::Vote(VoteReply { vote, refusal, age_ms: 0 });
    Input::Mesh { from: SeedId(voter), message }
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

/// The first after a quiet time is told at once. With a low patience evidence is soon too old: deaths wait less than
/// that for each other.
#[test]
fn deaths_that_are_found_one_after_the_other_share_entries_in_a_large_cluster() {
    let (usual, low) = (Patience::default(), Patience::new(Duration::from_millis(50)));
    for (members, patience, expected) in
        [(400, usual, vec![1, 9]), (2_000, low, vec![1, 7, 2]), (40, usual, vec![1; 10])]
    {
        let mut seed = leader_with(registry(members, 0), patience);
        let mut sizes = Vec::new();
        let mut now = Instant::START + Duration::from_secs(1);
        seed.step(now, Input::Wake);
        for number in 0..10 {
            now = now + Duration::from_millis(1);
            sizes.extend(deaths(seed.step(now, Input::Wake)));
            for target in report(&mut seed, 1, members - 1, number..number + 1) {
                let (finding, host) = (Finding::Refused, HostEvidence::Unknown);
                sizes.extend(deaths(seed.step(now, Input::Probed { target, finding, host })));
                seed.verify();
            }
        }
        while sizes.iter().sum::<usize>() < 10 {
            assert!(seed.next_deadline() > now, "{members} members: due at once, again and again");
            now = seed.next_deadline();
            assert!(now < Instant::START + Duration::from_secs(2), "{members} members: {sizes:?}");
            sizes.extend(deaths(seed.step(now, Input::Wake)));
        }
        assert_eq!(sizes, expected, "{members} members");
    }
}

fn deaths(effects: Vec<Effect>) -> Vec<usize> {
    let of = |effect| match effect {
        Effect::Propose(Entry { body: Body::Deaths(deaths), .. }) => Some(deaths.len()),
        _ => None,
    };
    effects.into_iter().filter_map(of).collect()
}

const NONE: [usize; 0] = [];

/// How many changes each push has.
fn pushes(effects: Vec<Effect>) -> Vec<usize> {
    let of = |effect| match effect {
        Effect::Push { message: Message::Session(SessionMessage::Changes { changes, .. }), .. } => {
            Some(changes.len())
        }
        _ => None,
    };
    effects.into_iter().filter_map(of).collect()
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
    let join = |seed: &mut Seed, now: Instant, number: usize| apply(seed, now, admission(number, 0));
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(join(&mut seed, at(0), members), [1], "the first after a quiet time");
    for id in 1..=members {
        seed.step(at(0), Input::SessionDrained(SessionId(id as u64)));
    }
    assert_eq!(join(&mut seed, at(1), members + 1), NONE);
    assert_eq!(join(&mut seed, at(2), members + 2), NONE);
    assert_eq!(seed.next_deadline(), at(25), "a quarter of what 100 sessions cost");
    assert_eq!(pushes(seed.step(at(25), Input::Wake)), [2]);
    // What joins while a push is being written waits, too.
    assert_eq!(join(&mut seed, at(26), members + 3), NONE);
    for id in 1..=members {
        let effects = seed.step(at(27), Input::SessionDrained(SessionId(id as u64)));
        assert_eq!(pushes(effects), NONE);
    }
    assert_eq!(seed.next_deadline(), at(75), "twice as long");
    seed.step(at(28), Input::SessionClosed(SessionId(1)));
    let left = apply(&mut seed, at(29), Body::Leave(member(3)));
    assert_eq!(left, [2], "who leaves is no join, and whoever joined before is told with it");
    seed.verify();
    assert_eq!(pushes(seed.step(at(75), Input::Wake)), NONE);
}

fn apply(seed: &mut Seed, now: Instant, body: Body) -> Vec<usize> {
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
        say(&mut seed, Wire::Native, SessionMessage::Leave { member: id(1), secret: Secret([1; 16]) });
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
