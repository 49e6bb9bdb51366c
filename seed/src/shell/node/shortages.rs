//! What the process lacks, for the seed's status.

use coterie_common::net::listener::connections_max;
use coterie_common::net::shortages::shortages;

use super::Node;

impl Node {
    /// Says what it lacks.
    pub(super) fn note_shortages(&mut self) {
        let (open, most) = (self.connections.len(), connections_max());
        let full = (open >= most).then(|| format!("{open} are open, {most} may be"));
        self.core.trouble("no room for more connections", full);
        for (what, why) in shortages(self.clock.now(), &self.journal) {
            self.core.trouble(&what, why);
        }
    }
}
