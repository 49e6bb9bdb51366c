//! The options that seeds and peers share.
//!
//! Parsed, not validated: clap fills raw arguments, and one call turns them into typed configuration or a line
//! that names what is wrong.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser};

use super::journal::{Events, Format, JournalOptions, PLACEHOLDERS};
use super::process::Failure;
use crate::Role;
use crate::patience::{self, Patience};
use crate::seed_list::{SeedList, parse_host, parse_port, split_host_port};

/// The options of every node, as typed.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Where to be reached: `IP PORT`, `PORT` (at 127.0.0.1) or `IP:PORT`; a name may stand for the IP. A seed
    /// list may follow
    #[arg(value_name = "[IP] PORT [CONFIG]", num_args = 0..=3)]
    pub place: Vec<String>,

    /// The seed list: csv, txt or json, told by content; otherwise config.csv, config.txt or config.json
    #[arg(long, value_name = "FILE", env = "COTERIE_CONFIG")]
    pub config: Option<PathBuf>,

    /// The address to bind, when it differs from the one to be reached at [example: 0.0.0.0:6001]
    #[arg(long, value_name = "IP:PORT", env = "COTERIE_LISTEN", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,

    /// Where log lines go beside stdout, or `none`; may be given more than once [example: {role}_{ip}_{port}.log]
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "outputfile_{role}_{port}.txt",
        env = "COTERIE_LOG_FILE",
        value_parser = parse_log_file
    )]
    pub log_file: Vec<String>,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "COTERIE_LOG_FORMAT")]
    pub log_format: Format,

    /// Which events are logged
    #[arg(long, value_name = "EVENTS", default_value = "all", env = "COTERIE_LOG_EVENTS")]
    pub log_events: Events,

    /// Quiet on a link before it is pinged [example: 250ms]
    #[arg(long, value_name = "TIME", default_value = "1s", env = "COTERIE_PING_INTERVAL", value_parser = parse_duration)]
    pub ping_interval: Duration,

    /// Pings in a row that go unanswered before a suspicion [example: 5]
    #[arg(long, value_name = "N", default_value_t = 3, env = "COTERIE_PING_MISSES", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub ping_misses: u32,

    /// How long silence is borne; scales every time-out of silence [example: 2s]
    #[arg(long, value_name = "TIME", default_value = "800ms", env = "COTERIE_PATIENCE", value_parser = parse_patience)]
    pub patience: Patience,

    /// Exit 0 within a second if the node at IP:PORT answers and is ready, else 1; for health checks
    #[arg(long, value_name = "IP:PORT", conflicts_with = "place")]
    pub check: Option<String>,
}

/// The command line of this process. What is wrong with it is one line; help and version end the process in order.
pub fn parse<C: Parser>() -> Result<C, Failure> {
    C::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match error.print().and_then(|()| std::io::stdout().flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Failure::running(format!("stdout: {error}"))
                }
                Ok(()) | Err(_) => std::process::exit(0),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Failure::usage("what is to be done? --help lists the commands")
        }
        _ => Failure::usage(one_line(&error.render().to_string())),
    })
}

/// What the parser says, without its advice about usage and help.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let advice =
        |line: &&str| ["tip:", "Usage:", "For more information"].iter().any(|start| line.starts_with(start));
    lines.take_while(|line| !advice(line)).collect::<Vec<_>>().join(" ")
}

/// Where a node is to be reached, before names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// An IP, a name, or `auto`.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl NodeArgs {
    /// Where the node is to be reached, and its seed list. Asks at the terminal for what is missing there.
    pub fn place(&self, role: Role) -> Result<(Place, SeedList), Failure> {
        let mut words = self.place.clone();
        if words.is_empty() {
            words.push(ask_for_address(role)?);
        }
        let (place, rest) = parse_place(&words).map_err(Failure::usage)?;
        let file = match rest {
            [] => find_seed_list(self.config.as_deref())?,
            [config] => PathBuf::from(config),
            _ => return Err(Failure::usage(format!("{:?} is one word too many", rest[1]))),
        };
        Ok((place, read_seed_list(&file)?))
    }

    /// The seed list's name, for the first line of the log.
    pub fn config_name(&self) -> String {
        let rest = parse_place(&self.place).map_or(&[][..], |(_, rest)| rest);
        let found = || find_seed_list(self.config.as_deref()).unwrap_or_default().display().to_string();
        rest.first().cloned().unwrap_or_else(found)
    }

    /// How the journal is to be kept.
    pub fn journal(&self) -> JournalOptions {
        JournalOptions {
            files: self.log_file.iter().filter(|pattern| *pattern != "none").cloned().collect(),
            format: self.log_format,
            events: self.log_events,
            stdout: true,
        }
    }
}

/// The names that a seed list may have where none is given, the first that is there.
const SEED_LISTS: [&str; 3] = ["config.csv", "config.txt", "config.json"];

