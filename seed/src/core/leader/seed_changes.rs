//! Changing the seeds while they run: adding one, removing one, giving the place of one that lost its disk to another.
//!
//! ```text
//! operator            asked seed        leader                             every seed
//!   | ChangeSeeds -----> | ------------> |  SeedAdd or SeedRemove in the log |  dials a new seed, tells its sessions
//!   | <-- SeedsChanged   | <------ Reply  |
//!                    new seed connects -->|  SeedDirectory in the log
//!                                         |  ChangeVoters: joint consensus, until the votes are as the registry wants
//! ```
//!
//! What is wanted stands in the registry, so whoever leads compares it with the sets of voters that the log has, and
//! goes on where the last leader stopped: also with a joint configuration that was left behind. (Raft, section 6; the
//! order of membership entry and vote is etcd's.)
//!
//! By Ongaro's thesis (chapter 4) one could change one server at a time without joint consensus. A replacement would
//! then be two changes, with a set of even size between them. Left out is also an automatic removal of seeds that are
//! away: whether one comes back, only the operator knows.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::SEEDS_MAX;
use coterie_common::message::{SeedChange, SeedId};
use coterie_common::seed_list::canonical;
use coterie_common::{Address, Instant, Refusal, Why, majority};

use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::entry::Body;
use crate::core::registry::Registry;
use crate::core::request::RequestId;

/// How long a change of the voters may take before it is asked for again: a new seed has to be sent the log first. A
/// guess, but more than the 4 s that the log gives a new seed to catch up.
const CHANGE_AGAIN: Knob<Duration> = Knob::new("CHANGE_AGAIN", Duration::from_secs(5));

/// What the leader has under way.
#[derive(Clone, Debug, Default)]
pub(super) struct SeedChanges {
    /// Entries that are proposed, and who wants to know. Several may want the same, as when an operator repeats the
    /// command at another seed.
    asked: Vec<(Body, RequestId)>,
    /// A change of the voters is under way, and is asked for again then.
    changing_until: Option<Instant>,
}

/// The change, if it is one that makes sense, before the leader is asked; its address spelled as lists have it, whoever
/// asks. At the seed that was asked, by its own registry: a typing error is answered although there is no leader. That
/// an address to be added is a seed already is left to the leader, whose registry is newer.
pub(crate) fn check(registry: &Registry, change: SeedChange) -> Result<SeedChange, Refusal> {
    let parsed = canonical(change.address());
    let address = parsed.map_err(|problem| Refusal::new(Why::BadRequest, problem))?;
    match (&change, registry.seed_at(&address)) {
        // It may well be one: who the seeds are is not written down yet.
        (SeedChange::Remove(_) | SeedChange::Replace { .. }, None) if registry.cluster().is_none() => {
            Err(Refusal::new(Why::NoQuorum, "the cluster is not founded yet"))
        }
        (SeedChange::Remove(_) | SeedChange::Replace { .. }, None) => Err(stranger(&address)),
        (SeedChange::Add(_), _) | (SeedChange::Remove(_) | SeedChange::Replace { .. }, Some(_)) => {
            Ok(change.at(address))
        }
    }
}

fn stranger(address: &str) -> Refusal {
    Refusal::new(Why::Stranger, format!("{address} is no seed of this cluster"))
}

impl SeedChanges {
    /// The leader is asked for a change. False if it is made already, as when the same is asked again.
    pub(super) fn open(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        is_available: impl Fn(SeedId) -> bool,
        (change, seat): (SeedChange, Option<SeedId>),
        request: RequestId,
    ) -> Result<bool, Refusal> {
        let Some(body) = entry_for(registry, &is_available, change, seat)? else { return Ok(false) };
        check_majority_now(registry, &is_available)?;
        let is_about_seeds = matches!(body, Body::SeedAdd { .. } | Body::SeedRemove(_));
        assert!(is_about_seeds, "a change of the seeds that is none: {body:?}");
        // The same entry may be under way for another request: both are answered by it.
        let is_first = self.asked.iter().all(|(asked, _)| *asked != body);
        self.asked.push((body.clone(), request));
        if is_first {
            cx.propose(body);
        }
        Ok(true)
    }

    /// An entry about the seeds is applied: who asked for it. Compared as a whole: the registry may have refused it,
    /// and that is answered as well. Nobody, at a seed that did not propose it.
    pub(super) fn close(&mut self, body: &Body) -> Vec<RequestId> {
        let asked = std::mem::take(&mut self.asked);
        let (these, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(asked, _)| asked == body);
        self.asked = others;
        these.into_iter().map(|(_, request)| request).collect()
    }

    /// An entry about the seeds was not taken: it is proposed again, for whoever asked. If nobody did, an election came
    /// between, and its owner asks the next leader.
    pub(super) fn failed(&mut self, cx: &mut Context, body: Body) {
        if self.asked.iter().any(|(asked, _)| *asked == body) {
            cx.propose(body);
        }
    }

