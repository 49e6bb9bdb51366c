//! Questions to a running cluster, through a seed's main port.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use coterie_common::clock::Clock;
use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::message::{ClusterId, SeedChange, SessionMessage};
use coterie_common::net::diagnostics;
use coterie_common::net::observer::{ANSWER_TIME_MAX, Observer, PING_EVERY};
use coterie_common::net::options::find_seed_list;
use coterie_common::net::process::{Failure, stop_signal};
use coterie_common::seed_list::SeedList;
use coterie_common::{Change, Event, Instant, Refusal, View, Why};
use coterie_seed::core::counters::explain;
use tokio::time::{sleep, timeout, timeout_at};

/// How long until a seed that has gone is asked again.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// How long a change of the seeds may take before it is said what it waits for.
const WAITS_IN_SILENCE: Duration = Duration::from_secs(2);

/// Any seed of a cluster: the one that is named, or those of its list, one after the other.
#[derive(Args, Clone, Debug)]
pub struct AnySeed {
    /// The seed to ask; otherwise those of the list, until one answers
    #[arg(long, value_name = "IP:PORT", env = "COTERIE_SEED")]
    seed: Option<String>,
    /// The seed list; otherwise config.csv, config.txt or config.json
    #[arg(long, value_name = "FILE", env = "COTERIE_CONFIG")]
    config: Option<PathBuf>,
}

