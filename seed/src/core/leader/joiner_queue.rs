//! Joiners that wait until the seeds have looked at others.
//!
//! Thousands may ask at once, as after a power cut. Were the seeds asked about all of them, each would look at others
//! first, no ballot would be decided in its time, and all would ask again: the more work, the less would be done. So
//! they are asked about as many as they can look at, and who came first comes first. Who was asked about already, and
//! is asked about anew since another life came to its address, comes last again.

use std::collections::{BTreeMap, VecDeque};

use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::message::Candidate;
use coterie_common::{Address, Instant, Life};

use crate::core::request::RequestId;

/// Who waits, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinerQueue {
    order: VecDeque<(Address, Life)>,
    waiting: BTreeMap<(Address, Life), Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    joiner: Candidate,
    /// Each once, though it may be asked again.
    requests: Vec<RequestId>,
    /// By then nobody waits for the answer any more, unless it is asked again.
    until: Instant,
}

impl JoinerQueue {
    /// Another one waits.
    pub(super) fn push(&mut self, now: Instant, joiner: Candidate, requests: Vec<RequestId>) {
        let life = (joiner.address, joiner.life);
        let waiting = Waiting { joiner, requests, until: now + REGISTRATION_TIME_MAX.get() };
        let before = self.waiting.insert(life, waiting);
        assert!(before.is_none(), "{} waits already", life.0);
        self.order.push_back(life);
    }

    /// It is asked again for one that waits: false, if it does not. It keeps its place, and its time begins anew.
    pub(super) fn join(&mut self, now: Instant, life: (Address, Life), requests: &[RequestId]) -> bool {
        let Some(waiting) = self.waiting.get_mut(&life) else { return false };
        join(&mut waiting.requests, requests);
        waiting.until = now + REGISTRATION_TIME_MAX.get();
        true
    }

    /// The first for whose answer somebody still waits.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Candidate, Vec<RequestId>)> {
        loop {
            let waiting = self.waiting.remove(&self.order.pop_front()?);
            if let Some(Waiting { joiner, requests, .. }) = waiting.filter(|waiting| now < waiting.until) {
                return Some((joiner, requests));
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        assert_eq!(self.order.len(), self.waiting.len(), "joiners in order, and joiners that wait");
        let lost = self.order.iter().find(|life| !self.waiting.contains_key(life));
        assert!(lost.is_none(), "a joiner has a place and does not wait: {lost:?}");
    }
}

/// Others ask for the same, or the same again: each is answered once.
pub(super) fn join(own: &mut Vec<RequestId>, others: &[RequestId]) {
    own.extend_from_slice(others);
    own.sort_unstable();
    own.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::message::SeedId;
    use coterie_common::{Tags, Wire};

    fn joiner(port: u16) -> Candidate {
        let address = Address::new([127, 0, 0, 1].into(), port);
        Candidate { address, life: Life(1), wire: Wire::Native, tags: Tags::new() }
    }

    fn request(number: u64) -> RequestId {
        RequestId { seed: SeedId(0), number }
    }

    #[test]
    fn who_came_first_comes_first_and_who_asks_again_keeps_its_place() {
        let mut queue = JoinerQueue::default();
        queue.push(Instant::START, joiner(1), vec![request(1)]);
        queue.push(Instant::START, joiner(2), vec![request(2)]);
        let first = (joiner(1).address, Life(1));
        assert!(queue.join(Instant::START, first, &[request(3), request(1)]));
        assert!(!queue.join(Instant::START, (joiner(3).address, Life(1)), &[request(4)]));
        queue.verify();
        assert_eq!(queue.pop(Instant::START), Some((joiner(1), vec![request(1), request(3)])));
        assert_eq!(queue.pop(Instant::START), Some((joiner(2), vec![request(2)])));
        assert_eq!(queue.pop(Instant::START), None);
    }

    #[test]
    fn whose_time_is_over_is_passed_over() {
        let mut queue = JoinerQueue::default();
        queue.push(Instant::START, joiner(1), vec![request(1)]);
        let later = Instant::START + REGISTRATION_TIME_MAX.get();
        queue.push(later, joiner(2), vec![request(2)]);
        assert_eq!(queue.pop(later), Some((joiner(2), vec![request(2)])));
        assert_eq!(queue.len(), 0);
    }
}
