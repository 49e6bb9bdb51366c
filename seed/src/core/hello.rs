//! Whether a seed that says who it is can be of one cluster with this one.
//!
//! Asked at both ends of every connection between two seeds, of every hello. What follows from the hellos alone is
//! here; whether the other one runs on a copy of its directory is a question of what is remembered: see `directories`.

use coterie_common::codec::VERSION;
use coterie_common::message::{CloseReason, History, SeedHello, SeedId};

use super::registry::Registry;

/// The hello of another seed, with the id that this one knows it by; or why it is not let in.
pub fn welcome(own: &SeedHello, registry: &Registry, other: SeedHello) -> Result<SeedHello, CloseReason> {
    assert!(own.directory_id != 0, "{} has drawn a number for its directory", own.address);
    let other = seated(own.history.as_ref(), registry, other)?;
    check(own, &other).map_err(CloseReason::Refused)?;
    Ok(other)
}

/// What is said to a seed at that address, which is none any more.
pub fn parting(registry: &Registry, seed: SeedId, address: &str) -> CloseReason {
    match registry.seed_at(address) {
        Some(_) => CloseReason::Replaced(seed),
        None => CloseReason::Removed(seed),
    }
}

/// By the seat that this seed's log has for the other: one whose own log is empty does not know its id yet. Or why it
/// is none of this cluster.
fn seated(
    history: Option<&History>,
    registry: &Registry,
    mut other: SeedHello,
) -> Result<SeedHello, CloseReason> {
    let Some(history) = history else { return Ok(other) };
    if other.cluster().is_some_and(|theirs| theirs != history.cluster) {
        // Its id is one of another cluster's. `check` refuses it by both names.
        return Ok(other);
    }
    if other.history.is_none() {
        match history.seat_at(&other.address) {
            Some((id, _)) => other.id = id,
            // It was removed before it had anything of the log: it will not get any.
            None if had_seat(registry, &other) => {
                return Err(parting(registry, other.id, &other.address));
            }
            None => {
                let (cluster, address) = (history.cluster, &other.address);
                let reason =
                    format!("{address} is no seed of cluster {cluster}: run coterie seed-add {address}");
                return Err(CloseReason::Refused(reason));
            }
        }
    } else if registry.is_gone(other.id) {
        // By what is committed: an entry that is merely in the log may never be.
        return Err(parting(registry, other.id, &other.address));
    } else if let Some(seat) = registry.seeds().get(&other.id)
        && seat.address != other.address
    {
        // By what is committed, too: an entry that the next leader took back gave that seat to another address.
        let text = format!("seed {} has the address {}, not {}", other.id, seat.address, other.address);
        return Err(CloseReason::Refused(text));
    }
    Ok(other)
}

/// Whether that very directory had the seat of that id, and is none of the cluster any more.
fn had_seat(registry: &Registry, other: &SeedHello) -> bool {
    let had = registry.removed_seeds().get(&other.id).copied().flatten();
    had == Some(other.directory_id) && registry.is_gone(other.id)
}

