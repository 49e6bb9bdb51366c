//! What is done to hosts, and what may become of the nodes on them.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use coterie_common::majority;
use coterie_common::message::SeedChange;
use rand::RngExt;

use super::cluster::SimulatedCluster;
use super::disk::End;
use super::schedule::Act;
use coterie_simulator::check::observed::Observed;
use coterie_simulator::check::report::Violation;
use coterie_simulator::model::host::Host;

/// So many operations a commit is on a disk, at least.
const OPERATIONS_OF_A_COMMIT: u32 = 12;

/// How long a seed that is to end waits for the operation of its disk on which it does.
const ENDS_WITHIN_TICKS: u64 = 3_000;

impl SimulatedCluster {
    pub(super) fn act(&mut self, act: &Act) {
        self.common.seen.borrow_mut().hash(&format!("{act:?}"));
        self.common.seen.borrow_mut().observe(&Observed::Hit { hosts: act.hosts() });
        match act {
            Act::Kill(host) => self.end(*host, End::Killed),
            Act::CutPower(host) => {
                self.mark("hosts_dark");
                self.end(*host, End::WithoutPower);
            }
            Act::Leave(host) => self.leave(*host),
            Act::Start(host) => self.start(*host),
            Act::Hold(side) => {
                self.held.push(side.clone());
                self.update_holding();
            }
            Act::Release(side) => {
                if let Some(place) = self.held.iter().position(|held| held == side) {
                    self.held.remove(place);
                }
                self.update_holding();
            }
            Act::Slow(host, latency) => self.slow_down(*host, *latency),
            Act::FillDisk(host, is_full) => {
                self.common.disks[host].set_full(*is_full);
                self.note_trouble(*host);
            }
            Act::BreakDisk(host, is_broken) => {
                self.common.disks[host].set_broken(*is_broken);
                self.note_trouble(*host);
            }
            // Where a majority needs every seed, nobody could make good what one forgets.
            Act::ReplaceDisk(_) if !self.can_spare_one() => {}
            Act::ReplaceDisk(host) => {
                self.end(*host, End::Killed);
                self.end_now(*host);
                if !self.common.disks[host].is_empty() {
                    let seat = self.common.seat_of(&host.address().to_string());
                    self.forgetful.insert(*host, seat);
                }
                self.common.disks[host].replace();
            }
            // A peer that was away knows no others than those of its list.
            Act::Change(SeedChange::Remove(name)) if !self.is_one_listed_without(name) => {}
            Act::Change(change) => self.common.want(change.clone()),
        }
        self.update_truth();
    }

    /// Whether the disk of a host is not the one on which its seed took the seat that it has.
    pub(super) fn is_forgetful(&self, host: Host) -> bool {
        let seat = self.common.seat_of(&host.address().to_string());
        self.forgetful.get(&host).is_some_and(|lost| *lost == seat)
    }

    /// Whether a majority is left of those that vote, and of those that are to: a change on its way cannot be made
    /// without one, nor taken back.
    fn can_spare_one(&self) -> bool {
        let seen = self.common.seen.borrow();
        let registry = seen.checker.truth().registry();
        // Before the founding none are wanted.
        let wanted = Some(registry.voters_wanted().len()).filter(|seeds| *seeds > 0);
        let mut sets = registry.seed_sets().iter().map(BTreeSet::len).chain(wanted);
        sets.all(|seeds| majority(seeds) < seeds)
    }

    /// Whether a seed of the list that all peers have is left, when this one goes and all those that are to go.
    fn is_one_listed_without(&self, name: &str) -> bool {
        let changes = self.common.changes.borrow();
        let goes = |address: &str| {
            address == name
                || changes
                    .iter()
                    .any(|it| matches!(&it.change, SeedChange::Remove(other) if other == address))
        };
        let seen = self.common.seen.borrow();
        let mut listed = (0..self.schedule.seeds).map(|index| Host::Seed(index).address().to_string());
        listed.any(|address| seen.seat_at(&address).is_some() && !goes(&address))
    }

    /// A disk may be full and broken at a time, and when the one is over it is still the other.
    fn note_trouble(&mut self, host: Host) {
        match self.common.disks[&host].is_well() {
            true => self.troubled.remove(&host),
            false => self.troubled.insert(host),
        };
    }

