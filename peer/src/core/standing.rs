//! Where a peer stands with its cluster, and how soon it may come back after it was removed.

use std::time::Duration;

use coterie_common::{Backoff, Incarnation, Instant};

/// A removed life rejoins at once the first time, then after this, doubling.
const REJOIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// So long a membership makes the next removal the first again.
const REJOIN_RESET: Duration = Duration::from_secs(300);

/// Where the peer stands with the cluster.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    removals: Removals,
    pub(super) said_waiting: Instant,
    /// Whether it ever was a member: `--join-timeout` is about the first time.
    pub(super) ever_joined: bool,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Outside,
    Member { incarnation: Incarnation, since: Instant, announced: bool },
    Leaving { incarnation: Incarnation, until: Instant, again: Instant, tries: usize },
    Over,
}

/// How often this peer was declared dead lately.
#[derive(Clone, Debug)]
struct Removals {
    any: bool,
    backoff: Backoff,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            state: State::Outside,
            removals: Removals { any: false, backoff: Backoff::new(REJOIN.0, REJOIN.1) },
            said_waiting: Instant::START,
            ever_joined: false,
        }
    }
}

impl Standing {
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self.state {
            State::Member { incarnation, .. } | State::Leaving { incarnation, .. } => Some(incarnation),
            State::Outside | State::Over => None,
        }
    }

    /// Removed `now`, after a membership that began at `since`: how long to stay away.
    pub(super) fn removed(&mut self, now: Instant, since: Instant) -> Duration {
        self.state = State::Outside;
        self.said_waiting = now;
        if now.since(since) >= REJOIN_RESET {
            self.removals.any = false;
            self.removals.backoff.reset();
        }
        let again = std::mem::replace(&mut self.removals.any, true);
        if again { self.removals.backoff.pause() } else { Duration::ZERO }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether JOINED was said, and neighbours were chosen.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self.state, State::Member { announced: true, .. })
    }

    pub(super) fn is_member(&self) -> bool {
        matches!(self.state, State::Member { .. })
    }
}
