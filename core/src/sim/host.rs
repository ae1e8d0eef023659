//! One simulated machine: a process made of a control plane and shards, and the disks that outlive it. It carries what the
//! parts say to each other, and hands everything else to the world.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use crate::config::{ClusterConfig, Config};
use crate::event::Event;
use crate::hash::Slice;
use crate::id::{Address, NodeId, Token};
use crate::message::{Envelope, Message};
use crate::node::{self, Node};
use crate::rng::Rng;
use crate::shard::{self, Reply, Request, Shard};
use crate::storage::{MemoryStore, Seq, Space};
use crate::time::{Time, WallTime};
use crate::view::ProcessState;

use super::action::Setting;

/// Shards of every simulated process: more than one, so that routing between them is exercised.
const SHARDS: u32 = 2;
/// The simulated world begins in the first seconds of 2026.
const WALL_BEGIN_MS: u64 = 1_767_225_600_000;

/// The name of the node with an index: `A` to `Z`, then `A1` to `Z1`, and so on.
///
/// # Panics
/// Never: every such name is a node id.
#[must_use]
pub fn node_name(index: u8) -> NodeId {
    let letter = char::from(b'A' + index % 26);
    let name = if index < 26 { format!("{letter}") } else { format!("{letter}{}", index / 26) };
    NodeId::new(&name).expect("a letter and a number are a node id")
}

/// The address of a node is its name: the simulated network resolves nothing.
pub(super) fn address_of(node: &NodeId) -> Address {
    Address::new(node.as_str()).expect("a node id is an address")
}

/// A part of a process that is stepped by itself: the control plane is 0, the shards follow.
pub(super) type Part = u32;

/// What a process asks of the world.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Send { to: NodeId, envelope: Envelope },
    Contact { address: Address, envelope: Envelope },
    Reply { token: Token, reply: Reply },
    Sync { part: Part, upto: Seq },
    Wake { part: Part, at: Time },
    Event(Event),
}

/// What is told to a part of a process.
#[derive(Clone, Debug)]
enum Told {
    Node(node::Input),
    Shard(u32, shard::Input),
}

#[derive(Clone, Debug)]
struct Process {
    node: Node<MemoryStore>,
    shards: Vec<Shard<MemoryStore>>,
}

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) node: NodeId,
    pub(super) state: ProcessState,
    /// Counts the processes that ran here: what belongs to an earlier one is dropped.
    pub(super) life: u64,
    process: Option<Process>,
    /// The disks while no process runs, the control plane's first.
    disks: Vec<MemoryStore>,
    config: Config,
    rng: Rng,
}

impl Host {
    pub(super) fn new(node: NodeId, setting: &Setting, rng: Rng) -> Self {
        let cluster = ClusterConfig {
            replication: setting.replication,
            placement: setting.placement,
            strategies: setting.strategies.clone(),
            ..ClusterConfig::default()
        };
        let config = Config {
            cluster,
            weight: NonZeroU16::MIN,
            repair: setting.repair,
            trace: setting.trace,
            #[cfg(feature = "planted")]
            planted: setting.planted,
            ..Config::default()
        };
        let disks = (0..=SHARDS).map(|_| MemoryStore::default()).collect();
        Self { node, state: ProcessState::Crashed, life: 0, process: None, disks, config, rng }
    }

    /// Starts a process on the disks as they are.
    pub(super) fn start(&mut self, now: Time, seeds: Vec<Address>) -> Vec<Wish> {
        assert!(self.process.is_none(), "one process a machine");
        self.life += 1;
        self.state = ProcessState::Running;
        let mut disks = core::mem::take(&mut self.disks).into_iter();
        let mut disk = || disks.next().expect("a disk for every part");
        let address = address_of(&self.node);
        let start = node::Start { node: self.node.clone(), address, config: self.config.clone(), seeds };
        let node = Node::start(now, start, disk(), self.rng.fork()).expect("a simulated disk can be read");
        let shards = (0..SHARDS)
            .map(|index| {
                let start = shard::Start {
                    node: self.node.clone(),
                    actor: node.actor(),
                    boot: node.boot(),
                    index,
                    slices: Slice::all().filter(|slice| u32::from(slice.number()) % SHARDS == index).collect(),
                    config: self.config.clone(),
                };
                Shard::start(now, start, disk()).expect("a simulated disk can be read")
            })
            .collect();
        self.process = Some(Process { node, shards });
        let mut told: VecDeque<Told> =
            (0..SHARDS).map(|index| Told::Shard(index, shard::Input::Wall(wall(now)))).collect();
        told.push_back(Told::Node(node::Input::Timer));
        self.run(now, told)
    }

    /// Ends the process without a word. What was not durable is lost with it.
    pub(super) fn crash(&mut self, state: ProcessState) {
        self.state = state;
        let Some(process) = self.process.take() else { return };
        let shards = process.shards.into_iter().map(Shard::into_storage);
        self.disks = core::iter::once(process.node.into_storage()).chain(shards).collect();
        self.disks.iter_mut().for_each(MemoryStore::crash);
    }

    /// Empties the disks of a machine that does not run.
    pub(super) fn lose_disks(&mut self) {
        self.disks.iter_mut().for_each(|disk| *disk = MemoryStore::default());
    }

