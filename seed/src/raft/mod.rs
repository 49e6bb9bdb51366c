//! The replicated log: openraft's traits, thin.
//!
//! Nothing is decided here. [`store`] keeps log, vote and snapshots in one redb file, [`machine`] hands committed
//! entries to the core and takes snapshots of its registry, [`network`] carries openraft's messages over the
//! seeds' mesh, and [`Consensus`] is what the shell sees of it all. No type of openraft leaves this module.

mod consensus;
pub mod machine;
pub mod network;
mod runtime;
pub mod store;

use crate::core::Entry;

pub use consensus::{Consensus, Notice, Options};
pub use machine::StateRequest;
pub use store::Store;

openraft::declare_raft_types!(
    /// The types of the log.
    pub Types:
        D = Entry,
        R = (),
        NodeId = u64,
        Node = (),
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = runtime::Runtime,
);

type LogId = openraft::alias::LogIdOf<Types>;
type Vote = openraft::alias::VoteOf<Types>;
type LogEntry = openraft::alias::EntryOf<Types>;
type Membership = openraft::alias::StoredMembershipOf<Types>;
type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
type Snapshot = openraft::alias::SnapshotOf<Types, Vec<u8>>;
