//! The order to probe one life at one address.

use std::time::Duration;

use crate::{Address, Life, Wire};

/// A probe: is this life there? The rules of how it is carried out stand with [`crate::net::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOrder {
    /// Where.
    pub address: Address,
    /// The life that must answer; [`Life::NONE`] is any program that names no life.
    pub life: Life,
    /// How it speaks.
    pub wire: Wire,
    /// How long silence is borne.
    pub patience: Duration,
    /// The time between two of its connections.
    pub spacing: Duration,
}
