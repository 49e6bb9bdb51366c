//! What the log has decided, and what follows from it.

use std::collections::BTreeMap;

use coterie_common::message::{Answer, ClusterId, SeedId};
use coterie_common::{Change, Event, Instant, Line, MemberId, Tally, View};
use rand::Rng;

use super::admitting::Owner;
use super::effect::{Commit, Effect, Payload};
use super::entry::{Body, Entry, SeedRecord};
use super::history::History;
use super::registry::Registry;
use super::{Seed, log};

impl Seed {
    pub(super) fn on_committed(&mut self, now: Instant, commits: Vec<Commit>, out: &mut Vec<Effect>) {
        for Commit { index, payload } in commits {
            match payload {
                Payload::Entry(entry) => self.apply(now, index, &entry, out),
                Payload::Seeds(sets) => self.voters_applied(index, sets, out),
                Payload::Blank => self.registry.skip(index),
            }
        }
        self.catch_up(now, out);
    }

    /// The registry has moved: whatever waited for that goes on.
    fn catch_up(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.push(out);
        self.deliver_answers(out);
        self.answer_reads(out);
        for (from, message) in std::mem::take(&mut self.ahead) {
            self.consider_when_reached(now, from, message, out);
        }
        self.found_if_first(out);
    }

    fn apply(&mut self, now: Instant, index: u64, entry: &Entry, out: &mut Vec<Effect>) {
        let outcome = self.registry.apply(index, entry);
        if index > self.config.printed {
            for change in &outcome.changes {
                log(out, self.change_line(change));
            }
        }
        self.history.extend(&outcome.changes);
        for change in &outcome.changes {
            self.forget_ended(now, change, out);
        }
        self.close_ended_json(&outcome.changes, out);
        match &entry.body {
            Body::Join { ballot, .. } => self.admission_applied(now, (*ballot, index), &outcome.applied, out),
            Body::Deaths(verdicts) => self.deaths_applied(now, index, verdicts, &outcome.applied, out),
            Body::Leave(id) => self.leave_applied(*id, index, out),
            Body::Found { .. } => self.resend_errands(now, out),
            Body::SeedBirth { .. } => {}
            body @ (Body::SeedAdd { .. } | Body::SeedRemove(_)) => {
                self.seats_applied(index, body, &outcome.applied, out);
            }
        }
    }

    fn change_line(&self, change: &Change) -> Line {
        match &change.event {
            Event::Joined(new) | Event::Replaced { new, .. } => Line::new("REGISTERED")
                .with("peer", new.id.address)
                .with("incarnation", new.id.incarnation)
                .with("epoch", change.epoch)
                .with("members", self.registry.members().len()),
            Event::Died(id) => Line::new("DEAD_CONFIRMED")
                .with("dead", id.address)
                .with("incarnation", id.incarnation)
                .with("epoch", change.epoch),
            Event::Left(id) => Line::new("LEFT")
                .with("peer", id.address)
                .with("incarnation", id.incarnation)
                .with("epoch", change.epoch),
        }
    }

    fn forget_ended(&mut self, now: Instant, change: &Change, out: &mut Vec<Effect>) {
        match &change.event {
            Event::Joined(new) => self.soft.admit(new.id),
            Event::Replaced { old, new } => {
                self.soft.forget(*old);
                self.soft.admit(new.id);
                self.member_ended(now, *old, change.epoch.0, out);
            }
            Event::Left(id) => {
                self.soft.forget(*id);
                self.member_ended(now, *id, change.epoch.0, out);
            }
            Event::Died(id) => self.soft.forget(*id),
        }
    }

    /// A snapshot took the registry's place: sessions get the whole view.
    pub(super) fn on_restored(&mut self, now: Instant, registry: Registry, out: &mut Vec<Effect>) {
        let before = self.registry.view();
        let ended: Vec<_> = registry.ended().copied().collect();
        let changes = before.difference(&registry.view(), &ended);
        self.registry = registry;
        self.history = History::new(self.registry.epoch());
        log(out, view_line(&self.registry.view(), &changes));
        for change in &changes {
            self.forget_ended(now, change, out);
        }
        self.tell_json_difference(&changes, out);
        self.tell_shell_of_seeds(out);
        self.catch_up(now, out);
        self.close_ended_json(&changes, out);
    }

    // ---- leadership ----

