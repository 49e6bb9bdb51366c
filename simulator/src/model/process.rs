//! A process: a core, its clock, and whether it runs at all.

use std::collections::VecDeque;
use std::time::Duration;

use coterie_common::{Address, Instant};

/// Wakes in a row without any time passing that make a spin.
const SPIN: u32 = 100;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// What runs at one address, or does not. `C` is its core, `I` what the core takes in.
#[derive(Debug)]
pub(crate) struct Process<C, I> {
    pub(crate) core: Option<C>,
    /// Counts the starts: what was meant for an earlier one does not reach this one.
    pub(crate) start: u64,
    pub(crate) address: Address,
    /// Whether the host is off: nobody there even refuses a connection.
    pub(crate) is_dark: bool,
    pub(crate) is_paused: bool,
    /// What came while it stood still.
    pub(crate) held: Vec<I>,
    /// What waits for its turn, where work has a price.
    inbox: VecDeque<I>,
    /// Whether it waits for a core, or has one.
    has_turn: bool,
    clock: DriftingClock,
    wake: Instant,
    spins: u32,
}

/// A process's own time: it began with the process, and goes a little fast or slow.
#[derive(Clone, Copy, Debug)]
struct DriftingClock {
    began: Instant,
    drift_ppm: i64,
}

impl DriftingClock {
    fn local(self, now: Instant) -> Instant {
        let elapsed = i128::from(now.as_nanos().saturating_sub(self.began.as_nanos()));
        Instant::from_nanos((elapsed + elapsed * i128::from(self.drift_ppm) / 1_000_000) as u64)
    }

    /// The first moment of the world at which this clock shows at least `local`.
    fn world(self, local: Instant) -> Instant {
        if local == NEVER {
            return NEVER;
        }
        let shown = i128::from(local.as_nanos());
        let rate = 1_000_000 + i128::from(self.drift_ppm);
        let elapsed = (shown * 1_000_000 + rate - 1) / rate;
        let at = self.began + Duration::from_nanos(elapsed as u64);
        if self.local(at) < local { at + Duration::from_nanos(2) } else { at }
    }
}

impl<C, I> Process<C, I> {
    pub(crate) fn new(address: Address) -> Self {
        let clock = DriftingClock { began: Instant::START, drift_ppm: 0 };
        Process {
            core: None,
            start: 0,
            address,
            is_dark: false,
            is_paused: false,
            held: Vec::new(),
            inbox: VecDeque::new(),
            has_turn: false,
            clock,
            wake: NEVER,
            spins: 0,
        }
    }

    /// A new process begins here.
    pub(crate) fn begin(&mut self, now: Instant, core: C, drift_ppm: i64) {
        self.start += 1;
        self.core = Some(core);
        (self.is_dark, self.is_paused, self.held) = (false, false, Vec::new());
        self.inbox.clear();
        self.has_turn = false;
        self.clock = DriftingClock { began: now, drift_ppm };
        (self.wake, self.spins) = (NEVER, 0);
    }

    // ---- turns ----

    /// This waits for its turn.
    pub(crate) fn wait(&mut self, input: I) {
        self.inbox.push_back(input);
    }

    /// What came while it stood still comes after what waited before.
    pub(crate) fn wait_with_held(&mut self) {
        self.inbox.extend(self.held.drain(..));
    }

    /// Which start wants a core, if something waits and it has none and waits for none.
    pub(crate) fn queue_turn(&mut self) -> Option<u64> {
        let is_due = !self.inbox.is_empty() && !self.has_turn && !self.is_paused;
        self.has_turn |= is_due;
        is_due.then_some(self.start)
    }

    /// What it takes up now; nothing, if that was a turn of an earlier start, or it stands still.
    pub(crate) fn take_turn(&mut self, start: u64) -> Option<I> {
        if start != self.start {
            return None;
        }
        let next = if self.runs() { self.inbox.pop_front() } else { None };
        self.has_turn = next.is_some();
        next
    }

    /// Its step is over; returns whether it is still the same process.
    pub(crate) fn end_step(&mut self, start: u64) -> bool {
        let is_it = start == self.start;
        self.has_turn &= !is_it;
        is_it
    }

    /// How much waits for its turn.
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Whether it runs: not ended, not standing still.
    pub(crate) fn runs(&self) -> bool {
        self.core.is_some() && !self.is_paused
    }

    /// What its own clock shows.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        self.clock.local(now)
    }

    /// It wishes to be woken when its clock shows `deadline`; when that is news, it is to be scheduled.
    ///
    /// # Panics
    /// If it names a deadline that is over again and again: then it would never sleep.
    pub(crate) fn wish(&mut self, now: Instant, deadline: Instant) -> Option<Instant> {
        let at = self.clock.world(deadline);
        self.spins = if at <= now { self.spins + 1 } else { 0 };
        assert!(self.spins < SPIN, "{} names a deadline that is over, again and again", self.address);
        let at = at.max(now);
        (std::mem::replace(&mut self.wake, at) != at).then_some(at)
    }

    /// Whether a wake scheduled for `now` is still the one it wants.
    pub(crate) fn wakes(&mut self, now: Instant) -> bool {
        let due = self.runs() && self.wake == now;
        if due {
            self.wake = NEVER;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_drifts_never_wakes_its_process_too_early() {
        for drift_ppm in [-50_000, -77, 0, 1, 50_000] {
            let clock = DriftingClock { began: Instant::from_nanos(12_345), drift_ppm };
            for nanos in [0, 1, 999, 1_000_000_007, 60_000_000_000] {
                let local = Instant::from_nanos(nanos);
                let at = clock.world(local);
                let early = clock.local(at).as_nanos() as i64 - nanos as i64;
                assert!((0..=3).contains(&early), "{drift_ppm} ppm: {nanos} ns are off by {early}");
            }
        }
    }
}
