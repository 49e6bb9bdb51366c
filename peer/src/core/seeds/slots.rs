//! The seeds that this peer knows: their names, a slot for each, and whom to ask first.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::SEEDS_MAX;
use coterie_common::{Instant, Line};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::session::{SessionState, Slot};
use crate::core::config::Config;
use crate::core::context::Context;
use crate::core::effect::SeedSlot;

/// The seeds of this peer's list, and those that were added since.
#[derive(Clone, Debug)]
pub(super) struct SeedSlots {
    /// As their lists spell them; those that were added later stand behind the others.
    pub(super) names: Vec<String>,
    /// So many of them, the first, are of this peer's own list.
    listed: usize,
    /// The entry of the log since which the seeds are those that this peer knows; 0 while they are those of its own
    /// list. It only rises.
    since: u64,
    /// One for each name. None is ever taken out, for a slot's place is its name.
    slots: Vec<Slot>,
    /// Whom to ask first. Drawn, so that the peers of a cluster spread over its seeds.
    ///
    /// Invariant: each slot, once.
    order: Vec<SeedSlot>,
    /// How long a seed may be silent.
    silence: Duration,
    /// How long this peer is silent at most, towards a seed that bears it.
    ping_interval: Duration,
}

/// Never more often than this does a peer ping, whatever a seed says that it bears.
const PING_INTERVAL_MIN: Knob<Duration> = Knob::new("PING_INTERVAL_MIN", Duration::from_millis(50));

/// Who has to speak on a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Overdue {
    /// The seed, and it did not: the session is given up.
    Seed,
    /// This peer. Its ping, or any other frame, tells the seed that it is there.
    Peer,
}

impl SeedSlots {
    /// No session yet with any of these. Each may be `silent` so long.
    pub(super) fn new(config: &Config, silence: Duration, rng: &mut impl Rng) -> Self {
        let names = config.seeds.clone();
        let mut order: Vec<SeedSlot> = (0..names.len()).map(SeedSlot).collect();
        order.shuffle(rng);
        let (listed, slots) = (names.len(), vec![Slot::new(); names.len()]);
        SeedSlots { names, listed, since: 0, slots, order, silence, ping_interval: config.ping_interval }
    }

    /// A seed bears so long a silence.
    pub(super) fn bears(&mut self, seed: SeedSlot, limit: Duration) {
        self.get_mut(seed).bears = limit;
    }

    fn ping_intervals(&self) -> Vec<Duration> {
        self.slots.iter().map(|slot| self.ping_interval(slot)).collect()
    }

    /// How long this peer may be silent towards a seed. Two pings may be lost, and the seed still hears of it in time,
    /// and so does it of the seed, which answers.
    fn ping_interval(&self, slot: &Slot) -> Duration {
        let borne = self.silence.min(slot.bears) / 3;
        self.ping_interval.min(borne).max(PING_INTERVAL_MIN.get())
    }

    /// The slot of a seed.
    pub(super) fn get(&self, seed: SeedSlot) -> &Slot {
        &self.slots[seed.0]
    }

    /// The slot of a seed, to be changed.
    pub(super) fn get_mut(&mut self, seed: SeedSlot) -> &mut Slot {
        &mut self.slots[seed.0]
    }

    /// All slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    /// The seeds in force.
    pub(super) fn in_use(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        (0..self.slots.len()).map(SeedSlot).filter(|seed| self.get(*seed).is_in_use)
    }

    /// The seeds of this peer's own list.
    pub(super) fn listed(&self) -> Vec<SeedSlot> {
        (0..self.listed).map(SeedSlot).collect()
    }

    /// The list of another log is in force no more: this peer's own is again.
    pub(super) fn begin_anew(&mut self) {
        self.since = 0;
        for (place, slot) in self.slots.iter_mut().enumerate() {
            slot.is_in_use = place < self.listed;
        }
    }

