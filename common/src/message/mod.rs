//! What nodes say to each other. The documentation of these types is the protocol.
//!
//! One connection carries frames in both directions, in order. Three conversations share the port of a node,
//! told apart by the first frame:
//!
//! ```text
//! peer  -> peer   Hello   a link: gossip, pings, suspicions, until Close        [`LinkMessage`]
//! any   -> seed   Cluster, Register, Observe   a session: requests and pushes      [`SessionMessage`]
//! seed  -> seed   SeedHello   the mesh: ballots, log, forwarded requests        [`MeshMessage`]
//! any   -> any    Ping, SuspectRequest, ListRequest   a question, answered on its own connection
//! ```
//!
//! Between our own nodes a message is bincode behind a version byte ([`crate::codec`]); programs in other
//! languages say a part of it in JSON ([`crate::json`]).

mod evidence;
mod link;
mod mesh;
mod session;
mod soft_state;

use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, SeedFinding, Stages};
pub use link::{Cause, LinkMessage, Rumor, RumorId};
pub use mesh::{
    Answer, BallotId, ClusterId, DeathProposal, DirectoryState, ForwardedRequest, History, LogPosition,
    MeshMessage, RegisterProposal, Seat, SeedChange, SeedHello, SeedId, Subject, Vote, VoteReply,
};
pub use session::{
    Candidate, DeathReport, JurorVote, Links, Registration, Roster, SeedStatus, SessionMessage,
};
pub use soft_state::{Means, SoftState};

use crate::{Address, Epoch, Incarnation, Life};

/// Everything that can stand in a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Are you there? On links, sessions and connections of their own; answered on the same one.
    Ping {
        /// Repeated by the answer, so that it cannot be that of an earlier ping. 0 from a JSON program.
        nonce: u64,
    },
    /// I am, and this is who.
    Pong {
        /// The nonce of the ping, 0 when a JSON program does not repeat it.
        nonce: u64,
        /// Where the answering node listens.
        address: Address,
        /// The life that answers; none from a seed or a JSON program.
        life: Option<Life>,
        /// Its incarnation, once it is a member.
        incarnation: Option<Incarnation>,
        /// Whether it takes part: a peer is a member, a seed knows a leader.
        ready: bool,
    },
    /// I am closing this connection on purpose. Only an end without it makes the sender a suspect.
    Close(CloseReason),
    /// Between neighbours.
    Link(LinkMessage),
    /// Between a peer or an observer and a seed.
    Session(SessionMessage),
    /// Between seeds.
    Mesh(MeshMessage),
}

/// Why a node closes a connection on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// The life at the other end is over since this epoch: it has to join anew.
    Ended(Epoch),
    /// The other end is not in the view, and did not come into it within two seconds.
    Unknown,
    /// The neighbour has as many links as it may.
    Full,
    /// The pair has another link, which stays.
    Duplicate,
    /// The node stops, or leaves.
    ShuttingDown,
    /// The node has been declared dead and joins anew, as another life.
    Rejoining,
    /// Nothing was heard for too long.
    Silent,
    /// What was said makes no sense here; the text says what.
    Protocol(String),
    /// The two seeds cannot be of one cluster; the text says why.
    Refused(String),
    /// The seed of this id was removed from its cluster. Another at the same address may have taken its place, and is
    /// not meant.
    Removed(SeedId),
    /// This seed is of that cluster, and the other end of another one.
    OtherCluster(ClusterId),
    /// The other seed runs on a copy of a data directory: it lacks what that one had, or that one is in use; the text
    /// says which. It ends.
    DirectoryCopy(String),
    /// The other end's cluster goes on as that one, by an operator's word: with its members, without the seeds that it
    /// had.
    Succeeded(ClusterId),
    /// The seed of this id was replaced: another has its address. Who still has the former directory is not meant.
    Replaced(SeedId),
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CloseReason::Ended(epoch) => write!(f, "ended at epoch {epoch}"),
            CloseReason::Unknown => f.write_str("unknown"),
            CloseReason::Full => f.write_str("full"),
            CloseReason::Duplicate => f.write_str("duplicate"),
            CloseReason::ShuttingDown => f.write_str("shutting_down"),
            CloseReason::Rejoining => f.write_str("rejoining"),
            CloseReason::Silent => f.write_str("silent"),
            CloseReason::Protocol(text) => write!(f, "protocol: {text}"),
            CloseReason::Refused(text) => write!(f, "refused: {text}"),
            CloseReason::DirectoryCopy(text) => write!(f, "a copy of a data directory: {text}"),
            CloseReason::OtherCluster(cluster) => write!(f, "of another cluster, {cluster}"),
            CloseReason::Succeeded(cluster) => write!(f, "of cluster {cluster}, which goes on for yours"),
            CloseReason::Replaced(seed) => write!(f, "seed {seed} was replaced by another at its address"),
            CloseReason::Removed(seed) => write!(f, "seed {seed} was removed from the cluster"),
        }
    }
}
