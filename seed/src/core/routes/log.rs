//! From the replicated log: what is decided, and what follows from it; and who leads.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::message::{Answer, BallotId, ClusterId, SeedId};
use coterie_common::{Change, Event, Line, MemberId, Tally, View, Why};

use crate::core::Seed;
use crate::core::effect::{Commit, Effect, Payload};
use crate::core::entry::{Applied, Body, DeathRecord, Entry};
use crate::core::registry::Registry;

impl Seed {
    pub(super) fn on_committed(&mut self, commits: Vec<Commit>) {
        for Commit { index, payload } in commits {
            match payload {
                Payload::Entry(entry) => self.apply(index, &entry),
                Payload::Seeds(sets) => self.on_voters(index, sets),
                Payload::Blank => self.registry.skip(index),
            }
        }
        self.catch_up();
    }

    /// The registry has moved: whatever waited for that goes on.
    ///
    /// Once a batch, after its last entry: so a push carries the batch, and a vote judges by all of it. That a
    /// session has heard of an end before it hears of what followed is not kept by the order here, but by the flush
    /// in each answer.
    fn catch_up(&mut self) {
        self.tell_missed();
        self.sessions.tell_seeds_to_all(&mut self.cx, &self.registry);
        self.sessions.push(&mut self.cx, &self.registry, &self.presence);
        self.deliver_answers();
        self.sessions.answer_reads(&mut self.cx, &self.registry, &self.presence);
        for (leader, proposal) in self.voter.take_ahead() {
            self.consider(leader, proposal);
        }
        self.leadership.found_if_first(&mut self.cx, &self.registry);
    }

    fn apply(&mut self, index: u64, entry: &Entry) {
        let outcome = self.registry.apply(index, entry);
        let is_its_own = outcome.changes.iter().all(|change| change.epoch.0 == index);
        assert!(is_its_own, "entry {index} made changes of another epoch: {:?}", outcome.changes);
        self.log_changes(index, &outcome.changes);
        // First what is pushed, then what ends, then the answers: an answer flushes what was noted.
        self.sessions.note(&outcome.changes);
        for change in &outcome.changes {
            self.end_lives(change);
        }
        let (registry, presence) = (&self.registry, &self.presence);
        self.sessions.close_ended_json(&mut self.cx, registry, presence, &outcome.changes);
        match &entry.body {
            Body::Join { ballot, .. } => self.on_registration_applied((*ballot, index), &outcome.applied),
            Body::Deaths(records) => self.on_deaths_applied(records, &outcome.applied),
            Body::Leave(member) => {
                let requests = self.leader.close_departure(*member);
                self.reply_to_all(requests, &Answer::Recorded { index });
            }
            Body::Found { cluster, .. } => {
                self.on_cluster_known(*cluster);
                // Requests may have waited for this.
                self.forward_again();
            }
            Body::SeedDirectory { .. } => {}
            body @ (Body::SeedAdd { .. } | Body::SeedRemove(_)) => {
                self.on_seed_change_applied(index, body, &outcome.applied);
            }
        }
    }

    /// A line for each change. What was decided without this seed is told in one line, once it has learned all of it;
    /// and what an earlier run had logged, as far as it had applied it, not again.
    fn log_changes(&mut self, index: u64, changes: &[Change]) {
        if self.leadership.is_news(index) {
            for change in changes {
                let line = self.change_line(change);
                self.cx.log(line);
            }
        } else if index > self.cx.config.printed {
            changes.iter().for_each(|change| self.missed.count(change));
        }
    }

    fn tell_missed(&mut self) {
        if self.missed != Tally::default() && self.leadership.is_news(self.registry.applied() + 1) {
            let missed = std::mem::take(&mut self.missed);
            self.cx.log(view_line(&self.registry.view(), missed));
        }
    }

    fn change_line(&self, change: &Change) -> Line {
        let (line, id) = match &change.event {
            Event::Joined(new) | Event::Replaced { new, .. } => {
                (Line::new("REGISTERED").with("peer", new.id.address), new.id)
            }
            Event::Died(id) => (Line::new("DEAD_CONFIRMED").with("dead", id.address), *id),
            Event::Left(id) => (Line::new("LEFT").with("peer", id.address), *id),
        };
        let line = line.with("incarnation", id.incarnation).with("epoch", change.epoch);
        match &change.event {
            Event::Joined(_) | Event::Replaced { .. } => line.with("members", self.registry.members().len()),
            Event::Died(_) | Event::Left(_) => line,
        }
    }

    /// What is known for the moment of a life goes with it, and begins with one.
    fn end_lives(&mut self, change: &Change) {
        match &change.event {
            Event::Joined(new) => self.presence.admit(new.id),
            Event::Replaced { old, new } => {
                self.presence.forget(*old);
                self.presence.admit(new.id);
                self.on_life_ended(*old, change.epoch.0);
            }
            Event::Left(id) | Event::Died(id) => {
                self.presence.forget(*id);
                self.on_life_ended(*id, change.epoch.0);
            }
        }
    }

