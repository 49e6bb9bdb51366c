//! Another peer's question about a suspect, and what it is answered.

use coterie_common::message::LinkMessage;
use coterie_common::{Address, Line, MemberId, Message};

use crate::core::context::Context;
use crate::core::effect::ConnectionId;

/// Somebody asked for this peer's vote.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Where the answer goes.
    pub(crate) connection: ConnectionId,
    /// Who asks.
    pub(crate) requester: Address,
    /// About whom, as it was named.
    pub(crate) suspect: MemberId,
}

impl Question {
    /// Answers it, with what was found. With the name that it was asked by, which need not have an incarnation.
    pub(super) fn answer(&self, cx: &mut Context, alive: bool, found: &str) {
        cx.log(
            Line::new("SUSPECT_REQUEST")
                .with("suspect", self.suspect.address)
                .with("from", self.requester)
                .with("answer", if alive { "alive" } else { "dead" })
                .with("probe", found),
        );
        let responder = cx.me;
        let message = LinkMessage::SuspectResponse { suspect: self.suspect, alive, responder };
        cx.send(self.connection, Message::Link(message));
    }

    /// This peer cannot tell. The answer lets another be asked in its place before its time is over.
    pub(super) fn answer_undecided(&self, cx: &mut Context) {
        cx.count("votes_undecided");
        let message = LinkMessage::SuspectUndecided { suspect: self.suspect, responder: cx.me };
        cx.send(self.connection, Message::Link(message));
    }
}
