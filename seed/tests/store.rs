//! The log store: openraft's own conformance suite, and disks that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coterie_common::message::SeedId;
use coterie_seed::core::Registry;
use coterie_seed::raft::machine::Machine;
use coterie_seed::raft::store::Identity;
use coterie_seed::raft::{StateRequest, Store, Types};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::mpsc;

/// Owns a registry as the seed's task does.
fn own_registry(store: &Store) -> mpsc::Sender<StateRequest> {
    let mut registry: Registry = store.snapshot().unwrap().unwrap_or_default();
    let (sender, mut requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            match request {
                StateRequest::Apply(commits, done) => {
                    commits.iter().for_each(|commit| registry.skip(commit.index));
                    let _ = done.send(());
                }
                StateRequest::Copy(reply) => drop(reply.send(registry.clone())),
                StateRequest::Replace(other, done) => {
                    registry = *other;
                    let _ = done.send(());
                }
            }
        }
    });
    sender
}

struct Builder;

impl StoreBuilder<Types, Store, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Store, Machine), StorageError<Types>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let machine = Machine::new(own_registry(&store), store.clone()).unwrap();
        Ok((directory, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms_to_what_openraft_expects() {
    Suite::test_all(Builder).await.unwrap();
}

#[test]
fn a_directory_keeps_the_identity_it_was_given_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = Identity { id: SeedId(1), directory_id: 77 };
    assert_eq!(Store::open(directory.path()).unwrap().identity(first).unwrap(), first);
    let second = Identity { id: SeedId(2), directory_id: 78 };
    assert_eq!(Store::open(directory.path()).unwrap().identity(second).unwrap(), first);
}

#[test]
fn a_second_seed_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some("in use by another process"));
}

#[test]
fn a_torn_file_is_refused_rather_than_read() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let file = directory.path().join("log.redb");
    tear(&file);
    assert!(Store::open(directory.path()).is_err(), "half a file is no log");
}

fn tear(file: &Path) {
    let length = std::fs::metadata(file).unwrap().len();
    std::fs::File::options().write(true).open(file).unwrap().set_len(length / 3).unwrap();
}

/// A disk in memory that fails when it is told to.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
            false => Ok(()),
        }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        out.copy_from_slice(&bytes[offset as usize..offset as usize + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        self.bytes.lock().unwrap().resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.bytes.lock().unwrap()[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[tokio::test]
async fn after_a_failed_write_everything_that_follows_fails_and_what_was_written_is_there() {
    use openraft::storage::RaftLogStorage;
    use openraft::vote::RaftVote;
    type Vote = openraft::alias::VoteOf<Types>;
    let disk = Disk::default();
    let vote =
        |term| Vote::from_leader_id(openraft::impls::leader_id_std::LeaderId { term, voted_for: 1 }, false);
    let mut store = Store::open_on(disk.clone()).unwrap();
    store.save_vote(&vote(1)).await.unwrap();
    disk.full.store(true, Ordering::SeqCst);
    let error = store.save_vote(&vote(2)).await.unwrap_err().to_string();
    assert!(error.contains("no space left"), "{error}");
    disk.full.store(false, Ordering::SeqCst);
    assert!(store.save_vote(&vote(3)).await.is_err(), "a log with a hole is not written on");
    drop(store);
    let mut again = Store::open_on(disk).unwrap();
    let kept = openraft::RaftLogReader::<Types>::read_vote(&mut again).await.unwrap();
    assert_eq!(kept, Some(vote(1)));
}

/// A seed that was brought up by a snapshot counted as empty until its next start, and two such could have begun a
/// cluster anew.
#[tokio::test]
async fn a_received_snapshot_is_history() {
    use coterie_common::codec::to_bytes;
    use coterie_common::message::{ClusterId, Seat};
    use coterie_seed::core::Entry;
    use coterie_seed::core::entry::{Body, SeedRecord};
    use openraft::storage::RaftStateMachine;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut machine = Machine::new(own_registry(&store), store.clone()).unwrap();
    assert_eq!(store.history(), None);
    let mut registry = Registry::default();
    let record = SeedRecord { address: "10.0.0.1:5011".to_owned(), directory_id: Some(77) };
    let found = Body::Found { cluster: ClusterId([3; 16]), seeds: [(SeedId(0), record)].into() };
    registry.apply(1, &Entry::new(found));
    machine.install_snapshot(&snapshot_up_to(1), to_bytes(&registry)).await.unwrap();
    let history = store.history().unwrap();
    let seat = Seat { address: "10.0.0.1:5011".to_owned(), directory_id: Some(77) };
    assert_eq!((history.cluster, history.seats), (ClusterId([3; 16]), [(SeedId(0), seat)].into()));
    // It was acknowledged; a seed that is killed before its log follows has it all the same, and has forgotten nothing.
    let has = |store: &Store| store.directory_state((1, 1));
    assert_eq!((has(&store).last.index, has(&store).committed.index), (1, 1));
    drop((machine, store));
    let store = Store::open(directory.path()).unwrap();
    assert_eq!((has(&store).last.index, has(&store).committed.index), (1, 1));
}

/// What is said about a snapshot whose last entry has that index.
fn snapshot_up_to(index: u64) -> openraft::alias::SnapshotMetaOf<Types> {
    let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(1);
    let last_log_id = Some(openraft::LogId::new(leader, index));
    openraft::alias::SnapshotMetaOf::<Types> { last_log_id, last_membership: Default::default() }
}

/// The registry of one seed and one member, up to entry 2.
fn with_one_member() -> Registry {
    use coterie_common::message::{BallotId, Candidate, ClusterId, Subject, Vote};
    use coterie_common::{Finding, HostEvidence, Incarnation, Life, Tags, Wire};
    use coterie_seed::core::Entry;
    use coterie_seed::core::entry::{Body, SeedRecord};
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![[SeedId(0)].into()]);
    let record = SeedRecord { address: "10.0.0.1:5011".to_owned(), directory_id: Some(77) };
    let found = Body::Found { cluster: ClusterId([3; 16]), seeds: [(SeedId(0), record)].into() };
    registry.apply(1, &Entry::new(found));
    let (address, life, replaces) = ("10.0.0.2:6001".parse().unwrap(), Life(1), Incarnation::NONE);
    let ballot = BallotId { term: 1, number: 1 };
    let subject = Subject::Admission { address, life, replaces };
    let votes =
        vec![Vote { seed: SeedId(0), ballot, subject, finding: Finding::Alive, host: HostEvidence::Unknown }];
    let candidate = Candidate { address, life, wire: Wire::Native, tags: Tags::new() };
    registry.apply(2, &Entry::new(Body::Join { ballot, candidate, replaces, votes }));
    assert_eq!(registry.members().len(), 1);
    registry
}

/// A snapshot is what another seed says: one that no log makes is refused, and nothing of it is kept.
#[tokio::test]
async fn a_snapshot_that_no_log_makes_is_refused() {
    use coterie_common::codec::to_bytes;
    use openraft::storage::RaftStateMachine;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut machine = Machine::new(own_registry(&store), store.clone()).unwrap();
    let mut short = Registry::default();
    short.skip(5);
    let mut torn = with_one_member();
    torn.skip(1);
    let refused = [
        (9, to_bytes(&short), "a snapshot up to entry 9 has one up to 5 in it"),
        (1, to_bytes(&torn), "a snapshot that no log makes: epoch 2 after entry 1"),
    ];
    for (index, bytes, why) in refused {
        let error = machine.install_snapshot(&snapshot_up_to(index), bytes).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::InvalidData, why));
    }
    let noise = machine.install_snapshot(&snapshot_up_to(5), vec![0xff; 40]).await.unwrap_err();
    assert_eq!(noise.kind(), io::ErrorKind::InvalidData);
    assert!(store.snapshot().unwrap().is_none());
}

