//! Watching the logs of a cluster, of whatever its nodes are made.

use std::collections::BTreeSet;

use coterie::cluster::LogEvent;
use coterie_common::clock::Clock;
use coterie_common::{Address, Instant};

use super::{DEADLINE, LOOK_EVERY};

/// A cluster whose logs are read. What was seen is kept, and waits are for what comes after a mark in it.
pub trait Watched {
    /// The events that the logs have and that were not read yet.
    fn read_logs(&mut self) -> Vec<(usize, LogEvent)>;

    /// All that was read so far.
    fn seen(&self) -> &[(usize, LogEvent)];

    /// The same, to add to.
    fn seen_mut(&mut self) -> &mut Vec<(usize, LogEvent)>;

    /// What the nodes said on stderr.
    fn stderr(&self) -> String;

    /// Reads what the logs have to tell by now.
    fn look(&mut self) {
        let news = self.read_logs();
        self.seen_mut().extend(news);
    }

    /// How much has been seen: what comes later can be told from it.
    fn mark(&mut self) -> usize {
        self.look();
        self.seen().len()
    }

    /// The events of one node from `mark` on.
    fn events_of(&self, mark: usize, index: usize) -> Vec<&LogEvent> {
        self.seen()[mark..].iter().filter(|(i, _)| *i == index).map(|(_, event)| event).collect()
    }

    /// Waits until the events seen since `mark` satisfy `done`.
    fn wait(&mut self, what: &str, mark: usize, mut done: impl FnMut(&[(usize, LogEvent)]) -> bool) {
        let clock = Clock::start();
        loop {
            self.look();
            if done(&self.seen()[mark..]) {
                return;
            }
            assert!(
                clock.now() < Instant::START + DEADLINE,
                "waited {DEADLINE:?} for {what}; events since:\n{}\nstderr:\n{}",
                self.tell(mark),
                self.stderr()
            );
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Waits until each of `nodes` has logged `event` since `mark`, as `matches` wants it.
    fn wait_for(
        &mut self,
        what: &str,
        mark: usize,
        nodes: &[usize],
        matches: impl Fn(usize, &LogEvent) -> bool,
    ) {
        let nodes: BTreeSet<usize> = nodes.iter().copied().collect();
        self.wait(what, mark, |events| {
            let done: BTreeSet<usize> =
                events.iter().filter(|(i, e)| matches(*i, e)).map(|(i, _)| *i).collect();
            nodes.is_subset(&done)
        });
    }

    /// Waits until each of `nodes` has logged `event` at all.
    fn wait_for_all(&mut self, event: &str, nodes: &[usize]) {
        self.wait_for(&format!("{event} at {nodes:?}"), 0, nodes, |_, e| e.event == event);
    }

    /// Waits until each of `nodes` has logged since `mark` that the node at `dead` died.
    fn wait_for_death(&mut self, mark: usize, dead: Address, nodes: &[usize]) {
        let dead = dead.to_string();
        self.wait_for(&format!("the death of {dead}"), mark, nodes, |_, e| {
            e.event == "DEAD_CONFIRMED" && e.get("dead") == dead
        });
    }

    /// The number of members in the latest view that a peer has logged.
    fn members_at(&self, index: usize) -> Option<u64> {
        self.seen()
            .iter()
            .rev()
            .find(|(i, e)| *i == index && e.event == "VIEW")
            .and_then(|(_, e)| e.number("members"))
    }

    fn tell(&self, mark: usize) -> String {
        let lines: Vec<&str> = self.seen()[mark..].iter().map(|(_, e)| e.line.as_str()).collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }
}
