//! Connections beyond those that a node may keep.
//!
//! Whoever asks whether a node lives opens a connection, and one that is closed without a word is no sign of life: a
//! node that turned everybody away would be found dead for being busy. So a few more are taken in, each until a newer
//! one takes its place. A ping is answered long before.

use std::collections::VecDeque;

use crate::limits::GUESTS_MAX;

/// Those that were taken in, the newest last. Some may have ended meanwhile.
#[derive(Debug)]
pub struct Guests<K>(VecDeque<K>);

impl<K> Guests<K> {
    /// Takes one in; returns who has to go for it.
    pub fn take_in(&mut self, key: K) -> Option<K> {
        self.0.push_back(key);
        if self.0.len() > GUESTS_MAX { self.0.pop_front() } else { None }
    }
}

impl<K> Default for Guests<K> {
    fn default() -> Self {
        Guests(VecDeque::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut guests = Guests::default();
        assert!((0..GUESTS_MAX).all(|key| guests.take_in(key).is_none()));
        assert_eq!(guests.take_in(GUESTS_MAX), Some(0));
        assert_eq!(guests.take_in(GUESTS_MAX + 1), Some(1));
    }
}
