//! Seeds' directories: what is told of them, and what an operator does with copies.

use std::collections::BTreeSet;
use std::time::Duration;

use coterie_common::limits::{DIRECTORY_TOLD_AT_LEAST, DIRECTORY_TOLD_EVERY};
use coterie_common::majority;
use coterie_common::message::{DirectoryState, MeshMessage, SeedId};
use coterie_common::{Instant, Message};
use coterie_seed::core::Input;
use coterie_seed::core::directories::{Doubt, KnownDirectories};

use super::{Happening, SeedHost, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::model::replicated_log::ReplicatedLog;
use crate::plan::fault::Fault;
use crate::plan::planted_bug::PlantedBug;

/// How long a seed is down whose directory an operator takes away, or puts another in the place of.
const AWAY_FOR: Duration = Duration::from_millis(500);

/// What a copy of a directory has.
#[derive(Clone, Debug)]
pub(super) struct DirectoryCopy {
    id: SeedId,
    directory_id: u64,
    replica: ReplicatedLog,
    known: KnownDirectories,
    run: u64,
}

impl SeedHost {
    /// What is on its disk.
    pub(super) fn directory(&self) -> DirectoryState {
        DirectoryState { run: self.run, process: self.process.start, ..self.replica.on_disk() }
    }

    fn copy_of_directory(&self) -> DirectoryCopy {
        DirectoryCopy {
            id: self.id,
            directory_id: self.directory_id,
            replica: self.replica.clone(),
            known: self.known.clone(),
            run: self.run,
        }
    }

    /// Whether the directory of another cluster is in the place of its own.
    pub(super) fn is_mistaken(&self) -> bool {
        self.put_away.is_some()
    }

    /// Whether an operator may count on it.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_lost && !self.is_restored && !self.is_mistaken() && self.replica.history().is_some()
    }
}

impl World {
    // ---- what is told ----

    /// Each seed tells the others what it has on disk, when that has changed, and once a second.
    pub(super) fn tell_directories(&mut self) {
        for index in 0..self.seeds.len() {
            let seed = &mut self.seeds[index];
            if !seed.process.runs() {
                continue;
            }
            let (now, state) = (self.now, seed.directory());
            let is_due = seed.told_directory.is_none_or(|(at, told)| {
                let pause =
                    if told == state { DIRECTORY_TOLD_AT_LEAST.get() } else { DIRECTORY_TOLD_EVERY.get() };
                now.since(at) >= pause
            });
            if !is_due {
                continue;
            }
            seed.told_directory = Some((now, state));
            let own = self.traffic.mesh.iter().filter(|((from, _), _)| *from == index);
            for id in own.map(|(_, id)| *id).collect::<Vec<_>>() {
                self.send_message(id, Host::Seed(index), Message::Mesh(MeshMessage::Directory(state)));
            }
        }
    }

    /// A seed hears what another has on disk, and remembers it. What an ended process has said before says nothing.
    pub(super) fn hear_directory(&mut self, by: usize, of: usize, state: DirectoryState) {
        let process = &self.seeds[of].process;
        // Its directory may be another by now, before the next process has begun.
        if process.start != state.process || process.core.is_none() {
            return;
        }
        let directory_id = self.seeds[of].directory_id;
        self.observe(&Observed::Heard { by: Host::Seed(by), directory_id, state: &state });
        self.remember(by, directory_id, state);
    }

    fn remember(&mut self, by: usize, directory_id: u64, state: DirectoryState) {
        let committed_here = self.seeds[by].directory().committed;
        self.seeds[by].known.note(directory_id, state, committed_here);
    }

