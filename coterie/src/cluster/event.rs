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
        let (value, after) = if after.starts_with('"') {
            unquote(after)
        } else {
            let (value, after) = after.split_once(' ').unwrap_or((after, ""));
            (value.to_owned(), after)
        };
        fields.insert(key.trim().to_owned(), value);
        rest = after;
    }
    fields
}

/// The JSON string at the beginning, and what follows it. Of a line that was cut off, what there is.
fn unquote(quoted: &str) -> (String, &str) {
    let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
    match strings.next() {
        Some(Ok(text)) => (text, &quoted[strings.byte_offset()..]),
        Some(Err(_)) | None => (quoted.to_owned(), ""),
    }
}

#[cfg(test)]
mod tests {
    use coterie_common::{Line, Role};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What was quoted one way was read another: an escape character came back as the four letters of its number.
        #[test]
        fn whatever_is_written_is_read(text in "\\PC*|[\u{0}-\u{9f}\"\\\\= ]*", number in any::<u64>()) {
            let line = Line::new("GOSSIP").with("first", text.as_str()).with("number", number);
            let line = line.with("last", text.as_str()).to_text(Timestamp::default(), Role::Peer, "127.0.0.1:6001");
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(line.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{:?}", line);
            let event = LogEvent::parse(line.trim_end_matches('\n')).unwrap();
            prop_assert_eq!(event.get("first"), text.as_str());
            prop_assert_eq!(event.number("number"), Some(number));
            prop_assert_eq!(event.get("last"), text.as_str());
        }
    }

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
