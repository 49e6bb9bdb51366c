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

use coterie_common::limits::{BALLOT_TIME_MAX, BALLOTS_MAX, PROBE_SPACING_MIN, TAG_BYTES_MAX};
use coterie_common::message::{
    Answer, BallotId, Candidate, Errand, MeshMessage, RegisterProposal, SeedId, Subject, Vote, VoteReply,
};
use coterie_common::{
    Address, Finding, HostEvidence, Incarnation, Instant, Life, Line, ProbeOrder, Refusal, Why, Wire,
};

use super::ballot::{Ballot, Standing};
use super::effect::Effect;
use super::entry::{Applied, Body, Entry};
use super::errands::Asker;
use super::probes::{Found, Target, Waiting};
use super::{Seed, log};

/// An errand as the leader knows it: the seed that owns it, and its number there.
pub(super) type Owner = (SeedId, u64);

/// The registrations that this leader conducts.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    open: BTreeMap<BallotId, Admission>,
    by_life: BTreeMap<(Address, Life), BallotId>,
    /// All ballots have the same time, so they end in the order of their opening.
    expiry: VecDeque<(Instant, BallotId)>,
}

#[derive(Debug)]
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
    // ---- the seed that was asked ----

    /// Sends an errand to the leader, or keeps it until there is one.
    pub(super) fn run_errand(&mut self, now: Instant, errand: Errand, asker: Asker, out: &mut Vec<Effect>) {
        let number = self.errands.add(now, errand.clone(), asker);
        self.send_errand(now, number, errand, out);
    }

    fn send_errand(&mut self, now: Instant, number: u64, errand: Errand, out: &mut Vec<Effect>) {
        match self.leader {
            _ if !self.is_ready() => {}
            Some(leader) if leader != self.config.id => {
                out.push(Effect::ToSeed { to: leader, message: MeshMessage::Errand { number, errand } });
            }
            Some(own) => self.on_errand(now, (own, number), errand, out),
            None => {}
        }
    }

    /// There is a leader to ask: what was not answered yet is asked again.
    pub(super) fn resend_errands(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for (owner, errand) in std::mem::take(&mut self.early) {
            self.on_errand(now, owner, errand, out);
        }
        let all: Vec<(u64, Errand)> = self.errands.unanswered().map(|(n, e)| (n, e.clone())).collect();
        for (number, errand) in all {
            self.send_errand(now, number, errand, out);
        }
    }

    pub(super) fn on_done(&mut self, number: u64, answer: Answer, out: &mut Vec<Effect>) {
        let index = match &answer {
            Answer::Admitted { index, .. } | Answer::Recorded { index } => *index,
            Answer::Refused(_) => 0,
        };
        self.errands.answered(number, index, answer);
        self.deliver_answers(out);
    }

    /// Passes on the answers whose entries are applied here.
    pub(super) fn deliver_answers(&mut self, out: &mut Vec<Effect>) {
        for (pending, answer) in self.errands.due(self.registry.applied()) {
            self.answer(pending, answer, out);
        }
    }

    pub(super) fn expire_errands(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for pending in self.errands.expired(now) {
            let detail = "no leader with a majority of the seeds answered within 10 s";
            self.answer(pending, Answer::Refused(Refusal::new(Why::NoQuorum, detail)), out);
        }
    }

    pub(super) fn register_local(
        &mut self,
        now: Instant,
        request: u64,
        candidate: Candidate,
        out: &mut Vec<Effect>,
    ) {
        log(out, Line::new("REGISTER_REQUEST").with("peer", candidate.address));
        self.run_errand(now, Errand::Register(candidate), Asker::Local(request), out);
    }

    // ---- the leader ----

    pub(super) fn on_errand(&mut self, now: Instant, owner: Owner, errand: Errand, out: &mut Vec<Effect>) {
        if !self.leads() || self.registry.cluster().is_none() {
            // Its owner may have heard of the new leader sooner than the leader itself.
            if self.early.len() < BALLOTS_MAX {
                self.early.push((owner, errand));
            }
            return self.count("errands_before_leading");
        }
        match errand {
            Errand::Register(candidate) => self.open_admission(now, candidate, vec![owner], out),
            Errand::Leave(member) => self.open_leave(member, owner, out),
            Errand::Report { report, reporter } => self.judge_report(now, owner, report, reporter, out),
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

    fn count_admission_vote(&mut self, now: Instant, reply: VoteReply, out: &mut Vec<Effect>) {
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
            Applied::Founded | Applied::SeedBorn | Applied::Left | Applied::Died { .. } => return,
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

    // ---- every voter ----

    /// The leader asks for this seed's vote. It votes by a registry that is at least as new as the leader's.
    pub(super) fn on_proposal(
        &mut self,
        now: Instant,
        from: SeedId,
        message: MeshMessage,
        out: &mut Vec<Effect>,
    ) {
        match &message {
            MeshMessage::RegisterProposal(p) => {
                log(
                    out,
                    self.proposal_line("REGISTER_PROPOSAL", p.ballot, from, ("peer", p.candidate.address)),
                );
            }
            MeshMessage::DeathProposal(p) => {
                log(out, self.proposal_line("DEAD_PROPOSAL", p.ballot, from, ("dead", p.dead.address)));
            }
            MeshMessage::Hello(_)
            | MeshMessage::Errand { .. }
            | MeshMessage::Done { .. }
            | MeshMessage::Vote(_)
            | MeshMessage::Raft { .. }
            | MeshMessage::RaftReply { .. }
            | MeshMessage::Soft(_)
            | MeshMessage::Relay { .. } => return,
        }
        self.consider_when_reached(now, from, message, out);
    }

    /// Votes now, or when this registry has reached the index that the leader's had.
    pub(super) fn consider_when_reached(
        &mut self,
        now: Instant,
        from: SeedId,
        message: MeshMessage,
        out: &mut Vec<Effect>,
    ) {
        let applied = self.registry.applied();
        match message {
            MeshMessage::RegisterProposal(p) if p.commit <= applied => {
                self.consider_admission(now, from, p, out);
            }
            MeshMessage::DeathProposal(p) if p.commit <= applied => self.consider_death(now, from, p, out),
            _ if self.ahead.len() < BALLOTS_MAX => self.ahead.push((from, message)),
            _ => self.count("proposals_over_limit"),
        }
    }

    fn proposal_line(
        &self,
        event: &'static str,
        ballot: BallotId,
        from: SeedId,
        who: (&'static str, Address),
    ) -> Line {
        Line::new(event).show("ballot", ballot).with(who.0, who.1).with("proposer", self.name(from))
    }

    /// Cheap checks first, then the candidate is probed.
    fn consider_admission(
        &mut self,
        now: Instant,
        from: SeedId,
        proposal: RegisterProposal,
        out: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.check_candidate(&proposal) {
            let nothing = Found { finding: Finding::CannotProbe, host: HostEvidence::Unknown, ended: now };
            return self.vote_on_admission(now, from, &proposal, (nothing, Some(refusal)), out);
        }
        let Candidate { address, life, wire, .. } = proposal.candidate;
        self.probe((address, life), wire, false, Waiting::Admission(from, proposal), out);
    }

    fn check_candidate(&self, proposal: &RegisterProposal) -> Result<(), Refusal> {
        let candidate = &proposal.candidate;
        if !candidate.address.is_reachable_in_principle() {
            return Err(Refusal::new(Why::BadRequest, format!("{} is nobody's address", candidate.address)));
        }
        let is_seed = |name: &String| name.parse() == Ok(candidate.address);
        if candidate.address == self.config.address || self.config.seeds.values().any(is_seed) {
            return Err(Refusal::new(Why::BadRequest, format!("{} is a seed", candidate.address)));
        }
        let tag_bytes: usize = candidate.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        if tag_bytes > TAG_BYTES_MAX {
            return Err(Refusal::new(
                Why::Limit,
                format!("{tag_bytes} bytes of tags, at most {TAG_BYTES_MAX}"),
            ));
        }
        if self.registry.is_ended(candidate.address, candidate.life) {
            return Err(Why::Ended.into());
        }
        let present = self.registry.at(candidate.address).map_or(Incarnation::NONE, |m| m.id.incarnation);
        match present == proposal.replaces {
            true => Ok(()),
            false => Err(Why::Superseded.into()),
        }
    }

    pub(super) fn vote_on_admission(
        &mut self,
        now: Instant,
        from: SeedId,
        proposal: &RegisterProposal,
        (found, refusal): (Found, Option<Refusal>),
        out: &mut Vec<Effect>,
    ) {
        let refusal = refusal.or_else(|| match found.finding {
            Finding::Alive => None,
            Finding::OtherLife(_) => Some(Why::AddressInUse.into()),
            Finding::Refused | Finding::Silent => Some(Refusal::new(
                Why::NotAnswering,
                format!("{} {}", proposal.candidate.address, found.finding),
            )),
            Finding::CannotProbe => Some(Why::CannotProbe.into()),
        });
        let Candidate { address, life, .. } = proposal.candidate;
        let subject = Subject::Admission { address, life, replaces: proposal.replaces };
        self.cast("REGISTER_VOTE", now, from, (proposal.ballot, subject, found, refusal), out);
    }

    /// Votes, and tells the leader.
    pub(super) fn cast(
        &mut self,
        event: &'static str,
        now: Instant,
        leader: SeedId,
        (ballot, subject, found, refusal): (BallotId, Subject, Found, Option<Refusal>),
        out: &mut Vec<Effect>,
    ) {
        let vote = Vote { seed: self.config.id, ballot, subject, finding: found.finding, host: found.host };
        let age_ms = now.since(found.ended).as_millis() as u64;
        let reply = VoteReply { vote, refusal, age_ms };
        if leader == self.config.id {
            return self.on_vote(now, reply, out);
        }
        log(out, self.vote_line(event, &reply));
        out.push(Effect::ToSeed { to: leader, message: MeshMessage::Vote(reply) });
    }

    pub(super) fn vote_line(&self, event: &'static str, reply: &VoteReply) -> Line {
        let (key, address) = match reply.vote.subject {
            Subject::Admission { address, .. } => ("peer", address),
            Subject::Death(id) => ("dead", id.address),
        };
        let line = Line::new(event)
            .show("ballot", reply.vote.ballot)
            .with(key, address)
            .with("voter", self.name(reply.vote.seed))
            .with("vote", if reply.refusal.is_none() { "yes" } else { "no" });
        match &reply.refusal {
            Some(refusal) => line.show("reason", refusal),
            None => line.show("probe", reply.vote.finding),
        }
    }

    /// A vote arrives at the leader.
    pub(super) fn on_vote(&mut self, now: Instant, reply: VoteReply, out: &mut Vec<Effect>) {
        let event = match reply.vote.subject {
            Subject::Admission { .. } => "REGISTER_VOTE",
            Subject::Death(_) => "DEAD_VOTE",
        };
        log(out, self.vote_line(event, &reply));
        match reply.vote.subject {
            Subject::Admission { .. } => self.count_admission_vote(now, reply, out),
            Subject::Death(_) => self.count_death_vote(now, reply, out),
        }
    }

    // ---- probes ----

    /// Probes `target` for somebody who waits, unless a probe of it runs.
    pub(super) fn probe(
        &mut self,
        target: Target,
        wire: Wire,
        broke: bool,
        waiting: Waiting,
        out: &mut Vec<Effect>,
    ) {
        if self.probes.wait(target, waiting) {
            let (address, life) = target;
            let patience = self.config.patience.for_probe(broke, 0.0, false);
            out.push(Effect::Probe(ProbeOrder { address, life, wire, patience, spacing: PROBE_SPACING_MIN }));
        }
    }

    pub(super) fn on_probed(
        &mut self,
        now: Instant,
        target: Target,
        finding: Finding,
        host: HostEvidence,
        out: &mut Vec<Effect>,
    ) {
        let found = Found { finding, host, ended: now };
        self.hint_ended(target);
        for waiting in self.probes.ended(target, found) {
            match waiting {
                Waiting::Admission(from, proposal) => {
                    self.vote_on_admission(now, from, &proposal, (found, None), out);
                }
                Waiting::Death(from, proposal) => self.vote_on_death(now, from, &proposal, found, out),
                Waiting::Result => self.note_finding(target, finding),
            }
        }
    }

    /// A look after a quiet JSON member has ended.
    fn note_finding(&mut self, target: Target, finding: Finding) {
        let Some(member) = self.registry.at(target.0).filter(|m| m.life == target.1 && m.wire == Wire::Json)
        else {
            return;
        };
        let gone = finding.is_dead() == Some(true);
        for session in self.sessions.of(member.id).collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(session) {
                session.seems_gone = gone;
            }
        }
    }
}
