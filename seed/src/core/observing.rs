//! What observers ask: reads of the view, how a death was found, how this seed is, and to have something said.

use coterie_common::message::{CloseReason, Evidence, SeedFinding, SeedStatus, SessionMessage, Vote};
use coterie_common::{Address, MemberId};
use rand::seq::IndexedRandom;

use super::Seed;
use super::effect::{Effect, SessionId};
use super::entry::Verdict;

/// Why a seed tells nothing: what its own disk says may be old, and a view never goes back.
pub(super) const NOT_LED: &str = "no leader has been heard of since this seed started";

/// A linearizable read under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    session: SessionId,
    index: Option<u64>,
}

impl Seed {
    pub(super) fn on_observe(&mut self, session: SessionId, linearizable: bool, out: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.observes = true;
        }
        if !linearizable {
            return self.send_whole(session, out);
        }
        self.reads_made += 1;
        self.reads.insert(self.reads_made, Read { session, index: None });
        out.push(Effect::ReadIndex(self.reads_made));
    }

    pub(super) fn on_read_ready(&mut self, read: u64, index: Option<u64>, out: &mut Vec<Effect>) {
        match (self.reads.get_mut(&read), index) {
            (Some(pending), Some(index)) => {
                pending.index = Some(index);
                self.answer_reads(out);
            }
            (Some(pending), None) => {
                let session = pending.session;
                self.reads.remove(&read);
                self.close_session(
                    session,
                    CloseReason::Refused("no leader could confirm the read".to_owned()),
                    out,
                );
            }
            (None, _) => {}
        }
    }

    /// Answers the reads whose index is applied.
    pub(super) fn answer_reads(&mut self, out: &mut Vec<Effect>) {
        let applied = self.registry.applied();
        let ready = |read: &Read| read.index.is_some_and(|index| index <= applied);
        let due: Vec<(u64, SessionId)> =
            self.reads.iter().filter(|(_, read)| ready(read)).map(|(n, read)| (*n, read.session)).collect();
        for (number, session) in due {
            self.reads.remove(&number);
            if self.sessions.get(session).is_some() {
                self.send_whole(session, out);
            }
        }
    }

    /// Hands something to any peer that holds a session here.
    pub(super) fn hand_on(
        &mut self,
        message: SessionMessage,
        out: &mut Vec<Effect>,
    ) -> Result<Address, String> {
        let native = self.sessions.native();
        let alive: Vec<_> =
            native.into_iter().filter(|(_, member)| self.registry.member(*member).is_some()).collect();
        let Some((session, MemberId { address, .. })) = alive.choose(&mut self.rng).copied() else {
            return Err(match self.was_led {
                true => "this seed holds no session of a peer",
                false => NOT_LED,
            }
            .to_owned());
        };
        self.send(session, message, out);
        Ok(address)
    }

    /// How a death was found, while the registry remembers it.
    pub(super) fn evidence(&self, dead: MemberId) -> Option<Evidence> {
        let death = self.registry.deaths().rev().find(|death| death.verdict.dead == dead)?;
        let Verdict { cause, reporter, jurors, ballot, votes, stages, .. } = death.verdict.clone();
        let found =
            |vote: &Vote| SeedFinding { seed: self.name(vote.seed), finding: vote.finding, host: vote.host };
        let seeds = votes.iter().map(found).collect();
        Some(Evidence { dead, epoch: death.epoch, cause, reporter, jurors, ballot, seeds, stages })
    }

    fn seeds_and_votes(&self) -> Vec<(String, bool)> {
        let voters = self.voters();
        self.registry.seeds().iter().map(|(id, seed)| (seed.address.clone(), voters.contains(id))).collect()
    }

    pub(super) fn status(&self) -> SeedStatus {
        SeedStatus {
            seed: self.name(self.config.id),
            seeds: self.seeds_and_votes(),
            // One that cannot be reached leads nobody here.
            leader: self.leader.filter(|_| self.takes_part()).map(|l| self.name(l)),
            term: self.term,
            applied: self.registry.applied(),
            epoch: self.registry.epoch(),
            members: self.registry.members().len() as u64,
            sessions: self.sessions.len() as u64,
            counters: self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }
}
