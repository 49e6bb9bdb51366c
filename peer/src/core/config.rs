//! What a peer is told before it starts.

use std::time::Duration;

use coterie_common::{Patience, Tags, Timestamp};

/// How the number of neighbours and the neighbours are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayKind {
    /// A number from a Pareto distribution, whom by preferential attachment.
    Pareto,
    /// Number and rank from a Zipf distribution.
    Zipf,
    /// A number from 1 to the most, anybody.
    Random,
}

/// The options of a peer, parsed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seeds, as the list names them.
    pub seeds: Vec<String>,
    /// How neighbours are drawn.
    pub overlay: OverlayKind,
    /// Most native links.
    pub max_neighbours: usize,
    /// What it carries in the view.
    pub tags: Tags,
    /// Messages that it says by itself, for the demonstration.
    pub messages: u64,
    /// The time between two of them.
    pub message_interval: Duration,
    /// Quiet on a link before it is pinged.
    pub ping_interval: Duration,
    /// Pings in a row that go unanswered before a suspicion.
    pub ping_misses: u32,
    /// How long silence is borne.
    pub patience: Patience,
    /// When it gives up joining; none: never.
    pub join_timeout: Option<Duration>,
    /// The time of day at [`coterie_common::Instant::START`], for the timestamps in messages.
    pub started: Timestamp,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seeds: Vec::new(),
            overlay: OverlayKind::Pareto,
            max_neighbours: 16,
            tags: Tags::new(),
            messages: 0,
            message_interval: Duration::from_secs(5),
            ping_interval: Duration::from_secs(1),
            ping_misses: 3,
            patience: Patience::default(),
            join_timeout: None,
            started: Timestamp::default(),
        }
    }
}
