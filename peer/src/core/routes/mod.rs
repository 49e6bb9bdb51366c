//! Which input goes where, and what follows from what.
//!
//! A peer's rooms do not know of each other's consequences: that a broken link becomes a suspicion, that a new view
//! ends links, that a neighbour is told what it missed. All of that stands here, and nowhere else, in the order in
//! which it happens; and only here are two of them changed in one breath.
//!
//! Weighed and left out: events between rooms. They would hide who hears of what, and in which order; the order
//! of effects is what the scripts compare.

mod neighbours;
mod seeds;

use bytes::Bytes;
use coterie_common::MemberId;
use coterie_common::message::{Cause, SessionMessage};

use neighbours::Channel;

use super::Peer;
use super::console::{self, Typed};
use super::effect::{Effect, Input};
use super::failure::{Asker, Raised};

impl Peer {
    /// Hands one input to those whom it concerns. What falls due by it is left to [`settle`](Self::settle), so that
    /// it is done once, however it came about.
    pub(super) fn take(&mut self, input: Input) {
        match input {
            // What is due is done in every step.
            Input::Start | Input::Wake => {}
            Input::Dialled { address, connection } => {
                let linked = self.overlay.dialled(&mut self.cx, &self.membership, address, connection);
                self.on_linked(linked);
            }
            Input::DialFailed { address, failure } => self.on_dial_failed(address, failure),
            Input::Frame { connection, wire, message } => self.on_frame(connection, wire, message),
            Input::Ended { connection } => {
                if let Some(id) = self.overlay.connection_ended(&mut self.cx, connection) {
                    // Before the suspicion: its probe is to know that a connection broke, and give another one less
                    // time to open.
                    self.failure.link_broke(self.cx.now, id);
                    self.suspect(id, Cause::ConnectionLost);
                }
            }
            Input::SessionUp { seed } => self.seeds.opened(&self.cx, seed),
            Input::SessionDown { seed, why } => self.seeds.lost(&mut self.cx, seed, why),
            Input::Session { seed, message } => self.on_session(seed, message),
            Input::Probed { target, finding, host } => {
                let has_seed = self.seeds.may_report(self.cx.now);
                let found = (finding, host);
                if self.failure.probed(&mut self.cx, &self.membership, has_seed, target, found) {
                    // It was left alone, for others reached it; now it is proved dead.
                    self.suspect(target, Cause::ConnectRefused);
                }
            }
            Input::Answered { juror, message } => self.on_link_message(Channel::Asked(juror), message),
            Input::Console(line) => match console::read(self, &line) {
                Typed::Show(lines) => lines.into_iter().for_each(|line| self.cx.want(Effect::Print(line))),
                Typed::Say(content) => self.say(content, None),
            },
            Input::Broadcast(content) => self.say(content, None),
            Input::Stop => {
                // Who is no member has nobody to ask. A registration that is under way may still be decided; then the
                // seeds find that member absent.
                if self.membership.leave(self.cx.now) {
                    self.finish();
                }
            }
        }
    }

    /// Does everything that has fallen due. It stands behind each input. Membership comes first, for it says whether
    /// there is anything left to do for the others.
    pub(super) fn settle(&mut self) {
        self.settle_membership();
        if self.membership.is_stopped() {
            // Everything else belongs to somebody who takes part.
            return;
        }
        // A suspicion that is dropped may leave a link to be replaced; a link that is silent starts a suspicion.
        self.settle_suspicions();
        self.settle_links();
        self.settle_suspicions();
        if self.membership.is_member()
            && let Some(content) = self.demo.due(&self.cx)
        {
            self.say(content, None);
        }
    }

    // ---- suspects ----

    /// Hinted before it is probed: the seeds' probes, which decide, are to start first. All ways to a suspicion lead
    /// through here: a broken connection, a refused dial, pings that were missed.
    fn suspect(&mut self, id: MemberId, cause: Cause) {
        let asker = match self.failure.suspect(&mut self.cx, &self.membership, id, cause) {
            Raised::Nothing => return,
            Raised::Suspicion => {
                self.seeds.tell_all(&mut self.cx, &SessionMessage::Hint { suspect: id, cause });
                Asker::Oneself
            }
            Raised::Question => Asker::Proof,
        };
        // Where it cannot begin, a suspicion tries again by itself.
        let _ = self.failure.probe(&mut self.cx, &self.membership, &self.overlay, (id, cause), asker);
    }

    /// Whom there is to tell is asked once: no suspicion changes which seeds know this member.
    fn settle_suspicions(&mut self) {
        let may_report = self.seeds.may_report(self.cx.now);
        for id in self.failure.suspects(self.cx.now) {
            let (members, overlay) = (&self.membership, &self.overlay);
            if let Some(due) = self.failure.pursue(&mut self.cx, members, overlay, may_report, id) {
                self.seeds.tell_in_turn(&mut self.cx, due.turn, SessionMessage::Report(due.report));
            }
        }
    }

    // ---- words ----

    /// On behalf of an observer, if `via` names one.
    fn say(&mut self, content: Bytes, via: Option<String>) {
        self.gossip.say(&mut self.cx, &self.membership, &self.overlay, content, via);
    }
}
