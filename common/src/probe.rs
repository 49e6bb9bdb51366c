//! The order to probe one life at one address.

use std::fmt;
use std::time::Duration;

use crate::limits::PROBE_LATE_MAX;
use crate::{Address, Finding, Instant, Life, Wire};

/// A probe: is this life there? The rules of how it is carried out stand with [`crate::net::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOrder {
    /// Where.
    pub address: Address,
    /// The life that must answer; [`Life::NONE`] is any program that names no life.
    pub life: Life,
    /// How it speaks.
    pub wire: Wire,
    /// How long silence is borne.
    pub patience: Duration,
    /// How long it may take until a connection opens: no longer than the patience, and less where a connection to the
    /// suspect broke. A host that accepts connections is not gone, so whoever listens there is then given time.
    pub open_within: Duration,
    /// What was learnt of the way there: no connection is opened sooner than that after the one before it, for the one
    /// before may merely be on its way.
    pub round_trip: Duration,
    /// How many connections it may open.
    pub effort: Effort,
}

/// What a probe may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// One connection. It can bring proof of a death, or of life; its silence says nothing, for it may have been lost.
    FirstOnly,
    /// As many as its patience allows.
    Whole,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effort::FirstOnly => "first_only",
            Effort::Whole => "whole",
        })
    }
}

/// When the connections of a probe are opened, in parts of its time: soon at first, for a lost packet is the
/// commonest reason, and then less and less often. Where each fifth packet is lost, one connection in three does not
/// open at once, so of eight none does in three of ten thousand probes; with five it was six of a thousand, and
/// simulated seeds removed the living. After a break there is a quarter of the time, and they follow each other as
/// closely as they may.
const AFTER_SILENCE: [f64; 8] = [0.0, 0.03, 0.07, 0.12, 0.19, 0.28, 0.40, 0.53];
const AFTER_A_BREAK: [f64; 8] = [0.0, 0.12, 0.24, 0.36, 0.48, 0.60, 0.72, 0.84];

/// While so many of its connections are open and silent, a probe opens no other: what is lost on them the kernel
/// repeats, after 200 ms and again after 400, and whoever is only busy must not be given more to do. Where each fifth
/// packet is lost, three that are open stay silent for the whole time in about one of ten thousand probes. A probe that
/// ends before the second repetition has its number of connections alone.
const OPEN_AT_ONCE: usize = 3;
const REPEATED_TWICE: Duration = Duration::from_millis(600);

/// What a probe opens that may open all.
pub const PROBE_CONNECTIONS: usize = AFTER_SILENCE.len();

impl ProbeOrder {
    /// When each of its connections is to be opened, from its start on.
    pub fn opens_at(&self) -> Vec<Duration> {
        let parts = if self.open_within < self.patience { AFTER_A_BREAK } else { AFTER_SILENCE };
        let parts = match self.effort {
            Effort::FirstOnly => &parts[..1],
            Effort::Whole => &parts[..],
        };
        let mut times: Vec<Duration> = Vec::with_capacity(parts.len());
        for part in parts {
            let earliest = times.last().map_or(Duration::ZERO, |before| *before + self.round_trip);
            times.push(self.open_within.mul_f64(*part).max(earliest));
        }
        times
    }

    /// How many of its connections may be open and silent before it opens no other.
    pub fn open_at_once(&self) -> usize {
        if self.patience > REPEATED_TWICE { OPEN_AT_ONCE } else { PROBE_CONNECTIONS }
    }

    /// Whom it is about.
    pub fn target(&self) -> ProbeTarget {
        ProbeTarget { address: self.address, life: self.life }
    }
}

/// Whom a probe is about: one life at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeTarget {
    /// Where.
    pub address: Address,
    /// The life that must answer.
    pub life: Life,
}

/// A probe under way, as the core that ordered it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    began: Instant,
    until: Instant,
    effort: Effort,
    follows_a_break: bool,
}

