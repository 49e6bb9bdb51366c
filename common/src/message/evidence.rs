//! How a death was found, as the registry keeps it and as observers are told.

use serde::{Deserialize, Serialize};

use super::{BallotId, Cause, JurorVote};
use crate::{Address, Epoch, Finding, HostEvidence, MemberId, Timestamp};

/// The times of a death: the reporter's two by its own clock, the others by the leader's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// The reporter began to suspect it; none where nobody reported, or the reporter did not say.
    pub suspected: Option<Timestamp>,
    /// Its jury was done, and it reported.
    pub reported: Option<Timestamp>,
    /// The ballot was opened.
    pub opened: Timestamp,
    /// Enough seeds had voted yes.
    pub carried: Timestamp,
    /// The entry was proposed.
    pub proposed: Timestamp,
}

/// What one seed found when it probed the dead itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFinding {
    /// The seed, as the list names it.
    pub seed: String,
    /// What its probe found.
    pub finding: Finding,
    /// What ICMP said of the host meanwhile.
    pub host: HostEvidence,
}

/// All that is known of how a death was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who died.
    pub dead: MemberId,
    /// The epoch of the entry that says so.
    pub epoch: Epoch,
    /// What made somebody doubt it.
    pub cause: Cause,
    /// The peer that reported it first; none for an absence.
    pub reporter: Option<Address>,
    /// The votes of its jury.
    pub jurors: Vec<JurorVote>,
    /// The ballot that carried it.
    pub ballot: BallotId,
    /// The yes votes of the seeds.
    pub seeds: Vec<SeedFinding>,
    /// When what happened.
    pub stages: Stages,
}
