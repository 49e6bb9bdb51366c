//! What somebody saw, for the invariants to judge.
//!
//! A value that borrows, made for one call by whoever saw something: the world of models, or the taps of real nodes.

use bytes::Bytes;
use coterie_common::ProbeTarget;
use coterie_common::message::{ClusterId, DirectoryState, LinkMessage, MeshMessage, SeedId, SessionMessage};
use coterie_common::{Address, Epoch, Finding, Incarnation, Life, Line, MemberId, Message, View};
use coterie_seed::core::entry::{Entry, Outcome};
use coterie_seed::core::{Payload, Registry};

use crate::model::host::Host;

/// Whether a frame is one that doubts make: questions and answers of juries, hints, reports, proposals and votes.
pub fn is_of_doubts(message: &Message) -> bool {
    match message {
        Message::Link(message) => matches!(
            message,
            LinkMessage::SuspectRequest { .. }
                | LinkMessage::SuspectResponse { .. }
                | LinkMessage::SuspectUndecided { .. }
        ),
        Message::Session(message) => matches!(
            message,
            SessionMessage::Hint { .. } | SessionMessage::Report(_) | SessionMessage::Rejected { .. }
        ),
        Message::Mesh(message) => is_of_ballots(message),
        Message::Ping { .. } | Message::Pong { .. } | Message::Close(_) => false,
    }
}

/// Whether a frame between seeds is one that doubts make. Votes on registrations are counted with them.
pub fn is_of_ballots(message: &MeshMessage) -> bool {
    matches!(message, MeshMessage::DeathProposal(_) | MeshMessage::Vote(_))
}

/// Something that happened, as the invariants see it.
#[derive(Debug)]
#[allow(missing_docs, reason = "the sentence of each variant tells of its fields")]
pub enum Observed<'a> {
    /// An entry is about to be committed; the truth still has the registry as it was before.
    Committing { index: u64, payload: &'a Payload },
    /// It is committed, and this is what it did to the registry.
    Committed { index: u64, outcome: Option<&'a Outcome> },
    /// A seed's log hands an entry to its core as committed.
    HandedOver { seed: SeedId, index: u64, payload: &'a Payload },
    /// A leader wants an entry in the log.
    Proposed { entry: &'a Entry },
    /// A seed opened a ballot about a death.
    Ballot { dead: MemberId },
    /// The view of a peer has moved; by what a seed of that cluster has told, where the world knows.
    Viewed { peer: Address, start: u64, from: Epoch, view: &'a View, told_by: Option<ClusterId> },
    /// A seed has applied something.
    Applied { seed: SeedId, start: u64, registry: &'a Registry },
    /// A seed takes part in the log, with a directory of this directory id.
    TakesPart { seed: SeedId, directory_id: u64 },
    /// A seed lets another in, whose directory of this number has this on disk; and the clusters of both.
    Greeted {
        by: Host,
        directory_id: u64,
        state: &'a DirectoryState,
        clusters: (Option<ClusterId>, Option<ClusterId>),
    },
    /// A seed hears what the directory of this number has on disk. It may be overtaken by a greeting.
    Heard { by: Host, directory_id: u64, state: &'a DirectoryState },
    /// A seed's directory was emptied, or an older copy took its place.
    DirectoryReplaced { host: Host },
    /// A process was started.
    Started { host: Host },
    /// A node begins to probe somebody, and opens so many connections for that.
    Probing { by: Host, connections: usize },
    /// A seed's probe has ended.
    Probed { seed: SeedId, target: ProbeTarget, finding: Finding },
    /// A seed answered a registration with `ok`.
    Answered { member: MemberId },
    /// A node has written a line.
    Said { by: Host, line: &'a Line },
    /// A node has warned its operator.
    Warned { by: Host, text: &'a str },
    /// A peer asks to be registered.
    Registering { peer: Address },
    /// A node sends a frame that doubts make.
    Doubting,
    /// Something is done to so many hosts.
    Hit { hosts: usize },
    /// A peer is told to mend the overlay by dialling another.
    Mends { peer: Address, target: Address },
    /// A message is handed to the user of a peer.
    Delivered { peer: Address, life: Life, origin: Address, content: &'a Bytes },
    /// A peer ended in order, as this incarnation.
    LeftInOrder { member: MemberId },
}

/// The life that a line names under `key` and `incarnation`.
pub fn named(line: &Line, key: &str) -> Option<MemberId> {
    let address = line.get(key)?.to_string().parse().ok()?;
    let incarnation = line.get("incarnation")?.to_string().parse().ok()?;
    Some(MemberId { address, incarnation: Incarnation(incarnation) })
}
