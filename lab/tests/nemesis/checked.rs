//! What the checker finds, and what it lets pass: histories that were made to be found, and drawn ones whose verdict is
//! known from trying every order.

use std::collections::BTreeSet;
use std::sync::Arc;

use coterie_common::message::Roster;
use coterie_common::{Address, Epoch, Incarnation, Life, Member, MemberId, Tags, Why, Wire};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checker::{Problem, Step, check};
use super::history::{Answer, Call, History};
use super::key::{Key, Op};

const A: Life = Life(1);
const B: Life = Life(2);

fn join(life: Life, incarnation: u64) -> Op {
    Op::Join(life, Incarnation(incarnation))
}

fn leave(life: Life, incarnation: u64) -> Op {
    Op::Leave(life, Incarnation(incarnation))
}

fn bury(life: Life, incarnation: u64) -> Op {
    Op::Bury(life, Incarnation(incarnation))
}

fn sees(life: Life, incarnation: u64) -> Op {
    Op::Read(Some((life, Incarnation(incarnation))))
}

const SEES_NOBODY: Op = Op::Read(None);

/// Operations one after the other, each answered before the next begins; a removal is never answered.
fn in_sequence(ops: &[Op]) -> Vec<Step> {
    let steps = ops.iter().enumerate().flat_map(|(number, op)| {
        let is_answered = !matches!(op, Op::Bury(..));
        let call = Step::Call { number, op: op.clone(), is_answered };
        [call].into_iter().chain(is_answered.then_some(Step::Return { number }))
    });
    steps.collect()
}

/// The number of the operation that the checker finds impossible.
fn found(history: &[Step]) -> Option<usize> {
    match check(history) {
        Ok(()) => None,
        Err(Problem::Impossible { number, .. }) => Some(number),
        Err(Problem::Undecided { at, why }) => panic!("undecided at {at}: {why}"),
    }
}

#[test]
fn what_a_registry_does_passes() {
    let story =
        [SEES_NOBODY, join(A, 5), sees(A, 5), join(A, 5), leave(A, 5), SEES_NOBODY, join(B, 9), sees(B, 9)];
    assert_eq!(check(&in_sequence(&story)), Ok(()));
    let death = [join(A, 5), bury(A, 5), sees(A, 5), SEES_NOBODY, join(B, 9), sees(B, 9)];
    assert_eq!(check(&in_sequence(&death)), Ok(()));
    let replaced = [join(A, 5), bury(A, 5), join(B, 9), sees(B, 9)];
    assert_eq!(check(&in_sequence(&replaced)), Ok(()));
}

#[test]
fn a_lost_acknowledgement_is_found() {
    assert_eq!(found(&in_sequence(&[join(A, 5), SEES_NOBODY])), Some(1));
}

#[test]
fn a_departure_that_is_undone_is_found() {
    assert_eq!(found(&in_sequence(&[join(A, 5), leave(A, 5), sees(A, 5)])), Some(2));
}

#[test]
fn a_stale_read_is_found() {
    assert_eq!(found(&in_sequence(&[join(A, 5), join(B, 9), sees(B, 9), sees(A, 5)])), Some(3));
}

#[test]
fn the_removal_of_the_living_is_found() {
    // It is back later, so nothing was lost: but for a while somebody who lived was not there.
    assert_eq!(found(&in_sequence(&[join(A, 5), sees(A, 5), SEES_NOBODY, sees(A, 5)])), Some(2));
}

#[test]
fn a_life_that_comes_back_is_found() {
    let back = [join(A, 5), bury(A, 5), SEES_NOBODY, sees(A, 5)];
    assert_eq!(found(&in_sequence(&back)), Some(3));
    let admitted_again = [join(A, 5), leave(A, 5), join(A, 5)];
    assert_eq!(found(&in_sequence(&admitted_again)), Some(2));
}

#[test]
fn incarnations_that_go_back_are_found() {
    assert_eq!(found(&in_sequence(&[join(A, 9), join(B, 5)])), Some(1));
}

#[test]
fn of_two_reads_during_one_admission_the_later_may_not_see_less() {
    let call = |number, op| Step::Call { number, op, is_answered: true };
    let during = |first: Op, second: Op| {
        vec![
            call(0, join(A, 5)),
            call(1, first),
            Step::Return { number: 1 },
            call(2, second),
            Step::Return { number: 2 },
            Step::Return { number: 0 },
        ]
    };
    assert_eq!(found(&during(SEES_NOBODY, sees(A, 5))), None);
    assert_eq!(found(&during(sees(A, 5), SEES_NOBODY)), Some(2));
}

