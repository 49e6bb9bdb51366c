//! How a seed's effects are written in a script: one readable line each.

use coterie_common::message::{
    Answer, Candidate, ForwardedRequest, Means, MeshMessage, Registration, SeedChange, SessionMessage, Vote,
};
use coterie_common::{Address, MemberId, Message, Refusal, Wire};
use coterie_seed::core::Entry;
use coterie_seed::core::entry::{Body, DeathRecord, SeedRecord};

use super::words::{show_change, show_cluster, show_ended, show_report, show_roster};

pub(super) fn show_message(message: &Message) -> String {
    match message {
        Message::Pong { nonce, ready, .. } => format!("pong {nonce} ready={ready}"),
        Message::Session(message) => show_session(message),
        other => panic!("a seed says {other:?}"),
    }
}

fn show_session(message: &SessionMessage) -> String {
    match message {
        SessionMessage::Cluster(cluster) => format!("cluster {}", show_cluster(*cluster)),
        SessionMessage::SilenceMax(limit) => format!("bears {limit:?}"),
        SessionMessage::Registered(Registration::Admitted { incarnation, roster }) => {
            format!("admitted {incarnation} {}", show_roster(roster))
        }
        SessionMessage::Registered(Registration::Refused(refusal)) => {
            format!("refused {}", show_refusal(refusal))
        }
        SessionMessage::List(roster) => format!("list {}", show_roster(roster)),
        SessionMessage::Changes { previous, epoch, changes } => {
            let changes: Vec<String> = changes.iter().map(|c| format!(" {}", show_change(c))).collect();
            format!("changes {previous}..{epoch}{}", changes.concat())
        }
        SessionMessage::Whole { roster, ended } => {
            let ended: Vec<String> = ended.iter().map(|e| format!(" {}", show_ended(e))).collect();
            format!("whole {}{}", show_roster(roster), ended.concat())
        }
        SessionMessage::Rejected { dead, refusal } => format!("rejected {dead} {}", show_refusal(refusal)),
        SessionMessage::Dial(address) => format!("dial {address}"),
        SessionMessage::Say { content, via } => {
            format!("say via={via} {:?}", String::from_utf8_lossy(content))
        }
        SessionMessage::Said(said) => format!("said {said:?}"),
        SessionMessage::Status(status) => {
            let leader = status.leader.as_deref().unwrap_or("nobody");
            let (term, applied, epoch) = (status.term, status.applied, status.epoch);
            let as_of = status.as_of.map(|age| format!(" as-of={age:?}")).unwrap_or_default();
            let troubles =
                status.troubles.iter().map(|(what, lasts)| format!(" trouble={what:?} for {lasts:?}"));
            format!(
                "status leader={leader} term={term} applied={applied} epoch={epoch} members={} sessions={}{as_of}{}",
                status.members,
                status.sessions,
                troubles.collect::<String>()
            )
        }
        SessionMessage::Seeds { since, seeds } => format!("seeds {} since={since}", seeds.join(",")),
        SessionMessage::SeedsChanged(Ok(())) => "seeds-changed".to_owned(),
        SessionMessage::SeedsChanged(Err(refusal)) => format!("seeds-not-changed {}", show_refusal(refusal)),
        other => panic!("a seed says {other:?}"),
    }
}

fn show_refusal(refusal: &Refusal) -> String {
    let retry = if refusal.why.may_retry() { "" } else { " (for good)" };
    format!("{refusal}{retry}")
}

fn show_candidate(candidate: &Candidate) -> String {
    let wire = if candidate.wire == Wire::Json { " json" } else { "" };
    format!("{} life={}{wire}", candidate.address, candidate.life)
}

fn show_forwarded(forwarded: &ForwardedRequest) -> String {
    match forwarded {
        ForwardedRequest::Register(candidate) => format!("register {}", show_candidate(candidate)),
        ForwardedRequest::Leave(id) => format!("leave {id}"),
        ForwardedRequest::Report { report, reporter } => format!("{} by={reporter}", show_report(report)),
        ForwardedRequest::Seeds { change: SeedChange::Add(address), .. } => format!("seed-add {address}"),
        ForwardedRequest::Seeds { change: SeedChange::Remove(address), .. } => {
            format!("seed-remove {address}")
        }
        ForwardedRequest::Seeds { change: SeedChange::Replace { address, .. }, .. } => {
            format!("seed-replace {address}")
        }
    }
}