    /// Two seeds are about to be connected: whether either runs on a copy, by what the other remembers. It ends.
    pub(super) fn a_copy_ends(&mut self, from: usize, to: usize) -> bool {
        for (judge, judged) in [(from, to), (to, from)] {
            if let Err(doubt) = self.judge_directory(judge, judged) {
                let address = Host::Seed(judged).address();
                assert!(self.seeds[judged].is_restored, "{address} runs on no copy, and is refused: {doubt}");
                self.sink.tell(format_args!("{:>12} -- {address} ends: {doubt}", ""));
                self.tally.marks.hit("copies_refused");
                self.seeds[judged].is_lost = true;
                self.end_process(Host::Seed(judged));
                return true;
            }
        }
        for (by, of) in [(from, to), (to, from)] {
            let (directory_id, state) = (self.seeds[of].directory_id, self.seeds[of].directory());
            let cluster = |seed: usize| self.seeds[seed].replica.history().map(|history| history.cluster);
            let clusters = (cluster(by), cluster(of));
            let greeted = Observed::Greeted { by: Host::Seed(by), directory_id, state: &state, clusters };
            self.observe(&greeted);
            self.remember(by, directory_id, state);
            if let Some(history) = self.seeds[of].replica.history() {
                let (cluster, index) = (history.cluster, state.committed.index);
                let start = self.seeds[by].process.start;
                self.step_seed(by, start, Input::DecidedBefore { cluster, index });
            }
        }
        false
    }

    fn judge_directory(&self, judge: usize, judged: usize) -> Result<(), Doubt> {
        if self.plan.planted_bug == Some(PlantedBug::CopiesGoOn) {
            return Ok(());
        }
        let (directory_id, state) = (self.seeds[judged].directory_id, self.seeds[judged].directory());
        let (id, leader) = (self.seeds[judged].id, &self.seeds[judge]);
        // As the shell: what a seat has acknowledged is nothing that its next directory forgot.
        let is_seated = leader.replica.history().is_some_and(|own| own.is_seated(id, directory_id));
        let leads = leader.replica.leads(leader.id) && is_seated;
        let acknowledged = leads.then(|| leader.replica.acknowledged_by(id));
        leader.known.judge(directory_id, &state, acknowledged.as_ref())
    }

    // ---- the operator ----

    /// A seed's directory is one that was just made.
    pub(super) fn empty_directory(&mut self, index: usize) {
        self.put_new_directory(index, ReplicatedLog::default());
        self.seeds[index].is_restored = false;
    }

    /// A directory on which no seed has run here, with this log.
    fn put_new_directory(&mut self, index: usize, replica: ReplicatedLog) {
        self.operator.directory_ids += 1;
        let (id, directory_id) = (self.seeds[index].id, self.operator.directory_ids);
        let known = KnownDirectories::default();
        self.put_directory(index, DirectoryCopy { id, directory_id, replica, known, run: 0 });
    }

    /// Another directory takes the place of a seed's. What was remembered is in the former one.
    fn put_directory(&mut self, index: usize, directory: DirectoryCopy) {
        self.checker.observe(self.now, &Observed::DirectoryReplaced { host: Host::Seed(index) });
        let seed = &mut self.seeds[index];
        (seed.id, seed.directory_id) = (directory.id, directory.directory_id);
        (seed.replica, seed.known, seed.run) = (directory.replica, directory.known, directory.run);
    }

    /// An operator copies a seed's directory, and puts the copy in its place some time later.
    pub(super) fn copy_directory(&mut self, index: usize, restored_after: Duration) {
        let seed = &mut self.seeds[index];
        if !seed.is_listed || seed.is_mistaken() {
            return;
        }
        let mut copy = seed.copy_of_directory();
        copy.replica.crash();
        seed.copy = Some(copy);
        if self.now + restored_after < Instant::START + self.plan.swarm.chaos {
            self.after(restored_after, Happening::Fault(Fault::Restore(index)));
        }
    }

    /// The copy takes the place of the directory. Only where the others have everything: who counts on more than one
    /// copy at a time has lost what no seed can know. And only once there is a cluster, which can give the seat of a
    /// seed that ran on a copy to another directory.
    pub(super) fn restore_directory(&mut self, index: usize) {
        let committed = self.log.committed;
        if self.nothing_has_begun() || !self.can_do_without(index, |seed| seed.replica.written() >= committed)
        {
            return;
        }
        let Some(copy) = self.seeds[index].copy.take() else { return };
        self.end_process(Host::Seed(index));
        self.tally.marks.hit("directories_restored");
        self.put_directory(index, copy);
        let seed = &mut self.seeds[index];
        (seed.is_lost, seed.is_restored) = (false, true);
        self.after(AWAY_FOR, Happening::Fault(Fault::Start(Host::Seed(index))));
    }

