//! What is true for a moment and never logged: who holds whose session, and the links of the overlay.
//!
//! Each seed tells the leader what changed, whole after an election. The leader reads three things from it: who
//! is absent (no seed has held a session of that life for a while), where the overlay has come apart, and how
//! well connected each member is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{Links, SeedId, SoftState};
use coterie_common::{Address, Backoff, Instant, MemberId};

/// A lost ballot about an absent member is held again after this, doubling.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What this seed knows, and what it told.
#[derive(Clone, Debug, Default)]
pub struct Soft {
    links: BTreeMap<Address, (MemberId, Links)>,
    /// How many tell of a link with each: JSON programs tell of none themselves.
    named: BTreeMap<Address, u32>,
    changed_links: BTreeSet<Address>,
    told_held: BTreeSet<MemberId>,
    whole_is_due: bool,
    /// At the leader: who holds whom.
    held_by: BTreeMap<SeedId, BTreeSet<MemberId>>,
    absent: BTreeMap<MemberId, Absence>,
}

#[derive(Clone, Debug)]
struct Absence {
    since: Instant,
    /// After a lost ballot: when the next may be held.
    again: Option<Instant>,
    backoff: Backoff,
}

impl Soft {
    /// Of how many members links are known.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// A member, or a seed, told of links.
    pub fn set_links(&mut self, member: MemberId, links: Links) {
        // Also when it is what this seed knew: others may have heard something else in between.
        if self.put_links(member, links) {
            self.changed_links.insert(member.address);
        }
    }

