//! Nobody that left is suspected: its leave is committed before it goes, and it says CLOSE on every link.
//!
//! Looked at where nothing else is wrong: a peer that was cut off when the other left may well find it gone.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::at_longest;
use coterie_common::{Instant, MemberId};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::observed::named;
use crate::check::truth::Truth;

/// Nothing must have been wrong for so long before the departure: what was wrong before has been dealt with.
const CALM_FOR: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Departures {
    left: BTreeMap<MemberId, Instant>,
}

impl Invariant for Departures {
    fn name(&self) -> &'static str {
        "departures"
    }

    fn observe(&mut self, now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        let calm = truth.calm_since().is_some_and(|since| now.since(since) >= at_longest(CALM_FOR));
        match observed {
            Observed::LeftInOrder { member } if calm => {
                self.left.insert(*member, now);
            }
            Observed::Said { by, line } if line.event() == "SUSPICION" && calm => {
                let suspect = named(line, "suspect").ok_or("a line without the suspect")?;
                if let Some(at) = self.left.get(&suspect) {
                    return Err(format!("{by} suspects {suspect}, which left {:?} ago", now.since(*at)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
