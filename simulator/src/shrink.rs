//! The smallest run that still fails in the same way.
//!
//! Delta debugging over the list of faults (Zeller and Hildebrandt, 2002): halves, quarters, and so on are left out for
//! as long as the run still violates the same invariant; then peers are taken away, and time.

use crate::check::report::Violation;
use crate::plan::{Plan, Restriction};
use crate::run::run;

/// Runs that may be spent on it.
const TRIES_MAX: usize = 400;

/// What is left of `plan`, which violates that invariant, when all is left out that can be.
pub fn shrink(plan: &Plan, violation: &Violation) -> (Restriction, Violation) {
    let mut best = (Restriction::default(), violation.clone());
    let mut tries = 0;
    let mut attempt = |restriction: Restriction, best: &mut (Restriction, Violation)| {
        tries += 1;
        if tries > TRIES_MAX {
            return false;
        }
        match run(&plan.restricted(&restriction), None) {
            Err(other) if other.invariant == violation.invariant => {
                *best = (restriction, other);
                true
            }
            Ok(_) | Err(_) => false,
        }
    };
    let mut kept: Vec<usize> = (0..plan.faults.len()).collect();
    let mut part = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < kept.len() {
            let fewer: Vec<usize> = [&kept[..at], &kept[(at + part).min(kept.len())..]].concat();
            let restriction = Restriction { keep: Some(fewer.clone()), ..best.0.clone() };
            if attempt(restriction, &mut best) {
                kept = fewer;
            } else {
                at += part;
            }
        }
        if part == 1 {
            break;
        }
        part = part.div_ceil(2);
    }
    let mut peers = plan.swarm.peers;
    while peers > 2 && attempt(Restriction { peers: Some(peers - 1), ..best.0.clone() }, &mut best) {
        peers -= 1;
    }
    let mut until = plan.swarm.chaos.as_millis() as u64;
    while until > 1_000 && attempt(Restriction { until: Some(until * 3 / 4), ..best.0.clone() }, &mut best) {
        until = until * 3 / 4;
    }
    best
}
