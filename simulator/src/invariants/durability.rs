//! *What was answered `ok` or announced `DEAD_CONFIRMED` was on disk on a majority of the seeds first, and survives
//! `kill -9` of all of them at once.* (Promise 2)
//!
//! When it is announced it must be committed, and what is committed must stay: an index is decided once, and every seed
//! is given the same there.

use std::collections::BTreeMap;

use coterie_common::{Event, Instant, MemberId};
use coterie_seed::core::Payload;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::observed::named;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct Durability {
    decided: BTreeMap<u64, Payload>,
    admitted: BTreeMap<MemberId, u64>,
}

impl Invariant for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Committing { index, payload } => {
                match self.decided.insert(*index, (*payload).clone()) {
                    Some(before) if before != **payload => {
                        Err(format!("entry {index} was {before:?} and is now {payload:?}"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Observed::HandedOver { seed, index, payload } => match self.decided.get(index) {
                Some(decided) if decided == *payload => Ok(()),
                decided => {
                    Err(format!("seed {seed} is given {payload:?} as entry {index}, which is {decided:?}"))
                }
            },
            Observed::Committed { index, outcome: Some(outcome) } => {
                for change in &outcome.changes {
                    if let Event::Joined(new) | Event::Replaced { new, .. } = &change.event {
                        self.admitted.insert(new.id, *index);
                    }
                }
                Ok(())
            }
            Observed::Answered { member } if !self.admitted.contains_key(member) => {
                Err(format!("{member} was answered ok, and no committed entry admits it"))
            }
            Observed::Said { by, line } if line.event() == "DEAD_CONFIRMED" => {
                let dead = named(line, "dead").ok_or("a line without the dead")?;
                match truth.end_of(dead).is_some() {
                    true => Ok(()),
                    false => Err(format!("{by} announced the death of {dead}, which no committed entry has")),
                }
            }
            _ => Ok(()),
        }
    }
}
