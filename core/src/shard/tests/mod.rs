//! The data plane of a few nodes as a specification: real shards, a network and disks that do as they are told, no control
//! plane. The owners of [`KEY`] are `a`, `b` and `c`, in the order of the walk; `d` and `e` are its fallbacks.

mod amnesia;
mod collection;
mod conflicts;
mod forwarding;
mod hints;
mod quorum;
mod transfer;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Input, Operation, Output, Quorum, Reply, Request, Shard, Start};
use crate::causality::ContextSecret;
use crate::config::{ClusterConfig, Config, Strategies, Strategy};
use crate::error::RequestError;
use crate::event::{Event, EventKind};
use crate::hash::{Position, Slice};
use crate::id::{ActorId, ClusterId, Key, NodeId, RequestKey, Token};
use crate::layout::{Change, Layout, Rings, Role};
use crate::message::{Envelope, Message, ShardMessage};
use crate::node::{FromShard, NodeEvent, Picture, ShardEvent, ToShard};
use crate::storage::{Batch, MemoryStore, Page, PageLimit, Seq, Space, Storage, StorageError};
use crate::time::{Time, WallTime};
use crate::value::Value;

const LATENCY: Duration = Duration::from_millis(1);
const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A disk that can be full, and that can be so slow that nothing becomes durable.
#[derive(Clone, Debug, Default)]
struct Disk {
    rows: MemoryStore,
    full: bool,
    stuck: bool,
}

impl Storage for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.rows.get(space, key)
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        self.rows.scan(space, from, to, limit)
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        if self.full { Err(StorageError::Full) } else { self.rows.apply(batch) }
    }
}

#[allow(clippy::large_enum_variant, reason = "a few at a time, in a test")]
enum Item {
    Arrives { from: NodeId, to: NodeId, envelope: Box<Envelope> },
    Durable { node: NodeId, upto: Seq },
    Wake { node: NodeId },
}

/// A few nodes.
struct Cluster {
    now: Time,
    shards: BTreeMap<NodeId, Shard<Disk>>,
    boots: BTreeMap<NodeId, u64>,
    picture: BTreeMap<NodeId, Arc<Picture>>,
    config: Config,
    rings: Arc<Rings>,
    down: BTreeSet<NodeId>,
    /// Nodes that are cut off without a word.
    silent: BTreeSet<NodeId>,
    /// Which messages the network loses.
    loses: fn(&ShardMessage) -> bool,
    queue: BTreeMap<(Time, u64), Item>,
    counter: u64,
    replies: BTreeMap<Token, Reply>,
    events: Vec<Event>,
    sent: Vec<(NodeId, NodeId, ShardMessage)>,
    /// Who told of which key that it has how many values.
    conflicts: Vec<(NodeId, Key, usize)>,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn admit(name: &str) -> Change {
    Change::Admit { node: node(name), role: Role::plain(name) }
}

fn layout_of(names: &[&str], cluster: &ClusterConfig) -> Layout {
    let changes: Vec<Change> = names.iter().map(|name| admit(name)).collect();
    let founded = Layout::founded_by(node(names[0]), Role::plain(names[0]), cluster);
    if names.len() > 1 { founded.with(&changes, cluster).expect("they are none yet") } else { founded }
}

/// Keys that `a`, `b` and `c` own, in this order.
fn keys(cluster: &Cluster) -> impl Iterator<Item = Key> + use<> {
    let rings = cluster.rings();
    let wanted = ["a", "b", "c", "d", "e"].map(node);
    let all = (0..).map(|number| Key::new(&format!("key-{number}")).expect("a good key"));
    all.filter(move |key| {
        rings.ring().walk(Position::of(key)).take(5).eq(wanted.iter().take(rings.ring().owners().len()))
    })
}

fn put(key: &Key, value: &str) -> Request {
    Request::write(key.clone(), Some(Value::json(String::from(value))), None)
}

fn delete(key: &Key) -> Request {
    Request::write(key.clone(), None, None)
}

fn get(key: &Key) -> Request {
    Request::get(key.clone())
}

fn is_hand_off(message: &ShardMessage) -> bool {
    matches!(message, ShardMessage::HandOff { .. })
}

/// With r or w.
fn of(quorum: u8, request: Request) -> Request {
    Request { quorum: Some(Quorum::Count(quorum)), ..request }
}

/// With pr or pw.
fn by_owners(primaries: u8, request: Request) -> Request {
    Request { primaries: Some(primaries), ..request }
}

impl Cluster {
    fn new(names: &[&str]) -> Self {
        Self::with(names, Config::default())
    }

