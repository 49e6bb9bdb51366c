//! Carrying out a probe of one life at one address.
//!
//! A connection that opens proves nothing, for the kernel opens it for a paused process too; only a PONG of that
//! life does. A refused connection proves that nobody listens. Between the two lies silence, and one connection
//! cannot tell loss from death, because the kernel repeats a lost SYN only after a second: so further ones are
//! opened, spaced, until one answers or the patience is over. Where a connection to the suspect broke, one of them must
//! open soon: a host that is gone is told from one that is far away by that alone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::icmp::Pinger;
use super::platform::is_own_shortage;
use super::tcp::{TcpStream, connect};
use crate::clock::Clock;
use crate::codec::{self, Decoded};
use crate::frame::Frames;
use crate::{Address, Finding, HostEvidence, Instant, Life, Message, ProbeOrder};

/// A refusal is itself the host's answer, so ICMP is only asked when the first connection has not settled by then.
const ICMP_AFTER: Duration = Duration::from_millis(5);

/// A timer that fires so much later than it should belongs to a process that stood still, or was starved.
const LATE: Duration = Duration::from_millis(100);

/// Repeated by the PONG. It need not be secret: the connection is the probe's own.
const NONCE: u64 = 7;

/// Carries out probes for one node.
#[derive(Clone)]
pub struct Prober {
    me: Address,
    icmp: Arc<Pinger>,
}

/// How one connection of a probe ended.
enum Attempt {
    Answered(Option<Life>),
    Refused,
    /// Closed without an answer: perhaps killed between the two. Worth trying again at once.
    Closed,
    OwnShortage,
    Nothing,
}

impl Prober {
    /// A prober that asks in the name of `me`.
    pub fn new(me: Address, icmp: Arc<Pinger>) -> Self {
        Prober { me, icmp }
    }

    /// Probes as ordered, and returns what was found and what ICMP said meanwhile.
    pub async fn probe(&self, order: ProbeOrder) -> (Finding, HostEvidence) {
        let icmp = async {
            sleep(ICMP_AFTER).await;
            // It must have been given up before the probe is, or its silence is not told.
            let patience = order.open_within.saturating_sub(ICMP_AFTER * 4);
            self.icmp.ping(order.address.ip(), patience).await
        };
        let shortages = AtomicU32::new(0);
        let opened = Arc::new(OpenConnections::default());
        let silence = async {
            // Who was late himself has not seen yet what may have come meanwhile.
            let in_time = punctually(order.open_within).await;
            if in_time && !opened.ever.load(Ordering::Relaxed) {
                return Finding::Silent;
            }
            let rest = order.patience.saturating_sub(order.open_within);
            // Without a second wait, the first one's lateness stands.
            let in_time = if rest.is_zero() { in_time } else { punctually(rest).await };
            if in_time { Finding::Silent } else { Finding::CannotProbe }
        };
        let probe = async {
            tokio::select! {
                biased;
                finding = self.attempts(order, &shortages, &opened) => finding,
                // Silence says something only where nothing of this host's own was lacking.
                silence = silence => match shortages.load(Ordering::Relaxed) {
                    0 => silence,
                    _ => Finding::CannotProbe,
                },
            }
        };
        tokio::pin!(icmp, probe);
        let mut host = HostEvidence::Unknown;
        let mut asked = true;
        loop {
            tokio::select! {
                biased;
                finding = &mut probe => return (finding, host),
                evidence = &mut icmp, if asked => {
                    host = evidence;
                    asked = false;
                }
            }
        }
    }

