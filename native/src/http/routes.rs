//! Every operation of the interface, once: where it is, what it needs, who carries it out. The router and what describes
//! the interface to programs are both made from this table.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::access::{self, Access, Gate};
use super::{App, cluster, data, events, gossip, health, kv, layout, members, metrics, page};
use crate::peer;

/// One method of one path.
pub(crate) struct Operation {
    /// As axum writes paths.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    handler: fn() -> MethodRouter<Arc<App>>,
}

const fn operation(path: &'static str, access: Access, handler: fn() -> MethodRouter<Arc<App>>) -> Operation {
    Operation { path, access, handler }
}

const DATA: &str = "/api/v1/data/{*key}";

/// All of them.
pub(crate) const OPERATIONS: &[Operation] = &[
    operation(DATA, Access::Read, || get(data::get)),
    operation(DATA, Access::Write, || put(data::put)),
    operation(DATA, Access::Write, || delete(data::delete)),
    operation("/kv/set", Access::Write, || post(kv::set)),
    operation("/kv/get", Access::Read, || get(kv::get)),
    operation("/kv/delete", Access::Write, || post(kv::delete)),
    operation("/kv/delete", Access::Write, || delete(kv::delete)),
    operation("/kv/stats", Access::Read, || get(kv::stats)),
    operation("/api/v1/status", Access::Read, || get(cluster::status)),
    operation("/status", Access::Read, || get(cluster::status)),
    operation("/api/v1/ring", Access::Read, || get(cluster::ring)),
    operation("/api/v1/vector-clock", Access::Read, || get(cluster::vector_clock)),
    operation("/api/v1/cluster/health", Access::Read, || get(health::gathered)),
    operation("/api/v1/cluster/members", Access::Read, || get(members::list)),
    operation("/api/v1/cluster/members", Access::Admin, || post(members::change)),
    operation("/api/v1/layout", Access::Read, || get(layout::show)),
    // A plan changes nothing.
    operation("/api/v1/layout/plan", Access::Read, || post(layout::plan)),
    operation("/api/v1/layout/apply", Access::Admin, || post(layout::apply)),
    operation("/api/v1/layout/revert", Access::Admin, || post(layout::revert)),
    operation("/api/v1/layout/force", Access::Admin, || post(layout::force)),
    operation("/gossip/status", Access::Read, || get(gossip::status)),
    operation("/gossip/members", Access::Read, || get(gossip::members)),
    operation("/gossip/rumors", Access::Read, || get(gossip::rumors)),
    operation("/gossip/join", Access::Admin, || post(gossip::join)),
    operation("/gossip/leave", Access::Admin, || post(members::leave)),
    operation("/gossip/event", Access::Write, || post(events::fire)),
    operation("/gossip/events", Access::Read, || get(events::listen)),
    operation("/gossip/query", Access::Write, || post(events::ask)),
    operation("/health", Access::Anyone, || get(cluster::health)),
    operation("/ready", Access::Anyone, || get(cluster::ready)),
    operation("/metrics", Access::Read, || get(metrics::metrics)),
    operation("/", Access::Public, || get(page::document)),
    operation("/playground", Access::Public, || get(page::document)),
    operation(peer::PATH, Access::Anyone, || get(super::peers)),
];

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let add = |router: Router<Arc<App>>, operation: &Operation| {
        let gate = Gate { app: app.clone(), access: operation.access, path: operation.path };
        let admit = middleware::from_fn_with_state(gate, access::admit);
        router.route(operation.path, (operation.handler)().route_layer(admit))
    };
    OPERATIONS
        .iter()
        .fold(Router::new(), add)
        .fallback(super::elsewhere)
        .method_not_allowed_fallback(super::method_not_allowed)
        .with_state(app)
}
