//! The connections of a seed, and what each is for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coterie_common::Wire;
use coterie_common::limits::INBOX_FRAMES_MAX;
use coterie_common::message::SeedId;
use coterie_common::net::guests::Guests;
use coterie_common::net::tcp::TcpStream;
use coterie_common::net::{ConnectionEvent, Outbox, connection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Queue;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionKind {
    /// Accepted, and nothing said yet.
    New,
    /// A session, or a question.
    Session(Wire),
    /// Dialled by this seed.
    MeshOut(SeedId),
    /// Dialled by another seed.
    MeshIn(SeedId),
}

impl ConnectionKind {
    /// Whether it leads to another seed.
    pub(super) fn is_mesh(self) -> bool {
        match self {
            ConnectionKind::MeshOut(_) | ConnectionKind::MeshIn(_) => true,
            ConnectionKind::New | ConnectionKind::Session(_) => false,
        }
    }

    /// Whether it leads to that seed.
    pub(super) fn leads_to(self, seed: SeedId) -> bool {
        self == ConnectionKind::MeshIn(seed) || self == ConnectionKind::MeshOut(seed)
    }
}

/// A seed at the other end of a connection: its data directory, and the process that runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) directory_id: u64,
    pub(super) process: u64,
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct OpenConnection {
    pub(super) outbox: Outbox,
    pub(super) kind: ConnectionKind,
    /// Who is at the other end, where it is a seed that was welcomed.
    speaker: Option<Speaker>,
}

/// All of them.
pub(super) struct Connections {
    open: BTreeMap<u64, OpenConnection>,
    /// The number of the last one. Each is given once.
    last: u64,
    /// What came on them.
    pub(super) inbox: Queue<(u64, ConnectionEvent)>,
    /// Those of them that are too many.
    pub(super) guests: Guests<u64>,
    /// Accepts connections, for as long as this lives.
    _accepting: JoinSet<()>,
}

impl Connections {
    /// None yet; `accepting` hands over those that others open.
    pub(super) fn new(accepting: JoinSet<()>) -> Self {
        let inbox = mpsc::channel(INBOX_FRAMES_MAX);
        Connections {
            open: BTreeMap::new(),
            last: 0,
            inbox,
            guests: Guests::default(),
            _accepting: accepting,
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A stream is one of them from now on; returns its number.
    pub(super) fn keep(&mut self, stream: TcpStream, kind: ConnectionKind) -> u64 {
        self.last += 1;
        let outbox = connection::spawn(self.last, stream, self.inbox.0.clone());
        self.open.insert(self.last, OpenConnection { outbox, kind, speaker: None });
        self.last
    }

    /// The one of that number, while it is open.
    pub(super) fn get(&self, id: u64) -> Option<&OpenConnection> {
        self.open.get(&id)
    }

    /// From now on it is for that.
    pub(super) fn set_kind(&mut self, id: u64, kind: ConnectionKind) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.kind = kind;
        }
    }

    /// That process is at the other end.
    pub(super) fn set_speaker(&mut self, id: u64, speaker: Speaker) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.speaker = Some(speaker);
        }
    }

    /// The process at the other end, where that is a seed.
    pub(super) fn process_at(&self, id: u64) -> Option<u64> {
        Some(self.open.get(&id)?.speaker?.process)
    }

    /// Those at whose other end another process has the same directory, and that process.
    pub(super) fn of_other_processes(&self, of: Speaker) -> Vec<(u64, u64)> {
        let is_other =
            |speaker: &Speaker| speaker.directory_id == of.directory_id && speaker.process != of.process;
        let others = self.open.iter().filter_map(|(id, connection)| Some((*id, connection.speaker?)));
        others.filter(|(_, speaker)| is_other(speaker)).map(|(id, speaker)| (id, speaker.process)).collect()
    }

    /// Whether that process is at the other end of any.
    pub(super) fn has_process(&self, process: u64) -> bool {
        self.open.values().filter_map(|connection| connection.speaker).any(|it| it.process == process)
    }

    /// One of them is kept though there are too many. Returns who has to go for it; never a seed.
    pub(super) fn take_in(&mut self, id: u64) -> Option<u64> {
        let leaves = self.guests.take_in(id);
        leaves.filter(|leaves| self.open.get(leaves).is_some_and(|connection| !connection.kind.is_mesh()))
    }

    /// The one that has been silent for longest since it was accepted; of that host, if one is named.
    pub(super) fn oldest_silent(&self, host: Option<IpAddr>) -> Option<u64> {
        let is_from = |c: &OpenConnection| host.is_none() || c.outbox.remote_host() == host;
        let silent = self.open.iter().find(|(_, c)| c.kind == ConnectionKind::New && is_from(c));
        silent.map(|(id, _)| *id)
    }

    /// How many that host has.
    pub(super) fn of_host(&self, host: IpAddr) -> usize {
        self.open.values().filter(|c| c.outbox.remote_host() == Some(host)).count()
    }

    /// It has ended, or is to end.
    pub(super) fn remove(&mut self, id: u64) -> Option<OpenConnection> {
        self.open.remove(&id)
    }

    /// The numbers of those of which `is_wanted` says so.
    pub(super) fn that_are(&self, is_wanted: impl Fn(ConnectionKind) -> bool) -> Vec<u64> {
        self.open.iter().filter(|(_, c)| is_wanted(c.kind)).map(|(id, _)| *id).collect()
    }
}
