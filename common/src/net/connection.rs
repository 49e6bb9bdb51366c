//! One connection: a task that reads frames, a task that writes them.
//!
//! The owner of a core never waits for a socket. What it sends goes into a bounded outbox; what arrives comes as
//! events into its own bounded inbox, and while that is full nothing is read, so the remote's window closes. All
//! that is waiting in an outbox is written with one call, which makes one frame out of many small ones on the way.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::guests::host_at;
use super::resolve;
use super::tcp::{OwnedReadHalf, OwnedWriteHalf, TcpStream, connect, notice_vanishing};
use crate::codec::{self, Decoded};
use crate::frame::Frames;
use crate::limits::{
    FIRST_FRAME_TIME_MAX, FRAME_BYTES_MAX, FRAME_TIME_MAX, OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX,
    WRITE_TIME_MAX,
};
use crate::{Address, Message, Wire};

/// What is read from a socket at once: small, because a node has thousands of connections.
const READ_BYTES: usize = 4 << 10;

/// What is gathered for one write at most.
const WRITE_BYTES: usize = 64 << 10;

/// How long the rest of what a remote says is awaited after this end closed, so that it reads our last frame
/// rather than a reset.
const LINGER: Duration = Duration::from_millis(500);

/// What happens on a connection.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// A message came.
    Message {
        /// How it was said.
        wire: Wire,
        /// What.
        message: Message,
    },
    /// All that was sent before [`Outbox::mark`] is written.
    Drained,
    /// The connection has ended; with what was wrong, where the remote did not speak as it should.
    Ended(Option<String>),
}

enum Out {
    Frames(Bytes),
    Mark,
    Close,
}

/// Where to send to a connection. It ends when this is dropped, or closed.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Out>,
    bytes: Arc<AtomicUsize>,
    closing: Arc<Notify>,
    cut: Arc<Notify>,
    remote: Option<Address>,
    is_from_this_host: bool,
}

/// The outbox is full: the remote does not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {OUTBOX_BYTES_MAX} bytes or {OUTBOX_FRAMES_MAX} frames wait to be written")]
pub struct Overflow;

impl Outbox {
    /// Where the other end is, for people.
    pub fn remote(&self) -> String {
        self.remote.map_or_else(|| "somewhere".to_owned(), |remote| remote.to_string())
    }

    /// The host at the other end; none, where the connection was gone as soon as it was made.
    pub fn remote_host(&self) -> Option<IpAddr> {
        self.remote.map(|remote| host_at(remote.ip()))
    }

    /// Whether the other end is a program on this host. No kernel takes packets from outside that claim to be its own;
    /// but behind a proxy that runs here there may be anybody.
    pub fn is_from_this_host(&self) -> bool {
        self.is_from_this_host
    }

    /// Sends encoded frames.
    pub fn send(&self, frames: Bytes) -> Result<(), Overflow> {
        if frames.is_empty() {
            return Ok(());
        }
        let length = frames.len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > OUTBOX_BYTES_MAX {
            return Err(Overflow);
        }
        self.push(Out::Frames(frames))
    }

    /// Sends a message, as `me` says it in `wire`.
    pub fn say(&self, message: &Message, wire: Wire, me: Address) -> Result<(), Overflow> {
        let frames = codec::encode(message, wire, me);
        if wire == Wire::Native && frames.len() > FRAME_BYTES_MAX {
            // The other end would close the connection over it; limits further up keep this from happening.
            tracing::error!(
                "a message of {} bytes is not sent, at most {FRAME_BYTES_MAX} are taken",
                frames.len()
            );
            return Ok(());
        }
        self.send(frames)
    }

    /// Asks for [`ConnectionEvent::Drained`] when everything sent before is written.
    pub fn mark(&self) -> Result<(), Overflow> {
        self.push(Out::Mark)
    }

    /// Closes the connection when everything sent before is written.
    pub fn close(&self) {
        if self.push(Out::Close).is_err() {
            self.cut();
        }
    }

    /// Closes the connection now: the remote does not read what was sent before.
    pub fn cut(&self) {
        self.cut.notify_one();
        self.closing.notify_one();
    }

    fn push(&self, out: Out) -> Result<(), Overflow> {
        match self.queue.try_send(out) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
        }
    }
}

