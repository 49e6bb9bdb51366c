//! Why something was not done, in the words of the wire and the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Why {
    /// The request is not one that can be granted to anybody.
    BadRequest,
    /// Another life lives at the address.
    AddressInUse,
    /// The candidate did not answer a seed's probe with its life.
    NotAnswering,
    /// Asked too often in too short a time.
    TooOften,
    /// A limit is reached; the detail names it.
    Limit,
    /// The life is over: only a new one can be registered.
    Ended,
    /// Not enough seeds answered in time.
    NoQuorum,
    /// The one that is named is no member, or no longer this incarnation.
    NotMember,
    /// The reporter is no member.
    Stranger,
    /// A member cannot report itself.
    Oneself,
    /// Votes are repeated, or by somebody who may not vote.
    BadVotes,
    /// The suspect answered.
    Alive,
    /// The seed's own means failed: it cannot tell.
    CannotProbe,
    /// Somebody else's entry came first: what the ballot was about has changed.
    Superseded,
    /// Not from where it was asked.
    NotAllowed,
}

impl Why {
    /// The word on the wire and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::BadRequest => "bad_request",
            Why::AddressInUse => "address_in_use",
            Why::NotAnswering => "not_answering",
            Why::TooOften => "too_often",
            Why::Limit => "limit",
            Why::Ended => "ended",
            Why::NoQuorum => "no_quorum",
            Why::NotMember => "not_member",
            Why::Stranger => "stranger",
            Why::Oneself => "oneself",
            Why::BadVotes => "bad_votes",
            Why::Alive => "alive",
            Why::CannotProbe => "cannot_probe",
            Why::Superseded => "superseded",
            Why::NotAllowed => "not_allowed",
        }
    }

    /// Whether the same candidate may ask again and be granted it.
    pub fn may_retry(self) -> bool {
        match self {
            Why::BadRequest | Why::AddressInUse | Why::NotAllowed => false,
            Why::NotAnswering
            | Why::TooOften
            | Why::Limit
            | Why::Ended
            | Why::NoQuorum
            | Why::NotMember
            | Why::Stranger
            | Why::Oneself
            | Why::BadVotes
            | Why::Alive
            | Why::CannotProbe
            | Why::Superseded => true,
        }
    }
}

/// A refusal: its reason, and the thing and the value where the reason alone does not say them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub why: Why,
    /// What exactly, or nothing.
    pub detail: String,
}

impl Refusal {
    /// A refusal with `detail`.
    pub fn new(why: Why, detail: impl Into<String>) -> Self {
        Refusal { why, detail: detail.into() }
    }
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Refusal { why, detail: String::new() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.is_empty() {
            true => self.why.fmt(f),
            false => write!(f, "{}: {}", self.why, self.detail),
        }
    }
}
