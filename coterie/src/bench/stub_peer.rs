//! Somebody at an address who answers probes in the name of a life, as a member would, and does nothing else.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coterie_common::net::tcp::{self, TcpListener};
use coterie_common::net::{ConnectionEvent, connection, listener};
use coterie_common::{Address, Incarnation, Life, Message};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// A stub. Its address answers nothing any more once it is dropped.
#[derive(Debug)]
pub struct StubPeer {
    address: Address,
    life: Arc<AtomicU64>,
    task: AbortHandle,
}

impl StubPeer {
    /// Begins to listen.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = tcp::bind(address)?;
        let address = Address::new(address.ip(), socket.local_addr()?.port());
        let life = Arc::new(AtomicU64::new(0));
        let answering = answer_probes(tcp::adopt(socket)?, address, Arc::clone(&life));
        Ok(StubPeer { address, life, task: tokio::spawn(answering).abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.address
    }

    /// From now on it answers in the name of `life`.
    pub fn live(&self, life: Life) {
        self.life.store(life.0, Ordering::Relaxed);
    }
}

impl Drop for StubPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_probes(socket: TcpListener, address: Address, life: Arc<AtomicU64>) {
    let (events, mut inbox) = mpsc::channel(64);
    let mut outboxes = BTreeMap::new();
    let mut last = 0_u64;
    loop {
        tokio::select! {
            stream = listener::accept(&socket) => {
                last += 1;
                outboxes.insert(last, connection::spawn(last, stream, events.clone()));
            }
            Some((key, event)) = inbox.recv() => match event {
                ConnectionEvent::Message { wire, message: Message::Ping { nonce } } => {
                    let life = Some(Life(life.load(Ordering::Relaxed)));
                    let incarnation = Some(Incarnation::NONE);
                    let pong = Message::Pong { nonce, address, life, incarnation, ready: true };
                    if let Some(outbox) = outboxes.get(&key) {
                        let _ = outbox.say(&pong, wire, address);
                    }
                }
                ConnectionEvent::Message { .. } | ConnectionEvent::Drained => {}
                ConnectionEvent::Ended(_) => {
                    outboxes.remove(&key);
                }
            },
        }
    }
}
