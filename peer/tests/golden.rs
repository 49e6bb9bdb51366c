//! The peer's core, played from scripts: commands in, the whole trace of effects out.
//!
//! `UPDATE_GOLDEN=1 cargo test -p coterie-peer --test golden` writes what is expected anew; read the diff.
//!
//! ```text
//! peer seeds=3 ...                   a peer that has not started; options as in `Player::configure`
//! given incarnation=5 members=6002#3,6003#4 linked=6002 ...      a member at 200 ms, joined and linked quietly;
//!                                    handshake=100ms is how long a neighbour took for each answer, else no time
//! at 3s | wait | stopped until 3s    time passes; ... to the next deadline; ... while the process stands still
//! s0 up | s0 down | s0 changes 5..7 died=6002#3@7 | ...          a seed's session
//! c1 hello 6002#3 | c1 json gossip 6005 words | c1 ended | ...   a connection's frames
//! dialled 6002 c1 | refused 6002 | unreachable 6002              what became of a dial
//! probed 6002#3 silent | 6004 votes 6002#3 dead                  what became of a probe, of a question
//! ```
//! Seeds answer the pings of their sessions, unseen, until `hush s0`; so do neighbours from `auto c1` on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "golden/heard.rs"]
mod heard;
#[path = "golden/script.rs"]
mod script;
#[path = "golden/show.rs"]
mod show;
#[path = "golden/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::{
    CloseReason, ClusterId, LinkMessage, Registration, Roster, Rumor, RumorId, SessionMessage,
};
use coterie_common::{Address, Epoch, Incarnation, Instant, Life, Member, Message, Patience, Wire};
use coterie_peer::core::{Config, ConnectionId, DialFailure, Effect, Input, OverlayKind, Peer, SeedSlot};

use script::Player as _;
use words::*;

#[test]
fn every_script_goes_as_written() {
    let played =
        script::play_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts"), "coterie-peer", Player::new);
    assert!(played >= 24, "only {played} scripts were found");
}

/// One core and the world around it.
struct Player {
    core: Peer,
    now: Instant,
    me: Address,
    /// The lives that this peer has gone by, in order.
    lives: Vec<Life>,
    rumors: BTreeMap<RumorId, String>,
    hushed: BTreeSet<usize>,
    answering: BTreeSet<ConnectionId>,
    /// Of which cluster a seed says that it is, where that is not `abab`.
    clusters: BTreeMap<usize, Option<ClusterId>>,
    /// Seeds whose clusters go on for the one before.
    heirs: BTreeSet<usize>,
    /// Seeds that can have nothing decided, as they say when they are pinged.
    powerless: BTreeSet<usize>,
}

impl Player {
    fn new() -> Self {
        let me = address("6001");
        Player {
            core: Peer::new(me, Config::default(), [1; 32]),
            now: Instant::START,
            me,
            lives: Vec::new(),
            rumors: BTreeMap::new(),
            hushed: BTreeSet::new(),
            answering: BTreeSet::new(),
            clusters: BTreeMap::new(),
            heirs: BTreeSet::new(),
            powerless: BTreeSet::new(),
        }
    }

    fn configure(&mut self, words: Words<'_>) {
        self.me = address(words.key("me").unwrap_or("6001"));
        let config = Config {
            seeds: (0..words.number("seeds").unwrap_or(1)).map(|n| format!("{HOST}{}", 5000 + n)).collect(),
            overlay: OverlayKind::Pareto,
            max_neighbours: words.number("max").unwrap_or(16) as usize,
            tags: words
                .key("tag")
                .and_then(|t| t.split_once(':'))
                .map(|(k, v)| (k.into(), v.into()))
                .into_iter()
                .collect(),
            messages: words.number("messages").unwrap_or(0),
            message_interval: words.key("interval").map_or(Duration::from_secs(5), duration),
            ping_interval: Duration::from_secs(1),
            ping_misses: 3,
            patience: Patience::default(),
            join_timeout: words.key("join-timeout").map(duration),
            started: STARTED,
        };
        self.core = Peer::new(self.me, config, [words.number("chance").unwrap_or(1) as u8; 32]);
    }

