//! Those in the same process who wait for an answer.

use std::collections::BTreeMap;

use coterie_common::message::Answer;
use tokio::sync::oneshot;

/// All of them.
#[derive(Default)]
pub(super) struct Callers {
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    last: u64,
}

impl Callers {
    /// Somebody waits; returns the number under which the core answers.
    pub(super) fn add(&mut self, reply: oneshot::Sender<Answer>) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, reply);
        self.last
    }

    /// The core has answered.
    pub(super) fn answer(&mut self, request: u64, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&request) {
            // Who waits no longer needs no answer.
            let _ = reply.send(answer);
        }
    }
}
