//! One peer's doubt about one life, and the jury that weighs it.
//!
//! Up to seven members judge, the suspecting peer among them: neighbours first, then anybody. Each probes by
//! itself. More than half "dead" makes a report; so many "alive" that no majority can come about drops it;
//! otherwise, when nobody is left to ask or the time is over, the seeds are asked to find out for themselves. A juror's
//! vote decides whether the seeds are asked, never whether a member dies.
//!
//! A juror that cannot tell, or does not answer, is replaced once: where many are too busy to look, asking all of them
//! would make it worse.
//!
//! The indirect pings of SWIM (Das, Gupta, Motivala 2002), with votes: there one answer shows that the suspect lives,
//! here a majority speaks, for one juror may be cut off as well. In Rapid (2018) the observers of a member are fixed
//! by the topology; a jury is chosen when it is needed.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{JURY_MAX, JURY_TIME_MAX};
use coterie_common::message::{Cause, JurorVote};
use coterie_common::{Address, Backoff, Instant, MemberId, Patience, Wire, majority};

use super::reporting::Reporting;

/// Between two probes that found nothing: the first pause, which doubles, and the longest. Half of it is drawn, so that
/// those who failed together do not come back together.
const UNDECIDED_PAUSE: Knob<(Duration, Duration)> =
    Knob::new("UNDECIDED_PAUSE", (Duration::from_millis(150), Duration::from_secs(2)));

/// What the votes amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JuryResult {
    /// Votes are still to come.
    Pending,
    /// Enough found it dead.
    Dead,
    /// Too many found it alive.
    Alive,
    /// Nobody is left to ask, or the time is over. The seeds are asked all the same.
    Undecided,
}

/// One who was asked.
#[derive(Clone, Debug)]
struct Juror {
    id: MemberId,
    /// A JSON program's "alive" counts less.
    wire: Wire,
    /// When another is asked in its place.
    until: Instant,
    /// Its vote: dead or not.
    vote: Option<bool>,
    /// Whether it has said that it cannot tell.
    is_undecided: bool,
    /// Whether another was asked. Its vote still counts if it comes.
    replaced: bool,
}

impl Juror {
    /// Whether it has not voted, and no other was asked in its place.
    fn is_awaited(&self) -> bool {
        self.vote.is_none() && !self.replaced && !self.is_undecided
    }
}

/// What this peer itself has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnVote {
    /// Its probe is under way.
    Probing,
    /// Nothing; it probes again then.
    Undecided(Instant),
    /// Dead or not, in whose name.
    Voted(MemberId, bool),
}

/// A suspicion, from its start until the suspect is confirmed dead or left alone.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    /// Whom it is about.
    pub(super) suspect: MemberId,
    /// What started it.
    pub(super) cause: Cause,
    /// When it began.
    pub(super) since: Instant,
    /// The jury's size.
    pub(super) jury: usize,
    own: OwnVote,
    /// Between two probes of this peer's that found nothing.
    pause: Backoff,
    jurors: BTreeMap<Address, Juror>,
    /// When the jury has to do with the votes that it has.
    ends: Instant,
    /// Whether all members were asked.
    nobody_left: bool,
    report: Option<Reporting>,
}

impl Suspicion {
    /// Begins `now`, in a view with so many `others` beside the suspect, this peer counted.
    pub(super) fn new(
        now: Instant,
        suspect: MemberId,
        cause: Cause,
        others: usize,
        patience: Patience,
    ) -> Self {
        Suspicion {
            suspect,
            cause,
            since: now,
            jury: others.clamp(1, JURY_MAX.get()),
            own: OwnVote::Probing,
            pause: Backoff::new(UNDECIDED_PAUSE.get().0, UNDECIDED_PAUSE.get().1),
            jurors: BTreeMap::new(),
            ends: now + patience.scale(JURY_TIME_MAX.get()),
            nobody_left: false,
            report: None,
        }
    }

    /// How many "dead" make a report. Of the jury's size, not of the votes that came: silence of jurors is no vote.
    pub(super) fn needed(&self) -> usize {
        majority(self.jury)
    }

    /// How many more jurors should be asked `now`; those whose time is over are given up. None once it is reported, and
    /// none when each seat has had its one replacement.
    pub(super) fn wants(&mut self, now: Instant) -> usize {
        for juror in self.jurors.values_mut() {
            juror.replaced |= juror.vote.is_none() && now >= juror.until;
        }
        if self.report.is_some() {
            return 0;
        }
        let seated = self.jurors.values().filter(|juror| !juror.replaced).count();
        let asked = self.jurors.len();
        assert!(asked <= 2 * self.seats(), "{asked} were asked for {} seats", self.seats());
        self.seats().saturating_sub(seated).min(self.may_still_ask())
    }

