//! A disk that takes long: every answer of a seed waits for it, and nobody else sees why.

use std::time::Duration;

use coterie_common::Instant;

use super::Node;

/// A write that takes longer is worth telling: a thousand times what a good disk needs, and longer than an election.
const SLOW: Duration = Duration::from_millis(500);

/// So long after the last such write the disk counts as slow. A slow disk is not slow with every write.
const STAYS_SLOW: Duration = Duration::from_secs(10);

/// Watches how long the log's writes take.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    /// The write that is under way, and since when it was seen to be.
    under_way: Option<(u64, Instant)>,
    /// When a write was last seen to take long, and how long.
    slow: Option<(Instant, Duration)>,
}

impl DiskWatch {
    /// So many writes have begun, and so many of them are done. What is wrong with the disk, if anything is.
    pub(super) fn look(&mut self, now: Instant, (begun, done): (u64, u64)) -> Option<String> {
        self.under_way = match self.under_way {
            _ if begun == done => None,
            Some((number, since)) if number == begun => Some((number, since)),
            Some(_) | None => Some((begun, now)),
        };
        if let Some(took) = self.under_way.map(|(_, since)| now.since(since)).filter(|took| *took >= SLOW) {
            self.slow = Some((now, took));
        }
        self.slow = self.slow.filter(|(at, _)| now.since(*at) < STAYS_SLOW);
        self.slow.map(|(_, took)| format!("a write took {} ms", took.as_millis()))
    }
}

impl Node {
    /// Says where the disk is slow.
    pub(super) fn look_at_disk(&mut self) {
        let slow = self.log.disk.look(self.clock.now(), self.log.store.commits());
        self.core.trouble("the disk is slow", slow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn a_write_that_takes_long_is_told_and_for_a_while_after_it() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(at(0), (1, 0)), None);
        assert_eq!(disk.look(at(499), (1, 0)), None);
        assert_eq!(disk.look(at(499), (2, 1)), None, "another one");
        assert_eq!(disk.look(at(998), (2, 1)), None);
        assert_eq!(disk.look(at(999), (2, 1)).as_deref(), Some("a write took 500 ms"));
        assert_eq!(disk.look(at(1_300), (2, 1)).as_deref(), Some("a write took 801 ms"));
        assert_eq!(disk.look(at(11_299), (2, 2)).as_deref(), Some("a write took 801 ms"));
        assert_eq!(disk.look(at(11_300), (2, 2)), None);
    }
}
