//! What a script has others say: sessions, other seeds, the log.

use super::*;
use coterie_seed::core::formation::Founding;

impl Player {
    /// `seed 0 of 3 printed=4`: a seed without a log.
    pub(super) fn begin_anew(&mut self, words: Words<'_>) -> Vec<String> {
        self.core = core(words.number("printed").unwrap_or(0), number(words.at(3)));
        Vec::new()
    }

    /// `stopped until 22s`: nobody steps it, and what is said to it waits.
    pub(super) fn stand_still(&mut self, words: Words<'_>) -> Vec<String> {
        self.now = Instant::START + duration(words.at(2));
        self.said = self.now;
        Vec::new()
    }

    pub(super) fn on_session(&mut self, id: SessionId, words: Words<'_>) -> Input {
        let is_json = words.at(0) == "json";
        let (wire, words) = if is_json { (Wire::Json, words.from(1)) } else { (Wire::Native, words.from(0)) };
        let rest = words.from(1);
        let message = match words.at(0) {
            "drained" => return Input::SessionDrained(id),
            "closed" => {
                self.talking.remove(&id);
                return Input::SessionClosed(id);
            }
            "ping" => {
                return Input::Session {
                    session: id,
                    wire,
                    message: Message::Ping { nonce: number(rest.at(0)) },
                };
            }
            "cluster" => SessionMessage::Cluster(cluster(rest.at(0))),
            "register" => {
                let wire_words: Vec<&str> =
                    if is_json { [rest.0, &["json"]].concat() } else { rest.0.to_vec() };
                SessionMessage::Register(candidate(Words(&wire_words)))
            }
            "open" => {
                let member = member(rest.at(0));
                SessionMessage::Open {
                    member: member.id,
                    life: member.life,
                    epoch: Epoch(rest.number("epoch").unwrap_or(0)),
                }
            }
            "observe" => SessionMessage::Observe { linearizable: rest.has("linearizable") },
            "list" => SessionMessage::ListRequest { asker: None },
            "changes-since" => SessionMessage::ChangesSince(Epoch(number(rest.at(0)))),
            "hint" => SessionMessage::Hint { suspect: words::id(rest.at(0)), cause: cause(rest.at(1)) },
            "report" => SessionMessage::Report(report(rest)),
            "leave" => SessionMessage::Leave { member: words::id(rest.at(0)), secret: secret(rest.at(0)) },
            "neighbours" => {
                let to = list(rest.0.first().copied().unwrap_or_default()).into_iter().map(address).collect();
                SessionMessage::Neighbours(Links { number: self.next_number(), to })
            }
            "say" => SessionMessage::Say { via: rest.at(0).to_owned(), content: rest.from(1).text().into() },
            "status" => SessionMessage::StatusRequest,
            "seed-add" | "seed-remove" | "seed-replace" => SessionMessage::ChangeSeeds(seed_change(words)),
            other => panic!("no session says {other:?}"),
        };
        if wire == Wire::Native {
            self.talking.insert(id);
        }
        Input::Session { session: id, wire, message: Message::Session(message) }
    }

    /// What those say who are there.
    pub(super) fn signs_of_life(&self) -> Vec<Input> {
        let address = address("6999");
        let pong = Message::Pong { nonce: 0, address, life: None, incarnation: None, ready: true };
        let say = |session: &SessionId| Input::Session {
            session: *session,
            wire: Wire::Native,
            message: pong.clone(),
        };
        let live = |seed: &SeedId| Input::Mesh {
            from: *seed,
            message: MeshMessage::Directory(DirectoryState::default()),
        };
        self.talking.iter().map(say).chain(self.living.iter().map(live)).collect()
    }

    pub(super) fn on_seed(&mut self, from: SeedId, words: Words<'_>) -> Input {
        let rest = words.from(1);
        let message = match words.at(0) {
            "up" => {
                self.living.insert(from);
                // At the address that the log has for it, or that it would have by its rank.
                let seat = self.core.registry().seeds().get(&from).map(|seat| seat.address.clone());
                return Input::SeedUp {
                    seed: from,
                    directory_id: rest.number("directory").unwrap_or(100 + from.0),
                    address: seat.unwrap_or_else(|| format!("{HOST}{}", 5000 + from.0)),
                };
            }
            "down" => {
                self.living.remove(&from);
                return Input::SeedDown(from);
            }
            "has" => MeshMessage::Directory(DirectoryState {
                committed: LogPosition { term: 1, index: number(rest.at(0)) },
                ..DirectoryState::default()
            }),
            "decided" => {
                let cluster = cluster(rest.at(0)).unwrap_or_else(|| panic!("in which cluster?"));
                return Input::DecidedBefore { cluster, index: number(rest.at(1)) };
            }
            "silent" => return Input::SeedSilent(from),
            "request" => MeshMessage::Request {
                number: number(rest.at(0)),
                forwarded: forwarded(rest.from(1), self.core.registry()),
            },
            "reply" => MeshMessage::Reply { number: number(rest.at(0)), answer: answer(rest.from(1)) },
            "votes" => MeshMessage::Vote(self.vote_of(from, rest)),
            "proposes" => self.proposal(rest),
            "soft" => MeshMessage::Soft(SoftState {
                whole: rest.has("whole"),
                held: rest.list("held").into_iter().map(id).collect(),
                lost: rest.list("lost").into_iter().map(id).collect(),
                links: rest.list("links").into_iter().map(|text| self.links(text)).collect(),
                term: 0,
                means: rest.number("probes").map(|probes| Means {
                    probes: u32::try_from(probes).expect("a small number"),
                    is_cut_off: rest.has("cut-off"),
                }),
            }),
            "relay" => MeshMessage::Relay {
                to: id(rest.at(0)),
                message: Box::new(SessionMessage::Dial(address(rest.at(1)))),
            },
            other => panic!("no seed says {other:?}"),
        };
        Input::Mesh { from, message }
    }

