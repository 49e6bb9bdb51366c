//! The seed's core, played from scripts: commands in, the whole trace of effects out.
//!
//! `UPDATE_GOLDEN=1 cargo test -p coterie-seed --test golden` writes what is expected anew; read the diff.
//!
//! ```text
//! seed 0 of 3 printed=9                 a seed with an empty log; this is always seed s0
//! given leader members=6001#3,6005#5j sessions=1:6001#3 ...     s0 leads in term 1; s1 and s2 are connected, s1 holds
//!                                       the sessions of all members (`unheld`: not), the overlay a ring (`unlinked`)
//! given follower members=...            likewise, but s1 leads
//! at 3s | wait                          time passes; ... to the next deadline
//! 1 cluster abab | 1 register 6001 life=7 | 2 json report 6002#4 asked | 1 drained | 1 closed | ...    a session's
//! s1 up | s1 has 12 | s1 decided abab 9 | s1 request 4 leave 6001#3 | s1 reply 1 recorded 9 | s1 soft held=6001#3 |
//! ...                                   the mesh
//! s1 votes 1.1 refused age=300 | s1 votes 1.1 no alive                       a vote in a ballot opened here
//! s1 proposes register 2.1 6001 life=7 replaces=0 commit=5                   a ballot opened there
//! commit 10 p1 & 11 leave 6001#3 & 12 blank      what the log decided; p1 is the first entry proposed here
//! probed 6001/7 alive | fail p1 | leader s1 term=2 | leader none term=2 | read 1 ready 12 | restore ... | stop
//! forms abab                           this seed begins a cluster of that name
//! 1 seed-add 5003 | 1 seed-remove 5002 | 1 seed-replace 5002 force | s1 request 4 seeds seed-remove 5002 seat=s2 |
//! voters-unchanged                     the seeds themselves
//! ```
//! Native sessions and connected seeds say something every second, unseen, until `hush 1`, `hush s1`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "golden/heard.rs"]
mod heard;
#[path = "../../peer/tests/golden/script.rs"]
mod script;
#[path = "golden/show.rs"]
mod show;
#[path = "../../peer/tests/golden/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{
    Answer, BallotId, Candidate, Cause, ClusterId, DeathProposal, DirectoryState, ForwardedRequest, Links,
    LogPosition, Means, MeshMessage, RegisterProposal, SeedChange, SeedId, SessionMessage, SoftState, Stages,
    Subject, Vote, VoteReply,
};
use coterie_common::{
    Epoch, Finding, HostEvidence, Incarnation, Instant, Life, MemberId, Message, Patience, ProbeTarget, Wire,
};
use coterie_seed::core::entry::{Body, DeathRecord, SeedRecord};
use coterie_seed::core::{Commit, Config, Effect, Entry, Input, Payload, Registry, Seed, SessionId};

use heard::seed_change;
use script::Player as _;
use show::{show_answer, show_entry, show_mesh, show_message};
use words::*;

#[test]
fn every_script_goes_as_written() {
    let played =
        script::play_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts"), "coterie-seed", Player::new);
    assert!(played >= 18, "only {played} scripts were found");
}

/// How often those at the other end of native sessions, and other seeds, say something.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// One core and the world around it.
struct Player {
    core: Seed,
    now: Instant,
    /// What every ballot seen here is about.
    ballots: BTreeMap<BallotId, Subject>,
    proposed: Vec<Entry>,
    /// Native sessions whose other end is there.
    talking: BTreeSet<SessionId>,
    /// Seeds that are connected, and there.
    living: BTreeSet<SeedId>,
    tales: u64,
    said: Instant,
    /// Sessions whose other end has said of which cluster it is.
    greeted: BTreeSet<SessionId>,
}

fn core(printed: u64, seeds: u64) -> Seed {
    let config = Config {
        id: SeedId(0),
        address: address("5000"),
        seeds: (0..seeds).map(|n| (SeedId(n), format!("{HOST}{}", 5000 + n))).collect(),
        directory_id: 100,
        cluster: None,
        requests_from: 0,
        patience: Patience::default(),
        printed,
        started: STARTED,
    };
    Seed::new(config, Registry::default(), [1; 32])
}

fn seed(text: &str) -> SeedId {
    SeedId(text.strip_prefix('s').map_or_else(|| panic!("{text:?} is no seed"), number))
}

fn session(text: &str) -> SessionId {
    SessionId(number(text))
}

fn ballot(text: &str) -> BallotId {
    let (term, count) = text.split_once('.').unwrap_or_else(|| panic!("{text:?} is no ballot"));
    BallotId { term: number(term), number: number(count) }
}

