//! One simulated machine: a process made of a control plane and shards, the disks that outlive it, and the clock on its
//! wall. It carries what the parts say to each other, hands everything else to the world, and never decides what fails.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use crate::causality::Dot;
use crate::config::{ClusterConfig, Config, Trace};
use crate::event::Event;
use crate::hash::Slice;
use crate::id::{Address, NodeId, Token};
use crate::layout::Layout;
use crate::message::{Envelope, Message};
use crate::node::{self, Node};
use crate::rng::Rng;
use crate::shard::{self, Reply, Request, Shard};
use crate::storage::{MemoryStore, Seq, Space, StorageError};
use crate::time::{Time, WallTime};
use crate::view::ProcessState;

use super::action::Setting;
use super::disk::{Rotting, SimStore};

/// Shards of every simulated process: more than one, so that routing between them is exercised.
const SHARDS: u32 = 2;
/// The simulated world begins in the first seconds of 2026.
const WALL_BEGIN_MS: u64 = 1_767_225_600_000;
/// Between two tellings of the time of day to a shard, as natively.
const WALL_INTERVAL: Duration = Duration::from_secs(1);
/// The least a disk takes to make a batch durable.
const SYNC_MIN: Duration = Duration::from_micros(500);

/// The name of the node with an index: `A` to `Z`, then `A1` to `Z1`, and so on.
///
/// # Panics
/// Never: every such name is a node id.
#[must_use]
pub fn node_name(index: u8) -> NodeId {
    name_of(index.into())
}

/// As [`node_name`], for worlds that are larger than anybody can draw.
pub(super) fn name_of(index: u16) -> NodeId {
    let letter = char::from(b'A' + u8::try_from(index % 26).expect("below 26"));
    let name = if index < 26 { format!("{letter}") } else { format!("{letter}{}", index / 26) };
    NodeId::new(&name).expect("a letter and a number are a node id")
}

/// The address of a node is its name: the simulated network resolves nothing.
pub(super) fn address_of(node: &NodeId) -> Address {
    Address::new(node.as_str()).expect("a node id is an address")
}

/// A part of a process that is stepped by itself: the control plane is [`CONTROL`], the shards follow.
pub(super) type Part = u32;
/// The part of a process that knows who is alive and who owns what.
pub(super) const CONTROL: Part = 0;

/// What a process asks of the world.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Send {
        to: NodeId,
        envelope: Envelope,
    },
    Contact {
        address: Address,
        envelope: Envelope,
    },
    Reply {
        token: Token,
        reply: Reply,
    },
    Sync {
        part: Part,
        upto: Seq,
    },
    Wake {
        part: Part,
        at: Time,
    },
    Event(Event),
    /// The node has left the cluster for good.
    Left,
    /// The process cannot go on.
    Failed(StorageError),
}

/// What is told to a part of a process.
#[derive(Clone, Debug)]
enum Told {
    Node(node::Input),
    Shard(u32, shard::Input),
}

#[derive(Clone, Debug)]
struct Process {
    node: Node<SimStore>,
    shards: Vec<Shard<SimStore>>,
    /// What the parts are told next.
    told: VecDeque<Told>,
    /// When each shard was told the time of day last.
    wall_told: Vec<Time>,
}

/// The clock on the wall of a machine: so far from the true time, and going astray at a steady pace.
#[derive(Clone, Copy, Debug, Default)]
struct WallClock {
    offset_ms: i64,
    drift_ppm: i32,
    since: Time,
}

