//! The ballots about those who want to be members.
//!
//! ```text
//! asked seed          leader                      every seed
//!   | Register ---------> |  RegisterProposal ------> |  checks, then probes the joiner itself
//!   |                     |  <------------------ Vote |
//!   |                     |  Join in the log          |
//!   | <------------ Reply |                           |
//!   | waits until its own registry has the entry, then answers the session
//! ```
//!
//! A life is known by the number that it drew, so a request that comes twice, through one seed or two, joins the ballot
//! that is open, or is answered from the registry. What a ballot would replace is named in it: if somebody else came
//! first, it is held again about what is there now.
//!
//! Left out: a limit for each address. Sessions have one for what they may ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use coterie_common::limits::{BALLOT_TIME_MAX, BALLOTS_MAX, JOINERS_PROBED_MAX};
use coterie_common::message::{Answer, BallotId, Candidate, RegisterProposal, SeedId, Subject, VoteReply};
use coterie_common::{Address, Incarnation, Instant, Life, Refusal, Why};

use super::joiner_queue::{JoinerQueue, join};
use crate::core::ballot::{Ballot, BallotNumbers, Proposal, Verdict};
use crate::core::context::Context;
use crate::core::entry::Body;
use crate::core::registry::Registry;
use crate::core::request::RequestId;

/// The registrations that this leader conducts.
#[derive(Clone, Debug, Default)]
pub(super) struct Registrations {
    open: BTreeMap<BallotId, RegistrationBallot>,
    /// How many of them are not proposed yet: the seeds look at their joiners.
    asked: usize,
    queue: JoinerQueue,
    /// The ballot about each life: whoever asks again for one joins it.
    by_life: BTreeMap<(Address, Life), BallotId>,
    /// All ballots have the same time, so they end in the order of their opening. A ballot that is over stays here
    /// until its time comes: to search for it costs more than to find it gone.
    expiry: VecDeque<(Instant, BallotId)>,
}

#[derive(Clone, Debug)]
struct RegistrationBallot {
    joiner: Candidate,
    /// The incarnation at that address when it was opened, which would end with it.
    replaces: Incarnation,
    ballot: Ballot,
    /// Each once, though it may be asked again while the ballot is open.
    requests: Vec<RequestId>,
    /// From then on it has no end of its own: the log tells what came of it, or that it was not taken.
    is_proposed: bool,
}

impl RegistrationBallot {
    fn proposal(&self, registry: &Registry, ballot: BallotId) -> RegisterProposal {
        let RegistrationBallot { joiner, replaces, .. } = self;
        let (candidate, commit) = (joiner.clone(), registry.applied());
        RegisterProposal { ballot, candidate, replaces: *replaces, commit }
    }
}

/// What came of a request to be admitted.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A ballot about that life is open already, or will be. Its result is for these, too.
    Waits,
    /// It needs none: these are to be answered.
    Answered(Vec<RequestId>, Answer),
    /// The seeds are to vote on this.
    Proposed(RegisterProposal),
}

/// What came of a ballot.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It goes on, or is in the log's hands.
    Open,
    /// It is lost: these are to be told why.
    Lost(Vec<RequestId>, Refusal),
    /// What it was about has changed meanwhile: it is to be held again about what is now.
    Outdated(Candidate, Vec<RequestId>),
}

impl Registrations {
    /// Somebody wants to be admitted, for those who asked.
    #[must_use]
    pub(super) fn open(
        &mut self,
        cx: &Context,
        numbers: &mut BallotNumbers,
        registry: &Registry,
        joiner: Candidate,
        requests: Vec<RequestId>,
    ) -> Opened {
        let life = (joiner.address, joiner.life);
        if let Some(ballot) = self.by_life.get(&life).and_then(|id| self.open.get_mut(id)) {
            join(&mut ballot.requests, &requests);
            return Opened::Waits;
        }
        if let Some(answer) = known(registry, &joiner) {
            return Opened::Answered(requests, answer);
        }
        if self.queue.join(cx.now, life, &requests) {
            return Opened::Waits;
        }
        // After the question whether it is a member: that answer costs nothing, however much is under way.
        if self.len() >= BALLOTS_MAX.get() {
            let detail = format!("{BALLOTS_MAX} registrations are under way");
            return Opened::Answered(requests, Answer::Refused(Refusal::new(Why::Limit, detail)));
        }
        if self.has_room() && self.queue.len() == 0 {
            return Opened::Proposed(self.hold(cx, numbers.next(), registry, joiner, requests));
        }
        self.queue.push(cx.now, joiner, requests);
        Opened::Waits
    }

