//! The clients of a simulated world: whom they asked for what, what they were answered, and which contexts they remember.
//! Nothing here is known to the nodes, and nothing here judges an answer.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::action::{ClientOperation, RequestOptions};
use super::network::HostIndex;
use crate::event::{Event, EventId, EventKind, OperationKind};
use crate::id::{Key, NodeId, Token};
use crate::shard::{Operation, Reply, Request};
use crate::time::Time;
use crate::value::Value;
use crate::view::{OperationView, OutcomeView, VoteView};

/// Operations that are remembered for pictures.
const OPERATIONS_MAX: usize = 200;
/// Events whose operation is remembered.
const TRACED_MAX: usize = 20_000;

/// What somebody wants from the cluster, as often as it has to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The client's name.
    pub(super) client: String,
    pub(super) operation: ClientOperation,
    pub(super) options: RequestOptions,
}

impl Asked {
    pub(super) const fn key(&self) -> &Key {
        match &self.operation {
            ClientOperation::Get { key } | ClientOperation::Put { key, .. } | ClientOperation::Delete { key, .. } => {
                key
            }
        }
    }

    pub(super) const fn kind(&self) -> OperationKind {
        match &self.operation {
            ClientOperation::Get { .. } => OperationKind::Get,
            ClientOperation::Put { .. } => OperationKind::Put,
            ClientOperation::Delete { .. } => OperationKind::Delete,
        }
    }

    /// The value that it writes; nothing of a delete or a read.
    pub(super) fn value(&self) -> Option<Value> {
        match &self.operation {
            ClientOperation::Put { value, .. } => Some(Value::json(alloc::format!("{value:?}"))),
            ClientOperation::Get { .. } | ClientOperation::Delete { .. } => None,
        }
    }
}

/// One try of it that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) asked: Arc<Asked>,
    /// Whom.
    pub(super) host: HostIndex,
    /// How many tries were before it.
    pub(super) tries: usize,
    pub(super) began: Time,
    /// How many writes had been acknowledged when it began.
    pub(super) before: u64,
    /// Whether the node has answered; the answer is on its way then.
    pub(super) replied: bool,
}

/// All clients together.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    next: u64,
    open: BTreeMap<Token, Open>,
    /// What each client was told last of a key, by the key and the client.
    contexts: BTreeMap<Key, BTreeMap<String, String>>,
    /// The last try that succeeded.
    last_success: Option<Token>,
    /// Whether pictures of operations are wanted.
    recording: bool,
    operations: VecDeque<OperationView>,
    /// The operation that an event is because of.
    traced: BTreeMap<EventId, u64>,
    traced_order: VecDeque<EventId>,
}

impl Clients {
    pub(super) fn new(recording: bool) -> Self {
        Self { recording, ..Self::default() }
    }

    /// Notes a try, and gives back what is sent.
    pub(super) fn begin(&mut self, now: Time, node: &NodeId, open: Open) -> (Token, Request) {
        let token = Token(self.next);
        self.next += 1;
        let asked = open.asked.clone();
        let context = |informed: bool| {
            let remembered = self.contexts.get(asked.key()).filter(|_| informed)?.get(&asked.client);
            remembered.cloned()
        };
        let (mut request, value) = match &asked.operation {
            ClientOperation::Get { key } => (Request::get(key.clone()), None),
            ClientOperation::Put { key, value, informed } => {
                (Request::write(key.clone(), asked.value(), context(*informed)), Some(value.clone()))
            }
            ClientOperation::Delete { key, informed } => (Request::write(key.clone(), None, context(*informed)), None),
        };
        request.sloppy = !asked.options.strict;
        if let Operation::Write { request_key, .. } = &mut request.operation {
            *request_key = asked.options.request_key;
        }
        if self.recording {
            if self.operations.len() == OPERATIONS_MAX {
                self.operations.pop_front();
            }
            self.operations.push_back(OperationView {
                id: token.0,
                client: asked.client.clone(),
                node: node.clone(),
                operation: asked.kind(),
                key: request.key.clone(),
                value,
                started_at: now,
                ended_at: None,
                outcome: None,
                coordinator: None,
                votes: Vec::new(),
                event: None,
            });
        }
        self.open.insert(token, open);
        (token, request)
    }

    /// A try that is not answered yet.
    pub(super) fn open(&self, token: Token) -> Option<&Open> {
        self.open.get(&token)
    }

    /// The last try that succeeded.
    pub(super) const fn last_success(&self) -> Option<Token> {
        self.last_success
    }

    /// The node answers; says whether it had done so already, or was not asked.
    pub(super) fn reply(&mut self, token: Token) -> bool {
        self.open.get_mut(&token).is_none_or(|open| core::mem::replace(&mut open.replied, true))
    }

    /// Notes what the client was answered, and gives back the try; nothing if the client waits no more.
    pub(super) fn end(&mut self, now: Time, token: Token, reply: &Reply) -> Option<Open> {
        let open = self.open.remove(&token)?;
        if let Ok(success) = reply {
            self.last_success = Some(token);
            let contexts = self.contexts.entry(open.asked.key().clone()).or_default();
            match contexts.get_mut(&open.asked.client) {
                Some(context) => context.clone_from(&success.context),
                None => _ = contexts.insert(open.asked.client.clone(), success.context.clone()),
            }
        }
        self.picture(now, token, |kind| outcome(kind, reply));
        Some(open)
    }

    /// The node went down, or was down already: the client's connection ends.
    pub(super) fn fail(&mut self, now: Time, token: Token, message: &str) -> Option<Open> {
        let open = self.open.remove(&token)?;
        self.picture(now, token, |_| {
            let (code, message) = ("unreachable".to_string(), message.to_string());
            OutcomeView::Failed { code, message }
        });
        Some(open)
    }

    fn picture(&mut self, now: Time, token: Token, outcome: impl Fn(OperationKind) -> OutcomeView) {
        if let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == token.0) {
            operation.ended_at = Some(now);
            operation.outcome = Some(outcome(operation.operation));
        }
    }

    /// The tries at a node that are not answered yet.
    pub(super) fn open_at(&self, host: HostIndex) -> Vec<Token> {
        self.open.iter().filter(|(_, open)| open.host == host).map(|(token, _)| *token).collect()
    }

    /// The event with which a request arrived: what follows from it belongs to the operation.
    pub(super) fn trace_from(&mut self, event: &Event, token: Token) {
        if !self.recording {
            return;
        }
        self.remember(event.id, token.0);
        if let Some(operation) = self.operations.iter_mut().find(|operation| operation.id == token.0) {
            operation.event = Some(event.id);
        }
    }

    /// Counts the votes of operations from the trace.
    pub(super) fn follow(&mut self, event: &Event) {
        if !self.recording {
            return;
        }
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
        Err(error) => OutcomeView::Failed { code: error.code().to_string(), message: error.to_string() },
    }
}

/// A value as people read it: the text of a JSON string without its quotes, cut at 200 bytes.
pub(super) fn value_text(value: &Value) -> String {
    let text = String::from_utf8_lossy(&value.bytes);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
    bare.chars().take(200).collect()
}
