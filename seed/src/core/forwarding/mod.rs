//! Requests of sessions that the leader has to decide: sent to it, asked again, answered.
//!
//! The seed that was asked owns the retry: the same request goes to the leader, and to the next leader, until it is
//! answered or its time is over. The leader does not remember requests of another term, and need not: asking twice for
//! the same life or the same death gives the same answer.
//!
//! *Owns.* The requests that wait for a leader, the answers that wait until their entry is applied here, and requests
//! of other seeds that came before this seed knew that it leads.
//!
//! *May read.* The context, and the names of requests.
//!
//! *Never.* Decides anything, or knows who leads: it is told where to send.
//!
//! Raft's thesis (chapter 6) has clients number their commands, and servers remember the last of each, so that none is
//! carried out twice. Nothing has to be remembered here: a life is admitted once and ends once, whoever asks again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use coterie_common::Instant;
use coterie_common::knob::Knob;
use coterie_common::limits::{BALLOTS_MAX, FORWARDED_MAX, REGISTRATION_TIME_MAX};
use coterie_common::message::{Answer, ForwardedRequest};

use crate::core::effect::SessionId;
use crate::core::request::RequestId;

/// How often what is unanswered is sent again: it, or its answer, may have been lost with a connection. A guess; asking
/// again does no harm.
const RESEND_EVERY: Knob<Duration> = Knob::new("RESEND_EVERY", Duration::from_secs(1));

/// Who waits here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A session.
    Session(SessionId),
    /// Somebody within the process. Its number is of the shell's giving.
    Local(u64),
}

/// A request that was not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequest {
    /// What is asked.
    pub(crate) forwarded: ForwardedRequest,
    /// By whom.
    pub(crate) caller: Caller,
}

/// The requests under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwarding {
    /// The number of the last one. Begins at random, so that an answer to an earlier run of this seed names none of
    /// this one's.
    last: u64,
    /// In the order of their making, in which they are also sent again.
    pending: BTreeMap<u64, PendingRequest>,
    /// All requests have the same time, so they expire in the order of their making.
    ///
    /// Invariant: each that is pending stands here.
    expiry: VecDeque<(Instant, u64)>,
    /// Answers that wait until this seed has applied the entry they are about: by its index, and their own number.
    answered: BTreeMap<(u64, u64), (PendingRequest, Answer)>,
    /// Requests of seeds that heard sooner than this one that it leads.
    early: Vec<(Instant, RequestId, ForwardedRequest)>,
    /// One time for all, so a young request may be sent again early, which does no harm.
    resend_next: Instant,
}

impl Forwarding {
    /// Numbers count from `last` on.
    pub(crate) fn starting_after(last: u64) -> Self {
        Forwarding { last, ..Forwarding::default() }
    }

