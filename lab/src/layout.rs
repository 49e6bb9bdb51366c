//! How many nodes, and how they are started.

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct HostLayout {
    /// How many seeds.
    pub seeds: usize,
    /// How many peers.
    pub peers: usize,
    /// Further arguments for every seed.
    pub seed_args: Vec<String>,
    /// Further arguments for every peer.
    pub peer_args: Vec<String>,
}
