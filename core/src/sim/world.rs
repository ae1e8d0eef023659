//! The world: one queue of things that will happen, in the order of their times, and the machines they happen to. It
//! takes the next one, hands it to whom it concerns, and puts what follows into the queue. It never judges what happens.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::action::{ClientOperation, RequestOptions, Setting};
use super::checker::Checker;
use super::client::{Asked, Clients, Open};
use super::host::{CONTROL, Host, Part, Wish, address_of, name_of};
use super::network::{Fate, HostIndex, Network};
use super::verdict::{Fault, Tally, Violation};
use super::{Invariant, Verdict};
use crate::event::{Event, EventId, EventKind, LossReason, MessageKind};
use crate::hash::StableHasher;
use crate::id::{Address, Key, NodeId, Token};
use crate::message::Envelope;
use crate::shard::{Reply, Request};
use crate::storage::Seq;
use crate::time::Time;
use crate::view::{AntiEntropyView, Endpoint, MessageView, ProcessState};

/// The most nodes that a world has.
const NODES_MAX: usize = 64;
/// Events kept until they are taken; the oldest go first.
const EVENTS_MAX: usize = 200_000;
/// How long a process that is told to stop is given.
pub(super) const GOODBYE: Duration = Duration::from_millis(200);
/// What starts processes tries again after so long when one cannot go on.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How long a client waits before it asks the next node.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Things that wait for a process that stands still; messages beyond are dropped, as a full socket drops them.
const WAITING_MAX: usize = 10_000;
/// Far more than all parts of all nodes can have to do at one moment.
const WAKES_AT_ONCE_MAX: u32 = 100_000;
/// Between two looks at the queues of all nodes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Something that will happen. What is large is shared by the copies of a world.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A message arrives, or its loss shows.
    Message(Arc<Flight>),
    /// A client's request arrives at a node.
    Request(Arc<ClientRequest>),
    /// A reply arrives at a client.
    Reply(Arc<ClientReply>),
    /// A client asks the next node.
    Again(Arc<Asked>, usize),
    /// A disk is done.
    Durable { host: HostIndex, life: u64, part: Part, upto: Seq },
    /// A part of a process asked to be woken.
    Wake { host: HostIndex, life: u64, part: Part, at: Time },
    /// A process that said goodbye ends.
    End { host: HostIndex, life: u64 },
    /// A process that could not go on is started again.
    Supervise { host: HostIndex, life: u64 },
    /// Something that a slow process takes only now.
    Late(Box<Self>),
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    id: u64,
    from: HostIndex,
    to: HostIndex,
    bytes: Bytes,
    cause: Option<EventId>,
    kind: MessageKind,
    key: Option<Key>,
    sent_at: Time,
    due_at: Time,
    lost: Option<(Time, LossReason)>,
}

/// A client's request on its way.
#[derive(Clone, Debug)]
pub(super) struct ClientRequest {
    pub(super) asked: Arc<Asked>,
    pub(super) host: HostIndex,
    pub(super) token: Token,
    pub(super) request: Request,
    pub(super) sent_at: Time,
}

/// An answer on its way to a client.
#[derive(Clone, Debug)]
pub(super) struct ClientReply {
    asked: Option<Arc<Asked>>,
    host: HostIndex,
    token: Token,
    reply: Reply,
    sent_at: Time,
}

/// A cluster on a virtual clock. A clone goes on from the same moment and knows nothing of the original.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) setting: Setting,
    pub(super) now: Time,
    /// Orders what happens at one time, and numbers messages.
    counter: u64,
    queue: BTreeMap<(Time, u64), Item>,
    pub(super) hosts: Vec<Host>,
    pub(super) names: BTreeMap<NodeId, HostIndex>,
    /// What waits for a process that stands still.
    waiting: BTreeMap<HostIndex, VecDeque<Item>>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    pub(super) checker: Checker,
    /// Since when everything is as it should be; nothing while something is not.
    pub(super) well_since: Option<Time>,
    /// Since when everything is as it should be but for nodes that are down; nothing while something else is not.
    pub(super) quiet_since: Option<Time>,
    /// Since when no link is bad and everybody who runs is well; nothing while it is not so.
    pub(super) steady_since: Option<Time>,
    /// The nodes that were mended for good, and since when.
    pub(super) core: Option<(Time, Vec<HostIndex>)>,
    /// What the message is about that a process takes at this moment.
    pub(super) handling: Option<MessageKind>,
    /// How often somebody was woken at a moment.
    wakes: (Time, u32),
    next_look: Time,
    recording: bool,
    events: Vec<Event>,
    own_events: u32,
    hasher: StableHasher,
}