    /// Owners neither compare what they hold nor collect: what arrives, arrives by what is looked at here.
    fn with(names: &[&str], mut config: Config) -> Self {
        config.repair.exchange_interval = Duration::from_secs(1_000_000);
        config.repair.collect_interval = Duration::from_secs(1_000_000);
        let rings = Rings::settled(layout_of(names, &config.cluster), &config.cluster);
        let founded = rings.id;
        let mut cluster = Self {
            now: Time::from_ms(1),
            shards: BTreeMap::new(),
            boots: BTreeMap::new(),
            picture: BTreeMap::new(),
            config,
            rings,
            down: BTreeSet::new(),
            silent: BTreeSet::new(),
            loses: |_| false,
            queue: BTreeMap::new(),
            counter: 0,
            replies: BTreeMap::new(),
            events: Vec::new(),
            sent: Vec::new(),
            conflicts: Vec::new(),
        };
        for name in names {
            cluster.start(name, Disk::default());
            cluster.tell(name, ToShard::Founded(founded));
        }
        cluster.run(100);
        cluster.sent.clear();
        cluster.events.clear();
        cluster
    }

    fn rings(&self) -> Arc<Rings> {
        self.rings.clone()
    }

    fn start(&mut self, name: &str, disk: Disk) {
        let boot = self.boots.entry(node(name)).or_default();
        *boot += 1;
        let actor = u128::from_be_bytes(*b"the actor of ...") + u128::from(name.as_bytes()[0]);
        let start = Start {
            node: node(name),
            actor: ActorId(actor),
            boot: *boot,
            index: 0,
            slices: Slice::all().collect(),
            config: self.config.clone(),
        };
        let shard = Shard::start(self.now, start, disk).expect("the disk can be read");
        self.shards.insert(node(name), shard);
        self.step(name, Input::Wall(WallTime(1_000_000)));
        self.show_picture(name);
    }

    /// Ends a process without a word; what was not durable is lost.
    fn crash(&mut self, name: &str) -> Disk {
        let mut disk = self.shards.remove(&node(name)).expect("it runs").into_storage();
        disk.rows.crash();
        self.queue.retain(|_, item| match item {
            Item::Durable { node: of, .. } | Item::Wake { node: of } => *of != node(name),
            Item::Arrives { .. } => true,
        });
        disk
    }

    fn disk(&mut self, name: &str) -> &mut Disk {
        self.shards.get_mut(&node(name)).expect("it runs").storage_mut()
    }

    /// The disk goes on after it was stuck.
    fn unstick(&mut self, name: &str) {
        self.disk(name).stuck = false;
        self.put(Item::Durable { node: node(name), upto: Seq(u64::MAX) }, Duration::ZERO);
    }

    fn show_picture(&mut self, name: &str) {
        let picture = Arc::new(Picture {
            me: node(name),
            cluster: ClusterId(7),
            secret: ContextSecret([7; 32]),
            config: self.config.cluster.clone(),
            rings: self.rings(),
            down: self.down.clone(),
            issuers: BTreeMap::new(),
        });
        self.picture.insert(node(name), picture.clone());
        self.tell(name, ToShard::Picture(picture));
    }

    fn show_pictures(&mut self) {
        let names: Vec<NodeId> = self.shards.keys().cloned().collect();
        names.iter().for_each(|name| self.show_picture(name.as_str()));
    }

    /// Everybody believes that these are down, and they are; nobody else.
    fn down(&mut self, names: &[&str]) {
        self.down = names.iter().map(|name| node(name)).collect();
        self.silent = self.down.clone();
        self.show_pictures();
    }

    /// Nothing reaches these nodes or leaves them, and nobody knows.
    fn silent(&mut self, names: &[&str]) {
        self.silent = names.iter().map(|name| node(name)).collect();
    }

    /// The layout with one more owner.
    fn with_owner(&self, name: &str) -> Layout {
        self.rings.layout().with(&[admit(name)], &self.config.cluster).expect("it is none yet")
    }

    /// A change of the owners begins: reads ask those of before, writes need both.
    fn begin_change(&mut self, after: Layout) {
        self.rings = Rings::between(self.rings.layout().clone(), after, &self.config.cluster);
        self.show_pictures();
    }

    /// The change is over.
    fn end_change(&mut self) {
        self.rings = Rings::settled(self.rings.layout().clone(), &self.config.cluster);
        self.show_pictures();
    }

    fn tell(&mut self, name: &str, event: ToShard) {
        self.step(name, Input::Control(ShardEvent(event)));
    }

    fn put(&mut self, item: Item, after: Duration) {
        self.counter += 1;
        self.queue.insert((self.now + after, self.counter), item);
    }

