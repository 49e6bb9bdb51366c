//! What must hold, as a trait.
//!
//! Three kinds of questions: every observation is shown to every invariant ([`Invariant::observe`]); now and then each
//! looks at the whole state ([`Invariant::look`]); and after everything was healed each says what is not yet as it
//! must be ([`Invariant::unsettled`]), until nobody has anything to say or the time is over.

use coterie_common::Instant;

use super::observed::Observed;
use super::processes::Processes;
use super::truth::Truth;

/// Something that must hold.
pub trait Invariant {
    /// Its name, that of its file.
    fn name(&self) -> &'static str;

    /// Something happened: may it?
    fn observe(&mut self, _now: Instant, _observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        Ok(())
    }

    /// Whether the whole state is as it may be.
    fn look(&mut self, _now: Instant, _processes: &Processes<'_>, _truth: &Truth) -> Result<(), String> {
        Ok(())
    }

    /// What is not yet as it must be after everything was healed.
    fn unsettled(&self, _processes: &Processes<'_>, _truth: &Truth) -> Option<String> {
        None
    }
}