    /// A member with sessions and links, as the scripts about joining and linking show it to come about.
    fn given(&mut self, words: Words<'_>) -> Vec<String> {
        self.configure(words);
        let linked: BTreeSet<Address> = words.list("linked").into_iter().map(address).collect();
        let mut todo = self.core.step(self.now, Input::Start);
        let incarnation =
            Incarnation(words.number("incarnation").unwrap_or_else(|| panic!("whose incarnation?")));
        let mut members: Vec<_> = words.list("members").into_iter().map(member).collect();
        members.push(member(&format!("{}#{incarnation}", self.me)));
        let epoch = Epoch(words.number("epoch").unwrap_or(incarnation.0));
        while !todo.is_empty() {
            let effects = std::mem::take(&mut todo);
            for effect in effects {
                let input = match effect {
                    Effect::OpenSession { seed, .. } => Input::SessionUp { seed },
                    Effect::Tell { seed, message: Message::Session(SessionMessage::Cluster(_)) } => {
                        let greeting = SessionMessage::Cluster(cluster("abab"));
                        Input::Session { seed, message: Message::Session(greeting) }
                    }
                    Effect::Tell { seed, message: Message::Session(SessionMessage::Register(candidate)) } => {
                        let own = members.last_mut().unwrap_or_else(|| panic!("no members"));
                        Arc::make_mut(own).life = candidate.life;
                        let roster =
                            Roster { epoch, members: members.iter().map(|m| (m.clone(), 0)).collect() };
                        let registration = Registration::Admitted { incarnation, roster };
                        Input::Session {
                            seed,
                            message: Message::Session(SessionMessage::Registered(registration)),
                        }
                    }
                    Effect::Dial { address, .. } => match linked.contains(&address) {
                        true => Input::Dialled {
                            address,
                            connection: ConnectionId(u64::from(address.port()) % 1000),
                        },
                        false => Input::DialFailed { address, failure: DialFailure::Other },
                    },
                    _ => continue,
                };
                todo.extend(self.core.step(self.now, input));
            }
        }
        self.link_with(&linked, words.key("handshake").map_or(Duration::ZERO, duration));
        self.pass_until(Instant::START + Duration::from_millis(200));
        self.lives = vec![self.core.life()];
        let neighbours: Vec<String> = self.core.neighbours().map(|n| n.address.to_string()).collect();
        let (view, neighbours) = (self.core.view(), neighbours.join(","));
        vec![brief(&format!(
            "a member at 200ms: epoch {}, {} members, linked with {neighbours}",
            view.epoch,
            view.len()
        ))]
    }

    /// Its neighbours answer its HELLOs. Nothing falls due meanwhile that a script would want to see.
    fn link_with(&mut self, linked: &BTreeSet<Address>, handshake: Duration) {
        self.now = self.now + handshake;
        let mut natives = Vec::new();
        for address in linked {
            let member =
                self.core.view().at(*address).cloned().unwrap_or_else(|| panic!("{address} is no member"));
            let connection = ConnectionId(u64::from(address.port()) % 1000);
            if member.wire == Wire::Native {
                natives.push(connection);
            } else if self.core.neighbours().any(|n| n == member.id) {
                continue;
            }
            let hello = LinkMessage::Hello {
                address: *address,
                life: member.life,
                incarnation: member.id.incarnation,
                mending: false,
                cluster: cluster("abab").filter(|_| member.wire == Wire::Native),
            };
            let (wire, message) = (member.wire, Message::Link(hello));
            self.core.step(self.now, Input::Frame { connection, wire, message });
        }
        self.now = self.now + handshake;
        for connection in natives {
            // A native neighbour also tells what it heard lately.
            let (wire, message) = (Wire::Native, Message::Link(LinkMessage::Recent(Vec::new())));
            self.core.step(self.now, Input::Frame { connection, wire, message });
        }
    }

    // ---- time ----

    /// Lets time pass, waking the core whenever it wished to be woken.
    fn pass_until(&mut self, end: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let mut wakes = 0;
        while self.core.next_deadline() <= end {
            self.now = self.now.max(self.core.next_deadline());
            let time = show_time(self.now);
            lines.extend(self.step(Input::Wake).into_iter().map(|line| format!("{time}: {line}")));
            wakes += 1;
            assert!(wakes < 10_000, "the core wishes to be woken again and again at {time}");
        }
        self.now = self.now.max(end);
        lines
    }

    /// Gives one input, lets seeds and neighbours answer pings, and shows the rest of what the core wants done.
    fn step(&mut self, input: Input) -> Vec<String> {
        let (mut lines, mut answers) = (Vec::new(), Vec::new());
        let effects = self.core.step(self.now, input);
        self.core.verify();
        for effect in effects {
            let answer = match &effect {
                Effect::Tell { seed, message: Message::Session(SessionMessage::Cluster(own)) } => {
                    let cluster = self.clusters.get(&seed.0).copied().unwrap_or(cluster("abab"));
                    let Some(theirs) = cluster else { continue };
                    let is_another = own.is_some_and(|own| own != theirs);
                    let message = match is_another {
                        true if self.heirs.contains(&seed.0) => {
                            Message::Close(CloseReason::Succeeded(theirs))
                        }
                        true => Message::Close(CloseReason::OtherCluster(theirs)),
                        false => Message::Session(SessionMessage::Cluster(cluster)),
                    };
                    Some(Input::Session { seed: *seed, message })
                }
                Effect::Tell { seed, message: Message::Ping { nonce } } if !self.hushed.contains(&seed.0) => {
                    let message = Message::Pong {
                        nonce: *nonce,
                        address: address(&(5000 + seed.0).to_string()),
                        life: None,
                        incarnation: None,
                        ready: !self.powerless.contains(&seed.0),
                    };
                    Some(Input::Session { seed: *seed, message })
                }
                Effect::Send { to, message: Message::Ping { nonce } } if self.answering.contains(to) => {
                    let message = Message::Pong {
                        nonce: *nonce,
                        address: self.me,
                        life: None,
                        incarnation: None,
                        ready: true,
                    };
                    Some(Input::Frame { connection: *to, wire: Wire::Native, message })
                }
                _ => None,
            };
            match answer {
                Some(answer) => answers.push(answer),
                None => lines.push(self.show(&effect)),
            }
        }
        if self.lives.last() != Some(&self.core.life()) {
            self.lives.push(self.core.life());
        }
        for answer in answers {
            lines.extend(self.step(answer));
        }
        lines
    }

