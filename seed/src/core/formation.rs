//! Whether a seed without a history may begin, and with whom.
//!
//! A voter that forgets what it acknowledged breaks consensus, so an empty directory is not enough to take part:
//! it may belong to a seed that lost its disk. A seed whose log has no Found asks the others first. The answer
//! follows from what their logs tell of this seed's directory id, the number drawn when its directory was made.
//!
//! The directory id is that of Kafka's KIP-853. Nobody has to say that a cluster is new, as with etcd's
//! `initial-cluster-state`: it follows from what the others answer, so nobody can say it wrongly.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::majority;
use coterie_common::message::{ClusterId, History, Seat, SeedHello, SeedId};

use super::entry::{Body, Entry};
use super::registry::{Registry, added_seed};

/// What a seed without a history should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The log of a cluster has this seat with this very directory id: take part.
    GoOn(Founding),
    /// Every seed of the list has answered and is as empty as this one: begin a cluster. All that begin it give it the
    /// same name: one that leads first and dies with its Found on its own disk alone is no stranger afterwards.
    Form(Founding),
    /// A cluster keeps this seat for this address: take it, and wait until the leader has recorded it.
    Take(SeedId),
    /// A cluster has another directory of this seed in its log: this one is not it. It stops: the operator gives the
    /// seat to another directory.
    Lost(ClusterId),
    /// Wait until enough of these seeds have answered; or, where none is named, for a leader to record this seed's
    /// directory id.
    Wait(Vec<SeedId>),
    /// A cluster has a history without this seed. It waits until the operator adds it.
    Stranger(ClusterId),
}

/// Who begins a cluster. It is recorded by whoever leads first, and again if that is lost: a directory that took part
/// keeps its seat, also where it is away when the founding is put into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The name of the cluster.
    pub cluster: ClusterId,
    /// The directory of each seat, as far as it is known. Who was left out, or comes later, has none yet.
    pub directories: BTreeMap<SeedId, u64>,
}

impl Founding {
    /// That which a log tells of.
    pub fn of(history: &History) -> Self {
        let directory = |(id, seat): (&SeedId, &Seat)| Some((*id, seat.directory_id?));
        Founding {
            cluster: history.cluster,
            directories: history.seats.iter().filter_map(directory).collect(),
        }
    }
}

/// What an operator says of seeds that will never come: the cluster begins without them.
///
/// For these very directories alone. Left in a unit file, it would make a second history when disks are lost again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiver {
    /// Whom nobody is to wait for.
    pub without: BTreeSet<SeedId>,
    /// The directories of all that begin.
    pub directories: BTreeSet<u64>,
}

