//! What goes into a peer's core, and what it wants done.
//!
//! The two types are the whole contract with the shell. An effect that takes time is answered by an input, and some
//! are never answered: who asked then waits for a deadline of its own.

use bytes::Bytes;
use coterie_common::message::LinkMessage;
use coterie_common::{Address, Finding, HostEvidence, Line, MemberId, Message, ProbeOrder, Wire};
use std::time::Duration;

/// One connection to another node, numbered by the shell. A number is never given twice, so what comes late about one
/// that has ended is about no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A seed, by its place in the list; those that were added later have the places behind it. Whoever is removed keeps
/// its place, so a slot names one seed for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeedSlot(pub usize);

/// Why a dialled connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there. If a member should be there, it is suspected.
    Refused,
    /// No answer, no route, no descriptor: nothing is known. That is as likely this peer's own trouble, so nobody is
    /// suspected.
    Other,
}

/// What happened to the peer. One at a time, with the time at which it is taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process has started. Carries nothing: what is due at the start is due in any step.
    Start,
    /// The deadline that the core named has come. A late one says that this process stood still.
    Wake,
    /// A connection was opened as [`Effect::Dial`] asked. It may come when nobody waits for it any more; then the
    /// connection is closed again.
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
    /// A connection has ended, for whatever reason. Not after [`Effect::Close`]: the core has forgotten it by then. A
    /// Close of the other end comes before it, as a frame.
    Ended {
        /// The connection.
        connection: ConnectionId,
    },
    /// A session was opened as [`Effect::OpenSession`] asked.
    SessionUp {
        /// Which seed.
        seed: SeedSlot,
    },
    /// A session was not opened, or has ended. Both are the same to the core: the seed is dialled again after a
    /// pause.
    SessionDown {
        /// Which seed.
        seed: SeedSlot,
        /// Why, for people.
        why: String,
    },
    /// A seed said something.
    Session {
        /// Which seed.
        seed: SeedSlot,
        /// What.
        message: Message,
    },
    /// A probe has ended. One that was cancelled may still end, if its result was on its way.
    Probed {
        /// Who was probed.
        target: MemberId,
        /// What was found.
        finding: Finding,
        /// What ICMP said meanwhile. For the log only: it answers for a paused process too, and decides nothing.
        host: HostEvidence,
    },
    /// A juror answered on the connection of [`Effect::Ask`]. Whoever does not answer causes no input: the jury has a
    /// time of its own.
    Answered {
        /// Who.
        juror: Address,
        /// The answer.
        message: LinkMessage,
    },
    /// A line was typed.
    Console(String),
    /// The library's user has something to say.
    Broadcast(Bytes),
    /// Stop in order: leave, then end. Said again, it changes nothing.
    Stop,
}

/// What the core wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this on a connection. On one that has ended meanwhile it is lost without a word; its end is on its way as
    /// an input.
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
    /// Close a connection when what was sent on it is written. The core will not mention it again. Nor will the
    /// shell.
    Close(ConnectionId),
    /// Open a connection. Answered by [`Input::Dialled`] or [`Input::DialFailed`].
    Dial {
        /// To whom.
        address: Address,
        /// How it speaks. Before the first frame nobody can tell, so it is taken from the view.
        wire: Wire,
    },
    /// Open a session. Answered by [`Input::SessionUp`] or [`Input::SessionDown`], unless it is closed first.
    OpenSession {
        /// Which seed.
        seed: SeedSlot,
        /// Where it is: a name or an IP, and a port. A name is resolved at each attempt.
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
    /// Probe a member. Answered by [`Input::Probed`], unless it is cancelled. One of a member at a time.
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
        juror: Address,
        /// How it speaks.
        wire: Wire,
        /// What.
        message: LinkMessage,
        /// How long to wait. Connecting included; then it is given up, and nothing is said.
        patience: Duration,
    },
    /// Write a line to the log.
    Log(Line),
    /// Tell the person at the console.
    Print(String),
    /// Warn the operator, on stderr.
    Warn(String),
    /// The user of the library was sent a message, for the first time. What this peer says itself is not delivered to
    /// it.
    Deliver {
        /// Who said it.
        origin: Address,
        /// What.
        content: Bytes,
    },
    /// The end: in order, or refused for good with this reason.
    Exit(Result<(), String>),
}
