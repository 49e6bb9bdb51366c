//! Every voter: a proposal of the leader's is checked, the one it is about is probed, and the vote goes back.

use coterie_common::limits::{
    ALL_TAGS_BYTES_MAX, BALLOTS_MAX, MEMBERS_MAX, PROBE_SPACING_MIN, TAG_BYTES_MAX,
};
use coterie_common::message::{
    BallotId, Candidate, DeathProposal, MeshMessage, RegisterProposal, SeedId, Subject, Vote, VoteReply,
};
use coterie_common::{
    Address, Finding, HostEvidence, Incarnation, Instant, Line, ProbeOrder, Refusal, Why, Wire, tag_bytes,
};

use super::effect::Effect;
use super::entry::SeedRecord;
use super::probes::{Found, Target, Waiting};
use super::{Seed, log};

/// Tags that are too long are refused where they come in: passed on, they might not fit a frame.
pub(super) fn check_tags(candidate: &Candidate) -> Result<(), Refusal> {
    match tag_bytes(&candidate.tags) {
        bytes if bytes > TAG_BYTES_MAX => {
            Err(Refusal::new(Why::Limit, format!("{bytes} bytes of tags, at most {TAG_BYTES_MAX}")))
        }
        _ => Ok(()),
    }
}

impl Seed {
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
            _ if self.ahead.len() < BALLOTS_MAX => {
                self.count("proposals_waited");
                self.ahead.push((from, message));
            }
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
        self.probe(now, (address, life), (wire, false), Waiting::Admission(from, proposal), out);
    }

    fn check_candidate(&self, proposal: &RegisterProposal) -> Result<(), Refusal> {
        let candidate = &proposal.candidate;
        if !candidate.address.is_reachable_in_principle() {
            return Err(Refusal::new(Why::BadRequest, format!("{} is nobody's address", candidate.address)));
        }
        let is_seed = |seed: &SeedRecord| seed.address.parse() == Ok(candidate.address);
        if candidate.address == self.config.address || self.registry.seeds().values().any(is_seed) {
            return Err(Refusal::new(Why::BadRequest, format!("{} is a seed", candidate.address)));
        }
        check_tags(candidate)?;
        if self.registry.at(candidate.address).is_none() && self.registry.members().len() >= MEMBERS_MAX {
            return Err(Refusal::new(Why::Limit, format!("{MEMBERS_MAX} members")));
        }
        if !candidate.tags.is_empty() {
            let all: usize = self.registry.members().map(|m| tag_bytes(&m.tags)).sum();
            if all + tag_bytes(&candidate.tags) > ALL_TAGS_BYTES_MAX {
                return Err(Refusal::new(
                    Why::Limit,
                    format!("{ALL_TAGS_BYTES_MAX} bytes of all members' tags"),
                ));
            }
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

    pub(super) fn consider_death(
        &mut self,
        now: Instant,
        from: SeedId,
        proposal: DeathProposal,
        out: &mut Vec<Effect>,
    ) {
        let Some(member) = self.registry.member(proposal.dead) else {
            let found = Found { finding: Finding::CannotProbe, host: HostEvidence::Unknown, ended: now };
            let refusal = Some(Refusal::from(Why::NotMember));
            let subject = Subject::Death(proposal.dead);
            return self.cast("DEAD_VOTE", now, from, (proposal.ballot, subject, found, refusal), out);
        };
        let (target, wire) = ((member.id.address, member.life), member.wire);
        match self.probes.recent(now, target) {
            Some(found) if found.finding != Finding::CannotProbe => {
                self.vote_on_death(now, from, &proposal, found, out);
            }
            Some(_) | None => {
                let broke = proposal.broke;
                self.probe(now, target, (wire, broke), Waiting::Death(from, proposal), out);
            }
        }
    }

    pub(super) fn vote_on_death(
        &mut self,
        now: Instant,
        from: SeedId,
        proposal: &DeathProposal,
        found: Found,
        out: &mut Vec<Effect>,
    ) {
        let refusal = match found.finding.is_dead() {
            Some(true) => None,
            Some(false) => Some(Why::Alive.into()),
            None => Some(Why::CannotProbe.into()),
        };
        self.cast(
            "DEAD_VOTE",
            now,
            from,
            (proposal.ballot, Subject::Death(proposal.dead), found, refusal),
            out,
        );
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
        now: Instant,
        target: Target,
        (wire, broke): (Wire, bool),
        waiting: Waiting,
        out: &mut Vec<Effect>,
    ) {
        let patience = self.config.patience.for_probe(0.0, false);
        if self.probes.wait(now, target, waiting, patience) {
            let (address, life) = target;
            let open_within = self.config.patience.for_opening(broke, 0.0, false);
            let spacing = PROBE_SPACING_MIN;
            out.push(Effect::Probe(ProbeOrder { address, life, wire, patience, open_within, spacing }));
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
        self.hint_ended(target);
        let (found, waiting) = self.probes.ended(now, target, finding, host);
        for waiting in waiting {
            match waiting {
                Waiting::Admission(from, proposal) => {
                    self.vote_on_admission(now, from, &proposal, (found, None), out);
                }
                Waiting::Death(from, proposal) => self.vote_on_death(now, from, &proposal, found, out),
                Waiting::Result => self.note_finding(target, found.finding),
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
