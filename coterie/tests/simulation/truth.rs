//! What really is, against which everything that nodes believe is held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{RumorId, SeedId};
use coterie_common::{Address, Epoch, Finding, Incarnation, Instant, Life, View};
use coterie_seed::core::entry::{Body, Entry};
use coterie_seed::core::{Commit, Payload, Registry};

/// How long before a verdict a peer must have been well for its death to be a wrong one: the age that evidence may
/// have, and the patience of the probe behind it.
const WELL_FOR: Duration = Duration::from_millis(4_000);

/// The invariants, and what they need to know.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The registry of a reader of the log who is never late.
    reference: Registry,
    /// Who was a member at each epoch.
    views: BTreeMap<Epoch, BTreeMap<Address, Incarnation>>,
    /// What each seed's probes have found.
    found_dead: BTreeSet<(SeedId, Address, Life)>,
    /// Since when each peer is well: alive, not paused, reachable by all seeds.
    well_since: BTreeMap<Address, (Life, Instant)>,
    /// Epochs that peers have reached.
    reached: BTreeMap<(Address, Life), Epoch>,
    /// Messages that were delivered.
    delivered: BTreeSet<(Address, Life, RumorId)>,
}

impl Truth {
    /// The log has grown.
    pub(crate) fn committed(&mut self, now: Instant, commit: &Commit) {
        match &commit.payload {
            Payload::Entry(entry) => {
                self.check_entry(now, entry);
                self.reference.apply(commit.index, entry);
            }
            Payload::Seeds(sets) => self.reference.set_seeds(commit.index, sets.clone()),
            Payload::Blank => self.reference.skip(commit.index),
        }
        let members = self.reference.members().map(|m| (m.id.address, m.id.incarnation)).collect();
        let previous = self.views.insert(self.reference.epoch(), members);
        if let Some(previous) = previous {
            assert_eq!(Some(&previous), self.views.get(&self.reference.epoch()), "one epoch, one view");
        }
    }

    /// No unilateral death, and no death of the living.
    fn check_entry(&self, now: Instant, entry: &Entry) {
        let Body::Deaths(verdicts) = &entry.body else { return };
        for verdict in verdicts {
            let Some(member) = self.reference.member(verdict.dead) else { continue };
            for vote in &verdict.votes {
                let probed = self.found_dead.contains(&(vote.seed, member.id.address, member.life));
                assert!(
                    probed,
                    "seed {} voted for the death of {} without having found it dead",
                    vote.seed, member.id
                );
            }
            if let Some((life, since)) = self.well_since.get(&member.id.address)
                && *life == member.life
            {
                let well = now.since(*since);
                assert!(well < WELL_FOR, "{} was buried, and has been well for {well:?}", member.id);
            }
        }
    }

    pub(crate) fn probed(&mut self, seed: SeedId, target: (Address, Life), finding: Finding) {
        if finding.is_dead() == Some(true) {
            self.found_dead.insert((seed, target.0, target.1));
        }
    }

    /// The life of a peer that is well now, if one is.
    pub(crate) fn well(&mut self, now: Instant, peer: Address, life: Option<Life>) {
        match (life, self.well_since.get(&peer)) {
            (Some(life), Some((known, _))) if *known == life => {}
            (Some(life), _) => drop(self.well_since.insert(peer, (life, now))),
            (None, _) => drop(self.well_since.remove(&peer)),
        }
    }

    /// A peer has a view: nobody else ever has another one under that epoch, and it never goes back.
    pub(crate) fn saw(&mut self, peer: Address, life: Life, view: &View) {
        if view.is_empty() {
            return;
        }
        let members: BTreeMap<Address, Incarnation> =
            view.members().map(|m| (m.id.address, m.id.incarnation)).collect();
        let (_, expected) = self
            .views
            .range(..=view.epoch)
            .next_back()
            .unwrap_or_else(|| panic!("no view at {}", view.epoch));
        assert_eq!(&members, expected, "{peer} sees another view of epoch {}", view.epoch);
        let reached = self.reached.entry((peer, life)).or_insert(view.epoch);
        assert!(view.epoch >= *reached, "{peer} went back from epoch {reached} to {}", view.epoch);
        *reached = view.epoch;
    }

    /// A seed has applied so much: it has the registry that everybody has at that index.
    pub(crate) fn applied(&self, seed: SeedId, registry: &Registry) {
        let has_begun = !registry.seed_sets().is_empty();
        if has_begun && registry.applied() == self.reference.applied() {
            assert_eq!(registry, &self.reference, "seed {seed} made something else of the same log");
        }
    }

    /// A message was handed to the user of a peer: once.
    pub(crate) fn delivered(&mut self, peer: Address, life: Life, id: RumorId) {
        assert!(self.delivered.insert((peer, life, id)), "{peer} was given {id:?} twice");
    }

    /// Whether a peer was given a message, in whichever of its lives.
    pub(crate) fn was_delivered(&self, peer: Address, id: RumorId) -> bool {
        self.delivered.iter().any(|(address, _, delivered)| *address == peer && *delivered == id)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.reference
    }
}
