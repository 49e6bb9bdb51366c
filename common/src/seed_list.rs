//! The list of seeds, in any of the spellings that people already have.
//!
//! Told by content, not by name: `ip,port[,key]` per line (csv), `ip:port` with one or several on a line
//! (txt), or JSON with `num_seeds` and `Seed_addresses`. Blank lines, `#` comments and CRLF are fine. One
//! file keeps to one spelling: a mixture is more often an accident than a wish.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits::SEEDS_MAX;

/// One seed as the list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedEntry {
    /// An IP or a host name.
    pub host: String,
    /// Its port, never 0.
    pub port: u16,
    /// The seed's public key, in a closed cluster.
    pub key: Option<String>,
}

impl fmt::Display for SeedEntry {
    /// `host:port`, as the seed is named in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The seeds of a cluster, in the order of the file, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedList {
    /// The seeds.
    pub seeds: Vec<SeedEntry>,
    /// What was odd but harmless, a line each.
    pub warnings: Vec<String>,
}

/// Why a list was not taken: the file, the line where there is one, and what is wrong there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", file.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct SeedListError {
    file: PathBuf,
    line: Option<usize>,
    problem: String,
}

impl SeedList {
    /// The seeds that `text` lists; `file` is named in errors and warnings.
    pub fn parse(file: impl Into<PathBuf>, text: &str) -> Result<SeedList, SeedListError> {
        let file = file.into();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let placed = match text.trim_start().chars().next() {
            Some('{') => parse_json(text),
            Some(_) | None => parse_lines(text),
        };
        let placed = placed.map_err(|(line, problem)| SeedListError { file: file.clone(), line, problem })?;
        let list = without_duplicates(&file, placed);
        match list.seeds.len() {
            0 => Err(SeedListError { file, line: None, problem: "lists no seed".to_owned() }),
            1..=SEEDS_MAX => Ok(list),
            many => {
                let problem = format!("lists {many} seeds, {SEEDS_MAX} are the most");
                Err(SeedListError { file, line: None, problem })
            }
        }
    }

    /// Whether the list makes the cluster a closed one: it carries the seeds' keys.
    pub fn is_closed(&self) -> bool {
        self.seeds.iter().any(|s| s.key.is_some())
    }
}

/// A seed and the line it stands on, where lines mean something.
type Placed = (Option<usize>, SeedEntry);
type Problem = (Option<usize>, String);

fn without_duplicates(file: &std::path::Path, placed: Vec<Placed>) -> SeedList {
    let mut list = SeedList { seeds: Vec::new(), warnings: Vec::new() };
    let mut first_seen = BTreeMap::new();
    for (line, seed) in placed {
        let name = seed.to_string();
        if first_seen.insert(name.clone(), ()).is_none() {
            list.seeds.push(seed);
        } else {
            let place = line.map(|l| format!(":{l}")).unwrap_or_default();
            list.warnings
                .push(format!("{}{place}: seed {name} is listed twice; counted once", file.display()));
        }
    }
    list
}

#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    Columns,
    Words,
}

fn parse_lines(text: &str) -> Result<Vec<Placed>, Problem> {
    let mut seeds = Vec::new();
    let mut spelling = None;
    for (index, line) in text.lines().enumerate() {
        let number = Some(index + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let here = if line.contains(',') { Spelling::Columns } else { Spelling::Words };
        if *spelling.get_or_insert(here) != here {
            return Err((number, format!("{line:?} mixes `ip,port` and `ip:port` in one file")));
        }
        match here {
            Spelling::Columns => seeds.push((number, parse_columns(line).map_err(|p| (number, p))?)),
            Spelling::Words => {
                for word in line.split_whitespace() {
                    let (host, port) = split_host_port(word).map_err(|p| (number, p))?;
                    seeds.push((number, entry(host, port, None).map_err(|p| (number, p))?));
                }
            }
        }
    }
    Ok(seeds)
}

fn parse_columns(line: &str) -> Result<SeedEntry, String> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    match columns[..] {
        [host, port] => entry(host, port, None),
        [host, port, ""] => entry(host, port, None),
        [host, port, key] => entry(host, port, Some(key.to_owned())),
        _ => Err(format!("{line:?} is not `ip,port` or `ip,port,key`")),
    }
}

/// The host and the port of `host:port`, `[v6]:port` without its brackets.
pub fn split_host_port(word: &str) -> Result<(&str, &str), String> {
    let (host, port) = word.rsplit_once(':').ok_or_else(|| format!("{word:?} is not `ip:port`"))?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match (bare, host.contains(':')) {
        (Some(v6), _) => Ok((v6, port)),
        (None, false) => Ok((host, port)),
        (None, true) => Err(format!("{word:?} is not `ip:port` (write IPv6 in brackets)")),
    }
}

