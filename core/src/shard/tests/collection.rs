//! Three shards, one for each node of a cluster, with instant disks and a network that can hold messages back: schedules
//! about collection that need one message to be late.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use super::super::{Input, Output, Quorum, Reply, Request, Shard, Start, hints, rows};
use super::layout_of;
use crate::causality::{ContextSecret, Floor, SiblingSet};
use crate::config::{ClusterConfig, Config, Placement, Repair, Trace};
use crate::hash::{Position, Slice};
use crate::id::{ActorId, ClusterId, Key, NodeId, RequestId, Token};
use crate::layout::Rings;
use crate::message::{CollectionMessage, Envelope, Message, ShardMessage};
use crate::node::{Picture, ShardEvent, ToShard};
use crate::storage::{Batch, MemoryStore, Space, Storage};
use crate::time::{Time, WallTime};
use crate::value::Value;

const CLUSTER: ClusterId = ClusterId(7);

struct Shards {
    now: Time,
    picture_of: BTreeMap<NodeId, Arc<Picture>>,
    shards: BTreeMap<NodeId, Shard<MemoryStore>>,
    flying: VecDeque<(NodeId, NodeId, Envelope)>,
    /// What is held back, and which messages are.
    held: Vec<(NodeId, NodeId, Envelope)>,
    hold: fn(&NodeId, &ShardMessage) -> bool,
    replies: Vec<(Token, Reply)>,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn key() -> Key {
    Key::new("cart").expect("a good key")
}

fn slice() -> Slice {
    Position::of(&key()).slice()
}

fn config() -> Config {
    let placement = Placement::Tokens(NonZeroU16::new(4).expect("above zero"));
    let repair = Repair {
        collect_interval: Duration::from_millis(640),
        collect_after: Duration::from_secs(2),
        request_memory: Duration::from_secs(2),
        exchange_interval: Duration::from_secs(3_600),
        ..Repair::default()
    };
    let cluster = ClusterConfig { placement, ..ClusterConfig::default() };
    Config { cluster, repair, trace: Trace::Off, ..Config::default() }
}

impl Shards {
    fn new() -> Self {
        let names = ["a", "b", "c"].map(node);
        let rings = Rings::settled(layout_of(&["a", "b", "c"], &config().cluster), &config().cluster);
        let picture = |me: &NodeId| Picture {
            me: me.clone(),
            cluster: CLUSTER,
            secret: ContextSecret([3; 32]),
            config: config().cluster,
            rings: rings.clone(),
            down: [].into(),
            issuers: BTreeMap::new(),
        };
        let picture_of = names.iter().map(|name| (name.clone(), Arc::new(picture(name)))).collect();
        let mut shards = Self {
            now: Time::ZERO,
            picture_of,
            shards: BTreeMap::new(),
            flying: VecDeque::new(),
            held: Vec::new(),
            hold: |_, _| false,
            replies: Vec::new(),
        };
        for (name, actor) in names.iter().zip(1..) {
            shards.start(name, ActorId(actor), MemoryStore::default());
            shards.step(name, Input::Control(ShardEvent(ToShard::Founded(rings.id))));
        }
        shards
    }

    fn start(&mut self, name: &NodeId, actor: ActorId, store: MemoryStore) {
        let slices = Slice::all().collect();
        let start = Start { node: name.clone(), actor, boot: 1, index: 0, slices, config: config() };
        let shard = Shard::start(self.now, start, store).expect("memory can be read");
        self.shards.insert(name.clone(), shard);
        self.step(name, Input::Wall(WallTime(1_000_000 + self.now.as_ms())));
        let picture = self.picture_of[name].clone();
        self.step(name, Input::Control(ShardEvent(ToShard::Picture(picture))));
    }

    fn step(&mut self, name: &NodeId, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let shard = self.shards.get_mut(name).expect("it runs");
            for output in shard.step(self.now, input) {
                match output {
                    Output::Send { to, envelope } => {
                        let Message::Shard(_, message) = &envelope.message else { panic!("{envelope:?}") };
                        if (self.hold)(&to, message) {
                            self.held.push((name.clone(), to, envelope));
                        } else {
                            self.flying.push_back((name.clone(), to, envelope));
                        }
                    }
                    Output::Reply { token, reply } => self.replies.push((token, *reply)),
                    Output::Sync { upto } => inputs.push_back(Input::Durable { upto }),
                    Output::Failed(error) => panic!("{error}"),
                    Output::Wake { .. } | Output::Control(_) | Output::Event(_) => {}
                }
            }
        }
    }

