//! Between seeds.
//!
//! ```text
//! seed (dials every other)               seed
//!   | SeedHello(cluster, id, ..) ----------> |   one cluster? else Close(Refused)
//!   | <------------------- SeedHello         |
//!   | Request(n, register | leave | ..) ---> |   at the leader
//!   | <------------------ Reply(n, answer)   |
//!   | <--------- RegisterProposal, DeathProposal (from the leader)
//!   | Vote --------------------------------> |
//!   | Raft(n, bytes) ----> <---- RaftReply   |   openraft's own conversation
//!   | Soft(state) -------------------------> |
//!   | Directory(what is on disk) ----------> |   to all; remembered there
//!   | <-------------------------------- Relay|   something for a session that the other seed holds
//! ```
//!
//! Each seed dials each other one; what it asks goes out on its own connection, and the answers come back on
//! the same.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Candidate, Cause, DeathReport, SessionMessage, SoftState};
use crate::line::hex;
use crate::{Address, Finding, HostEvidence, Incarnation, Life, MemberId, Refusal};

/// A seed's number in the log: its rank in the sorted list at formation; of one that was added later, 1000 and the
/// index of the entry that added it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeedId(pub u64);

impl fmt::Display for SeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cluster's name. It follows from the directories that began it, whose numbers are drawn: so no two clusters have
/// the same, and whoever leads first gives it the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// The name of the cluster that these seeds begin: by address, the numbers of their directories.
    pub fn of(founders: &BTreeMap<&str, u64>) -> Self {
        let mut hash = Sha256::new();
        for (address, directory_id) in founders {
            hash.update((address.len() as u64).to_be_bytes());
            hash.update(address);
            hash.update(directory_id.to_be_bytes());
        }
        let digest = hash.finalize();
        ClusterId(std::array::from_fn(|place| digest[place]))
    }

    /// The name of the cluster that goes on for a `former` one, with a seed that has this directory.
    pub fn succeeding(former: ClusterId, directory_id: u64) -> Self {
        let digest = Sha256::new().chain_update(former.0).chain_update(directory_id.to_be_bytes()).finalize();
        ClusterId(std::array::from_fn(|place| digest[place]))
    }
}

impl fmt::Display for ClusterId {
    /// The first four hex digits, which suffice to tell one's clusters apart by eye.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..2]))
    }
}

/// What a seed says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedHello {
    /// The protocol it speaks.
    pub version: u8,
    /// Its id.
    pub id: SeedId,
    /// The number drawn when its data directory was made.
    pub directory_id: u64,
    /// Where it listens, as its list names it.
    pub address: String,
    /// The seeds of its list, sorted.
    pub list: Vec<String>,
    /// What its log tells of the cluster; none while it has no Found.
    pub history: Option<History>,
    /// What its directory has on disk.
    pub directory: DirectoryState,
}

impl SeedHello {
    /// The cluster that its log is of.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.history.as_ref().map(|history| history.cluster)
    }
}

/// Where an entry stands in the log, and the term in which it was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term.
    pub term: u64,
    /// The index.
    pub index: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of term {}", self.index, self.term)
    }
}

/// What a data directory has on disk, as the seed says that runs on it. It never has less afterwards: who finds less in
/// it has a copy of before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryState {
    /// How often a seed was started on it.
    pub run: u64,
    /// A number drawn by the process that runs on it: two of the same run are two copies.
    pub process: u64,
    /// The highest term in which it has voted, or followed.
    pub term: u64,
    /// The last entry that it has and knows to be committed. It may find that it knows less after a start.
    pub committed: LogPosition,
    /// The last entry that it has. What is not committed may be taken back.
    pub last: LogPosition,
}

/// What a log tells of a cluster, applied or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its seeds.
    pub seats: BTreeMap<SeedId, Seat>,
    /// Seeds that were removed, with their directory ids. Their ids are never used again.
    pub removed: BTreeMap<SeedId, Option<u64>>,
    /// The clusters that it goes on for, by an operator's word, the latest last.
    pub predecessors: Vec<ClusterId>,
}

/// A seed's place in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its address, as the log names it.
    pub address: String,
    /// The number of the data directory that takes it, once it is known.
    pub directory_id: Option<u64>,
}

impl History {
    /// The seat of the seed at that address.
    pub fn seat_at(&self, address: &str) -> Option<(SeedId, &Seat)> {
        self.seats.iter().find(|(_, seat)| seat.address == address).map(|(id, seat)| (*id, seat))
    }

    /// Whether that data directory has that seat, or had it: one that was removed has a vote until the log's own entry
    /// says otherwise.
    pub fn is_seated(&self, id: SeedId, directory_id: u64) -> bool {
        let known =
            self.seats.get(&id).map(|seat| seat.directory_id).or_else(|| self.removed.get(&id).copied());
        known == Some(Some(directory_id))
    }
}

/// What an operator wants changed about the seeds, while they run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeedChange {
    /// One more, at this address.
    Add(String),
    /// The one at this address no longer.
    Remove(String),
    /// The one at this address has lost its data directory: another takes its place.
    Replace {
        /// Where.
        address: String,
        /// Also where it has its directory, and takes part.
        force: bool,
    },
}

