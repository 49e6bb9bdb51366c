//! What a seed is told before it starts.
//!
//! Never written afterwards. A seed that takes another id or another list keeps them in `leadership`. Limits are no
//! options: they are constants of `coterie_common::limits`. Nothing here is known to the registry, for every seed has
//! its own.

use std::collections::BTreeMap;

use coterie_common::message::{ClusterId, SeedId};
use coterie_common::{Address, Patience, Timestamp};

/// The options of a seed, parsed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id. At the start: a cluster may keep another for it, which it then takes.
    pub id: SeedId,
    /// Where it listens. Named in its answers to pings, and refused as the address of a joiner.
    pub address: Address,
    /// All seeds of the list, itself included, as the list names them. The founding records these, if this seed leads
    /// first.
    pub seeds: BTreeMap<SeedId, String>,
    /// The number of its data directory. Drawn when the directory was made and never changed: by it the log tells a
    /// seed from one that came to its address with an empty disk (as Kafka's KIP-853 does).
    pub directory_id: u64,
    /// The cluster that its log on disk names, applied or not; none of an empty directory.
    pub cluster: Option<ClusterId>,
    /// Requests to the leader are numbered from here on: drawn at random for each start, so that an answer to a former
    /// life of this seed is not taken for one to this.
    pub requests_from: u64,
    /// How long silence is borne. All times are scaled by it that wait for silence to end, and no others.
    pub patience: Patience,
    /// The last index that was on disk at the start. Lines for entries up to it are not logged again.
    pub printed: u64,
    /// The time of day at [`coterie_common::Instant::START`]. For lines and records that people read.
    pub started: Timestamp,
}