pub(super) fn show_answer(answer: &Answer) -> String {
    match answer {
        Answer::Admitted { incarnation, index } => format!("admitted {incarnation} at {index}"),
        Answer::Recorded { index } => format!("recorded {index}"),
        Answer::Refused(refusal) => format!("refused {}", show_refusal(refusal)),
    }
}

pub(super) fn show_mesh(message: &MeshMessage) -> String {
    match message {
        MeshMessage::Request { number, forwarded } => {
            format!("request {number} {}", show_forwarded(forwarded))
        }
        MeshMessage::Reply { number, answer } => format!("reply {number} {}", show_answer(answer)),
        MeshMessage::RegisterProposal(p) => {
            let who = show_candidate(&p.candidate);
            format!("proposes register {} {who} replaces={} commit={}", p.ballot, p.replaces, p.commit)
        }
        MeshMessage::DeathProposal(p) => {
            format!("proposes death {} {} commit={} {}", p.ballot, p.dead, p.commit, p.cause)
        }
        MeshMessage::Vote(reply) => {
            let vote = match &reply.refusal {
                Some(refusal) => format!("no {refusal}"),
                None => format!("yes {}", reply.vote.finding),
            };
            format!("votes {} {vote} age={}", reply.vote.ballot, reply.age_ms)
        }
        MeshMessage::Soft(soft) => {
            let ids = |ids: &[MemberId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let all = |to: &[Address]| to.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
            let links: Vec<String> =
                soft.links.iter().map(|(from, to)| format!("{}:[{}]", from.address, all(&to.to))).collect();
            let whole = if soft.whole { "whole " } else { "" };
            let cut_off = |means: Means| if means.is_cut_off { " cut-off" } else { "" };
            let means = soft.means.map(|means| format!(" probes={}{}", means.probes, cut_off(means)));
            let (held, lost) = (ids(&soft.held), ids(&soft.lost));
            format!(
                "soft {whole}held={held} lost={lost} links={}{}",
                links.join(","),
                means.unwrap_or_default()
            )
        }
        MeshMessage::Relay { to, message } => format!("relay {to} {}", show_session(message)),
        other => panic!("a seed says {other:?}"),
    }
}

fn show_votes(votes: &[Vote]) -> String {
    votes.iter().map(|v| format!("s{}:{}", v.seed, v.finding)).collect::<Vec<_>>().join(",")
}

pub(super) fn show_entry(entry: &Entry) -> String {
    match &entry.body {
        Body::Found { seeds, .. } => {
            let directory_id =
                |r: &SeedRecord| r.directory_id.map_or("unknown".to_owned(), |b| b.to_string());
            let seeds: Vec<String> =
                seeds.iter().map(|(id, record)| format!("s{id}:{}", directory_id(record))).collect();
            format!("found directories={}", seeds.join(","))
        }
        Body::SeedDirectory { seed, directory_id } => format!("directory s{seed} {directory_id}"),
        Body::SeedAdd { address, replaces } => {
            format!("seed-add {address}{}", replaces.map_or(String::new(), |old| format!(" for s{old}")))
        }
        Body::SeedRemove(seed) => format!("seed-remove s{seed}"),
        Body::Join { ballot, candidate, replaces, votes } => {
            format!(
                "join {} replaces={replaces} ballot={ballot} votes={}",
                show_candidate(candidate),
                show_votes(votes)
            )
        }
        Body::Leave(id) => format!("leave {id}"),
        Body::Deaths(verdicts) => {
            let one = |v: &DeathRecord| {
                let jurors =
                    v.jurors.iter().map(|j| format!("{}:{}", j.juror, if j.dead { "dead" } else { "alive" }));
                let reporter = v.reporter.map_or("nobody".to_owned(), |r| r.to_string());
                let jurors = jurors.collect::<Vec<_>>().join(",");
                format!(
                    " [{} ballot={} votes={} reporter={reporter} jurors={jurors}]",
                    v.dead,
                    v.ballot,
                    show_votes(&v.votes)
                )
            };
            format!("deaths{}", verdicts.iter().map(one).collect::<String>())
        }
    }
}
