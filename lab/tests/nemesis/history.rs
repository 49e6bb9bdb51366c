//! What clients asked and were answered, in the order in which it happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use coterie_common::clock::Clock;
use coterie_common::message::Roster;
use coterie_common::{Address, Incarnation, Instant, Life, MemberId, Refusal, Why};

use super::checker::Step;
use super::key::Op;

/// What a client asks of a seed, or does.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// Let this life in.
    Register { address: Address, life: Life },
    /// This member goes.
    Leave { id: MemberId, life: Life },
    /// Who is there?
    Read { is_linearizable: bool },
    /// Nothing is asked: a life ends without a word, and may be confirmed dead from now on.
    End { address: Address, life: Life },
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is in, and these are all.
    Admitted { incarnation: Incarnation, roster: Roster },
    /// It has left.
    Left,
    /// These are there.
    Members(Roster),
    /// This life has ended, in another way than by leaving just now.
    Ended,
    /// No, and nothing came of it.
    Refused(Refusal),
    /// Nobody knows what came of it.
    Unknown(String),
}

/// A call or an answer.
#[derive(Clone, Debug)]
enum What {
    Call { call: Call, seed: String },
    Answer(Answer),
    Note(String),
}

#[derive(Clone, Debug)]
struct Event {
    at: Instant,
    number: usize,
    what: What,
}

/// What happened, as it is being recorded.
#[derive(Debug)]
pub(crate) struct History {
    clock: Clock,
    events: Mutex<Vec<Event>>,
}

