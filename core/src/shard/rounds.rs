//! Rounds: one question to all replicas of a key at once, asked again where no answer came, and what its answers lead to.
//! It never decides what the client is told.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::mint::Minted;
use super::operation::{Operation as Coordination, Stage};
use super::round::{Needs, Question, Round, Standing, View};
use super::{Operation, RETRY_INTERVAL, RETRY_SOON, Shard, rows};
use crate::causality::SiblingSet;
use crate::error::RequestError;
use crate::error::StandIn;
use crate::event::{EventKind, OperationKind};
use crate::hash::{Position, Slice};
use crate::id::{NodeId, RequestId};
use crate::layout::LayoutId;
use crate::message::{Answer, Refusal, ShardMessage};
use crate::node::FromShard;
use crate::planted::PlantedBug;
use crate::storage::{Storage, StorageError};
use crate::time::Time;

impl<S: Storage> Shard<S> {
    pub(super) fn begin_reading(&mut self, id: RequestId) {
        let replication = self.picture.as_ref().expect("requests come after the picture").config.replication;
        let operation = &self.operations[&id];
        let needs = match operation.request.operation {
            Operation::Get => operation.needs(replication),
            Operation::Write { .. } => operation.needs_to_write(replication),
        };
        self.begin_round(id, needs, Stage::Reading);
    }

    /// Mints the write's dot, stores it here and asks the others for copies. `seen` is what a read before it has shown.
    pub(super) fn begin_writing(&mut self, id: RequestId, seen: Option<SiblingSet>) {
        match self.mint(id, seen.as_ref()) {
            Ok(Minted::Fresh(write)) => {
                let replication = self.picture.as_ref().expect("requests come after the picture").config.replication;
                let mut needs = self.operations[&id].needs(replication);
                if self.has_bug(PlantedBug::AcknowledgeEarly) {
                    needs.votes = needs.votes.saturating_sub(1).max(1);
                }
                self.begin_round(id, needs, |round| Stage::Writing { round, write });
            }
            Ok(Minted::LeaseNeeded { slice, upto }) => {
                self.enter(id, Stage::Leasing { seen });
                if let Err(error) = self.lease(slice, upto) {
                    self.end(id, Err(RequestError::Storage(error)));
                }
            }
            Err(error) => self.end(id, Err(error)),
        }
    }

    /// Counts bytes of values that a request has been answered.
    fn hold_bytes(&mut self, id: RequestId, bytes: u64) {
        self.operations.get_mut(&id).expect("it is under way").value_bytes += bytes;
        self.value_bytes += bytes;
    }

