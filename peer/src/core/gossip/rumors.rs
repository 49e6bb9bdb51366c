//! What has been said, and to whom it was passed on.
//!
//! Flooding: what is new goes to every neighbour but the one it came from. A message crosses a link at most once
//! in each direction, which the list of crossings ensures also when a new link's exchange of recent identities
//! overtakes the flood. The list of what was seen is bounded by count, bytes and age; a message older than the
//! list is told from a new one by its number, in a window kept per origin, so a replay needs no clock to catch.
//!
//! Plumtree (Leitao, Pereira, Rodrigues 2007) would send each message over fewer links, along a tree that is repaired
//! when it breaks. There is no such tree here: the flood is all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use coterie_common::limits::{ORIGINS_MAX, RECENT_MAX, RUMOR_AGE_MAX, RUMOR_BYTES_MAX, RUMORS_MAX};
use coterie_common::message::{Rumor, RumorId};
use coterie_common::{Address, Incarnation, Instant};

use super::window::Window;
use crate::core::overlay::LinkNumber;

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not heard before.
    New,
    /// Heard before, by another way.
    Duplicate,
    /// Heard so long ago that only its number tells.
    Replay,
}

/// The messages that this peer remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Rumors {
    /// By identity: the same message has the same one at every peer.
    known: BTreeMap<RumorId, Known>,
    /// Each of them, in the order in which they were heard: the first is forgotten first.
    order: VecDeque<(Instant, RumorId)>,
    /// Of all that are known, names included.
    bytes: usize,
    /// Messages that came without a number, and were not met with one.
    unnumbered: BTreeSet<(Address, RumorId)>,
    /// They outlast the messages, which is what they are for.
    windows: BTreeMap<(Address, Incarnation), Window>,
    /// By their first message: the oldest origin makes room for a new one.
    window_order: VecDeque<(Address, Incarnation)>,
}

/// A message, and the links that it has crossed in either direction.
#[derive(Clone, Debug)]
struct Known {
    rumor: Rumor,
    crossed: BTreeSet<LinkNumber>,
}

impl Rumors {
    /// A message was heard on a link, or said here. The order of the checks matters: what is known by its identity
    /// must not be asked of the window, which would call it a replay.
    pub(super) fn hear(&mut self, now: Instant, rumor: &Rumor, from: Option<LinkNumber>) -> Heard {
        self.forget_old(now);
        if rumor.sequence == 0
            && let Some(id) = self.numbered_twin(rumor)
        {
            if let Some(known) = self.known.get_mut(&id) {
                known.crossed.extend(from);
            }
            // The link it came by knows it, and is not told.
            return Heard::Duplicate;
        }
        if let Some(known) = self.known.get_mut(&rumor.id) {
            known.crossed.extend(from);
            return Heard::Duplicate;
        }
        if rumor.sequence != 0 && !self.window((rumor.origin, rumor.incarnation)).take(rumor.sequence) {
            return Heard::Replay;
        }
        let twin = rumor.sequence != 0 && self.claim_unnumbered_twin(rumor);
        if rumor.sequence == 0 {
            self.unnumbered.insert((rumor.origin, rumor.id));
        }
        self.bytes += rumor.bytes();
        self.order.push_back((now, rumor.id));
        self.known.insert(rumor.id, Known { rumor: rumor.clone(), crossed: from.into_iter().collect() });
        // After it was added: the newest is forgotten last.
        self.forget_overflow();
        if twin { Heard::Duplicate } else { Heard::New }
    }

    /// A JSON program passes on what it knows of a message, and its number is not among it: the message comes back
    /// with the identity of its words alone. Told by origin and words, the two are one, whichever came first.
    fn numbered_twin(&self, rumor: &Rumor) -> Option<RumorId> {
        let same = |known: &Known| known.rumor.origin == rumor.origin && known.rumor.content == rumor.content;
        self.known.iter().find(|(_, known)| known.rumor.sequence != 0 && same(known)).map(|(id, _)| *id)
    }

