//! What every step of a peer needs, whatever it is about.
//!
//! The time of the step, the options, chance, the counters and the list of what is to be done are one value, owned by
//! the peer and lent to one room after the other. Rooms never keep it: what they know of the world they are
//! told anew by each call. (etcd's raft does the same: its messages gather in the node, and `Ready` takes them.)
//!
//! Weighed and left out: the effects as a parameter of every function. It says no more than the type of the context
//! does, and each signature would pass it on.

use std::collections::BTreeMap;

use coterie_common::message::CloseReason;
use coterie_common::{Address, Chance, Instant, Line, Message, Secret, Timestamp, Troubles};
use rand::RngExt;

use crate::core::config::Config;
use crate::core::effect::{ConnectionId, Effect};

/// The context of a step.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The time of this step; between steps, that of the last one, from which deadlines are reckoned.
    pub(crate) now: Instant,
    /// Where this peer listens.
    pub(crate) me: Address,
    /// What it was told before it started; never written.
    pub(crate) config: Config,
    /// Everything that is left to chance is drawn from here, so one seed fixes a run.
    pub(crate) rng: Chance,
    /// What was counted, by name. Ordered, so that whoever prints them prints them alike.
    pub(crate) counters: BTreeMap<&'static str, u64>,
    /// What is wrong, as this node sees it. Nothing is decided by it.
    pub(crate) troubles: Troubles,
    /// What is to be done, in order. Private: it is appended to by the verbs below and taken by the step.
    effects: Vec<Effect>,
}

impl Context {
    /// The context of a peer that has not started.
    pub(crate) fn new(me: Address, config: Config, seed: [u8; 32]) -> Self {
        Context {
            now: Instant::START,
            me,
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

    /// The step is over: what is to be done. Each is taken once: the next step asserts that none was left.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Wants something done. It is done after the step, and after what was wanted before it.
    pub(crate) fn want(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Writes a line to the log.
    pub(crate) fn log(&mut self, line: Line) {
        self.want(Effect::Log(line));
    }

    /// Says something on a connection. Whether it arrives is not known; a connection that cannot take it ends, and
    /// the shell says so.
    pub(crate) fn send(&mut self, to: ConnectionId, message: Message) {
        self.want(Effect::Send { to, message });
    }

    /// Says why, and closes a connection. The reason goes first, so that the other end can tell this from a death: a
    /// connection that ends without a word starts a suspicion there.
    pub(crate) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.send(connection, Message::Close(reason));
        self.want(Effect::Close(connection));
    }

    /// Warns the operator. For what a person can change or should know. What merely happens often is counted instead.
    pub(crate) fn warn(&mut self, text: String) {
        self.want(Effect::Warn(text));
    }

    /// This is wrong now, and `why`; or it is not. It is said when it has lasted, and when it is over.
    pub(crate) fn trouble(&mut self, what: &str, why: Option<String>) {
        self.troubles.note(self.now, what, why);
    }

    /// Says of what is wrong what is to be said by now.
    pub(crate) fn say_troubles(&mut self) {
        for text in self.troubles.news(self.now) {
            self.warn(text);
        }
    }

    /// Counts something that is worth knowing how often it happens. The names are literals, so no remote can make the
    /// table grow.
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_insert(0) += 1;
    }

    /// The secret of a new life.
    pub(crate) fn draw_secret(&mut self) -> Secret {
        Secret(self.rng.random())
    }

    /// The time of day at a moment of this process, for what people read. Reckoned from the start of the process, not
    /// read: a clock that is set back meanwhile changes nothing here.
    pub(crate) fn wall(&self, at: Instant) -> Timestamp {
        self.config.started.after(at.since(Instant::START))
    }
}
