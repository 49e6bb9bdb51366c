//! Deaths: hints, reports, and the leader's ballots; what each seed finds and votes is in `voting`.
//!
//! ```text
//! suspecting peer      asked seed       leader                     every seed
//!   | Hint -------------> |               |                          |  probes at once
//!   | Report -----------> | Errand -----> |  DeathProposal --------> |  votes by that probe, or by a new one
//!   |                     |               |  <----------------- Vote |
//!   |                     |               |  Deaths in the log: DEAD_CONFIRMED to every session of every seed
//!   | <-------- Rejected  | <------ Done  |  or lost: the reporter leaves that life alone for a while
//! ```

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::limits::{
    BALLOT_TIME_MAX, BALLOTS_MAX, DEATH_GATHER_TIME, DEATHS_PER_ENTRY_MAX, EVIDENCE_AGE_MAX, JURY_MAX,
};
use coterie_common::message::{
    Answer, BallotId, Cause, DeathProposal, DeathReport, JurorVote, MeshMessage, Stages, Subject, VoteReply,
};
use coterie_common::{Address, Instant, Line, MemberId, Refusal, Why};

use super::admitting::Owner;
use super::ballot::{Ballot, Standing};
use super::effect::Effect;
use super::entry::{Applied, Body, Entry, Verdict};
use super::probes::{Found, Target, Waiting};
use super::{Seed, log};

/// A juror that ended so lately may still have voted.
const ENDED_LATELY: std::time::Duration = std::time::Duration::from_secs(2);

/// The deaths that this leader conducts, and what may join them.
#[derive(Clone, Debug, Default)]
pub(super) struct Burials {
    open: BTreeMap<MemberId, Burial>,
    /// Hints whose probe by this seed has not ended: a death that is carried meanwhile waits for them a little.
    hinted: BTreeSet<Target>,
    /// Members that ended lately, and when.
    ended: BTreeMap<MemberId, Instant>,
}

#[derive(Clone, Debug)]
struct Burial {
    id: BallotId,
    ballot: Ballot,
    state: State,
    owners: Vec<Owner>,
    reporter: Option<Address>,
    cause: Cause,
    jurors: Vec<JurorVote>,
    stages: Stages,
}

/// A report, and who is to be told what came of it.
#[derive(Clone, Debug)]
pub(super) struct Accusation {
    owner: Owner,
    reporter: MemberId,
    report: DeathReport,
}

impl Burial {
    /// The first report stands in the record; everybody who reported is told the result.
    fn join(&mut self, accusation: Accusation) {
        if self.reporter.is_none() {
            let DeathReport { suspected, timestamp, votes, .. } = accusation.report;
            (self.reporter, self.jurors) = (Some(accusation.reporter.address), votes);
            (self.stages.suspected, self.stages.reported) = (suspected, Some(timestamp));
        }
        self.owners.push(accusation.owner);
        self.owners.sort_unstable();
        self.owners.dedup();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Voting,
    Carried(Instant),
    Proposed,
}

impl Seed {
    /// Somebody began to suspect a member: this seed probes it while the jury does.
    pub(super) fn on_hint(&mut self, now: Instant, suspect: MemberId, cause: Cause, out: &mut Vec<Effect>) {
        let Some(member) = self.registry.member(suspect) else { return self.count("hints_dropped") };
        let (target, wire) = ((suspect.address, member.life), member.wire);
        let dead = |found: Found| found.finding.is_dead() == Some(true);
        if self.probes.is_running(target) || self.probes.recent(now, target).is_some_and(dead) {
            return;
        }
        self.burials.hinted.insert(target);
        self.probe(now, target, (wire, is_break(cause)), Waiting::Result, out);
    }

    pub(super) fn judge_report(
        &mut self,
        now: Instant,
        owner: Owner,
        report: DeathReport,
        reporter: MemberId,
        out: &mut Vec<Effect>,
    ) {
        match self.check_report(&report, reporter) {
            Err(refusal) => self.done(owner, Answer::Refused(refusal), out),
            Ok(dead) => {
                let cause = report.cause;
                self.open_burial(now, dead, cause, Some(Accusation { owner, reporter, report }), out);
            }
        }
    }

    /// Whether a report may open a ballot. How many votes it carries is no condition: a shortfall makes it an
    /// undecided one, and the seeds find out for themselves either way.
    fn check_report(&self, report: &DeathReport, reporter: MemberId) -> Result<MemberId, Refusal> {
        let dead = report.dead;
        if self.registry.member(reporter).is_none() {
            return Err(Why::Stranger.into());
        }
        if dead.address == reporter.address {
            return Err(Why::Oneself.into());
        }
        if self.registry.member(dead).is_none() {
            return Err(Refusal::new(Why::NotMember, format!("{dead} is not a member")));
        }
        if report.votes.len() > JURY_MAX {
            let detail = format!("{} votes, a jury has {JURY_MAX} at most", report.votes.len());
            return Err(Refusal::new(Why::BadVotes, detail));
        }
        let mut seen = BTreeSet::new();
        for vote in &report.votes {
            if !seen.insert(vote.juror.address) {
                return Err(Refusal::new(Why::BadVotes, format!("{} voted twice", vote.juror.address)));
            }
            if vote.juror.address == dead.address || !self.may_judge(vote.juror) {
                return Err(Refusal::new(Why::BadVotes, format!("{} may not vote", vote.juror)));
            }
        }
        if self.burials.open.len() >= BALLOTS_MAX {
            return Err(Refusal::new(Why::Limit, format!("{BALLOTS_MAX} deaths are under way")));
        }
        Ok(dead)
    }

