//! One node alone, one shard with all slices, and a disk and a wall clock that do as they are told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::config::Config;
use quorate_core::event::EventKind;
use quorate_core::hash::Slice;
use quorate_core::id::{Address, Key, NodeId, Token};
use quorate_core::node::{self, Node};
use quorate_core::rng::Rng;
use quorate_core::shard::{self, Reply, Request, Shard, Success};
use quorate_core::storage::{Batch, MemoryStore, Page, PageLimit, Seq, Space, Storage, StorageError};
use quorate_core::time::{Time, WallTime};
use quorate_core::value::Value;

/// A disk that may be full.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) store: MemoryStore,
    pub(crate) full: bool,
}

impl Storage for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.store.get(space, key)
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        self.store.scan(space, from, to, limit)
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        if self.full { Err(StorageError::Full) } else { self.store.apply(batch) }
    }
}

enum Told {
    Node(node::Input),
    Shard(shard::Input),
}

/// The machine.
pub(crate) struct Machine {
    now: Time,
    config: Config,
    node: Option<Node<MemoryStore>>,
    shard: Option<Shard<Disk>>,
    replies: BTreeMap<Token, Reply>,
    tokens: u64,
    /// While it is set, the shard's disk makes nothing durable.
    pub(crate) stalled: bool,
    /// How many values each conflict had that was reported.
    pub(crate) conflicts: Vec<u32>,
}

impl Machine {
    pub(crate) fn new(config: Config) -> Self {
        let mut machine = Self {
            now: Time::ZERO,
            config,
            node: None,
            shard: None,
            replies: BTreeMap::new(),
            tokens: 0,
            stalled: false,
            conflicts: Vec::new(),
        };
        machine.start(MemoryStore::default(), Disk::default(), WallTime(1_000_000));
        machine
    }

    fn start(&mut self, control: MemoryStore, disk: Disk, wall: WallTime) {
        let name = NodeId::new("alone").expect("a good name");
        let address = Address::new("alone").expect("a good address");
        let start = node::Start { node: name.clone(), address, config: self.config.clone(), seeds: Vec::new(), wall };
        let rng = Rng::labelled(1, "alone");
        let node = Node::start(self.now, start, control, rng).expect("memory can be read");
        let start = shard::Start {
            node: name,
            actor: node.actor(),
            boot: node.boot(),
            index: 0,
            slices: Slice::all().collect(),
            config: self.config.clone(),
        };
        self.shard = Some(Shard::start(self.now, start, disk).expect("memory can be read"));
        self.node = Some(node);
        self.run([Told::Shard(shard::Input::Wall(wall)), Told::Node(node::Input::Timer)]);
    }

    /// Ends the process and starts another one, whose clock on the wall shows this.
    pub(crate) fn restart(&mut self, wall: WallTime) {
        let control = self.node.take().expect("it runs").into_storage();
        let disk = self.shard.take().expect("it runs").into_storage();
        self.start(control, disk, wall);
    }

    pub(crate) fn set_wall(&mut self, wall: WallTime) {
        self.run([Told::Shard(shard::Input::Wall(wall))]);
    }

    pub(crate) fn disk(&mut self) -> &mut Disk {
        self.shard.as_mut().expect("it runs").storage_mut()
    }

    pub(crate) fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
        if !stalled {
            let upto = self.disk().store.sync(Seq(u64::MAX));
            self.run([Told::Shard(shard::Input::Durable { upto })]);
        }
    }

    /// Sends a request and does not wait.
    pub(crate) fn submit(&mut self, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.run([Told::Shard(shard::Input::Request { token, request })]);
        token
    }

    /// The answer to a request, if it has come.
    pub(crate) fn reply(&mut self, token: Token) -> Option<Reply> {
        self.replies.remove(&token)
    }

    /// Sends a request and lets time pass until it is answered.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let token = self.submit(request);
        for _ in 0..1_000 {
            if let Some(reply) = self.reply(token) {
                return reply;
            }
            self.pass(Duration::from_millis(10));
        }
        panic!("no answer in 10 s");
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.run([Told::Node(node::Input::Timer), Told::Shard(shard::Input::Timer)]);
    }

    fn run(&mut self, told: impl IntoIterator<Item = Told>) {
        let mut told: VecDeque<Told> = told.into_iter().collect();
        while let Some(next) = told.pop_front() {
            match next {
                Told::Node(input) => self.run_node(input, &mut told),
                Told::Shard(input) => self.run_shard(input, &mut told),
            }
        }
    }

    fn run_node(&mut self, input: node::Input, told: &mut VecDeque<Told>) {
        let node = self.node.as_mut().expect("it runs");
        let outputs: Vec<node::Output> = node.step(self.now, input).collect();
        for output in outputs {
            match output {
                node::Output::Shards(event) => told.push_back(Told::Shard(shard::Input::Control(event))),
                node::Output::Sync { upto } => {
                    let upto = node.storage_mut().sync(upto);
                    told.push_back(Told::Node(node::Input::Durable { upto }));
                }
                _ => {}
            }
        }
    }

    fn run_shard(&mut self, input: shard::Input, told: &mut VecDeque<Told>) {
        let shard = self.shard.as_mut().expect("it runs");
        let outputs: Vec<shard::Output> = shard.step(self.now, input).collect();
        for output in outputs {
            match output {
                shard::Output::Control(event) => told.push_back(Told::Node(node::Input::Shard(event))),
                shard::Output::Sync { upto } if !self.stalled => {
                    let upto = shard.storage_mut().store.sync(upto);
                    told.push_back(Told::Shard(shard::Input::Durable { upto }));
                }
                shard::Output::Reply { token, reply } => {
                    assert!(self.replies.insert(token, *reply).is_none(), "answered twice");
                }
                shard::Output::Event(event) => {
                    if let EventKind::Conflict { siblings, .. } = event.kind {
                        self.conflicts.push(siblings);
                    }
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

pub(crate) fn put(name: &str, value: impl Into<Bytes>, context: Option<&str>) -> Request {
    Request::write(key(name), Some(Value::json(value)), context.map(String::from))
}

/// What a reader is shown, oldest first.
pub(crate) fn values(success: &Success) -> Vec<String> {
    let text = |value: &Value| String::from_utf8(value.bytes.to_vec()).expect("text");
    let shown = success.set.values();
    shown.iter().rev().filter_map(|(_, version)| version.value.as_ref()).map(text).collect()
}
