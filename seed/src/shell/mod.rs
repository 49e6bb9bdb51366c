//! The seed on sockets, timers and a disk.
//!
//! One task owns the core: it waits for what arrives and for the core's deadline, steps the core, and starts what
//! the core wants done. It never waits for network, disk or terminal. `node` is that task, `mesh` the way to
//! the other seeds, `options` what was typed, `successor` going on without a lost majority.

mod mesh;
mod node;
mod options;
mod successor;
#[cfg(coterie_simulated)]
pub mod tap;

pub use node::{ChangesFrom, Handle, Options, ProbeMode, run, start, start_on};
pub use options::{SeedArgs, main};
