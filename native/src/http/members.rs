//! Planned changes of who belongs to the cluster: nodes come in, go, and take each other's place, and this one leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hyper::StatusCode;
use quorate_core::id::{Address, NodeId};
use quorate_core::layout::Role;
use quorate_core::membership::Member;
use quorate_core::node::Wish;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{removal, replacement};
use super::data::parse;
use super::error::ApiError;
use super::{App, answer};
use crate::config::{Endpoint, UnitError};
use crate::trace::state_text;

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 4_096;

impl App {
    /// Introduces the node at an address, and says who it is once it is a member. One of another name than expected is an
    /// error, but a member.
    pub(super) async fn introduce(
        &self,
        address: &str,
        expected: Option<NodeId>,
    ) -> Result<(NodeId, Address), ApiError> {
        if !self.settings.gossip {
            return Err(ApiError::conflict("this node was started with --gossip false and talks to nobody"));
        }
        let Endpoint(address) = address.parse().map_err(|error: UnitError| ApiError::invalid(error.to_string()))?;
        let found = self.runtime.introduce(address.clone()).await?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ApiError::conflict(format!(
                "the node at {address} is {found}, not {expected}; it is a member now"
            )));
        }
        Ok((found, address))
    }
}

/// Every member, and what it owns.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let answer = app
        .runtime
        .node(|node| {
            let layout = node.rings().layout();
            let members: BTreeMap<&NodeId, &Member> =
                node.membership().members().map(|known| (&known.member.node, &*known.member)).collect();
            let unknown = layout.roles().filter(|(owner, _)| !members.contains_key(owner));
            let listed: Vec<Value> = members
                .values()
                .map(|member| member_text(&member.node, Some(member), layout.role(&member.node)))
                .chain(unknown.map(|(owner, role)| member_text(owner, None, Some(role))))
                .collect();
            json!({ "layout_version": layout.version(), "members": listed })
        })
        .await?;
    Ok(answer::json(&answer))
}

fn member_text(node: &NodeId, member: Option<&Member>, role: Option<&Role>) -> Value {
    json!({
        "node_id": node,
        "address": member.map(|member| &member.address),
        "status": member.map_or("unknown", |member| state_text(member.state)),
        "stopped": member.is_some_and(|member| member.stopped),
        "owner": role.is_some(),
        "zone": role.map(|role| &role.zone).or_else(|| member.map(|member| &member.zone)),
        "weight": role.map(|role| role.weight),
    })
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Add,
    Remove,
    Replace,
}

#[derive(Debug, Deserialize)]
struct ChangeBody {
    action: Action,
    /// Who comes; who goes; or whose place is taken.
    node_id: Option<NodeId>,
    /// Who takes the place.
    new_node_id: Option<NodeId>,
    /// Where whoever comes is reached.
    address: Option<String>,
    /// As the address, and before it.
    http_address: Option<String>,
}

/// One planned change.
pub(crate) async fn change(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), BODY_BYTES_MAX).await?;
    let ChangeBody { action, node_id, new_node_id, address, http_address } = parse(&body.bytes)?;
    let address = http_address.or(address);
    match action {
        Action::Add => add(&app, node_id, address).await,
        Action::Remove => remove(&app, named(node_id, "who goes")?).await,
        Action::Replace => replace(&app, named(node_id, "whose place is taken")?, new_node_id, address).await,
    }
}

fn named(node: Option<NodeId>, meaning: &str) -> Result<NodeId, ApiError> {
    node.ok_or_else(|| ApiError::invalid(format!("the body has no \"node_id\": it must say {meaning}")))
}

async fn add(app: &App, expected: Option<NodeId>, address: Option<String>) -> Result<Response, ApiError> {
    let address = address
        .ok_or_else(|| ApiError::invalid("the body has no \"address\": it must say where the node is reached"))?;
    let (node, address) = app.introduce(&address, expected).await?;
    Ok(answer::json(&json!({ "action": "add", "node_id": node, "address": address, "status": "alive" })))
}

async fn remove(app: &App, node: NodeId) -> Result<Response, ApiError> {
    let id = app.wish(Wish::Changes { base: None, changes: vec![removal(node.clone())] }).await?;
    Ok(answer::json(&json!({ "action": "remove", "node_id": node, "layout_version": id.version })))
}

/// The newcomer is a member already and named, or found at an address.
async fn replace(app: &App, old: NodeId, new: Option<NodeId>, address: Option<String>) -> Result<Response, ApiError> {
    let new = match (address, new) {
        (Some(address), expected) => app.introduce(&address, expected).await?.0,
        (None, Some(new)) => new,
        (None, None) => {
            return Err(ApiError::invalid(
                "the body names nobody who takes the place: add \"new_node_id\", a member that is alive, or its \"address\"",
            ));
        }
    };
    let change = {
        let (old, new) = (old.clone(), new.clone());
        app.runtime.node(move |node| replacement(node, &old, &new)).await??
    };
    let id = app.wish(Wish::Changes { base: None, changes: vec![change] }).await?;
    let answer = json!({ "action": "replace", "node_id": old, "new_node_id": new, "layout_version": id.version });
    Ok(answer::json(&answer))
}

/// This node leaves for good: it hands over what it holds, and then its process ends.
pub(crate) async fn leave(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let id = match app.runtime.leave().await {
        Some(result) => result?,
        None => return Err(ApiError::shutting_down()),
    };
    let answer = json!({ "node_id": app.settings.node_id, "leaving": true, "layout_version": id.version });
    Ok(answer::json_with(StatusCode::ACCEPTED, &answer))
}
