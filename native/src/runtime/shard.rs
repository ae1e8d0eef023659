//! A shard of the core on its thread: requests of clients come in with somebody who waits for the reply. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::id::{NodeId, Token};
use quorate_core::message::Envelope;
use quorate_core::node::ShardEvent;
use quorate_core::shard::{Input, Output, Reply, Request, Shard};
use quorate_core::storage::Seq;
use quorate_core::time::Time;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::clock::Clock;
use super::control::ControlInput;
use super::inbox::Inbox;
use super::machine::{Due, Look, Machine, die};
use super::send;
use crate::metrics::Metrics;
use crate::peer::Peers;
use crate::storage::Store;
use crate::trace;

/// Between two tellings of the time of day.
const WALL_INTERVAL: Duration = Duration::from_secs(1);

/// What a shard's thread is given.
pub(super) enum ShardInput {
    /// A peer's message; the permit stands for its bytes.
    Message { from: NodeId, envelope: Box<Envelope>, permit: OwnedSemaphorePermit },
    /// A client's request, and who waits for the reply.
    Request { request: Request, reply: oneshot::Sender<Reply> },
    /// The control plane speaks.
    Control(ShardEvent),
    /// Somebody wants to see it.
    Inspect(Look<Shard<Store>>),
}

pub(super) struct ShardMachine {
    pub(super) shard: Shard<Store>,
    pub(super) clock: Clock,
    pub(super) peers: Peers<Inbox>,
    pub(super) control: mpsc::Sender<ControlInput>,
    replies: HashMap<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    wall_due: Time,
    log: trace::Data,
    metrics: Arc<Metrics>,
}

impl ShardMachine {
    pub(super) fn new(
        shard: Shard<Store>,
        clock: Clock,
        peers: Peers<Inbox>,
        control: mpsc::Sender<ControlInput>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (replies, log) = Default::default();
        Self { shard, clock, peers, control, replies, next_token: 0, wall_due: Time::ZERO, log, metrics }
    }

    fn step(&mut self, now: Time, input: Input) -> Due {
        let mut due = Due::default();
        for output in self.shard.step(now, input) {
            match output {
                Output::Send { to, envelope } => send(&self.peers, &to, &envelope),
                Output::Reply { token, reply } => {
                    if let Some(waiting) = self.replies.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(*reply);
                    }
                }
                Output::Sync { upto } => due.sync = Some(upto),
                Output::Wake { at } => due.wake = Some(at),
                Output::Control(event) => {
                    // The control plane never waits for a shard, so waiting for it ends.
                    let _ = self.control.blocking_send(ControlInput::Shard(event));
                }
                Output::Failed(error) => die(&error),
                Output::Event(event) => {
                    self.metrics.happened(&event.kind);
                    self.log.log(&event);
                }
            }
        }
        due
    }
}

impl Machine for ShardMachine {
    type Input = ShardInput;

    fn take(&mut self, now: Time, input: ShardInput) -> Due {
        match input {
            ShardInput::Message { from, envelope, permit } => {
                let due = self.step(now, Input::Message { from, envelope: *envelope });
                drop(permit);
                due
            }
            ShardInput::Request { request, reply } => {
                let token = Token(self.next_token);
                self.next_token += 1;
                self.replies.insert(token, reply);
                self.step(now, Input::Request { token, request })
            }
            ShardInput::Control(event) => self.step(now, Input::Control(event)),
            ShardInput::Inspect(look) => {
                look(&self.shard);
                Due::default()
            }
        }
    }

    fn on_time(&mut self, now: Time) -> Due {
        if now < self.wall_due {
            return self.step(now, Input::Timer);
        }
        self.wall_due = now + WALL_INTERVAL;
        self.step(now, Input::Wall(self.clock.wall()))
    }

    fn on_durable(&mut self, now: Time, upto: Seq) -> Due {
        self.step(now, Input::Durable { upto })
    }
}
