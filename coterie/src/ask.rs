//! Questions to a running cluster, through a seed's main port.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use coterie_common::clock::Clock;
use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::message::{ClusterId, Evidence, SeedChange, SeedFinding, SessionMessage, Stages};
use coterie_common::net::diagnostics;
use coterie_common::net::observer::{ANSWER_TIME_MAX, Observer, PING_EVERY};
use coterie_common::net::process::{Failure, stop_signal};
use coterie_common::seed_list::SeedList;
use coterie_common::{Change, Event, Instant, Timestamp, View};
use tokio::time::{sleep, timeout_at};

/// How long until a seed that has gone is asked again.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Which seed to ask.
#[derive(Args, Clone, Debug)]
pub struct SeedAddress {
    /// The seed to ask
    #[arg(long, value_name = "IP:PORT", env = "COTERIE_SEED")]
    seed: String,
}

/// Any seed of a cluster: the one that is named, or those of its list.
#[derive(Args, Clone, Debug)]
pub struct AnySeed {
    /// The seed to ask; otherwise one of the list
    #[arg(long, value_name = "IP:PORT", env = "COTERIE_SEED")]
    seed: Option<String>,
    /// The seed list
    #[arg(long, value_name = "FILE", default_value = "config.csv", env = "COTERIE_CONFIG")]
    config: PathBuf,
}

impl AnySeed {
    /// A session with the seed that is named, or with the first of the list that can be reached, but not with `but`.
    async fn open(&self, but: &str) -> Result<Observer, Failure> {
        if let Some(seed) = &self.seed {
            return Observer::open(seed).await;
        }
        let config = self.config.display();
        let text =
            std::fs::read_to_string(&self.config).map_err(|e| Failure::usage(format!("{config}: {e}")))?;
        let list = SeedList::parse(&self.config, &text).map_err(|e| Failure::usage(e.to_string()))?;
        let mut problem = Failure::usage(format!("{config}: no seed but {but}"));
        for seed in list.seeds.iter().map(ToString::to_string).filter(|seed| seed != but) {
            match Observer::open(&seed).await {
                Ok(session) => return Ok(session),
                Err(unreachable) => problem = unreachable,
            }
        }
        Err(problem)
    }
}

