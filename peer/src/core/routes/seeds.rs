//! From seeds: the view and what it changes, and this peer's own membership.
//!
//! A seed's word about the cluster is taken as the log's: it tells nothing before it is committed. What two seeds say
//! may overlap or come late, so everything is held against the epoch that is known already.

use coterie_common::message::{CloseReason, ClusterId, Registration, SessionMessage};
use coterie_common::{Change, Epoch, Incarnation, MemberId, Message, Refusal, Why};

use crate::core::Peer;
use crate::core::effect::{Effect, SeedSlot};
use crate::core::membership::{LeaveDue, News, begun_by, ended_by};
use crate::core::seeds::Followed;

impl Peer {
    /// Any frame but a close shows that the seed is there, before it is asked what it says.
    pub(super) fn on_session(&mut self, seed: SeedSlot, message: Message) {
        if !matches!(message, Message::Close(_)) {
            // A seed that does nothing but close is dialled less and less often.
            self.seeds.heard(&self.cx, seed);
        }
        // Only its answer to a ping says that a seed can have something decided: one that cannot says much else.
        let was_served = self.seeds.is_served(self.cx.now);
        if let (Some(own), Message::Pong { ready: true, .. }) = (self.membership.cluster(), &message) {
            self.seeds.note_own(&self.cx, own, seed);
        }
        if !was_served && self.seeds.is_served(self.cx.now) {
            self.failure.report_again(self.cx.now);
        }
        match message {
            Message::Ping { nonce } => {
                let pong = self.membership.pong(nonce, self.seeds.is_served(self.cx.now));
                self.seeds.tell(&mut self.cx, seed, pong);
            }
            Message::Pong { .. } => {}
            Message::Close(reason) => self.on_session_closed(seed, &reason),
            Message::Session(message) => self.on_session_message(seed, message),
            Message::Link(_) | Message::Mesh(_) => self.cx.count("session_frames_out_of_place"),
        }
    }

    /// A seed has closed the session. The reason matters in two cases: this member has ended, or the seed is of another
    /// cluster.
    fn on_session_closed(&mut self, seed: SeedSlot, reason: &CloseReason) {
        if let CloseReason::OtherCluster(cluster) | CloseReason::Succeeded(cluster) = reason {
            let goes_on = matches!(reason, CloseReason::Succeeded(_));
            return self.on_greeted_by(seed, (*cluster, goes_on));
        }
        self.seeds.close(&mut self.cx, seed, &format!("closed the session: {reason}"));
        // A close that is older than this incarnation is about the one before it.
        if let (CloseReason::Ended(epoch), Some(incarnation)) = (reason, self.membership.incarnation())
            && epoch.0 > incarnation.0
        {
            self.on_removed(*epoch, incarnation, 1);
        }
    }

    /// A seed has said of which cluster it is. One of another cluster is not listened to: no number of its log means
    /// anything here.
    fn on_greeted_by(&mut self, seed: SeedSlot, (cluster, goes_on): (ClusterId, bool)) {
        if self.seeds.greeted_by(&mut self.cx, self.membership.cluster(), seed, (cluster, goes_on)) {
            self.seeds.close(&mut self.cx, seed, &format!("is of another cluster, {cluster}"));
        }
    }

