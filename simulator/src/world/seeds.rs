//! Seeds: their starts, their steps, and what they want done.

use std::time::Duration;

use coterie_common::message::{MeshMessage, Registration, SeedId, SessionMessage};
use coterie_common::{Instant, MemberId, Message, Patience, Timestamp};
use coterie_seed::core::{Config, Effect, Input, Registry, Seed, SessionId};
use rand::RngExt;

use super::turns::work_of_seed;
use super::{Happening, SeedHost, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::model::machine::Work;
use crate::model::tcp::Packet;

/// How long a seed waits before it dials another again.
pub(super) const REDIAL: Duration = Duration::from_millis(250);

/// How many members of a seed are looked at after each step of it, on the average.
const MEMBERS_LOOKED_AT: u64 = 64;

impl World {
    pub(super) fn start_seed(&mut self, index: usize) {
        let host = &self.seeds[index];
        if host.process.core.is_some() || host.is_lost || !host.is_listed {
            return;
        }
        let registry = self.seeds[index].replica.crash();
        let (chance, drift) = (self.entropy(), self.drift());
        let requests_from = self.rng.random_range(0..u64::MAX / 2);
        let name = |i: usize| (SeedId(i as u64), Host::Seed(i).address().to_string());
        let seeds =
            (0..self.plan.swarm.seeds).map(name).chain([(self.seeds[index].id, name(index).1)]).collect();
        let seed = &mut self.seeds[index];
        let config = Config {
            id: seed.id,
            address: seed.process.address,
            seeds,
            directory_id: seed.directory_id,
            cluster: seed.replica.history().map(|history| history.cluster),
            requests_from,
            patience: Patience::default(),
            printed: (seed.replica.len() as u64).saturating_sub(1),
            started: Timestamp::default().after(self.now.since(Instant::START)),
        };
        seed.takes_part = seed.replica.history().is_some();
        (seed.told_leader, seed.told_directory) = (None, None);
        seed.run += 1;
        let was_dark = seed.process.is_dark;
        seed.process.begin(self.now, Seed::new(config, registry, chance), drift);
        let host = Host::Seed(index);
        if was_dark {
            self.reset_former(host);
        }
        self.observe(&Observed::Started { host });
        if self.seeds[index].takes_part {
            self.note_takes_part(index);
        }
        let start = self.seeds[index].process.start;
        self.step_seed(index, start, Input::Wake);
        self.dial_mesh(index);
    }

    pub(super) fn note_takes_part(&mut self, index: usize) {
        let seed = &self.seeds[index];
        if seed.is_mistaken() {
            return;
        }
        self.checker
            .observe(self.now, &Observed::TakesPart { seed: seed.id, directory_id: seed.directory_id });
    }

    pub(super) fn step_seed(&mut self, index: usize, start: u64, input: Input) {
        let process = &mut self.seeds[index].process;
        if process.start != start {
            return;
        }
        if process.is_paused {
            return process.held.push(input);
        }
        if self.load.machines.is_some() {
            process.wait(input);
            return self.queue_turn(Host::Seed(index));
        }
        self.take_seed_step(index, input);
    }

    /// Takes a step; returns what it made the seed do.
    pub(super) fn take_seed_step(&mut self, index: usize, input: Input) -> Work {
        let SeedHost { process, id, .. } = &mut self.seeds[index];
        let start = process.start;
        let local = process.local(self.now);
        let Some(core) = &mut process.core else { return Work::default() };
        self.tally.steps += 1;
        let applied = core.registry().applied();
        let effects = core.step(local, input);
        let (deadline, members) = (core.next_deadline(), core.registry().members().len());
        // It looks at every member. In a large world it would cost many times what the step does.
        let is_news = core.registry().applied() != applied;
        if is_news || self.tally.steps.is_multiple_of(1 + members as u64 / MEMBERS_LOOKED_AT) {
            core.verify();
        }
        if core.registry().applied() != applied {
            let registry = core.registry();
            let observed = Observed::Applied { seed: *id, start, registry };
            self.checker.observe(self.now, &observed);
        }
        let work = work_of_seed(&effects, members);
        for effect in effects {
            self.perform_seed(index, effect);
        }
        let process = &mut self.seeds[index].process;
        if process.core.is_some()
            && let Some(at) = process.wish(self.now, deadline)
        {
            self.schedule(at, Happening::Wake(Host::Seed(index)));
        }
        work
    }

    fn perform_seed(&mut self, index: usize, effect: Effect) {
        let host = Host::Seed(index);
        let start = self.seeds[index].process.start;
        match effect {
            Effect::Send { to, message } => self.send_to_session(to, host, message),
            Effect::Push { to, message } => {
                for session in to {
                    self.send_to_session(session, host, message.clone());
                    let drained = Input::SessionDrained(session);
                    self.after(Duration::from_micros(20), Happening::Seed(index, start, Box::new(drained)));
                }
            }
            Effect::Close { session, reason } => {
                self.send_to_session(session, host, Message::Close(reason));
                self.send(session.0, host, Packet::End);
            }
            Effect::ToSeed { to, message } => self.send_to_seed(index, to, message),
            Effect::Propose(entry) => self.propose(index, entry),
            Effect::Seeds { gone, .. } => self.follow_seeds(index, &gone),
            Effect::ChangeVoters(voters) => self.change_voters(index, voters),
            Effect::Probe(order) => {
                self.start_probe((host, start), None, order);
            }
            Effect::ReadIndex(read) => {
                let known = Some(self.seeds[index].replica.committed.saturating_sub(1) as u64);
                let ready = Input::ReadReady { read, index: known };
                self.after(Duration::from_millis(1), Happening::Seed(index, start, Box::new(ready)));
            }
            Effect::Log(line) => self.note_line(host, &line),
            Effect::Warn(text) => self.warned(host, &text),
            Effect::Reply { .. } => {}
        }
    }

    fn send_to_seed(&mut self, index: usize, to: SeedId, message: MeshMessage) {
        if let MeshMessage::DeathProposal(proposal) = &message {
            let own = self.seeds[index].id;
            let first_other = self.seeds.iter().map(|seed| seed.id).find(|id| *id != own);
            if first_other == Some(to) {
                self.observe(&Observed::Ballot { dead: proposal.dead });
            }
        }
        let Some(slot) = self.seeds.iter().position(|seed| seed.id == to) else { return };
        if let Some(id) = self.traffic.mesh.get(&(index, slot)).copied() {
            self.send_message(id, Host::Seed(index), Message::Mesh(message));
        }
    }

    /// Says something on a session, and has a look at what it is.
    fn send_to_session(&mut self, to: SessionId, host: Host, message: Message) {
        let peer = self.traffic.connections.get(to.0).map(|connection| connection.ends[0].host.address());
        if let (Message::Session(message), Some(address)) = (&message, peer) {
            match message {
                SessionMessage::Registered(Registration::Admitted { incarnation, .. }) => {
                    let member = MemberId { address, incarnation: *incarnation };
                    self.observe(&Observed::Answered { member });
                }
                SessionMessage::Dial(target) => {
                    self.observe(&Observed::Mends { peer: address, target: *target });
                }
                _ => {}
            }
        }
        self.send_message(to.0, host, message);
    }

    /// A snapshot takes the place of a seed's registry.
    pub(super) fn restore(&mut self, index: usize, registry: Registry) {
        self.tally.marks.hit("snapshots_installed");
        let start = self.seeds[index].process.start;
        self.step_seed(index, start, Input::Restored(Box::new(registry)));
    }
}
