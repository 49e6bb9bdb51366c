//! The hosts of a world and their addresses.

use std::fmt;
use std::net::Ipv4Addr;

use coterie_common::Address;

/// One host, with one process on it or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// The host of a peer.
    Peer(usize),
    /// The host of a seed.
    Seed(usize),
}

/// Where everybody listens.
const PORT: u16 = 7_000;

impl Host {
    /// Its address, from which [`Host::at`] finds it again.
    pub fn address(self) -> Address {
        let (block, index) = match self {
            Host::Seed(index) => (10, index),
            Host::Peer(index) => (11, index),
        };
        let [_, _, high, low] = (index as u32 + 1).to_be_bytes();
        Address::new(Ipv4Addr::new(block, 0, high, low).into(), PORT)
    }

    /// The host at `address`.
    pub fn at(address: Address) -> Option<Host> {
        let std::net::IpAddr::V4(ip) = address.ip() else { return None };
        let [block, _, high, low] = ip.octets();
        let index = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        match block {
            10 => Some(Host::Seed(index)),
            11 => Some(Host::Peer(index)),
            _ => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Peer(index) => write!(f, "peer {index}"),
            Host::Seed(index) => write!(f, "seed {index}"),
        }
    }
}

/// A process: its host, and which of its starts.
pub(crate) type Start = (Host, u64);