    fn begin_round(&mut self, id: RequestId, needs: Needs, stage: impl FnOnce(Box<Round>) -> Stage) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let at = Position::of(&self.operations[&id].request.key);
        let name = self.new_request();
        let patience = if needs.question == Question::Write { STAND_IN_AFTER } else { self.replica_latency.patience() };
        let round = Round::new(name, needs, patience, &picture.rings, at);
        self.enter(id, stage(Box::new(round)));
        self.rounds.insert(name, id);
        self.ask(id);
        self.advance(id);
    }

    /// Puts a request into its next stage. Answers to the round before are not waited for any more.
    fn enter(&mut self, id: RequestId, stage: Stage) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        if let Some(round) = operation.round() {
            self.rounds.remove(&round.name);
        }
        operation.stage = stage;
    }

    /// Asks everybody who has not answered yet.
    pub(super) fn ask(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let retry_at = self.effects.now + RETRY_INTERVAL;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let at = Position::of(&operation.request.key);
        let Some(round) = operation.round() else { return };
        round.retry_at = retry_at;
        let waiting = round.waiting(View::new(&picture, at));
        self.put_question(id, waiting);
    }

    /// Sends the round's question to these nodes. To this one last: its answer may come at once and end the round.
    fn put_question(&mut self, id: RequestId, nodes: Vec<NodeId>) {
        let now = self.effects.now;
        let Some(operation) = self.operations.get(&id) else { return };
        self.effects.cause = operation.cause;
        let slice = Position::of(&operation.request.key).slice();
        let rings = &self.picture.as_ref().expect("requests come after the picture").rings;
        let (layout, under) = (rings.id, rings.reads_under(slice));
        let mut own = None;
        for node in nodes {
            let operation = self.operations.get_mut(&id).expect("it is under way");
            let Some(question) = operation.question_for(&node, (layout, under), now) else { continue };
            if node == self.start.node {
                own = Some((question, node));
            } else {
                self.send(node, slice, question);
            }
        }
        self.reschedule(id);
        match own {
            Some((ShardMessage::Write { request, layout, key, set, fresh }, me)) => {
                self.serve_write(&me, request, layout, &key, &set, fresh);
            }
            Some((ShardMessage::Read { request, layout, under, key }, me)) => {
                self.serve_read(&me, request, layout, under, &key);
            }
            _ => {}
        }
    }

    /// The answer of a replica or a fallback, this node's own included.
    pub(super) fn on_answer(&mut self, from: &NodeId, question: RequestId, result: Result<Answer, Refusal>) {
        let Some(&id) = self.rounds.get(&question) else { return self.on_handed_off(from, question, result) };
        let now = self.effects.now;
        let result = self.without_dead(id, from, result);
        let round = self.operations.get_mut(&id).and_then(Coordination::round).expect("a round has its request");
        match result {
            Ok(Answer::Holds { set, synced }) if !round.is_write() => {
                let took = round.waited_for(from, now).filter(|_| *from != self.start.node);
                let value_bytes = if round.set_of(from).is_some() { 0 } else { set.value_bytes() };
                let is_vote = round.take(from, set, synced);
                let held = if round.set_of(from).is_some() { value_bytes } else { 0 };
                took.into_iter().for_each(|took| self.replica_latency.note(took));
                self.hold_bytes(id, held);
                if is_vote {
                    self.note_vote(from, id);
                }
            }
            Ok(Answer::Written) if round.is_write() => {
                if !round.count(from) {
                    return;
                }
                self.note_vote(from, id);
            }
            Ok(_) | Err(Refusal::NotSynced) => return,
            Err(Refusal::Storage(error)) => {
                round.refuse(from);
                self.operations.get_mut(&id).expect("it is under way").disk_full |= error == StorageError::Full;
            }
            Err(Refusal::HintsFull) => round.refuse(from),
            Err(Refusal::Sealed) => return self.on_sealed_dot(id),
            Err(Refusal::Layout) => return self.on_layout_refusal(id),
            Err(Refusal::CoveredDot(held)) => return self.on_covered_dot(from, id, &held),
        }
        self.advance(id);
    }

    /// A fallback that was restored may have hints again that were delivered long ago. It cannot tell what of them is dead,
    /// for it does not own the key; this node does.
    fn without_dead(&self, id: RequestId, from: &NodeId, result: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
        let Ok(Answer::Holds { set, synced }) = result else { return result };
        let picture = self.picture.as_ref().expect("answers come after the picture");
        let key = &self.operations[&id].request.key;
        let at = Position::of(key);
        if picture.rings.owns(from, at) {
            return Ok(Answer::Holds { set, synced });
        }
        let held = rows::load(&self.storage, key).map_err(Refusal::Storage)?;
        Ok(Answer::Holds { set: self.strip(at, &held, &set).into_owned(), synced })
    }

    fn note_vote(&mut self, from: &NodeId, id: RequestId) {
        let picture = self.picture.as_ref().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let Some(round) = operation.round() else { return };
        self.effects.detail_as_cause(|| {
            let view = View::new(picture, Position::of(&key));
            let (votes, needed) = (round.votes(view), round.needed(view));
            EventKind::VoteCounted { key, from: from.clone(), votes, needed }
        });
    }

    /// One of the two has yet to learn a layout; the control planes see to it, and the question is asked again.
    fn on_layout_refusal(&mut self, id: RequestId) {
        let soon = self.effects.now + RETRY_SOON;
        if let Some(round) = self.operations.get_mut(&id).and_then(Coordination::round) {
            round.retry_at = round.retry_at.min(soon);
            self.reschedule(id);
        }
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
                self.advance(id);
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

    /// Asks fallbacks where owners cannot answer, and goes on with the request if its round allows it.
    pub(super) fn advance(&mut self, id: RequestId) {
        self.enlist(id);
        self.judge(id);
    }

    /// Asks fallbacks to stand in for owners that cannot be reached.
    fn enlist(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let now = self.effects.now;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let (key, cause) = (operation.request.key.clone(), operation.cause);
        let view = View::new(&picture, Position::of(&key));
        let Some(round) = operation.round() else { return };
        let vacancies = round.vacancies(view, now);
        if vacancies.is_empty() {
            return;
        }
        let is_write = round.is_write();
        let late: BTreeSet<NodeId> = round.waiting(view).into_iter().collect();
        let enlisted = round.enlist(vacancies, view);
        self.effects.cause = cause;
        for StandIn { fallback, target } in &enlisted {
            let (key, fallback, target) = (key.clone(), fallback.clone(), target.clone());
            let is_hedge = !is_write && late.contains(&target);
            self.effects.event(|| match is_hedge {
                true => EventKind::Hedged { key, to: fallback },
                false => EventKind::StandInAsked { key, fallback, target },
            });
        }
        self.put_question(id, enlisted.into_iter().map(|pair| pair.fallback).collect());
    }

    /// An owner has promised to take no write under this dot any more. The write gets another one, which replaces the
    /// version under the first.
    fn on_sealed_dot(&mut self, id: RequestId) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let Stage::Writing { round, write } = &operation.stage else { return };
        if round.replied || round.linger_until.is_some() {
            return;
        }
        operation.replacing = Some(write.seen.clone());
        self.begin_writing(id, None);
    }

    /// Goes on with the request if its round allows it.
    pub(super) fn judge(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let now = self.effects.now;
        let linger = if self.operations.len() > BUSY { Duration::ZERO } else { self.start.config.linger };
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let view = View::new(&picture, Position::of(&operation.request.key));
        let reading_for_write =
            matches!(operation.stage, Stage::Reading(_)) && operation.request.kind() != OperationKind::Get;
        let Some(round) = operation.round() else { return };
        let complete = round.waiting(view).is_empty();
        if round.replied {
            if complete {
                self.finish_late(id);
            }
            return;
        }
        match round.standing(view) {
            Standing::Open => {}
            Standing::Missed => self.miss(id),
            Standing::Met if reading_for_write => {
                let seen = round.merged();
                self.begin_writing(id, Some(seen));
            }
            Standing::Met if round.is_write() && !complete && !linger.is_zero() => {
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

    /// These slices are routed in another way: their rounds begin again. Merging twice is merging once, so no answer is
    /// lost.
    pub(super) fn restart_rounds(&mut self, changed: &BTreeSet<Slice>) {
        let concerned = |operation: &Coordination| changed.contains(&Position::of(&operation.request.key).slice());
        let operations = self.operations.iter().filter(|(_, operation)| concerned(operation));
        let ids: Vec<RequestId> = operations.map(|(id, _)| *id).collect();
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
                    let needs = operation.needs(replication);
                    self.begin_round(id, needs, |round| Stage::Writing { round, write });
                }
                Stage::Forwarded(_) => self.review_forward(id),
                Stage::Queued | Stage::Leasing { .. } => {}
            }
        }
        self.effects.cause = None;
    }

    /// Other nodes than before are down. What they were asked is not waited for, and who is back is asked.
    pub(super) fn review_rounds(&mut self, changed: &BTreeSet<NodeId>) {
        let ids: Vec<RequestId> = self.operations.keys().copied().collect();
        for id in ids {
            let Some(operation) = self.operations.get_mut(&id) else { continue };
            self.effects.cause = operation.cause;
            if matches!(operation.stage, Stage::Forwarded(_)) {
                self.review_forward(id);
            } else if let Some(round) = operation.round()
                && changed.iter().any(|node| round.includes(node))
            {
                self.ask(id);
                self.advance(id);
            }
        }
        self.effects.cause = None;
    }

    /// The timers of a round.
    pub(super) fn round_on_time(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let now = self.effects.now;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let at = Position::of(&operation.request.key);
        let Some(round) = operation.round() else { return };
        if round.retry_at <= now {
            let silent = round.waiting(View::new(&picture, at));
            silent.into_iter().for_each(|node| self.tell(FromShard::NoAnswer(node)));
            self.ask(id);
        }
        self.advance(id);
    }
}

impl Coordination {
    /// What this node is asked in the round under way, and that it is asked now.
    fn question_for(&mut self, node: &NodeId, (layout, under): (LayoutId, u64), now: Time) -> Option<ShardMessage> {
        let key = self.request.key.clone();
        match &mut self.stage {
            Stage::Reading(round) => {
                round.note_asked(node, now);
                Some(ShardMessage::Read { request: round.name, layout, under, key })
            }
            Stage::Writing { round, write } => {
                round.note_asked(node, now);
                let (request, set, fresh) = (round.name, write.set.clone(), write.fresh);
                Some(match round.target_of(node).cloned() {
                    Some(target) => ShardMessage::Hint { request, layout, target, key, set, fresh },
                    None => ShardMessage::Write { request, layout, key, set, fresh },
                })
            }
            Stage::Queued | Stage::Forwarded(_) | Stage::Leasing { .. } => None,
        }
    }
}

/// How long an owner may take to store a write before a fallback stands in, while the quorum is missing: far below what a
/// person notices, far above what a disk needs.
const STAND_IN_AFTER: Duration = Duration::from_millis(150);
/// With more requests than this under way, replies do not wait to name the slower replicas.
const BUSY: usize = 64;
