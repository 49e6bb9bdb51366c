//! A life that has ended stays ended: whoever has a view that is as new as its end has it no longer.

use coterie_common::{Instant, MemberId, View};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

pub(super) struct NoResurrection;

fn resurrected(view: &View, member: MemberId, truth: &Truth) -> bool {
    truth.end_of(member).is_some_and(|(epoch, _)| epoch <= view.epoch)
}

impl Invariant for NoResurrection {
    fn name(&self) -> &'static str {
        "no_resurrection"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Viewed { peer, from, view, .. } => {
                let there =
                    truth.changed(*from, view.epoch).filter_map(|address| view.at(address)).map(|m| m.id);
                match there.into_iter().find(|member| resurrected(view, *member, truth)) {
                    Some(member) => Err(format!("{peer} has {member} in its view again, which has ended")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn look(&mut self, _now: Instant, processes: &Processes<'_>, truth: &Truth) -> Result<(), String> {
        for member in truth.registry().members() {
            if truth.registry().is_ended(member.id.address, member.life) || truth.end_of(member.id).is_some()
            {
                return Err(format!("{} is a member again", member.id));
            }
        }
        for (address, core) in &processes.peers {
            let Some(core) = core else { continue };
            let gone = core.neighbours().find(|id| resurrected(core.view(), *id, truth));
            if let Some(gone) = gone {
                return Err(format!("{address} is linked with {gone}, which has ended in its own view"));
            }
        }
        Ok(())
    }
}
