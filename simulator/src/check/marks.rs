//! Coverage marks: what a batch of runs has really visited.
//!
//! A simulation that never meets a lost ballot proves nothing about lost ballots. Cores count what is rare where it
//! happens, for their operators; a batch sums these counters up, together with the lines that nodes log, and fails
//! when one of the marks below was not reached.

use std::collections::BTreeMap;

use coterie_common::Line;

/// What a batch of a few hundred runs must have visited.
pub const MARKS: [&str; 54] = [
    // links and gossip
    "links_refused_full",
    "links_duplicate",
    "dials_superfluous",
    "dials_met_another_life",
    "hellos_waited",
    "gossip_duplicates",
    "gossip_repaired",
    // suspicions
    "cause_connection_lost",
    "cause_pings_missed",
    "cause_connect_refused",
    "loops_late",
    "links_silent_together",
    "jurors_replaced",
    "juries_alive",
    "juries_undecided",
    "suspicions_joined",
    "reports_repeated",
    "reports_rejected",
    // ballots
    "ballots_lost",
    "ballots_joined",
    "ballots_held_again",
    "ballots_of_absence",
    "deaths_together",
    "votes_out_of_place",
    "proposals_failed",
    "proposals_waited",
    "admissions_held_again",
    // views
    "sessions_behind",
    "views_whole",
    "snapshots_installed",
    "rejoins",
    "replacements",
    "departures",
    // seeds
    "leaders_changed",
    "entries_truncated",
    "seeds_without_directory",
    "directories_restored",
    "copies_refused",
    "directories_lost_before_the_beginning",
    "directories_mistaken",
    "seeds_of_other_clusters_refused",
    "sessions_of_other_clusters",
    "seats_taken",
    "seeds_removed",
    "voter_changes",
    "seeds_changed",
    "hosts_dark",
    // what happens to many at once, and ends
    "trigger_steal",
    "trigger_stop_all",
    "trigger_flood",
    "trigger_mass_death",
    "trigger_mass_join",
    "trigger_slow_disks",
    "trigger_uplink_gone",
];

/// The same of runs of real nodes, where it is the logs and disks that matter.
pub const MARKS_OF_NODES: [&str; 23] = [
    "ballots_lost",
    "ballots_joined",
    "cause_connection_lost",
    "cause_pings_missed",
    "departures",
    "ended_in_mid_operation",
    "gossip_repaired",
    "hellos_waited",
    "hosts_dark",
    "juries_undecided",
    "leaders_changed",
    "proposals_failed",
    "proposals_waited",
    "rejoins",
    "replacements",
    "seats_taken",
    "seeds_changed",
    "seeds_removed",
    "seeds_without_directory",
    "seeds_without_disk",
    "sessions_behind",
    "snapshots_installed",
    "voter_changes",
];

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks(BTreeMap<String, u64>);

impl Marks {
    /// It happened.
    pub fn hit(&mut self, mark: &str) {
        self.add(mark, 1);
    }

    /// It happened so often.
    pub fn add(&mut self, mark: &str, times: u64) {
        match self.0.get_mut(mark) {
            Some(count) => *count += times,
            None => drop(self.0.insert(mark.to_owned(), times)),
        }
    }

    /// What a core has counted in its life.
    pub fn add_counters(&mut self, counters: &BTreeMap<&'static str, u64>) {
        counters.iter().for_each(|(name, times)| self.add(name, *times));
    }

    /// What a line tells of.
    pub fn note(&mut self, line: &Line) {
        match line.event() {
            "SUSPICION" => {
                if let Some(cause) = line.get("cause") {
                    self.hit(&format!("cause_{cause}"));
                }
            }
            "DECLARED_DEAD" => self.hit("rejoins"),
            "LEFT" => self.hit("departures"),
            "LEADER" => self.hit("leaders_changed"),
            _ => {}
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Marks) {
        other.0.iter().for_each(|(mark, times)| self.add(mark, *times));
    }

    /// How often it happened.
    pub fn get(&self, mark: &str) -> u64 {
        self.0.get(mark).copied().unwrap_or(0)
    }

    /// Of `wanted`, those that nothing has reached.
    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|mark| self.get(mark) == 0).collect()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(mark, times)| (mark.as_str(), *times))
    }
}