    /// A node ends: a seed in the middle of its next commit, if there is one soon.
    fn end(&mut self, host: Host, end: End) {
        if !self.is_running(host) || self.ending.contains_key(&host) {
            return;
        }
        let latest = match self.common.disks.get(&host) {
            Some(disk) => {
                disk.end_after(self.rng.random_range(1..OPERATIONS_OF_A_COMMIT), end);
                self.ticks + ENDS_WITHIN_TICKS
            }
            None => self.ticks,
        };
        self.ending.insert(host, (end, latest));
        if latest == self.ticks {
            self.end_now(host);
        }
    }

    pub(super) fn end_now(&mut self, host: Host) {
        let Some((end, _)) = self.ending.remove(&host) else { return };
        if self.common.disks.get(&host).is_some_and(|disk| disk.end(end)) {
            self.mark("ended_in_mid_operation");
        }
        if end == End::WithoutPower {
            // Of what it still had under way nothing arrives.
            self.dark.insert(host);
            self.update_holding();
        }
        self.clear(host);
    }

    /// No node runs there any more; the host is as new.
    fn clear(&mut self, host: Host) {
        self.common.up.borrow_mut().remove(&host);
        self.common.peers.borrow_mut().remove(&host);
        self.common.seen.borrow_mut().ended(host);
        self.sim.bounce(host.address().ip());
    }

    /// A node has ended by itself: for that it must have had a reason.
    pub(super) fn fell(&mut self, host: Host, why: Option<String>) -> Result<(), Violation> {
        if self.ending.contains_key(&host) {
            // What it was doing on its disk failed as that ended.
            self.end_now(host);
            return Ok(());
        }
        // In order: a peer was told to leave, a seed has heard that it was removed.
        let in_order = || if let Host::Seed(_) = host { "it was removed" } else { "it left" }.to_owned();
        let (what, name) = (why.unwrap_or_else(in_order), host.address().to_string());
        let seat = self.common.seen.borrow().seat_at(&name);
        let reasons = [
            ("data directory is empty", "seeds_without_directory", self.is_forgetful(host)),
            ("was removed", "seeds_removed", seat.is_none_or(|(_, is_taken)| !is_taken)),
            ("the log has stopped", "seeds_without_disk", self.troubled.contains(&host)),
            ("no storage space", "seeds_without_disk", self.troubled.contains(&host)),
            ("the disk returned an error", "seeds_without_disk", self.troubled.contains(&host)),
            ("it left", "departures", self.leaving.remove(&host)),
        ];
        let known = reasons.iter().find(|(text, _, may)| *may && what.contains(text));
        self.common.seen.borrow_mut().hash(&format!("{host} ended: {what}"));
        self.clear(host);
        match known {
            Some((_, mark, _)) => {
                self.mark(mark);
                Ok(())
            }
            None => {
                let at = self.common.seen.borrow().now;
                Err(Violation { invariant: "seats", at, what: format!("{host} ended by itself: {what}") })
            }
        }
    }

    fn leave(&mut self, host: Host) {
        if let Some(handle) = self.common.peers.borrow().get(&host) {
            self.leaving.insert(host);
            let _ = pin!(handle.stop()).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    pub(super) fn start(&mut self, host: Host) {
        self.end_now(host);
        if self.dark.remove(&host) {
            self.update_holding();
        }
        if self.wanted.contains(&host) && self.common.up.borrow_mut().insert(host) {
            self.leaving.remove(&host);
            self.sim.bounce(host.address().ip());
        }
    }

    /// The operator's change is made: whoever has a seat that nobody has taken yet begins anew, once the one who had it
    /// before has stopped by itself. Until then its vote may be needed. Returns whether there is nothing left to do.
    pub(super) fn follow(&mut self, change: &SeedChange) -> bool {
        let name = change.address();
        let Some(host) = name.parse().ok().and_then(Host::at) else { return true };
        let seat = self.common.seen.borrow().seat_at(name);
        if seat.is_some_and(|(_, is_taken)| !is_taken) {
            if self.is_running(host) && !self.is_forgetful(host) {
                return false;
            }
            // A directory from before the seat is of no use any more.
            self.end(host, End::Killed);
            self.end_now(host);
            self.common.disks[&host].replace();
            self.troubled.remove(&host);
            self.forgetful.remove(&host);
            self.wanted.insert(host);
            self.start(host);
        }
        true
    }
}
