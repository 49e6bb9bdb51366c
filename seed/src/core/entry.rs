//! What stands in the log.

use std::collections::BTreeMap;
use std::fmt;

use coterie_common::message::{BallotId, Candidate, Cause, ClusterId, JurorVote, SeedId, Stages, Vote};
use coterie_common::{Address, Change, Incarnation, MemberId, Refusal};
use serde::{Deserialize, Serialize};

/// The version of the rules by which entries are applied. A later version of this program applies old entries by
/// old rules, so that all seeds agree while they are upgraded one by one.
pub const RULES: u8 = 1;

/// One entry: the rules it was written under, and what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The rules.
    pub rules: u8,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// The cluster begins. The first leader's first entry; nothing is answered before it.
    Found {
        /// The cluster's name.
        cluster: ClusterId,
        /// Its seeds.
        seeds: BTreeMap<SeedId, SeedRecord>,
    },
    /// A seed that was late at the founding has a data directory of this birth.
    SeedBirth {
        /// Who.
        seed: SeedId,
        /// The number drawn when its directory was made.
        birth: u64,
    },
    /// Another seed. Its id is 1000 and the index of this entry; it votes once its birth is known.
    SeedAdd {
        /// Where it listens, as it is to be named.
        address: String,
        /// The seed whose place it takes, which is removed.
        replaces: Option<SeedId>,
    },
    /// A seed no longer.
    SeedRemove(SeedId),
    /// A life is admitted.
    Join {
        /// The ballot that carried it.
        ballot: BallotId,
        /// Who.
        candidate: Candidate,
        /// The incarnation that ends with it, 0 for none.
        replaces: Incarnation,
        /// The yes votes.
        votes: Vec<Vote>,
    },
    /// A member left of its own will.
    Leave(MemberId),
    /// Members died. Each is judged by itself.
    Deaths(Vec<Verdict>),
}

/// A seed as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// Its address, as the list named it at the founding, or as it was added.
    pub address: String,
    /// The number of its data directory, once it is known.
    pub birth: Option<u64>,
}

/// A death, as the seeds found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who.
    pub dead: MemberId,
    /// The ballot that carried it.
    pub ballot: BallotId,
    /// The yes votes of seeds.
    pub votes: Vec<Vote>,
    /// What made somebody doubt it.
    pub cause: Cause,
    /// The peer that reported it first; none for an absence.
    pub reporter: Option<Address>,
    /// The votes of its jury, for the record.
    pub jurors: Vec<JurorVote>,
    /// When what happened.
    pub stages: Stages,
}

/// What came of applying an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it did.
    pub applied: Applied,
    /// How the view changed by it.
    pub changes: Vec<Change>,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The cluster began.
    Founded,
    /// A seed's birth is recorded.
    SeedBorn,
    /// There is another seed, by this id.
    SeedAdded(SeedId),
    /// A seed is none any more.
    SeedRemoved,
    /// A life was admitted as this incarnation.
    Joined(Incarnation),
    /// That life was a member already, as this incarnation.
    Known(Incarnation),
    /// The member left.
    Left,
    /// These died; those were left out, each for its reason.
    Died {
        /// The dead.
        buried: Vec<MemberId>,
        /// The others.
        left_out: Vec<(MemberId, Refusal)>,
    },
    /// Nothing: it was refused.
    Refused(Refusal),
}

impl Entry {
    /// An entry under today's rules.
    pub fn new(body: Body) -> Self {
        Entry { rules: RULES, body }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Found { cluster, seeds } => write!(f, "Found {cluster} with {} seeds", seeds.len()),
            Body::SeedBirth { seed, birth } => write!(f, "SeedBirth {seed} {birth:x}"),
            Body::SeedAdd { address, replaces: Some(old) } => write!(f, "SeedAdd {address} for {old}"),
            Body::SeedAdd { address, replaces: None } => write!(f, "SeedAdd {address}"),
            Body::SeedRemove(seed) => write!(f, "SeedRemove {seed}"),
            Body::Join { candidate, replaces, .. } => write!(f, "Join {} for #{replaces}", candidate.address),
            Body::Leave(id) => write!(f, "Leave {id}"),
            Body::Deaths(verdicts) => write!(f, "Deaths of {}", verdicts.len()),
        }
    }
}
