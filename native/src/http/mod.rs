//! The HTTP interface of a node. It translates, bounds and refuses; what happens to data and members is decided in the
//! core. Every failure has one form, `{"error": {..}}`, and no request may crash or hang the node.

mod answer;
mod body;
mod change;
mod cluster;
mod context;
mod data;
mod error;
mod events;
mod gossip;
mod health;
mod kv;
mod layout;
mod members;
mod page;
mod query;
mod risk;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hyper::header::{HOST, ORIGIN};
use hyper::{HeaderMap, Method};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::timeout;

use self::body::{BodyRoom, HeldBody};
use self::error::ApiError;
pub use self::server::Server;
use crate::config::Settings;
use crate::operations::OperationLog;
use crate::peer::{self, UPGRADE};
use crate::runtime::Runtime;

/// What every request shares.
pub struct App {
    settings: Settings,
    runtime: Arc<Runtime>,
    operations: OperationLog,
    bodies: BodyRoom,
    stopping: AtomicBool,
    under_way: AtomicUsize,
    /// A request has ended.
    ended: Notify,
}

/// The place of a connection among all: held as long as it is open.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(Arc<OwnedSemaphorePermit>);

impl App {
    /// What requests need.
    #[must_use]
    pub fn new(settings: Settings, runtime: Arc<Runtime>, operations: OperationLog) -> Arc<Self> {
        Arc::new(Self {
            settings,
            runtime,
            operations,
            bodies: BodyRoom::new(),
            stopping: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            ended: Notify::new(),
        })
    }

    /// Refuses requests from now on, and waits for those under way, but no longer than `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        let all_ended = async {
            loop {
                let ended = self.ended.notified();
                if self.under_way.load(Ordering::SeqCst) == 0 {
                    return;
                }
                ended.await;
            }
        };
        // Whoever is still waiting then is answered by the end of the process.
        let _ = timeout(patience, all_ended).await;
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Requests that have come and are not answered, the one that asks included.
    fn requests_under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    fn copies(&self) -> u8 {
        self.settings.core.cluster.replication.n.get()
    }

    /// Reads a body that holds a value and little else.
    async fn read_body(&self, body: Body, overhead_bytes: usize) -> Result<HeldBody, ApiError> {
        let value_bytes_max = self.settings.core.value_bytes_max;
        self.bodies.read(body, value_bytes_max + overhead_bytes, value_bytes_max).await
    }

    /// Reads a body that holds no value.
    async fn read_small_body(&self, body: Body, bytes_max: usize) -> Result<HeldBody, ApiError> {
        self.bodies.read(body, bytes_max, bytes_max).await
    }
}

/// Counts a request as under way until it is dropped.
struct UnderWay(Arc<App>);

impl UnderWay {
    fn begin(app: &Arc<App>) -> Self {
        app.under_way.fetch_add(1, Ordering::SeqCst);
        Self(app.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/data/{*key}", get(data::get).put(data::put).delete(data::delete))
        .route(data::PREFIX, get(data::get).put(data::put).delete(data::delete))
        .route("/kv/set", post(kv::set))
        .route("/kv/get", get(kv::get))
        .route("/kv/delete", post(kv::delete).delete(kv::delete))
        .route("/kv/stats", get(kv::stats))
        .route("/gossip/status", get(gossip::status))
        .route("/gossip/members", get(gossip::members))
        .route("/gossip/rumors", get(gossip::rumors))
        .route("/gossip/join", post(gossip::join))
        .route("/gossip/leave", post(members::leave))
        .route("/api/v1/layout", get(layout::show))
        .route("/api/v1/layout/plan", post(layout::plan))
        .route("/api/v1/layout/apply", post(layout::apply))
        .route("/api/v1/layout/revert", post(layout::revert))
        .route("/api/v1/layout/force", post(layout::force))
        .route("/api/v1/cluster/members", get(members::list).post(members::change))
        .route("/api/v1/cluster/health", get(health::gathered))
        .route("/gossip/event", post(events::fire))
        .route("/gossip/events", get(events::listen))
        .route("/gossip/query", post(events::ask))
        .route("/api/v1/status", get(cluster::status))
        .route("/status", get(cluster::status))
        .route("/api/v1/ring", get(cluster::ring))
        .route("/api/v1/vector-clock", get(cluster::vector_clock))
        .route("/ready", get(cluster::ready))
        .route("/", get(page::document))
        .route("/playground", get(page::document))
        .layer(middleware::from_fn_with_state(app.clone(), admit))
        // Probes and other nodes are let in while the node stops, too.
        .route("/health", get(cluster::health))
        .route(peer::PATH, get(peers))
        .fallback(elsewhere)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

/// Refuses what may not come in, and counts the rest.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.is_stopping() {
        return ApiError::shutting_down().into_response();
    }
    if let Err(error) = check_origin(request.method(), request.headers()) {
        return error.into_response();
    }
    let _under_way = UnderWay::begin(&app);
    next.run(request).await
}

/// Pages of this server may read; no page may write, and pages from elsewhere may do nothing: whoever opens a page must
/// not hand it the keys to the store behind his back.
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let text = origin.to_str().unwrap_or_default();
    let authority = text.split_once("://").map(|(_, authority)| authority);
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    if authority.is_none() || authority != own {
        return Err(ApiError::forbidden(format!("pages of {text} may not use this node")));
    }
    if method.is_safe() { Ok(()) } else { Err(ApiError::forbidden("pages may read from this node, not write to it")) }
}

/// Another node wants a connection.
async fn peers(State(app): State<Arc<App>>, mut request: Request) -> Result<Response, ApiError> {
    if !app.settings.gossip {
        return Err(ApiError::forbidden("this node was started with --gossip false and talks to nobody"));
    }
    let permit = request.extensions_mut().remove::<ConnectionPermit>().map(|permit| permit.0);
    app.runtime
        .accept_peer(&mut request, permit)
        .ok_or_else(|| ApiError::upgrade_required(format!("connections between nodes begin with Upgrade: {UPGRADE}")))
}

/// A file of the page, or nothing that is known.
async fn elsewhere(request: Request) -> Response {
    let path = request.uri().path();
    match page::file(request.method(), path, request.headers()) {
        Some(response) => response,
        None => ApiError::not_found(format!("there is nothing at {path}")).into_response(),
    }
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method(), request.uri().path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_server_may_read_and_no_other_page_anything() {
        for (method, origin, allowed) in [
            (Method::PUT, None, true),
            (Method::GET, Some("http://127.0.0.1:8080"), true),
            (Method::HEAD, Some("http://127.0.0.1:8080"), true),
            (Method::POST, Some("http://127.0.0.1:8080"), false),
            (Method::GET, Some("http://127.0.0.1:8081"), false),
            (Method::GET, Some("http://example.org"), false),
            (Method::POST, Some("null"), false),
            (Method::GET, Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8080".parse().expect("good"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().expect("good"));
            }
            assert_eq!(check_origin(&method, &headers).is_ok(), allowed, "{method} {origin:?}");
        }
    }
}
