//! The way to the other seeds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::{MeshMessage, SeedId};
use coterie_common::net::tcp::TcpStream;
use coterie_common::net::{Outbox, connection};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Message, Wire};
use tokio::sync::{Notify, oneshot};

use crate::raft::network::Carrier;

/// How long one dial of another seed may take.
const DIAL_TIME_MAX: Duration = Duration::from_secs(2);

/// The connections that this seed has dialled, and what the log asked on them.
///
/// Shared with openraft's tasks, which send without passing through the core; it holds routes, no state of the
/// protocol.
#[derive(Debug)]
pub(super) struct Mesh {
    me: Address,
    links: Mutex<BTreeMap<SeedId, SeedLink>>,
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct SeedLink {
    outbox: Outbox,
    /// Whether the log may be sent there: never to a seed whose directory id is not recorded.
    takes_log: bool,
}

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    waiting: BTreeMap<(SeedId, u64), oneshot::Sender<Bytes>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mesh {
    pub(super) fn new(me: Address) -> Self {
        Mesh { me, links: Mutex::default(), calls: Mutex::default() }
    }

    /// A dialled seed has said who it is.
    pub(super) fn connect(&self, seed: SeedId, outbox: Outbox) {
        lock(&self.links).insert(seed, SeedLink { outbox, takes_log: false });
    }

    /// Whether the log may be sent to a seed.
    pub(super) fn set_takes_log(&self, seed: SeedId, takes_log: bool) {
        if let Some(link) = lock(&self.links).get_mut(&seed) {
            link.takes_log = takes_log;
        }
    }

    /// A connection has ended, and whatever was asked on it goes unanswered.
    pub(super) fn disconnect(&self, seed: SeedId) {
        lock(&self.links).remove(&seed);
        lock(&self.calls).waiting.retain(|(to, _), _| *to != seed);
    }

    /// A seed has been silent for too long: the connection to it is given up, and it is dialled anew. What the kernel
    /// repeats on the old one, it repeats after as long again as the network has been gone by then.
    pub(super) fn give_up(&self, seed: SeedId) {
        if let Some(link) = lock(&self.links).get(&seed) {
            link.outbox.cut();
        }
    }

    /// Says something to a seed, if it is connected.
    pub(super) fn say(&self, to: SeedId, message: MeshMessage) {
        if let Some(link) = lock(&self.links).get(&to)
            && link.outbox.say(&Message::Mesh(message), Wire::Native, self.me).is_err()
        {
            link.outbox.cut();
        }
    }

    /// Says the same to all.
    pub(super) fn say_to_all(&self, message: &MeshMessage) {
        let seeds: Vec<SeedId> = lock(&self.links).keys().copied().collect();
        seeds.into_iter().for_each(|seed| self.say(seed, message.clone()));
    }

    /// The log of another seed has answered.
    pub(super) fn replied(&self, from: SeedId, number: u64, reply: Bytes) {
        if let Some(waiting) = lock(&self.calls).waiting.remove(&(from, number)) {
            let _ = waiting.send(reply);
        }
    }
}

impl Carrier for Mesh {
    fn call(&self, to: SeedId, request: Bytes) -> oneshot::Receiver<Bytes> {
        let (waiting, reply) = oneshot::channel();
        if !lock(&self.links).get(&to).is_some_and(|link| link.takes_log) {
            return reply;
        }
        let number = {
            let mut calls = lock(&self.calls);
            calls.last += 1;
            let number = calls.last;
            // Calls that nobody waits for any more are forgotten with the next.
            calls.waiting.retain(|_, waiting| !waiting.is_closed());
            calls.waiting.insert((to, number), waiting);
            number
        };
        self.say(to, MeshMessage::Raft { number, request });
        reply
    }
}

/// Opens a connection to another seed after `pause`, or `at_once` when that is said.
pub(super) async fn dial(seed: SeedEntry, pause: Duration, at_once: &Notify) -> Result<TcpStream, String> {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = at_once.notified() => {}
    }
    connection::dial_host(&seed.host, seed.port, DIAL_TIME_MAX).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_before_a_dial_ends_when_that_is_said() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let seed = SeedEntry { host: "127.0.0.1".to_owned(), port, key: None };
        let at_once = Notify::new();
        at_once.notify_one();
        let dialled = dial(seed, Duration::from_hours(1), &at_once);
        let dialled =
            tokio::time::timeout(Duration::from_secs(30), dialled).await.expect("no hour is waited for");
        assert!(dialled.is_ok(), "{dialled:?}");
    }
}
