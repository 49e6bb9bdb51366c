//! Between neighbours in the overlay.
//!
//! ```text
//! dialler                         dialled
//!   | Hello(life, incarnation) ---> |      in the view? then a link, and
//!   | <--- Hello(life, incarnation) |      (a JSON program does not answer; its link is up at once)
//!   | <--- Recent --- Recent ---->  |      both say what they heard lately
//!   | <--- Want   --- Want   ---->  |      and ask for what they missed
//!   | Gossip ...  Ping ... Pong     |
//!   | SuspectRequest -------------> |      probes the suspect by itself
//!   | <----------- SuspectResponse  |
//!   | Close(reason) --------------> |
//! ```

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ClusterId;
use crate::limits::{CONTENT_BYTES_MAX, VIA_BYTES_MAX};
use crate::line::hex;
use crate::{Address, Incarnation, Life, MemberId};

/// One message between neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// This is me; let us be neighbours. First frame of a link, in both directions.
    Hello {
        /// Where the sender listens.
        address: Address,
        /// Its life; [`Life::NONE`] from a JSON program.
        life: Life,
        /// Its incarnation; 0 from a JSON program.
        incarnation: Incarnation,
        /// Whether the seeds told the sender to dial, because the overlay came apart: such a link is taken
        /// even by a neighbour that has as many as it wants.
        mending: bool,
        /// Of which cluster it is a member; none from a JSON program.
        cluster: Option<ClusterId>,
    },
    /// Something was said; pass it on.
    Gossip(Rumor),
    /// These I heard lately.
    Recent(Vec<RumorId>),
    /// These of yours I missed.
    Want(Vec<RumorId>),
    /// Somebody seems dead to me; see for yourself and vote.
    SuspectRequest {
        /// Whom to probe; incarnation 0 means whoever is a member there now.
        suspect: MemberId,
        /// What made the sender suspect it.
        cause: Cause,
        /// Who asks.
        requester: Address,
        /// Of which cluster it is a member: whom the incarnation means is told by that cluster's log alone. None from a
        /// JSON program.
        cluster: Option<ClusterId>,
    },
    /// I have seen for myself.
    SuspectResponse {
        /// Who was probed.
        suspect: MemberId,
        /// The vote.
        alive: bool,
        /// Who votes.
        responder: Address,
    },
    /// I cannot tell: ask somebody else.
    SuspectUndecided {
        /// Who was to be probed.
        suspect: MemberId,
        /// Who does not vote.
        responder: Address,
    },
}

/// What starts a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// A connection ended without Close.
    ConnectionLost,
    /// Pings in a row went unanswered.
    PingsMissed,
    /// Dialling it was refused.
    ConnectRefused,
    /// A JSON program asks without saying why.
    Asked,
    /// No seed holds a session of it.
    Absent,
    /// It speaks, and answers no ping.
    Deaf,
}

impl Cause {
    /// Whether it is a connection that broke: then another must open soon, or the host is gone.
    pub fn is_break(self) -> bool {
        match self {
            Cause::ConnectionLost | Cause::ConnectRefused => true,
            Cause::PingsMissed | Cause::Asked | Cause::Absent | Cause::Deaf => false,
        }
    }

    /// Whether nothing but silence speaks against the suspect: then any frame of it speaks for it.
    pub fn is_silence(self) -> bool {
        match self {
            Cause::PingsMissed | Cause::Absent => true,
            Cause::ConnectionLost | Cause::ConnectRefused | Cause::Asked | Cause::Deaf => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::ConnectionLost => "connection_lost",
            Cause::PingsMissed => "pings_missed",
            Cause::ConnectRefused => "connect_refused",
            Cause::Asked => "asked",
            Cause::Absent => "absent",
            Cause::Deaf => "deaf",
        })
    }
}

/// The identity of a gossip message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RumorId(pub [u8; 32]);

impl RumorId {
    /// The identity of the `sequence`-th message of one life: the same words may be said twice.
    pub fn of(origin: Address, incarnation: Incarnation, sequence: u64, content: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let origin = origin.to_string();
        hash.update((origin.len() as u64).to_be_bytes());
        hash.update(origin.as_bytes());
        hash.update(incarnation.0.to_be_bytes());
        hash.update(sequence.to_be_bytes());
        hash.update(content);
        RumorId(hash.finalize().into())
    }

    /// The identity of a message of which only the content is known.
    pub fn of_content(content: &[u8]) -> Self {
        RumorId(Sha256::digest(content).into())
    }
}

impl fmt::Debug for RumorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..6]))
    }
}

impl fmt::Display for RumorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A gossip message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rumor {
    /// Its identity.
    pub id: RumorId,
    /// Who said it.
    pub origin: Address,
    /// In which incarnation; 0 when a JSON program did.
    pub incarnation: Incarnation,
    /// Its number among what that incarnation said, from 1; 0 when a JSON program did not number it.
    pub sequence: u64,
    /// On whose behalf, when it was handed to the origin by an observer.
    pub via: Option<String>,
    /// What was said.
    pub content: Bytes,
}

impl Rumor {
    /// What it takes to keep it, in bytes; its identity and numbers are little beside that.
    pub fn bytes(&self) -> usize {
        self.content.len() + self.via.as_ref().map_or(0, String::len)
    }

    /// Whether content and name are no longer than allowed.
    pub fn fits(&self) -> bool {
        self.content.len() <= CONTENT_BYTES_MAX
            && self.via.as_ref().is_none_or(|via| via.len() <= VIA_BYTES_MAX)
    }

    /// Whether the identity is that of origin, number and content; a message without a number must have the
    /// identity of its content.
    pub fn is_sound(&self) -> bool {
        let expected = match self.sequence {
            0 => RumorId::of_content(&self.content),
            n => RumorId::of(self.origin, self.incarnation, n, &self.content),
        };
        self.id == expected
    }
}
