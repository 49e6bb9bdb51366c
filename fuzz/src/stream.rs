//! Bytes as a stream of choices. Every string of bytes means something: what is missing reads as zero.

/// What is left of an input.
pub(crate) struct Stream<'a>(&'a [u8]);

impl<'a> Stream<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Stream(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        u64::from(self.byte()) % most
    }

    /// So many of the next bytes as the next one says.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }
}