    /// A member now, or until lately, or one that this registry has not seen join yet.
    fn may_judge(&self, juror: MemberId) -> bool {
        self.registry.member(juror).is_some()
            || self.burials.ended.contains_key(&juror)
            || juror.incarnation.0 > self.registry.applied()
    }

    /// One ballot per life: a second report joins the first.
    pub(super) fn open_burial(
        &mut self,
        now: Instant,
        dead: MemberId,
        cause: Cause,
        accusation: Option<Accusation>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(burial) = self.burials.open.get_mut(&dead) {
            if let Some(accusation) = accusation {
                burial.join(accusation);
                self.count("ballots_joined");
            }
            return;
        }
        if accusation.is_none() {
            self.count("ballots_of_absence");
        }
        let stages = Stages { opened: self.wall(now), ..Stages::default() };
        let (id, ballot) = self.death_ballot(now);
        let mut burial = Burial {
            id,
            ballot,
            state: State::Voting,
            owners: Vec::new(),
            reporter: None,
            cause,
            jurors: Vec::new(),
            stages,
        };
        // Before the votes: they may decide it at once, and whoever asked is to be told.
        if let Some(accusation) = accusation {
            burial.join(accusation);
        }
        self.burials.open.insert(dead, burial);
        self.ask_for_votes(now, dead, out);
    }

    fn death_ballot(&mut self, now: Instant) -> (BallotId, Ballot) {
        let ends = now + self.config.patience.scale(BALLOT_TIME_MAX);
        (self.next_ballot(), Ballot::new(self.registry.seed_sets().to_vec(), ends))
    }

    /// What the last ballot found is of no use any more: another one is held.
    fn hold_death_ballot_again(&mut self, now: Instant, dead: MemberId, out: &mut Vec<Effect>) {
        let (id, ballot) = self.death_ballot(now);
        let Some(burial) = self.burials.open.get_mut(&dead) else { return };
        (burial.id, burial.ballot, burial.state) = (id, ballot, State::Voting);
        self.count("ballots_held_again");
        self.ask_for_votes(now, dead, out);
    }

    /// Asks all seeds, this one included.
    fn ask_for_votes(&mut self, now: Instant, dead: MemberId, out: &mut Vec<Effect>) {
        let Some(burial) = self.burials.open.get(&dead) else { return };
        let (id, broke) = (burial.id, is_break(burial.cause));
        let proposal = DeathProposal { ballot: id, dead, commit: self.registry.applied(), broke };
        for seed in self.voters() {
            let message = MeshMessage::DeathProposal(proposal.clone());
            if seed == self.config.id {
                self.on_proposal(now, seed, message, out);
            } else {
                out.push(Effect::ToSeed { to: seed, message });
            }
        }
    }

    pub(super) fn count_death_vote(&mut self, now: Instant, reply: VoteReply, out: &mut Vec<Effect>) {
        let Subject::Death(dead) = reply.vote.subject else { return };
        let burial = self.burials.open.get_mut(&dead).filter(|b| b.id == reply.vote.ballot);
        let counted = burial.is_some_and(|b| b.ballot.vote(now, reply));
        if !counted {
            return self.count("votes_out_of_place");
        }
        self.settle_burials(now, out);
    }

    /// Closes the ballots that are decided, and proposes what is carried.
    pub(super) fn settle_burials(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.burials.open.is_empty() {
            return;
        }
        let wall = self.wall(now);
        let mut lost = Vec::new();
        for (dead, burial) in &mut self.burials.open {
            if burial.state != State::Voting {
                continue;
            }
            match burial.ballot.standing(now) {
                Standing::Pending => {}
                Standing::Carried => {
                    burial.state = State::Carried(now);
                    burial.stages.carried = wall;
                }
                Standing::Lost(refusal) => lost.push((*dead, refusal)),
            }
        }
        for (dead, refusal) in lost {
            self.reject(now, dead, &refusal, out);
        }
        self.propose_carried(now, out);
    }

    fn reject(&mut self, now: Instant, dead: MemberId, refusal: &Refusal, out: &mut Vec<Effect>) {
        let Some(burial) = self.burials.open.remove(&dead) else { return };
        self.count("ballots_lost");
        if burial.reporter.is_none() {
            log(out, Line::new("DEAD_REJECTED").with("dead", dead.address).show("reason", refusal));
        }
        self.soft.absence_rejected(now, dead);
        burial.owners.into_iter().for_each(|owner| self.done(owner, Answer::Refused(refusal.clone()), out));
    }