    /// A seed's directory is gone, and the seed is started again.
    pub(super) fn wipe(&mut self, index: usize) {
        if !self.can_do_without(index, |_| true) {
            return;
        }
        if self.nothing_has_begun() && self.seeds[index].run > 0 {
            self.tally.marks.hit("directories_lost_before_the_beginning");
        }
        self.end_process(Host::Seed(index));
        self.empty_directory(index);
        self.after(AWAY_FOR, Happening::Fault(Fault::Start(Host::Seed(index))));
    }

    /// A seed is started on a directory of another cluster: one that ran on the same machines, with the same seats and
    /// members, of which the others are gone. At one host alone: where more than half of the seeds have named another
    /// cluster lately, and none its own, a peer goes with them, as it should.
    pub(super) fn mistake_directory(&mut self, index: usize, back_after: Duration) {
        let seed = &self.seeds[index];
        let is_other = self.operator.mistaken_at.is_some_and(|host| host != index);
        let is_at_work = seed.is_listed && !seed.is_lost && !seed.is_mistaken() && !is_other;
        let other = seed.replica.of_another_cluster();
        let Some(replica) = other.filter(|_| is_at_work) else { return };
        self.end_process(Host::Seed(index));
        self.tally.marks.hit("directories_mistaken");
        self.operator.mistaken_at = Some(index);
        self.seeds[index].put_away = Some(self.seeds[index].copy_of_directory());
        self.put_new_directory(index, replica);
        self.after(AWAY_FOR, Happening::Fault(Fault::Start(Host::Seed(index))));
        if self.now + back_after < Instant::START + self.plan.swarm.chaos {
            self.after(back_after, Happening::Fault(Fault::Undo(index)));
        }
    }

    /// Its own directory is back in its place.
    pub(super) fn undo_mistake(&mut self, index: usize) {
        let Some(own) = self.seeds[index].put_away.take() else { return };
        self.end_process(Host::Seed(index));
        self.put_directory(index, own);
        self.after(AWAY_FOR, Happening::Fault(Fault::Start(Host::Seed(index))));
    }

    /// Whether no seed has a log yet.
    fn nothing_has_begun(&self) -> bool {
        self.seeds.iter().all(|seed| seed.replica.len() == 0)
    }

    /// Whether any majority that the log of any seed counts on is there without this one, of seeds that have enough.
    fn can_do_without(&self, index: usize, has_enough: impl Fn(&SeedHost) -> bool) -> bool {
        let gone = self.seeds[index].id;
        if self.seeds[index].is_mistaken() {
            return false;
        }
        if self.nothing_has_begun() {
            return true;
        }
        let has_log = |id: &SeedId| {
            let holds =
                |seed: &SeedHost| seed.id == *id && seed.takes_part && seed.is_whole() && has_enough(seed);
            *id != gone && self.seeds.iter().any(holds)
        };
        let enough =
            |set: &BTreeSet<SeedId>| set.iter().filter(|id| has_log(id)).count() >= majority(set.len());
        let registry = &self.checker.truth().registry();
        if self.is_removing() {
            return false;
        }
        // Peers that were away know no others than those of their lists.
        let known = self
            .seeds
            .iter()
            .take(self.plan.swarm.seeds)
            .filter(|seed| registry.seeds().contains_key(&seed.id));
        if !known.map(|seed| seed.id).any(|id| has_log(&id)) {
            return false;
        }
        let mut all_sets =
            self.seeds.iter().flat_map(|seed| seed.replica.voters()).chain([registry.voters_wanted()]);
        registry.seeds().contains_key(&gone) && all_sets.all(|set| enough(&set))
    }
}