/// The seed list that is wished, or one that is there.
pub fn find_seed_list(wished: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(wished) = wished {
        return Ok(wished.to_owned());
    }
    let found = SEED_LISTS.iter().map(PathBuf::from).find(|file| file.exists());
    found.ok_or_else(|| Failure::usage(format!("no seed list: there is no {}", SEED_LISTS.join(", no "))))
}

/// Reads the seed list, says its warnings, and refuses what this version cannot do.
fn read_seed_list(file: &Path) -> Result<SeedList, Failure> {
    let text = std::fs::read(file).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    let text =
        String::from_utf8(text).map_err(|_| Failure::usage(format!("{}: not UTF-8", file.display())))?;
    let list = SeedList::parse(file, &text).map_err(Failure::usage)?;
    if list.is_closed() {
        let problem = "lists keys, but closed clusters are not supported by this version";
        return Err(Failure::usage(format!("{}: {problem}", file.display())));
    }
    list.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(list)
}

/// The first one or two of `words` as a place, and the rest.
fn parse_place(words: &[String]) -> Result<(Place, &[String]), String> {
    let Some((first, rest)) = words.split_first() else { return Err("no address is given".to_owned()) };
    if first.chars().all(|c| c.is_ascii_digit()) {
        return Ok((Place { host: "127.0.0.1".to_owned(), port: parse_port(first)? }, rest));
    }
    if let Ok((host, port)) = split_host_port(first) {
        return Ok((Place { host: parse_host(host)?, port: parse_port(port)? }, rest));
    }
    match rest.split_first() {
        Some((port, rest)) => Ok((Place { host: parse_host(first)?, port: parse_port(port)? }, rest)),
        None => Err(format!("{first:?} is not a port, and no port follows it")),
    }
}

/// Asks for the address when somebody is there to be asked.
fn ask_for_address(role: Role) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        let port = match role {
            Role::Seed => 5011,
            Role::Peer => 6001,
        };
        let problem = format!("no address is given [example: {} 127.0.0.1 {port}]", role.lower());
        return Err(Failure::usage(problem));
    }
    eprint!("address of this {} (IP:PORT, or a port at 127.0.0.1): ", role.lower());
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().replace(' ', ":"))
}

/// A duration such as `250ms`, `5s` or `2m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("{e} (write 250ms, 5s or 2m)"))?;
    match duration.is_zero() {
        true => Err("must be more than nothing".to_owned()),
        false => Ok(duration),
    }
}

fn parse_patience(text: &str) -> Result<Patience, String> {
    let duration = parse_duration(text)?;
    match patience::RANGE.contains(&duration) {
        true => Ok(Patience::new(duration)),
        false => Err(format!("must be from {:?} to {:?}", patience::RANGE.start(), patience::RANGE.end())),
    }
}

/// A pattern whose braces hold nothing but what a file name can be made of.
fn parse_log_file(text: &str) -> Result<String, String> {
    let known = PLACEHOLDERS.iter().fold(text.to_owned(), |left, placeholder| left.replace(placeholder, ""));
    match known.contains(['{', '}']) {
        true => Err(format!("braces can hold {}", PLACEHOLDERS.join(", "))),
        false => Ok(text.to_owned()),
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| format!("{text:?} is not `ip:port`"))?;
    parse_port(&address.port().to_string()).map(|_| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(words: &str) -> Result<(String, u16, usize), String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        parse_place(&words).map(|(place, rest)| (place.host, place.port, rest.len()))
    }

    #[test]
    fn all_spellings_of_an_address_are_taken() {
        assert_eq!(place("5011"), Ok(("127.0.0.1".to_owned(), 5011, 0)));
        assert_eq!(place("10.0.0.1 5011"), Ok(("10.0.0.1".to_owned(), 5011, 0)));
        assert_eq!(place("10.0.0.1:5011 list.txt"), Ok(("10.0.0.1".to_owned(), 5011, 1)));
        assert_eq!(place("10.0.0.1 5011 list.txt"), Ok(("10.0.0.1".to_owned(), 5011, 1)));
        assert_eq!(place("[::1]:5011"), Ok(("::1".to_owned(), 5011, 0)));
        assert_eq!(place("auto 5011"), Ok(("auto".to_owned(), 5011, 0)));
    }

    #[test]
    fn a_wrong_address_is_named() {
        assert_eq!(place("70000"), Err("port 70000 is not between 1 and 65535".to_owned()));
        assert_eq!(place("0"), Err("port 0 is not between 1 and 65535".to_owned()));
        assert_eq!(place("10.0.0.1"), Err("\"10.0.0.1\" is not a port, and no port follows it".to_owned()));
        assert_eq!(place("10.0.0.1 x"), Err("\"x\" is not a port between 1 and 65535".to_owned()));
        assert_eq!(
            place("10.0.0.999 5011"),
            Err("\"10.0.0.999\" is neither an IP nor a host name".to_owned())
        );
    }
}