/// How often calls of a kind ended how.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) admitted: usize,
    pub(crate) left: usize,
    pub(crate) told_ended: usize,
    pub(crate) ended: usize,
    pub(crate) linearizable_reads: usize,
    pub(crate) local_reads: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        History { clock: Clock::start(), events: Mutex::new(Vec::new()) }
    }

    /// A client asks `seed`; returns the number of its call. To be recorded before anybody can know of it.
    pub(crate) fn call(&self, seed: &str, call: Call) -> usize {
        let mut events = self.events.lock().unwrap();
        let number = events.len();
        events.push(Event { at: self.clock.now(), number, what: What::Call { call, seed: seed.to_owned() } });
        number
    }

    /// The call with that number is answered.
    pub(crate) fn answer(&self, number: usize, answer: Answer) {
        let mut events = self.events.lock().unwrap();
        events.push(Event { at: self.clock.now(), number, what: What::Answer(answer) });
    }

    /// Something else happens that a reader of the history wants to know.
    pub(crate) fn note(&self, what: impl Into<String>) {
        let mut events = self.events.lock().unwrap();
        let number = events.len();
        events.push(Event { at: self.clock.now(), number, what: What::Note(what.into()) });
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut reads = BTreeMap::new();
        for event in self.events.lock().unwrap().iter() {
            match &event.what {
                What::Call { call: Call::Read { is_linearizable }, .. } => {
                    reads.insert(event.number, *is_linearizable);
                }
                What::Call { call: Call::End { .. }, .. } => tally.ended += 1,
                What::Call { .. } | What::Note(_) => {}
                What::Answer(Answer::Admitted { .. }) => tally.admitted += 1,
                What::Answer(Answer::Left) => tally.left += 1,
                What::Answer(Answer::Ended) => tally.told_ended += 1,
                What::Answer(Answer::Members(_)) if reads[&event.number] => tally.linearizable_reads += 1,
                What::Answer(Answer::Members(_)) => tally.local_reads += 1,
                What::Answer(Answer::Refused(_)) => tally.refused += 1,
                What::Answer(Answer::Unknown(_)) => tally.unknown += 1,
            }
        }
        tally
    }

    // ---- what is to be checked ----

    /// What each key went through.
    pub(crate) fn keys(&self) -> Result<BTreeMap<Address, Vec<Step>>, String> {
        let events = self.events.lock().unwrap();
        let incarnations = incarnations(&events)?;
        let answers: BTreeMap<usize, &Answer> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Answer(answer) => Some((event.number, answer)),
                What::Call { .. } | What::Note(_) => None,
            })
            .collect();
        let addresses: BTreeSet<Address> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Call { call: Call::Register { address, .. }, .. } => Some(*address),
                What::Call { .. } | What::Answer(_) | What::Note(_) => None,
            })
            .collect();
        let history = |key: Address| {
            let steps = events.iter().filter_map(|event| match &event.what {
                What::Call { call, .. } => {
                    let (op, is_answered) =
                        op(key, call, answers.get(&event.number).copied(), &incarnations)?;
                    Some(Step::Call { number: event.number, op, is_answered })
                }
                // What nobody knows the end of has none.
                What::Answer(Answer::Unknown(_) | Answer::Ended | Answer::Refused(_)) | What::Note(_) => None,
                What::Answer(_) => Some(Step::Return { number: event.number }),
            });
            (key, steps.collect())
        };
        Ok(addresses.into_iter().map(history).collect())
    }

    /// Whether nobody was told that a life has ended that had neither left nor ended.
    pub(crate) fn check_endings(&self) -> Result<(), String> {
        let mut over: BTreeSet<(Address, Life)> = BTreeSet::new();
        let mut about: BTreeMap<usize, (Address, Life)> = BTreeMap::new();
        for event in self.events.lock().unwrap().iter() {
            match &event.what {
                What::Call { call: Call::Register { address, life }, .. } => {
                    about.insert(event.number, (*address, *life));
                }
                What::Call { call: Call::Leave { id, life }, .. } => {
                    about.insert(event.number, (id.address, *life));
                }
                What::Call { call: Call::End { address, life }, .. } => {
                    over.insert((*address, *life));
                }
                What::Answer(Answer::Left) => {
                    over.insert(about[&event.number]);
                }
                What::Answer(Answer::Ended) if !over.contains(&about[&event.number]) => {
                    let ((address, life), at) = (about[&event.number], event.at.as_nanos() as f64 / 1e9);
                    let number = event.number;
                    return Err(format!("{at:.6} #{number}: life {} at {address} was alive", life.0));
                }
                What::Call { .. } | What::Answer(_) | What::Note(_) => {}
            }
        }
        Ok(())
    }

    /// Whether one view belongs to each epoch, and whether who asked for the latest got nothing older than what was
    /// known to anybody when he asked.
    pub(crate) fn check_epochs(&self) -> Result<(), String> {
        let mut views: BTreeMap<u64, Vec<(MemberId, Life)>> = BTreeMap::new();
        let mut known = 0;
        // What was known when the latest was asked for.
        let mut known_at: BTreeMap<usize, u64> = BTreeMap::new();
        for event in self.events.lock().unwrap().iter() {
            let (number, at) = (event.number, event.at.as_nanos() as f64 / 1e9);
            let roster = match &event.what {
                What::Call { call: Call::Read { is_linearizable: true }, .. } => {
                    known_at.insert(number, known);
                    continue;
                }
                What::Answer(Answer::Admitted { incarnation, roster }) if incarnation.0 > roster.epoch.0 => {
                    return Err(format!(
                        "{at:.6} #{number}: the answer to {incarnation} is of an older view"
                    ));
                }
                What::Answer(Answer::Admitted { roster, .. } | Answer::Members(roster)) => roster,
                What::Call { .. } | What::Answer(_) | What::Note(_) => continue,
            };
            let epoch = roster.epoch.0;
            if let Some(known) = known_at.get(&number).filter(|known| epoch < **known) {
                return Err(format!(
                    "{at:.6} #{number}: epoch {epoch}, and {known} was known when it was asked"
                ));
            }
            known = known.max(epoch);
            let mut members: Vec<(MemberId, Life)> =
                roster.members.iter().map(|(member, _)| (member.id, member.life)).collect();
            members.sort_unstable();
            match views.get(&epoch) {
                Some(view) if *view != members => {
                    return Err(format!("{at:.6} #{number}: epoch {epoch} is {members:?}, and was {view:?}"));
                }
                Some(_) => {}
                None => drop(views.insert(epoch, members)),
            }
        }
        Ok(())
    }
}