    /// Has the voters changed to those that the registry wants, if they are others.
    pub(super) fn settle(&mut self, cx: &mut Context, registry: &Registry) {
        let wanted = registry.voters_wanted();
        let is_settled = registry.seed_sets() == [wanted.clone()];
        let is_changing = self.changing_until.is_some_and(|until| cx.now < until);
        // No voters are wanted only before the founding; a log without any could never decide anything again.
        if is_settled || is_changing || wanted.is_empty() {
            return;
        }
        cx.count("voter_changes");
        self.changing_until = Some(cx.now + CHANGE_AGAIN.get());
        cx.want(Effect::ChangeVoters(wanted));
    }

    /// The log has one set of voters: no change is under way. The next may follow at once.
    pub(super) fn voters_settled(&mut self) {
        self.changing_until = None;
    }

    /// The voters were not changed: this seed leads no longer, or a new one was not there to catch up.
    pub(super) fn voters_unchanged(&mut self, cx: &mut Context) {
        cx.count("voter_changes_failed");
        // Sooner than a change that was not heard of again, but not at once: what was missing will hardly be there by
        // now. A guess.
        self.changing_until = self.changing_until.map(|until| until.min(cx.now + CHANGE_AGAIN.get() / 5));
    }
}

/// The entry that makes the change; none when it is made already. What goes is the seed that had the `seat` when this
/// was asked: an operator who asks twice, or whose answer was lost, does not have two taken away.
fn entry_for(
    registry: &Registry,
    is_available: impl Fn(SeedId) -> bool,
    change: SeedChange,
    seat: Option<SeedId>,
) -> Result<Option<Body>, Refusal> {
    let is_another = |id: &SeedId| seat.is_some_and(|seat| seat != *id);
    // Added, or put in another's place, and not come yet: to ask for it again changes nothing.
    let waits = |id: &SeedId| registry.seeds().get(id).is_some_and(|seed| seed.directory_id.is_none());
    match change {
        SeedChange::Add(address) => match registry.seed_at(&address) {
            Some(id) if waits(&id) && !registry.votes(id) => Ok(None),
            Some(_) => Err(Refusal::new(Why::Superseded, format!("{address} is a seed already"))),
            None if address.parse().is_ok_and(|address: Address| registry.at(address).is_some()) => {
                Err(Refusal::new(Why::BadRequest, format!("{address} is a member, which no seed can be")))
            }
            None if registry.seeds().len() >= SEEDS_MAX => {
                Err(Refusal::new(Why::Limit, format!("{SEEDS_MAX} seeds")))
            }
            None => Ok(Some(Body::SeedAdd { address, replaces: None })),
        },
        SeedChange::Remove(address) => match registry.seed_at(&address) {
            Some(id) if is_another(&id) => Ok(None),
            Some(_) if registry.seeds().len() == 1 => {
                Err(Refusal::new(Why::BadRequest, "the last seed cannot be removed"))
            }
            Some(id) => {
                check_majority_without(registry, is_available, id).map(|()| Some(Body::SeedRemove(id)))
            }
            None => Ok(None),
        },
        SeedChange::Replace { address, force } => match registry.seed_at(&address) {
            Some(id) if is_another(&id) || waits(&id) && !registry.votes(id) => Ok(None),
            Some(id) if is_available(id) && !force => {
                let detail =
                    format!("{address} is connected, with its directory; --force replaces it all the same");
                Err(Refusal::new(Why::BadRequest, detail))
            }
            Some(id) => {
                check_majority_without(registry, is_available, id)?;
                Ok(Some(Body::SeedAdd { address, replaces: Some(id) }))
            }
            None => Err(stranger(&address)),
        },
    }
}

/// Those that are left must be able to decide anything: an operator who takes the wrong one away while others are
/// down would stop the cluster for good.
fn check_majority_without(
    registry: &Registry,
    is_available: impl Fn(SeedId) -> bool,
    seed: SeedId,
) -> Result<(), Refusal> {
    let mut left = registry.voters_wanted();
    // By those that are to vote, not by those that do: a change before this one may be on its way.
    left.remove(&seed);
    let there = left.iter().filter(|id| is_available(**id)).count();
    let (all, needed) = (left.len(), majority(left.len()));
    if there >= needed {
        return Ok(());
    }
    let detail = format!("only {there} of the {all} seeds that would be left take part, {needed} are needed");
    Err(Refusal::new(Why::NoQuorum, detail))
}

/// Whether what is proposed now can be committed: else it would be carried out whenever a seed comes back, long after
/// its operator was told that it failed. It may be the very one that is to go whose vote is needed.
fn check_majority_now(registry: &Registry, is_available: impl Fn(SeedId) -> bool) -> Result<(), Refusal> {
    for set in registry.seed_sets() {
        let there = set.iter().filter(|id| is_available(**id)).count();
        let (all, needed) = (set.len(), majority(set.len()));
        if there < needed {
            let detail =
                format!("only {there} of the {all} seeds take part, {needed} are needed for any change");
            return Err(Refusal::new(Why::NoQuorum, detail));
        }
    }
    Ok(())
}
