//! A seed, for those in the same process.

use std::collections::BTreeMap;

use coterie_common::message::{Answer, Candidate, SeedId};
use tokio::sync::{mpsc, oneshot};

use super::Arrival;
use crate::core::Registry;

/// A running seed, for those in the same process.
#[derive(Clone, Debug)]
pub struct Handle {
    arrivals: mpsc::Sender<Arrival>,
}

impl Handle {
    pub(super) fn new(arrivals: mpsc::Sender<Arrival>) -> Self {
        Handle { arrivals }
    }

    /// Registers a candidate, as a session would; none if the seed has ended.
    pub async fn register(&self, candidate: Candidate) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.arrivals.send(Arrival::Register(candidate, reply)).await.ok()?;
        answer.await.ok()
    }

    /// A copy of the registry, the leader as this seed knows it, and what it has counted.
    pub async fn look(&self) -> Option<(Registry, Option<SeedId>, BTreeMap<&'static str, u64>)> {
        let (reply, answer) = oneshot::channel();
        self.arrivals.send(Arrival::Look(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Takes a snapshot of the registry now.
    pub async fn snapshot(&self) {
        let _ = self.arrivals.send(Arrival::TakeSnapshot).await;
    }

    /// Stops the seed in order.
    pub async fn stop(&self) {
        let _ = self.arrivals.send(Arrival::Stop).await;
    }
}
