//! The world: one queue of things that will happen, in the order of their times, and the machines they happen to. It
//! takes the next one, hands it to whom it concerns, and puts what follows into the queue.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, ClientOperation, DiskFate, Setting};
use super::client::{Acknowledged, Clients};
use super::host::{Host, Part, Wish, address_of, node_name};
use super::network::Network;
use crate::causality::SiblingSet;
use crate::error::RequestError;
use crate::event::{Event, EventId, EventKind, LossReason, MessageKind};
use crate::hash::StableHasher;
use crate::id::{Address, Key, NodeId, Token};
use crate::message::Envelope;
use crate::rng::Rng;
use crate::shard::{Reply, Request};
use crate::storage::Seq;
use crate::time::Time;
use crate::view::{Endpoint, MessageView, ProcessState};

/// The most nodes that a world has.
const NODES_MAX: usize = 64;
/// The least a disk takes to make a batch durable.
const SYNC_MIN: Duration = Duration::from_micros(500);
/// Events kept until they are taken; the oldest go first.
const EVENTS_MAX: usize = 200_000;
/// How long a checker waits for an answer.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that is told to stop is given.
const GOODBYE: Duration = Duration::from_millis(200);

/// Something that will happen.
#[derive(Clone, Debug)]
enum Item {
    /// A message arrives, or its loss shows.
    Message(Flight),
    /// A client's request arrives at a node.
    Request { client: String, node: NodeId, token: Token, request: Request, sent_at: Time },
    /// A reply arrives at a client.
    Reply { client: String, node: NodeId, token: Token, reply: Reply, sent_at: Time },
    /// A disk is done.
    Durable { node: NodeId, life: u64, part: Part, upto: Seq },
    /// A part of a process asked to be woken.
    Wake { node: NodeId, life: u64, part: Part },
    /// A process that said goodbye ends.
    End { node: NodeId, life: u64 },
}

/// A message on its way.
#[derive(Clone, Debug)]
struct Flight {
    id: u64,
    from: NodeId,
    to: NodeId,
    bytes: Vec<u8>,
    cause: Option<EventId>,
    kind: MessageKind,
    key: Option<Key>,
    sent_at: Time,
    due_at: Time,
    lost: Option<(Time, LossReason)>,
}

/// A cluster on a virtual clock. A clone goes on from the same moment and knows nothing of the original.
#[derive(Clone, Debug)]
pub struct World {
    setting: Setting,
    now: Time,
    /// Orders what happens at one time, and numbers messages.
    counter: u64,
    queue: BTreeMap<(Time, u64), Item>,
    hosts: BTreeMap<NodeId, Host>,
    /// The wake-up that counts, of every part of every process.
    wakes: BTreeMap<(NodeId, Part), Time>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    client_of: BTreeMap<Token, String>,
    disk_rng: Rng,
    events: Vec<Event>,
    own_events: u32,
    hasher: StableHasher,
}

