//! Sessions with seeds, and the registration over one of them.
//!
//! A peer keeps sessions with floor(n/2)+1 seeds, drawn at random; another takes the place of one that is down. So
//! every two peers share a seed, and any seed that is up knows of every peer by way of the others. One of the
//! sessions carries the registration. Which seeds have sessions says nothing about who is a member: that stands in
//! the log.
//!
//! A session with every seed is not needed for that, and each seed would have to hold all members.
//!
//! *Owns.* The list of the seeds in force and its number, one slot for each with its session, the order of preference,
//! and the registration under way.
//!
//! *May read.* The context.
//!
//! *Never.* Says who is a member, or what a seed's message means: routes do that.

mod registration;
mod session;

use std::time::Duration;

use coterie_common::limits::{JOIN_SETTLES, SEEDS_MAX, SESSION_SILENCE_MAX};
use coterie_common::message::{CloseReason, SessionMessage};
use coterie_common::{Instant, Message, majority};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use registration::RegistrationAttempt;
use session::{SessionState, Slot};

use crate::core::config::Config;
use crate::core::context::Context;
use crate::core::effect::{Effect, SeedSlot};

/// The seeds as this peer sees them.
#[derive(Clone, Debug)]
pub(crate) struct SeedSessions {
    /// The names of the seeds, as their lists spell them; those that were added later stand behind the others.
    names: Vec<String>,
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
    /// How long this peer may be silent towards a seed.
    ping_interval: Duration,
    /// Invariant: under way only at a seed whose session is open.
    registration: RegistrationAttempt,
}

/// Who has to speak on a session.
#[derive(Clone, Copy, Debug)]
enum Overdue {
    /// The seed, and it did not: the session is given up.
    Seed,
    /// This peer. Its ping, or any other frame, tells the seed that it is there.
    Peer,
}

impl SeedSessions {
    /// No session yet with any of the seeds of the list.
    pub(crate) fn new(config: &Config, rng: &mut impl Rng) -> Self {
        let count = config.seeds.len();
        let mut order: Vec<SeedSlot> = (0..count).map(SeedSlot).collect();
        order.shuffle(rng);
        let silence = config.patience.scale(SESSION_SILENCE_MAX);
        SeedSessions {
            names: config.seeds.clone(),
            since: 0,
            slots: vec![Slot::new(); count],
            order,
            silence,
            // Two pings may be lost, and the seed still hears of this peer in time.
            ping_interval: config.ping_interval.min(silence / 3),
            registration: RegistrationAttempt::new(),
        }
    }

    // ---- who they are ----

    /// The name of a seed.
    pub(crate) fn name_of(&self, seed: SeedSlot) -> &str {
        &self.names[seed.0]
    }

    /// How many sessions are wanted: a majority of those that are seeds now.
    pub(crate) fn quorum(&self) -> usize {
        majority(self.slots.iter().filter(|slot| slot.is_in_use).count())
    }

    /// A seed told who the seeds are since that entry. Of two lists the later one counts, whichever seed told it: one
    /// that lags behind may tell an older list after the newer one.
    pub(crate) fn follow_list(&mut self, cx: &mut Context, since: u64, seeds: &[String]) {
        if since <= self.since {
            // Told by another seed already, or older than what is known.
            return;
        }
        if seeds.is_empty() || seeds.len() > SEEDS_MAX {
            // No cluster has such a list. The one in force stays.
            return cx.count("session_frames_out_of_place");
        }
        // Names that are known keep their slots and their sessions.
        self.since = since;
        for name in seeds {
            if !self.names.contains(name) {
                self.names.push(name.clone());
                self.add_slot(&mut cx.rng);
            }
        }
        for slot in (0..self.names.len()).map(SeedSlot) {
            let is_seed = seeds.contains(&self.names[slot.0]);
            if self.set_in_use(slot, is_seed) {
                self.tell(cx, slot, Message::Close(CloseReason::ShuttingDown));
                cx.want(Effect::CloseSession(slot));
                self.lost(cx, slot);
            }
        }
        cx.count("seeds_changed");
    }

    /// There is another seed: it takes any place in the order, so that not all peers ask it last.
    fn add_slot(&mut self, rng: &mut impl Rng) {
        let slot = SeedSlot(self.slots.len());
        self.slots.push(Slot::new());
        self.order.insert(rng.random_range(0..=self.order.len()), slot);
    }

    /// Whether that one is a seed now; returns whether its session is to be closed.
    fn set_in_use(&mut self, seed: SeedSlot, is_in_use: bool) -> bool {
        let slot = &mut self.slots[seed.0];
        slot.is_in_use = is_in_use;
        !is_in_use && !slot.is_down()
    }

    // ---- sessions ----

    /// A session was opened. A new session counts as heard, so that a seed has the whole time to say its first word.
    pub(crate) fn opened(&mut self, cx: &Context, seed: SeedSlot) {
        self.slots[seed.0].state = SessionState::Up { heard: cx.now, said: cx.now, introduced: false };
    }

