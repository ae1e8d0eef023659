//! The control plane of the core on its thread. It never waits for a shard: what a shard has no room for yet is kept here,
//! in order. Decides nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::gossip::{Answers, Asked, Heard, QuestionId, Stamp};
use quorate_core::id::{Address, EventName, NodeId, Token};
use quorate_core::layout::{ChangeError, LayoutId};
use quorate_core::message::Envelope;
use quorate_core::node::{Input, JoinError, Node, NodeEvent, Output, ShardEvent, TalkError, Wish};
use quorate_core::storage::Seq;
use quorate_core::time::Time;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::inbox::Inbox;
use super::machine::{Due, Look, Machine, die};
use super::shard::ShardInput;
use super::{HeardEvent, send};
use crate::discovery::Discovery;
use crate::metrics::Metrics;
use crate::peer::Peers;
use crate::storage::Store;
use crate::trace;

/// When to try a shard again that had no room.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// What a node says to the questions of users.
const HEARD: &[u8] = b"null";

/// What the control plane's thread is given.
pub(super) enum ControlInput {
    /// A peer's message.
    Message { from: NodeId, envelope: Box<Envelope> },
    /// A shard reports.
    Shard(NodeEvent),
    /// An operator introduces a node, and waits for the outcome.
    Introduce { address: Address, outcome: oneshot::Sender<Result<NodeId, JoinError>> },
    /// An operator wants something of the layout, and waits for the outcome.
    Wish { wish: Wish, outcome: oneshot::Sender<Result<LayoutId, ChangeError>> },
    /// This node is to leave for good; who asked waits until that begins.
    Leave { outcome: oneshot::Sender<Result<LayoutId, ChangeError>> },
    /// A user tells the cluster something, and waits for its stamp.
    Fire { name: EventName, payload: Bytes, outcome: oneshot::Sender<Result<Stamp, TalkError>> },
    /// A user asks members something, and waits for what they say.
    Ask { asked: Asked, outcome: oneshot::Sender<Result<Answers, TalkError>> },
    /// The process stops; the goodbye has been handed to the network when `told` is.
    Stop { told: oneshot::Sender<()> },
    /// Somebody wants to see it.
    Inspect(Look<Node<Store>>),
}

pub(super) struct ControlMachine {
    node: Node<Store>,
    peers: Peers<Inbox>,
    discovery: Option<Discovery>,
    shards: Vec<mpsc::Sender<ShardInput>>,
    /// What each shard had no room for yet.
    undelivered: Vec<VecDeque<ShardEvent>>,
    introductions: HashMap<Token, oneshot::Sender<Result<NodeId, JoinError>>>,
    wishes: HashMap<Token, oneshot::Sender<Result<LayoutId, ChangeError>>>,
    fired: HashMap<Token, oneshot::Sender<Result<Stamp, TalkError>>>,
    asked: HashMap<Token, oneshot::Sender<Result<Answers, TalkError>>>,
    /// Those who wait for what comes of a question.
    questions: HashMap<QuestionId, oneshot::Sender<Result<Answers, TalkError>>>,
    /// For whoever listens to events.
    events: broadcast::Sender<HeardEvent>,
    next_token: u64,
    trace: trace::Membership,
    metrics: Arc<Metrics>,
    /// Told once the goodbye went out, which is when it was made durable.
    stopping: Option<oneshot::Sender<()>>,
    /// Told once the node has left for good.
    left: Option<oneshot::Sender<()>>,
}

impl ControlMachine {
    pub(super) fn new(
        node: Node<Store>,
        peers: Peers<Inbox>,
        discovery: Option<Discovery>,
        shards: Vec<mpsc::Sender<ShardInput>>,
        events: broadcast::Sender<HeardEvent>,
        metrics: Arc<Metrics>,
        left: oneshot::Sender<()>,
    ) -> Self {
        let undelivered = shards.iter().map(|_| VecDeque::new()).collect();
        let trace = trace::Membership::new(node.id().clone());
        let (introductions, wishes, fired, asked, questions) = Default::default();
        let (next_token, stopping, left) = (0, None, Some(left));
        Self {
            node,
            peers,
            discovery,
            shards,
            undelivered,
            introductions,
            wishes,
            fired,
            asked,
            questions,
            events,
            next_token,
            trace,
            metrics,
            stopping,
            left,
        }
    }

