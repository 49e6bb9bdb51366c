//! One peer's doubt about one life, and the jury that weighs it.
//!
//! Up to seven members judge, the suspecting peer among them: neighbours first, then anybody. Each probes by
//! itself. More than half "dead" makes a report; so many "alive" that no majority can come about drops it;
//! otherwise, when the time is over, the seeds are asked to find out for themselves. A juror's vote decides
//! whether the seeds are asked, never whether a member dies.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::limits::{JURY_MAX, JURY_TIME_MAX};
use coterie_common::message::{Cause, JurorVote};
use coterie_common::{Address, Backoff, Instant, MemberId, Patience, Wire, majority};

/// What the votes amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Votes are still to come.
    Pending,
    /// Enough found it dead.
    Dead,
    /// Too many found it alive.
    Alive,
    /// Nobody is left to ask, or the time is over.
    Undecided,
}

/// One who was asked.
#[derive(Clone, Debug)]
struct Witness {
    id: MemberId,
    wire: Wire,
    /// When another is asked in its place.
    until: Instant,
    /// Its vote: dead or not.
    vote: Option<bool>,
    replaced: bool,
}

/// A suspicion, from its start until the suspect is buried or left alone.
#[derive(Clone, Debug)]
pub struct Suspicion {
    /// Whom it is about.
    pub suspect: MemberId,
    /// What started it.
    pub cause: Cause,
    /// When it began.
    pub since: Instant,
    /// The jury's size.
    pub jury: usize,
    own: Option<(MemberId, bool)>,
    witnesses: BTreeMap<Address, Witness>,
    ends: Instant,
    nobody_left: bool,
    report: Option<Report>,
}

/// A report that was made and stands until the seeds have answered.
#[derive(Clone, Debug)]
struct Report {
    next: Instant,
    backoff: Backoff,
    made: usize,
}

impl Suspicion {
    /// Begins `now`, in a view with so many `others` beside the suspect, this peer counted.
    pub fn new(now: Instant, suspect: MemberId, cause: Cause, others: usize, patience: Patience) -> Self {
        Suspicion {
            suspect,
            cause,
            since: now,
            jury: others.clamp(1, JURY_MAX),
            own: None,
            witnesses: BTreeMap::new(),
            ends: now + patience.scale(JURY_TIME_MAX),
            nobody_left: false,
            report: None,
        }
    }

    /// How many "dead" make a report.
    pub fn needed(&self) -> usize {
        majority(self.jury)
    }

    /// How many more witnesses should be asked `now`; those whose time is over are given up.
    pub fn wants(&mut self, now: Instant) -> usize {
        for witness in self.witnesses.values_mut() {
            witness.replaced |= witness.vote.is_none() && now >= witness.until;
        }
        let seated = self.witnesses.values().filter(|w| !w.replaced).count();
        if self.report.is_some() { 0 } else { (self.jury - 1).saturating_sub(seated) }
    }

    /// A witness was asked, and has until then to answer.
    pub fn asked(&mut self, id: MemberId, wire: Wire, until: Instant) {
        self.witnesses.insert(id.address, Witness { id, wire, until, vote: None, replaced: false });
    }

    /// Whether somebody was asked in another's place.
    pub fn has_replaced(&self) -> bool {
        self.witnesses.len() > self.jury - 1
    }

    /// Whether `address` was asked.
    pub fn has_asked(&self, address: Address) -> bool {
        self.witnesses.contains_key(&address)
    }

    /// There is nobody left who could be asked.
    pub fn nobody_left(&mut self) {
        self.nobody_left = true;
    }

    /// What this peer's own probe found.
    pub fn own_vote(&mut self, me: MemberId, dead: bool) {
        self.own = Some((me, dead));
    }

    /// A witness voted. Only the first vote of one that was asked counts; returns whether it did.
    pub fn vote(&mut self, witness: Address, dead: bool) -> bool {
        match self.witnesses.get_mut(&witness) {
            Some(w) if w.vote.is_none() => {
                w.vote = Some(dead);
                w.replaced = false;
                true
            }
            Some(_) | None => false,
        }
    }

    /// How many found it dead.
    pub fn dead_votes(&self) -> usize {
        self.votes().iter().filter(|v| v.dead).count()
    }

    /// The votes so far, for the report: no more than a jury has, of those that are too many the "alive" left out.
    pub fn votes(&self) -> Vec<JurorVote> {
        let own = self.own.map(|(juror, dead)| JurorVote { juror, dead });
        let others =
            self.witnesses.values().filter_map(|w| w.vote.map(|dead| JurorVote { juror: w.id, dead }));
        let mut votes: Vec<JurorVote> = own.into_iter().chain(others).collect();
        votes.sort_by_key(|vote| !vote.dead);
        votes.truncate(self.jury);
        votes
    }

