//! Three seeds over real sockets and real disks: elect, write, lose the leader, snapshot, restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use coterie_common::clock::Clock;
use coterie_common::limits::OLDER_RUN_TIME_MAX;
use coterie_common::message::{Answer, Candidate, SeedId};
use coterie_common::net::journal::{Events, Format};
use coterie_common::net::process::Failure;
use coterie_common::net::{JournalOptions, tcp};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Instant, Life, Patience, Tags, Why, Wire};
use coterie_seed::core::Registry;
use coterie_seed::raft::{self, Store};
use coterie_seed::shell::{ChangesFrom, Handle, Options, ProbeMode, start};
use tokio::runtime::{Builder, Runtime};

const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that is waited for, up to the deadline.
const LOOK_EVERY: Duration = Duration::from_millis(10);

type Ended = tokio::task::JoinHandle<Result<(), Failure>>;

/// Each seed has a runtime of its own, with which all of it can be ended at once.
struct Running {
    handle: Handle,
    runtime: Runtime,
    ended: Ended,
}

struct Seeds {
    directory: tempfile::TempDir,
    addresses: Vec<Address>,
    running: Vec<Option<Running>>,
    snapshot_every: u64,
}

impl Drop for Seeds {
    fn drop(&mut self) {
        self.running.drain(..).flatten().for_each(|running| running.runtime.shutdown_background());
    }
}