/// `6001/7`: one life at one address.
fn target(text: &str) -> ProbeTarget {
    let (at, life) = text.split_once('/').unwrap_or_else(|| panic!("{text:?} is no life"));
    ProbeTarget { address: address(at), life: Life(number(life)) }
}

fn vote(seed: u64, ballot: BallotId, subject: &Subject, finding: Finding) -> Vote {
    Vote { seed: SeedId(seed), ballot, subject: subject.clone(), finding, host: HostEvidence::Unknown }
}

/// A ballot of another time, for entries that were not proposed here.
const ELSEWHERE: BallotId = BallotId { term: 77, number: 1 };

impl Player {
    fn new() -> Self {
        Player {
            core: core(0, 3),
            now: Instant::START,
            ballots: BTreeMap::new(),
            proposed: Vec::new(),
            talking: BTreeSet::new(),
            living: BTreeSet::new(),
            tales: 1,
            said: Instant::START,
            greeted: BTreeSet::new(),
        }
    }

    fn given(&mut self, words: Words<'_>) -> Vec<String> {
        let members: Vec<_> = words.list("members").into_iter().map(member).collect();
        self.core = core(words.number("printed").unwrap_or(0), 3);
        let seeds = (0..3).map(SeedId).collect::<BTreeSet<_>>();
        let record = |n: u64| {
            (SeedId(n), SeedRecord { address: format!("{HOST}{}", 5000 + n), directory_id: Some(100 + n) })
        };
        let found = Body::Found { cluster: ClusterId([0xab; 16]), seeds: (0..3).map(record).collect() };
        let mut log = vec![
            Commit { index: 1, payload: Payload::Seeds(vec![seeds]) },
            Commit { index: 2, payload: Payload::Entry(Entry::new(found)) },
        ];
        for member in &members {
            let candidate = Candidate {
                address: member.id.address,
                life: member.life,
                wire: member.wire,
                tags: member.tags.clone(),
            };
            let entry = Payload::Entry(self.join(candidate, Incarnation::NONE));
            log.push(Commit { index: member.id.incarnation.0, payload: entry });
        }
        self.core.step(self.now, Input::Committed(log));
        for seed in [1, 2] {
            let (directory_id, address) = (100 + seed, format!("{HOST}{}", 5000 + seed));
            self.core.step(self.now, Input::SeedUp { seed: SeedId(seed), directory_id, address });
            self.living.insert(SeedId(seed));
        }
        let leader = SeedId(u64::from(!words.has("leader")));
        self.core.step(self.now, Input::Leader { leader: Some(leader), term: 1 });
        let ids: Vec<MemberId> = members.iter().map(|m| m.id).collect();
        let ring = |i: usize| (ids[i], Links { number: 1, to: vec![ids[(i + 1) % ids.len()].address] });
        let soft = SoftState {
            whole: true,
            held: if words.has("unheld") { Vec::new() } else { ids.clone() },
            lost: Vec::new(),
            links: if words.has("unlinked") { Vec::new() } else { (0..ids.len()).map(ring).collect() },
            term: 0,
            means: None,
        };
        if leader == SeedId(0) {
            self.core.step(self.now, Input::Mesh { from: SeedId(1), message: MeshMessage::Soft(soft) });
        }
        for held in words.list("sessions") {
            let (number, who) = held.split_once(':').unwrap_or_else(|| panic!("{held:?} is no session"));
            self.given_session(session(number), &member(who), leader);
        }
        self.pass_until(Instant::START + Duration::from_millis(200));
        let registry = self.core.registry();
        let leads = if leader == SeedId(0) { "leads" } else { "follows s1" };
        let (applied, epoch, count) = (registry.applied(), registry.epoch(), registry.members().len());
        vec![format!("a seed that {leads} at 200ms: applied {applied}, epoch {epoch}, {count} members")]
    }

    fn given_session(&mut self, session: SessionId, member: &coterie_common::Member, leader: SeedId) {
        let id = member.id;
        if member.wire == Wire::Native {
            self.greet(session);
        }
        let message = match member.wire {
            Wire::Native => {
                SessionMessage::Open { member: id, life: member.life, epoch: self.core.registry().epoch() }
            }
            Wire::Json => SessionMessage::Register(Candidate {
                address: id.address,
                life: Life::NONE,
                wire: Wire::Json,
                tags: member.tags.clone(),
            }),
        };
        let effects = self.core.step(
            self.now,
            Input::Session { session, wire: member.wire, message: Message::Session(message) },
        );
        for effect in effects {
            if let Effect::ToSeed { message: MeshMessage::Request { number, .. }, .. } = effect {
                let answer = Answer::Admitted { incarnation: id.incarnation, index: id.incarnation.0 };
                self.core.step(
                    self.now,
                    Input::Mesh { from: leader, message: MeshMessage::Reply { number, answer } },
                );
            }
        }
        if member.wire == Wire::Native {
            self.talking.insert(session);
        }
    }

