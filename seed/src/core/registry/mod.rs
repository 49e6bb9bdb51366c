//! The replicated state: who is a member, decided by the log alone.
//!
//! [`Registry::apply`] is pure and total. It reads the registry and the entry and nothing else: no clock, no
//! configuration, no file; so every seed that applies the same log has the same registry, whenever and wherever
//! it does. A refusal is an outcome: no change, no epoch. The seeds' votes are checked again here, so that a
//! leader cannot slip in what was not carried.
//!
//! One view belongs to each number, wherever it is seen, as in virtual synchrony (Birman and Joseph, 1987); but the
//! number is an index of the log, and nobody waits for others to take a view in.
//!
//! *Owns.* Members, those who ended, the seeds and their votes, the epoch.
//!
//! *May read.* The entry that is applied.
//!
//! *Never.* Reads a clock, a configuration or a file, or says what anybody should do.

mod check;
mod succession;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use coterie_common::limits::{DEATHS_KEPT, ENDED_KEPT};
use coterie_common::message::{BallotId, Candidate, ClusterId, SeedId, Subject, Vote};
use coterie_common::{
    Address, Change, Ended, Ending, Epoch, Event, Incarnation, Life, Member, MemberId, Refusal, View, Why,
    majority,
};
use serde::{Deserialize, Serialize};

pub use succession::succeed;

use crate::core::entry::{Applied, Body, DeathRecord, Entry, Outcome, SeedRecord};

/// The ids of seeds that were added begin here; those of the first seeds are their ranks in the list.
const ADDED_SEEDS_FROM: u64 = 1_000;

/// The state that the log makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    cluster: Option<ClusterId>,
    /// The clusters that it goes on for, the latest last.
    predecessors: Vec<ClusterId>,
    applied: u64,
    epoch: Epoch,
    /// The sets of seeds whose votes count; two while the set is being changed, and then a majority of each.
    seed_sets: Vec<BTreeSet<SeedId>>,
    /// The index at which they last changed after the founding; 0 if they never did.
    voters_changed_at: u64,
    seeds: BTreeMap<SeedId, SeedRecord>,
    /// With their directory ids. Never forgotten: a directory may come back at any time.
    removed_seeds: BTreeMap<SeedId, Option<u64>>,
    members: BTreeMap<Address, Arc<Member>>,
    ended: VecDeque<Ended>,
    /// The lives of `ended`, which can never be admitted again.
    ended_lives: VecDeque<(Address, Life)>,
    ended_index: BTreeSet<(Address, Life)>,
    deaths: VecDeque<Death>,
}

/// A death with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// The epoch of its entry.
    pub epoch: Epoch,
    /// What the seeds found.
    pub record: DeathRecord,
}

