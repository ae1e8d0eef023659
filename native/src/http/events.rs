//! What users tell and ask the whole cluster, and what is heard here. Payloads are JSON and are never looked into.
//!
//! To a question of a user every node says `null`: it has heard it, and has no application that could say more. To
//! `quorate.health` it says how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use quorate_core::gossip::{Asked, Audience, Health, Reply, Stamp, UserEvent};
use quorate_core::id::{EventName, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::data::parse;
use super::error::ApiError;
use super::query::Query;
use super::{App, answer};
use crate::runtime::HeardEvent;

/// Longest body of an event, in bytes: the core has its own bound on what is in it.
const EVENT_BODY_BYTES_MAX: usize = 64 * 1_024;
/// Longest body of a question: it may name every member.
const QUESTION_BODY_BYTES_MAX: usize = 256 * 1_024;
/// How long a question waits for answers, if nobody says how long.
const QUESTION_TIMEOUT_MS: u64 = 5_000;
/// Those that listen at one time; the next one is refused.
const LISTENERS_MAX: usize = 128;
/// After so long without an event a line without meaning is sent, so that who has gone is noticed.
const SILENCE: Duration = Duration::from_secs(10);
/// That line.
const NOTHING: &str = ":\n\n";

#[derive(Debug, Deserialize)]
struct EventBody {
    name: EventName,
    payload: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct QuestionBody {
    name: EventName,
    payload: Option<Box<RawValue>>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    to: To,
}

/// Who is asked: all, or those that are named or have all of these tags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    tags: Option<BTreeMap<String, String>>,
    nodes: Option<Vec<NodeId>>,
}

/// Tells the whole cluster something.
pub(crate) async fn fire(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), EVENT_BODY_BYTES_MAX).await?;
    let EventBody { name, payload } = parse(&body.bytes)?;
    let stamp = app.runtime.fire(name.clone(), bytes_of(payload)).await.ok_or_else(ApiError::shutting_down)??;
    let mut response = answer::json(&json!({
        "id": id_text(&stamp),
        "name": name,
        "node_id": stamp.origin,
        "time": stamp.time,
    }));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// Asks members something, and answers once all have, or the time is over.
pub(crate) async fn ask(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), QUESTION_BODY_BYTES_MAX).await?;
    let QuestionBody { name, payload, timeout_ms, to } = parse(&body.bytes)?;
    let to = match to {
        To { tags: None, nodes: None } => Audience::All,
        To { tags: Some(tags), nodes: None } => Audience::Tags(tags),
        To { tags: None, nodes: Some(nodes) } => Audience::Nodes(nodes),
        To { tags: Some(_), nodes: Some(_) } => {
            return Err(ApiError::invalid("\"to\" must name either \"tags\" or \"nodes\", not both"));
        }
    };
    let timeout = Duration::from_millis(timeout_ms.unwrap_or(QUESTION_TIMEOUT_MS));
    let asked = Asked { name: name.clone(), payload: bytes_of(payload), timeout, to };
    let said = app.runtime.ask(asked).await.ok_or_else(ApiError::shutting_down)??;
    let answers: BTreeMap<NodeId, AnswerText> =
        said.replies.into_iter().map(|(node, reply)| (node, AnswerText::of(reply))).collect();
    Ok(answer::json(&QuestionAnswer { name, answers, missing: said.missing }))
}

#[derive(Debug, Serialize)]
struct QuestionAnswer {
    name: EventName,
    answers: BTreeMap<NodeId, AnswerText>,
    /// Who was asked and did not answer.
    missing: Vec<NodeId>,
}

