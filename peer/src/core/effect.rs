//! What goes into a peer's core, and what it wants done.

use bytes::Bytes;
use coterie_common::message::LinkMessage;
use coterie_common::{Address, Finding, HostEvidence, Line, MemberId, Message, ProbeOrder, Wire};
use std::time::Duration;

/// One connection to another node, numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A seed, by its place in the list; those that were added later have the places behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeedSlot(pub usize);

/// Why a dialled connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// No answer, no route, no descriptor: nothing is known.
    Other,
}

/// What happened to the peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process has started.
    Start,
    /// The deadline that the core named has come.
    Wake,
    /// A connection was opened as [`Effect::Dial`] asked.
    Dialled {
        /// To whom.
        address: Address,
        /// Its number.
        connection: ConnectionId,
    },
    /// It was not.
    DialFailed {
        /// To whom.
        address: Address,
        /// Why.
        failure: DialFailure,
    },
    /// A frame came on a connection, the first one of which may be its first mention.
    Frame {
        /// The connection.
        connection: ConnectionId,
        /// How it was said.
        wire: Wire,
        /// What was said.
        message: Message,
    },
    /// A connection has ended, for whatever reason.
    Ended {
        /// The connection.
        connection: ConnectionId,
    },
    /// A session was opened as [`Effect::OpenSession`] asked.
    SessionUp {
        /// Which seed.
        seed: SeedSlot,
    },
    /// A session was not opened, or has ended.
    SessionDown {
        /// Which seed.
        seed: SeedSlot,
    },
    /// A seed said something.
    Session {
        /// Which seed.
        seed: SeedSlot,
        /// What.
        message: Message,
    },
    /// A probe has ended.
    Probed {
        /// Who was probed.
        target: MemberId,
        /// What was found.
        finding: Finding,
        /// What ICMP said meanwhile.
        host: HostEvidence,
    },
    /// A witness answered on the connection of [`Effect::Ask`].
    Answered {
        /// Who.
        witness: Address,
        /// The answer.
        message: LinkMessage,
    },
    /// A line was typed.
    Console(String),
    /// The library's user has something to say.
    Broadcast(Bytes),
    /// Stop in order: leave, then end.
    Stop,
}

/// What the core wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this on a connection.
    Send {
        /// The connection.
        to: ConnectionId,
        /// What.
        message: Message,
    },
    /// Say the same on many connections; worth encoding once.
    SendMany {
        /// The connections.
        to: Vec<ConnectionId>,
        /// What.
        message: Message,
    },
    /// Close a connection when what was sent on it is written. The core will not mention it again.
    Close(ConnectionId),
    /// Open a connection.
    Dial {
        /// To whom.
        address: Address,
        /// How it speaks.
        wire: Wire,
    },
    /// Open a session.
    OpenSession {
        /// Which seed.
        seed: SeedSlot,
        /// Where it is: a name or an IP, and a port.
        address: String,
    },
    /// Say this to a seed.
    Tell {
        /// Which.
        seed: SeedSlot,
        /// What.
        message: Message,
    },
    /// Close a session; no [`Input::SessionDown`] follows.
    CloseSession(SeedSlot),
    /// Probe a member.
    Probe {
        /// Whom.
        target: MemberId,
        /// How.
        order: ProbeOrder,
    },
    /// The answer came by another way: stop probing.
    CancelProbe(MemberId),
    /// Ask one question on a connection of its own and wait for one answer.
    Ask {
        /// Whom.
        witness: Address,
        /// How it speaks.
        wire: Wire,
        /// What.
        message: LinkMessage,
        /// How long to wait.
        patience: Duration,
    },
    /// Write a line to the log.
    Log(Line),
    /// Tell the person at the console.
    Print(String),
    /// Warn the operator, on stderr.
    Warn(String),
    /// The user of the library was sent a message, for the first time.
    Deliver {
        /// Who said it.
        origin: Address,
        /// What.
        content: Bytes,
    },
    /// The end: in order, or refused for good with this reason.
    Exit(Result<(), String>),
}
