//! What goes wrong, done.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::SeedId;
use coterie_peer::core::{Input as PeerInput, Peer};
use coterie_seed::core::Input as SeedInput;

use super::{Happening, SeedHost, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::model::tcp::Packet;
use crate::plan::fault::Fault;
use crate::plan::planted_bug::PlantedBug;
use crate::plan::trigger::Trigger;

impl World {
    pub(super) fn fault(&mut self, fault: &Fault) {
        self.sink.tell(format_args!("{:>12.3} -- {fault:?}", self.now.as_nanos() as f64 / 1e6));
        self.observe(&Observed::Hit { hosts: self.hit_by(fault) });
        match fault {
            Fault::Kill(host) => self.end_process(*host),
            Fault::Darken(host) => self.darken(*host),
            Fault::Start(Host::Peer(index)) => self.start_peer(*index),
            Fault::Start(Host::Seed(index)) => self.start_seed(*index),
            Fault::Pause(host, time) => self.pause(*host, *time),
            Fault::Leave(index) if self.plan.planted_bug == Some(PlantedBug::LeavesWithoutAWord) => {
                let member = self.peers[*index].core.as_ref().and_then(Peer::incarnation);
                self.left(*index, member);
                self.end_process(Host::Peer(*index));
            }
            Fault::Leave(index) => {
                let start = self.peers[*index].start;
                self.step_peer(*index, start, PeerInput::Stop);
            }
            Fault::Slow(host, by) => self.traffic.network.slow(host.address(), *by),
            Fault::Cut(from, to) => self.traffic.network.cut(from.address(), to.address()),
            Fault::Partition(some, others) => {
                for (a, b) in some.iter().flat_map(|a| others.iter().map(move |b| (a.address(), b.address())))
                {
                    self.traffic.network.cut(a, b);
                    self.traffic.network.cut(b, a);
                }
            }
            Fault::Deafen(host) => self.traffic.network.deafen(host.address()),
            Fault::Undeafen(host) => {
                self.traffic.network.undeafen(self.now, host.address());
                self.release_stalled();
            }
            Fault::Mute(host) => self.traffic.network.mute(host.address()),
            Fault::Lose(percent) => self.traffic.network.lose(f64::from(*percent) / 100.0),
            Fault::LoseAt(host, percent) => {
                self.traffic.network.lose_at(host.address(), f64::from(*percent) / 100.0);
            }
            Fault::Heal => self.heal_network(),
            Fault::KillAllSeeds => {
                (0..self.seeds.len()).for_each(|index| self.end_process(Host::Seed(index)));
            }
            Fault::Wipe(index) => self.wipe(*index),
            Fault::Copy(index, restored_after) => self.copy_directory(*index, *restored_after),
            Fault::Restore(index) => self.restore_directory(*index),
            Fault::Mistake(index, time) => self.mistake_directory(*index, *time),
            Fault::Undo(index) => self.undo_mistake(*index),
            Fault::AddSeed(index) => self.add_seed(*index),
            Fault::RemoveSeed(index) => self.remove_seed(*index),
            Fault::ReplaceSeed(index) => self.replace_seed(*index),
            Fault::Depose => {
                let leading =
                    self.seeds.iter().position(|seed| seed.process.runs() && seed.replica.leads(seed.id));
                self.elect(leading);
            }
            Fault::Say(index) => drop(self.say(*index)),
            Fault::Trigger(trigger) => self.trigger(trigger),
        }
        if !matches!(fault, Fault::Start(_) | Fault::Say(_) | Fault::Depose | Fault::Lose(_)) {
            self.arm_keepalive();
        }
        (0..self.peers.len()).for_each(|index| self.update_reached(index));
        self.update_calm();
    }

    /// How many hosts, or links between them, have something done to them.
    fn hit_by(&self, fault: &Fault) -> usize {
        match fault {
            // Each link that it cuts is one.
            Fault::Partition(some, others) => {
                let (fewer, more) = (some.len().min(others.len()), some.len().max(others.len()));
                fewer * more.min(self.plan.swarm.max_neighbours)
            }
            Fault::Cut(..) => 1,
            Fault::KillAllSeeds | Fault::Depose => self.seeds.len(),
            Fault::Lose(_) => self.peers.len(),
            Fault::Trigger(Trigger::MassDeath(peers)) => peers.len(),
            Fault::Trigger(_) => self.peers.len() + self.seeds.len(),
            Fault::Heal | Fault::Say(_) => 0,
            other => other.hosts().len(),
        }
    }

    /// A process ends: its kernel closes what it had open.
    pub(super) fn end_process(&mut self, host: Host) {
        if !self.process_runs(host) {
            return;
        }
        for id in self.traffic.connections.of(host) {
            let own = self
                .traffic
                .connections
                .get(id)
                .is_some_and(|c| c.ends[c.side(host)].start == self.start_of(host));
            if own {
                self.send(id, host, Packet::End);
            }
        }
        self.forget_process(host);
    }

    /// A host loses its power: nobody is told.
    fn darken(&mut self, host: Host) {
        if !self.process_runs(host) {
            return;
        }
        self.tally.marks.hit("hosts_dark");
        self.forget_process(host);
        match host {
            Host::Peer(index) => self.peers[index].is_dark = true,
            Host::Seed(index) => self.seeds[index].process.is_dark = true,
        }
    }

    fn forget_process(&mut self, host: Host) {
        match host {
            Host::Peer(index) => {
                if let Some(core) = self.peers[index].core.take() {
                    self.tally.marks.add_counters(core.counters());
                }
                self.traffic.sessions.retain(|(peer, _), _| *peer != index);
                self.update_reached(index);
            }
            Host::Seed(index) => {
                if let Some(core) = self.seeds[index].process.core.take() {
                    self.tally.marks.add_counters(core.counters());
                }
                self.seeds[index].replica.crash();
                self.seeds[index].takes_part = false;
                self.traffic.mesh.retain(|(from, _), _| *from != index);
            }
        }
    }

    fn pause(&mut self, host: Host, time: Duration) {
        match host {
            Host::Peer(index) => self.peers[index].is_paused = true,
            Host::Seed(index) => self.seeds[index].process.is_paused = true,
        }
        self.after(time, Happening::Resume(host));
    }

    pub(super) fn resume(&mut self, host: Host) {
        match host {
            Host::Peer(index) => {
                let process = &mut self.peers[index];
                if !std::mem::replace(&mut process.is_paused, false) {
                    return;
                }
                process.wait_with_held();
                let start = process.start;
                self.take_up_waiting(host);
                self.step_peer(index, start, PeerInput::Wake);
                self.update_reached(index);
            }
            Host::Seed(index) => {
                let process = &mut self.seeds[index].process;
                if !std::mem::replace(&mut process.is_paused, false) {
                    return;
                }
                process.wait_with_held();
                let start = process.start;
                self.take_up_waiting(host);
                self.step_seed(index, start, SeedInput::Wake);
                // Its disk went on meanwhile: what that had committed is applied now.
                self.hand_over(index);
                (0..self.peers.len()).for_each(|peer| self.update_reached(peer));
            }
        }
        self.update_calm();
    }

    pub(super) fn heal_network(&mut self) {
        self.traffic.network.heal(self.now);
        self.release_stalled();
    }

    /// A peer says something, if it is a member; returns its words.
    pub(super) fn say(&mut self, index: usize) -> Option<Bytes> {
        self.peers[index].core.as_ref()?.incarnation()?;
        self.words.said += 1;
        let start = self.peers[index].start;
        let words = Bytes::from(format!("message {}", self.words.said));
        self.step_peer(index, start, PeerInput::Broadcast(words.clone()));
        Some(words)
    }

    // ---- what really is ----

    /// Which seeds reach a peer without any hindrance.
    pub(super) fn update_reached(&mut self, index: usize) {
        let process = &self.peers[index];
        let life = process.core.as_ref().filter(|_| process.runs() && !self.load.starves());
        let life = life.map(Peer::life);
        let far = self.traffic.network.loss_at(process.address) > 0.2;
        let reaches =
            |seed: &SeedHost| !far && self.traffic.network.connects(seed.process.address, process.address);
        let seeds: BTreeSet<SeedId> =
            self.seeds.iter().filter(|seed| reaches(seed)).map(|seed| seed.id).collect();
        let address = process.address;
        self.checker.truth_mut().reaches(self.now, address, life.map(|life| (life, seeds)));
    }

    pub(super) fn update_calm(&mut self) {
        let calm = self.traffic.network.is_well()
            && self.peers.iter().all(|process| !process.is_paused && !process.is_dark)
            && self.seeds.iter().all(|seed| seed.process.runs() || seed.is_lost || !seed.is_listed)
            && self.seeds.iter().all(|seed| !seed.is_mistaken())
            && !self.load.is_on()
            && self.plan.planted_bug != Some(PlantedBug::WrongUnitOfTime);
        self.checker.truth_mut().set_calm(self.now, calm);
    }
}