    /// The next that waited, once the seeds have room for another. It may be a member by now.
    #[must_use]
    pub(super) fn open_next(
        &mut self,
        cx: &Context,
        numbers: &mut BallotNumbers,
        registry: &Registry,
    ) -> Option<Opened> {
        let (joiner, requests) = if self.has_room() { self.queue.pop(cx.now)? } else { return None };
        Some(match known(registry, &joiner) {
            Some(answer) => Opened::Answered(requests, answer),
            None => Opened::Proposed(self.hold(cx, numbers.next(), registry, joiner, requests)),
        })
    }

    /// Whether the seeds can look at another joiner.
    fn has_room(&self) -> bool {
        self.asked < JOINERS_PROBED_MAX.get()
    }

    /// Opens the ballot. Among the sets of voters in force now.
    fn hold(
        &mut self,
        cx: &Context,
        id: BallotId,
        registry: &Registry,
        joiner: Candidate,
        requests: Vec<RequestId>,
    ) -> RegisterProposal {
        let replaces = registry.at(joiner.address).map_or(Incarnation::NONE, |member| member.id.incarnation);
        let ends = cx.now + cx.config.patience.scale(BALLOT_TIME_MAX.get());
        let ballot = Ballot::new(registry.seed_sets().to_vec(), ends);
        self.by_life.insert((joiner.address, joiner.life), id);
        let open = RegistrationBallot { joiner, replaces, ballot, requests, is_proposed: false };
        let proposal = open.proposal(registry, id);
        self.open.insert(id, open);
        self.asked += 1;
        self.expiry.push_back((ends, id));
        proposal
    }

    /// What that seed was asked to vote on and has not.
    pub(super) fn proposals_to(&self, registry: &Registry, seed: SeedId) -> Vec<Proposal> {
        let awaited = self.open.iter().filter(|(_, open)| !open.is_proposed && open.ballot.is_owed_by(seed));
        awaited.map(|(id, open)| Proposal::Registration(open.proposal(registry, *id))).collect()
    }

    /// A vote came. It counts if it is about that very life in that very ballot.
    #[must_use]
    pub(super) fn count(&mut self, cx: &mut Context, reply: VoteReply) -> Settled {
        let id = reply.vote.ballot;
        // The ballot may be over: a majority has decided it before the last seed voted.
        let Some(open) = self.open.get_mut(&id) else { return Settled::Open };
        let (address, life) = (open.joiner.address, open.joiner.life);
        let expected = Subject::Admission { address, life, replaces: open.replaces };
        if reply.vote.subject != expected || !open.ballot.vote(cx.now, reply) {
            cx.count("votes_out_of_place");
            return Settled::Open;
        }
        self.settle(cx, id)
    }

    /// Looks where a ballot stands; proposes the entry of one that is carried.
    #[must_use]
    pub(super) fn settle(&mut self, cx: &mut Context, id: BallotId) -> Settled {
        let Some(open) = self.open.get_mut(&id) else {
            // Its time is over, and it was decided before that.
            return Settled::Open;
        };
        if open.is_proposed {
            return Settled::Open;
        }
        match open.ballot.verdict(cx.now) {
            Verdict::Pending => Settled::Open,
            Verdict::Carried => {
                open.is_proposed = true;
                self.asked -= 1;
                let (candidate, replaces, votes) = (open.joiner.clone(), open.replaces, open.ballot.votes());
                cx.propose(Body::Join { ballot: id, candidate, replaces, votes });
                Settled::Open
            }
            // Another life came to that address meanwhile: nothing that the joiner could know or change, so it is not
            // told, and asked about anew.
            Verdict::Lost(refusal) if refusal.why == Why::Superseded => self.outdated(cx, id),
            // That nobody can tell is an answer, too: the joiner asks again by itself.
            Verdict::Lost(refusal) | Verdict::Undecided(refusal) => Settled::Lost(self.close(id), refusal),
        }
    }

