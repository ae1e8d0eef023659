//! Two shards and nothing else: the owners of a ring that has more of them, whose others are dead. What the two say to each
//! other is counted, byte by byte, as it would go over the wire. For measuring repair, and for breaking it by hand; a
//! cluster with clients, disks and a network is a [`super::World`].

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use super::host::node_name;
use crate::causality::{ContextSecret, Issuer, SiblingSet, Stamp, Version, VersionVector};
use crate::config::{ClusterConfig, Config, Placement, Repair, Trace};
use crate::event::{Event, MessageKind};
use crate::hash::{Position, Slice};
use crate::id::{ActorId, ClusterId, Key, NodeId, Zone};
use crate::layout::{Change, Layout, Rings, Role};
use crate::merkle::Arcs;
use crate::message::{Envelope, Message, ShardMessage};
use crate::node::{Picture, ShardEvent, ToShard};
use crate::shard::{Input, Output, Shard, Start};
use crate::storage::MemoryStore;
use crate::time::Time;
use crate::value::Value;

/// How long a message takes.
const LATENCY: Duration = Duration::from_millis(1);

/// Messages of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their size, envelopes included.
    pub bytes: u64,
}

/// Two shards that hold every slice, of a ring of several owners. Side 0 is `A`, side 1 is `B`.
#[derive(Clone, Debug)]
pub struct Pair {
    now: Time,
    config: Config,
    picture: Arc<Picture>,
    shards: [Option<Shard<MemoryStore>>; 2],
    boots: u64,
    wakes: [Option<Time>; 2],
    flights: VecDeque<(Time, usize, Vec<u8>)>,
    traffic: BTreeMap<MessageKind, Traffic>,
    events: Vec<Event>,
    /// Every side writes under a name of its own.
    issuers: [Issuer; 2],
}

impl Pair {
    /// Two of so many owners, who have founded their cluster and hold nothing.
    #[must_use]
    pub fn new(owners: u8, placement: Placement, repair: Repair, trace: bool) -> Self {
        let cluster = ClusterConfig { placement, ..ClusterConfig::default() };
        let zone = || Zone::new("default").expect("a good name");
        let role = |index: u8| Role::of(node_name(index), zone(), NonZeroU16::MIN, ActorId(1 + u128::from(index)));
        let admit = |index| Change::Admit { node: node_name(index), role: role(index) };
        let changes: Vec<Change> = (1..owners.max(2)).map(admit).collect();
        let founded = Layout::founded_by(node_name(0), role(0), &cluster);
        let layout = founded.with(&changes, &cluster).expect("they own nothing yet");
        let picture = Picture {
            me: node_name(0),
            cluster: ClusterId(1),
            secret: ContextSecret([7; 32]),
            config: cluster.clone(),
            rings: Rings::settled(layout, &cluster),
            down: (2..owners.max(2)).map(node_name).collect::<BTreeSet<_>>(),
            issuers: BTreeMap::new(),
        };
        let issuers = [3, 4].map(|part| {
            let mut issuer = Issuer::new(ActorId(u128::MAX / part));
            issuer.extended(1 << 40);
            issuer
        });
        let mut pair = Self {
            now: Time::ZERO,
            config: Config {
                cluster,
                repair,
                trace: if trace { Trace::Steps } else { Trace::Off },
                ..Config::default()
            },
            picture: Arc::new(picture),
            shards: [None, None],
            boots: 0,
            wakes: [None; 2],
            flights: VecDeque::new(),
            traffic: BTreeMap::new(),
            events: Vec::new(),
            issuers,
        };
        for side in 0..2 {
            pair.start(side, MemoryStore::default());
            pair.step(side, Input::Control(ShardEvent(ToShard::Founded(pair.picture.rings.id))));
            pair.show_picture(side);
        }
        pair
    }

    fn show_picture(&mut self, side: usize) {
        let index = u8::try_from(side).expect("two sides");
        let picture = &self.picture;
        let picture = Picture {
            me: node_name(index),
            cluster: picture.cluster,
            secret: ContextSecret(picture.secret.0),
            config: picture.config.clone(),
            rings: picture.rings.clone(),
            down: picture.down.clone(),
            issuers: BTreeMap::new(),
        };
        self.step(side, Input::Control(ShardEvent(ToShard::Picture(Arc::new(picture)))));
    }

    fn start(&mut self, side: usize, storage: MemoryStore) {
        self.boots += 1;
        let index = u8::try_from(side).expect("two sides");
        let start = Start {
            node: node_name(index),
            actor: ActorId(1 + u128::from(index)),
            boot: self.boots,
            index: 0,
            slices: Slice::all().collect(),
            config: self.config.clone(),
        };
        let shard = Shard::start(self.now, start, storage).expect("memory can be read");
        self.shards[side] = Some(shard);
    }

    /// Ends one side without a word and starts it again, after something was done to what its disk holds.
    pub fn restart(&mut self, side: usize, damage: impl FnOnce(&mut MemoryStore)) {
        let mut storage = self.shards[side].take().expect("it runs").into_storage();
        storage.crash();
        damage(&mut storage);
        self.start(side, storage);
        self.show_picture(side);
    }

