//! The name of a request that a seed has forwarded to the leader.
//!
//! The number is the asked seed's own. Were it the leader's, it would be lost with the leader; and the retry, which
//! must outlive leaders, is at the seed that was asked.

use coterie_common::message::SeedId;

/// A request as the leader knows it: the seed that forwarded it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId {
    /// Which seed waits for the answer, and owns the retry.
    pub(crate) seed: SeedId,
    /// Its number at that seed. The same when it is asked again, so that the leader answers once. Numbers begin at
    /// random with each start of that seed, so that none names two requests.
    pub(crate) number: u64,
}
