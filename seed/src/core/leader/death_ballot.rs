//! One ballot about a death, from the first doubt until it is decided.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::message::{BallotId, Cause, DeathReport, JurorVote, Stages};
use coterie_common::{Address, Backoff, Instant, MemberId};

use super::deaths::Accusation;
use crate::core::ballot::Ballot;
use crate::core::entry::DeathRecord;
use crate::core::request::RequestId;

/// When a ballot that nobody could decide is held again: the first pause, which doubles, and the longest. Half of it is
/// drawn.
pub(super) const HELD_AGAIN_AFTER: Knob<(Duration, Duration)> =
    Knob::new("HELD_AGAIN_AFTER", (Duration::from_millis(150), Duration::from_secs(2)));

#[derive(Clone, Debug)]
pub(super) struct DeathBallot {
    /// Another each time that it is held: votes on the one before are out of place.
    pub(super) id: BallotId,
    pub(super) ballot: Ballot,
    pub(super) state: BallotState,
    /// Nobody, for an absence.
    pub(super) requests: Vec<RequestId>,
    /// Who reported it first; none for an absence.
    pub(super) reporter: Option<Address>,
    /// What speaks against it. A report of a break takes the place of silence.
    pub(super) cause: Cause,
    /// Those of the first report.
    pub(super) jurors: Vec<JurorVote>,
    pub(super) stages: Stages,
    /// After a ballot that nobody could decide.
    pub(super) pause: Backoff,
    /// Whether a ballot was held already.
    pub(super) was_held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BallotState {
    /// The seeds are not asked before that time, nor while as many are asked about others as may be.
    Waiting(Instant),
    /// Votes are awaited.
    Voting,
    /// Carried then. It waits a moment to share an entry with others.
    Carried(Instant),
    /// Its entry is proposed: the log decides.
    Proposed,
}

impl DeathBallot {
    /// The first report stands in the record; everybody who reported is told the result. One that tells of a break
    /// makes more of what was silence so far: it waits for nothing any more, for it may be proved at once.
    pub(super) fn join(&mut self, now: Instant, accusation: Accusation) {
        let is_break = accusation.report.cause.is_break() && !self.cause.is_break();
        match self.state {
            BallotState::Waiting(_) if is_break => {
                (self.cause, self.state) = (accusation.report.cause, BallotState::Waiting(now));
            }
            BallotState::Voting if is_break => self.cause = accusation.report.cause,
            BallotState::Waiting(_)
            | BallotState::Voting
            | BallotState::Carried(_)
            | BallotState::Proposed => {}
        }
        if self.reporter.is_none() {
            let DeathReport { suspected, timestamp, votes, .. } = accusation.report;
            (self.reporter, self.jurors) = (Some(accusation.reporter.address), votes);
            (self.stages.suspected, self.stages.reported) = (suspected, Some(timestamp));
        }
        self.requests.push(accusation.request);
        self.requests.sort_unstable();
        self.requests.dedup();
        assert!(self.reporter.is_some(), "a death is reported by nobody");
    }

    /// None before, and when its entry is proposed already.
    pub(super) fn carried_at(&self) -> Option<Instant> {
        match self.state {
            BallotState::Carried(at) => Some(at),
            BallotState::Waiting(_) | BallotState::Voting | BallotState::Proposed => None,
        }
    }

    /// Whether it is about one of whom only silence speaks, and votes on it are awaited.
    pub(super) fn is_voting_on_silence(&self) -> bool {
        self.state == BallotState::Voting && !self.cause.is_break()
    }

    pub(super) fn record(&self, dead: MemberId) -> DeathRecord {
        DeathRecord {
            dead,
            ballot: self.id,
            votes: self.ballot.votes(),
            cause: self.cause,
            reporter: self.reporter,
            jurors: self.jurors.clone(),
            stages: self.stages,
        }
    }
}
