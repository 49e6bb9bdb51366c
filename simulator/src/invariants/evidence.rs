//! The evidence of every death is valid, at every seed that keeps it: enough distinct votes of seeds, each about this
//! very incarnation and ballot with a finding that speaks of death; stages in their order; a jury where peers accused.

use std::collections::BTreeSet;

use coterie_common::message::{Cause, Subject};
use coterie_common::{Instant, Timestamp, majority};
use coterie_seed::core::entry::DeathRecord;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

pub(super) struct Evidence;

fn check(verdict: &DeathRecord, seeds: usize) -> Result<(), String> {
    let dead = verdict.dead;
    let voters: BTreeSet<_> = verdict.votes.iter().map(|vote| vote.seed).collect();
    if voters.len() != verdict.votes.len() || voters.len() < majority(seeds) {
        return Err(format!(
            "{dead} was confirmed dead by {} votes of {} seeds",
            verdict.votes.len(),
            voters.len()
        ));
    }
    for vote in &verdict.votes {
        if vote.subject != Subject::Death(dead)
            || vote.ballot != verdict.ballot
            || vote.finding.is_dead() != Some(true)
        {
            return Err(format!("{dead} was confirmed dead by a vote about something else: {vote:?}"));
        }
    }
    let stages = &verdict.stages;
    // Clocks begin at the time that stands for none.
    if [stages.opened, stages.carried, stages.proposed].contains(&Timestamp::default()) {
        return Err(format!("a stage of {dead}'s death has no time: {stages:?}"));
    }
    if stages.carried < stages.opened || stages.proposed < stages.carried {
        return Err(format!("the stages of {dead}'s death are out of order: {stages:?}"));
    }
    let suspected_late =
        stages.suspected.zip(stages.reported).is_some_and(|(suspected, reported)| reported < suspected);
    if suspected_late {
        return Err(format!("{dead} was reported before it was suspected: {stages:?}"));
    }
    match (verdict.reporter, verdict.cause) {
        (None, Cause::Absent) => Ok(()),
        (None, cause) => Err(format!("{dead} was confirmed dead for {cause}, and nobody reported it")),
        (Some(reporter), _) if reporter == dead.address => Err(format!("{dead} reported its own death")),
        (Some(_), _) if verdict.jurors.iter().any(|juror| juror.juror.address == dead.address) => {
            Err(format!("{dead} was on its own jury"))
        }
        (Some(_), _) => Ok(()),
    }
}

impl Invariant for Evidence {
    fn name(&self) -> &'static str {
        "evidence"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        let Observed::Committed { index, .. } = observed else { return Ok(()) };
        let seeds = truth.registry().seed_sets().iter().map(BTreeSet::len).max().unwrap_or(0);
        let mut new = truth.registry().deaths().rev().take_while(|death| death.epoch.0 == *index);
        new.try_for_each(|death| check(&death.record, seeds))
    }
}