    /// Deaths that are open together share an entry; but none waits long for another.
    fn propose_carried(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let carried_at = |b: &Burial| match b.state {
            State::Carried(at) => Some(at),
            State::Voting | State::Proposed => None,
        };
        let Some(first) = self.burials.open.values().filter_map(carried_at).min() else { return };
        let others = self.burials.open.values().any(|b| b.state == State::Voting);
        let is_open = |target: &Target| self.burials.open.keys().any(|dead| dead.address == target.0);
        let hints = self.burials.hinted.iter().any(|target| !is_open(target));
        if (others || hints) && now < first + DEATH_GATHER_TIME {
            return;
        }
        let stale_before = self.config.patience.scale(EVIDENCE_AGE_MAX);
        let is_stale =
            |b: &Burial| b.ballot.evidence_from().is_none_or(|from| now.since(from) > stale_before);
        let (mut stale, mut verdicts) = (Vec::new(), Vec::new());
        let wall = self.wall(now);
        for (dead, burial) in self.burials.open.iter_mut().filter(|(_, b)| carried_at(b).is_some()) {
            if is_stale(burial) {
                stale.push(*dead);
                continue;
            }
            burial.state = State::Proposed;
            burial.stages.proposed = wall;
            verdicts.push(Verdict {
                dead: *dead,
                ballot: burial.id,
                votes: burial.ballot.votes(),
                cause: burial.cause,
                reporter: burial.reporter,
                jurors: burial.jurors.clone(),
                stages: burial.stages,
            });
        }
        for part in verdicts.chunks(DEATHS_PER_ENTRY_MAX) {
            out.push(Effect::Propose(Entry::new(Body::Deaths(part.to_vec()))));
        }
        stale.into_iter().for_each(|dead| self.hold_death_ballot_again(now, dead, out));
    }

    /// The log has decided about deaths.
    pub(super) fn deaths_applied(
        &mut self,
        now: Instant,
        index: u64,
        verdicts: &[Verdict],
        applied: &Applied,
        out: &mut Vec<Effect>,
    ) {
        let Applied::Died { buried, left_out } = applied else { return };
        for dead in buried {
            self.burials.ended.insert(*dead, now);
            let owners = self.burials.open.remove(dead).map(|b| b.owners).unwrap_or_default();
            owners.into_iter().for_each(|owner| self.done(owner, Answer::Recorded { index }, out));
        }
        for (dead, refusal) in left_out {
            let ballot = verdicts.iter().find(|v| v.dead == *dead).map(|v| v.ballot);
            if self.burials.open.get(dead).map(|b| b.id) == ballot {
                self.reject(now, *dead, refusal, out);
            }
        }
    }

    /// A member left or was replaced: whatever was open about that life is over.
    pub(super) fn member_ended(&mut self, now: Instant, id: MemberId, index: u64, out: &mut Vec<Effect>) {
        self.burials.ended.insert(id, now);
        if let Some(burial) = self.burials.open.remove(&id) {
            burial.owners.into_iter().for_each(|owner| self.done(owner, Answer::Recorded { index }, out));
        }
    }

    pub(super) fn deaths_failed(&mut self, now: Instant, verdicts: &[Verdict], out: &mut Vec<Effect>) {
        for verdict in verdicts {
            if self.burials.open.get(&verdict.dead).is_some_and(|b| b.id == verdict.ballot) {
                self.hold_death_ballot_again(now, verdict.dead, out);
            }
        }
    }

    pub(super) fn forget_burials(&mut self) {
        self.burials.open.clear();
        self.burials.hinted.clear();
    }

    pub(super) fn forget_long_ended(&mut self, now: Instant) {
        self.burials.ended.retain(|_, at| now.since(*at) <= ENDED_LATELY);
        let probes = &self.probes;
        self.burials.hinted.retain(|target| probes.is_running(*target));
    }

    pub(super) fn hint_ended(&mut self, target: Target) {
        self.burials.hinted.remove(&target);
    }

    pub(super) fn open_burials(&self) -> usize {
        self.burials.open.len()
    }

    pub(super) fn is_open(&self, member: MemberId) -> bool {
        self.burials.open.contains_key(&member)
    }

    pub(super) fn burials_deadline(&self) -> Option<Instant> {
        let of = |b: &Burial| match b.state {
            State::Voting => Some(b.ballot.ends()),
            State::Carried(at) => Some(at + DEATH_GATHER_TIME),
            State::Proposed => None,
        };
        self.burials.open.values().filter_map(of).min()
    }
}

/// Whether the cause is a connection that broke: then another must open soon, or the host is gone.
fn is_break(cause: Cause) -> bool {
    match cause {
        Cause::ConnectionLost | Cause::ConnectRefused => true,
        Cause::PingsMissed | Cause::Asked | Cause::Absent => false,
    }
}
