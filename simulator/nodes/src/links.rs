//! Who reaches whom: what is held back and what is slow, and what the invariants are told of it.

use std::net::IpAddr;
use std::time::Duration;

use coterie_common::message::SeedId;
use coterie_peer::core::Peer;

use super::cluster::SimulatedCluster;
use super::hosts::{hosts, seed_hosts};
use coterie_simulator::model::host::Host;

impl SimulatedCluster {
    pub(super) fn slow_down(&mut self, host: Host, latency: Duration) {
        match latency > self.schedule.latency {
            true => self.slow.insert(host, latency),
            false => self.slow.remove(&host),
        };
        for other in hosts(&self.schedule).into_iter().filter(|other| *other != host) {
            // Of two slow ones the slower counts, when the other is not slow any more too.
            let most = self.slow.get(&other).map_or(latency, |others| latency.max(*others));
            self.sim.set_link_max_message_latency(host.address().ip(), other.address().ip(), most);
        }
    }

    /// Has turmoil hold back what is to be held back, and no more.
    pub(super) fn update_holding(&mut self) {
        let all = hosts(&self.schedule);
        let ip = |host: Host| -> IpAddr { host.address().ip() };
        for (place, a) in all.iter().enumerate() {
            for b in &all[place + 1..] {
                let parted = self.held.iter().any(|side| side.contains(a) != side.contains(b));
                let is_dark = self.dark.contains(a) || self.dark.contains(b);
                match parted || is_dark {
                    true if self.holding.insert((*a, *b)) => self.sim.hold(ip(*a), ip(*b)),
                    false if self.holding.remove(&(*a, *b)) => self.sim.release(ip(*a), ip(*b)),
                    _ => {}
                }
            }
        }
    }

    /// Tells the invariants who reaches whom, and whether all is well.
    pub(super) fn update_truth(&mut self) {
        let peers: Vec<Host> = (0..self.schedule.peers).map(Host::Peer).collect();
        let running = self.common.up.borrow();
        let seen = &mut *self.common.seen.borrow_mut();
        let is_empty = |seed: &Host| seen.seat_at(&seed.address().to_string()).is_none();
        let are_seeds_up = seed_hosts(&self.schedule).all(|seed| running.contains(&seed) || is_empty(&seed));
        let is_quiet = self.holding.is_empty() && self.slow.is_empty() && self.troubled.is_empty();
        let seeds: Vec<(Host, SeedId)> =
            seen.seeds().filter_map(|(address, id)| Some((Host::at(address)?, id))).collect();
        for peer in peers {
            let life = seen.peer(peer.address()).filter(|_| running.contains(&peer)).map(Peer::life);
            let reaches = |seed: &Host| {
                // In the order of `hosts`, in which seeds come first.
                !self.holding.contains(&(*seed, peer)) && !self.slow.contains_key(seed)
            };
            let reached = seeds.iter().filter(|(seed, _)| reaches(seed)).map(|(_, id)| *id).collect();
            seen.checker.truth_mut().reaches(seen.now, peer.address(), life.map(|life| (life, reached)));
        }
        let since = &mut seen.checker.truth().calm_since();
        *since = if is_quiet && are_seeds_up { since.or(Some(seen.now)) } else { None };
    }
}
