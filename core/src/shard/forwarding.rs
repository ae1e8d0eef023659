//! Requests for keys that this node does not own, on their way to a node that does, and its answers on their way back. It
//! never coordinates one itself.
//!
//! A request that is not answered is sent again to the same node under the same name, and that node knows it again. A read
//! that is late is handed to another owner too, and the first answer counts. A write is never handed to two nodes, for each
//! would give it a dot, unless the client has named it: then the two are one write, and one that is not answered for a while
//! is handed to another owner too. Whoever has not answered is asked last for a moment: until a crash is known to be one,
//! clients that try again would come to the same silent node again.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::forwards::Meeting;
use super::operation::{Origin, Stage};
use super::{Operation, Picture, Reply, Request, Shard};
use crate::error::RequestError;
use crate::event::{EventKind, OperationKind};
use crate::hash::Position;
use crate::id::{Key, NodeId, RequestId};
use crate::limits;
use crate::message::ShardMessage;
use crate::node::FromShard;
use crate::storage::Storage;
use crate::time::Time;

/// Between two sendings of a request that was not answered.
const FORWARD_RETRY: Duration = Duration::from_millis(500);
/// For how long it is held against an owner that it has not answered.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(2);

/// A request that was handed on.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    /// Who may still answer.
    to: Vec<NodeId>,
    /// Everybody it was handed to.
    tried: Vec<NodeId>,
    sent_at: Time,
    /// When it is handed to another owner too; nothing once it was, or if it must not be.
    hedge_at: Option<Time>,
    retry_at: Time,
    /// What one of them answered that could not do it, while another still may.
    failed: Option<RequestError>,
}

impl Forwarded {
    pub(super) fn due(&self) -> Time {
        self.retry_at.min(self.hedge_at.unwrap_or(self.retry_at))
    }
}

impl<S: Storage> Shard<S> {
    /// Hands a request to the first owner that is not down.
    pub(super) fn hand_on(&mut self, id: RequestId, picture: &Picture) {
        let now = self.effects.now;
        let operation = &self.operations[&id];
        let hops = match operation.origin {
            Origin::Client(_) => 0,
            Origin::Peer { hops, .. } => hops,
        };
        let target = self.next_owner(picture, &operation.request, &[]);
        let (Some(to), true) = (target, hops < limits::HOPS_MAX) else {
            let reason = String::from("no owner of the key can be reached");
            return self.end(id, Err(RequestError::NotReady { reason }));
        };
        let hedge_at = match operation.request.kind() {
            OperationKind::Get => Some(now + self.forward_latency.patience()),
            // Two dots of one name are one write, but not for nothing: only where the first owner may have crashed.
            OperationKind::Put | OperationKind::Delete => may_go_twice(&operation.request).then(|| now + FORWARD_RETRY),
        };
        let forwarded = Forwarded {
            to: Vec::new(),
            tried: Vec::new(),
            sent_at: now,
            hedge_at,
            retry_at: now + FORWARD_RETRY,
            failed: None,
        };
        self.operations.get_mut(&id).expect("it is under way").stage = Stage::Forwarded(Box::new(forwarded));
        self.forward_to(id, to);
    }