    fn step(&mut self, now: Time, input: Input) -> Due {
        let mut due = Due::default();
        let mut put = Vec::new();
        for output in self.node.step(now, input) {
            match output {
                Output::Send { to, envelope } => send(&self.peers, &to, &envelope),
                Output::Contact { address, envelope } => {
                    contact(&self.peers, self.discovery.as_ref(), address, &envelope);
                }
                Output::Sync { upto } => due.sync = Some(upto),
                Output::Wake { at } => due.wake = Some(at),
                Output::Address(entry) => self.peers.set_address(entry.node, entry.address),
                Output::Shards(event) => self.undelivered.iter_mut().for_each(|queue| queue.push_back(event.clone())),
                Output::Introduced { token, result } => {
                    if let Some(waiting) = self.introductions.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(result);
                    }
                }
                Output::LayoutChanged { token, result } => {
                    if let Some(waiting) = self.wishes.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(result);
                    }
                }
                Output::Fired { token, result } => {
                    if let Some(waiting) = self.fired.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(result);
                    }
                }
                Output::Asked { token, result } => match (self.asked.remove(&token), result) {
                    (Some(waiting), Ok(id)) => {
                        self.questions.insert(id, waiting);
                    }
                    (Some(waiting), Err(error)) => {
                        // Whoever asked may have gone.
                        let _ = waiting.send(Err(error));
                    }
                    (None, _) => {}
                },
                Output::Heard(Heard::Event { event, is_late }) => {
                    // Nobody may be listening.
                    let _ = self.events.send(HeardEvent { event: event.into(), is_late });
                }
                Output::Heard(Heard::Question { from, id, .. }) => put.push((from, id)),
                Output::Heard(Heard::Answers(answers)) => {
                    if let Some(waiting) = self.questions.remove(&answers.id) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(Ok(answers));
                    }
                }
                // What is said to questions here is short, and nobody waits for it.
                Output::Answered { .. } => {}
                Output::Left => {
                    if let Some(left) = self.left.take() {
                        // A process that stops already needs no reason to.
                        let _ = left.send(());
                    }
                }
                Output::Failed(error) => die(&error),
                Output::Event(event) => {
                    self.metrics.happened(&event.kind);
                    self.trace.log(&event);
                }
            }
        }
        for (asker, id) in put {
            // No application is here that could say more than that the question has come.
            let token = self.new_token();
            let payload = Bytes::from_static(HEARD);
            due.add(self.step(now, Input::Answer { token, asker, id, payload }));
        }
        if !self.deliver() {
            let soon = now + RETRY_INTERVAL;
            due.wake = Some(due.wake.map_or(soon, |at| at.min(soon)));
        }
        due
    }

    const fn new_token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Hands on what there is room for. Says whether nothing is left.
    fn deliver(&mut self) -> bool {
        for (queue, shard) in self.undelivered.iter_mut().zip(&self.shards) {
            while let Some(event) = queue.pop_front() {
                if shard.try_send(ShardInput::Control(event.clone())).is_err() {
                    queue.push_front(event);
                    break;
                }
            }
        }
        self.undelivered.iter().all(VecDeque::is_empty)
    }
}

impl Machine for ControlMachine {
    type Input = ControlInput;

    fn take(&mut self, now: Time, input: ControlInput) -> Due {
        match input {
            ControlInput::Message { from, envelope } => self.step(now, Input::Message { from, envelope: *envelope }),
            ControlInput::Shard(event) => self.step(now, Input::Shard(event)),
            ControlInput::Introduce { address, outcome } => {
                let token = self.new_token();
                self.introductions.insert(token, outcome);
                self.step(now, Input::Introduce { token, address })
            }
            ControlInput::Wish { wish, outcome } => {
                let token = self.new_token();
                self.wishes.insert(token, outcome);
                self.step(now, Input::Wish { token, wish })
            }
            ControlInput::Leave { outcome } => {
                let token = self.new_token();
                self.wishes.insert(token, outcome);
                self.step(now, Input::Leave { token })
            }
            ControlInput::Fire { name, payload, outcome } => {
                let token = self.new_token();
                self.fired.insert(token, outcome);
                self.step(now, Input::Fire { token, name, payload })
            }
            ControlInput::Ask { asked, outcome } => {
                let token = self.new_token();
                self.asked.insert(token, outcome);
                self.step(now, Input::Ask { token, asked })
            }
            ControlInput::Stop { told } => {
                let due = self.step(now, Input::Stop);
                self.stopping = Some(told);
                due
            }
            ControlInput::Inspect(look) => {
                look(&self.node);
                Due::default()
            }
        }
    }

    fn on_time(&mut self, now: Time) -> Due {
        self.step(now, Input::Timer)
    }

    fn on_durable(&mut self, now: Time, upto: Seq) -> Due {
        self.step(now, Input::Durable { upto })
    }
    /// The goodbye waits for what it shows to become durable, and has been handed to the network only now.
    fn on_turn_end(&mut self) {
        if let Some(told) = self.stopping.take() {
            // Whoever waited may have lost patience.
            let _ = told.send(());
        }
    }
}

/// Sends to whoever listens at an address, or to everybody found for whom it stands.
fn contact(peers: &Peers<Inbox>, discovery: Option<&Discovery>, address: Address, envelope: &Envelope) {
    let frame = Bytes::from(envelope.encode());
    match discovery.filter(|discovery| discovery.stands_behind(&address)) {
        Some(discovery) => {
            let peers = peers.clone();
            discovery.find(move |found| peers.contact(found, frame.clone()));
        }
        None => peers.contact(address, frame),
    }
}
