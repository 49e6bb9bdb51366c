//! Probes, carried out as shells carry them out: several connections, and the first answer of that life counts.

use std::time::Duration;

use coterie_common::{Effort, Finding, HostEvidence, Instant, MemberId, ProbeOrder};
use coterie_peer::core::{Input as PeerInput, Peer};
use coterie_seed::core::Input as SeedInput;

use super::{Happening, World};
use crate::check::observed::Observed;
use crate::model::host::{Host, Start};
use crate::plan::planted_bug::PlantedBug;

/// How often it is looked whether a process that stands still goes on.
const ASKED_AGAIN_EVERY: Duration = Duration::from_millis(10);

/// A wait that is not told from none.
const ANSWERED_AT_ONCE: Duration = Duration::from_micros(500);

impl World {
    pub(super) fn start_probe(&mut self, from: Start, target: Option<MemberId>, order: ProbeOrder) {
        let gives_up =
            self.plan.planted_bug == Some(PlantedBug::ProbesGiveUp) && matches!(from.0, Host::Seed(_));
        let carried_out = if gives_up { ProbeOrder { effort: Effort::FirstOnly, ..order } } else { order };
        let (opens, answers, connections) =
            self.traffic.network.probe(from.0.address(), &carried_out, &mut self.rng);
        self.observe(&Observed::Probing { by: from.0, connections });
        self.tally.marks.add("connections_of_probes", connections as u64);
        let accepts = self.accepts(from.0, order);
        let patience = match () {
            () if gives_up => order.patience / 100,
            () if accepts && opens < order.open_within => order.patience,
            () => order.open_within,
        };
        let until = self.now + patience;
        let happening = match answers < patience {
            true => Happening::ProbeArrives { from, target, order, until },
            false => Happening::ProbeEnds { from, target, order, finding: Finding::Silent },
        };
        self.schedule((self.now + answers).min(until), happening);
    }

    /// Whether the kernel over there opens a connection now, whoever listens.
    fn accepts(&self, from: Host, order: ProbeOrder) -> bool {
        let host = Host::at(order.address).filter(|host| !self.is_dark(*host));
        host.is_some_and(|host| {
            self.process_runs(host) && self.traffic.network.connects(from.address(), order.address)
        })
    }

    pub(super) fn probe_arrives(
        &mut self,
        from: Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        until: Instant,
    ) {
        let finding = self.finding(from.0, order);
        // What was asked of a process that stands still waits in its socket, and is answered when it goes on.
        let again = self.now + ASKED_AGAIN_EVERY;
        if finding == Finding::Silent && self.stands_still(order) && again < until {
            return self.schedule(again, Happening::ProbeArrives { from, target, order, until });
        }
        // A process answers when it comes to it, if it is still there then.
        let waits = if finding.is_dead() == Some(false) { self.answers_after(order) } else { Duration::ZERO };
        if waits > ANSWERED_AT_ONCE && self.now + waits < until {
            let at = self.now + waits;
            return self.schedule(at, Happening::ProbeAnswered { from, target, order, until });
        }
        if self.now + waits >= until {
            if waits >= order.patience && order.effort == Effort::Whole {
                self.is_too_busy(from.0, order);
            }
            let finding = Finding::Silent;
            return self.schedule(until, Happening::ProbeEnds { from, target, order, finding });
        }
        self.end_probe(from, target, order, until);
    }

    /// What it finds there now is what it has found.
    pub(super) fn end_probe(
        &mut self,
        from: Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        until: Instant,
    ) {
        let finding = self.finding(from.0, order);
        let at = if finding == Finding::Silent { until } else { self.now };
        self.schedule(at, Happening::ProbeEnds { from, target, order, finding });
    }

    /// A peer that would answer a seed after all of the time to do so has not been reached by it, whatever the network
    /// is like.
    fn is_too_busy(&mut self, from: Host, order: ProbeOrder) {
        let (Host::Seed(seed), Some(Host::Peer(index))) = (from, Host::at(order.address)) else { return };
        self.tally.marks.hit("probes_of_the_busy");
        let id = self.seeds[seed].id;
        self.checker.truth_mut().does_not_reach(id, order.address);
        self.update_reached(index);
    }

    fn answers_after(&self, order: ProbeOrder) -> Duration {
        match Host::at(order.address) {
            Some(host @ Host::Peer(index)) if index < self.peers.len() => self.backlog(host),
            _ => Duration::ZERO,
        }
    }

    fn stands_still(&self, order: ProbeOrder) -> bool {
        match Host::at(order.address) {
            Some(Host::Peer(index)) => self.peers.get(index).is_some_and(|process| process.is_paused),
            Some(Host::Seed(_)) | None => false,
        }
    }

    /// What a packet of a probe meets.
    fn finding(&self, from: Host, order: ProbeOrder) -> Finding {
        let Some(host) = Host::at(order.address) else { return Finding::Refused };
        if !self.traffic.network.connects(from.address(), order.address) || self.is_dark(host) {
            return Finding::Silent;
        }
        let Host::Peer(index) = host else { return Finding::Refused };
        let Some(process) = self.peers.get(index) else { return Finding::Refused };
        match process.core.as_ref().map(Peer::life) {
            None => Finding::Refused,
            Some(_) if process.is_paused => Finding::Silent,
            Some(life) if life == order.life => Finding::Alive,
            Some(life) => Finding::OtherLife(life),
        }
    }

    pub(super) fn probe_ended(
        &mut self,
        (from, start): Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        finding: Finding,
    ) {
        let host = HostEvidence::Unknown;
        match (from, target) {
            (Host::Peer(index), Some(target)) => {
                self.step_peer(index, start, PeerInput::Probed { target, finding, host });
            }
            (Host::Seed(index), _) => {
                let target = order.target();
                let seed = self.seeds[index].id;
                self.observe(&Observed::Probed { seed, target, finding });
                self.step_seed(index, start, SeedInput::Probed { target, finding, host });
            }
            (Host::Peer(_), None) => unreachable!("peers probe members"),
        }
    }
}