/// Writes a line; a reader that has gone is no failure, but ends the work.
fn print(line: &str) -> Result<bool, Failure> {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Shows the members of the view that the seed has.
pub async fn members(seed: SeedAddress, linearizable: bool) -> Result<(), Failure> {
    let mut session = Observer::open(&seed.seed).await?;
    session.say(SessionMessage::Observe { linearizable });
    let SessionMessage::Whole { roster, .. } = session.answer().await? else {
        return Err(session.failure("answered something else"));
    };
    print(&format!("epoch {}, {} members", roster.epoch, roster.members.len()))?;
    for (member, degree) in roster.members {
        let tags: Vec<String> = member.tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let line = format!(
            "{} incarnation={} degree={degree}{}",
            member.id.address,
            member.id.incarnation,
            tags.concat()
        );
        if !print(&line)? {
            break;
        }
    }
    Ok(())
}

/// Shows the changes of the view as they come, until `limit` or until it is told to stop.
pub async fn watch(seed: SeedAddress, limit: Option<Duration>) -> Result<(), Failure> {
    // As the only process of a container it would not hear Ctrl-C without listening for it.
    tokio::select! {
        watched = keep_watching(&seed, limit) => watched,
        () = stop_signal() => Ok(()),
    }
}

/// A seed that goes is asked again when it is back.
async fn keep_watching(seed: &SeedAddress, limit: Option<Duration>) -> Result<(), Failure> {
    let clock = Clock::start();
    let end = limit.map(|limit| clock.now() + limit);
    let mut shown = Shown::default();
    let mut session = Observer::open(&seed.seed).await?;
    loop {
        let Err(problem) = follow(&mut session, &mut shown, &clock, end).await else { return Ok(()) };
        if shown.view.is_empty() {
            return Err(problem);
        }
        diagnostics::say(&format!("coterie: {problem}; trying again"));
        session = loop {
            if end.is_some_and(|end| clock.now() >= end) {
                return Ok(());
            }
            sleep(REOPEN_EVERY).await;
            if let Ok(session) = Observer::open(&seed.seed).await {
                break session;
            }
        };
    }
}

/// Shows what a session tells, until `end`; an error says why it ended before.
async fn follow(
    session: &mut Observer,
    shown: &mut Shown,
    clock: &Clock,
    end: Option<Instant>,
) -> Result<(), Failure> {
    session.say(SessionMessage::Cluster(None));
    session.say(SessionMessage::Observe { linearizable: false });
    loop {
        let ping_at = clock.now() + PING_EVERY;
        let until = end.map_or(ping_at, |end| end.min(ping_at));
        match timeout_at(clock.timer(until), session.next()).await {
            Ok(message) => {
                for line in changed(shown, message?, session) {
                    if !print(&line)? {
                        return Ok(());
                    }
                }
            }
            Err(_) if end.is_some_and(|end| clock.now() >= end) => return Ok(()),
            Err(_) => {
                session.ping();
            }
        }
    }
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    cluster: Option<ClusterId>,
    view: View,
}

fn changed(shown: &mut Shown, message: SessionMessage, session: &Observer) -> Vec<String> {
    let view = &mut shown.view;
    match message {
        // The seed has begun anew: no epoch of the former log is held against one of this.
        SessionMessage::Cluster(Some(cluster)) => match shown.cluster.replace(cluster) {
            Some(former) if former != cluster => {
                *view = View::default();
                vec![format!("cluster {cluster}: another than was shown, {former}")]
            }
            Some(_) | None => Vec::new(),
        },
        SessionMessage::Whole { roster, ended } if !view.is_empty() => {
            // Asked again after a break: what was missed, or an older tale than the one before.
            let next = View::new(roster.epoch, roster.members.into_iter().map(|(member, _)| member));
            if next.epoch < view.epoch {
                return vec![format!("epoch {}: older than what was shown; waiting for news", next.epoch)];
            }
            let missed = view.difference(&next, &ended);
            *view = next;
            missed.iter().map(|change| tell(change, view, session)).collect()
        }
        SessionMessage::Whole { roster, .. } => {
            *view = View::new(roster.epoch, roster.members.into_iter().map(|(member, _)| member));
            vec![format!("epoch {}: {} members", view.epoch, view.len())]
        }
        SessionMessage::Changes { previous, .. } if previous > view.epoch => {
            session.say(SessionMessage::ChangesSince(view.epoch));
            Vec::new()
        }
        SessionMessage::Changes { epoch, changes, .. } => {
            let mut lines = Vec::new();
            // Epoch by epoch, so that each line tells how many members there were then.
            for step in changes.chunk_by(|a, b| a.epoch == b.epoch) {
                let news = view.apply(step[0].epoch, step.to_vec());
                lines.extend(news.iter().map(|change| tell(change, view, session)));
            }
            view.epoch = view.epoch.max(epoch);
            lines
        }
        SessionMessage::Evidence(Some(evidence)) => timeline(&evidence),
        _ => Vec::new(),
    }
}

/// One change in words; of a death it is asked how it was found.
fn tell(change: &Change, view: &View, session: &Observer) -> String {
    if let Event::Died(dead) = change.event {
        session.say(SessionMessage::EvidenceRequest(dead));
    }
    describe(change, view.len())
}

fn describe(change: &Change, members: usize) -> String {
    let what = match &change.event {
        Event::Joined(member) => format!("{} joined", member.id.address),
        Event::Replaced { new, .. } => format!("{} came back as another life", new.id.address),
        Event::Left(id) => format!("{} left", id.address),
        Event::Died(id) => format!("{} died", id.address),
    };
    format!("epoch {}: {what}; {members} members", change.epoch)
}

/// How a death was found, step by step: milliseconds from the first doubt that was told of.
fn timeline(evidence: &Evidence) -> Vec<String> {
    let Stages { suspected, reported, opened, carried, proposed } = evidence.stages;
    let reporter = evidence.reporter.map(|address| address.to_string()).unwrap_or_default();
    let jurors = (evidence.jurors.iter().filter(|vote| vote.dead).count(), evidence.jurors.len());
    let seeds: Vec<String> =
        evidence.seeds.iter().map(|SeedFinding { seed, finding, .. }| format!("{seed} {finding}")).collect();
    let doubt = match evidence.reporter {
        Some(_) => format!("ballot {} of the seeds", evidence.ballot),
        None => format!("ballot {} of the seeds: {}", evidence.ballot, evidence.cause),
    };
    let steps = [
        suspected.map(|at| (at, format!("{reporter} suspects it: {}", evidence.cause))),
        reported
            .map(|at| (at, format!("{reporter} reports it: {} of {} jurors say dead", jurors.0, jurors.1))),
        Some((opened, doubt)),
        Some((carried, format!("carried: {}", seeds.join(", ")))),
        Some((proposed, format!("to be committed as epoch {}", evidence.epoch))),
    ];
    let steps: Vec<(Timestamp, String)> = steps.into_iter().flatten().collect();
    let first = steps.iter().map(|(at, _)| at.as_micros()).min().unwrap_or_default();
    let line = |(at, what): (Timestamp, String)| {
        format!("{:>12.3} ms  {what}", (at.as_micros() - first) as f64 / 1e3)
    };
    let about = format!("how the death of {} was found:", evidence.dead.address);
    [about].into_iter().chain(steps.into_iter().map(line)).collect()
}

/// Has a peer broadcast a message.
pub async fn send(seed: SeedAddress, text: String) -> Result<(), Failure> {
    let mut session = Observer::open(&seed.seed).await?;
    let via = session.me().to_string();
    session.say(SessionMessage::Say { content: text.into(), via });
    match session.answer().await? {
        SessionMessage::Said(Ok(peer)) => print(&format!("handed to {peer}")).map(|_| ()),
        SessionMessage::Said(Err(why)) => Err(session.failure(&why)),
        _ => Err(session.failure("answered something else")),
    }
}

/// Changes the seeds of a running cluster, and says what is left to do.
pub async fn change_seeds(seed: AnySeed, change: SeedChange) -> Result<(), Failure> {
    let (SeedChange::Add(address) | SeedChange::Remove(address) | SeedChange::Replace(address)) = &change;
    let mut session = seed.open(address).await?;
    session.say(SessionMessage::ChangeSeeds(change.clone()));
    // As long as a seed may take to find a leader.
    let answered = session.wait_for(REGISTRATION_TIME_MAX + ANSWER_TIME_MAX, |message| match message {
        SessionMessage::SeedsChanged(answer) => Some(answer),
        _ => None,
    });
    if let Err(refusal) = answered.await? {
        return Err(session.failure(&refusal.to_string()));
    }
    print(&match change {
        SeedChange::Add(address) => format!("{address} is a seed: it gets a vote as soon as it runs"),
        SeedChange::Remove(address) => format!("{address} is a seed no longer, and stops"),
        SeedChange::Replace(address) => {
            format!("{address} may begin anew: it gets a vote as soon as it runs with an empty directory")
        }
    })
    .map(|_| ())
}

/// Shows how a seed is.
pub async fn status(seed: SeedAddress) -> Result<(), Failure> {
    let mut session = Observer::open(&seed.seed).await?;
    session.say(SessionMessage::StatusRequest);
    let SessionMessage::Status(status) = session.answer().await? else {
        return Err(session.failure("answered something else"));
    };
    let leader = status.leader.unwrap_or_else(|| "none".to_owned());
    print(&format!(
        "seed {}: leader {leader}, term {}, applied {}",
        status.seed, status.term, status.applied
    ))?;
    let vote = |votes: bool| if votes { "" } else { " (without a vote)" };
    let seeds: Vec<String> =
        status.seeds.iter().map(|(seed, votes)| format!("{seed}{}", vote(*votes))).collect();
    print(&format!("seeds {}", seeds.join(", ")))?;
    print(&format!("epoch {}, {} members, {} sessions", status.epoch, status.members, status.sessions))?;
    for (name, count) in status.counters {
        print(&format!("{name} {count}"))?;
    }
    Ok(())
}
