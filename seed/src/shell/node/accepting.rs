//! Connections that others open, also when there are too many.

use coterie_common::message::CloseReason;
use coterie_common::net::guests::{Fullness, host_at};
use coterie_common::net::tcp::TcpStream;

use super::Node;
use super::connections::ConnectionKind;

impl Node {
    pub(super) fn on_accepted(&mut self, stream: TcpStream) {
        let Ok(remote) = stream.peer_addr() else { return };
        let host = host_at(remote.ip());
        let fullness = Fullness::of(self.connections.len(), || self.connections.of_host(host));
        match fullness {
            Fullness::Free => {}
            Fullness::OfHost => self.core.count("connections_with_a_host_over_limit"),
            Fullness::OfAll | Fullness::Beyond => self.core.count("connections_over_limit"),
        }
        // Who has nothing to say makes room for who may have: a seed and a member speak at once.
        let silent = match fullness {
            Fullness::Free => None,
            Fullness::OfHost => self.connections.oldest_silent(Some(host)),
            Fullness::OfAll => self.connections.oldest_silent(None),
            Fullness::Beyond => return,
        };
        let id = self.connections.keep(stream, ConnectionKind::New);
        let leaves = match fullness {
            Fullness::Free => {
                self.connections.guests.all_stay();
                None
            }
            _ => silent.or_else(|| self.connections.take_in(id)),
        };
        if let Some(leaves) = leaves {
            self.refuse(leaves, CloseReason::Full);
        }
    }
}