    /// Whoever greeted this seed before it knew its cluster is answered, and what members of another one asked is
    /// forgotten: the incarnations that they name are those of another log.
    fn on_cluster_known(&mut self, cluster: ClusterId) {
        if self.leadership.learn_cluster(cluster) {
            let others = self.sessions.cluster_known(&mut self.cx, &self.registry, cluster);
            self.forwarding.drop_requests_of(&others);
        }
    }

    /// A life has ended: whatever was open about it is over.
    fn on_life_ended(&mut self, id: MemberId, index: u64) {
        self.presence.life_ended(self.cx.now, id);
        if let Some(closed) = self.leader.close_death(id) {
            self.reply_to_all(closed.requests, &Answer::Recorded { index });
        }
    }

    /// A snapshot took the registry's place: sessions get the whole view.
    pub(super) fn on_restored(&mut self, registry: Registry) {
        let before = self.registry.view();
        let ended: Vec<_> = registry.ended().copied().collect();
        let changes = before.difference(&registry.view(), &ended);
        self.registry = registry;
        if let Some(cluster) = self.registry.cluster() {
            self.on_cluster_known(cluster);
        }
        self.sessions.begin_anew(self.registry.epoch());
        self.cx.log(view_line(&self.registry.view(), Tally::of(&changes)));
        for change in &changes {
            self.end_lives(change);
        }
        // Told before what follows pushes: pushed first, a JSON program would be behind a history that begins anew
        // and be sent a whole view, for which JSON has no word. It is closed last, when it has heard of its own end.
        self.sessions.tell_json_difference(&mut self.cx, &self.registry, &changes);
        self.tell_shell_of_seeds();
        self.catch_up();
        let (registry, presence) = (&self.registry, &self.presence);
        self.sessions.close_ended_json(&mut self.cx, registry, presence, &changes);
    }

    // ---- what ballots came to ----

    /// The log has decided about a joiner.
    fn on_registration_applied(&mut self, (ballot, index): (BallotId, u64), applied: &Applied) {
        let answer = match applied {
            Applied::Joined(incarnation) | Applied::Known(incarnation) => {
                Answer::Admitted { incarnation: *incarnation, index }
            }
            Applied::Refused(refusal) if refusal.why == Why::Superseded => {
                let settled = self.leader.registration_outdated(&mut self.cx, ballot);
                return self.on_settled(settled);
            }
            Applied::Refused(refusal) => Answer::Refused(refusal.clone()),
            Applied::Founded
            | Applied::DirectoryRecorded
            | Applied::SeedAdded(_)
            | Applied::SeedRemoved
            | Applied::Left
            | Applied::Died { .. } => panic!("a Join came to {applied:?}"),
        };
        let requests = self.leader.close_registration(ballot);
        self.reply_to_all(requests, &answer);
    }

    /// The log has decided about deaths: of those that it took, each ended with its change.
    fn on_deaths_applied(&mut self, records: &[DeathRecord], applied: &Applied) {
        let left_out = match applied {
            Applied::Died { left_out } => left_out,
            // Nobody may die before the founding.
            Applied::Refused(_) => return,
            Applied::Founded
            | Applied::DirectoryRecorded
            | Applied::SeedAdded(_)
            | Applied::SeedRemoved
            | Applied::Joined(_)
            | Applied::Known(_)
            | Applied::Left => panic!("an entry about deaths came to {applied:?}"),
        };
        for (dead, refusal) in left_out {
            // By ballot: where it was held again meanwhile, this entry is the old one's, and the new one goes on. Where
            // none is held, another leader's was refused.
            let record = records.iter().find(|record| record.dead == *dead);
            if record.is_some_and(|record| self.leader.holds_death(*dead, record.ballot)) {
                self.reject_death(*dead, refusal);
            }
        }
    }

    /// An entry was not taken. If this seed still leads, what it was about is taken up again.
    pub(super) fn on_proposal_failed(&mut self, entry: Entry) {
        self.cx.count("proposals_failed");
        if !self.leadership.leads() {
            return;
        }
        match entry.body {
            Body::Join { ballot, .. } => {
                let settled = self.leader.registration_outdated(&mut self.cx, ballot);
                self.on_settled(settled);
            }
            Body::Deaths(records) => {
                for record in records {
                    if self.leader.holds_death(record.dead, record.ballot) {
                        self.hold_death_again(record.dead);
                    }
                }
            }
            Body::Leave(member) => {
                for request in self.leader.close_departure(member) {
                    self.open_departure(member, request);
                }
            }
            Body::Found { .. } => self.leadership.founding_failed(),
            // Upkeep proposes it again.
            Body::SeedDirectory { .. } => {}
            body @ (Body::SeedAdd { .. } | Body::SeedRemove(_)) => {
                self.leader.seed_change_failed(&mut self.cx, body);
            }
        }
    }