    /// The other end names the cluster that this one is, unseen.
    fn greet(&mut self, session: SessionId) {
        let greeting = Message::Session(SessionMessage::Cluster(Some(ClusterId([0xab; 16]))));
        self.core.step(self.now, Input::Session { session, wire: Wire::Native, message: greeting });
    }

    fn join(&self, candidate: Candidate, replaces: Incarnation) -> Entry {
        let subject = Subject::Admission { address: candidate.address, life: candidate.life, replaces };
        let votes = [0, 1].map(|seed| vote(seed, ELSEWHERE, &subject, Finding::Alive)).into();
        Entry::new(Body::Join { ballot: ELSEWHERE, candidate, replaces, votes })
    }

    // ---- time ----

    /// Lets time pass, waking the core whenever it wished to be woken.
    fn pass_until(&mut self, end: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let mut wakes = 0;
        loop {
            let (wake, say) = (self.core.next_deadline().max(self.now), self.said + SAID_EVERY);
            if wake.min(say) > end {
                break;
            }
            let inputs = if say <= wake {
                self.now = say;
                self.said = say;
                self.signs_of_life()
            } else {
                self.now = wake;
                vec![Input::Wake]
            };
            let time = show_time(self.now);
            for input in inputs {
                lines.extend(self.step(input).into_iter().map(|line| format!("{time}: {line}")));
            }
            wakes += 1;
            assert!(wakes < 10_000, "the core wishes to be woken again and again at {time}");
        }
        self.now = self.now.max(end);
        lines
    }

    fn step(&mut self, input: Input) -> Vec<String> {
        let effects = self.core.step(self.now, input);
        self.core.verify();
        effects.iter().map(|effect| brief(&self.show(effect))).collect()
    }

    // ---- showing ----

    fn show(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::Send { to, message } => format!("send {} {}", to.0, show_message(message)),
            Effect::Push { to, message } => {
                let to: Vec<String> = to.iter().map(|s| s.0.to_string()).collect();
                format!("push {} {}", to.join(","), show_message(message))
            }
            Effect::Close { session, reason } => {
                self.talking.remove(session);
                format!("close {} {reason}", session.0)
            }
            Effect::ToSeed { to, message } => {
                self.note_ballot(message);
                format!("to s{to} {}", show_mesh(message))
            }
            Effect::Propose(entry) => {
                self.proposed.push(entry.clone());
                format!("propose p{} {}", self.proposed.len(), show_entry(entry))
            }
            Effect::Probe(order) => {
                let (address, life, wire) = (order.address, order.life, show_wire(order.wire));
                format!(
                    "probe {address}/{life} {wire} patience={:?} open_within={:?} round_trip={:?} {}",
                    order.patience, order.open_within, order.round_trip, order.effort
                )
            }
            Effect::Seeds { seeds, gone } => {
                let seeds: Vec<String> = seeds.iter().map(|(id, name)| format!("s{id}={name}")).collect();
                format!("seeds {} gone={}", seeds.join(","), show_ids(gone))
            }
            Effect::ChangeVoters(voters) => format!("change-voters {}", show_ids(voters)),
            Effect::ReadIndex(read) => format!("read-index {read}"),
            Effect::Reply { request, answer } => format!("reply {request} {}", show_answer(answer)),
            Effect::Log(line) => format!("log {}", line.body()),
            Effect::Warn(text) => format!("warn {text}"),
        }
    }

    fn note_ballot(&mut self, message: &MeshMessage) {
        let (ballot, subject) = match message {
            MeshMessage::RegisterProposal(p) => {
                let Candidate { address, life, .. } = p.candidate;
                (p.ballot, Subject::Admission { address, life, replaces: p.replaces })
            }
            MeshMessage::DeathProposal(p) => (p.ballot, Subject::Death(p.dead)),
            _ => return,
        };
        self.ballots.insert(ballot, subject);
    }
}

fn death(dead: MemberId) -> DeathRecord {
    let votes = [0, 1].map(|seed| vote(seed, ELSEWHERE, &Subject::Death(dead), Finding::Refused)).into();
    DeathRecord {
        dead,
        ballot: ELSEWHERE,
        votes,
        cause: Cause::Absent,
        reporter: None,
        jurors: Vec::new(),
        stages: Stages::default(),
    }
}