    /// Takes what is newer than what is known; returns whether it was. Seeds hear of the same links from each other,
    /// and one that was cut off for a while tells what was true before.
    fn put_links(&mut self, member: MemberId, links: Links) -> bool {
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
            if let Some(count) = self.named.get_mut(&to) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(&to);
                }
            }
        }
    }

    /// A member is new: what anybody else told of links at its address is wrong.
    pub fn admit(&mut self, member: MemberId) {
        if self.links.get(&member.address).is_some_and(|(told, _)| *told != member) {
            let before = self.links.remove(&member.address);
            self.unname(before);
        }
    }

    /// A member is gone.
    pub fn forget(&mut self, member: MemberId) {
        if self.links.get(&member.address).is_some_and(|(known, _)| *known == member) {
            let before = self.links.remove(&member.address);
            self.unname(before);
            self.changed_links.remove(&member.address);
        }
        self.absent.remove(&member);
    }

    /// The links that were told of.
    pub fn links(&self) -> impl Iterator<Item = (&Address, &Vec<Address>)> {
        self.links.iter().map(|(member, (_, links))| (member, &links.to))
    }

    /// How many links a member has, as far as is known here.
    pub fn degree(&self, member: Address) -> u32 {
        let own = self.links.get(&member).map_or(0, |(_, links)| links.to.len() as u32);
        own.max(self.named.get(&member).copied().unwrap_or(0))
    }

    /// There is a new leader: it is told everything.
    pub fn new_leader(&mut self) {
        self.whole_is_due = true;
        self.held_by.clear();
        self.absent.clear();
    }

    /// What to tell the leader, if anything has changed since it was told last.
    pub fn news(&mut self, held: BTreeSet<MemberId>, term: u64) -> Option<SoftState> {
        let whole = std::mem::take(&mut self.whole_is_due);
        let (new, lost): (Vec<_>, Vec<_>) = match whole {
            true => (held.iter().copied().collect(), Vec::new()),
            false => (
                held.difference(&self.told_held).copied().collect(),
                self.told_held.difference(&held).copied().collect(),
            ),
        };
        let changed = std::mem::take(&mut self.changed_links);
        let links: Vec<(MemberId, Links)> = match whole {
            true => {
                let own = |member: &MemberId| held.contains(member);
                self.links.values().filter(|(member, _)| own(member)).cloned().collect()
            }
            false => changed.iter().filter_map(|address| self.links.get(address).cloned()).collect(),
        };
        self.told_held = held;
        let anything = whole || !new.is_empty() || !lost.is_empty() || !links.is_empty();
        anything.then_some(SoftState { whole, held: new, lost, links, term })
    }

    /// At the leader: a seed told what it knows.
    pub fn take(&mut self, from: SeedId, state: SoftState) {
        let held = self.held_by.entry(from).or_default();
        if state.whole {
            held.clear();
        }
        held.extend(state.held);
        for lost in state.lost {
            held.remove(&lost);
        }
        for (member, links) in state.links {
            self.put_links(member, links);
        }
    }

    /// At the leader: a seed is gone, and the sessions it held with it.
    pub fn seed_down(&mut self, seed: SeedId) {
        self.held_by.remove(&seed);
    }

    /// At the leader: the members that no seed has held a session of for `time`, and about whom no ballot was
    /// lost too recently. To be called regularly.
    pub fn absent(
        &mut self,
        now: Instant,
        members: impl Iterator<Item = MemberId>,
        time: Duration,
    ) -> Vec<MemberId> {
        let mut over = Vec::new();
        for member in members {
            if self.held_by.values().any(|held| held.contains(&member)) {
                self.absent.remove(&member);
                continue;
            }
            let absence = self.absent.entry(member).or_insert_with(|| Absence {
                since: now,
                again: None,
                backoff: Backoff::new(AGAIN.0, AGAIN.1),
            });
            if now >= absence.again.unwrap_or(absence.since + time) {
                over.push(member);
            }
        }
        over
    }

    /// At the leader: the ballot about an absent member was lost.
    pub fn absence_rejected(&mut self, now: Instant, member: MemberId) {
        if let Some(absence) = self.absent.get_mut(&member) {
            absence.again = Some(now + absence.backoff.pause());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;

    fn id(port: u16) -> MemberId {
        MemberId { address: Address::new([127, 0, 0, 1].into(), port), incarnation: Incarnation(1) }
    }

    fn links(number: u64, to: &[u16]) -> Links {
        Links { number, to: to.iter().map(|port| id(*port).address).collect() }
    }

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn only_changes_are_told_and_everything_to_a_new_leader() {
        let mut soft = Soft::default();
        soft.set_links(id(1), links(1, &[2]));
        let news = soft.news([id(1), id(2)].into(), 1).unwrap();
        assert_eq!((news.held.len(), news.links.len(), news.whole), (2, 1, false));
        assert_eq!(soft.news([id(1), id(2)].into(), 1), None);
        let news = soft.news([id(1)].into(), 1).unwrap();
        assert_eq!((news.held, news.lost), (vec![], vec![id(2)]));
        soft.new_leader();
        let news = soft.news([id(1)].into(), 1).unwrap();
        assert_eq!((news.whole, news.held, news.links.len()), (true, vec![id(1)], 1));
    }

    /// Found by simulation: a seed that had been cut off told the leader what had been true before, the leader
    /// believed it over what it had heard since, and an overlay in two pieces looked whole to it for ever.
    #[test]
    fn what_a_seed_tells_late_does_not_undo_what_is_newer() {
        let mut soft = Soft::default();
        soft.set_links(id(1), links(2, &[2]));
        let late = SoftState { links: vec![(id(1), links(1, &[3]))], ..SoftState::default() };
        soft.take(SeedId(1), late);
        assert_eq!([2, 3].map(|port| soft.degree(id(port).address)), [1, 0]);
        let next_life = MemberId { incarnation: Incarnation(9), ..id(1) };
        soft.set_links(next_life, links(1, &[3]));
        assert_eq!([2, 3].map(|port| soft.degree(id(port).address)), [0, 1]);
        soft.forget(id(1));
        assert_eq!(soft.degree(id(3).address), 1, "what ends with a life are its own links");
    }

    #[test]
    fn a_program_that_tells_of_no_links_has_those_that_others_tell_of() {
        let mut soft = Soft::default();
        soft.set_links(id(1), links(1, &[9]));
        soft.set_links(id(2), links(1, &[9, 1]));
        assert_eq!([1, 2, 9].map(|port| soft.degree(id(port).address)), [1, 2, 2]);
        soft.forget(id(2));
        assert_eq!([1, 2, 9].map(|port| soft.degree(id(port).address)), [1, 0, 1]);
    }

    #[test]
    fn a_member_is_absent_when_no_seed_held_it_for_a_while_and_again_less_and_less_often() {
        let mut soft = Soft::default();
        let time = Duration::from_secs(2);
        let state = SoftState { held: vec![id(1)], ..SoftState::default() };
        soft.take(SeedId(1), state);
        let absent = |soft: &mut Soft, ms| soft.absent(at(ms), [id(1)].into_iter(), time);
        assert_eq!(absent(&mut soft, 0), []);
        soft.seed_down(SeedId(1));
        assert_eq!(absent(&mut soft, 1000), []);
        assert_eq!(absent(&mut soft, 3000), [id(1)]);
        soft.absence_rejected(at(3000), id(1));
        assert_eq!(absent(&mut soft, 3999), []);
        assert_eq!(absent(&mut soft, 4000), [id(1)]);
        soft.absence_rejected(at(4000), id(1));
        assert_eq!(absent(&mut soft, 5999), []);
    }
}