    /// What the ballot was about has changed meanwhile, or its entry was not taken. The requests go with it into the
    /// next ballot.
    #[must_use]
    pub(super) fn outdated(&mut self, cx: &mut Context, id: BallotId) -> Settled {
        match self.take(id) {
            Some(RegistrationBallot { joiner, requests, .. }) => {
                cx.count("admissions_held_again");
                Settled::Outdated(joiner, requests)
            }
            None => Settled::Open,
        }
    }

    /// The ballot is over: who is to be told.
    pub(super) fn close(&mut self, id: BallotId) -> Vec<RequestId> {
        self.take(id).map(|ballot| ballot.requests).unwrap_or_default()
    }

    fn take(&mut self, id: BallotId) -> Option<RegistrationBallot> {
        // An entry may come back whose ballot another leader held, or an earlier term.
        let ballot = self.open.remove(&id)?;
        let named = self.by_life.remove(&(ballot.joiner.address, ballot.joiner.life));
        assert_eq!(named, Some(id), "the ballot about {}", ballot.joiner.address);
        self.asked -= usize::from(!ballot.is_proposed);
        Some(ballot)
    }

    /// The next ballot whose time is over, or that is over already. A ballot that is proposed is named, too: whoever
    /// settles it sees that the log has it.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<BallotId> {
        let (at, id) = self.expiry.front().copied()?;
        if at > now && self.open.contains_key(&id) {
            return None;
        }
        self.expiry.pop_front();
        Some(id)
    }

    /// How many are open, or wait.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.queue.len()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        let (open, lives) = (self.open.len(), self.by_life.len());
        assert_eq!(open, lives, "ballots, and the lives they are about");
        for (life, id) in &self.by_life {
            let joiner = self.open.get(id).map(|open| (open.joiner.address, open.joiner.life));
            assert_eq!(joiner, Some(*life), "ballot {id} about a life, and that life");
        }
        self.open.values().for_each(|open| open.ballot.verify());
        let asked = self.open.values().filter(|open| !open.is_proposed).count();
        assert_eq!(asked, self.asked, "ballots on which the seeds are to vote, and their count");
        self.queue.verify();
        let waiting = self.queue.len();
        assert!(
            waiting == 0 || !self.has_room(),
            "{waiting} joiners wait, and the seeds are asked about {asked}"
        );
        self.open.values().filter(|open| open.is_proposed).for_each(|open| open.ballot.assert_carried());
        let unasked = self.open.iter().find(|(_, open)| open.requests.is_empty());
        assert!(unasked.is_none(), "a ballot for which nobody asked: {unasked:?}");
        let expires: BTreeSet<BallotId> = self.expiry.iter().map(|(_, id)| *id).collect();
        let forgotten = self.open.iter().find(|(id, open)| !open.is_proposed && !expires.contains(id));
        assert!(forgotten.is_none(), "a ballot never ends: {forgotten:?}");
    }

    /// When the first ballot's time is over.
    pub(super) fn deadline(&self) -> Instant {
        self.expiry.front().map_or(Instant::NEVER, |(at, _)| *at)
    }
}

/// The answer for one that is a member already.
fn known(registry: &Registry, joiner: &Candidate) -> Option<Answer> {
    let member = registry.at(joiner.address).filter(|member| member.life == joiner.life)?;
    let incarnation = member.id.incarnation;
    Some(Answer::Admitted { incarnation, index: incarnation.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "ballots, and the lives they are about")]
    fn a_life_whose_ballot_is_gone_is_found() {
        let mut registrations = Registrations::default();
        registrations.verify();
        let life = (Address::new([127, 0, 0, 1].into(), 1), Life(7));
        registrations.by_life.insert(life, BallotId { term: 1, number: 1 });
        registrations.verify();
    }
}
