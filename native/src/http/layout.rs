//! Who owns what, for operators: what it is, what a change would move, and the wish for one. The owners decide it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use quorate_core::id::NodeId;
use quorate_core::layout::{Change, ChangeError, LayoutId, Move, Plan, Progress, Role};
use quorate_core::node::{Node, Wish};
use quorate_core::ring::Place;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{ChangesBody, removal};
use super::data::parse;
use super::error::ApiError;
use super::risk::Risk;
use super::{App, answer};
use crate::storage::Store;

/// Longest body of a change, in bytes: every node of the largest cluster fits into it.
const BODY_BYTES_MAX: usize = 64 * 1_024;
/// The slices of the ring: ownership passes one by one.
const SLICES: u8 = quorate_core::hash::SLICES;

impl App {
    /// Asks the owners for another layout.
    pub(super) async fn wish(&self, wish: Wish) -> Result<LayoutId, ApiError> {
        match self.runtime.wish(wish).await {
            Some(result) => Ok(result?),
            None => Err(ApiError::shutting_down()),
        }
    }
}

/// The newest layout, and how far the change to it has come.
pub(crate) async fn show(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let answer = app
        .runtime
        .node(|node| {
            let (layout, progress) = (node.rings().layout(), node.progress());
            let owners: Vec<Value> = layout.roles().map(|(owner, role)| owner_text(owner, role, &progress)).collect();
            let mut answer = version_text(layout.id());
            answer["owners"] = json!(owners);
            answer["active_versions"] = json!(progress.active);
            answer["progress"] = json!({
                "slices": SLICES,
                "synced": progress.synced,
                "read": progress.read,
                "passed": progress.passed,
            });
            answer["not_ready"] = json!(node.not_ready());
            answer
        })
        .await?;
    Ok(answer::json(&answer))
}

fn owner_text(node: &NodeId, role: &Role, progress: &Progress) -> Value {
    json!({
        "node_id": node,
        "zone": role.zone,
        "weight": role.weight,
        "place": place_text(&role.place),
        "slices_synced": progress.synced.get(node).copied().unwrap_or(0),
    })
}

/// The name of the node that a place was made for; a later one of that node's places has its number.
fn place_text(place: &Place) -> String {
    if place.turn == 0 { place.node.to_string() } else { format!("{}#{}", place.node, place.turn) }
}

/// What names a layout. The hash as text: it has more digits than the numbers of many programs.
fn version_text(id: LayoutId) -> Value {
    json!({ "version": id.version, "epoch": id.epoch, "hash": format!("{:016x}", id.hash) })
}

/// What changes would move. Nothing moves.
pub(crate) async fn plan(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), BODY_BYTES_MAX).await?;
    let body: ChangesBody = parse(&body.bytes)?;
    let (version, plan) = app
        .runtime
        .node(move |node| {
            let changes = body.changes(node)?;
            let current = node.rings().id.version;
            if let Some(planned) = body.base.filter(|base| *base != current) {
                return Err(ChangeError::Stale { planned, current }.into());
            }
            let (layout, plan) = node.plan(&changes)?;
            Ok::<_, ApiError>((layout.version(), plan))
        })
        .await??;
    Ok(answer::json(&plan_text(&app, version, &plan)))
}

fn plan_text(app: &App, version: u64, plan: &Plan) -> Value {
    let me = &app.settings.node_id;
    let stored_bytes = app.runtime.store().disk_bytes();
    let own_ppm = plan.moves.get(me).map_or(0, |own| own.before_ppm);
    let estimate = |ppm: u64| {
        let bytes = u128::from(stored_bytes) * u128::from(ppm) / u128::from(own_ppm.max(1));
        (own_ppm > 0 && stored_bytes > 0).then(|| u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    let nodes: Vec<Value> = plan.moves.iter().map(|(node, what)| move_text(node, what, estimate)).collect();
    json!({
        "base": plan.from,
        "version": version,
        "nodes": nodes,
        "estimated_from": {
            "node_id": me,
            "stored_bytes": stored_bytes,
            "share_percent": percent(own_ppm),
        },
        "note": "nothing has moved; bytes are estimated from what the node named in estimated_from stores and from its \
                 share, and are null where it stores nothing on disk or owns nothing",
    })
}

fn move_text(node: &NodeId, what: &Move, estimate: impl Fn(u64) -> Option<u64>) -> Value {
    let part = |ppm: u64, ranges: u32| json!({ "percent": percent(ppm), "ranges": ranges, "bytes": estimate(ppm) });
    json!({
        "node_id": node,
        "share_before_percent": percent(what.before_ppm),
        "share_after_percent": percent(what.after_ppm),
        "takes": part(what.takes_ppm, what.ranges_taken),
        "gives": part(what.gives_ppm, what.ranges_given),
    })
}

/// Millionths as percent.
pub(super) fn percent(ppm: u64) -> f64 {
    f64::from(u32::try_from(ppm).unwrap_or(u32::MAX)) / 10_000.0
}

/// Changes the layout that was planned for, and no other.
pub(crate) async fn apply(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), BODY_BYTES_MAX).await?;
    let body: ChangesBody = parse(&body.bytes)?;
    let Some(base) = body.base else {
        return Err(ApiError::invalid(
            "the body has no \"base\": name the layout version that the change was planned for, as \
             POST /api/v1/layout/plan answers it",
        ));
    };
    let changes = app.runtime.node(move |node| body.changes(node)).await??;
    let id = app.wish(Wish::Changes { base: Some(base), changes }).await?;
    Ok(answer::json(&version_text(id)))
}

/// Goes back to what was before the change that is under way.
pub(crate) async fn revert(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    Ok(answer::json(&version_text(app.wish(Wish::Revert).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForceBody {
    /// Whose data is lost for ever.
    lost: Vec<NodeId>,
    #[serde(default)]
    i_know_what_is_lost: bool,
}

/// Takes nodes out without asking the owners, because most of them are lost.
pub(crate) async fn force(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = app.read_small_body(request.into_body(), BODY_BYTES_MAX).await?;
    let ForceBody { lost, i_know_what_is_lost } = parse(&body.bytes)?;
    if lost.is_empty() || lost.contains(&app.settings.node_id) {
        return Err(ApiError::invalid(format!(
            "\"lost\" must name the nodes that are lost for ever, and {}, which was asked, is not: ask one that is left",
            app.settings.node_id
        )));
    }
    let changes: Vec<Change> = lost.iter().cloned().map(removal).collect();
    let replication = app.settings.core.cluster.replication;
    let risk = app
        .runtime
        .node({
            let changes = changes.clone();
            move |node: &Node<Store>| node.plan(&changes).map(|_| Risk::of(node.rings(), &lost, replication))
        })
        .await??;
    if !i_know_what_is_lost {
        return Err(ApiError::unacknowledged(&risk));
    }
    let id = app.wish(Wish::Force { changes }).await?;
    tracing::warn!("the layout was forced to version {}: {risk}", id.version);
    Ok(answer::json(&version_text(id)))
}
