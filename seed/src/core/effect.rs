//! What goes into a seed's core, and what it wants done.
//!
//! These two types are the core's whole boundary: what is no input cannot influence it, what is no effect it cannot
//! bring about. So the simulator, which makes the ones and performs the others, stands for network, disk and clock at
//! once.
//!
//! Left out: inputs that are answered in the same call. Whoever wants to know something asks the core, which changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::message::{Answer, Candidate, CloseReason, ClusterId, MeshMessage, SeedId};
use coterie_common::{Finding, HostEvidence, Line, Message, ProbeOrder, Wire};

use super::entry::Entry;
use super::formation::Founding;
use super::registry::Registry;
use coterie_common::ProbeTarget;

/// One session, numbered by the shell. A number is not given twice in one run of the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// An entry of the log, committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Its index. A life that it admits has it as incarnation, a view that it makes as epoch.
    pub index: u64,
    /// What it is.
    pub payload: Payload,
}

/// What a committed entry is.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One of ours.
    Entry(Entry),
    /// Raft's membership entry: the sets of voters in force from here on. Two while they are being changed: a majority
    /// of each must agree (Raft, section 6).
    Seeds(Vec<BTreeSet<SeedId>>),
    /// Raft's empty entry, by which a new leader commits what came before it. It tells the registry nothing but that
    /// its index is applied.
    Blank,
}

/// What happened to the seed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The deadline that the core named has come. Nothing more is in it: what is due is looked at in every step.
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
    /// What was sent on a session is written. Told once for each push of it, never for what was merely sent.
    SessionDrained(SessionId),
    /// A session has ended. It may be one that the core has closed and forgotten.
    SessionClosed(SessionId),
    /// Another seed is connected. This seed dialled it and was greeted, so it can be spoken to. It may have been heard
    /// before, on the connection by which it dialled this one.
    SeedUp {
        /// Which.
        seed: SeedId,
        /// The number of its data directory.
        directory_id: u64,
        /// Where it listens, as it says.
        address: String,
    },
    /// Another seed was met, which knows all up to this index to be committed. Told before anything of its log comes:
    /// what a seed that has just started lacks of it was decided without it.
    DecidedBefore {
        /// The cluster whose log that is. A seed that is of none yet may meet seeds of several.
        cluster: ClusterId,
        /// The index.
        index: u64,
    },
    /// This seed's connection to another seed has ended. The shell dials again, unless it was removed; until then
    /// nothing can be said to it, though it may still be heard.
    SeedDown(SeedId),
    /// Another seed's connection to this one has ended: nothing more is heard from it. Whom it holds sessions of is not
    /// known any more; that it can be spoken to may still be true.
    SeedSilent(SeedId),
    /// Another seed said something.
    Mesh {
        /// Which.
        from: SeedId,
        /// What.
        message: MeshMessage,
    },
    /// The leader, as the log knows it. This seed itself is named only when it has applied an entry of its own term: by
    /// then its registry is as new as all that was ever committed, and it may judge.
    Leader {
        /// Who, if anybody.
        leader: Option<SeedId>,
        /// In which term.
        term: u64,
    },
    /// Entries are committed, in the order of the log. Never one with a lower index after one with a higher.
    Committed(Vec<Commit>),
    /// A snapshot took the registry's place. This seed was too far behind to be sent the entries themselves.
    Restored(Box<Registry>),
    /// An entry was not taken: this seed leads no longer, or not yet. Or its answer was lost: it may still be
    /// committed, so whatever is proposed in its stead must bear that both are.
    ProposalFailed(Entry),
    /// The voters were not changed as [`Effect::ChangeVoters`] asked. A change that succeeds is told by the log alone.
    VotersUnchanged,
    /// It is decided that this seed begins a cluster, with others that are as empty, or takes part in one:
    /// the founding may still be lost with the only seed that has it, and be made again. Said before its log begins.
    Forms(Founding),
    /// This seed, whose log is empty, takes the seat that a cluster keeps for it, among these. Before its log begins,
    /// and so before it can lead or vote.
    IdAssigned {
        /// Its id from now on.
        id: SeedId,
        /// The seeds of the cluster.
        seeds: BTreeMap<SeedId, String>,
    },
    /// A probe has ended. Each probe that was ordered ends in one of these, whatever it found.
    Probed {
        /// Of whom.
        target: ProbeTarget,
        /// What was found.
        finding: Finding,
        /// What ICMP said meanwhile.
        host: HostEvidence,
    },
    /// A linearizable read may be answered once this index is applied; none: nobody could be sure. Each read that was
    /// asked for ends in one of these.
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
    /// Stop in order. The log is stopped by the shell, afterwards: entries may still be applied.
    Stop,
}

/// What the core wants done. The shell does it in this order, but for [`Effect::Propose`]: what is to be appended is
/// gathered, and appended together at the end of the shell's round.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this on a session.
    Send {
        /// The session.
        to: SessionId,
        /// What.
        message: Message,
    },
    /// Say the same on many sessions, and tell when each has written it. It is encoded once for all that speak alike.
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
    /// Say this to another seed, if it is connected. If it is not, nobody is told that it was lost.
    ToSeed {
        /// Which.
        to: SeedId,
        /// What.
        message: MeshMessage,
    },
    /// Append this to the log. Only a seed that leads wants this, and `Context::take_effects` sees to it.
    Propose(Entry),
    /// Probe somebody. The result comes as an input; nothing waits for it meanwhile.
    Probe(ProbeOrder),
    /// Find out which index a linearizable read must wait for. The leader asks a majority whether it still leads
    /// (Ongaro's thesis, 6.4).
    ReadIndex(u64),
    /// The answer to [`Input::Register`].
    Reply {
        /// Which request.
        request: u64,
        /// The answer.
        answer: Answer,
    },
    /// Be connected with these seeds, and with no others. Wanted whenever either may have changed, also if both are as
    /// before.
    Seeds {
        /// Those that there are.
        seeds: BTreeMap<SeedId, String>,
        /// Those that were removed, and have no vote any more.
        gone: BTreeSet<SeedId>,
    },
    /// Change the log's voters to these. By joint consensus, and a new one has the log before it has a vote.
    ChangeVoters(BTreeSet<SeedId>),
    /// Write a line to the log.
    Log(Line),
    /// Warn the operator, on stderr.
    Warn(String),
}