/// A payload as JSON: itself if it is JSON, else its bytes in Base64.
#[derive(Debug, Default, Serialize)]
struct PayloadText {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl PayloadText {
    fn of(bytes: &Bytes) -> Self {
        // Outside of strings a line break is a space; inside there is none.
        let text = std::str::from_utf8(bytes).ok().map(|text| text.replace(['\n', '\r'], " "));
        match text.and_then(|text| RawValue::from_string(text).ok()) {
            Some(json) => Self { payload: Some(json), payload_base64: None },
            None => Self { payload: None, payload_base64: Some(STANDARD.encode(bytes)) },
        }
    }
}

/// What a node says. The fields of [`PayloadText`] are written out, because raw JSON cannot be flattened.
#[derive(Debug, Default, Serialize)]
struct AnswerText {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// It runs an older version, which knows no such question.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
}

impl AnswerText {
    fn of(reply: Reply) -> Self {
        match reply {
            Reply::Answer(bytes) => {
                let PayloadText { payload, payload_base64 } = PayloadText::of(&bytes);
                Self { payload, payload_base64, unknown: false }
            }
            Reply::Health(Health { is_ready, local_health, alive, suspect, dead }) => {
                let health = json!({
                    "ready": is_ready,
                    "local_health": local_health,
                    "alive": alive,
                    "suspected": suspect,
                    "dead": dead,
                });
                Self { payload: to_raw_value(&health).ok(), ..Self::default() }
            }
            Reply::Unknown => Self { unknown: true, ..Self::default() },
        }
    }
}

/// Streams the events that are remembered here, then, unless the client says `follow=false`, those that come. Whoever reads
/// too slowly is cut off.
pub(crate) async fn listen(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let query = Query::of(request.uri())?;
    let name = query.get("name").map(EventName::new).transpose()?;
    let follow = query.flag("follow")?.unwrap_or(true);
    if app.runtime.listeners() >= LISTENERS_MAX {
        return Err(ApiError::overloaded());
    }
    let (remembered, live) = app.runtime.listen().await?;
    let live = follow.then_some(live);
    let mut response = Response::new(Body::from_stream(lines(name, remembered, live)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The text of server-sent events: each event once.
fn lines(
    name: Option<EventName>,
    remembered: Vec<Arc<UserEvent>>,
    live: Option<broadcast::Receiver<HeardEvent>>,
) -> impl Stream<Item = Result<String, Infallible>> {
    let shown = remembered.iter().map(|event| event.stamp.clone()).collect();
    let has_name = |event: &&Arc<UserEvent>| name.as_ref().is_none_or(|name| event.name == *name);
    let wanted: Vec<String> = remembered.iter().filter(has_name).map(|event| text(event, true)).collect();
    let listener = live.map(|live| Listener { name, shown, live });
    // A first line without meaning: who listens knows at once that it does.
    let first = stream::iter(std::iter::once(NOTHING.to_owned()).chain(wanted));
    let rest = async |listener: Option<Listener>| {
        let (line, listener) = listener?.next().await?;
        Some((line, Some(listener)))
    };
    first.chain(stream::unfold(listener, rest)).map(Ok)
}

/// One that listens.
struct Listener {
    name: Option<EventName>,
    /// What it was shown at its beginning.
    shown: BTreeSet<Stamp>,
    live: broadcast::Receiver<HeardEvent>,
}

impl Listener {
    fn has_name(&self, event: &UserEvent) -> bool {
        self.name.as_ref().is_none_or(|name| event.name == *name)
    }

    /// The next lines, once there are some; the end for one that is too far behind, and when the node stops.
    async fn next(mut self) -> Option<(String, Self)> {
        let until = Instant::now() + SILENCE;
        loop {
            match timeout_at(until, self.live.recv()).await {
                Ok(Ok(HeardEvent { event, is_late })) => {
                    if self.has_name(&event) && !self.shown.remove(&event.stamp) {
                        return Some((text(&event, is_late), self));
                    }
                }
                Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
                Err(_) => return Some((NOTHING.to_owned(), self)),
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct EventText<'a> {
    id: String,
    name: &'a EventName,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// Who told it.
    node_id: &'a NodeId,
    /// Later than all that its teller had heard.
    time: u64,
    /// Whether it may have happened long before.
    late: bool,
}

fn text(event: &UserEvent, is_late: bool) -> String {
    let PayloadText { payload, payload_base64 } = PayloadText::of(&event.payload);
    let UserEvent { stamp, name, .. } = event;
    let (id, node_id, time) = (id_text(stamp), &stamp.origin, stamp.time);
    let text = EventText { id, name, payload, payload_base64, node_id, time, late: is_late };
    format!("data: {}\n\n", serde_json::to_string(&text).expect("it has text for keys"))
}

fn id_text(stamp: &Stamp) -> String {
    format!("{:016x}", stamp.id)
}

fn bytes_of(payload: Option<Box<RawValue>>) -> Bytes {
    payload.map_or(Bytes::from_static(b"null"), |json| String::from(Box::<str>::from(json)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(number: u64, name: &str, payload: &'static [u8]) -> HeardEvent {
        let origin = NodeId::new("a").expect("a good name");
        let stamp = Stamp { time: number, origin, id: number };
        let name = EventName::new(name).expect("a good name");
        HeardEvent { event: Arc::new(UserEvent { stamp, name, payload: Bytes::from_static(payload) }), is_late: false }
    }

    fn data(lines: &str) -> Option<serde_json::Value> {
        let json = lines.strip_prefix("data: ")?.strip_suffix("\n\n")?;
        assert!(!json.contains('\n') && !json.contains('\r'), "one line: {json}");
        Some(serde_json::from_str(json).expect("JSON"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_comes_first_and_nothing_comes_twice() {
        let (sender, live) = broadcast::channel(8);
        let old = heard(1, "deploy", b"{\"a\":\r\n1}");
        let lines = lines(Some(EventName::new("deploy").expect("a good name")), vec![old.event.clone()], Some(live));
        for event in [old, heard(2, "other", b"2"), heard(3, "deploy", b"\xff")] {
            sender.send(event).expect("somebody listens");
        }
        drop(sender);
        let lines: Vec<_> = lines.filter_map(async |line| data(&line.expect("never fails"))).collect().await;
        let [first, second] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&first["payload"], &first["late"], &first["time"]), (&json!({"a": 1}), &json!(true), &json!(1)));
        assert_eq!((&second["payload_base64"], &second["late"]), (&json!("/w=="), &json!(false)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_reads_too_slowly_is_cut_off_and_one_that_hears_nothing_is_not() {
        let (sender, live) = broadcast::channel(2);
        let lines = lines(None, Vec::new(), Some(live));
        tokio::pin!(lines);
        for _ in 0..3 {
            assert_eq!(lines.next().await, Some(Ok(NOTHING.to_owned())));
        }
        for number in 0..5 {
            sender.send(heard(number, "deploy", b"1")).expect("somebody listens");
        }
        assert_eq!(lines.next().await, None);
    }
}
