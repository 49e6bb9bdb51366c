//! Between a peer, or an observer, and a seed.
//!
//! ```text
//! peer                                   seed
//!   | Cluster(its own, or none) ----------> |   another one's? Close(OtherCluster)
//!   | <------------------ Cluster(its own)  |   at once, or when it knows
//!   | <---------------- SilenceMax(its own) |   so the peer speaks three times as often, at least
//!   | Register(candidate) ----------------> |   a ballot among the seeds, an entry in the log
//!   | <---- Registered(incarnation, roster) |
//!   | Open(member, epoch) ----------------> |   at the other seeds, and after a broken session
//!   | <------- Changes(previous, epoch, ..) |   pushed: one frame in flight, the rest coalesced
//!   | ChangesSince(epoch) ----------------> |   only when `previous` is above the peer's epoch
//!   | <------------- Changes or Whole       |
//!   | Hint, Report, Leave, Neighbours ----> |
//!   | <------ Rejected, Dial, Say, Seeds    |
//!   | Ping, Pong                            |   the peer pings when it was quiet; 3 s of silence end it
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Cause, ClusterId, Evidence, LogPosition, SeedChange};
use crate::{
    Address, Change, Ended, Epoch, Incarnation, Life, Line, Member, MemberId, Refusal, Secret, Tags,
    Timestamp, Wire,
};

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SessionMessage {
    /// Peer: let me in.
    Register(Candidate),
    /// Seed: the answer to Register.
    Registered(Registration),
    /// Peer: I am this member, and have seen the view of this epoch.
    Open {
        /// Who opens the session.
        member: MemberId,
        /// Its life.
        life: Life,
        /// The epoch of its view.
        epoch: Epoch,
    },
    /// Observer: push me the views, I am no member.
    Observe {
        /// Whether the first view must be at least as new as everything answered before it was asked for.
        linearizable: bool,
    },
    /// Anybody: who is a member?
    ListRequest {
        /// Who asks, where it said so: it is left out of the answer.
        asker: Option<Address>,
    },
    /// Seed: these are.
    List(Roster),
    /// Seed: this has changed since `previous`.
    Changes {
        /// The epoch up to which this session was told before.
        previous: Epoch,
        /// The epoch to which these changes lead.
        epoch: Epoch,
        /// What changed, in the order of the log.
        changes: Vec<Change>,
    },
    /// Peer: I missed something; my view is of this epoch.
    ChangesSince(Epoch),
    /// Seed: the whole view, for who cannot be brought up to date by changes.
    Whole {
        /// The members.
        roster: Roster,
        /// The lives that ended lately and how.
        ended: Vec<Ended>,
    },
    /// Peer: I have begun to suspect this one; probe it while the jury does.
    Hint {
        /// Whom.
        suspect: MemberId,
        /// Why.
        cause: Cause,
    },
    /// Peer: the jury found this one dead, or could not decide.
    Report(DeathReport),
    /// Seed: the seeds did not; leave it alone for a while.
    Rejected {
        /// The one reported.
        dead: MemberId,
        /// Why.
        refusal: Refusal,
    },
    /// Peer: I am going.
    Leave {
        /// Who goes.
        member: MemberId,
        /// The secret of its life, which nobody else knows.
        secret: Secret,
    },
    /// Peer: these are my links now.
    Neighbours(Links),
    /// Seed: the overlay has come apart; dial this one.
    Dial(Address),
    /// Observer: have this said. Seed to peer: say this.
    Say {
        /// What.
        content: Bytes,
        /// On whose behalf.
        via: String,
    },
    /// Seed: the answer to an observer's Say: the peer that it was handed to, or why to nobody.
    Said(Result<Address, String>),
    /// Observer: how was this death found?
    EvidenceRequest(MemberId),
    /// Seed: so; or it is too long ago.
    Evidence(Option<Box<Evidence>>),
    /// Seed: these are the seeds, in place of those you were told of before.
    Seeds {
        /// The entry since which they are: of two tales the one of the later entry is the newer.
        since: u64,
        /// Their addresses.
        seeds: Vec<String>,
    },
    /// Observer: change the seeds.
    ChangeSeeds(SeedChange),
    /// Seed: the answer to ChangeSeeds: it is in the log, or why it is not.
    SeedsChanged(Result<(), Refusal>),
    /// Observer: how are you?
    StatusRequest,
    /// Seed: so.
    Status(Box<SeedStatus>),
    /// The first frame in both directions: of which cluster the sender is. All else that is said on this connection is
    /// about that cluster, so no number of one log is held against one of another's. A peer that is no member yet names
    /// none; a seed answers as soon as it knows. JSON programs and observers may do without.
    Cluster(Option<ClusterId>),
    /// Seed: I give the session up after so long a silence. Told once, with the cluster: the two ends may have been
    /// started with different patience, and who is silent has to know what the other end bears.
    SilenceMax(Duration),
}

