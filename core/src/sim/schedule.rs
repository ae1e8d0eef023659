//! Schedules: what is done to a world, and when. A schedule is explicit; a random one is drawn from a seed first and then
//! run like any other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::{Action, ClientOperation, DiskFate, Network, Setting};
use super::host::node_name;
use super::world::World;
use crate::id::{Key, NodeId};
use crate::rng::Rng;
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

/// How long a random schedule disturbs the cluster.
const DISTURBED: Duration = Duration::from_secs(20);

impl Schedule {
    /// Draws a schedule: three to seven nodes, some loss, clients that read, write and delete a few keys, nodes that crash
    /// and come back, partitions that heal.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::labelled(seed, "schedule");
        let nodes = u8::try_from(rng.between(3, 7)).expect("a small number");
        let loss_per_million = u32::try_from(rng.below(30_000)).expect("a small number");
        let network = Network { loss_per_million, ..Network::default() };
        let sync_max = Duration::from_millis(if rng.chance(500_000) { 2 } else { rng.between(10, 300) });
        let setting = Setting { seed, nodes, network, sync_max, ..Setting::default() };
        let names: Vec<NodeId> = (0..nodes).map(node_name).collect();
        let mut steps = Vec::new();
        let end = u64::try_from(DISTURBED.as_millis()).expect("a short span");
        let time = |rng: &mut Rng| Time::from_ms(rng.between(500, end));
        for number in 0..rng.between(40, 120) {
            let action = random_request(&mut rng, number, &names);
            steps.push(Step { at: time(&mut rng), action });
        }
        // One disk may be lost: with a write quorum of two another store has every acknowledged write.
        let mut disk = if rng.chance(300_000) { DiskFate::Lost } else { DiskFate::Kept };
        for _ in 0..rng.below(5) {
            let node = one_of(&mut rng, &names);
            let at = time(&mut rng);
            let back = at + Duration::from_millis(rng.between(100, 8_000));
            let down = if rng.chance(700_000) {
                Action::Crash { node: node.clone(), disk: core::mem::take(&mut disk) }
            } else {
                Action::Stop { node: node.clone() }
            };
            steps.push(Step { at, action: down });
            steps.push(Step { at: back, action: Action::Restart { node } });
        }
        if rng.chance(300_000) {
            // The power fails everywhere at once.
            let at = time(&mut rng);
            for node in &names {
                let back = at + Duration::from_millis(rng.between(100, 2_000));
                steps.push(Step { at, action: Action::Crash { node: node.clone(), disk: DiskFate::Kept } });
                steps.push(Step { at: back, action: Action::Restart { node: node.clone() } });
            }
        }
        for _ in 0..rng.below(3) {
            let side: Vec<NodeId> = names.iter().filter(|_| rng.chance(400_000)).cloned().collect();
            let at = time(&mut rng);
            let healed = at + Duration::from_millis(rng.between(100, 8_000));
            steps.push(Step { at, action: Action::Partition { groups: [side].into() } });
            steps.push(Step { at: healed, action: Action::Heal });
        }
        if rng.chance(300_000) {
            steps.push(Step { at: time(&mut rng), action: Action::Add });
        }
        steps.sort_by_key(|step| step.at);
        Self { setting, steps }
    }

    /// Runs it to its last action.
    #[must_use]
    pub fn run(&self) -> World {
        let mut world = World::new(&self.setting);
        for step in &self.steps {
            world.run_until(step.at);
            world.apply(&step.action);
        }
        world
    }
}

fn one_of(rng: &mut Rng, names: &[NodeId]) -> NodeId {
    rng.pick(names).expect("a world has nodes").clone()
}

fn random_request(rng: &mut Rng, number: u64, names: &[NodeId]) -> Action {
    let key = Key::new(&format!("key-{}", rng.below(6))).expect("a good key");
    let informed = rng.chance(500_000);
    let operation = match rng.below(10) {
        0..5 => ClientOperation::Put { key, value: format!("value {number}"), informed },
        5..9 => ClientOperation::Get { key },
        _ => ClientOperation::Delete { key, informed },
    };
    let client = String::from(if rng.chance(500_000) { "alice" } else { "bob" });
    Action::Client { client, node: one_of(rng, names), operation }
}

/// The hash of the run that a seed makes: the same natively and in wasm.
#[must_use]
pub fn fingerprint(seed: u64) -> u64 {
    let mut world = Schedule::random(seed).run();
    let end = world.now() + Duration::from_secs(5);
    world.run_until(end);
    world.hash()
}
