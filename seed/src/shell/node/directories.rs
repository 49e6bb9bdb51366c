//! Data directories: what this seed's has on disk is told to the others, and what theirs had is remembered.
//!
//! `seed/core/directories` judges; here is when it is asked, and what happens to who runs on a copy. A copy that was
//! made while its seed went on is found by what it lacks, or by the count of its starts. One that is started beside its
//! original is found by asking the original whether it lives: a host that was cut off may have left its connections
//! open, and then the one that comes is the only one.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::limits::{
    DIRECTORY_TOLD_AT_LEAST, DIRECTORY_TOLD_EVERY, OLDER_RUN_ANSWER_HOLDS, OLDER_RUN_TIME_MAX,
};
use coterie_common::message::{CloseReason, DirectoryState, History, MeshMessage, SeedHello, SeedId};
use coterie_common::net::process::Failure;
use coterie_common::{Instant, Message};

use super::connections::Speaker;
use super::{Arrival, Node, Options};
use crate::core::directories::KnownDirectories;
use crate::raft::Store;

/// What is known of data directories, this seed's own among them.
#[derive(Debug)]
pub(super) struct Directories {
    /// How often a seed was started on this one, and the number of this process.
    run: (u64, u64),
    known: KnownDirectories,
    /// When that was written last, and whether it has changed since.
    kept_at: Instant,
    is_news: bool,
    /// What the others were told last, and when.
    told: Option<(Instant, DirectoryState)>,
    /// Older runs that were asked whether they live, by process: when, and whether they do.
    asked: BTreeMap<u64, (Instant, bool)>,
}

impl Directories {
    /// A seed starts on the directory of this store.
    pub(super) fn begin(store: &Store, process: u64) -> std::io::Result<Self> {
        Ok(Directories {
            run: (store.begin_run()?, process),
            known: store.known_directories()?,
            kept_at: Instant::START,
            is_news: false,
            told: None,
            asked: BTreeMap::new(),
        })
    }
}

/// Another seed knows, or has known before, that this one runs on a copy.
pub(super) fn is_a_copy(options: &Options, doubt: &str) -> Failure {
    let (data, own) = (options.data.display(), &options.own);
    Failure::running(format!(
        "data directory {data} is a copy of another: {doubt}. Empty it and run coterie seed-replace {own}"
    ))
}

impl Speaker {
    /// Who says this.
    pub(super) fn of(hello: &SeedHello) -> Self {
        Speaker { directory_id: hello.directory_id, process: hello.directory.process }
    }
}

impl Node {
    // ---- this seed's ----

    /// What this seed's directory has on disk.
    pub(super) fn directory(&self) -> DirectoryState {
        self.log.store.directory_state(self.directories.run)
    }

    /// Tells the others what is on disk by now, and writes down what they said.
    pub(super) fn tell_directory(&mut self) {
        let now = self.clock.now();
        let (told_at, told) = self.directories.told.unzip();
        let is_over = |pause| told_at.is_none_or(|at| now.since(at) >= pause);
        if is_over(DIRECTORY_TOLD_EVERY.get()) {
            self.note_shortages();
            self.core.silent_seeds().for_each(|seed| self.mesh.give_up(seed));
            let state = self.directory();
            self.core.note_log_end(state.last);
            if told != Some(state) || is_over(DIRECTORY_TOLD_AT_LEAST.get()) {
                self.directories.told = Some((now, state));
                self.mesh.say_to_all(&MeshMessage::Directory(state));
            }
        }
        if self.directories.is_news && now.since(self.directories.kept_at) >= DIRECTORY_TOLD_AT_LEAST.get() {
            self.directories.kept_at = now;
            self.keep_known_directories();
        }
    }

    /// Writes down what is not written yet.
    pub(super) fn keep_last_news(&mut self) {
        if self.directories.is_news {
            self.keep_known_directories();
        }
    }

