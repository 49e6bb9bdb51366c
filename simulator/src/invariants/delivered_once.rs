//! *A gossip message reaches every peer that stays connected, once to its user.* (Promise 7): the once.

use std::collections::BTreeSet;

use bytes::Bytes;
use coterie_common::{Address, Instant, Life};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct DeliveredOnce {
    /// What the user of which life was given. Every message of a run has words of its own.
    given: BTreeSet<(Address, Life, Address, Bytes)>,
}

impl Invariant for DeliveredOnce {
    fn name(&self) -> &'static str {
        "delivered_once"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        let Observed::Delivered { peer, life, origin, content } = observed else { return Ok(()) };
        match self.given.insert((*peer, *life, *origin, (*content).clone())) {
            true => Ok(()),
            false => Err(format!("{peer} was given {content:?} of {origin} twice")),
        }
    }
}