    /// A session could not be opened, or broke; the registration that it carried is over. Another seed may be asked
    /// at once.
    pub(crate) fn lost(&mut self, cx: &mut Context, seed: SeedSlot) {
        self.slots[seed.0].lost(cx.now, cx.rng.random());
        self.registration.end_at(seed);
    }

    /// A frame came from a seed.
    pub(crate) fn heard(&mut self, cx: &Context, seed: SeedSlot) {
        self.slots[seed.0].heard(cx.now);
    }

    /// Closes a session that the seed has closed, or that is of no use.
    pub(crate) fn close(&mut self, cx: &mut Context, seed: SeedSlot) {
        cx.want(Effect::CloseSession(seed));
        self.lost(cx, seed);
    }

    /// Says something to a seed. It counts as having spoken, so a session on which much is said carries no pings.
    pub(crate) fn tell(&mut self, cx: &mut Context, seed: SeedSlot, message: Message) {
        if let SessionState::Up { said, .. } = &mut self.slots[seed.0].state {
            *said = cx.now;
        }
        cx.want(Effect::Tell { seed, message });
    }

    /// Says the same to every seed that knows which member this is. There may be none: hints and links are then told
    /// to nobody, and nobody waits for it.
    pub(crate) fn tell_all(&mut self, cx: &mut Context, message: &SessionMessage) {
        for seed in self.introduced().collect::<Vec<_>>() {
            self.tell(cx, seed, Message::Session(message.clone()));
        }
    }

    /// Says something to one seed that knows this member, to another one at each `turn`. There must be one.
    pub(crate) fn tell_in_turn(&mut self, cx: &mut Context, turn: usize, message: SessionMessage) {
        let seeds: Vec<SeedSlot> = self.introduced().collect();
        assert!(!seeds.is_empty(), "no seed knows this member, so {message:?} can be told to none");
        self.tell(cx, seeds[turn % seeds.len()], Message::Session(message));
    }

    /// The seeds with open sessions, in the order of this peer's preference. Among them are those that do not know
    /// this member: who joins has no others.
    pub(crate) fn open(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        self.order.iter().copied().filter(|s| matches!(self.slots[s.0].state, SessionState::Up { .. }))
    }

    /// The seeds that know which member this is.
    pub(crate) fn introduced(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        let is = |s: &SeedSlot| matches!(self.slots[s.0].state, SessionState::Up { introduced: true, .. });
        self.order.iter().copied().filter(is)
    }

    /// The seeds with open sessions that do not. A list, for whoever asks introduces itself while it goes through
    /// them.
    pub(crate) fn strangers(&self) -> Vec<SeedSlot> {
        let is = |s: &SeedSlot| matches!(self.slots[s.0].state, SessionState::Up { introduced: false, .. });
        self.order.iter().copied().filter(is).collect()
    }

    /// A seed was told which member this is.
    pub(crate) fn introduce(&mut self, seed: SeedSlot) {
        if let SessionState::Up { introduced, .. } = &mut self.slots[seed.0].state {
            *introduced = true;
        }
    }

    /// This peer is somebody else now, or nobody: no seed knows which. A registration that is under way was asked for
    /// by somebody who is no more.
    pub(crate) fn forget_introductions(&mut self) {
        for slot in &mut self.slots {
            if let SessionState::Up { introduced, .. } = &mut slot.state {
                *introduced = false;
            }
        }
        self.registration.end();
    }

    /// Whether the peer has as many sessions as it wants, or has waited long enough since it was admitted.
    pub(crate) fn is_settled(&self, now: Instant, admitted: Instant) -> bool {
        self.introduced().count() >= self.quorum() || now >= admitted + JOIN_SETTLES
    }

    /// Ends all sessions in order: this peer is about to end. The slots are left as they are, for nothing is looked
    /// at after the end.
    pub(crate) fn say_goodbye(&self, cx: &mut Context) {
        for seed in self.open() {
            cx.want(Effect::Tell { seed, message: Message::Close(CloseReason::ShuttingDown) });
            cx.want(Effect::CloseSession(seed));
        }
    }

    // ---- the registration ----

    /// Which seed to send a registration to now, if one is due. The next falls due when its time is over. None as
    /// well while no session is open: the one that opens first brings it about.
    #[must_use]
    pub(crate) fn registration_due(&mut self, cx: &Context) -> Option<SeedSlot> {
        // It did not answer in all that time: a seed that hangs is not to be asked twice in a row.
        if let Some(seed) = self.registration.expired(cx.now) {
            self.prefer_others(seed);
        }
        if !self.registration.may_begin(cx.now) {
            return None;
        }
        let seed = self.open().next()?;
        self.registration.begin(cx.now, seed);
        Some(seed)
    }

    /// That seed could not have anything decided: another is asked first from now on. Sessions that are open stay so;
    /// only the order changes.
    pub(crate) fn prefer_others(&mut self, seed: SeedSlot) {
        self.order.retain(|other| *other != seed);
        self.order.push(seed);
    }

    /// The registration was answered; returns whether one was under way there. An answer that nobody waits for any
    /// more is no answer: that attempt was given up.
    #[must_use]
    pub(crate) fn registration_answered(&mut self, seed: SeedSlot) -> bool {
        self.registration.end_at(seed)
    }

