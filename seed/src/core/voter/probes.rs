//! What this seed found out about lives, by itself.
//!
//! One probe per life at a time. Its result serves every death ballot about that life that is opened while it
//! runs or within half a second after it ended, so that a hint given when a suspicion began has the answer ready
//! when the ballot comes. A registration asks for a probe of its own: what was found before does not concern it.
//!
//! What doubts may cost is bounded. Of the budget a quarter is the leader's: a ballot that waits for this seed comes
//! before a hint that may come to nothing. A registration is no doubt: so many as may be are probed at once, and the
//! others wait for their turn.
//!
//! Left out: one probe for each that asks. A death that many report would be probed as often, and each probe opens
//! several connections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{BALLOTS_MAX, JOINERS_PROBED_MAX, PROBE_SERVES_FOR, PROBES_OF_A_SEED_MAX};
use coterie_common::message::{DeathProposal, RegisterProposal, SeedId};
use coterie_common::{
    Allowance, Budget, Effort, Finding, HostEvidence, Instant, ProbeOrder, ProbeTarget, UnderWay,
};

/// What doubts may cost a seed that is well, in a cluster of up to 1,280 members: 64 probes at a time, and 16
/// connections a second for each of them. In a larger one a twentieth of the members may be probed at once.
const PROBES: Knob<usize> = Knob::new("seed/probes/PROBES", 64);
const MEMBERS_PER_PROBE: Knob<usize> = Knob::new("MEMBERS_PER_PROBE", 20);
const CONNECTIONS_PER_PROBE: Knob<usize> = Knob::new("CONNECTIONS_PER_PROBE", 16);

/// Of a seed that is not well, that many probes remain.
const PROBES_MIN: Knob<usize> = Knob::new("seed/probes/PROBES_MIN", 8);

