//! The order to probe one life at one address.

use std::time::Duration;

use crate::limits::PROBE_LATE_MAX;
use crate::{Address, Finding, Instant, Life, Wire};

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
    /// How long it may take until a connection opens: no longer than the patience, and less where a connection to the
    /// suspect broke. A host that accepts connections is not gone, so whoever listens there is then given time.
    pub open_within: Duration,
    /// The time between two of its connections.
    pub spacing: Duration,
}

impl ProbeOrder {
    /// Whom it is about.
    pub fn target(&self) -> ProbeTarget {
        ProbeTarget { address: self.address, life: self.life }
    }
}

/// Whom a probe is about: one life at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeTarget {
    /// Where.
    pub address: Address,
    /// The life that must answer.
    pub life: Life,
}

/// A probe under way, as the core that ordered it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    until: Instant,
}

impl UnderWay {
    /// It begins `now`.
    pub fn new(now: Instant, patience: Duration) -> Self {
        UnderWay { until: now + patience }
    }

    /// What a result is worth that is looked at `now`.
    ///
    /// A result that comes much later than the patience allows speaks of this node: it stood still, or was starved,
    /// and neither asked while the suspect could have answered nor looked when it did. That is no evidence of a death.
    pub fn weigh(self, now: Instant, finding: Finding) -> Finding {
        match finding.is_dead() {
            Some(true) if now > self.until + PROBE_LATE_MAX => Finding::CannotProbe,
            Some(_) | None => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_still_while_probing_has_not_found_anybody_dead() {
        let patience = Duration::from_millis(800);
        let probe = UnderWay::new(Instant::START, patience);
        let in_time = Instant::START + patience + PROBE_LATE_MAX;
        let late = in_time + Duration::from_nanos(1);
        assert_eq!(probe.weigh(in_time, Finding::Silent), Finding::Silent);
        assert_eq!(probe.weigh(late, Finding::Silent), Finding::CannotProbe);
        assert_eq!(probe.weigh(late, Finding::Refused), Finding::CannotProbe);
        assert_eq!(probe.weigh(late, Finding::Alive), Finding::Alive);
    }
}
