//! What idle sessions cost a seed, and what a join costs it that has to tell all of them.
//!
//! The sessions are observers', which are told the same and say the same as quiet members: a ping a second.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use coterie_common::clock::Clock;
use coterie_common::message::{Candidate, Registration, SessionMessage};
use coterie_common::net::observer::{ANSWER_TIME_MAX, Observer, PING_EVERY};
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::Failure;
use coterie_common::net::{ConnectionEvent, Outbox, connection};
use coterie_common::{Address, Life, Message, Role, Tags, Wire};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};

use super::processes::{ProcessorTime, Spent, resident};
use super::stub_peer::StubPeer;
use super::{Figures, in_directory};
use crate::cluster::{Cluster, Directory, Layout};

const SEEDS: usize = 3;

/// How long anything that is waited for may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether the seeds take anybody in.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One host may have half of what a seed keeps; each address of loopback is one.
const SESSIONS_OF_A_HOST: usize = 1_000;

/// In how many parts all of them speak within a second.
const PARTS: usize = 20;

/// The options of `coterie bench sessions`, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct SessionsArgs {
    /// How many sessions with one of the 3 seeds
    #[arg(long, default_value_t = 9_000)]
    sessions: usize,
    /// How long they are idle
    #[arg(long = "for", default_value = "10s", value_parser = parse_duration)]
    time: Duration,
    /// How many join, one after the other
    #[arg(long, default_value_t = 20)]
    joins: u32,
    /// Where logs and data are kept; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &SessionsArgs) -> Result<(), Failure> {
    let nothing =
        [("--sessions", args.sessions == 0), ("--joins", args.joins == 0), ("--for", args.time.is_zero())];
    if let Some((option, _)) = nothing.iter().find(|(_, is_none)| *is_none) {
        return Err(Failure::usage(format!("{option} 0: there is nothing to measure")));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    in_directory(args.dir.as_deref(), |directory| {
        let layout = Layout::of_this_program(SEEDS, 0)?;
        let mut cluster = Cluster::prepare(Directory::take(directory, true)?, layout)?;
        cluster.start_all()?;
        let result = runtime.block_on(measure(&cluster, args));
        cluster.stop_all();
        result
    })
}

async fn measure(cluster: &Cluster, args: &SessionsArgs) -> Result<(), Failure> {
    let seeds: Vec<Address> =
        cluster.of(Role::Seed).iter().map(|seed| cluster.nodes[*seed].record.address).collect();
    let processes: Vec<u32> = cluster.nodes.iter().filter_map(|node| node.record.pid).collect();
    let mut work = ProcessorTime::of(processes.iter().copied());
    // A first member, so that there is somebody to tell of.
    let mut joiner = Joiner::new(seeds[1])?;
    let first = async {
        while joiner.join().await.is_err() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(TIME_MAX, first).await.map_err(|_| Failure::running("the seeds take nobody in"))?;
    let before = resident(processes[0]);
    let mut sessions = IdleSessions::open(seeds[0], args.sessions).await?;
    sessions.wait_for_views(1).await?;
    let each = resident(processes[0]).saturating_sub(before) / args.sessions as u64;
    println!("{} sessions with one seed: {:.1} KiB each", args.sessions, each as f64 / 1024.0);
    sleep(Duration::from_secs(2)).await;
    work.spent();
    sleep(args.time).await;
    let idle: Vec<ShareOfCore> =
        work.spent().iter().map(|spent| ShareOfCore::of(*spent, args.time)).collect();
    println!("idle for {:?}: the seeds take {} of a core", args.time, shown(&idle, |load| format!("{load}")));
    let clock = Clock::start();
    let mut told = Vec::new();
    for join in 0..args.joins {
        let began = clock.now();
        joiner.join().await?;
        sessions.wait_for_views(join as usize + 2).await?;
        told.push(clock.now() - began);
    }
    let took: Duration = told.iter().sum();
    println!("{} joins, each told to all: {}", args.joins, Figures::new(told));
    let busy: Vec<ShareOfCore> = work.spent().iter().map(|spent| ShareOfCore::of(*spent, took)).collect();
    let each = took.as_secs_f64() * 1e3 / f64::from(args.joins);
    let ms = |share: f64, idle: f64| (share - idle).max(0.0) * each;
    let both: Vec<(ShareOfCore, ShareOfCore)> = busy.into_iter().zip(idle).collect();
    let told = shown(&both, |(busy, idle)| {
        let (in_all, in_kernel) = (ms(busy.in_all, idle.in_all), ms(busy.in_kernel, idle.in_kernel));
        format!("{in_all:.1} ms ({in_kernel:.1} in the kernel)")
    });
    println!("        each takes the seeds {told} beyond what they take when idle");
    Ok(())
}

fn shown<T>(all: &[T], show: impl Fn(&T) -> String) -> String {
    all.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// What a process takes of a core.
#[derive(Clone, Copy, Debug)]
struct ShareOfCore {
    in_all: f64,
    in_kernel: f64,
}

impl ShareOfCore {
    fn of(spent: Spent, within: Duration) -> Self {
        let share = |time: Duration| time.as_secs_f64() / within.as_secs_f64();
        ShareOfCore { in_all: share(spent.in_all), in_kernel: share(spent.in_kernel) }
    }
}

impl fmt::Display for ShareOfCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} % ({:.1} in the kernel)", self.in_all * 1e2, self.in_kernel * 1e2)
    }
}

