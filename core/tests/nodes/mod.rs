//! Control planes alone, with instant disks and a network that loses nothing.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_core::config::Config;
use quorate_core::gossip::{Heard, QuestionId, Stamp};
use quorate_core::id::{Address, NodeId, Token};
use quorate_core::message::{Envelope, Message};
use quorate_core::node::{Input, JoinError, Node, Output, Start, TalkError};
use quorate_core::rng::Rng;
use quorate_core::storage::MemoryStore;
use quorate_core::time::{Time, WallTime};

/// Control planes and the messages between them; a node's name is its address.
pub(crate) struct Nodes {
    pub(crate) now: Time,
    pub(crate) nodes: BTreeMap<String, Node<MemoryStore>>,
    wakes: BTreeMap<String, Time>,
    pub(crate) flying: VecDeque<(String, NodeId, Envelope)>,
    pub(crate) introduced: Vec<(Token, Result<NodeId, JoinError>)>,
    /// What each one's application heard.
    pub(crate) heard: BTreeMap<String, Vec<Heard>>,
    pub(crate) fired: Vec<Result<Stamp, TalkError>>,
    pub(crate) asked: Vec<Result<QuestionId, TalkError>>,
}

pub(crate) fn start(name: &str, seeds: &[&str], config: Config) -> Start {
    Start {
        node: NodeId::new(name).expect("a good name"),
        address: Address::new(name).expect("a good address"),
        config,
        seeds: seeds.iter().map(|seed| Address::new(seed).expect("a good address")).collect(),
        wall: WallTime(1_000_000),
    }
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let (nodes, wakes, flying, introduced) = Default::default();
        let (heard, fired, asked) = Default::default();
        Self { now: Time::ZERO, nodes, wakes, flying, introduced, heard, fired, asked }
    }

    pub(crate) fn begin(&mut self, name: &str, seeds: &[&str]) {
        self.begin_with(name, seeds, Config::default(), MemoryStore::default());
    }

    pub(crate) fn begin_with(&mut self, name: &str, seeds: &[&str], config: Config, store: MemoryStore) {
        let rng = Rng::labelled(self.now.0 + 1, name);
        let node = Node::start(self.now, start(name, seeds, config), store, rng).expect("memory can be read");
        self.nodes.insert(name.into(), node);
        self.step(name, Input::Timer);
    }

    pub(crate) fn step(&mut self, name: &str, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(node) = self.nodes.get_mut(name) else { return };
            let outputs: Vec<Output> = node.step(self.now, input).collect();
            for output in outputs {
                match output {
                    Output::Send { to, envelope } => self.flying.push_back((to.to_string(), name_of(name), envelope)),
                    Output::Contact { address, envelope } => {
                        self.flying.push_back((address.to_string(), name_of(name), envelope));
                    }
                    Output::Sync { upto } => inputs.push_back(Input::Durable { upto }),
                    Output::Wake { at } => {
                        self.wakes.insert(name.into(), at);
                    }
                    Output::Introduced { token, result } => self.introduced.push((token, result)),
                    Output::Fired { result, .. } => self.fired.push(result),
                    Output::Asked { result, .. } => self.asked.push(result),
                    Output::Answered { result, .. } => result.expect("a short answer"),
                    Output::Heard(heard) => self.heard.entry(name.into()).or_default().push(heard),
                    Output::Failed(error) => panic!("{error}"),
                    Output::Address(_)
                    | Output::Shards(_)
                    | Output::LayoutChanged { .. }
                    | Output::Left
                    | Output::Event(_) => {}
                }
            }
        }
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            while let Some((to, from, envelope)) = self.flying.pop_front() {
                assert!(matches!(envelope.message, Message::Node(_)));
                self.step(&to, Input::Message { from, envelope });
            }
            self.now = self.now + Duration::from_millis(10);
            let due: Vec<String> =
                self.wakes.iter().filter(|(_, at)| **at <= self.now).map(|(name, _)| name.clone()).collect();
            for name in due {
                self.step(&name, Input::Timer);
                // Else a thread would do nothing but wake up.
                let is_waking_again = self.nodes.contains_key(&name) && self.wakes[&name] <= self.now;
                assert!(!is_waking_again, "{name} wants to be woken at once, when it just was");
            }
        }
    }

    /// The clusters there are, each with the names of its members.
    pub(crate) fn clusters(&self) -> Vec<Vec<&str>> {
        let mut clusters: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (name, node) in &self.nodes {
            if let Some(cluster) = node.cluster() {
                clusters.entry(cluster).or_default().push(name);
            }
        }
        let mut members: Vec<Vec<&str>> = clusters.into_values().collect();
        members.sort();
        members
    }
}

pub(crate) fn name_of(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

pub(crate) const SECONDS: fn(u64) -> Duration = Duration::from_secs;
