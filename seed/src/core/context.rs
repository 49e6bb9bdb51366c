//! What every step of a seed needs, whatever it is about.
//!
//! The time of the step, the options, chance, the counters and the list of what is to be done are one value, owned by
//! the seed and lent to one room after the other. Rooms never keep it.
//!
//! Weighed and left out: a context that borrows from the seed for one step. It could not stand beside a mutable borrow
//! of the room that it is lent to. (etcd's raft keeps its messages in the same way, until `Ready` takes them.)

use std::collections::BTreeMap;

use coterie_common::message::{MeshMessage, SeedId};
use coterie_common::{Chance, Instant, Line, Timestamp, Troubles};

use crate::core::config::Config;
use crate::core::effect::Effect;
use crate::core::entry::{Body, Entry};

/// The context of a step.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The time of this step; between steps, that of the last one, from which deadlines are reckoned. One time for the
    /// whole step: whatever happens in it happens at once.
    pub(crate) now: Instant,
    /// What it was told before it started; never written.
    pub(crate) config: Config,
    /// Everything that is left to chance is drawn from here, so one seed fixes a run.
    pub(crate) rng: Chance,
    /// What was counted, by name. Nothing is decided by them.
    pub(crate) counters: BTreeMap<&'static str, u64>,
    /// What is wrong, as this node sees it. Nothing is decided by it.
    pub(crate) troubles: Troubles,
    /// What is to be done, in order. Private: it is appended to by the verbs below and taken by the step.
    effects: Vec<Effect>,
}

impl Context {
    /// The context of a seed that has not taken a step.
    pub(crate) fn new(config: Config, seed: [u8; 32]) -> Self {
        Context {
            now: Instant::START,
            config,
            rng: Chance::new(seed),
            counters: BTreeMap::new(),
            troubles: Troubles::default(),
            effects: Vec::new(),
        }
    }

    /// A step begins.
    ///
    /// # Panics
    /// If time has gone back, or if what the last step wanted done was not taken: both are faults of the caller, after
    /// which no deadline and no order of effects could be trusted.
    pub(crate) fn begin(&mut self, now: Instant) {
        assert!(now >= self.now, "time has gone back from {:?} to {now:?}", self.now);
        assert!(self.effects.is_empty(), "{} effects of the last step were not taken", self.effects.len());
        self.now = now;
    }

    /// The step is over: what is to be done. `leads`: whether this seed leads.
    ///
    /// # Panics
    /// If a seed that does not lead wants something in the log: only a leader's registry is as new as all that was ever
    /// committed, so only it may judge what comes next.
    pub(crate) fn take_effects(&mut self, leads: bool) -> Vec<Effect> {
        let proposes = |effect: &&Effect| matches!(effect, Effect::Propose(_) | Effect::ChangeVoters(_));
        let proposed = self.effects.iter().find(proposes);
        assert!(leads || proposed.is_none(), "a seed that does not lead wants {proposed:?}");
        std::mem::take(&mut self.effects)
    }

    /// Wants something done. Effects are performed in the order in which they were wanted; entries for the log are
    /// gathered meanwhile, and appended together.
    pub(crate) fn want(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Writes a line to the log.
    pub(crate) fn log(&mut self, line: Line) {
        self.want(Effect::Log(line));
    }

    /// Says something to another seed, if it is connected. What is said to one that is not is lost. So whoever waits
    /// for an answer asks again (`forwarding`), or both ends say it again when they are connected anew (a ballot).
    pub(crate) fn tell_seed(&mut self, to: SeedId, message: MeshMessage) {
        self.want(Effect::ToSeed { to, message });
    }

    /// Wants an entry in the replicated log. What came of it is told later, as a commit or as a proposal that failed;
    /// nothing may be taken for granted until then.
    pub(crate) fn propose(&mut self, body: Body) {
        self.want(Effect::Propose(Entry::new(body)));
    }

    /// This is wrong now, and `why`; or it is not. It is said when it has lasted, and when it is over.
    pub(crate) fn trouble(&mut self, what: &str, why: Option<String>) {
        self.troubles.note(self.now, what, why);
    }

    /// Says of what is wrong what is to be said by now.
    pub(crate) fn say_troubles(&mut self) {
        for text in self.troubles.news(self.now) {
            self.want(Effect::Warn(text));
        }
    }

    /// Counts something that is worth knowing how often it happens.
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_insert(0) += 1;
    }

    /// The time of day of this step, for what people read. Reckoned from the start of the process, so it does not jump
    /// when somebody sets the clock. Nothing is decided by it.
    pub(crate) fn wall(&self) -> Timestamp {
        self.config.started.after(self.now.since(Instant::START))
    }
}
