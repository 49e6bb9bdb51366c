//! The demonstration's own messages: so many, one every so often, to show that gossip works.
//!
//! Only a member speaks. A removal does not begin the count again: so many are said by one process, in whatever
//! lives.

use bytes::Bytes;
use coterie_common::Instant;

use crate::core::context::Context;

/// How many messages there are to be, how many were said, and when the next one is due.
#[derive(Clone, Debug)]
pub(crate) struct Demo {
    total: u64,
    said: u64,
    /// None until it was asked for the first time, as a member.
    next: Option<Instant>,
}

impl Demo {
    /// So many messages are to be said.
    pub(crate) fn new(total: u64) -> Self {
        Demo { total, said: 0, next: None }
    }

    fn is_over(&self) -> bool {
        self.said >= self.total
    }

    /// The words that a member is to say now, if it is time. The first are due one interval after it became a member.
    /// What it returns counts as said.
    pub(crate) fn due(&mut self, cx: &Context) -> Option<Bytes> {
        if self.is_over() {
            return None;
        }
        let interval = cx.config.message_interval;
        let next = *self.next.get_or_insert(cx.now + interval);
        if cx.now < next {
            return None;
        }
        self.said += 1;
        // From now and not from when it was due: a peer that stood still does not make up for it with a burst.
        self.next = Some(next.max(cx.now) + interval);
        // Whoever reads the log sees from the words alone when they were said, by whom, and which they were.
        let (time, number) = (cx.wall(cx.now).as_secs_f64(), self.said);
        Some(Bytes::from(format!("{time:.6}:{}:{number}", cx.me.ip())))
    }

    /// When a member has something to say. Far away before it was asked whether something is due: the step that makes
    /// it a member asks.
    pub(crate) fn deadline(&self) -> Instant {
        self.next.filter(|_| !self.is_over()).unwrap_or(Instant::NEVER)
    }
}
