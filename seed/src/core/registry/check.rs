//! Which registries there can be.
//!
//! Checked here and refused, not asserted: a registry comes from a disk or from another seed. What is consistent in
//! itself passes; that it is the one that was decided, only the log can tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use coterie_common::{Address, Life, Member};

use super::Registry;

impl Registry {
    /// Whether it is a registry that some log could have made; if not, why. A snapshot comes from a disk or from
    /// another seed, so it is asked this before it is anybody's registry.
    pub fn check(&self) -> Result<(), String> {
        let (ended, lives) = (self.ended.len(), self.ended_lives.len());
        let is_misplaced = |(address, member): &(&Address, &Arc<Member>)| {
            member.id.address != **address || member.id.incarnation.0 > self.applied
        };
        let misplaced = self.members.iter().find(is_misplaced);
        // The promise that a life which ended is never admitted again.
        let came_back = self.members.values().find(|m| self.is_ended(m.id.address, m.life));
        let indexed: BTreeSet<(Address, Life)> = self.ended_lives.iter().copied().collect();
        match () {
            () if self.epoch.0 > self.applied => {
                Err(format!("epoch {} after entry {}", self.epoch, self.applied))
            }
            () if self.cluster.is_none() && !self.members.is_empty() => {
                Err(format!("{} members before the founding", self.members.len()))
            }
            () if ended != lives => Err(format!("{ended} lives have ended, {lives} are known as ended")),
            () if indexed != self.ended_index => Err("the index of ended lives is another".to_owned()),
            () => match (misplaced, came_back) {
                (Some((address, member)), _) => {
                    Err(format!("{} stands at {address}, and entry {} was the last", member.id, self.applied))
                }
                (None, Some(member)) => Err(format!("{} has ended and is a member", member.id)),
                (None, None) => Ok(()),
            },
        }
    }

    /// Checks what must hold between entries.
    ///
    /// # Panics
    /// If it does not.
    pub fn verify(&self) {
        let checked = self.check();
        assert_eq!(checked, Ok(()), "a registry that no log makes");
    }
}
