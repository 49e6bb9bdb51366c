//! All processes as they are, for a look at the whole.

use bytes::Bytes;
use coterie_common::Address;
use coterie_common::message::SeedId;
use coterie_peer::core::Peer;
use coterie_seed::core::Seed;

/// All processes as they are: borrowed for one look.
#[derive(Debug)]
pub struct Processes<'a> {
    /// Every peer's host: its core, where one runs.
    pub peers: Vec<(Address, Option<&'a Peer>)>,
    /// The seeds that take part.
    pub seeds: Vec<(SeedId, &'a Seed)>,
    /// What each peer must have heard: who said what, when everything was well again.
    pub last_words: &'a [(Address, Bytes)],
    /// Most links of a peer.
    pub max_neighbours: usize,
}
