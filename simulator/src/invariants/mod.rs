//! What must always hold, and what must hold again once everything was healed. One file each.
//!
//! That each of them bites is shown by a bug that is planted for it: see [`crate::plan::planted_bug`].

mod accuracy;
mod agreement;
mod calm;
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
mod no_unilateral_death;
mod not_silent;
mod one_history;
mod overlay;
mod proportion;
mod seats;

pub(crate) use overlay::overlay_pieces;

use crate::check::invariant::Invariant;

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<agreement::Agreement>::default(),
        Box::<durability::Durability>::default(),
        Box::<no_unilateral_death::NoUnilateralDeath>::default(),
        Box::<accuracy::Accuracy>::default(),
        Box::new(calm::Calm),
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
        Box::<proportion::Proportion>::default(),
        Box::<seats::Seats>::default(),
        Box::<one_history::OneHistory>::default(),
        Box::<not_silent::NotSilent>::default(),
    ]
}

/// All of them, or the one of that name alone.
pub fn only(name: Option<&str>) -> Vec<Box<dyn Invariant>> {
    let mut invariants = all();
    invariants.retain(|invariant| name.is_none_or(|name| invariant.name() == name));
    invariants
}
