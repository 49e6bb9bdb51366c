//! Bugs that can be planted, each of which one invariant must find.
//!
//! They stand between cores and world, so that the cores stay clean: a core that leaves a change out of a push, and a
//! world that takes it out of the push on its way, are the same to everybody else.

use std::fmt;
use std::str::FromStr;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlantedBug {
    /// Seeds leave the last change out of a push that has several.
    PushLeavesOneOut,
    /// When the leader changes, the log forgets the last entry that was committed.
    LogForgets,
    /// Seeds vote for a death without waiting for their own probe.
    VoteWithoutProbe,
    /// The seeds' probes take a lost packet for silence.
    ProbesGiveUp,
    /// The leader proposes no death that nobody reported.
    AbsenceIsIgnored,
    /// A life that was removed is never told.
    RemovedAreNotTold,
    /// Gossip is given another number on its way.
    GossipRenumbered,
    /// Gossip is not passed on, nor asked for.
    GossipNotPassedOn,
    /// A seed installs a snapshot that is older than what it has.
    OldSnapshot,
    /// A push brings an ended life back.
    EndedComeBack,
    /// A ballot's record says that it was carried before it was opened.
    StagesReversed,
    /// Every HELLO claims to mend the overlay.
    EveryHelloMends,
    /// Nobody is told to mend the overlay.
    NobodyMends,
    /// A peer that is to leave ends at once.
    LeavesWithoutAWord,
    /// A peer takes microseconds for milliseconds.
    WrongUnitOfTime,
    /// A seed without its directory takes part again.
    EmptySeedTakesPart,
    /// A seed that runs on a copy of its directory is let in, whatever it has forgotten.
    CopiesGoOn,
    /// No node says what is wrong with it.
    NobodyComplains,
}

impl PlantedBug {
    /// Each with the invariant that must find it.
    pub const ALL: [(PlantedBug, &'static str); 18] = [
        (PlantedBug::PushLeavesOneOut, "agreement"),
        (PlantedBug::LogForgets, "durability"),
        (PlantedBug::VoteWithoutProbe, "no_unilateral_death"),
        (PlantedBug::ProbesGiveUp, "accuracy"),
        (PlantedBug::AbsenceIsIgnored, "completeness"),
        (PlantedBug::RemovedAreNotTold, "comeback"),
        (PlantedBug::GossipRenumbered, "delivered_once"),
        (PlantedBug::GossipNotPassedOn, "delivered_to_all"),
        (PlantedBug::OldSnapshot, "epochs"),
        (PlantedBug::EndedComeBack, "no_resurrection"),
        (PlantedBug::StagesReversed, "evidence"),
        (PlantedBug::EveryHelloMends, "limits"),
        (PlantedBug::NobodyMends, "overlay"),
        (PlantedBug::LeavesWithoutAWord, "departures"),
        (PlantedBug::WrongUnitOfTime, "no_storms"),
        (PlantedBug::EmptySeedTakesPart, "seats"),
        (PlantedBug::CopiesGoOn, "one_history"),
        (PlantedBug::NobodyComplains, "not_silent"),
    ];
}

impl fmt::Display for PlantedBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for PlantedBug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = PlantedBug::ALL.into_iter().find(|(planted_bug, _)| planted_bug.to_string() == text);
        named.map(|(planted_bug, _)| planted_bug).ok_or_else(|| {
            let all: Vec<String> =
                PlantedBug::ALL.iter().map(|(planted_bug, _)| planted_bug.to_string()).collect();
            format!("{text} is none of {}", all.join(", "))
        })
    }
}