/// Opens a connection, or gives up after `patience`.
pub async fn dial(address: Address, patience: Duration) -> io::Result<TcpStream> {
    let stream = timeout(patience, connect(address.socket())).await;
    let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Between the dials of two addresses that one name has, while the first has not failed.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Opens a connection to `host`, an IP or a name, and `port`, or tells why there is none. A name may have several
/// addresses, of which some are dead: the next is tried when one fails or is slow, and the first to answer counts.
/// (RFC 8305 does so with the two families of addresses.)
pub async fn dial_host(host: &str, port: u16, patience: Duration) -> Result<TcpStream, String> {
    let mut addresses = resolve::resolve_all(host, port).await?.into_iter();
    let (mut dials, mut failed) = (JoinSet::new(), None);
    loop {
        match addresses.next() {
            Some(address) => drop(dials.spawn(dial(address, patience))),
            None if dials.is_empty() => return Err(failed.unwrap_or_else(|| "has no address".to_owned())),
            None => {}
        }
        let pause = if addresses.len() > 0 { NEXT_ADDRESS_AFTER } else { patience };
        match timeout(pause, dials.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failed = Some(describe(&error)),
            Ok(Some(Err(error))) => failed = Some(error.to_string()),
            // The next one is due; or all are on their way, and end by themselves.
            Ok(None) | Err(_) => {}
        }
    }
}

/// Why nobody answers, for people.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refuses connections".to_owned(),
        io::ErrorKind::TimedOut => "does not answer".to_owned(),
        _ => error.to_string(),
    }
}

/// Begins to read and write `stream`. Events come to `inbox` under `key`, [`ConnectionEvent::Ended`] the last of them.
pub fn spawn<K>(key: K, stream: TcpStream, inbox: mpsc::Sender<(K, ConnectionEvent)>) -> Outbox
where
    K: Copy + Send + 'static,
{
    notice_vanishing(&stream);
    let (queue, written) = mpsc::channel(OUTBOX_FRAMES_MAX);
    let (bytes, closing) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let cut = Arc::new(Notify::new());
    // None, where it is gone already.
    let remote = stream.peer_addr().ok().map(Address::from);
    let here = stream.local_addr().ok().map(Address::from);
    let is_from_this_host =
        remote.zip(here).is_some_and(|(remote, here)| remote.ip().is_loopback() || remote.ip() == here.ip());
    let outbox = Outbox {
        queue,
        bytes: Arc::clone(&bytes),
        closing: Arc::clone(&closing),
        cut: Arc::clone(&cut),
        remote,
        is_from_this_host,
    };
    let (read, write) = stream.into_split();
    tokio::spawn(read_loop(key, read, inbox.clone(), Arc::clone(&closing)));
    let writing = async move {
        tokio::select! {
            () = write_loop(key, write, written, bytes, inbox) => {}
            () = cut.notified() => {}
        }
        closing.notify_one();
    };
    tokio::spawn(writing);
    outbox
}

async fn read_loop<K: Copy>(
    key: K,
    mut read: OwnedReadHalf,
    inbox: mpsc::Sender<(K, ConnectionEvent)>,
    closing: Arc<Notify>,
) {
    let error = tokio::select! {
        result = read_frames(key, &mut read, &inbox) => result.err(),
        () = closing.notified() => {
            let mut rest = BytesMut::with_capacity(READ_BYTES);
            let discard = async { while read.read_buf(&mut rest).await.is_ok_and(|n| n > 0) { rest.clear() } };
            let _ = timeout(LINGER, discard).await;
            None
        }
    };
    let _ = inbox.send((key, ConnectionEvent::Ended(error))).await;
}

/// Reads until the remote closes; an error is something that it should not have said.
async fn read_frames<K: Copy>(
    key: K,
    read: &mut OwnedReadHalf,
    inbox: &mpsc::Sender<(K, ConnectionEvent)>,
) -> Result<(), String> {
    let mut frames = Frames::default();
    // What is awaited, and for how long: the first byte at all, then the end of each frame that has begun.
    let mut awaited = "said nothing";
    let mut limit = Some(Box::pin(sleep(FIRST_FRAME_TIME_MAX)));
    loop {
        frames.buffer().reserve(READ_BYTES);
        let was_inside = frames.is_inside_frame();
        let count = tokio::select! {
            count = read.read_buf(frames.buffer()) => count,
            () = expire(&mut limit) => return Err(format!("{awaited} in time")),
        };
        if count.unwrap_or(0) == 0 {
            return Ok(());
        }
        let mut took_one = false;
        while let Some(payload) = frames.next_frame().map_err(|e| e.to_string())? {
            took_one = true;
            let Decoded { wire, message } = codec::decode(&payload).map_err(|e| e.to_string())?;
            if let Some(message) = message
                && inbox.send((key, ConnectionEvent::Message { wire, message })).await.is_err()
            {
                return Ok(());
            }
        }
        if !frames.is_inside_frame() {
            limit = None;
        } else if took_one || !was_inside {
            awaited = "a frame did not end";
            limit = Some(Box::pin(sleep(FRAME_TIME_MAX)));
        }
    }
}

