//! What goes wrong in a run.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use super::swarm::{FaultKind, Swarm};
use super::trigger::Trigger;
use crate::model::host::Host;
use crate::model::machine::Prices;

/// Hosts on which seeds can be added later.
pub const SPARE_SEEDS: usize = 3;

/// When everybody has joined, and at rest.
const FIRST_TRIGGER: Duration = Duration::from_secs(15);

/// From the end of one trigger to the next: more than until what it left is done, and the ten seconds after that within
/// which there must be rest.
const TRIGGERS_APART: Duration = Duration::from_secs(32);

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A process is killed: its kernel closes its connections.
    Kill(Host),
    /// A host loses its power: nobody is told.
    Darken(Host),
    /// A process is started, if none runs there.
    Start(Host),
    /// A process stands still, and goes on after this time.
    Pause(Host, Duration),
    /// A peer leaves in order.
    Leave(usize),
    /// A host answers late from now on.
    Slow(Host, Duration),
    /// Nothing passes from one host to another.
    Cut(Host, Host),
    /// Hosts on either side do not reach each other.
    Partition(Vec<Host>, Vec<Host>),
    /// Nothing reaches a host.
    Deafen(Host),
    /// It is reached again.
    Undeafen(Host),
    /// Nothing that a host sends arrives.
    Mute(Host),
    /// So many of a hundred packets are lost from now on.
    Lose(u32),
    /// So many of a hundred packets to and from a host are lost.
    LoseAt(Host, u32),
    /// All cuts, losses and delays are over.
    Heal,
    /// All seeds are killed in one moment.
    KillAllSeeds,
    /// A seed is killed and started again without its directory.
    Wipe(usize),
    /// An operator copies a seed's directory, and puts the copy in its place after this time.
    Copy(usize, Duration),
    /// The copy takes the place of the directory, and the seed is started again.
    Restore(usize),
    /// A seed is stopped and started on a directory of another cluster, which had the same seeds; after this time its
    /// own is back.
    Mistake(usize, Duration),
    /// A seed is started on its own directory again.
    Undo(usize),
    /// An operator adds a seed on a host that has had none, and starts it.
    AddSeed(usize),
    /// An operator removes a seed.
    RemoveSeed(usize),
    /// An operator replaces a seed that lost its directory, and starts it again.
    ReplaceSeed(usize),
    /// Another seed leads.
    Depose,
    /// A peer says something.
    Say(usize),
    /// Something happens to many, and ends.
    Trigger(Trigger),
}

impl Fault {
    /// The hosts that it is about.
    pub fn hosts(&self) -> Vec<Host> {
        match self {
            Fault::Kill(host)
            | Fault::Darken(host)
            | Fault::Start(host)
            | Fault::Pause(host, _)
            | Fault::Slow(host, _)
            | Fault::Deafen(host)
            | Fault::Undeafen(host)
            | Fault::Mute(host)
            | Fault::LoseAt(host, _) => vec![*host],
            Fault::Leave(peer) | Fault::Say(peer) => vec![Host::Peer(*peer)],
            Fault::Cut(from, to) => vec![*from, *to],
            Fault::Partition(some, others) => [&some[..], &others[..]].concat(),
            Fault::Copy(seed, _) | Fault::Restore(seed) | Fault::Mistake(seed, _) | Fault::Undo(seed) => {
                vec![Host::Seed(*seed)]
            }
            Fault::Wipe(seed) | Fault::AddSeed(seed) | Fault::RemoveSeed(seed) | Fault::ReplaceSeed(seed) => {
                vec![Host::Seed(*seed)]
            }
            Fault::Trigger(Trigger::MassDeath(peers)) => peers.iter().copied().map(Host::Peer).collect(),
            Fault::Lose(_) | Fault::Heal | Fault::KillAllSeeds | Fault::Depose | Fault::Trigger(_) => {
                Vec::new()
            }
        }
    }

