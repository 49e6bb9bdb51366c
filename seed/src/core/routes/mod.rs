//! Which input goes where, and what follows from what.
//!
//! A seed has three doors, and a file for each: sessions (`session`), other seeds and probes (`ballot`), and the
//! replicated log (`log`). What falls due by itself is in `upkeep`. Requests pass from one to the other here: asked
//! on a session, forwarded to the leader, decided, answered.

mod ballot;
mod log;
mod session;
mod upkeep;

use coterie_common::message::{Answer, ForwardedRequest, MeshMessage};
use coterie_common::{Refusal, Why};

use super::Seed;
use super::effect::Input;
use super::forwarding::{Caller, PendingRequest};
use super::request::RequestId;

impl Seed {
    /// One line for each input: what follows from it stands in the file that its door has.
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Wake => {}
            Input::Session { session, wire, message } => self.on_session(session, wire, message),
            Input::SessionDrained(session) => {
                self.sessions.drained(&mut self.cx, &self.registry, &self.presence, session);
            }
            Input::SessionClosed(session) => self.sessions.forget(session),
            Input::SeedUp { seed, directory_id, address } => self.on_seed_up(seed, directory_id, address),
            Input::DecidedBefore { cluster, index } => self.leadership.learn_decided(cluster, index),
            Input::SeedDown(seed) => self.leadership.seed_down(&mut self.cx, &self.registry, seed),
            Input::SeedSilent(seed) => self.presence.seed_down(seed),
            Input::Mesh { from, message } => self.on_mesh(from, message),
            Input::Leader { leader, term } => self.on_leader(leader, term),
            Input::Committed(commits) => self.on_committed(commits),
            Input::Restored(registry) => self.on_restored(*registry),
            Input::ProposalFailed(entry) => self.on_proposal_failed(entry),
            Input::VotersUnchanged => self.leader.voters_unchanged(&mut self.cx),
            Input::Forms(founding) => self.leadership.forms(founding),
            Input::IdAssigned { id, seeds } => self.leadership.take_id(id, seeds),
            Input::Probed { target, finding, host } => self.on_probed(target, (finding, host)),
            Input::ReadReady { read, index } => {
                self.sessions.read_ready(&mut self.cx, &self.registry, &self.presence, (read, index));
            }
            Input::Register { request, candidate } => self.register_local(request, candidate),
            Input::Stop => self.sessions.close_all(&mut self.cx),
        }
    }

    // ---- requests, at the seed that was asked ----

    /// Sends a request to the leader, or keeps it until there is one.
    fn forward(&mut self, forwarded: ForwardedRequest, caller: Caller) {
        if self.forwarding.is_full() {
            return match forwarded {
                ForwardedRequest::Register(_) | ForwardedRequest::Seeds { .. } => {
                    let most = coterie_common::limits::FORWARDED_MAX.get();
                    let refusal = Refusal::new(Why::Limit, format!("{most} requests are under way"));
                    self.answer(PendingRequest { forwarded, caller }, Answer::Refused(refusal));
                }
                // A refusal would be taken for a verdict; who reports or leaves asks again by itself.
                ForwardedRequest::Report { .. } | ForwardedRequest::Leave(_) => {
                    self.cx.count("requests_dropped");
                }
            };
        }
        let number = self.forwarding.add(self.cx.now, forwarded.clone(), caller);
        self.send_to_leader(number, forwarded);
    }

    /// Does nothing where there is no leader, or no cluster yet: it is sent at the next election, at the founding, or
    /// within a second of either.
    fn send_to_leader(&mut self, number: u64, forwarded: ForwardedRequest) {
        match self.leadership.leader() {
            Some(leader) if self.leadership.is_ready(&self.registry) => {
                if self.leadership.leads() {
                    self.on_request(RequestId { seed: leader, number }, forwarded);
                } else {
                    self.cx.tell_seed(leader, MeshMessage::Request { number, forwarded });
                }
            }
            // It is sent when there is one.
            Some(_) | None => {}
        }
    }

    /// There is a leader to ask: what was not answered yet is asked again.
    fn forward_again(&mut self) {
        if self.leadership.leads() && self.registry.cluster().is_some() {
            for (request, forwarded) in self.forwarding.take_early() {
                self.on_request(request, forwarded);
            }
        }
        for (number, forwarded) in self.forwarding.unanswered() {
            self.send_to_leader(number, forwarded);
        }
    }

    /// The leader has answered. Where the answer is about an entry, it waits until that is applied here: who asks a
    /// seed is never told more than what that seed can show.
    fn on_answered(&mut self, number: u64, answer: Answer) {
        let index = match &answer {
            Answer::Admitted { index, .. } | Answer::Recorded { index } => *index,
            Answer::Refused(_) => 0,
        };
        self.forwarding.answered(number, index, answer);
        self.deliver_answers();
    }

    /// Passes on the answers whose entries are applied here.
    fn deliver_answers(&mut self) {
        for (request, answer) in self.forwarding.due(self.registry.applied()) {
            self.answer(request, answer);
        }
    }

    // ---- requests, at the leader ----

    /// Tells the seed that forwarded a request what came of it.
    fn reply(&mut self, request: RequestId, answer: Answer) {
        let RequestId { seed, number } = request;
        if seed == self.leadership.me() {
            self.on_answered(number, answer);
        } else {
            self.cx.tell_seed(seed, MeshMessage::Reply { number, answer });
        }
    }

    fn reply_to_all(&mut self, requests: Vec<RequestId>, answer: &Answer) {
        requests.into_iter().for_each(|request| self.reply(request, answer.clone()));
    }
}