/// Decides for the seed `me` at `address`, whose directory has the number `directory id`, among so many `seeds`, from
/// what those others that are connected said last, and what the operator said of those that are not.
///
/// Asked again whenever another seed has said something new or could not be reached, until the log has begun. The
/// answers are looked for in the order of their certainty: what a log says of this very directory is beyond doubt; that
/// there is no cluster yet is never certain, and comes last.
pub fn decide(
    (me, address, directory_id): (SeedId, &str, u64),
    seeds: &[SeedId],
    others: &BTreeMap<SeedId, SeedHello>,
    waiver: &Waiver,
) -> Decision {
    let histories = || others.values().filter_map(|hello| hello.history.as_ref());
    // Where one history has a seat and another has its holder removed, the latter is the newer. That of another cluster
    // tells nothing of this one: its ids are those of other seeds.
    let is_removed = |of: ClusterId, id: SeedId| {
        histories().any(|history| history.cluster == of && history.removed.contains_key(&id))
    };
    let seats = || {
        let seat = |history| History::seat_at(history, address).map(|(id, seat)| (history, id, seat));
        histories().filter_map(seat).filter(|(history, id, _)| !is_removed(history.cluster, *id))
    };
    let is_own =
        |(_, id, seat): &(&History, SeedId, &Seat)| *id == me && seat.directory_id == Some(directory_id);
    if let Some((history, ..)) = seats().find(is_own) {
        return Decision::GoOn(Founding::of(history));
    }
    // Whoever tells of a seat that is free knows more than one who tells of its last holder.
    if let Some((history, id, _)) =
        seats().find(|(_, _, seat)| seat.directory_id.is_none_or(|known| known == directory_id))
    {
        // The seed whose log has the entry that was not committed will soon have the other one, and tell of that.
        let must_wait = id == me || is_contested((history.cluster, id), address, others);
        return if must_wait { Decision::Wait(Vec::new()) } else { Decision::Take(id) };
    }
    // Each cluster that has another directory here is judged by what its own seeds tell; one that is sure is enough.
    let doubt_of = |cluster: ClusterId| {
        let mut told = seats().filter(|(history, ..)| history.cluster == cluster);
        told.find_map(|(history, holder, _)| unheard(history, holder, others))
    };
    let held_in: BTreeSet<ClusterId> = seats().map(|(history, ..)| history.cluster).collect();
    if let Some(sure) = held_in.iter().find(|cluster| doubt_of(**cluster).is_none()) {
        return Decision::Lost(*sure);
    }
    if let Some(unheard) = held_in.into_iter().find_map(doubt_of) {
        return Decision::Wait(unheard);
    }
    // There is a cluster, and no seat of it at this address. To begin another beside it is the last that anybody wants.
    if let Some(history) = histories().next() {
        return Decision::Stranger(history.cluster);
    }
    // A cluster that grew has its history in a majority of its seeds, which need not be one of this list, nor hold any
    // majority of it. So whoever is silent may hold what would be begun a second time.
    let is_heard = |seed: &SeedId| *seed == me || others.contains_key(seed);
    let missing: Vec<SeedId> = seeds.iter().copied().filter(|seed| !is_heard(seed)).collect();
    let heard =
        || seeds.iter().filter(|seed| **seed != me).filter_map(|seed| Some((*seed, others.get(seed)?)));
    let names = heard().map(|(_, hello)| (hello.address.as_str(), hello.directory_id));
    let founders: BTreeMap<&str, u64> = names.chain([(address, directory_id)]).collect();
    let is_waived = missing.iter().all(|seed| waiver.without.contains(seed))
        && founders.values().copied().collect::<BTreeSet<_>>() == waiver.directories;
    match missing.is_empty() || is_waived {
        true => {
            let seats = heard().map(|(seed, hello)| (seed, hello.directory_id));
            let directories = seats.chain([(me, directory_id)]).collect();
            Decision::Form(Founding { cluster: ClusterId::of(&founders), directories })
        }
        false => Decision::Wait(missing),
    }
}

/// Whether that seat is another address's, too, by what somebody tells: two entries of one index gave it to both, of
/// which at most one is committed.
fn is_contested((of, id): (ClusterId, SeedId), address: &str, others: &BTreeMap<SeedId, SeedHello>) -> bool {
    let histories = others.values().filter_map(|hello| hello.history.as_ref());
    let seats =
        histories.filter(|history| history.cluster == of).filter_map(|history| history.seats.get(&id));
    seats.into_iter().any(|seat| seat.address != address)
}

/// Who might still tell of a change of `holder`'s seat; nothing, once it is certain that there was none. What was
/// decided is in the logs of a majority of those who have logs at all: of any majority of them one tells of it.
fn unheard(history: &History, holder: SeedId, others: &BTreeMap<SeedId, SeedHello>) -> Option<Vec<SeedId>> {
    let born = history.seats.iter().filter(|(_, seat)| seat.directory_id.is_some()).map(|(id, _)| *id);
    let rest: Vec<SeedId> = born.filter(|id| *id != holder).collect();
    // A change of the holder's seat was committed by a majority of those that have logs: of `rest` and the holder,
    // hence + 1. The holder itself cannot be asked: it is the one in doubt. With one other left a majority of two is
    // two, more than can be asked, hence the minimum: then all of `rest` must have spoken.
    // Who is of another cluster stands in the place of one that is still to come.
    let is_own = |hello: &&SeedHello| hello.cluster().is_none_or(|theirs| theirs == history.cluster);
    let own = |id: &SeedId| others.get(id).filter(is_own);
    let tells = |id: &SeedId| own(id).is_some_and(|hello| hello.history.is_some());
    let (heard, missing): (Vec<SeedId>, Vec<SeedId>) = rest.iter().copied().partition(tells);
    let enough = majority(rest.len() + 1).min(rest.len());
    let are_all_there = rest.iter().all(|id| own(id).is_some());
    (heard.len() < enough && !are_all_there).then_some(missing)
}

