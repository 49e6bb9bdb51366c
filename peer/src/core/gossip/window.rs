//! Which numbers of one origin were heard.
//!
//! The anti-replay window of IPsec (RFC 4303, 3.4.3), a thousand wide: messages of one origin overtake each other on
//! their ways through the overlay, and what was forgotten must not be taken for new.
//!
//! The highest number alone would not do: of two messages that overtake each other the slower one would be lost.

use std::collections::BTreeSet;

/// What was heard of one origin. Lower numbers than those of `settled` count as heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    settled: Numbers,
    /// Numbers far above, each as it was taken. Nobody knows who made a message: one that claims a number out of all
    /// proportion must not make all that its origin really says look old.
    ahead: BTreeSet<u64>,
}

/// So many numbers far above, all within one width, are believed: the origin has said much that was missed here, or
/// said it before this peer came.
const BELIEVED_FROM: usize = 8;

/// Numbers far above that are remembered. Of more the highest is forgotten: an origin's own come one after the other.
const AHEAD_MAX: usize = 64;

impl Window {
    /// Takes a number; false if it was taken before, or is too old to tell.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if self.ahead.contains(&number) {
            return false;
        }
        if number <= self.settled.highest.saturating_add(Numbers::WIDTH / 2) {
            let is_new = self.settled.take(number);
            self.settle_ahead();
            return is_new;
        }
        self.ahead.insert(number);
        self.believe();
        if self.ahead.len() > AHEAD_MAX {
            self.ahead.pop_last();
        }
        assert!(self.ahead.len() <= AHEAD_MAX, "{} numbers far above", self.ahead.len());
        true
    }

    /// What has come into reach is far above no longer.
    fn settle_ahead(&mut self) {
        while let Some(number) = self.ahead.first().copied()
            && number <= self.settled.highest.saturating_add(Numbers::WIDTH / 2)
        {
            self.ahead.pop_first();
            // Taken when it came. One that is out of the window by now is old in any case.
            let _ = self.settled.take(number);
        }
    }

    /// Where enough numbers far above lie together, the window is there from now on.
    fn believe(&mut self) {
        let numbers: Vec<u64> = self.ahead.iter().copied().collect();
        let together = |part: &&[u64]| part[BELIEVED_FROM - 1] - part[0] < Numbers::WIDTH;
        if let Some(part) = numbers.windows(BELIEVED_FROM).find(together) {
            self.settled = Numbers::default();
            for number in part {
                assert!(self.settled.take(*number), "{number} is far above twice");
            }
            self.ahead.retain(|number| *number > part[BELIEVED_FROM - 1]);
            self.settle_ahead();
        }
    }
}

/// The highest, and the 1,023 below it.
#[derive(Clone, Debug, Default)]
struct Numbers {
    /// 0 before the first, for messages are numbered from 1.
    highest: u64,
    /// Bit `n % 1024` tells of number n.
    bits: [u64; 16],
}

impl Numbers {
    /// In numbers. The width of what one origin may have on its way at once (a guess).
    const WIDTH: u64 = 1024;

    /// Takes a number; false if it was taken before, or is too old to tell.
    fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            // The numbers between were not heard yet, and their bits may still tell of numbers a width below:
            // cleared, each once.
            let from = self.highest.max(number.saturating_sub(Self::WIDTH)) + 1;
            (from..=number).for_each(|n| self.set(n, false));
            self.highest = number;
        }
        if self.highest - number >= Self::WIDTH || self.get(number) {
            // Too old counts as heard: to lose a late message is better than to say an old one twice.
            return false;
        }
        self.set(number, true);
        true
    }

    fn get(&self, number: u64) -> bool {
        let is_within = number <= self.highest && self.highest - number < Self::WIDTH;
        assert!(is_within, "{number} is asked for, in a window that ends at {}", self.highest);
        let bit = number % Self::WIDTH;
        self.bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, number: u64, value: bool) {
        let bit = number % Self::WIDTH;
        let word = &mut self.bits[(bit / 64) as usize];
        *word = *word & !(1 << (bit % 64)) | u64::from(value) << (bit % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_each_number_once_in_any_order() {
        let mut window = Window::default();
        for number in [5, 3, 512, 4, 1, 1020, 1030] {
            assert!(window.take(number), "{number}");
            assert!(!window.take(number), "{number} again");
        }
        assert!(!window.take(2), "below the window");
        assert!(window.take(8));
        assert!(window.take(1_000_000) && !window.take(1020));
    }

    /// Anybody can claim any number in anybody's name: until there are keys, that must at least not mute the origin.
    #[test]
    fn a_number_out_of_all_proportion_mutes_nobody() {
        let mut window = Window::default();
        assert!((1..=10).all(|number| window.take(number)));
        assert!(window.take(1 << 63) && window.take(u64::MAX), "they are heard");
        assert!(!window.take(1 << 63) && !window.take(u64::MAX), "once");
        assert!(window.take(500), "nor does one that is within reach");
        assert!((11..500).chain(501..=2_000).all(|number| window.take(number) && !window.take(number)));
        assert!(!window.take(10), "what is old is old");
    }

    #[test]
    fn what_was_far_above_stays_taken_when_the_others_have_come() {
        let mut window = Window::default();
        assert!((1..=10).all(|number| window.take(number)));
        assert!(window.take(1_100));
        assert!((11..=1_099).all(|number| window.take(number)));
        assert!(!window.take(1_100) && window.take(1_101) && !window.take(1_100));
        let mut late = Window::default();
        assert!(late.take(5_000) && late.take(3_000) && !late.take(5_000) && !late.take(3_000));
    }

    #[test]
    fn of_too_many_numbers_far_above_the_highest_is_forgotten() {
        let mut window = Window::default();
        assert!((1..=AHEAD_MAX as u64 + 1).all(|number| window.take(number * 1_000_000)));
        assert_eq!(window.ahead.len(), AHEAD_MAX);
        assert!(!window.take(1_000_000));
        assert!((1..=10).all(|number| window.take(number)), "and nobody is muted");
    }

    #[test]
    fn who_comes_late_or_missed_much_believes_what_many_numbers_say() {
        let mut window = Window::default();
        assert!((5_000..5_008).all(|number| window.take(number) && !window.take(number)), "each once");
        assert!(!window.take(3_000), "before this peer came");
        assert!((90_000..90_007).all(|number| window.take(number)));
        assert!(window.take(5_100) && !window.take(90_003), "seven do not settle it");
        assert!(window.take(90_007) && !window.take(5_200), "eight do");
    }

    #[test]
    #[should_panic(expected = "in a window that ends at 1024")]
    fn a_number_below_the_window_is_not_asked_for() {
        let mut numbers = Numbers::default();
        assert!(numbers.take(Numbers::WIDTH));
        let _ = numbers.get(0);
    }
}
