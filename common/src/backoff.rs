//! Trying again, less and less often.

use std::time::Duration;

/// A pause that doubles from `first` to `most`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses of `first`, twice `first`, and so on up to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Backoff { first, most, next: first }
    }

    /// Whether no pause was made yet, since it was made or reset.
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        pause
    }

    /// As [`pause`](Self::pause), between half and the whole of it, so that many that failed together do not
    /// come back together. `chance` is between 0 and 1.
    pub fn pause_with_jitter(&mut self, chance: f64) -> Duration {
        self.pause().mul_f64(0.5 + chance / 2.0)
    }

    /// It worked: begin again at the first pause.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_begin_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        assert!(backoff.is_fresh());
        let pauses: Vec<u64> = (0..5).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.pause_with_jitter(0.0), Duration::from_millis(500));
        assert_eq!(backoff.pause_with_jitter(1.0), Duration::from_secs(2));
    }
}
