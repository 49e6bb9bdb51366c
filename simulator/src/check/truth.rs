//! What really is: the registry of a reader of the log who is never late, and who reaches whom.
//!
//! Owned by the checker of a run, read by every invariant, written only by what is committed and by who makes networks
//! fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::SeedId;
use coterie_common::{Address, Change, Ending, Epoch, Event, Incarnation, Instant, Life, MemberId};
use coterie_seed::core::entry::Outcome;
use coterie_seed::core::{Commit, Payload, Registry};

/// What really is.
#[derive(Debug, Default)]
pub struct Truth {
    /// The registry of a reader of the log who is never late.
    registry: Registry,
    /// How many members there were at each epoch.
    sizes: BTreeMap<Epoch, usize>,
    /// Who was at each address, from which epoch on.
    tenants: BTreeMap<Address, Vec<(Epoch, Option<Incarnation>)>>,
    /// The changes that each epoch made.
    changes: BTreeMap<Epoch, Vec<Address>>,
    /// How and when lives ended.
    ended: BTreeMap<MemberId, (Epoch, Ending)>,
    /// The life that runs at each peer's address, and since when each seed reaches it without hindrance.
    reached: BTreeMap<Address, (Life, BTreeMap<SeedId, Instant>)>,
    /// Since when nothing is wrong with the network and nobody is paused or down.
    calm_since: Option<Instant>,
}

impl Truth {
    /// The log has grown; returns what an entry did.
    pub(super) fn commit(&mut self, commit: &Commit) -> Option<Outcome> {
        let Commit { index, payload } = commit;
        match payload {
            Payload::Entry(entry) => {
                let outcome = self.registry.apply(*index, entry);
                self.note(&outcome.changes);
                Some(outcome)
            }
            Payload::Seeds(sets) => {
                self.registry.set_seeds(*index, sets.clone());
                None
            }
            Payload::Blank => {
                self.registry.skip(*index);
                None
            }
        }
    }

    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let (address, now_there) = match &change.event {
                Event::Joined(new) => (new.id.address, Some(new.id.incarnation)),
                Event::Replaced { old, new } => {
                    self.ended.insert(*old, (change.epoch, Ending::Replaced));
                    (new.id.address, Some(new.id.incarnation))
                }
                Event::Left(id) => {
                    self.ended.insert(*id, (change.epoch, Ending::Left));
                    (id.address, None)
                }
                Event::Died(id) => {
                    self.ended.insert(*id, (change.epoch, Ending::Died));
                    (id.address, None)
                }
            };
            self.tenants.entry(address).or_default().push((change.epoch, now_there));
            self.changes.entry(change.epoch).or_default().push(address);
            self.sizes.insert(change.epoch, self.registry.members().len());
        }
    }

    /// The registry of a reader of the log who is never late.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How and when a life ended.
    pub fn end_of(&self, id: MemberId) -> Option<(Epoch, Ending)> {
        self.ended.get(&id).copied()
    }

    /// Since when nothing is wrong with the network and nobody is paused or down.
    pub fn calm_since(&self) -> Option<Instant> {
        self.calm_since
    }

    /// Whether that is so now.
    pub fn set_calm(&mut self, now: Instant, is_calm: bool) {
        self.calm_since = is_calm.then(|| self.calm_since.unwrap_or(now));
    }

    /// Who was a member at `address` at `epoch`.
    pub fn tenant(&self, epoch: Epoch, address: Address) -> Option<Incarnation> {
        let history = self.tenants.get(&address)?;
        history.iter().rev().find(|(since, _)| *since <= epoch).and_then(|(_, tenant)| *tenant)
    }

    /// How many members there were at `epoch`.
    pub fn size(&self, epoch: Epoch) -> usize {
        self.sizes.range(..=epoch).next_back().map_or(0, |(_, size)| *size)
    }

    /// Whether a view was made at `epoch`.
    pub fn is_epoch(&self, epoch: Epoch) -> bool {
        epoch == Epoch(0) || self.sizes.contains_key(&epoch)
    }

    /// The addresses where something changed after `from`, up to `to`.
    pub fn changed(&self, from: Epoch, to: Epoch) -> impl Iterator<Item = Address> + '_ {
        let range = from.0 + 1..=to.0.max(from.0);
        self.changes
            .range(Epoch(*range.start())..)
            .take_while(move |(e, _)| e.0 <= to.0)
            .flat_map(|(_, a)| a.iter().copied())
    }

    /// Which seeds have reached that life, without anything in between, for so long.
    pub fn reached_by(&self, address: Address, life: Life, now: Instant, time: Duration) -> BTreeSet<SeedId> {
        let Some((well, since)) = self.reached.get(&address) else { return BTreeSet::new() };
        let long = |(seed, since): (&SeedId, &Instant)| (now.since(*since) >= time).then_some(*seed);
        if *well == life { since.iter().filter_map(long).collect() } else { BTreeSet::new() }
    }

    /// That seed has not reached who runs at `peer`, so far.
    pub fn does_not_reach(&mut self, seed: SeedId, peer: Address) {
        if let Some((_, since)) = self.reached.get_mut(&peer) {
            since.remove(&seed);
        }
    }

    /// The life that runs at `peer`, and the seeds that reach it now.
    pub fn reaches(&mut self, now: Instant, peer: Address, life: Option<(Life, BTreeSet<SeedId>)>) {
        let Some((life, seeds)) = life else {
            self.reached.remove(&peer);
            return;
        };
        let known = self.reached.entry(peer).or_insert_with(|| (life, BTreeMap::new()));
        if known.0 != life {
            *known = (life, BTreeMap::new());
        }
        known.1.retain(|seed, _| seeds.contains(seed));
        for seed in seeds {
            known.1.entry(seed).or_insert(now);
        }
    }
}
