//! Whose turn it is, where work has a price: what a node is given waits until a core of its machine is free.

use std::time::Duration;

use coterie_peer::core::Effect as PeerEffect;
use coterie_seed::core::Effect as SeedEffect;

use super::{Happening, World};
use crate::model::host::Host;
use crate::model::machine::Work;

impl World {
    /// Something waits for that node: it gets a core when its turn comes.
    pub(super) fn queue_turn(&mut self, host: Host) {
        let start = match host {
            Host::Peer(index) => self.peers[index].queue_turn(),
            Host::Seed(index) => self.seeds[index].process.queue_turn(),
        };
        let (Some(start), Some(machines)) = (start, &mut self.load.machines) else { return };
        if let Some((machine, at)) = machines.queue((host, start)) {
            self.schedule(at, Happening::Turn(machine));
        }
    }

    /// The next node that waits there takes a step.
    pub(super) fn take_turn(&mut self, machine: usize) {
        let Some((host, start)) = self.load.machines.as_mut().and_then(|machines| machines.next(machine))
        else {
            return;
        };
        let work = match host {
            Host::Peer(index) => {
                let next = self.peers[index].take_turn(start);
                next.map(|input| self.take_peer_step(index, input))
            }
            Host::Seed(index) => {
                let next = self.seeds[index].process.take_turn(start);
                next.map(|input| self.take_seed_step(index, input))
            }
        };
        if let (Some(work), Some(machines)) = (work, &mut self.load.machines) {
            let until = machines.occupy(host, self.now, work);
            self.schedule(until, Happening::StepEnds(host, start));
        }
        if let Some(at) = self.load.machines.as_mut().and_then(|machines| machines.call(machine)) {
            self.schedule(at, Happening::Turn(machine));
        }
    }

    /// Its step is over: it takes up what came meanwhile.
    pub(super) fn end_step(&mut self, host: Host, start: u64) {
        let is_it = match host {
            Host::Peer(index) => self.peers[index].end_step(start),
            Host::Seed(index) => self.seeds[index].process.end_step(start),
        };
        if is_it {
            self.queue_turn(host);
        }
    }

    /// A node goes on with what came meanwhile: at once, where work has no price.
    pub(super) fn take_up_waiting(&mut self, host: Host) {
        if self.load.machines.is_some() {
            return self.queue_turn(host);
        }
        match host {
            Host::Peer(index) => {
                let start = self.peers[index].start;
                while let Some(input) = self.peers[index].take_turn(start) {
                    self.take_peer_step(index, input);
                }
            }
            Host::Seed(index) => {
                let start = self.seeds[index].process.start;
                while let Some(input) = self.seeds[index].process.take_turn(start) {
                    self.take_seed_step(index, input);
                }
            }
        }
    }

    /// How long what is given to a node now waits until it is taken up: each of what it has before takes a turn.
    pub(super) fn backlog(&self, host: Host) -> Duration {
        let Some(machines) = &self.load.machines else { return Duration::ZERO };
        let before = match host {
            Host::Peer(index) => self.peers[index].waiting(),
            Host::Seed(index) => self.seeds[index].process.waiting(),
        };
        machines.wait(host, self.now) * (before as u32 + 1)
    }
}

/// What a peer's step costs beside itself.
pub(super) fn work_of_peer(effects: &[PeerEffect]) -> Work {
    let mut work = Work::default();
    for effect in effects {
        match effect {
            PeerEffect::Send { .. } | PeerEffect::Tell { .. } => work.frames += 1,
            PeerEffect::SendMany { to, .. } => work.frames += to.len() as u32,
            PeerEffect::Dial { .. } | PeerEffect::OpenSession { .. } | PeerEffect::Ask { .. } => {
                work.connections += 1;
            }
            PeerEffect::Probe { order, .. } => work.connections += order.opens_at().len() as u32,
            _ => {}
        }
    }
    work
}

/// What a seed's step costs beside itself, of a cluster of so many members.
pub(super) fn work_of_seed(effects: &[SeedEffect], members: usize) -> Work {
    let mut work = Work::default();
    for effect in effects {
        match effect {
            SeedEffect::Send { .. } | SeedEffect::ToSeed { .. } => work.frames += 1,
            SeedEffect::Push { to, .. } => {
                work.frames += to.len() as u32;
                work.members += members as u32;
            }
            SeedEffect::Probe(order) => work.connections += order.opens_at().len() as u32,
            _ => {}
        }
    }
    work
}
