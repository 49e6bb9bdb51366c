//! Which numbers of one origin were heard.
//!
//! The anti-replay window of IPsec (RFC 4303, 3.4.3), a thousand wide: messages of one origin overtake each other on
//! their ways through the overlay, and what was forgotten must not be taken for new.
//!
//! The highest number alone would not do: of two messages that overtake each other the slower one would be lost.

/// The highest, and the 1,023 below it. Lower ones count as heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// 0 before the first, for messages are numbered from 1.
    highest: u64,
    /// Bit `n % 1024` tells of number n.
    bits: [u64; 16],
}

impl Window {
    /// In numbers. The width of what one origin may have on its way at once (a guess).
    const WIDTH: u64 = 1024;

    /// Takes a number; false if it was taken before, or is too old to tell.
    pub(super) fn take(&mut self, number: u64) -> bool {
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
        for number in [5, 3, 1024, 4, 1, 1027] {
            assert!(window.take(number), "{number}");
            assert!(!window.take(number), "{number} again");
        }
        assert!(!window.take(2), "below the window");
        assert!(window.take(6));
        assert!(window.take(1_000_000) && !window.take(1027));
    }

    #[test]
    #[should_panic(expected = "in a window that ends at 1024")]
    fn a_number_below_the_window_is_not_asked_for() {
        let mut window = Window::default();
        assert!(window.take(Window::WIDTH));
        let _ = window.get(0);
    }
}
