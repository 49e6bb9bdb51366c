//! How a suspicion is pursued: a jury is asked and filled up, votes are counted, and a seed is told.

use std::collections::BTreeSet;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::JURY_MAX;
use coterie_common::message::{DeathReport, LinkMessage};
use coterie_common::{Address, Instant, Line, MemberId, Message, Wire};
use rand::RngExt;

use super::FailureDetection;
use super::jury::{JuryResult, Suspicion};
use super::probes::Asker;
use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::membership::Membership;
use crate::core::overlay::Overlay;

/// When another is asked in the place of a juror that cannot tell: not at once, for what was lacking there may be
/// lacking everywhere, and not by all accusers at the same time.
const ASK_ANOTHER_AFTER: Knob<(Duration, Duration)> =
    Knob::new("ASK_ANOTHER_AFTER", (Duration::from_millis(50), Duration::from_millis(150)));

/// A report that is to be sent to a seed.
#[derive(Debug)]
pub(crate) struct DueReport {
    /// How many were made before: each goes to another seed.
    pub(crate) turn: usize,
    pub(crate) report: DeathReport,
}

impl FailureDetection {
    /// Whom it suspects, each to be pursued. What is too old to count is forgotten.
    pub(crate) fn suspects(&mut self, now: Instant) -> Vec<MemberId> {
        self.probes.expire(now);
        self.suspicions.keys().copied().collect()
    }

    /// Asks jurors, reports, or gives up, as far as the suspicion has come. `may_report`: a seed is there to be told.
    #[must_use]
    pub(crate) fn pursue(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        may_report: bool,
        id: MemberId,
    ) -> Option<DueReport> {
        if self.suspicion(id).probe_is_due(cx.now) {
            let cause = self.suspicion(id).cause;
            self.probe(cx, members, overlay, (id, cause), Asker::Oneself);
        }
        self.fill_jury(cx, members, overlay, id);
        let suspicion = self.suspicion(id);
        let is_undecided = match suspicion.result(cx.now) {
            // What was reported stands: votes that come late stop it no more, only the seeds' answer, a new link or
            // the end of that life does.
            _ if suspicion.is_reported() => false,
            JuryResult::Dead => false,
            JuryResult::Undecided => true,
            JuryResult::Pending => return None,
            JuryResult::Alive => {
                cx.count("juries_alive");
                self.cool_down.begin(cx.now, id);
                self.drop_suspicion(cx, id, "alive");
                return None;
            }
        };
        // With nobody to tell, the report is not counted as made, and is due when a session comes up.
        if may_report { self.due_report(cx, members, id, is_undecided) } else { None }
    }

    fn suspicion(&mut self, id: MemberId) -> &mut Suspicion {
        let suspicion = self.suspicions.get_mut(&id);
        let Some(suspicion) = suspicion else { panic!("{id} is pursued and not suspected") };
        suspicion
    }

