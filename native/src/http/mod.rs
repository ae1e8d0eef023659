//! The HTTP interface of a node. It translates, bounds and refuses; what happens to data and members is decided in the
//! core. Every failure has one form, `{"error": {..}}`, and no request may crash or hang the node.

mod access;
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
mod metrics;
mod openapi;
mod origin;
mod page;
mod query;
mod risk;
mod routes;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit};
use tokio::time::timeout;

use self::body::{BodyRoom, HeldBody};
use self::error::ApiError;
use self::origin::Origins;
pub use self::routes::router;
pub use self::server::Server;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::operations::OperationLog;
use crate::peer::UPGRADE;
use crate::runtime::Runtime;
use crate::tls::TlsClient;
use crate::tokens::Tokens;

/// What every request shares.
pub struct App {
    settings: Settings,
    runtime: Arc<Runtime>,
    operations: OperationLog,
    origins: Origins,
    trust: Trust,
    metrics: Arc<Metrics>,
    /// Held by whoever gathers the metrics.
    scraping: Mutex<()>,
    bodies: BodyRoom,
    stopping: AtomicBool,
    under_way: AtomicUsize,
    /// A request has ended.
    ended: Notify,
}

/// Whom this node believes, and how others believe it.
#[derive(Debug, Default)]
pub struct Trust {
    /// What clients may do; nothing if everybody may do everything.
    pub tokens: Option<Arc<Tokens>>,
    /// How other nodes are asked over TLS; nothing if they are asked without.
    pub tls: Option<TlsClient>,
}

/// The place of a connection among all: held as long as it is open.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(Arc<OwnedSemaphorePermit>);

/// Marks a request on a connection whose other side has shown a certificate of the cluster's authority.
#[derive(Clone, Copy)]
pub(crate) struct Certified;

impl App {
    /// What requests need.
    #[must_use]
    pub fn new(
        settings: Settings,
        runtime: Arc<Runtime>,
        operations: OperationLog,
        metrics: Arc<Metrics>,
        trust: Trust,
    ) -> Arc<Self> {
        Arc::new(Self {
            origins: Origins::new(&settings),
            settings,
            runtime,
            operations,
            trust,
            metrics,
            scraping: Mutex::default(),
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

/// Another node wants a connection.
async fn peers(State(app): State<Arc<App>>, mut request: Request) -> Result<Response, ApiError> {
    if !app.settings.gossip {
        return Err(ApiError::forbidden("this node was started with --gossip false and talks to nobody"));
    }
    if app.settings.tls.is_some() && request.extensions().get::<Certified>().is_none() {
        return Err(ApiError::forbidden("only nodes with a certificate of this node's --tls-ca are let in"));
    }
    let permit = request.extensions_mut().remove::<ConnectionPermit>().map(|permit| permit.0);
    app.runtime
        .accept_peer(&mut request, permit)
        .ok_or_else(|| ApiError::upgrade_required(format!("connections between nodes begin with Upgrade: {UPGRADE}")))
}

/// A file of the page, or nothing that is known.
async fn elsewhere(request: Request) -> Response {
    let path = request.uri().path();
    if path == data::PREFIX
        && let Err(error) = query::key_in_path(request.uri(), data::PREFIX)
    {
        return error.into_response();
    }
    match page::file(request.method(), path, request.headers()) {
        Some(response) => response,
        None => ApiError::not_found(format!("there is nothing at {path}")).into_response(),
    }
}

async fn method_not_allowed(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match access::preflight(&app, &parts.method, &parts.headers).await {
        Some(answer) => answer,
        None => ApiError::method_not_allowed(&parts.method, parts.uri.path()).into_response(),
    }
}
