//! The clients: each goes from node to node, reads, writes and deletes a few hot keys and many others, and notes what it was
//! told. None tries anything twice: a try that nobody answered may have happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use quorate_core::rng::Rng;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::history::{Action, Operation, Outcome};
use crate::http::{Answer, Session, Silence};

/// Keys that everybody wants, and how often somebody does.
const HOT_KEYS: u64 = 16;
const HOT_PER_MILLION: u32 = 250_000;
/// All keys.
const KEYS: u64 = 512;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What a client waits after each operation at least.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Operations of all clients together, at most: the oracle takes not many more writes, and two thirds are writes.
const OPERATIONS_MAX: u128 = 250_000;
/// What it waits after one that failed, at its next node.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Owners that make a quorum, of reads and of writes.
const QUORUM: usize = 2;

/// Clients at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    nodes: Vec<(String, SocketAddr)>,
    began: Instant,
    pause: Duration,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Clients {
    /// Sets so many to work on these nodes, at a pace that they can keep up so long.
    pub(crate) fn start(nodes: Vec<(String, SocketAddr)>, count: u64, length: Duration, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            nodes,
            began: Instant::now(),
            pause: pause_of(count, length),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            operations: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(Client::new(shared.clone(), number, seed).run());
        }
        Self { shared, tasks }
    }

    /// Operations that have succeeded.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets them end what they have begun, and gives all that they did.
    pub(crate) async fn stop(mut self) -> Vec<Operation> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        std::mem::take(&mut self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Client {
    shared: Arc<Shared>,
    number: u64,
    rng: Rng,
    /// The node that is asked now.
    node: usize,
    session: Session,
    /// What was told last of each key.
    contexts: BTreeMap<String, String>,
    /// Values so far.
    written: u64,
}

impl Client {
    fn new(shared: Arc<Shared>, number: u64, seed: u64) -> Self {
        let mut rng = Rng::labelled(seed, &format!("client {number}"));
        let node = any_of(&mut rng, shared.nodes.len());
        let session = Session::new(shared.nodes[node].1, PATIENCE);
        Self { shared, number, rng, node, session, contexts: BTreeMap::new(), written: 0 }
    }

    async fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let hot = self.rng.chance(HOT_PER_MILLION);
            let number = if hot { self.rng.below(HOT_KEYS) } else { HOT_KEYS + self.rng.below(KEYS - HOT_KEYS) };
            let key = format!("key-{number}");
            let action = self.choose(&key);
            let invoked_us = self.now_us();
            let answered = ask(&mut self.session, &key, &action).await;
            let outcome = outcome(&action, answered);
            let succeeded = matches!(outcome, Outcome::Acknowledged { .. } | Outcome::Shown { .. });
            if let Outcome::Acknowledged { context, .. } | Outcome::Shown { context, .. } = &outcome {
                self.contexts.insert(key.clone(), context.clone());
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            let (returned_us, node) = (self.now_us(), self.shared.nodes[self.node].0.clone());
            let operation = Operation { client: self.number, node, key, invoked_us, returned_us, action, outcome };
            self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
            if !succeeded || self.rng.chance(50_000) {
                self.go_on();
            }
            sleep(if succeeded { self.shared.pause } else { RETRY_PAUSE.max(self.shared.pause) }).await;
        }
    }

    /// A third reads, a quarter blind writes, a third writes with a context, the rest deletions. Who knows no context reads.
    fn choose(&mut self, key: &str) -> Action {
        let choice = self.rng.below(100);
        let known = self.contexts.get(key).cloned();
        let strict = choice.is_multiple_of(2);
        match (choice, known) {
            (0..33, _) => Action::Get { strict },
            (33..57, _) => Action::Put { value: self.next_value(), context: None },
            (57..90, Some(context)) => Action::Put { value: self.next_value(), context: Some(context) },
            (90.., Some(context)) => Action::Delete { context },
            (57.., None) => Action::Get { strict },
        }
    }

    fn next_value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.number, self.written)
    }

    fn go_on(&mut self) {
        self.node = any_of(&mut self.rng, self.shared.nodes.len());
        self.session = Session::new(self.shared.nodes[self.node].1, PATIENCE);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.shared.began.elapsed().as_micros()).expect("less than ages")
    }
}

/// So long that not too many operations come together.
fn pause_of(clients: u64, length: Duration) -> Duration {
    let pause_ms = length.as_millis() * u128::from(clients) / OPERATIONS_MAX;
    PAUSE_MIN.max(Duration::from_millis(u64::try_from(pause_ms).unwrap_or(u64::MAX)))
}