#[test]
fn what_was_never_answered_may_have_happened_at_any_time_or_never() {
    let unanswered = |number, op| Step::Call { number, op, is_answered: false };
    let read = |number, op| [Step::Call { number, op, is_answered: true }, Step::Return { number }];
    let after_it = |reads: &[Op]| {
        let mut history = vec![unanswered(0, join(A, 5))];
        history.extend(reads.iter().enumerate().flat_map(|(i, op)| read(i + 1, op.clone())));
        found(&history)
    };
    assert_eq!(after_it(&[SEES_NOBODY, SEES_NOBODY]), None);
    assert_eq!(after_it(&[SEES_NOBODY, sees(A, 5)]), None);
    assert_eq!(after_it(&[sees(A, 5), SEES_NOBODY]), Some(2));
}

#[test]
fn more_open_operations_than_can_be_kept_are_no_verdict() {
    let open =
        (0..200).map(|number| Step::Call { number, op: bury(A, 1_000 + number as u64), is_answered: false });
    assert!(matches!(check(&open.collect::<Vec<_>>()), Err(Problem::Undecided { .. })));
}

// ---- whole histories ----

/// The view of `epoch`, in which `lives` are the incarnations of one address each.
fn roster(epoch: u64, lives: &[(u16, Life, u64)]) -> Roster {
    let member = |(port, life, incarnation): &(u16, Life, u64)| {
        let id = MemberId { address: address(*port), incarnation: Incarnation(*incarnation) };
        (Arc::new(Member { id, life: *life, wire: Wire::Native, tags: Tags::new() }), 0)
    };
    Roster { epoch: Epoch(epoch), members: lives.iter().map(member).collect() }
}

fn address(port: u16) -> Address {
    Address::new([127, 0, 0, 1].into(), port)
}

fn read(history: &History, is_linearizable: bool, found: Roster) {
    let number = history.call("seed", Call::Read { is_linearizable });
    history.answer(number, Answer::Members(found));
}

#[test]
fn a_latest_view_older_than_what_was_known_is_found() {
    let history = History::new();
    read(&history, true, roster(7, &[(1, A, 7)]));
    read(&history, false, roster(5, &[]));
    assert_eq!(history.check_epochs(), Ok(()), "who did not ask for the latest may get an older one");
    read(&history, true, roster(5, &[]));
    assert!(history.check_epochs().unwrap_err().contains("epoch 5, and 7 was known"));
}

#[test]
fn two_views_of_one_epoch_are_found() {
    let history = History::new();
    read(&history, false, roster(7, &[(1, A, 7)]));
    read(&history, false, roster(7, &[(1, A, 7)]));
    assert_eq!(history.check_epochs(), Ok(()));
    read(&history, false, roster(7, &[(1, A, 7), (2, B, 6)]));
    assert!(history.check_epochs().unwrap_err().contains("epoch 7 is"));
}

#[test]
fn who_is_told_that_it_has_ended_while_it_lives_is_found() {
    let history = History::new();
    let (address, life) = (address(1), A);
    let registering = history.call("seed", Call::Register { address, life });
    history.call("", Call::End { address, life });
    history.answer(registering, Answer::Ended);
    assert_eq!(history.check_endings(), Ok(()), "it had ended by then");
    let history = History::new();
    let leave = Call::Leave { id: MemberId { address, incarnation: Incarnation(5) }, life };
    let leaving = history.call("seed", leave);
    history.answer(leaving, Answer::Ended);
    assert!(history.check_endings().unwrap_err().contains("life 1 at 127.0.0.1:1 was alive"));
}

#[test]
fn a_life_with_two_incarnations_is_found() {
    let history = History::new();
    read(&history, false, roster(7, &[(1, A, 7)]));
    read(&history, false, roster(9, &[(1, A, 9)]));
    assert!(history.keys().unwrap_err().contains("was 7 and 9"));
}

#[test]
fn calls_without_an_answer_are_open_and_refused_ones_are_not_there() {
    let history = History::new();
    let (key, life) = (address(1), A);
    let open = history.call("seed", Call::Register { address: key, life });
    history.answer(open, Answer::Unknown("no answer".to_owned()));
    let refused = history.call("seed", Call::Register { address: key, life });
    history.answer(refused, Answer::Refused(Why::NotAnswering.into()));
    read(&history, true, roster(7, &[(1, A, 7)]));
    let steps = &history.keys().unwrap()[&key];
    let join = Step::Call { number: open, op: join(A, 7), is_answered: false };
    assert_eq!((steps.len(), &steps[0]), (3, &join), "one open call, one read");
    assert_eq!(check(steps), Ok(()));
}

