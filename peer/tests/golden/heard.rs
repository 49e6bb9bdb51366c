//! What a script has others say: neighbours and seeds.

use super::*;

impl Player {
    /// A frame of a link. A member's life is its incarnation's number.
    pub(super) fn link(&mut self, words: Words<'_>) -> Message {
        let life = |text: &str| Life(words.number("life").unwrap_or(member(text).life.0));
        match words.at(0) {
            "ping" => Message::Ping { nonce: number(words.at(1)) },
            "pong" => {
                let id = id(words.at(1));
                Message::Pong {
                    nonce: words.number("nonce").unwrap_or(1),
                    address: id.address,
                    life: Some(life(words.at(1))),
                    incarnation: Some(id.incarnation),
                    ready: true,
                }
            }
            "close" => Message::Close(close_reason(words.at(1))),
            "hello" if !words.at(1).contains('#') => Message::Link(LinkMessage::Hello {
                address: address(words.at(1)),
                life: Life::NONE,
                incarnation: Incarnation::NONE,
                mending: false,
                cluster: None,
            }),
            "hello" => {
                let id = id(words.at(1));
                let hello = LinkMessage::Hello {
                    address: id.address,
                    life: life(words.at(1)),
                    incarnation: id.incarnation,
                    mending: words.has("mending"),
                    cluster: cluster(words.key("of").unwrap_or("abab")),
                };
                Message::Link(hello)
            }
            "gossip" | "forged" => {
                let rumor = self.rumor(words.at(1), &words.from(2).text());
                let id =
                    if words.at(0) == "gossip" { rumor.id } else { RumorId::of_content(b"something else") };
                Message::Link(LinkMessage::Gossip(Rumor { id, ..rumor }))
            }
            "recent" | "want" => {
                let ids = words.from(1).0.iter().map(|name| self.rumor_named(name)).collect();
                Message::Link(if words.at(0) == "want" {
                    LinkMessage::Want(ids)
                } else {
                    LinkMessage::Recent(ids)
                })
            }
            "suspects" | "votes" | "undecided" => Message::Link(about_a_suspect(words)),
            "misplaced" => Message::Session(SessionMessage::StatusRequest),
            other => panic!("{other:?} is no frame"),
        }
    }

    /// `6003#4.1 words` is numbered; `6005 words` is a JSON program's. `hex:ff` are bytes.
    pub(super) fn rumor(&mut self, who: &str, said: &str) -> Rumor {
        let content = match said.strip_prefix("hex:") {
            Some(hex) => Bytes::from(vec![u8::from_str_radix(hex, 16).unwrap_or_else(|e| panic!("{e}"))]),
            None => Bytes::copy_from_slice(said.as_bytes()),
        };
        let (origin, sequence) = match who.split_once('.') {
            Some((origin, sequence)) => (id(origin), number(sequence)),
            None => (id(&format!("{who}#0")), 0),
        };
        let rumor_id = match sequence {
            0 => RumorId::of_content(&content),
            n => RumorId::of(origin.address, origin.incarnation, n, &content),
        };
        self.rumors.insert(rumor_id, who.to_owned());
        Rumor {
            id: rumor_id,
            origin: origin.address,
            incarnation: origin.incarnation,
            sequence,
            via: None,
            content,
        }
    }

    pub(super) fn rumor_named(&mut self, name: &str) -> RumorId {
        if let Some((id, _)) = self.rumors.iter().find(|(_, known)| *known == name) {
            return *id;
        }
        self.rumor(name, "words that were not heard here").id
    }

    /// What a seed says.
    pub(super) fn session(&self, words: Words<'_>) -> Message {
        let own = |mut m: Arc<Member>| {
            if m.id.address == self.me {
                Arc::make_mut(&mut m).life = self.core.life();
            }
            (m, 0)
        };
        let roster = |epoch: u64| Roster {
            epoch: Epoch(epoch),
            members: words.list("members").into_iter().map(|m| own(member(m))).collect(),
        };
        Message::Session(match words.at(0) {
            "ping" => return Message::Ping { nonce: number(words.at(1)) },
            "close" => return Message::Close(close_reason(words.at(1))),
            "bears" => SessionMessage::SilenceMax(duration(words.at(1))),
            "admitted" => {
                let incarnation = Incarnation(number(words.at(1)));
                let epoch = words.number("epoch").unwrap_or(incarnation.0);
                SessionMessage::Registered(Registration::Admitted { incarnation, roster: roster(epoch) })
            }
            "refused" => SessionMessage::Registered(Registration::Refused(refusal(words.from(1)))),
            "changes" => {
                let (previous, epoch) =
                    words.at(1).split_once("..").unwrap_or_else(|| panic!("from where to where?"));
                let changes = words.from(2).0.iter().map(|c| change(c)).collect();
                SessionMessage::Changes {
                    previous: Epoch(number(previous)),
                    epoch: Epoch(number(epoch)),
                    changes,
                }
            }
            "whole" => {
                let ended = words.from(2).0.iter().filter(|w| w.contains('@')).map(|e| ended(e)).collect();
                SessionMessage::Whole { roster: roster(number(words.at(1))), ended }
            }
            "rejected" => SessionMessage::Rejected { dead: id(words.at(1)), refusal: refusal(words.from(2)) },
            "dial" => SessionMessage::Dial(address(words.at(1))),
            "seeds" => SessionMessage::Seeds {
                since: number(words.at(1)),
                seeds: list(words.at(2)).into_iter().map(|port| format!("{HOST}{port}")).collect(),
            },
            "say" => {
                SessionMessage::Say { via: words.at(1).to_owned(), content: words.from(2).text().into() }
            }
            other => panic!("no seed says {other:?}"),
        })
    }
}

fn about_a_suspect(words: Words<'_>) -> LinkMessage {
    let named = words.at(1);
    let suspect = if named.contains('#') { id(named) } else { id(&format!("{named}#0")) };
    let responder = address("6999");
    match words.at(0) {
        "suspects" => LinkMessage::SuspectRequest {
            suspect,
            cause: cause(words.at(2)),
            requester: address(words.at(3)),
            cluster: words.key("of").and_then(cluster),
        },
        "votes" => LinkMessage::SuspectResponse { suspect, alive: words.at(2) == "alive", responder },
        _ => LinkMessage::SuspectUndecided { suspect, responder },
    }
}
