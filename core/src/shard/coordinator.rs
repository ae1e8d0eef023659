//! A client's request from its arrival to its end: put, get and delete by quorum (Dynamo 2007, sections 4.5 and 4.8). Only
//! an owner of the key coordinates; other nodes hand the request on. It asks no replica and counts no vote itself.
//!
//! A write without a context first reads R answers and replaces exactly what they show; such writes of one key take turns.

use alloc::boxed::Box;
use alloc::string::String;

use super::mint::decode_context;
use super::operation::{Operation as Coordination, Origin, Stage};
use super::round::View;
use super::{Operation, Output, Reply, Request, Shard};
use crate::config::Strategy;
use crate::error::RequestError;
use crate::event::{EventKind, OperationKind};
use crate::hash::Position;
use crate::id::{Key, RequestId, Token};
use crate::limits;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// A client's request.
    pub(super) fn on_request(&mut self, token: Token, request: Request) {
        self.effects.detail_as_cause(|| EventKind::Requested { operation: request.kind(), key: request.key.clone() });
        self.begin(Origin::Client(token), request);
    }

    pub(super) fn begin(&mut self, origin: Origin, request: Request) {
        let timeout = request.timeout.unwrap_or(self.start.config.request_timeout);
        let deadline = self.effects.now + timeout;
        let cause = self.effects.cause;
        let (due, stage, value_bytes) = (deadline, Stage::Queued, request.value_bytes());
        let operation = Coordination {
            origin,
            request,
            cause,
            deadline,
            due,
            stage,
            replacing: None,
            value_bytes,
            disk_full: false,
        };
        if let Err(error) = self.admit(&operation) {
            return self.reply(&operation.origin, operation.request.kind(), &operation.request.key, Err(error));
        }
        let id = self.new_request();
        self.timers.insert((deadline, id));
        self.value_bytes += value_bytes;
        self.operations.insert(id, operation);
        self.route(id);
    }

    /// Whether the request may begin at all.
    fn admit(&self, operation: &Coordination) -> Result<(), RequestError> {
        let Some(picture) = &self.picture else {
            let reason = String::from(
                "it is not a member of a cluster yet, or still asks the others whether its store is its own",
            );
            return Err(RequestError::NotReady { reason });
        };
        operation.request.validate(picture.config.replication.n.get(), self.start.config.value_bytes_max)?;
        let value_bytes = self.value_bytes.saturating_add(operation.value_bytes);
        if self.operations.len() >= limits::REQUESTS_MAX || value_bytes > limits::VALUE_BYTES_UNDER_WAY_MAX {
            return Err(RequestError::Overloaded);
        }
        if let Operation::Write { context: Some(context), .. } = &operation.request.operation {
            decode_context(picture, &operation.request.key, context)?;
        }
        Ok(())
    }

    /// Coordinates the request here if this node owns the key, else hands it on.
    fn route(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("admitted requests come after the picture");
        let operation = &self.operations[&id];
        let key = operation.request.key.clone();
        let at = Position::of(&key);
        let primaries = picture.rings.ring().preference_list(at).primaries();
        if !primaries.contains(&self.start.node) {
            return self.hand_on(id, &picture);
        }
        match &operation.request.operation {
            Operation::Get => self.begin_reading(id),
            // What the last writer wins over, and whether a named write is here already, must be read first.
            Operation::Write { context: Some(_), request_key: None, .. }
                if picture.config.strategies.of(&key) == Strategy::Siblings =>
            {
                self.begin_writing(id, None);
            }
            Operation::Write { .. } => self.take_turn(id, key),
        }
    }

    /// Writes that must see what is there take turns at their key.
    fn take_turn(&mut self, id: RequestId, key: Key) {
        let queue = self.turns.entry(key).or_default();
        if queue.len() > limits::KEY_WAITERS_MAX {
            return self.end(id, Err(RequestError::Overloaded));
        }
        queue.push_back(id);
        if queue.len() == 1 {
            self.begin_reading(id);
        }
    }

    pub(super) fn leave_turn(&mut self, id: RequestId, key: &Key) {
        let Some(queue) = self.turns.get_mut(key) else { return };
        let had_turn = queue.front() == Some(&id);
        queue.retain(|waiting| *waiting != id);
        let next = queue.front().copied().filter(|_| had_turn);
        if queue.is_empty() {
            self.turns.remove(key);
        }
        if let Some(next) = next {
            self.begin_reading(next);
        }
    }

    pub(super) fn leave_turn_of(&mut self, id: RequestId) {
        let key = self.operations[&id].request.key.clone();
        self.leave_turn(id, &key);
    }

    /// A timer of a request.
    pub(super) fn on_due(&mut self, id: RequestId) {
        let now = self.effects.now;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        self.effects.cause = operation.cause;
        let deadline = operation.deadline;
        if operation.is_replied() && deadline <= now {
            return self.finish_late(id);
        }
        let lingering = operation.round().and_then(|round| round.linger_until);
        if lingering.is_some_and(|until| until <= now || deadline <= now) {
            return self.succeed(id);
        }
        if deadline <= now {
            return self.time_out(id);
        }
        match operation.stage {
            Stage::Forwarded(_) => self.forward_on_time(id),
            Stage::Reading(_) | Stage::Writing { .. } => self.round_on_time(id),
            Stage::Queued | Stage::Leasing { .. } => {}
        }
        self.reschedule(id);
    }

    fn time_out(&mut self, id: RequestId) {
        match &self.operations[&id].stage {
            Stage::Forwarded(_) => self.forward_timed_out(id),
            Stage::Queued | Stage::Leasing { .. } => self.end(id, Err(RequestError::Overloaded)),
            Stage::Reading(_) | Stage::Writing { .. } => self.miss(id),
        }
    }

    /// Sets the timer of a request to whatever comes first for it.
    pub(super) fn reschedule(&mut self, id: RequestId) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let picture = self.picture.as_ref().expect("requests come after the picture");
        let view = View::new(picture, Position::of(&operation.request.key));
        let stage_due = match &operation.stage {
            Stage::Reading(round) | Stage::Writing { round, .. } => Some(round.due(view, self.effects.now)),
            Stage::Forwarded(forwarded) => Some(forwarded.due()),
            Stage::Queued | Stage::Leasing { .. } => None,
        };
        let due = stage_due.map_or(operation.deadline, |due| due.min(operation.deadline));
        let before = core::mem::replace(&mut operation.due, due);
        // One that has just gone off is not there any more, and lay before now.
        if due != before || due <= self.effects.now {
            self.timers.remove(&(before, id));
            self.timers.insert((due, id));
        }
    }

    /// Answers whoever waits, and forgets the request.
    pub(super) fn end(&mut self, id: RequestId, reply: Reply) {
        if let Some(operation) = self.forget(id) {
            self.reply(&operation.origin, operation.request.kind(), &operation.request.key, reply);
        }
    }

    pub(super) fn forget(&mut self, id: RequestId) -> Option<Coordination> {
        let mut operation = self.operations.remove(&id)?;
        if let Some(round) = operation.round() {
            self.rounds.remove(&round.name);
        }
        self.value_bytes -= operation.value_bytes;
        self.timers.remove(&(operation.due, id));
        self.leave_turn(id, &operation.request.key);
        Some(operation)
    }

    pub(super) fn reply(&mut self, origin: &Origin, operation: OperationKind, key: &Key, reply: Reply) {
        match origin {
            Origin::Client(token) => {
                self.effects.detail(|| {
                    let error = reply.as_ref().err().map(|error| String::from(error.code()));
                    EventKind::Replied { operation, key: key.clone(), error }
                });
                self.effects.push(Output::Reply { token: *token, reply: Box::new(reply) });
            }
            Origin::Peer { node, request, .. } => {
                self.answer_forward(key, node, *request, reply);
            }
        }
    }
}