    /// Opens connections until one decides. Never returns [`Finding::Silent`]: the patience is the caller's.
    /// `opened` tells of those that open; `shortages` counts those that failed for want of this host's own means.
    async fn attempts(
        &self,
        order: ProbeOrder,
        shortages: &AtomicU32,
        opened: &Arc<OpenConnections>,
    ) -> Finding {
        let clock = Clock::start();
        let mut opens_at = order.opens_at().into_iter().peekable();
        let (mut running, mut begun) = (JoinSet::new(), 0);
        while opens_at.next().is_some() {
            if opened.now.load(Ordering::Relaxed) < order.open_at_once() {
                begun += 1;
                running.spawn(attempt(order, self.me, Arc::clone(opened)));
            }
            let next = opens_at.peek().copied();
            let pause = sleep(next.unwrap_or_default().saturating_sub(clock.now().since(Instant::START)));
            tokio::pin!(pause);
            loop {
                let ended = tokio::select! {
                    biased;
                    Some(ended) = running.join_next() => ended.unwrap_or(Attempt::Nothing),
                    () = &mut pause, if next.is_some() => break,
                    // The last one was opened, and all have ended.
                    else => break,
                };
                match ended {
                    Attempt::Answered(life) if life.unwrap_or(Life::NONE) == order.life => {
                        return Finding::Alive;
                    }
                    Attempt::Answered(life) => return Finding::OtherLife(life.unwrap_or(Life::NONE)),
                    Attempt::Refused => return Finding::Refused,
                    Attempt::OwnShortage => {
                        let all_short = shortages.fetch_add(1, Ordering::Relaxed) + 1 == begun;
                        if all_short && next.is_none() {
                            return Finding::CannotProbe;
                        }
                    }
                    Attempt::Closed if next.is_some() => break,
                    Attempt::Closed | Attempt::Nothing => {}
                }
            }
        }
        std::future::pending().await
    }
}

/// The connections of a probe that have opened.
#[derive(Debug, Default)]
struct OpenConnections {
    ever: AtomicBool,
    now: AtomicUsize,
}

impl OpenConnections {
    /// One has opened, and is open as long as what is returned lives.
    fn one(&self) -> impl Drop {
        self.ever.store(true, Ordering::Relaxed);
        self.now.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }
}

struct Open<'a>(&'a OpenConnections);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sleeps so long; returns whether it woke in time.
async fn punctually(time: Duration) -> bool {
    let clock = Clock::start();
    sleep(time).await;
    clock.now() < Instant::START + time + LATE
}

async fn attempt(order: ProbeOrder, me: Address, opened: Arc<OpenConnections>) -> Attempt {
    match ask(order, me, &opened).await {
        Ok(Some(life)) => Attempt::Answered(life),
        Ok(None) => Attempt::Closed,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Attempt::Refused,
        Err(error) if is_own_shortage(&error) => Attempt::OwnShortage,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Attempt::Closed,
        Err(_) => Attempt::Nothing,
    }
}

/// Connects, asks, and waits for the PONG, whose life it returns; `None` when the connection ended before.
async fn ask(order: ProbeOrder, me: Address, opened: &OpenConnections) -> io::Result<Option<Option<Life>>> {
    let mut stream = connect(order.address.socket()).await?;
    let _open = opened.one();
    stream.set_nodelay(true)?;
    stream.write_all(&codec::encode(&Message::Ping { nonce: NONCE }, order.wire, me)).await?;
    let pong = read_message(&mut stream, |message| match message {
        Message::Pong { life, nonce: NONCE | 0, .. } => Some(life),
        _ => None,
    });
    pong.await
}

/// Reads until `wanted` finds what it wants; `None` when the connection ended, or nothing sensible came.
pub async fn read_message<T>(
    stream: &mut TcpStream,
    wanted: impl Fn(Message) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut frames = Frames::default();
    loop {
        while let Ok(Some(payload)) = frames.next_frame() {
            match codec::decode(&payload) {
                Ok(Decoded { message: Some(message), .. }) => {
                    if let Some(found) = wanted(message) {
                        return Ok(Some(found));
                    }
                }
                Ok(Decoded { message: None, .. }) => {}
                Err(_) => return Ok(None),
            }
        }
        frames.buffer().reserve(256);
        if stream.read_buf(frames.buffer()).await? == 0 {
            return Ok(None);
        }
    }
}