fn forwarded(words: Words<'_>, registry: &Registry) -> ForwardedRequest {
    // `by=6001` is whoever is there now.
    let by = words.key("by").map(address);
    let by = by.map_or(id("6999#0"), |address| {
        let nobody = MemberId { address, incarnation: Incarnation::NONE };
        registry.at(address).map_or(nobody, |member| member.id)
    });
    match words.at(0) {
        "register" => ForwardedRequest::Register(candidate(words.from(1))),
        "leave" => ForwardedRequest::Leave(id(words.at(1))),
        "report" => ForwardedRequest::Report { report: report(words.from(1)), reporter: by },
        "seeds" => {
            ForwardedRequest::Seeds { change: seed_change(words.from(1)), seat: words.key("seat").map(seed) }
        }
        other => panic!("{other:?} is no request"),
    }
}

fn answer(words: Words<'_>) -> Answer {
    match words.at(0) {
        "admitted" => {
            Answer::Admitted { incarnation: Incarnation(number(words.at(1))), index: number(words.at(1)) }
        }
        "recorded" => Answer::Recorded { index: number(words.at(1)) },
        "refused" => Answer::Refused(refusal(words.from(1))),
        other => panic!("{other:?} is no answer"),
    }
}

fn show_ids(ids: &BTreeSet<SeedId>) -> String {
    ids.iter().map(|id| format!("s{id}")).collect::<Vec<_>>().join(",")
}

impl script::Player for Player {
    fn play(&mut self, command: &str) -> Vec<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let words = Words(&words);
        let first = words.at(0);
        let is_seed = first.strip_prefix('s').is_some_and(|n| n.parse::<u64>().is_ok());
        let input = match first {
            _ if is_seed => self.on_seed(seed(first), words.from(1)),
            _ if first.parse::<u64>().is_ok() => {
                let id = session(first);
                match words.at(1) {
                    "cluster" => drop(self.greeted.insert(id)),
                    "open" if self.greeted.insert(id) => self.greet(id),
                    _ => {}
                }
                self.on_session(id, words.from(1))
            }
            "given" => return self.given(words),
            "seed" => return self.begin_anew(words),
            "stopped" => return self.stand_still(words),
            "wake" => Input::Wake,
            "at" => return self.pass_until(Instant::START + duration(words.at(1))),
            "wait" => return self.pass_until(self.core.next_deadline()),
            "hush" if words.at(1).starts_with('s') => {
                self.living.remove(&seed(words.at(1)));
                return Vec::new();
            }
            "hush" => {
                self.talking.remove(&session(words.at(1)));
                return Vec::new();
            }
            "leader" => {
                let leader = (words.at(1) != "none").then(|| seed(words.at(1)));
                Input::Leader {
                    leader,
                    term: words.number("term").unwrap_or_else(|| panic!("in which term?")),
                }
            }
            "commit" => Input::Committed(self.commits(words.from(1))),
            "restore" => {
                let mut registry = Registry::default();
                for Commit { index, payload } in self.commits(words.from(1)) {
                    match payload {
                        Payload::Entry(entry) => drop(registry.apply(index, &entry)),
                        Payload::Seeds(sets) => registry.set_seeds(index, sets),
                        Payload::Blank => registry.skip(index),
                    }
                }
                Input::Restored(Box::new(registry))
            }
            "forms" => Input::Forms(heard::founding(words)),
            "fail" => Input::ProposalFailed(self.proposed(words.at(1)).clone()),
            "voters-unchanged" => Input::VotersUnchanged,
            "probed" => Input::Probed {
                target: target(words.at(1)),
                finding: finding(words.at(2)),
                host: host(words),
            },
            "read" => Input::ReadReady {
                read: number(words.at(1)),
                index: (words.at(2) == "ready").then(|| number(words.at(3))),
            },
            "local" => Input::Register { request: number(words.at(1)), candidate: candidate(words.from(3)) },
            "stop" => Input::Stop,
            other => panic!("{other:?} is no command"),
        };
        self.step(input)
    }
}

/// The harness is a part of what the scripts prove: a script that goes otherwise must fail.
#[test]
fn the_player_shows_what_the_core_does() {
    let mut player = Player::new();
    player.play("given leader members=6001#3 sessions=1:6001#3");
    assert_eq!(player.play("1 ping 4"), ["send 1 pong 4 ready=true"]);
    assert_eq!(player.play("s1 down"), ["log SEED_LOST seed=5001"]);
}
