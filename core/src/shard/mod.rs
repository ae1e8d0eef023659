//! The data plane: the objects of some slices of the ring at one node, and the requests that this node coordinates for
//! them. It routes by the picture that the control plane shows it, and never decides who is alive or who owns what.
//!
//! Whatever shows or promises a write (an answer to a coordinator, this node's own vote, a read of the key) waits behind
//! `barrier` until the shell has reported the write durable.

mod agreement;
mod barrier;
mod collection;
mod compare;
mod coordinator;
mod deliver;
mod exchange;
mod forwarding;
mod forwards;
mod heal;
mod hints;
mod latency;
mod leftovers;
mod mint;
mod operation;
mod outcome;
mod replica;
mod round;
mod rounds;
mod rows;
mod survey;
#[cfg(test)]
mod tests;
mod transfer;
mod trees;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::barrier::{Barrier, Then};
use self::collection::Collection;
use self::deliver::Delivery;
use self::exchange::Exchanges;
use self::forwards::Forwards;
use self::heal::Heal;
use self::hints::Hints;
use self::latency::Latency;
use self::leftovers::Leftovers;
use self::operation::Operation as Coordination;
pub use self::rows::{is_deletion, is_promise};
#[cfg(feature = "sim")]
pub(crate) use self::rows::{load as held, object_key, placed_at};
use self::transfer::{Pull, Wanted, Whole};
use self::trees::SliceTree;
use crate::causality::{HybridClock, Issuer, SiblingSet};
use crate::config::Config;
use crate::effects::{Effects, Outputs};
use crate::event::{Event, EventKind};
use crate::hash::{Slice, StableHasher};
use crate::id::{ActorId, Key, NodeId, RequestId, Token};
use crate::message::{Envelope, ExchangeMessage, Message, ShardMessage};
use crate::node::{FromShard, NodeEvent, Picture, ShardEvent, StartError, ToShard};
use crate::planted::PlantedBug;
pub use crate::request::{Operation, Quorum, Reply, Request, Success};
use crate::storage::{Batch, Seq, Storage, StorageError};
use crate::time::{Time, WallTime};

/// What a shard is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer's message about a slice of this shard.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        envelope: Envelope,
    },
    /// A client's request for a key of this shard. Answered once, by [`Output::Reply`].
    Request {
        /// Returned with the reply.
        token: Token,
        /// What it asks for.
        request: Request,
    },
    /// The time asked for with [`Output::Wake`] has come; too early or too often does no harm.
    Timer,
    /// Every batch up to this one is durable.
    Durable {
        /// The last durable batch.
        upto: Seq,
    },
    /// The time of day, as this machine's clock has it now. To be told before the first request, and again now and then.
    Wall(WallTime),
    /// The control plane speaks.
    Control(ShardEvent),
}

/// What a shard wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send to a member; it may be lost.
    Send {
        /// Whom to.
        to: NodeId,
        /// What.
        envelope: Envelope,
    },
    /// Answer a client.
    Reply {
        /// As given.
        token: Token,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Make every batch up to this one durable, then say so with [`Input::Durable`].
    Sync {
        /// The last batch.
        upto: Seq,
    },
    /// Come back with [`Input::Timer`] at this time; replaces the time asked for before.
    Wake {
        /// When.
        at: Time,
    },
    /// For the control plane of this process.
    Control(NodeEvent),
    /// The store cannot remember what this node must not forget: stop the process.
    Failed(StorageError),
    /// For the trace.
    Event(Event),
}

impl From<Event> for Output {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// Under which name its store issues dots.
    pub actor: ActorId,
    /// How often the store has been opened: no request of an earlier life is taken for one of this.
    pub boot: u64,
    /// Which of the process's shards this is, from 0.
    pub index: u32,
    /// The slices it holds.
    pub slices: Vec<Slice>,
    /// What the operator chose.
    pub config: Config,
}

