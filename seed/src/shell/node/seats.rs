//! Who the seeds are: by the log, once there is one, over any list.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{CloseReason, History, SeedHello, SeedId};
use coterie_common::net::process::Failure;
use coterie_common::seed_list::{SeedEntry, split_host_port};

use super::connections::ConnectionKind;
use super::ending::Reason;
use super::traffic::not_connected;
use super::{Arrival, Node, Options, unusable};
use crate::core::Input;
use crate::core::hello::parting;
use crate::raft::Store;
use crate::raft::store::Identity;

/// The log's own seeds rule; a list that differs is worth a warning.
pub(super) fn seeds_in_force(
    listed: BTreeMap<SeedId, SeedEntry>,
    history: Option<&History>,
) -> BTreeMap<SeedId, SeedEntry> {
    let Some(history) = history else { return listed };
    let logged = entries(history.seats.iter().map(|(id, seat)| (*id, seat.address.as_str())));
    let names = |seeds: &BTreeMap<SeedId, SeedEntry>| {
        seeds.values().map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    if names(&logged) != names(&listed) {
        tracing::warn!("the seed list differs from the log, which rules: {:?}", names(&logged));
    }
    logged
}

/// A data directory is that of one seat, and a seat has one address.
pub(super) fn check_own_seat(store: &Store, identity: Identity, options: &Options) -> Result<(), Failure> {
    let history = store.history();
    let seat = history.as_ref().and_then(|history| history.seats.get(&identity.id));
    match seat {
        Some(seat) if seat.address != options.own.to_string() => Err(Failure::running(format!(
            "data directory {}: it is that of seed {}, and this seed is {}",
            options.data.display(),
            seat.address,
            options.own,
        ))),
        Some(_) | None => Ok(()),
    }
}

fn entries<'a>(seeds: impl Iterator<Item = (SeedId, &'a str)>) -> BTreeMap<SeedId, SeedEntry> {
    let parse = |(id, name): (SeedId, &str)| {
        let (host, port) = split_host_port(name).ok()?;
        Some((id, SeedEntry { host: host.to_owned(), port: port.parse().ok()?, key: None }))
    };
    seeds.filter_map(parse).collect()
}

impl Node {
    /// Connects with all seeds in force.
    pub(super) fn dial_others(&mut self) {
        for seed in self.greetings.others(self.identity.id) {
            self.greetings.dial_again_and_again(seed);
            self.dial(seed, Duration::ZERO);
        }
    }

    /// Connects with seeds that are in no list of this one, but in the logs of those it has heard.
    pub(super) fn meet(&mut self, seeds: &[SeedId]) {
        let unknown: Vec<SeedId> =
            seeds.iter().copied().filter(|seed| self.greetings.entry(*seed).is_none()).collect();
        for seed in unknown {
            let mut histories = self.greetings.hellos.values().filter_map(|hello| hello.history.as_ref());
            let told = histories.find_map(|history| history.seats.get(&seed));
            let address = told.map(|seat| seat.address.clone()).unwrap_or_default();
            self.meet_at(seed, &address);
        }
    }

    /// A seed that has dialled this one may have been removed, and have a vote all the same until the log's own entry
    /// takes it. A seed that has started since then has it in no list.
    pub(super) fn meet_leaving(&mut self) {
        let registry = self.core.registry();
        let is_unmet = |seed: SeedId| self.greetings.entry(seed).is_none() && registry.votes(seed);
        let hellos = self.greetings.hellos.values().filter(|hello| is_unmet(hello.id));
        let leaving: Vec<(SeedId, String)> = hellos.map(|hello| (hello.id, hello.address.clone())).collect();
        leaving.iter().for_each(|(seed, address)| self.meet_at(*seed, address));
    }

    fn meet_at(&mut self, seed: SeedId, address: &str) {
        self.greetings.met.extend(entries([(seed, address)].into_iter()));
        self.greetings.dial_again_and_again(seed);
        self.dial(seed, Duration::ZERO);
    }

