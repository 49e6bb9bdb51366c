//! Whether this node itself is the one that is slow or cut off.
//!
//! Most false suspicions come from the one that suspects (Lifeguard; Dadgar, Phillips, Currey 2018): its loop
//! stood still, or its own cable is out. So a node keeps a score of its own troubles, from 1 (well) to 8. Silence is
//! borne that many times longer, and it takes on less work that doubts make. That never delays what needs no patience:
//! a broken connection, a refused connect.
//!
//! As there, each trouble counts one and the score goes back by itself. What Lifeguard adds up is what others tell of
//! one's probes; here it is what a node measures of itself.

use std::time::Duration;

use crate::Instant;
use crate::knob::Knob;

/// A loop that wakes so much later than it wished was standing still. Ten times the worst scheduling delay seen
/// on two busy cores.
const LATE: Knob<Duration> = Knob::new("common/local_health/LATE", Duration::from_millis(100));

/// A loop that is so late was stopped: what follows from it is worth several troubles.
const STOPPED: Knob<Duration> = Knob::new("common/local_health/STOPPED", Duration::from_secs(1));

/// The worst score.
const WORST: u32 = 8;

/// How long one step of the score lasts: the longest that the consequences of one pause arrive.
const LASTS: Knob<Duration> = Knob::new("common/local_health/LASTS", Duration::from_secs(2));

/// Troubles that come within that part of it are one: many follow from each cause (a guess). A part, for one that is
/// not counted must not be forgotten before the next that is.
const TOGETHER_PART: u32 = 4;

/// In so long a time half of a measured lateness is forgotten.
const LATENESS_HALVED: Knob<Duration> =
    Knob::new("common/local_health/LATENESS_HALVED", Duration::from_secs(1));

/// From that share of repeated pings on, another one is a trouble of its own: one bad neighbour of four has less.
const LOSS_OF_OWN: f64 = 0.25;

/// How well this node itself is, and its recent experience with pings.
#[derive(Clone, Debug, Default)]
pub struct LocalHealth {
    /// Troubles, and when the last one counted; none: there never was one.
    troubles: Option<(u32, Instant)>,
    /// How late the loop was, at worst, and when.
    late: Option<(Duration, Instant)>,
    /// The last 64 rounds of pings, a bit each: set when the ping had to be repeated.
    repeats: u64,
    /// Whether most links are silent, and when that was so last.
    is_cut_off: bool,
    cut_off_at: Option<Instant>,
    /// Silence speaks against nobody before: most links fell silent at once.
    silence_judged_from: Instant,
}

impl LocalHealth {
    /// The loop wished to wake at `deadline` and woke `now`. Returns whether it was late.
    pub fn woke(&mut self, now: Instant, deadline: Instant) -> bool {
        let late = now.since(deadline);
        if late > self.lateness(now) {
            self.late = Some((late, now));
        }
        if late >= LATE.get() {
            self.trouble(now, if late >= STOPPED.get() { 3 } else { 1 });
        }
        late >= LATE.get()
    }

    /// Of `links`, `silent` miss an answer. Most of several at once: that is its own doing, and it doubts itself
    /// for as long as silence is `borne`. After that it judges, for they may have died together. Returns whether this
    /// begins now.
    pub fn saw_silence(&mut self, now: Instant, silent: usize, links: usize, borne: Duration) -> bool {
        assert!(silent <= links, "{silent} of {links} links are silent");
        // One link alone tells nothing: either end may be the one.
        let own = silent >= 2 && silent * 2 > links;
        let begins = own && !self.is_cut_off;
        self.is_cut_off = own;
        if own {
            self.cut_off_at = Some(now);
        }
        if begins {
            self.silence_judged_from = now + borne;
            self.trouble(now, 1);
        }
        begins
    }

    /// Whether the silence of others is more likely its own.
    pub fn silence_is_own(&self, now: Instant) -> bool {
        now < self.silence_judged_from
    }

    /// Whether most of several have been silent together within that time.
    pub fn heard_hardly_anybody(&self, now: Instant, within: Duration) -> bool {
        self.cut_off_at.is_some_and(|at| now.since(at) <= within)
    }

    /// From when on it speaks against others.
    pub fn silence_judged_from(&self) -> Instant {
        self.silence_judged_from
    }

    /// A round of pings was answered, the first or a repeated one.
    pub fn saw_answer(&mut self, now: Instant, repeated: bool) {
        self.repeats = self.repeats << 1 | u64::from(repeated);
        if repeated && self.loss() >= LOSS_OF_OWN {
            self.trouble(now, 1);
        }
    }

    /// A probe of its own came to nothing for want of means or time of its own.
    pub fn could_not_probe(&mut self, now: Instant) {
        self.trouble(now, 1);
    }