    /// Writes down what the others said, but of directories that have no seat any more.
    fn keep_known_directories(&mut self) {
        self.directories.is_news = false;
        let seated: BTreeSet<u64> = match self.log.store.history() {
            Some(history) => {
                let seated = history.seats.values().map(|seat| seat.directory_id);
                seated.chain(history.removed.into_values()).flatten().collect()
            }
            // Before there are seats, those that are there.
            None => self.greetings.hellos.values().map(|hello| hello.directory_id).collect(),
        };
        self.directories.known.keep(&seated);
        // A log that has ended says so by itself.
        let Ok(written) = self.log.store.keep_known_directories(&self.directories.known) else { return };
        let arrivals = self.arrivals.0.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = written.await {
                let _ = arrivals.send(Arrival::NotWritten(error)).await;
            }
        });
    }

    // ---- the others' ----

    /// A directory that is no copy has this.
    pub(super) fn remember(&mut self, directory_id: u64, state: DirectoryState) {
        let committed_here = self.directory().committed;
        self.directories.is_news |= self.directories.known.note(directory_id, state, committed_here);
    }

    /// Another seed tells what it has on disk by now.
    pub(super) fn note_directory(&mut self, seed: SeedId, state: DirectoryState) {
        if let Some(hello) = self.greetings.hellos.get(&seed)
            && hello.directory.process == state.process
        {
            self.remember(hello.directory_id, state);
        }
    }

    /// Whether the seed that says this runs on the directory that it names, and not on a copy.
    pub(super) fn check_directory(&mut self, hello: &SeedHello) -> Result<(), CloseReason> {
        let is_seated = |history: History| history.is_seated(hello.id, hello.directory_id);
        let log = self.log.consensus.as_ref().filter(|_| self.log.store.history().is_some_and(is_seated));
        let acknowledged = log.and_then(|log| log.acknowledged_by(hello.id));
        let known = &self.directories.known;
        let judged = known.judge(hello.directory_id, &hello.directory, acknowledged.as_ref());
        judged.map_err(|doubt| CloseReason::DirectoryCopy(doubt.to_string()))?;
        let asked = &mut self.directories.asked;
        asked.retain(|process, _| self.connections.has_process(*process));
        let mut older: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (id, process) in self.connections.of_other_processes(Speaker::of(hello)) {
            older.entry(process).or_default().push(id);
        }
        older.into_iter().try_for_each(|(process, ids)| self.check_older_run(process, &ids))
    }

    /// An older run is connected here, on one connection or several, of which some may be dead. If it answers on any it
    /// is the original, or was there first; if not it is over.
    fn check_older_run(&mut self, process: u64, ids: &[u64]) -> Result<(), CloseReason> {
        let now = self.clock.now();
        match self.directories.asked.get(&process).copied() {
            Some((at, true)) if now.since(at) < OLDER_RUN_ANSWER_HOLDS => {
                Err(CloseReason::DirectoryCopy("another process runs on it, and answers".to_owned()))
            }
            Some((at, false)) if now.since(at) >= OLDER_RUN_TIME_MAX => {
                ids.iter().for_each(|id| self.refuse(*id, CloseReason::Silent));
                Ok(())
            }
            asked => {
                if asked.is_none_or(|(_, answers)| answers) {
                    self.directories.asked.insert(process, (now, false));
                    ids.iter().for_each(|id| self.say(*id, &Message::Ping { nonce: 0 }));
                }
                let text = "another process was connected with this directory, and is asked whether it lives";
                Err(CloseReason::Refused(text.to_owned()))
            }
        }
    }

    /// The other end of a connection asks whether this seed is there.
    pub(super) fn answer_ping(&mut self, id: u64, nonce: u64) {
        let (address, ready) = (self.options.address, self.core.takes_part());
        self.say(id, &Message::Pong { nonce, address, life: None, incarnation: None, ready });
    }

    /// It was asked, and is there.
    pub(super) fn note_answer(&mut self, id: u64) {
        let process = self.connections.process_at(id);
        if let Some(asked) = process.and_then(|process| self.directories.asked.get_mut(&process)) {
            *asked = (self.clock.now(), true);
        }
    }
}
