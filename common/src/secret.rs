//! What a peer alone knows of its life.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Life;

/// A random number of which a life is the hash. Everybody may know the life, for it stands in the view and every probe
/// asks for it; who shows its secret is that life itself. So no secret has to be kept, or agreed on, by anybody else.
///
/// It is shown once, when the life is to end, and of no use afterwards. Whoever reads the network before that, or is
/// a seed, may use it: against them keys are needed. To find another number with that hash takes 2^64 attempts.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// The life whose secret it is; never [`Life::NONE`], which is that of programs that draw none.
    pub fn life(&self) -> Life {
        let hash: [u8; 32] = Sha256::digest(self.0).into();
        let first = hash.first_chunk().copied().map(u64::from_be_bytes);
        Life(first.unwrap_or_default().max(1))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_the_hash_of_its_secret_and_the_secret_is_not_shown() {
        // SHA-256 of sixteen bytes 0 begins so.
        assert_eq!(Secret([0; 16]).life(), Life(0x374708fff7719dd5));
        assert_ne!(Secret([1; 16]).life(), Secret([2; 16]).life());
        assert_eq!(format!("{:?}", Secret([7; 16])), "Secret(..)");
    }
}
