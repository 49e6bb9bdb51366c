//! One key of the registry: what may happen to the members at one address, one after the other.

use coterie_common::{Incarnation, Life};

/// What is registered at the address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The life that is a member, if one is.
    pub(crate) present: Option<Life>,
    /// The highest incarnation that was ever given there: that of `present`, if there is one.
    pub(crate) newest: Incarnation,
}

/// What happens to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A life is admitted, in place of another one or of none; to admit a member changes nothing.
    Join(Life, Incarnation),
    /// A life leaves.
    Leave(Life, Incarnation),
    /// A life that has ended is confirmed dead. It may come at any time after that end, or never.
    Bury(Life, Incarnation),
    /// Somebody reads who is there.
    Read(Option<(Life, Incarnation)>),
}

impl Key {
    /// The key after `op`; nothing, if that cannot happen to it.
    pub(crate) fn apply(&self, op: &Op) -> Option<Key> {
        match op {
            Op::Join(life, incarnation) if self.present == Some(*life) => {
                (self.newest == *incarnation).then(|| self.clone())
            }
            Op::Join(life, incarnation) if *incarnation > self.newest => {
                Some(Key { present: Some(*life), newest: *incarnation })
            }
            Op::Join(..) => None,
            Op::Leave(life, _) | Op::Bury(life, _) => {
                (self.present == Some(*life)).then_some(Key { present: None, newest: self.newest })
            }
            Op::Read(found) => (self.present.map(|life| (life, self.newest)) == *found).then(|| self.clone()),
        }
    }

    /// Whether `op` can never again change this key, whatever else happens to it.
    pub(crate) fn is_past(&self, op: &Op) -> bool {
        match op {
            Op::Join(_, incarnation) => self.newest >= *incarnation,
            Op::Leave(_, incarnation) | Op::Bury(_, incarnation) => {
                self.newest > *incarnation || self.newest == *incarnation && self.present.is_none()
            }
            Op::Read(_) => true,
        }
    }
}