/// A shard. Give it inputs with [`Shard::step`], drain the outputs, carry them out.
#[derive(Clone, Debug)]
pub struct Shard<S> {
    start: Start,
    storage: S,
    effects: Effects<Output>,
    picture: Option<Arc<Picture>>,
    clock: HybridClock,
    /// When the shell last told the time of day, and what it was.
    wall: (Time, WallTime),
    issuers: BTreeMap<Slice, Issuer>,
    /// The lease that is being made durable, by slice.
    leasing: BTreeMap<Slice, u64>,
    barrier: Barrier,
    next_request: u64,
    operations: BTreeMap<RequestId, Coordination>,
    /// Bytes of values that they hold.
    value_bytes: u64,
    timers: BTreeSet<(Time, RequestId)>,
    /// The request that a round belongs to.
    rounds: BTreeMap<RequestId, RequestId>,
    /// What other nodes handed on to this one.
    forwards: Forwards,
    /// Owners that have not answered what was handed on to them, and until when that is held against them.
    silent: BTreeMap<NodeId, Time>,
    replica_latency: Latency,
    forward_latency: Latency,
    hints: Hints,
    delivery: Delivery,
    /// Writes that wait until the one before them at the same key has been stored. The first one has the turn.
    turns: BTreeMap<Key, VecDeque<RequestId>>,
    /// Slices of which this store holds all that the node owns, durably, and under which layouts.
    synced: BTreeMap<Slice, Whole>,
    pulls: BTreeMap<Slice, Pull>,
    leftovers: Leftovers,
    collection: Collection,
    holds_data: bool,
    trees: BTreeMap<Slice, SliceTree>,
    /// Slices whose trees are being built anew.
    broken: BTreeSet<Slice>,
    exchanges: Exchanges,
    /// Damaged objects that are being fetched from their other owners.
    heals: BTreeMap<Key, Heal>,
}

impl<S: Storage> Shard<S> {
    /// Reads what the store remembers of the slices.
    ///
    /// # Errors
    /// [`StartError`] when the store cannot be read. Nothing was changed then.
    pub fn start(now: Time, start: Start, storage: S) -> Result<Self, StartError> {
        let rows = rows::Rows::read(&storage, &start, now)?;
        let hints = Hints::read(&storage, &start.slices)?;
        let interval = start.config.repair.exchange_interval;
        let exchanges = Exchanges::new(now, &start.node, &start.slices, interval);
        let part = 1 + u64::from(start.index);
        let mut effects = Effects::new(start.node.clone(), start.boot, part, start.config.trace);
        effects.begin(now);
        Ok(Self {
            effects,
            picture: None,
            clock: HybridClock::default(),
            wall: (now, WallTime::default()),
            issuers: rows.issuers,
            leasing: BTreeMap::new(),
            barrier: Barrier::default(),
            next_request: first_request(&start),
            operations: BTreeMap::new(),
            rounds: BTreeMap::new(),
            forwards: Forwards::default(),
            silent: BTreeMap::new(),
            replica_latency: Latency::default(),
            forward_latency: Latency::default(),
            delivery: Delivery::new(now, &hints),
            hints,
            value_bytes: 0,
            timers: BTreeSet::new(),
            turns: BTreeMap::new(),
            synced: rows.synced,
            pulls: BTreeMap::new(),
            leftovers: Leftovers::default(),
            collection: Collection::new(rows.marks, now),
            holds_data: rows.holds_data,
            broken: rows.trees.iter().filter(|(_, tree)| !tree.is_whole()).map(|(slice, _)| *slice).collect(),
            trees: rows.trees,
            exchanges,
            heals: BTreeMap::new(),
            start,
            storage,
        })
    }

