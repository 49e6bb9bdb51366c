//! How many registrations the seeds take.
//!
//! Three seeds in this process, over real sockets, each with its durable log. Two figures: the *commit path*, in
//! which every ballot, vote, log entry and fsync is real and only the probe of the candidate is answered in
//! process; and *complete*, with every seed's probe over sockets and all log lines written.
//!
//! Each client in flight has an address of its own and registers a new life there as soon as the last one is
//! admitted, so the view keeps its size and what is measured is the way into the log.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use coterie_common::clock::Clock;
use coterie_common::message::{Answer, Candidate};
use coterie_common::net::journal::{Events, Format};
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::Failure;
use coterie_common::net::{JournalOptions, tcp};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Instant, Life, Patience, Tags, Wire};
use coterie_seed::raft;
use coterie_seed::shell::{ChangesFrom, Handle, Options, ProbeMode, start};

use super::stub_peer::StubPeer;
use super::{Figures, in_directory};

/// How long the seeds may take to elect a leader.
const FORMING_TIME_MAX: Duration = Duration::from_secs(10);

/// The options of `coterie bench register`, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct RegisterArgs {
    /// How many clients are in flight, one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    in_flight: Vec<usize>,
    /// How long each is measured
    #[arg(long = "for", default_value = "3s", value_parser = parse_duration)]
    time: Duration,
    /// Where logs and data are kept; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &RegisterArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    in_directory(args.dir.as_deref(), |directory| {
        runtime.block_on(async {
            for (name, probe_mode) in [("commit path", ProbeMode::Assumed), ("complete", ProbeMode::Sockets)]
            {
                println!("{name}:");
                for in_flight in &args.in_flight {
                    let place = directory.join(format!("{}-{in_flight}", name.replace(' ', "-")));
                    measure(&place, probe_mode, *in_flight, args.time).await?;
                }
            }
            Ok(())
        })
    })
}

async fn measure(
    directory: &Path,
    probe_mode: ProbeMode,
    in_flight: usize,
    time: Duration,
) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    let seeds = start_seeds(directory, probe_mode)?;
    let clock = Clock::start();
    let clients = (0..in_flight).map(|_| LoadClient::new()).collect::<std::io::Result<Vec<_>>>()?;
    for client in &clients {
        client.register(&seeds[0], clock).await?;
    }
    let from = clock.now();
    let mut running = tokio::task::JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let seed = seeds[index % seeds.len()].clone();
        running.spawn(async move {
            let mut took = Vec::new();
            while clock.now() < from + time {
                let asked = clock.now();
                client.register(&seed, clock).await?;
                took.push(clock.now() - asked);
            }
            Ok::<_, Failure>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = running.join_next().await {
        took.extend(client.map_err(Failure::running)??);
    }
    let rate = took.len() as f64 / (clock.now() - from).as_secs_f64();
    println!("{in_flight:>4} in flight: {rate:>8.0} /s   {}", Figures::new(took));
    for seed in seeds {
        seed.stop().await;
    }
    Ok(())
}

/// Somebody who registers one life after the other.
struct LoadClient {
    place: StubPeer,
    lives: AtomicU64,
}

impl LoadClient {
    fn new() -> std::io::Result<Self> {
        Ok(LoadClient { place: StubPeer::at((Ipv4Addr::LOCALHOST, 0).into())?, lives: AtomicU64::new(0) })
    }

    /// Registers a new life, until it is admitted.
    async fn register(&self, seed: &Handle, clock: Clock) -> Result<(), Failure> {
        let life = Life(self.lives.fetch_add(1, Ordering::Relaxed) + 1);
        self.place.live(life);
        let until: Instant = clock.now() + FORMING_TIME_MAX;
        let address = self.place.address();
        loop {
            let candidate = Candidate { address, life, wire: Wire::Native, tags: Tags::new() };
            match seed.register(candidate).await {
                Some(Answer::Admitted { .. }) => return Ok(()),
                Some(Answer::Refused(refusal)) if clock.now() >= until => {
                    return Err(Failure::running(refusal));
                }
                Some(Answer::Refused(_) | Answer::Recorded { .. }) => {}
                None => return Err(Failure::running("the seed has ended")),
            }
        }
    }
}

fn start_seeds(directory: &Path, probe_mode: ProbeMode) -> Result<Vec<Handle>, Failure> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sockets: Vec<_> = (0..3).map(|_| tcp::bind((ip, 0).into())).collect::<std::io::Result<_>>()?;
    let addresses: Vec<Address> = sockets
        .iter()
        .map(|socket| socket.local_addr().map(Address::from))
        .collect::<std::io::Result<_>>()?;
    let entry =
        |address: &Address| SeedEntry { host: address.ip().to_string(), port: address.port(), key: None };
    let list: Vec<SeedEntry> = addresses.iter().map(entry).collect();
    let mut seeds = Vec::new();
    for (socket, address) in sockets.into_iter().zip(addresses) {
        let options = Options {
            own: entry(&address),
            address,
            list: list.clone(),
            config: "bench".to_owned(),
            data: directory.join(format!("data-{}", address.port())),
            journal: JournalOptions {
                files: vec![directory.join("{role}_{port}.txt").display().to_string()],
                format: Format::Text,
                events: if probe_mode == ProbeMode::Sockets { Events::All } else { Events::None },
                stdout: false,
            },
            patience: Patience::default(),
            raft: raft::Options::default(),
            probe_mode,
            form_without: Vec::new(),
            directories: Vec::new(),
            force_new_cluster: None,
            changes_from: ChangesFrom::Host,
        };
        seeds.push(start(socket, options)?.0);
    }
    Ok(seeds)
}
