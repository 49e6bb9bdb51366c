//! A crowd of peers on one machine: how long it takes to form, and what its own caution costs it when it is starved.
//!
//! Hundreds of processes on a few cores look dead to each other whenever the machine is busy with something else. What
//! they then do about it must not keep it busy.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use coterie_common::clock::{Clock, wall};
use coterie_common::net::process::Failure;
use coterie_common::{Address, Instant, Role, Timestamp};
use rand::seq::IndexedRandom;

use super::in_directory;
use crate::cluster::{Cluster, Directory, Layout, LogEvent, NodeProcess, free_base_port};

/// Seeds of the crowd.
const SEEDS: usize = 3;

/// Busy loops for each core of the machine, while it is starved.
const LOOPS_PER_CORE: usize = 16;

/// How long the crowd may take to form, and afterwards to become calm.
const FORM_TIME_MAX: Duration = Duration::from_secs(300);
const CALM_TIME_MAX: Duration = Duration::from_secs(120);

/// So long nothing must happen until it counts as calm: longer than the longest pause between two repeats.
const CALM_LASTS: Duration = Duration::from_secs(12);

/// How often the logs are read: hundreds of files, of a machine that is to be busy with something else.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The options of `coterie bench crowd`, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct CrowdArgs {
    /// How many peers, each a process, beside 3 seeds
    #[arg(long, default_value_t = 150)]
    peers: usize,
    /// For how long they are watched, once formed, before anything is done to them
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    idle: u64,
    /// For how long 16 busy loops a core take the machine away; one peer is killed in the midst
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    burst: u64,
    /// All of them are stopped instead (SIGSTOP), and continued at the end
    #[arg(long)]
    stop: bool,
    /// As this user; the directory must be one that it may write to
    #[arg(long)]
    uid: Option<u32>,
    /// Where logs and data are kept; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &CrowdArgs) -> Result<(), Failure> {
    in_directory(args.dir.as_deref(), |directory| {
        let peer_args = vec!["--messages".to_owned(), "0".to_owned()];
        let layout = Layout { peer_args, uid: args.uid, ..Layout::of_this_program(SEEDS, args.peers)? };
        let base_port = Some(free_base_port(layout.ip, SEEDS + args.peers)?);
        let layout = Layout { base_port, ..layout };
        let cluster = Cluster::prepare(Directory::take(directory, true)?, layout)?;
        let mut crowd = Crowd { cluster, events: Vec::new(), victim: None };
        let result = crowd.measure(args);
        crowd.cluster.stop_all();
        result
    })
}

struct Crowd {
    cluster: Cluster,
    /// What was read, and not counted yet.
    events: Vec<(usize, LogEvent)>,
    victim: Option<Address>,
}

/// What happened in a time.
#[derive(Debug, Default)]
struct Happened {
    suspicions: usize,
    ballots: BTreeSet<String>,
    /// Members that were removed, and who they were.
    removed: BTreeSet<String>,
}

