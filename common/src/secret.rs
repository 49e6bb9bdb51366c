//! What a peer alone knows of its life.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Address, Life};

/// A random number of which a life is the hash. Everybody may know the life, for it stands in the view and every probe
/// asks for it; who shows its secret is that life itself. So no secret has to be kept, or agreed on, by anybody else.
///
/// It is shown once, when the life is to end, and of no use afterwards. Whoever reads the network before that, is a
/// seed, or passes for one may use it: against them keys are needed. To find another number with that hash takes 2^64
/// attempts, for each address anew.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// The life at that address whose secret it is; never [`Life::NONE`], which is that of programs that draw none.
    pub fn life(&self, address: Address) -> Life {
        let hash: [u8; 32] =
            Sha256::new().chain_update(self.0).chain_update(address.to_string()).finalize().into();
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
        let (here, there) = ("10.0.0.1:6001".parse().unwrap(), "10.0.0.2:6001".parse().unwrap());
        // So begins SHA-256 of sixteen bytes 0 and the address as a text.
        assert_eq!(Secret([0; 16]).life(here), Life(0x1cbe487a64a21b59));
        assert_ne!(Secret([1; 16]).life(here), Secret([2; 16]).life(here));
        assert_ne!(Secret([1; 16]).life(here), Secret([1; 16]).life(there));
        assert_eq!(format!("{:?}", Secret([7; 16])), "Secret(..)");
    }
}
