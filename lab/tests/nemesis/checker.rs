//! Whether a history is linearizable: whether each operation can be given one moment between its call and its answer
//! such that the operations, in that order, are what one key may go through.
//!
//! The search is Wing and Gong's with what Lowe ("Testing for linearizability", 2016) adds: it goes through the history
//! once and gives an operation its moment only when an answer demands it, keeping every way to have come so far: the
//! key's state, and which of the open operations have had their moment. Three things keep those few: an operation that
//! changes nothing is given its moment as soon as it can have it; one whose answer never came takes part until it can
//! change nothing any more; and of two ways that differ only in what was spent of those, the thriftier one stays.

use std::collections::BTreeSet;

use super::key::{Key, Op};

/// How many operations may be open at once.
const OPEN_MAX: usize = 128;

/// How many ways may be kept.
const WAYS_MAX: usize = 200_000;

/// One step of a history, in the order in which it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Operation `number` begins. Whether it ever had its moment is not known if it is not answered.
    Call { number: usize, op: Op, is_answered: bool },
    /// Operation `number` has been answered.
    Return { number: usize },
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The answer of this operation agrees with none of the states that were possible before it.
    Impossible { number: usize, op: Op, before: Vec<Key> },
    /// The search grew beyond its limits.
    Undecided { at: usize, why: &'static str },
}

/// One way to have come so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    key: Key,
    /// Of the open operations that will be answered, those that have had their moment.
    done: u128,
    /// The same of those that never will be.
    spent: u128,
}

/// The operations that are open, each in a slot.
struct Open {
    slots: Vec<Option<(usize, Op, bool)>>,
}

/// Checks a history of one key.
pub(crate) fn check(history: &[Step]) -> Result<(), Problem> {
    let mut open = Open { slots: vec![None; OPEN_MAX] };
    let mut ways = vec![Way { key: Key::default(), done: 0, spent: 0 }];
    for step in history {
        match step {
            Step::Call { number, op, is_answered } => {
                if !open.put(*number, op, *is_answered) {
                    return Err(Problem::Undecided { at: *number, why: "too many operations are open" });
                }
                ways.iter_mut().for_each(|way| open.settle(way));
            }
            Step::Return { number } => {
                let Some(slot) = open.slot_of(*number) else { continue };
                let before = ways.iter().map(|way| way.key.clone()).collect::<BTreeSet<Key>>();
                let undecided = Problem::Undecided { at: *number, why: "too many orders are possible" };
                ways = open.ways_that_include(slot, ways).ok_or(undecided)?;
                let answered = open.slots[slot].take();
                if let (true, Some((number, op, _))) = (ways.is_empty(), answered) {
                    return Err(Problem::Impossible { number, op, before: before.into_iter().collect() });
                }
                ways.iter_mut().for_each(|way| way.done &= !(1 << slot));
                open.forget_what_is_past(&mut ways);
                thin_out(&mut ways);
            }
        }
    }
    Ok(())
}

impl Open {
    fn put(&mut self, number: usize, op: &Op, is_answered: bool) -> bool {
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some((number, op.clone(), is_answered))).is_some()
    }

    fn slot_of(&self, number: usize) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|(n, ..)| *n == number))
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &Op, bool)> {
        self.slots.iter().enumerate().filter_map(|(slot, taken)| {
            let (_, op, is_answered) = taken.as_ref()?;
            Some((slot, op, *is_answered))
        })
    }

    /// Gives their moment to all that wait for an answer and would change nothing.
    fn settle(&self, way: &mut Way) {
        for (slot, op, is_answered) in self.iter() {
            if is_answered && way.done & (1 << slot) == 0 && way.key.apply(op).as_ref() == Some(&way.key) {
                way.done |= 1 << slot;
            }
        }
    }

    /// All ways on from these in which the operation in `wanted` has had its moment; nothing, if they are too many.
    fn ways_that_include(&self, wanted: usize, ways: Vec<Way>) -> Option<Vec<Way>> {
        let mut seen: BTreeSet<Way> = ways.iter().cloned().collect();
        let mut to_go_on = ways;
        let mut found = Vec::new();
        while let Some(way) = to_go_on.pop() {
            if way.done & (1 << wanted) != 0 {
                found.push(way);
                continue;
            }
            for (slot, op, is_answered) in self.iter() {
                if (way.done | way.spent) & (1 << slot) != 0 {
                    continue;
                }
                let Some(key) = way.key.apply(op).filter(|key| *key != way.key) else { continue };
                let mut next = Way { key, ..way.clone() };
                *(if is_answered { &mut next.done } else { &mut next.spent }) |= 1 << slot;
                self.settle(&mut next);
                if seen.insert(next.clone()) {
                    to_go_on.push(next);
                }
            }
            if seen.len() > WAYS_MAX {
                return None;
            }
        }
        Some(found)
    }

    /// Frees the slots of the unanswered that can change nothing any more.
    fn forget_what_is_past(&mut self, ways: &mut [Way]) {
        for slot in 0..OPEN_MAX {
            let is_past =
                |op: &Op| ways.iter().all(|way| way.spent & (1 << slot) != 0 || way.key.is_past(op));
            if matches!(&self.slots[slot], Some((_, op, false)) if is_past(op)) {
                self.slots[slot] = None;
                ways.iter_mut().for_each(|way| way.spent &= !(1 << slot));
            }
        }
    }
}

/// Leaves out what is there twice, and ways that others can replace.
fn thin_out(ways: &mut Vec<Way>) {
    ways.sort();
    ways.dedup();
    let replaces = |a: &Way, b: &Way| a.key == b.key && a.done == b.done && a.spent & !b.spent == 0;
    let kept: Vec<Way> =
        ways.iter().filter(|b| !ways.iter().any(|a| a != *b && replaces(a, b))).cloned().collect();
    *ways = kept;
}
