//! What this seed found out about lives, by itself.
//!
//! One probe per life at a time. Its result serves every death ballot about that life that is opened while it
//! runs or within half a second after it ended, so that a hint given when a suspicion began has the answer ready
//! when the ballot comes. A registration asks for a probe of its own: what was found before does not concern it.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::limits::PROBE_SERVES_FOR;
use coterie_common::message::{DeathProposal, RegisterProposal, SeedId};
use coterie_common::{Address, Finding, HostEvidence, Instant, Life, UnderWay};

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

#[derive(Clone, Debug)]
struct Running {
    probe: UnderWay,
    waiting: Vec<Waiting>,
}

/// The probes that run and those that ended lately.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    running: BTreeMap<Target, Running>,
    ended: BTreeMap<Target, Found>,
}

impl Probes {
    /// Somebody waits for a probe of `target`. Returns whether one has to be started, which bears silence for
    /// `patience`.
    pub fn wait(&mut self, now: Instant, target: Target, waiting: Waiting, patience: Duration) -> bool {
        let start = !self.running.contains_key(&target);
        let running = self.running.entry(target);
        let new = || Running { probe: UnderWay::new(now, patience), waiting: Vec::new() };
        running.or_insert_with(new).waiting.push(waiting);
        start
    }

    /// What was found lately about `target`, if no probe of it runs.
    pub fn recent(&self, now: Instant, target: Target) -> Option<Found> {
        let fresh = |found: &&Found| now.since(found.ended) <= PROBE_SERVES_FOR;
        self.ended.get(&target).filter(fresh).filter(|_| !self.running.contains_key(&target)).copied()
    }

    /// A probe ended. Returns what that is worth, and who waited for it.
    pub fn ended(
        &mut self,
        now: Instant,
        target: Target,
        finding: Finding,
        host: HostEvidence,
    ) -> (Found, Vec<Waiting>) {
        let running = self.running.remove(&target);
        let finding = running.as_ref().map_or(finding, |running| running.probe.weigh(now, finding));
        let found = Found { finding, host, ended: now };
        self.ended.insert(target, found);
        (found, running.map(|running| running.waiting).unwrap_or_default())
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
        let wait = |probes: &mut Probes| {
            probes.wait(Instant::START, target, Waiting::Result, Duration::from_millis(200))
        };
        assert!(wait(&mut probes));
        assert!(!wait(&mut probes));
        assert_eq!(probes.recent(Instant::START, target), None);
        let (found, waiting) = probes.ended(Instant::START, target, Finding::Refused, HostEvidence::Unknown);
        assert_eq!((found.finding, waiting.len()), (Finding::Refused, 2));
        assert_eq!(probes.recent(Instant::START + Duration::from_millis(500), target), Some(found));
        assert_eq!(probes.recent(Instant::START + Duration::from_millis(501), target), None);
    }
}
