//! What is counted in a scenario: who was removed, how many views that took, and how long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::{Address, Epoch, Event, Instant};

use crate::check::observed::Observed;
use crate::model::host::Host;

/// Counts, from the moment of the fault on.
#[derive(Debug)]
pub(crate) struct Measure {
    from: Instant,
    faulty: BTreeSet<Address>,
    faulty_removed: BTreeSet<Address>,
    removals: usize,
    healthy_removed: usize,
    epochs: BTreeSet<Epoch>,
    sizes: BTreeSet<usize>,
    last_confirmation: Option<Instant>,
    heard: BTreeMap<(Address, Bytes), usize>,
}

/// What a scenario came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Peers that something was wrong with.
    pub faulty: usize,
    /// Those of them that were removed.
    pub faulty_removed: usize,
    /// Removals of them: one that came back may be removed again.
    pub removals: usize,
    /// Removals of peers that nothing was wrong with.
    pub healthy_removed: usize,
    /// Views that healthy peers saw.
    pub views: usize,
    /// Sizes of the cluster that healthy peers saw.
    pub sizes: usize,
    /// From the fault to the last healthy peer's last confirmation of a death.
    pub last_confirmation: Option<Duration>,
    /// Until the overlay of the living was one.
    pub one_again: Option<Duration>,
    /// The share of survivors that a message reached, on average.
    pub reached: Option<f64>,
}

impl Measure {
    /// From `from` on, with something wrong with these.
    pub(crate) fn new(from: Instant, faulty: BTreeSet<Address>) -> Self {
        Measure {
            from,
            faulty,
            faulty_removed: BTreeSet::new(),
            removals: 0,
            healthy_removed: 0,
            epochs: BTreeSet::new(),
            sizes: BTreeSet::new(),
            last_confirmation: None,
            heard: BTreeMap::new(),
        }
    }

    pub(crate) fn observe(&mut self, now: Instant, observed: &Observed<'_>) {
        match observed {
            Observed::Committed { outcome: Some(outcome), .. } => {
                for change in &outcome.changes {
                    let Event::Died(id) = &change.event else { continue };
                    if self.faulty.contains(&id.address) {
                        self.removals += 1;
                        self.faulty_removed.insert(id.address);
                    } else {
                        self.healthy_removed += 1;
                    }
                }
            }
            Observed::Viewed { peer, view, .. } if !self.faulty.contains(peer) => {
                self.epochs.insert(view.epoch);
                self.sizes.insert(view.len());
            }
            Observed::Said { by: by @ Host::Peer(_), line }
                if line.event() == "DEAD_CONFIRMED" && !self.faulty.contains(&by.address()) =>
            {
                self.last_confirmation = Some(now);
            }
            Observed::Delivered { origin, content, .. } => {
                *self.heard.entry((*origin, (*content).clone())).or_insert(0) += 1;
            }
            _ => {}
        }
    }

    /// The share of `others` that each of these messages reached, on average.
    fn reached(&self, said: &[(Address, Bytes)], others: usize) -> Option<f64> {
        let share = |message: &(Address, Bytes)| {
            self.heard.get(message).copied().unwrap_or(0) as f64 / others.max(1) as f64
        };
        (!said.is_empty()).then(|| said.iter().map(share).sum::<f64>() / said.len() as f64)
    }

    /// The counts, with `said` by one of `survivors` peers, and the overlay one again at that moment.
    pub(crate) fn finish(
        &self,
        said: &[(Address, Bytes)],
        survivors: usize,
        one_again: Option<Instant>,
    ) -> Measured {
        let since = |at: Instant| at.since(self.from);
        Measured {
            faulty: self.faulty.len(),
            faulty_removed: self.faulty_removed.len(),
            removals: self.removals,
            healthy_removed: self.healthy_removed,
            views: self.epochs.len(),
            sizes: self.sizes.len(),
            last_confirmation: self.last_confirmation.map(since),
            one_again: one_again.map(since),
            reached: self.reached(said, survivors.saturating_sub(1)),
        }
    }
}