    /// What a seed may say to a peer. All other messages of sessions are named too, so that a new one cannot be
    /// forgotten here.
    fn on_session_message(&mut self, seed: SeedSlot, message: SessionMessage) {
        match message {
            SessionMessage::Cluster(Some(cluster)) => self.on_greeted_by(seed, (cluster, false)),
            SessionMessage::Registered(registration) => self.on_registered(seed, registration),
            SessionMessage::Changes { epoch, previous, changes } => {
                self.on_changes(seed, previous, epoch, changes);
            }
            SessionMessage::Whole { roster, ended } => {
                self.cx.count("views_whole");
                let from = self.seeds.name_of(seed);
                let news = self.membership.take_whole(&mut self.cx, from, roster, &ended);
                self.on_news(news);
            }
            SessionMessage::Rejected { dead, refusal } => {
                self.failure.report_rejected(&mut self.cx, dead, &refusal);
            }
            SessionMessage::Dial(address) => {
                self.overlay.repair(&mut self.cx, &self.membership, address);
            }
            SessionMessage::Say { content, via } => self.say(content, Some(via)),
            SessionMessage::Seeds { since, seeds } => self.seeds.follow_list(&mut self.cx, since, &seeds),
            SessionMessage::SilenceMax(limit) => self.seeds.bears(seed, limit),
            SessionMessage::Cluster(None)
            | SessionMessage::Register(_)
            | SessionMessage::Open { .. }
            | SessionMessage::Observe { .. }
            | SessionMessage::ListRequest { .. }
            | SessionMessage::List(_)
            | SessionMessage::ChangesSince(_)
            | SessionMessage::Hint { .. }
            | SessionMessage::Report(_)
            | SessionMessage::Leave { .. }
            | SessionMessage::Neighbours(_)
            | SessionMessage::Said(_)
            | SessionMessage::ChangeSeeds(_)
            | SessionMessage::SeedsChanged(_)
            | SessionMessage::EvidenceRequest(_)
            | SessionMessage::Evidence(_)
            | SessionMessage::StatusRequest
            | SessionMessage::Status(_) => self.cx.count("session_frames_out_of_place"),
        }
    }

    /// Changes that follow on what this peer knows are taken; where some are missing between, they are asked for.
    fn on_changes(&mut self, seed: SeedSlot, previous: Epoch, epoch: Epoch, changes: Vec<Change>) {
        let known = self.membership.view().epoch;
        if previous > known {
            // Nothing is taken out of order: a life could seem to be there that ended in between.
            self.cx.count("session_gaps");
            let ask = SessionMessage::ChangesSince(known);
            return self.seeds.tell(&mut self.cx, seed, Message::Session(ask));
        }
        let news = self.membership.take_changes(epoch, changes);
        self.on_news(Some(news));
    }

    // ---- the view ----

    /// What a newer view ends and begins, in the order of the log. The view itself is the new one already.
    fn on_news(&mut self, news: Option<News>) {
        let Some(news) = news.filter(|news| !news.changes().is_empty()) else {
            // A view that is not newer changes nothing.
            return;
        };
        for change in news.changes() {
            if let Some(id) = ended_by(change) {
                self.purge(id, change, &news);
            }
            if let Some(new) = begun_by(change) {
                // Somebody new may be dialled at once, whatever the one before it refused.
                self.overlay.forgive(new.address);
            }
        }
        self.membership.say_view(&mut self.cx, &news);
        // Last: the ends of others are told by the life that knew them.
        if let Some(me) = self.membership.id()
            && let Some(end) = news.changes().iter().find(|change| ended_by(change) == Some(me))
        {
            self.on_removed(end.epoch, me.incarnation, news.ended());
        }
    }

    /// A life is over: it goes from every table. The overlay goes before the failure detector, for a detector lasts
    /// as long as its link.
    fn purge(&mut self, id: MemberId, change: &Change, news: &News) {
        self.membership.life_ended(&mut self.cx, id, change, news);
        self.overlay.life_ended(&mut self.cx, &self.membership, id, change.epoch);
        self.failure.life_ended(&mut self.cx, id);
    }

    /// This peer, alive, has been removed: it comes back as another life; unless it was about to leave anyway. Nobody
    /// is argued with: what the log says is so, though it was wrong about this peer.
    fn on_removed(&mut self, epoch: Epoch, incarnation: Incarnation, together: usize) {
        if self.membership.is_leaving() {
            return self.finish();
        }
        self.membership.say_declared_dead(&mut self.cx, incarnation, epoch);
        self.leave_links();
        let pause = self.membership.begin_anew(&mut self.cx, together);
        // Sessions stay open. Only what they know of this peer is over.
        self.seeds.forget_introductions();
        self.seeds.ask_after(self.cx.now + pause);
        self.gossip.begin_anew();
    }