    /// Fills the empty seats of a jury: neighbours first, then anybody.
    fn fill_jury(&mut self, cx: &mut Context, members: &Membership, overlay: &Overlay, id: MemberId) {
        // Their word about others is worth little, if they can say any.
        let suspected: BTreeSet<MemberId> = self.suspicions.keys().copied().collect();
        let suspicion = self.suspicion(id);
        let mut wanted = suspicion.wants(cx.now);
        assert!(wanted < JURY_MAX.get(), "{wanted} jurors are wanted, {JURY_MAX} are a whole jury");
        if wanted == 0 {
            return;
        }
        let cause = suspicion.cause;
        let is_free = |other: MemberId| {
            other.address != cx.me && !suspected.contains(&other) && !suspicion.has_asked(other.address)
        };
        let mut candidates: Vec<(bool, u32, MemberId, Wire)> = members
            .view()
            .members()
            .filter(|m| is_free(m.id))
            // False sorts first: neighbours, over open connections. Then chance decides, so that no peer is asked
            // about all.
            .map(|m| (overlay.link_with(m.id.address).is_none(), cx.rng.random(), m.id, m.wire))
            .collect();
        // In a large cluster to put all of them in order would take longer than the death may. One more than are
        // wanted stays, for whether there are others is of interest below.
        if candidates.len() > wanted {
            candidates.select_nth_unstable(wanted);
            candidates.truncate(wanted + 1);
        }
        candidates.sort_unstable();
        let broke = cause.is_break();
        // Another takes the place of one that has not found a gone host gone by then; whose host accepts connections
        // may take longer, and its vote counts all the same.
        let borne = cx.config.patience;
        let grace = borne.juror_grace();
        let replaced_after = borne.for_opening(broke, 0.0, false) + grace;
        let patience = borne.for_probe(0.0, false) + grace;
        for (_, _, juror, wire) in candidates {
            if wanted == 0 {
                return;
            }
            wanted -= 1;
            suspicion.asked(juror, wire, cx.now + replaced_after);
            if suspicion.has_replaced() {
                cx.count("jurors_replaced");
            }
            let message = LinkMessage::SuspectRequest {
                suspect: id,
                cause,
                requester: cx.me,
                cluster: members.cluster(),
            };
            match overlay.link_with(juror.address) {
                Some(link) => cx.send(link.connection, Message::Link(message)),
                None => cx.want(Effect::Ask { juror: juror.address, wire, message, patience }),
            }
        }
        // Every member was asked: the result need not wait for the end of the time.
        suspicion.nobody_left();
    }

    /// A juror has voted.
    pub(crate) fn voted(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        juror: Address,
        suspect: MemberId,
        alive: bool,
    ) {
        // A vote may come when its suspect is a member no longer, or suspected no longer.
        let Some(id) = members.member_named(suspect) else { return };
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        if !suspicion.vote(juror, !alive) {
            return cx.count("votes_unasked");
        }
        cx.log(
            Line::new("SUSPECT_RESPONSE")
                .with("suspect", id.address)
                .with("from", juror)
                .with("alive", alive)
                .with("dead_votes", suspicion.dead_votes())
                .with("jury", suspicion.jury),
        );
    }

    /// A juror cannot tell.
    pub(crate) fn cannot_tell(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        juror: Address,
        suspect: MemberId,
    ) {
        let Some(id) = members.member_named(suspect) else { return };
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        cx.count("jurors_undecided");
        let pause = ASK_ANOTHER_AFTER.get().0
            + (ASK_ANOTHER_AFTER.get().1 - ASK_ANOTHER_AFTER.get().0).mul_f64(cx.rng.random());
        suspicion.cannot_tell(juror, cx.now + pause);
    }

    /// The report, the first or a repeated one, if it is due.
    fn due_report(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        id: MemberId,
        is_undecided: bool,
    ) -> Option<DueReport> {
        let now = cx.now;
        let suspicion = self.suspicion(id);
        if !suspicion.report_is_due(now) {
            return None;
        }
        // A juror that is no member any more may not vote: the seeds would reject the report, however often it comes.
        let mut votes = suspicion.votes();
        votes.retain(|vote| members.member_named(vote.juror).is_some());
        let dead_votes = votes.iter().filter(|vote| vote.dead).count();
        let undecided = is_undecided || dead_votes < suspicion.needed();
        let made = suspicion.reports();
        assert!(made > 0, "a report about {id} is due and counts as not made");
        let turn = made - 1;
        let report = DeathReport {
            dead: id,
            suspected: Some(cx.wall(suspicion.since)),
            timestamp: cx.wall(now),
            cause: suspicion.cause,
            votes,
            undecided,
        };
        cx.log(report.line(id, cx.me));
        match turn {
            0 if undecided => cx.count("juries_undecided"),
            0 => {}
            _ => cx.count("reports_repeated"),
        }
        Some(DueReport { turn, report })
    }
}
