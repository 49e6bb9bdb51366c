//! Seeds whose logs have not begun: each asks the others whether it may.

use std::collections::BTreeMap;

use coterie_common::message::{SeedHello, SeedId};
use coterie_seed::core::Input;
use coterie_seed::core::formation::{Decision, Waiver, decide};

use super::World;
use crate::model::host::Host;
use crate::plan::planted_bug::PlantedBug;

impl World {
    /// What a seed says of itself.
    pub(super) fn hello(&self, index: usize) -> SeedHello {
        let seed = &self.seeds[index];
        let list = (0..self.plan.swarm.seeds).map(|i| Host::Seed(i).address().to_string()).collect();
        SeedHello {
            version: coterie_common::codec::VERSION,
            id: seed.id,
            directory_id: seed.directory_id,
            address: seed.process.address.to_string(),
            list,
            history: seed.replica.history().cloned(),
            directory: seed.directory(),
        }
    }

    /// A seed without a history asks the others whether it may begin.
    pub(super) fn begin_if_decided(&mut self, index: usize) {
        let seed = &self.seeds[index];
        if seed.takes_part || !seed.process.runs() {
            return;
        }
        let (id, directory_id) = (seed.id, seed.directory_id);
        let others: BTreeMap<SeedId, SeedHello> = (0..self.seeds.len())
            .filter(|other| *other != index && self.seeds[*other].process.runs())
            .filter(|other| self.traffic.mesh.contains_key(&(index, *other)))
            .filter(|other| {
                self.traffic.network.connects(Host::Seed(index).address(), Host::Seed(*other).address())
            })
            .map(|other| (self.seeds[other].id, self.hello(other)))
            .collect();
        let all: Vec<SeedId> = (0..self.plan.swarm.seeds as u64).map(SeedId).collect();
        let careless =
            self.plan.planted_bug == Some(PlantedBug::EmptySeedTakesPart) && self.log.committed > 0;
        let address = self.seeds[index].process.address.to_string();
        match decide((id, &address, directory_id), &all, &others, &Waiver::default()) {
            Decision::Lost(_) | Decision::Wait(_) | Decision::Stranger(_) | Decision::Take(_) if careless => {
                self.take_part(index);
            }
            Decision::GoOn(founding) => {
                let start = self.seeds[index].process.start;
                self.step_seed(index, start, Input::Forms(founding));
                self.take_part(index);
            }
            Decision::Form(founding) => {
                let start = self.seeds[index].process.start;
                self.step_seed(index, start, Input::Forms(founding));
                self.seeds[index].replica.begin(all.into_iter().collect());
                self.take_part(index);
                self.write(index);
            }
            Decision::Lost(_) => {
                self.tally.marks.hit("seeds_without_directory");
                self.seeds[index].is_lost = true;
                self.end_process(Host::Seed(index));
            }
            Decision::Wait(_) | Decision::Stranger(_) => {}
            Decision::Take(seat) => self.take_seat(index, seat),
        }
    }

    fn take_part(&mut self, index: usize) {
        self.seeds[index].takes_part = true;
        self.note_takes_part(index);
    }
}