impl UnderWay {
    /// It begins `now`.
    pub fn new(now: Instant, order: &ProbeOrder) -> Self {
        let (until, follows_a_break) = (now + order.patience, order.open_within < order.patience);
        UnderWay { began: now, until, effort: order.effort, follows_a_break }
    }

    /// Whether a connection to that life had broken when it began.
    pub fn follows_a_break(self) -> bool {
        self.follows_a_break
    }

    /// When it began. What was asked before tells of a time before.
    pub fn began(self) -> Instant {
        self.began
    }

    /// When what it found was so, for one whose result is looked at `now`. Of a late one nobody knows: a node that
    /// stood still finds it in its socket, and it may be as old as the probe.
    pub fn found_at(self, now: Instant) -> Instant {
        if self.is_late(now) { self.began } else { now }
    }

    fn is_late(self, now: Instant) -> bool {
        now > self.until + PROBE_LATE_MAX.get()
    }

    /// What it may cost.
    pub fn effort(self) -> Effort {
        self.effort
    }

    /// What a result is worth that is looked at `now`.
    ///
    /// A result that comes much later than the patience allows speaks of this node: it stood still, or was starved,
    /// and neither asked while the suspect could have answered nor looked when it did. That is no evidence of a
    /// death. Nor is silence on the only connection that it was allowed. What was proved stays proved, however late
    /// it is read.
    pub fn weigh(self, now: Instant, finding: Finding) -> Finding {
        match finding {
            Finding::Silent if self.is_late(now) || self.effort == Effort::FirstOnly => Finding::CannotProbe,
            Finding::Silent
            | Finding::Refused
            | Finding::OtherLife(_)
            | Finding::Alive
            | Finding::CannotProbe => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn order(open_within: u32, round_trip: Duration, effort: Effort) -> ProbeOrder {
        let address = Address::new([127, 0, 0, 1].into(), 1);
        let (life, wire, patience) = (Life(1), Wire::Native, 800 * MS);
        ProbeOrder { address, life, wire, patience, open_within: open_within * MS, round_trip, effort }
    }

    #[test]
    fn who_stood_still_while_probing_has_not_found_anybody_silent() {
        let probe = UnderWay::new(Instant::START, &order(800, MS, Effort::Whole));
        let in_time = Instant::START + 800 * MS + PROBE_LATE_MAX.get();
        let late = in_time + Duration::from_nanos(1);
        assert_eq!(probe.weigh(in_time, Finding::Silent), Finding::Silent);
        assert_eq!(probe.weigh(late, Finding::Silent), Finding::CannotProbe);
        for proved in [Finding::Refused, Finding::OtherLife(Life(2)), Finding::Alive] {
            assert_eq!(probe.weigh(late, proved), proved);
        }
        assert_eq!((probe.found_at(in_time), probe.found_at(late)), (in_time, Instant::START));
    }

    #[test]
    fn silence_on_the_only_connection_is_no_finding_and_a_refusal_is() {
        let probe = UnderWay::new(Instant::START, &order(800, MS, Effort::FirstOnly));
        assert_eq!(probe.weigh(Instant::START, Finding::Silent), Finding::CannotProbe);
        assert_eq!(probe.weigh(Instant::START, Finding::Refused), Finding::Refused);
    }

    #[test]
    fn connections_are_opened_soon_at_first_and_no_sooner_than_a_round_trip_apart() {
        let ms =
            |order: ProbeOrder| -> Vec<u128> { order.opens_at().iter().map(Duration::as_millis).collect() };
        assert_eq!(ms(order(800, MS, Effort::Whole)), [0, 24, 56, 96, 152, 224, 320, 424]);
        assert_eq!(ms(order(200, MS, Effort::Whole)), [0, 24, 48, 72, 96, 120, 144, 168]);
        assert_eq!(ms(order(200, 40 * MS, Effort::Whole)), [0, 40, 80, 120, 160, 200, 240, 280]);
        assert_eq!(ms(order(200, MS, Effort::FirstOnly)), [0]);
    }
}
