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
            let entry = told.map(|seat| entries([(seed, seat.address.as_str())].into_iter()));
            self.greetings.met.extend(entry.unwrap_or_default());
            self.greetings.dial_again_and_again(seed);
            self.dial(seed, Duration::ZERO);
        }
    }

    /// Connects with seeds that are new, and leaves those alone that are none any more.
    pub(super) fn follow_seeds(&mut self, seeds: &BTreeMap<SeedId, String>, gone: &BTreeSet<SeedId>) {
        let gone: Vec<SeedId> =
            self.greetings.listed.keys().copied().filter(|id| gone.contains(id)).collect();
        let new = entries(seeds.iter().map(|(id, name)| (*id, name.as_str())));
        let new: Vec<(SeedId, SeedEntry)> =
            new.into_iter().filter(|(id, _)| !self.greetings.listed.contains_key(id)).collect();
        for seed in gone {
            let entry = self.greetings.listed.remove(&seed);
            let address = entry.map(|entry| entry.to_string()).unwrap_or_default();
            if seed == self.identity.id {
                self.end_as(self.removal(&self.options.own.to_string()));
            } else {
                self.part_with(seed, &address);
            }
        }
        for (seed, entry) in new {
            self.greetings.listed.insert(seed, entry);
            if seed != self.identity.id {
                self.greetings.dial_again_and_again(seed);
                self.dial(seed, Duration::ZERO);
            }
        }
        self.tell_history();
    }

    /// A seed is none any more: it is told so, and not listened to.
    fn part_with(&mut self, seed: SeedId, address: &str) {
        let parting = self.parting(seed, address);
        self.greetings.redials.remove(&seed);
        self.core.trouble(&not_connected(address), None);
        for id in self.connections.that_are(|kind| kind.leads_to(seed)) {
            self.refuse(id, parting.clone());
        }
        self.mesh.disconnect(seed);
        self.greetings.hellos.remove(&seed);
        self.step(Input::SeedDown(seed));
        self.step(Input::SeedSilent(seed));
    }

    /// This seed is none any more. It ends when leadership is handed over, if it has it.
    pub(super) fn end_as(&mut self, reason: Reason) {
        if !self.ending.has_begun() {
            self.stop(reason);
        }
    }

    /// How a seed at that address, which is none any more, has come to be none.
    fn removal(&self, address: &str) -> Reason {
        match self.core.registry().seed_at(address) {
            Some(_) => Reason::Replaced,
            None => Reason::Removed,
        }
    }

    /// What is said to a seed at that address, which is none any more.
    fn parting(&self, seed: SeedId, address: &str) -> CloseReason {
        match self.removal(address) {
            Reason::Replaced => CloseReason::Replaced(seed),
            Reason::Removed | Reason::Asked => CloseReason::Removed(seed),
        }
    }

    /// The hello of another seed, by the seat that this seed's log has for it: one whose own log is empty does not know
    /// its id yet. Or why it is none of this cluster.
    pub(super) fn seated(&self, mut hello: SeedHello) -> Result<SeedHello, CloseReason> {
        let Some(history) = self.log.store.history() else { return Ok(hello) };
        if hello.history.as_ref().is_some_and(|theirs| theirs.cluster != history.cluster) {
            // Its id is one of another cluster's. `mesh::check_hello` refuses it by both names.
            return Ok(hello);
        }
        if hello.history.is_none() {
            match history.seat_at(&hello.address) {
                Some((id, _)) => hello.id = id,
                None => {
                    let (cluster, address) = (history.cluster, &hello.address);
                    let reason =
                        format!("{address} is no seed of cluster {cluster}: run coterie seed-add {address}");
                    return Err(CloseReason::Refused(reason));
                }
            }
        } else if self.core.registry().is_gone(hello.id) {
            // By what is committed: an entry that is merely in the log may never be.
            return Err(self.parting(hello.id, &hello.address));
        } else if let Some(seat) = history.seats.get(&hello.id)
            && seat.address != hello.address
        {
            let text = format!("seed {} has the address {}, not {}", hello.id, seat.address, hello.address);
            return Err(CloseReason::Refused(text));
        }
        Ok(hello)
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
