//! Going on alone: the log of a cluster becomes that of its successor.

use std::collections::BTreeSet;
use std::io;

use coterie_common::codec::to_bytes;
use coterie_common::limits::SUCCESSOR_INDEX_GAP;
use coterie_common::message::ClusterId;
use openraft::Membership;
use redb::Database;

use super::{Identity, LOG, META, Store, disk, load, lock};
use crate::core::Payload;
use crate::core::entry::SeedRecord;
use crate::core::registry::{Registry, succeed};
use crate::raft::machine::commit;
use crate::raft::{LogId, SnapshotMeta, Vote};

impl Store {
    /// Has the cluster of this log go on as another one with this seed alone, at `address`, on what is from now on the
    /// directory of that number. Returns the new cluster's name.
    ///
    /// All entries count that are on this disk: whether the last of them were committed, the lost seeds would have to
    /// say, and whoever was answered would miss them. Afterwards the log is a snapshot whose index and term are above
    /// all that any seed of the former cluster has, and nothing is left of it that a frame of the former could touch.
    /// With one commit: a seed that is killed meanwhile has either cluster, whole.
    pub fn go_on_alone(&self, address: &str, directory_id: u64) -> io::Result<ClusterId> {
        let (snapshot, vote) = (self.snapshot()?, lock(&self.shared.memory).vote);
        let mut term = vote.map_or(0, |vote| vote.leader_id.term);
        // The first entry of a log, the founders' votes, is number 0.
        let from = snapshot.as_ref().map_or(0, |registry| registry.applied() + 1);
        let mut registry = snapshot.unwrap_or_default();
        for entry in self.entries(from.., usize::MAX)? {
            term = term.max(entry.log_id.committed_leader_id().term);
            apply(&mut registry, entry);
        }
        let index = registry.applied() + SUCCESSOR_INDEX_GAP;
        let record = SeedRecord { address: address.to_owned(), directory_id: Some(directory_id) };
        let registry = succeed(registry, record, index);
        let (Some(cluster), Some((id, _))) = (registry.cluster(), registry.seeds().first_key_value()) else {
            unreachable!("a successor is a cluster, with one seed")
        };
        let last = LogId::new_term_index(term + 1, index);
        let voters = Membership::new_with_defaults(vec![BTreeSet::from([id.0])], []);
        let about = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: super::super::Membership::new(Some(last), voters),
        };
        let identity = Identity { id: *id, directory_id };
        let rows = [
            ("identity", to_bytes(&identity)),
            ("vote", to_bytes(&Vote::new(term + 1, id.0))),
            ("committed", to_bytes(&last)),
            ("purged", to_bytes(&last)),
            ("snapshot_meta", to_bytes(&about)),
            ("snapshot", to_bytes(&registry)),
        ];
        replace(&self.shared.database, &rows).map_err(disk)?;
        *lock(&self.shared.memory) = load(&self.shared.database)?;
        self.refresh_history()?;
        Ok(cluster)
    }
}

fn apply(registry: &mut Registry, entry: super::LogEntry) {
    let entry = commit(entry);
    match entry.payload {
        Payload::Entry(body) => drop(registry.apply(entry.index, &body)),
        Payload::Seeds(sets) => registry.set_seeds(entry.index, sets),
        Payload::Blank => registry.skip(entry.index),
    }
}

/// Empties the log, and has these rows beside it. What was known of the other seeds' directories goes, and with it that
/// this one was found to be a copy: it is another from now on.
fn replace(database: &Database, rows: &[(&str, Vec<u8>)]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        write.open_table(LOG)?.retain(|_, _| false)?;
        let mut meta = write.open_table(META)?;
        for gone in ["known_directories", "copy"] {
            meta.remove(gone)?;
        }
        for (key, bytes) in rows {
            meta.insert(*key, bytes.as_slice())?;
        }
    }
    write.commit()?;
    Ok(())
}
