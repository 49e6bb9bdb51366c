//! What a seed is told before it starts.

use std::collections::BTreeMap;

use coterie_common::message::SeedId;
use coterie_common::{Address, Patience, Timestamp};

/// The options of a seed, parsed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id.
    pub id: SeedId,
    /// Where it listens.
    pub address: Address,
    /// All seeds of the list, itself included, as the list names them.
    pub seeds: BTreeMap<SeedId, String>,
    /// The number of its data directory.
    pub birth: u64,
    /// Errands are numbered from here on: drawn at random for each start, so that an answer to a former life of this
    /// seed is not taken for one to this.
    pub errands_from: u64,
    /// How long silence is borne.
    pub patience: Patience,
    /// The last index that was on disk at the start: what is not after it was printed before.
    pub printed: u64,
    /// The time of day at [`coterie_common::Instant::START`].
    pub started: Timestamp,
}
