//! Reading logs while something is measured.

use std::time::Duration;

use coterie_common::clock::Clock;
use coterie_common::{Address, Instant};

use crate::cluster::LogEvent;

/// How often the logs are read: seldom, so that measuring takes little from what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a step may take before the measurement is given up.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);

/// Reads `events` until `done` says so; an error says for what it was waited in vain.
pub fn wait(
    what: &str,
    mut events: impl FnMut() -> Vec<(usize, LogEvent)>,
    mut done: impl FnMut(usize, &LogEvent) -> bool,
) -> Result<(), String> {
    let clock = Clock::start();
    loop {
        let mut over = false;
        for (index, event) in events() {
            over |= done(index, &event);
        }
        if over {
            return Ok(());
        }
        if clock.now() >= Instant::START + STEP_TIME_MAX {
            return Err(format!("waited {STEP_TIME_MAX:?} for {what}"));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Reads past what happens in `time`, so that what is measured next does not run into what was before.
pub fn settle(time: Duration, mut events: impl FnMut() -> Vec<(usize, LogEvent)>) {
    let clock = Clock::start();
    while clock.now() < Instant::START + time {
        std::thread::park_timeout(LOOK_EVERY);
        events();
    }
}

/// Whether an event confirms the death of the node at `dead`.
pub fn confirms(event: &LogEvent, dead: Address) -> bool {
    event.event == "DEAD_CONFIRMED" && event.get("dead") == dead.to_string()
}