    /// Lets time pass in small steps.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            while let Some((from, to, envelope)) = self.flying.pop_front() {
                self.step(&to, Input::Message { from, envelope });
            }
            self.now = self.now + Duration::from_millis(1);
            let names: Vec<NodeId> = self.shards.keys().cloned().collect();
            names.iter().for_each(|name| self.step(name, Input::Timer));
        }
    }

    fn write(&mut self, at: &str, value: Option<&str>, quorum: Option<Quorum>) -> Token {
        let token = Token(self.now.as_ms());
        let value = value.map(|text| Value::json(alloc::format!("{text:?}")));
        let request = Request { quorum, ..Request::write(key(), value, None) };
        self.step(&node(at), Input::Request { token, request });
        token
    }

    fn written(&mut self, at: &str, value: Option<&str>) {
        let token = self.write(at, value, None);
        self.run(Duration::from_millis(50));
        assert!(self.replies.iter().any(|(of, reply)| *of == token && reply.is_ok()), "{:?}", self.replies);
    }

    fn held_at(&self, name: &str) -> SiblingSet {
        self.shards[&node(name)].peek(&key()).expect("memory can be read")
    }

    /// What everybody holds of the key, as text; nothing is nothing at all, not even a tombstone.
    fn values(&self) -> [Vec<alloc::string::String>; 3] {
        let text = |version: &crate::causality::Version| match &version.value {
            Some(value) => core::str::from_utf8(&value.bytes).expect("text").to_string(),
            None => "gone".to_string(),
        };
        ["a", "b", "c"].map(|name| self.held_at(name).live().map(|(_, version)| text(version)).collect())
    }

    fn release(&mut self) {
        self.hold = |_, _| false;
        self.flying.extend(core::mem::take(&mut self.held));
    }
}

const NOTHING: [Vec<alloc::string::String>; 3] = [Vec::new(), Vec::new(), Vec::new()];

fn is_write_to_c(to: &NodeId, message: &ShardMessage) -> bool {
    to.as_str() == "c" && matches!(message, ShardMessage::Write { .. })
}

#[test]
fn an_old_write_that_arrives_after_collection_stays_dead_at_all_owners() {
    let mut shards = Shards::new();
    shards.hold = is_write_to_c;
    shards.written("a", Some("milk"));
    let late = core::mem::take(&mut shards.held);
    assert!(!late.is_empty());
    shards.hold = |_, _| false;
    shards.written("b", Some("eggs"));
    shards.written("b", None);
    shards.run(Duration::from_secs(5));
    assert_eq!(shards.values(), NOTHING, "collected");
    assert!(["a", "b", "c"].iter().all(|name| !shards.shards[&node(name)].floor(slice()).is_empty()));
    for to in ["a", "b", "c"] {
        for (_, _, envelope) in late.clone() {
            shards.flying.push_back((node("a"), node(to), envelope.clone()));
            let Message::Shard(of, ShardMessage::Write { layout, key, set, .. }) = envelope.message else { panic!() };
            let message = Message::Shard(of, ShardMessage::Repair { layout, key, set });
            shards.flying.push_back((node("b"), node(to), Envelope { message, ..envelope }));
        }
    }
    shards.run(Duration::from_secs(1));
    assert_eq!(shards.values(), NOTHING, "as a write and as a repair");
    shards.written("c", Some("bread"));
    assert_eq!(shards.values(), ["bread"; 3].map(|value| [alloc::format!("{value:?}")].to_vec()));
}

/// The write is on its way when all seal: it gets another dot, and its first version does not stay beside the second.
#[test]
fn a_write_that_meets_a_seal_gets_another_dot_and_stands_alone() {
    let mut shards = Shards::new();
    shards.written("a", Some("old"));
    shards.hold = is_write_to_c;
    let token = shards.write("a", Some("new"), Some(Quorum::All));
    shards.run(Duration::from_millis(50));
    let first = shards.held_at("a").live().map(|(dot, _)| dot).next().expect("it holds its own write");
    let mut upto = Floor::new();
    assert!(upto.raise_above(shards.held_at("a").context()));
    let layout = shards.picture_of[&node("b")].rings.id;
    let seal = CollectionMessage::Seal { request: RequestId(1), layout, upto };
    let message = Message::Shard(slice(), ShardMessage::Collection(seal));
    shards.flying.push_back((node("b"), node("c"), Envelope { cluster: Some(CLUSTER), cause: None, message }));
    shards.run(Duration::from_millis(5));
    shards.release();
    shards.run(Duration::from_millis(300));
    assert!(shards.replies.iter().any(|(of, reply)| *of == token && reply.is_ok()), "{:?}", shards.replies);
    assert_eq!(shards.values(), ["new"; 3].map(|value| [alloc::format!("{value:?}")].to_vec()));
    assert!(!shards.held_at("c").contains(first));
}

