//! What stands in the log.
//!
//! An entry brings with it whatever is needed to check it again: the ballot and the votes. Times in it are for people;
//! no seed judges by them, for that would need clocks that agree.
//!
//! Left out until something makes them: entries for keys, tokens and changed tags. The version of the rules allows them
//! to be added while seeds are upgraded one by one.

use std::collections::BTreeMap;
use std::fmt;

use coterie_common::message::{BallotId, Candidate, Cause, ClusterId, JurorVote, SeedId, Stages, Vote};
use coterie_common::{Address, Change, Incarnation, MemberId, Refusal};
use serde::{Deserialize, Serialize};

/// The version of the rules by which entries are applied. A later version of this program applies old entries by old
/// rules, so that all seeds agree while they are upgraded one by one. There is one version yet, so nothing reads it.
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
        /// Its seeds. With the directory ids of those that the first leader was connected with.
        seeds: BTreeMap<SeedId, SeedRecord>,
    },
    /// A seed that was late at the founding has a data directory of this directory id. The leader proposes it when it
    /// is connected with that seed; the first one is kept.
    SeedDirectory {
        /// Who.
        seed: SeedId,
        /// The number drawn when its directory was made.
        directory_id: u64,
    },
    /// Another seed. Its id is 1000 and the index of this entry; it votes once its directory id is known. The number
    /// comes from the index so that none is used twice.
    SeedAdd {
        /// Where it listens, as it is to be named.
        address: String,
        /// The seed whose place it takes, which is removed.
        replaces: Option<SeedId>,
    },
    /// A seed no longer. It votes until the log's own entry about the voters follows.
    SeedRemove(SeedId),
    /// A life is admitted.
    Join {
        /// The ballot that carried it.
        ballot: BallotId,
        /// Who.
        candidate: Candidate,
        /// The incarnation that ends with it, 0 for none. Named, so that a ballot about one life does not end another
        /// that came meanwhile.
        replaces: Incarnation,
        /// The yes votes.
        votes: Vec<Vote>,
    },
    /// A member left of its own will. Without a ballot: nobody but the life itself may ask for it.
    Leave(MemberId),
    /// Members died. Each is judged by itself. One that does not hold leaves the others standing.
    Deaths(Vec<DeathRecord>),
}

/// A seed as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// Its address, as the list named it at the founding, or as it was added.
    pub address: String,
    /// The number of its data directory, once it is known. From then on it is never another.
    pub directory_id: Option<u64>,
}

/// A death, as the seeds found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeathRecord {
    /// Who.
    pub dead: MemberId,
    /// The ballot that carried it.
    pub ballot: BallotId,
    /// The yes votes of seeds. These alone count when the entry is applied.
    pub votes: Vec<Vote>,
    /// What made somebody doubt it. An absence remains one, though reports may have joined the ballot later.
    pub cause: Cause,
    /// The peer that reported it first; none for an absence.
    pub reporter: Option<Address>,
    /// The votes of its jury, for the record. They decided that the seeds were asked, and nothing else.
    pub jurors: Vec<JurorVote>,
    /// When what happened. By the clocks of the reporter and of the leader.
    pub stages: Stages,
}

/// What came of applying an entry. The same at every seed, for it follows from the registry and the entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it did.
    pub applied: Applied,
    /// How the view changed by it. Nothing, if it was refused; several only for deaths.
    pub changes: Vec<Change>,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The cluster began.
    Founded,
    /// A seed's directory id is recorded. Also if it was before, as this very number.
    DirectoryRecorded,
    /// There is another seed, by this id.
    SeedAdded(SeedId),
    /// A seed is none any more.
    SeedRemoved,
    /// A life was admitted as this incarnation.
    Joined(Incarnation),
    /// That life was a member already, as this incarnation. No change, and no refusal: an entry that is proposed twice
    /// admits once.
    Known(Incarnation),
    /// The member left.
    Left,
    /// Those whose deaths hold died: the changes tell who. These were left out, each for its reason.
    Died {
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
            Body::SeedDirectory { seed, directory_id } => write!(f, "SeedDirectory {seed} {directory_id:x}"),
            Body::SeedAdd { address, replaces: Some(old) } => write!(f, "SeedAdd {address} for {old}"),
            Body::SeedAdd { address, replaces: None } => write!(f, "SeedAdd {address}"),
            Body::SeedRemove(seed) => write!(f, "SeedRemove {seed}"),
            Body::Join { candidate, replaces, .. } => write!(f, "Join {} for #{replaces}", candidate.address),
            Body::Leave(id) => write!(f, "Leave {id}"),
            Body::Deaths(records) => write!(f, "Deaths of {}", records.len()),
        }
    }
}
