//! How a death was found, in words.

use coterie_common::Timestamp;
use coterie_common::message::{Evidence, SeedFinding, Stages};

/// How a death was found, step by step. Two hosts' clocks differ, so each one's milliseconds count from its own first
/// step: those of the peer that reported it, and those of the leader.
pub(crate) fn timeline(evidence: &Evidence) -> Vec<String> {
    let Stages { suspected, reported, opened, carried, proposed } = evidence.stages;
    let reporter = evidence.reporter.map(|address| address.to_string()).unwrap_or_default();
    let jurors = (evidence.jurors.iter().filter(|vote| vote.dead).count(), evidence.jurors.len());
    let seeds: Vec<String> =
        evidence.seeds.iter().map(|SeedFinding { seed, finding, .. }| format!("{seed} {finding}")).collect();
    let doubt = match evidence.reporter {
        Some(_) => format!("ballot {} of the seeds", evidence.ballot),
        None => format!("ballot {} of the seeds: {}", evidence.ballot, evidence.cause),
    };
    let at_the_peer = [
        suspected.map(|at| (at, format!("{reporter} suspects it: {}", evidence.cause))),
        reported
            .map(|at| (at, format!("{reporter} reports it: {} of {} jurors say dead", jurors.0, jurors.1))),
    ];
    let at_the_leader = [
        (opened, doubt),
        (carried, format!("carried: {}", seeds.join(", "))),
        (proposed, format!("to be committed as epoch {}", evidence.epoch)),
    ];
    let by_one_clock = |steps: Vec<(Timestamp, String)>| {
        let first = steps.iter().map(|(at, _)| at.as_micros()).min().unwrap_or_default();
        let line = move |(at, what): (Timestamp, String)| {
            format!("{:>12.3} ms  {what}", (at.as_micros() - first) as f64 / 1e3)
        };
        steps.into_iter().map(line)
    };
    let about = format!("how the death of {} was found:", evidence.dead.address);
    let at_the_peer = by_one_clock(at_the_peer.into_iter().flatten().collect());
    [about].into_iter().chain(at_the_peer).chain(by_one_clock(at_the_leader.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use coterie_common::message::{BallotId, Cause};
    use coterie_common::{Epoch, Incarnation, MemberId};

    use super::*;

    /// The clock of the peer is an hour behind that of the leader: the ballot stood there 3,600,004 ms after the doubt.
    #[test]
    fn no_clock_is_held_against_that_of_another_host() {
        let micros = Timestamp::from_micros;
        let hour = 3_600_000_000;
        let evidence = Evidence {
            dead: MemberId { address: "10.0.0.9:6003".parse().unwrap(), incarnation: Incarnation(7) },
            epoch: Epoch(12),
            cause: Cause::PingsMissed,
            reporter: Some("10.0.0.8:6001".parse().unwrap()),
            jurors: Vec::new(),
            ballot: BallotId { term: 2, number: 5 },
            seeds: Vec::new(),
            stages: Stages {
                suspected: Some(micros(10_000)),
                reported: Some(micros(11_500)),
                opened: micros(hour + 14_000),
                carried: micros(hour + 14_250),
                proposed: micros(hour + 14_250),
            },
        };
        let times: Vec<String> = timeline(&evidence)[1..]
            .iter()
            .map(|line| line.split(" ms").next().unwrap().trim().to_owned())
            .collect();
        assert_eq!(times, ["0.000", "1.500", "0.000", "0.250", "0.250"]);
    }
}