    /// Whether no more can be kept. To be asked before `add`. What waits for its entry is not counted: the leader has
    /// decided it.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= FORWARDED_MAX.get()
    }

    /// A new request; returns its number. It is not sent by this: whoever adds it sends it.
    pub(crate) fn add(&mut self, now: Instant, forwarded: ForwardedRequest, caller: Caller) -> u64 {
        assert!(!self.is_full(), "a request beyond the {FORWARDED_MAX} that are kept");
        self.last += 1;
        self.pending.insert(self.last, PendingRequest { forwarded, caller });
        self.expiry.push_back((now + REGISTRATION_TIME_MAX.get(), self.last));
        self.last
    }

    /// All that were not answered, to be sent to the leader.
    pub(crate) fn unanswered(&self) -> Vec<(u64, ForwardedRequest)> {
        self.pending.iter().map(|(number, request)| (*number, request.forwarded.clone())).collect()
    }

    /// Whether it is time to send again what was not answered; the next time is later.
    #[must_use]
    pub(crate) fn resend_is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.resend_next;
        if is_due {
            self.resend_next = now + RESEND_EVERY.get();
        }
        is_due
    }

    /// An answer came; it is due once `index` is applied. The second answer to one request is none. Nor is one that
    /// comes when the time is over.
    pub(crate) fn answered(&mut self, number: u64, index: u64, answer: Answer) {
        if let Some(request) = self.pending.remove(&number) {
            self.answered.insert((index, number), (request, answer));
        }
    }

    /// The answers that are due when `applied` is. By index first, so that sessions hear of entries in the order of the
    /// log.
    pub(crate) fn due(&mut self, applied: u64) -> Vec<(PendingRequest, Answer)> {
        let later = self.answered.split_off(&(applied + 1, 0));
        std::mem::replace(&mut self.answered, later).into_values().collect()
    }

    /// What these sessions asked is not asked any more, and what was answered is not told.
    pub(crate) fn drop_requests_of(&mut self, sessions: &BTreeSet<SessionId>) {
        let is_theirs = |request: &PendingRequest| match request.caller {
            Caller::Session(session) => sessions.contains(&session),
            Caller::Local(_) => false,
        };
        self.pending.retain(|_, request| !is_theirs(request));
        self.answered.retain(|_, (request, _)| !is_theirs(request));
    }

    /// Those whose time is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<PendingRequest> {
        let mut over = Vec::new();
        while let Some((at, number)) = self.expiry.front().copied() {
            // One that is answered stands here until it comes to the front.
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

    // ---- of other seeds ----

    /// A request came to a seed that does not know yet that it leads. It is kept for a while; its owner asks again
    /// anyway.
    pub(crate) fn keep_early(&mut self, now: Instant, request: RequestId, forwarded: ForwardedRequest) {
        // What finds no room is dropped: its owner sends it again within a second.
        if self.early.len() < BALLOTS_MAX.get() {
            self.early.push((now, request, forwarded));
        }
    }

    /// This seed leads: what came too early is taken up. In the order in which they came; one that was asked again is
    /// among them twice.
    pub(crate) fn take_early(&mut self) -> Vec<(RequestId, ForwardedRequest)> {
        std::mem::take(&mut self.early)
            .into_iter()
            .map(|(_, request, forwarded)| (request, forwarded))
            .collect()
    }

    /// What came too early and is too old by now is forgotten.
    pub(crate) fn expire_early(&mut self, now: Instant) {
        self.early.retain(|(at, ..)| now.since(*at) < REGISTRATION_TIME_MAX.get());
    }

    /// When the next one's time is over. It may be one that is answered by now: then nothing is done.
    pub(crate) fn deadline(&self) -> Instant {
        self.expiry.front().map_or(Instant::NEVER, |(at, _)| *at)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, applied: u64) {
        let (pending, early) = (self.pending.len(), self.early.len());
        assert!(pending <= FORWARDED_MAX.get(), "{pending} requests, {FORWARDED_MAX} are the most");
        assert!(early <= BALLOTS_MAX.get(), "{early} requests that came early, {BALLOTS_MAX} are the most");
        let late = self.answered.keys().find(|(index, _)| *index <= applied);
        assert!(late.is_none(), "answer {late:?} waits, and entry {applied} is applied");
        let expire: BTreeSet<u64> = self.expiry.iter().map(|(_, number)| *number).collect();
        let forgotten = self.pending.keys().find(|number| !expire.contains(number));
        assert!(forgotten.is_none(), "request {forgotten:?} waits and never expires");
        assert!(self.expiry.iter().is_sorted(), "requests expire in another order than that of their making");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::message::SeedId;
    use coterie_common::{Address, Incarnation, MemberId};

    #[test]
    fn an_answer_is_due_when_its_entry_is_applied_and_comes_once() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut forwarding = Forwarding::starting_after(41);
        let first = forwarding.add(Instant::START, ForwardedRequest::Leave(id), Caller::Local(1));
        let second = forwarding.add(Instant::START, ForwardedRequest::Leave(id), Caller::Local(2));
        assert_eq!((first, second), (42, 43), "none that a former run has given");
        forwarding.answered(first, 7, Answer::Recorded { index: 7 });
        forwarding.answered(first, 7, Answer::Recorded { index: 7 });
        assert_eq!(forwarding.unanswered().into_iter().map(|(n, _)| n).collect::<Vec<_>>(), [second]);
        assert_eq!(forwarding.due(6).len(), 0);
        assert_eq!(forwarding.due(7).len(), 1);
        assert_eq!(forwarding.due(8).len(), 0);
        let over = forwarding.expired(Instant::START + REGISTRATION_TIME_MAX.get());
        assert_eq!(over.iter().map(|p| p.caller).collect::<Vec<_>>(), [Caller::Local(2)]);
    }

    #[test]
    fn what_came_too_early_is_kept_for_as_long_as_a_registration_may_take() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut forwarding = Forwarding::default();
        let request = RequestId { seed: SeedId(1), number: 4 };
        let early = |forwarding: &mut Forwarding, at| {
            forwarding.keep_early(Instant::START, request, ForwardedRequest::Leave(id));
            forwarding.expire_early(at);
            forwarding.take_early().len()
        };
        let limit = Instant::START + REGISTRATION_TIME_MAX.get();
        assert_eq!(early(&mut forwarding, Instant::from_nanos(limit.as_nanos() - 1)), 1);
        assert_eq!(early(&mut forwarding, limit), 0);
    }

    #[test]
    #[should_panic(expected = "waits and never expires")]
    fn a_request_that_would_wait_for_ever_is_found() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut forwarding = Forwarding::default();
        forwarding.add(Instant::START, ForwardedRequest::Leave(id), Caller::Local(1));
        forwarding.verify(0);
        forwarding.expiry.clear();
        forwarding.verify(0);
    }
}
