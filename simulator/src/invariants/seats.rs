//! A voter never forgets: a seed takes part in the log only with the very directory that the log has recorded for it,
//! or with one that it records as its first. And one life of a seed votes at a time.

use std::collections::BTreeMap;

use coterie_common::Instant;
use coterie_common::message::SeedId;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct Seats {
    directory_ids: BTreeMap<SeedId, u64>,
}

impl Invariant for Seats {
    fn name(&self) -> &'static str {
        "seats"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        let Observed::TakesPart { seed, directory_id } = observed else { return Ok(()) };
        let known = *self.directory_ids.entry(*seed).or_insert(*directory_id);
        match known == *directory_id {
            true => Ok(()),
            false => Err(format!(
                "seed {seed} takes part with directory {directory_id:x}, and was {known:x} before"
            )),
        }
    }
}