    /// Changes what a disk holds behind the back of its shard.
    pub fn damage(&mut self, side: usize, damage: impl FnOnce(&mut MemoryStore)) {
        damage(self.shards[side].as_mut().expect("it runs").storage_mut());
    }

    /// A write that replaces what the first of these sides holds, and that reaches these sides only.
    pub fn write(&mut self, sides: &[usize], key: &Key, value: &str) {
        let Some(&writer) = sides.first() else { return };
        let mut set = self.peek(writer, key);
        let context: VersionVector = set.context().clone();
        let issuer = &mut self.issuers[writer];
        let fresh = issuer.next(context.get(issuer.actor())).expect("leased");
        let stamp = Stamp { wall_ms: self.now.as_ms(), logical: 0 };
        let version = Version { stamp, value: Some(Value::json(String::from(value))), request: None };
        set.update(&context, fresh, version).expect("the dot is fresh");
        for side in sides {
            self.merge(*side, key, &set);
        }
    }

    /// A side takes in a set, as from a coordinator that repairs.
    pub fn merge(&mut self, side: usize, key: &Key, set: &SiblingSet) {
        let repair = ShardMessage::Repair { layout: self.picture.rings.id, key: key.clone(), set: set.clone() };
        let message = Message::Shard(Position::of(key).slice(), repair);
        let envelope = Envelope { cluster: Some(self.picture.cluster), cause: None, message };
        self.step(side, Input::Message { from: node_name(1 - u8::try_from(side).expect("two sides")), envelope });
    }

    /// Lets everything happen up to a time.
    pub fn run_until(&mut self, until: Time) {
        loop {
            let flight = self.flights.front().map(|(at, ..)| *at);
            let wake = self.wakes.iter().flatten().min().copied();
            let Some(next) = flight.into_iter().chain(wake).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if let Some((_, side, bytes)) = self.flights.pop_front_if(|(at, ..)| *at <= next) {
                let envelope = Envelope::decode(&bytes).expect("what a shard sends, a shard can read");
                let from = node_name(1 - u8::try_from(side).expect("two sides"));
                self.step(side, Input::Message { from, envelope });
                continue;
            }
            for side in 0..2 {
                if self.wakes[side].is_some_and(|at| at <= next) {
                    self.wakes[side] = None;
                    self.step(side, Input::Timer);
                }
            }
        }
        self.now = self.now.max(until);
    }

    /// Steps a side until it has nothing left to make durable; its disk takes no time.
    fn step(&mut self, side: usize, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Some(shard) = &mut self.shards[side] else { return };
            let mut sync = None;
            for output in shard.step(self.now, input) {
                match output {
                    Output::Send { to, envelope } => {
                        let bytes = envelope.encode();
                        let traffic = self.traffic.entry(envelope.message.kind()).or_default();
                        traffic.messages += 1;
                        traffic.bytes += u64::try_from(bytes.len()).expect("a length fits 64 bits");
                        if to == node_name(u8::try_from(1 - side).expect("two sides")) {
                            self.flights.push_back((self.now + LATENCY, 1 - side, bytes));
                        }
                    }
                    Output::Sync { upto } => sync = Some(upto),
                    Output::Wake { at } => self.wakes[side] = Some(at),
                    Output::Event(event) => self.events.push(event),
                    // No client asks and no control plane listens.
                    Output::Reply { .. } | Output::Control(_) | Output::Failed(_) => {}
                }
            }
            next = sync.map(|upto| Input::Durable { upto: shard.storage_mut().sync(upto) });
        }
    }

    /// The moment it has reached.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// A side.
    ///
    /// # Panics
    /// When there is no such side.
    #[must_use]
    pub fn shard(&self, side: usize) -> &Shard<MemoryStore> {
        self.shards[side].as_ref().expect("it runs")
    }

    /// What a side holds of a key.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn peek(&self, side: usize, key: &Key) -> SiblingSet {
        self.shard(side).peek(key).expect("memory can be read")
    }

    /// The sides that own a key.
    #[must_use]
    pub fn owners(&self, key: &Key) -> Vec<usize> {
        let primaries: &[NodeId] = self.picture.rings.ring().preference_list(Position::of(key)).primaries();
        (0..2_u8).filter(|side| primaries.contains(&node_name(*side))).map(usize::from).collect()
    }

    /// The slices of which both sides own a part.
    #[must_use]
    pub fn shared_slices(&self) -> Vec<Slice> {
        let ring = self.picture.rings.ring();
        let shares = |slice: &Slice| Arcs::shared(ring, *slice, &node_name(0)).contains_key(&node_name(1));
        Slice::all().filter(shares).collect()
    }

    /// What was said since this was taken last, by kind.
    pub fn take_traffic(&mut self) -> BTreeMap<MessageKind, Traffic> {
        core::mem::take(&mut self.traffic)
    }

    /// What happened since this was taken last.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