    /// The next registration is to wait: the last one was refused.
    pub(crate) fn ask_later(&mut self, cx: &mut Context) {
        self.registration.refused(cx.now, cx.rng.random());
    }

    /// The next registration is to wait until then: this peer was declared dead.
    pub(crate) fn ask_after(&mut self, at: Instant) {
        self.registration.wait_until(at);
    }

    /// The registration succeeded, at a seed that knows this member from now on.
    pub(crate) fn admitted(&mut self, seed: SeedSlot) {
        self.registration.granted();
        self.introduce(seed);
    }

    // ---- time ----

    /// Opens, pings and gives up what is due.
    pub(crate) fn settle(&mut self, cx: &mut Context) {
        let overdue = self.overdue(cx.now);
        // Sessions that are about to be given up still count here: others take their places at the next step.
        let opened = self.open_missing(cx.now);
        for (seed, overdue) in overdue {
            match overdue {
                Overdue::Seed => self.close(cx, seed),
                Overdue::Peer => cx.want(Effect::Tell { seed, message: Message::Ping { nonce: 1 } }),
            }
        }
        for seed in opened {
            let address = self.name_of(seed).to_owned();
            cx.want(Effect::OpenSession { seed, address });
        }
        self.leave_former_seeds(cx);
    }

    /// A session with a seed of an older list has done its work once one of those in force answers.
    fn leave_former_seeds(&mut self, cx: &mut Context) {
        if self.nobody_answers() {
            return;
        }
        for slot in (0..self.slots.len()).map(SeedSlot) {
            let former = &self.slots[slot.0];
            if !former.is_in_use && matches!(former.state, SessionState::Up { .. }) {
                self.tell(cx, slot, Message::Close(CloseReason::ShuttingDown));
                self.close(cx, slot);
            }
        }
    }

    /// Whether none of the seeds in force answers: each was lost, or could not be reached. Then those of older lists
    /// are asked, too. The list in force may be that of a moment: the seeds have changed since, and who could tell of
    /// it is none of those that it names.
    fn nobody_answers(&self) -> bool {
        self.slots.iter().filter(|slot| slot.is_in_use).all(|slot| slot.is_unanswered)
    }

    /// Whether a seed may be asked at all.
    fn may_open(&self, slot: &Slot) -> bool {
        slot.is_down() && (slot.is_in_use || self.nobody_answers())
    }

    /// The sessions on which somebody was silent for too long. Where it was this peer, it counts as having spoken now.
    fn overdue(&mut self, now: Instant) -> Vec<(SeedSlot, Overdue)> {
        let mut overdue = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let SessionState::Up { heard, said, .. } = &mut slot.state {
                // A session that is given up needs no ping any more.
                if now >= *heard + self.silence {
                    overdue.push((SeedSlot(place), Overdue::Seed));
                } else if now >= *said + self.ping_interval {
                    *said = now;
                    overdue.push((SeedSlot(place), Overdue::Peer));
                }
            }
        }
        overdue
    }

    /// As many as are missing, in the order of preference; they count as being opened from now on. Sessions that are
    /// being opened count as busy, so a seed that is slow to accept does not make this peer dial all the others.
    fn open_missing(&mut self, now: Instant) -> Vec<SeedSlot> {
        let wanted = self.quorum();
        let mut opened = Vec::new();
        // Those in force first; among them, and among the former ones, by preference.
        let mut order = self.order.clone();
        order.sort_by_key(|seed| !self.slots[seed.0].is_in_use);
        for seed in order {
            let busy = self.busy();
            let slot = &self.slots[seed.0];
            if busy < wanted && self.may_open(slot) && now >= slot.not_before {
                self.slots[seed.0].state = SessionState::Opening;
                opened.push(seed);
            }
        }
        opened
    }

    /// How many sessions are open or being opened.
    fn busy(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.is_down()).count()
    }

    /// When something is due, for a peer that still has to register or does not.
    pub(crate) fn deadline(&self, has_to_register: bool) -> Instant {
        let is_missing = self.busy() < self.quorum();
        let of_slot = |slot: &Slot| match slot.state {
            SessionState::Down if is_missing && self.may_open(slot) => slot.not_before,
            SessionState::Down | SessionState::Opening => Instant::NEVER,
            SessionState::Up { heard, said, .. } => (heard + self.silence).min(said + self.ping_interval),
        };
        let sessions = self.slots.iter().map(of_slot).min().unwrap_or(Instant::NEVER);
        match has_to_register {
            true => sessions.min(self.registration.deadline(self.open().next().is_some())),
            false => sessions,
        }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        assert_eq!(self.names.len(), self.slots.len(), "each name has a slot");
        let mut order = self.order.clone();
        order.sort_unstable();
        let all: Vec<SeedSlot> = (0..self.slots.len()).map(SeedSlot).collect();
        assert_eq!(order, all, "the order names each slot once");
        if let Some(seed) = self.registration.at() {
            let is_open = matches!(self.slots[seed.0].state, SessionState::Up { .. });
            assert!(is_open, "a registration is under way at {seed:?}, whose session is not open");
        }
    }
}

#[cfg(test)]
mod tests;
