//! What is on disks: the bytes of every entry, and a store of each format, as they have been since.
//!
//! A log outlives the program that wrote it. A difference here is another format: it gets the next number, and a store
//! of it is added. `UPDATE_GOLDEN=1 cargo test -p coterie-seed --test stored` writes the entries anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use coterie_common::codec::{from_own_bytes, to_bytes};
use coterie_common::message::{
    BallotId, Candidate, Cause, ClusterId, JurorVote, SeedId, Stages, Subject, Vote,
};
use coterie_common::{Address, Finding, HostEvidence, Incarnation, Life, MemberId, Timestamp, Wire};
use coterie_seed::core::Entry;
use coterie_seed::core::entry::{Body, DeathRecord, SeedRecord};
use coterie_seed::raft::Store;
use coterie_seed::raft::store::Identity;
use openraft::{EntryPayload, RaftLogReader};
use redb::{Database, TableDefinition};

fn at(port: u16) -> Address {
    Address::new([127, 0, 0, 1].into(), port)
}

fn id(port: u16) -> MemberId {
    MemberId { address: at(port), incarnation: Incarnation(u64::from(port)) }
}

/// One entry of each kind, or more.
fn entries() -> Vec<Entry> {
    let ballot = BallotId { term: 2, number: 5 };
    let vote = |subject| Vote {
        seed: SeedId(1),
        ballot,
        subject,
        finding: Finding::Alive,
        host: HostEvidence::Unknown,
    };
    let (address, life, replaces) = (at(6001), Life(7), Incarnation(2));
    let tags = BTreeMap::from([("zone".to_owned(), "b".to_owned())]);
    let stages = Stages {
        suspected: Some(Timestamp::from_micros(1)),
        reported: None,
        opened: Timestamp::from_micros(2),
        carried: Timestamp::from_micros(3),
        proposed: Timestamp::from_micros(4),
    };
    let record = SeedRecord { address: "s1:5001".to_owned(), directory_id: Some(77) };
    let bodies = vec![
        Body::Found { cluster: ClusterId([0xab; 16]), seeds: BTreeMap::from([(SeedId(1), record)]) },
        Body::SeedDirectory { seed: SeedId(1), directory_id: 77 },
        Body::SeedAdd { address: "s4:5004".to_owned(), replaces: Some(SeedId(3)) },
        Body::SeedRemove(SeedId(3)),
        Body::Join {
            ballot,
            candidate: Candidate { address, life, wire: Wire::Json, tags },
            replaces,
            votes: vec![vote(Subject::Admission { address, life, replaces })],
        },
        Body::Leave(id(6001)),
        Body::Deaths(vec![DeathRecord {
            dead: id(6001),
            ballot,
            votes: vec![vote(Subject::Death(id(6001)))],
            cause: Cause::Absent,
            reporter: Some(at(6002)),
            jurors: vec![JurorVote { juror: id(6003), dead: true }],
            stages,
        }]),
    ];
    bodies.into_iter().map(Entry::new).collect()
}

#[test]
fn every_entry_has_the_bytes_that_it_had() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored/entries.txt");
    let mut said = String::new();
    for entry in entries() {
        let bytes = to_bytes(&entry);
        assert_eq!(from_own_bytes::<Entry>(&bytes).unwrap(), entry, "it comes back as it was");
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let kind = format!("{:?}", entry.body);
        let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        writeln!(said, "{kind} {hex}").unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(path).unwrap(), "another format");
    // One kind more, and no bytes of it here, is a format that nobody has looked at.
    let unknown = from_own_bytes::<Entry>(&[1, 250]).unwrap_err().to_string();
    let (_, count) = unknown.rsplit_once("i < ").unwrap();
    let count: usize = count.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let kinds: BTreeSet<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kinds.len(), count);
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored").join(name);
    std::fs::copy(from, directory.path().join("log.redb")).unwrap();
    directory
}

/// It was written by a seed alone, to which a peer came, and left, and came again and was killed.
#[tokio::test]
async fn a_store_of_each_format_is_opened() {
    let directory = copy_of("format-1.redb");
    let mut store = Store::open(directory.path()).unwrap();
    let identity = store.identity(Identity { id: SeedId(9), directory_id: 9 }).unwrap();
    assert_eq!(identity.id, SeedId(0));
    assert_eq!(store.begin_run().unwrap(), 2, "it was started once");
    let history = store.history().unwrap();
    let (_, seat) = history.seat_at("127.0.0.1:5911").unwrap();
    assert_eq!(seat.directory_id, Some(identity.directory_id));
    let vote = store.read_vote().await.unwrap().unwrap();
    assert!(vote.leader_id.term > 0 && vote.committed, "{vote}");
    let entries = store.try_get_log_entries(0..=store.last_index()).await.unwrap();
    let kinds = entries.iter().map(|entry| match &entry.payload {
        EntryPayload::Blank => "blank".to_owned(),
        EntryPayload::Membership(_) => "voters".to_owned(),
        EntryPayload::Normal(entry) => entry.to_string().split(' ').next().unwrap().to_owned(),
    });
    let kinds: Vec<String> = kinds.collect();
    assert_eq!(kinds, ["voters", "blank", "Found", "Join", "Leave", "Join", "Deaths"]);
    assert_eq!(store.directory_state((2, 1)).last.index, store.last_index());
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Changes what a store says of its format.
fn set_format(directory: &Path, format: Option<&[u8]>) {
    let database = Database::open(directory.join("log.redb")).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut meta = write.open_table(META).unwrap();
        match format {
            Some(format) => drop(meta.insert("format", format).unwrap()),
            None => drop(meta.remove("format").unwrap()),
        }
    }
    write.commit().unwrap();
}

#[test]
fn a_store_of_another_format_is_refused_by_name_and_left_as_it_is() {
    let directory = copy_of("format-1.redb");
    let refused = || Store::open(directory.path()).err().map(|error| error.to_string());
    set_format(directory.path(), Some(&to_bytes(&2_u32)));
    assert_eq!(refused().as_deref(), Some("it is of format 2, and this program knows format 1"));
    set_format(directory.path(), None);
    assert_eq!(refused().as_deref(), Some("it has no format: it is from before the first release"));
    set_format(directory.path(), Some(&to_bytes(&1_u32)));
    assert_eq!(refused(), None, "nothing of it was touched");
}
