//! Whether this peer itself is the one that is slow or cut off.
//!
//! Most false suspicions come from the one that suspects (Lifeguard; Dadgar, Phillips, Currey 2018): its loop
//! stood still, or its own cable is out. So a peer that notices either bears silence longer for a while. Self-
//! doubt never delays what needs no patience: a broken connection, a refused connect.

use std::time::Duration;

use coterie_common::Instant;

/// A loop that wakes so much later than it wished was standing still. Ten times the worst scheduling delay seen
/// on two busy cores.
const LATE: Duration = Duration::from_millis(100);

/// How long a doubt lasts: the longest that the consequences of one pause arrive.
const LASTS: Duration = Duration::from_secs(2);

/// How much longer silence is borne.
const STRETCH: f64 = 1.5;

/// The peer's doubt in itself, and its recent experience with pings.
#[derive(Clone, Debug, Default)]
pub struct SelfDoubt {
    until: Option<Instant>,
    /// The last 64 rounds of pings, a bit each: set when the ping had to be repeated.
    repeats: u64,
}

impl SelfDoubt {
    /// The loop wished to wake at `deadline` and woke `now`. Returns whether it was late.
    pub fn woke(&mut self, now: Instant, deadline: Instant) -> bool {
        let late = now.since(deadline) >= LATE;
        if late {
            self.until = Some(now + LASTS);
        }
        late
    }

    /// Of `links`, `silent` miss an answer. Returns whether that is this peer's own doing: most of several at once.
    pub fn saw_silence(&mut self, now: Instant, silent: usize, links: usize) -> bool {
        let own = silent >= 2 && silent * 2 > links;
        if own {
            self.until = Some(now + LASTS);
        }
        own
    }

    /// A round of pings was answered, the first or a repeated one.
    pub fn saw_answer(&mut self, repeated: bool) {
        self.repeats = self.repeats << 1 | u64::from(repeated);
    }

    /// Whether the peer doubts itself.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// What time-outs are multiplied by.
    pub fn stretch(&self, now: Instant) -> f64 {
        if self.holds(now) { STRETCH } else { 1.0 }
    }

    /// The share of the last 64 rounds of pings that needed a repeat.
    pub fn loss(&self) -> f64 {
        f64::from(self.repeats.count_ones()) / 64.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_loop_doubts_itself_for_a_while() {
        let mut doubt = SelfDoubt::default();
        let noon = Instant::START + Duration::from_secs(60);
        assert!(!doubt.woke(noon + Duration::from_millis(99), noon));
        assert!(doubt.woke(noon + Duration::from_millis(100), noon));
        assert_eq!(doubt.stretch(noon + Duration::from_secs(1)), 1.5);
        assert_eq!(doubt.stretch(noon + Duration::from_secs(3)), 1.0);
    }

    #[test]
    fn one_silent_neighbour_is_no_reason_to_doubt_oneself() {
        let mut doubt = SelfDoubt::default();
        assert!(!doubt.saw_silence(Instant::START, 1, 1));
        assert!(!doubt.saw_silence(Instant::START, 2, 4));
        assert!(!doubt.holds(Instant::START));
        assert!(doubt.saw_silence(Instant::START, 3, 4));
        assert!(doubt.holds(Instant::START));
    }

    #[test]
    fn loss_is_the_share_of_repeated_pings() {
        let mut doubt = SelfDoubt::default();
        (0..64).for_each(|i| doubt.saw_answer(i % 4 == 0));
        assert_eq!(doubt.loss(), 0.25);
    }
}
