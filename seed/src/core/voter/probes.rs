//! What this seed found out about lives, by itself.
//!
//! One probe per life at a time. Its result serves every death ballot about that life that is opened while it
//! runs or within half a second after it ended, so that a hint given when a suspicion began has the answer ready
//! when the ballot comes. A registration asks for a probe of its own: what was found before does not concern it.
//!
//! Left out: one probe for each that asks. A death that many report would be probed as often, and each probe opens
//! several connections.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::limits::PROBE_SERVES_FOR;
use coterie_common::message::{DeathProposal, RegisterProposal, SeedId};
use coterie_common::{Finding, HostEvidence, Instant, ProbeTarget, UnderWay};

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// The finding.
    pub(super) finding: Finding,
    /// What ICMP said. For the record; a vote does not depend on it.
    pub(super) host: HostEvidence,
    /// When the probe ended. From it the age is reckoned that goes with a vote.
    pub(super) ended: Instant,
}

/// What waits for a probe.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ProbePurpose {
    /// A vote on a registration, for this leader.
    Registration(SeedId, RegisterProposal),
    /// A vote on a death, for this leader.
    Death(SeedId, DeathProposal),
    /// Nothing but the result: a hint, or a look after a quiet JSON member.
    Result,
}

#[derive(Clone, Debug)]
struct Running {
    probe: UnderWay,
    /// In the order in which they asked; each is told.
    waiting: Vec<ProbePurpose>,
}

/// The probes that run and those that ended lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    running: BTreeMap<ProbeTarget, Running>,
    /// The last of each life, while it may serve.
    ended: BTreeMap<ProbeTarget, ProbeResult>,
}

impl Probes {
    /// Somebody waits for a probe of `target`. Returns whether one has to be started, which bears silence for
    /// `patience`.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        target: ProbeTarget,
        waiting: ProbePurpose,
        patience: Duration,
    ) -> bool {
        let start = !self.running.contains_key(&target);
        let running = self.running.entry(target);
        let new = || Running { probe: UnderWay::new(now, patience), waiting: Vec::new() };
        running.or_insert_with(new).waiting.push(waiting);
        start
    }

    /// What was found lately about `target`, if no probe of it runs. A finding that another probe is about to replace
    /// serves nobody.
    pub(super) fn recent(&self, now: Instant, target: ProbeTarget) -> Option<ProbeResult> {
        let fresh = |found: &&ProbeResult| now.since(found.ended) <= PROBE_SERVES_FOR;
        self.ended.get(&target).filter(fresh).filter(|_| !self.running.contains_key(&target)).copied()
    }

    /// A probe ended. Returns what that is worth, and who waited for it. A finding of death that comes much later than
    /// the patience allows tells of this seed, which stood still, and is worth nothing.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        target: ProbeTarget,
        finding: Finding,
        host: HostEvidence,
    ) -> (ProbeResult, Vec<ProbePurpose>) {
        let running = self.running.remove(&target);
        let Some(running) = running else { panic!("a probe of {target:?} has ended that nobody ordered") };
        let found = ProbeResult { finding: running.probe.weigh(now, finding), host, ended: now };
        self.ended.insert(target, found);
        (found, running.waiting)
    }

    /// Whether a probe of `target` runs.
    pub(super) fn is_running(&self, target: ProbeTarget) -> bool {
        self.running.contains_key(&target)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        let idle = self.running.iter().find(|(_, running)| running.waiting.is_empty());
        assert!(idle.is_none(), "a probe runs for which nobody waits: {idle:?}");
    }

    /// Forgets what serves no longer.
    pub(super) fn expire(&mut self, now: Instant) {
        self.ended.retain(|_, found| now.since(found.ended) <= PROBE_SERVES_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Life};
    use std::time::Duration;

    #[test]
    fn one_probe_serves_all_who_wait_and_those_who_come_soon_after() {
        let target = ProbeTarget { address: Address::new([127, 0, 0, 1].into(), 1), life: Life(1) };
        let mut probes = Probes::default();
        let wait = |probes: &mut Probes| {
            probes.wait(Instant::START, target, ProbePurpose::Result, Duration::from_millis(200))
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
