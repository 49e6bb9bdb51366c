//! How a seed ends.

use coterie_common::message::CloseReason;

/// How far its end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// It runs.
    Not,
    /// It closes its sessions and hands leadership over.
    Stopping(Reason),
    /// That is done.
    Stopped(Reason),
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was told to.
    Asked,
    /// It was removed from its cluster: it stops for good.
    Removed,
    /// Another seed has its address now: it stops for good, too.
    Replaced,
}

impl Reason {
    /// Why a seed ends that is none any more, and is told so.
    pub(super) fn told(parting: &CloseReason) -> Self {
        match parting {
            CloseReason::Replaced(_) => Reason::Replaced,
            _ => Reason::Removed,
        }
    }

    /// Why it ends that was not told to.
    pub(super) fn text(self) -> Option<&'static str> {
        match self {
            Reason::Asked => None,
            Reason::Removed => Some("this seed was removed from its cluster"),
            Reason::Replaced => Some(
                "this seed was replaced by another at its address: with an empty data directory it takes that seat",
            ),
        }
    }
}

impl Shutdown {
    /// It is to end; a reason that was given before stands.
    pub(super) fn begin(&mut self, reason: Reason) {
        if *self == Shutdown::Not {
            *self = Shutdown::Stopping(reason);
        }
    }

    /// What had to be done before is done.
    pub(super) fn complete(&mut self) {
        match *self {
            Shutdown::Stopping(reason) | Shutdown::Stopped(reason) => *self = Shutdown::Stopped(reason),
            Shutdown::Not => panic!("a seed has stopped that was not to end"),
        }
    }

    /// Whether it has begun.
    pub(super) fn has_begun(self) -> bool {
        self != Shutdown::Not
    }
}