async fn expire(limit: &mut Option<Pin<Box<Sleep>>>) {
    match limit {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

async fn write_loop<K: Copy>(
    key: K,
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Out>,
    bytes: Arc<AtomicUsize>,
    inbox: mpsc::Sender<(K, ConnectionEvent)>,
) {
    let mut gathered = BytesMut::new();
    while let Some(first) = queue.recv().await {
        let (mut next, mut marked, mut close) = (Some(first), false, false);
        while let Some(out) = next {
            match out {
                Out::Frames(frames) => gathered.extend_from_slice(&frames),
                Out::Mark => marked = true,
                Out::Close => close = true,
            }
            next = if close || gathered.len() >= WRITE_BYTES { None } else { queue.try_recv().ok() };
        }
        if !matches!(timeout(WRITE_TIME_MAX, write.write_all(&gathered)).await, Ok(Ok(()))) {
            return;
        }
        bytes.fetch_sub(gathered.len(), Ordering::Relaxed);
        gathered.clear();
        if gathered.capacity() > WRITE_BYTES * 2 {
            gathered = BytesMut::new();
        }
        if marked {
            let _ = inbox.send((key, ConnectionEvent::Drained)).await;
        }
        if close {
            break;
        }
    }
    let _ = write.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::super::tcp::TcpListener;
    use super::*;
    use crate::limits::INBOX_FRAMES_MAX;
    use std::net::Ipv4Addr;

    const ME: &str = "127.0.0.1:1";

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialled, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    fn ping(nonce: u64) -> Bytes {
        codec::encode(&Message::Ping { nonce }, Wire::Native, ME.parse().unwrap())
    }

    #[tokio::test]
    async fn a_full_inbox_holds_back_what_follows_and_loses_nothing() {
        let (mut remote, own) = pair().await;
        let (inbox, mut events) = mpsc::channel(INBOX_FRAMES_MAX);
        let _outbox = spawn((), own, inbox.clone());
        let count = 3 * INBOX_FRAMES_MAX as u64;
        let frames: Vec<u8> = (0..count).flat_map(|nonce| ping(nonce).to_vec()).collect();
        let talking = tokio::spawn(async move { remote.write_all(&frames).await.map(|()| remote) });
        while inbox.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        for expected in 0..count {
            let Some(((), ConnectionEvent::Message { message: Message::Ping { nonce }, .. })) =
                events.recv().await
            else {
                panic!("ping {expected} is missing");
            };
            assert_eq!(nonce, expected);
        }
        drop(talking.await);
    }

    #[tokio::test]
    async fn an_outbox_takes_so_many_frames_and_so_many_bytes() {
        let (_remote, own) = pair().await;
        let outbox = spawn((), own, mpsc::channel(1).0);
        // Nothing is written meanwhile: the writing task is not run before this one waits.
        for _ in 0..OUTBOX_FRAMES_MAX {
            assert_eq!(outbox.send(ping(1)), Ok(()));
        }
        assert_eq!(outbox.send(ping(1)), Err(Overflow));
        let (_remote, own) = pair().await;
        let outbox = spawn((), own, mpsc::channel(1).0);
        let large = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..OUTBOX_BYTES_MAX / large.len() {
            assert_eq!(outbox.send(large.clone()), Ok(()));
        }
        assert_eq!(outbox.send(ping(1)), Err(Overflow));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_at_first_is_closed_with_the_reason() {
        let (_remote, own) = pair().await;
        let (inbox, mut events) = mpsc::channel(1);
        let _outbox = spawn((), own, inbox);
        let early = FIRST_FRAME_TIME_MAX - Duration::from_millis(10);
        assert!(timeout(early, events.recv()).await.is_err(), "it may be silent so long");
        let Some(((), ConnectionEvent::Ended(Some(reason)))) = events.recv().await else {
            panic!("it goes on")
        };
        assert_eq!(reason, "said nothing in time");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        let (mut remote, own) = pair().await;
        let (inbox, mut events) = mpsc::channel(4);
        let outbox = spawn((), own, inbox);
        remote.write_all(&ping(1)).await.unwrap();
        assert!(matches!(events.recv().await, Some(((), ConnectionEvent::Message { .. }))));
        // More than the sockets of both ends hold, and nobody reads it.
        assert_eq!(outbox.send(Bytes::from(vec![0; OUTBOX_BYTES_MAX - 1])), Ok(()));
        let early = WRITE_TIME_MAX - Duration::from_millis(10);
        assert!(timeout(early, events.recv()).await.is_err(), "it may take nothing so long");
        assert!(matches!(events.recv().await, Some(((), ConnectionEvent::Ended(None)))));
    }
}
