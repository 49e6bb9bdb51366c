//! At the leader: which members no seed has a session with, and for how long.
//!
//! Seeds act on absence, not on breakage: that is how a death is found of which no neighbour is left to tell.
//!
//! A session that ended says little: its seed may have stopped, or the peer may be changing seeds. So only who is held
//! nowhere is missed, and that for a while. Left out: heartbeats of members in the log, which would make it write
//! without end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::ABSENCE_GRACE;
use coterie_common::message::SeedId;
use coterie_common::{Backoff, Instant, MemberId};

/// A lost ballot about an absent member is held again after this, doubling. Members that are alive all the same must
/// not keep the seeds busy. Both are guesses.
const AGAIN: Knob<(Duration, Duration)> =
    Knob::new("seed/absence/AGAIN", (Duration::from_secs(1), Duration::from_secs(60)));

/// Who holds whom, and who is missed.
#[derive(Clone, Debug, Default)]
pub(super) struct Absences {
    /// A member may hold sessions of several seeds.
    held_by: BTreeMap<SeedId, BTreeSet<MemberId>>,
    absent: BTreeMap<MemberId, Absence>,
    /// No absence is acted on before: sessions are being opened again. They are counted meanwhile, so that a death in
    /// that time is found at its end.
    acted_on_from: Instant,
}

#[derive(Clone, Debug)]
struct Absence {
    since: Instant,
    /// After a lost ballot: when the next may be held.
    again: Option<Instant>,
    /// Begins anew when somebody holds the member again.
    backoff: Backoff,
}

impl Absences {
    /// Nothing is known any more: everybody is to tell anew. Those who were missed are missed anew: by whom they are
    /// held now is not known.
    pub(super) fn clear(&mut self) {
        self.held_by.clear();
        self.absent.clear();
    }

    /// There was an election: nobody is missed for a while.
    pub(super) fn be_graceful(&mut self, now: Instant) {
        self.acted_on_from = now + ABSENCE_GRACE.get();
    }

    /// A seed told whose sessions it holds, or what has changed of that.
    pub(super) fn take(&mut self, from: SeedId, whole: bool, held: Vec<MemberId>, lost: Vec<MemberId>) {
        let held_by = self.held_by.entry(from).or_default();
        if whole {
            held_by.clear();
        }
        held_by.extend(held);
        for member in lost {
            held_by.remove(&member);
        }
    }

    /// A seed is gone, and the sessions it held with it.
    pub(super) fn seed_down(&mut self, seed: SeedId) {
        self.held_by.remove(&seed);
    }

    /// A member is gone. What seeds hold of it they report as lost themselves.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.absent.remove(&member);
    }

    /// The members that no seed has held a session of for `time`, and about whom no ballot was lost too recently. To be
    /// called regularly: it is also how it learns who is there again.
    pub(super) fn over(
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
                backoff: Backoff::new(AGAIN.get().0, AGAIN.get().1),
            });
            if now >= absence.again.unwrap_or(absence.since + time) {
                over.push(member);
            }
        }
        // Counted nevertheless, so `since` is right when the time has come.
        if now < self.acted_on_from { Vec::new() } else { over }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        let early =
            self.absent.iter().find(|(_, absence)| absence.again.is_some_and(|at| at < absence.since));
        assert!(early.is_none(), "a ballot about an absence is to be held before it began: {early:?}");
    }

    /// The ballot about an absent member was lost. Nothing, if it was not absent: the ballot was about a report.
    /// `chance` is between 0 and 1: many that are absent together are not all asked about again at once.
    pub(super) fn rejected(&mut self, now: Instant, member: MemberId, chance: f64) {
        if let Some(absence) = self.absent.get_mut(&member) {
            absence.again = Some(now + absence.backoff.pause_with_jitter(chance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Incarnation};

    #[test]
    fn a_member_is_absent_when_no_seed_held_it_for_a_while_and_again_less_and_less_often() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let at = |ms| Instant::START + Duration::from_millis(ms);
        let mut absences = Absences::default();
        let time = Duration::from_secs(2);
        absences.take(SeedId(1), false, vec![id], vec![]);
        let over = |absences: &mut Absences, ms| absences.over(at(ms), [id].into_iter(), time);
        assert_eq!(over(&mut absences, 0), []);
        absences.seed_down(SeedId(1));
        assert_eq!(over(&mut absences, 1000), []);
        assert_eq!(over(&mut absences, 3000), [id]);
        absences.rejected(at(3000), id, 1.0);
        assert_eq!(over(&mut absences, 3999), []);
        assert_eq!(over(&mut absences, 4000), [id]);
        absences.rejected(at(4000), id, 1.0);
        assert_eq!(over(&mut absences, 5999), []);
    }

    #[test]
    #[should_panic(expected = "is to be held before it began")]
    fn an_absence_that_would_be_voted_on_before_it_began_is_found() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut absences = Absences::default();
        absences.over(Instant::START + Duration::from_secs(5), [id].into_iter(), Duration::from_secs(2));
        absences.verify();
        absences.rejected(Instant::START, id, 1.0);
        absences.verify();
    }
}
