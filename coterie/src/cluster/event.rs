//! Reading log lines: the other side of the contract.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::Timestamp;

const DAY_MICROS: u64 = 86_400_000_000;

/// One line of a log, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// When it happened, as written; lines of one day compare as their times do.
    pub time: String,
    /// Who wrote it.
    pub node: String,
    /// What happened.
    pub event: String,
    fields: BTreeMap<String, String>,
    /// The line itself.
    pub line: String,
}

impl LogEvent {
    /// The event on `line`, if it is one.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let (time, _role, node) = (words.next()?, words.next()?, words.next()?);
        let event = words.next()?;
        let fields = parse_fields(words.next().unwrap_or_default());
        Some(LogEvent {
            time: time.to_owned(),
            node: node.to_owned(),
            event: event.to_owned(),
            fields,
            line: line.to_owned(),
        })
    }

    /// The value of `key`; empty where there is none.
    pub fn get(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// The value of `key` as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key).parse().ok()
    }

    /// How long after `moment` it happened; nothing where it happened before. Within half a day, for lines are of one
    /// day.
    pub fn after(&self, moment: Timestamp) -> Duration {
        let of_day = self.micros_of_day().unwrap_or_default();
        let micros = (of_day + DAY_MICROS - moment.as_micros() % DAY_MICROS) % DAY_MICROS;
        Duration::from_micros(if micros < DAY_MICROS / 2 { micros } else { 0 })
    }

    /// Microseconds since midnight.
    pub fn micros_of_day(&self) -> Option<u64> {
        let clock = self.time.split_once('T')?.1.strip_suffix('Z')?;
        let (hms, micros) = clock.split_once('.')?;
        let seconds = hms.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
        Some(seconds * 1_000_000 + micros.parse::<u64>().ok()?)
    }
}

fn parse_fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(' ').unwrap_or((after, ""));
                (value.to_owned(), after)
            }
        };
        fields.insert(key.trim().to_owned(), value);
        rest = after;
    }
    fields
}

/// The text up to the closing quote, its escapes undone, and what follows.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(other) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_as_it_was_put_together() {
        let line = r#"2026-11-20T05:44:50.047147Z PEER 127.0.0.1:6001 GOSSIP content="two \"words\"\n" origin=127.0.0.1:6002 empty="" n=7"#;
        let event = LogEvent::parse(line).unwrap();
        assert_eq!((event.node.as_str(), event.event.as_str()), ("127.0.0.1:6001", "GOSSIP"));
        assert_eq!(event.get("content"), "two \"words\"\n");
        assert_eq!(event.get("origin"), "127.0.0.1:6002");
        assert_eq!((event.get("empty"), event.number("n")), ("", Some(7)));
        assert_eq!(event.micros_of_day(), Some(((5 * 60 + 44) * 60 + 50) * 1_000_000 + 47_147));
        assert_eq!(LogEvent::parse("short line"), None);
    }
}
