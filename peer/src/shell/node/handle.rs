//! A peer, for those in the same process.

use std::collections::BTreeMap;

use bytes::Bytes;
use coterie_common::{Address, Epoch, Incarnation, MemberId, View};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::Arrival;

/// What a peer tells those who listen.
#[derive(Clone, Debug)]
pub enum PeerEvent {
    /// A message was heard for the first time.
    Message {
        /// Who said it.
        origin: Address,
        /// What.
        content: Bytes,
    },
    /// The view has changed. It is not copied for everybody who listens: who wants the members looks.
    View {
        /// Its epoch.
        epoch: Epoch,
        /// How many members it has.
        members: usize,
    },
}

/// A peer as it is now.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its view.
    pub view: View,
    /// Its incarnation, while it is a member.
    pub incarnation: Option<Incarnation>,
    /// The peers it is linked with.
    pub neighbours: Vec<MemberId>,
    /// What it has counted.
    pub counters: BTreeMap<&'static str, u64>,
}

/// A running peer, for those in the same process.
#[derive(Clone, Debug)]
pub struct Handle {
    arrivals: mpsc::Sender<Arrival>,
    happenings: broadcast::Sender<PeerEvent>,
}

impl Handle {
    pub(super) fn new(arrivals: mpsc::Sender<Arrival>, happenings: broadcast::Sender<PeerEvent>) -> Self {
        Handle { arrivals, happenings }
    }

    /// Says something to every peer.
    pub async fn broadcast(&self, content: impl Into<Bytes>) {
        let _ = self.arrivals.send(Arrival::Broadcast(content.into())).await;
    }

    /// What happens from now on. A subscriber that is too slow is told how many it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<PeerEvent> {
        self.happenings.subscribe()
    }

    /// The peer as it is now; none if it has ended.
    pub async fn look(&self) -> Option<Look> {
        let (reply, look) = oneshot::channel();
        self.arrivals.send(Arrival::Look(reply)).await.ok()?;
        look.await.ok()
    }

    /// Leaves the cluster and ends.
    pub async fn stop(&self) {
        let _ = self.arrivals.send(Arrival::Stop).await;
    }
}
