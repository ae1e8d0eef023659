//! What the cluster looks like from this node, for people, probes and programs. Pictures only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use quorate_core::hash::Position;
use quorate_core::id::NodeId;
use quorate_core::layout::Rings;
use quorate_core::membership::Known;
use quorate_core::node::Node;
use quorate_core::ring::{Owner, Token};
use quorate_core::shard::Shard;
use quorate_core::time::Time;
use quorate_core::view::AntiEntropyView;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::query::Query;
use super::{App, answer};
use crate::clocks::Clocks;
use crate::operations::{Conflict, Entry};
use crate::storage::Store;

/// How the cluster does, and this node in it.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    Ok(answer::json(&status_of(&app).await?))
}

/// What this node says of itself.
pub(super) async fn status_of(app: &App) -> Result<Value, ApiError> {
    let (id, counts, rings, quorum) = app
        .runtime
        .node(|node| (node.cluster(), node.membership().counts(), node.rings().clone(), live_owners(node)))
        .await?;
    let (not_ready, handed_over) = app.runtime.node(|node| (node.not_ready(), node.slices_handed_over())).await?;
    let coordinated: usize = app.runtime.shards(Shard::requests_under_way).await?.into_iter().sum();
    let hints = hints(app).await?;
    let repaired = app.runtime.shards(Shard::anti_entropy).await?;
    let repaired = repaired.into_iter().fold(AntiEntropyView::default(), AntiEntropyView::with);
    let uptime = app.runtime.uptime();
    let ago = |at: Time| uptime.saturating_sub(Duration::from_nanos(at.0)).as_secs();
    let replication = app.settings.core.cluster.replication;
    let effective = |quorum: u8| usize::from(quorum).min(rings.layout().len());
    let needed = effective(replication.r.get()).max(effective(replication.w.get()));
    let [sent, dropped, received, malformed] = app.runtime.message_counts();
    let store = app.runtime.store();
    Ok(json!({
        "node_id": app.settings.node_id,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": uptime.as_secs(),
        "ready": not_ready.is_none(),
        "not_ready_reason": not_ready,
        "leaving": handed_over.is_some(),
        "slices_handed_over": handed_over,
        "cluster": {
            "id": id,
            "name": app.settings.core.cluster.name,
            "size": counts.alive + counts.suspect + counts.dead,
            "alive": counts.alive,
            "suspected": counts.suspect,
            "dead": counts.dead,
        },
        "replication": {
            "n": replication.n,
            "r": replication.r,
            "w": replication.w,
            "quorum_available": id.is_some() && quorum >= needed,
        },
        "storage": {
            "keys": store.keys(),
            "bytes": store.disk_bytes(),
            "engine": store.engine_name(),
            "durability": store.durability().map(|durability| durability.to_string()),
        },
        "ring": { "layout_version": rings.id.version, "virtual_nodes": rings.ring().tokens().len() },
        "hints": { "targets": hints, "total": hints.values().sum::<u64>() },
        "anti_entropy": {
            "last_exchange_s_ago": repaired.last_exchange.map(ago),
            "exchanges": repaired.exchanges,
            "keys_repaired": repaired.keys_repaired,
            "trees_built": repaired.trees_built,
            "objects_healed": repaired.objects_healed,
        },
        "requests": { "http": app.requests_under_way(), "coordinated": coordinated },
        "messages": { "sent": sent, "dropped": dropped, "received": received, "malformed": malformed },
    }))
}

/// How many hints this node keeps for whom.
async fn hints(app: &App) -> Result<BTreeMap<NodeId, u64>, ApiError> {
    let mut hints = BTreeMap::new();
    for (target, count) in app.runtime.shards(|shard| shard.hints().clone()).await?.into_iter().flatten() {
        *hints.entry(target).or_default() += count;
    }
    Ok(hints)
}

/// Owners that are not known to be dead or gone.
fn live_owners(node: &Node<Store>) -> usize {
    let lives = |owner: &NodeId| node.membership().member(owner).is_some_and(|known| known.member.state.is_present());
    node.rings().layout().owners().filter(|owner| lives(owner)).count()
}

