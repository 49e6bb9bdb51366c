//! What a probe found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Life;

/// How a probe of one life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finding {
    /// A PONG of that life came.
    Alive,
    /// The connection was refused: nobody listens there.
    Refused,
    /// Another life answered.
    OtherLife(Life),
    /// Nothing came before the patience ended.
    Silent,
    /// The prober had no descriptor, port or route: it knows nothing.
    CannotProbe,
}

impl Finding {
    /// Whether the life is dead as far as this probe tells; `None` where it tells nothing.
    pub fn is_dead(self) -> Option<bool> {
        match self {
            Finding::Alive => Some(false),
            Finding::Refused | Finding::OtherLife(_) | Finding::Silent => Some(true),
            Finding::CannotProbe => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Finding::Alive => "answered",
            Finding::Refused => "refused",
            Finding::OtherLife(_) => "other_life",
            Finding::Silent => "silent",
            Finding::CannotProbe => "cannot_probe",
        })
    }
}

/// What ICMP says of the host behind an address, for the record: it answers for a paused process too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostEvidence {
    /// An echo reply came.
    Answers,
    /// The host, or a router for it, reported it unreachable, or nothing came in time.
    Silent,
    /// Not asked, not permitted, or the probe was over sooner.
    Unknown,
}

impl fmt::Display for HostEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HostEvidence::Answers => "answers",
            HostEvidence::Silent => "silent",
            HostEvidence::Unknown => "unknown",
        })
    }
}
