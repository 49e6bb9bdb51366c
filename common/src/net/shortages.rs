//! What a node's process lacks: descriptors, or somebody who reads what it says.

use super::{Journal, diagnostics, listener};
use crate::Instant;

/// What a node that keeps this journal may lack: what, and why if it does.
pub fn shortages(now: Instant, journal: &Journal) -> impl Iterator<Item = (String, Option<String>)> + '_ {
    let unaccepted = ("no connection is accepted".to_owned(), listener::shortage());
    journal.blockages(now).chain(diagnostics::blockage(now)).chain([unaccepted])
}