/// An owner of the ring as people see it.
#[derive(Debug, Serialize)]
struct OwnerText {
    node_id: NodeId,
    address: Option<String>,
    zone: String,
    weight: u16,
    tokens: usize,
}

#[derive(Debug, Serialize)]
struct TokenText<'a> {
    hash: u32,
    node_id: &'a NodeId,
}

/// The ring, and for a key who holds it.
pub(crate) async fn ring(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let query = Query::of(request.uri())?;
    let key = query.get("key").map(|_| query.key("key")).transpose()?;
    let (rings, addresses) = app
        .runtime
        .node(|node| {
            let address = |known: &Known| (known.member.node.clone(), known.member.address.to_string());
            let addresses: BTreeMap<_, _> = node.membership().members().map(address).collect();
            (node.rings().clone(), addresses)
        })
        .await?;
    let ring = rings.ring();
    let owner_of = |token: &Token| &ring.owners()[usize::from(token.owner)].node;
    let tokens: Vec<_> = ring
        .tokens()
        .iter()
        .map(|token| TokenText { hash: token.position.short(), node_id: owner_of(token) })
        .collect();
    let mut answer = json!({
        "layout_version": rings.id.version,
        "virtual_nodes": tokens.len(),
        "nodes": owners(&rings, &addresses),
        "tokens": tokens,
    });
    if let Some(key) = key {
        let at = Position::of(&key);
        let list = ring.preference_list(at);
        answer["key"] = json!(key);
        answer["hash"] = json!(at.short());
        answer["replicas"] = json!(list.primaries());
        answer["fallbacks"] = json!(list.fallbacks().collect::<Vec<_>>());
    }
    Ok(answer::json(&answer))
}

fn owners(rings: &Rings, addresses: &BTreeMap<NodeId, String>) -> Vec<OwnerText> {
    let mut counts = vec![0; rings.ring().owners().len()];
    for token in rings.ring().tokens() {
        counts[usize::from(token.owner)] += 1;
    }
    let text = |(owner, tokens): (&Owner, usize)| OwnerText {
        node_id: owner.node.clone(),
        address: addresses.get(&owner.node).cloned(),
        zone: owner.zone.to_string(),
        weight: owner.weight.get(),
        tokens,
    };
    rings.ring().owners().iter().zip(counts).map(text).collect()
}

/// Whether every thread of the node still answers.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.runtime.node(|_| ()).await?;
    app.runtime.shards(|_| ()).await?;
    Ok(answer::json(&json!({ "status": "ok", "node_id": app.settings.node_id })))
}

/// Whether the node can serve requests.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    if app.is_stopping() {
        return Err(ApiError::shutting_down());
    }
    match app.runtime.node(Node::not_ready).await? {
        None => Ok(answer::json(&json!({ "ready": true, "node_id": app.settings.node_id }))),
        Some(reason) => Err(ApiError::not_ready(reason)),
    }
}

/// What clients did through this node lately, and which keys it left in conflict.
pub(crate) async fn vector_clock(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let query = Query::of(request.uri())?;
    let events = app.operations.since(query.number("since")?.unwrap_or(0));
    let mut clocks = Clocks::default();
    for entry in app.operations.since(0) {
        clocks.merge(&entry.vector_clock);
    }
    let answer = VectorClockAnswer {
        node_id: &app.settings.node_id,
        vector_clock: clocks,
        event_log: EventLog { events },
        conflicts: app.operations.conflicts(),
    };
    Ok(answer::json(&answer))
}

#[derive(Debug, Serialize)]
struct VectorClockAnswer<'a> {
    node_id: &'a NodeId,
    vector_clock: Clocks,
    event_log: EventLog,
    conflicts: Vec<Conflict>,
}

#[derive(Debug, Serialize)]
struct EventLog {
    events: Vec<Entry>,
}