impl AnySeed {
    /// Whom to ask, in turn.
    fn names(&self) -> Result<Vec<String>, Failure> {
        if let Some(seed) = &self.seed {
            return Ok(vec![seed.clone()]);
        }
        let file = find_seed_list(self.config.as_deref())?;
        let named = |e: io::Error| Failure::usage(format!("{}: {e}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(named)?;
        let list = SeedList::parse(&file, &text).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(list.seeds.iter().map(ToString::to_string).collect())
    }

    /// Asks one after the other, until one answers. Else what the last one said; that another is not reached tells
    /// less.
    async fn ask<T>(&self, question: impl AsyncFn(Observer) -> Result<T, Failure>) -> Result<T, Failure> {
        let (mut said, mut unreached) = (None, None);
        for name in self.names()? {
            match Observer::open(&name).await {
                Ok(session) => match question(session).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => said = Some(failure),
                },
                Err(failure) => unreached = Some(failure),
            }
        }
        Err(said.or(unreached).unwrap_or_else(|| Failure::usage("no seed to ask")))
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

/// Shows the members of the view that a seed has.
pub async fn members(seed: AnySeed, linearizable: bool) -> Result<(), Failure> {
    let roster = seed.ask(async |mut session| {
        session.say(SessionMessage::Observe { linearizable });
        let SessionMessage::Whole { roster, .. } = session.answer().await? else {
            return Err(session.failure("answered something else"));
        };
        session.say(SessionMessage::StatusRequest);
        // What changes meanwhile is pushed, and may come first.
        let is_status = |message| match message {
            SessionMessage::Status(status) => Some(status),
            _ => None,
        };
        Ok((roster, session.wait_for(ANSWER_TIME_MAX, is_status).await?))
    });
    let (roster, status) = roster.await?;
    if let Some(age) = status.as_of {
        let (seed, age) = (status.seed, age.as_secs());
        diagnostics::say(&format!("for {age} s {seed} has not known what is decided: this is older"));
    }
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
pub async fn watch(seed: AnySeed, limit: Option<Duration>) -> Result<(), Failure> {
    // As the only process of a container it would not hear Ctrl-C without listening for it.
    tokio::select! {
        watched = keep_watching(&seed, limit) => watched,
        () = stop_signal() => Ok(()),
    }
}

/// Where a seed goes, another is asked; where there is none, until one is back.
async fn keep_watching(seed: &AnySeed, limit: Option<Duration>) -> Result<(), Failure> {
    let clock = Clock::start();
    let end = limit.map(|limit| clock.now() + limit);
    let names = seed.names()?;
    let mut shown = Shown::default();
    let mut problem = Failure::usage("no seed to ask");
    loop {
        for name in &names {
            if end.is_some_and(|end| clock.now() >= end) {
                return if shown.has_begun { Ok(()) } else { Err(problem) };
            }
            let mut session = match Observer::open(name).await {
                Ok(session) => session,
                Err(unreachable) => {
                    problem = unreachable;
                    continue;
                }
            };
            let Err(failure) = follow(&mut session, &mut shown, &clock, end).await else { return Ok(()) };
            if shown.has_begun {
                diagnostics::say(&format!("coterie: {failure}; trying again"));
                shown.is_interrupted = true;
            }
            problem = failure;
        }
        // Whoever names no seed that answers at all is told so, and not left to wait.
        if !shown.has_begun {
            return Err(problem);
        }
        sleep(REOPEN_EVERY).await;
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
                let message = message?;
                if std::mem::take(&mut shown.is_interrupted) {
                    diagnostics::say(&format!("coterie: {} answers: watching on", session.name()));
                }
                for line in changed(shown, message, session) {
                    if !print(&line)? {
                        return Ok(());
                    }
                }
            }
            Err(_) if end.is_some_and(|end| clock.now() >= end) => {
                return if shown.has_begun { Ok(()) } else { Err(session.failure("has told of no members")) };
            }
            Err(_) => session.ping()?,
        }
    }
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    cluster: Option<ClusterId>,
    view: View,
    /// Whether a view was shown at all. It may be one without members.
    has_begun: bool,
    /// Whether a session was lost since.
    is_interrupted: bool,
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
            shown.has_begun = true;
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
        SessionMessage::Evidence(Some(evidence)) => crate::evidence::timeline(&evidence),
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

/// Has a peer broadcast a message.
pub async fn send(seed: AnySeed, text: String) -> Result<(), Failure> {
    let mut problem = Failure::usage("no seed to ask");
    for name in seed.names()? {
        let mut session = match Observer::open(&name).await {
            Ok(session) => session,
            Err(unreachable) => {
                problem = unreachable;
                continue;
            }
        };
        let via = session.me().to_string();
        session.say(SessionMessage::Say { content: text.clone().into(), via });
        // Who does not answer may have handed it on: another one would have it said twice.
        match session.answer().await? {
            SessionMessage::Said(Ok(peer)) => return print(&format!("handed to {peer}")).map(|_| ()),
            SessionMessage::Said(Err(why)) => problem = session.failure(&why),
            _ => return Err(session.failure("answered something else")),
        }
    }
    Err(problem)
}

/// Changes the seeds of a running cluster, and says what is left to do.
pub async fn change_seeds(seed: AnySeed, change: SeedChange) -> Result<(), Failure> {
    ask_to_change(seed, &change).await?;
    print(&match change {
        SeedChange::Add(address) => format!("{address} is a seed: it gets a vote as soon as it runs"),
        SeedChange::Remove(address) => format!("{address} is a seed no longer, and stops"),
        SeedChange::Replace { address, .. } => {
            format!("{address} may begin anew: it gets a vote as soon as it runs with an empty directory")
        }
    })
    .map(|_| ())
}

/// Asks the first seed that can be reached, but not the one that the change is about; where that one takes no changes
/// from here, nothing was done, and the next is asked.
async fn ask_to_change(seed: AnySeed, change: &SeedChange) -> Result<(), Failure> {
    let (but, is_named) = (change.address(), seed.seed.is_some());
    let (mut said, mut unreached) = (None, None);
    for name in seed.names()?.iter().filter(|name| is_named || *name != but) {
        let mut session = match Observer::open(name).await {
            Ok(session) => session,
            Err(failure) => {
                unreached = Some(failure);
                continue;
            }
        };
        session.say(SessionMessage::ChangeSeeds(change.clone()));
        // It was asked: that the answer is lost does not tell that nothing happens.
        let unknown =
            |failure: Failure| Failure::running(format!("{failure}: undecided, it may still happen"));
        match wait_for_change(&mut session).await.map_err(unknown)? {
            Err(refusal) if refusal.why == Why::NotAllowed => {
                said = Some(session.failure(&refusal.to_string()));
            }
            answer => return answer.map_err(|refusal| session.failure(&refusal.to_string())),
        }
    }
    let nobody = || Failure::usage(format!("the seed list has no seed but {but}"));
    Err(said.or(unreached).unwrap_or_else(nobody))
}

/// For as long as a seed may take to find a leader; where that takes a while, it says for what it waits.
async fn wait_for_change(session: &mut Observer) -> Result<Result<(), Refusal>, Failure> {
    let name = session.name().to_owned();
    let answered = session.wait_for(REGISTRATION_TIME_MAX.get() + ANSWER_TIME_MAX, |message| match message {
        SessionMessage::SeedsChanged(answer) => Some(answer),
        _ => None,
    });
    let mut answered = pin!(answered);
    if let Ok(answer) = timeout(WAITS_IN_SILENCE, &mut answered).await {
        return answer;
    }
    let most = REGISTRATION_TIME_MAX.get().as_secs();
    diagnostics::say(&format!("{name} has not answered yet: for a leader with a majority it waits {most} s"));
    answered.await
}

/// Shows how a seed is; and `explains` what each of its counters counts.
pub async fn status(seed: AnySeed, explains: bool) -> Result<(), Failure> {
    let ask = async |mut session: Observer, of_any_cluster: bool| {
        session.say(SessionMessage::StatusRequest);
        match session.answer().await? {
            SessionMessage::Status(status) if of_any_cluster && status.seeds.is_empty() => {
                Err(session.failure("is a seed of no cluster yet"))
            }
            SessionMessage::Status(status) => Ok(status),
            _ => Err(session.failure("answered something else")),
        }
    };
    // One that waits to be let in tells of no cluster: it is shown only where there is no other.
    let status = match seed.ask(async |session| ask(session, true).await).await {
        Ok(status) => status,
        Err(_) => seed.ask(async |session| ask(session, false).await).await?,
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
    let cluster = status.cluster.map_or_else(|| "none".to_owned(), |cluster| cluster.to_string());
    print(&format!("cluster {cluster}, log ends with {}", status.last))?;
    let voters = status.seeds.iter().filter(|(_, votes)| *votes).count();
    print(&format!("{} of {voters} voters", status.available))?;
    print(&format!("epoch {}, {} members, {} sessions", status.epoch, status.members, status.sessions))?;
    if status.health > 1 {
        print(&format!(
            "health {} of 1 to 8: it is slow, or hears hardly anybody, and bears silence longer",
            status.health
        ))?;
    }
    if let Some(age) = status.as_of {
        print(&format!("for {} s it has not known what is decided: what it tells is older", age.as_secs()))?;
    }
    for (trouble, lasts) in status.troubles {
        print(&format!("trouble for {} s: {trouble}", lasts.as_secs()))?;
    }
    for (name, count) in status.counters {
        print(&format!("{name} {count}"))?;
        if let (true, Some(text)) = (explains, explain(&name)) {
            print(&format!("  {text}"))?;
        }
    }
    Ok(())
}