    /// The seats of others than this peer.
    fn seats(&self) -> usize {
        self.jury - 1
    }

    fn may_still_ask(&self) -> usize {
        if self.nobody_left { 0 } else { (2 * self.seats()).saturating_sub(self.jurors.len()) }
    }

    /// A juror was asked, and has until then to answer.
    pub(super) fn asked(&mut self, id: MemberId, wire: Wire, until: Instant) {
        assert_ne!(id, self.suspect, "a suspect is asked about itself");
        let before = self
            .jurors
            .insert(id.address, Juror { id, wire, until, vote: None, is_undecided: false, replaced: false });
        assert!(before.is_none(), "{id} is asked twice about {}", self.suspect);
    }

    /// Whether somebody was asked in another's place.
    pub(super) fn has_replaced(&self) -> bool {
        self.jurors.len() > self.seats()
    }

    /// Whether `address` was asked.
    pub(super) fn has_asked(&self, address: Address) -> bool {
        self.jurors.contains_key(&address)
    }

    /// There is nobody left who could be asked.
    pub(super) fn nobody_left(&mut self) {
        self.nobody_left = true;
    }

    /// What this peer's own probe found. A later probe's takes the place of an earlier one's.
    pub(super) fn own_vote(&mut self, me: MemberId, dead: bool) {
        self.own = OwnVote::Voted(me, dead);
    }

    /// This peer's own probe found nothing, or could not begin: it is due again after a pause.
    pub(super) fn own_undecided(&mut self, now: Instant, chance: f64) {
        if !matches!(self.own, OwnVote::Voted(..)) {
            self.own = OwnVote::Undecided(now + self.pause.pause_with_jitter(chance));
        }
    }

    /// Whether this peer should probe again; if so, it counts as probing.
    pub(super) fn probe_is_due(&mut self, now: Instant) -> bool {
        let is_due = !self.is_reported() && matches!(self.own, OwnVote::Undecided(again) if now >= again);
        if is_due {
            self.own = OwnVote::Probing;
        }
        is_due
    }

    /// Its connection broke, or was refused, while it was only silent so far: what was found alive was found before
    /// that. Returns whether that is news.
    pub(super) fn breaks(&mut self, now: Instant, cause: Cause) -> bool {
        if !cause.is_break() || self.cause.is_break() {
            return false;
        }
        self.cause = cause;
        self.own = OwnVote::Probing;
        for juror in self.jurors.values_mut().filter(|juror| juror.vote == Some(false)) {
            (juror.vote, juror.replaced) = (None, true);
        }
        self.report_again(now);
        true
    }

    /// A juror cannot tell. Another is asked in its place after that pause, unless it votes all the same.
    pub(super) fn cannot_tell(&mut self, juror: Address, ask_another: Instant) {
        if let Some(juror) = self.jurors.get_mut(&juror).filter(|juror| juror.is_awaited()) {
            (juror.is_undecided, juror.until) = (true, ask_another);
        }
    }

    /// A juror voted. Only the first vote of one that was asked counts; returns whether it did. Others may know of
    /// the suspicion and send votes unasked: those must not decide it.
    pub(super) fn vote(&mut self, juror: Address, dead: bool) -> bool {
        match self.jurors.get_mut(&juror) {
            Some(juror) if juror.vote.is_none() => {
                juror.vote = Some(dead);
                // It has its seat again, so no more are asked than are wanted.
                juror.replaced = false;
                true
            }
            Some(_) | None => false,
        }
    }

    /// How many found it dead.
    pub(super) fn dead_votes(&self) -> usize {
        self.votes().iter().filter(|v| v.dead).count()
    }

    /// The votes so far, for the report: no more than a jury has, of those that are too many the "alive" left out.
    pub(super) fn votes(&self) -> Vec<JurorVote> {
        let own = match self.own {
            OwnVote::Voted(juror, dead) => Some(JurorVote { juror, dead }),
            OwnVote::Probing | OwnVote::Undecided(_) => None,
        };
        let others = self
            .jurors
            .values()
            .filter_map(|juror| juror.vote.map(|dead| JurorVote { juror: juror.id, dead }));
        let mut votes: Vec<JurorVote> = own.into_iter().chain(others).collect();
        votes.sort_by_key(|vote| !vote.dead);
        votes.truncate(self.jury);
        votes
    }

    /// "Alive" of those whose word stops a report: a JSON program may have checked no more than the host. So such a
    /// vote fills a seat, and stops nothing.
    fn alive_votes(&self) -> usize {
        let own = usize::from(matches!(self.own, OwnVote::Voted(_, false)));
        own + self
            .jurors
            .values()
            .filter(|juror| juror.vote == Some(false) && juror.wire == Wire::Native)
            .count()
    }

