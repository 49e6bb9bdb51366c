//! Members that leave: one entry for each, however many ask for it.
//!
//! No ballot: only the life itself may ask, on its own session, and it is believed. No time-out either: the seed that
//! was asked repeats the request, and an election ends all of this.

use std::collections::BTreeMap;

use coterie_common::MemberId;

use crate::core::context::Context;
use crate::core::entry::Body;
use crate::core::request::RequestId;

/// The departures whose entries are under way, and who is to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Departures(BTreeMap<MemberId, Vec<RequestId>>);

impl Departures {
    /// A member wants to leave. One entry for all who ask: each of them proposing again what failed would double it
    /// every time.
    pub(super) fn open(&mut self, cx: &mut Context, member: MemberId, request: RequestId) {
        let requests = self.0.entry(member).or_default();
        let is_first = requests.is_empty();
        // Asked again by the same seed it is the same request, which is answered once.
        if !requests.contains(&request) {
            requests.push(request);
        }
        if is_first {
            cx.propose(Body::Leave(member));
        }
    }

    /// The departure is over, or has failed: who asked for it. Nobody, where another seed leads, or where it was closed
    /// before. After a failure the caller opens it again for each of them, if there is still such a member.
    pub(super) fn close(&mut self, member: MemberId) -> Vec<RequestId> {
        self.0.remove(&member).unwrap_or_default()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        let unasked = self.0.iter().find(|(_, requests)| requests.is_empty());
        assert!(unasked.is_none(), "a departure for which nobody asked: {unasked:?}");
    }
}
