//! What a request costs the core: time (criterion), and what it allocates, counted. One node that owns everything, its
//! store in memory and durable at once, so that nothing is measured but the core itself.
//!
//! A get takes 34 allocations (3 kB) and a put 81 (9 kB), that of its key's text included. What remains is what outlives its
//! step or leaves the machine: the request and its round with their lists, the row and the set that is read from it (a set
//! takes one for what it knows, one for its versions, one for each value), the answer with its lists of nodes and its sealed
//! context; and of a put, which reads before it writes, a second round, the set before and after, and in each of its batches
//! the places, the rows and what a crash would bring back. Names, keys and content types take none while they are short.
//!
//! `cargo bench -p quorate-core --features sim --bench hot_path`

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quorate_core::config::{ClusterConfig, Config, Replication, Trace};
use quorate_core::hash::Slice;
use quorate_core::id::{Address, Key, NodeId, Token};
use quorate_core::node::{self, Node};
use quorate_core::rng::Rng;
use quorate_core::shard::{self, Request, Shard};
use quorate_core::storage::MemoryStore;
use quorate_core::time::{Time, WallTime};
use quorate_core::value::Value;

/// Keys that the requests are about.
const KEYS: u64 = 10_000;

/// A process of one control plane and one shard.
struct Process {
    node: Node<MemoryStore>,
    shard: Shard<MemoryStore>,
    now: Time,
    replies: u64,
    next: u64,
}

enum Told {
    Node(node::Input),
    Shard(shard::Input),
}

impl Process {
    fn new() -> Self {
        let name = NodeId::new("bench").expect("a good name");
        let one = Replication::new(1, 1, 1).expect("in range");
        let cluster = ClusterConfig { replication: one, ..ClusterConfig::default() };
        let config = Config { cluster, trace: Trace::Off, ..Config::default() };
        let address = Address::new("bench").expect("a good address");
        let start =
            node::Start { node: name.clone(), address, config: config.clone(), seeds: Vec::new(), wall: WallTime(1) };
        let rng = Rng::labelled(1, "bench");
        let node = Node::start(Time::ZERO, start, MemoryStore::default(), rng).expect("memory can be read");
        let slices = Slice::all().collect();
        let start = shard::Start { node: name, actor: node.actor(), boot: node.boot(), index: 0, slices, config };
        let shard = Shard::start(Time::ZERO, start, MemoryStore::default()).expect("memory can be read");
        let mut process = Self { node, shard, now: Time::ZERO, replies: 0, next: 0 };
        process.tell(Told::Shard(shard::Input::Wall(WallTime(1))));
        process.tell(Told::Node(node::Input::Timer));
        process
    }

    fn tell(&mut self, first: Told) {
        let mut told = VecDeque::from([first]);
        while let Some(next) = told.pop_front() {
            match next {
                Told::Node(input) => {
                    let mut synced = None;
                    for output in self.node.step(self.now, input) {
                        match output {
                            node::Output::Shards(event) => told.push_back(Told::Shard(shard::Input::Control(event))),
                            node::Output::Sync { upto } => synced = Some(upto),
                            _ => {}
                        }
                    }
                    if let Some(upto) = synced {
                        let upto = self.node.storage_mut().sync(upto);
                        told.push_back(Told::Node(node::Input::Durable { upto }));
                    }
                }
                Told::Shard(input) => {
                    let mut synced = None;
                    for output in self.shard.step(self.now, input) {
                        match output {
                            shard::Output::Control(event) => told.push_back(Told::Node(node::Input::Shard(event))),
                            shard::Output::Sync { upto } => synced = Some(upto),
                            shard::Output::Reply { reply, .. } => {
                                assert!(reply.is_ok(), "{reply:?}");
                                self.replies += 1;
                            }
                            _ => {}
                        }
                    }
                    if let Some(upto) = synced {
                        let upto = self.shard.storage_mut().sync(upto);
                        told.push_back(Told::Shard(shard::Input::Durable { upto }));
                    }
                }
            }
        }
    }

    fn ask(&mut self, request: Request) {
        self.next += 1;
        let before = self.replies;
        self.tell(Told::Shard(shard::Input::Request { token: Token(self.next), request }));
        assert_eq!(self.replies, before + 1, "one node answers at once");
    }

    fn put(&mut self, number: u64) {
        let value = Value::json("\"a value of forty bytes, quotes included\"");
        self.ask(Request::write(key(number), Some(value), None));
    }

    fn get(&mut self, number: u64) {
        self.ask(Request::get(key(number)));
    }
}

fn key(number: u64) -> Key {
    Key::new(&format!("key-{}", number % KEYS)).expect("a good key")
}

fn filled() -> Process {
    let mut process = Process::new();
    (0..KEYS).for_each(|number| process.put(number));
    process
}

/// Prints what one request allocates, on average over many.
fn report_allocations(process: &mut Process) {
    const ROUNDS: u64 = 1_000;
    for (what, run) in
        [("key", None), ("get", Some(Process::get as fn(&mut Process, u64))), ("put", Some(Process::put))]
    {
        let counted = allocation_counter::measure(|| {
            for number in 0..ROUNDS {
                match run {
                    Some(run) => run(process, number),
                    None => drop(black_box(key(number))),
                }
            }
        });
        let (count, bytes) = (counted.count_total / ROUNDS, counted.bytes_total / ROUNDS);
        println!("{what}: {count} allocations, {bytes} bytes (making the key is part of get and put)");
    }
}

fn requests(criterion: &mut Criterion) {
    let mut process = filled();
    report_allocations(&mut process);
    let mut number = 0;
    criterion.bench_function("get", |bencher| {
        bencher.iter(|| {
            number += 1;
            process.get(number);
        });
    });
    criterion.bench_function("put", |bencher| {
        bencher.iter(|| {
            number += 1;
            process.put(number);
        });
    });
}

criterion_group!(benches, requests);
criterion_main!(benches);
