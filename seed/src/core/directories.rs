//! What other seeds' data directories are known to have had on disk.
//!
//! Consensus rests on voters that keep what they acknowledged. An operator who restores an older copy of a directory
//! makes one that forgot: it may vote twice in one term, and a majority that counts on its entries is none. openraft
//! does not notice: it learns anew what a follower has, and goes on. So each seed remembers, on disk, what every other
//! one has said to have, and holds it against the next hello.
//!
//! Only what is committed is remembered of a log: what is not may be taken back. And a directory may find after a start
//! that it knows less of what is committed, so it is asked for its last entry, which is never before that.
//!
//! Left out: to ask around before a seed begins. Where nobody who knew is up, a copy goes unnoticed; waiting for them
//! would cost the cluster its majority whenever two seeds are down.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use coterie_common::message::{DirectoryState, LogPosition};
use serde::{Deserialize, Serialize};

/// By directory id, the most that each had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDirectories {
    directories: BTreeMap<u64, DirectoryState>,
}

/// What a leader knows that a follower has on disk.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The leader's term.
    pub term: u64,
    /// The last entry that it has acknowledged.
    pub last: LogPosition,
    /// The last of them that is committed.
    pub committed: LogPosition,
}

/// Why a directory is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It lacks an entry that is committed.
    ForgotEntries {
        /// Its last one.
        has: LogPosition,
        /// What it had.
        had: LogPosition,
    },
    /// It has voted in a higher term than it knows of.
    ForgotVotes {
        /// The term it knows.
        has: u64,
        /// That of its vote.
        had: u64,
    },
    /// It was started once more since.
    EarlierRun {
        /// The count of its starts.
        has: u64,
        /// What it was.
        had: u64,
    },
    /// Another process has run on it that counts its starts alike.
    Twin,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::ForgotEntries { has, had } => {
                write!(f, "it ends with {has}, and had {had}: it may have forgotten what it acknowledged")
            }
            Doubt::ForgotVotes { has, had } => {
                write!(f, "it is in term {has}, and had voted in term {had}: it has forgotten its vote")
            }
            Doubt::EarlierRun { has, had } => {
                write!(f, "it was started {has} times, and another copy of it {had} times")
            }
            Doubt::Twin => f.write_str("another process has run on another copy of it"),
        }
    }
}

impl KnownDirectories {
    /// Whether this can be the directory of that number, and no copy of it. Who leads also knows what was acknowledged
    /// to it, sooner than who acknowledged it has told.
    pub fn judge(
        &self,
        directory_id: u64,
        state: &DirectoryState,
        acknowledged: Option<&Acknowledged>,
    ) -> Result<(), Doubt> {
        let Some(known) = self.directories.get(&directory_id) else { return Ok(()) };
        // A process that runs forgets nothing; what it says may be overtaken by what it says on another connection.
        if state.process == known.process {
            return Ok(());
        }
        let has = state.last;
        // Before it has heard of a newer term it takes back nothing of what it has acknowledged in this one.
        let to_leader = acknowledged.filter(|it| state.term <= it.term).map(|it| it.last);
        let committed = acknowledged.map_or(known.committed, |it| it.committed.max(known.committed));
        let had = to_leader.map_or(committed, |last| last.max(committed));
        // By term too: a log that was ahead by index and is of an older term has not that entry.
        if has.index < had.index || has.term < had.term {
            return Err(Doubt::ForgotEntries { has, had });
        }
        if state.term < known.term {
            return Err(Doubt::ForgotVotes { has: state.term, had: known.term });
        }
        match state.run.cmp(&known.run) {
            Ordering::Less => Err(Doubt::EarlierRun { has: state.run, had: known.run }),
            Ordering::Equal => Err(Doubt::Twin),
            Ordering::Greater => Ok(()),
        }
    }

    /// A directory that is no copy has this; returns whether that is more than was known. What its seed does not know
    /// to be committed may be so here: of one term there is one log, so the shorter of two has nothing of its own.
    pub fn note(&mut self, directory_id: u64, state: DirectoryState, committed_here: LogPosition) -> bool {
        let known = self.directories.entry(directory_id).or_default();
        let before = *known;
        let is_one_log = state.last.term == committed_here.term;
        let shared = if is_one_log { state.last.min(committed_here) } else { LogPosition::default() };
        *known = DirectoryState {
            run: state.run.max(known.run),
            process: if state.run >= known.run { state.process } else { known.process },
            term: state.term.max(known.term),
            committed: state.committed.max(shared).max(known.committed),
            // What is not committed may be taken back: nothing to be remembered.
            last: LogPosition::default(),
        };
        assert!(known.committed >= before.committed, "what is committed went back from {before:?}");
        assert!(known.term >= before.term && known.run >= before.run, "{known:?} comes after {before:?}");
        *known != before
    }

