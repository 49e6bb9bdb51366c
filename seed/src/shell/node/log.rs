//! The log, seen from the node: when it may begin, what it tells, and what other seeds are told of it.

use std::io;
use std::sync::Arc;

use coterie_common::codec::VERSION;
use coterie_common::message::{MeshMessage, SeedHello, SeedId};
use coterie_common::net::process::Failure;
use coterie_common::net::task::report;
use coterie_common::seed_list::SeedEntry;

use super::{Arrival, ConsensusBox, Node, SAID_EVERY, SAID_MAX};
use crate::core::Input;
use crate::core::formation::{Decision, Founding, Waiver, decide};
use crate::raft::{Consensus, Notice, StateRequest};

/// What is wrong with a seed that is in no cluster yet.
const WAITING: &str = "in no cluster yet";

impl Node {
    pub(super) fn on_state_request(&mut self, request: StateRequest) {
        match request {
            StateRequest::Apply(commits, done) => {
                self.step(Input::Committed(commits));
                let _ = done.send(());
            }
            StateRequest::Copy(reply) => {
                let _ = reply.send(self.core.registry().clone());
            }
            StateRequest::Replace(registry, done) => {
                self.step(Input::Restored(registry));
                let _ = done.send(());
            }
        }
        self.tell_history();
    }