    /// A number claims words that came without one once only, for the same words may be said again.
    fn claim_unnumbered_twin(&mut self, rumor: &Rumor) -> bool {
        self.unnumbered.iter().any(|(origin, _)| *origin == rumor.origin)
            && self.unnumbered.remove(&(rumor.origin, RumorId::of_content(&rumor.content)))
    }

    /// Whether the message may cross `link`; it counts as having crossed it from then on. False as well for a message
    /// that is forgotten.
    pub(super) fn cross(&mut self, id: RumorId, link: LinkNumber) -> bool {
        self.known.get_mut(&id).is_some_and(|known| known.crossed.insert(link))
    }

    /// The identities of the latest messages, newest last.
    pub(super) fn recent(&self) -> Vec<RumorId> {
        let skip = self.order.len().saturating_sub(RECENT_MAX.get());
        self.order.iter().skip(skip).map(|(_, id)| *id).collect()
    }

    /// Those of `ids` that were not heard. Of a list that is longer than allowed only the beginning is looked at.
    pub(super) fn missing(&self, ids: Vec<RumorId>) -> Vec<RumorId> {
        ids.into_iter().take(RECENT_MAX.get()).filter(|id| !self.known.contains_key(id)).collect()
    }

    /// The message of that identity, while it is remembered.
    pub(super) fn get(&self, id: RumorId) -> Option<&Rumor> {
        self.known.get(&id).map(|known| &known.rumor)
    }

    /// The window of an origin, a new one if there was none. A new one may push out the oldest; what that origin said
    /// is then told by its identity alone.
    fn window(&mut self, origin: (Address, Incarnation)) -> &mut Window {
        if !self.windows.contains_key(&origin) {
            self.window_order.push_back(origin);
            if self.window_order.len() > ORIGINS_MAX.get()
                && let Some(oldest) = self.window_order.pop_front()
            {
                self.windows.remove(&oldest);
            }
        }
        self.windows.entry(origin).or_default()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        assert_eq!(self.order.len(), self.known.len(), "each message that is known stands in the order once");
        let bytes: usize = self.known.values().map(|known| known.rumor.bytes()).sum();
        assert_eq!(self.bytes, bytes, "bytes of all messages that are known");
        assert_eq!(self.window_order.len(), self.windows.len(), "each window stands in the order once");
    }

