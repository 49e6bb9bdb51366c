//! The way to the other seeds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::codec::VERSION;
use coterie_common::message::{MeshMessage, SeedHello, SeedId};
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

/// Whether two seeds can be of one cluster; if not, why.
pub(super) fn check_hello(own: &SeedHello, other: &SeedHello) -> Result<(), String> {
    if other.version != VERSION {
        return Err(format!("protocol version {}, this seed speaks {VERSION}", other.version));
    }
    if other.directory_id == 0 {
        return Err("directory 0, which stands for none".to_owned());
    }
    // Ids follow from the lists: that the lists differ is the better reason, where they do.
    match (&own.history, &other.history) {
        (Some(a), Some(b)) if a.cluster != b.cluster => {
            let (ours, theirs) = (a.cluster, b.cluster);
            let empty = "empty its directory and run coterie seed-add";
            return Err(match () {
                () if b.predecessors.contains(&ours) => {
                    format!(
                        "cluster {theirs}, which goes on for {ours} without this seed: {empty} {}",
                        own.address
                    )
                }
                () if a.predecessors.contains(&theirs) => {
                    format!(
                        "cluster {theirs}, for which {ours} goes on without {}: {empty} {0}",
                        other.address
                    )
                }
                () => format!("cluster {theirs}, this seed is of cluster {ours}"),
            });
        }
        (None, None) if own.list != other.list => {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|seed| !b.contains(seed)).cloned().collect::<Vec<_>>().join(",")
            };
            let (ours, theirs) = (only(&own.list, &other.list), only(&other.list, &own.list));
            return Err(format!(
                "seed lists differ: only here [{ours}], only at {} [{theirs}]",
                other.address
            ));
        }
        _ => {}
    }
    // Before it has a seat, a seed goes by its rank in its own list, which may be anybody's id.
    if other.id == own.id && own.history.is_some() == other.history.is_some() {
        return Err(format!("{} says that it is this seed, {}", other.address, own.address));
    }
    // Who has a history knows better than a list who the seeds are.
    match own.list.contains(&other.address) || own.history.is_some() || other.history.is_some() {
        true => Ok(()),
        false => Err(format!("{} is not in the seed list", other.address)),
    }
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