/// `host:port` as a list has it, whoever wrote it.
pub fn canonical(name: &str) -> Result<String, String> {
    let (host, port) = split_host_port(name)?;
    entry(host, port, None).map(|seed| seed.to_string())
}

fn entry(host: &str, port: &str, key: Option<String>) -> Result<SeedEntry, String> {
    Ok(SeedEntry { host: parse_host(host)?, port: parse_port(port)?, key })
}

/// A port from 1 to 65535.
pub fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse::<u64>() {
        Ok(port @ 1..=65_535) => Ok(u16::try_from(port).unwrap_or_default()),
        Ok(port) => Err(format!("port {port} is not between 1 and 65535")),
        Err(_) => Err(format!("{text:?} is not a port between 1 and 65535")),
    }
}

/// An IP, or a name that could be a host's. Names are the same in small letters and in capitals: one spelling is kept.
pub fn parse_host(text: &str) -> Result<String, String> {
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return match ip.is_unspecified() {
            true => Err(format!("{text:?} is nobody's address")),
            false => Ok(ip.to_canonical().to_string()),
        };
    }
    let looks_numeric = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_label = |l: &str| {
        (1..=63).contains(&l.len()) && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    match !looks_numeric && text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("{text:?} is neither an IP nor a host name")),
    }
}

#[derive(Deserialize)]
struct JsonList {
    num_seeds: Option<u64>,
    #[serde(rename = "Seed_addresses")]
    addresses: JsonSeeds,
}

/// A list of seeds, or an object whose values they are.
struct JsonSeeds(Vec<SeedEntry>);

impl<'de> Deserialize<'de> for JsonSeeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonSeedsVisitor)
    }
}

struct JsonSeedsVisitor;

impl<'de> Visitor<'de> for JsonSeedsVisitor {
    type Value = JsonSeeds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object of seeds, each with Host and Port")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonSeeds, A::Error> {
        let mut seeds = Vec::new();
        while let Some(seed) = list.next_element::<JsonSeed>()? {
            seeds.push(seed.entry());
        }
        Ok(JsonSeeds(seeds))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut named: A) -> Result<JsonSeeds, A::Error> {
        let mut seeds = Vec::new();
        while let Some((_, seed)) = named.next_entry::<String, JsonSeed>()? {
            seeds.push(seed.entry());
        }
        Ok(JsonSeeds(seeds))
    }
}

#[derive(Deserialize)]
struct JsonSeed {
    #[serde(rename = "Host")]
    host: JsonHost,
    #[serde(rename = "Port")]
    port: JsonPort,
}

impl JsonSeed {
    fn entry(self) -> SeedEntry {
        SeedEntry { host: self.host.0, port: self.port.0, key: None }
    }
}

/// Looked at while it is read, so that what is wrong with it is told with its line.
struct JsonHost(String);

impl<'de> Deserialize<'de> for JsonHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostText;
        impl Visitor<'_> for HostText {
            type Value = JsonHost;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP or a host name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonHost, E> {
                parse_host(text).map(JsonHost).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(HostText)
    }
}

/// A number, or a text with a number in it.
struct JsonPort(u16);

impl<'de> Deserialize<'de> for JsonPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Port;
        impl Visitor<'_> for Port {
            type Value = JsonPort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonPort, E> {
                parse_port(text).map(JsonPort).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<JsonPort, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Port)
    }
}

fn parse_json(text: &str) -> Result<Vec<Placed>, Problem> {
    let JsonList { num_seeds, addresses: JsonSeeds(seeds) } =
        serde_json::from_str(text).map_err(|e| (Some(e.line()), without_place(&e)))?;
    if let Some(promised) = num_seeds.filter(|&n| n != seeds.len() as u64) {
        return Err((None, format!("num_seeds is {promised}, but Seed_addresses holds {}", seeds.len())));
    }
    Ok(seeds.into_iter().map(|seed| (None, seed)).collect())
}

