//! The coordinator's side: put, get and delete by quorum (Dynamo 2007, sections 4.5 and 4.8). All replicas are asked at
//! once; the reply goes out at R or W; late answers are used for repair. Only an owner of the key coordinates; other nodes
//! hand the request on.
//!
//! A write without a context first reads R answers and replaces exactly what they show; such writes of one key take turns.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::mint::{Minted, decode_context};
use super::operation::{Operation as Coordination, Origin, Round, Stage, Standing, merge_all};
use super::{LATE_ANSWERS, Operation, Output, Picture, RETRY_INTERVAL, RETRY_SOON, Reply, Request, Shard, Success};
use crate::causality::{self, SiblingSet, VersionVector};
use crate::config::Strategy;
use crate::error::RequestError;
use crate::event::{EventKind, OperationKind};
use crate::hash::Position;
use crate::id::{Key, NodeId, RequestId, Token};
use crate::limits;
use crate::message::{Answer, Refusal, ShardMessage};
use crate::node::FromShard;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// A client's request.
    pub(super) fn on_request(&mut self, token: Token, request: Request) {
        let (operation, key) = (request.kind(), request.key.clone());
        self.effects.event_as_cause(|| EventKind::Requested { operation, key });
        self.begin(Origin::Client(token), request);
    }

    /// A request that another node handed on.
    pub(super) fn on_forward(&mut self, from: &NodeId, request: RequestId, hops: u8, body: Request) {
        self.begin(Origin::Peer { node: from.clone(), request, hops }, body);
    }

    fn begin(&mut self, origin: Origin, request: Request) {
        let timeout = request.timeout.unwrap_or(self.start.config.request_timeout);
        let deadline = self.effects.now + timeout;
        let cause = self.effects.cause;
        let operation = Coordination { origin, request, cause, deadline, due: deadline, stage: Stage::Queued };
        if let Err(error) = self.admit(&operation) {
            return self.reply(&operation, Err(error));
        }
        let id = self.new_request();
        self.timers.insert((deadline, id));
        self.operations.insert(id, operation);
        self.route(id);
    }

    /// Whether the request may begin at all.
    fn admit(&self, operation: &Coordination) -> Result<(), RequestError> {
        let Some(picture) = &self.picture else {
            let reason = String::from("it is not a member of a cluster yet");
            return Err(RequestError::NotReady { reason });
        };
        operation.request.validate(picture.config.replication.n.get(), self.start.config.value_bytes_max)?;
        if self.operations.len() >= limits::REQUESTS_MAX {
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
        let primaries = picture.rings.all.preference_list(at).primaries();
        if !primaries.contains(&self.start.node) {
            return self.hand_on(id, &picture, primaries);
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

    fn hand_on(&mut self, id: RequestId, picture: &Picture, primaries: &[NodeId]) {
        let now = self.effects.now;
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let hops = match operation.origin {
            Origin::Client(_) => 0,
            Origin::Peer { hops, .. } => hops,
        };
        let target = primaries.iter().find(|node| !picture.down.contains(*node)).cloned();
        let (Some(to), true) = (target, hops < limits::HOPS_MAX) else {
            let reason = String::from("no owner of the key can be reached");
            return self.end(id, Err(RequestError::NotReady { reason }));
        };
        operation.stage = Stage::Forwarded { to: to.clone() };
        let mut body = operation.request.clone();
        body.timeout = Some(operation.deadline.since(now).max(Duration::from_millis(1)));
        let slice = Position::of(&body.key).slice();
        self.send(to, slice, ShardMessage::Forward { request: id, hops: hops + 1, body });
    }

    pub(super) fn on_forward_answer(&mut self, from: &NodeId, id: RequestId, reply: Reply) {
        let asked = |operation: &Coordination| matches!(&operation.stage, Stage::Forwarded { to } if to == from);
        if self.operations.get(&id).is_some_and(asked) {
            self.end(id, reply);
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

    fn leave_turn(&mut self, id: RequestId, key: &Key) {
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

    fn begin_reading(&mut self, id: RequestId) {
        let replication = self.picture.as_ref().expect("requests come after the picture").config.replication;
        let operation = &self.operations[&id];
        let needed = match operation.request.operation {
            Operation::Get => operation.needed(replication.r.get(), replication.n.get()),
            Operation::Write { .. } => replication.r.get(),
        };
        self.begin_round(id, needed, false, Stage::Reading);
    }

    fn begin_round(&mut self, id: RequestId, needed: u8, write: bool, stage: impl FnOnce(Box<Round>) -> Stage) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let at = Position::of(&self.operations[&id].request.key);
        let mut round = Round::new(&picture.rings, at, needed, write);
        for node in picture.down.iter().filter(|node| **node != self.start.node) {
            round.fail(node);
        }
        self.operations.get_mut(&id).expect("it is under way").stage = stage(Box::new(round));
        self.ask(id);
        self.judge(id);
    }

    /// Asks everybody who has not answered yet.
    fn ask(&mut self, id: RequestId) {
        let retry_at = self.effects.now + RETRY_INTERVAL;
        let layout = self.picture.as_ref().expect("requests come after the picture").rings.id;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        self.effects.cause = operation.cause;
        let key = operation.request.key.clone();
        let Some(round) = operation.round() else { return };
        round.retry_at = retry_at;
        let targets = round.unanswered();
        let slice = Position::of(&key).slice();
        let message = match &operation.stage {
            Stage::Writing { write, .. } => {
                let (set, fresh) = (write.set.clone(), write.fresh);
                ShardMessage::Write { request: id, layout, key: key.clone(), set, fresh }
            }
            _ => ShardMessage::Read { request: id, layout, key: key.clone() },
        };
        // This node last: its answer may come at once and end the round.
        let (own, others): (Vec<NodeId>, Vec<NodeId>) = targets.into_iter().partition(|node| *node == self.start.node);
        for node in others {
            self.send(node, slice, message.clone());
        }
        self.reschedule(id);
        for me in own {
            match message.clone() {
                ShardMessage::Write { request, layout, key, set, fresh } => {
                    self.serve_write(&me, request, layout, &key, &set, fresh);
                }
                _ => self.serve_read(&me, id, layout, &key),
            }
        }
    }

    /// A replica's answer, this node's own included.
    pub(super) fn on_answer(&mut self, from: &NodeId, id: RequestId, result: Result<Answer, Refusal>) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let writing = matches!(operation.stage, Stage::Writing { .. });
        let Some(round) = operation.round() else { return };
        match result {
            Ok(Answer::Holds { set, synced }) if !writing => {
                if !round.targets.contains(from) {
                    return;
                }
                round.sets.insert(from.clone(), set);
                // What a replica that is not synced lacks is unknown: its answer is no vote. It is asked again later.
                if !synced || !round.count(from) {
                    return;
                }
            }
            Ok(Answer::Written) if writing => {
                if !round.count(from) {
                    return;
                }
            }
            Ok(_) => return,
            Err(Refusal::Storage(_)) => round.fail(from),
            Err(Refusal::NotSynced) => return,
            Err(Refusal::Layout(theirs)) => return self.on_layout_refusal(from, id, theirs),
            Err(Refusal::CoveredDot(held)) => return self.on_covered_dot(from, id, &held),
        }
        self.note_vote(from, id);
        self.judge(id);
    }

    fn note_vote(&mut self, from: &NodeId, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let Some(round) = operation.round() else { return };
        if round.answers.successful.last() != Some(from) {
            return;
        }
        let votes = u8::try_from(round.answers.successful.len()).unwrap_or(u8::MAX);
        let needed = round.needed(&picture.rings, Position::of(&key));
        self.effects.event_as_cause(|| EventKind::VoteCounted { key, from: from.clone(), votes, needed });
    }

    /// One of the two has yet to learn a layout; the control planes see to it, and the question is asked again.
    fn on_layout_refusal(&mut self, from: &NodeId, id: RequestId, theirs: crate::layout::Layout) {
        self.exchange_layout(from, theirs);
        let soon = self.effects.now + RETRY_SOON;
        if let Some(round) = self.operations.get_mut(&id).and_then(Coordination::round) {
            round.retry_at = round.retry_at.min(soon);
            self.reschedule(id);
        }
    }

    pub(super) fn exchange_layout(&mut self, from: &NodeId, theirs: crate::layout::Layout) {
        let ours = &self.picture.as_ref().expect("answers come after the picture").rings.layout;
        let event = if ours.clone().merge(&theirs) {
            FromShard::LayoutSeen(theirs)
        } else {
            FromShard::PeerBehind(from.clone())
        };
        self.tell(event);
    }

    /// A replica holds a set in which our fresh dot is superseded. If it knows dots of this store that this process never
    /// issued, the store has forgotten them: the write gets a dot above. Else somebody has read this very write and
    /// replaced it already, which is as good as a copy.
    fn on_covered_dot(&mut self, from: &NodeId, id: RequestId, held: &SiblingSet) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let Stage::Writing { round, .. } = &mut operation.stage else { return };
        let issuer = &self.issuers[&Position::of(&key).slice()];
        if held.context().get(self.start.actor) <= issuer.issued() {
            if round.count(from) {
                self.note_vote(from, id);
                self.judge(id);
            }
            return;
        }
        if round.replied {
            return;
        }
        // The refused dot keeps the name, so that a retry finds it; the write itself goes on without.
        if let Operation::Write { request_key, .. } = &mut operation.request.operation {
            *request_key = None;
        }
        if self.merge(&key, held).is_ok() {
            self.begin_writing(id, Some(held.clone()));
        }
    }

    /// Goes on with the request if its round allows it.
    fn judge(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let now = self.effects.now;
        let linger = if self.operations.len() > BUSY { Duration::ZERO } else { self.start.config.linger };
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let at = Position::of(&operation.request.key);
        let writing = matches!(operation.stage, Stage::Writing { .. });
        let reading_for_write = !writing && operation.request.kind() != OperationKind::Get;
        let Some(round) = operation.round() else { return };
        let complete = round.unanswered().is_empty();
        if round.replied {
            if complete {
                self.finish_late(id);
            }
            return;
        }
        match round.standing(&picture.rings, at) {
            Standing::Open => {}
            Standing::Missed => self.miss(id),
            Standing::Met if reading_for_write => {
                let seen = round.merged();
                self.begin_writing(id, Some(seen));
            }
            Standing::Met if writing && !complete && !linger.is_zero() => {
                let first = round.linger_until.is_none();
                round.linger_until.get_or_insert(now + linger);
                if first {
                    self.note_quorum(id);
                    self.leave_turn_of(id);
                    self.reschedule(id);
                }
            }
            Standing::Met => self.succeed(id),
        }
    }

    fn note_quorum(&mut self, id: RequestId) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let (kind, key) = (operation.request.kind(), operation.request.key.clone());
        let by = operation.round().map(|round| round.answers.successful.clone()).unwrap_or_default();
        let cause = self.effects.event_as_cause(|| EventKind::QuorumMet { operation: kind, key, by });
        self.operations.get_mut(&id).expect("it is under way").cause = cause;
    }

    fn leave_turn_of(&mut self, id: RequestId) {
        let key = self.operations[&id].request.key.clone();
        self.leave_turn(id, &key);
    }

    /// The quorum is met: answers, and from then on only listens for repair.
    fn succeed(&mut self, id: RequestId) {
        let until = self.effects.now + LATE_ANSWERS;
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let written = match &operation.stage {
            Stage::Writing { write, .. } => Some((write.set.clone(), write.seen.clone())),
            _ => None,
        };
        let Some(round) = operation.round() else { return };
        let lingered = round.linger_until.take().is_some();
        round.replied = true;
        let (set, seen) = written.unwrap_or_else(|| {
            let merged = round.merged();
            let seen = merged.context().clone();
            (merged, seen)
        });
        operation.deadline = until;
        if !lingered {
            self.note_quorum(id);
            self.leave_turn_of(id);
        }
        let success = self.success(id, self.shown(id, set), &seen);
        let operation = self.operations[&id].clone();
        self.reply(&operation, Ok(success));
        self.reschedule(id);
        self.judge(id);
    }

    /// What of a set a reader is shown.
    fn shown(&self, id: RequestId, set: SiblingSet) -> SiblingSet {
        let picture = self.picture.as_ref().expect("requests come after the picture");
        let request = &self.operations[&id].request;
        match picture.config.strategies.of(&request.key) {
            Strategy::Lww if request.kind() == OperationKind::Get => set.collapsed(),
            Strategy::Lww | Strategy::Siblings => set,
        }
    }

    fn success(&mut self, id: RequestId, set: SiblingSet, seen: &VersionVector) -> Success {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let answers = operation.round().map(|round| round.answers.clone()).unwrap_or_default();
        let actors: Vec<_> = set.context().iter().map(|span| span.actor).collect();
        let issuers: BTreeMap<_, _> = actors
            .into_iter()
            .filter_map(|actor| picture.issuers.get(&actor).map(|node| (actor, node.clone())))
            .collect();
        Success {
            context: causality::encode(&picture.secret, &key, seen),
            coordinator: self.start.node.clone(),
            replicas: picture.rings.all.preference_list(Position::of(&key)).primaries().to_vec(),
            answers,
            layout_version: picture.rings.id.version,
            issuers,
            set,
        }
    }

    /// The quorum cannot be met any more, or time is over.
    fn miss(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let kind = operation.request.kind();
        let at = Position::of(&key);
        let Some(round) = operation.round() else { return };
        let (needed, answers) = (round.needed(&picture.rings, at), round.answers.clone());
        let by = answers.successful.clone();
        self.effects.event_as_cause(|| EventKind::QuorumMissed { operation: kind, key, by, needed });
        let replicas = picture.rings.all.preference_list(at).primaries().to_vec();
        let write = kind != OperationKind::Get;
        self.end(id, Err(RequestError::QuorumNotMet { write, needed, answers, replicas }));
    }

    /// Every answer has come, or time is over: whoever is behind the merge is sent it. Repairs mint no dots.
    fn finish_late(&mut self, id: RequestId) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let reading = matches!(operation.stage, Stage::Reading(_));
        let sets = operation.round().map(|round| core::mem::take(&mut round.sets)).unwrap_or_default();
        self.effects.cause = operation.cause;
        self.forget(id);
        if !reading {
            return;
        }
        let merged = merge_all(sets.values());
        let layout = self.picture.as_ref().expect("requests come after the picture").rings.id;
        for (replica, set) in sets {
            if set == merged {
                continue;
            }
            self.effects.event(|| EventKind::Repaired { key: key.clone(), replica: replica.clone() });
            if replica == self.start.node {
                let me = replica;
                self.serve_repair(&me, layout, &key, &merged);
            } else {
                let repair = ShardMessage::Repair { layout, key: key.clone(), set: merged.clone() };
                self.send(replica, Position::of(&key).slice(), repair);
            }
        }
    }

    /// Mints the write's dot, stores it here and asks the others for copies. `seen` is what a read before it has shown.
    pub(super) fn begin_writing(&mut self, id: RequestId, seen: Option<SiblingSet>) {
        match self.mint(id, seen.as_ref()) {
            Ok(Minted::Fresh(write)) => {
                let replication = self.picture.as_ref().expect("requests come after the picture").config.replication;
                let needed = self.operations[&id].needed(replication.w.get(), replication.n.get());
                self.begin_round(id, needed, true, |round| Stage::Writing { round, write });
            }
            Ok(Minted::LeaseNeeded { slice, upto }) => {
                self.operations.get_mut(&id).expect("it is under way").stage = Stage::Leasing { seen };
                self.lease(slice, upto);
            }
            Err(error) => self.end(id, Err(error)),
        }
    }

    /// The layout or who is down has changed: every round begins again, under the new picture. Merging twice is merging
    /// once, so no answer is lost.
    pub(super) fn restart_rounds(&mut self) {
        let ids: Vec<RequestId> = self.operations.keys().copied().collect();
        for id in ids {
            let Some(operation) = self.operations.get_mut(&id) else { continue };
            if operation.is_replied()
                || matches!(&operation.stage, Stage::Writing { round, .. } if round.linger_until.is_some())
            {
                continue;
            }
            self.effects.cause = operation.cause;
            let replication = self.picture.as_ref().expect("there is a picture").config.replication;
            match operation.stage.clone() {
                Stage::Reading(_) => self.begin_reading(id),
                Stage::Writing { write, .. } => {
                    let needed = operation.needed(replication.w.get(), replication.n.get());
                    self.begin_round(id, needed, true, |round| Stage::Writing { round, write });
                }
                Stage::Forwarded { to } if self.picture.as_ref().is_some_and(|picture| picture.down.contains(&to)) => {
                    self.end(id, Err(RequestError::Timeout { coordinator: to }));
                }
                Stage::Forwarded { .. } | Stage::Queued | Stage::Leasing { .. } => {}
            }
        }
        self.effects.cause = None;
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
        if operation.round().is_some_and(|round| round.retry_at <= now) {
            let silent = operation.round().map(|round| round.unanswered()).unwrap_or_default();
            silent.into_iter().for_each(|node| self.tell(FromShard::NoAnswer(node)));
            self.ask(id);
        }
        self.reschedule(id);
    }

    fn time_out(&mut self, id: RequestId) {
        match &self.operations[&id].stage {
            Stage::Forwarded { to } => {
                let coordinator = to.clone();
                self.tell(FromShard::NoAnswer(coordinator.clone()));
                self.end(id, Err(RequestError::Timeout { coordinator }));
            }
            Stage::Queued | Stage::Leasing { .. } => self.end(id, Err(RequestError::Overloaded)),
            Stage::Reading(_) | Stage::Writing { .. } => self.miss(id),
        }
    }

    /// Sets the timer of a request to whatever comes first for it.
    fn reschedule(&mut self, id: RequestId) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let mut due = operation.deadline;
        if let Some(round) = operation.round() {
            due = due.min(round.retry_at).min(round.linger_until.unwrap_or(due));
        }
        let before = core::mem::replace(&mut operation.due, due);
        self.timers.remove(&(before, id));
        self.timers.insert((due, id));
    }

    /// Answers whoever waits, and forgets the request.
    fn end(&mut self, id: RequestId, reply: Reply) {
        if let Some(operation) = self.forget(id) {
            self.reply(&operation, reply);
        }
    }

    fn forget(&mut self, id: RequestId) -> Option<Coordination> {
        let operation = self.operations.remove(&id)?;
        self.timers.remove(&(operation.due, id));
        self.leave_turn(id, &operation.request.key);
        Some(operation)
    }

    fn reply(&mut self, operation: &Coordination, reply: Reply) {
        match &operation.origin {
            Origin::Client(token) => {
                let (kind, key) = (operation.request.kind(), operation.request.key.clone());
                let error = reply.as_ref().err().map(|error| String::from(error.code()));
                self.effects.event(|| EventKind::Replied { operation: kind, key, error });
                self.effects.push(Output::Reply { token: *token, reply: Box::new(reply) });
            }
            Origin::Peer { node, request, .. } => {
                let slice = Position::of(&operation.request.key).slice();
                let answer = ShardMessage::ForwardAnswer { request: *request, reply: Box::new(reply) };
                self.send(node.clone(), slice, answer);
            }
        }
    }
}

/// With more requests than this under way, replies do not wait to name the slower replicas.
const BUSY: usize = 64;
