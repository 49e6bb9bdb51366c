//! Why there is no session with a seed, or none that is of use.

use std::collections::BTreeMap;

use super::session::SessionState;
use super::slots::SeedSlots;
use crate::core::effect::SeedSlot;

/// Why there is no session with each seed, as this peer sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons {
    /// Why the last session of each was not opened, or has ended; none once it has spoken.
    why: BTreeMap<SeedSlot, String>,
}

impl Reasons {
    /// A session was not opened, or has ended.
    pub(super) fn note(&mut self, seed: SeedSlot, why: String) {
        assert!(!why.is_empty(), "{seed:?} was lost without a reason");
        self.why.insert(seed, why);
    }

    /// A seed has spoken.
    pub(super) fn heard(&mut self, seed: SeedSlot) {
        self.why.remove(&seed);
    }

    /// Why the seeds in force are of no use, by name: `10.0.0.1:5011 refuses connections`. `asked`: the one that has
    /// not answered yet.
    pub(super) fn reasons(&self, slots: &SeedSlots, asked: Option<SeedSlot>) -> String {
        let reason = |seed: SeedSlot| {
            let waits = (asked == Some(seed)).then_some("was asked, and has not answered yet");
            let why = self.why.get(&seed).map(String::as_str).or(waits)?;
            Some(format!("{} {why}", slots.names[seed.0]))
        };
        slots.in_use().filter_map(reason).collect::<Vec<_>>().join(", ")
    }

    /// Why a member has no seed that can have anything decided.
    pub(super) fn unserved(&self, slots: &SeedSlots) -> String {
        let known = slots.that_are(|state| matches!(state, SessionState::Up { introduced: true, .. }));
        let names: Vec<&str> = known.map(|seed| slots.names[seed.0].as_str()).collect();
        match names.is_empty() {
            true => format!("no session is open: {}", self.reasons(slots, None)),
            false => format!("no majority or no leader, by what is heard of {}", names.join(", ")),
        }
    }
}