    /// What the votes amount to at `now`. Dead is looked for first: where late jurors and their replacements have all
    /// voted, both may be so.
    pub(super) fn result(&self, now: Instant) -> JuryResult {
        let unasked = self.may_still_ask() > 0 && self.has_empty_seat();
        let waiting = unasked || self.own == OwnVote::Probing || self.jurors.values().any(Juror::is_awaited);
        match () {
            () if self.dead_votes() >= self.needed() => JuryResult::Dead,
            () if self.alive_votes() > self.jury - self.needed() => JuryResult::Alive,
            () if now >= self.ends || !waiting => JuryResult::Undecided,
            () => JuryResult::Pending,
        }
    }

    /// Whether a seat has nobody on it, or somebody who cannot tell.
    fn has_empty_seat(&self) -> bool {
        let seated = self.jurors.values().filter(|juror| !juror.replaced && !juror.is_undecided);
        seated.count() < self.seats()
    }

    /// Whether it has been reported.
    pub(super) fn is_reported(&self) -> bool {
        self.report.is_some()
    }

    /// Whether a report, the first or a repeated one, is due; if so, the next is due later.
    pub(super) fn report_is_due(&mut self, now: Instant) -> bool {
        self.report.get_or_insert_with(|| Reporting::new(now)).is_due(now)
    }

    /// What was reported is to be reported again, as soon and as often as at first.
    pub(super) fn report_again(&mut self, now: Instant) {
        if let Some(report) = &mut self.report {
            report.again(now);
        }
    }

    /// How many reports were made.
    pub(super) fn reports(&self) -> usize {
        self.report.as_ref().map_or(0, Reporting::made)
    }

    /// Those who still owe their vote. A JSON program among them may answer nothing else meanwhile.
    pub(super) fn owing(&self) -> impl Iterator<Item = Address> + '_ {
        self.jurors.iter().filter(|(_, juror)| juror.is_awaited()).map(|(address, _)| *address)
    }

    /// When there is something to do. For one that is reported, when the report is repeated.
    pub(super) fn deadline(&self) -> Instant {
        if let Some(report) = &self.report {
            return report.next();
        }
        let probes = match self.own {
            OwnVote::Undecided(again) => again,
            OwnVote::Probing | OwnVote::Voted(..) => Instant::NEVER,
        };
        let waiting = self.jurors.values().filter(|juror| juror.vote.is_none() && !juror.replaced);
        let replaced = waiting.map(|juror| juror.until).min().unwrap_or(Instant::NEVER);
        self.ends.min(probes).min(replaced)
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
        assert_eq!(suspicion.result(at(1)), JuryResult::Pending);
        suspicion.vote(id(3).address, true);
        assert_eq!(suspicion.result(at(1)), JuryResult::Dead);
    }

    #[test]
    fn those_who_owe_their_vote_are_told_and_whether_one_was_replaced() {
        let mut suspicion = suspicion(8, Wire::Native);
        assert_eq!(suspicion.owing().count(), 6);
        assert!(suspicion.vote(id(1).address, false));
        assert!(suspicion.owing().all(|address| address != id(1).address));
        assert!(!suspicion.has_replaced());
        suspicion.asked(id(50), Wire::Native, at(900));
        assert!(suspicion.has_replaced());
    }

    #[test]
    fn with_two_members_the_survivor_is_the_jury() {
        let mut suspicion = suspicion(1, Wire::Native);
        suspicion.own_vote(id(100), true);
        assert_eq!(suspicion.result(at(0)), JuryResult::Dead);
    }

    #[test]
    fn enough_alive_drop_it_unless_json_programs_say_so() {
        for (wire, expected) in [(Wire::Native, JuryResult::Alive), (Wire::Json, JuryResult::Undecided)] {
            let mut suspicion = suspicion(3, wire);
            suspicion.own_vote(id(100), true);
            suspicion.nobody_left();
            suspicion.vote(id(1).address, false);
            suspicion.vote(id(2).address, false);
            assert_eq!(suspicion.result(at(1)), expected, "{wire:?}");
        }
    }

    #[test]
    fn a_silent_juror_is_replaced_and_time_ends_the_jury() {
        let mut suspicion = suspicion(4, Wire::Native);
        suspicion.own_vote(id(100), true);
        assert_eq!(suspicion.wants(at(399)), 0);
        assert_eq!(suspicion.wants(at(400)), 3);
        assert_eq!(suspicion.result(at(1999)), JuryResult::Pending);
        assert_eq!(suspicion.result(at(2000)), JuryResult::Undecided);
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
