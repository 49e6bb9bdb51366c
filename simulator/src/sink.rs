//! Where the lines of a run go.

use std::fmt::{Debug, Display, Formatter};

/// Takes the lines that a run tells of itself: nobody's, or somebody's who wants to read them.
#[derive(Default)]
pub struct Sink(Option<Reader>);

type Reader = Box<dyn FnMut(&str)>;

impl Sink {
    /// Nobody reads: no line is even made.
    pub fn nobody() -> Self {
        Sink(None)
    }

    /// Each line is handed to `reader`.
    pub fn to(reader: impl FnMut(&str) + 'static) -> Self {
        Sink(Some(Box::new(reader)))
    }

    /// A line, if anybody reads.
    pub fn tell(&mut self, line: impl Display) {
        if let Some(reader) = &mut self.0 {
            reader(&line.to_string());
        }
    }
}

impl Debug for Sink {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Sink(somebody)" } else { "Sink(nobody)" })
    }
}
