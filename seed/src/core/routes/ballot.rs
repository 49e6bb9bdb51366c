//! From other seeds and from probes: requests, proposals, votes.

use coterie_common::message::{
    Answer, BallotId, Candidate, Cause, ForwardedRequest, MeshMessage, SeedId, Subject, VoteReply,
};
use coterie_common::{Address, Finding, HostEvidence, Line, MemberId, ProbeTarget, Refusal, Why, Wire};

use crate::core::Seed;
use crate::core::ballot::Proposal;
use crate::core::leader::{Accusation, Closed, Opened, Settled};
use crate::core::pace::Pace;
use crate::core::request::RequestId;
use crate::core::voter::ProbeOutcome;

impl Seed {
    pub(super) fn on_mesh(&mut self, from: SeedId, message: MeshMessage) {
        self.leadership.heard(self.cx.now, from);
        match message {
            MeshMessage::Request { number, forwarded } => {
                self.on_request(RequestId { seed: from, number }, forwarded);
            }
            MeshMessage::Reply { number, answer } => self.on_answered(number, answer),
            MeshMessage::RegisterProposal(proposal) => {
                self.on_proposal(from, Proposal::Registration(proposal));
            }
            MeshMessage::DeathProposal(proposal) => self.on_proposal(from, Proposal::Death(proposal)),
            MeshMessage::Vote(reply) => self.on_vote(reply),
            // News of an election may be overtaken by what another seed says because of it.
            MeshMessage::Soft(state) if state.term > self.leadership.term() => {
                self.presence.keep_early(from, state);
            }
            MeshMessage::Soft(state) => self.presence.take(&self.registry, from, state),
            MeshMessage::Relay { to, message } => self.relay(to, *message),
            MeshMessage::Directory(state) => self.leadership.has_committed(from, state.committed.index),
            // The shell deals with these: what comes this far came on a connection where it does not belong.
            MeshMessage::Hello(_) | MeshMessage::Raft { .. } | MeshMessage::RaftReply { .. } => {
                self.cx.count("mesh_frames_out_of_place");
            }
        }
    }

    /// A seed forwards a request to this one, which leads as far as that seed knows.
    pub(super) fn on_request(&mut self, request: RequestId, forwarded: ForwardedRequest) {
        if !self.leadership.leads() || self.registry.cluster().is_none() {
            // Its owner may have heard of the new leader sooner than the leader itself.
            self.forwarding.keep_early(self.cx.now, request, forwarded);
            return self.cx.count("errands_before_leading");
        }
        match forwarded {
            ForwardedRequest::Register(joiner) => self.open_registration(joiner, vec![request]),
            ForwardedRequest::Leave(member) => self.open_departure(member, request),
            ForwardedRequest::Report { report, reporter } => {
                let ended_lately = |member| self.presence.ended_lately(member);
                match self.leader.check_report(&self.registry, &report, reporter, ended_lately) {
                    Err(refusal) => self.reply(request, Answer::Refused(refusal)),
                    Ok(dead) => {
                        let cause = report.cause;
                        self.open_death((dead, cause), Some(Accusation { request, reporter, report }));
                    }
                }
            }
            ForwardedRequest::Seeds { change, seat } => {
                let (now, registry) = (self.cx.now, &self.registry);
                let is_available = |seed| self.leadership.is_available(now, registry, seed);
                match self.leader.change_seeds(
                    &mut self.cx,
                    &self.registry,
                    is_available,
                    (change, seat),
                    request,
                ) {
                    Ok(true) => {}
                    // It is made already: what is applied here shows it.
                    Ok(false) => {
                        self.reply(request, Answer::Recorded { index: self.registry.applied() });
                    }
                    Err(refusal) => self.reply(request, Answer::Refused(refusal)),
                }
            }
        }
    }

    // ---- voting ----

    /// The leader asks for this seed's vote. It votes by a registry that is at least as new as the leader's.
    pub(super) fn on_proposal(&mut self, from: SeedId, proposal: Proposal) {
        let line = match &proposal {
            Proposal::Registration(p) => {
                self.proposal_line("REGISTER_PROPOSAL", p.ballot, from, ("peer", p.candidate.address))
            }
            Proposal::Death(p) => {
                self.proposal_line("DEAD_PROPOSAL", p.ballot, from, ("dead", p.dead.address))
            }
        };
        self.cx.log(line);
        self.consider(from, proposal);
    }