    // ---- reading ----

    /// What a seed does or says; of which cluster it is, is kept for when it is asked.
    fn on_seed(&mut self, seed: SeedSlot, words: Words<'_>) -> Option<Input> {
        match words.at(0) {
            "of" => {
                self.clusters.insert(seed.0, cluster(words.at(1)));
                if words.has("goes-on") {
                    self.heirs.insert(seed.0);
                }
                None
            }
            "powerless" => {
                self.powerless.insert(seed.0);
                None
            }
            "up" => Some(Input::SessionUp { seed }),
            "down" => Some(Input::SessionDown { seed, why: "is gone".to_owned() }),
            _ => Some(Input::Session { seed, message: self.session(words) }),
        }
    }
}

/// What is to be broadcast: words, or one byte as `hex:ff`.
fn content(words: Words<'_>) -> Bytes {
    match words.at(0).strip_prefix("hex:") {
        Some(hex) => Bytes::from(vec![u8::from_str_radix(hex, 16).unwrap_or_else(|e| panic!("{e}"))]),
        None => Bytes::from(words.text()),
    }
}

impl script::Player for Player {
    fn play(&mut self, command: &str) -> Vec<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let words = Words(&words);
        let first = words.at(0);
        let numbered = |letter: char| first.strip_prefix(letter).and_then(|n| n.parse::<u64>().ok());
        let input = match (first, numbered('s'), numbered('c')) {
            (_, Some(seed), _) => match self.on_seed(SeedSlot(seed as usize), words.from(1)) {
                Some(input) => input,
                None => return Vec::new(),
            },
            (_, _, Some(connection)) => {
                let connection = ConnectionId(connection);
                let is_json = words.at(1) == "json";
                let (wire, words) =
                    if is_json { (Wire::Json, words.from(2)) } else { (Wire::Native, words.from(1)) };
                match words.at(0) {
                    "ended" => Input::Ended { connection },
                    _ => Input::Frame { connection, wire, message: self.link(words) },
                }
            }
            ("given", ..) => return self.given(words),
            ("peer", ..) => {
                self.configure(words);
                return Vec::new();
            }
            ("at", ..) => return self.pass_until(Instant::START + duration(words.at(1))),
            ("wait", ..) => return self.pass_until(self.core.next_deadline()),
            ("stopped", ..) => {
                self.now = Instant::START + duration(words.at(2));
                return Vec::new();
            }
            ("hush", ..) => {
                self.hushed.insert(number(&words.at(1)[1..]) as usize);
                return Vec::new();
            }
            ("auto", ..) => {
                self.answering.extend(words.from(1).0.iter().map(|c| ConnectionId(number(&c[1..]))));
                return Vec::new();
            }
            ("start", ..) => Input::Start,
            ("wake", ..) => Input::Wake,
            ("stop", ..) => Input::Stop,
            ("type", ..) => Input::Console(words.from(1).text()),
            ("broadcast", ..) => Input::Broadcast(content(words.from(1))),
            ("dialled", ..) => Input::Dialled {
                address: address(words.at(1)),
                connection: ConnectionId(number(&words.at(2)[1..])),
            },
            (how @ ("refused" | "unreachable"), ..) => {
                let failure = if how == "refused" { DialFailure::Refused } else { DialFailure::Other };
                Input::DialFailed { address: address(words.at(1)), failure }
            }
            ("probed", ..) => {
                Input::Probed { target: id(words.at(1)), finding: finding(words.at(2)), host: host(words) }
            }
            (juror, ..) if matches!(words.0.get(1), Some(&("votes" | "undecided"))) => {
                let Message::Link(message) = self.link(words.from(1)) else {
                    unreachable!("a vote is a link's message")
                };
                Input::Answered { juror: address(juror), message }
            }
            (other, ..) => panic!("{other:?} is no command"),
        };
        self.step(input)
    }
}

/// The harness is a part of what the scripts prove: a script that goes otherwise must fail.
#[test]
fn the_player_shows_what_the_core_does() {
    let mut player = Player::new();
    player.play("peer seeds=1");
    assert_eq!(player.play("start"), ["open s0"]);
    assert_eq!(player.play("s0 up"), ["tell s0 register 6001 life=own-1 native"]);
}