/// What a seed may have under way with so many members, whose health has that score.
pub(super) fn allowance(members: usize, score: u32) -> Allowance {
    let probes = PROBES.get().max(members / MEMBERS_PER_PROBE.get());
    let connections = u32::try_from(probes * CONNECTIONS_PER_PROBE.get()).unwrap_or(u32::MAX);
    Allowance { probes, connections }.shared_by(score, PROBES_MIN.get())
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// The finding.
    pub(super) finding: Finding,
    /// What ICMP said. For the record; a vote does not depend on it.
    pub(super) host: HostEvidence,
    /// When that was so, at the earliest. From it the age is reckoned that goes with a vote.
    pub(super) ended: Instant,
    /// Whether it was known when the probe began that a connection had broken. If not, what was found alive may have
    /// been so before the break.
    pub(super) follows_a_break: bool,
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

impl ProbePurpose {
    /// What it may take of the budget. None: it is no doubt.
    fn share_of(&self, allowance: Allowance) -> Option<Allowance> {
        match self {
            ProbePurpose::Registration(..) => None,
            ProbePurpose::Death(..) => Some(allowance),
            ProbePurpose::Result => Some(Allowance { probes: allowance.probes * 3 / 4, ..allowance }),
        }
    }
}

#[derive(Clone, Debug)]
struct Running {
    probe: UnderWay,
    /// Whether it was begun for somebody who wants to be a member, and takes nothing from the budget of doubts.
    is_of_joiner: bool,
    /// In the order in which they asked; each is told.
    waiting: Vec<ProbePurpose>,
}

/// The probes that run and those that ended lately.
#[derive(Clone, Debug, Default)]
pub(super) struct SeedProbes {
    running: BTreeMap<ProbeTarget, Running>,
    budget: Budget,
    /// Joiners that wait until another has been probed, and since when. At most as many as a leader has ballots; who
    /// has waited for longer than a ballot lasts is forgotten.
    joiners: VecDeque<(Instant, ProbeOrder, ProbePurpose)>,
    /// The last of each life, while it may serve.
    ended: BTreeMap<ProbeTarget, ProbeResult>,
}

impl SeedProbes {
    /// Somebody wants a probe. Returns the order for it, if one has to be started: where one of that life runs, it
    /// serves; where too many joiners are being probed, another one waits. None, and the purpose comes back, where so
    /// many probes run that not even a first connection may be opened.
    pub(super) fn want(
        &mut self,
        now: Instant,
        mut order: ProbeOrder,
        purpose: ProbePurpose,
        allowance: Allowance,
    ) -> Result<Option<ProbeOrder>, ProbePurpose> {
        let target = order.target();
        if let Some(running) = self.running.get_mut(&target) {
            running.waiting.push(purpose);
            return Ok(None);
        }
        let share = purpose.share_of(allowance);
        if share.is_none() && self.joiners_probed() >= JOINERS_PROBED_MAX.get() {
            self.joiners.push_back((now, order, purpose));
            if self.joiners.len() > BALLOTS_MAX.get() {
                self.joiners.pop_front();
            }
            return Ok(None);
        }
        if self.running.len() >= PROBES_OF_A_SEED_MAX.get() {
            return Err(purpose);
        }
        if let Some(share) = share {
            order.effort = self.budget.begin(now, share, order.opens_at().len());
        }
        let probe = UnderWay::new(now, &order);
        let running = Running { probe, is_of_joiner: share.is_none(), waiting: vec![purpose] };
        self.running.insert(target, running);
        Ok(Some(order))
    }

    fn joiners_probed(&self) -> usize {
        self.running.values().filter(|running| running.is_of_joiner).count()
    }

    /// A joiner that waited, if another may be probed now. Of those whose ballot is over none.
    pub(super) fn next_joiner(
        &mut self,
        now: Instant,
        ballot_time: Duration,
    ) -> Option<(ProbeOrder, ProbePurpose)> {
        while self.joiners.front().is_some_and(|(since, ..)| now.since(*since) >= ballot_time) {
            self.joiners.pop_front();
        }
        let is_free = self.joiners_probed() < JOINERS_PROBED_MAX.get();
        let (_, order, purpose) = if is_free { self.joiners.pop_front() } else { None }?;
        Some((order, purpose))
    }

    /// Whether a ballot's probe that wants so many connections would get all of them now.
    pub(super) fn has_room(&self, now: Instant, allowance: Allowance, connections: usize) -> bool {
        self.budget.has_room(now, allowance, connections)
    }

    /// What was found lately about `target`, if no probe of it runs. A finding that another probe is about to replace
    /// serves nobody.
    pub(super) fn recent(&self, now: Instant, target: ProbeTarget) -> Option<ProbeResult> {
        let fresh = |found: &&ProbeResult| now.since(found.ended) <= PROBE_SERVES_FOR.get();
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
        if !running.is_of_joiner {
            self.budget.end(running.probe.effort());
        }
        let (finding, ended) = (running.probe.weigh(now, finding), running.probe.found_at(now));
        let follows_a_break = running.probe.follows_a_break();
        let found = ProbeResult { finding, host, ended, follows_a_break };
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
        let is_whole = |running: &&Running| !running.is_of_joiner && running.probe.effort() == Effort::Whole;
        let whole = self.running.values().filter(is_whole).count();
        assert_eq!(whole, self.budget.under_way(), "probes with all connections, and what the budget counts");
        let (waiting, probed) = (self.joiners.len(), self.joiners_probed());
        assert!(
            waiting == 0 || probed >= JOINERS_PROBED_MAX.get(),
            "{waiting} joiners wait, and {probed} are probed"
        );
    }

    /// Forgets what serves no longer.
    pub(super) fn expire(&mut self, now: Instant) {
        self.ended.retain(|_, found| now.since(found.ended) <= PROBE_SERVES_FOR.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Life, Wire};

    const MS: Duration = Duration::from_millis(1);

    fn order(port: u16) -> ProbeOrder {
        ProbeOrder {
            address: Address::new([127, 0, 0, 1].into(), port),
            life: Life(1),
            wire: Wire::Native,
            patience: 800 * MS,
            open_within: 800 * MS,
            round_trip: Duration::ZERO,
            effort: Effort::Whole,
        }
    }

    fn want(probes: &mut SeedProbes, port: u16) -> Option<Effort> {
        let wanted = probes.want(Instant::START, order(port), ProbePurpose::Result, allowance(9, 1));
        probes.verify();
        wanted.unwrap().map(|order| order.effort)
    }

    #[test]
    fn one_probe_serves_all_who_wait_and_those_who_come_soon_after() {
        let target = order(1).target();
        let mut probes = SeedProbes::default();
        assert_eq!(want(&mut probes, 1), Some(Effort::Whole));
        assert_eq!(want(&mut probes, 1), None);
        assert_eq!(probes.recent(Instant::START, target), None);
        let (found, waiting) = probes.ended(Instant::START, target, Finding::Refused, HostEvidence::Unknown);
        assert_eq!((found.finding, waiting.len()), (Finding::Refused, 2));
        assert_eq!(probes.recent(Instant::START + 500 * MS, target), Some(found));
        assert_eq!(probes.recent(Instant::START + 501 * MS, target), None);
    }

    #[test]
    fn hints_leave_a_quarter_of_the_budget_to_ballots() {
        let mut probes = SeedProbes::default();
        assert!((1..=48).all(|port| want(&mut probes, port) == Some(Effort::Whole)));
        assert_eq!(want(&mut probes, 49), Some(Effort::FirstOnly));
        let (found, _) =
            probes.ended(Instant::START, order(49).target(), Finding::Silent, HostEvidence::Unknown);
        assert_eq!(found.finding, Finding::CannotProbe, "silence on one connection is none");
        assert_eq!(allowance(9, 1).probes, 64);
        assert_eq!(allowance(10_000, 1), Allowance { probes: 500, connections: 8_000 });
        assert_eq!(allowance(9, 8).probes, 8);
    }
}
