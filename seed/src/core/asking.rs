//! The seed that was asked: it sends errands to the leader, owns their retry, and passes the answers on.

use coterie_common::limits::ERRANDS_MAX;
use coterie_common::message::{Answer, Candidate, Errand, MeshMessage};
use coterie_common::{Instant, Line, Refusal, Why};

use super::effect::Effect;
use super::errands::{Asker, Pending};
use super::{Seed, log};

impl Seed {
    /// Sends an errand to the leader, or keeps it until there is one.
    pub(super) fn run_errand(&mut self, now: Instant, errand: Errand, asker: Asker, out: &mut Vec<Effect>) {
        if self.errands.len() >= ERRANDS_MAX {
            return match errand {
                Errand::Register(_) | Errand::Seeds(_) => {
                    let refusal = Refusal::new(Why::Limit, format!("{ERRANDS_MAX} requests are under way"));
                    self.answer(Pending { errand, asker }, Answer::Refused(refusal), out);
                }
                // A refusal would be taken for a verdict; who reports or leaves asks again by itself.
                Errand::Report { .. } | Errand::Leave(_) => self.count("requests_dropped"),
            };
        }
        let number = self.errands.add(now, errand.clone(), asker);
        self.send_errand(now, number, errand, out);
    }

    fn send_errand(&mut self, now: Instant, number: u64, errand: Errand, out: &mut Vec<Effect>) {
        match self.leader {
            _ if !self.is_ready() => {}
            Some(leader) if leader != self.config.id => {
                out.push(Effect::ToSeed { to: leader, message: MeshMessage::Errand { number, errand } });
            }
            Some(own) => self.on_errand(now, (own, number), errand, out),
            None => {}
        }
    }

    /// There is a leader to ask: what was not answered yet is asked again.
    pub(super) fn resend_errands(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.leads() && self.registry.cluster().is_some() {
            for (_, owner, errand) in std::mem::take(&mut self.early) {
                self.on_errand(now, owner, errand, out);
            }
        }
        let all: Vec<(u64, Errand)> = self.errands.unanswered().map(|(n, e)| (n, e.clone())).collect();
        for (number, errand) in all {
            self.send_errand(now, number, errand, out);
        }
    }

    pub(super) fn on_done(&mut self, number: u64, answer: Answer, out: &mut Vec<Effect>) {
        let index = match &answer {
            Answer::Admitted { index, .. } | Answer::Recorded { index } => *index,
            Answer::Refused(_) => 0,
        };
        self.errands.answered(number, index, answer);
        self.deliver_answers(out);
    }

    /// Passes on the answers whose entries are applied here.
    pub(super) fn deliver_answers(&mut self, out: &mut Vec<Effect>) {
        for (pending, answer) in self.errands.due(self.registry.applied()) {
            self.answer(pending, answer, out);
        }
    }

    pub(super) fn expire_errands(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for pending in self.errands.expired(now) {
            if let Errand::Report { .. } | Errand::Leave(_) = pending.errand {
                // That nobody could decide is no verdict. Who reports or leaves asks again by itself.
                self.count("requests_undecided");
                continue;
            }
            let detail = "no leader with a majority of the seeds answered within 10 s";
            self.answer(pending, Answer::Refused(Refusal::new(Why::NoQuorum, detail)), out);
        }
    }

    pub(super) fn register_local(
        &mut self,
        now: Instant,
        request: u64,
        candidate: Candidate,
        out: &mut Vec<Effect>,
    ) {
        log(out, Line::new("REGISTER_REQUEST").with("peer", candidate.address));
        self.run_errand(now, Errand::Register(candidate), Asker::Local(request), out);
    }
}
