//! How a seed ends.

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
