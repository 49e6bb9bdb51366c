//! The hosts: on each a real node, or none; and an operator's, who changes the seeds.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::message::{SeedChange, SeedId, SessionMessage};
use coterie_common::net::journal::{Events, Format};
use coterie_common::net::observer::Observer;
use coterie_common::net::process::Failure;
use coterie_common::net::{JournalOptions, tcp};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Patience, Why};
use coterie_peer::shell as peer;
use coterie_seed::raft::{self, Store};
use coterie_seed::shell::{self as seed, ChangesFrom, ProbeMode};
use tokio::time::{sleep, timeout};

use super::disk::Disk;
use super::schedule::Schedule;
use super::seen::Shared;

use coterie_simulator::model::host::Host;
use coterie_simulator::plan::fault::SPARE_SEEDS;

/// The operator's host.
const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::new(12, 0, 0, 1));

/// How long the operator waits before an attempt is repeated.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Who has ended by itself, and what it had to say.
pub(super) type Fallen = (Host, Option<String>);

/// What all hosts share with who makes things happen to them.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) seen: Shared,
    pub(super) disks: BTreeMap<Host, Disk>,
    /// Where a node runs.
    pub(super) up: Rc<RefCell<BTreeSet<Host>>>,
    /// The peers that run.
    pub(super) peers: Rc<RefCell<BTreeMap<Host, peer::Handle>>>,
    /// Since they were last looked at.
    pub(super) fallen: Rc<RefCell<Vec<Fallen>>>,
    /// What the operator is to change, and what is changed.
    pub(super) changes: Rc<RefCell<VecDeque<Wanted>>>,
    pub(super) changed: Rc<RefCell<VecDeque<SeedChange>>>,
}

/// A change that the operator wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) change: SeedChange,
    /// Who had the seat when it was first wanted.
    seat: Option<SeedId>,
}

impl Common {
    pub(super) fn seat_of(&self, name: &str) -> Option<SeedId> {
        self.seen.borrow().seat_at(name).map(|(id, _)| id)
    }

    /// The operator is to make this change.
    pub(super) fn want(&self, change: SeedChange) {
        let seat = self.seat_of(change.address());
        self.changes.borrow_mut().push_back(Wanted { change, seat });
    }

    /// The operator has asked for a change; it is made, or pointless, or, as nobody could make it, to be asked for
    /// again.
    fn note_attempt(&self, wanted: &Wanted, made: Option<bool>) {
        let change = &wanted.change;
        let seat = self.seat_of(change.address());
        // A seed that is behind, or new, does not know of seats that there are.
        let is_pointless = made == Some(false) && seat.is_some() == matches!(change, SeedChange::Add(_));
        // An attempt that was not answered has made it, and the new seed may have come: a refusal says so by its name.
        let is_replaced = matches!(change, SeedChange::Replace { .. }) && seat != wanted.seat;
        let mut changes = self.changes.borrow_mut();
        // It may not be wanted any more.
        let is_wanted = changes.pop_front_if(|first| first == wanted).is_some();
        let outcome = match made {
            Some(true) => {
                self.changed.borrow_mut().push_back(change.clone());
                "made"
            }
            Some(false) | None if is_replaced => {
                self.changed.borrow_mut().push_back(change.clone());
                "made before"
            }
            Some(false) if is_pointless => "pointless",
            Some(false) | None if is_wanted => {
                changes.push_back(wanted.clone());
                "not made yet"
            }
            Some(false) | None => "not made",
        };
        self.seen.borrow_mut().hash(&format!("operator: {change:?} {outcome}"));
    }
}

/// The seeds' hosts, those of spare ones too.
pub(super) fn seed_hosts(schedule: &Schedule) -> impl Iterator<Item = Host> + use<> {
    (0..schedule.seeds + SPARE_SEEDS).map(Host::Seed)
}

/// The hosts of nodes.
pub(super) fn hosts(schedule: &Schedule) -> Vec<Host> {
    seed_hosts(schedule).chain((0..schedule.peers).map(Host::Peer)).collect()
}

