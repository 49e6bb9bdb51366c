//! One event as a line of the log.
//!
//! The words and keys are a contract that outside scripts rely on; what each event carries is listed in the
//! README. A line is built where the event happens and written elsewhere, by the journal.

use std::fmt::{self, Write};

use crate::{Address, Epoch, Incarnation, Timestamp};

/// Longest `content` that a line shows, in bytes.
const CONTENT_SHOWN_MAX: usize = 200;

/// Which kind of node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Keeps the registry.
    Seed,
    /// Is kept in it.
    Peer,
}

impl Role {
    /// As in file names and at the head of an error: `seed` or `peer`.
    pub fn lower(self) -> &'static str {
        match self {
            Role::Seed => "seed",
            Role::Peer => "peer",
        }
    }

    fn upper(self) -> &'static str {
        match self {
            Role::Seed => "SEED",
            Role::Peer => "PEER",
        }
    }
}

/// The value of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Words, quoted where they need it.
    Text(String),
    /// A count, an epoch, an incarnation, a term.
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
}

/// One event: its name, and its keys in the order in which they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    event: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// An event without keys yet.
    pub fn new(event: &'static str) -> Self {
        Line { event, fields: Vec::new() }
    }

    /// The name of the event.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// The line with one key more.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((key, value.into()));
        self
    }

    /// The line with a key whose value is shown by `Display`.
    pub fn show(self, key: &'static str, value: impl fmt::Display) -> Self {
        self.with(key, value.to_string())
    }

    /// The line with a list, joined by commas.
    pub fn list<T: fmt::Display>(self, key: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        let shown: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
        self.with(key, shown.join(","))
    }

    /// The line with the `content` of a message: cut at 200 bytes, in hex with its length when it is not text.
    pub fn content(self, content: &[u8]) -> Self {
        match std::str::from_utf8(content) {
            Ok(text) => self.with("content", text[..floor_char_boundary(text, CONTENT_SHOWN_MAX)].to_owned()),
            Err(_) => self
                .with("content", hex(&content[..content.len().min(CONTENT_SHOWN_MAX)]))
                .with("bytes", content.len()),
        }
    }

    /// The value of `key`, for those who read lines rather than write them.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The event and its keys as text, without the head.
    pub fn body(&self) -> String {
        let mut out = String::with_capacity(128);
        self.write_body(&mut out);
        out
    }

    fn write_body(&self, out: &mut String) {
        out.push_str(self.event);
        for (key, value) in &self.fields {
            let _ = write!(out, " {key}={value}");
        }
    }

    /// The whole line as text, with its line feed.
    pub fn to_text(&self, time: Timestamp, role: Role, own: &str) -> String {
        let mut out = String::with_capacity(192);
        let _ = write!(out, "{time} {} {own} ", role.upper());
        self.write_body(&mut out);
        out.push('\n');
        out
    }

    /// The whole line as one JSON object, with its line feed.
    pub fn to_json(&self, time: Timestamp, role: Role, own: &str) -> String {
        let mut object = serde_json::Map::new();
        object.insert("time".into(), time.to_string().into());
        object.insert("role".into(), role.upper().into());
        object.insert("node".into(), own.into());
        object.insert("event".into(), self.event.into());
        for (key, value) in &self.fields {
            let value = match value {
                Value::Text(text) => text.clone().into(),
                Value::Number(number) => (*number).into(),
                Value::Flag(flag) => (*flag).into(),
            };
            object.insert((*key).into(), value);
        }
        let mut out = serde_json::Value::Object(object).to_string();
        out.push('\n');
        out
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) if needs_quotes(text) => f.write_str(&quoted(text)),
            Value::Text(text) => f.write_str(text),
            Value::Number(number) => number.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
        }
    }
}

/// The text as a JSON string, which any language reads. All control characters are escaped, and not only those that
/// JSON demands: a terminal that shows a log obeys the others, too.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        let _ = if c.is_control() { write!(out, "\\u{:04x}", u32::from(c)) } else { out.write_char(c) };
        out
    })
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.chars().any(|c| c == ' ' || c == '"' || c == '\\' || c.is_control())
}

/// The greatest boundary between characters at or before `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<Address> for Value {
    fn from(address: Address) -> Self {
        Value::Text(address.to_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl From<Epoch> for Value {
    fn from(epoch: Epoch) -> Self {
        Value::Number(epoch.0)
    }
}

impl From<Incarnation> for Value {
    fn from(incarnation: Incarnation) -> Self {
        Value::Number(incarnation.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let suspect: Address = "127.0.0.1:6003".parse().unwrap();
        Line::new("SUSPICION")
            .with("suspect", suspect)
            .with("incarnation", Incarnation(7))
            .with("cause", "connection_lost")
    }

    #[test]
    fn a_line_reads_as_the_contract_says() {
        let time = Timestamp::from_micros(1_795_153_490_047_147);
        assert_eq!(
            line().to_text(time, Role::Peer, "127.0.0.1:6001"),
            "2026-11-20T05:44:50.047147Z PEER 127.0.0.1:6001 SUSPICION \
             suspect=127.0.0.1:6003 incarnation=7 cause=connection_lost\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&line().to_json(time, Role::Peer, "127.0.0.1:6001")).unwrap();
        assert_eq!(json["event"], "SUSPICION");
        assert_eq!(json["incarnation"], 7);
        assert_eq!(json["suspect"], "127.0.0.1:6003");
    }

    #[test]
    fn values_that_would_break_the_line_are_quoted() {
        let body = |text: &str| Line::new("X").with("k", text).body();
        assert_eq!(body("plain"), "X k=plain");
        assert_eq!(body(""), "X k=\"\"");
        assert_eq!(body("two words"), "X k=\"two words\"");
        assert_eq!(body("say \"hi\""), r#"X k="say \"hi\"""#);
        assert_eq!(body("a\nb\\"), r#"X k="a\nb\\""#);
    }

    #[test]
    fn content_is_cut_between_characters_and_shown_in_hex_when_it_is_not_text() {
        let long = "é".repeat(150);
        let Some(Value::Text(shown)) = Line::new("GOSSIP").content(long.as_bytes()).get("content").cloned()
        else {
            panic!("no content");
        };
        assert_eq!(shown, "é".repeat(100));
        assert_eq!(Line::new("GOSSIP").content(&[0xff, 0x00]).body(), "GOSSIP content=ff00 bytes=2");
    }
}