    /// `6001:6002+6003`, of the member that is at 6001 now.
    pub(super) fn links(&mut self, text: &str) -> (MemberId, Links) {
        let (from, to) = text.split_once(':').unwrap_or_else(|| panic!("{text:?} are no links"));
        let member = self.core.registry().at(address(from)).unwrap_or_else(|| panic!("{from} is no member"));
        let to = to.split('+').filter(|t| !t.is_empty()).map(address).collect();
        (member.id, Links { number: self.next_number(), to })
    }

    /// Later tales of links have higher numbers.
    pub(super) fn next_number(&mut self) -> u64 {
        self.tales += 1;
        self.tales
    }

    /// `1.1 refused age=300`, `1.1 no alive`. Whoever votes no found somebody alive.
    pub(super) fn vote_of(&self, from: SeedId, words: Words<'_>) -> VoteReply {
        let id = ballot(words.at(0));
        let subject = self.ballots.get(&id).unwrap_or_else(|| panic!("ballot {id} was not seen"));
        let (finding, refusal) = match words.at(1) {
            "no" => (Finding::Alive, Some(refusal(words.from(2)))),
            yes => (finding(yes), None),
        };
        VoteReply {
            vote: vote(from.0, id, subject, finding),
            refusal,
            age_ms: words.number("age").unwrap_or(0),
        }
    }

    pub(super) fn proposal(&mut self, words: Words<'_>) -> MeshMessage {
        let (id, commit) = (ballot(words.at(1)), words.number("commit").unwrap_or(0));
        match words.at(0) {
            "register" => MeshMessage::RegisterProposal(RegisterProposal {
                ballot: id,
                candidate: candidate(words.from(2)),
                replaces: Incarnation(words.number("replaces").unwrap_or(0)),
                commit,
            }),
            "death" => MeshMessage::DeathProposal(DeathProposal {
                ballot: id,
                dead: words::id(words.at(2)),
                commit,
                cause: words.key("cause").map_or(Cause::PingsMissed, cause),
            }),
            other => panic!("no seed proposes {other:?}"),
        }
    }

    /// `10 p1`, `11 join 6001 life=7 replaces=3`, `12 deaths 6001#11`, `13 leave 6001#3`, `14 seeds 3`, `15 voters
    /// s0+s1|s0+s1007`, `16 found`, `17 blank`.
    pub(super) fn commit(&self, words: Words<'_>) -> Commit {
        let rest = words.from(2);
        let entry = match words.at(1) {
            "blank" => return Commit { index: number(words.at(0)), payload: Payload::Blank },
            "seeds" => {
                let set = (0..number(rest.at(0))).map(SeedId).collect();
                return Commit { index: number(words.at(0)), payload: Payload::Seeds(vec![set]) };
            }
            "voters" => {
                let set = |text: &str| text.split('+').map(seed).collect();
                let sets = rest.at(0).split('|').map(set).collect();
                return Commit { index: number(words.at(0)), payload: Payload::Seeds(sets) };
            }
            "found" => {
                let record = |n: u64| {
                    (
                        SeedId(n),
                        SeedRecord { address: format!("{HOST}{}", 5000 + n), directory_id: Some(100 + n) },
                    )
                };
                Entry::new(Body::Found {
                    cluster: ClusterId([0xab; 16]),
                    seeds: (0..3).map(record).collect(),
                })
            }
            "join" => self.join(candidate(rest), Incarnation(rest.number("replaces").unwrap_or(0))),
            "leave" => Entry::new(Body::Leave(id(rest.at(0)))),
            "deaths" => {
                Entry::new(Body::Deaths(list(rest.at(0)).into_iter().map(|dead| death(id(dead))).collect()))
            }
            mine => self.proposed(mine).clone(),
        };
        Commit { index: number(words.at(0)), payload: Payload::Entry(entry) }
    }

    pub(super) fn commits(&self, words: Words<'_>) -> Vec<Commit> {
        words.0.split(|word| *word == "&").map(|one| self.commit(Words(one))).collect()
    }

    pub(super) fn proposed(&self, name: &str) -> &Entry {
        let index = name.strip_prefix('p').map_or(0, number) as usize;
        self.proposed.get(index.wrapping_sub(1)).unwrap_or_else(|| panic!("{name:?} was not proposed"))
    }
}

pub(super) fn seed_change(words: Words<'_>) -> SeedChange {
    // A name, or a port of the host that all scripts are about.
    let at = words.at(1);
    let at = if at.contains(':') { at.to_owned() } else { address(at).to_string() };
    match words.at(0) {
        "seed-add" => SeedChange::Add(at),
        "seed-remove" => SeedChange::Remove(at),
        "seed-replace" => SeedChange::Replace { address: at, force: words.has("force") },
        other => panic!("{other:?} changes no seed"),
    }
}

/// `forms abab 0:100 1:101`: the name of the cluster, and the directories that begin it.
pub(crate) fn founding(words: Words<'_>) -> Founding {
    let directory = |text: &&str| {
        let (seed, directory) =
            text.split_once(':').unwrap_or_else(|| panic!("{text:?} is no seed's directory"));
        (SeedId(number(seed)), number(directory))
    };
    let cluster = cluster(words.at(1)).unwrap_or_else(|| panic!("of which name?"));
    Founding { cluster, directories: words.from(2).0.iter().map(directory).collect() }
}