    /// Takes one input. Carry out the outputs in their order before the next step.
    ///
    /// # Panics
    /// When the outputs of the step before were not drained, or time goes back.
    pub fn step(&mut self, now: Time, input: Input) -> Outputs<'_, Output> {
        self.effects.begin(now);
        match input {
            Input::Message { from, envelope } => self.on_message(&from, envelope),
            Input::Request { token, request } => self.on_request(token, request),
            Input::Timer => {}
            Input::Durable { upto } => self.on_durable(upto),
            Input::Wall(wall) => self.wall = (now, wall),
            Input::Control(event) => self.on_control(event.0),
        }
        self.on_time();
        self.finish();
        self.effects.outputs()
    }

    fn on_message(&mut self, from: &NodeId, envelope: Envelope) {
        let kind = envelope.message.kind();
        self.effects.cause = envelope.cause;
        self.effects.detail_as_cause(|| EventKind::Delivered { from: from.clone(), message: kind });
        let Some(picture) = self.picture.clone() else {
            return self.reject(from, "this node is not a member of a cluster yet");
        };
        if envelope.cluster != Some(picture.cluster) {
            return self.reject(from, "it belongs to another cluster");
        }
        let Message::Shard(slice, message) = envelope.message else {
            return self.reject(from, "a message for the control plane came to a shard");
        };
        if !self.issuers.contains_key(&slice) {
            return self.reject(from, "a message for a slice of another shard");
        }
        match message {
            ShardMessage::Read { request, layout, under, key } => self.serve_read(from, request, layout, under, &key),
            ShardMessage::Write { request, layout, key, set, fresh } => {
                self.serve_write(from, request, layout, &key, &set, fresh);
            }
            ShardMessage::Answer { request, result } => {
                if !self.take_heal_answer(from, request, &result) {
                    self.on_answer(from, request, result);
                }
            }
            ShardMessage::Repair { layout, key, set } => self.serve_repair(from, layout, &key, &set),
            ShardMessage::Hint { request, layout, target, key, set, fresh } => {
                self.serve_hint(from, request, layout, &target, &key, &set, fresh);
            }
            ShardMessage::HandOff { request, layout, key, set } => {
                self.serve_hand_off(from, request, layout, &key, &set);
            }
            ShardMessage::Forward { request, hops, body } => self.on_forward(from, request, hops, body),
            ShardMessage::ForwardAnswer { request, reply } => self.on_forward_answer(from, request, *reply),
            ShardMessage::Pull { request, layout, under, since, after, bare } => {
                let wanted = Wanted { under, since, after, bare };
                self.serve_pull(from, slice, request, layout, wanted);
            }
            ShardMessage::Pulled { request, result } => self.on_pulled(from, slice, request, result),
            ShardMessage::Leftovers { request, layout, entries } => {
                self.serve_leftovers(from, slice, request, layout, &entries);
            }
            ShardMessage::LeftoversAnswer { request, result } => self.on_leftovers_answer(from, slice, request, result),
            ShardMessage::Collection(message) => self.on_collection(from, slice, message),
            ShardMessage::Exchange(ExchangeMessage::Ask { request, layout, question }) => {
                self.serve_exchange(from, slice, request, layout, &question);
            }
            ShardMessage::Exchange(ExchangeMessage::Answer { request, result }) => {
                self.on_finding(from, request, result);
            }
        }
    }

    fn on_control(&mut self, event: ToShard) {
        match event {
            ToShard::Picture(picture) => self.on_picture(picture),
            ToShard::Founded(layout) => self.begin_whole(layout),
            ToShard::Entered => self.enter_cluster(),
            ToShard::Reborn { actor, boot } => self.begin_life(actor, boot),
        }
    }

    fn on_picture(&mut self, picture: Arc<Picture>) {
        let before = self.picture.replace(picture.clone());
        if before.is_none() {
            // The control plane has just begun: say what this store brought along.
            if self.holds_data {
                self.tell(FromShard::HoldsData);
            }
            for (slice, whole) in self.synced.clone() {
                let (cluster, actor, layout) = (picture.cluster, self.start.actor, whole.at);
                self.tell(FromShard::Synced { cluster, actor, slice, layout, objects: 0 });
            }
        }
        let has_changed =
            |slice: Slice| before.as_ref().is_none_or(|before| before.rings.differs(&picture.rings, slice));
        let changed: BTreeSet<Slice> = Slice::all().filter(|slice| has_changed(*slice)).collect();
        if !changed.is_empty() {
            if before.as_ref().is_none_or(|before| before.rings.id != picture.rings.id) {
                self.exchanges.forget_layout();
                self.restart_pulls();
                self.look_for_leftovers();
            }
            self.restart_heals();
            self.restart_rounds(&changed);
            self.begin_pulls();
            self.tell_moved();
        } else if let Some(before) = before.filter(|before| before.down != picture.down) {
            self.review_rounds(&before.down.symmetric_difference(&picture.down).cloned().collect());
            self.begin_pulls();
        }
    }

    fn on_durable(&mut self, upto: Seq) {
        for (cause, then) in self.barrier.durable(upto) {
            self.effects.cause = cause;
            match then {
                Then::Send { to, slice, message: ShardMessage::Collection(message) } => self.post(&to, slice, message),
                Then::Send { to, slice, message } => self.send(to, slice, message),
                Then::Answer { request, result } => {
                    let me = self.start.node.clone();
                    self.on_answer(&me, request, result);
                }
                Then::Leased { slice, upto } => self.on_leased(slice, upto),
                Then::Synced { slice, whole, objects } => self.on_synced(slice, whole, objects),
            }
        }
        self.effects.cause = None;
    }

    fn on_time(&mut self) {
        let now = self.effects.now;
        while let Some(&(due, request)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            self.on_due(request);
        }
        self.pulls_on_time();
        if self.picture.is_some() {
            self.collect_on_time();
        }
        self.rebuilds_on_time();
        self.exchanges_on_time();
        self.heals_on_time();
        self.delivery_on_time();
        self.leftovers_on_time();
    }

    /// Asks for the next wake-up.
    fn finish(&mut self) {
        let operation = self.timers.first().map(|(at, _)| *at);
        let pull = self.pulls.values().filter_map(Pull::due).min();
        let heal = self.heals.values().map(Heal::due).min();
        let (rebuild, exchange, delivery) = (self.rebuild_due(), self.exchanges.next_due(), self.delivery.due());
        let collection = self.picture.as_ref().and_then(|_| self.collection.next_wake());
        let leftovers = self.leftovers.due();
        let dues = [operation, pull, heal, rebuild, exchange, delivery, collection, leftovers];
        if let Some(at) = dues.into_iter().flatten().min() {
            self.effects.push(Output::Wake { at: at.max(self.effects.now) });
        }
    }

    /// The time of day now.
    fn wall_now(&self) -> WallTime {
        let since = u64::try_from(self.effects.now.since(self.wall.0).as_millis()).unwrap_or(u64::MAX);
        WallTime(self.wall.1.0.saturating_add(since))
    }

    fn send(&mut self, to: NodeId, slice: Slice, message: ShardMessage) {
        let cluster = self.picture.as_ref().map(|picture| picture.cluster);
        let message = Message::Shard(slice, message);
        let sent = || EventKind::Sent { to: to.clone(), message: message.kind(), key: message.key().cloned() };
        let cause = self.effects.detail(sent);
        self.effects.push(Output::Send { to, envelope: Envelope { cluster, cause, message } });
    }

    /// Whether this bug was put in on purpose.
    fn has_bug(&self, bug: PlantedBug) -> bool {
        self.start.config.has_bug(bug)
    }

    fn tell(&mut self, event: FromShard) {
        self.effects.push(Output::Control(NodeEvent(event)));
    }

    fn reject(&mut self, from: &NodeId, reason: &str) {
        self.effects.event(|| EventKind::Rejected { from: from.clone(), reason: reason.to_string() });
    }

    /// Makes a batch visible and asks for it to be made durable.
    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        match self.storage.apply(batch) {
            Ok(seq) => {
                self.effects.push(Output::Sync { upto: seq });
                Ok(seq)
            }
            Err(error) => {
                self.effects.event(|| EventKind::StorageFailed { reason: error.to_string() });
                Err(error)
            }
        }
    }

    fn new_request(&mut self) -> RequestId {
        self.next_request = self.next_request.wrapping_add(1);
        RequestId(self.next_request)
    }

    /// What this store holds of a key, durable or not: for pictures only, never to be answered to anybody who acts on it.
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read.
    pub fn peek(&self, key: &Key) -> Result<SiblingSet, StorageError> {
        rows::load(&self.storage, key)
    }

    /// The picture it routes by; nothing before the node is a member of a cluster.
    #[must_use]
    pub const fn picture(&self) -> Option<&Arc<Picture>> {
        self.picture.as_ref()
    }

    /// Requests under way here, those that only wait for late answers included.
    #[must_use]
    pub fn requests_under_way(&self) -> usize {
        self.operations.len()
    }

    /// How many hints this store keeps for whom, those that are on their way included.
    #[must_use]
    pub const fn hints(&self) -> &BTreeMap<NodeId, u64> {
        self.hints.by_target()
    }

    /// Its store.
    #[must_use]
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Its store, for a shell whose durability is a call on it.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The store, and the end of this machine: what a crash leaves.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.storage
    }
}

/// Where a shard begins to count its questions: so far from where the other shards of the node and all its other lives did
/// that no two questions of one node have one name.
fn first_request(start: &Start) -> u64 {
    let mut hasher = StableHasher::new();
    hasher.bytes(&start.actor.0.to_be_bytes());
    hasher.u64(start.boot);
    hasher.u32(start.index);
    hasher.finish()
}

/// Between two sendings of a question that was not answered.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// As that, after an answer that another try will mend: a layout that one side has yet to learn.
const RETRY_SOON: Duration = Duration::from_millis(20);
/// How long after the reply late answers are still waited for, to repair whoever is behind.
const LATE_ANSWERS: Duration = Duration::from_millis(500);