    /// "Alive" of those whose word stops a report: a JSON program may have checked no more than the host.
    fn alive_votes(&self) -> usize {
        let own = usize::from(self.own.is_some_and(|(_, dead)| !dead));
        own + self.witnesses.values().filter(|w| w.vote == Some(false) && w.wire == Wire::Native).count()
    }

    /// What the votes amount to at `now`.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let waiting = self.own.is_none() || self.witnesses.values().any(|w| w.vote.is_none() && !w.replaced);
        match () {
            () if self.dead_votes() >= self.needed() => Verdict::Dead,
            () if self.alive_votes() > self.jury - self.needed() => Verdict::Alive,
            () if now >= self.ends || (self.nobody_left && !waiting) => Verdict::Undecided,
            () => Verdict::Pending,
        }
    }

    /// Whether it has been reported.
    pub fn is_reported(&self) -> bool {
        self.report.is_some()
    }

    /// Whether a report, the first or a repeated one, is due; if so, the next is due later.
    pub fn report_is_due(&mut self, now: Instant) -> bool {
        let report = self.report.get_or_insert_with(|| Report {
            next: now,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
            made: 0,
        });
        let due = now >= report.next;
        if due {
            report.next = now + report.backoff.pause();
            report.made += 1;
        }
        due
    }

    /// How many reports were made.
    pub fn reports(&self) -> usize {
        self.report.as_ref().map_or(0, |r| r.made)
    }

    /// Those who still owe their vote.
    pub fn owing(&self) -> impl Iterator<Item = Address> + '_ {
        self.witnesses.iter().filter(|(_, w)| w.vote.is_none() && !w.replaced).map(|(address, _)| *address)
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Instant {
        if let Some(report) = &self.report {
            return report.next;
        }
        let waiting = self.witnesses.values().filter(|w| w.vote.is_none() && !w.replaced);
        waiting.map(|w| w.until).min().map_or(self.ends, |until| until.min(self.ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;

    fn id(port: u16) -> MemberId {
        MemberId {
            address: Address::new([127, 0, 0, 1].into(), port),
            incarnation: Incarnation(u64::from(port)),
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    fn suspicion(others: usize, wire: Wire) -> Suspicion {
        let mut suspicion = Suspicion::new(at(0), id(9), Cause::ConnectionLost, others, Patience::default());
        for port in 1..=suspicion.wants(at(0)) as u16 {
            suspicion.asked(id(port), wire, at(400));
        }
        suspicion
    }

    #[test]
    fn more_than_half_of_the_jury_make_a_report() {
        let mut suspicion = suspicion(8, Wire::Native);
        assert_eq!((suspicion.jury, suspicion.needed()), (7, 4));
        suspicion.own_vote(id(100), true);
        assert!(suspicion.vote(id(1).address, true) && !suspicion.vote(id(1).address, true));
        assert!(!suspicion.vote(id(77).address, true), "nobody asked 77");
        suspicion.vote(id(2).address, true);
        assert_eq!(suspicion.verdict(at(1)), Verdict::Pending);
        suspicion.vote(id(3).address, true);
        assert_eq!(suspicion.verdict(at(1)), Verdict::Dead);
    }

    #[test]
    fn with_two_members_the_survivor_is_the_jury() {
        let mut suspicion = suspicion(1, Wire::Native);
        suspicion.own_vote(id(100), true);
        assert_eq!(suspicion.verdict(at(0)), Verdict::Dead);
    }

    #[test]
    fn enough_alive_drop_it_unless_json_programs_say_so() {
        for (wire, expected) in [(Wire::Native, Verdict::Alive), (Wire::Json, Verdict::Undecided)] {
            let mut suspicion = suspicion(3, wire);
            suspicion.own_vote(id(100), true);
            suspicion.nobody_left();
            suspicion.vote(id(1).address, false);
            suspicion.vote(id(2).address, false);
            assert_eq!(suspicion.verdict(at(1)), expected, "{wire:?}");
        }
    }

    #[test]
    fn a_silent_witness_is_replaced_and_time_ends_the_jury() {
        let mut suspicion = suspicion(4, Wire::Native);
        suspicion.own_vote(id(100), true);
        assert_eq!(suspicion.wants(at(399)), 0);
        assert_eq!(suspicion.wants(at(400)), 3);
        assert_eq!(suspicion.verdict(at(1999)), Verdict::Pending);
        assert_eq!(suspicion.verdict(at(2000)), Verdict::Undecided);
    }

    #[test]
    fn a_report_is_repeated_less_and_less_often() {
        let mut suspicion = suspicion(1, Wire::Native);
        let mut due = Vec::new();
        let mut now = at(0);
        while due.len() < 5 {
            if suspicion.report_is_due(now) {
                due.push(now.as_nanos() / 1_000_000_000);
            }
            now = suspicion.deadline();
        }
        assert_eq!(due, [0, 1, 3, 7, 15]);
    }
}
