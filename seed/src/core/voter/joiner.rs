//! The cheap checks of somebody who wants to be a member, before it is probed.
//!
//! Each seed checks by its own registry, which is at least as new as the leader's when it asked. These are limits and
//! early answers: what all seeds must agree on is checked again by the registry.

use coterie_common::limits::{ALL_TAGS_BYTES_MAX, MEMBERS_MAX, TAG_BYTES_MAX};
use coterie_common::message::{Candidate, RegisterProposal};
use coterie_common::{Address, Incarnation, Refusal, Why, tag_bytes};

use crate::core::entry::SeedRecord;
use crate::core::registry::Registry;

/// Tags that are too long are refused where they come in: passed on, they might not fit a frame. Checked again by every
/// voter.
pub(crate) fn check_tags(joiner: &Candidate) -> Result<(), Refusal> {
    match tag_bytes(&joiner.tags) {
        bytes if bytes > TAG_BYTES_MAX => {
            Err(Refusal::new(Why::Limit, format!("{bytes} bytes of tags, at most {TAG_BYTES_MAX}")))
        }
        _ => Ok(()),
    }
}

/// Whether a proposal to admit somebody makes sense, by the registry of a seed at `me`.
pub(super) fn check(registry: &Registry, me: Address, proposal: &RegisterProposal) -> Result<(), Refusal> {
    let joiner = &proposal.candidate;
    if !joiner.address.is_reachable_in_principle() {
        return Err(Refusal::new(Why::BadRequest, format!("{} is nobody's address", joiner.address)));
    }
    // By the addresses that can be compared: a seed that the list names by a host name is not recognised, but for this
    // one itself.
    let is_seed = |seed: &SeedRecord| seed.address.parse() == Ok(joiner.address);
    if joiner.address == me || registry.seeds().values().any(is_seed) {
        return Err(Refusal::new(Why::BadRequest, format!("{} is a seed", joiner.address)));
    }
    check_tags(joiner)?;
    // A life that takes another's place adds nobody.
    if registry.at(joiner.address).is_none() && registry.members().len() >= MEMBERS_MAX {
        return Err(Refusal::new(Why::Limit, format!("{MEMBERS_MAX} members")));
    }
    if !joiner.tags.is_empty() {
        // The tags of a life that it would replace are counted with the others: a little too strict, and simple.
        let all: usize = registry.members().map(|member| tag_bytes(&member.tags)).sum();
        if all + tag_bytes(&joiner.tags) > ALL_TAGS_BYTES_MAX {
            return Err(Refusal::new(Why::Limit, format!("{ALL_TAGS_BYTES_MAX} bytes of all members' tags")));
        }
    }
    if registry.is_ended(joiner.address, joiner.life) {
        return Err(Why::Ended.into());
    }
    let present = registry.at(joiner.address).map_or(Incarnation::NONE, |member| member.id.incarnation);
    match present == proposal.replaces {
        true => Ok(()),
        false => Err(Why::Superseded.into()),
    }
}