impl Seeds {
    /// Three seeds at ports that were free a moment ago and stay theirs.
    fn start(snapshot_every: u64) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let sockets: Vec<_> = (0..3).map(|_| tcp::bind((ip, 0).into()).unwrap()).collect();
        let addresses = sockets.iter().map(|socket| Address::from(socket.local_addr().unwrap())).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut seeds = Seeds { directory, addresses, running: Vec::new(), snapshot_every };
        for (index, socket) in sockets.into_iter().enumerate() {
            let running = seeds.run(socket, index).map_err(|e| format!("{e:?}")).unwrap();
            seeds.running.push(Some(running));
        }
        seeds
    }

    fn run(&self, socket: std::net::TcpListener, index: usize) -> Result<Running, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let entered = runtime.enter();
        let started = start(socket, self.options(index));
        drop(entered);
        match started {
            Ok((handle, ended)) => Ok(Running { handle, runtime, ended }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn entry(address: Address) -> SeedEntry {
        SeedEntry { host: address.ip().to_string(), port: address.port(), key: None }
    }

    fn data(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("seed-{index}"))
    }

    fn options(&self, index: usize) -> Options {
        Options {
            own: Self::entry(self.addresses[index]),
            address: self.addresses[index],
            list: self.addresses.iter().map(|address| Self::entry(*address)).collect(),
            config: "test".to_owned(),
            data: self.data(index),
            journal: JournalOptions {
                files: vec![],
                format: Format::Text,
                events: Events::None,
                stdout: false,
            },
            patience: Patience::default(),
            raft: raft::Options { snapshot_every: self.snapshot_every, ..raft::Options::default() },
            probe_mode: ProbeMode::Assumed,
            changes_from: ChangesFrom::Host,
            form_without: Vec::new(),
            directories: Vec::new(),
            force_new_cluster: None,
        }
    }

    fn handle(&self, index: usize) -> &Handle {
        &self.running[index].as_ref().unwrap().handle
    }

    /// Ends all tasks of a seed where they stand, as kill -9 does.
    fn kill(&mut self, index: usize) {
        self.running[index].take().unwrap().runtime.shutdown_background();
    }

    async fn restart(&mut self, index: usize) {
        let clock = Clock::start();
        loop {
            let socket = tcp::bind(self.addresses[index].socket());
            let Ok(socket) = socket else {
                // The listener of the former life is not closed yet.
                assert!(clock.now() < Instant::START + DEADLINE, "{socket:?}");
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            // The tasks of the former life let go of the file as soon as they have noticed its end.
            match self.run(socket, index) {
                Ok(running) => {
                    self.running[index] = Some(running);
                    return;
                }
                Err(error) => assert!(clock.now() < Instant::START + DEADLINE, "{error:?}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn registry(&self, index: usize) -> (Registry, Option<SeedId>) {
        let (registry, leader, _) = self.handle(index).look().await.expect("it runs");
        (registry, leader)
    }

    async fn wait(&self, index: usize, what: &str, done: impl Fn(&Registry, Option<SeedId>) -> bool) {
        let clock = Clock::start();
        loop {
            let (registry, leader) = self.registry(index).await;
            if done(&registry, leader) {
                return;
            }
            let (applied, members) = (registry.applied(), registry.members().len());
            assert!(
                clock.now() < Instant::START + DEADLINE,
                "waited for {what} at seed {index}: applied {applied}, {members} members, leader {leader:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Registers a member by way of a seed, until the cluster takes it.
    async fn register(&self, index: usize, port: u16, life: u64) -> u64 {
        let clock = Clock::start();
        loop {
            let address = Address::new([127, 0, 0, 9].into(), port);
            let candidate = Candidate { address, life: Life(life), wire: Wire::Native, tags: Tags::new() };
            match self.handle(index).register(candidate).await {
                Some(Answer::Admitted { incarnation, .. }) => return incarnation.0,
                other => assert!(clock.now() < Instant::START + DEADLINE, "{other:?}"),
            }
        }
    }

    /// A copy of a seed's directory that lacks nothing, and has seen one more start than the original.
    async fn copy(&mut self, index: usize) -> PathBuf {
        self.kill(index);
        let copy = self.directory.path().join("copy");
        std::fs::create_dir_all(&copy).unwrap();
        std::fs::copy(self.data(index).join("log.redb"), copy.join("log.redb")).unwrap();
        assert_eq!(Store::open(&copy).unwrap().begin_run().unwrap(), 2);
        self.restart(index).await;
        self.wait(index, "its return", |_, leader| leader.is_some()).await;
        copy
    }

    /// A seed of that name on a copy of its directory. Elsewhere, for the address is taken.
    fn start_copy(&self, index: usize, data: PathBuf) -> Ended {
        let socket = tcp::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()).unwrap();
        let address = Address::from(socket.local_addr().unwrap());
        start(socket, Options { address, data, ..self.options(index) }).unwrap().1
    }

    async fn leader(&self, index: usize) -> usize {
        self.wait(index, "a leader", |registry, leader| leader.is_some() && registry.cluster().is_some())
            .await;
        let (registry, leader) = self.registry(index).await;
        let name = registry.seeds()[&leader.unwrap()].address.clone();
        self.addresses.iter().position(|address| address.to_string() == name).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_loss_of_the_leader() {
    let mut seeds = Seeds::start(5_000);
    let leader = seeds.leader(0).await;
    for port in 1..=20 {
        seeds.register(usize::from(port) % 3, port, 1).await;
    }
    seeds.kill(leader);
    let (other, third) = ((leader + 1) % 3, (leader + 2) % 3);
    seeds.wait(other, "twenty members", |registry, _| registry.members().len() == 20).await;
    seeds.register(other, 21, 1).await;
    seeds.wait(third, "the one registered since", |registry, _| registry.members().len() == 21).await;
    seeds.restart(leader).await;
    seeds.wait(leader, "what it missed", |registry, _| registry.members().len() == 21).await;
    assert_eq!(seeds.registry(leader).await.0.view(), seeds.registry(other).await.0.view());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_life_again_is_the_same_answer_and_no_entry() {
    let seeds = Seeds::start(5_000);
    let first = seeds.register(0, 1, 1).await;
    let epoch = seeds.registry(0).await.0.epoch();
    for index in 0..3 {
        assert_eq!(seeds.register(index, 1, 1).await, first);
    }
    assert_eq!(seeds.registry(0).await.0.epoch(), epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_seed_is_brought_up_to_date_by_a_snapshot() {
    let mut seeds = Seeds::start(50);
    seeds.leader(0).await;
    let leader = seeds.leader(1).await;
    let late = (leader + 1) % 3;
    seeds.register(leader, 1, 1).await;
    seeds.kill(late);
    for life in 2..=400 {
        seeds.register(leader, 2, life).await;
    }
    seeds.restart(late).await;
    let epoch = seeds.registry(leader).await.0.epoch();
    seeds.wait(late, "the snapshot", move |registry, _| registry.epoch() >= epoch).await;
    assert_eq!(seeds.registry(late).await.0.view(), seeds.registry(leader).await.0.view());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_members_restart_from_a_snapshot() {
    let mut seeds = Seeds::start(2_000);
    seeds.leader(0).await;
    let mut registering = tokio::task::JoinSet::new();
    for block in 0..50_u16 {
        let handle = seeds.handle(usize::from(block) % 3).clone();
        registering.spawn(async move {
            for number in 0..200_u16 {
                let address = Address::new([127, 1, 0, 1].into(), block * 200 + number + 1);
                let candidate = Candidate { address, life: Life(1), wire: Wire::Native, tags: Tags::new() };
                while !matches!(handle.register(candidate.clone()).await, Some(Answer::Admitted { .. })) {}
            }
        });
    }
    while let Some(done) = registering.join_next().await {
        done.unwrap();
    }
    for index in 0..3 {
        seeds.wait(index, "ten thousand members", |registry, _| registry.members().len() == 10_000).await;
    }
    for index in 0..3 {
        seeds.kill(index);
    }
    for index in 0..3 {
        seeds.restart(index).await;
    }
    // The greatest part comes from the snapshot, at once; the rest with the first commit of the new leader.
    for index in 0..3 {
        assert!(seeds.registry(index).await.0.members().len() > 5_000, "most are in the snapshot");
        seeds.wait(index, "all members", |registry, _| registry.members().len() == 10_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_a_registration_times_out_and_nothing_is_written() {
    let mut seeds = Seeds::start(5_000);
    let leader = seeds.leader(0).await;
    seeds.register(leader, 1, 1).await;
    let survivor = (leader + 1) % 3;
    seeds.wait(survivor, "the member", |registry, _| registry.members().len() == 1).await;
    seeds.kill(leader);
    seeds.kill((leader + 2) % 3);
    let address = Address::new([127, 0, 0, 9].into(), 2);
    let candidate = Candidate { address, life: Life(1), wire: Wire::Native, tags: Tags::new() };
    let answer = seeds.handle(survivor).register(candidate).await;
    assert!(matches!(&answer, Some(Answer::Refused(refusal)) if refusal.why == Why::NoQuorum), "{answer:?}");
    assert_eq!(seeds.registry(survivor).await.0.members().len(), 1);
}

async fn reason_of(ended: &mut Ended) -> String {
    let ended = tokio::time::timeout(DEADLINE, ended).await.expect("it ends").unwrap();
    ended.expect_err("with a reason").to_string()
}

/// Two processes on two copies of one directory, which lack nothing: both would vote, for one seat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_started_beside_its_original_is_refused_while_that_one_answers() {
    let mut seeds = Seeds::start(5_000);
    let leader = seeds.leader(0).await;
    let (original, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let copied = seeds.copy(original).await;
    let reason = reason_of(&mut seeds.start_copy(original, copied)).await;
    assert!(reason.contains("another process runs on it, and answers"), "{reason}");
    // The original votes on: without its vote there is no majority now.
    seeds.kill(leader);
    seeds.register(original, 2, 1).await;
    seeds.wait(other, "the member", |registry, _| registry.members().len() == 1).await;
}

/// A host vanishes and leaves its connections open; its disk is started elsewhere. Nobody answers on the old ones, so
/// the new one takes the seat. The old one, when it comes back after all, ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_takes_the_seat_of_an_original_that_does_not_answer_and_keeps_it() {
    let mut seeds = Seeds::start(5_000);
    let leader = seeds.leader(0).await;
    let frozen = (leader + 1) % 3;
    let copied = seeds.copy(frozen).await;
    let (thaw, until_thawed) = std::sync::mpsc::channel::<()>();
    let running = seeds.running[frozen].as_mut().unwrap();
    // On the only thread that it has.
    running.runtime.spawn(async move { until_thawed.recv() });
    let copy = seeds.start_copy(frozen, copied);
    let clock = Clock::start();
    while clock.now() < Instant::START + 3 * OLDER_RUN_TIME_MAX {
        assert!(!copy.is_finished(), "nobody answers in the place of the original");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    drop(thaw);
    let reason = reason_of(&mut seeds.running[frozen].as_mut().unwrap().ended).await;
    assert!(reason.contains("is a copy of another"), "{reason}");
    assert!(!copy.is_finished());
}