/// Which incarnation each life was given; an error, if one was given two.
fn incarnations(events: &[Event]) -> Result<BTreeMap<(Address, Life), Incarnation>, String> {
    let calls: BTreeMap<usize, &Call> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Call { call, .. } => Some((event.number, call)),
            What::Answer(_) | What::Note(_) => None,
        })
        .collect();
    let mut incarnations = BTreeMap::new();
    let mut learn = |address: Address, life: Life, incarnation: Incarnation| {
        let known = *incarnations.entry((address, life)).or_insert(incarnation);
        match known == incarnation {
            true => Ok(()),
            false => Err(format!("life {} at {address} was {known} and {incarnation}", life.0)),
        }
    };
    for event in events {
        let (What::Answer(Answer::Admitted { roster, .. }) | What::Answer(Answer::Members(roster))) =
            &event.what
        else {
            continue;
        };
        for (member, _) in &roster.members {
            learn(member.id.address, member.life, member.id.incarnation)?;
        }
        if let (What::Answer(Answer::Admitted { incarnation, .. }), Call::Register { address, life }) =
            (&event.what, calls[&event.number])
        {
            learn(*address, *life, *incarnation)?;
        }
    }
    Ok(incarnations)
}

/// What a call with this answer is to the key; nothing, if it says nothing of it.
fn op(
    key: Address,
    call: &Call,
    answer: Option<&Answer>,
    incarnations: &BTreeMap<(Address, Life), Incarnation>,
) -> Option<(Op, bool)> {
    // Of a life that nobody ever saw as a member there is nothing to explain.
    let known = |address: Address, life: Life| {
        (address == key).then(|| incarnations.get(&(address, life)).copied()).flatten()
    };
    match (call, answer) {
        (Call::Register { .. } | Call::Leave { .. }, Some(Answer::Refused(_))) => None,
        (Call::Register { address, life }, answer) => {
            let is_answered = matches!(answer, Some(Answer::Admitted { .. }));
            Some((Op::Join(*life, known(*address, *life)?), is_answered))
        }
        (Call::Leave { id, life }, answer) => {
            let is_answered = matches!(answer, Some(Answer::Left));
            (id.address == key).then_some((Op::Leave(*life, id.incarnation), is_answered))
        }
        (Call::End { address, life }, _) => Some((Op::Bury(*life, known(*address, *life)?), false)),
        (Call::Read { is_linearizable: true }, Some(Answer::Members(roster))) => {
            let found = roster.members.iter().find(|(member, _)| member.id.address == key);
            Some((Op::Read(found.map(|(member, _)| (member.life, member.id.incarnation))), true))
        }
        (Call::Read { .. }, _) => None,
    }
}

impl Answer {
    /// What a refused registration is. Where nobody decided, the log may still take it.
    pub(crate) fn of_refused(refusal: Refusal) -> Self {
        match refusal.why {
            Why::NoQuorum => Answer::Unknown(refusal.to_string()),
            Why::Ended => Answer::Ended,
            _ => Answer::Refused(refusal),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Event { at, number, what } in self.events.lock().unwrap().iter() {
            write!(f, "{:>12.6} #{number} ", at.as_nanos() as f64 / 1e9)?;
            match what {
                What::Call { call, seed } => writeln!(f, "{seed} {call:?}")?,
                What::Answer(Answer::Admitted { incarnation, roster }) => {
                    writeln!(f, "admitted as {incarnation} of epoch {}", roster.epoch)?;
                }
                What::Answer(Answer::Members(roster)) => {
                    let members = roster.members.iter();
                    let members: Vec<String> = members
                        .map(|(m, _)| format!("{}={}/{}", m.id.address, m.life.0, m.id.incarnation))
                        .collect();
                    writeln!(f, "epoch {}: {}", roster.epoch, members.join(" "))?;
                }
                What::Answer(Answer::Left) => writeln!(f, "left")?,
                What::Answer(Answer::Ended) => writeln!(f, "it has ended")?,
                What::Answer(Answer::Refused(refusal)) => writeln!(f, "refused: {refusal}")?,
                What::Answer(Answer::Unknown(why)) => writeln!(f, "unknown: {why}")?,
                What::Note(note) => writeln!(f, "---- {note}")?,
            }
        }
        Ok(())
    }
}
