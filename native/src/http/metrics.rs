//! `/metrics`: what the node counts, in the text format of Prometheus. What is not counted as it happens is looked up here.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use quorate_core::id::NodeId;
use quorate_core::node::Node;
use quorate_core::shard::Shard;
use quorate_core::view::AntiEntropyView;

use super::App;
use super::error::ApiError;
use crate::metrics::{self, LookedUp, gauged, set};
use crate::storage::Store;

/// Everything that is counted.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let control = app.runtime.node(ControlNumbers::of).await?;
    let shards = app.runtime.shards(ShardNumbers::of).await?;
    // One at a time: what is looked up is taken away and put there anew.
    let _turn = app.scraping.lock().await;
    let to = &app.metrics.looked_up;
    control.write(to);
    ShardNumbers::write(&shards, to);
    app.write_own(to);
    let mut response = Response::new(Body::from(app.metrics.text()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}

/// What the control plane knows.
struct ControlNumbers {
    ready: bool,
    members: [(&'static str, u64); 4],
    rumors: usize,
    local_health: u8,
    layout_version: u64,
    layout_active: usize,
    owners: usize,
    virtual_nodes: usize,
    slices: [(&'static str, u32); 3],
}

impl ControlNumbers {
    fn of(node: &Node<Store>) -> Self {
        let (membership, rings, progress) = (node.membership(), node.rings(), node.progress());
        let counts = membership.counts();
        let synced = progress.synced.get(node.id()).copied().unwrap_or(0);
        Self {
            ready: node.not_ready().is_none(),
            members: [
                ("alive", counts.alive),
                ("suspected", counts.suspect),
                ("dead", counts.dead),
                ("left", counts.left),
            ],
            rumors: membership.rumors().count(),
            local_health: membership.local_health(),
            layout_version: rings.id.version,
            layout_active: progress.active.len(),
            owners: rings.layout().len(),
            virtual_nodes: rings.ring().tokens().len(),
            slices: [("synced", synced), ("read", progress.read), ("passed", progress.passed)],
        }
    }

    fn write(&self, to: &LookedUp) {
        to.ready.set(i64::from(self.ready));
        for (status, count) in self.members {
            to.members.with_label_values(&[status]).set(gauged(count));
        }
        to.rumors.set(gauged(self.rumors));
        to.local_health.set(i64::from(self.local_health));
        to.layout_version.set(gauged(self.layout_version));
        to.layout_active.set(gauged(self.layout_active));
        to.layout_owners.set(gauged(self.owners));
        to.virtual_nodes.set(gauged(self.virtual_nodes));
        for (state, count) in self.slices {
            to.slices.with_label_values(&[state]).set(i64::from(count));
        }
    }
}

/// What one shard knows.
struct ShardNumbers {
    hints: BTreeMap<NodeId, u64>,
    repaired: AntiEntropyView,
    coordinated: usize,
}

impl ShardNumbers {
    fn of(shard: &Shard<Store>) -> Self {
        let (hints, repaired) = (shard.hints().clone(), shard.anti_entropy());
        Self { hints, repaired, coordinated: shard.requests_under_way() }
    }

    fn write(shards: &[Self], to: &LookedUp) {
        to.hints_kept.reset();
        for (target, count) in shards.iter().flat_map(|shard| &shard.hints) {
            to.hints_kept.with_label_values(&[target.as_str()]).add(gauged(*count));
        }
        let repaired =
            shards.iter().map(|shard| shard.repaired).fold(AntiEntropyView::default(), AntiEntropyView::with);
        set(&to.exchanges, repaired.exchanges);
        set(&to.exchange_repairs, repaired.keys_repaired);
        set(&to.trees_built, repaired.trees_built);
        set(&to.healed, repaired.objects_healed);
        to.coordinated.set(gauged(shards.iter().map(|shard| shard.coordinated).sum::<usize>()));
    }
}

impl App {
    fn write_own(&self, to: &LookedUp) {
        let store = self.runtime.store();
        to.uptime.set(gauged(self.runtime.uptime().as_secs()));
        to.keys.set(gauged(store.keys()));
        to.disk_used.set(gauged(store.disk_bytes()));
        to.disk_free.set(gauged(store.free_bytes().unwrap_or(0)));
        to.http_under_way.set(gauged(self.requests_under_way()));
        for (thread, length) in self.runtime.queue_lengths() {
            to.queues.with_label_values(&[thread.as_str()]).set(gauged(length));
        }
        let outcomes = ["sent", "dropped", "received", "malformed"];
        for (outcome, count) in outcomes.into_iter().zip(self.runtime.message_counts()) {
            set(&to.messages.with_label_values(&[outcome]), count);
        }
    }
}
