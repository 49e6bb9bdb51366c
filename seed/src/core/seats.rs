//! Changing the seeds while they run: adding one, removing one, giving the place of one that lost its disk to another.
//!
//! ```text
//! operator            asked seed        leader                             every seed
//!   | ChangeSeeds -----> | Errand -------> |  SeedAdd or SeedRemove in the log |  dials a new seed, tells its sessions
//!   | <-- SeedsChanged   | <-------- Done  |
//!                    new seed connects -->|  SeedBirth in the log
//!                                         |  ChangeVoters: joint consensus, until the votes are as the registry wants
//! ```
//!
//! What is wanted stands in the registry, so whoever leads compares it with the sets of voters that the log has, and
//! goes on where the last leader stopped: also with a joint configuration that was left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::SEEDS_MAX;
use coterie_common::message::{Answer, SeedChange, SeedId, SessionMessage};
use coterie_common::seed_list::{parse_host, parse_port, split_host_port};
use coterie_common::{Instant, Refusal, Why, Wire, majority};

use super::Seed;
use super::admitting::Owner;
use super::effect::{Effect, SessionId};
use super::entry::{Applied, Body, Entry};

/// How long a change of the voters may take before it is asked for again.
const CHANGE_AGAIN: Duration = Duration::from_secs(5);

/// What the leader has under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    /// Entries that are proposed, and who wants to know.
    asked: Vec<(Body, Owner)>,
    /// A change of the voters is under way, and is asked for again then.
    changing_until: Option<Instant>,
}

impl Seats {
    pub(super) fn new_leader(&mut self) {
        *self = Seats::default();
    }
}

impl Seed {
    // ---- what is asked ----

    /// Whether the change is one that makes sense, before the leader is asked.
    pub(super) fn check_seed_change(&self, change: &SeedChange) -> Result<(), Refusal> {
        let (SeedChange::Add(address) | SeedChange::Remove(address) | SeedChange::Replace(address)) = change;
        let parsed = split_host_port(address)
            .and_then(|(host, port)| Ok((parse_host(host)?, parse_port(port)?)))
            .map_err(|problem| Refusal::new(Why::BadRequest, problem));
        parsed?;
        match (change, self.registry.seed_at(address)) {
            (SeedChange::Remove(_) | SeedChange::Replace(_), None) => {
                Err(Refusal::new(Why::Stranger, format!("{address} is no seed of this cluster")))
            }
            _ => Ok(()),
        }
    }

    /// The leader is asked for a change.
    pub(super) fn open_seed_change(&mut self, change: SeedChange, owner: Owner, out: &mut Vec<Effect>) {
        match self.entry_for(change) {
            Ok(Some(body)) => {
                let is_first = self.seats.asked.iter().all(|(asked, _)| *asked != body);
                self.seats.asked.push((body.clone(), owner));
                if is_first {
                    out.push(Effect::Propose(Entry::new(body)));
                }
            }
            Ok(None) => {
                let index = self.registry.applied();
                self.done(owner, Answer::Recorded { index }, out);
            }
            Err(refusal) => self.done(owner, Answer::Refused(refusal), out),
        }
    }

    /// The entry that makes the change; none when it is made already, as when the same is asked again.
    fn entry_for(&self, change: SeedChange) -> Result<Option<Body>, Refusal> {
        let waits = |id: &SeedId| self.registry.seeds().get(id).is_some_and(|seed| seed.birth.is_none());
        match change {
            SeedChange::Add(address) => match self.registry.seed_at(&address) {
                Some(id) if waits(&id) && !self.registry.votes(id) => Ok(None),
                Some(_) => Err(Refusal::new(Why::Superseded, format!("{address} is a seed already"))),
                None if self.registry.seeds().len() >= SEEDS_MAX => {
                    Err(Refusal::new(Why::Limit, format!("{SEEDS_MAX} seeds")))
                }
                None => Ok(Some(Body::SeedAdd { address, replaces: None })),
            },
            SeedChange::Remove(address) => match self.registry.seed_at(&address) {
                Some(_) if self.registry.seeds().len() == 1 => {
                    Err(Refusal::new(Why::BadRequest, "the last seed cannot be removed"))
                }
                Some(id) => self.check_majority_without(id).map(|()| Some(Body::SeedRemove(id))),
                None => Ok(None),
            },
            SeedChange::Replace(address) => match self.registry.seed_at(&address) {
                Some(id) if waits(&id) && !self.registry.votes(id) => Ok(None),
                Some(id) => {
                    self.check_majority_without(id)?;
                    Ok(Some(Body::SeedAdd { address, replaces: Some(id) }))
                }
                None => Err(Refusal::new(Why::Stranger, format!("{address} is no seed of this cluster"))),
            },
        }
    }

