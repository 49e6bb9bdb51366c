//! How a death was found out, step by step, in milliseconds from the kill.

use std::collections::BTreeSet;

use coterie_common::{Address, Timestamp};

use crate::cluster::LogEvent;

/// The steps of one death.
#[derive(Debug)]
pub(super) struct Timeline {
    killed_at_micros: u64,
    dead: String,
    leader: Option<String>,
    rows: Vec<(u64, String, String)>,
    not_confirmed: BTreeSet<String>,
}

const DAY_MICROS: u64 = 86_400_000_000;

impl Timeline {
    /// A peer was killed, and these nodes have to hear of it.
    pub(super) fn new(
        killed: Timestamp,
        dead: Address,
        pid: u32,
        survivors: Vec<String>,
        leader: Option<String>,
    ) -> Self {
        let killed_at_micros = killed.as_micros() % DAY_MICROS;
        let rows = vec![(0, dead.to_string(), format!("kill -9 (pid {pid})"))];
        Timeline {
            killed_at_micros,
            dead: dead.to_string(),
            leader,
            rows,
            not_confirmed: survivors.into_iter().collect(),
        }
    }

    /// Takes an event, if it is about this death.
    pub(super) fn take(&mut self, event: &LogEvent) {
        let about_it = ["dead", "suspect", "peer"].iter().any(|key| event.get(key) == self.dead);
        let is_purge = event.event == "VIEW" && event.number("died").is_some_and(|died| died > 0);
        let Some(step) = self.describe(event).filter(|_| about_it || is_purge) else { return };
        let Some(micros) = event.micros_of_day() else { return };
        let after = (micros + DAY_MICROS - self.killed_at_micros) % DAY_MICROS;
        if after > DAY_MICROS / 2 {
            // Of a moment before the kill.
            return;
        }
        self.rows.push((after, event.node.clone(), step));
        if event.event == "DEAD_CONFIRMED" {
            self.not_confirmed.remove(&event.node);
        }
    }

    fn describe(&mut self, event: &LogEvent) -> Option<String> {
        if event.event == "DEAD_PROPOSAL" && event.get("proposer") == event.node {
            // The leader may have changed since the kill.
            self.leader = Some(event.node.clone());
        }
        let from_leader = self.leader.as_deref() == Some(event.node.as_str());
        Some(match event.event.as_str() {
            "LINK_DOWN" if event.get("cause") == "connection_lost" => "link broken".to_owned(),
            "SUSPICION" => format!("suspicion: {}", event.get("cause")),
            "SUSPECT_RESPONSE" => {
                let answer = if event.get("alive") == "true" { "alive" } else { "dead" };
                let (votes, jury) = (event.get("dead_votes"), event.get("jury"));
                format!("juror {} answers {answer} ({votes} of {jury})", event.get("from"))
            }
            "DEAD_REPORT" if event.get("reporter") == event.node => {
                format!("report with {} votes", event.get("votes"))
            }
            "DEAD_PROPOSAL" if from_leader => format!("ballot {}", event.get("ballot")),
            "DEAD_VOTE" if from_leader => {
                format!("vote of seed {}: {} ({})", event.get("voter"), event.get("vote"), event.get("probe"))
            }
            "DEAD_CONFIRMED" if from_leader => {
                format!("committed and confirmed, epoch {}", event.get("epoch"))
            }
            "DEAD_CONFIRMED" => format!("confirmed, epoch {}", event.get("epoch")),
            "VIEW" => format!("purged: {} members left", event.get("members")),
            _ => return None,
        })
    }

    /// Whether every survivor has confirmed it and purged it.
    pub(super) fn is_complete(&self) -> bool {
        let confirmed = self.rows.iter().filter(|(_, _, step)| step.contains("confirmed")).count();
        let purged = self.rows.iter().filter(|(_, _, step)| step.starts_with("purged")).count();
        let seeds = self
            .rows
            .iter()
            .map(|(_, node, step)| (node, step))
            .filter(|(_, step)| step.contains("confirmed"));
        let peers =
            seeds.filter(|(node, _)| self.rows.iter().any(|(_, n, s)| n == *node && s.starts_with("purged")));
        self.not_confirmed.is_empty() && confirmed > 0 && (purged == 0 || peers.count() == purged)
    }

    /// The table, with a sum in its last line.
    pub(super) fn lines(mut self) -> Vec<String> {
        self.rows.sort();
        let mut lines = vec![
            format!("timeline of the death of {}:", self.dead),
            "      ms  node                   what".to_owned(),
        ];
        for (after, node, step) in &self.rows {
            lines.push(format!("{:>8.3}  {node:<21}  {step}", *after as f64 / 1000.0));
        }
        let confirmed = self
            .rows
            .iter()
            .filter(|(_, _, step)| step.contains("confirmed"))
            .map(|(after, ..)| *after)
            .max();
        lines.push(match (confirmed, self.not_confirmed.is_empty()) {
            (Some(last), true) => {
                format!("confirmed everywhere {:.3} ms after the kill", last as f64 / 1000.0)
            }
            _ => format!(
                "not confirmed at {}",
                self.not_confirmed.iter().cloned().collect::<Vec<_>>().join(", ")
            ),
        });
        lines
    }
}
