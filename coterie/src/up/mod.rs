//! `coterie up`: a whole cluster of real processes on this machine, to be watched and to be broken.

mod command;
mod screen;
mod status;
mod timeline;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use coterie_common::clock::{Clock, wall};
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::{Failure, stop_signal};
use coterie_common::{Instant, Role, majority};
use rand::seq::IndexedRandom;

use crate::cluster::{Cluster, Directory, Layout, LogEvent};
use command::Action;
use screen::Screen;
use status::Board;
use timeline::Timeline;

/// Seeds and peers of a new cluster, where nothing else is wished.
const SEEDS: u16 = 3;
const PEERS: u16 = 6;

/// How often the logs are read.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a cluster may take to form before it is said that something is wrong.
const FORMING_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a death may take before its timeline is printed as it is.
const DEATH_TIME_MAX: Duration = Duration::from_secs(15);

/// The options of `coterie up`, as typed.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// How many seeds [default: 3, or those that are in the directory]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    seeds: Option<u16>,
    /// How many peers [default: 6, or those that are in the directory]
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=200))]
    peers: Option<u16>,
    /// Where seed list, logs and data are kept
    #[arg(long, default_value = "coterie-run", value_name = "DIR")]
    dir: PathBuf,
    /// The first of the ports; without it, free ones [example: 7000]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// End after this time [example: 30s]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    limit: Option<Duration>,
    /// Kill one peer after this time, and show how it was found out [example: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    kill_after: Option<Duration>,
    /// Forget the cluster that is in the directory
    #[arg(long)]
    fresh: bool,
}

/// Runs a cluster until its time is over or somebody stops it.
pub async fn run(args: UpArgs) -> Result<(), Failure> {
    let count = args.seeds.unwrap_or(SEEDS) + args.peers.unwrap_or(PEERS);
    if let Some(base) = args.base_port.filter(|base| base.checked_add(count - 1).is_none()) {
        return Err(Failure::usage(format!("--base-port {base}: no {count} ports follow it")));
    }
    if let (Some(limit), Some(at)) = (args.limit, args.kill_after)
        && at >= limit
    {
        let problem = format!("--kill-after {at:?} is not before the end, --for {limit:?}");
        return Err(Failure::usage(problem));
    }
    let directory = Directory::take(&args.dir, args.fresh)?;
    let resumed = !directory.nodes().is_empty();
    if resumed {
        args.check_resumed(&directory)?;
    }
    let has_peers = match resumed {
        true => directory.nodes().iter().any(|node| node.role() == Role::Peer),
        false => args.peers.is_none_or(|peers| peers > 0),
    };
    if args.kill_after.is_some() && !has_peers {
        return Err(Failure::usage("--kill-after: there is no peer to be killed"));
    }
    let (seeds, peers) = (args.seeds.unwrap_or(SEEDS), args.peers.unwrap_or(PEERS));
    let layout = Layout::of_this_program(usize::from(seeds), usize::from(peers))?;
    let layout = Layout { base_port: args.base_port, ..layout };
    let mut cluster = Cluster::prepare(directory, layout)?;
    cluster.start_all()?;
    let clock = Clock::start();
    let mut up = Up {
        board: Board::new(&cluster),
        cluster,
        clock,
        screen: Screen::open()?,
        formed: None,
        said_forming: String::new(),
        death: None,
        killed: false,
        args,
        resumed,
    };
    up.greet()?;
    let result = up.watch().await;
    up.screen.close();
    up.cluster.stop_all();
    result
}

impl UpArgs {
    /// What was asked for must be what is there: a cluster that is resumed keeps its nodes and its ports.
    fn check_resumed(&self, directory: &Directory) -> Result<(), Failure> {
        let of = |role| directory.nodes().iter().filter(|node| node.role() == role).count();
        let first = directory.nodes().first().map_or(0, |node| usize::from(node.address.port()));
        for (option, asked, there) in [
            ("--seeds", self.seeds, of(Role::Seed)),
            ("--peers", self.peers, of(Role::Peer)),
            ("--base-port", self.base_port, first),
        ] {
            if asked.is_some_and(|asked| usize::from(asked) != there) {
                let (asked, path) = (asked.unwrap_or_default(), directory.path().display());
                return Err(Failure::usage(format!(
                    "{option} {asked}: the cluster in {path} has {there} (--fresh makes a new one)"
                )));
            }
        }
        Ok(())
    }
}

struct Up {
    args: UpArgs,
    /// Whether the cluster was there before.
    resumed: bool,
    cluster: Cluster,
    board: Board,
    clock: Clock,
    screen: Screen,
    formed: Option<Instant>,
    said_forming: String,
    death: Option<(Instant, Timeline)>,
    killed: bool,
}