/// One of so many.
pub(crate) fn any_of(rng: &mut Rng, count: usize) -> usize {
    let count = u64::try_from(count).expect("a few");
    usize::try_from(rng.below(count)).expect("below their number")
}

/// Asks for one operation, once.
pub(crate) async fn ask(session: &mut Session, key: &str, action: &Action) -> Result<Answer, Silence> {
    let path = format!("/api/v1/data/{key}");
    match action {
        Action::Get { strict: false } => session.send(Method::GET, &path, None, None).await,
        Action::Get { strict: true } => session.send(Method::GET, &format!("{path}?pr={QUORUM}"), None, None).await,
        Action::Put { value, context } => {
            let body = serde_json::json!({ "value": value }).to_string();
            session.send(Method::PUT, &path, context.as_deref(), Some(body)).await
        }
        Action::Delete { context } => session.send(Method::DELETE, &path, Some(context), None).await,
    }
}

/// What came of it.
pub(crate) fn outcome(action: &Action, answered: Result<Answer, Silence>) -> Outcome {
    let answer = match answered {
        Ok(answer) => answer,
        Err(Silence::NotReached(why)) => return Outcome::Failed(why),
        Err(Silence::NoAnswer(why)) => return Outcome::Unknown(why),
    };
    match (action, answer.status, answer.context) {
        (Action::Get { .. }, 200 | 404, Some(context)) => Outcome::Shown { values: values(&answer.body), context },
        (Action::Put { .. } | Action::Delete { .. }, 200, Some(context)) => {
            let coordinator = answer.body["responsible_node"].as_str().unwrap_or_default().to_owned();
            Outcome::Acknowledged { context, coordinator, strict: is_strict(&answer.body) }
        }
        (action, status, _) => {
            let code = answer.body["error"]["code"].as_str().unwrap_or("no code");
            let why = format!("{status} {code}");
            // These say that the write may still appear.
            let may_be =
                !matches!(action, Action::Get { .. }) && matches!(code, "quorum_not_met" | "timeout" | "no code");
            if may_be { Outcome::Unknown(why) } else { Outcome::Failed(why) }
        }
    }
}

/// All values of an answer; none if the key is absent.
fn values(body: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match body["siblings"].as_array() {
        Some(siblings) => siblings.iter().map(|sibling| text(&sibling["value"])).collect(),
        None => body.get("value").into_iter().map(text).collect(),
    }
}

/// Whether a quorum of owners had a write when it was acknowledged.
fn is_strict(body: &Value) -> bool {
    let owners = body["replication_nodes"].as_array();
    let successful = body["replication_result"]["successful_nodes"].as_array();
    let (Some(owners), Some(successful)) = (owners, successful) else { return false };
    successful.iter().filter(|node| owners.contains(node)).count() >= QUORUM
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(action: &Action, status: u16, body: Value) -> Outcome {
        outcome(action, Ok(Answer { status, context: Some("c".into()), body }))
    }

    #[test]
    fn an_answer_is_what_it_says_and_silence_is_not_failure() {
        let get = Action::Get { strict: true };
        let put = Action::Put { value: "v".into(), context: None };
        let shown = |body| match told(&get, 200, body) {
            Outcome::Shown { values, .. } => values,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(json!({"value": "a"})), ["a"]);
        assert_eq!(shown(json!({"value": "a", "siblings": [{"value": "a"}, {"value": "b"}]})), ["a", "b"]);
        assert!(matches!(told(&get, 404, json!({})), Outcome::Shown { values, .. } if values.is_empty()));
        let error = |code: &str| json!({"error": {"code": code}});
        assert!(matches!(told(&put, 503, error("quorum_not_met")), Outcome::Unknown(_)));
        assert!(matches!(told(&put, 503, error("not_ready")), Outcome::Failed(_)));
        assert!(matches!(told(&get, 504, error("timeout")), Outcome::Failed(_)));
        assert!(matches!(outcome(&put, Err(Silence::NoAnswer("late".into()))), Outcome::Unknown(_)));
        assert!(matches!(outcome(&put, Err(Silence::NotReached("refused".into()))), Outcome::Failed(_)));
        for (successful, expected) in [(json!(["a", "b"]), true), (json!(["a", "x"]), false)] {
            let result =
                json!({"replication_nodes": ["a", "b", "c"], "replication_result": {"successful_nodes": successful}});
            assert!(matches!(told(&put, 200, result), Outcome::Acknowledged { strict, .. } if strict == expected));
        }
    }

    #[test]
    fn long_runs_are_slow_enough_for_the_oracle() {
        assert_eq!(pause_of(32, Duration::from_secs(300)), PAUSE_MIN);
        assert_eq!(pause_of(32, Duration::from_secs(6_000)), Duration::from_millis(768));
    }
}
