//! Triggers: what throws the cluster out of its rest, its end, and the rest that must follow.

use std::time::Duration;

use coterie_common::Instant;
use coterie_peer::core::Input as PeerInput;

use super::ending::RunPhase;
use super::{Happening, World};
use crate::check::report::Violation;
use crate::model::host::Host;
use crate::model::machine::{Machines, Prices};
use crate::plan::fault::Fault;
use crate::plan::trigger::Trigger;

/// Within so long of a trigger's end nobody is in doubt any more.
const CALM_WITHIN: Duration = Duration::from_secs(10);

/// Within so long after it the work that a trigger itself has left is done.
const SPENT_WITHIN: Duration = Duration::from_secs(20);

/// A node that is behind by no more than this is at rest.
const AT_REST: Duration = Duration::from_millis(50);

/// What nodes run on, and what takes it away from them.
#[derive(Debug)]
pub(super) struct Load {
    /// Where work has a price.
    pub(super) machines: Option<Machines>,
    on: Option<Trigger>,
    /// Disks take so many times as long, if that is more than once.
    pub(super) disks_slowed: Option<u32>,
}

impl Load {
    pub(super) fn new(prices: Option<&Prices>) -> Self {
        Load { machines: prices.map(Machines::new), on: None, disks_slowed: None }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Whether a node may be too busy to answer.
    pub(super) fn starves(&self) -> bool {
        matches!(self.on, Some(Trigger::Steal(..) | Trigger::Flood(_) | Trigger::MassJoin))
    }
}

impl World {
    pub(super) fn trigger(&mut self, trigger: &Trigger) {
        self.tally.marks.hit(trigger.name());
        self.load.on = Some(trigger.clone());
        let peers = self.peers.len();
        match trigger {
            Trigger::Steal(times, _) => {
                if let Some(machines) = &mut self.load.machines {
                    machines.slow_down(*times);
                }
            }
            Trigger::StopAll(time) => {
                let seeds = (0..self.seeds.len()).map(Host::Seed);
                for host in seeds.chain((0..peers).map(Host::Peer)).collect::<Vec<_>>() {
                    self.fault(&Fault::Pause(host, *time));
                }
            }
            Trigger::Flood(messages) => {
                for message in 0..*messages {
                    for index in 0..peers {
                        let at = Duration::from_millis(u64::from(message));
                        let start = self.peers[index].start;
                        self.words.said += 1;
                        let words = PeerInput::Broadcast(format!("flood {}", self.words.said).into());
                        if self.peers[index].core.as_ref().is_some_and(|core| core.incarnation().is_some()) {
                            self.after(at, Happening::Peer(index, start, words));
                        }
                    }
                }
            }
            Trigger::MassDeath(dead) => dead.iter().for_each(|index| self.end_process(Host::Peer(*index))),
            Trigger::MassJoin => (0..peers).for_each(|index| self.start_peer(index)),
            Trigger::SlowDisks(times, _) => self.load.disks_slowed = Some(*times),
            Trigger::UplinkGone(_) => {
                let seeds = (0..self.seeds.len()).map(Host::Seed).collect();
                self.fault(&Fault::Partition(seeds, (0..peers).map(Host::Peer).collect()));
            }
        }
        self.after(trigger.lasts(), Happening::TriggerEnds(trigger.clone()));
    }

    pub(super) fn end_trigger(&mut self, trigger: &Trigger) {
        match trigger {
            Trigger::Steal(..) => {
                if let Some(machines) = &mut self.load.machines {
                    machines.slow_down(1);
                }
            }
            Trigger::SlowDisks(..) => self.load.disks_slowed = None,
            Trigger::UplinkGone(_) => self.heal_network(),
            // These end by themselves.
            Trigger::StopAll(_) | Trigger::Flood(_) | Trigger::MassDeath(_) | Trigger::MassJoin => {}
        }
        self.spend_trigger(self.now + SPENT_WITHIN);
    }

    /// What it has made wait has to be done before there can be rest. If that is not done in time, it is no consequence
    /// of the trigger any more but of the work that doubts make.
    pub(super) fn spend_trigger(&mut self, at_last: Instant) {
        let nodes = (0..self.peers.len()).map(Host::Peer).chain((0..self.seeds.len()).map(Host::Seed));
        let waits = nodes.map(|host| self.backlog(host)).max().unwrap_or_default();
        if waits > AT_REST && self.now < at_last {
            return self.after(AT_REST, Happening::TriggerSpent { at_last });
        }
        self.load.on = None;
        (0..self.peers.len()).for_each(|index| self.update_reached(index));
        self.update_calm();
        self.after(CALM_WITHIN, Happening::CalmDue);
    }

    /// Whatever began this is over for long enough.
    pub(super) fn demand_calm(&mut self) {
        // Afterwards everything is demanded anyway, and new words are on their way.
        if self.load.is_on() || !matches!(self.phase, RunPhase::Chaos) {
            return;
        }
        if let Some((demand, what)) = self.unsettled() {
            let what = format!("{CALM_WITHIN:?} after the trigger has ended: {demand}: {what}");
            self.checker.object(Violation { invariant: "calm", at: self.now, what });
        }
    }
}
