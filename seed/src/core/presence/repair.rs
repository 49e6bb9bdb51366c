//! At the leader: joining an overlay that fell apart.
//!
//! Peers choose their neighbours each for itself, so many deaths at once may leave the overlay in pieces, and no peer
//! can see that. The leader can: it knows all links. (Plumtree repairs its tree from the inside: nobody there sees it
//! whole.)

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::{Address, Instant, MemberId, Wire};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::components::components;
use super::topology::Topology;
use crate::core::registry::Registry;

/// How often the overlay's pieces are counted: with ten thousand members that takes some milliseconds. A guess between
/// that cost and the time that messages would not reach everybody.
const PIECES_EVERY: Knob<Duration> = Knob::new("PIECES_EVERY", Duration::from_millis(500));

/// How long the overlay must have been in pieces before somebody is told to repair it: newcomers are dialling. A guess.
const PIECES_FOR: Knob<Duration> = Knob::new("PIECES_FOR", Duration::from_secs(1));

/// How long a dial is given before another one is ordered. A guess: a connection and its greeting, and the news of it.
const REPAIR_AGAIN: Knob<Duration> = Knob::new("REPAIR_AGAIN", Duration::from_secs(2));

/// When the overlay is looked at, and since when it is in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Repair {
    in_pieces_since: Option<Instant>,
    look_next: Instant,
    /// Not put back by an election: an order may then come so much later.
    repair_next: Instant,
}

/// One member is to dial another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialOrder {
    pub(crate) member: MemberId,
    pub(crate) target: Address,
}

impl Repair {
    /// There was an election: what the last leader saw is not known here. The time counts anew, for links are only just
    /// being told.
    pub(super) fn begin_anew(&mut self) {
        self.in_pieces_since = None;
    }

    /// Who is to dial whom: a member of each smaller piece of the overlay one of the largest. Nobody, most of the time.
    pub(super) fn orders(
        &mut self,
        now: Instant,
        registry: &Registry,
        topology: &Topology,
        rng: &mut impl Rng,
    ) -> Vec<DialOrder> {
        if now < self.look_next {
            return Vec::new();
        }
        self.look_next = now + PIECES_EVERY.get();
        let pieces = components(&links_of_members(registry, topology));
        if pieces.len() < 2 {
            self.in_pieces_since = None;
            return Vec::new();
        }
        let since = *self.in_pieces_since.get_or_insert(now);
        if now < since + PIECES_FOR.get() || now < self.repair_next {
            return Vec::new();
        }
        self.repair_next = now + REPAIR_AGAIN.get();
        let (largest, smaller) = pieces.split_at(1);
        smaller.iter().filter_map(|piece| order(registry, piece, &largest[0], rng)).collect()
    }
}

/// Every member is a node, also one that tells of no links: a JSON program is part of a piece by what others tell.
fn links_of_members(registry: &Registry, topology: &Topology) -> BTreeMap<Address, Vec<Address>> {
    let mut links: BTreeMap<Address, Vec<Address>> =
        registry.members().map(|member| (member.id.address, Vec::new())).collect();
    for (member, to) in topology.links() {
        if let Some(known) = links.get_mut(member) {
            known.clone_from(to);
        }
    }
    links
}

/// Has one member of `piece` dial one of `largest`; or the other way about, where only JSON programs are in it.
fn order(
    registry: &Registry,
    piece: &[Address],
    largest: &[Address],
    rng: &mut impl Rng,
) -> Option<DialOrder> {
    let native = |among: &[Address]| -> Vec<MemberId> {
        let member =
            |address: &Address| registry.at(*address).filter(|m| m.wire == Wire::Native).map(|m| m.id);
        among.iter().filter_map(member).collect()
    };
    let (from, to) = match native(piece) {
        none if none.is_empty() => (native(largest), piece),
        some => (some, largest),
    };
    let (member, target) = (from.choose(rng).copied(), to.choose(rng).copied());
    // Where all are JSON programs, nobody can be told.
    let order = DialOrder { member: member?, target: target? };
    assert_ne!(
        order.member.address, order.target,
        "whom a member is to dial, to join two pieces of the overlay"
    );
    Some(order)
}