    fn proposal_line(
        &self,
        event: &'static str,
        ballot: BallotId,
        from: SeedId,
        who: (&'static str, Address),
    ) -> Line {
        let proposer = self.leadership.name(&self.registry, from);
        Line::new(event).show("ballot", ballot).with(who.0, who.1).with("proposer", proposer)
    }

    /// Without a line: a proposal that waited was logged when it came.
    pub(super) fn consider(&mut self, leader: SeedId, proposal: Proposal) {
        let me = self.leadership.me();
        let (now, sessions) = (self.cx.now, &self.sessions);
        let heard = |member| sessions.heard_lately(now, member);
        let reply = self.voter.consider(&mut self.cx, &self.registry, me, (leader, proposal), heard);
        if let Some(reply) = reply {
            self.cast(leader, reply);
        }
    }

    pub(super) fn on_probed(&mut self, target: ProbeTarget, found: (Finding, HostEvidence)) {
        let me = self.leadership.me();
        for outcome in self.voter.probed(&mut self.cx, &self.registry, me, target, found) {
            match outcome {
                ProbeOutcome::Vote { leader, reply } => self.cast(leader, reply),
                ProbeOutcome::Looked { target, is_gone } => self.on_looked(target, is_gone),
            }
        }
    }

    /// A look after a quiet JSON member has ended. For a native member nothing follows: the probe was for a hint, and a
    /// ballot asks for its result.
    fn on_looked(&mut self, target: ProbeTarget, is_gone: bool) {
        let member = self.registry.at(target.address);
        let member = member.filter(|member| member.life == target.life && member.wire == Wire::Json);
        if let Some(member) = member {
            self.sessions.looked_after(member.id, is_gone);
        }
    }

    /// Votes, and tells the leader. Own votes do not travel.
    fn cast(&mut self, leader: SeedId, reply: VoteReply) {
        assert_eq!(reply.vote.seed, self.leadership.me(), "who votes");
        if leader == self.leadership.me() {
            return self.on_vote(reply);
        }
        let line = self.vote_line(&reply);
        self.cx.log(line);
        self.voter.keep_vote(self.cx.now, leader, reply.clone());
        self.cx.tell_seed(leader, MeshMessage::Vote(reply));
    }

    /// A seed that led may be connected anew: votes may have been lost with its former connection, or have had none.
    pub(super) fn cast_again(&mut self, leader: SeedId) {
        for reply in self.voter.votes_for(&self.cx, &self.registry, leader) {
            self.cx.tell_seed(leader, MeshMessage::Vote(reply));
        }
    }

    fn vote_line(&self, reply: &VoteReply) -> Line {
        let (event, key, address) = match reply.vote.subject {
            Subject::Admission { address, .. } => ("REGISTER_VOTE", "peer", address),
            Subject::Death(id) => ("DEAD_VOTE", "dead", id.address),
        };
        let line = Line::new(event)
            .show("ballot", reply.vote.ballot)
            .with(key, address)
            .with("voter", self.leadership.name(&self.registry, reply.vote.seed))
            .with("vote", if reply.refusal.is_none() { "yes" } else { "no" });
        match &reply.refusal {
            // What was found is for who operates the seeds; who asks is not told.
            Some(refusal) if refusal.why == Why::NotAnswering => {
                line.show("reason", refusal).show("probe", reply.vote.finding)
            }
            Some(refusal) => line.show("reason", refusal),
            None => line.show("probe", reply.vote.finding),
        }
    }

    // ---- at the leader ----

    /// A vote arrives.
    fn on_vote(&mut self, reply: VoteReply) {
        let line = self.vote_line(&reply);
        self.cx.log(line);
        match reply.vote.subject {
            Subject::Admission { .. } => {
                let settled = self.leader.count_registration(&mut self.cx, reply);
                self.on_settled(settled);
            }
            Subject::Death(dead) => {
                if self.leader.count_death(&mut self.cx, dead, reply) {
                    self.settle_deaths();
                }
            }
        }
    }

    /// Ballots of both kinds go to all who have a vote, this seed in its turn.
    fn ask_voters(&mut self, proposal: &Proposal) {
        for seed in self.registry.voters() {
            if seed == self.leadership.me() {
                self.on_proposal(seed, proposal.clone());
            } else {
                self.cx.tell_seed(seed, proposal.clone().into());
            }
        }
    }

    /// A seed is connected anew: what it was asked may have been lost.
    pub(super) fn ask_again(&mut self, seed: SeedId) {
        for proposal in self.leader.proposals_to(&self.registry, seed) {
            self.cx.tell_seed(seed, proposal.into());
        }
    }

    pub(super) fn open_registration(&mut self, joiner: Candidate, requests: Vec<RequestId>) {
        let opened = self.leader.register(&self.cx, &self.registry, joiner, requests);
        self.on_opened(opened);
    }

    fn on_opened(&mut self, opened: Opened) {
        match opened {
            Opened::Waits => {}
            Opened::Answered(requests, answer) => self.reply_to_all(requests, &answer),
            Opened::Proposed(proposal) => self.ask_voters(&Proposal::Registration(proposal)),
        }
    }

    /// What is outdated is opened again at once, and may be answered without a ballot: it may be a member by now.
    pub(super) fn on_settled(&mut self, settled: Settled) {
        match settled {
            Settled::Open => {}
            Settled::Lost(requests, refusal) => self.reply_to_all(requests, &Answer::Refused(refusal)),
            Settled::Outdated(joiner, requests) => self.open_registration(joiner, requests),
        }
    }

    pub(in crate::core) fn settle_registrations(&mut self) {
        while let Some(id) = self.leader.next_registration_due(self.cx.now) {
            let settled = self.leader.settle_registration(&mut self.cx, id);
            self.on_settled(settled);
        }
        while let Some(opened) = self.leader.next_registration(&self.cx, &self.registry) {
            self.on_opened(opened);
        }
    }

    /// How fast the seeds may be asked about the silent. By what each that takes part can do.
    fn pace(&self) -> Pace {
        let own = self.voter.means(&self.cx, &self.registry);
        let voters = self.registry.voters();
        let is_other = |seed: &SeedId| {
            *seed != self.leadership.me() && self.leadership.is_available(self.cx.now, &self.registry, *seed)
        };
        let others: Vec<SeedId> = voters.iter().copied().filter(is_other).collect();
        let (members, patience) =
            (self.registry.members().len(), self.cx.config.patience.for_probe(0.0, false));
        Pace::new(own, &self.presence.means_of(&others), voters.len(), members, patience)
    }

    pub(super) fn open_death(&mut self, about: (MemberId, Cause), accusation: Option<Accusation>) {
        let pace = self.pace();
        let opened = self.leader.open_death(&mut self.cx, &self.registry, about, pace, accusation);
        if let Some(proposal) = opened {
            self.ask_voters(&Proposal::Death(proposal));
        }
    }

    pub(super) fn hold_death_again(&mut self, dead: MemberId) {
        let proposal = self.leader.hold_death_again(&mut self.cx, &self.registry, dead);
        self.ask_voters(&Proposal::Death(proposal));
    }

    /// Closes the ballots about deaths that are decided, and proposes what is carried.
    pub(in crate::core) fn settle_deaths(&mut self) {
        // Most steps of most seeds end here.
        if self.leader.open_deaths() == 0 {
            return;
        }
        // The lost first: with them gone, fewer are waited for.
        for (dead, refusal) in self.leader.lost_deaths(&mut self.cx) {
            self.reject_death(dead, &refusal);
        }
        let pace = self.pace();
        while let Some(dead) = self.leader.next_death_due(&self.cx, pace) {
            self.hold_death_again(dead);
        }
        let members = self.registry.members().len();
        for (dead, ballot) in self.leader.propose_deaths(&mut self.cx, members, self.voter.hinted()) {
            // This seed votes on the one before at once, which may settle the others of this list.
            if self.leader.holds_death(dead, ballot) {
                self.hold_death_again(dead);
            }
        }
    }

    /// A ballot about a death is lost: everybody who reported it is told why, and an absence counts anew.
    pub(super) fn reject_death(&mut self, dead: MemberId, refusal: &Refusal) {
        let closed = self.leader.close_death(dead);
        let Some(Closed { requests, was_reported }) = closed else {
            panic!("the ballot about {dead} is lost and not open")
        };
        self.cx.count("ballots_lost");
        // One that was reported is logged by the seed that answers the reporter.
        if !was_reported {
            self.cx.log(Line::new("DEAD_REJECTED").with("dead", dead.address).show("reason", refusal));
        }
        self.presence.absence_rejected(&mut self.cx, dead);
        self.reply_to_all(requests, &Answer::Refused(refusal.clone()));
    }

    pub(super) fn open_departure(&mut self, member: MemberId, request: RequestId) {
        match self.registry.member(member) {
            // It has ended already: that is what was asked for, whatever ended it.
            None => self.reply(request, Answer::Recorded { index: self.registry.applied() }),
            Some(_) => self.leader.depart(&mut self.cx, member, request),
        }
    }
}
