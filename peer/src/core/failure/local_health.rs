//! Whether this peer itself is the one that is slow or cut off.
//!
//! Most false suspicions come from the one that suspects (Lifeguard; Dadgar, Phillips, Currey 2018): its loop
//! stood still, or its own cable is out. So a peer that notices either bears silence longer for a while. That never
//! delays what needs no patience: a broken connection, a refused connect.

use std::time::Duration;

use coterie_common::Instant;

/// A loop that wakes so much later than it wished was standing still. Ten times the worst scheduling delay seen
/// on two busy cores.
const LATE: Duration = Duration::from_millis(100);

/// How long it lasts: the longest that the consequences of one pause arrive.
const LASTS: Duration = Duration::from_secs(2);

/// How much longer silence is borne. As much as a probe is stretched by (a guess).
const STRETCH: f64 = 1.5;

/// How well this peer itself is, and its recent experience with pings.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalHealth {
    /// Unwell until then; none: it never was.
    until: Option<Instant>,
    /// The last 64 rounds of pings, a bit each: set when the ping had to be repeated.
    repeats: u64,
}

impl LocalHealth {
    /// The loop wished to wake at `deadline` and woke `now`. Returns whether it was late.
    pub(super) fn woke(&mut self, now: Instant, deadline: Instant) -> bool {
        let late = now.since(deadline) >= LATE;
        if late {
            self.until = Some(now + LASTS);
        }
        late
    }

    /// Of `links`, `silent` miss an answer. Returns whether that is this peer's own doing: most of several at once.
    pub(super) fn saw_silence(&mut self, now: Instant, silent: usize, links: usize) -> bool {
        assert!(silent <= links, "{silent} of {links} links are silent");
        // One link alone tells nothing: either end may be the one.
        let own = silent >= 2 && silent * 2 > links;
        if own {
            self.until = Some(now + LASTS);
        }
        own
    }

    /// A round of pings was answered, the first or a repeated one.
    pub(super) fn saw_answer(&mut self, repeated: bool) {
        self.repeats = self.repeats << 1 | u64::from(repeated);
    }

    /// Whether this peer is unwell. It ends by time alone: nothing shows for certain that it is over.
    pub(super) fn is_unwell(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// What time-outs are multiplied by.
    pub(super) fn stretch(&self, now: Instant) -> f64 {
        if self.is_unwell(now) { STRETCH } else { 1.0 }
    }

    /// The share of the last 64 rounds of pings that needed a repeat. Before there were so many, those that are
    /// missing count as answered at once.
    pub(super) fn loss(&self) -> f64 {
        f64::from(self.repeats.count_ones()) / 64.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_loop_doubts_itself_for_a_while() {
        let mut health = LocalHealth::default();
        let noon = Instant::START + Duration::from_secs(60);
        assert!(!health.woke(noon + Duration::from_millis(99), noon));
        assert!(health.woke(noon + Duration::from_millis(100), noon));
        assert_eq!(health.stretch(noon + Duration::from_secs(1)), 1.5);
        assert_eq!(health.stretch(noon + Duration::from_secs(3)), 1.0);
    }

    #[test]
    fn one_silent_neighbour_is_no_reason_to_doubt_oneself() {
        let mut health = LocalHealth::default();
        assert!(!health.saw_silence(Instant::START, 1, 1));
        assert!(!health.saw_silence(Instant::START, 2, 4));
        assert!(!health.is_unwell(Instant::START));
        assert!(health.saw_silence(Instant::START, 3, 4));
        assert!(health.is_unwell(Instant::START));
    }

    #[test]
    fn loss_is_the_share_of_repeated_pings() {
        let mut health = LocalHealth::default();
        (0..64).for_each(|i| health.saw_answer(i % 4 == 0));
        assert_eq!(health.loss(), 0.25);
    }
}
