//! What is wrong, as a node sees it.
//!
//! A node that is of no use looks like one that is well. So whatever keeps it from its work is said once, when it has
//! lasted, and once more when it is over; meanwhile the node's status shows it. Nothing is decided by any of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Instant;
use crate::knob::Knob;
use crate::limits::TROUBLES_MAX;

/// So long a trouble lasts before it is told: a node that starts, an election and a restart are none. A guess.
pub const TOLD_AFTER: Knob<Duration> = Knob::new("TOLD_AFTER", Duration::from_secs(5));

/// What is wrong, by what it is about.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    all: BTreeMap<String, Trouble>,
}

#[derive(Clone, Debug)]
struct Trouble {
    why: String,
    since: Instant,
    /// When it was told last, and with which reason.
    told: Option<(Instant, String)>,
    /// When it was over, if it is.
    over: Option<Instant>,
}

impl Troubles {
    /// This is so now, and `why`; or it is not so. The reason may change meanwhile: the one that counts is the last.
    pub fn note(&mut self, now: Instant, what: &str, why: Option<String>) {
        let has_room = self.all.len() < TROUBLES_MAX;
        match (self.all.get_mut(what), why) {
            (Some(trouble), Some(why)) => (trouble.why, trouble.over) = (why, None),
            (Some(trouble), None) => drop(trouble.over.get_or_insert(now)),
            (None, Some(why)) if has_room => {
                let trouble = Trouble { why, since: now, told: None, over: None };
                self.all.insert(what.to_owned(), trouble);
            }
            (None, _) => {}
        }
    }

    /// What is to be told now: what has lasted, and what was told and is over. Each once; or once more, a good while
    /// later, when the reason is another. One that comes back at once was never over.
    #[must_use]
    pub fn news(&mut self, now: Instant) -> Vec<String> {
        let mut news = Vec::new();
        for (what, trouble) in &mut self.all {
            if now >= trouble.due() {
                match trouble.over {
                    None => {
                        trouble.told = Some((now, trouble.why.clone()));
                        news.push(format!("{what}: {}", trouble.why));
                    }
                    // What did not last is over as it began: without a word.
                    Some(_) if trouble.told.is_none() => {}
                    Some(over) => {
                        news.push(format!("{what}: over, after {} s", over.since(trouble.since).as_secs()));
                    }
                }
            }
        }
        self.all.retain(|_, trouble| trouble.over.is_none_or(|over| now < over + SETTLES.get()));
        news
    }

    /// What was told and is not over: what, with the reason, and for how long.
    pub fn told(&self, now: Instant) -> impl Iterator<Item = (String, Duration)> + '_ {
        let is_told = |trouble: &Trouble| trouble.told.is_some() && trouble.over.is_none();
        let told = self.all.iter().filter(move |(_, trouble)| is_told(trouble));
        told.map(move |(what, trouble)| (format!("{what}: {}", trouble.why), now.since(trouble.since)))
    }

    /// When something is to be told.
    pub fn deadline(&self) -> Instant {
        self.all.values().map(Trouble::due).min().unwrap_or(Instant::NEVER)
    }
}

impl Trouble {
    /// When it is to be told, or told that it is over.
    fn due(&self) -> Instant {
        match (&self.told, self.over) {
            (None, None) => self.since + TOLD_AFTER.get(),
            (_, Some(over)) => over + SETTLES.get(),
            (Some((at, why)), None) if *why != self.why => *at + TOLD_AGAIN_AFTER.get(),
            (Some(_), None) => Instant::NEVER,
        }
    }
}

/// So long after it was told a trouble is told again, if its reason is another by then.
const TOLD_AGAIN_AFTER: Knob<Duration> = Knob::new("TOLD_AGAIN_AFTER", Duration::from_secs(10));

/// So long it is over before that is told: what comes and goes is one trouble, told once.
const SETTLES: Knob<Duration> = Knob::new("common/troubles/SETTLES", Duration::from_secs(3));

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn what_lasts_is_told_once_and_once_more_when_it_is_over() {
        let mut troubles = Troubles::default();
        let wrong = || Some("nobody answers".to_owned());
        troubles.note(at(0), "no session", wrong());
        assert_eq!(troubles.deadline(), at(5_000));
        assert!(troubles.news(at(4_999)).is_empty());
        assert_eq!(troubles.told(at(4_999)).count(), 0);
        troubles.note(at(5_000), "no session", Some("refused".to_owned()));
        assert_eq!(troubles.news(at(5_000)), ["no session: refused"]);
        let told: Vec<_> = troubles.told(at(8_000)).collect();
        assert_eq!(told, [("no session: refused".to_owned(), Duration::from_secs(8))]);
        assert!(troubles.news(at(60_000)).is_empty(), "once");
        troubles.note(at(60_000), "no session", Some("silent".to_owned()));
        assert_eq!(troubles.news(at(60_000)), ["no session: silent"], "but for another reason");
        troubles.note(at(60_500), "no session", Some("refused".to_owned()));
        assert!(troubles.news(at(60_900)).is_empty(), "not every moment");
        troubles.note(at(60_900), "no session", Some("silent".to_owned()));
        // Over for a moment is not over.
        troubles.note(at(61_000), "no session", None);
        troubles.note(at(63_500), "no session", Some("silent".to_owned()));
        assert!(troubles.news(at(65_000)).is_empty());
        troubles.note(at(70_000), "no session", None);
        assert!(troubles.news(at(72_999)).is_empty());
        assert_eq!(troubles.deadline(), at(73_000));
        assert_eq!(troubles.news(at(73_000)), ["no session: over, after 70 s"]);
        assert_eq!(troubles.deadline(), Instant::NEVER);
        assert!(troubles.news(at(99_000)).is_empty());
    }

    #[test]
    fn what_does_not_last_is_never_told() {
        let mut troubles = Troubles::default();
        troubles.note(at(0), "a seed", Some("refused".to_owned()));
        troubles.note(at(4_000), "a seed", None);
        assert!(troubles.news(at(4_000)).is_empty());
        assert!(troubles.news(at(7_000)).is_empty());
        troubles.note(at(7_100), "a seed", Some("refused".to_owned()));
        assert!(troubles.news(at(12_000)).is_empty(), "another one");
        // What comes and goes is one that lasts.
        troubles.note(at(12_050), "a seed", None);
        troubles.note(at(12_090), "a seed", Some("silent".to_owned()));
        assert_eq!(troubles.news(at(12_100)), ["a seed: silent"]);
    }

    #[test]
    fn there_are_not_more_than_the_limit() {
        let mut troubles = Troubles::default();
        for number in 0..=TROUBLES_MAX {
            troubles.note(at(0), &number.to_string(), Some("so".to_owned()));
        }
        assert_eq!(troubles.news(at(5_000)).len(), TROUBLES_MAX);
    }
}