impl World {
    /// A world whose nodes all start at once: the first one founds the cluster, the others join through it.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        let mut world = Self {
            setting: setting.clone(),
            now: Time::ZERO,
            counter: 0,
            queue: BTreeMap::new(),
            hosts: BTreeMap::new(),
            wakes: BTreeMap::new(),
            network: Network::new(setting.network, Rng::labelled(setting.seed, "network")),
            clients: Clients::default(),
            client_of: BTreeMap::new(),
            disk_rng: Rng::labelled(setting.seed, "disks"),
            events: Vec::new(),
            own_events: 0,
            hasher: StableHasher::new(),
        };
        for _ in 0..setting.nodes.clamp(1, 64) {
            world.add();
        }
        world
    }

    /// The moment it has reached.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets the next thing happen, and says when that was; nothing if nothing is left to happen.
    pub fn step(&mut self) -> Option<Time> {
        let ((at, _), item) = self.queue.pop_first()?;
        self.now = at;
        self.hasher.u64(at.0);
        match item {
            Item::Message(flight) => self.arrive(flight),
            Item::Request { client, node, token, request, .. } => self.request_arrives(client, &node, token, request),
            Item::Reply { node, token, reply, .. } => {
                self.hasher.bytes(node.as_str().as_bytes());
                self.client_of.remove(&token);
                self.clients.end(self.now, token, &reply);
            }
            Item::Durable { node, life, part, upto } => {
                if let Some(host) = self.hosts.get_mut(&node).filter(|host| host.life == life) {
                    let wishes = host.durable(at, part, upto);
                    self.fulfil(&node, wishes);
                }
            }
            Item::Wake { node, life, part } => self.wake(&node, life, part),
            Item::End { node, life } => {
                if self.hosts.get(&node).is_some_and(|host| host.life == life && host.state == ProcessState::Running) {
                    self.end_process(&node, ProcessState::Stopped);
                }
            }
        }
        Some(at)
    }

    /// Lets everything happen up to a time, that time included, and stands at it then.
    pub fn run_until(&mut self, until: Time) {
        while self.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Somebody does something to the world, now.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Client { client, node, operation } if self.hosts.contains_key(node) => {
                let (token, request) = self.clients.begin(self.now, client, node, operation);
                self.client_of.insert(token, client.clone());
                let at = self.now + self.network.latency();
                let (client, node) = (client.clone(), node.clone());
                self.put(at, Item::Request { client, node, token, request, sent_at: self.now });
            }
            Action::Client { .. } => {}
            Action::Crash { node, disk } => self.crash(node, *disk),
            Action::Stop { node } => self.stop(node),
            Action::Restart { node } => self.restart(node),
            Action::Add => self.add(),
            Action::Partition { groups } => {
                let all: Vec<NodeId> = self.hosts.keys().cloned().collect();
                self.network.partition(self.now, groups, &all);
            }
            Action::Link { from, to, cut, loss_per_million } if from != to => {
                self.network.set_link(self.now, from.clone(), to.clone(), *cut, *loss_per_million);
            }
            Action::Link { .. } => {}
            Action::Heal => self.network.heal(),
        }
    }

    fn crash(&mut self, node: &NodeId, disk: DiskFate) {
        if self.hosts.get(node).is_none_or(|host| host.state != ProcessState::Running) {
            return;
        }
        self.own_event(node, None, EventKind::Crashed);
        self.end_process(node, ProcessState::Crashed);
        if disk == DiskFate::Lost {
            self.hosts.get_mut(node).expect("it is there").lose_disks();
        }
    }

    fn end_process(&mut self, node: &NodeId, state: ProcessState) {
        self.hosts.get_mut(node).expect("it is there").crash(state);
        self.wakes.retain(|(of, _), _| of != node);
        for token in self.clients.open_at(node) {
            self.clients.fail(
                self.now,
                token,
                "the connection ended without an answer: a write may still appear later",
            );
        }
    }

    fn stop(&mut self, node: &NodeId) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node).filter(|host| host.state == ProcessState::Running) else { return };
        let (wishes, life) = (host.say_goodbye(now), host.life);
        self.fulfil(node, wishes);
        self.put(now + GOODBYE, Item::End { node: node.clone(), life });
    }

    fn restart(&mut self, node: &NodeId) {
        let seeds: Vec<Address> = self.hosts.keys().filter(|other| *other != node).map(address_of).collect();
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node).filter(|host| host.state != ProcessState::Running) else { return };
        let wishes = host.start(now, seeds);
        self.fulfil(node, wishes);
    }

    fn add(&mut self) {
        if self.hosts.len() >= NODES_MAX {
            return;
        }
        let index = u8::try_from(self.hosts.len()).expect("at most 64");
        let node = node_name(index);
        let seeds: Vec<Address> = self.hosts.keys().map(address_of).collect();
        let rng = Rng::labelled(self.setting.seed, node.as_str());
        let mut host = Host::new(node.clone(), &self.setting, rng);
        let wishes = host.start(self.now, seeds);
        self.hosts.insert(node.clone(), host);
        self.fulfil(&node, wishes);
    }

    fn wake(&mut self, node: &NodeId, life: u64, part: Part) {
        let current = self.hosts.get(node).is_some_and(|host| host.life == life);
        if !current || self.wakes.get(&(node.clone(), part)) != Some(&self.now) {
            return;
        }
        self.wakes.remove(&(node.clone(), part));
        let now = self.now;
        let wishes = self.hosts.get_mut(node).expect("it is there").wake(now, part);
        self.fulfil(node, wishes);
    }

    fn request_arrives(&mut self, client: String, node: &NodeId, token: Token, request: Request) {
        self.hasher.bytes(client.as_bytes());
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node).filter(|host| host.state == ProcessState::Running) else {
            return self.clients.fail(now, token, "nobody listens there: the node is down");
        };
        let wishes = host.request(now, token, request);
        if let Some(event) = wishes.iter().find_map(requested) {
            self.clients.trace_from(event, token);
        }
        self.fulfil(node, wishes);
    }

    fn arrive(&mut self, flight: Flight) {
        self.hasher.bytes(&flight.bytes);
        let down = self.hosts.get(&flight.to).is_none_or(|host| host.state != ProcessState::Running);
        let lost = match flight.lost {
            Some((_, reason)) => Some(reason),
            None if self.network.is_cut(&flight.from, &flight.to) => Some(LossReason::Cut),
            None if down => Some(LossReason::Down),
            None => None,
        };
        if let Some(reason) = lost {
            let kind = EventKind::Lost { to: flight.to.clone(), message: flight.kind, reason };
            return self.own_event(&flight.from, flight.cause, kind);
        }
        // What arrives is what the wire form says, as in the real world.
        let envelope = Envelope::decode(&flight.bytes).expect("what a node sends, a node can read");
        let now = self.now;
        let wishes = self.hosts.get_mut(&flight.to).expect("it runs").deliver(now, flight.from, envelope);
        self.fulfil(&flight.to, wishes);
    }

    /// Does what a process asks for.
    fn fulfil(&mut self, node: &NodeId, wishes: Vec<Wish>) {
        let life = self.hosts[node].life;
        for wish in wishes {
            match wish {
                Wish::Send { to, envelope } => self.send(node, to, &envelope),
                Wish::Contact { address, envelope } => {
                    let to = NodeId::new(address.as_str()).expect("addresses of this world are names");
                    self.send(node, to, &envelope);
                }
                Wish::Reply { token, reply } => {
                    let client = self.client_of.get(&token).cloned().unwrap_or_default();
                    let at = self.now + self.network.latency();
                    self.put(at, Item::Reply { client, node: node.clone(), token, reply, sent_at: self.now });
                }
                Wish::Sync { part, upto } => {
                    let ns = |span: Duration| u64::try_from(span.as_nanos()).expect("a short span");
                    let takes = Duration::from_nanos(
                        self.disk_rng.between(ns(SYNC_MIN), ns(self.setting.sync_max.max(SYNC_MIN))),
                    );
                    self.put(self.now + takes, Item::Durable { node: node.clone(), life, part, upto });
                }
                Wish::Wake { part, at } => {
                    let before = self.wakes.insert((node.clone(), part), at);
                    if before != Some(at) {
                        self.put(at, Item::Wake { node: node.clone(), life, part });
                    }
                }
                Wish::Event(event) => self.note(event),
            }
        }
    }

    fn send(&mut self, from: &NodeId, to: NodeId, envelope: &Envelope) {
        let fate = if *from == to {
            super::network::Fate { due_at: self.now, lost: None }
        } else {
            self.network.send(self.now, from, &to)
        };
        let flight = Flight {
            id: self.counter,
            from: from.clone(),
            to,
            bytes: envelope.encode(),
            cause: envelope.cause,
            kind: envelope.message.kind(),
            key: envelope.message.key().cloned(),
            sent_at: self.now,
            due_at: fate.due_at,
            lost: fate.lost,
        };
        let at = fate.lost.map_or(fate.due_at, |(at, _)| at);
        self.put(at, Item::Message(flight));
    }

    fn put(&mut self, at: Time, item: Item) {
        self.counter += 1;
        self.queue.insert((at.max(self.now), self.counter), item);
    }

    fn own_event(&mut self, node: &NodeId, cause: Option<EventId>, kind: EventKind) {
        let id = EventId { origin: 0, number: self.own_events };
        self.own_events = self.own_events.wrapping_add(1);
        self.note(Event { id, cause, at: self.now, node: node.clone(), kind });
    }

    fn note(&mut self, event: Event) {
        self.clients.follow(&event);
        if self.events.len() >= EVENTS_MAX {
            self.events.drain(..EVENTS_MAX / 10);
        }
        self.events.push(event);
    }

    /// The events since they were taken last, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// The writes that clients were told are safe.
    #[must_use]
    pub fn acknowledged(&self) -> &[Acknowledged] {
        &self.clients.acknowledged
    }

    /// The promises that were broken so far, each in a sentence. An empty list is what the protocol is for.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.clients.violations
    }

    /// Reads a key through a node with a quorum, as a client would, and runs the world until it is answered. The answer
    /// is whole, which a client's picture of it is not.
    ///
    /// # Errors
    /// The node's answer, or that it is down.
    pub fn read(&mut self, node: &NodeId, key: &Key) -> Result<SiblingSet, RequestError> {
        let (token, request) =
            self.clients.begin(self.now, "checker", node, &ClientOperation::Get { key: key.clone() });
        self.client_of.insert(token, String::from("checker"));
        self.put(
            self.now,
            Item::Request { client: "checker".into(), node: node.clone(), token, request, sent_at: self.now },
        );
        self.await_reply(node, token).map(|success| success.set)
    }

    /// Sends a node a request as it is, from a client that nobody keeps a record of and that does not wait for the answer.
    pub fn submit(&mut self, node: &NodeId, request: Request) -> Token {
        self.counter += 1;
        // Far from the tokens of the clients that are kept a record of.
        let token = Token(u64::MAX - self.counter);
        let client = String::from("stranger");
        self.client_of.insert(token, client.clone());
        self.put(self.now, Item::Request { client, node: node.clone(), token, request, sent_at: self.now });
        token
    }

    /// Sends a node a request as it is, and runs the world until it is answered.
    ///
    /// # Errors
    /// The node's answer, or that it is down.
    pub fn ask(&mut self, node: &NodeId, request: Request) -> Reply {
        let token = self.submit(node, request);
        self.await_reply(node, token)
    }

    fn await_reply(&mut self, node: &NodeId, token: Token) -> Reply {
        let until = self.now + READ_PATIENCE;
        while self.next_at().is_some_and(|at| at <= until) {
            if let Some((_, Item::Reply { token: answered, reply, .. })) = self.queue.first_key_value()
                && *answered == token
            {
                let reply = reply.clone();
                self.step();
                return reply;
            }
            self.step();
        }
        Err(RequestError::Timeout { coordinator: node.clone() })
    }

    /// A hash of everything that has happened and of what every disk holds: equal runs have equal hashes, natively and in
    /// wasm.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.u64(self.now.0);
        for (node, host) in &self.hosts {
            hasher.bytes(node.as_str().as_bytes());
            hasher.u64(host.life);
            host.stores().into_iter().for_each(|store| store.hash_into(&mut hasher));
        }
        hasher.finish()
    }

    /// The machines, by name.
    pub(super) const fn hosts(&self) -> &BTreeMap<NodeId, Host> {
        &self.hosts
    }

    /// What is on its way, oldest first.
    pub(super) fn in_flight(&self) -> Vec<MessageView> {
        let mut views: Vec<MessageView> =
            self.queue.iter().filter_map(|((at, id), item)| message_view(*at, *id, item)).collect();
        views.sort_by_key(|view| (view.sent_at, view.id));
        views
    }
}

