//! The options of one world, drawn from its number.
//!
//! Swarm testing: a world that has every kind of fault at once hides what only a few of them bring about, for the
//! others stop it short. So each world lacks most kinds and has much of the rest.

use std::fmt;
use std::time::Duration;

use coterie_peer::core::OverlayKind;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::model::latency::Latency;
use crate::model::machine::Prices;

/// Kinds of faults. Each world has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is told by its fault: see Fault")]
pub enum FaultKind {
    KillPeer,
    DarkenPeer,
    StartPeer,
    PausePeer,
    LeavePeer,
    SlowPeer,
    CutPeers,
    CutSeeds,
    CutPeerFromSeed,
    Partition,
    Deafen,
    Mute,
    Lose,
    LoseAt,
    Heal,
    KillSeed,
    DarkenSeed,
    StartSeed,
    PauseSeed,
    KillAllSeeds,
    WipeSeed,
    CopySeed,
    MistakeDirectory,
    AddSeed,
    RemoveSeed,
    ReplaceSeed,
    Depose,
    Say,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 28] = [
        FaultKind::KillPeer,
        FaultKind::DarkenPeer,
        FaultKind::StartPeer,
        FaultKind::PausePeer,
        FaultKind::LeavePeer,
        FaultKind::SlowPeer,
        FaultKind::CutPeers,
        FaultKind::CutSeeds,
        FaultKind::CutPeerFromSeed,
        FaultKind::Partition,
        FaultKind::Deafen,
        FaultKind::Mute,
        FaultKind::Lose,
        FaultKind::LoseAt,
        FaultKind::Heal,
        FaultKind::KillSeed,
        FaultKind::DarkenSeed,
        FaultKind::StartSeed,
        FaultKind::PauseSeed,
        FaultKind::KillAllSeeds,
        FaultKind::WipeSeed,
        FaultKind::CopySeed,
        FaultKind::MistakeDirectory,
        FaultKind::AddSeed,
        FaultKind::RemoveSeed,
        FaultKind::ReplaceSeed,
        FaultKind::Depose,
        FaultKind::Say,
    ];
}

/// Where nothing is the matter.
const SEEDS_WITHIN: Duration = Duration::from_millis(300);

/// Kinds that were thought of later than the others.
const DRAWN_LATER: [FaultKind; 2] = [FaultKind::CopySeed, FaultKind::MistakeDirectory];

/// What a world is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    /// Seeds at the beginning.
    pub seeds: usize,
    /// Peers.
    pub peers: usize,
    /// How long faults go on.
    pub chaos: Duration,
    /// Within how long all peers are started.
    pub start_within: Duration,
    /// Within how long all seeds are started: the cluster begins when the last of them is there.
    pub seeds_within: Duration,
    /// How long packets take.
    pub latency: Latency,
    /// How long a seed's disk takes to write.
    pub disk: Latency,
    /// Clocks are off by so many millionths at most.
    pub drift_ppm: i64,
    /// How peers choose neighbours.
    pub overlay: OverlayKind,
    /// Most links of a peer.
    pub max_neighbours: usize,
    /// How far a seed may lag behind before it is sent a snapshot, in entries.
    pub snapshot_lag: usize,
    /// One in so many proposals is not taken, as by a leader that is too new; 0 for none.
    pub refuses_one_in: u32,
    /// The kinds of faults there are, and how likely each is beside the others.
    pub kinds: Vec<(FaultKind, u32)>,
    /// How many faults.
    pub faults: usize,
    /// Whether timers and limits are drawn, each by itself.
    pub draws_knobs: bool,
    /// What work costs; nothing, if it takes no time.
    pub prices: Option<Prices>,
}

impl Swarm {
    /// Any world of 3 to 5 seeds and 5 to 30 peers.
    pub fn any(rng: &mut impl Rng) -> Self {
        let drawn_first = FaultKind::ALL.into_iter().filter(|kind| !DRAWN_LATER.contains(kind));
        let kinds = drawn_first.filter(|_| rng.random_bool(0.4)).collect::<Vec<_>>();
        let kinds = if kinds.is_empty() { vec![FaultKind::KillPeer, FaultKind::Heal] } else { kinds };
        let millis = |rng: &mut _, range| Duration::from_millis(RngExt::random_range(rng, range));
        let mut swarm = Swarm {
            seeds: rng.random_range(3..=5),
            peers: rng.random_range(5..=30),
            chaos: millis(rng, 10_000..45_000),
            start_within: millis(rng, 0..5_000),
            seeds_within: SEEDS_WITHIN,
            latency: Latency::any(rng),
            disk: match rng.random_range(0..3) {
                0 => Latency::Uniform(Duration::from_micros(80), Duration::from_micros(400)),
                1 => Latency::Spikes(Duration::from_micros(150), Duration::from_millis(16)),
                _ => Latency::Tail(Duration::from_micros(500), Duration::from_millis(8)),
            },
            drift_ppm: *[0, 50, 1_000, 20_000].choose(rng).unwrap_or(&0),
            overlay: *[OverlayKind::Pareto, OverlayKind::Zipf, OverlayKind::Random]
                .choose(rng)
                .unwrap_or(&OverlayKind::Pareto),
            max_neighbours: *[4, 16].choose(rng).unwrap_or(&16),
            snapshot_lag: *[5, 50, 5_000].choose(rng).unwrap_or(&5_000),
            refuses_one_in: *[0, 3, 50].choose(rng).unwrap_or(&0),
            kinds: kinds.into_iter().map(|kind| (kind, rng.random_range(1..=8))).collect(),
            faults: rng.random_range(5..60),
            draws_knobs: false,
            prices: None,
        };
        // After everything else, so that the worlds that tests name are as they were.
        for kind in DRAWN_LATER {
            if rng.random_bool(0.4) {
                swarm.kinds.push((kind, rng.random_range(1..=8)));
            }
        }
        if rng.random_bool(0.15) {
            swarm.seeds_within = millis(rng, 300..8_000);
        }
        swarm
    }

    /// A quiet world of so many nodes: for scenarios and large runs, which bring their own faults.
    pub fn calm(seeds: usize, peers: usize) -> Self {
        Swarm {
            seeds,
            peers,
            chaos: Duration::from_secs(30),
            start_within: Duration::from_secs(2),
            seeds_within: SEEDS_WITHIN,
            latency: Latency::Uniform(Duration::from_micros(50), Duration::from_millis(3)),
            disk: Latency::Spikes(Duration::from_micros(150), Duration::from_millis(16)),
            drift_ppm: 50,
            overlay: OverlayKind::Pareto,
            max_neighbours: 16,
            snapshot_lag: 5_000,
            refuses_one_in: 0,
            kinds: Vec::new(),
            faults: 0,
            draws_knobs: false,
            prices: None,
        }
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, weight)| format!("{kind:?} x{weight}")).collect();
        write!(
            f,
            "seeds {} peers {} chaos {:?} start_within {:?} seeds_within {:?} latency {:?} disk {:?} drift {} ppm overlay {:?} \
             max_neighbours {} snapshot_lag {} refuses one in {} knobs {} prices {:?} faults {} of [{}]",
            self.seeds,
            self.peers,
            self.chaos,
            self.start_within,
            self.seeds_within,
            self.latency,
            self.disk,
            self.drift_ppm,
            self.overlay,
            self.max_neighbours,
            self.snapshot_lag,
            self.refuses_one_in,
            if self.draws_knobs { "drawn" } else { "as they are" },
            self.prices,
            self.faults,
            kinds.join(", "),
        )
    }
}