impl Crowd {
    fn measure(&mut self, args: &CrowdArgs) -> Result<(), Failure> {
        let clock = Clock::start();
        self.cluster.start_all()?;
        self.wait_for_all("JOINED", FORM_TIME_MAX)?;
        let before = connections_opened();
        let forming = self.happened();
        println!("formed in {:.1} s: {}", seconds(&clock), forming.show(None, self.victim));

        self.watch_for(Duration::from_secs(args.idle));
        let idle = self.happened();
        println!("idle for {} s: {}", args.idle, idle.show(since(before), self.victim));

        let before = connections_opened();
        self.starve(args)?;
        let calm = self.until_calm(wall());
        let starved = self.happened();
        let how = if args.stop { "stopped" } else { "starved" };
        println!("{how} for {} s: {}", args.burst, starved.show(since(before), self.victim));
        let Some(calm) = calm else {
            return Err(Failure::running(format!("not calm within {CALM_TIME_MAX:?}")));
        };
        println!("calm {:.1} s after that", calm.as_secs_f64());
        let victim = self.victim.map(|address| address.to_string()).unwrap_or_default();
        if !starved.removed.contains(&victim) {
            return Err(Failure::running(format!("{victim} was killed and is still a member")));
        }
        let wrong = [&forming, &idle, &starved].map(|happened| happened.wrong(self.victim)).concat();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Failure::running(format!("wrongly removed: {}", wrong.join(", ")))),
        }
    }

    /// Takes the machine away from them, or stops them, and kills one in the midst.
    fn starve(&mut self, args: &CrowdArgs) -> Result<(), Failure> {
        let half = Duration::from_secs(args.burst) / 2;
        let loops = if args.stop { None } else { Some(BusyLoops::start()) };
        if args.stop {
            self.signal_all(NodeProcess::pause);
        }
        self.watch_for(half);
        let victim = self.cluster.of(Role::Peer).choose(&mut rand::rng()).copied();
        let victim = victim.ok_or_else(|| Failure::running("there is no peer to be killed".to_owned()))?;
        self.victim = Some(self.cluster.nodes[victim].record.address);
        if let Some(process) = &mut self.cluster.nodes[victim].process {
            process.kill();
        }
        self.watch_for(half);
        if args.stop {
            self.signal_all(NodeProcess::resume);
        }
        drop(loops);
        Ok(())
    }

    fn signal_all(&mut self, signal: fn(&mut NodeProcess)) {
        self.cluster.nodes.iter_mut().filter_map(|node| node.process.as_mut()).for_each(signal);
    }

    fn read(&mut self) -> usize {
        let before = self.events.len();
        let news = self.cluster.events();
        self.events.extend(news);
        before
    }

    fn watch_for(&mut self, time: Duration) {
        let clock = Clock::start();
        while clock.now() < Instant::START + time {
            std::thread::park_timeout(LOOK_EVERY.min(time));
            self.read();
        }
    }

    fn wait_for_all(&mut self, event: &str, time: Duration) -> Result<(), Failure> {
        let clock = Clock::start();
        let mut missing: BTreeSet<usize> = self.cluster.of(Role::Peer).into_iter().collect();
        loop {
            let from = self.read();
            for (index, read) in &self.events[from..] {
                if read.event == event {
                    missing.remove(index);
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            if clock.now() >= Instant::START + time {
                let (count, place) = (missing.len(), self.cluster.directory.path().display());
                let problem =
                    format!("after {time:?} {count} peers have not {event}; the logs are in {place}");
                return Err(Failure::running(problem));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// How long after `ended` the last thing happened that a doubt brought about.
    fn until_calm(&mut self, ended: Timestamp) -> Option<Duration> {
        let clock = Clock::start();
        let (mut last, mut quiet_from) = (Duration::ZERO, clock.now());
        while clock.now() < Instant::START + CALM_TIME_MAX {
            let from = self.read();
            for (_, event) in self.events[from..].iter().filter(|(_, event)| is_trouble(event)) {
                last = event.after(ended).max(last);
                quiet_from = clock.now();
            }
            if clock.now() >= quiet_from + CALM_LASTS {
                return Some(last);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        None
    }

    /// Counts what was read, and forgets it.
    fn happened(&mut self) -> Happened {
        self.read();
        let mut happened = Happened::default();
        for (_, event) in self.events.drain(..) {
            match event.event.as_str() {
                "SUSPICION" => happened.suspicions += 1,
                "DEAD_PROPOSAL" => drop(happened.ballots.insert(event.get("ballot").to_owned())),
                "DEAD_CONFIRMED" => drop(happened.removed.insert(event.get("dead").to_owned())),
                _ => {}
            }
        }
        happened
    }
}

impl Happened {
    /// Who was removed and had not been killed.
    fn wrong(&self, victim: Option<Address>) -> Vec<String> {
        let victim = victim.map(|address| address.to_string()).unwrap_or_default();
        self.removed.iter().filter(|dead| **dead != victim).cloned().collect()
    }

    fn show(&self, connections: Option<u64>, victim: Option<Address>) -> String {
        let connections = connections.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let (suspicions, ballots, wrong) = (self.suspicions, self.ballots.len(), self.wrong(victim).len());
        format!(
            "{suspicions} suspicions, {ballots} ballots, {connections} connections opened, {wrong} wrongly removed"
        )
    }
}

/// What a doubt brings about, and what begins one.
fn is_trouble(event: &LogEvent) -> bool {
    let events = [
        "SUSPICION",
        "SUSPICION_DROPPED",
        "DEAD_REPORT",
        "DEAD_PROPOSAL",
        "DEAD_VOTE",
        "DEAD_CONFIRMED",
        "DEAD_REJECTED",
        "DEAD_UNDECIDED",
        "SEED_LOST",
        "LEADER",
        "DECLARED_DEAD",
        "JOINED",
    ];
    events.contains(&event.event.as_str())
}

/// Threads that do nothing, as fast as they can, until they are dropped.
struct BusyLoops {
    is_over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl BusyLoops {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores * LOOPS_PER_CORE).map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        BusyLoops { threads: threads.collect(), is_over }
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn seconds(clock: &Clock) -> f64 {
    clock.now().since(Instant::START).as_secs_f64()
}

/// The connections that anybody on this machine has opened, as the kernel counts them; none where it does not tell.
fn connections_opened() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp").ok()?;
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next()?, tcp.next()?);
    let place = names.split(' ').position(|name| name == "ActiveOpens")?;
    values.split(' ').nth(place)?.parse().ok()
}

fn since(before: Option<u64>) -> Option<u64> {
    Some(connections_opened()? - before?)
}
