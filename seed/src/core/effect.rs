//! What goes into a seed's core, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::message::{Answer, Candidate, CloseReason, MeshMessage, SeedId};
use coterie_common::{Finding, HostEvidence, Line, Message, ProbeOrder, Wire};

use super::entry::Entry;
use super::probes::Target;
use super::registry::Registry;

/// One session, numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// An entry of the log, committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Its index.
    pub index: u64,
    /// What it is.
    pub payload: Payload,
}

/// What a committed entry is.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One of ours.
    Entry(Entry),
    /// The log's own: the sets of voters in force from here on.
    Seeds(Vec<BTreeSet<SeedId>>),
    /// The log's own, without meaning for us.
    Blank,
}

/// What happened to the seed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The deadline that the core named has come.
    Wake,
    /// A frame came on a session, the first one of which is its first mention.
    Session {
        /// The session.
        session: SessionId,
        /// How it was said.
        wire: Wire,
        /// What was said.
        message: Message,
    },
    /// What was sent on a session is written.
    SessionDrained(SessionId),
    /// A session has ended.
    SessionClosed(SessionId),
    /// Another seed is connected.
    SeedUp {
        /// Which.
        seed: SeedId,
        /// The number of its data directory.
        birth: u64,
    },
    /// This seed's connection to another seed has ended.
    SeedDown(SeedId),
    /// Another seed's connection to this one has ended: nothing more is heard from it.
    SeedSilent(SeedId),
    /// Another seed said something.
    Mesh {
        /// Which.
        from: SeedId,
        /// What.
        message: MeshMessage,
    },
    /// The leader, as the log knows it.
    Leader {
        /// Who, if anybody.
        leader: Option<SeedId>,
        /// In which term.
        term: u64,
    },
    /// Entries are committed, in the order of the log.
    Committed(Vec<Commit>),
    /// A snapshot took the registry's place.
    Restored(Box<Registry>),
    /// An entry was not taken: this seed leads no longer, or not yet.
    ProposalFailed(Entry),
    /// The voters were not changed as [`Effect::ChangeVoters`] asked.
    VotersUnchanged,
    /// This seed, whose log is empty, takes the seat that a cluster keeps for it, among these.
    SeatTaken {
        /// Its id from now on.
        id: SeedId,
        /// The seeds of the cluster.
        seeds: BTreeMap<SeedId, String>,
    },
    /// A probe has ended.
    Probed {
        /// Of whom.
        target: Target,
        /// What was found.
        finding: Finding,
        /// What ICMP said meanwhile.
        host: HostEvidence,
    },
    /// A linearizable read may be answered once this index is applied; none: nobody could be sure.
    ReadReady {
        /// Which read.
        read: u64,
        /// The index.
        index: Option<u64>,
    },
    /// A registration without a session, from within the process.
    Register {
        /// Repeated by the answer.
        request: u64,
        /// Who.
        candidate: Candidate,
    },
    /// Stop in order.
    Stop,
}

/// What the core wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this on a session.
    Send {
        /// The session.
        to: SessionId,
        /// What.
        message: Message,
    },
    /// Say the same on many sessions, and tell when each has written it.
    Push {
        /// The sessions.
        to: Vec<SessionId>,
        /// What.
        message: Message,
    },
    /// Close a session when what was sent on it is written. The core will not mention it again.
    Close {
        /// The session.
        session: SessionId,
        /// The reason, said first.
        reason: CloseReason,
    },
    /// Say this to another seed, if it is connected.
    ToSeed {
        /// Which.
        to: SeedId,
        /// What.
        message: MeshMessage,
    },
    /// Append this to the log.
    Propose(Entry),
    /// Probe somebody.
    Probe(ProbeOrder),
    /// Find out which index a linearizable read must wait for.
    ReadIndex(u64),
    /// The answer to [`Input::Register`].
    Reply {
        /// Which request.
        request: u64,
        /// The answer.
        answer: Answer,
    },
    /// Be connected with these seeds, and with no others.
    Seeds {
        /// Those that there are.
        seeds: BTreeMap<SeedId, String>,
        /// Those that were removed, and have no vote any more.
        gone: BTreeSet<SeedId>,
    },
    /// Change the log's voters to these.
    ChangeVoters(BTreeSet<SeedId>),
    /// Write a line to the log.
    Log(Line),
}
