//! The peer on sockets and timers.
//!
//! One task owns the core: it waits for what arrives and for the core's deadline, steps the core, and starts what
//! the core wants done. It never waits for network, disk or terminal. `node` is that task, `console` reads
//! what is typed, `options` what was typed before.

mod console;
mod node;
mod options;
#[cfg(coterie_simulated)]
pub mod tap;

pub use node::{Handle, Look, Options, PeerEvent, run, start};
pub use options::{PeerArgs, main};