impl SeedChange {
    /// The same about another address, or another spelling of it.
    #[must_use]
    pub fn at(self, address: String) -> Self {
        match self {
            SeedChange::Add(_) => SeedChange::Add(address),
            SeedChange::Remove(_) => SeedChange::Remove(address),
            SeedChange::Replace { force, .. } => SeedChange::Replace { address, force },
        }
    }

    /// The address that it is about.
    pub fn address(&self) -> &str {
        match self {
            SeedChange::Add(address) | SeedChange::Remove(address) | SeedChange::Replace { address, .. } => {
                address
            }
        }
    }
}

/// One message between seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MeshMessage {
    /// First frame in both directions, and again whenever the sender's history changes.
    Hello(SeedHello),
    /// To the leader, on behalf of a session.
    Request {
        /// Repeated by the answer.
        number: u64,
        /// What is asked.
        forwarded: ForwardedRequest,
    },
    /// The leader's answer.
    Reply {
        /// The request's number.
        number: u64,
        /// What came of it.
        answer: Answer,
    },
    /// Leader: vote on this candidate.
    RegisterProposal(RegisterProposal),
    /// Leader: vote on this death.
    DeathProposal(DeathProposal),
    /// A seed's vote on either.
    Vote(VoteReply),
    /// Something of openraft's.
    Raft {
        /// Repeated by the answer.
        number: u64,
        /// The request, as openraft's types serialise.
        request: Bytes,
    },
    /// openraft's answer.
    RaftReply {
        /// The request's number.
        number: u64,
        /// The answer, as openraft's types serialise.
        reply: Bytes,
    },
    /// To the leader: sessions and links that I know of.
    Soft(SoftState),
    /// Leader: hand this to that member's session, if you hold it.
    Relay {
        /// Whose session.
        to: MemberId,
        /// What.
        message: Box<SessionMessage>,
    },
    /// This is on my disk by now. To all, when it has changed, and once a second.
    Directory(DirectoryState),
}

/// What a seed asks of the leader for one of its sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ForwardedRequest {
    /// Admit this candidate.
    Register(Candidate),
    /// Record that this member left.
    Leave(MemberId),
    /// Judge this report.
    Report {
        /// The report.
        report: DeathReport,
        /// Who holds the session it came on.
        reporter: MemberId,
    },
    /// Change the seeds.
    Seeds {
        /// How.
        change: SeedChange,
        /// Who was the seed at that address when it was asked. The change is about that one: what is carried out late,
        /// or twice, must not hit who took its place.
        seat: Option<SeedId>,
    },
}

/// What came of a forwarded request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// In the log: the incarnation, and the entry that must be applied before the answer is passed on.
    Admitted {
        /// The incarnation.
        incarnation: Incarnation,
        /// The entry.
        index: u64,
    },
    /// The leave, the death, or the change of the seeds, is in the log at this entry.
    Recorded {
        /// The entry.
        index: u64,
    },
    /// It was refused.
    Refused(Refusal),
}

/// The number of a ballot: the term of the leader that opened it, and a count within it. So no vote can be
/// carried from one term to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BallotId {
    /// The leader's term.
    pub term: u64,
    /// Counts from 1 in each term.
    pub number: u64,
}

impl fmt::Display for BallotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.number)
    }
}

/// A ballot about a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterProposal {
    /// Its number.
    pub ballot: BallotId,
    /// Who wants to join.
    pub candidate: Candidate,
    /// The incarnation now at the address, which would be ended.
    pub replaces: Incarnation,
    /// The leader's commit index: a voter judges by a registry at least so new.
    pub commit: u64,
}

/// A ballot about a death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathProposal {
    /// Its number.
    pub ballot: BallotId,
    /// Who is thought dead.
    pub dead: MemberId,
    /// The leader's commit index.
    pub commit: u64,
    /// What speaks against it. Where a connection broke, another must open soon, or its host is gone; where it is
    /// silent, a frame that just came from it speaks for it.
    pub cause: Cause,
}

/// What a ballot is about, as each vote repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The admission of a life at an address, in place of an incarnation.
    Admission {
        /// The address.
        address: Address,
        /// The life.
        life: Life,
        /// The incarnation that it ends, 0 for none.
        replaces: Incarnation,
    },
    /// The death of an incarnation.
    Death(MemberId),
}

/// One seed's yes, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who votes.
    pub seed: SeedId,
    /// In which ballot.
    pub ballot: BallotId,
    /// About what.
    pub subject: Subject,
    /// What its own probe found.
    pub finding: Finding,
    /// What ICMP said of the host meanwhile.
    pub host: HostEvidence,
}

/// A seed's answer to a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteReply {
    /// The vote itself; it counts as a yes only without a refusal.
    pub vote: Vote,
    /// Why no.
    pub refusal: Option<Refusal>,
    /// How long ago the probe behind it ended, in milliseconds.
    pub age_ms: u64,
}