    /// The seeds whose session is as asked for, in the order of this peer's preference.
    pub(super) fn that_are(&self, is: fn(SessionState) -> bool) -> impl Iterator<Item = SeedSlot> + '_ {
        self.order.iter().copied().filter(move |seed| is(self.get(*seed).state))
    }

    /// This peer stood still for so long: no seed's silence counts for that time.
    pub(super) fn stood_still(&mut self, now: Instant, time: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.stood_still(now, time));
    }

    /// Whether one that knows this member was heard within the time of two pings.
    pub(super) fn is_any_heard(&self, now: Instant) -> bool {
        let is_heard = |slot: &Slot| match slot.state {
            SessionState::Up { heard, introduced: true, .. } => now < heard + 2 * self.ping_interval(slot),
            SessionState::Up { .. } | SessionState::Opening | SessionState::Down => false,
        };
        self.slots.iter().any(is_heard)
    }

    /// These are the seeds since that entry; returns those whose sessions are to be closed. None if that is not newer
    /// than what is known: one that lags behind may tell an older list after the newer one.
    pub(super) fn follow(&mut self, cx: &mut Context, since: u64, seeds: &[String]) -> Option<Vec<SeedSlot>> {
        if seeds.is_empty() || seeds.len() > SEEDS_MAX {
            cx.count("session_frames_out_of_place");
            return None;
        }
        if since <= self.since {
            return None;
        }
        // Names that are known keep their slots and their sessions.
        self.since = since;
        cx.count("seeds_changed");
        let before: Vec<SeedSlot> = self.in_use().collect();
        for name in seeds {
            if !self.names.contains(name) {
                self.names.push(name.clone());
                self.add_slot(&mut cx.rng);
            }
        }
        let mut left = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            slot.is_in_use = seeds.contains(&self.names[place]);
            if !slot.is_in_use && !slot.is_down() {
                left.push(SeedSlot(place));
            }
        }
        // The first list is mostly the one that this peer was started with: no news.
        if self.in_use().collect::<Vec<_>>() != before {
            cx.log(Line::new("SEEDS").with("seeds", seeds.join(",")));
        }
        Some(left)
    }

    /// There is another seed: it takes any place in the order, so that not all peers ask it last.
    fn add_slot(&mut self, rng: &mut impl Rng) {
        let slot = SeedSlot(self.slots.len());
        self.slots.push(Slot::new());
        self.order.insert(rng.random_range(0..=self.order.len()), slot);
    }

    /// Another is asked first from now on. Sessions that are open stay so; only the order changes.
    pub(super) fn prefer_others(&mut self, seed: SeedSlot) {
        self.order.retain(|other| *other != seed);
        self.order.push(seed);
    }

    /// Whether another session may be opened with a seed, where so many are wanted. Those with former seeds take no
    /// place of one in force, for these come first again.
    ///
    /// Nor do those that do not say of which cluster they are: they wait to be let into one, and are of no use.
    fn has_room(&self, now: Instant, slot: &Slot, wanted: usize) -> bool {
        let counts = |other: &&Slot| {
            !other.is_down() && !other.is_without_cluster(now) && (other.is_in_use || !slot.is_in_use)
        };
        self.slots.iter().filter(counts).count() < wanted
    }

    /// Whether none of the seeds in force answers: each was lost, or could not be reached. Then those of older lists
    /// are asked, too. The list in force may be that of a moment: the seeds have changed since, and who could tell of
    /// it is none of those that it names.
    pub(super) fn nobody_answers(&self) -> bool {
        self.in_use().all(|seed| self.get(seed).is_unanswered)
    }

    /// The seeds of older lists whose sessions have done their work: those in force answer.
    pub(super) fn former_to_leave(&self) -> Vec<SeedSlot> {
        let is_up = |seed: &SeedSlot| matches!(self.get(*seed).state, SessionState::Up { .. });
        match self.nobody_answers() {
            true => Vec::new(),
            false => {
                let former = (0..self.slots.len()).map(SeedSlot).filter(|seed| !self.get(*seed).is_in_use);
                former.filter(is_up).collect()
            }
        }
    }

    /// Whether a seed may be asked at all.
    fn may_open(&self, slot: &Slot) -> bool {
        slot.is_down() && (slot.is_in_use || self.nobody_answers())
    }

    /// As many as are missing, in the order of preference; they count as being opened from now on. Sessions that are
    /// being opened count as busy, so a seed that is slow to accept does not make this peer dial all the others.
    pub(super) fn open_missing(&mut self, now: Instant, wanted: usize) -> Vec<SeedSlot> {
        let mut opened = Vec::new();
        // Those in force first; among them, and among the former ones, by preference.
        let mut order = self.order.clone();
        order.sort_by_key(|seed| !self.get(*seed).is_in_use);
        for seed in order {
            let slot = self.get(seed);
            if self.has_room(now, slot, wanted) && self.may_open(slot) && now >= slot.not_before {
                self.get_mut(seed).state = SessionState::Opening;
                opened.push(seed);
            }
        }
        opened
    }

    /// The sessions on which somebody was silent for too long, and those to be pinged, which count as pinged.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(SeedSlot, Overdue)> {
        let mut overdue = Vec::new();
        let (silence, intervals) = (self.silence, self.ping_intervals());
        for (place, (slot, ping_interval)) in self.slots.iter_mut().zip(intervals).enumerate() {
            if let SessionState::Up { heard, pinged, .. } = &mut slot.state {
                // A session that is given up needs no ping any more.
                if now >= *heard + silence {
                    overdue.push((SeedSlot(place), Overdue::Seed));
                } else if pinged.is_none_or(|at| now >= at + ping_interval) {
                    *pinged = Some(now);
                    overdue.push((SeedSlot(place), Overdue::Peer));
                }
            }
        }
        overdue
    }

    /// When a session falls due to be opened, pinged or given up, where so many are wanted.
    pub(super) fn deadline(&self, now: Instant, wanted: usize) -> Instant {
        let of_slot = |slot: &Slot| match slot.state {
            SessionState::Down if self.has_room(now, slot, wanted) && self.may_open(slot) => slot.not_before,
            SessionState::Down | SessionState::Opening => Instant::NEVER,
            SessionState::Up { heard, pinged, .. } => {
                let ping = pinged.map_or(Instant::START, |at| at + self.ping_interval(slot));
                (heard + self.silence).min(ping).min(slot.greets_until(now))
            }
        };
        self.slots.iter().map(of_slot).min().unwrap_or(Instant::NEVER)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        assert_eq!(self.names.len(), self.slots.len(), "each name has a slot");
        let mut order = self.order.clone();
        order.sort_unstable();
        let all: Vec<SeedSlot> = (0..self.slots.len()).map(SeedSlot).collect();
        assert_eq!(order, all, "the order names each slot once");
        assert!(self.in_use().next().is_some(), "no seed is in force: {:?}", self.names);
    }
}
