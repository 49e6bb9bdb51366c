//! The words of the scripts: how nodes, lives, changes and reasons are written and read.
//!
//! `6002` is 127.0.0.1:6002, `6002#3` its incarnation 3. A member's life is the number of its incarnation unless
//! `/9` names another; `s` one whose life has a secret that the
//! script knows; `j` marks a JSON program, whose life is 0. `died=6002#3@7` is a change of epoch 7.
#![allow(dead_code, reason = "the scripts of peers and of seeds do not use quite the same words")]

use std::sync::Arc;
use std::time::Duration;

use coterie_common::message::{Candidate, Cause, CloseReason, ClusterId, DeathReport, JurorVote, Roster};
use coterie_common::{
    Address, Change, Ended, Ending, Epoch, Event, Finding, HostEvidence, Incarnation, Life, Member, MemberId,
    Refusal, Secret, Tags, Why, Wire,
};

pub(crate) const HOST: &str = "127.0.0.1:";

/// Commands are words; some are `key=value`.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(pub(crate) &'a [&'a str]);

impl<'a> Words<'a> {
    pub(crate) fn at(self, index: usize) -> &'a str {
        self.0.get(index).copied().unwrap_or_else(|| panic!("a word is missing after {:?}", self.0.join(" ")))
    }

    pub(crate) fn from(self, index: usize) -> Words<'a> {
        Words(self.0.get(index..).unwrap_or_default())
    }

    pub(crate) fn text(self) -> String {
        self.0.join(" ")
    }

    pub(crate) fn has(self, word: &str) -> bool {
        self.0.contains(&word)
    }

    pub(crate) fn key(self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn list(self, key: &str) -> Vec<&'a str> {
        list(self.key(key).unwrap_or_default())
    }

    pub(crate) fn number(self, key: &str) -> Option<u64> {
        self.key(key).map(number)
    }
}

pub(crate) fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|t| !t.is_empty()).collect()
}

pub(crate) fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

pub(crate) fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(number(ms)),
        None => {
            let seconds: f64 = text
                .strip_suffix('s')
                .and_then(|s| s.parse().ok())
                .unwrap_or_else(|| panic!("{text:?} is no time"));
            Duration::from_secs_f64(seconds)
        }
    }
}

pub(crate) fn address(text: &str) -> Address {
    let whole = if text.contains(':') { text.to_owned() } else { format!("{HOST}{text}") };
    whole.parse().unwrap_or_else(|_| panic!("{text:?} is no address"))
}

pub(crate) fn id(text: &str) -> MemberId {
    let (at, incarnation) = text.split_once('#').unwrap_or_else(|| panic!("{text:?} is no member"));
    MemberId { address: address(at), incarnation: Incarnation(number(incarnation)) }
}

/// The secret that a script knows of a life: its incarnation, sixteen times.
pub(crate) fn secret(text: &str) -> Secret {
    Secret(
        [u8::try_from(id(text).incarnation.0).unwrap_or_else(|_| panic!("{text:?} is too late a life")); 16],
    )
}

pub(crate) fn member(text: &str) -> Arc<Member> {
    let (text, tags) = match text.split_once('+') {
        Some((text, tag)) => (text, tag.split_once(':').map(|(k, v)| (k.to_owned(), v.to_owned()))),
        None => (text, None),
    };
    let (text, wire) = match text.strip_suffix('j') {
        Some(text) => (text, Wire::Json),
        None => (text, Wire::Native),
    };
    let (text, named) = match text.split_once('/') {
        Some((text, life)) => (text, Some(Life(number(life)))),
        None => match text.strip_suffix('s') {
            Some(text) => (text, Some(secret(text).life(id(text).address))),
            None => (text, None),
        },
    };
    let id = id(text);
    let life = if wire == Wire::Json { Life::NONE } else { named.unwrap_or(Life(id.incarnation.0)) };
    Arc::new(Member { id, life, wire, tags: Tags::from_iter(tags) })
}

