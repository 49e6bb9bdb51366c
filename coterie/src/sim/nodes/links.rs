//! Who reaches whom: what is held back and what is slow, and what the invariants are told of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use coterie_common::message::SeedId;
use coterie_peer::core::Peer;

use super::cluster::Cluster;
use super::hosts::{hosts, seed_hosts};
use crate::sim::host::Host;

impl Cluster {
    pub(super) fn slow_down(&mut self, host: Host, latency: Duration) {
        match latency > self.plan.latency {
            true => self.slow.insert(host),
            false => self.slow.remove(&host),
        };
        for other in hosts(&self.plan).into_iter().filter(|other| *other != host) {
            let most = if self.slow.contains(&other) { latency * 2 } else { latency };
            self.sim.set_link_max_message_latency(host.address().ip(), other.address().ip(), most);
        }
    }

    /// Has turmoil hold back what is to be held back, and no more.
    pub(super) fn update_holding(&mut self) {
        let all = hosts(&self.plan);
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
        let peers: Vec<Host> = (0..self.plan.peers).map(Host::Peer).collect();
        let running: BTreeSet<Host> = self.common.up.borrow().clone();
        let seen = &mut *self.common.seen.borrow_mut();
        let is_empty = |seed: &Host| seen.seat_at(&seed.address().to_string()).is_none();
        let are_seeds_up = seed_hosts(&self.plan).all(|seed| running.contains(&seed) || is_empty(&seed));
        let is_quiet = self.holding.is_empty() && self.slow.is_empty() && self.troubled.is_empty();
        let seeds: Vec<(Host, SeedId)> =
            seen.seeds().filter_map(|(address, id)| Some((Host::at(address)?, id))).collect();
        for peer in peers {
            let life = seen.peer(peer.address()).filter(|_| running.contains(&peer)).map(Peer::life);
            let reaches = |seed: &Host| {
                let pair = if *seed < peer { (*seed, peer) } else { (peer, *seed) };
                let holds = self.holding.contains(&pair) || self.holding.contains(&(pair.1, pair.0));
                !holds && !self.slow.contains(seed)
            };
            let reached = seeds.iter().filter(|(seed, _)| reaches(seed)).map(|(_, id)| *id).collect();
            seen.watch.truth.reaches(seen.now, peer.address(), life.map(|life| (life, reached)));
        }
        let since = &mut seen.watch.truth.calm_since;
        *since = if is_quiet && are_seeds_up { since.or(Some(seen.now)) } else { None };
    }
}
