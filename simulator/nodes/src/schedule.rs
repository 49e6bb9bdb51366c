//! What is going to happen to a cluster, drawn from a number.

use std::fmt;
use std::time::Duration;

use coterie_common::message::SeedChange;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use coterie_simulator::model::host::Host;
use coterie_simulator::plan::fault::SPARE_SEEDS;

/// The first faults come when the cluster may have formed.
const FAULTS_FROM_MS: u64 = 3_000;

/// Something that happens to hosts.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// kill -9; of a seed, in the middle of what it does on its disk.
    Kill(Host),
    /// The host of a seed is gone, in the middle of what it does on its disk, with all that was not synced; nobody is
    /// told.
    CutPower(Host),
    /// A peer is told to leave.
    Leave(Host),
    /// A node that does not run is started.
    Start(Host),
    /// Between these and all others whatever is sent waits.
    Hold(Vec<Host>),
    /// It waits no longer.
    Release(Vec<Host>),
    /// Everything to and from a host takes so long.
    Slow(Host, Duration),
    /// No room on a seed's disk; and room again.
    FillDisk(Host, bool),
    /// A seed's disk returns errors; and works again.
    BreakDisk(Host, bool),
    /// A seed is killed, and its disk is replaced by an empty one.
    ReplaceDisk(Host),
    /// The operator changes the seeds.
    Change(SeedChange),
}

impl Act {
    /// How many hosts have something done to them.
    pub(super) fn hosts(&self) -> usize {
        match self {
            Act::Hold(side) => side.len(),
            Act::Release(_) => 0,
            _ => 1,
        }
    }
}

/// Kinds of faults. Each schedule has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillSeed,
    KillAllSeeds,
    CutPower,
    KillPeer,
    LeavePeer,
    Churn,
    Hold,
    Slow,
    FillDisk,
    BreakDisk,
    ReplaceDisk,
    AddSeed,
    RemoveSeed,
    ReplaceSeed,
}

/// All there are.
const KINDS: [Kind; 14] = [
    Kind::KillSeed,
    Kind::KillAllSeeds,
    Kind::CutPower,
    Kind::KillPeer,
    Kind::LeavePeer,
    Kind::Churn,
    Kind::Hold,
    Kind::Slow,
    Kind::FillDisk,
    Kind::BreakDisk,
    Kind::ReplaceDisk,
    Kind::AddSeed,
    Kind::RemoveSeed,
    Kind::ReplaceSeed,
];

/// A cluster and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) number: u64,
    pub(super) seeds: usize,
    pub(super) peers: usize,
    pub(super) max_neighbours: usize,
    pub(super) snapshot_every: u64,
    /// The longest way of a packet.
    pub(super) latency: Duration,
    /// How long there are faults.
    pub(super) chaos: Duration,
    pub(super) kinds: Vec<Kind>,
    /// In milliseconds since the beginning, in order.
    pub(super) acts: Vec<(u64, Act)>,
}

impl Schedule {
    pub(super) fn draw(number: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(number);
        let mut kinds: Vec<Kind> = KINDS.to_vec();
        kinds.shuffle(rng);
        kinds.truncate(rng.random_range(1..=5));
        let mut schedule = Schedule {
            number,
            seeds: *[3, 3, 5].choose(rng).unwrap_or(&3),
            peers: rng.random_range(3..=6),
            max_neighbours: rng.random_range(4..=16),
            // Few entries to a snapshot, so that logs are compacted and seeds that are behind are sent one.
            snapshot_every: *[10, 40, 5_000].choose(rng).unwrap_or(&40),
            latency: Duration::from_millis(rng.random_range(1..=20)),
            chaos: Duration::from_millis(rng.random_range(12_000..30_000)),
            kinds,
            acts: Vec::new(),
        };
        for _ in 0..rng.random_range(2..12) {
            let at = rng.random_range(FAULTS_FROM_MS..schedule.chaos.as_millis() as u64);
            let lasts = rng.random_range(100..7_000);
            if let Some(kind) = schedule.kinds.choose(rng).copied() {
                schedule.add(kind, at, lasts, rng);
            }
        }
        schedule.acts.sort_by_key(|(at, _)| *at);
        schedule
    }

