//! The wire, by hand: frames and JSON, from the contract alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::common::DEADLINE;

pub(crate) fn write_frame(mut stream: &TcpStream, message: &Value) -> io::Result<()> {
    let payload = message.to_string().into_bytes();
    let mut frame = u32::try_from(payload.len()).expect("a short frame").to_be_bytes().to_vec();
    frame.extend_from_slice(&payload);
    stream.write_all(&frame)
}

/// The next frame, as bytes; none when the connection has ended.
pub(crate) fn read_frame(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("32 bits fit")];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

pub(crate) fn read_message(stream: &TcpStream) -> io::Result<Value> {
    let payload = read_frame(stream)?;
    assert_eq!(payload.first(), Some(&b'{'), "a program that speaks JSON is answered in JSON: {payload:?}");
    Ok(serde_json::from_slice(&payload).expect("what our nodes say is JSON"))
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("our node takes connections");
    stream.set_nodelay(true).expect("an option of every socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option of every socket");
    stream
}

/// One question on a connection of its own.
pub(crate) fn ask(to: SocketAddr, question: &Value) -> Value {
    let stream = connect(to);
    write_frame(&stream, question).expect("our node reads");
    read_message(&stream).expect("our node answers")
}

pub(crate) fn sha256_hex(content: &str) -> String {
    Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn text<'a>(message: &'a Value, key: &str) -> &'a str {
    message[key].as_str().unwrap_or("")
}

/// The address that stands in two fields of a message.
pub(crate) fn address_in(message: &Value, prefix: &str) -> String {
    format!("{}:{}", text(message, &format!("{prefix}ip")), message[format!("{prefix}port")])
}

pub(crate) fn addresses(peer_list: &Value) -> Vec<String> {
    let peers = peer_list.as_array().expect("peer_list is a list");
    for peer in peers {
        assert!(peer["degree"].is_u64(), "{peer} has a degree");
    }
    peers.iter().map(|peer| address_in(peer, "")).collect()
}
