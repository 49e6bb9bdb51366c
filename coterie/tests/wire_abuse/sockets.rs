//! Raw sockets, and frames made by hand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::common::DEADLINE;

pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).expect("a short frame").to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

pub(crate) fn said(message: &Value) -> Vec<u8> {
    frame(message.to_string().as_bytes())
}

pub(crate) fn ping() -> Value {
    json!({"type": "PING", "from_ip": "192.0.2.7", "from_port": 9})
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("our node takes connections");
    stream.set_nodelay(true).expect("an option of every socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option of every socket");
    stream
}

pub(crate) fn read_message(mut stream: &TcpStream) -> io::Result<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("32 bits fit")];
    stream.read_exact(&mut payload)?;
    Ok(serde_json::from_slice(&payload)?)
}

pub(crate) fn ask(to: SocketAddr, question: &Value) -> Value {
    let mut stream = connect(to);
    stream.write_all(&said(question)).expect("our node reads");
    read_message(&stream).expect("our node answers")
}

/// Waits until the other end has closed the connection; what it says before that is passed over.
pub(crate) fn wait_for_close(what: &str, mut stream: &TcpStream) {
    let mut rest = [0; 4096];
    let mut said = Vec::new();
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(count) => said.extend_from_slice(&rest[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => {
                panic!("{what}: still open after {DEADLINE:?} ({error}), said {} bytes", said.len())
            }
        }
    }
}
