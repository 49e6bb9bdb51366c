//! What a run prints of itself while it goes on.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line. A reader that has gone has read what it wanted: that is no failure of the run.
pub(super) fn tell(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
