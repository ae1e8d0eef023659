//! Schedules: what is done to a world, and when. A schedule is explicit: whoever has it can run it again, change it, or cut
//! it down. Where it comes from is not its affair (`swarm` draws some).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::action::{Action, Setting};
use super::world::World;
use crate::time::Time;

/// One thing that is done at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What.
    pub action: Action,
}

/// A whole run: how the world begins and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// How it begins.
    pub setting: Setting,
    /// What is done, in the order of the times.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Runs it to its last action, keeping events for whoever wants to tell what happened.
    #[must_use]
    pub fn run(&self) -> World {
        let mut world = World::new(&self.setting);
        self.play(&mut world);
        world
    }

    /// Runs it, heals what it broke, and holds everything that happened to every promise.
    #[must_use]
    pub fn judge(&self) -> Verdict {
        let mut world = World::new(&self.setting);
        world.record(false);
        self.play(&mut world);
        world.conclude()
    }

    fn play(&self, world: &mut World) {
        for step in &self.steps {
            world.run_until(step.at);
            world.apply(&step.action);
        }
    }
}