    fn trouble(&mut self, now: Instant, steps: u32) {
        let is_another = self.troubles.is_none_or(|(_, last)| now.since(last) >= LASTS.get() / TOGETHER_PART);
        if is_another {
            self.troubles = Some(((self.score(now) - 1 + steps).min(WORST - 1), now));
        }
        assert!(self.score(now) > 1, "a trouble of {now:?} does not count");
    }

    /// From 1, well, to 8. It goes back by time alone: nothing shows for certain that a trouble is over.
    pub fn score(&self, now: Instant) -> u32 {
        let (troubles, last) = self.troubles.unwrap_or_default();
        let over = now.since(last).as_nanos() / LASTS.get().as_nanos();
        1 + troubles.saturating_sub(u32::try_from(over).unwrap_or(u32::MAX))
    }

    /// Whether it is unwell.
    pub fn is_unwell(&self, now: Instant) -> bool {
        self.score(now) > 1
    }

    /// How late the loop has been lately.
    pub fn lateness(&self, now: Instant) -> Duration {
        let Some((late, at)) = self.late else { return Duration::ZERO };
        let halvings = now.since(at).as_nanos() / LATENESS_HALVED.get().as_nanos();
        late / 2_u32.pow(u32::try_from(halvings).unwrap_or(u32::MAX).min(31))
    }

    /// The share of the last 64 rounds of pings that needed a repeat. Before there were so many, those that are
    /// missing count as answered at once.
    pub fn loss(&self) -> f64 {
        f64::from(self.repeats.count_ones()) / 64.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Instant = Instant::from_nanos(60_000_000_000);

    fn after(ms: u64) -> Instant {
        NOON + Duration::from_millis(ms)
    }

    #[test]
    fn a_late_loop_doubts_itself_for_a_while() {
        let mut health = LocalHealth::default();
        assert!(!health.woke(after(99), NOON));
        assert_eq!(health.score(after(99)), 1);
        assert!(health.woke(after(100), NOON));
        assert_eq!((health.score(after(2_099)), health.score(after(2_100))), (2, 1));
    }

    #[test]
    fn a_stop_counts_for_more_and_troubles_add_up_to_eight() {
        let mut health = LocalHealth::default();
        assert!(health.woke(after(1_000), NOON));
        assert_eq!(health.score(after(1_000)), 4);
        health.could_not_probe(after(1_499));
        assert_eq!(health.score(after(1_499)), 4, "it comes of the same cause");
        (0..10).for_each(|i| health.could_not_probe(after(1_500 + 500 * i)));
        assert_eq!(health.score(after(6_000)), 8);
        assert_eq!((health.score(after(18_000)), health.score(after(20_000))), (2, 1));
    }

    #[test]
    fn the_worst_lateness_is_remembered_and_fades() {
        let mut health = LocalHealth::default();
        health.woke(after(40), NOON);
        health.woke(after(60), after(50));
        assert_eq!(health.lateness(after(60)), Duration::from_millis(40));
        assert_eq!(health.lateness(after(1_040)), Duration::from_millis(20));
        health.woke(after(4_110), after(4_100));
        assert_eq!(health.lateness(after(4_110)), Duration::from_millis(10));
    }

    #[test]
    fn the_silence_of_most_is_ones_own_for_as_long_as_silence_is_borne() {
        const BORNE: Duration = Duration::from_millis(800);
        let mut health = LocalHealth::default();
        assert!(!health.saw_silence(NOON, 1, 1, BORNE), "either end may be the one");
        assert!(!health.saw_silence(NOON, 2, 4, BORNE));
        assert!(!health.is_unwell(NOON) && !health.silence_is_own(NOON));
        assert!(health.saw_silence(NOON, 3, 4, BORNE));
        assert!(health.is_unwell(NOON) && health.silence_is_own(after(799)));
        assert!(!health.saw_silence(after(700), 4, 4, BORNE), "it goes on");
        assert!(!health.silence_is_own(after(800)), "and is judged: they may have died together");
        assert!(!health.saw_silence(after(900), 1, 4, BORNE));
        assert!(health.saw_silence(after(5_000), 3, 4, BORNE), "another time");
    }

    #[test]
    fn loss_is_the_share_of_repeated_pings_and_much_of_it_a_trouble() {
        let mut health = LocalHealth::default();
        (0..15).for_each(|_| health.saw_answer(NOON, true));
        assert!(!health.is_unwell(NOON));
        (0..64).for_each(|i| health.saw_answer(NOON, i % 4 == 0));
        assert_eq!(health.loss(), 0.25);
        assert!(health.is_unwell(NOON));
    }
}