/// Who wants to be a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it listens.
    pub address: Address,
    /// The life it drew; [`Life::NONE`] for a JSON program.
    pub life: Life,
    /// How it speaks.
    pub wire: Wire,
    /// What it carries in the view.
    pub tags: Tags,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Registration {
    /// It is in the log.
    Admitted {
        /// The incarnation it was given.
        incarnation: Incarnation,
        /// The view of the seed that answers, which includes it.
        roster: Roster,
    },
    /// It is not.
    Refused(Refusal),
}

/// The members at an epoch, with their degrees in the overlay as far as the seed knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The epoch.
    pub epoch: Epoch,
    /// The members and their degrees.
    pub members: Vec<(Arc<Member>, u32)>,
}

/// What a juror found, as the reporter heard it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JurorVote {
    /// The member that voted.
    pub juror: MemberId,
    /// Its vote.
    pub dead: bool,
}

/// A member's links, as it told them. Several seeds hear them and pass them on, one sooner than another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Counts what this incarnation has told: of two tales the one with the higher number is the newer.
    pub number: u64,
    /// With whom.
    pub to: Vec<Address>,
}

/// A jury's result, as reported to a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeathReport {
    /// Who is reported.
    pub dead: MemberId,
    /// When the reporter began to suspect it; a JSON program does not say.
    pub suspected: Option<Timestamp>,
    /// When the reporter made up its mind.
    pub timestamp: Timestamp,
    /// What made it suspect.
    pub cause: Cause,
    /// The votes of the jury, the reporter's own among them.
    pub votes: Vec<JurorVote>,
    /// Whether the jury could not decide, and the seeds have to.
    pub undecided: bool,
}

impl DeathReport {
    /// The line of the report about `dead`, at the peer that makes it and the seeds that hear it.
    pub fn line(&self, dead: MemberId, reporter: Address) -> Line {
        let (ip, port, time) = (dead.address.ip(), dead.address.port(), self.timestamp.as_secs_f64());
        Line::new("DEAD_REPORT")
            .with("dead", dead.address)
            .with("incarnation", dead.incarnation)
            .with("reporter", reporter)
            .with("votes", self.votes.iter().filter(|v| v.dead).count())
            .with("report", format!("Dead Node:{ip}:{port}:{time:.6}:{}", reporter.ip()))
    }
}

/// How a seed is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedStatus {
    /// Its address as the list names it.
    pub seed: String,
    /// Its cluster; none as long as it is in none.
    pub cluster: Option<ClusterId>,
    /// All seeds of the cluster, and whether each has a vote.
    pub seeds: Vec<(String, bool)>,
    /// How many of those that vote can take part in what is decided, as this seed sees it.
    pub available: u64,
    /// The leader it knows of.
    pub leader: Option<String>,
    /// The term of its log.
    pub term: u64,
    /// The last entry it applied.
    pub applied: u64,
    /// The last entry that it has on disk, committed or not.
    pub last: LogPosition,
    /// The view it serves.
    pub epoch: Epoch,
    /// Members in it.
    pub members: u64,
    /// Sessions it holds.
    pub sessions: u64,
    /// What it counted, by name.
    pub counters: Vec<(String, u64)>,
    /// For how long, since it started at most, it has not known what is decided: what it tells is as old, or older.
    /// None where it takes part.
    pub as_of: Option<Duration>,
    /// What is wrong, as it sees it: what, and for how long.
    pub troubles: Vec<(String, Duration)>,
    /// How unwell it is itself, by its own measure: from 1, well, to 8.
    pub health: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_the_contract_says() {
        let dead = MemberId { address: "127.0.0.1:6003".parse().unwrap(), incarnation: Incarnation(7) };
        let juror = MemberId { address: "127.0.0.1:6001".parse().unwrap(), incarnation: Incarnation(5) };
        let report = DeathReport {
            dead,
            suspected: None,
            timestamp: Timestamp::from_micros(1_740_466_800_123_456),
            cause: Cause::ConnectionLost,
            votes: vec![JurorVote { juror, dead: true }],
            undecided: false,
        };
        assert_eq!(
            report.line(dead, juror.address).body(),
            "DEAD_REPORT dead=127.0.0.1:6003 incarnation=7 reporter=127.0.0.1:6001 votes=1 \
             report=\"Dead Node:127.0.0.1:6003:1740466800.123456:127.0.0.1\""
        );
    }
}
