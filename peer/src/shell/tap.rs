//! What a simulation sees of the peers that run in it: every step of their cores.

use std::cell::RefCell;

use coterie_common::{Address, Instant};

use crate::core::{Effect, Input, Peer};

/// Whoever looks on.
pub trait Tap {
    /// The core of the peer at `me` is about to be told this.
    fn told(&mut self, me: Address, input: &Input, core: &Peer);

    /// It wants this done, and is like that now.
    fn wanted(&mut self, me: Address, effects: &[Effect], core: &Peer);
}

thread_local! {
    static TAP: RefCell<Option<Box<dyn Tap>>> = const { RefCell::new(None) };
}

/// From now on `tap` sees the peers of this thread.
pub fn put(tap: impl Tap + 'static) {
    TAP.set(Some(Box::new(tap)));
}

/// A step that is seen.
pub(super) fn step(core: &mut Peer, me: Address, now: Instant, input: Input) -> Vec<Effect> {
    TAP.with_borrow_mut(|tap| tap.iter_mut().for_each(|tap| tap.told(me, &input, core)));
    let effects = core.step(now, input);
    TAP.with_borrow_mut(|tap| tap.iter_mut().for_each(|tap| tap.wanted(me, &effects, core)));
    effects
}
