//! What throws a cluster out of its rest, and ends.
//!
//! A system is metastable where it stays out of its rest after the cause is gone, because the work that the cause made
//! makes more work of its own (Bronson, Aghayev, Charapko, Zhu: Metastable failures in distributed systems, 2021). So
//! each trigger ends, and within ten seconds of that nobody may be in doubt any more.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::swarm::Swarm;
use crate::model::machine::Prices;

/// Something that happens to many at once, and is over after a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Other programs take the cores: every step takes so many times as long.
    Steal(u32, Duration),
    /// Everybody stands still, as when a virtual machine is moved.
    StopAll(Duration),
    /// Every peer says so many messages, one each millisecond.
    Flood(u32),
    /// These peers are killed in one moment.
    MassDeath(Vec<usize>),
    /// All peers that do not run are started in one moment.
    MassJoin,
    /// Every disk takes so many times as long.
    SlowDisks(u32, Duration),
    /// The seeds lose their uplink: they reach each other, and nobody else.
    UplinkGone(Duration),
}

impl Trigger {
    /// Any of them.
    pub(super) fn any(rng: &mut ChaCha8Rng, swarm: &Swarm, prices: &Prices) -> Self {
        let lasts = Duration::from_millis(rng.random_range(1_000..10_000));
        match rng.random_range(0..7) {
            0 => Trigger::Steal(rng.random_range(20..400), lasts),
            1 => Trigger::StopAll(lasts),
            2 => Trigger::Flood(rng.random_range(1..=prices.messages(swarm.peers))),
            3 => Trigger::MassDeath((0..swarm.peers).filter(|_| rng.random_bool(0.4)).collect()),
            4 => Trigger::MassJoin,
            5 => Trigger::SlowDisks(rng.random_range(10..100), lasts),
            _ => Trigger::UplinkGone(lasts),
        }
    }

    /// Its name, as a mark.
    pub fn name(&self) -> &'static str {
        match self {
            Trigger::Steal(..) => "trigger_steal",
            Trigger::StopAll(_) => "trigger_stop_all",
            Trigger::Flood(_) => "trigger_flood",
            Trigger::MassDeath(_) => "trigger_mass_death",
            Trigger::MassJoin => "trigger_mass_join",
            Trigger::SlowDisks(..) => "trigger_slow_disks",
            Trigger::UplinkGone(_) => "trigger_uplink_gone",
        }
    }

    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        match self {
            Trigger::Steal(_, time)
            | Trigger::StopAll(time)
            | Trigger::SlowDisks(_, time)
            | Trigger::UplinkGone(time) => *time,
            Trigger::Flood(messages) => Duration::from_millis(u64::from(*messages)),
            Trigger::MassDeath(_) | Trigger::MassJoin => Duration::ZERO,
        }
    }
}
