//! Why there is no session with a seed, and for how long there has been none with any.
//!
//! A peer that nobody hears looks like one that is well: so it says what keeps it from its seeds, once, and when that
//! is over.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::Instant;

use super::slots::SeedSlots;
use crate::core::context::Context;
use crate::core::effect::SeedSlot;

/// How long a member is without any session before that is said: longer than seeds take to start again.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// What is wrong with the seeds, as this peer sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    /// Why the last session of each was not opened, or has ended; none once it has spoken.
    why: BTreeMap<SeedSlot, String>,
    /// Since when no seed is there that has spoken, and whether that was said.
    alone: Option<(Instant, bool)>,
}

/// What is worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// No seed has been there for long.
    Alone,
    /// One is again, after so long.
    Over(Duration),
}

impl Troubles {
    /// A session was not opened, or has ended.
    pub(super) fn note(&mut self, seed: SeedSlot, why: String) {
        assert!(!why.is_empty(), "{seed:?} was lost without a reason");
        self.why.insert(seed, why);
    }

    /// A seed has spoken.
    pub(super) fn heard(&mut self, seed: SeedSlot) {
        self.why.remove(&seed);
    }

    /// Why there is no session with the seeds in force, by name: `10.0.0.1:5011 refuses connections`.
    pub(super) fn reasons(&self, slots: &SeedSlots) -> String {
        let reason = |seed: SeedSlot| Some(format!("{} {}", slots.names[seed.0], self.why.get(&seed)?));
        slots.in_use().filter_map(reason).collect::<Vec<_>>().join(", ")
    }

    /// Says what there is to say. In each step: while no session is open, one is opened every two seconds.
    pub(super) fn say(&mut self, cx: &mut Context, slots: &SeedSlots, is_any_there: bool) {
        match self.look(cx.now, is_any_there) {
            Some(Trouble::Alone) => {
                cx.warn(format!("no session with any seed for 10 s: {}", self.reasons(slots)));
            }
            Some(Trouble::Over(after)) => {
                cx.warn(format!("a session with a seed is open again, after {} s", after.as_secs()));
            }
            None => {}
        }
    }

    fn look(&mut self, now: Instant, is_any_there: bool) -> Option<Trouble> {
        match (self.alone, is_any_there) {
            (None, false) => {
                self.alone = Some((now, false));
                None
            }
            (Some((since, false)), false) if now >= since + ALONE_MAX => {
                self.alone = Some((since, true));
                Some(Trouble::Alone)
            }
            (Some((since, was_said)), true) => {
                self.alone = None;
                was_said.then(|| Trouble::Over(now.since(since)))
            }
            (None, true) | (Some(_), false) => None,
        }
    }
}