    fn step(&mut self, name: &str, input: Input) {
        let me = node(name);
        let Some(shard) = self.shards.get_mut(&me) else { return };
        let outputs: Vec<Output> = shard.step(self.now, input).collect();
        for output in outputs {
            match output {
                Output::Send { to, envelope } => {
                    let Message::Shard(_, message) = &envelope.message else { panic!("shards send to shards") };
                    self.sent.push((me.clone(), to.clone(), message.clone()));
                    if !(self.loses)(message) {
                        let envelope = Box::new(envelope);
                        self.put(Item::Arrives { from: me.clone(), to, envelope }, LATENCY);
                    }
                }
                Output::Reply { token, reply } => {
                    assert!(self.replies.insert(token, *reply).is_none(), "one reply for a request");
                }
                Output::Sync { upto } => self.put(Item::Durable { node: me.clone(), upto }, LATENCY),
                Output::Wake { at } => {
                    self.queue.retain(|_, item| !matches!(item, Item::Wake { node } if *node == me));
                    self.put(Item::Wake { node: me.clone() }, at.since(self.now));
                }
                Output::Event(event) => self.events.push(event),
                Output::Control(NodeEvent(FromShard::Conflict { key, siblings })) => {
                    self.conflicts.push((me.clone(), key, siblings));
                }
                Output::Control(_) => {}
                Output::Failed(error) => panic!("the disk of {me} failed: {error}"),
            }
        }
    }

    /// Lets so many milliseconds pass.
    fn run(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), item) = entry.remove_entry();
            self.now = at;
            match item {
                Item::Arrives { from, to, envelope } => {
                    if !self.silent.contains(&from) && !self.silent.contains(&to) {
                        let bytes = envelope.encode();
                        let envelope = Envelope::decode(&bytes).expect("what is sent can be read");
                        self.step(to.as_str(), Input::Message { from, envelope });
                    }
                }
                Item::Durable { node, upto } => {
                    let disk = self.shards.get_mut(&node).map(Shard::storage_mut);
                    if let Some(disk) = disk.filter(|disk| !disk.stuck) {
                        let upto = disk.rows.sync(upto);
                        self.step(node.as_str(), Input::Durable { upto });
                    }
                }
                Item::Wake { node } => self.step(node.as_str(), Input::Timer),
            }
        }
        self.now = until;
    }

    fn request(&mut self, at: &str, request: Request) -> Token {
        self.counter += 1;
        let token = Token(self.counter);
        self.step(at, Input::Request { token, request });
        token
    }

    /// A request and its answer, however long that takes.
    #[track_caller]
    fn ask(&mut self, at: &str, request: Request) -> Reply {
        let token = self.request(at, request);
        for _ in 0..7_000 {
            if let Some(reply) = self.replies.remove(&token) {
                return reply;
            }
            self.run(1);
        }
        panic!("no answer in 7 s");
    }

    /// The hints that a node keeps, as `for whom: how many`.
    fn hints(&self, name: &str) -> String {
        let hints = self.shards[&node(name)].hints().iter().map(|(target, count)| format!("{target}: {count}"));
        hints.collect::<Vec<_>>().join(", ")
    }

    /// The values that a node's own store has of a key.
    fn holds(&self, name: &str, key: &Key) -> Vec<String> {
        let set = self.shards[&node(name)].peek(key).expect("the disk can be read");
        set.values().into_iter().filter_map(|(_, version)| version.value.as_ref()).map(text).collect()
    }

    fn count(&self, of: impl Fn(&EventKind) -> bool) -> usize {
        self.events.iter().filter(|event| of(&event.kind)).count()
    }

    fn count_sent(&self, of: impl Fn(&ShardMessage) -> bool) -> usize {
        self.sent.iter().filter(|(_, _, message)| of(message)).count()
    }
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&value.bytes).to_string()
}

/// What a client was told, in a line: the values or the error, who answered, and who stood in for whom.
fn told(reply: &Reply) -> String {
    let (what, answers) = match reply {
        Ok(success) => {
            let values = success.set.values();
            let texts = values.into_iter().filter_map(|(_, version)| version.value.as_ref()).map(text);
            let texts: Vec<String> = texts.collect();
            (if texts.is_empty() { String::from("absent") } else { texts.join(",") }, success.answers.clone())
        }
        Err(RequestError::QuorumNotMet { answers, .. }) => (String::from("quorum_not_met"), answers.clone()),
        Err(error) => return String::from(error.code()),
    };
    let mut by: Vec<String> = answers.successful.iter().map(ToString::to_string).collect();
    by.sort();
    for pair in &answers.stand_ins {
        let place = by.iter().position(|name| *name == pair.fallback.to_string()).expect("a stand-in has answered");
        by[place] = format!("{} for {}", pair.fallback, pair.target);
    }
    let mut failed: Vec<String> = answers.failed.iter().map(ToString::to_string).collect();
    failed.sort();
    let failed = if failed.is_empty() { String::new() } else { format!("; failed {}", failed.join(", ")) };
    format!("{what} by {}{failed}", by.join(", "))
}