impl World {
    /// A world whose nodes all start at once: the first one founds the cluster, the others join through it.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        Self::of(setting, true)
    }

    /// As [`Self::new`], but it keeps neither events nor pictures of operations for whoever draws them. What is judged
    /// needs neither.
    #[must_use]
    pub fn unrecorded(setting: &Setting) -> Self {
        Self::of(setting, false)
    }

    fn of(setting: &Setting, recording: bool) -> Self {
        let mut world = Self {
            setting: setting.clone(),
            now: Time::ZERO,
            counter: 0,
            queue: BTreeMap::new(),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            waiting: BTreeMap::new(),
            network: Network::new(setting.network, setting.seed),
            clients: Clients::new(recording),
            checker: Checker::new(setting.replication),
            well_since: None,
            quiet_since: None,
            steady_since: None,
            core: None,
            handling: None,
            wakes: (Time::ZERO, 0),
            next_look: Time::ZERO,
            recording,
            events: Vec::new(),
            own_events: 0,
            hasher: StableHasher::new(),
        };
        for _ in 0..setting.nodes.clamp(1, 64) {
            world.add();
        }
        world.note_health();
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
        self.checker.tally.things += 1;
        if at >= self.next_look {
            self.next_look = at + LOOK_INTERVAL;
            self.look();
        }
        self.happen(item);
        Some(at)
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Message(flight) => {
                if let Some(reason) = self.loss(&flight) {
                    return self.lose(&flight, reason);
                }
                self.reach(flight.to, Item::Message(flight));
            }
            Item::Request(request) => self.reach(request.host, Item::Request(request)),
            Item::Durable { host, .. } | Item::Wake { host, .. } => self.reach(host, item),
            Item::Late(item) => self.take(*item),
            Item::Reply(reply) => self.reply_arrives(&reply),
            Item::Again(asked, tries) => self.ask_next(asked, tries),
            Item::End { host, life } => {
                if self.runs(host, life) {
                    self.end_process(host, ProcessState::Stopped);
                }
            }
            Item::Supervise { host, life } => {
                if self.hosts[host].life == life && self.hosts[host].state != ProcessState::Running {
                    self.start(host);
                }
            }
        }
    }

    /// Something has come for a process, which may stand still or be slow.
    fn reach(&mut self, host: HostIndex, item: Item) {
        let is_for_control = match &item {
            Item::Message(flight) => flight.kind.is_for_control_plane(),
            Item::Durable { part, .. } | Item::Wake { part, .. } => *part == CONTROL,
            _ => false,
        };
        let Host { slow_by, slow_control_by, .. } = self.hosts[host];
        let slow_by = if is_for_control { slow_by.max(slow_control_by) } else { slow_by };
        if self.hosts[host].paused || slow_by.is_zero() {
            return self.take(item);
        }
        self.put(self.now + slow_by, Item::Late(Box::new(item)));
    }

    /// A process takes what came for it.
    fn take(&mut self, item: Item) {
        let host = match &item {
            Item::Message(flight) => flight.to,
            Item::Request(request) => request.host,
            Item::Durable { host, .. } | Item::Wake { host, .. } => *host,
            _ => unreachable!("only what comes for a process is taken by one"),
        };
        if self.hosts[host].paused {
            let waiting = self.waiting.entry(host).or_default();
            if waiting.len() < WAITING_MAX || !matches!(item, Item::Message(_)) {
                waiting.push_back(item);
            } else if let Item::Message(flight) = item {
                self.lose(&flight, LossReason::Full);
            }
            return;
        }
        match item {
            Item::Message(flight) => self.arrive(&flight),
            Item::Request(request) => self.request_arrives(&request),
            Item::Durable { host, life, part, upto } if self.runs(host, life) => {
                let wishes = self.hosts[host].durable(self.now, part, upto);
                self.fulfil(host, wishes);
            }
            Item::Wake { host, life, part, at } if self.runs(host, life) && self.hosts[host].is_waking(part, at) => {
                self.count_wake();
                let wishes = self.hosts[host].wake(self.now, part);
                self.fulfil(host, wishes);
            }
            _ => {}
        }
    }

    /// A process that wants to be woken again at the moment at which it was woken would never do anything else.
    fn count_wake(&mut self) {
        let (at, wakes) = self.wakes;
        self.wakes = if at == self.now { (at, wakes + 1) } else { (self.now, 1) };
        assert!(wakes < WAKES_AT_ONCE_MAX, "somebody does nothing but wake up at {at:?}");
    }

    /// A process that stood still goes on with what waited for it.
    pub(super) fn go_on(&mut self, host: HostIndex) {
        self.hosts[host].paused = false;
        for item in self.waiting.remove(&host).unwrap_or_default() {
            self.take(item);
        }
    }

    fn runs(&self, host: HostIndex, life: u64) -> bool {
        self.hosts[host].life == life && self.hosts[host].state == ProcessState::Running
    }

    /// Lets everything happen up to a time, that time included, and stands at it then.
    pub fn run_until(&mut self, until: Time) {
        while self.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// A client asks for something.
    pub(super) fn client_asks(
        &mut self,
        client: &str,
        host: HostIndex,
        operation: &ClientOperation,
        options: &RequestOptions,
    ) -> Token {
        let asked = Asked { client: client.into(), operation: operation.clone(), options: options.clone() };
        self.ask_host(Arc::new(asked), host, 0)
    }

    fn ask_next(&mut self, asked: Arc<Asked>, tries: usize) {
        let next = asked.options.retry.get(tries - 1).and_then(|node| self.index(node));
        if let Some(host) = next {
            self.ask_host(asked, host, tries);
        }
    }

    fn ask_host(&mut self, asked: Arc<Asked>, host: HostIndex, tries: usize) -> Token {
        let before = self.checker.oracle.acknowledgements();
        let open = Open { asked: asked.clone(), host, tries, began: self.now, before, replied: false };
        let (token, request) = self.clients.begin(self.now, &self.hosts[host].node, open);
        if !matches!(asked.operation, ClientOperation::Get { .. }) {
            self.checker.losses.begin(token, asked.key().clone());
        }
        let at = self.now + self.network.client_latency();
        let request = ClientRequest { asked, host, token, request, sent_at: self.now };
        self.put(at, Item::Request(Arc::new(request)));
        token
    }

    fn request_arrives(&mut self, arrived: &ClientRequest) {
        self.hasher.bytes(arrived.asked.client.as_bytes());
        let ClientRequest { host, token, .. } = *arrived;
        if self.clients.open(token).is_none() {
            // The process that it was sent to has ended meanwhile, and its connections with it.
            return;
        }
        if self.hosts[host].state != ProcessState::Running {
            return self.fail(token, "nobody listens there: the node is down");
        }
        let wishes = self.hosts[host].request(self.now, token, arrived.request.clone());
        if let Some(event) = wishes.iter().find_map(requested) {
            self.clients.trace_from(event, token);
        }
        self.fulfil(host, wishes);
    }

    fn reply_arrives(&mut self, arrived: &ClientReply) {
        let ClientReply { host, token, .. } = *arrived;
        self.hasher.bytes(self.hosts[host].node.as_str().as_bytes());
        let Some(open) = self.clients.end(self.now, token, &arrived.reply) else { return };
        self.judge_reply(token, &open, &arrived.reply);
        if arrived.reply.as_ref().is_err_and(crate::error::RequestError::is_retryable) {
            self.try_again(open);
        }
    }

    /// A client's connection ends without an answer.
    fn fail(&mut self, token: Token, message: &str) {
        let Some(open) = self.clients.fail(self.now, token, message) else { return };
        self.checker.losses.give_up(token);
        self.checker.count("unreachable");
        self.try_again(open);
    }

    fn try_again(&mut self, open: Open) {
        if open.tries < open.asked.options.retry.len() {
            self.put(self.now + RETRY_AFTER, Item::Again(open.asked, open.tries + 1));
        }
    }

    /// Ends the process of a node. Of what its disk had not made durable, a beginning may be left.
    pub(super) fn end_process(&mut self, host: HostIndex, state: ProcessState) {
        if self.hosts[host].crash(self.now, state) {
            self.checker.note(Fault::TornBatch);
        }
        for item in self.waiting.remove(&host).unwrap_or_default() {
            if let Item::Message(flight) = item {
                self.lose(&flight, LossReason::Down);
            }
        }
        for token in self.clients.open_at(host) {
            self.fail(token, "the connection ended without an answer: a write may still appear later");
        }
    }

    /// Starts the process of a node. One that cannot read its disk ends at once, and is started again after a while. One
    /// whose disk was restored from an old copy is started only while all others can tell it so.
    pub(super) fn start(&mut self, host: HostIndex) {
        let restored = self.hosts[host].restored;
        if !self.hosts[host].can_start() || (restored && !self.others_are_heard(host)) {
            let life = self.hosts[host].life;
            return self.put(self.now + RESTART_AFTER, Item::Supervise { host, life });
        }
        let others = self.hosts.iter().enumerate().filter(|(other, of)| *other != host && !of.left);
        let seeds: Vec<Address> = others.map(|(_, other)| address_of(&other.node)).collect();
        let wishes = self.hosts[host].start(self.now, seeds);
        self.fulfil(host, wishes);
    }

    /// Whether all other nodes run and can be heard by this one.
    fn others_are_heard(&self, host: HostIndex) -> bool {
        let others = self.hosts.iter().enumerate().filter(|(other, _)| *other != host);
        self.network.is_healed() && others.into_iter().all(|(_, other)| other.is_well() || other.left)
    }

    /// A new node joins through any running one, if the world has room for it.
    pub(super) fn add(&mut self) {
        if self.hosts.len() < NODES_MAX {
            self.grow();
        }
    }

    /// As [`Self::add`], for measurements in worlds that are larger than anybody can draw.
    pub(super) fn grow(&mut self) {
        let node = name_of(u16::try_from(self.hosts.len()).expect("at most 65,536 nodes"));
        let host = self.hosts.len();
        self.network.connect(&node);
        self.hosts.push(Host::new(node.clone(), &self.setting, self.recording));
        self.names.insert(node, host);
        self.start(host);
    }

    /// Why a message does not get through.
    fn loss(&self, flight: &Flight) -> Option<LossReason> {
        let down = self.hosts[flight.to].state != ProcessState::Running;
        match flight.lost {
            Some((_, reason)) => Some(reason),
            None if self.network.is_cut(flight.from, flight.to) => Some(LossReason::Cut),
            None if down => Some(LossReason::Down),
            None => None,
        }
    }

    fn lose(&mut self, flight: &Flight, reason: LossReason) {
        self.hasher.u64(flight.id);
        if flight.lost.is_none() && flight.from != flight.to {
            self.network.arrived(flight.from, flight.to, flight.id);
        }
        match reason {
            LossReason::Loss => self.checker.note(Fault::Loss),
            LossReason::Full => self.checker.note(Fault::QueueFull),
            LossReason::Cut | LossReason::Down => {}
        }
        if self.recording {
            let to = self.hosts[flight.to].node.clone();
            self.own_event(flight.from, flight.cause, EventKind::Lost { to, message: flight.kind, reason });
        }
    }

    fn arrive(&mut self, flight: &Flight) {
        if let Some(reason @ LossReason::Down) = self.loss(flight) {
            // It waited for a process that ended meanwhile.
            return self.lose(flight, reason);
        }
        self.hasher.u64(flight.id);
        self.hasher.bytes(&flight.bytes);
        if flight.from != flight.to && self.network.arrived(flight.from, flight.to, flight.id) {
            self.checker.note(Fault::Reordering);
        }
        // What arrives is what the wire form says, as in the real world.
        let envelope = Envelope::decode(&flight.bytes).expect("what a node sends, a node can read");
        let from = self.hosts[flight.from].node.clone();
        let wishes = self.hosts[flight.to].deliver(self.now, from, envelope);
        self.handling = Some(flight.kind);
        self.fulfil(flight.to, wishes);
        self.handling = None;
    }

    /// Does what a process asks for.
    pub(super) fn fulfil(&mut self, host: HostIndex, mut wishes: Vec<Wish>) {
        let life = self.hosts[host].life;
        for wish in wishes.drain(..) {
            match wish {
                Wish::Send { to, envelope } => self.send(host, &to, &envelope),
                Wish::Contact { address, envelope } => {
                    let to = NodeId::new(address.as_str()).expect("addresses of this world are names");
                    self.send(host, &to, &envelope);
                }
                Wish::Reply { token, reply } => self.reply(host, token, reply),
                Wish::Sync { part, upto } => {
                    let at = self.now + self.hosts[host].sync_takes();
                    self.put(at, Item::Durable { host, life, part, upto });
                }
                Wish::Wake { part, at } => {
                    if self.hosts[host].wants_waking(part, at) {
                        self.put(at, Item::Wake { host, life, part, at });
                    }
                }
                Wish::Event(event) => self.note(host, event),
                Wish::Left => {
                    self.hosts[host].left = true;
                    self.judge_departure(host);
                    self.put(self.now + GOODBYE, Item::End { host, life });
                }
                Wish::Failed(error) => {
                    self.own_event(host, None, EventKind::StorageFailed { reason: alloc::format!("{error}") });
                    self.end_process(host, ProcessState::Crashed);
                    self.note_health();
                    return self.put(self.now + RESTART_AFTER, Item::Supervise { host, life });
                }
            }
        }
        self.hosts[host].take_back(wishes);
    }

    fn reply(&mut self, host: HostIndex, token: Token, reply: Reply) {
        let asked = self.clients.open(token).map(|open| open.asked.clone());
        if self.clients.reply(token) {
            let detail = alloc::format!("{} answered request {} again", self.hosts[host].node, token.0);
            self.checker.breaks(Invariant::OneReply, self.now, detail);
        }
        let at = self.now + self.network.client_latency();
        self.put(at, Item::Reply(Arc::new(ClientReply { asked, host, token, reply, sent_at: self.now })));
    }

    fn send(&mut self, from: HostIndex, to: &NodeId, envelope: &Envelope) {
        // Only a name that was made up is nobody's here.
        let Some(to) = self.index(to) else { return };
        let fate = if from == to {
            Fate { due_at: self.now, lost: None, again_at: None }
        } else {
            self.network.send(self.now, from, to)
        };
        let mut flight = Flight {
            id: self.counter,
            from,
            to,
            bytes: envelope.encode().into(),
            cause: envelope.cause,
            kind: envelope.message.kind(),
            key: envelope.message.key().cloned(),
            sent_at: self.now,
            due_at: fate.due_at,
            lost: fate.lost,
        };
        if let Some(again_at) = fate.again_at {
            self.checker.note(Fault::Duplication);
            let second = Flight { due_at: again_at, ..flight.clone() };
            self.put(again_at, Item::Message(Arc::new(second)));
            flight.id = self.counter;
        }
        let at = fate.lost.map_or(fate.due_at, |(at, _)| at);
        self.put(at, Item::Message(Arc::new(flight)));
    }

    pub(super) fn put(&mut self, at: Time, item: Item) {
        self.counter += 1;
        self.queue.insert((at.max(self.now), self.counter), item);
    }

    pub(super) fn own_event(&mut self, host: HostIndex, cause: Option<EventId>, kind: EventKind) {
        if !self.recording {
            return;
        }
        let id = EventId { origin: 0, number: self.own_events };
        self.own_events = self.own_events.wrapping_add(1);
        let event = Event { id, cause, at: self.now, node: self.hosts[host].node.clone(), kind };
        self.note(host, event);
    }

    fn note(&mut self, host: HostIndex, event: Event) {
        self.judge_event(host, &event);
        if !self.recording {
            return;
        }
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

    /// The promises that were broken so far. An empty list is what the protocol is for.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.checker.violations
    }

    /// What happened so far.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.checker.tally
    }

    /// What came of the run so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            violations: self.violations().to_vec(),
            tally: self.tally().clone(),
            simulated: self.now.since(Time::ZERO),
            hash: self.hash(),
        }
    }

    /// The disks of a machine, the control plane's first, to be damaged by hand: what a schedule has no action for.
    pub fn disks_mut(&mut self, node: &NodeId) -> Vec<&mut crate::storage::MemoryStore> {
        self.index(node).map(|host| self.hosts[host].memories_mut()).unwrap_or_default()
    }

    /// What a running node compared with others and repaired.
    #[must_use]
    pub fn anti_entropy(&self, node: &NodeId) -> AntiEntropyView {
        let shards = self.index(node).map_or(&[][..], |host| self.hosts[host].shards());
        shards.iter().map(crate::shard::Shard::anti_entropy).fold(AntiEntropyView::default(), AntiEntropyView::with)
    }

    /// A hash of everything that has happened and of what every disk holds: equal runs have equal hashes, natively and in
    /// wasm.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.u64(self.now.0);
        for host in self.hosts() {
            hasher.bytes(host.node.as_str().as_bytes());
            hasher.u64(host.life);
            host.stores().into_iter().for_each(|store| store.memory().hash_into(&mut hasher));
        }
        hasher.finish()
    }

    /// The answer that arrives next, if an answer is the next thing to happen.
    pub(super) fn next_reply(&self) -> Option<(Token, &Reply)> {
        match self.queue.first_key_value()?.1 {
            Item::Reply(reply) => Some((reply.token, &reply.reply)),
            _ => None,
        }
    }

    /// The machines, in the order of their names.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.names.values().map(|index| &self.hosts[*index])
    }

    /// The number of a node.
    pub(super) fn index(&self, node: &NodeId) -> Option<HostIndex> {
        self.names.get(node).copied()
    }

    pub(super) fn host_name(&self, host: HostIndex) -> &NodeId {
        &self.hosts[host].node
    }

    /// What is on its way, oldest first.
    pub(super) fn in_flight(&self) -> Vec<MessageView> {
        let mut views: Vec<MessageView> =
            self.queue.iter().filter_map(|((at, id), item)| self.message_view(*at, *id, item)).collect();
        views.sort_by_key(|view| (view.sent_at, view.id));
        views
    }

    fn message_view(&self, at: Time, id: u64, item: &Item) -> Option<MessageView> {
        let node = |host: HostIndex| Endpoint::Node(self.host_name(host).clone());
        let client = |asked: &Asked| Endpoint::Client(asked.client.clone());
        match item {
            Item::Message(flight) => Some(MessageView {
                id: flight.id,
                from: node(flight.from),
                to: node(flight.to),
                kind: flight.kind,
                key: flight.key.clone(),
                sent_at: flight.sent_at,
                due_at: flight.due_at,
                lost: flight.lost,
                cause: flight.cause,
            }),
            Item::Request(request) => Some(MessageView {
                id,
                from: client(&request.asked),
                to: node(request.host),
                kind: MessageKind::Client,
                key: Some(request.request.key.clone()),
                sent_at: request.sent_at,
                due_at: at,
                lost: None,
                cause: None,
            }),
            Item::Reply(reply) => Some(MessageView {
                id,
                from: node(reply.host),
                to: client(reply.asked.as_ref()?),
                kind: MessageKind::ClientAnswer,
                key: None,
                sent_at: reply.sent_at,
                due_at: at,
                lost: None,
                cause: None,
            }),
            Item::Late(item) => self.message_view(at, id, item),
            Item::Again(..) | Item::Durable { .. } | Item::Wake { .. } | Item::End { .. } | Item::Supervise { .. } => {
                None
            }
        }
    }
}

fn requested(wish: &Wish) -> Option<&Event> {
    match wish {
        Wish::Event(event) if matches!(event.kind, EventKind::Requested { .. }) => Some(event),
        _ => None,
    }
}
