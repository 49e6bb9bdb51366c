//! A voter never forgets: a seed takes part in the log only with the very directory that the log has recorded for it,
//! or with one that it records as its first. And one life of a seed votes at a time.

use std::collections::BTreeMap;

use coterie_common::Instant;
use coterie_common::message::SeedId;

use super::Invariant;
use crate::sim::watch::{Observed, Truth};

#[derive(Default)]
pub(super) struct Seats {
    births: BTreeMap<SeedId, u64>,
}

impl Invariant for Seats {
    fn name(&self) -> &'static str {
        "seats"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        let Observed::TakesPart { seed, birth } = observed else { return Ok(()) };
        let known = *self.births.entry(*seed).or_insert(*birth);
        match known == *birth {
            true => Ok(()),
            false => {
                Err(format!("seed {seed} takes part with directory {birth:x}, and was {known:x} before"))
            }
        }
    }
}