/// What is wrong, without the line, which is named before it.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        SeedList::parse("config", text).unwrap().seeds.iter().map(ToString::to_string).collect()
    }

    fn error(text: &str) -> String {
        SeedList::parse("config.csv", text).unwrap_err().to_string()
    }

    #[test]
    fn all_spellings_of_a_list_are_read() {
        let expected = ["127.0.0.1:5011", "127.0.0.1:5012"];
        assert_eq!(names("127.0.0.1,5011\n127.0.0.1,5012\n"), expected);
        assert_eq!(names("127.0.0.1:5011\n127.0.0.1:5012"), expected);
        assert_eq!(names("127.0.0.1:5011 127.0.0.1:5012"), expected);
        assert_eq!(
            names("\u{feff}# seeds\r\n\r\n127.0.0.1 , 5011\r\n127.0.0.1,5012,  # second\r\n"),
            expected
        );
        let list = r#"{"num_seeds": 2, "Seed_addresses": [{"Host": "127.0.0.1", "Port": 5011}, {"Host": "127.0.0.1", "Port": "5012"}]}"#;
        assert_eq!(names(list), expected);
        let named = r#"{"Seed_addresses": {"a": {"Host": "127.0.0.1", "Port": 5011}, "b": {"Host": "127.0.0.1", "Port": 5012}}}"#;
        assert_eq!(names(named), expected);
        assert_eq!(names("[::1]:5011 seed-2.example:1"), ["[::1]:5011", "seed-2.example:1"]);
        assert_eq!(names("::1,5011"), ["[::1]:5011"]);
    }

    #[test]
    fn a_list_of_more_seeds_than_a_cluster_has_is_refused() {
        let list = |count: usize| (1..=count).map(|port| format!("127.0.0.1:{port}\n")).collect::<String>();
        assert_eq!(names(&list(SEEDS_MAX)).len(), SEEDS_MAX);
        assert_eq!(error(&list(SEEDS_MAX + 1)), "config.csv: lists 65 seeds, 64 are the most");
    }

    #[test]
    fn names_of_hosts_are_the_same_in_capitals() {
        assert_eq!(names("Seed-1:5011 seed-1:5011"), ["seed-1:5011"]);
    }

    #[test]
    fn a_key_in_the_third_column_closes_the_cluster() {
        let list = SeedList::parse("config.csv", "127.0.0.1,1,abc\n").unwrap();
        assert_eq!(list.seeds[0].key.as_deref(), Some("abc"));
        assert!(list.is_closed());
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_value() {
        assert_eq!(error(""), "config.csv: lists no seed");
        assert_eq!(error("# nothing\n\n"), "config.csv: lists no seed");
        assert_eq!(
            error("127.0.0.1,1\nnonsense"),
            "config.csv:2: \"nonsense\" mixes `ip,port` and `ip:port` in one file"
        );
        assert_eq!(error("nonsense"), "config.csv:1: \"nonsense\" is not `ip:port`");
        assert_eq!(error("127.0.0.1,0"), "config.csv:1: port 0 is not between 1 and 65535");
        assert_eq!(error("\n127.0.0.1:70000"), "config.csv:2: port 70000 is not between 1 and 65535");
        assert_eq!(error("127.0.0.1,x"), "config.csv:1: \"x\" is not a port between 1 and 65535");
        assert_eq!(error("300.0.0.1,5"), "config.csv:1: \"300.0.0.1\" is neither an IP nor a host name");
        assert_eq!(error("0.0.0.0,5"), "config.csv:1: \"0.0.0.0\" is nobody's address");
        assert_eq!(error("a,b,c,d"), "config.csv:1: \"a,b,c,d\" is not `ip,port` or `ip,port,key`");
        assert_eq!(
            error(r#"{"num_seeds": 3, "Seed_addresses": [{"Host": "a", "Port": 1}]}"#),
            "config.csv: num_seeds is 3, but Seed_addresses holds 1"
        );
        assert_eq!(
            error(
                "{\"Seed_addresses\": [\n{\"Host\": \"a\", \"Port\": 70000},\n\n{\"Host\": \"b\", \"Port\": 1}\n]}"
            ),
            "config.csv:2: port 70000 is not between 1 and 65535"
        );
        assert_eq!(
            error(r#"{"Seed_addresses": "a:1"}"#),
            "config.csv:1: invalid type: string \"a:1\", expected a list or an object of seeds, each with Host and Port"
        );
        assert_eq!(error(r#"{"Seed_addresses": [{"Port": 1}]}"#), "config.csv:1: missing field `Host`");
        assert_eq!(error("{\"Seed_addresses\": ["), "config.csv:1: EOF while parsing a list");
    }

    #[test]
    fn a_seed_listed_twice_is_counted_once_with_a_warning() {
        let list = SeedList::parse("config.csv", "127.0.0.1,1\n127.0.0.1,1\n").unwrap();
        assert_eq!(list.seeds.len(), 1);
        assert_eq!(list.warnings, ["config.csv:2: seed 127.0.0.1:1 is listed twice; counted once"]);
    }
}
