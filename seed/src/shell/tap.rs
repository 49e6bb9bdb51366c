//! What a simulation sees of the seeds that run in it: every step of their cores.

use std::cell::RefCell;

use coterie_common::{Address, Instant};

use crate::core::{Effect, Input, Seed};

/// Whoever looks on.
pub trait Tap {
    /// The core of the seed at `me` is about to be told this.
    fn told(&mut self, me: Address, input: &Input, core: &Seed);

    /// It wants this done, and is like that now.
    fn wanted(&mut self, me: Address, effects: &[Effect], core: &Seed);
}

thread_local! {
    static TAP: RefCell<Option<Box<dyn Tap>>> = const { RefCell::new(None) };
}

/// From now on `tap` sees the seeds of this thread.
pub fn put(tap: impl Tap + 'static) {
    TAP.set(Some(Box::new(tap)));
}

/// A step that is seen.
pub(super) fn step(core: &mut Seed, me: Address, now: Instant, input: Input) -> Vec<Effect> {
    TAP.with_borrow_mut(|tap| tap.iter_mut().for_each(|tap| tap.told(me, &input, core)));
    let effects = core.step(now, input);
    TAP.with_borrow_mut(|tap| tap.iter_mut().for_each(|tap| tap.wanted(me, &effects, core)));
    effects
}