    pub(super) fn on_leader(
        &mut self,
        now: Instant,
        leader: Option<SeedId>,
        term: u64,
        out: &mut Vec<Effect>,
    ) {
        if (self.leader, self.term) == (leader, term) {
            return;
        }
        if self.term != term {
            self.ballots_opened = 0;
        }
        (self.leader, self.term) = (leader, term);
        self.was_led |= leader.is_some();
        self.ahead.clear();
        self.forget_admissions();
        self.forget_burials();
        self.soft.new_leader();
        for (from, state) in std::mem::take(&mut self.early_soft) {
            if state.term == term {
                self.take_soft_state(from, state);
            }
        }
        self.seats.new_leader();
        self.tending.new_leader(now);
        let Some(leader) = leader else { return };
        log(out, Line::new("LEADER").with("leader", self.name(leader)).with("term", term));
        self.found_if_first(out);
        self.resend_errands(now, out);
    }

    pub(super) fn on_seed_up(&mut self, now: Instant, seed: SeedId, birth: u64, out: &mut Vec<Effect>) {
        if self.others.insert(seed, birth).is_none() {
            log(out, Line::new("SEED_CONNECTED").with("seed", self.name(seed)));
        }
        self.record_births(out);
        if self.leader == Some(seed) {
            self.soft.new_leader();
            self.resend_errands(now, out);
        }
    }

    pub(super) fn on_seed_down(&mut self, seed: SeedId, out: &mut Vec<Effect>) {
        if self.others.remove(&seed).is_some() {
            log(out, Line::new("SEED_LOST").with("seed", self.name(seed)));
        }
    }

    /// The first leader's first entry.
    pub(super) fn found_if_first(&mut self, out: &mut Vec<Effect>) {
        if !self.leads() || self.registry.cluster().is_some() || self.tending.proposed_founding(self.term) {
            return;
        }
        let mut cluster = [0; 16];
        self.rng.fill_bytes(&mut cluster);
        let birth = |id: SeedId| match id == self.config.id {
            true => Some(self.config.birth),
            false => self.others.get(&id).copied(),
        };
        let record = |(id, address): (&SeedId, &String)| {
            (*id, SeedRecord { address: address.clone(), birth: birth(*id) })
        };
        let seeds: BTreeMap<SeedId, SeedRecord> = self.config.seeds.iter().map(record).collect();
        out.push(Effect::Propose(Entry::new(Body::Found { cluster: ClusterId(cluster), seeds })));
    }

    /// A seed that was late at the founding may take part once its birth is in the log.
    pub(super) fn record_births(&mut self, out: &mut Vec<Effect>) {
        if !self.leads() {
            return;
        }
        let unrecorded =
            |id: &SeedId| self.registry.seeds().get(id).is_some_and(|record| record.birth.is_none());
        let own = [(self.config.id, self.config.birth)];
        let known = self.others.iter().map(|(id, birth)| (*id, *birth)).chain(own);
        let late: Vec<(SeedId, u64)> = known.filter(|(id, _)| unrecorded(id)).collect();
        for (seed, birth) in late {
            out.push(Effect::Propose(Entry::new(Body::SeedBirth { seed, birth })));
        }
    }

    // ---- leaving ----

    pub(super) fn open_leave(&mut self, member: MemberId, owner: Owner, out: &mut Vec<Effect>) {
        if self.registry.member(member).is_none() {
            let index = self.registry.applied();
            return self.done(owner, Answer::Recorded { index }, out);
        }
        let owners = self.tending.leaving.entry(member).or_default();
        let first = owners.is_empty();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
        // One entry for all who ask: each of them proposing again what failed would double it every time.
        if first {
            out.push(Effect::Propose(Entry::new(Body::Leave(member))));
        }
    }

    fn leave_applied(&mut self, member: MemberId, index: u64, out: &mut Vec<Effect>) {
        for owner in self.tending.leaving.remove(&member).unwrap_or_default() {
            self.done(owner, Answer::Recorded { index }, out);
        }
    }

    /// An entry was not taken. If this seed still leads, what it was about is taken up again.
    pub(super) fn on_proposal_failed(&mut self, now: Instant, entry: Entry, out: &mut Vec<Effect>) {
        self.count("proposals_failed");
        if !self.leads() {
            return;
        }
        match entry.body {
            Body::Join { ballot, .. } => self.admission_failed(now, ballot, out),
            Body::Deaths(verdicts) => self.deaths_failed(now, &verdicts, out),
            Body::Leave(member) => {
                for owner in self.tending.leaving.remove(&member).unwrap_or_default() {
                    self.open_leave(member, owner, out);
                }
            }
            Body::Found { .. } => self.tending.founding_failed(),
            Body::SeedBirth { .. } => {}
            body @ (Body::SeedAdd { .. } | Body::SeedRemove(_)) => self.seats_failed(body, out),
        }
    }
}

fn view_line(view: &View, changes: &[Change]) -> Line {
    let tally = Tally::of(changes);
    Line::new("VIEW")
        .with("epoch", view.epoch)
        .with("members", view.len())
        .with("joined", tally.joined)
        .with("left", tally.left)
        .with("died", tally.died)
        .with("replaced", tally.replaced)
}
