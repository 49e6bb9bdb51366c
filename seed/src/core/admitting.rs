//! Registrations: at the seed that was asked, at the leader that conducts the ballot, at every voter.
//!
//! ```text
//! asked seed          leader                      every seed
//!   | Errand ---------> |  RegisterProposal ------> |  checks, then probes the candidate itself
//!   |                   |  <------------------ Vote |
//!   |                   |  Join in the log          |
//!   | <----------- Done |                           |
//!   | waits until its own registry has the entry, then answers the session
//! ```

use std::collections::{BTreeMap, VecDeque};

use coterie_common::limits::{BALLOT_TIME_MAX, BALLOTS_MAX};
use coterie_common::message::{
    Answer, BallotId, Candidate, Errand, MeshMessage, RegisterProposal, SeedId, Subject, VoteReply,
};
use coterie_common::{Address, Incarnation, Instant, Life, Refusal, Why};

use super::Seed;
use super::ballot::{Ballot, Standing};
use super::effect::Effect;
use super::entry::{Applied, Body, Entry};

/// An errand as the leader knows it: the seed that owns it, and its number there.
pub(super) type Owner = (SeedId, u64);

/// The registrations that this leader conducts.
#[derive(Clone, Debug, Default)]
pub(super) struct Admissions {
    open: BTreeMap<BallotId, Admission>,
    by_life: BTreeMap<(Address, Life), BallotId>,
    /// All ballots have the same time, so they end in the order of their opening.
    expiry: VecDeque<(Instant, BallotId)>,
}

#[derive(Clone, Debug)]
struct Admission {
    candidate: Candidate,
    replaces: Incarnation,
    ballot: Ballot,
    owners: Vec<Owner>,
    proposed: bool,
}

impl Admissions {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiry.front().map(|(at, _)| *at)
    }

    fn close(&mut self, id: BallotId) -> Option<Admission> {
        let admission = self.open.remove(&id)?;
        self.by_life.remove(&(admission.candidate.address, admission.candidate.life));
        Some(admission)
    }
}

impl Seed {
    pub(super) fn on_errand(&mut self, now: Instant, owner: Owner, errand: Errand, out: &mut Vec<Effect>) {
        if !self.leads() || self.registry.cluster().is_none() {
            // Its owner may have heard of the new leader sooner than the leader itself.
            if self.early.len() < BALLOTS_MAX {
                self.early.push((now, owner, errand));
            }
            return self.count("errands_before_leading");
        }
        match errand {
            Errand::Register(candidate) => self.open_admission(now, candidate, vec![owner], out),
            Errand::Leave(member) => self.open_leave(member, owner, out),
            Errand::Report { report, reporter } => self.judge_report(now, owner, report, reporter, out),
            Errand::Seeds(change) => self.open_seed_change(change, owner, out),
        }
    }

    /// Tells the owner of an errand what came of it.
    pub(super) fn done(&mut self, (seed, number): Owner, answer: Answer, out: &mut Vec<Effect>) {
        if seed == self.config.id {
            self.on_done(number, answer, out);
        } else {
            out.push(Effect::ToSeed { to: seed, message: MeshMessage::Done { number, answer } });
        }
    }

    fn open_admission(
        &mut self,
        now: Instant,
        candidate: Candidate,
        owners: Vec<Owner>,
        out: &mut Vec<Effect>,
    ) {
        let key = (candidate.address, candidate.life);
        if let Some(admission) =
            self.admissions.by_life.get(&key).and_then(|id| self.admissions.open.get_mut(id))
        {
            admission.owners.extend(owners);
            admission.owners.sort_unstable();
            admission.owners.dedup();
            return;
        }
        let answer = match self.registry.at(candidate.address) {
            Some(member) if member.life == candidate.life => {
                let incarnation = member.id.incarnation;
                Some(Answer::Admitted { incarnation, index: incarnation.0 })
            }
            _ if self.admissions.open.len() >= BALLOTS_MAX => {
                let detail = format!("{BALLOTS_MAX} registrations are under way");
                Some(Answer::Refused(Refusal::new(Why::Limit, detail)))
            }
            Some(_) | None => None,
        };
        if let Some(answer) = answer {
            owners.into_iter().for_each(|owner| self.done(owner, answer.clone(), out));
            return;
        }
        self.propose_admission(now, candidate, owners, out);
    }

