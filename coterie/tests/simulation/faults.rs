//! What goes wrong in a run.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A peer's process is killed.
    KillPeer(usize),
    /// It is started again.
    StartPeer(usize),
    /// A peer stands still, and goes on after this time.
    PausePeer(usize, Duration),
    /// A peer leaves in order.
    LeavePeer(usize),
    /// Nothing passes from one peer to another.
    CutPeers(usize, usize),
    /// Nothing passes between a peer and a seed.
    CutSeed(usize, usize),
    /// A seed is killed.
    KillSeed(usize),
    /// It is started again.
    StartSeed(usize),
    /// Another seed leads.
    Depose,
    /// So many of a hundred packets are lost from now on.
    Lose(u32),
    /// All cuts and losses are over.
    Heal,
    /// Somebody says something.
    Say(usize),
}

/// The faults of a run, each with its time in milliseconds.
pub(crate) fn draw(rng: &mut ChaCha8Rng, peers: usize, seeds: usize, until_ms: u64) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    let count = rng.random_range(5..25);
    for _ in 0..count {
        let at = rng.random_range(2_000..until_ms);
        let (peer, other, seed) =
            (rng.random_range(0..peers), rng.random_range(0..peers), rng.random_range(0..seeds));
        let fault = match rng.random_range(0..12) {
            0 | 1 => Fault::KillPeer(peer),
            2 => Fault::StartPeer(peer),
            3 => Fault::PausePeer(peer, Duration::from_millis(rng.random_range(50..6_000))),
            4 => Fault::LeavePeer(peer),
            5 => Fault::CutPeers(peer, other),
            6 => Fault::CutSeed(peer, seed),
            7 => Fault::KillSeed(seed),
            8 => Fault::StartSeed(seed),
            9 => Fault::Depose,
            10 => Fault::Lose(rng.random_range(1..20)),
            _ => Fault::Heal,
        };
        faults.push((at, fault));
    }
    for _ in 0..10 {
        faults.push((rng.random_range(1_000..until_ms), Fault::Say(rng.random_range(0..peers))));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