fn check(own: &SeedHello, other: &SeedHello) -> Result<(), String> {
    if other.version != VERSION {
        return Err(format!("protocol version {}, this seed speaks {VERSION}", other.version));
    }
    if other.directory_id == 0 {
        return Err("directory 0, which stands for none".to_owned());
    }
    // Ids follow from the lists: that the lists differ is the better reason, where they do.
    match (&own.history, &other.history) {
        (Some(a), Some(b)) if a.cluster != b.cluster => {
            let (ours, theirs) = (a.cluster, b.cluster);
            let empty = "empty its directory and run coterie seed-add";
            return Err(match () {
                () if b.predecessors.contains(&ours) => {
                    format!(
                        "cluster {theirs}, which goes on for {ours} without this seed: {empty} {}",
                        own.address
                    )
                }
                () if a.predecessors.contains(&theirs) => {
                    format!(
                        "cluster {theirs}, for which {ours} goes on without {}: {empty} {0}",
                        other.address
                    )
                }
                () => format!("cluster {theirs}, this seed is of cluster {ours}"),
            });
        }
        (None, None) if own.list != other.list => {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|seed| !b.contains(seed)).cloned().collect::<Vec<_>>().join(",")
            };
            let (ours, theirs) = (only(&own.list, &other.list), only(&other.list, &own.list));
            return Err(format!(
                "seed lists differ: only here [{ours}], only at {} [{theirs}]",
                other.address
            ));
        }
        _ => {}
    }
    // Before it has a seat, a seed goes by its rank in its own list, which may be anybody's id.
    if other.id == own.id && own.history.is_some() == other.history.is_some() {
        return Err(format!("{} says that it is this seed, {}", other.address, own.address));
    }
    // Who has a history knows better than a list who the seeds are.
    match own.list.contains(&other.address) || own.history.is_some() || other.history.is_some() {
        true => Ok(()),
        false => Err(format!("{} is not in the seed list", other.address)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coterie_common::message::{ClusterId, DirectoryState, Seat};

    use super::*;
    use crate::core::entry::{Body, Entry, SeedRecord};

    fn name(id: u64) -> String {
        format!("s{id}:1")
    }

    fn cluster(number: u8) -> ClusterId {
        ClusterId([number; 16])
    }

    /// Seed `id` at the address of that number, of a cluster if one is named, which has seats for seeds 0 to 2.
    fn hello(id: u64, of: Option<u8>) -> SeedHello {
        let seat = |id: u64| (SeedId(id), Seat { address: name(id), directory_id: Some(10 + id) });
        let history = of.map(|number| History {
            cluster: cluster(number),
            seats: (0..3).map(seat).collect(),
            removed: BTreeMap::new(),
            predecessors: Vec::new(),
        });
        SeedHello {
            version: VERSION,
            id: SeedId(id),
            directory_id: 10 + id,
            address: name(id),
            list: (0..3).map(name).collect(),
            history,
            directory: DirectoryState::default(),
        }
    }

    /// What is committed about the seats that a seed tells of.
    fn registry_of(own: &SeedHello) -> Registry {
        let mut registry = Registry::default();
        if let Some(history) = &own.history {
            let record =
                |seat: &Seat| SeedRecord { address: seat.address.clone(), directory_id: seat.directory_id };
            let seeds = history.seats.iter().map(|(id, seat)| (*id, record(seat))).collect();
            registry.apply(1, &Entry::new(Body::Found { cluster: history.cluster, seeds }));
        }
        registry
    }

    /// What a seed says to another, or the id that it knows it by.
    fn said(own: &SeedHello, other: SeedHello) -> Result<u64, String> {
        let welcomed = welcome(own, &registry_of(own), other);
        welcomed.map(|hello| hello.id.0).map_err(|reason| reason.to_string())
    }

    fn refused(text: &str) -> Result<u64, String> {
        Err(format!("refused: {text}"))
    }

    #[test]
    fn seeds_of_one_cluster_and_seeds_of_one_list_let_each_other_in() {
        assert_eq!(said(&hello(0, Some(1)), hello(1, Some(1))), Ok(1));
        assert_eq!(said(&hello(0, None), hello(1, None)), Ok(1));
        assert_eq!(said(&hello(0, None), hello(1, Some(1))), Ok(1), "one that lost its directory asks");
        let by_its_list = SeedHello { id: SeedId(7), ..hello(1, None) };
        assert_eq!(said(&hello(0, Some(1)), by_its_list), Ok(1), "who has the seat is known by it");
    }

    #[test]
    fn seeds_of_two_clusters_refuse_each_other_by_both_names() {
        let text = format!("cluster {}, this seed is of cluster {}", cluster(2), cluster(1));
        assert_eq!(said(&hello(0, Some(1)), hello(1, Some(2))), refused(&text));
        let mut successor = hello(1, Some(2));
        successor.history.iter_mut().for_each(|history| history.predecessors.push(cluster(1)));
        let (old, new) = (cluster(1), cluster(2));
        let empty = "empty its directory and run coterie seed-add";
        let text = format!("cluster {new}, which goes on for {old} without this seed: {empty} s0:1");
        assert_eq!(said(&hello(0, Some(1)), successor.clone()), refused(&text));
        let text = format!("cluster {old}, for which {new} goes on without s0:1: {empty} s0:1");
        assert_eq!(said(&successor, hello(0, Some(1))), refused(&text));
    }

    #[test]
    fn who_has_no_seat_or_that_of_another_is_refused() {
        let own = hello(0, Some(1));
        let text = format!("s9:1 is no seed of cluster {}: run coterie seed-add s9:1", cluster(1));
        assert_eq!(said(&own, hello(9, None)), refused(&text));
        let moved = SeedHello { address: name(8), ..hello(1, Some(1)) };
        assert_eq!(said(&own, moved), refused("seed 1 has the address s1:1, not s8:1"));
        assert_eq!(said(&hello(0, None), hello(9, None)), refused("s9:1 is not in the seed list"));
        let twin = SeedHello { id: SeedId(0), ..hello(9, Some(1)) };
        assert_eq!(said(&own, twin), refused("seed 0 has the address s0:1, not s9:1"));
        let itself = SeedHello { id: SeedId(0), ..hello(1, None) };
        assert_eq!(said(&hello(0, None), itself), refused("s1:1 says that it is this seed, s0:1"));
    }

    /// It stood still from before the founding until after it was removed, and waited for ever to be added.
    #[test]
    fn who_was_removed_with_an_empty_log_is_told_so() {
        let own = hello(0, Some(1));
        let mut registry = registry_of(&own);
        registry.apply(2, &Entry::new(Body::SeedRemove(SeedId(2))));
        let mut history = own.history.clone();
        if let Some(history) = &mut history {
            history.seats.remove(&SeedId(2));
        }
        let own = SeedHello { history, ..own };
        let told = |other: SeedHello| welcome(&own, &registry, other).map(|hello| hello.id);
        assert_eq!(told(hello(2, None)), Err(CloseReason::Removed(SeedId(2))));
        let another = SeedHello { directory_id: 77, ..hello(2, None) };
        assert!(matches!(told(another), Err(CloseReason::Refused(_))), "another directory may be added");
    }

    /// The leader of two additions died before they were committed, and the next one made them in another order. The
    /// first one's log gave each the seat of the other, so it refused the leader of whom it would have learnt better.
    #[test]
    fn a_seat_that_is_not_committed_is_held_against_nobody() {
        let mut own = hello(0, Some(1));
        let registry = registry_of(&own);
        if let Some(history) = &mut own.history {
            history.seats.insert(SeedId(1_009), Seat { address: name(8), directory_id: None });
        }
        let added = SeedHello { id: SeedId(1_009), address: name(9), ..hello(1, Some(1)) };
        assert_eq!(welcome(&own, &registry, added.clone()), Ok(added));
    }

    #[test]
    fn lists_that_differ_are_told_by_what_only_one_has() {
        let mut other = hello(1, None);
        other.list = vec![name(0), name(1), name(4)];
        let text = "seed lists differ: only here [s2:1], only at s1:1 [s4:1]";
        assert_eq!(said(&hello(0, None), other), refused(text));
    }

    #[test]
    fn another_protocol_and_the_number_of_no_directory_are_refused() {
        let newer = SeedHello { version: VERSION + 1, ..hello(1, None) };
        let text = format!("protocol version {}, this seed speaks {VERSION}", VERSION + 1);
        assert_eq!(said(&hello(0, None), newer), refused(&text));
        let none = SeedHello { directory_id: 0, ..hello(1, None) };
        assert_eq!(said(&hello(0, None), none), refused("directory 0, which stands for none"));
    }
}