    /// Links first, then what was watched on them.
    fn leave_links(&mut self) {
        self.overlay.drop_everything(&mut self.cx, &CloseReason::Rejoining);
        self.failure.all_links_gone();
        self.failure.begin_anew(&mut self.cx);
    }

    /// The seeds have begun anew, without the log that admitted this peer: it joins their cluster, as somebody else. Or
    /// their cluster goes on for its own: then it stays who it is, with its links and its view, until they tell
    /// otherwise.
    fn follow(&mut self, Followed { cluster, goes_on, .. }: Followed) {
        if goes_on {
            self.membership.go_on_in(&mut self.cx, cluster);
            return self.seeds.begin_anew(&mut self.cx);
        }
        if self.membership.is_member() {
            self.leave_links();
            // It comes at once: nobody was wrong about it.
            let _ = self.membership.begin_anew(&mut self.cx, 0);
        }
        self.membership.follow(&mut self.cx, cluster);
        self.seeds.begin_anew(&mut self.cx);
        self.gossip.forget_everything();
    }

    // ---- membership ----

    /// The answer to a registration. One that was given up meanwhile is passed over, for another may be under way;
    /// and so is one to a peer that is a member already, or that was told to stop meanwhile.
    fn on_registered(&mut self, seed: SeedSlot, answer: Registration) {
        if !self.seeds.registration_answered(seed) || !self.membership.is_joining() {
            return;
        }
        match answer {
            Registration::Admitted { incarnation, roster } => {
                let cluster = self.seeds.cluster_of(seed);
                let Some(cluster) = cluster else { panic!("it registered with a seed of no cluster") };
                self.membership.admitted(self.cx.now, cluster, incarnation);
                self.seeds.admitted(seed);
                self.seeds.note_own(&self.cx, cluster, seed);
                // Each life draws anew; dialling waits until JOINED is said.
                self.overlay.draw_wanted(&mut self.cx);
                let from = self.seeds.name_of(seed);
                let news = self.membership.take_whole(&mut self.cx, from, roster, &[]);
                self.on_news(news);
            }
            Registration::Refused(refusal) => self.on_refused(seed, &refusal),
        }
    }

    /// Some refusals are for good, and end the process with their reason; for the others it asks again after a pause.
    fn on_refused(&mut self, seed: SeedSlot, refusal: &Refusal) {
        if !refusal.why.may_retry() {
            self.membership.stop();
            let reason = format!("registration of {} rejected: {refusal}", self.cx.me);
            return self.cx.want(Effect::Exit(Err(reason)));
        }
        if refusal.why == Why::Ended {
            // Nothing can bring that life back, so asking again for it would be refused for ever.
            self.membership.take_another_life(&mut self.cx);
        }
        if refusal.why == Why::NoQuorum {
            // A seed that reaches no majority cannot have anything decided; another one may.
            self.seeds.prefer_others(seed);
        }
        self.cx.warn(format!("not registered yet: {refusal}; trying again"));
        self.seeds.ask_later(&mut self.cx);
    }

    /// What is due with the seeds and with this peer's own membership.
    pub(super) fn settle_membership(&mut self) {
        if self.membership.is_stopped() {
            return;
        }
        if let Some(own) = self.membership.cluster()
            && let Some(other) = self.seeds.to_follow(self.cx.now, own)
            && !self.membership.is_leaving()
        {
            self.follow(other);
        }
        self.seeds.greet(&mut self.cx, self.membership.cluster());
        if self.membership.is_joining() {
            self.settle_joining();
        } else {
            // A member: sessions that were opened since the last step do not know it yet.
            self.introduce();
            self.seeds.note_troubles(&mut self.cx);
            self.overlay.note_troubles(&mut self.cx, &self.membership);
            self.cx.say_troubles();
        }
        if let Some(admitted) = self.membership.to_be_announced()
            && self.seeds.is_settled(self.cx.now, admitted)
        {
            self.membership.announce(&mut self.cx, self.seeds.introduced().count());
            let now = self.cx.now;
            let leave_alone = |id| self.failure.leaves_alone(now, id);
            self.overlay.choose(&mut self.cx, &self.membership, leave_alone);
        }
        match self.membership.leave_due(self.cx.now) {
            LeaveDue::Nothing => {}
            LeaveDue::Ask { turn } => self.ask_to_leave(turn),
            LeaveDue::GiveUp => self.finish(),
        }
        // In the step that ends everything too: what stands behind the end in the list of effects, nobody performs.
        self.seeds.settle(&mut self.cx);
    }

