//! Dials under way, and whom to leave alone for a while because a dial came to nothing.
//!
//! A dial counts as a link that is to come: without that, each step would dial others for as long as the first ones
//! take.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::{Address, Instant};

/// How long a peer that refused a link, or could not be dialled, is left alone (a guess).
const REFUSAL_LASTS: Knob<Duration> = Knob::new("REFUSAL_LASTS", Duration::from_secs(5));

/// How long a dial may take, HELLO and answer included: the kernel's second SYN goes out after one second, so one lost
/// packet of each kind is borne.
const DIAL_TIME_MAX: Knob<Duration> = Knob::new("peer/dials/DIAL_TIME_MAX", Duration::from_secs(3));

/// What this peer is doing about links that it has not got yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Dials {
    /// Until when each may take.
    under_way: BTreeMap<Address, Instant>,
    /// Dialled because the seeds said so, to join an overlay that fell apart: taken over the cap of links.
    repairing: BTreeSet<Address>,
    /// Until when each is left alone.
    refused: BTreeMap<Address, Instant>,
}

impl Dials {
    /// A dial begins. None may be under way to that address: two would be two links.
    pub(super) fn begin(&mut self, now: Instant, address: Address, is_repair: bool) {
        let other = self.under_way.insert(address, now + DIAL_TIME_MAX.get());
        assert!(other.is_none(), "{address} is being dialled already");
        if is_repair {
            self.repairing.insert(address);
        }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether `address` is being dialled.
    pub(super) fn is_under_way(&self, address: Address) -> bool {
        self.under_way.contains_key(&address)
    }

    /// Whether `address` is dialled because the seeds said so.
    pub(super) fn is_repair(&self, address: Address) -> bool {
        self.repairing.contains(&address)
    }

    /// A dial has ended, in a link or not. None need have been under way: the other end may have dialled first.
    pub(super) fn end(&mut self, address: Address) {
        self.repairing.remove(&address);
        self.under_way.remove(&address);
    }

    /// `address` is not to be dialled for a while. Be it that it said no, or that it could not be reached: either
    /// would be the same a moment later.
    pub(super) fn refused(&mut self, now: Instant, address: Address) {
        self.end(address);
        self.refused.insert(address, now + REFUSAL_LASTS.get());
    }

    /// Somebody new is at `address`: what the last one there did counts no longer.
    pub(super) fn forgive(&mut self, address: Address) {
        self.refused.remove(&address);
    }

    /// What always holds between steps: whom the seeds told it to dial, it is dialling.
    pub(super) fn verify(&self) {
        for address in &self.repairing {
            assert!(self.under_way.contains_key(address), "{address} is a repair, and not being dialled");
        }
    }

    /// Whether `address` may be dialled. The seeds' orders do not ask this: they reach also who has refused lately.
    pub(super) fn may_begin(&self, address: Address) -> bool {
        !self.under_way.contains_key(&address) && !self.refused.contains_key(&address)
    }

    /// Forgets refusals that are over; returns the dials that took too long, which count as refused.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Address> {
        self.refused.retain(|_, until| *until > now);
        let late: Vec<Address> =
            self.under_way.iter().filter(|(_, until)| **until <= now).map(|(address, _)| *address).collect();
        late.iter().for_each(|address| self.refused(now, *address));
        late
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Instant {
        self.under_way.values().chain(self.refused.values()).min().copied().unwrap_or(Instant::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_without_end_counts_as_a_refusal_and_a_refusal_is_forgotten() {
        let address = Address::new([127, 0, 0, 1].into(), 1);
        let mut dials = Dials::default();
        dials.begin(Instant::START, address, false);
        assert!(!dials.may_begin(address));
        assert_eq!(dials.expire(Instant::START + DIAL_TIME_MAX.get()), [address]);
        assert!(!dials.may_begin(address));
        assert_eq!(dials.expire(dials.deadline()), []);
        assert!(dials.may_begin(address));
    }
}