/// One store is put back to a copy from before the deletion. The others have forgotten that the key ever was.
#[test]
fn what_a_restored_store_brings_back_is_dead_if_it_lies_below_the_floor_of_the_others() {
    let mut shards = Shards::new();
    shards.written("a", Some("milk"));
    let copy = shards.shards[&node("c")].storage().clone();
    shards.written("b", None);
    shards.run(Duration::from_secs(5));
    assert_eq!(shards.values(), NOTHING, "collected");
    shards.start(&node("c"), ActorId(3), copy);
    shards.step(&node("c"), Input::Control(ShardEvent(ToShard::Reborn { actor: ActorId(9), boot: 2 })));
    assert!(!shards.held_at("c").is_empty());
    let token = Token(1);
    shards.step(&node("c"), Input::Request { token, request: Request::get(key()) });
    shards.run(Duration::from_secs(3));
    let answers = shards.replies.iter().filter(|(of, _)| *of == token).map(|(_, reply)| reply.clone());
    for answer in answers {
        assert!(answer.expect("two synced owners").set.values().is_empty(), "not even before it is synced");
    }
    assert_eq!(shards.values(), NOTHING);
    assert_eq!(shards.shards[&node("c")].floor(slice()), shards.shards[&node("a")].floor(slice()));
    shards.written("c", Some("eggs"));
    let dot = shards.held_at("a").live().map(|(dot, _)| dot).next().expect("written");
    assert_eq!(dot.actor, ActorId(9));
}

/// A hint may be anything: while any member keeps one nothing is agreed.
#[test]
fn a_hint_that_is_outstanding_keeps_every_tombstone() {
    let mut shards = Shards::new();
    shards.written("a", Some("milk"));
    // What b keeps for a is on its way and does not arrive.
    shards.hold = |_, message| matches!(message, ShardMessage::HandOff { .. });
    let place = hints::place(&node("a"), &key());
    let rings = shards.picture_of[&node("b")].rings.clone();
    let owners = hints::owners_hash(&rings.ring().preference_list(Position::of(&key())));
    let hint = hints::Hint { owners, set: SiblingSet::default() };
    let row = rows::seal(&place, postcard::to_allocvec(&hint).expect("every hint has a stored form"));
    let mut batch = Batch::default();
    batch.put(Space::Hints, place, row);
    let mut store = shards.shards.remove(&node("b")).expect("it runs").into_storage();
    store.apply(batch).expect("memory can be written");
    shards.start(&node("b"), ActorId(2), store);
    shards.written("a", None);
    shards.run(Duration::from_secs(10));
    assert_eq!(shards.values(), ["gone"; 3].map(|value| [value.to_string()].to_vec()));
    shards.release();
    shards.run(Duration::from_secs(10));
    assert_eq!(shards.values(), NOTHING);
}

/// The news of the floor is lost on its way to one owner, and nothing that this owner wants reaches the others.
#[test]
fn who_shows_what_lies_below_the_floor_is_told_of_the_floor() {
    let mut shards = Shards::new();
    shards.written("a", None);
    shards.hold = |_, message| {
        use CollectionMessage::{Raised, Wanted};
        matches!(message, ShardMessage::Collection(Raised { .. } | Wanted { .. }))
    };
    shards.run(Duration::from_secs(5));
    let shows = |shards: &Shards, name: &&str| !shards.held_at(name).is_empty();
    let (behind, ahead): (Vec<&str>, Vec<&str>) = ["a", "b", "c"].iter().partition(|name| shows(&shards, name));
    assert_eq!((behind.len(), ahead.len()), (2, 1), "only the leader has collected");
    shards.hold = |_, message| matches!(message, ShardMessage::Collection(CollectionMessage::Wanted { .. }));
    for name in behind {
        let layout = shards.picture_of[&node(name)].rings.id;
        let repair = ShardMessage::Repair { layout, key: key(), set: shards.held_at(name) };
        let envelope = Envelope { cluster: Some(CLUSTER), cause: None, message: Message::Shard(slice(), repair) };
        shards.flying.push_back((node(name), node(ahead[0]), envelope));
    }
    shards.run(Duration::from_secs(1));
    assert_eq!(shards.values(), NOTHING);
}

/// A crash came between the floor and the sweep that follows from it.
#[test]
fn a_sweep_that_a_crash_has_ended_is_done_again() {
    for (name, actor) in ["a", "b", "c"].into_iter().zip((1..).map(ActorId)) {
        let mut shards = Shards::new();
        shards.written("a", None);
        let mut store = shards.shards[&node(name)].storage().clone();
        shards.run(Duration::from_secs(5));
        assert_eq!(shards.values(), NOTHING, "collected");
        let marks = shards.shards[&node(name)].storage().get(Space::Meta, &rows::marks_key(slice()));
        let mut batch = Batch::default();
        batch.put(Space::Meta, rows::marks_key(slice()), marks.expect("memory can be read").expect("there are marks"));
        store.apply(batch).expect("memory can be written");
        shards.start(&node(name), actor, store);
        assert!(!shards.held_at(name).is_empty());
        shards.run(Duration::from_secs(5));
        assert_eq!(shards.values(), NOTHING, "at {name}");
    }
}