    fn propose_admission(
        &mut self,
        now: Instant,
        candidate: Candidate,
        owners: Vec<Owner>,
        out: &mut Vec<Effect>,
    ) {
        let id = self.next_ballot();
        let replaces = self.registry.at(candidate.address).map_or(Incarnation::NONE, |m| m.id.incarnation);
        let proposal = RegisterProposal {
            ballot: id,
            candidate: candidate.clone(),
            replaces,
            commit: self.registry.applied(),
        };
        let ends = now + self.config.patience.scale(BALLOT_TIME_MAX);
        let ballot = Ballot::new(self.registry.seed_sets().to_vec(), ends);
        self.admissions.by_life.insert((candidate.address, candidate.life), id);
        self.admissions.open.insert(id, Admission { candidate, replaces, ballot, owners, proposed: false });
        self.admissions.expiry.push_back((ends, id));
        for seed in self.voters() {
            let message = MeshMessage::RegisterProposal(proposal.clone());
            if seed == self.config.id {
                self.on_proposal(now, seed, message, out);
            } else {
                out.push(Effect::ToSeed { to: seed, message });
            }
        }
    }

    pub(super) fn count_admission_vote(&mut self, now: Instant, reply: VoteReply, out: &mut Vec<Effect>) {
        let id = reply.vote.ballot;
        let Some(admission) = self.admissions.open.get_mut(&id) else { return };
        let (address, life) = (admission.candidate.address, admission.candidate.life);
        let expected = Subject::Admission { address, life, replaces: admission.replaces };
        if reply.vote.subject != expected || !admission.ballot.vote(now, reply) {
            return self.count("votes_out_of_place");
        }
        self.settle_admission(now, id, out);
    }

    fn settle_admission(&mut self, now: Instant, id: BallotId, out: &mut Vec<Effect>) {
        let Some(admission) = self.admissions.open.get_mut(&id) else { return };
        if admission.proposed {
            return;
        }
        match admission.ballot.standing(now) {
            Standing::Pending => {}
            Standing::Carried => {
                admission.proposed = true;
                let body = Body::Join {
                    ballot: id,
                    candidate: admission.candidate.clone(),
                    replaces: admission.replaces,
                    votes: admission.ballot.votes(),
                };
                out.push(Effect::Propose(Entry::new(body)));
            }
            Standing::Lost(refusal) if refusal.why == Why::Superseded => self.hold_again(now, id, out),
            Standing::Lost(refusal) => {
                let owners = self.admissions.close(id).map(|a| a.owners).unwrap_or_default();
                owners.into_iter().for_each(|owner| self.done(owner, Answer::Refused(refusal.clone()), out));
            }
        }
    }

    /// What the ballot was about has changed meanwhile: it is held again about what is now.
    fn hold_again(&mut self, now: Instant, id: BallotId, out: &mut Vec<Effect>) {
        if let Some(admission) = self.admissions.close(id) {
            self.count("admissions_held_again");
            self.open_admission(now, admission.candidate, admission.owners, out);
        }
    }

    pub(super) fn settle_admissions(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some((at, id)) = self.admissions.expiry.front().copied() {
            if at > now && self.admissions.open.contains_key(&id) {
                return;
            }
            self.admissions.expiry.pop_front();
            self.settle_admission(now, id, out);
        }
    }

    /// The log has decided about a candidate.
    pub(super) fn admission_applied(
        &mut self,
        now: Instant,
        (ballot, index): (BallotId, u64),
        applied: &Applied,
        out: &mut Vec<Effect>,
    ) {
        let answer = match applied {
            Applied::Joined(incarnation) | Applied::Known(incarnation) => {
                Answer::Admitted { incarnation: *incarnation, index }
            }
            Applied::Refused(refusal) if refusal.why == Why::Superseded => {
                return self.hold_again(now, ballot, out);
            }
            Applied::Refused(refusal) => Answer::Refused(refusal.clone()),
            Applied::Founded
            | Applied::SeedBorn
            | Applied::SeedAdded(_)
            | Applied::SeedRemoved
            | Applied::Left
            | Applied::Died { .. } => return,
        };
        let owners = self.admissions.close(ballot).map(|a| a.owners).unwrap_or_default();
        owners.into_iter().for_each(|owner| self.done(owner, answer.clone(), out));
    }

    pub(super) fn admission_failed(&mut self, now: Instant, ballot: BallotId, out: &mut Vec<Effect>) {
        self.hold_again(now, ballot, out);
    }

    pub(super) fn forget_admissions(&mut self) {
        self.admissions = Admissions::default();
    }
}