impl Up {
    fn greet(&mut self) -> Result<(), Failure> {
        let seeds = self.cluster.of(Role::Seed).len();
        let peers = self.cluster.of(Role::Peer).len();
        let (what, path) =
            (if self.resumed { "resuming" } else { "starting" }, self.cluster.directory.path().display());
        let line = format!("{what} {seeds} seeds and {peers} peers in {path}");
        self.say(line)
    }

    async fn watch(&mut self) -> Result<(), Failure> {
        let stop = stop_signal();
        tokio::pin!(stop);
        loop {
            let pause = self.clock.timer(self.clock.now() + LOOK_EVERY);
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep_until(pause) => {}
            }
            if !self.look()? {
                return Ok(());
            }
        }
    }

    /// Takes in what has happened; false when it is time to end.
    fn look(&mut self) -> Result<bool, Failure> {
        for (index, event) in self.cluster.events() {
            self.take(index, &event)?;
        }
        let now = self.clock.now();
        self.look_at_forming(now)?;
        self.look_at_death(now)?;
        if self.args.kill_after.is_some_and(|at| now >= Instant::START + at)
            && self.formed.is_some()
            && !self.killed
        {
            self.kill_somebody(now)?;
        }
        if self.screen.is_terminal() {
            for action in self.screen.actions()? {
                if !self.act(action) {
                    return Ok(false);
                }
            }
            self.screen.draw(&mut self.cluster, &self.board)?;
        }
        Ok(self.args.limit.is_none_or(|limit| now < Instant::START + limit))
    }

    fn take(&mut self, index: usize, event: &LogEvent) -> Result<(), Failure> {
        self.board.take(index, event);
        if let Some((_, timeline)) = &mut self.death {
            timeline.take(event);
        }
        if status::is_news(event) {
            let line = if self.screen.is_terminal() { status::short(event) } else { event.line.clone() };
            self.say(line)?;
        }
        Ok(())
    }

    fn say(&mut self, line: String) -> Result<(), Failure> {
        if self.screen.is_terminal() {
            self.screen.note(line);
            return Ok(());
        }
        match writeln!(io::stdout(), "{line}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn look_at_forming(&mut self, now: Instant) -> Result<(), Failure> {
        if self.formed.is_some() {
            return Ok(());
        }
        let (seeds, peers) = (self.cluster.of(Role::Seed), self.cluster.of(Role::Peer));
        let running: Vec<usize> = seeds.iter().copied().filter(|seed| self.cluster.is_alive(*seed)).collect();
        let (led, joined) = (self.board.with_leader(&running), self.board.joined(&peers));
        let line = format!(
            "forming: {led} of {} seeds know a leader, {joined} of {} peers are members",
            seeds.len(),
            peers.len()
        );
        if led >= majority(seeds.len()) && joined == peers.len() {
            self.formed = Some(now);
            let leader = self.board.leader().unwrap_or_default();
            let took = now.since(Instant::START).as_secs_f64();
            return self.say(format!("formed in {took:.2} s: {} members, leader {leader}", peers.len()));
        }
        // A cluster begins with all its seeds; one that has begun goes on with a majority of them, and one that is
        // resumed has mostly begun.
        let most = majority(seeds.len());
        let goes_on = led >= most || self.resumed && running.len() >= most;
        let needed = if goes_on { peers } else { [seeds, peers].concat() };
        if let Some(index) = needed.into_iter().find(|&index| !self.cluster.is_alive(index)) {
            return Err(self.died_early(index));
        }
        if now >= Instant::START + FORMING_TIME_MAX {
            let all = [self.cluster.of(Role::Seed), self.cluster.of(Role::Peer)].concat();
            let dead = all.into_iter().find(|&index| !self.cluster.is_alive(index));
            let dead = dead.map(|index| format!("; {}", self.died_early(index))).unwrap_or_default();
            return Err(Failure::running(format!(
                "{line} after {FORMING_TIME_MAX:?}{dead}; the logs are beside cluster.json"
            )));
        }
        if line != self.said_forming {
            self.said_forming.clone_from(&line);
            self.say(line)?;
        }
        Ok(())
    }

    /// A node that ended while the cluster was forming: its own last words tell why.
    fn died_early(&self, index: usize) -> Failure {
        let record = &self.cluster.nodes[index].record;
        let said = std::fs::read_to_string(crate::cluster::directory::stderr_of(record)).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing");
        Failure::running(format!("{} {} ended: {last}", record.role, record.address))
    }

    fn kill_somebody(&mut self, now: Instant) -> Result<(), Failure> {
        self.killed = true;
        let alive: Vec<usize> =
            self.cluster.of(Role::Peer).into_iter().filter(|&index| self.board.is_member(index)).collect();
        match alive.choose(&mut rand::rng()).copied() {
            Some(victim) => self.kill(now, victim),
            None => self.say("there is no peer to kill".to_owned()),
        }
    }

    fn kill(&mut self, now: Instant, victim: usize) -> Result<(), Failure> {
        let record = self.cluster.nodes[victim].record.clone();
        let survivors: Vec<String> = (0..self.cluster.nodes.len())
            .filter(|&index| index != victim && self.board.is_up(index))
            .map(|index| self.cluster.nodes[index].record.address.to_string())
            .collect();
        let Some(process) = &mut self.cluster.nodes[victim].process else { return Ok(()) };
        let timeline = Timeline::new(wall(), record.address, process.id(), survivors, self.board.leader());
        process.kill();
        let line = format!("kill -9 {} {} (pid {})", record.role, record.address, process.id());
        if record.role() == Role::Peer {
            self.death = Some((now, timeline));
        }
        self.board.killed(victim);
        self.say(line)
    }

    fn look_at_death(&mut self, now: Instant) -> Result<(), Failure> {
        let over = |(since, timeline): &(Instant, Timeline)| {
            timeline.is_complete() || now >= *since + DEATH_TIME_MAX
        };
        if !self.death.as_ref().is_some_and(over) {
            return Ok(());
        }
        let lines = self.death.take().map(|(_, timeline)| timeline.lines()).unwrap_or_default();
        lines.into_iter().try_for_each(|line| self.say(line))
    }

    /// Does what was typed; false to end.
    fn act(&mut self, action: Action) -> bool {
        let now = self.clock.now();
        let place =
            |up: &Up, name: &str| up.cluster.find(name).ok_or_else(|| format!("there is no node {name:?}"));
        let running = |up: &mut Up, name: &str| {
            let index = place(up, name)?;
            match up.cluster.is_alive(index) {
                true => Ok(index),
                false => Err(format!("{name} does not run")),
            }
        };
        let result: Result<String, String> = match action {
            Action::Quit => return false,
            Action::Nothing => return true,
            Action::Wrong(problem) => Err(problem),
            Action::Help => Ok(command::HELP.to_owned()),
            Action::Kill(name) => running(self, &name).and_then(|index| {
                self.kill(now, index).map_err(|_| "cannot say it".to_owned())?;
                Ok(String::new())
            }),
            Action::Stop(name) => running(self, &name).map(|index| self.pause(index)),
            Action::Resume(name) => running(self, &name).map(|index| self.resume(index)),
            Action::Leave(name) => running(self, &name).map(|index| self.leave(index)),
            Action::Restart(name) => place(self, &name).and_then(|index| self.restart(index)),
            Action::Say(text) => self.send(&text),
        };
        match result {
            Ok(line) if line.is_empty() => {}
            Ok(line) | Err(line) => self.screen.note(line),
        }
        true
    }

    fn pause(&mut self, index: usize) -> String {
        if let Some(process) = &mut self.cluster.nodes[index].process {
            process.pause();
        }
        self.board.paused(index, true);
        format!("{} stands still", self.cluster.nodes[index].name)
    }

    fn resume(&mut self, index: usize) -> String {
        if let Some(process) = &mut self.cluster.nodes[index].process {
            process.resume();
        }
        self.board.paused(index, false);
        format!("{} goes on", self.cluster.nodes[index].name)
    }

    fn leave(&mut self, index: usize) -> String {
        if let Some(process) = &mut self.cluster.nodes[index].process {
            process.terminate();
        }
        format!("{} is asked to stop", self.cluster.nodes[index].name)
    }

    fn restart(&mut self, index: usize) -> Result<String, String> {
        if let Some(mut process) = self.cluster.nodes[index].process.take() {
            process.kill();
            process.wait_or_kill(Duration::from_secs(1));
        }
        self.board.restarted(index);
        self.cluster.start(index).map_err(|e| e.to_string())?;
        Ok(format!("{} is started again", self.cluster.nodes[index].name))
    }

    /// Has the first peer that can say it say it.
    fn send(&mut self, text: &str) -> Result<String, String> {
        for index in self.cluster.of(Role::Peer) {
            if !self.board.is_member(index) || !self.cluster.is_alive(index) {
                continue;
            }
            let node = &mut self.cluster.nodes[index];
            if node.process.as_mut().is_some_and(|process| process.say(text).is_ok()) {
                return Ok(format!("{} says {text:?}", node.name));
            }
        }
        Err("there is no member that could say it".to_owned())
    }
}

/// Whether somebody is there to watch and to type.
fn is_watched() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}
