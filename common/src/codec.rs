//! Messages to payloads and back.
//!
//! A payload that begins with `{` is JSON; one that begins with [`VERSION`] is bincode, as our own nodes speak
//! to each other. A node answers in the encoding it was spoken to. This is the only module that names bincode.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json::{self, JsonError};
use crate::limits::FRAME_BYTES_MAX;
use crate::{Address, Message, Wire};

/// The version of the binary protocol, its first byte. A payload with another version is refused by name.
pub const VERSION: u8 = 1;

/// Why a payload is no message. The connection it came on cannot be understood any further.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Nothing in it.
    #[error("empty payload")]
    Empty,
    /// Neither JSON nor a version of ours.
    #[error("protocol version {0}, this node speaks {VERSION}")]
    Version(u8),
    /// The binary message is broken.
    #[error("broken message: {0}")]
    Broken(String),
    /// The JSON message is broken.
    #[error("{0}")]
    Json(#[from] JsonError),
}

/// A payload, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// How it was said.
    pub wire: Wire,
    /// What was said; `None` where a JSON program said something that is none of our business.
    pub message: Option<Message>,
}

/// What `payload` says.
pub fn decode(payload: &[u8]) -> Result<Decoded, CodecError> {
    match payload.first() {
        None => Err(CodecError::Empty),
        Some(b'{') => Ok(Decoded { wire: Wire::Json, message: json::decode(payload)? }),
        Some(&VERSION) => Ok(Decoded { wire: Wire::Native, message: Some(from_bytes(&payload[1..])?) }),
        Some(&other) => Err(CodecError::Version(other)),
    }
}

/// The frames that say `message` in the encoding `wire`, each with its length, as `me` says it. Nothing, where
/// JSON has no word for it.
pub fn encode(message: &Message, wire: Wire, me: Address) -> Bytes {
    let mut out = BytesMut::new();
    match wire {
        Wire::Native => {
            out.put_u32(0);
            out.put_u8(VERSION);
            let mut writer = out.writer();
            let result = bincode::serde::encode_into_std_write(message, &mut writer, CONFIG);
            assert!(result.is_ok(), "a message of ours does not serialise: {result:?}");
            out = writer.into_inner();
            let length = out.len() - 4;
            out[..4].copy_from_slice(&(length as u32).to_be_bytes());
        }
        Wire::Json => {
            for payload in json::encode(message, me) {
                out.put_u32(payload.len() as u32);
                out.put_slice(&payload);
            }
        }
    }
    out.freeze()
}

/// What bincode counts of a frame at most. It counts a number by the bytes that it takes in memory, up to eight for one
/// in the frame: with the frame's own length as the limit, a view of twenty thousand members was sent and never read.
/// It bounds what a length that is a lie makes it reserve.
const COUNTED_MAX: usize = 8 * FRAME_BYTES_MAX;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<COUNTED_MAX>,
> = bincode::config::standard().with_limit::<COUNTED_MAX>();

/// The binary form of something that is kept or carried whole: log entries, snapshots, openraft's messages.
///
/// # Panics
/// If the type does not serialise, which is our own mistake.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let result = bincode::serde::encode_to_vec(value, bincode::config::standard());
    match result {
        Ok(bytes) => bytes,
        Err(error) => panic!("a type of ours does not serialise: {error}"),
    }
}

/// The value whose binary form `bytes` is, all of them.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    finish(bytes, bincode::serde::decode_from_slice(bytes, CONFIG))
}

/// As [`from_bytes`], for what this node wrote itself and what may be larger than a frame.
pub fn from_own_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    finish(bytes, bincode::serde::decode_from_slice(bytes, bincode::config::standard()))
}

fn finish<T>(bytes: &[u8], result: Result<(T, usize), bincode::error::DecodeError>) -> Result<T, CodecError> {
    match result {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(CodecError::Broken(format!("{} bytes too many", bytes.len() - read))),
        Err(error) => Err(CodecError::Broken(error.to_string())),
    }
}