impl WallClock {
    /// How far it is from the true time, in milliseconds.
    fn offset_ms(&self, now: Time) -> i64 {
        let passed = i64::try_from(now.since(self.since).as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.saturating_add(passed.saturating_mul(i64::from(self.drift_ppm)) / 1_000_000)
    }

    fn read(&self, now: Time) -> WallTime {
        WallTime((WALL_BEGIN_MS + now.as_ms()).saturating_add_signed(self.offset_ms(now)))
    }
}

/// What the disks of a machine do beside what they should.
#[derive(Clone, Debug)]
struct Drive {
    rng: Rng,
    /// The most that it takes to make a batch durable.
    sync_max: Duration,
    unreadable: bool,
    full: bool,
    /// What was put aside, and when; shared by the copies of the world.
    copy: Option<(Time, Arc<Vec<MemoryStore>>)>,
}

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) node: NodeId,
    pub(super) state: ProcessState,
    /// Counts the processes that ran here: what belongs to an earlier one is dropped.
    pub(super) life: u64,
    /// Since when it is in its state.
    pub(super) since: Time,
    /// Whether the process stands still.
    pub(super) paused: bool,
    /// How much later the process takes what comes.
    pub(super) slow_by: Duration,
    /// How much later its control plane does, if that is more.
    pub(super) slow_control_by: Duration,
    /// Whether it has left its cluster for good, and was not started since.
    pub(super) left: bool,
    /// Whether an old copy took the place of the disk since the last process ended.
    pub(super) restored: bool,
    /// Whether its store was lost or is an old copy, and no layout has named it since: it may not vote.
    pub(super) forgot_votes: bool,
    /// The wake-up that counts, of every part of the process.
    wakes: Vec<Option<Time>>,
    process: Option<Process>,
    /// Empty, with the room that the last wishes needed.
    spare: Vec<Wish>,
    /// The disks while no process runs, the control plane's first.
    disks: Vec<SimStore>,
    drive: Drive,
    clock: WallClock,
    config: Config,
    sync_max: Duration,
    rng: Rng,
}

impl Host {
    pub(super) fn new(node: NodeId, setting: &Setting, recording: bool) -> Self {
        let cluster = ClusterConfig {
            replication: setting.replication,
            placement: setting.placement,
            strategies: setting.strategies.clone(),
            ..ClusterConfig::default()
        };
        let trace = match (setting.trace, recording) {
            (false, _) => Trace::Off,
            (true, false) => Trace::Outcomes,
            (true, true) => Trace::Steps,
        };
        let config = Config {
            cluster,
            weight: NonZeroU16::MIN,
            timing: setting.timing,
            repair: setting.repair,
            trace,
            evict_after: setting.evict_after,
            #[cfg(feature = "planted")]
            planted: setting.planted,
            ..Config::default()
        };
        let stream = |part: &str| Rng::labelled(setting.seed, &format!("{part} of {node}"));
        let drive =
            Drive { rng: stream("disk"), sync_max: setting.sync_max, unreadable: false, full: false, copy: None };
        Self {
            state: ProcessState::Crashed,
            life: 0,
            since: Time::ZERO,
            paused: false,
            slow_by: Duration::ZERO,
            slow_control_by: Duration::ZERO,
            left: false,
            restored: false,
            forgot_votes: false,
            wakes: Vec::new(),
            process: None,
            spare: Vec::new(),
            disks: (0..=SHARDS).map(|_| SimStore::default()).collect(),
            clock: WallClock::default(),
            config,
            sync_max: setting.sync_max,
            rng: stream("process"),
            drive,
            node,
        }
    }

    /// Whether a process runs and moves.
    pub(super) fn is_well(&self) -> bool {
        let is_quick = self.slow_by.is_zero() && self.slow_control_by.is_zero();
        self.state == ProcessState::Running && !self.paused && is_quick && self.disk_is_healthy()
    }

    /// Whether a process can start: one that cannot read its disk ends at once.
    pub(super) const fn can_start(&self) -> bool {
        !self.drive.unreadable
    }