fn requested(wish: &Wish) -> Option<&Event> {
    match wish {
        Wish::Event(event) if matches!(event.kind, EventKind::Requested { .. }) => Some(event),
        _ => None,
    }
}

fn message_view(at: Time, id: u64, item: &Item) -> Option<MessageView> {
    match item {
        Item::Message(flight) => Some(MessageView {
            id: flight.id,
            from: Endpoint::Node(flight.from.clone()),
            to: Endpoint::Node(flight.to.clone()),
            kind: flight.kind,
            key: flight.key.clone(),
            sent_at: flight.sent_at,
            due_at: flight.due_at,
            lost: flight.lost,
            cause: flight.cause,
        }),
        Item::Request { client, node, request, sent_at, .. } => Some(MessageView {
            id,
            from: Endpoint::Client(client.clone()),
            to: Endpoint::Node(node.clone()),
            kind: MessageKind::Client,
            key: Some(request.key.clone()),
            sent_at: *sent_at,
            due_at: at,
            lost: None,
            cause: None,
        }),
        Item::Reply { client, node, sent_at, .. } => Some(MessageView {
            id,
            from: Endpoint::Node(node.clone()),
            to: Endpoint::Client(client.clone()),
            kind: MessageKind::ClientAnswer,
            key: None,
            sent_at: *sent_at,
            due_at: at,
            lost: None,
            cause: None,
        }),
        Item::Durable { .. } | Item::Wake { .. } | Item::End { .. } => None,
    }
}
