//! Where planted bugs take hold of what is on its way: see [`crate::plan::planted_bug`].

use std::sync::Arc;

use coterie_common::message::{CloseReason, LinkMessage, MeshMessage, RumorId, SessionMessage, Subject};
use coterie_common::{Change, Event, Finding, Message};
use coterie_seed::core::Entry;
use coterie_seed::core::entry::Body;

use super::World;
use crate::model::host::Host;
use crate::plan::planted_bug::PlantedBug;

impl World {
    /// What becomes of a message on its way; nothing, if a planted bug loses it.
    pub(super) fn tampered(&self, id: u64, from: Host, message: Message) -> Option<Message> {
        let Some(planted_bug) = self.plan.planted_bug else { return Some(message) };
        match message {
            Message::Link(message) => tampered_link(planted_bug, from, message).map(Message::Link),
            Message::Session(message) => {
                self.tampered_session(planted_bug, id, from, message).map(Message::Session)
            }
            Message::Mesh(MeshMessage::Vote(mut reply)) if planted_bug == PlantedBug::VoteWithoutProbe => {
                if let Subject::Death(_) = reply.vote.subject {
                    (reply.refusal, reply.vote.finding) = (None, Finding::Silent);
                }
                Some(Message::Mesh(MeshMessage::Vote(reply)))
            }
            Message::Close(CloseReason::Duplicate)
                if planted_bug == PlantedBug::DuplicatesEndWithoutAWord =>
            {
                None
            }
            Message::Pong { life, address, incarnation, ready, .. }
                if planted_bug == PlantedBug::PongsAnswerNothing && life.is_some() =>
            {
                Some(Message::Pong { nonce: 0, life, address, incarnation, ready })
            }
            Message::Close(_)
                if planted_bug == PlantedBug::RemovedAreNotTold && matches!(from, Host::Seed(_)) =>
            {
                None
            }
            other => Some(other),
        }
    }

    fn tampered_session(
        &self,
        planted_bug: PlantedBug,
        id: u64,
        from: Host,
        mut message: SessionMessage,
    ) -> Option<SessionMessage> {
        match (planted_bug, &mut message) {
            (PlantedBug::NobodyMends, SessionMessage::Dial(_))
            | (PlantedBug::RejectionsAreNotTold, SessionMessage::Rejected { .. }) => return None,
            (PlantedBug::PushLeavesOneOut, SessionMessage::Changes { changes, .. }) if changes.len() > 1 => {
                changes.pop();
            }
            (PlantedBug::SessionsMix, SessionMessage::Cluster(named)) => {
                let seed = self.traffic.connections.get(id).map(|connection| connection.ends[1].host);
                if let Some(Host::Seed(seed)) = seed {
                    let of_seed = self.seeds[seed].replica.history().map(|history| history.cluster);
                    let of_peers = self.checker.truth().registry().cluster();
                    *named = if matches!(from, Host::Peer(_)) { of_seed } else { of_peers };
                }
            }
            (PlantedBug::EndedComeBack, SessionMessage::Changes { epoch, changes, .. }) => {
                let died = changes.iter().find_map(|change| match &change.event {
                    Event::Died(id) => self.checker.revenant(*id),
                    Event::Joined(_) | Event::Replaced { .. } | Event::Left(_) => None,
                });
                changes.extend(
                    died.map(|member| Change { epoch: *epoch, event: Event::Joined(Arc::new(member)) }),
                );
            }
            (PlantedBug::RemovalsNameAddresses, SessionMessage::Changes { changes, .. }) => {
                removals_name_addresses(changes);
            }
            (PlantedBug::RemovedAreNotTold, SessionMessage::Changes { changes, .. }) => {
                let peer =
                    self.traffic.connections.get(id).map(|connection| connection.ends[0].host.address());
                changes
                    .retain(|change| !matches!(&change.event, Event::Died(id) if Some(id.address) == peer));
            }
            _ => {}
        }
        Some(message)
    }

    /// What a leader appends; nothing, if a planted bug loses it.
    pub(super) fn tampered_entry(&self, mut entry: Entry) -> Option<Entry> {
        match (self.plan.planted_bug, &mut entry.body) {
            (Some(PlantedBug::StagesReversed), Body::Deaths(verdicts)) => {
                for verdict in verdicts {
                    std::mem::swap(&mut verdict.stages.opened, &mut verdict.stages.proposed);
                }
            }
            (Some(PlantedBug::AbsenceIsIgnored), Body::Deaths(verdicts)) => {
                verdicts.retain(|verdict| verdict.reporter.is_some());
                if verdicts.is_empty() {
                    return None;
                }
            }
            _ => {}
        }
        Some(entry)
    }
}

/// A removal takes whoever has come to that address since, in the same push.
fn removals_name_addresses(changes: &mut [Change]) {
    let joined_after = |changes: &[Change], address| {
        changes.iter().find_map(|change| match &change.event {
            Event::Joined(new) if new.id.address == address => Some(new.id),
            Event::Joined(_) | Event::Replaced { .. } | Event::Left(_) | Event::Died(_) => None,
        })
    };
    for place in 0..changes.len() {
        let (before, after) = changes.split_at_mut(place + 1);
        let Event::Died(dead) = &mut before[place].event else { continue };
        if let Some(new) = joined_after(after, dead.address) {
            *dead = new;
            changes[place..].rotate_left(1);
        }
    }
}

fn tampered_link(planted_bug: PlantedBug, from: Host, mut message: LinkMessage) -> Option<LinkMessage> {
    match (planted_bug, &mut message) {
        (PlantedBug::EveryHelloMends, LinkMessage::Hello { mending, .. }) => *mending = true,
        (PlantedBug::GossipRenumbered, LinkMessage::Gossip(rumor)) if rumor.origin != from.address() => {
            rumor.sequence += 1_000;
            rumor.id = RumorId::of(rumor.origin, rumor.incarnation, rumor.sequence, &rumor.content);
        }
        (PlantedBug::GossipNotPassedOn, LinkMessage::Gossip(rumor)) if rumor.origin != from.address() => {
            return None;
        }
        _ => {}
    }
    Some(message)
}
