//! One session with one seed: whether it is open, when it last spoke, when it may be opened again.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::message::ClusterId;
use coterie_common::{Backoff, Instant};

/// A session that broke is dialled again after this, doubling: soon enough that a restart is not felt, seldom enough
/// that a seed which is gone costs nothing (a guess).
const REDIAL: Knob<(Duration, Duration)> =
    Knob::new("peer/session/REDIAL", (Duration::from_millis(100), Duration::from_secs(2)));

/// A seed that has not said by then of which cluster it is waits to be let into one. A guess: it says so at once, where
/// it knows.
const GREETS_WITHIN: Knob<Duration> = Knob::new("GREETS_WITHIN", Duration::from_secs(1));

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// None, and none is being opened.
    Down,
    /// The shell is dialling and will say how that ended. It has a limit of its own, so none is kept here.
    Opening,
    /// Frames may be exchanged.
    Up {
        /// Since when it is open.
        since: Instant,
        /// When the seed was last heard.
        heard: Instant,
        /// When it was pinged last. The first time is at once, for only the answer tells whether it decides.
        pinged: Option<Instant>,
        /// Of which cluster we said that we are, which may be none yet; nothing before we said it.
        claimed: Option<Option<ClusterId>>,
        /// Whether the seed has said of which it is.
        greeted: bool,
        /// Whether this seed knows which member we are.
        introduced: bool,
    },
}

/// The place of one seed in this peer's list, with its session.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) state: SessionState,
    /// Not to be opened before then.
    pub(super) not_before: Instant,
    /// Grows each time that a session is lost or not opened, until the seed has spoken.
    backoff: Backoff,
    /// Whether it is one of the seeds. One that was removed is asked only when none of the others answers.
    pub(super) is_in_use: bool,
    /// Whether the last session was lost, or could not be opened, and nothing was heard since.
    pub(super) is_unanswered: bool,
    /// How long a silence of this peer the seed bears, as it said.
    pub(super) bears: Duration,
}

impl Slot {
    /// A seed that was not dialled yet.
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(REDIAL.get().0, REDIAL.get().1);
        Slot {
            state: SessionState::Down,
            not_before: Instant::START,
            backoff,
            is_in_use: true,
            is_unanswered: false,
            bears: Duration::MAX,
        }
    }

    /// Whether nothing is open or being opened.
    pub(super) fn is_down(&self) -> bool {
        self.state == SessionState::Down
    }

    /// Whether a session is open with a seed that is of no cluster.
    pub(super) fn is_without_cluster(&self, now: Instant) -> bool {
        matches!(self.state, SessionState::Up { since, greeted: false, .. } if now >= since + GREETS_WITHIN.get())
    }

    /// When that becomes clear, if it has not yet.
    pub(super) fn greets_until(&self, now: Instant) -> Instant {
        match self.state {
            SessionState::Up { since, greeted: false, .. } if now < since + GREETS_WITHIN.get() => {
                since + GREETS_WITHIN.get()
            }
            SessionState::Up { .. } | SessionState::Down | SessionState::Opening => Instant::NEVER,
        }
    }

    /// It is open.
    pub(super) fn opened(&mut self, now: Instant) {
        let (claimed, greeted, introduced) = (None, false, false);
        self.state = SessionState::Up { since: now, heard: now, pinged: None, claimed, greeted, introduced };
    }

    /// This peer did not listen for so long.
    pub(super) fn stood_still(&mut self, now: Instant, time: Duration) {
        if let SessionState::Up { heard, .. } = &mut self.state {
            assert!(*heard <= now, "a frame of {heard:?} was heard before {now:?}");
            *heard = (*heard + time).min(now);
        }
    }

    /// It could not be opened, or broke: when it may be opened again is drawn with `chance` (0 to 1), so that all peers
    /// of a seed that restarts do not come back in one moment.
    pub(super) fn lost(&mut self, now: Instant, chance: f64) {
        self.state = SessionState::Down;
        self.is_unanswered = true;
        self.not_before = now + self.backoff.pause_with_jitter(chance);
    }

    /// A frame came. Only that makes the next pause short again: a connection that was merely accepted may be closed at
    /// once, by a seed that has no room.
    pub(super) fn heard(&mut self, now: Instant) {
        if let SessionState::Up { heard, .. } = &mut self.state {
            *heard = now;
            self.backoff.reset();
            self.is_unanswered = false;
        }
    }
}
