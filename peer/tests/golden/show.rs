//! How a peer's effects are written in a script: one readable line each.

use coterie_common::message::{CloseReason, LinkMessage, RumorId, SessionMessage};
use coterie_common::{Life, Message};
use coterie_peer::core::{ConnectionId, Effect, SeedSlot};

use super::Player;
use super::words::{brief, show_report, show_wire};

impl Player {
    fn life(&self, life: Life) -> String {
        match self.lives.iter().position(|l| *l == life) {
            Some(index) => format!("own-{}", index + 1),
            None if life == self.core.life() => format!("own-{}", self.lives.len() + 1),
            None => life.to_string(),
        }
    }

    pub(super) fn show(&mut self, effect: &Effect) -> String {
        let connections =
            |all: &[ConnectionId]| all.iter().map(|c| format!("c{}", c.0)).collect::<Vec<_>>().join(",");
        brief(&match effect {
            Effect::Send { to, message } => format!("send c{} {}", to.0, self.show_message(message)),
            Effect::SendMany { to, message } => {
                format!("send {} {}", connections(to), self.show_message(message))
            }
            Effect::Close(connection) => format!("close c{}", connection.0),
            Effect::Dial { address, wire } => format!("dial {address} {}", show_wire(*wire)),
            Effect::OpenSession { seed: SeedSlot(seed), address }
                if address.ends_with(&format!(":{}", 5000 + seed)) =>
            {
                format!("open s{seed}")
            }
            Effect::OpenSession { seed: SeedSlot(seed), address } => format!("open s{seed} {address}"),
            Effect::Tell { seed, message } => format!("tell s{} {}", seed.0, self.show_message(message)),
            Effect::CloseSession(SeedSlot(seed)) => format!("close s{seed}"),
            Effect::Probe { target, order } => {
                let (wire, life) = (show_wire(order.wire), order.life);
                format!(
                    "probe {target} life={life} {wire} patience={:?} open_within={:?} round_trip={:?} {}",
                    order.patience, order.open_within, order.round_trip, order.effort
                )
            }
            Effect::CancelProbe(target) => format!("cancel-probe {target}"),
            Effect::Ask { juror, wire, message, patience } => {
                let question = self.show_message(&Message::Link(message.clone()));
                format!("ask {juror} {} patience={patience:?} {question}", show_wire(*wire))
            }
            Effect::Log(line) => format!("log {}", line.body()),
            Effect::Print(text) => format!("print {text}"),
            Effect::Warn(text) => format!("warn {text}"),
            Effect::Deliver { origin, content } => {
                format!("deliver {origin} {:?}", String::from_utf8_lossy(content))
            }
            Effect::Exit(Ok(())) => "exit in order".to_owned(),
            Effect::Exit(Err(reason)) => format!("exit failed: {reason}"),
        })
    }

    fn show_message(&mut self, message: &Message) -> String {
        match message {
            Message::Ping { nonce } => format!("ping {nonce}"),
            Message::Pong { nonce, life, incarnation, ready, .. } => {
                let life = life.map_or("none".to_owned(), |l| self.life(l));
                let incarnation = incarnation.map_or(0, |i| i.0);
                format!("pong {nonce} life={life} incarnation={incarnation} ready={ready}")
            }
            Message::Close(CloseReason::Ended(epoch)) => format!("close ended={epoch}"),
            Message::Close(reason) => format!("close {reason}"),
            Message::Link(message) => self.show_link(message),
            Message::Session(message) => self.show_session(message),
            Message::Mesh(message) => panic!("a peer says {message:?}"),
        }
    }

    fn show_link(&mut self, message: &LinkMessage) -> String {
        match message {
            LinkMessage::Hello { address, life, incarnation, mending, .. } => {
                let mending = if *mending { " mending" } else { "" };
                format!("hello {address}#{incarnation} life={}{mending}", self.life(*life))
            }
            LinkMessage::Gossip(rumor) => {
                let name = format!("{}#{}.{}", rumor.origin, rumor.incarnation, rumor.sequence);
                let name = self.rumors.entry(rumor.id).or_insert(brief(&name)).clone();
                let via = rumor.via.as_ref().map_or(String::new(), |via| format!(" via={via}"));
                format!("gossip {name}{via} {:?}", String::from_utf8_lossy(&rumor.content))
            }
            LinkMessage::Recent(ids) => format!("recent [{}]", self.show_rumors(ids)),
            LinkMessage::Want(ids) => format!("want [{}]", self.show_rumors(ids)),
            LinkMessage::SuspectRequest { suspect, cause, requester, .. } => {
                format!("suspects {suspect} {cause} {requester}")
            }
            LinkMessage::SuspectUndecided { suspect, responder } => {
                format!("undecided {suspect} by {responder}")
            }
            LinkMessage::SuspectResponse { suspect, alive, responder } => {
                format!("votes {suspect} {} by {responder}", if *alive { "alive" } else { "dead" })
            }
        }
    }

    fn show_rumors(&self, ids: &[RumorId]) -> String {
        let name = |id: &RumorId| self.rumors.get(id).cloned().unwrap_or_else(|| format!("{id:?}"));
        ids.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn show_session(&self, message: &SessionMessage) -> String {
        match message {
            SessionMessage::Register(candidate) => {
                let tags: Vec<String> = candidate.tags.iter().map(|(k, v)| format!(" {k}={v}")).collect();
                format!(
                    "register {} life={} {}{}",
                    candidate.address,
                    self.life(candidate.life),
                    show_wire(candidate.wire),
                    tags.concat()
                )
            }
            SessionMessage::Open { member, life, epoch } => {
                format!("open {member} life={} epoch={epoch}", self.life(*life))
            }
            SessionMessage::ChangesSince(epoch) => format!("changes-since {epoch}"),
            SessionMessage::Hint { suspect, cause } => format!("hint {suspect} {cause}"),
            SessionMessage::Report(report) => show_report(report),
            SessionMessage::Leave { member, .. } => format!("leave {member}"),
            SessionMessage::Neighbours(links) => {
                format!(
                    "neighbours [{}]",
                    links.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                )
            }
            other => panic!("a peer says {other:?}"),
        }
    }
}
