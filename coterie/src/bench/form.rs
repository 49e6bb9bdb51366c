//! Thousands of real peers on real sockets, in one process: how they form, and what a mass death costs them.
//!
//! A process each would measure the machine's memory and its scheduler. Here the seeds are processes of their own, and
//! the peers share one: what is measured is how much work a member makes for all the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use coterie_common::clock::Clock;
use coterie_common::limits::ABSENCE_GRACE;
use coterie_common::net::journal::{Events, Format};
use coterie_common::net::process::Failure;
use coterie_common::net::{JournalOptions, tcp};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Incarnation, Instant, Role};
use coterie_peer::core::Config;
use coterie_peer::shell::{self as peer, Handle, PeerEvent};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::processes::ProcessorTime;
use super::{Figures, in_directory};
use crate::cluster::{Cluster, Directory, Layout, free_base_port};

const SEEDS: usize = 3;

/// How long anything that is waited for may take.
const TIME_MAX: Duration = Duration::from_secs(180);

/// How often it is looked whether it has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The options of `coterie bench form`, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct FormArgs {
    /// How many peers, all in this process, beside 3 seeds
    #[arg(long, default_value_t = 2_000)]
    peers: usize,
    /// How many newcomers come to them, one after the other
    #[arg(long, default_value_t = 20)]
    newcomers: usize,
    /// How many of them stop without a word, all at once
    #[arg(long, default_value_t = 200)]
    stopped: usize,
    /// Where the seeds' logs and data are kept; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &FormArgs) -> Result<(), Failure> {
    if args.stopped > args.peers {
        return Err(Failure::usage(format!("--stopped {}: there are {} peers", args.stopped, args.peers)));
    }
    in_directory(args.dir.as_deref(), |directory| {
        let layout = Layout::of_this_program(SEEDS, 0)?;
        let base_port = free_base_port(layout.ip, SEEDS + args.peers + args.newcomers)?;
        let layout = Layout { base_port: Some(base_port), ..layout };
        let mut cluster = Cluster::prepare(Directory::take(directory, true)?, layout)?;
        let result = Formation::start(&mut cluster, base_port).and_then(|mut bench| bench.measure(args));
        cluster.stop_all();
        result
    })
}

/// What one peer has seen.
#[derive(Debug, Default)]
struct SeenViews {
    /// How many members its view has.
    members: usize,
    /// How many views came since the count was begun.
    views: usize,
    /// When the last came.
    at: Instant,
    has_missed: bool,
}

/// A peer, as long as its runtime lives.
#[derive(Debug)]
struct Watched {
    address: Address,
    handle: Handle,
    seen: Arc<Mutex<SeenViews>>,
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, SeenViews> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Formation {
    clock: Clock,
    seeds: Vec<SeedEntry>,
    work: ProcessorTime,
    next: Address,
    staying: Runtime,
    /// Those that are to stop have a runtime of their own: it ends, and all of their sockets with it.
    stopping: Runtime,
    peers: Vec<Watched>,
}

impl Formation {
    fn start(cluster: &mut Cluster, base_port: u16) -> Result<Self, Failure> {
        cluster.start_all()?;
        let entry = |index: &usize| {
            let address = cluster.nodes[*index].record.address;
            SeedEntry { host: address.ip().to_string(), port: address.port(), key: None }
        };
        let seeds: Vec<SeedEntry> = cluster.of(Role::Seed).iter().map(entry).collect();
        let first = base_port.saturating_add(u16::try_from(SEEDS).unwrap_or_default());
        Ok(Formation {
            clock: Clock::start(),
            next: Address::new(cluster.layout.ip, first),
            seeds,
            work: ProcessorTime::of(cluster.nodes.iter().filter_map(|node| node.record.pid)),
            staying: Builder::new_multi_thread().enable_all().build()?,
            stopping: Builder::new_multi_thread().enable_all().build()?,
            peers: Vec::new(),
        })
    }

    fn measure(&mut self, args: &FormArgs) -> Result<(), Failure> {
        let staying = args.peers - args.stopped;
        let began = self.clock.now();
        for index in 0..args.peers {
            let watched = self.start_peer(index < staying)?;
            self.peers.push(watched);
        }
        self.wait_for_members(args.peers, "all to see all")?;
        println!("formed: {} members in every view after {:.2} s", args.peers, self.seconds_since(began));
        println!("        in {}", self.views_seen());
        println!("        the seeds were busy for {}", self.work.since_last());
        let mut answers = Vec::new();
        for _ in 0..args.newcomers {
            answers.push(self.add_newcomer()?);
        }
        if !answers.is_empty() {
            println!("{} newcomers have their answers: {}", args.newcomers, Figures::new(answers));
            println!("        the seeds were busy for {}", self.work.since_last());
        }
        self.stop_some(args, staying)
    }

    fn add_newcomer(&mut self) -> Result<Duration, Failure> {
        let began = self.clock.now();
        let watched = self.start_peer(true)?;
        let count = self.peers.len() + 1;
        self.wait(|| watched.seen().members >= count, "a newcomer to have its answer")
            .map_err(Failure::running)?;
        let answered = watched.seen().at.since(began);
        self.peers.push(watched);
        self.wait_for_members(count, "all to see a newcomer")?;
        Ok(answered)
    }

