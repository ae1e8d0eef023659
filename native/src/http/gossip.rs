//! Who is alive, as this node believes it, and the introduction of new members. Beliefs are the core's.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use quorate_core::id::NodeId;
use quorate_core::membership::{Known, State as MemberState};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::data::parse;
use super::error::ApiError;
use super::{App, answer};
use crate::trace::state_text;

/// Longest body of an introduction, in bytes.
const JOIN_BYTES_MAX: usize = 4_096;

/// Numbers and timing.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let (counts, rumors, suspicion) = app
        .runtime
        .node(|node| {
            let membership = node.membership();
            (membership.counts(), membership.rumors().count(), membership.suspicion_timeout())
        })
        .await?;
    let timing = app.settings.core.timing;
    Ok(answer::json(&json!({
        "gossip_status": {
            "current_node": app.settings.node_id,
            "cluster_size": counts.alive + counts.suspect + counts.dead,
            "alive_nodes": counts.alive,
            "suspected_nodes": counts.suspect,
            "dead_nodes": counts.dead,
            "active_rumors": rumors,
        },
        "config": {
            "gossip_interval": humantime::format_duration(timing.gossip_interval).to_string(),
            "probe_interval": humantime::format_duration(timing.probe_interval).to_string(),
            "suspicion_timeout": humantime::format_duration(suspicion).to_string(),
        },
    })))
}

/// Every member and what is believed of it.
pub(crate) async fn members(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let (me, known) =
        app.runtime.node(|node| (node.id().clone(), node.membership().members().cloned().collect::<Vec<_>>())).await?;
    let mut members = Map::new();
    let (mut total, mut alive) = (0_u64, 0_u64);
    for one in &known {
        total += u64::from(one.member.state != MemberState::Left);
        alive += u64::from(one.member.state == MemberState::Alive);
        members.insert(one.member.node.to_string(), member_text(&app, &me, one));
    }
    Ok(answer::json(&json!({ "cluster_members": members, "total_members": total, "alive_members": alive })))
}

fn member_text(app: &App, me: &NodeId, known: &Known) -> Value {
    let member = &known.member;
    // Of itself a node hears all the time; of who was never heard, the belief is as old as it is.
    let seen = if member.node == *me {
        std::time::SystemTime::now()
    } else {
        app.runtime.time_of_day(known.last_seen.unwrap_or(known.since))
    };
    json!({
        "node_id": member.node,
        "address": member.address,
        "status": state_text(member.state),
        "stopped": member.stopped,
        "last_seen": humantime::format_rfc3339_millis(seen).to_string(),
        "heartbeat_seq": known.heartbeats,
        "incarnation": member.incarnation,
        "zone": member.zone,
        "tags": member.tags,
    })
}

/// What is being spread now.
pub(crate) async fn rumors(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let rumors = app
        .runtime
        .node(|node| {
            let text = |rumor: &quorate_core::membership::Rumor| {
                let member = &rumor.claim.member;
                json!({
                    "node_id": member.node,
                    "status": state_text(member.state),
                    "incarnation": member.incarnation,
                    "noticed_by": rumor.claim.by,
                    "times_sent": rumor.sent,
                })
            };
            node.membership().rumors().map(text).collect::<Vec<_>>()
        })
        .await?;
    Ok(answer::json(&json!({ "active_rumors": rumors.len(), "rumors": rumors })))
}

#[derive(Debug, Deserialize)]
struct JoinBody {
    node_id: Option<NodeId>,
    address: String,
}

/// Introduces a node: it is invited, and the answer comes once it is a member.
pub(crate) async fn join(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), JOIN_BYTES_MAX).await?;
    let JoinBody { node_id, address } = parse(&body.bytes)?;
    let (found, address) = app.introduce(&address, node_id).await?;
    Ok(answer::json(&json!({ "node_id": found, "address": address, "status": "alive" })))
}