    pub(super) fn deliver(&mut self, now: Time, from: NodeId, envelope: Envelope) -> Vec<Wish> {
        let told = match &envelope.message {
            Message::Node(_) => Told::Node(node::Input::Message { from, envelope }),
            Message::Shard(slice, _) => {
                Told::Shard(u32::from(slice.number()) % SHARDS, shard::Input::Message { from, envelope })
            }
        };
        self.run(now, VecDeque::from([told]))
    }

    pub(super) fn request(&mut self, now: Time, token: Token, request: Request) -> Vec<Wish> {
        let slice = crate::hash::Position::of(&request.key).slice();
        let index = u32::from(slice.number()) % SHARDS;
        self.run(now, VecDeque::from([Told::Shard(index, shard::Input::Request { token, request })]))
    }

    pub(super) fn wake(&mut self, now: Time, part: Part) -> Vec<Wish> {
        let told = match part.checked_sub(1) {
            None => Told::Node(node::Input::Timer),
            Some(index) => Told::Shard(index, shard::Input::Timer),
        };
        self.run(now, VecDeque::from([told]))
    }

    pub(super) fn say_goodbye(&mut self, now: Time) -> Vec<Wish> {
        self.run(now, VecDeque::from([Told::Node(node::Input::Stop)]))
    }

    /// The disk of a part has made everything up to a batch durable.
    pub(super) fn durable(&mut self, now: Time, part: Part, upto: Seq) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        let told = match part.checked_sub(1) {
            None => Told::Node(node::Input::Durable { upto: process.node.storage_mut().sync(upto) }),
            Some(index) => {
                let shard = &mut process.shards[usize::try_from(index).expect("few shards")];
                Told::Shard(index, shard::Input::Durable { upto: shard.storage_mut().sync(upto) })
            }
        };
        self.run(now, VecDeque::from([told]))
    }

    /// Steps the parts until they have nothing more to say to each other.
    fn run(&mut self, now: Time, mut told: VecDeque<Told>) -> Vec<Wish> {
        let mut out = Vec::new();
        let Some(process) = &mut self.process else { return out };
        while let Some(next) = told.pop_front() {
            match next {
                Told::Node(input) => {
                    for output in process.node.step(now, input) {
                        match output {
                            node::Output::Shards(event) => {
                                let to_all = (0..SHARDS).map(|i| Told::Shard(i, shard::Input::Control(event.clone())));
                                told.extend(to_all);
                            }
                            node::Output::Send { to, envelope } => out.push(Wish::Send { to, envelope }),
                            node::Output::Contact { address, envelope } => {
                                out.push(Wish::Contact { address, envelope });
                            }
                            node::Output::Sync { upto } => out.push(Wish::Sync { part: 0, upto }),
                            node::Output::Wake { at } => out.push(Wish::Wake { part: 0, at }),
                            node::Output::Event(event) => out.push(Wish::Event(event)),
                            node::Output::Failed(error) => panic!("a simulated disk does not fail: {error}"),
                            // The name is the address, and nobody introduces nodes here.
                            node::Output::Address(_) | node::Output::Introduced { .. } => {}
                        }
                    }
                }
                Told::Shard(index, input) => {
                    let part = index + 1;
                    let shard = &mut process.shards[usize::try_from(index).expect("few shards")];
                    for output in shard.step(now, input) {
                        match output {
                            shard::Output::Control(event) => told.push_back(Told::Node(node::Input::Shard(event))),
                            shard::Output::Send { to, envelope } => out.push(Wish::Send { to, envelope }),
                            shard::Output::Reply { token, reply } => {
                                out.push(Wish::Reply { token, reply: *reply });
                            }
                            shard::Output::Sync { upto } => out.push(Wish::Sync { part, upto }),
                            shard::Output::Wake { at } => out.push(Wish::Wake { part, at }),
                            shard::Output::Failed(error) => panic!("a simulated disk does not fail: {error}"),
                            shard::Output::Event(event) => out.push(Wish::Event(event)),
                        }
                    }
                }
            }
        }
        out
    }

    /// The control plane of the running process.
    pub(super) fn control(&self) -> Option<&Node<MemoryStore>> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// The shards of the running process.
    pub(super) fn shards(&self) -> &[Shard<MemoryStore>] {
        self.process.as_ref().map_or(&[], |process| &process.shards)
    }

    /// Every disk, whether a process runs on it or not.
    pub(super) fn stores(&self) -> Vec<&MemoryStore> {
        match &self.process {
            Some(process) => {
                core::iter::once(process.node.storage()).chain(process.shards.iter().map(Shard::storage)).collect()
            }
            None => self.disks.iter().collect(),
        }
    }

    /// The hints that the running process keeps, by the owner they are for.
    pub(super) fn hints(&self) -> BTreeMap<NodeId, u64> {
        let mut hints = BTreeMap::new();
        for (target, count) in self.shards().iter().flat_map(Shard::hints) {
            *hints.entry(target.clone()).or_default() += count;
        }
        hints
    }

    pub(super) fn keys(&self) -> u64 {
        let keys: usize = self.stores().into_iter().map(|store| store.len(Space::Objects)).sum();
        u64::try_from(keys).expect("a count fits 64 bits")
    }
}

/// The time of day in the simulated world.
const fn wall(now: Time) -> WallTime {
    WallTime(WALL_BEGIN_MS + now.as_ms())
}