    /// Forgets directories that are none of these: who lost a seat for good never takes it again.
    pub fn keep(&mut self, seated: &BTreeSet<u64>) {
        assert!(!seated.contains(&0), "0 stands for no directory");
        self.directories.retain(|directory_id, _| seated.contains(directory_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(run: u64, term: u64, committed: (u64, u64), last: (u64, u64)) -> DirectoryState {
        let position = |(term, index)| LogPosition { term, index };
        DirectoryState { run, process: run, term, committed: position(committed), last: position(last) }
    }

    fn knowing(state: DirectoryState) -> KnownDirectories {
        let mut known = KnownDirectories::default();
        assert!(known.note(1, state, LogPosition::default()));
        known
    }

    #[test]
    fn who_has_what_it_had_is_no_copy() {
        let known = knowing(state(3, 5, (5, 40), (5, 44)));
        assert_eq!(known.judge(1, &state(3, 5, (5, 40), (5, 44)), None), Ok(()));
        let judged = |directory_id, state| known.judge(directory_id, &state, None);
        assert_eq!(judged(1, state(3, 5, (5, 38), (5, 38))), Ok(()), "it said that before, elsewhere");
        assert_eq!(judged(1, state(4, 5, (5, 38), (5, 40))), Ok(()), "and knows less to be committed");
        assert_eq!(judged(1, state(4, 9, (5, 40), (9, 41))), Ok(()), "and took back what was not");
        assert_eq!(judged(2, state(1, 0, (0, 0), (0, 0))), Ok(()), "another directory");
    }

    #[test]
    fn who_has_less_than_it_had_is_a_copy() {
        let known = knowing(state(3, 6, (5, 40), (5, 44)));
        let doubt = |state| known.judge(1, &state, None).err();
        let forgot = |has: (u64, u64)| {
            let has = LogPosition { term: has.0, index: has.1 };
            Some(Doubt::ForgotEntries { has, had: LogPosition { term: 5, index: 40 } })
        };
        assert_eq!(doubt(state(4, 6, (5, 39), (5, 39))), forgot((5, 39)));
        assert_eq!(doubt(state(4, 6, (4, 30), (4, 44))), forgot((4, 44)), "longer, and older");
        assert_eq!(doubt(state(4, 5, (5, 40), (5, 44))), Some(Doubt::ForgotVotes { has: 5, had: 6 }));
        assert_eq!(doubt(state(2, 6, (5, 40), (5, 44))), Some(Doubt::EarlierRun { has: 2, had: 3 }));
        let twin = DirectoryState { process: 9, ..state(3, 6, (5, 40), (5, 44)) };
        assert_eq!(doubt(twin), Some(Doubt::Twin));
    }

    /// What is not committed is forgotten only by who has heard of another leader.
    #[test]
    fn a_leader_holds_what_it_was_told_against_a_follower() {
        let known = knowing(state(1, 5, (5, 40), (5, 40)));
        let position = |index| LogPosition { term: 5, index };
        let acknowledged = Acknowledged { term: 5, last: position(44), committed: position(42) };
        let doubt = |state| known.judge(1, &state, Some(&acknowledged)).err();
        let forgot = |has, had| Some(Doubt::ForgotEntries { has: position(has), had: position(had) });
        assert_eq!(doubt(state(2, 5, (5, 40), (5, 43))), forgot(43, 44));
        assert_eq!(doubt(state(2, 5, (5, 40), (5, 44))), None);
        assert_eq!(doubt(state(2, 6, (5, 40), (5, 42))), None, "another leader had it take back");
        assert_eq!(doubt(state(2, 6, (5, 40), (5, 41))), forgot(41, 42), "but not what is committed");
    }

    #[test]
    fn only_what_is_to_be_remembered_is_news() {
        let mut known = knowing(state(1, 1, (1, 4), (1, 4)));
        let here = |index| LogPosition { term: 1, index };
        assert!(!known.note(1, state(1, 1, (1, 4), (1, 7)), here(4)), "an entry that may be taken back");
        assert!(known.note(1, state(1, 1, (1, 4), (1, 7)), here(6)), "of which one is committed here");
        assert!(known.note(1, state(1, 1, (1, 4), (1, 7)), here(9)));
        assert!(!known.note(1, state(1, 1, (1, 7), (1, 7)), here(9)), "as was known");
        assert!(known.note(1, state(1, 2, (1, 7), (2, 8)), LogPosition { term: 3, index: 9 }), "a vote");
        assert_eq!(
            known.directories[&1].committed,
            here(7),
            "of another term, and so perhaps of another log"
        );
        assert!(!known.note(1, state(1, 1, (1, 5), (1, 7)), here(5)), "what was overtaken on its way");
        known.keep(&BTreeSet::from([2]));
        assert_eq!(known, KnownDirectories::default());
    }
}
