//! What this seed answers a proposal, by what it has found.

use coterie_common::message::{
    BallotId, Candidate, DeathProposal, RegisterProposal, SeedId, Subject, Vote, VoteReply,
};
use coterie_common::{Finding, HostEvidence, Instant, Refusal, Why};

use super::probes::ProbeResult;

/// What is said of one who was not probed. It must go with a refusal: a yes needs a finding.
pub(super) fn nothing_found(now: Instant) -> ProbeResult {
    ProbeResult {
        finding: Finding::CannotProbe,
        host: HostEvidence::Unknown,
        ended: now,
        follows_a_break: false,
    }
}

/// A joiner must answer as the life that it says it is: who cannot be reached would be found dead at once.
pub(super) fn vote_on_joiner(
    now: Instant,
    me: SeedId,
    proposal: &RegisterProposal,
    found: ProbeResult,
    refusal: Option<Refusal>,
) -> VoteReply {
    let Candidate { address, life, .. } = proposal.candidate;
    let refusal = refusal.or_else(|| match found.finding {
        Finding::Alive => None,
        Finding::OtherLife(_) => Some(Why::AddressInUse.into()),
        // Not which of them: else whoever asks could look through the seeds at ports that it cannot reach itself.
        Finding::Refused | Finding::Silent => {
            Some(Refusal::new(Why::NotAnswering, format!("nobody answers at {address} as that life")))
        }
        Finding::CannotProbe => Some(Why::CannotProbe.into()),
    });
    let subject = Subject::Admission { address, life, replaces: proposal.replaces };
    vote(now, me, (proposal.ballot, subject), found, refusal)
}

/// No probe could be made.
pub(super) fn cannot_tell(now: Instant, me: SeedId, proposal: &DeathProposal) -> VoteReply {
    vote_on_death(now, me, proposal, nothing_found(now))
}

/// A seed that could not probe votes neither yes nor no: the refusal says so.
pub(super) fn vote_on_death(
    now: Instant,
    me: SeedId,
    proposal: &DeathProposal,
    found: ProbeResult,
) -> VoteReply {
    let refusal = match found.finding.is_dead() {
        Some(true) => None,
        Some(false) => Some(Why::Alive.into()),
        None => Some(Why::CannotProbe.into()),
    };
    vote(now, me, (proposal.ballot, Subject::Death(proposal.dead)), found, refusal)
}

/// The leader holds no clock of another against its own, so a voter sends how old its finding is.
pub(super) fn vote(
    now: Instant,
    me: SeedId,
    (ballot, subject): (BallotId, Subject),
    found: ProbeResult,
    refusal: Option<Refusal>,
) -> VoteReply {
    assert!(
        refusal.is_some() || found.finding.is_dead().is_some(),
        "a yes that rests on nothing: {ballot:?}"
    );
    let vote = Vote { seed: me, ballot, subject, finding: found.finding, host: found.host };
    VoteReply { vote, refusal, age_ms: now.since(found.ended).as_millis() as u64 }
}