    /// Hands it to one more node.
    fn forward_to(&mut self, id: RequestId, to: NodeId) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let Stage::Forwarded(forwarded) = &mut operation.stage else { return };
        forwarded.to.push(to.clone());
        forwarded.tried.push(to.clone());
        self.send_forward(id, to);
        self.reschedule(id);
    }

    fn send_forward(&mut self, id: RequestId, to: NodeId) {
        let now = self.effects.now;
        let operation = &self.operations[&id];
        let hops = match operation.origin {
            Origin::Client(_) => 1,
            Origin::Peer { hops, .. } => hops.saturating_add(1),
        };
        let mut body = operation.request.clone();
        body.timeout = Some(operation.deadline.since(now).max(Duration::from_millis(1)));
        self.effects.cause = operation.cause;
        let slice = Position::of(&body.key).slice();
        self.send(to, slice, ShardMessage::Forward { request: id, hops, body });
    }

    pub(super) fn on_forward_answer(&mut self, from: &NodeId, id: RequestId, reply: Reply) {
        let now = self.effects.now;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let is_read = operation.request.kind() == OperationKind::Get;
        let Stage::Forwarded(forwarded) = &mut operation.stage else { return };
        if !forwarded.to.contains(from) {
            return;
        }
        if is_read {
            self.forward_latency.note(now.since(forwarded.sent_at));
        }
        forwarded.to.retain(|node| node != from);
        self.silent.remove(from);
        match reply {
            // Somebody else may still do it.
            Err(error) if !forwarded.to.is_empty() => forwarded.failed = Some(error),
            reply => self.end(id, reply),
        }
    }

    /// The timers of a request that was handed on.
    pub(super) fn forward_on_time(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let now = self.effects.now;
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let request = operation.request.clone();
        let Stage::Forwarded(forwarded) = &mut operation.stage else { return };
        if forwarded.retry_at <= now {
            forwarded.retry_at = now + FORWARD_RETRY;
            for node in forwarded.to.clone() {
                self.tell(FromShard::NoAnswer(node.clone()));
                self.silent.insert(node.clone(), now + SILENCE_REMEMBERED);
                self.send_forward(id, node);
            }
        }
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let Stage::Forwarded(forwarded) = &mut operation.stage else { return };
        if forwarded.hedge_at.take_if(|at| *at <= now).is_some()
            && let tried = forwarded.tried.clone()
            && let Some(to) = self.next_owner(&picture, &request, &tried)
        {
            let (key, other) = (request.key, to.clone());
            self.effects.event(|| EventKind::Hedged { key, to: other });
            self.forward_to(id, to);
        }
    }

    /// The layout has changed, or who is down. A request whose coordinator is down goes to another owner if that cannot
    /// make two writes of one.
    pub(super) fn review_forward(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let Stage::Forwarded(forwarded) = &mut operation.stage else { return };
        let (lost, to): (Vec<NodeId>, Vec<NodeId>) =
            forwarded.to.drain(..).partition(|node| picture.down.contains(node));
        forwarded.to = to;
        let Some(coordinator) = lost.into_iter().next().filter(|_| forwarded.to.is_empty()) else { return };
        let error = forwarded.failed.take().unwrap_or(RequestError::Timeout { coordinator });
        let (request, tried) = (operation.request.clone(), forwarded.tried.clone());
        match self.next_owner(&picture, &request, &tried).filter(|_| may_go_twice(&request)) {
            Some(to) => self.forward_to(id, to),
            None => self.end(id, Err(error)),
        }
    }

    /// Time is over for a request that was handed on.
    pub(super) fn forward_timed_out(&mut self, id: RequestId) {
        let Stage::Forwarded(forwarded) = &self.operations[&id].stage else { return };
        let silent = forwarded.to.clone();
        let error = forwarded.failed.clone();
        silent.iter().for_each(|node| self.tell(FromShard::NoAnswer(node.clone())));
        let coordinator = silent.into_iter().next().expect("it ends when nobody can answer any more");
        self.end(id, Err(error.unwrap_or(RequestError::Timeout { coordinator })));
    }

    /// The first owner that is not down and was not tried; one that was silent just now only if there is no other.
    fn next_owner(&self, picture: &Picture, request: &Request, tried: &[NodeId]) -> Option<NodeId> {
        let primaries = picture.rings.ring().preference_list(Position::of(&request.key)).primaries();
        let mut able = primaries.iter().filter(|node| !picture.down.contains(*node) && !tried.contains(node));
        let is_silent = |node: &NodeId| self.silent.get(node).is_some_and(|until| *until > self.effects.now);
        able.clone().find(|node| !is_silent(node)).or_else(|| able.next()).cloned()
    }

    /// A request that another node handed on, or hands on again.
    pub(super) fn on_forward(&mut self, from: &NodeId, request: RequestId, hops: u8, body: Request) {
        let now = self.effects.now;
        let is_write = body.kind() != OperationKind::Get;
        let timeout = body.timeout.unwrap_or(limits::TIMEOUT_MAX).min(limits::TIMEOUT_MAX);
        let origin = Origin::Peer { node: from.clone(), request, hops };
        match self.forwards.meet(from, request, is_write, now, timeout) {
            Meeting::New => self.begin(origin, body),
            Meeting::Answered(reply) => {
                let slice = Position::of(&body.key).slice();
                self.send(from.clone(), slice, ShardMessage::ForwardAnswer { request, reply });
            }
            // The answer goes out when there is one; or it was forgotten, and then nobody can say what came of it.
            Meeting::Known => {}
            Meeting::Full => {
                let slice = Position::of(&body.key).slice();
                let reply = Box::new(Err(RequestError::Overloaded));
                self.send(from.clone(), slice, ShardMessage::ForwardAnswer { request, reply });
            }
        }
    }

    /// Answers a request that another node handed on.
    pub(super) fn answer_forward(&mut self, key: &Key, to: &NodeId, request: RequestId, reply: Reply) {
        let slice = Position::of(key).slice();
        let reply = Box::new(reply);
        self.forwards.answered(to, request, &reply);
        self.send(to.clone(), slice, ShardMessage::ForwardAnswer { request, reply });
    }
}

/// Whether two nodes may coordinate it.
const fn may_go_twice(request: &Request) -> bool {
    matches!(request.operation, Operation::Get | Operation::Write { request_key: Some(_), .. })
}