    /// Asks to be registered, where a session is open and it is time; and says from time to time that it waits, for a
    /// peer that cannot join looks like one that hangs.
    fn settle_joining(&mut self) {
        if let Some(limit) = self.membership.gives_up_joining(&self.cx) {
            self.membership.stop();
            let text = format!("not a member after {}", humantime::format_duration(limit));
            let reason = self.with_reasons(text);
            return self.cx.want(Effect::Exit(Err(reason)));
        }
        if self.membership.says_waiting(self.cx.now) {
            let (open, wanted) = (self.seeds.open().count(), self.seeds.quorum());
            let text =
                format!("waiting for the seeds: {open} of {wanted} sessions are open, not registered yet");
            let text = self.with_reasons(text);
            self.cx.warn(text);
        }
        if let Some(seed) = self.seeds.registration_due(&self.cx, self.membership.cluster()) {
            let view = self.membership.view();
            if !view.is_empty() {
                // A life that was removed first learns how everything ended that it had in its view.
                let missed = SessionMessage::ChangesSince(view.epoch);
                self.seeds.tell(&mut self.cx, seed, Message::Session(missed));
            }
            let register = SessionMessage::Register(self.membership.candidate(&self.cx));
            self.seeds.tell(&mut self.cx, seed, Message::Session(register));
        }
    }

    /// `text`, and why the seeds are of no use, as far as that is known.
    fn with_reasons(&self, text: String) -> String {
        let reasons = self.seeds.reasons();
        if reasons.is_empty() { text } else { format!("{text}: {reasons}") }
    }

    /// Tells the seeds that do not know it which member this is, and with whom it is linked. Links are told along
    /// with the name, in full: what was told to others this seed may not have heard.
    fn introduce(&mut self) {
        let Some(member) = self.membership.id() else { panic!("who is no member introduces itself") };
        for seed in self.seeds.strangers() {
            let (life, epoch) = (self.membership.life(), self.membership.view().epoch);
            let open = SessionMessage::Open { member, life, epoch };
            self.seeds.tell(&mut self.cx, seed, Message::Session(open));
            let links = SessionMessage::Neighbours(self.overlay.tale());
            self.seeds.tell(&mut self.cx, seed, Message::Session(links));
            self.seeds.introduce(seed);
        }
    }

    /// With no session open nobody is asked, and the turn is spent: the next try, or the end of its time, follows
    /// anyway.
    fn ask_to_leave(&mut self, turn: usize) {
        let open: Vec<SeedSlot> = self.seeds.open().collect();
        if let (Some(member), false) = (self.membership.id(), open.is_empty()) {
            let leave = SessionMessage::Leave { member, secret: self.membership.secret() };
            self.seeds.tell(&mut self.cx, open[turn % open.len()], Message::Session(leave));
        }
    }

    /// The end, in order. Neighbours are told before the process ends, so that none of them takes the broken
    /// connection for a death.
    pub(super) fn finish(&mut self) {
        self.overlay.drop_everything(&mut self.cx, &CloseReason::ShuttingDown);
        self.failure.all_links_gone();
        self.seeds.say_goodbye(&mut self.cx);
        self.membership.stop();
        self.cx.want(Effect::Exit(Ok(())));
    }
}