pub(crate) fn show_member(member: &Member) -> String {
    let life = match member.wire {
        Wire::Json => "j".to_owned(),
        Wire::Native if member.life.0 == member.id.incarnation.0 => String::new(),
        Wire::Native => format!("/{}", member.life),
    };
    format!("{}{life}", member.id)
}

/// `6001 life=7 tag=k:v`, or `6001 json`.
pub(crate) fn candidate(words: Words<'_>) -> Candidate {
    let wire = if words.has("json") { Wire::Json } else { Wire::Native };
    let tags = words.key("tag").and_then(|t| t.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    Candidate {
        address: address(words.at(0)),
        life: Life(words.number("life").unwrap_or(0)),
        wire,
        tags: Tags::from_iter(tags),
    }
}

pub(crate) fn show_wire(wire: Wire) -> &'static str {
    match wire {
        Wire::Native => "native",
        Wire::Json => "json",
    }
}

/// `joined=6004#6`, `replaced=6002#3>6002#8`, `left=6002#3@7`, `died=6002#3@7`.
pub(crate) fn change(text: &str) -> Change {
    let (kind, rest) = text.split_once('=').unwrap_or_else(|| panic!("{text:?} is no change"));
    let ended = |rest: &str| {
        let (who, epoch) = rest.split_once('@').unwrap_or_else(|| panic!("{text:?} lacks its epoch"));
        (id(who), Epoch(number(epoch)))
    };
    let (epoch, event) = match kind {
        "joined" => (Epoch(member(rest).id.incarnation.0), Event::Joined(member(rest))),
        "replaced" => {
            let (old, new) = rest.split_once('>').unwrap_or_else(|| panic!("{text:?} lacks a life"));
            (Epoch(member(new).id.incarnation.0), Event::Replaced { old: id(old), new: member(new) })
        }
        "left" => (ended(rest).1, Event::Left(ended(rest).0)),
        "died" => (ended(rest).1, Event::Died(ended(rest).0)),
        other => panic!("{other:?} is no kind of change"),
    };
    Change { epoch, event }
}

pub(crate) fn show_change(change: &Change) -> String {
    match &change.event {
        Event::Joined(member) => format!("joined={}", show_member(member)),
        Event::Replaced { old, new } => format!("replaced={old}>{}", show_member(new)),
        Event::Left(id) => format!("left={id}@{}", change.epoch),
        Event::Died(id) => format!("died={id}@{}", change.epoch),
    }
}

/// As a change; what replaced it is of no concern: `replaced=6002#3@8`.
pub(crate) fn ended(text: &str) -> Ended {
    let (kind, rest) = text.split_once('=').unwrap_or_else(|| panic!("{text:?} is no ending"));
    let (who, epoch) = rest.split_once('@').unwrap_or_else(|| panic!("{text:?} lacks its epoch"));
    let how = match kind {
        "left" => Ending::Left,
        "died" => Ending::Died,
        "replaced" => Ending::Replaced,
        other => panic!("{other:?} is no ending"),
    };
    Ended { id: id(who), epoch: Epoch(number(epoch)), how }
}

pub(crate) fn show_ended(ended: &Ended) -> String {
    let how = match ended.how {
        Ending::Left => "left",
        Ending::Died => "died",
        Ending::Replaced => "replaced",
    };
    format!("{how}={}@{}", ended.id, ended.epoch)
}

pub(crate) fn show_roster(roster: &Roster) -> String {
    let show = |(member, degree): &(Arc<Member>, u32)| match degree {
        0 => show_member(member),
        degree => format!("{}:{degree}", show_member(member)),
    };
    let members: Vec<String> = roster.members.iter().map(show).collect();
    format!("epoch={} members={}", roster.epoch, members.join(","))
}

pub(crate) fn refusal(words: Words<'_>) -> Refusal {
    let all = [
        Why::BadRequest,
        Why::AddressInUse,
        Why::NotAnswering,
        Why::TooOften,
        Why::Limit,
        Why::Ended,
        Why::NoQuorum,
        Why::NotMember,
        Why::Stranger,
        Why::Oneself,
        Why::BadVotes,
        Why::Alive,
        Why::CannotProbe,
        Why::Superseded,
    ];
    let why = all.into_iter().find(|why| why.as_str() == words.at(0));
    Refusal::new(why.unwrap_or_else(|| panic!("{:?} is no reason", words.at(0))), words.from(1).text())
}

