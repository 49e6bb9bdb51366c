//! Whom a peer asks, and in which order.

use super::*;
use coterie_common::Address;

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

/// Five seeds, nothing open; the context is that of a step at the start.
fn five_seeds() -> (SeedSessions, Context) {
    let seeds = (1..=5).map(|n| format!("10.0.0.{n}:1")).collect();
    let config = Config { seeds, ..Config::default() };
    let mut cx = Context::new(Address::new([127, 0, 0, 1].into(), 1), config.clone(), [1; 32]);
    let sessions = SeedSessions::new(&config, &mut cx.rng);
    (sessions, cx)
}

/// What falls due at that moment.
fn settle(sessions: &mut SeedSessions, cx: &mut Context, ms: u64) -> Vec<Effect> {
    cx.begin(at(ms));
    sessions.settle(cx);
    cx.take_effects()
}

fn opened(effects: &[Effect]) -> Vec<SeedSlot> {
    let seed = |effect: &Effect| match effect {
        Effect::OpenSession { seed, .. } => Some(*seed),
        _ => None,
    };
    effects.iter().filter_map(seed).collect()
}

#[test]
fn a_majority_of_the_seeds_is_opened_and_a_lost_one_replaced_by_another() {
    let (mut sessions, mut cx) = five_seeds();
    let first = opened(&settle(&mut sessions, &mut cx, 0));
    assert_eq!(first.len(), 3);
    sessions.lost(&mut cx, first[0], "is gone".to_owned());
    let next = opened(&settle(&mut sessions, &mut cx, 1));
    assert!(next.len() == 1 && next[0] != first[0], "{next:?}");
}

#[test]
fn a_registration_is_asked_of_one_seed_and_passes_to_another_when_it_goes_down() {
    let (mut sessions, mut cx) = five_seeds();
    let cluster = ClusterId([1; 16]);
    for seed in opened(&settle(&mut sessions, &mut cx, 0)) {
        sessions.opened(&cx, seed);
        assert_eq!(sessions.registration_due(&cx, None), None, "of which cluster is it?");
        assert!(!sessions.greeted_by(&mut cx, None, seed, (cluster, false)));
    }
    let first = sessions.registration_due(&cx, None).unwrap();
    assert_eq!(sessions.registration_due(&cx, None), None);
    sessions.lost(&mut cx, first, "is gone".to_owned());
    assert_eq!(sessions.registration_due(&cx, None), None, "two of five are no majority of the list");
    for seed in opened(&settle(&mut sessions, &mut cx, 1)) {
        sessions.opened(&cx, seed);
        assert!(!sessions.greeted_by(&mut cx, None, seed, (cluster, false)));
    }
    let second = sessions.registration_due(&cx, None).unwrap();
    assert_ne!(first, second);
    assert!(sessions.registration_answered(second) && !sessions.registration_answered(second));
}

#[test]
fn a_seed_that_was_removed_gives_its_session_to_one_that_was_added() {
    let (mut sessions, mut cx) = five_seeds();
    let first = opened(&settle(&mut sessions, &mut cx, 0));
    first.iter().for_each(|seed| sessions.opened(&cx, *seed));
    let mut list: Vec<String> = sessions.slots.names.clone();
    list.push("10.0.0.6:1".to_owned());
    sessions.follow_list(&mut cx, 7, &list);
    cx.take_effects();
    assert_eq!((sessions.quorum(), opened(&settle(&mut sessions, &mut cx, 1)).len()), (4, 1));
    list.retain(|name| name != sessions.name_of(first[0]));
    sessions.follow_list(&mut cx, 8, &list);
    assert!(cx.take_effects().contains(&Effect::CloseSession(first[0])));
    assert_eq!(sessions.quorum(), 3);
    assert!(!opened(&settle(&mut sessions, &mut cx, 10_000)).contains(&first[0]));
    sessions.follow_list(&mut cx, 7, &[]);
    assert_eq!(sessions.quorum(), 3, "an older list counts no longer");
}