    /// Some stop as a process does that is killed: their ends of all connections are closed, and their ports with them.
    fn stop_some(&mut self, args: &FormArgs, staying: usize) -> Result<(), Failure> {
        // Where no neighbour is left to tell, the absence does; and soon after an election nobody is missed.
        let old_enough = Instant::START + ABSENCE_GRACE.get() + Duration::from_secs(1);
        std::thread::park_timeout(old_enough.since(self.clock.now()));
        let stopped: Vec<Address> =
            self.peers.drain(staying..args.peers).map(|watched| watched.address).collect();
        self.peers.iter().for_each(|peer| peer.seen().views = 0);
        let before = self.incarnations();
        let began = self.clock.now();
        let empty = Builder::new_multi_thread().build()?;
        std::mem::replace(&mut self.stopping, empty).shutdown_background();
        self.wait_for_members(self.peers.len(), "all to see that some have stopped")?;
        let (count, took) = (stopped.len(), self.seconds_since(began));
        println!("{count} stopped without a word: confirmed to all {took:.2} s later");
        println!("        in {}", self.views_seen());
        println!("        the seeds were busy for {}", self.work.since_last());
        // Who was removed as well came back as another one.
        let after = self.incarnations();
        let is_other =
            |(address, incarnation): &(&Address, &Option<Incarnation>)| after[address] != **incarnation;
        let wrong: Vec<String> =
            before.iter().filter(is_other).map(|(address, _)| address.to_string()).collect();
        let left = self.peers.iter().find(|peer| {
            let look = self.staying.block_on(peer.handle.look());
            look.is_none_or(|look| stopped.iter().any(|dead| look.view.at(*dead).is_some()))
        });
        match left {
            Some(peer) => {
                Err(Failure::running(format!("{} has one of the stopped in its view", peer.address)))
            }
            None if wrong.is_empty() => Ok(()),
            None => Err(Failure::running(format!("wrongly removed: {}", wrong.join(", ")))),
        }
    }

    /// As whom each of them is a member.
    fn incarnations(&self) -> BTreeMap<Address, Option<Incarnation>> {
        let of = |peer: &Watched| self.staying.block_on(peer.handle.look()).and_then(|look| look.incarnation);
        self.peers.iter().map(|peer| (peer.address, of(peer))).collect()
    }

    fn start_peer(&mut self, stays: bool) -> Result<Watched, Failure> {
        let address = self.next;
        self.next = Address::new(address.ip(), address.port().saturating_add(1));
        let options = peer::Options {
            address,
            seeds: self.seeds.clone(),
            config: "bench".to_owned(),
            journal: JournalOptions {
                files: Vec::new(),
                format: Format::Text,
                events: Events::None,
                stdout: false,
            },
            console: false,
            core: Config::default(),
        };
        let runtime = if stays { &self.staying } else { &self.stopping };
        let _entered = runtime.enter();
        let listener = tcp::bind(address.socket())
            .map_err(|problem| Failure::running(format!("{address}: {problem}")))?;
        let (handle, _running) = peer::start(listener, options)?;
        let seen = Arc::<Mutex<SeenViews>>::default();
        runtime.spawn(watch(handle.subscribe(), self.clock, Arc::clone(&seen)));
        Ok(Watched { address, handle, seen })
    }

    fn views_seen(&self) -> String {
        let mut views: Vec<usize> = self.peers.iter().map(|peer| peer.seen().views).collect();
        views.sort_unstable();
        let median = views.get(views.len() / 2).copied().unwrap_or_default();
        format!("{median} views (median), {} at most", views.last().copied().unwrap_or_default())
    }

    fn seconds_since(&self, began: Instant) -> f64 {
        self.clock.now().since(began).as_secs_f64()
    }

    fn wait_for_members(&self, count: usize, what: &str) -> Result<(), Failure> {
        let is_seen = || self.peers.iter().all(|peer| peer.seen().members == count);
        self.wait(is_seen, what).map_err(|problem| {
            let mut sizes: Vec<usize> = self.peers.iter().map(|peer| peer.seen().members).collect();
            sizes.sort_unstable();
            let (least, most) = (sizes.first().copied(), sizes.last().copied());
            Failure::running(format!(
                "{problem}: of {count} members views have {} to {}, half of them {} or more",
                least.unwrap_or_default(),
                most.unwrap_or_default(),
                sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
            ))
        })?;
        match self.peers.iter().find(|peer| peer.seen().has_missed) {
            Some(peer) => {
                Err(Failure::running(format!("{}: views came too quickly to be counted", peer.address)))
            }
            None => Ok(()),
        }
    }

    fn wait(&self, is_there: impl Fn() -> bool, what: &str) -> Result<(), String> {
        let until = self.clock.now() + TIME_MAX;
        while !is_there() {
            if self.clock.now() >= until {
                return Err(format!("waited {TIME_MAX:?} for {what}"));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }
}

async fn watch(mut events: Receiver<PeerEvent>, clock: Clock, seen: Arc<Mutex<SeenViews>>) {
    loop {
        let event = events.recv().await;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(PeerEvent::View { members, .. }) => {
                seen.members = members;
                seen.views += 1;
                seen.at = clock.now();
            }
            Ok(PeerEvent::Message { .. }) => {}
            Err(RecvError::Lagged(_)) => seen.has_missed = true,
            Err(RecvError::Closed) => return,
        }
    }
}