/// What an entry, applied or not, tells of the cluster and its seeds. Called by the store for each entry in the order
/// of the log. It tells of entries before they are committed, for a seed that asks wants to hear of a change that this
/// one cannot know to be decided yet.
pub fn note_entry(history: &mut Option<History>, index: u64, entry: &Entry) {
    match (&entry.body, history) {
        (Body::Found { cluster, seeds }, history @ None) => {
            let seat = |record: &super::entry::SeedRecord| Seat {
                address: record.address.clone(),
                directory_id: record.directory_id,
            };
            let seats = seeds.iter().map(|(id, record)| (*id, seat(record))).collect();
            *history = Some(History {
                cluster: *cluster,
                seats,
                removed: BTreeMap::new(),
                predecessors: Vec::new(),
            });
        }
        (Body::SeedDirectory { seed, directory_id }, Some(history)) => {
            if let Some(seat) = history.seats.get_mut(seed) {
                // The first stays, as in the registry.
                seat.directory_id.get_or_insert(*directory_id);
            }
        }
        (Body::SeedAdd { address, replaces }, Some(history)) => {
            if let Some(old) = replaces {
                unseat(history, *old);
            }
            history.seats.insert(added_seed(index), Seat { address: address.clone(), directory_id: None });
        }
        (Body::SeedRemove(seed), Some(history)) => {
            unseat(history, *seed);
        }
        // What speaks of members tells nothing of seeds; the rest the registry refuses, too.
        (Body::Found { .. }, Some(_))
        | (Body::SeedDirectory { .. } | Body::SeedAdd { .. } | Body::SeedRemove(_), None)
        | (Body::Join { .. } | Body::Leave(_) | Body::Deaths(_), _) => {}
    }
}

/// Its directory id stays known: until the log's own entry takes its vote, it is still sent the log.
fn unseat(history: &mut History, seed: SeedId) {
    if let Some(seat) = history.seats.remove(&seed) {
        history.removed.insert(seed, seat.directory_id);
    }
}

