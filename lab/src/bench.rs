//! How long the death of a host takes to be known by all: killed, standing still, or cut off.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use clap::{Args, ValueEnum};
use coterie_common::Role;
use coterie_common::clock::wall;
use coterie_common::net::process::Failure;
use rand::seq::IndexedRandom;

use coterie::bench::{Figures, logs};
use coterie::cluster::LogEvent;

use crate::{HostLayout, Lab, Material, engine_answers};

/// Hosts of one lab: their addresses differ in one byte.
const HOSTS_MAX: usize = 100;

/// The options of `lab hosts`, as typed.
#[derive(Args, Clone, Debug)]
pub struct HostsArgs {
    /// The image of the containers, built from the Dockerfile; without it network namespaces, which want root
    #[arg(long)]
    image: Option<String>,
    /// How many seeds
    #[arg(long, default_value_t = 3)]
    seeds: usize,
    /// How many peers
    #[arg(long, default_value_t = 6)]
    peers: usize,
    /// How hosts die; all ways, one after the other, where none is named [example: pause]
    #[arg(long, value_name = "WAY", value_delimiter = ',')]
    ways: Vec<Way>,
    /// How many deaths of each kind
    #[arg(long, default_value_t = 20)]
    deaths: usize,
}

/// A way for a host to be gone.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// Without a word; a container's host is gone with it
    Kill,
    /// It stands still, and its kernel goes on answering
    Pause,
    /// Its cable is pulled
    Disconnect,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Kill => "kill",
            Way::Pause => "pause",
            Way::Disconnect => "disconnect",
        }
    }

    fn happen(self, lab: &mut Lab, index: usize) -> io::Result<()> {
        match self {
            Way::Kill => lab.kill(index),
            Way::Pause => lab.pause(index),
            Way::Disconnect => lab.disconnect(index),
        }
    }

    fn undo(self, lab: &mut Lab, index: usize) -> io::Result<()> {
        match self {
            Way::Kill => lab.start(index),
            Way::Pause => lab.resume(index),
            Way::Disconnect => lab.connect(index),
        }
    }
}

/// Measures.
pub fn run(args: &HostsArgs) -> Result<(), Failure> {
    if args.seeds < 1 || args.peers < 2 || args.seeds + args.peers > HOSTS_MAX {
        let problem = format!("--seeds {} --peers {}", args.seeds, args.peers);
        return Err(Failure::usage(format!("{problem}: a seed, two peers, and {HOSTS_MAX} hosts at most")));
    }
    let material = match &args.image {
        Some(image) if engine_answers() => Material::Containers { image: image.clone() },
        Some(image) => return Err(Failure::running(format!("--image {image}: no Docker engine answers"))),
        None => Material::Namespaces { program: std::env::current_exe()? },
    };
    let plan = HostLayout {
        seeds: args.seeds,
        peers: args.peers,
        seed_args: Vec::new(),
        peer_args: ["--messages", "0"].map(str::to_owned).into(),
    };
    let mut bench = HostBench { lab: Lab::new(material, &plan)? };
    bench.form()?;
    println!("{} deaths of each kind, {} seeds, {} peers", args.deaths, args.seeds, args.peers);
    println!("to the last DEAD_CONFIRMED");
    let ways = if args.ways.is_empty() { Way::value_variants() } else { &args.ways };
    for &way in ways {
        let deaths =
            (0..args.deaths).map(|_| bench.die(way)).collect::<Result<Vec<TimedDeath>, Failure>>()?;
        let row = |from: &str, pick: fn(&TimedDeath) -> Duration| {
            let figures = Figures::new(deaths.iter().map(pick).collect());
            println!("{:<11} from {from:<12} {figures}", way.name());
        };
        row("the command", |death| death.last);
        row("first doubt", |death| death.last.saturating_sub(death.first_doubt));
    }
    Ok(())
}

struct HostBench {
    lab: Lab,
}

/// Moments of one death, after the command was issued.
struct TimedDeath {
    /// The first LINK_DOWN or SUSPICION on any node.
    first_doubt: Duration,
    /// The last DEAD_CONFIRMED.
    last: Duration,
}

impl HostBench {
    fn form(&mut self) -> Result<(), Failure> {
        (0..self.lab.hosts.len()).try_for_each(|index| self.lab.start(index))?;
        let mut unlinked: BTreeSet<usize> = self.lab.of(Role::Peer).into_iter().collect();
        self.wait("all peers to be linked", |index, event| {
            if event.event == "LINK_UP" {
                unlinked.remove(&index);
            }
            unlinked.is_empty()
        })
    }

    /// One death of one peer, and its return.
    fn die(&mut self, way: Way) -> Result<TimedDeath, Failure> {
        // The clocks of quiet links drift apart meanwhile, so that no death is timed by the last one.
        logs::settle(Duration::from_millis(rand::random_range(1_500..2_500)), || self.lab.events());
        let victim = self.lab.of(Role::Peer).choose(&mut rand::rng()).copied().unwrap_or_default();
        let dead = self.lab.hosts[victim].address;
        let mut unaware: BTreeSet<usize> =
            (0..self.lab.hosts.len()).filter(|&index| index != victim).collect();
        let commanded = wall();
        way.happen(&mut self.lab, victim)?;
        let (mut first_doubt, mut last) = (None::<Duration>, Duration::ZERO);
        self.wait(&format!("all to know of the death of {dead}"), |index, event| {
            let about = |key| event.get(key) == dead.to_string();
            let is_doubt = (event.event == "LINK_DOWN" && about("peer"))
                || (event.event == "SUSPICION" && about("suspect"));
            let after = event.after(commanded);
            if is_doubt && index != victim {
                first_doubt = Some(first_doubt.map_or(after, |first| first.min(after)));
            }
            if logs::confirms(event, dead) && unaware.remove(&index) {
                last = last.max(after);
            }
            unaware.is_empty()
        })?;
        way.undo(&mut self.lab, victim)?;
        if !matches!(way, Way::Kill) {
            // A life that is removed again and again comes back more and more slowly: this one is to be a new one.
            self.lab.stop(victim)?;
            self.lab.events();
            self.lab.start(victim)?;
        }
        self.wait(&format!("{dead} to return"), |index, event| index == victim && event.event == "LINK_UP")?;
        Ok(TimedDeath { first_doubt: first_doubt.unwrap_or_default(), last })
    }

    /// Reads events until `done` says so. Where that is in vain, the files stay.
    fn wait(&mut self, what: &str, done: impl FnMut(usize, &LogEvent) -> bool) -> Result<(), Failure> {
        logs::wait(what, || self.lab.events(), done).map_err(|problem| {
            let place = self.lab.keep_files().display();
            Failure::running(format!("{problem}; the logs are in {place}"))
        })
    }
}