impl Registry {
    /// Applies the entry at `index`.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Outcome {
        self.applied = index;
        let mut changes = Vec::new();
        let applied = match &entry.body {
            Body::Found { cluster, seeds } => self.found(*cluster, seeds),
            _ if self.cluster.is_none() => refused(Why::BadRequest, "the cluster is not founded"),
            Body::SeedDirectory { seed, directory_id } => self.seed_directory(*seed, *directory_id),
            Body::SeedAdd { address, replaces } => self.add_seed(index, address, *replaces),
            Body::SeedRemove(seed) => self.remove_seed(*seed),
            Body::Join { ballot, candidate, replaces, votes } => {
                self.join(index, (*ballot, candidate, *replaces, votes), &mut changes)
            }
            Body::Leave(id) => self.leave(index, *id, &mut changes),
            Body::Deaths(records) => self.record_deaths(index, records, &mut changes),
        };
        if !changes.is_empty() {
            self.epoch = Epoch(index);
        }
        Outcome { applied, changes }
    }

    /// The log's own entries: the sets of voters in force from `index` on.
    pub fn set_seeds(&mut self, index: u64, sets: Vec<BTreeSet<SeedId>>) {
        self.applied = index;
        self.seed_sets = sets;
        if self.cluster.is_some() {
            self.voters_changed_at = index;
        }
    }

    /// An entry without meaning for the registry. What waits for its index goes on.
    pub fn skip(&mut self, index: u64) {
        self.applied = index;
    }

    fn found(&mut self, cluster: ClusterId, seeds: &BTreeMap<SeedId, SeedRecord>) -> Applied {
        if self.cluster.is_some() {
            return refused(Why::Superseded, "the cluster is founded already");
        }
        self.cluster = Some(cluster);
        self.seeds = seeds.clone();
        Applied::Founded
    }

    fn seed_directory(&mut self, seed: SeedId, directory_id: u64) -> Applied {
        match self.seeds.get_mut(&seed) {
            Some(record) if record.directory_id.is_none() => {
                record.directory_id = Some(directory_id);
                Applied::DirectoryRecorded
            }
            Some(record) if record.directory_id == Some(directory_id) => Applied::DirectoryRecorded,
            // The first stays: another directory at that seat has lost what the first acknowledged.
            Some(_) => refused(Why::Superseded, "that seed has another directory id"),
            None => refused(Why::Stranger, "no such seed"),
        }
    }

    fn add_seed(&mut self, index: u64, address: &str, replaces: Option<SeedId>) -> Applied {
        let present = self.seed_at(address);
        if present != replaces {
            return match present {
                Some(id) => refused(Why::Superseded, &format!("{address} is seed {id}")),
                None => refused(Why::Superseded, "the seed to be replaced is none any more"),
            };
        }
        if let Some(old) = replaces {
            self.unseat(old);
        }
        let id = added_seed(index);
        self.seeds.insert(id, SeedRecord { address: address.to_owned(), directory_id: None });
        Applied::SeedAdded(id)
    }

    fn remove_seed(&mut self, seed: SeedId) -> Applied {
        if !self.seeds.contains_key(&seed) {
            return refused(Why::Stranger, "no such seed");
        }
        if self.seeds.len() == 1 {
            return refused(Why::BadRequest, "the last seed cannot be removed");
        }
        self.unseat(seed);
        Applied::SeedRemoved
    }

    fn unseat(&mut self, seed: SeedId) {
        let record = self.seeds.remove(&seed);
        let Some(record) = record else { panic!("seed {seed} is removed, and there is none") };
        self.removed_seeds.insert(seed, record.directory_id);
    }

    fn join(
        &mut self,
        index: u64,
        (ballot, candidate, replaces, votes): (BallotId, &Candidate, Incarnation, &[Vote]),
        changes: &mut Vec<Change>,
    ) -> Applied {
        let address = candidate.address;
        let present = self.members.get(&address);
        if let Some(member) = present.filter(|m| m.life == candidate.life) {
            // Asked twice, which is no fault: the answer is the same.
            return Applied::Known(member.id.incarnation);
        }
        if self.is_ended(address, candidate.life) {
            return Applied::Refused(Why::Ended.into());
        }
        if present.map_or(Incarnation::NONE, |m| m.id.incarnation) != replaces {
            return refused(Why::Superseded, "another life came first");
        }
        let subject = Subject::Admission { address, life: candidate.life, replaces };
        if !self.is_carried(ballot, &subject, votes) {
            return Applied::Refused(Why::BadVotes.into());
        }
        let id = MemberId { address, incarnation: Incarnation(index) };
        let tags = candidate.tags.clone();
        let new = Arc::new(Member { id, life: candidate.life, wire: candidate.wire, tags });
        let event = match self.end(address, Epoch(index), Ending::Replaced) {
            Some(old) => Event::Replaced { old, new: new.clone() },
            None => Event::Joined(new.clone()),
        };
        changes.push(Change { epoch: Epoch(index), event });
        let displaced = self.members.insert(address, new);
        assert!(displaced.is_none(), "{id} took the place of a life that has not ended: {displaced:?}");
        Applied::Joined(id.incarnation)
    }

    fn leave(&mut self, index: u64, id: MemberId, changes: &mut Vec<Change>) -> Applied {
        if self.member(id).is_none() {
            return Applied::Refused(Why::NotMember.into());
        }
        let ended = self.end(id.address, Epoch(index), Ending::Left);
        assert_eq!(ended, Some(id), "who left");
        changes.push(Change { epoch: Epoch(index), event: Event::Left(id) });
        Applied::Left
    }

    fn record_deaths(&mut self, index: u64, records: &[DeathRecord], changes: &mut Vec<Change>) -> Applied {
        let mut left_out = Vec::new();
        for record in records {
            let id = record.dead;
            let is_evidence = |v: &Vote| v.finding.is_dead() == Some(true);
            if self.member(id).is_none() {
                left_out.push((id, Why::NotMember.into()));
            } else if !record.votes.iter().all(is_evidence)
                || !self.is_carried(record.ballot, &Subject::Death(id), &record.votes)
            {
                left_out.push((id, Why::BadVotes.into()));
            } else {
                let ended = self.end(id.address, Epoch(index), Ending::Died);
                assert_eq!(ended, Some(id), "who died");
                changes.push(Change { epoch: Epoch(index), event: Event::Died(id) });
                self.deaths.push_back(Death { epoch: Epoch(index), record: record.clone() });
            }
        }
        while self.deaths.len() > DEATHS_KEPT {
            self.deaths.pop_front();
        }
        Applied::Died { left_out }
    }

    /// Ends the life at `address`, if there is one.
    fn end(&mut self, address: Address, epoch: Epoch, how: Ending) -> Option<MemberId> {
        let member = self.members.remove(&address)?;
        self.ended.push_back(Ended { id: member.id, epoch, how });
        self.ended_lives.push_back((address, member.life));
        self.ended_index.insert((address, member.life));
        if self.ended.len() > ENDED_KEPT {
            self.ended.pop_front();
            // One life may stand there several times, for that of a JSON program is always 0: the index forgets it
            // with its last copy only.
            if let Some(life) = self.ended_lives.pop_front()
                && !self.ended_lives.contains(&life)
            {
                self.ended_index.remove(&life);
            }
        }
        Some(member.id)
    }

    /// Whether `votes` are those of distinct seeds of the set in force, enough of them, each about this very
    /// subject in this very ballot.
    fn is_carried(&self, ballot: BallotId, subject: &Subject, votes: &[Vote]) -> bool {
        let voters: BTreeSet<SeedId> = votes.iter().map(|v| v.seed).collect();
        let distinct = voters.len() == votes.len();
        let to_the_point = votes.iter().all(|v| v.ballot == ballot && v.subject == *subject);
        let enough = |set: &BTreeSet<SeedId>| voters.intersection(set).count() >= majority(set.len());
        let no_strangers = voters.iter().all(|voter| self.votes(*voter));
        distinct
            && to_the_point
            && no_strangers
            && !self.seed_sets.is_empty()
            && self.seed_sets.iter().all(enough)
    }

    // ---- reading ----

    /// The cluster, once it is founded.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The clusters that it goes on for, by an operator's word, the latest last.
    pub fn predecessors(&self) -> &[ClusterId] {
        &self.predecessors
    }

    /// The index of the last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The epoch of the view.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The seeds, with their directory ids.
    pub fn seeds(&self) -> &BTreeMap<SeedId, SeedRecord> {
        &self.seeds
    }

    /// The index at which the voters last changed after the founding; 0 if they never did.
    pub fn voters_changed_at(&self) -> u64 {
        self.voters_changed_at
    }

    /// The seeds that were removed, with their directory ids.
    pub fn removed_seeds(&self) -> &BTreeMap<SeedId, Option<u64>> {
        &self.removed_seeds
    }

    /// The number of the directory that the log has for a seed, also for one that was removed.
    pub fn directory_id_of(&self, seed: SeedId) -> Option<u64> {
        let of_seed = self.seeds.get(&seed).map(|record| record.directory_id);
        of_seed.or_else(|| self.removed_seeds.get(&seed).copied()).flatten()
    }

    /// Whether a seed was removed, and has no vote any more: until the log's own entry says so, it has.
    pub fn is_gone(&self, seed: SeedId) -> bool {
        self.removed_seeds.contains_key(&seed) && !self.votes(seed)
    }

    /// Whether a seed has a vote.
    pub fn votes(&self, seed: SeedId) -> bool {
        self.seed_sets.iter().any(|set| set.contains(&seed))
    }

    /// The seed at that address.
    pub fn seed_at(&self, address: &str) -> Option<SeedId> {
        self.seeds.iter().find(|(_, record)| record.address == address).map(|(id, _)| *id)
    }

    /// The seeds that are to have a vote: of those that there are, who has one, and who was added and has come.
    pub fn voters_wanted(&self) -> BTreeSet<SeedId> {
        let wanted = self.seeds.iter().filter(|(id, seed)| seed.directory_id.is_some() || self.votes(**id));
        wanted.map(|(id, _)| *id).collect()
    }

    /// The sets of seeds whose votes count.
    pub fn seed_sets(&self) -> &[BTreeSet<SeedId>] {
        &self.seed_sets
    }

    /// A member; or one that is admitted somewhere and not yet here: a seed that has just started knows of nobody.
    pub fn may_be_member(&self, id: MemberId) -> bool {
        self.member(id).is_some() || id.incarnation.0 > self.applied
    }

    /// Whose links are of interest: a member's; or those of one who is admitted somewhere and not yet here, unless its
    /// address is another's as far as is known here.
    pub fn may_tell_of_links(&self, id: MemberId) -> bool {
        match self.at(id.address) {
            Some(member) => member.id == id,
            None => self.may_be_member(id),
        }
    }

    /// The seeds that have a vote, each once.
    pub fn voters(&self) -> Vec<SeedId> {
        let voters: BTreeSet<SeedId> = self.seed_sets.iter().flatten().copied().collect();
        voters.into_iter().collect()
    }

    /// The member that `id` names, if that life is still in it.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.at(id.address).filter(|m| m.id == id)
    }

    /// The member at `address`.
    pub fn at(&self, address: Address) -> Option<&Member> {
        self.members.get(&address).map(AsRef::as_ref)
    }

    /// All members, by address.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// The view.
    pub fn view(&self) -> View {
        View::new(self.epoch, self.members.values().cloned())
    }

    /// Whether that life was a member and is one no longer; never true of programs without lives.
    pub fn is_ended(&self, address: Address, life: Life) -> bool {
        life != Life::NONE && self.ended_index.contains(&(address, life))
    }

    /// The last lives that ended, oldest first.
    pub fn ended(&self) -> impl DoubleEndedIterator<Item = &Ended> {
        self.ended.iter()
    }

    /// The last deaths, oldest first.
    pub fn deaths(&self) -> impl DoubleEndedIterator<Item = &Death> {
        self.deaths.iter()
    }
}

/// The id of the seed that the entry at `index` adds.
pub(super) fn added_seed(index: u64) -> SeedId {
    SeedId(ADDED_SEEDS_FROM + index)
}

fn refused(why: Why, detail: &str) -> Applied {
    Applied::Refused(Refusal::new(why, detail))
}

#[cfg(test)]
mod tests;
