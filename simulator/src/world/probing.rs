//! Probes, carried out as shells carry them out: several connections, and the first answer of that life counts.

use coterie_common::limits::PROBE_CONNECTIONS_MAX;
use coterie_common::{Finding, HostEvidence, Instant, MemberId, ProbeOrder};
use coterie_peer::core::{Input as PeerInput, Peer};
use coterie_seed::core::Input as SeedInput;

use super::{Happening, Start, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::plan::planted_bug::PlantedBug;

impl World {
    pub(super) fn start_probe(&mut self, from: Start, target: Option<MemberId>, order: ProbeOrder) {
        let gives_up =
            self.plan.planted_bug == Some(PlantedBug::ProbesGiveUp) && matches!(from.0, Host::Seed(_));
        let connections = if gives_up { 1 } else { PROBE_CONNECTIONS_MAX };
        let ends = (from.0.address(), order.address);
        let (opens, answers) = self.traffic.network.probe(ends, (connections, order.spacing), &mut self.rng);
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
        let at = if finding == Finding::Silent { until } else { self.now };
        self.schedule(at, Happening::ProbeEnds { from, target, order, finding });
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
