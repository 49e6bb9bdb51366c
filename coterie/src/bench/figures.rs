//! Figures of a series.

use std::fmt;
use std::time::Duration;

/// A series of durations, sorted.
#[derive(Clone, Debug)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// The series.
    pub fn new(mut series: Vec<Duration>) -> Self {
        series.sort_unstable();
        Figures(series)
    }

    /// The value that `share` (0 to 1) of the series do not exceed; nearest rank.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1e3;
        write!(
            f,
            "min {:8.3} ms   median {:8.3} ms   p99 {:8.3} ms   max {:8.3} ms",
            ms(0.0),
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_series() {
        let figures = Figures::new((1..=100).rev().map(Duration::from_millis).collect());
        let ms = |share| figures.quantile(share).as_millis();
        assert_eq!((ms(0.0), ms(0.5), ms(0.99), ms(1.0)), (1, 50, 99, 100));
        assert_eq!(Figures::new(vec![]).quantile(0.5), Duration::ZERO);
    }
}