    /// Only as old ones are met: no deadline is kept for it, and nothing is wrong while they lie there.
    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > RUMOR_AGE_MAX.get()) {
            self.forget_first();
        }
    }

    /// A flood of long messages shortens the memory, and never makes it larger.
    fn forget_overflow(&mut self) {
        while self.order.len() > RUMORS_MAX.get() || self.bytes > RUMOR_BYTES_MAX.get() {
            self.forget_first();
        }
    }

    /// The oldest goes from every list but the window of its origin.
    fn forget_first(&mut self) {
        let Some((_, id)) = self.order.pop_front() else { panic!("there is nothing left to forget") };
        let known = self.known.remove(&id);
        let Some(known) = known else { panic!("{id:?} stands in the order and is not known") };
        self.unnumbered.remove(&(known.rumor.origin, known.rumor.id));
        let bytes = known.rumor.bytes();
        assert!(bytes <= self.bytes, "{bytes} bytes are forgotten of {} that are kept", self.bytes);
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    fn rumor(sequence: u64, bytes: usize) -> Rumor {
        let origin = "127.0.0.1:1".parse().unwrap();
        let content = Bytes::from(vec![b'x'; bytes]);
        let id = RumorId::of(origin, Incarnation(3), sequence, &content);
        Rumor { id, origin, incarnation: Incarnation(3), sequence, via: None, content }
    }

    #[test]
    fn the_same_words_said_twice_are_two_messages() {
        let mut rumors = Rumors::default();
        assert_eq!(rumors.hear(Instant::START, &rumor(1, 5), None), Heard::New);
        assert_eq!(rumors.hear(Instant::START, &rumor(2, 5), None), Heard::New);
        assert_eq!(rumors.hear(Instant::START, &rumor(1, 5), None), Heard::Duplicate);
    }

    #[test]
    fn a_message_crosses_a_link_once_in_each_direction() {
        let mut rumors = Rumors::default();
        let (from, to) = (LinkNumber(1), LinkNumber(2));
        rumors.hear(Instant::START, &rumor(1, 5), Some(from));
        assert!(!rumors.cross(rumor(1, 5).id, from), "it came from there");
        assert!(rumors.cross(rumor(1, 5).id, to));
        assert!(!rumors.cross(rumor(1, 5).id, to));
    }

    #[test]
    fn words_that_come_back_without_their_number_are_no_second_message() {
        let stripped = |rumor: Rumor| Rumor {
            id: RumorId::of_content(&rumor.content),
            incarnation: Incarnation::NONE,
            sequence: 0,
            ..rumor
        };
        let mut numbered_first = Rumors::default();
        assert_eq!(numbered_first.hear(Instant::START, &rumor(1, 5), None), Heard::New);
        assert_eq!(numbered_first.hear(Instant::START, &stripped(rumor(1, 5)), None), Heard::Duplicate);
        let mut stripped_first = Rumors::default();
        assert_eq!(stripped_first.hear(Instant::START, &stripped(rumor(1, 5)), None), Heard::New);
        assert_eq!(stripped_first.hear(Instant::START, &rumor(1, 5), None), Heard::Duplicate);
        assert_eq!(
            stripped_first.hear(Instant::START, &rumor(1, 5), None),
            Heard::Duplicate,
            "by another way"
        );
        assert_eq!(
            stripped_first.hear(Instant::START, &rumor(2, 5), None),
            Heard::New,
            "the same words again"
        );
    }

    #[test]
    fn a_replay_of_what_was_forgotten_is_told_by_its_number() {
        let mut rumors = Rumors::default();
        rumors.hear(Instant::START, &rumor(1, 5), None);
        let later = Instant::START + RUMOR_AGE_MAX.get() + Duration::from_secs(1);
        assert_eq!(rumors.hear(later, &rumor(2, 5), None), Heard::New);
        assert!(rumors.get(rumor(1, 5).id).is_none(), "too old to be remembered");
        assert_eq!(rumors.hear(later, &rumor(1, 5), None), Heard::Replay);
    }

    #[test]
    fn memory_is_bounded_by_count_and_bytes() {
        let mut rumors = Rumors::default();
        for sequence in 1..=(RUMORS_MAX.get() as u64 + 5) {
            rumors.hear(Instant::START, &rumor(sequence, 1), None);
        }
        assert_eq!(rumors.known.len(), RUMORS_MAX.get());
        let mut rumors = Rumors::default();
        for sequence in 1..=20 {
            rumors.hear(Instant::START, &rumor(sequence, 1 << 20), None);
        }
        assert_eq!((rumors.known.len(), rumors.bytes), (16, RUMOR_BYTES_MAX.get()));
    }

    #[test]
    fn no_more_origins_and_no_more_recent_messages_are_told_of_than_the_limits_say() {
        let mut rumors = Rumors::default();
        for incarnation in 1..=ORIGINS_MAX.get() as u64 + 5 {
            let incarnation = Incarnation(incarnation);
            let id = RumorId::of(rumor(1, 1).origin, incarnation, 1, b"x");
            assert_eq!(
                rumors.hear(Instant::START, &Rumor { id, incarnation, ..rumor(1, 1) }, None),
                Heard::New
            );
        }
        assert_eq!((rumors.windows.len(), rumors.window_order.len()), (ORIGINS_MAX.get(), ORIGINS_MAX.get()));
        let recent = rumors.recent();
        assert_eq!(recent.len(), RECENT_MAX.get());
        assert_eq!(recent.last(), rumors.order.back().map(|(_, id)| id), "the latest are told of");
        let asked = (0..=RECENT_MAX.get() as u64).map(|n| rumor(n, 7).id).collect();
        assert_eq!(Rumors::default().missing(asked).len(), RECENT_MAX.get());
    }
}
