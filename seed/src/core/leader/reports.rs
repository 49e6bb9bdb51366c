//! Whether a report of a death may open a ballot.
//!
//! A report is a reason to ask the seeds, not evidence: their own probes decide. So what is checked is only that it
//! comes from a member, names one, and was not padded with votes of nobody.
//!
//! Left out: a check that the jury was large enough. Rapid (Suresh et al., 2018) waits for several observers before
//! anything is proposed; here a lone one may report, and a wrong report costs some probes.

use std::collections::BTreeSet;

use coterie_common::limits::{BALLOTS_MAX, JURY_MAX};
use coterie_common::message::DeathReport;
use coterie_common::{MemberId, Refusal, Why};

use crate::core::registry::Registry;

/// Checks a report against the registry. How many votes it carries is no condition: a shortfall makes it an undecided
/// one, and the seeds find out for themselves either way. `open`: how many ballots about deaths are open;
/// `ended_lately`: whose votes count though they are members no longer.
pub(super) fn check(
    registry: &Registry,
    report: &DeathReport,
    reporter: MemberId,
    open: usize,
    ended_lately: impl Fn(MemberId) -> bool,
) -> Result<MemberId, Refusal> {
    let dead = report.dead;
    if registry.member(reporter).is_none() {
        return Err(Why::Stranger.into());
    }
    // Who is alive enough to report is not dead; and an end of its own life it asks for by leaving.
    if dead.address == reporter.address {
        return Err(Why::Oneself.into());
    }
    if registry.member(dead).is_none() {
        return Err(Refusal::new(Why::NotMember, format!("{dead} is not a member")));
    }
    if report.votes.len() > JURY_MAX.get() {
        return Err(too_many_votes(report));
    }
    // A member now, or until lately, or one that this registry has not seen join yet.
    let may_judge = |juror: MemberId| registry.may_be_member(juror) || ended_lately(juror);
    let mut seen = BTreeSet::new();
    for vote in &report.votes {
        // By address: of two lives at one address only one can be there to judge.
        if !seen.insert(vote.juror.address) {
            return Err(Refusal::new(Why::BadVotes, format!("{} voted twice", vote.juror.address)));
        }
        if vote.juror.address == dead.address || !may_judge(vote.juror) {
            return Err(Refusal::new(Why::BadVotes, format!("{} may not vote", vote.juror)));
        }
    }
    // Checked last: a report that is wrong is told so, however much is under way. This counts also for one about a life
    // whose ballot is open already.
    if open >= BALLOTS_MAX.get() {
        return Err(Refusal::new(Why::Limit, format!("{BALLOTS_MAX} deaths are under way")));
    }
    Ok(dead)
}

/// No jury is so large. Refused where it comes in, too: passed on, it might not fit a frame.
pub(crate) fn too_many_votes(report: &DeathReport) -> Refusal {
    let detail = format!("{} votes, a jury has {JURY_MAX} at most", report.votes.len());
    Refusal::new(Why::BadVotes, detail)
}
