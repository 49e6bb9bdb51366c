//! Where a node listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address at which a node listens and by which everybody names it: `ip:port`, IPv6 in brackets.
///
/// Ordered by the bytes of the IP, then by port: of two neighbours the lower one pings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(SocketAddr);

impl Address {
    /// The address of `ip` and `port`. A mapped IPv4 address becomes the IPv4 address it maps, so that one
    /// node has one name.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        Address(SocketAddr::new(ip.to_canonical(), port))
    }

    /// Its IP.
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// Its port.
    pub fn port(self) -> u16 {
        self.0.port()
    }

    /// As the socket calls want it.
    pub fn socket(self) -> SocketAddr {
        self.0
    }

    /// Whether a node could be reached there at all: neither the unspecified IP, nor multicast, nor port 0.
    pub fn is_reachable_in_principle(self) -> bool {
        self.port() != 0 && !self.ip().is_unspecified() && !self.ip().is_multicast()
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Address::new(socket.ip(), socket.port())
    }
}

impl FromStr for Address {
    type Err = std::net::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<SocketAddr>().map(Address::from)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `text` with every character outside `[A-Za-z0-9.]` turned into `-`, fit for a file's name.
pub fn file_name_part(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_has_one_name() {
        let mapped: Address = "[::ffff:127.0.0.1]:6001".parse().unwrap();
        assert_eq!(mapped.to_string(), "127.0.0.1:6001");
        assert_eq!("[::1]:6001".parse::<Address>().unwrap().to_string(), "[::1]:6001");
    }

    #[test]
    fn order_is_by_ip_then_port() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert!(address("10.0.0.2:9") < address("10.0.0.10:1"));
        assert!(address("10.0.0.2:1") < address("10.0.0.2:9"));
    }

    #[test]
    fn some_addresses_belong_to_nobody() {
        for text in ["0.0.0.0:1", "127.0.0.1:0", "[::]:1", "224.0.0.1:1"] {
            assert!(!text.parse::<Address>().unwrap().is_reachable_in_principle(), "{text}");
        }
    }

    #[test]
    fn a_file_name_holds_no_brackets_or_colons() {
        assert_eq!(file_name_part("[::1]"), "---1-");
        assert_eq!(file_name_part("10.0.0.1"), "10.0.0.1");
    }
}
