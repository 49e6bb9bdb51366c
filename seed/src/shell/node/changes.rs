//! From where the seeds may be changed.
//!
//! Whoever may change the seeds has the cluster. Without keys a seed knows of a stranger only from where it speaks, so
//! it takes such requests from programs on its own host, where an operator is. Who speaks as a seed is believed:
//! against that there are only keys.

use clap::ValueEnum;
use coterie_common::message::SessionMessage;
use coterie_common::{Message, Refusal, Why};

use super::Node;

/// From where a seed takes changes of the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChangesFrom {
    /// From nowhere: there is a proxy on its host, behind which anybody may be.
    Nowhere,
    /// From programs on its own host.
    Host,
    /// From anywhere.
    Anywhere,
}

/// What somebody on another host is told.
const FROM_HOST: &str = "this seed takes changes of the seeds from programs on its own host only, if at all: run coterie \
                         there, or start it with another --changes-from";

impl Node {
    /// Whether that was asked on a connection on which it may not be; if so, it is answered.
    pub(super) fn refuses_change(&mut self, id: u64, message: &Message) -> bool {
        let asks = matches!(message, Message::Session(SessionMessage::ChangeSeeds(_)));
        let is_from_this_host = || self.connections.get(id).is_some_and(|c| c.outbox.is_from_this_host());
        let takes = match self.options.changes_from {
            ChangesFrom::Nowhere => false,
            ChangesFrom::Host => is_from_this_host(),
            ChangesFrom::Anywhere => true,
        };
        let refuses = asks && !takes;
        if refuses {
            let refusal = Refusal::new(Why::NotAllowed, FROM_HOST);
            self.say(id, &Message::Session(SessionMessage::SeedsChanged(Err(refusal))));
        }
        refuses
    }
}
