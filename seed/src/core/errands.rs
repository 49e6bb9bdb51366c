//! What sessions asked of this seed and the leader has to decide.
//!
//! The seed that was asked owns the retry: the same errand goes to the leader, and to the next leader, until it
//! is answered or its time is over. The leader does not remember errands of another term, and need not: asking
//! twice for the same life or the same death gives the same answer.

use std::collections::{BTreeMap, VecDeque};

use coterie_common::Instant;
use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::message::{Answer, Errand};

use super::effect::SessionId;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A session.
    Session(SessionId),
    /// Somebody within the process.
    Local(u64),
}

/// An errand that was not answered yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What was asked.
    pub errand: Errand,
    /// By whom.
    pub asker: Asker,
}

/// The errands under way.
#[derive(Clone, Debug, Default)]
pub struct Errands {
    last: u64,
    pending: BTreeMap<u64, Pending>,
    /// All errands have the same time, so they expire in the order of their making.
    expiry: VecDeque<(Instant, u64)>,
    /// Answers that wait until this seed has applied the entry they are about.
    answered: BTreeMap<(u64, u64), (Pending, Answer)>,
}

impl Errands {
    /// Numbers count from `last` on.
    pub fn starting_after(last: u64) -> Self {
        Errands { last, ..Errands::default() }
    }

    /// A new errand; returns its number.
    pub fn add(&mut self, now: Instant, errand: Errand, asker: Asker) -> u64 {
        self.last += 1;
        self.pending.insert(self.last, Pending { errand, asker });
        self.expiry.push_back((now + REGISTRATION_TIME_MAX, self.last));
        self.last
    }

    /// How many were not answered.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether all were answered.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// All that were not answered, to be sent to a new leader.
    pub fn unanswered(&self) -> impl Iterator<Item = (u64, &Errand)> {
        self.pending.iter().map(|(number, pending)| (*number, &pending.errand))
    }

    /// An answer came; it is due once `index` is applied.
    pub fn answered(&mut self, number: u64, index: u64, answer: Answer) {
        if let Some(pending) = self.pending.remove(&number) {
            self.answered.insert((index, number), (pending, answer));
        }
    }

    /// The answers that are due when `applied` is.
    pub fn due(&mut self, applied: u64) -> Vec<(Pending, Answer)> {
        let mut later = self.answered.split_off(&(applied + 1, 0));
        std::mem::swap(&mut later, &mut self.answered);
        later.into_values().collect()
    }

    /// Those whose time is over.
    pub fn expired(&mut self, now: Instant) -> Vec<Pending> {
        let mut over = Vec::new();
        while let Some((at, number)) = self.expiry.front().copied() {
            if self.pending.contains_key(&number) {
                if at > now {
                    break;
                }
                over.extend(self.pending.remove(&number));
            }
            self.expiry.pop_front();
        }
        over
    }

    /// When the next one's time is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.expiry.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Incarnation, MemberId};

    #[test]
    fn an_answer_is_due_when_its_entry_is_applied_and_comes_once() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut errands = Errands::default();
        let first = errands.add(Instant::START, Errand::Leave(id), Asker::Local(1));
        let second = errands.add(Instant::START, Errand::Leave(id), Asker::Local(2));
        errands.answered(first, 7, Answer::Recorded { index: 7 });
        errands.answered(first, 7, Answer::Recorded { index: 7 });
        assert_eq!(errands.unanswered().map(|(n, _)| n).collect::<Vec<_>>(), [second]);
        assert_eq!(errands.due(6).len(), 0);
        assert_eq!(errands.due(7).len(), 1);
        assert_eq!(errands.due(8).len(), 0);
        let over = errands.expired(Instant::START + REGISTRATION_TIME_MAX);
        assert_eq!(over.iter().map(|p| p.asker).collect::<Vec<_>>(), [Asker::Local(2)]);
    }
}
