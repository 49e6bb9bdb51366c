//! The seed's command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use coterie_common::address::file_name_part;
use coterie_common::net::options::{NodeArgs, Place, parse};
use coterie_common::net::process::{self, Failure, exit, stop_signal};
use coterie_common::net::{check, resolve, tcp};
use coterie_common::seed_list::{SeedEntry, SeedList, canonical};
use coterie_common::{Address, Role};

use super::node::{ChangesFrom, Options, ProbeMode, run};
use crate::raft;

/// The options of a seed, as typed.
#[derive(Args, Clone, Debug)]
pub struct SeedArgs {
    #[command(flatten)]
    node: NodeArgs,

    /// Where the durable log is kept; created if it is not there. {ip} is what the list calls this seed, be it an IP or
    /// a name [example: /var/lib/coterie]
    #[arg(long, value_name = "DIR", default_value = "data/seed_{ip}_{port}", env = "COTERIE_DATA_DIR")]
    data_dir: String,

    /// Begin a cluster without this seed of the list, which will never come; may be given more than once, and to all
    /// the others alike [example: 10.0.0.3:5011]
    #[arg(
        long,
        value_name = "IP:PORT",
        value_delimiter = ',',
        requires = "directories",
        env = "COTERIE_FORM_WITHOUT"
    )]
    form_without: Vec<String>,

    /// The directories that --form-without holds for, as the seeds that wait print them [example: 8f3a21,91c0d7]
    #[arg(
        long,
        value_name = "IDS",
        value_delimiter = ',',
        requires = "form_without",
        value_parser = parse_directory_id,
        env = "COTERIE_DIRECTORIES"
    )]
    directories: Vec<u64>,

    /// A majority of the seeds is lost for good: go on with the members of this cluster, and with this seed alone, as
    /// another cluster. What the lost seeds decided without this one is lost with them. Holds for the cluster that it
    /// names, once [example: 8f3a]
    #[arg(long, value_name = "CLUSTER", env = "COTERIE_FORCE_NEW_CLUSTER", conflicts_with = "form_without")]
    force_new_cluster: Option<String>,

    /// Who may change the seeds (seed-add, seed-remove, seed-replace): programs on this host, nobody (where a proxy
    /// runs on it, behind which may be anybody), or all that reach it
    #[arg(long, value_enum, default_value_t = ChangesFrom::Host, env = "COTERIE_CHANGES_FROM")]
    changes_from: ChangesFrom,
}

fn parse_directory_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("{text:?} is no number of a directory"))
}

/// Keeps a cluster's registry, together with the other seeds of the list
#[derive(Parser, Debug)]
#[command(name = "seed", version)]
struct Command {
    #[command(flatten)]
    args: SeedArgs,
}

/// The program `seed`.
pub fn main() -> ExitCode {
    exit("seed", parse::<Command>().and_then(|command| command.args.execute()))
}

impl SeedArgs {
    /// Runs the seed until it is told to stop.
    pub fn execute(self) -> Result<(), Failure> {
        process::block_on(self.run())
    }

    async fn run(self) -> Result<(), Failure> {
        if let Some(address) = &self.node.check {
            return check::check(Role::Seed, address).await;
        }
        process::survive_file_size_limit()?;
        let (place, list) = self.node.place(Role::Seed)?;
        let (own, address) = find_own(&place, &list).await?;
        warn_of_loopback(&own, address, &list);
        let form_without = listed(&self.form_without, &list)?;
        let bind = self.node.listen.unwrap_or_else(|| address.socket());
        let listener = tcp::bind(bind).map_err(|e| Failure::running(format!("{bind}: {e}")))?;
        // As the list calls it: a name stays when it gets another address, and so does what is in the directory.
        let host = file_name_part(&own.host);
        let data = self.data_dir.replace("{ip}", &host).replace("{port}", &own.port.to_string());
        let options = Options {
            own,
            address,
            config: self.node.config_name(),
            list: list.seeds,
            data: PathBuf::from(data),
            journal: self.node.journal(),
            patience: self.node.patience,
            raft: raft::Options::default(),
            probe_mode: ProbeMode::Sockets,
            form_without,
            directories: self.directories,
            force_new_cluster: self.force_new_cluster,
            changes_from: self.changes_from,
        };
        run(listener, options, stop_signal()).await
    }
}

fn warn_of_loopback(own: &SeedEntry, address: Address, list: &SeedList) {
    let others = list.seeds.iter().filter(|seed| *seed != own).map(|seed| seed.host.as_str());
    if is_reached_by_nobody(&own.host, address.ip(), others) {
        tracing::warn!(
            "{own} is {address} here, which no other host reaches: name it by its address in the list, or mend \
             the name where this host looks it up (/etc/hosts)"
        );
    }
}

/// Some systems give a host's own name an address that means every host to itself (Debian: 127.0.1.1). Each seed would
/// listen there, and wait for the others for ever.
fn is_reached_by_nobody<'a>(own: &str, ip: IpAddr, mut others: impl Iterator<Item = &'a str>) -> bool {
    let is_of_this_host = |host: &str| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    };
    ip.is_loopback() && !is_of_this_host(own) && others.any(|other| !is_of_this_host(other))
}

/// The lines of the list that these names are.
fn listed(names: &[String], list: &SeedList) -> Result<Vec<SeedEntry>, Failure> {
    let line = |name: &String| {
        let asked = canonical(name).map_err(|why| Failure::usage(format!("--form-without {name}: {why}")))?;
        let line = list.seeds.iter().find(|seed| seed.to_string() == asked);
        line.cloned()
            .ok_or_else(|| Failure::usage(format!("--form-without {name}: it is not in the seed list")))
    };
    names.iter().map(line).collect()
}

/// The line of the list that is this seed: the same text, or the same address after resolving.
async fn find_own(place: &Place, list: &SeedList) -> Result<(SeedEntry, Address), Failure> {
    if place.host == "auto" {
        return Err(Failure::usage("auto is for peers: a seed is where the list says"));
    }
    let address = resolve::resolve(&place.host, place.port).await.map_err(Failure::running)?;
    if let Some(own) = list.seeds.iter().find(|seed| seed.host == place.host && seed.port == place.port) {
        return Ok((own.clone(), address));
    }
    for seed in list.seeds.iter().filter(|seed| seed.port == place.port) {
        if resolve::resolve(&seed.host, seed.port).await == Ok(address) {
            return Ok((seed.clone(), address));
        }
    }
    let names: Vec<String> = list.seeds.iter().map(ToString::to_string).collect();
    Err(Failure::usage(format!(
        "{}:{} is not in the seed list ({})",
        place.host,
        place.port,
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_every_host_to_itself_is_told() {
        let debian: IpAddr = [127, 0, 1, 1].into();
        let told = |own, others: &[&str]| is_reached_by_nobody(own, debian, others.iter().copied());
        assert!(told("seed1", &["seed2", "seed3"]));
        assert!(!told("seed1", &["127.0.0.1", "localhost", "::1"]), "all are on this host");
        assert!(!told("seed1", &[]), "and so is the only one");
        assert!(!told("127.0.1.1", &["127.0.0.2"]));
        assert!(!is_reached_by_nobody("seed1", [10, 0, 0, 1].into(), ["seed2"].into_iter()));
    }
}
