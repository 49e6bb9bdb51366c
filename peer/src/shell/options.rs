//! The peer's command line.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use coterie_common::limits::TAG_BYTES_MAX;
use coterie_common::net::options::{NodeArgs, Place, parse, parse_duration};
use coterie_common::net::process::{self, Failure, exit, stop_signal};
use coterie_common::net::{check, connection, resolve, tcp};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Backoff, Role, Tags, tag_bytes};

use super::node::{Options, run};
use crate::core::{Config, OverlayKind};

/// The options of a peer, as typed.
#[derive(Args, Clone, Debug)]
pub struct PeerArgs {
    #[command(flatten)]
    node: NodeArgs,

    /// Messages that the peer says by itself, for the demonstration [example: 0]
    #[arg(long, value_name = "N", default_value_t = 10, env = "COTERIE_MESSAGES")]
    messages: u64,

    /// The time between two of them [example: 500ms]
    #[arg(long, value_name = "TIME", default_value = "5s", env = "COTERIE_MESSAGE_INTERVAL", value_parser = parse_duration)]
    message_interval: Duration,

    /// How neighbours are drawn
    #[arg(long, value_name = "KIND", default_value = "pareto", env = "COTERIE_OVERLAY")]
    overlay: OverlayKind,

    /// Most links with other peers [example: 4]
    #[arg(long, value_name = "N", default_value_t = 16, env = "COTERIE_MAX_NEIGHBOURS", value_parser = clap::value_parser!(u16).range(1..=256))]
    max_neighbours: u16,

    /// Carried in the view, for your own use; may be given more than once [example: zone=a]
    #[arg(long, value_name = "KEY=VALUE", env = "COTERIE_TAG", value_parser = parse_tag, value_delimiter = ',')]
    tag: Vec<(String, String)>,

    /// Exit 1 when not a member by then; without it the peer waits for its seeds for ever [example: 30s]
    #[arg(long, value_name = "TIME", env = "COTERIE_JOIN_TIMEOUT", value_parser = parse_duration)]
    join_timeout: Option<Duration>,
}

/// A member of a cluster: gossips with the others, and watches them
#[derive(Parser, Debug)]
#[command(name = "peer", version)]
struct Command {
    #[command(flatten)]
    args: PeerArgs,
}

/// The program `peer`.
pub fn main() -> ExitCode {
    exit("peer", parse::<Command>().and_then(|command| command.args.execute()))
}

impl PeerArgs {
    /// Runs the peer until it is told to stop.
    pub fn execute(self) -> Result<(), Failure> {
        process::block_on(self.run())
    }

    async fn run(self) -> Result<(), Failure> {
        if let Some(address) = &self.node.check {
            return check::check(Role::Peer, address).await;
        }
        let (place, list) = self.node.place(Role::Peer)?;
        let tags = self.tags()?;
        let address = find_address(&place, &list.seeds).await?;
        let bind = self.node.listen.unwrap_or_else(|| address.socket());
        let listener = tcp::bind(bind).map_err(|e| Failure::running(format!("{bind}: {e}")))?;
        let options = Options {
            address,
            config: self.node.config_name(),
            seeds: list.seeds,
            journal: self.node.journal(),
            console: true,
            core: Config {
                overlay: self.overlay,
                max_neighbours: usize::from(self.max_neighbours),
                tags,
                messages: self.messages,
                message_interval: self.message_interval,
                ping_interval: self.node.ping_interval,
                ping_misses: self.node.ping_misses,
                patience: self.node.patience,
                join_timeout: self.join_timeout,
                ..Config::default()
            },
        };
        run(listener, options, stop_signal()).await
    }

    fn tags(&self) -> Result<Tags, Failure> {
        let tags: Tags = self.tag.iter().cloned().collect();
        match tag_bytes(&tags) {
            0..=TAG_BYTES_MAX => Ok(tags),
            bytes => Err(Failure::usage(format!("--tag: {bytes} bytes of tags, at most {TAG_BYTES_MAX}"))),
        }
    }
}

/// Where this peer is to be reached. `auto` is the local address of its first connection to a seed.
async fn find_address(place: &Place, seeds: &[SeedEntry]) -> Result<Address, Failure> {
    if place.host != "auto" {
        return resolve::resolve(&place.host, place.port).await.map_err(Failure::running);
    }
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        for seed in seeds {
            let dialled = connection::dial_host(&seed.host, seed.port, Duration::from_secs(2)).await;
            let Ok(stream) = dialled else { continue };
            return Ok(Address::new(stream.local_addr()?.ip(), place.port));
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be key=value".to_owned()),
    }
}
