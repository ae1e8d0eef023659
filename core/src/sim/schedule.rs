//! Schedules: what is done to a world, and when. A schedule is explicit: whoever has it can run it again, change it, or cut
//! it down. Where it comes from is not its affair (`swarm` draws some).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::action::{Action, Setting};
use super::world::World;
use super::{Invariant, Verdict, Violation};
use crate::event::Event;
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
        let mut world = World::unrecorded(&self.setting);
        self.play(&mut world);
        world.conclude()
    }

    /// As [`Self::judge`], and shows every event on the way, oldest first.
    #[must_use]
    pub fn judge_with(&self, see: &mut dyn FnMut(&[Event])) -> Verdict {
        let mut world = World::new(&self.setting);
        for step in &self.steps {
            world.run_until(step.at);
            world.apply(&step.action);
            see(&world.take_events());
        }
        let verdict = world.conclude();
        see(&world.take_events());
        verdict
    }

    /// When it breaks an invariant, if it does. Ends as soon as it is known.
    #[must_use]
    pub fn breaks(&self, invariant: Invariant) -> Option<Time> {
        let broken = |violations: &[Violation]| {
            violations.iter().find(|violation| violation.invariant == invariant).map(|violation| violation.at)
        };
        let mut world = World::unrecorded(&self.setting);
        for step in &self.steps {
            world.run_until(step.at);
            if let Some(at) = broken(world.violations()) {
                return Some(at);
            }
            world.apply(&step.action);
        }
        broken(&world.conclude().violations)
    }

    fn play(&self, world: &mut World) {
        for step in &self.steps {
            world.run_until(step.at);
            world.apply(&step.action);
        }
    }
}
