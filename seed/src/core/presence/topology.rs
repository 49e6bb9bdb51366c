//! The links of the overlay, as members tell of them.
//!
//! Peers tell the seeds that they hold sessions with, seeds tell the leader; each tale bears the number that the member
//! gave it. Without numbers a seed that had been cut off told the leader of links that were there before, and an
//! overlay in two pieces looked whole: so simulation found.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::message::Links;
use coterie_common::{Address, MemberId};

/// Who is linked with whom, as far as this seed has heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    /// What each member told last, also one that is not admitted here yet.
    links: BTreeMap<Address, (MemberId, Links)>,
    /// How many tell of a link with each: JSON programs tell of none themselves.
    ///
    /// Invariant: the counts of all `links`, and none that is 0.
    named: BTreeMap<Address, u32>,
    /// Whose links are others than the leader was told.
    changed: BTreeSet<Address>,
}

impl Topology {
    /// Of how many members links are known.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// A member told this seed of its links: the leader is to be told.
    pub(super) fn told(&mut self, member: MemberId, links: Links) {
        // Also when it is what this seed knew: others may have heard something else in between.
        if self.put(member, links) {
            self.changed.insert(member.address);
        }
    }

    /// Takes what is newer than what is known; returns whether it was. Seeds hear of the same links from each other,
    /// and one that was cut off for a while tells what was true before.
    pub(super) fn put(&mut self, member: MemberId, links: Links) -> bool {
        let order = |member: &MemberId, links: &Links| (member.incarnation, links.number);
        let known = self.links.get(&member.address);
        if known.is_some_and(|(id, known)| order(id, known) >= order(&member, &links)) {
            return false;
        }
        links.to.iter().for_each(|to| *self.named.entry(*to).or_insert(0) += 1);
        let before = self.links.insert(member.address, (member, links));
        self.unname(before);
        true
    }

    fn unname(&mut self, before: Option<(MemberId, Links)>) {
        for to in before.map(|(_, links)| links.to).unwrap_or_default() {
            let count = self.named.get_mut(&to);
            let Some(count) = count else { panic!("a link with {to} is forgotten that nobody told of") };
            *count -= 1;
            if *count == 0 {
                self.named.remove(&to);
            }
        }
    }

    /// A member is new: what anybody else told of links at its address is wrong.
    pub(super) fn admit(&mut self, member: MemberId) {
        if self.links.get(&member.address).is_some_and(|(told, _)| *told != member) {
            let before = self.links.remove(&member.address);
            self.unname(before);
        }
    }

    /// A member is gone. Another life may stand there already: that one's links stay.
    pub(super) fn forget(&mut self, member: MemberId) {
        if self.links.get(&member.address).is_some_and(|(known, _)| *known == member) {
            let before = self.links.remove(&member.address);
            self.unname(before);
            self.changed.remove(&member.address);
        }
    }

    /// The links that were told of.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Address, &Vec<Address>)> {
        self.links.iter().map(|(member, (_, links))| (member, &links.to))
    }

    /// How many links a member has, as far as is known here.
    pub(super) fn degree(&self, member: Address) -> u32 {
        // Of two tales the greater: what a member said may not have come, or it says nothing at all.
        let own = self.links.get(&member).map_or(0, |(_, links)| links.to.len() as u32);
        own.max(self.named.get(&member).copied().unwrap_or(0))
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        let mut named: BTreeMap<Address, u32> = BTreeMap::new();
        for (address, (member, links)) in &self.links {
            assert_eq!(*address, member.address, "the address of whoever told of links");
            links.to.iter().for_each(|to| *named.entry(*to).or_insert(0) += 1);
        }
        assert_eq!(self.named, named, "how often each is named, and the links of all");
    }

    /// What the leader is to be told: all links of those who are `held`, or those that have changed. What has changed
    /// is told once: if it is lost, the next connection begins with all.
    pub(super) fn news(&mut self, whole: bool, held: &BTreeSet<MemberId>) -> Vec<(MemberId, Links)> {
        let changed = std::mem::take(&mut self.changed);
        match whole {
            true => self.links.values().filter(|(member, _)| held.contains(member)).cloned().collect(),
            false => changed.iter().filter_map(|address| self.links.get(address).cloned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;

    #[test]
    fn what_another_told_of_links_at_a_members_address_ends_with_its_admission() {
        let at = |port| Address::new([127, 0, 0, 1].into(), port);
        let member = |incarnation| MemberId { address: at(1), incarnation: Incarnation(incarnation) };
        let mut topology = Topology::default();
        topology.told(member(4), Links { number: 1, to: vec![at(2), at(3)] });
        topology.admit(member(4));
        assert_eq!((topology.degree(at(1)), topology.degree(at(2))), (2, 1), "its own");
        topology.admit(member(5));
        assert_eq!((topology.len(), topology.degree(at(1)), topology.degree(at(2))), (0, 0, 0));
        topology.verify();
    }
}