    fn add(&mut self, kind: Kind, at: u64, lasts: u64, rng: &mut ChaCha8Rng) {
        let end = at + lasts;
        let seed = Host::Seed(rng.random_range(0..self.seeds));
        let any_seed = Host::Seed(rng.random_range(0..self.seeds + SPARE_SEEDS));
        let peer = Host::Peer(rng.random_range(0..self.peers));
        let name = |host: Host| host.address().to_string();
        let mut acts = match kind {
            Kind::KillSeed => vec![(at, Act::Kill(any_seed)), (end, Act::Start(any_seed))],
            Kind::KillAllSeeds => {
                let all = (0..self.seeds + SPARE_SEEDS).map(Host::Seed);
                all.flat_map(|seed| [(at, Act::Kill(seed)), (end, Act::Start(seed))]).collect()
            }
            Kind::CutPower => vec![(at, Act::CutPower(any_seed)), (end, Act::Start(any_seed))],
            Kind::KillPeer if rng.random_ratio(1, 4) => vec![(at, Act::Kill(peer))],
            Kind::KillPeer => vec![(at, Act::Kill(peer)), (end, Act::Start(peer))],
            Kind::LeavePeer => vec![(at, Act::Leave(peer)), (end, Act::Start(peer))],
            // The log grows while others are away.
            Kind::Churn => (0..lasts / 400)
                .map(|turn| (at + turn * 400, Host::Peer(rng.random_range(0..self.peers))))
                .flat_map(|(at, peer)| [(at, Act::Kill(peer)), (at + 200, Act::Start(peer))])
                .collect(),
            Kind::Hold => {
                let peers = (0..self.peers).map(Host::Peer);
                let all: Vec<Host> = (0..self.seeds).map(Host::Seed).chain(peers).collect();
                let size = rng.random_range(1..=all.len() / 2);
                let side: Vec<Host> = all.sample(rng, size).copied().collect();
                vec![(at, Act::Hold(side.clone())), (end, Act::Release(side))]
            }
            Kind::Slow => {
                let slow = Duration::from_millis(rng.random_range(20..400));
                vec![(at, Act::Slow(any_seed, slow)), (end, Act::Slow(any_seed, self.latency))]
            }
            Kind::FillDisk => vec![
                (at, Act::FillDisk(any_seed, true)),
                (end, Act::FillDisk(any_seed, false)),
                (end, Act::Start(any_seed)),
            ],
            Kind::BreakDisk => vec![
                (at, Act::BreakDisk(any_seed, true)),
                (end, Act::BreakDisk(any_seed, false)),
                (end, Act::Start(any_seed)),
            ],
            // Of two that forget what they had acknowledged nobody could make good.
            Kind::ReplaceDisk if self.acts.iter().any(|(_, act)| matches!(act, Act::ReplaceDisk(_))) => {
                vec![]
            }
            Kind::ReplaceDisk => vec![
                (at, Act::ReplaceDisk(seed)),
                (at + 10, Act::Start(seed)),
                (end, Act::Change(SeedChange::Replace { address: name(seed), force: false })),
            ],
            Kind::AddSeed => vec![(at, Act::Change(SeedChange::Add(name(any_seed))))],
            Kind::RemoveSeed => vec![(at, Act::Change(SeedChange::Remove(name(any_seed))))],
            Kind::ReplaceSeed => {
                let spare = Host::Seed(self.seeds + rng.random_range(0..SPARE_SEEDS));
                let added = Act::Change(SeedChange::Add(name(spare)));
                vec![(at, added), (end, Act::Change(SeedChange::Remove(name(any_seed))))]
            }
        };
        self.acts.append(&mut acts);
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schedule { seeds, peers, max_neighbours, snapshot_every, latency, chaos, kinds, .. } = self;
        writeln!(
            f,
            "{seeds} seeds, {peers} peers, {max_neighbours} neighbours, a snapshot every {snapshot_every} entries, \
             packets take up to {latency:?}, faults for {chaos:?}: {kinds:?}"
        )?;
        self.acts.iter().try_for_each(|(at, act)| writeln!(f, "{at:>8} ms {act:?}"))
    }
}
