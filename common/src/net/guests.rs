//! Who may come when there are too many connections.
//!
//! Whoever asks whether a node lives opens a connection, and one that is closed without a word is no sign of life: a
//! node that turned everybody away would be found dead for being busy. So a few more are taken in, each until a newer
//! one takes its place. On any path of less than some milliseconds a ping is answered long before.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use super::listener::connections_max;
use crate::limits::GUESTS_MAX;

/// How full a node is, for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fullness {
    /// There is room.
    Free,
    /// The host that it comes from has half of all that may be: no host keeps all others out.
    OfHost,
    /// There are as many as may be.
    OfAll,
    /// And as many guests, of which some stay.
    Beyond,
}

impl Fullness {
    /// Of a node with so many connections, of which the host that comes has so many.
    pub fn of(open: usize, of_host: impl FnOnce() -> usize) -> Self {
        Self::among(connections_max(), open, of_host)
    }

    fn among(most: usize, open: usize, of_host: impl FnOnce() -> usize) -> Self {
        let half = (most / 2).max(1);
        if open >= most + 2 * GUESTS_MAX {
            Fullness::Beyond
        } else if open >= half && of_host() >= half {
            Fullness::OfHost
        } else if open >= most {
            Fullness::OfAll
        } else {
            Fullness::Free
        }
    }
}

/// What stands for the host at an address: of IPv6 the first half, for a host has all addresses of the other.
pub fn host_at(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Those that were taken in beyond what may be, the newest last. Some may have ended meanwhile.
#[derive(Debug)]
pub struct Guests<K>(VecDeque<K>);

impl<K> Guests<K> {
    /// Takes one in; returns whose turn it is to go for it.
    pub fn take_in(&mut self, key: K) -> Option<K> {
        self.0.push_back(key);
        if self.0.len() > GUESTS_MAX { self.0.pop_front() } else { None }
    }

    /// There is room again: who is there stays.
    pub fn all_stay(&mut self) {
        self.0.clear();
    }
}

impl<K> Default for Guests<K> {
    fn default() -> Self {
        Guests(VecDeque::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many_and_nobody_once_there_was_room() {
        let mut guests = Guests::default();
        assert!((0..GUESTS_MAX).all(|key| guests.take_in(key).is_none()));
        assert_eq!(guests.take_in(GUESTS_MAX), Some(0));
        assert_eq!(guests.take_in(GUESTS_MAX + 1), Some(1));
        guests.all_stay();
        assert_eq!(guests.take_in(GUESTS_MAX + 2), None);
    }

    #[test]
    fn a_host_has_half_and_all_together_have_all_and_a_few_more() {
        let of = |open, of_host| Fullness::among(100, open, || of_host);
        assert_eq!(of(49, 49), Fullness::Free);
        assert_eq!(of(50, 50), Fullness::OfHost);
        assert_eq!(of(99, 49), Fullness::Free);
        assert_eq!(of(100, 49), Fullness::OfAll);
        assert_eq!(of(100 + 2 * GUESTS_MAX, 0), Fullness::Beyond);
    }

    #[test]
    fn a_host_of_ipv6_is_a_network_of_its_own() {
        let host = |text: &str| host_at(text.parse().unwrap());
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:2"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
        assert_ne!(host("10.0.0.1"), host("10.0.0.2"));
    }
}
