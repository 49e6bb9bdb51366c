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
    /// Seeds let in those of another cluster.
    ClustersMix,
    /// On a session, either end takes the other for one of its own cluster.
    SessionsMix,
    /// No node says what is wrong with it.
    NobodyComplains,
    /// Who reports a death that the seeds do not find is not told so.
    RejectionsAreNotTold,
    /// Of two links of one pair, one is closed without a word.
    DuplicatesEndWithoutAWord,
    /// A removal takes whoever has come to that address since, in the same push.
    RemovalsNameAddresses,
    /// A PONG on a link answers no ping.
    PongsAnswerNothing,
    /// That somebody was found alive is forgotten at once.
    AcquittalsAreForgotten,
    /// No node finds itself unwell.
    NobodyDoubtsItself,
    /// Who stood still takes that time for the silence of others.
    LateIsNotLate,
    /// Time-outs do not learn.
    NothingIsLearnt,
}

impl PlantedBug {
    /// The knobs that switch a mechanism off, with what they are multiplied by.
    pub fn forced_knobs(self) -> &'static [(&'static str, f64)] {
        match self {
            PlantedBug::AcquittalsAreForgotten => &[
                ("PROBE_SERVES_FOR", 0.0),
                ("peer/cool_down/FIRST", 1e-6),
                ("peer/cool_down/MOST", 1e-6),
                ("ASKED_AGAIN_AFTER", 0.0),
            ],
            PlantedBug::NobodyDoubtsItself => &[("common/local_health/LASTS", 1e-6)],
            PlantedBug::LateIsNotLate => {
                &[("common/local_health/LATE", 1e6), ("common/local_health/LATENESS_HALVED", 1e-6)]
            }
            PlantedBug::NothingIsLearnt => &[("peer/round_trips/SAMPLE_MAX", 0.001)],
            _ => &[],
        }
    }

    /// Each with the invariant that must find it, in any worlds. Three that are not here are found in worlds of
    /// their own, in which other systems had them (`simulator/tests/races`).
    pub const ALL: [(PlantedBug, &'static str); 21] = [
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
        (PlantedBug::WrongUnitOfTime, "proportion"),
        (PlantedBug::EmptySeedTakesPart, "seats"),
        (PlantedBug::CopiesGoOn, "one_history"),
        (PlantedBug::ClustersMix, "one_history"),
        (PlantedBug::SessionsMix, "one_history"),
        (PlantedBug::NobodyComplains, "not_silent"),
        (PlantedBug::RejectionsAreNotTold, "calm"),
    ];

    /// Mechanisms that keep doubts in proportion, each switched off. Found in worlds of their own, in which they matter
    /// (`simulator/tests/doubts`).
    pub const MECHANISMS: [PlantedBug; 4] = [
        PlantedBug::AcquittalsAreForgotten,
        PlantedBug::NobodyDoubtsItself,
        PlantedBug::LateIsNotLate,
        PlantedBug::NothingIsLearnt,
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
        let all = || PlantedBug::ALL.into_iter().map(|(bug, _)| bug).chain(PlantedBug::MECHANISMS);
        all().find(|planted_bug| planted_bug.to_string() == text).ok_or_else(|| {
            let all: Vec<String> = all().map(|planted_bug| planted_bug.to_string()).collect();
            format!("{text} is none of {}", all.join(", "))
        })
    }
}