    /// The faults of a world, each with the milliseconds from its start.
    pub fn draw(rng: &mut ChaCha8Rng, swarm: &Swarm) -> Vec<(u64, Fault)> {
        let until = swarm.chaos.as_millis() as u64;
        let mut faults = Vec::new();
        for _ in 0..swarm.faults {
            let kind = swarm.kinds.choose_weighted(rng, |(_, weight)| *weight).map(|(kind, _)| *kind);
            let Ok(kind) = kind else { break };
            let at = rng.random_range(1_000..until);
            faults.push((at, Fault::of(kind, rng, swarm)));
            if rng.random_bool(0.3) {
                // What follows closely on a fault is what nobody thought of.
                let kind = swarm.kinds.choose(rng).map_or(kind, |(kind, _)| *kind);
                let at = (at + rng.random_range(0..50)).min(until - 1);
                faults.push((at, Fault::of(kind, rng, swarm)));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        faults
    }

    /// The triggers of a world in which nothing else goes wrong: each ends, and leaves time to come to rest.
    pub(super) fn triggers(rng: &mut ChaCha8Rng, swarm: &Swarm, prices: &Prices) -> Vec<(u64, Fault)> {
        let mut at = FIRST_TRIGGER;
        let mut faults = Vec::new();
        loop {
            let trigger = Trigger::any(rng, swarm, prices);
            let lasts = trigger.lasts();
            // There is time left in which it must become calm.
            if at + lasts + TRIGGERS_APART > swarm.chaos {
                break;
            }
            faults.push((at.as_millis() as u64, Fault::Trigger(trigger)));
            at += lasts + TRIGGERS_APART;
        }
        faults
    }

    fn of(kind: FaultKind, rng: &mut ChaCha8Rng, swarm: &Swarm) -> Fault {
        let peer = rng.random_range(0..swarm.peers);
        let seed = rng.random_range(0..swarm.seeds);
        let other_peer = (peer + rng.random_range(1..swarm.peers)) % swarm.peers;
        let other_seed = (seed + rng.random_range(1..swarm.seeds)) % swarm.seeds;
        let millis = |rng: &mut ChaCha8Rng, range| Duration::from_millis(rng.random_range(range));
        let (here, there) = (Host::Peer(peer), Host::Seed(seed));
        match kind {
            FaultKind::KillPeer => Fault::Kill(here),
            FaultKind::DarkenPeer => Fault::Darken(here),
            FaultKind::StartPeer => Fault::Start(here),
            FaultKind::PausePeer => Fault::Pause(here, millis(rng, 20..8_000)),
            FaultKind::LeavePeer => Fault::Leave(peer),
            FaultKind::SlowPeer => Fault::Slow(here, millis(rng, 1..60)),
            FaultKind::CutPeers => Fault::Cut(here, Host::Peer(other_peer)),
            FaultKind::CutSeeds => Fault::Cut(there, Host::Seed(other_seed)),
            FaultKind::CutPeerFromSeed if rng.random_bool(0.5) => Fault::Cut(here, there),
            FaultKind::CutPeerFromSeed => Fault::Cut(there, here),
            FaultKind::Partition => Fault::partition(rng, swarm),
            FaultKind::Deafen => Fault::Deafen(if rng.random_bool(0.7) { here } else { there }),
            FaultKind::Mute => Fault::Mute(if rng.random_bool(0.7) { here } else { there }),
            FaultKind::Lose => Fault::Lose(rng.random_range(1..=20)),
            FaultKind::LoseAt => Fault::LoseAt(here, rng.random_range(20..=90)),
            FaultKind::Heal => Fault::Heal,
            FaultKind::KillSeed => Fault::Kill(there),
            FaultKind::DarkenSeed => Fault::Darken(there),
            FaultKind::StartSeed => Fault::Start(there),
            FaultKind::PauseSeed => Fault::Pause(there, millis(rng, 20..5_000)),
            FaultKind::KillAllSeeds => Fault::KillAllSeeds,
            FaultKind::WipeSeed => Fault::Wipe(seed),
            FaultKind::CopySeed => {
                let seed = rng.random_range(0..swarm.seeds + SPARE_SEEDS);
                Fault::Copy(seed, millis(rng, 20..15_000))
            }
            FaultKind::MistakeDirectory => Fault::Mistake(seed, millis(rng, 500..15_000)),
            FaultKind::AddSeed => Fault::AddSeed(swarm.seeds + rng.random_range(0..SPARE_SEEDS)),
            FaultKind::RemoveSeed => Fault::RemoveSeed(rng.random_range(0..swarm.seeds + SPARE_SEEDS)),
            FaultKind::ReplaceSeed => Fault::ReplaceSeed(rng.random_range(0..swarm.seeds + SPARE_SEEDS)),
            FaultKind::Depose => Fault::Depose,
            FaultKind::Say => Fault::Say(peer),
        }
    }

    /// A partition of any shape: among the seeds, among the peers, between them, through everybody.
    fn partition(rng: &mut ChaCha8Rng, swarm: &Swarm) -> Fault {
        let seeds = (0..swarm.seeds).map(Host::Seed);
        let peers = (0..swarm.peers).map(Host::Peer);
        let (some, others) = match rng.random_range(0..4) {
            0 => seeds.partition(|_| rng.random_bool(0.5)),
            1 => peers.partition(|_| rng.random_bool(0.5)),
            2 => (seeds.collect(), peers.filter(|_| rng.random_bool(0.5)).collect()),
            _ => seeds.chain(peers).partition(|_| rng.random_bool(0.5)),
        };
        Fault::Partition(some, others)
    }
}