// ---- beside trying every order ----

/// Whether some order of the operations explains the history: all of them are tried.
fn every_order(history: &[Step]) -> bool {
    struct Call<'a> {
        at: usize,
        end: usize,
        op: &'a Op,
        is_answered: bool,
    }
    let mut calls: Vec<Call<'_>> = Vec::new();
    for (at, step) in history.iter().enumerate() {
        match step {
            Step::Call { op, is_answered, .. } => {
                calls.push(Call { at, end: usize::MAX, op, is_answered: *is_answered });
            }
            // Operations are numbered in the order of their calls.
            Step::Return { number } => calls[*number].end = at,
        }
    }
    fn go_on(calls: &[Call<'_>], placed: u32, key: &Key, seen: &mut BTreeSet<(u32, Key)>) -> bool {
        let left = |i: &usize| placed & (1 << i) == 0;
        if (0..calls.len()).filter(left).all(|i| !calls[i].is_answered) {
            return true;
        }
        if !seen.insert((placed, key.clone())) {
            return false;
        }
        let soonest_end = (0..calls.len()).filter(left).map(|i| calls[i].end).min().unwrap_or(usize::MAX);
        (0..calls.len())
            .filter(left)
            .filter(|i| calls[*i].at < soonest_end)
            .any(|i| key.apply(calls[i].op).is_some_and(|next| go_on(calls, placed | 1 << i, &next, seen)))
    }
    go_on(&calls, 0, &Key::default(), &mut BTreeSet::new())
}

/// A history of one key as a registry might make it, in which perhaps something was changed afterwards.
fn drawn(rng: &mut StdRng) -> Vec<Step> {
    let count = rng.random_range(2..9);
    // Each operation's call, moment and answer, as places on a line.
    let spans: Vec<[u32; 3]> = (0..count)
        .map(|_| {
            let mut span = [0; 3].map(|_: u32| rng.random_range(0..1_000_000));
            span.sort_unstable();
            span
        })
        .collect();
    let mut by_moment: Vec<usize> = (0..count).collect();
    by_moment.sort_by_key(|i| spans[*i][1]);
    let mut key = Key::default();
    let mut ops = vec![SEES_NOBODY; count];
    let mut answered = vec![true; count];
    for (step, i) in by_moment.into_iter().enumerate() {
        let life = Life(rng.random_range(1..5));
        let fresh = join(Life(10 + step as u64), 1 + step as u64);
        let op = match (rng.random_range(0..10), key.present) {
            (0..4, Some(life)) => sees(life, key.newest.0),
            (4, Some(life)) => join(life, key.newest.0),
            (5..7, Some(life)) => leave(life, key.newest.0),
            (7, Some(life)) => bury(life, key.newest.0),
            (0..5, None) => SEES_NOBODY,
            (9, _) => join(life, 1 + step as u64),
            _ => fresh,
        };
        match key.apply(&op) {
            Some(next) => key = next,
            None => answered[i] = false,
        }
        answered[i] &= !matches!(op, Op::Bury(..)) && rng.random_range(0..6) > 0;
        ops[i] = op;
    }
    if rng.random_range(0..2) == 0 {
        let changed = rng.random_range(0..count);
        let other = ops[rng.random_range(0..count)].clone();
        ops[changed] = match rng.random_range(0..3) {
            0 => SEES_NOBODY,
            1 => sees(Life(10), 1),
            _ => other,
        };
    }
    let mut places: Vec<(u32, usize, bool)> = Vec::new();
    for (i, [call, _, end]) in spans.iter().enumerate() {
        places.push((*call, i, true));
        if answered[i] {
            places.push((*end, i, false));
        }
    }
    places.sort_unstable_by_key(|(at, i, is_call)| (*at, *i, !is_call));
    let mut numbers = vec![0; count];
    let mut next = 0;
    let steps = places.into_iter().map(|(_, i, is_call)| {
        if !is_call {
            return Step::Return { number: numbers[i] };
        }
        numbers[i] = next;
        next += 1;
        Step::Call { number: numbers[i], op: ops[i].clone(), is_answered: answered[i] }
    });
    steps.collect()
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let mut verdicts = [0; 2];
    for number in 0..20_000 {
        let history = drawn(&mut StdRng::seed_from_u64(number));
        let expected = every_order(&history);
        let is_linearizable = found(&history).is_none();
        assert_eq!(is_linearizable, expected, "history {number}: {history:#?}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 2_000), "both verdicts come often: {verdicts:?}");
}
