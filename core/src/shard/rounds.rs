//! Rounds: one question to all replicas of a key at once, asked again where no answer came, and what its answers lead to.
//! It never decides what the client is told.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::mint::Minted;
use super::operation::{Operation as Coordination, Stage};
use super::round::{Round, Standing};
use super::{Operation, RETRY_INTERVAL, RETRY_SOON, Shard};
use crate::causality::SiblingSet;
use crate::error::RequestError;
use crate::event::{EventKind, OperationKind};
use crate::hash::Position;
use crate::id::{NodeId, RequestId};
use crate::message::{Answer, Refusal, ShardMessage};
use crate::node::FromShard;
use crate::storage::{Storage, StorageError};

impl<S: Storage> Shard<S> {
    pub(super) fn begin_reading(&mut self, id: RequestId) {
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
    pub(super) fn ask(&mut self, id: RequestId) {
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
                let value_bytes = set.value_bytes();
                let first = round.sets.insert(from.clone(), set).is_none();
                // What a replica that is not synced lacks is unknown: its answer is no vote. It is asked again later.
                let votes = synced && round.count(from);
                if first {
                    operation.value_bytes += value_bytes;
                    self.value_bytes += value_bytes;
                }
                if !votes {
                    return;
                }
            }
            Ok(Answer::Written) if writing => {
                if !round.count(from) {
                    return;
                }
            }
            Ok(_) => return,
            Err(Refusal::Storage(error)) => {
                round.fail(from);
                operation.disk_full |= error == StorageError::Full;
            }
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
        let Stage::Writing { round, write } = &mut operation.stage else { return };
        let issuer = &self.issuers[&Position::of(&key).slice()];
        let own = write.fresh.actor == issuer.actor();
        if own && !write.again && held.context().get(issuer.actor()) <= issuer.issued() {
            if round.count(from) {
                self.note_vote(from, id);
                self.judge(id);
            }
            return;
        }
        if round.replied {
            return;
        }
        // A write that was there already is superseded, and is told to be so. A refused dot keeps the name, so that a retry
        // finds it, and the write goes on without.
        if !write.again
            && let Operation::Write { request_key, .. } = &mut operation.request.operation
        {
            *request_key = None;
        }
        if self.merge(&key, held).is_ok() {
            self.begin_writing(id, Some(held.clone()));
        }
    }

    /// Goes on with the request if its round allows it.
    pub(super) fn judge(&mut self, id: RequestId) {
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
                if let Err(error) = self.lease(slice, upto) {
                    self.end(id, Err(RequestError::Storage(error)));
                }
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
}

/// With more requests than this under way, replies do not wait to name the slower replicas.
const BUSY: usize = 64;
