//! The JSON conversation of programs in other languages, and what it means in ours.
//!
//! The field names are theirs and stay as they are. Fields that we add are optional in both directions;
//! unknown fields and unknown `type`s are ignored. What JSON has no word for (whole views, exchanges of recent
//! gossip, anything between seeds) is not said to such a program.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::line::hex;
use crate::message::{
    Candidate, Cause, CloseReason, DeathReport, LinkMessage, Registration, Roster, Rumor, RumorId,
    SessionMessage,
};
use crate::{Address, Event, Incarnation, Life, MemberId, Message, Tags, Timestamp, Wire};

/// Why a payload is no message of that conversation.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or a field of the wrong type.
    #[error("broken JSON: {0}")]
    Broken(#[from] serde_json::Error),
    /// A field whose value cannot be.
    #[error("{field} {value:?} is not {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
enum Json {
    RegisterRequest {
        ip: String,
        port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<u64>,
    },
    RegisterResponse {
        status: String,
        peer_list: Vec<JsonPeer>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    PeerListRequest {
        #[serde(default)]
        ip: Option<String>,
        #[serde(default)]
        port: Option<u16>,
    },
    PeerListResponse {
        peer_list: Vec<JsonPeer>,
    },
    DeadReport {
        dead_ip: String,
        dead_port: u16,
        #[serde(default)]
        timestamp: f64,
    },
    DeadConfirmed {
        dead_ip: String,
        dead_port: u16,
    },
    Hello {
        ip: String,
        port: u16,
    },
    Gossip {
        content: String,
        #[serde(default)]
        hash: Option<String>,
        origin_ip: String,
        origin_port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender_ip: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender_port: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    Ping {
        from_ip: String,
        from_port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<u64>,
    },
    Pong {
        from_ip: String,
        from_port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    SuspectRequest {
        suspect_ip: String,
        suspect_port: u16,
        requester_ip: String,
        requester_port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    SuspectResponse {
        suspect_ip: String,
        suspect_port: u16,
        alive: bool,
        responder_ip: String,
        responder_port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct JsonPeer {
    ip: String,
    port: u16,
    degree: u32,
}

/// What a JSON program said; `None` where it is none of our business.
pub(crate) fn decode(payload: &[u8]) -> Result<Option<Message>, JsonError> {
    let session = |message| Some(Message::Session(message));
    let link = |message| Some(Message::Link(message));
    Ok(match serde_json::from_slice(payload)? {
        Json::RegisterRequest { ip, port, life } => session(SessionMessage::Register(Candidate {
            address: address("ip", &ip, port)?,
            life: Life(life.unwrap_or(0)),
            wire: Wire::Json,
            tags: Tags::new(),
        })),
        Json::PeerListRequest { ip, port } => {
            let asker = ip.zip(port).map(|(ip, port)| address("ip", &ip, port)).transpose()?;
            session(SessionMessage::ListRequest { asker })
        }
        Json::DeadReport { dead_ip, dead_port, timestamp } => session(SessionMessage::Report(DeathReport {
            dead: current(address("dead_ip", &dead_ip, dead_port)?),
            suspected: None,
            timestamp: Timestamp::from_micros((timestamp.max(0.0) * 1e6) as u64),
            cause: Cause::Asked,
            votes: Vec::new(),
            undecided: true,
        })),
        Json::Hello { ip, port } => link(LinkMessage::Hello {
            address: address("ip", &ip, port)?,
            life: Life::NONE,
            incarnation: Incarnation::NONE,
            mending: false,
            cluster: None,
        }),
        gossip @ Json::Gossip { .. } => link(LinkMessage::Gossip(rumor(gossip)?)),
        Json::Ping { nonce, .. } => Some(Message::Ping { nonce: nonce.unwrap_or(0) }),
        Json::Pong { from_ip, from_port, nonce, life, incarnation } => Some(Message::Pong {
            nonce: nonce.unwrap_or(0),
            address: address("from_ip", &from_ip, from_port)?,
            life: life.map(Life),
            incarnation: incarnation.map(Incarnation),
            ready: true,
        }),
        Json::SuspectRequest { suspect_ip, suspect_port, requester_ip, requester_port, incarnation } => {
            link(LinkMessage::SuspectRequest {
                suspect: named(address("suspect_ip", &suspect_ip, suspect_port)?, incarnation),
                cause: Cause::Asked,
                requester: address("requester_ip", &requester_ip, requester_port)?,
                cluster: None,
            })
        }
        Json::SuspectResponse {
            suspect_ip,
            suspect_port,
            alive,
            responder_ip,
            responder_port,
            incarnation,
        } => link(LinkMessage::SuspectResponse {
            suspect: named(address("suspect_ip", &suspect_ip, suspect_port)?, incarnation),
            alive,
            responder: address("responder_ip", &responder_ip, responder_port)?,
        }),
        Json::RegisterResponse { .. }
        | Json::PeerListResponse { .. }
        | Json::DeadConfirmed { .. }
        | Json::Unknown => None,
    })
}

fn rumor(gossip: Json) -> Result<Rumor, JsonError> {
    let Json::Gossip { content, hash, origin_ip, origin_port, id, seq, incarnation, .. } = gossip else {
        unreachable!("called for GOSSIP only")
    };
    let origin = address("origin_ip", &origin_ip, origin_port)?;
    let content_hash = RumorId::of_content(content.as_bytes());
    if let Some(hash) = hash.filter(|h| *h != content_hash.to_string()) {
        return Err(JsonError::Value { field: "hash", value: hash, expected: "the SHA-256 of the content" });
    }
    let numbered = id.is_some();
    let sequence = if numbered { seq.unwrap_or(0) } else { 0 };
    let incarnation = Incarnation(if numbered { incarnation.unwrap_or(0) } else { 0 });
    let expected = match sequence {
        0 => content_hash,
        n => RumorId::of(origin, incarnation, n, content.as_bytes()),
    };
    if let Some(id) = id.filter(|id| *id != expected.to_string()) {
        return Err(JsonError::Value {
            field: "id",
            value: id,
            expected: "the SHA-256 of origin, number and content",
        });
    }
    Ok(Rumor { id: expected, origin, incarnation, sequence, via: None, content: Bytes::from(content) })
}

fn address(field: &'static str, ip: &str, port: u16) -> Result<Address, JsonError> {
    match ip.parse::<IpAddr>() {
        Ok(ip) => Ok(Address::new(ip, port)),
        Err(_) => Err(JsonError::Value { field, value: ip.to_owned(), expected: "an IP" }),
    }
}

fn current(address: Address) -> MemberId {
    MemberId { address, incarnation: Incarnation::NONE }
}

fn named(address: Address, incarnation: Option<u64>) -> MemberId {
    MemberId { address, incarnation: Incarnation(incarnation.unwrap_or(0)) }
}

/// The payloads that say `message` to a JSON program, as `me` says it; none where JSON has no word for it.
pub(crate) fn encode(message: &Message, me: Address) -> Vec<Vec<u8>> {
    let said: Vec<Json> = match message {
        Message::Ping { nonce } => {
            vec![Json::Ping { from_ip: me.ip().to_string(), from_port: me.port(), nonce: Some(*nonce) }]
        }
        Message::Pong { nonce, address, life, incarnation, .. } => vec![Json::Pong {
            from_ip: address.ip().to_string(),
            from_port: address.port(),
            nonce: Some(*nonce),
            life: life.map(|l| l.0),
            incarnation: incarnation.map(|i| i.0),
        }],
        Message::Link(message) => encode_link(message, me).into_iter().collect(),
        Message::Session(message) => encode_session(message),
        Message::Close(
            CloseReason::Ended(_) | CloseReason::Unknown | CloseReason::Full | CloseReason::Duplicate,
        )
        | Message::Close(CloseReason::ShuttingDown | CloseReason::Rejoining | CloseReason::Silent)
        | Message::Close(CloseReason::Protocol(_) | CloseReason::Refused(_) | CloseReason::Removed(_))
        | Message::Close(
            CloseReason::OtherCluster(_)
            | CloseReason::DirectoryCopy(_)
            | CloseReason::Succeeded(_)
            | CloseReason::Replaced(_),
        )
        | Message::Mesh(_) => Vec::new(),
    };
    said.iter().filter_map(|json| serde_json::to_vec(json).ok()).collect()
}

fn encode_link(message: &LinkMessage, me: Address) -> Option<Json> {
    let of = |id: MemberId| Some(id.incarnation.0).filter(|&i| i != 0);
    match message {
        LinkMessage::Hello { address, .. } => {
            Some(Json::Hello { ip: address.ip().to_string(), port: address.port() })
        }
        LinkMessage::Gossip(rumor) => Some(Json::Gossip {
            content: String::from_utf8(rumor.content.to_vec()).ok()?,
            hash: Some(hex(&RumorId::of_content(&rumor.content).0)),
            origin_ip: rumor.origin.ip().to_string(),
            origin_port: rumor.origin.port(),
            sender_ip: Some(me.ip().to_string()),
            sender_port: Some(me.port()),
            id: Some(rumor.id.to_string()),
            seq: Some(rumor.sequence),
            incarnation: Some(rumor.incarnation.0),
        }),
        LinkMessage::SuspectRequest { suspect, requester, .. } => Some(Json::SuspectRequest {
            suspect_ip: suspect.address.ip().to_string(),
            suspect_port: suspect.address.port(),
            requester_ip: requester.ip().to_string(),
            requester_port: requester.port(),
            incarnation: of(*suspect),
        }),
        LinkMessage::SuspectResponse { suspect, alive, responder } => Some(Json::SuspectResponse {
            suspect_ip: suspect.address.ip().to_string(),
            suspect_port: suspect.address.port(),
            alive: *alive,
            responder_ip: responder.ip().to_string(),
            responder_port: responder.port(),
            incarnation: of(*suspect),
        }),
        // A JSON program that hears nothing asks others.
        LinkMessage::Recent(_) | LinkMessage::Want(_) | LinkMessage::SuspectUndecided { .. } => None,
    }
}

fn encode_session(message: &SessionMessage) -> Vec<Json> {
    match message {
        SessionMessage::Registered(Registration::Admitted { incarnation, roster }) => {
            vec![Json::RegisterResponse {
                status: "ok".to_owned(),
                peer_list: peers(roster, Some(*incarnation)),
                reason: None,
                retry: None,
                epoch: Some(roster.epoch.0),
                incarnation: Some(incarnation.0),
            }]
        }
        SessionMessage::Registered(Registration::Refused(refusal)) => {
            let timed_out = refusal.why == crate::Why::NoQuorum;
            vec![Json::RegisterResponse {
                status: if timed_out { "timeout" } else { "rejected" }.to_owned(),
                peer_list: Vec::new(),
                reason: Some(refusal.to_string()),
                retry: Some(refusal.why.may_retry()),
                epoch: None,
                incarnation: None,
            }]
        }
        SessionMessage::List(roster) => vec![Json::PeerListResponse { peer_list: peers(roster, None) }],
        SessionMessage::Changes { changes, .. } => {
            let died = |event: &Event| match event {
                Event::Died(id) => Some(Json::DeadConfirmed {
                    dead_ip: id.address.ip().to_string(),
                    dead_port: id.address.port(),
                }),
                Event::Joined(_) | Event::Left(_) | Event::Replaced { .. } => None,
            };
            changes.iter().filter_map(|c| died(&c.event)).collect()
        }
        SessionMessage::Cluster(_)
        | SessionMessage::Register(_)
        | SessionMessage::Open { .. }
        | SessionMessage::Observe { .. }
        | SessionMessage::ListRequest { .. }
        | SessionMessage::ChangesSince(_)
        | SessionMessage::Whole { .. }
        | SessionMessage::Hint { .. }
        | SessionMessage::Report(_)
        | SessionMessage::Rejected { .. }
        | SessionMessage::Leave { .. }
        | SessionMessage::Neighbours(_)
        | SessionMessage::Seeds { .. }
        | SessionMessage::ChangeSeeds(_)
        | SessionMessage::SeedsChanged(_)
        | SessionMessage::Dial(_)
        | SessionMessage::Say { .. }
        | SessionMessage::Said(_)
        | SessionMessage::EvidenceRequest(_)
        | SessionMessage::Evidence(_)
        | SessionMessage::StatusRequest
        | SessionMessage::SilenceMax(_)
        | SessionMessage::Status(_) => Vec::new(),
    }
}

/// The members of `roster`, without the one that asks.
fn peers(roster: &Roster, asker: Option<Incarnation>) -> Vec<JsonPeer> {
    let others = roster.members.iter().filter(|(m, _)| Some(m.id.incarnation) != asker);
    others
        .map(|(m, degree)| JsonPeer {
            ip: m.id.address.ip().to_string(),
            port: m.id.address.port(),
            degree: *degree,
        })
        .collect()
}