    /// Starts a process on the disks as they are.
    pub(super) fn start(&mut self, now: Time, seeds: Vec<Address>) -> Vec<Wish> {
        assert!(self.process.is_none(), "one process a machine");
        self.life += 1;
        (self.restored, self.left) = (false, false);
        self.enter(now, ProcessState::Running);
        let mut disks = core::mem::take(&mut self.disks).into_iter();
        let mut disk = || disks.next().expect("a disk for every part");
        let address = address_of(&self.node);
        let wall = self.clock.read(now);
        let start = node::Start { node: self.node.clone(), address, config: self.config.clone(), seeds, wall };
        let node = Node::start(now, start, disk(), self.rng.fork()).expect("a readable disk with whole rows");
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
                Shard::start(now, start, disk()).expect("a readable disk with whole rows")
            })
            .collect();
        self.wakes = (0..=SHARDS).map(|_| None).collect();
        let told = (0..SHARDS).map(|index| Told::Shard(index, shard::Input::Wall(wall))).collect();
        self.process = Some(Process { node, shards, told, wall_told: (0..SHARDS).map(|_| now).collect() });
        self.run(now, Told::Node(node::Input::Timer))
    }

    /// Ends the process without a word. Of what was not durable a beginning may be left. Says whether a batch was torn.
    pub(super) fn crash(&mut self, now: Time, state: ProcessState) -> bool {
        self.enter(now, state);
        let Some(process) = self.process.take() else { return false };
        let shards = process.shards.into_iter().map(Shard::into_storage);
        self.disks = core::iter::once(process.node.into_storage()).chain(shards).collect();
        let mut torn = false;
        for disk in &mut self.disks {
            torn |= disk.crash(&mut self.drive.rng);
        }
        torn
    }

    /// It takes what comes without delay from now on.
    pub(super) const fn hurry(&mut self) {
        (self.slow_by, self.slow_control_by) = (Duration::ZERO, Duration::ZERO);
    }

    fn enter(&mut self, now: Time, state: ProcessState) {
        self.state = state;
        self.since = now;
        self.paused = false;
        self.hurry();
    }

    /// Empties the disks of a machine that does not run.
    pub(super) fn lose_disks(&mut self) {
        self.restored = false;
        self.replace_disks((0..=SHARDS).map(|_| MemoryStore::default()).collect());
    }

    /// Puts the copy that was put aside in the place of the disks of a machine that does not run.
    pub(super) fn roll_back(&mut self) {
        let (_, copy) = self.drive.copy.clone().expect("a copy was put aside");
        self.replace_disks(copy.to_vec());
        self.restored = true;
    }

    fn replace_disks(&mut self, memories: Vec<MemoryStore>) {
        self.forgot_votes = true;
        self.disks = memories.into_iter().map(SimStore::of).collect();
        self.set_drive(self.drive.unreadable, self.drive.full);
    }

    /// A layout that names the store of a node that is sure of it lets it vote again.
    pub(super) fn note_votes(&mut self, layout: &Layout) {
        if let Some(node) = self.control()
            && node.not_ready().is_none()
            && layout.role(&self.node).is_some_and(|role| role.store == node.actor())
        {
            self.forgot_votes = false;
        }
    }

    /// When the copy that is put aside was made.
    pub(super) fn copied_at(&self) -> Option<Time> {
        self.drive.copy.as_ref().map(|(at, _)| *at)
    }

    /// Puts a copy of what is durable aside.
    pub(super) fn copy_disks(&mut self, now: Time) {
        let copies = self.stores().into_iter().map(SimStore::durable_copy).collect();
        self.drive.copy = Some((now, Arc::new(copies)));
    }

    /// Chooses what rots next: which of the disks, and what on it.
    pub(super) fn choose_rot(&mut self) -> Option<(usize, Rotting)> {
        let mut rng = self.drive.rng.fork();
        let shard = 1 + usize::try_from(rng.below(u64::from(SHARDS))).expect("few shards");
        Some((shard, self.stores()[shard].choose_rot(&mut rng)?))
    }

    pub(super) fn rot(&mut self, disk: usize, rotting: Rotting) {
        self.stores_mut()[disk].rot(rotting);
    }

    pub(super) fn set_drive(&mut self, unreadable: bool, full: bool) {
        (self.drive.unreadable, self.drive.full) = (unreadable, full);
        for store in self.stores_mut() {
            (store.unreadable, store.full) = (unreadable, full);
        }
    }

    pub(super) const fn set_sync_max(&mut self, sync_max: Duration) {
        self.drive.sync_max = sync_max;
    }

    /// The disks work as they should.
    pub(super) fn mend_disks(&mut self) {
        self.set_drive(false, false);
        self.drive.sync_max = self.sync_max;
    }

    pub(super) fn disk_is_healthy(&self) -> bool {
        !self.drive.unreadable && !self.drive.full && self.drive.sync_max == self.sync_max
    }

    /// How long the disk takes this time.
    pub(super) fn sync_takes(&mut self) -> Duration {
        let ns = |span: Duration| u64::try_from(span.as_nanos()).expect("a short span");
        let takes = self.drive.rng.between(ns(SYNC_MIN), ns(self.drive.sync_max.max(SYNC_MIN)));
        Duration::from_nanos(takes)
    }

    /// Sets the clock forward or back, and lets it go at another pace. Gives back how far it is from the true time, in
    /// milliseconds.
    pub(super) fn set_clock(&mut self, now: Time, jump_ms: i64, drift_ppm: i32) -> i64 {
        let offset_ms = self.clock.offset_ms(now).saturating_add(jump_ms);
        self.clock = WallClock { offset_ms, drift_ppm, since: now };
        offset_ms
    }

    /// Notes when a part wants to be woken; says whether that is news.
    pub(super) fn wants_waking(&mut self, part: Part, at: Time) -> bool {
        let wake = &mut self.wakes[usize::try_from(part).expect("few parts")];
        wake.replace(at) != Some(at)
    }

    /// Whether this is the wake-up that counts.
    pub(super) fn is_waking(&mut self, part: Part, at: Time) -> bool {
        let wake = &mut self.wakes[usize::try_from(part).expect("few parts")];
        let current = *wake == Some(at);
        if current {
            *wake = None;
        }
        current
    }

    pub(super) fn deliver(&mut self, now: Time, from: NodeId, envelope: Envelope) -> Vec<Wish> {
        let told = match &envelope.message {
            Message::Node(_) => Told::Node(node::Input::Message { from, envelope }),
            Message::Shard(slice, _) => {
                Told::Shard(u32::from(slice.number()) % SHARDS, shard::Input::Message { from, envelope })
            }
        };
        self.run(now, told)
    }

    pub(super) fn request(&mut self, now: Time, token: Token, request: Request) -> Vec<Wish> {
        let slice = crate::hash::Position::of(&request.key).slice();
        let index = u32::from(slice.number()) % SHARDS;
        self.run(now, Told::Shard(index, shard::Input::Request { token, request }))
    }

    pub(super) fn wake(&mut self, now: Time, part: Part) -> Vec<Wish> {
        let told = match part.checked_sub(1) {
            None => Told::Node(node::Input::Timer),
            Some(index) => Told::Shard(index, shard::Input::Timer),
        };
        self.run(now, told)
    }

    /// An operator asks for another layout.
    pub(super) fn wish(&mut self, now: Time, wish: node::Wish) -> Vec<Wish> {
        self.run(now, Told::Node(node::Input::Wish { token: Token(0), wish }))
    }

    /// An operator tells the node to leave.
    pub(super) fn leave(&mut self, now: Time) -> Vec<Wish> {
        self.run(now, Told::Node(node::Input::Leave { token: Token(0) }))
    }

    pub(super) fn say_goodbye(&mut self, now: Time) -> Vec<Wish> {
        self.run(now, Told::Node(node::Input::Stop))
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
        self.run(now, told)
    }

    /// Steps the parts until they have nothing more to say to each other.
    fn run(&mut self, now: Time, last: Told) -> Vec<Wish> {
        let Some(Process { node, shards, told, wall_told }) = &mut self.process else { return Vec::new() };
        let mut out = core::mem::take(&mut self.spare);
        let clock = self.clock;
        told.push_back(last);
        while let Some(next) = told.pop_front() {
            match next {
                Told::Node(input) => {
                    for output in node.step(now, input) {
                        match output {
                            node::Output::Shards(event) => {
                                let to_all = (0..SHARDS).map(|i| Told::Shard(i, shard::Input::Control(event.clone())));
                                told.extend(to_all);
                            }
                            node::Output::Send { to, envelope } => out.push(Wish::Send { to, envelope }),
                            node::Output::Contact { address, envelope } => {
                                out.push(Wish::Contact { address, envelope });
                            }
                            node::Output::Sync { upto } => out.push(Wish::Sync { part: CONTROL, upto }),
                            node::Output::Wake { at } => out.push(Wish::Wake { part: CONTROL, at }),
                            node::Output::Event(event) => out.push(Wish::Event(event)),
                            node::Output::Failed(error) => out.push(Wish::Failed(error)),
                            node::Output::Left => out.push(Wish::Left),
                            // The name is the address, nobody introduces nodes here, operators look at the layout, and
                            // no application hears events or asks.
                            node::Output::Address(_)
                            | node::Output::Introduced { .. }
                            | node::Output::LayoutChanged { .. }
                            | node::Output::Fired { .. }
                            | node::Output::Asked { .. }
                            | node::Output::Answered { .. }
                            | node::Output::Heard(_) => {}
                        }
                    }
                }
                Told::Shard(index, input) => {
                    let part = index + 1;
                    let place = usize::try_from(index).expect("few shards");
                    let shard = &mut shards[place];
                    if now >= wall_told[place] + WALL_INTERVAL {
                        wall_told[place] = now;
                        told.push_front(Told::Shard(index, input));
                        told.push_front(Told::Shard(index, shard::Input::Wall(clock.read(now))));
                        continue;
                    }
                    for output in shard.step(now, input) {
                        match output {
                            shard::Output::Control(event) => told.push_back(Told::Node(node::Input::Shard(event))),
                            shard::Output::Send { to, envelope } => out.push(Wish::Send { to, envelope }),
                            shard::Output::Reply { token, reply } => {
                                out.push(Wish::Reply { token, reply: *reply });
                            }
                            shard::Output::Sync { upto } => out.push(Wish::Sync { part, upto }),
                            shard::Output::Wake { at } => out.push(Wish::Wake { part, at }),
                            shard::Output::Failed(error) => out.push(Wish::Failed(error)),
                            shard::Output::Event(event) => out.push(Wish::Event(event)),
                        }
                    }
                }
            }
        }
        out
    }

    /// Takes back the list of wishes once they are fulfilled, for the room in it.
    pub(super) fn take_back(&mut self, wishes: Vec<Wish>) {
        assert!(wishes.is_empty(), "every wish is fulfilled");
        self.spare = wishes;
    }

    /// The control plane of the running process.
    pub(super) fn control(&self) -> Option<&Node<SimStore>> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// The shards of the running process.
    pub(super) fn shards(&self) -> &[Shard<SimStore>] {
        self.process.as_ref().map_or(&[], |process| &process.shards)
    }

    /// Every disk, whether a process runs on it or not.
    pub(super) fn stores(&self) -> Vec<&SimStore> {
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

    fn stores_mut(&mut self) -> Vec<&mut SimStore> {
        match &mut self.process {
            Some(Process { node, shards, .. }) => {
                core::iter::once(node.storage_mut()).chain(shards.iter_mut().map(Shard::storage_mut)).collect()
            }
            None => self.disks.iter_mut().collect(),
        }
    }

    /// The rows of every disk, to be damaged by hand.
    pub(super) fn memories_mut(&mut self) -> Vec<&mut MemoryStore> {
        self.stores_mut().into_iter().map(SimStore::memory_mut).collect()
    }

    /// Whether the process that runs takes it that every owner has known a write, so that it need not remember it.
    pub(super) fn has_forgotten(&self, slice: Slice, dot: Dot) -> bool {
        let shard = usize::try_from(u32::from(slice.number()) % SHARDS).expect("few shards");
        self.shards().get(shard).is_some_and(|shard| shard.floor(slice).covers(dot))
    }

    /// The store that holds a slice, whether a process runs on it or not.
    pub(super) fn store_of(&self, slice: Slice) -> &SimStore {
        self.stores()[usize::try_from(1 + u32::from(slice.number()) % SHARDS).expect("few shards")]
    }

    /// How many rows the disks have in a space.
    pub(super) fn rows(&self, space: Space) -> u64 {
        let rows: usize = self.stores().into_iter().map(|store| store.memory().len(space)).sum();
        u64::try_from(rows).expect("a count fits 64 bits")
    }
}
