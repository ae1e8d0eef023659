//! The clients of a simulated world: whom they asked for what, what they were answered, and which contexts they remember.
//! Nothing here is known to the nodes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::action::ClientOperation;
use crate::causality::VersionVector;
use crate::error::RequestError;
use crate::event::{Event, EventId, EventKind, OperationKind};
use crate::id::{Key, NodeId, Token};
use crate::shard::{Reply, Request};
use crate::time::Time;
use crate::value::Value;
use crate::view::{OperationView, OutcomeView, VoteView};

/// Operations that are remembered for pictures.
const OPERATIONS_MAX: usize = 200;
/// Events whose operation is remembered.
const TRACED_MAX: usize = 20_000;

/// A write that a client was told is safe.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Of which key.
    pub key: Key,
    /// What its coordinator's set knew when it was acknowledged, the write itself included.
    pub known: VersionVector,
    /// When the client was told.
    pub at: Time,
    /// Whether no fallback stood in for an owner.
    pub strict: bool,
}

/// All clients together.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    next: u64,
    operations: VecDeque<OperationView>,
    contexts: BTreeMap<(String, Key), String>,
    /// The operation that an event is because of.
    traced: BTreeMap<EventId, u64>,
    traced_order: VecDeque<EventId>,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Reads under way: of which key, and how many writes had been acknowledged when they began.
    reads: BTreeMap<Token, (Key, usize)>,
    /// Promises that were broken, in words.
    pub(super) violations: Vec<String>,
}

impl Clients {
    /// Notes a request, and gives back what is sent.
    pub(super) fn begin(
        &mut self,
        now: Time,
        client: &str,
        node: &NodeId,
        operation: &ClientOperation,
    ) -> (Token, Request) {
        let id = self.next;
        self.next += 1;
        if let ClientOperation::Get { key } = operation {
            self.reads.insert(Token(id), (key.clone(), self.acknowledged.len()));
        }
        let context = |key: &Key, informed: bool| {
            let remembered = self.contexts.get(&(client.to_string(), key.clone())).cloned();
            remembered.filter(|_| informed)
        };
        let (kind, request, value) = match operation {
            ClientOperation::Get { key } => (OperationKind::Get, Request::get(key.clone()), None),
            ClientOperation::Put { key, value, informed } => {
                let text = alloc::format!("{value:?}");
                let request = Request::write(key.clone(), Some(Value::json(text)), context(key, *informed));
                (OperationKind::Put, request, Some(value.clone()))
            }
            ClientOperation::Delete { key, informed } => {
                (OperationKind::Delete, Request::write(key.clone(), None, context(key, *informed)), None)
            }
        };
        if self.operations.len() == OPERATIONS_MAX {
            self.operations.pop_front();
        }
        self.operations.push_back(OperationView {
            id,
            client: client.to_string(),
            node: node.clone(),
            operation: kind,
            key: request.key.clone(),
            value,
            started_at: now,
            ended_at: None,
            outcome: None,
            coordinator: None,
            votes: Vec::new(),
            event: None,
        });
        (Token(id), request)
    }

    /// Notes what the client was answered.
    pub(super) fn end(&mut self, now: Time, token: Token, reply: &Reply) {
        if let Some((key, before)) = self.reads.remove(&token)
            && let Ok(success) = reply
            && success.answers.stand_ins.is_empty()
        {
            self.check_read(now, &key, before, success.set.context());
        }
        let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == token.0) else { return };
        if operation.ended_at.is_some() {
            return;
        }
        operation.ended_at = Some(now);
        operation.outcome = Some(outcome(operation.operation, reply));
        if let Ok(success) = reply {
            self.contexts.insert((operation.client.clone(), operation.key.clone()), success.context.clone());
            if operation.operation != OperationKind::Get {
                let (key, known) = (operation.key.clone(), success.set.context().clone());
                let strict = success.answers.stand_ins.is_empty();
                self.acknowledged.push(Acknowledged { key, known, at: now, strict });
            }
        }
    }

    /// R + W > N without stand-ins: a read that began after a write was acknowledged has seen it.
    fn check_read(&mut self, now: Time, key: &Key, before: usize, seen: &VersionVector) {
        for write in self.acknowledged[..before].iter().filter(|write| write.strict && write.key == *key) {
            if !seen.descends(&write.known) {
                let sentence = alloc::format!(
                    "a read of {key:?} answered at {now} had not seen a write acknowledged at {}: it saw {seen:?}, the write had {:?}",
                    write.at,
                    write.known
                );
                self.violations.push(sentence);
            }
        }
    }

    /// The node went down, or was down already: the client's connection ends.
    pub(super) fn fail(&mut self, now: Time, token: Token, message: &str) {
        let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == token.0) else { return };
        if operation.ended_at.is_none() {
            operation.ended_at = Some(now);
            let (code, message) = ("unreachable".to_string(), message.to_string());
            operation.outcome = Some(OutcomeView::Failed { code, message });
        }
    }

    /// The operations of a node that are not answered yet.
    pub(super) fn open_at(&self, node: &NodeId) -> Vec<Token> {
        let open = self.operations.iter().filter(|operation| operation.node == *node && operation.ended_at.is_none());
        open.map(|operation| Token(operation.id)).collect()
    }

    /// The event with which a request arrived: what follows from it belongs to the operation.
    pub(super) fn trace_from(&mut self, event: &Event, token: Token) {
        self.remember(event.id, token.0);
        if let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == token.0) {
            operation.event = Some(event.id);
        }
    }

    /// Counts the votes of operations from the trace.
    pub(super) fn follow(&mut self, event: &Event) {
        let Some(id) = event.cause.and_then(|cause| self.traced.get(&cause)).copied() else { return };
        self.remember(event.id, id);
        let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == id) else { return };
        match &event.kind {
            EventKind::VoteCounted { from, votes, .. } => {
                operation.coordinator = Some(event.node.clone());
                operation.votes.push(VoteView { node: from.clone(), at: event.at, count: *votes, decisive: false });
            }
            EventKind::QuorumMet { .. } => {
                if let Some(vote) = operation.votes.last_mut() {
                    vote.decisive = true;
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, event: EventId, operation: u64) {
        if self.traced_order.len() == TRACED_MAX
            && let Some(oldest) = self.traced_order.pop_front()
        {
            self.traced.remove(&oldest);
        }
        if self.traced.insert(event, operation).is_none() {
            self.traced_order.push_back(event);
        }
    }

    pub(super) fn views(&self) -> Vec<OperationView> {
        self.operations.iter().cloned().collect()
    }
}

fn outcome(kind: OperationKind, reply: &Reply) -> OutcomeView {
    match reply {
        Ok(success) if kind == OperationKind::Get => {
            let values = success.set.values().into_iter();
            OutcomeView::Found(values.filter_map(|(_, version)| version.value.as_ref()).map(value_text).collect())
        }
        Ok(_) => OutcomeView::Written,
        Err(error) => OutcomeView::Failed { code: code(error), message: error.to_string() },
    }
}

fn code(error: &RequestError) -> String {
    error.code().to_string()
}

/// A value as people read it: the text of a JSON string without its quotes, cut at 200 bytes.
pub(super) fn value_text(value: &Value) -> String {
    let text = String::from_utf8_lossy(&value.bytes);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
    bare.chars().take(200).collect()
}
