//! Who leads, in which term, and who is connected; and which seed this is.
//!
//! Raft elects (Ongaro and Ousterhout, *In search of an understandable consensus algorithm*, 2014). Here stands what
//! came of it, and what follows for who may answer.
//!
//! *Owns.* This seed's id, its cluster and list of seeds, the leader and the term, the connected seeds with the numbers
//! of their data directories and when they were heard last, and whether the founding was proposed.
//!
//! *May read.* The context and the registry.
//!
//! *Never.* Decides who leads: the log tells it. Nor does it know what a leader has under way.
//!
//! Left out: a lease, by which a leader could answer reads alone for a while. It would rest on clocks that run alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::{SEED_GIVEN_UP_AFTER, SEED_SILENCE_MAX};
use coterie_common::message::{ClusterId, SeedId};
use coterie_common::{Instant, Line, majority};

use crate::core::config::Config;
use crate::core::context::Context;
use crate::core::entry::{Body, SeedRecord};
use crate::core::formation::Founding;
use crate::core::progress::LogProgress;
use crate::core::registry::Registry;

/// The seeds as this one sees them.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    /// Not that of the configuration any more, once it took a seat.
    me: SeedId,
    /// All seeds, as the list names them; or, once this one has taken an id that a cluster keeps for it, as that
    /// cluster does.
    list: BTreeMap<SeedId, String>,
    /// Of which cluster this seed is, by its log; none while that is empty.
    cluster: Option<ClusterId>,
    /// The name of the cluster that this seed begins or takes part in.
    forms: Option<Founding>,
    /// None between two leaders, as far as is heard here.
    leader: Option<SeedId>,
    /// Whether there was a leader at any time since this seed started: before, what its own disk says may be old.
    was_led: bool,
    term: u64,
    /// The connected seeds. By this seed's own connections: who merely dialled it cannot be spoken to, and is not here.
    others: BTreeMap<SeedId, OtherSeed>,
    /// What seeds were called that are in no registry: not yet, or not any more.
    names: BTreeMap<SeedId, String>,
    progress: LogProgress,
    /// Whether a majority of the voters was available when that was looked at last; nothing before it was for once.
    had_quorum: Option<bool>,
    /// The term in which the founding was proposed. None also when it failed, and is to be proposed again.
    founded_in: Option<u64>,
}

/// A seed that is connected.
#[derive(Clone, Copy, Debug)]
struct OtherSeed {
    /// The number of its data directory.
    directory_id: u64,
    /// When it last said anything.
    heard: Instant,
    /// The last entry that it has and knows to be committed, as it said.
    committed: u64,
}

/// What the log's word of a leader changes. A leader that is lost and comes back within a term is told as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Election {
    /// Whether it is another term, and not merely another leader of the same.
    pub(crate) is_new_term: bool,
}

impl Leadership {
    /// Nothing is known of a leader yet.
    pub(crate) fn new(config: &Config, registry: &Registry) -> Self {
        Leadership {
            me: config.id,
            list: config.seeds.clone(),
            cluster: config.cluster.or(registry.cluster()),
            forms: None,
            leader: None,
            was_led: false,
            term: 0,
            others: BTreeMap::new(),
            names: BTreeMap::new(),
            progress: LogProgress::new(config.printed),
            had_quorum: None,
            founded_in: None,
        }
    }

    /// This seed.
    pub(crate) fn me(&self) -> SeedId {
        self.me
    }

    /// The cluster that this seed is of; none as long as nothing says so, not even its disk.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The leader, as far as this seed has heard.
    pub(crate) fn leader(&self) -> Option<SeedId> {
        self.leader
    }

    /// The latest term that the log told of, with a leader or without one; 0 before any.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// Whether this seed leads. The log says so only when an entry of this term is applied here. That it leads no
    /// longer is heard late, so what it proposes then is refused by the log, not here.
    pub(crate) fn leads(&self) -> bool {
        self.leader == Some(self.me)
    }

    /// Whether there was a leader since this seed started. Without one it tells no observer anything: a view never goes
    /// back, and that of its own disk may be older than one that the observer has.
    pub(crate) fn was_led(&self) -> bool {
        self.was_led
    }

