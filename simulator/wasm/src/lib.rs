//! Simulated clusters, for whoever can run WebAssembly: a browser, or node.
//!
//! The same cores and the same world as everywhere else, built without a change. What crosses the border are numbers
//! alone, so there is no glue: a world is opened by its number, run a slice at a time, and asked what it came to.
#![allow(
    unsafe_code,
    reason = "the names of functions that a host calls must not be mangled, and no more than that"
)]

use std::cell::RefCell;

use coterie_simulator::check::checker::Checker;
use coterie_simulator::check::report::Violation;
use coterie_simulator::invariants;
use coterie_simulator::plan::Plan;
use coterie_simulator::sink::Sink;
use coterie_simulator::world::World;

/// How far the open world has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// There is more to come.
    GoesOn = 0,
    /// It has kept every promise.
    Kept = 1,
    /// It has violated an invariant, or there is none.
    Ended = 2,
}

thread_local! {
    static OPEN: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Opens the world of that number; one that was open is forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn open(number: u64) {
    let world = World::new(Plan::draw(number), Checker::new(invariants::all()), Sink::nobody());
    OPEN.with_borrow_mut(|open| *open = Some(world));
}

/// Runs the open world for a quarter of a simulated second at most: 0, it goes on; 1, it is over and has kept every
/// promise; 2, it has not, or there is none.
#[unsafe(no_mangle)]
pub extern "C" fn run_slice() -> u32 {
    OPEN.with_borrow_mut(|open| {
        let progress = match open.as_mut().map(World::run_slice) {
            Some(Ok(())) if open.as_ref().is_some_and(World::is_over) => Progress::Kept,
            Some(Ok(())) => Progress::GoesOn,
            Some(Err(Violation { .. })) | None => Progress::Ended,
        };
        if progress == Progress::Ended {
            *open = None;
        }
        progress as u32
    })
}

/// A digest of everything that the nodes of the open world logged, which is closed by that; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn digest() -> u64 {
    OPEN.with_borrow_mut(|open| open.take().map_or(0, |world| world.report().digest))
}