    /// Connects with seeds that are new, and leaves those alone that are none any more.
    pub(super) fn follow_seeds(&mut self, seeds: &BTreeMap<SeedId, String>, gone: &BTreeSet<SeedId>) {
        let gone: BTreeSet<SeedId> = self.greetings.known().filter(|id| gone.contains(id)).collect();
        let new = entries(seeds.iter().map(|(id, name)| (*id, name.as_str())));
        // Those too whose seats another address had in a log whose end was taken back.
        let is_new = |(id, entry): &(SeedId, SeedEntry)| {
            let listed = self.greetings.listed.get(id);
            listed.is_none_or(|listed| listed.to_string() != entry.to_string())
        };
        let new: Vec<(SeedId, SeedEntry)> = new.into_iter().filter(is_new).collect();
        for seed in gone {
            let entry = self.greetings.forget(seed);
            let address = entry.map(|entry| entry.to_string()).unwrap_or_default();
            if seed == self.identity.id {
                let own = self.options.own.to_string();
                self.end_as(Reason::told(&parting(self.core.registry(), seed, &own)));
            } else {
                self.part_with(seed, &address);
            }
        }
        for (seed, entry) in new {
            let former = self.greetings.listed.insert(seed, entry);
            if seed == self.identity.id {
                continue;
            }
            if let Some(former) = former {
                self.leave_address(seed, &former.to_string(), &CloseReason::ShuttingDown);
            }
            self.greetings.dial_again_and_again(seed);
            self.dial(seed, Duration::ZERO);
        }
        self.meet_leaving();
        self.tell_history();
    }

    /// A seed is none any more: it is told so, and not listened to.
    fn part_with(&mut self, seed: SeedId, address: &str) {
        let parting = parting(self.core.registry(), seed, address);
        self.leave_address(seed, address, &parting);
        self.step(Input::SeedSilent(seed));
    }

    /// A seed is not there any more: who listens there is told why, and not dialled again.
    fn leave_address(&mut self, seed: SeedId, address: &str, why: &CloseReason) {
        self.greetings.redials.remove(&seed);
        self.core.trouble(&not_connected(address), None);
        for id in self.connections.that_are(|kind| kind.leads_to(seed)) {
            self.refuse(id, why.clone());
        }
        self.mesh.disconnect(seed);
        self.greetings.hellos.remove(&seed);
        self.step(Input::SeedDown(seed));
    }

    /// This seed is none any more. It ends when leadership is handed over, if it has it.
    pub(super) fn end_as(&mut self, reason: Reason) {
        if !self.ending.has_begun() {
            self.stop(reason);
        }
    }

    /// A cluster keeps a seat for this seed's address: it is that seed from now on, and greets the others again as
    /// such.
    pub(super) fn take_seat(&mut self, seat: SeedId) -> Result<(), Failure> {
        let told =
            |hello: &SeedHello| hello.history.clone().filter(|history| history.seats.contains_key(&seat));
        let Some(history) = self.greetings.hellos.values().find_map(told) else { return Ok(()) };
        self.identity.id = seat;
        self.log.store.take_seat(self.identity).map_err(|e| unusable(&self.options.data, &e))?;
        self.greetings.listed.keys().for_each(|seed| self.mesh.disconnect(*seed));
        let listed = entries(history.seats.iter().map(|(id, seat)| (*id, seat.address.as_str())));
        let others: Vec<SeedId> = self.greetings.redials.keys().copied().collect();
        others.into_iter().for_each(|seed| self.not_connected(seed, None));
        self.greetings.begin_anew(listed);
        let seeds = history.seats.into_iter().map(|(id, seat)| (id, seat.address)).collect();
        self.step(Input::IdAssigned { id: seat, seeds });
        for id in self.connections.that_are(ConnectionKind::is_mesh) {
            self.refuse(id, CloseReason::ShuttingDown);
        }
        self.dial_others();
        Ok(())
    }

    pub(super) fn change_voters(&self, voters: BTreeSet<SeedId>) {
        let (consensus, arrivals) = (self.log.consensus.clone(), self.arrivals.0.clone());
        tokio::spawn(async move {
            let changed = match consensus {
                Some(consensus) => consensus.change_voters(voters).await,
                None => Err("the log has not begun".to_owned()),
            };
            if let Err(problem) = changed {
                let _ = arrivals.send(Arrival::VotersUnchanged(problem)).await;
            }
        });
    }
}