pub(crate) fn finding(text: &str) -> Finding {
    match text {
        "alive" => Finding::Alive,
        "refused" => Finding::Refused,
        "silent" => Finding::Silent,
        "cannot_probe" => Finding::CannotProbe,
        "other_life" => Finding::OtherLife(Life(99)),
        "no_life" => Finding::OtherLife(Life::NONE),
        other => panic!("{other:?} is no finding"),
    }
}

pub(crate) fn host(words: Words<'_>) -> HostEvidence {
    match words.key("host") {
        None => HostEvidence::Unknown,
        Some("answers") => HostEvidence::Answers,
        Some(_) => HostEvidence::Silent,
    }
}

pub(crate) fn cause(text: &str) -> Cause {
    let all = [
        Cause::ConnectionLost,
        Cause::PingsMissed,
        Cause::ConnectRefused,
        Cause::Asked,
        Cause::Absent,
        Cause::Deaf,
    ];
    all.into_iter().find(|cause| cause.to_string() == text).unwrap_or_else(|| panic!("{text:?} is no cause"))
}

/// `abab`, the cluster of the scripts; `cdcd`, another one; `none`.
pub(crate) fn cluster(text: &str) -> Option<ClusterId> {
    match text {
        "none" => None,
        _ => {
            let byte = u8::from_str_radix(&text[..2], 16).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            Some(ClusterId([byte; 16]))
        }
    }
}

pub(crate) fn show_cluster(cluster: Option<ClusterId>) -> String {
    cluster.map_or_else(|| "none".to_owned(), |cluster| cluster.to_string())
}

pub(crate) fn close_reason(text: &str) -> CloseReason {
    match text.split_once('=') {
        Some(("ended", epoch)) => CloseReason::Ended(Epoch(number(epoch))),
        Some(_) | None => match text {
            "unknown" => CloseReason::Unknown,
            "full" => CloseReason::Full,
            "duplicate" => CloseReason::Duplicate,
            "shutting_down" => CloseReason::ShuttingDown,
            "rejoining" => CloseReason::Rejoining,
            "silent" => CloseReason::Silent,
            other => panic!("{other:?} is no reason to close"),
        },
    }
}

/// `6002#4 connection_lost votes=6001#3:dead,6003#5:alive undecided`
pub(crate) fn report(words: Words<'_>) -> DeathReport {
    let vote = |text: &str| {
        let (juror, vote) = text.split_once(':').unwrap_or_else(|| panic!("{text:?} is no vote"));
        JurorVote { juror: id(juror), dead: vote == "dead" }
    };
    let votes = words.list("votes").into_iter().map(vote).collect();
    DeathReport {
        dead: id(words.at(0)),
        suspected: None,
        timestamp: STARTED,
        cause: cause(words.at(1)),
        votes,
        undecided: words.has("undecided"),
    }
}

pub(crate) fn show_report(report: &DeathReport) -> String {
    let vote = |v: &JurorVote| format!("{}:{}", v.juror, if v.dead { "dead" } else { "alive" });
    let votes: Vec<String> = report.votes.iter().map(vote).collect();
    let undecided = if report.undecided { " undecided" } else { "" };
    format!("report {} {} votes={}{undecided}", report.dead, report.cause, votes.join(","))
}

/// The time of day at which every script begins: a round number of seconds.
pub(crate) const STARTED: coterie_common::Timestamp =
    coterie_common::Timestamp::from_micros(1_700_000_000_000_000);

/// The host goes without saying; but the text of a report is a contract, and stays whole.
pub(crate) fn brief(text: &str) -> String {
    text.replace("Dead Node:127.0.0.1:", "Dead Node:\u{0}:").replace(HOST, "").replace('\u{0}', "127.0.0.1")
}

/// A moment of a script.
pub(crate) fn show_time(now: coterie_common::Instant) -> String {
    format!("{}ms", now.as_nanos() / 1_000_000)
}
