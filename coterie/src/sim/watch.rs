//! What really is, and the invariants that everything that nodes do is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::SeedId;
use coterie_common::{
    Address, Change, Ending, Epoch, Event, Finding, Incarnation, Instant, Life, Line, Member, MemberId, Tags,
    View, Wire,
};
use coterie_peer::core::Peer;
use coterie_seed::core::entry::{Entry, Outcome};
use coterie_seed::core::probes::Target;
use coterie_seed::core::{Commit, Payload, Registry, Seed};

use super::host::Host;
use super::invariant::{self, Invariant};
use super::measure::Measure;
use super::run::Violation;

/// Something that happened, as the invariants see it.
#[derive(Debug)]
pub(super) enum Observed<'a> {
    /// An entry is about to be committed; the truth still has the registry as it was before.
    Committing { index: u64, payload: &'a Payload },
    /// It is committed, and this is what it did to the registry.
    Committed { index: u64, outcome: Option<&'a Outcome> },
    /// A seed's log hands an entry to its core as committed.
    HandedOver { seed: SeedId, index: u64, payload: &'a Payload },
    /// A leader wants an entry in the log.
    Proposed { entry: &'a Entry },
    /// A seed opened a ballot about a death.
    Ballot { dead: MemberId },
    /// The view of a peer has moved.
    Viewed { peer: Address, start: u64, from: Epoch, view: &'a View },
    /// A seed has applied something.
    Applied { seed: SeedId, start: u64, registry: &'a Registry },
    /// A seed takes part in the log, with a directory of this birth.
    TakesPart { seed: SeedId, birth: u64 },
    /// A process was started.
    Started { host: Host },
    /// A node begins to probe somebody.
    Probing { by: Host },
    /// A seed's probe has ended.
    Probed { seed: SeedId, target: Target, finding: Finding },
    /// A seed answered a registration with `ok`.
    Answered { member: MemberId },
    /// A node has written a line.
    Said { by: Host, line: &'a Line },
    /// A peer asks to be registered.
    Registering { peer: Address },
    /// A node sends something on a connection.
    Sent { by: Host },
    /// A peer is told to mend the overlay by dialling another.
    Mends { peer: Address, target: Address },
    /// A message is handed to the user of a peer.
    Delivered { peer: Address, life: Life, origin: Address, content: &'a Bytes },
    /// A peer ended in order, as this incarnation.
    LeftInOrder { member: MemberId },
}

/// The life that a line names under `key` and `incarnation`.
pub(super) fn named(line: &Line, key: &str) -> Option<MemberId> {
    let address = line.get(key)?.to_string().parse().ok()?;
    let incarnation = line.get("incarnation")?.to_string().parse().ok()?;
    Some(MemberId { address, incarnation: Incarnation(incarnation) })
}

/// All processes as they are.
pub(super) struct State<'a> {
    pub(super) truth: &'a Truth,
    /// Every peer's host: its core, where one runs.
    pub(super) peers: Vec<(Address, Option<&'a Peer>)>,
    /// The seeds that take part.
    pub(super) seeds: Vec<(SeedId, &'a Seed)>,
    /// What each peer must have heard: who said what, when everything was well again.
    pub(super) last_words: &'a [(Address, Bytes)],
    pub(super) max_neighbours: usize,
}

/// What really is.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The registry of a reader of the log who is never late.
    pub(super) registry: Registry,
    /// How many members there were at each epoch.
    sizes: BTreeMap<Epoch, usize>,
    /// Who was at each address, from which epoch on.
    tenants: BTreeMap<Address, Vec<(Epoch, Option<Incarnation>)>>,
    /// The changes that each epoch made.
    changes: BTreeMap<Epoch, Vec<Address>>,
    /// How and when lives ended.
    pub(super) ended: BTreeMap<MemberId, (Epoch, Ending)>,
    /// The life that runs at each peer's address, and since when each seed reaches it without hindrance.
    reached: BTreeMap<Address, (Life, BTreeMap<SeedId, Instant>)>,
    /// Since when nothing is wrong with the network and nobody is paused or down.
    pub(super) calm_since: Option<Instant>,
}

impl Truth {
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

    /// Who was a member at `address` at `epoch`.
    pub(super) fn tenant(&self, epoch: Epoch, address: Address) -> Option<Incarnation> {
        let history = self.tenants.get(&address)?;
        history.iter().rev().find(|(since, _)| *since <= epoch).and_then(|(_, tenant)| *tenant)
    }

    /// How many members there were at `epoch`.
    pub(super) fn size(&self, epoch: Epoch) -> usize {
        self.sizes.range(..=epoch).next_back().map_or(0, |(_, size)| *size)
    }

    /// Whether a view was made at `epoch`.
    pub(super) fn is_epoch(&self, epoch: Epoch) -> bool {
        epoch == Epoch(0) || self.sizes.contains_key(&epoch)
    }

    /// The addresses where something changed after `from`, up to `to`.
    pub(super) fn changed(&self, from: Epoch, to: Epoch) -> impl Iterator<Item = Address> + '_ {
        let range = from.0 + 1..=to.0.max(from.0);
        self.changes
            .range(Epoch(*range.start())..)
            .take_while(move |(e, _)| e.0 <= to.0)
            .flat_map(|(_, a)| a.iter().copied())
    }

    /// Which seeds have reached that life, without anything in between, for so long.
    pub(super) fn reached_by(
        &self,
        address: Address,
        life: Life,
        now: Instant,
        time: Duration,
    ) -> BTreeSet<SeedId> {
        let Some((well, since)) = self.reached.get(&address) else { return BTreeSet::new() };
        let long = |(seed, since): (&SeedId, &Instant)| (now.since(*since) >= time).then_some(*seed);
        if *well == life { since.iter().filter_map(long).collect() } else { BTreeSet::new() }
    }

    /// The life that runs at `peer`, and the seeds that reach it now.
    pub(super) fn reaches(&mut self, now: Instant, peer: Address, life: Option<(Life, BTreeSet<SeedId>)>) {
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

/// The invariants, and the first thing that was against one of them.
pub(super) struct Watch {
    pub(super) truth: Truth,
    invariants: Vec<Box<dyn Invariant>>,
    pub(super) violation: Option<Violation>,
    /// What is counted meanwhile, in a scenario.
    pub(super) measure: Option<Measure>,
}

impl Watch {
    /// All invariants, or the one of that name alone.
    pub(super) fn new(only: Option<&str>) -> Self {
        let mut invariants = invariant::all();
        invariants.retain(|invariant| only.is_none_or(|name| invariant.name() == name));
        Watch { truth: Truth::default(), invariants, violation: None, measure: None }
    }

    pub(super) fn observe(&mut self, now: Instant, observed: &Observed<'_>) {
        if let Some(measure) = &mut self.measure {
            measure.observe(now, observed);
        }
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.observe(now, observed, &self.truth) {
                self.violation.get_or_insert(Violation { invariant: invariant.name(), at: now, what });
            }
        }
    }

    /// The log has grown.
    pub(super) fn commit(&mut self, now: Instant, commit: &Commit) {
        let Commit { index, payload } = commit;
        self.observe(now, &Observed::Committing { index: *index, payload });
        let outcome = match payload {
            Payload::Entry(entry) => Some(self.truth.registry.apply(*index, entry)),
            Payload::Seeds(sets) => {
                self.truth.registry.set_seeds(*index, sets.clone());
                None
            }
            Payload::Blank => {
                self.truth.registry.skip(*index);
                None
            }
        };
        if let Some(outcome) = &outcome {
            self.truth.note(&outcome.changes);
        }
        self.observe(now, &Observed::Committed { index: *index, outcome: outcome.as_ref() });
    }

    /// A life that has ended, as if it were a member.
    pub(super) fn revenant(&self, id: MemberId) -> Option<Member> {
        let ended = self.truth.ended.contains_key(&id);
        ended.then(|| Member { id, life: Life(id.incarnation.0), wire: Wire::Native, tags: Tags::new() })
    }

    /// The whole state, now and then.
    pub(super) fn look(&mut self, now: Instant, state: impl FnOnce(&Truth, &mut dyn FnMut(&State<'_>))) {
        let (invariants, violation) = (&mut self.invariants, &mut self.violation);
        state(&self.truth, &mut |state| {
            for invariant in invariants.iter_mut() {
                if let Err(what) = invariant.look(now, state) {
                    violation.get_or_insert(Violation { invariant: invariant.name(), at: now, what });
                }
            }
        });
    }

    /// What is not yet as it must be once everything was healed, and whose demand that is.
    pub(super) fn unsettled(&self, state: &State<'_>) -> Option<(&'static str, String)> {
        self.invariants.iter().find_map(|invariant| Some((invariant.name(), invariant.unsettled(state)?)))
    }
}