    /// The connected seeds. This one is not among them.
    pub(crate) fn others(&self) -> Vec<SeedId> {
        self.others.keys().copied().collect()
    }

    /// The connected seeds that have been silent for too long.
    pub(crate) fn silent(&self, now: Instant) -> impl Iterator<Item = SeedId> + '_ {
        let is_silent = move |other: &OtherSeed| now.since(other.heard) >= SEED_GIVEN_UP_AFTER.get();
        self.others.iter().filter(move |(_, other)| is_silent(other)).map(|(seed, _)| *seed)
    }

    /// Whether a seed can take part in what is decided: it is connected and not silent, with the very directory that
    /// the log has for it. One that lost its directory may be connected too, and wait; it decides nothing.
    pub(crate) fn is_available(&self, now: Instant, registry: &Registry, seed: SeedId) -> bool {
        let takes_part = |other: &OtherSeed| {
            let is_the_recorded = registry.directory_id_of(seed) == Some(other.directory_id);
            is_the_recorded && now.since(other.heard) < SEED_SILENCE_MAX.get()
        };
        seed == self.me || self.others.get(&seed).is_some_and(takes_part)
    }

    /// Whether requests are answered: the cluster is founded and has a leader.
    pub(crate) fn is_ready(&self, registry: &Registry) -> bool {
        registry.cluster().is_some() && self.leader.is_some()
    }

    /// Whether it can have anything decided, for health checks: the leader and a majority are available, and this
    /// seed has what they decided. Of each set, where there are two. It is what an answer to a ping and a seed's status
    /// tell.
    pub(crate) fn takes_part(&self, now: Instant, registry: &Registry) -> bool {
        let of_set = |set: &BTreeSet<SeedId>| self.available(now, registry, set) >= majority(set.len());
        self.is_ready(registry)
            && self.leader.is_some_and(|leader| self.is_available(now, registry, leader))
            && registry.seed_sets().iter().all(of_set)
            && self.progress.lacks(now).is_none()
    }

    /// How many of these seeds can take part in what is decided.
    pub(crate) fn available(&self, now: Instant, registry: &Registry, seeds: &BTreeSet<SeedId>) -> usize {
        seeds.iter().filter(|seed| self.is_available(now, registry, **seed)).count()
    }

    /// A seed's name, for people: as the log has it, or else its own list.
    pub(crate) fn name(&self, registry: &Registry, seed: SeedId) -> String {
        let recorded = registry.seeds().get(&seed).map(|record| record.address.clone());
        let known = recorded.or_else(|| self.names.get(&seed).cloned());
        known.or_else(|| self.list.get(&seed).cloned()).unwrap_or_else(|| format!("seed {seed}"))
    }

    /// Whoever is a seed now keeps its name, also when it is none any more.
    pub(crate) fn learn_names(&mut self, registry: &Registry) {
        self.names.extend(registry.seeds().iter().map(|(id, record)| (*id, record.address.clone())));
    }

    /// Whether an entry was decided since this seed takes part.
    pub(crate) fn is_news(&self, index: u64) -> bool {
        self.progress.is_news(self.cluster, index)
    }

    // ---- what happens ----

    /// Another seed knows all of its cluster's log up to that index to be committed.
    pub(crate) fn learn_decided(&mut self, cluster: ClusterId, index: u64) {
        if !self.was_led {
            self.progress.learn_decided(cluster, index);
        }
    }

    /// This seed, whose log is empty, takes the id that a cluster keeps for it.
    pub(crate) fn take_id(&mut self, id: SeedId, list: BTreeMap<SeedId, String>) {
        assert!(!self.leads(), "a seed that leads takes the id {id}");
        assert!(list.contains_key(&id), "the seed takes the id {id}, which none of these has: {list:?}");
        (self.me, self.list) = (id, list);
        // Who went by that id was given it by an entry that was never committed.
        self.others.remove(&id);
    }

    /// This seed begins a cluster, together with others, or takes part in it.
    pub(crate) fn forms(&mut self, founding: Founding) {
        self.forms = Some(founding);
    }

    /// The log says which cluster this is; returns whether that was not known. It may be another than the disk named: a
    /// founding that was on it was never committed.
    #[must_use]
    pub(crate) fn learn_cluster(&mut self, cluster: ClusterId) -> bool {
        self.cluster.replace(cluster) != Some(cluster)
    }

    /// The log tells who leads, and in which term; none if that was known. The same may be told again, and must not
    /// count as an election: whatever is under way would be thrown away for nothing.
    #[must_use]
    pub(crate) fn follow(&mut self, leader: Option<SeedId>, term: u64) -> Option<Election> {
        assert!(term >= self.term, "the term went back from {} to {term}", self.term);
        if (self.leader, self.term) == (leader, term) {
            return None;
        }
        let is_new_term = self.term != term;
        (self.leader, self.term) = (leader, term);
        self.was_led |= leader.is_some();
        Some(Election { is_new_term })
    }

    /// Another seed is connected, with that data directory. One line, though it may be told twice. The directory is
    /// taken anew each time: who answers at that address may be another than before.
    pub(crate) fn seed_up(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        seed: SeedId,
        (directory_id, address): (u64, String),
    ) {
        if seed == self.me {
            // With an empty log this one goes by its rank in a list, or by a seat that was never committed.
            return cx.count("seeds_of_the_same_id");
        }
        self.names.insert(seed, address);
        let other = OtherSeed { directory_id, heard: cx.now, committed: 0 };
        if self.others.insert(seed, other).is_none() {
            cx.log(Line::new("SEED_CONNECTED").with("seed", self.name(registry, seed)));
        }
    }

    /// Another seed has said something.
    pub(crate) fn heard(&mut self, now: Instant, seed: SeedId) {
        if let Some(other) = self.others.get_mut(&seed) {
            other.heard = now;
        }
    }

    /// This seed stood still for so long: what others said meanwhile waits in its sockets.
    pub(crate) fn stood_still(&mut self, now: Instant, time: Duration) {
        self.others.values_mut().for_each(|other| other.heard = (other.heard + time).min(now));
    }

    /// Another seed has so much of the log, and knows it to be committed.
    pub(crate) fn has_committed(&mut self, seed: SeedId, index: u64) {
        if let Some(other) = self.others.get_mut(&seed) {
            other.committed = index.max(other.committed);
        }
    }

    /// Keeps when this seed could last have anything decided. Asked at each upkeep.
    pub(crate) fn note_taking_part(&mut self, now: Instant, registry: &Registry) {
        if self.takes_part(now, registry) {
            self.progress.takes_part(now);
        }
    }

    /// For how long this seed has not known what is decided; none while it takes part.
    pub(crate) fn as_of(&self, now: Instant, registry: &Registry) -> Option<Duration> {
        (!self.takes_part(now, registry)).then(|| self.progress.idle_for(now))
    }

    /// Whether this seed has what the leader has committed. Asked at each upkeep.
    pub(crate) fn note_progress(&mut self, now: Instant, registry: &Registry) {
        let committed = self.leader.and_then(|leader| self.others.get(&leader)).map_or(0, |o| o.committed);
        self.progress.note(now, registry.applied(), committed);
    }

    /// Another seed is connected no longer.
    pub(crate) fn seed_down(&mut self, cx: &mut Context, registry: &Registry, seed: SeedId) {
        // A majority that was there for less than the time between two looks can be lost, too.
        self.note_quorum(cx, registry);
        if self.others.remove(&seed).is_some() {
            cx.log(Line::new("SEED_LOST").with("seed", self.name(registry, seed)));
        }
    }

    /// Says when no majority is available any more, and when one is again. An election in between is neither: only
    /// who is there counts. Asked at each upkeep.
    pub(crate) fn note_quorum(&mut self, cx: &mut Context, registry: &Registry) {
        // Where there are two sets, the one that lacks more.
        let of_set =
            |set: &BTreeSet<SeedId>| (self.available(cx.now, registry, set), majority(set.len()), set.len());
        let spare = |(available, needed, _): &(usize, usize, usize)| *available as i64 - *needed as i64;
        let sets = registry.seed_sets().iter().map(of_set);
        let Some((available, needed, seeds)) = sets.min_by_key(spare) else { return };
        let has_quorum = available >= needed;
        let event = match (self.had_quorum, has_quorum) {
            // Before the first time there is nothing to be lost: LEADER tells of it.
            (None, false) | (Some(true), true) | (Some(false), false) => return,
            (None, true) => return self.had_quorum = Some(true),
            (Some(true), false) => "QUORUM_LOST",
            (Some(false), true) => "QUORUM",
        };
        self.had_quorum = Some(has_quorum);
        cx.log(Line::new(event).with("available", available).with("needed", needed).with("seeds", seeds));
    }

    /// What keeps this seed from its work, if anything does. Asked at each upkeep.
    pub(crate) fn note_troubles(&self, cx: &mut Context, registry: &Registry) {
        // Before there is a cluster, what it waits for is known to the shell.
        let undecided = registry.cluster().is_some().then(|| self.undecided(cx.now, registry)).flatten();
        cx.trouble("nothing can be decided here", undecided);
    }

    /// Why nothing can be decided, as this seed sees it; none where it can.
    fn undecided(&self, now: Instant, registry: &Registry) -> Option<String> {
        let lacks = |set: &BTreeSet<SeedId>| {
            let (available, needed) = (self.available(now, registry, set), majority(set.len()));
            let away = set.iter().filter(|seed| !self.is_available(now, registry, **seed));
            let away: Vec<String> = away.map(|seed| self.name(registry, *seed)).collect();
            (available < needed).then(|| {
                let (away, all) = (away.join(", "), set.len());
                format!("{available} of {all} voters take part, {needed} are needed; without {away}")
            })
        };
        if let Some(text) = registry.seed_sets().iter().find_map(lacks) {
            return Some(text);
        }
        let Some(leader) = self.leader else { return Some("no seed leads".to_owned()) };
        if !self.is_available(now, registry, leader) {
            return Some(format!("the leader, {}, does not answer", self.name(registry, leader)));
        }
        let late = self.progress.lacks(now)?;
        Some(format!("entry {late} is committed, and {} applied", registry.applied()))
    }

    // ---- what a leader proposes of its own accord ----

    /// The first leader's first entry, once a term: the cluster's name, and the seeds of its list with the directories
    /// that are known by now. Asked at each election, each batch of entries and each upkeep.
    pub(crate) fn found_if_first(&mut self, cx: &mut Context, registry: &Registry) {
        if !self.leads() || registry.cluster().is_some() {
            return;
        }
        // Nobody leads who was not told of which cluster.
        let Some(Founding { cluster, directories }) = &self.forms else { return };
        // Proposed in this term already: it is applied, or comes back as failed.
        if self.founded_in.replace(self.term) == Some(self.term) {
            return;
        }
        let own = directories.get(&self.me);
        assert!(own.is_none_or(|own| *own == cx.config.directory_id), "another directory began this cluster");
        let record = |(id, address): (&SeedId, &String)| {
            (*id, SeedRecord { address: address.clone(), directory_id: directories.get(id).copied() })
        };
        let seeds: BTreeMap<SeedId, SeedRecord> = self.list.iter().map(record).collect();
        cx.propose(Body::Found { cluster: *cluster, seeds });
    }

    /// The founding was not taken: it is proposed again.
    pub(crate) fn founding_failed(&mut self) {
        self.founded_in = None;
    }

    /// A seed that was late at the founding, or is new, may take part once its directory is in the log.
    ///
    /// Until then it is not sent the log. Asked at each upkeep, so an entry that is on its way may be proposed again;
    /// the second changes nothing.
    pub(crate) fn record_directories(&mut self, cx: &mut Context, registry: &Registry) {
        if !self.leads() {
            return;
        }
        let is_unrecorded =
            |id: &SeedId| registry.seeds().get(id).is_some_and(|record| record.directory_id.is_none());
        let own = [(self.me, cx.config.directory_id)];
        let known = self.others.iter().map(|(id, other)| (*id, other.directory_id)).chain(own);
        let late: Vec<(SeedId, u64)> = known.filter(|(id, _)| is_unrecorded(id)).collect();
        for (seed, directory_id) in late {
            cx.propose(Body::SeedDirectory { seed, directory_id });
        }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        assert!(self.leader.is_none() || self.term > 0, "{:?} leads before any election", self.leader);
        assert!(self.leader.is_none() || self.was_led, "{:?} leads, and none ever did", self.leader);
        assert!(!self.others.contains_key(&self.me), "seed {} is connected with itself", self.me);
    }
}
