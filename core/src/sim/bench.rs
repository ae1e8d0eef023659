//! A steady load on an undisturbed cluster: what the speed of the simulated world is measured with. It is the same load
//! everywhere; whoever has a clock measures it.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, ClientOperation, RequestOptions, Setting};
use super::host::name_of;
use super::world::World;
use crate::id::{Key, NodeId};
use crate::rng::Rng;
use crate::time::Time;

/// Keys that are read and written, each as often as the others.
const KEYS: u64 = 10_000;
/// Between two operations: 100 a second.
const OPERATION_INTERVAL: Duration = Duration::from_millis(10);
/// Between two writes while the keys are written for the first time.
const FILL_INTERVAL: Duration = Duration::from_millis(1);
/// Between two looks at whether the cluster is ready, and the most of them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 600;

/// A cluster under load. Every key has been written once when it begins.
#[derive(Clone, Debug)]
pub struct Bench {
    world: World,
    nodes: Vec<NodeId>,
    rng: Rng,
    operations: u64,
    things: u64,
}

impl Bench {
    /// A cluster of so many nodes, at least one, with the quorums and the placement of a new one, in which every node is ready. Events are
    /// judged and not kept.
    ///
    /// # Panics
    /// When the nodes do not find each other in ten simulated minutes, which would be a fault of the program.
    #[must_use]
    pub fn new(nodes: u16) -> Self {
        let setting = Setting { nodes: 1, ..Setting::default() };
        let mut world = World::unrecorded(&setting);
        (1..nodes).for_each(|_| world.grow());
        let mut bench = Self {
            world,
            nodes: (0..nodes).map(name_of).collect(),
            rng: Rng::labelled(setting.seed, "bench"),
            operations: 0,
            things: 0,
        };
        let mut looks = 0;
        while bench.world.view().nodes.iter().any(|node| node.not_ready.is_some()) {
            assert!(looks < LOOKS_MAX, "an undisturbed cluster becomes ready");
            bench.pass(LOOK_INTERVAL);
            looks += 1;
        }
        for number in 0..KEYS {
            bench.ask(|_| ClientOperation::Put { key: key(number), value: format!("value {number}"), informed: false });
            bench.pass(FILL_INTERVAL);
        }
        bench.pass(LOOK_INTERVAL);
        bench.things = 0;
        bench
    }

    /// Lets the load go on for so long: as many reads as writes, of keys and through nodes drawn at random.
    pub fn run(&mut self, span: Duration) {
        let until = self.world.now() + span;
        while self.world.now() < until {
            self.ask(|rng| {
                let key = key(rng.below(KEYS));
                if rng.chance(500_000) {
                    ClientOperation::Get { key }
                } else {
                    ClientOperation::Put { key, value: format!("value {}", rng.u64()), informed: false }
                }
            });
            self.pass(OPERATION_INTERVAL);
        }
    }

    /// Things that happened since it began: arrivals, wake-ups, disks that were done.
    #[must_use]
    pub const fn things(&self) -> u64 {
        self.things
    }

    /// The world.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    fn ask(&mut self, operation: impl FnOnce(&mut Rng) -> ClientOperation) {
        let operation = operation(&mut self.rng);
        let node = self.rng.pick(&self.nodes).expect("a world has nodes").clone();
        let client = format!("client {}", self.operations % 10);
        self.operations += 1;
        let options = RequestOptions::default();
        self.world.apply(&Action::Client { client, node, operation, options });
    }

    fn pass(&mut self, span: Duration) {
        let until: Time = self.world.now() + span;
        while self.world.next_at().is_some_and(|at| at <= until) {
            self.world.step();
            self.things += 1;
        }
        self.world.run_until(until);
    }
}

fn key(number: u64) -> Key {
    Key::new(&format!("key-{number}")).expect("a good key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_what_it_says_and_nothing_breaks_under_it() {
        let mut bench = Bench::new(3);
        let (before, began) = (bench.operations, bench.world.now());
        bench.run(Duration::from_secs(10));
        assert_eq!((bench.operations - before, bench.world.now().since(began)), (1_000, Duration::from_secs(10)));
        assert!(bench.things() > 1_000);
        assert!(bench.world.violations().is_empty(), "{:?}", bench.world.violations());
        let view = bench.world.view();
        assert_eq!(view.nodes.iter().map(|node| node.keys).collect::<Vec<_>>(), [KEYS; 3]);
    }
}