    pub(super) fn on_notice(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Leader(leader, term) => self.step(Input::Leader { leader, term }),
            Notice::Failed(entry) => self.step(Input::ProposalFailed(entry)),
            Notice::Fatal(_) if self.ending.has_begun() => {}
            Notice::Fatal(error) => {
                let data = self.options.data.display();
                return Err(Failure::running(format!("data directory {data}: the log has stopped: {error}")));
            }
        }
        Ok(())
    }

    /// Begins the log, once it is clear that this seed may.
    pub(super) fn begin_if_decided(&mut self) -> Result<(), Failure> {
        if self.log.consensus.is_some() || self.log.is_starting {
            return Ok(());
        }
        let seeds: Vec<SeedId> = self.greetings.listed.keys().copied().collect();
        let decision = match self.log.store.history() {
            Some(history) => Decision::GoOn(Founding::of(&history)),
            None => {
                let own = self.options.own.to_string();
                let me = (self.identity.id, own.as_str(), self.identity.directory_id);
                decide(me, &seeds, &self.greetings.hellos, &self.waiver())
            }
        };
        let form = match decision {
            Decision::GoOn(founding) => {
                self.step(Input::Forms(founding));
                None
            }
            Decision::Form(founding) => {
                self.say_who_is_left_out(&seeds);
                self.step(Input::Forms(founding));
                Some(seeds)
            }
            Decision::Lost(cluster) => {
                let own = &self.options.own;
                return Err(Failure::running(format!(
                    "data directory is empty, but cluster {cluster} has a history with this seed: \
                     run coterie seed-replace {own}"
                )));
            }
            Decision::Take(seat) => return self.take_seat(seat),
            Decision::Stranger(cluster) => {
                let own = &self.options.own;
                let text = format!("not a seed of cluster {cluster}: waiting for coterie seed-add {own}");
                self.core.trouble(WAITING, Some(text));
                return Ok(());
            }
            Decision::Wait(missing) => {
                self.meet(&missing);
                self.say_waiting(&missing);
                return Ok(());
            }
        };
        self.core.trouble(WAITING, None);
        self.log.is_starting = true;
        let (me, options, store) = (self.identity.id, self.options.raft.clone(), self.log.store.clone());
        let (owner, notices, arrivals) =
            (self.log.states.0.clone(), self.log.notices.0.clone(), self.arrivals.0.clone());
        let mesh = Arc::clone(&self.mesh);
        let work = async move {
            let started = Consensus::start((me, &options), store, owner, mesh, form, notices).await;
            Arrival::Started(Box::new(started.map(ConsensusBox)))
        };
        report(arrivals, work, |why| Arrival::Started(Box::new(Err(io::Error::other(why)))));
        Ok(())
    }

    /// What the operator says of seeds that will not come.
    fn waiver(&self) -> Waiver {
        let is_named = |entry: &SeedEntry| self.options.form_without.contains(entry);
        let named = self.greetings.listed.iter().filter(|(_, entry)| is_named(entry));
        Waiver {
            without: named.map(|(id, _)| *id).collect(),
            directories: self.options.directories.iter().copied().collect(),
        }
    }

    fn say_who_is_left_out(&self, seeds: &[SeedId]) {
        let is_silent =
            |seed: &&SeedId| **seed != self.identity.id && !self.greetings.hellos.contains_key(*seed);
        let silent = self.names_of(seeds.iter().filter(is_silent));
        if !silent.is_empty() {
            tracing::warn!("a cluster begins without {silent}: a history that is there is given up");
        }
    }

    fn names_of<'a>(&self, seeds: impl Iterator<Item = &'a SeedId>) -> String {
        let names = seeds.filter_map(|id| self.greetings.entry(*id)).map(ToString::to_string);
        names.collect::<Vec<_>>().join(", ")
    }

    fn say_waiting(&mut self, missing: &[SeedId]) {
        let names = self.names_of(missing.iter());
        let text = match (missing.is_empty(), self.greetings.hellos.values().any(|h| h.history.is_some())) {
            (true, _) => "waiting for a leader to record this seed".to_owned(),
            (false, true) => format!("waiting for {names}"),
            (false, false) => {
                let heard = self.greetings.hellos.values().map(|hello| hello.directory_id);
                let mut there: Vec<u64> = heard.chain([self.identity.directory_id]).collect();
                there.sort_unstable();
                let there = there.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(",");
                format!(
                    "waiting for {names}: a cluster begins when every seed of the list has answered. If none of \
                     them will ever come, start all others with --form-without {} --directories {there}",
                    names.replace(", ", ",")
                )
            }
        };
        self.core.trouble(WAITING, Some(text));
    }

    pub(super) fn say_sometimes(&mut self, about: &str, text: &str) {
        let now = self.clock.now();
        let due = self.said.get(about).is_none_or(|at| now.since(*at) >= SAID_EVERY);
        // What was said long ago may be said again, and is no different from what never was. Of too many things at a
        // time, as when strangers come from everywhere, the first tell enough.
        self.said.retain(|_, at| now.since(*at) < SAID_EVERY);
        if due && self.said.len() < SAID_MAX {
            self.said.insert(about.to_owned(), now);
            tracing::warn!("{text}");
        }
    }

    /// Tells the other seeds when the log's tale of the cluster has changed.
    pub(super) fn tell_history(&mut self) {
        let history = self.log.store.history();
        if history != self.greetings.told_history {
            self.greetings.told_history.clone_from(&history);
            self.mesh.say_to_all(&MeshMessage::Hello(self.hello()));
            for seed in self.greetings.hellos.keys().copied().collect::<Vec<_>>() {
                self.update_gate(seed);
            }
        }
    }

    pub(super) fn hello(&self) -> SeedHello {
        let mut list: Vec<String> = self.greetings.listed.values().map(ToString::to_string).collect();
        list.sort();
        SeedHello {
            version: VERSION,
            id: self.identity.id,
            directory_id: self.identity.directory_id,
            address: self.options.own.to_string(),
            list,
            history: self.log.store.history(),
            directory: self.directory(),
        }
    }

    /// A seed is sent the log only while nobody has a history, or when its directory id is in it and it has none of
    /// another cluster.
    pub(super) fn update_gate(&self, seed: SeedId) {
        let Some(hello) = self.greetings.hellos.get(&seed) else { return };
        let takes_log = match (self.log.store.history(), &hello.history) {
            (None, None) => true,
            // Its first leader may have died with the Found of this very founding on its own disk alone.
            (None, Some(theirs)) => theirs.is_seated(self.identity.id, self.identity.directory_id),
            (Some(own), theirs) => {
                let is_ours = theirs.as_ref().is_none_or(|theirs| theirs.cluster == own.cluster);
                is_ours && own.is_seated(seed, hello.directory_id)
            }
        };
        self.mesh.set_takes_log(seed, takes_log);
    }
}