    /// Those that are left must be able to decide anything: an operator who takes the wrong one away while others are
    /// down would stop the cluster for good.
    fn check_majority_without(&self, seed: SeedId) -> Result<(), Refusal> {
        let mut left = self.registry.voters_wanted();
        left.remove(&seed);
        let connected = |id: &&SeedId| **id == self.config.id || self.others.contains_key(id);
        let (there, needed) = (left.iter().filter(connected).count(), majority(left.len()));
        if there >= needed {
            return Ok(());
        }
        let all = left.len();
        let detail =
            format!("only {there} of the {all} seeds that would be left are connected, {needed} are needed");
        Err(Refusal::new(Why::NoQuorum, detail))
    }

    // ---- what the log has decided ----

    /// An entry about the seeds is applied.
    pub(super) fn seats_applied(
        &mut self,
        index: u64,
        body: &Body,
        applied: &Applied,
        out: &mut Vec<Effect>,
    ) {
        let answer = match applied {
            Applied::Refused(refusal) => Answer::Refused(refusal.clone()),
            _ => Answer::Recorded { index },
        };
        let asked = std::mem::take(&mut self.seats.asked);
        let (these, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(asked, _)| asked == body);
        self.seats.asked = others;
        these.into_iter().for_each(|(_, owner)| self.done(owner, answer.clone(), out));
        self.tell_shell_of_seeds(out);
    }

    /// The sets of voters have changed, by the log's own entry at `index`.
    pub(super) fn voters_applied(&mut self, index: u64, sets: Vec<BTreeSet<SeedId>>, out: &mut Vec<Effect>) {
        self.registry.set_seeds(index, sets);
        if self.registry.seed_sets().len() == 1 {
            self.seats.changing_until = None;
        }
        if self.registry.cluster().is_some() {
            self.tell_shell_of_seeds(out);
            let sessions: Vec<SessionId> =
                self.sessions.iter().filter(|(_, s)| s.member.is_some()).map(|(id, _)| id).collect();
            sessions.into_iter().for_each(|id| self.tell_seeds(id, out));
        }
    }

    /// The seeds to be connected with: those that there are, and those that still have a vote.
    pub(super) fn tell_shell_of_seeds(&mut self, out: &mut Vec<Effect>) {
        let seeds: BTreeMap<SeedId, String> =
            self.registry.seeds().iter().map(|(id, seed)| (*id, seed.address.clone())).collect();
        let removed = self.registry.removed_seeds().keys().copied();
        let gone: BTreeSet<SeedId> = removed.filter(|id| self.registry.is_gone(*id)).collect();
        out.push(Effect::Seeds { seeds, gone });
    }

    /// A peer is told of the seeds that vote, where they are no longer those of its list.
    pub(super) fn tell_seeds(&mut self, id: SessionId, out: &mut Vec<Effect>) {
        let changed_at = self.registry.voters_changed_at();
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.wire != Wire::Native || session.seeds_told_at >= changed_at {
            return;
        }
        session.seeds_told_at = changed_at;
        let voters = self.voters();
        let seeds: Vec<String> = voters
            .iter()
            .filter_map(|id| self.registry.seeds().get(id))
            .map(|seed| seed.address.clone())
            .collect();
        self.send(id, SessionMessage::Seeds { since: changed_at, seeds }, out);
    }

    // ---- the leader ----

    /// Has the voters changed to those that the registry wants, if they are others.
    pub(super) fn settle_seats(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let wanted = self.registry.voters_wanted();
        let is_settled = self.registry.seed_sets() == [wanted.clone()];
        let is_changing = self.seats.changing_until.is_some_and(|until| now < until);
        if is_settled || is_changing || wanted.is_empty() {
            return;
        }
        self.count("voter_changes");
        self.seats.changing_until = Some(now + CHANGE_AGAIN);
        out.push(Effect::ChangeVoters(wanted));
    }

    /// The voters were not changed: this seed leads no longer, or a new one was not there to catch up.
    pub(super) fn on_voters_unchanged(&mut self, now: Instant) {
        self.count("voter_changes_failed");
        self.seats.changing_until = self.seats.changing_until.map(|until| until.min(now + CHANGE_AGAIN / 5));
    }

    /// An entry about the seeds was not taken: it is proposed again, for whoever asked.
    pub(super) fn seats_failed(&mut self, body: Body, out: &mut Vec<Effect>) {
        if self.seats.asked.iter().any(|(asked, _)| *asked == body) {
            out.push(Effect::Propose(Entry::new(body)));
        }
    }
}