/// What a registry tells of the cluster and its seeds. For a snapshot, whose entries are not there to be noted. None
/// before the founding.
pub fn history_of(registry: &Registry) -> Option<History> {
    let seat = |seed: &super::entry::SeedRecord| Seat {
        address: seed.address.clone(),
        directory_id: seed.directory_id,
    };
    Some(History {
        cluster: registry.cluster()?,
        seats: registry.seeds().iter().map(|(id, seed)| (*id, seat(seed))).collect(),
        removed: registry.removed_seeds().clone(),
        predecessors: registry.predecessors().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use coterie_common::message::DirectoryState;

    use super::*;

    fn name(id: u64) -> String {
        format!("s{id}:1")
    }

    /// A seed whose log, if it has one, tells of these seats: id, address, directory id.
    fn hello(id: u64, seats: Option<&[(u64, u64, Option<u64>)]>) -> (SeedId, SeedHello) {
        let seat = |(id, at, directory_id): &(u64, u64, Option<u64>)| {
            (SeedId(*id), Seat { address: name(*at), directory_id: *directory_id })
        };
        let history = seats.map(|seats| History {
            cluster: ClusterId([1; 16]),
            seats: seats.iter().map(seat).collect(),
            removed: BTreeMap::new(),
            predecessors: Vec::new(),
        });
        let hello = SeedHello {
            version: 1,
            id: SeedId(id),
            directory_id: id,
            address: name(id),
            list: vec![],
            history,
            directory: DirectoryState::default(),
        };
        (SeedId(id), hello)
    }

    fn begun(founders: &[(u64, u64)]) -> Decision {
        let names: Vec<String> = founders.iter().map(|(id, _)| name(*id)).collect();
        let named = names.iter().zip(founders).map(|(name, (_, directory))| (name.as_str(), *directory));
        let directories = founders.iter().map(|(id, directory)| (SeedId(*id), *directory)).collect();
        Decision::Form(Founding { cluster: ClusterId::of(&named.collect()), directories })
    }

    fn goes_on(seats: &[(u64, u64, Option<u64>)]) -> Decision {
        let directory = |(id, _, directory): &(u64, u64, Option<u64>)| Some((SeedId(*id), (*directory)?));
        let directories = seats.iter().filter_map(directory).collect();
        Decision::GoOn(Founding { cluster: ClusterId([1; 16]), directories })
    }

    fn decision(others: impl IntoIterator<Item = (SeedId, SeedHello)>) -> Decision {
        decision_with(&Waiver::default(), others)
    }

    fn decision_with(waiver: &Waiver, others: impl IntoIterator<Item = (SeedId, SeedHello)>) -> Decision {
        let all = [SeedId(0), SeedId(1), SeedId(2)];
        decide((SeedId(0), &name(0), 70), &all, &others.into_iter().collect(), waiver)
    }

    #[test]
    fn a_cluster_begins_when_every_seed_of_the_list_has_answered_and_is_empty() {
        assert_eq!(decision([]), Decision::Wait(vec![SeedId(1), SeedId(2)]));
        assert_eq!(decision([hello(1, None)]), Decision::Wait(vec![SeedId(2)]));
        assert_eq!(decision([hello(1, None), hello(2, None)]), begun(&[(0, 70), (1, 1), (2, 2)]));
        let alone = decide((SeedId(0), &name(0), 70), &[SeedId(0)], &BTreeMap::new(), &Waiver::default());
        assert_eq!(alone, begun(&[(0, 70)]));
    }

    #[test]
    fn an_operator_may_have_one_begin_without_a_seed_by_these_directories_alone() {
        let waiver = |without: &[u64], directories: &[u64]| Waiver {
            without: without.iter().copied().map(SeedId).collect(),
            directories: directories.iter().copied().collect(),
        };
        let waits = Decision::Wait(vec![SeedId(2)]);
        assert_eq!(decision_with(&waiver(&[2], &[70, 1]), [hello(1, None)]), begun(&[(0, 70), (1, 1)]));
        assert_eq!(decision_with(&waiver(&[2], &[70, 9]), [hello(1, None)]), waits, "another directory");
        assert_eq!(decision_with(&waiver(&[1], &[70, 1]), [hello(1, None)]), waits, "another seed");
        let held = [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2))];
        let decided = decision_with(&waiver(&[2], &[70, 1]), [hello(1, Some(&held))]);
        assert_eq!(decided, Decision::Wait(vec![SeedId(2)]), "where there is a history, none begins");
    }

    /// One seed led first, and died when its Found was on its own disk alone; the others began under another name, and
    /// it was refused for ever.
    #[test]
    fn all_that_begin_a_cluster_give_it_the_same_name() {
        let seen_by_the_second = {
            let (mut first, third) = (hello(0, None), hello(2, None));
            first.1.directory_id = 70;
            let all = [SeedId(0), SeedId(1), SeedId(2)];
            let others = [first, third].into_iter().collect();
            decide((SeedId(1), &name(1), 1), &all, &others, &Waiver::default())
        };
        assert_eq!(decision([hello(1, None), hello(2, None)]), seen_by_the_second);
        let mut emptied = hello(2, None);
        emptied.1.directory_id = 9;
        assert_ne!(decision([hello(1, None), emptied]), seen_by_the_second, "of other directories");
    }

    #[test]
    fn a_late_seed_waits_until_its_directory_is_in_the_log() {
        let late = [(0, 0, None), (1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, Some(&late)), hello(2, None)]), Decision::Wait(vec![]));
        let recorded = [(0, 0, Some(70)), (1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, Some(&late)), hello(2, Some(&recorded))]), goes_on(&recorded));
    }

    #[test]
    fn a_seed_that_lost_its_disk_is_not_the_seed_it_was() {
        let held = [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, None), hello(2, Some(&held))]), Decision::Lost(ClusterId([1; 16])));
    }

    /// A seed was removed and added again. Of the others one had not heard of it when it answered, and answered first:
    /// the new seed took its own seat for one that it had lost, and stopped.
    #[test]
    fn one_that_may_be_behind_is_not_enough_to_have_lost_a_disk() {
        let before = [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, Some(&before))]), Decision::Wait(vec![SeedId(2)]));
        let mut after = hello(2, Some(&before[1..]));
        if let Some(history) = &mut after.1.history {
            history.removed.insert(SeedId(0), Some(69));
        }
        let decided = decision([hello(1, Some(&before)), after]);
        assert_eq!(decided, Decision::Stranger(ClusterId([1; 16])), "until it is told that it was added");
    }

    /// The cluster has grown since its list was written. A seat that nobody has taken yet has nothing to tell.
    #[test]
    fn of_seeds_that_it_has_not_heard_of_it_waits_for_those_that_have_a_log() {
        let grown =
            [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2)), (1_009, 9, Some(9)), (1_011, 11, None)];
        let heard = [hello(1, Some(&grown)), hello(2, Some(&grown))];
        assert_eq!(decision(heard.clone()), Decision::Wait(vec![SeedId(1_009)]));
        let all = heard.into_iter().chain([hello(1_009, Some(&grown))]);
        assert_eq!(decision(all), Decision::Lost(ClusterId([1; 16])));
    }

    /// A list names seeds of two clusters, or another cluster's seed stands at the address of one of this.
    #[test]
    fn what_another_cluster_tells_counts_for_that_cluster_alone() {
        let seats = [(0, 0, Some(70)), (1, 1, Some(1)), (2, 2, Some(2))];
        let of_another = |id, seats: &[(u64, u64, Option<u64>)], removed: &[u64]| {
            let mut said = hello(id, Some(seats));
            if let Some(history) = &mut said.1.history {
                history.cluster = ClusterId([2; 16]);
                history.removed = removed.iter().map(|id| (SeedId(*id), None)).collect();
            }
            said
        };
        let elsewhere = of_another(2, &[(2, 2, Some(9)), (5, 5, Some(5))], &[0]);
        let decided = decision([hello(1, Some(&seats)), elsewhere]);
        assert_eq!(decided, goes_on(&seats), "another seed 0 was removed there");
        let held = [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2))];
        let elsewhere = of_another(2, &[(0, 0, Some(90)), (1, 1, Some(91)), (2, 2, Some(92))], &[]);
        let decided = decision([hello(1, Some(&held)), elsewhere.clone()]);
        assert_eq!(decided, Decision::Wait(vec![SeedId(2)]), "seed 2 of its own cluster was not heard");
        let grown = [&held[..], &[(3, 3, Some(3)), (4, 4, Some(4))]].concat();
        let own = [1, 3, 4].map(|id| hello(id, Some(&grown)));
        let decided = decision(own.into_iter().chain([elsewhere.clone()]));
        assert_eq!(decided, Decision::Lost(ClusterId([1; 16])), "its own cluster is sure, the other is not");
        let kept = [(1_007, 0, None), (1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, Some(&kept)), elsewhere]), Decision::Take(SeedId(1_007)));
        let neither = of_another(2, &[(2, 2, Some(92))], &[]);
        assert_eq!(decision([neither]), Decision::Stranger(ClusterId([2; 16])), "it begins no third one");
    }

    #[test]
    fn a_seed_that_was_replaced_takes_the_seat_that_is_kept_for_its_address() {
        let before = [(0, 0, Some(69)), (1, 1, Some(1)), (2, 2, Some(2))];
        let after = [(1_007, 0, None), (1, 1, Some(1)), (2, 2, Some(2))];
        let decided = decision([hello(1, Some(&before)), hello(2, Some(&after))]);
        assert_eq!(decided, Decision::Take(SeedId(1_007)));
    }

    /// The leader of two additions died before they were committed, and the next one made them in another order.
    #[test]
    fn a_seat_that_two_addresses_have_is_taken_by_neither() {
        let held = [(1, 1, Some(1)), (2, 2, Some(2))];
        let committed = [&held[..], &[(1_007, 0, None), (1_008, 9, None)]].concat();
        let taken_back = [&held[..], &[(1_007, 9, None), (1_008, 0, None)]].concat();
        assert_eq!(decision([hello(1, Some(&committed))]), Decision::Take(SeedId(1_007)));
        let told = [hello(1, Some(&taken_back)), hello(2, Some(&committed))];
        assert_eq!(decision(told), Decision::Wait(vec![]), "until the first has heard of the second");
    }

    #[test]
    fn a_seed_of_which_no_history_tells_is_a_stranger_until_it_is_added() {
        let without = [(1, 1, Some(1)), (2, 2, Some(2))];
        assert_eq!(decision([hello(1, Some(&without))]), Decision::Stranger(ClusterId([1; 16])));
    }
}