#[tokio::test]
async fn what_is_sent_at_once_is_limited_by_bytes() {
    use coterie_common::limits::APPEND_BYTES_MAX;
    use coterie_common::message::{BallotId, Candidate};
    use coterie_common::{Incarnation, Life, Wire};
    use coterie_seed::core::Entry;
    use coterie_seed::core::entry::Body;
    use openraft::entry::RaftEntry;
    use openraft::storage::RaftLogStorageExt;
    use openraft::vote::leader_id_std::CommittedLeaderId;
    const TAG_BYTES: usize = 16_000;
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let join = |index: u64| Body::Join {
        ballot: BallotId { term: 1, number: index },
        candidate: Candidate {
            address: "10.0.0.1:7000".parse().unwrap(),
            life: Life(index),
            wire: Wire::Native,
            tags: [("t".to_owned(), "x".repeat(TAG_BYTES))].into(),
        },
        replaces: Incarnation::NONE,
        votes: Vec::new(),
    };
    let entry = |index| {
        let id = openraft::LogId::new(CommittedLeaderId::new(1), index);
        openraft::alias::EntryOf::<Types>::new_normal(id, Entry::new(join(index)))
    };
    store.blocking_append((1..=100).map(entry)).await.unwrap();
    let mut count = async |from| {
        openraft::RaftLogReader::<Types>::limited_get_log_entries(&mut store, from, 101).await.unwrap().len()
    };
    let first = count(1).await;
    assert!((10..=APPEND_BYTES_MAX / TAG_BYTES).contains(&first), "{first} entries of {TAG_BYTES} bytes");
    assert_eq!(count(98).await, 3, "the rest fits");
}

/// A disk that was full when a seed was first started left a file of the right size without a word in it, and the seed
/// could not be started any more when there was room again.
#[tokio::test]
async fn what_a_full_disk_left_half_made_does_not_keep_a_seed_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log.redb.new"), vec![0; 1_056_768]).unwrap();
    let identity = Identity { id: SeedId(3), directory_id: 77 };
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.identity(identity).unwrap(), identity);
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let another = Identity { id: SeedId(4), directory_id: 78 };
    assert_eq!(store.identity(another).unwrap(), identity, "it is the directory that it was");
}
