//! Gossip, the demonstration's own messages, and the console.

use bytes::Bytes;
use coterie_common::limits::{CONTENT_BYTES_MAX, VIA_BYTES_MAX};
use coterie_common::message::{LinkMessage, Rumor, RumorId};
use coterie_common::{Address, Instant, Line, Message, Wire};

use super::effect::{ConnectionId, Effect};
use super::rumors::{Heard, LinkNumber};
use super::{Peer, log};

const FAR: Instant = Instant::from_nanos(u64::MAX);

const HELP: &str =
    "a line is broadcast to every peer; /members, /neighbours, /counters, /help; exit ends the console";

/// What this peer says.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    sequence: u64,
    /// Messages of the demonstration: how many there are to be, how many were said, when the next is due.
    demo_total: u64,
    demo_said: u64,
    demo_next: Option<Instant>,
}

impl Talk {
    pub(super) fn new(demo_total: u64) -> Self {
        Talk { sequence: 0, demo_total, demo_said: 0, demo_next: None }
    }

    /// Numbers count within one incarnation.
    pub(super) fn new_life(&mut self) {
        self.sequence = 0;
    }
}

impl Peer {
    /// Says something to everybody, of its own or on behalf of an observer.
    pub(super) fn say(&mut self, now: Instant, content: Bytes, via: Option<String>, out: &mut Vec<Effect>) {
        let Some(me) = self.id() else {
            return out.push(Effect::Warn("not a member: nothing can be said yet".to_owned()));
        };
        if content.len() > CONTENT_BYTES_MAX {
            let bytes = content.len();
            return out.push(Effect::Warn(format!(
                "message of {bytes} bytes, at most {CONTENT_BYTES_MAX} can be said"
            )));
        }
        if via.as_ref().is_some_and(|via| via.len() > VIA_BYTES_MAX) {
            return self.count("messages_unfit");
        }
        self.talk.sequence += 1;
        let sequence = self.talk.sequence;
        let id = RumorId::of(self.me, me.incarnation, sequence, &content);
        let rumor = Rumor { id, origin: self.me, incarnation: me.incarnation, sequence, via, content };
        let line = Line::new("GOSSIP_SENT").content(&rumor.content);
        let line = line.with("origin", self.me).with("from", self.me);
        log(
            out,
            match &rumor.via {
                Some(via) => line.with("via", via.as_str()),
                None => line,
            },
        );
        self.rumors.hear(now, &rumor, None);
        self.pass_on(rumor, out);
    }

    pub(super) fn on_gossip(
        &mut self,
        now: Instant,
        rumor: Rumor,
        from: Address,
        link: LinkNumber,
        out: &mut Vec<Effect>,
    ) {
        if !rumor.is_sound() || !rumor.fits() {
            return self.count("gossip_unsound");
        }
        match self.rumors.hear(now, &rumor, Some(link)) {
            Heard::Duplicate => return self.count("gossip_duplicates"),
            Heard::Replay => return self.count("gossip_replays"),
            Heard::New => self.count("gossip_heard"),
        }
        let line =
            Line::new("GOSSIP").content(&rumor.content).with("origin", rumor.origin).with("from", from);
        log(
            out,
            match &rumor.via {
                Some(via) => line.with("via", via.as_str()),
                None => line,
            },
        );
        out.push(Effect::Deliver { origin: rumor.origin, content: rumor.content.clone() });
        self.pass_on(rumor, out);
    }

    /// Floods: to every neighbour whose link the message has not crossed.
    fn pass_on(&mut self, rumor: Rumor, out: &mut Vec<Effect>) {
        let is_text = std::str::from_utf8(&rumor.content).is_ok();
        let mut to: Vec<ConnectionId> = Vec::new();
        for neighbour in self.neighbours.values() {
            if (neighbour.wire == Wire::Native || is_text) && self.rumors.cross(rumor.id, neighbour.number) {
                to.push(neighbour.connection);
            }
        }
        if !to.is_empty() {
            out.push(Effect::SendMany { to, message: Message::Link(LinkMessage::Gossip(rumor)) });
        }
    }

    /// A new neighbour tells what it heard lately.
    pub(super) fn on_recent(&mut self, ids: Vec<RumorId>, from: Address, out: &mut Vec<Effect>) {
        let missing = self.rumors.missing(ids);
        if let (Some(neighbour), false) = (self.neighbours.get(&from), missing.is_empty()) {
            let to = neighbour.connection;
            out.push(Effect::Send { to, message: Message::Link(LinkMessage::Want(missing)) });
        }
    }

    /// A new neighbour asks for what it missed.
    pub(super) fn on_want(
        &mut self,
        ids: Vec<RumorId>,
        from: Address,
        link: LinkNumber,
        out: &mut Vec<Effect>,
    ) {
        let Some(to) = self.neighbours.get(&from).map(|n| n.connection) else { return };
        for id in ids {
            let Some(rumor) = self.rumors.get(id).cloned() else { continue };
            if self.rumors.cross(id, link) {
                self.count("gossip_repaired");
                out.push(Effect::Send { to, message: Message::Link(LinkMessage::Gossip(rumor)) });
            }
        }
    }

    pub(super) fn settle_talk(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !self.standing.is_member() || self.talk.demo_said >= self.talk.demo_total {
            return;
        }
        let next = *self.talk.demo_next.get_or_insert(now + self.config.message_interval);
        if now >= next {
            self.talk.demo_said += 1;
            self.talk.demo_next = Some(next.max(now) + self.config.message_interval);
            let (time, number) = (self.wall(now).as_secs_f64(), self.talk.demo_said);
            let content = format!("{time:.6}:{}:{number}", self.me.ip());
            self.say(now, Bytes::from(content), None, out);
        }
    }

    pub(super) fn talk_deadline(&self) -> Instant {
        let more = self.standing.is_member() && self.talk.demo_said < self.talk.demo_total;
        self.talk.demo_next.filter(|_| more).unwrap_or(FAR)
    }

    pub(super) fn on_console(&mut self, now: Instant, line: &str, out: &mut Vec<Effect>) {
        let print = |text: String, out: &mut Vec<Effect>| out.push(Effect::Print(text));
        match line.trim_end_matches(['\r', '\n']) {
            "" => {}
            "/help" => print(HELP.to_owned(), out),
            "/members" => {
                print(format!("epoch {}, {} members", self.view.epoch, self.view.len()), out);
                for member in self.view.members() {
                    let tags: Vec<String> = member.tags.iter().map(|(k, v)| format!(" {k}={v}")).collect();
                    print(
                        format!(
                            "{} incarnation {}{}",
                            member.id.address,
                            member.id.incarnation,
                            tags.concat()
                        ),
                        out,
                    );
                }
            }
            "/neighbours" => {
                print(format!("{} links, {} wanted", self.neighbours.len(), self.overlay.wanted), out);
                self.neighbours.keys().for_each(|address| print(address.to_string(), out));
            }
            "/counters" => {
                self.counters.iter().for_each(|(name, count)| print(format!("{name} {count}"), out));
            }
            unknown if unknown.starts_with('/') => print(format!("{unknown:?} is no command; {HELP}"), out),
            text => self.say(now, Bytes::copy_from_slice(text.as_bytes()), None, out),
        }
    }
}
