//! What must always hold, and what must hold again once everything was healed. One file each.
//!
//! Three kinds of questions: every observation is shown to every invariant ([`Invariant::observe`]); now and then each
//! looks at the whole state ([`Invariant::look`]); and after everything was healed each says what is not yet as it
//! must be ([`Invariant::unsettled`]), until nobody has anything to say or the time is over.
//!
//! That each of them bites is shown by a bug that is planted for it: see [`super::sabotage`].

mod accuracy;
mod agreement;
mod comeback;
mod completeness;
mod delivered_once;
mod delivered_to_all;
mod departures;
mod durability;
mod epochs;
mod evidence;
mod limits;
mod no_resurrection;
mod no_storms;
mod no_unilateral_death;
mod overlay;
mod seats;

use coterie_common::Instant;

pub(super) use overlay::overlay_pieces;

use super::watch::{Observed, State, Truth};

/// Something that must hold.
pub(super) trait Invariant {
    /// Its name, that of its file.
    fn name(&self) -> &'static str;

    /// Something happened: may it?
    fn observe(&mut self, _now: Instant, _observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        Ok(())
    }

    /// Whether the whole state is as it may be.
    fn look(&mut self, _now: Instant, _state: &State<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What is not yet as it must be after everything was healed.
    fn unsettled(&self, _state: &State<'_>) -> Option<String> {
        None
    }
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<agreement::Agreement>::default(),
        Box::<durability::Durability>::default(),
        Box::<no_unilateral_death::NoUnilateralDeath>::default(),
        Box::<accuracy::Accuracy>::default(),
        Box::new(completeness::Completeness),
        Box::new(comeback::Comeback),
        Box::<delivered_once::DeliveredOnce>::default(),
        Box::<delivered_to_all::DeliveredToAll>::default(),
        Box::<epochs::Epochs>::default(),
        Box::new(no_resurrection::NoResurrection),
        Box::new(evidence::Evidence),
        Box::<limits::Limits>::default(),
        Box::new(overlay::Overlay),
        Box::<departures::Departures>::default(),
        Box::<no_storms::NoStorms>::default(),
        Box::<seats::Seats>::default(),
    ]
}
