//! What a peer is told before it starts.
//!
//! Everything here is a value that was checked already: the options of the shell are parsed once, and the core asks
//! no more whether they make sense.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::{Patience, Tags, Timestamp};

/// With three misses of at most 500 ms each, the end that pings suspects a silent link after about 2.5 s (a guess).
const PING_INTERVAL: Knob<Duration> = Knob::new("ping_interval", Duration::from_secs(1));
const PING_MISSES: Knob<u32> = Knob::new("ping_misses", 3);

/// How the number of neighbours and the neighbours are drawn. The sums stand in the topology of the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "net", derive(clap::ValueEnum))]
pub enum OverlayKind {
    /// A number from a Pareto distribution, whom by preferential attachment: together a scale-free overlay.
    Pareto,
    /// Number and rank from a Zipf distribution.
    Zipf,
    /// A number from 1 to the most, anybody. For comparison with the others.
    Random,
}

/// The options of a peer, parsed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seeds, as the list names them. Only the beginning: later lists come from the log, by way of the seeds.
    pub seeds: Vec<String>,
    /// How neighbours are drawn.
    pub overlay: OverlayKind,
    /// Most native links. It bounds what is drawn, and whom this peer lets in; a repair and JSON programs may go
    /// beyond it.
    pub max_neighbours: usize,
    /// What it carries in the view.
    pub tags: Tags,
    /// Messages that it says by itself, for the demonstration. 0: none.
    pub messages: u64,
    /// The time between two of them.
    pub message_interval: Duration,
    /// Quiet on a link before it is pinged. It bounds the quiet of sessions too.
    pub ping_interval: Duration,
    /// Pings in a row that go unanswered before a suspicion. At least one: a link that may miss none would be
    /// suspected before the first.
    pub ping_misses: u32,
    /// How long silence is borne. It scales every time-out that waits for silence to end.
    pub patience: Patience,
    /// When it gives up joining; none: never. It counts from the start of the process and for the first time only: a
    /// peer that was once a member tries for ever.
    pub join_timeout: Option<Duration>,
    /// The time of day at [`coterie_common::Instant::START`], for the timestamps in messages.
    pub started: Timestamp,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seeds: Vec::new(),
            overlay: OverlayKind::Pareto,
            // About one draw of the Pareto distribution in a thousand wants more.
            max_neighbours: 16,
            tags: Tags::new(),
            messages: 0,
            // Seldom enough to read along (a guess).
            message_interval: Duration::from_secs(5),
            ping_interval: PING_INTERVAL.get(),
            ping_misses: PING_MISSES.get(),
            patience: Patience::default(),
            join_timeout: None,
            started: Timestamp::default(),
        }
    }
}
