//! Following the view: what is new in it, whose life is over, and what it means when that life is one's own.

use std::collections::BTreeSet;

use coterie_common::message::{CloseReason, Roster};
use coterie_common::{Change, Ended, Epoch, Event, Instant, Line, MemberId, Tally, View};

use super::effect::{Effect, SeedSlot};
use super::standing::State;
use super::{LinksTold, Peer, draw_life, log};

impl Peer {
    /// Takes the changes that are news, and does what follows from them.
    pub(super) fn follow(&mut self, now: Instant, epoch: Epoch, changes: Vec<Change>, out: &mut Vec<Effect>) {
        let known = self.known_ends(&changes);
        let news = self.view.apply(epoch, changes);
        self.take_news(now, &news, &known, out);
    }

    /// Takes a whole view, and does what follows from how it differs.
    pub(super) fn follow_whole(
        &mut self,
        now: Instant,
        seed: SeedSlot,
        roster: Roster,
        ended: &[Ended],
        out: &mut Vec<Effect>,
    ) {
        if roster.epoch < self.view.epoch {
            return;
        }
        let line = Line::new("PEER_LIST").with("epoch", roster.epoch).with("members", roster.members.len());
        log(out, line.with("from", self.config.seeds[seed.0].as_str()));
        self.degrees = roster.members.iter().map(|(m, degree)| (m.id.address, *degree)).collect();
        if roster.epoch == self.view.epoch && !self.view.is_empty() {
            return;
        }
        let next = View::new(roster.epoch, roster.members.into_iter().map(|(m, _)| m));
        let news = self.view.difference(&next, ended);
        let known = self.known_ends(&news);
        self.view = next;
        self.take_news(now, &news, &known, out);
    }

    /// The lives that these changes end and that this peer has in its view: only of those does it tell.
    fn known_ends(&self, changes: &[Change]) -> BTreeSet<MemberId> {
        let ends = changes.iter().filter_map(|change| ended_by(&change.event));
        ends.filter(|id| self.view.get(*id).is_some()).collect()
    }

    fn take_news(
        &mut self,
        now: Instant,
        news: &[Change],
        known: &BTreeSet<MemberId>,
        out: &mut Vec<Effect>,
    ) {
        if news.is_empty() {
            return;
        }
        for change in news {
            if let Some(id) = ended_by(&change.event) {
                self.purge(now, id, change, known.contains(&id), out);
            }
            if let Event::Joined(new) | Event::Replaced { new, .. } = &change.event {
                self.overlay.forgive(new.id.address);
            }
        }
        let tally = Tally::of(news);
        log(
            out,
            Line::new("VIEW")
                .with("epoch", self.view.epoch)
                .with("members", self.view.len())
                .with("joined", tally.joined)
                .with("left", tally.left)
                .with("died", tally.died)
                .with("replaced", tally.replaced),
        );
        let me = self.id();
        if let Some(end) = news.iter().find(|c| me.is_some() && ended_by(&c.event) == me) {
            self.removed(now, end.epoch, out);
        }
    }

    /// A life is over: it goes from every table.
    fn purge(&mut self, now: Instant, id: MemberId, change: &Change, known: bool, out: &mut Vec<Effect>) {
        let said = match &change.event {
            Event::Joined(_) | Event::Replaced { .. } => None,
            Event::Died(_) => Some(("DEAD_CONFIRMED", "dead")),
            Event::Left(_) => Some(("LEFT", "peer")),
        };
        if let (Some((event, key)), true) = (said, known) {
            let line = Line::new(event).with(key, id.address).with("incarnation", id.incarnation);
            log(out, line.with("epoch", change.epoch));
        }
        self.unlink_ended(now, id, change.epoch, out);
        self.suspicions.remove(&id);
        self.broke.remove(&id);
        self.leniency.forget(id);
        if self.probes.contains_key(&id) {
            self.settle_probe_of_ended(id, out);
        }
        if self.view.at(id.address).is_none() {
            self.degrees.remove(&id.address);
        }
    }

    /// This peer, alive, has been removed: it comes back as another life.
    pub(super) fn removed(&mut self, now: Instant, epoch: Epoch, out: &mut Vec<Effect>) {
        let (incarnation, since) = match self.standing.state {
            State::Leaving { .. } => return self.finish(out),
            State::Member { incarnation, since, .. } => (incarnation, since),
            State::Outside | State::Over => return,
        };
        log(out, Line::new("DECLARED_DEAD").with("incarnation", incarnation).with("epoch", epoch));
        self.drop_all_links(&CloseReason::Rejoining, out);
        self.forget_suspicions(out);
        self.life = draw_life(&mut self.rng);
        self.enrolment.forget_introductions();
        self.links_told = LinksTold::default();
        let pause = self.standing.removed(now, since);
        self.enrolment.ask_after(now + pause);
        self.talk.new_life();
    }
}

/// The life that an event ends.
fn ended_by(event: &Event) -> Option<MemberId> {
    match event {
        Event::Joined(_) => None,
        Event::Replaced { old: id, .. } | Event::Left(id) | Event::Died(id) => Some(*id),
    }
}