    // ---- who the seeds are ----

    /// An entry about the seeds is applied.
    fn on_seed_change_applied(&mut self, index: u64, body: &Body, applied: &Applied) {
        let answer = match applied {
            Applied::Refused(refusal) => Answer::Refused(refusal.clone()),
            Applied::SeedAdded(_) | Applied::SeedRemoved => Answer::Recorded { index },
            Applied::Founded
            | Applied::DirectoryRecorded
            | Applied::Joined(_)
            | Applied::Known(_)
            | Applied::Left
            | Applied::Died { .. } => panic!("a change of the seeds came to {applied:?}"),
        };
        if let (true, Answer::Recorded { .. }) = (self.leadership.is_news(index), &answer) {
            let line = self.seed_change_line(body);
            self.cx.log(line);
        }
        let requests = self.leader.close_seed_change(body);
        self.reply_to_all(requests, &answer);
        self.tell_shell_of_seeds();
    }

    fn seed_change_line(&self, body: &Body) -> Line {
        match body {
            Body::SeedAdd { address, replaces: None } => {
                Line::new("SEED_ADDED").with("seed", address.as_str())
            }
            Body::SeedAdd { address, replaces: Some(_) } => {
                Line::new("SEED_REPLACED").with("seed", address.as_str())
            }
            Body::SeedRemove(seed) => {
                Line::new("SEED_REMOVED").with("seed", self.leadership.name(&self.registry, *seed))
            }
            other => panic!("{other:?} changes no seed"),
        }
    }

    /// The sets of voters have changed, by the log's own entry at `index`.
    fn on_voters(&mut self, index: u64, sets: Vec<BTreeSet<SeedId>>) {
        self.registry.set_seeds(index, sets);
        // Two sets are a change half made: the leader goes on with it.
        if self.registry.seed_sets().len() == 1 {
            self.leader.voters_settled();
        }
        // Before the founding there are no seeds to tell of, but those of everybody's own list.
        if self.registry.cluster().is_some() {
            self.tell_shell_of_seeds();
        }
    }

    /// The seeds to be connected with: those that there are, and those that still have a vote.
    fn tell_shell_of_seeds(&mut self) {
        self.leadership.learn_names(&self.registry);
        let seeds: BTreeMap<SeedId, String> =
            self.registry.seeds().iter().map(|(id, seed)| (*id, seed.address.clone())).collect();
        let removed = self.registry.removed_seeds().keys().copied();
        let gone: BTreeSet<SeedId> = removed.filter(|id| self.registry.is_gone(*id)).collect();
        self.cx.want(Effect::Seeds { seeds, gone });
    }

    // ---- who leads ----

    /// Votes never pass from one term to another: what was asked in it, hints, ballots and departures go. Which lives
    /// ended lately, and the probes, stay: they are this seed's own knowledge.
    pub(super) fn on_leader(&mut self, leader: Option<SeedId>, term: u64) {
        let Some(election) = self.leadership.follow(leader, term) else {
            // Nothing new.
            return;
        };
        self.voter.begin_anew(leader, term);
        self.leader.begin_anew(election.is_new_term.then_some(term));
        self.presence.begin_anew();
        // After what was known is thrown away, and before anything is reckoned from it.
        self.presence.take_early(&self.registry, term);
        self.presence.new_leader(self.cx.now);
        let Some(leader) = leader else {
            // What follows waits for one.
            return;
        };
        let name = self.leadership.name(&self.registry, leader);
        self.cx.log(Line::new("LEADER").with("leader", name).with("term", term));
        self.leadership.found_if_first(&mut self.cx, &self.registry);
        self.forward_again();
    }

    /// Another seed is connected. What was on the old connection may be lost, and soft state is told as differences. So
    /// a leader is told everything again, and it asks again for each vote that it waits for.
    pub(super) fn on_seed_up(&mut self, seed: SeedId, directory_id: u64, address: String) {
        self.leadership.seed_up(&mut self.cx, &self.registry, seed, (directory_id, address));
        self.leadership.record_directories(&mut self.cx, &self.registry);
        if self.leadership.leader() == Some(seed) {
            self.presence.begin_anew();
            self.forward_again();
        }
        // It may lead, though this seed has not heard so.
        self.cast_again(seed);
        self.ask_again(seed);
    }
}

fn view_line(view: &View, tally: Tally) -> Line {
    Line::new("VIEW")
        .with("epoch", view.epoch)
        .with("members", view.len())
        .with("joined", tally.joined)
        .with("left", tally.left)
        .with("died", tally.died)
        .with("replaced", tally.replaced)
}
