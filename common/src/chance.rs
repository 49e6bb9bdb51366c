//! What a core leaves to chance is drawn from here, so that one seed fixes a run.

use std::convert::Infallible;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng, TryRng};

/// A generator of random numbers. The algorithm is named, not the default of the library: a run must stay the same when
/// the library changes its mind.
#[derive(Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The generator that this seed stands for.
    pub fn new(seed: [u8; 32]) -> Self {
        Chance(ChaCha8Rng::from_seed(seed))
    }
}

/// The library lets nobody clone its generator, for two nodes that draw the same numbers by mistake give secrets away.
/// Whoever looks at nodes keeps copies of them that never take a step.
impl Clone for Chance {
    fn clone(&self) -> Self {
        Chance(ChaCha8Rng::deserialize_state(&self.0.serialize_state()))
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn a_seed_stands_for_the_numbers_of_chacha_with_eight_rounds() {
        let mut chance = Chance::new([7; 32]);
        assert_eq!(
            [chance.next_u64(), chance.next_u64()],
            [4_115_934_089_738_703_076, 15_345_232_379_140_719_590]
        );
    }

    #[test]
    fn a_copy_goes_on_where_the_original_stands() {
        let mut chance = Chance::new([7; 32]);
        for _ in 0..21 {
            let mut copy = chance.clone();
            assert_eq!(copy.random::<u32>(), chance.random::<u32>());
        }
    }
}
