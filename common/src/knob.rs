//! Constants that simulated worlds draw.
//!
//! A time-out or a limit is a guess that happens to work with all the other guesses. So each that a core waits for or
//! counts up to is a knob: the program always has its default, and a simulated world may have anything from a quarter
//! of it to four times as much, each knob by itself. What breaks then is a relation between two constants that nobody
//! has written down. (FoundationDB's knobs; its simulator found by them what no fixed set of times would have shown.)
//!
//! It is the one thing that a core reads and is not handed: the same for all nodes of a world, and fixed before its
//! first step. Not knobs are the constants that the log's meaning rests on, for every seed must have the same in every
//! version of the program, and those that the wire's does.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// What a drawn knob is multiplied by. All of them are exact in binary, so that each machine draws the same.
const FACTORS: [f64; 9] = [0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];

thread_local! {
    /// The number of the world that this thread simulates, if it draws its knobs.
    static WORLD: Cell<Option<u64>> = const { Cell::new(None) };
    /// What some knobs are multiplied by in that world, whatever is drawn: a mechanism that is switched off.
    static FORCED: Cell<&'static [(&'static str, f64)]> = const { Cell::new(&[]) };
}

/// While this is there, what its thread does is part of a world.
#[derive(Debug)]
#[must_use = "the knobs are turned back when this is gone"]
pub struct KnobsTurned {
    before: (Option<u64>, &'static [(&'static str, f64)]),
}

impl Drop for KnobsTurned {
    fn drop(&mut self) {
        WORLD.set(self.before.0);
        FORCED.set(self.before.1);
    }
}

/// Draws the knobs of this thread for the world of that number; leaves them as they are for none. But those that are
/// `forced` are so many times their defaults.
pub fn turn_knobs(world: Option<u64>, forced: &'static [(&'static str, f64)]) -> KnobsTurned {
    KnobsTurned { before: (WORLD.replace(world), FORCED.replace(forced)) }
}

/// As long as a time may be that a knob has by default: for who waits until a node must have done something.
pub fn at_longest(default: Duration) -> Duration {
    WORLD.get().map_or(default, |_| default * 4)
}

/// A constant with a name, by which a world draws it.
#[derive(Clone, Copy, Debug)]
pub struct Knob<T> {
    name: &'static str,
    default: T,
    /// No world has less: another constant rests on it.
    least: Option<T>,
}

/// What a knob can be.
pub trait Quantity: Copy + PartialOrd {
    /// So many times as much.
    #[must_use]
    fn times(self, factor: f64) -> Self;
}

impl<T: Quantity> Knob<T> {
    /// A constant of that value.
    pub const fn new(name: &'static str, default: T) -> Self {
        Knob { name, default, least: None }
    }

    /// The same, of which no world has less than that: what it must be longer or more than.
    #[must_use]
    pub const fn at_least(mut self, least: T) -> Self {
        self.least = Some(least);
        self
    }

    /// Its value: the default, but in a world that draws.
    pub fn get(&self) -> T {
        if let Some((_, factor)) = FORCED.get().iter().find(|(name, _)| *name == self.name) {
            return self.default.times(*factor);
        }
        let Some(world) = WORLD.get() else { return self.default };
        let drawn = self.default.times(self.factor(world));
        self.least.filter(|least| drawn < *least).unwrap_or(drawn)
    }

    /// By what a world multiplies it: in one half of them by nothing, so that a few changes are seen by themselves.
    fn factor(&self, world: u64) -> f64 {
        // FNV-1a over the name, and then the finish of SplitMix64: names differ in a letter, worlds in a bit.
        let hashed = self.name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ world, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hashed ^ hashed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ mixed >> 31;
        if mixed & 1 == 0 { 1.0 } else { FACTORS[((mixed >> 1) % FACTORS.len() as u64) as usize] }
    }
}

impl<T: Quantity + fmt::Display> fmt::Display for Knob<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Quantity for Duration {
    fn times(self, factor: f64) -> Self {
        self.mul_f64(factor)
    }
}

impl Quantity for (Duration, Duration) {
    fn times(self, factor: f64) -> Self {
        (self.0.times(factor), self.1.times(factor))
    }
}

impl Quantity for usize {
    /// At least one: nothing at all is no limit but a thing that is switched off.
    fn times(self, factor: f64) -> Self {
        ((self as f64 * factor) as usize).max(1)
    }
}

impl Quantity for u32 {
    fn times(self, factor: f64) -> Self {
        ((f64::from(self) * factor) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Knob<Duration> = Knob::new("WAIT", Duration::from_secs(1));
    const MOST: Knob<usize> = Knob::new("MOST", 2);

    #[test]
    fn a_knob_is_its_default_but_in_a_world_that_draws() {
        assert_eq!((WAIT.get(), MOST.get()), (Duration::from_secs(1), 2));
        let drawn = |world| {
            let _turned = turn_knobs(Some(world), &[]);
            (WAIT.get(), MOST.get())
        };
        let worlds: Vec<_> = (0..1_000).map(drawn).collect();
        let again: Vec<_> = (0..1_000).map(drawn).collect();
        assert_eq!(worlds, again);
        assert_eq!((WAIT.get(), MOST.get()), (Duration::from_secs(1), 2));
        let waits = || worlds.iter().map(|(wait, _)| *wait);
        assert_eq!(
            (waits().min(), waits().max()),
            (Some(Duration::from_millis(250)), Some(Duration::from_secs(4)))
        );
        assert_eq!(
            (worlds.iter().map(|(_, most)| *most).min(), worlds.iter().map(|(_, most)| *most).max()),
            (Some(1), Some(8))
        );
        let unlike = worlds.iter().filter(|(wait, most)| *wait > Duration::from_secs(1) && *most < 2).count();
        assert!(unlike > 20, "knobs are drawn together: {unlike}");
    }
}
