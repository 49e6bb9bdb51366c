//! What this seed found out about lives, by itself.
//!
//! One probe per life at a time. Its result serves every death ballot about that life that is opened while it
//! runs or within half a second after it ended, so that a hint given when a suspicion began has the answer ready
//! when the ballot comes. A registration asks for a probe of its own: what was found before does not concern it.

use std::collections::BTreeMap;

use coterie_common::limits::PROBE_SERVES_FOR;
use coterie_common::message::{DeathProposal, RegisterProposal, SeedId};
use coterie_common::{Address, Finding, HostEvidence, Instant, Life};

/// One life at one address.
pub type Target = (Address, Life);

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The finding.
    pub finding: Finding,
    /// What ICMP said.
    pub host: HostEvidence,
    /// When the probe ended.
    pub ended: Instant,
}

/// What waits for a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// A vote on an admission, for this leader.
    Admission(SeedId, RegisterProposal),
    /// A vote on a death, for this leader.
    Death(SeedId, DeathProposal),
    /// Nothing but the result: a hint, or a look after a quiet JSON member.
    Result,
}

/// The probes that run and those that ended lately.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    running: BTreeMap<Target, Vec<Waiting>>,
    ended: BTreeMap<Target, Found>,
}

impl Probes {
    /// Somebody waits for a probe of `target`. Returns whether one has to be started.
    pub fn wait(&mut self, target: Target, waiting: Waiting) -> bool {
        let start = !self.running.contains_key(&target);
        self.running.entry(target).or_default().push(waiting);
        start
    }

    /// What was found lately about `target`, if no probe of it runs.
    pub fn recent(&self, now: Instant, target: Target) -> Option<Found> {
        let fresh = |found: &&Found| now.since(found.ended) <= PROBE_SERVES_FOR;
        self.ended.get(&target).filter(fresh).filter(|_| !self.running.contains_key(&target)).copied()
    }

    /// A probe ended. Returns who waited for it.
    pub fn ended(&mut self, target: Target, found: Found) -> Vec<Waiting> {
        self.ended.insert(target, found);
        self.running.remove(&target).unwrap_or_default()
    }

    /// Whether a probe of `target` runs.
    pub fn is_running(&self, target: Target) -> bool {
        self.running.contains_key(&target)
    }

    /// Forgets what serves no longer.
    pub fn expire(&mut self, now: Instant) {
        self.ended.retain(|_, found| now.since(found.ended) <= PROBE_SERVES_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_probe_serves_all_who_wait_and_those_who_come_soon_after() {
        let target = (Address::new([127, 0, 0, 1].into(), 1), Life(1));
        let mut probes = Probes::default();
        assert!(probes.wait(target, Waiting::Result));
        assert!(!probes.wait(target, Waiting::Result));
        let found = Found { finding: Finding::Refused, host: HostEvidence::Unknown, ended: Instant::START };
        assert_eq!(probes.recent(Instant::START, target), None);
        assert_eq!(probes.ended(target, found).len(), 2);
        assert_eq!(probes.recent(Instant::START + Duration::from_millis(500), target), Some(found));
        assert_eq!(probes.recent(Instant::START + Duration::from_millis(501), target), None);
    }
}
