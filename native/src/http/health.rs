//! How the whole cluster does, in the members' own words: each one that is not known to be gone is asked for its status, all
//! at the same time, and what they disagree on is pointed out. A picture only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use hyper::header::AUTHORIZATION;
use quorate_core::id::{Address, NodeId};
use quorate_core::membership::State as MemberState;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::error::ApiError;
use super::{App, answer, cluster};
use crate::client::Call;
use crate::config::Endpoint;
use crate::trace::state_text;

/// How long a member has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A member, and whether it is worth asking.
struct Candidate {
    node: NodeId,
    address: Address,
    state: MemberState,
}

/// What came of asking one member.
struct View {
    candidate: Candidate,
    /// Its status, or why there is none.
    status: Result<Value, String>,
    took: Duration,
}

/// Every member's own view, and where the views differ.
pub(crate) async fn gathered(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    // Who may read here may read there.
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let candidates: Vec<Candidate> = app
        .runtime
        .node(|node| {
            let members = node.membership().members().map(|known| &known.member);
            let listed = members.filter(|member| member.state != MemberState::Left);
            listed
                .map(|member| Candidate {
                    node: member.node.clone(),
                    address: member.address.clone(),
                    state: member.state,
                })
                .collect()
        })
        .await?;
    let views = join_all(candidates.into_iter().map(|candidate| view(&app, candidate, token.as_deref()))).await;
    Ok(answer::json(&summary(&app.settings.node_id, &views)))
}

async fn view(app: &App, candidate: Candidate, authorization: Option<&str>) -> View {
    let begun = Instant::now();
    let status = if candidate.node == app.settings.node_id {
        cluster::status_of(app).await.map_err(|error| error.to_string())
    } else if candidate.state.is_present() {
        ask(app, &candidate.address, authorization).await
    } else {
        Err("it was not asked: it is believed dead".into())
    };
    View { candidate, status, took: begun.elapsed() }
}

async fn ask(app: &App, address: &Address, authorization: Option<&str>) -> Result<Value, String> {
    let endpoints = [Endpoint(address.clone())];
    let mut call = Call::get("/api/v1/status");
    call.headers.extend(authorization.map(|value| ("authorization", value.to_owned())));
    let answer = timeout(PATIENCE, call.send(&endpoints, app.trust.tls.as_ref())).await;
    let answer = answer.map_err(|_| format!("it has not answered within {} s", PATIENCE.as_secs()))?;
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("it answered with status {}", answer.status.as_u16()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("its answer is not understood: {error}"))
}

fn summary(asked: &NodeId, views: &[View]) -> Value {
    let newest = views.iter().filter_map(|view| layout_version(view.status.as_ref().ok()?)).max().unwrap_or(0);
    let nodes: Map<String, Value> = views
        .iter()
        .map(|view| (view.candidate.node.to_string(), node_text(view, newest, hints_for(views, &view.candidate.node))))
        .collect();
    let answered = views.iter().filter(|view| view.status.is_ok()).count();
    let disagreements = disagreements(views);
    let ready = views.iter().all(|view| view.status.as_ref().is_ok_and(|status| status["ready"] == true));
    json!({
        "status": if ready && disagreements.is_empty() { "ok" } else { "degraded" },
        "asked_through": asked,
        "members": views.len(),
        "answered": answered,
        "nodes": nodes,
        "disagreements": disagreements,
    })
}

fn node_text(view: &View, newest: u64, hints_for_it: u64) -> Value {
    let Candidate { address, state, .. } = &view.candidate;
    let mut text = json!({
        "address": address,
        "status": state_text(*state),
        "lag": { "hints_for_it": hints_for_it },
    });
    match &view.status {
        Ok(status) => {
            text["ready"] = status["ready"].clone();
            text["not_ready_reason"] = status["not_ready_reason"].clone();
            text["leaving"] = status["leaving"].clone();
            text["uptime_s"] = status["uptime_s"].clone();
            text["load"] = json!({ "requests": status["requests"], "storage": status["storage"] });
            text["hints"] = status["hints"].clone();
            text["cluster"] = status["cluster"].clone();
            text["layout_version"] = status["ring"]["layout_version"].clone();
            text["lag"]["layout_versions"] = json!(layout_version(status).map(|version| newest - version));
            text["answered_in_ms"] = json!(u64::try_from(view.took.as_millis()).unwrap_or(u64::MAX));
        }
        Err(reason) => text["error"] = json!(reason),
    }
    text
}

fn layout_version(status: &Value) -> Option<u64> {
    status["ring"]["layout_version"].as_u64()
}

/// The hints that all who answered keep for a member: what it has missed.
fn hints_for(views: &[View], node: &NodeId) -> u64 {
    let kept =
        |view: &View| view.status.as_ref().ok().and_then(|status| status["hints"]["targets"][node.as_str()].as_u64());
    views.iter().filter_map(kept).sum()
}

/// What members see differently: each value with those who see it.
fn disagreements(views: &[View]) -> Vec<Value> {
    [
        ("cluster_id", "/cluster/id"),
        ("layout_version", "/ring/layout_version"),
        ("alive_members", "/cluster/alive"),
        ("suspected_members", "/cluster/suspected"),
        ("dead_members", "/cluster/dead"),
        ("replication", "/replication/n"),
    ]
    .into_iter()
    .filter_map(|(about, place)| {
        let mut seen: BTreeMap<String, Vec<&NodeId>> = BTreeMap::new();
        for view in views {
            if let Ok(value) = view.status.as_ref().map(|status| status.pointer(place).unwrap_or(&Value::Null)) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                seen.entry(text).or_default().push(&view.candidate.node);
            }
        }
        (seen.len() > 1).then(|| json!({ "about": about, "views": seen }))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, layout: u64, alive: u64) -> View {
        let node = NodeId::new(name).expect("good");
        let address = Address::new("127.0.0.1:1").expect("good");
        let status = json!({
            "ready": true,
            "cluster": { "alive": alive },
            "ring": { "layout_version": layout },
            "hints": { "targets": { "c": 2 } },
        });
        View { candidate: Candidate { node, address, state: MemberState::Alive }, status: Ok(status), took: PATIENCE }
    }

    #[test]
    fn what_members_see_differently_is_pointed_out() {
        let me = NodeId::new("a").expect("good");
        let same = summary(&me, &[view("a", 4, 2), view("b", 4, 2)]);
        assert_eq!((&same["status"], &same["disagreements"]), (&json!("ok"), &json!([])));
        let mut gone = view("c", 0, 0);
        gone.status = Err("it is gone".into());
        let differ = summary(&me, &[view("a", 4, 3), view("b", 3, 3), gone]);
        assert_eq!(differ["status"], "degraded");
        assert_eq!(
            differ["disagreements"],
            json!([{ "about": "layout_version", "views": { "3": ["b"], "4": ["a"] } }])
        );
        assert_eq!(differ["nodes"]["b"]["lag"], json!({ "hints_for_it": 0, "layout_versions": 1 }));
        assert_eq!(differ["nodes"]["c"]["lag"], json!({ "hints_for_it": 4 }));
        assert_eq!(differ["nodes"]["c"]["error"], "it is gone");
    }
}
