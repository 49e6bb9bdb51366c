//! Messages for everybody: said here, heard, passed on, caught up with.
//!
//! What is new floods: to every neighbour but those whose link it has crossed already. A neighbour that is linked
//! anew is told what was heard lately, and asks for what it missed. (Demers et al., *Epidemic algorithms*, PODC 1987:
//! the second is their anti-entropy.)
//!
//! *Owns.* What was said and heard, and the numbers of this peer's own messages.
//!
//! *May read.* The context, membership (in whose name to speak), and the overlay (whom to pass it on to).
//!
//! *Never.* Asks whether anybody lives. A neighbour that is linked is told; who is not, is not.

mod rumors;
mod window;

use bytes::Bytes;
use coterie_common::limits::{CONTENT_BYTES_MAX, VIA_BYTES_MAX};
use coterie_common::message::{LinkMessage, Rumor, RumorId};
use coterie_common::{Address, Line, Message, Wire};

use rumors::{Heard, Rumors};

use crate::core::context::Context;
use crate::core::effect::{ConnectionId, Effect};
use crate::core::membership::Membership;
use crate::core::overlay::{LinkNumber, Overlay};

/// What was said and heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gossip {
    /// Kept when this peer becomes another incarnation: what it heard it has heard.
    rumors: Rumors,
    /// The number of the last message of this incarnation. 0 before the first, for 0 on the wire means a message
    /// without a number.
    sequence: u64,
}

impl Gossip {
    /// This peer is another incarnation from now on: its messages are counted anew.
    pub(crate) fn begin_anew(&mut self) {
        self.sequence = 0;
    }

    /// This peer is of another cluster from now on: nothing that was said in the former one is told in this.
    pub(crate) fn forget_everything(&mut self) {
        *self = Gossip::default();
    }

    /// Says something to everybody, of its own or on behalf of an observer. It is delivered to everybody but this
    /// peer. What cannot be said is not kept for later: the operator is told, or it is counted.
    pub(crate) fn say(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        content: Bytes,
        via: Option<String>,
    ) {
        let Some(me) = members.id() else {
            return cx.warn("not a member: nothing can be said yet".to_owned());
        };
        if content.len() > CONTENT_BYTES_MAX {
            let bytes = content.len();
            return cx.warn(format!("message of {bytes} bytes, at most {CONTENT_BYTES_MAX} can be said"));
        }
        if via.as_ref().is_some_and(|via| via.len() > VIA_BYTES_MAX) {
            // An observer chose the name; no operator could do anything about it.
            return cx.count("messages_unfit");
        }
        // The same words said twice are two messages, by their numbers.
        self.sequence += 1;
        let (origin, incarnation, sequence) = (me.address, me.incarnation, self.sequence);
        let id = RumorId::of(origin, incarnation, sequence, &content);
        let rumor = Rumor { id, origin, incarnation, sequence, via, content };
        let line = Line::new("GOSSIP_SENT").content(&rumor.content);
        cx.log(with_via(line.with("origin", origin).with("from", origin), &rumor));
        // Somebody may have used up this number in our name: then it is passed on to nobody, as everybody else holds
        // it.
        self.rumors.hear(cx.now, &rumor, None);
        self.pass_on(cx, overlay, rumor);
    }

    /// A message came over a link. The link is what counts as crossed, whoever said it first.
    pub(crate) fn heard(
        &mut self,
        cx: &mut Context,
        overlay: &Overlay,
        rumor: Rumor,
        (from, link): (Address, LinkNumber),
    ) {
        if !rumor.is_sound() || !rumor.fits() {
            // One whose identity is not that of its words could take the place of the true one.
            return cx.count("gossip_unsound");
        }
        match self.rumors.hear(cx.now, &rumor, Some(link)) {
            Heard::Duplicate => return cx.count("gossip_duplicates"),
            Heard::Replay => return cx.count("gossip_replays"),
            Heard::New => cx.count("gossip_heard"),
        }
        let line = Line::new("GOSSIP").content(&rumor.content);
        cx.log(with_via(line.with("origin", rumor.origin).with("from", from), &rumor));
        cx.want(Effect::Deliver { origin: rumor.origin, content: rumor.content.clone() });
        self.pass_on(cx, overlay, rumor);
    }

    /// Floods: to every neighbour whose link the message has not crossed. A JSON program can only be told text. It
    /// counts as having crossed the link when it is sent, though it may be lost with the connection: a link made anew
    /// has another number, and its ends catch up.
    fn pass_on(&mut self, cx: &mut Context, overlay: &Overlay, rumor: Rumor) {
        let is_text = std::str::from_utf8(&rumor.content).is_ok();
        let mut to: Vec<ConnectionId> = Vec::new();
        for link in overlay.links() {
            if (link.wire == Wire::Native || is_text) && self.rumors.cross(rumor.id, link.number) {
                to.push(link.connection);
            }
        }
        if !to.is_empty() {
            cx.want(Effect::SendMany { to, message: Message::Link(LinkMessage::Gossip(rumor)) });
        }
    }

    // ---- catching up ----

    /// Tells a neighbour that is linked anew what was heard lately. Both ends do, so each asks for its own.
    pub(crate) fn tell_recent(&self, cx: &mut Context, to: ConnectionId) {
        cx.send(to, Message::Link(LinkMessage::Recent(self.rumors.recent())));
    }

    /// A new neighbour tells what it heard lately: it is asked for what is missing here. An identity that was heard
    /// and forgotten is asked for again; its number, if it has one, then tells that it is a replay.
    pub(crate) fn recent(&self, cx: &mut Context, ids: Vec<RumorId>, to: ConnectionId) {
        let missing = self.rumors.missing(ids);
        if !missing.is_empty() {
            cx.send(to, Message::Link(LinkMessage::Want(missing)));
        }
    }

    /// A new neighbour asks for what it missed. What has crossed the link by flooding meanwhile is not sent again.
    pub(crate) fn want(
        &mut self,
        cx: &mut Context,
        ids: Vec<RumorId>,
        (to, link): (ConnectionId, LinkNumber),
    ) {
        for id in ids {
            // What the neighbour asks for may be forgotten by now: it was told of it a while ago.
            let Some(rumor) = self.rumors.get(id).cloned() else { continue };
            if self.rumors.cross(id, link) {
                cx.count("gossip_repaired");
                cx.send(to, Message::Link(LinkMessage::Gossip(rumor)));
            }
        }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        self.rumors.verify();
    }
}

/// On whose behalf it was said, where that is somebody.
fn with_via(line: Line, rumor: &Rumor) -> Line {
    match &rumor.via {
        Some(via) => line.with("via", via.as_str()),
        None => line,
    }
}