/// Somebody who joins again and again, as another life each time.
struct Joiner {
    seed: Address,
    place: StubPeer,
    lives: u64,
}

impl Joiner {
    fn new(seed: Address) -> io::Result<Self> {
        Ok(Joiner { seed, place: StubPeer::at((Ipv4Addr::LOCALHOST, 0).into())?, lives: 0 })
    }

    async fn join(&mut self) -> Result<(), Failure> {
        self.lives += 1;
        let (life, address) = (Life(self.lives), self.place.address());
        self.place.live(life);
        let mut session = Observer::open(&self.seed.to_string()).await?;
        loop {
            let candidate = Candidate { address, life, wire: Wire::Native, tags: Tags::new() };
            session.say(SessionMessage::Register(candidate));
            let answered = session.wait_for(ANSWER_TIME_MAX, |message| match message {
                SessionMessage::Registered(answer) => Some(answer),
                _ => None,
            });
            match answered.await? {
                Registration::Admitted { .. } => return Ok(()),
                // At the beginning, until there is a leader.
                Registration::Refused(refusal) if refusal.why.may_retry() => {}
                Registration::Refused(refusal) => return Err(session.failure(&refusal.to_string())),
            }
        }
    }
}

/// Sessions that say that they are there, and count what they are told.
struct IdleSessions {
    /// How many views came on each of them, at least.
    views: watch::Receiver<usize>,
}

impl IdleSessions {
    async fn open(seed: Address, count: usize) -> Result<Self, Failure> {
        let (events, inbox) = mpsc::channel(1_024);
        let mut outboxes = Vec::new();
        for number in 0..count {
            let [high, low] =
                u16::try_from(number / SESSIONS_OF_A_HOST).map_err(Failure::usage)?.to_be_bytes();
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 80, high, low)), 0))?;
            let stream = socket.connect(seed.socket()).await?;
            stream.set_nodelay(true)?;
            let outbox = connection::spawn(number, stream, events.clone());
            let observe = Message::Session(SessionMessage::Observe { linearizable: false });
            outbox.say(&observe, Wire::Native, seed).map_err(Failure::running)?;
            outboxes.push(outbox);
        }
        let (counted, views) = watch::channel(0);
        tokio::spawn(count_views(inbox, count, counted));
        tokio::spawn(say_that_they_live(outboxes, seed));
        Ok(IdleSessions { views })
    }

    /// Until so many views came on each of them.
    async fn wait_for_views(&mut self, views: usize) -> Result<(), Failure> {
        let came = timeout(TIME_MAX, self.views.wait_for(|seen| *seen >= views)).await.map(drop);
        came.map_err(|_| Failure::running(format!("some session had not {views} views within {TIME_MAX:?}")))
    }
}

async fn count_views(
    mut inbox: mpsc::Receiver<(usize, ConnectionEvent)>,
    count: usize,
    counted: watch::Sender<usize>,
) {
    // How many sessions have so few, for those that any has.
    let (mut views, mut with) = (vec![0; count], vec![count]);
    while let Some((session, event)) = inbox.recv().await {
        if let ConnectionEvent::Message { message: Message::Session(message), .. } = event
            && matches!(message, SessionMessage::Whole { .. } | SessionMessage::Changes { .. })
        {
            with[views[session]] -= 1;
            views[session] += 1;
            with.resize(with.len().max(views[session] + 1), 0);
            with[views[session]] += 1;
            let least = with.iter().position(|sessions| *sessions > 0).unwrap_or_default();
            counted.send_if_modified(|views| std::mem::replace(views, least) != least);
        }
    }
}

/// Each a ping a second, as a quiet member; not all at once.
async fn say_that_they_live(outboxes: Vec<Outbox>, me: Address) {
    let mut turns = interval(PING_EVERY / PARTS as u32);
    for part in (0..PARTS).cycle() {
        turns.tick().await;
        for outbox in outboxes.iter().skip(part).step_by(PARTS) {
            // One that has ended is missed by the views that it does not get.
            let _ = outbox.say(&Message::Ping { nonce: 1 }, Wire::Native, me);
        }
    }
}
