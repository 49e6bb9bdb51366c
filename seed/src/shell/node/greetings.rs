//! Who the other seeds are, where they are, and what they said of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coterie_common::Backoff;
use coterie_common::message::{History, SeedHello, SeedId};
use coterie_common::seed_list::SeedEntry;
use tokio::sync::Notify;

/// How long to wait before another seed is dialled again.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The other seeds, as far as this one has heard.
#[derive(Debug)]
pub(super) struct Greetings {
    /// The seeds in force, this one among them: by the log, once there is one, over any list.
    pub(super) listed: BTreeMap<SeedId, SeedEntry>,
    /// Seeds that are in no list of this one: its log is empty, and others have told of them; or they are removed, and
    /// vote until the log's own entry says otherwise, and this one has started meanwhile.
    pub(super) met: BTreeMap<SeedId, SeedEntry>,
    /// What the other seeds said last, while they are connected.
    pub(super) hellos: BTreeMap<SeedId, SeedHello>,
    /// Those that said last that their logs are empty, with their directories; also when they are connected no longer.
    empty: BTreeMap<SeedId, u64>,
    /// Who is not here is not dialled again.
    pub(super) redials: BTreeMap<SeedId, Redial>,
    /// The tale of the cluster that the others were told last.
    pub(super) told_history: Option<History>,
}

/// How soon a seed is dialled again.
#[derive(Debug)]
pub(super) struct Redial {
    pub(super) backoff: Backoff,
    /// Ends the pause that is under way, or the next.
    pub(super) at_once: Arc<Notify>,
}

impl Greetings {
    /// Nobody has been heard yet.
    pub(super) fn new(listed: BTreeMap<SeedId, SeedEntry>) -> Self {
        Greetings {
            listed,
            met: BTreeMap::new(),
            hellos: BTreeMap::new(),
            empty: BTreeMap::new(),
            redials: BTreeMap::new(),
            told_history: None,
        }
    }

    /// A seed says who it is.
    pub(super) fn note(&mut self, hello: SeedHello) {
        match hello.history {
            Some(_) => self.empty.remove(&hello.id),
            None => self.empty.insert(hello.id, hello.directory_id),
        };
        self.hellos.insert(hello.id, hello);
    }

    /// Whether a seed may not be followed by one with this history: its own log is empty, as it said last, and it is
    /// not one of those that the history names. Who leads a founding has said so, too; but it is named.
    pub(super) fn is_emptied(&self, seed: SeedId, history: &History) -> bool {
        self.empty.get(&seed).is_some_and(|directory_id| !history.is_seated(seed, *directory_id))
    }

    /// Where a seed is reached, as the list, the log or another seed has it.
    pub(super) fn entry(&self, seed: SeedId) -> Option<&SeedEntry> {
        self.listed.get(&seed).or_else(|| self.met.get(&seed))
    }

    /// The seeds that are reached somewhere, this one among them.
    pub(super) fn known(&self) -> impl Iterator<Item = SeedId> {
        self.listed.keys().chain(self.met.keys()).copied()
    }

    /// A seed is none any more; returns where it was reached.
    pub(super) fn forget(&mut self, seed: SeedId) -> Option<SeedEntry> {
        let met = self.met.remove(&seed);
        self.listed.remove(&seed).or(met)
    }

    /// The seeds in force but for this one.
    pub(super) fn others(&self, me: SeedId) -> Vec<SeedId> {
        self.listed.keys().copied().filter(|seed| *seed != me).collect()
    }

    /// A seed is dialled again whenever that fails, soon at first.
    pub(super) fn dial_again_and_again(&mut self, seed: SeedId) {
        let backoff = Backoff::new(REDIAL.0, REDIAL.1);
        self.redials.insert(seed, Redial { backoff, at_once: Arc::default() });
    }

    /// A seed that was away is there again: it has dialled this one, so there is nothing to wait for.
    pub(super) fn dial_at_once(&self, seed: SeedId) {
        if let Some(redial) = self.redials.get(&seed) {
            redial.at_once.notify_one();
        }
    }

    /// This seed goes by another id: nothing that was said to the former one counts.
    pub(super) fn begin_anew(&mut self, listed: BTreeMap<SeedId, SeedEntry>) {
        *self = Greetings { told_history: self.told_history.take(), ..Greetings::new(listed) };
    }
}