/// A list that was in force for a moment only: all that it names are gone, and who could tell of it is none of them.
#[test]
fn former_seeds_are_asked_while_none_of_those_in_force_answers() {
    let (mut sessions, mut cx) = five_seeds();
    let first = opened(&settle(&mut sessions, &mut cx, 0));
    first.iter().for_each(|seed| sessions.opened(&cx, *seed));
    let (former, in_force) = (first[0], [first[1], first[2]]);
    let list: Vec<String> = in_force.iter().map(|seed| sessions.name_of(*seed).to_owned()).collect();
    sessions.follow_list(&mut cx, 7, &list);
    cx.take_effects();
    in_force.iter().for_each(|seed| sessions.heard(&cx, *seed));
    sessions.lost(&mut cx, in_force[0], "is gone".to_owned());
    let while_one_answers = opened(&settle(&mut sessions, &mut cx, 60_000));
    assert_eq!(while_one_answers, [in_force[0]]);
    sessions.lost(&mut cx, in_force[0], "is gone".to_owned());
    sessions.lost(&mut cx, in_force[1], "is gone".to_owned());
    // Two are wanted, those in force first; as they fail again, the others take their turns.
    let mut asked = Vec::new();
    for seconds in 61..70 {
        for seed in opened(&settle(&mut sessions, &mut cx, seconds * 1_000)) {
            asked.push(seed);
            sessions.lost(&mut cx, seed, "is gone".to_owned());
        }
    }
    assert_eq!(asked[..2].iter().filter(|seed| in_force.contains(seed)).count(), 2, "{asked:?}");
    assert!(asked.contains(&former), "{asked:?}");
    sessions.opened(&cx, former);
    sessions.opened(&cx, in_force[0]);
    sessions.heard(&cx, in_force[0]);
    let effects = settle(&mut sessions, &mut cx, 71_000);
    assert!(effects.contains(&Effect::CloseSession(former)), "its work is done: {effects:?}");
}

#[test]
fn a_quiet_session_is_pinged_and_a_silent_one_closed() {
    let (mut sessions, mut cx) = five_seeds();
    let seed = opened(&settle(&mut sessions, &mut cx, 0))[0];
    sessions.opened(&cx, seed);
    assert!(!sessions.greeted_by(&mut cx, None, seed, (ClusterId([1; 16]), false)));
    let ping = Effect::Tell { seed, message: Message::Ping { nonce: 1 } };
    assert_eq!(settle(&mut sessions, &mut cx, 1), std::slice::from_ref(&ping), "at once");
    assert_eq!(settle(&mut sessions, &mut cx, 1000), []);
    assert_eq!(settle(&mut sessions, &mut cx, 1001), std::slice::from_ref(&ping));
    sessions.tell(&mut cx, seed, Message::Ping { nonce: 7 });
    let told = cx.take_effects();
    assert_eq!(told.len(), 1);
    assert_eq!(settle(&mut sessions, &mut cx, 2001), [ping], "whatever else is said");
    let closed = settle(&mut sessions, &mut cx, 3000);
    assert!(closed.contains(&Effect::CloseSession(seed)), "{closed:?}");
}

/// None of the seeds in force is of the new cluster, but those of the peer's own list are: it follows them.
#[test]
fn a_peer_follows_its_own_list_where_those_in_force_are_away() {
    let (mut sessions, mut cx) = five_seeds();
    let (own, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
    sessions.follow_list(&mut cx, 9, &["10.0.9.1:1".to_owned()]);
    for place in 0..3 {
        sessions.opened(&cx, SeedSlot(place));
        assert!(sessions.greeted_by(&mut cx, Some(own), SeedSlot(place), (other, false)));
    }
    let followed = sessions.to_follow(at(60_000), own);
    assert!(followed.is_none(), "what was said long ago");
    let told = cx.take_effects();
    assert!(!told.is_empty(), "the list and each seed are told of");
    cx.begin(at(60_000));
    for place in 0..3 {
        assert!(sessions.greeted_by(&mut cx, Some(own), SeedSlot(place), (other, false)));
    }
    assert_eq!(sessions.to_follow(at(60_000), own).map(|followed| followed.cluster), Some(other));
}