/// Adds all hosts to a simulation.
pub(super) fn add_to(sim: &mut turmoil::Sim<'_>, schedule: &Schedule, common: &Common) {
    for host in hosts(schedule) {
        let (schedule, common) = (schedule.clone(), common.clone());
        sim.host(host.address().ip(), move || {
            let (schedule, common) = (schedule.clone(), common.clone());
            async move {
                if common.up.borrow().contains(&host) {
                    common.seen.borrow_mut().started(host);
                    let ended = match host {
                        Host::Seed(_) => run_seed(host, &schedule, &common).await,
                        Host::Peer(_) => run_peer(host, &schedule, &common).await,
                    };
                    let why = ended
                        .err()
                        .map(|(Failure::Running(error) | Failure::Usage(error))| format!("{error:#}"));
                    common.fallen.borrow_mut().push((host, why));
                }
                // A host without a node refuses whoever wants to connect, which it only does while it runs something.
                std::future::pending().await
            }
        });
    }
    let (schedule, common) = (schedule.clone(), common.clone());
    sim.host(OPERATOR, move || operate(schedule.clone(), common.clone()));
}

fn entry(address: Address) -> SeedEntry {
    SeedEntry { host: address.ip().to_string(), port: address.port(), key: None }
}

/// The list that the first seeds and all peers are given.
fn list(schedule: &Schedule) -> Vec<SeedEntry> {
    (0..schedule.seeds).map(|index| entry(Host::Seed(index).address())).collect()
}

/// Nothing is written: what nodes log is seen where they log it.
fn journal() -> JournalOptions {
    JournalOptions { files: Vec::new(), format: Format::Text, events: Events::None, stdout: false }
}

async fn run_seed(host: Host, schedule: &Schedule, common: &Common) -> Result<(), Failure> {
    let (own, mut all) = (entry(host.address()), list(schedule));
    if !all.contains(&own) {
        all.push(own.clone());
    }
    let store = Store::open_on(common.disks[&host].open())?;
    let options = seed::Options {
        own,
        address: host.address(),
        list: all,
        config: "simulated".to_owned(),
        data: "simulated".into(),
        journal: journal(),
        patience: Patience::default(),
        raft: raft::Options { snapshot_every: schedule.snapshot_every, ..raft::Options::default() },
        probe_mode: ProbeMode::Sockets,
        form_without: Vec::new(),
        force_new_cluster: None,
        changes_from: ChangesFrom::Anywhere,
        directories: Vec::new(),
    };
    let (_handle, running) = seed::start_on(store, tcp::bind(host.address().socket())?, options)?;
    running.await?
}

async fn run_peer(host: Host, schedule: &Schedule, common: &Common) -> Result<(), Failure> {
    let options = peer::Options {
        address: host.address(),
        seeds: list(schedule),
        config: "simulated".to_owned(),
        journal: journal(),
        console: false,
        core: coterie_peer::core::Config {
            max_neighbours: schedule.max_neighbours,
            messages: u64::MAX,
            message_interval: Duration::from_secs(1),
            ..coterie_peer::core::Config::default()
        },
    };
    let (handle, running) = peer::start(tcp::bind(host.address().socket())?, options)?;
    common.peers.borrow_mut().insert(host, handle);
    running.await?
}

// ---- the operator ----

/// Makes one change after the other, through whichever seed takes it. What cannot be made yet waits for the others.
async fn operate(schedule: Schedule, common: Common) -> turmoil::Result {
    loop {
        let next = common.changes.borrow().front().cloned();
        let Some(wanted) = next else {
            sleep(TRY_AGAIN).await;
            continue;
        };
        let mut made = None;
        for host in seed_hosts(&schedule) {
            made = ask(&host.address().to_string(), &wanted.change).await;
            if made.is_some() {
                break;
            }
        }
        common.note_attempt(&wanted, made);
        sleep(TRY_AGAIN).await;
    }
}

/// Whether a seed has made a change, or says that there is nothing to change; nothing, if it could not.
async fn ask(seed: &str, change: &SeedChange) -> Option<bool> {
    let mut session = timeout(TRY_AGAIN * 5, Observer::open(seed)).await.ok()?.ok()?;
    session.say(SessionMessage::ChangeSeeds(change.clone()));
    let answered = session.wait_for(REGISTRATION_TIME_MAX.get() + TRY_AGAIN, |message| match message {
        SessionMessage::SeedsChanged(answer) => Some(answer),
        _ => None,
    });
    match answered.await.ok()? {
        Ok(()) => Some(true),
        // It was made before, by an attempt that was not answered; or what it is about has changed.
        Err(refusal) if matches!(refusal.why, Why::Superseded | Why::Stranger | Why::BadRequest) => {
            Some(false)
        }
        Err(_) => None,
    }
}
