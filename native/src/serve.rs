//! The life of one node: it opens what it needs, serves until it is told to stop, and ends tidily. Everything that can be
//! wrong with the start is said in one sentence.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Settings;
use crate::descriptors;
use crate::http::{App, Server, Trust, router};
use crate::metrics::Metrics;
use crate::operations::OperationLog;
use crate::peer::{Secret, SecretError};
use crate::runtime::{Runtime, RuntimeError};
use crate::storage::{OpenError, Store};
use crate::tls::{Tls, TlsError};
use crate::tokens::{Tokens, TokensError};

/// How long requests under way may take when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the log of operations may take to be written then.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long connections may take to end after their last request.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a node does not serve, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken.
    #[error("the port {} is in use on {}: stop whoever uses it, or choose another --port", .0.port(), .0.ip())]
    PortInUse(SocketAddr),
    /// It cannot listen for another reason.
    #[error("this node cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody can prove who he is.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// No node can prove that it belongs to the cluster.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The machines did not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The system refused something that every process may do.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
    /// The end was not tidy.
    #[error("the last writes could not be made durable, and were not acknowledged: {0}")]
    Flush(#[from] quorate_core::storage::StorageError),
}

fn not_bound(address: SocketAddr) -> impl FnOnce(io::Error) -> ServeError {
    move |source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortInUse(address),
        _ => ServeError::Listen { address, source },
    }
}

/// Runs a node until SIGINT or SIGTERM, or until it has left its cluster, then stops it.
///
/// # Errors
/// [`ServeError`] when it could not start, or could not end well.
pub async fn serve(settings: Settings) -> Result<(), ServeError> {
    let listen = settings.listen;
    // The signals count from the first moment: whoever starts a process may change his mind at once.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let tokens = settings.tokens_file.clone().map(Tokens::watch).transpose()?;
    let secret = settings.peer_secret_file.as_deref().map(Secret::read).transpose()?;
    let tls = settings.tls.as_ref().map(Tls::open).transpose()?;
    let peer_tls = tls.as_ref().and_then(Tls::client);
    let server = Server::bind(listen, descriptors::raise_limit(), tls).await.map_err(not_bound(listen))?;
    let second = match settings.kv_listen {
        Some(address) => Some(server.beside(address).await.map_err(not_bound(address))?),
        None => None,
    };
    let (path, kind, durability) = (settings.data_dir.clone(), settings.storage, settings.durability);
    let open = move || Store::open(&path, kind, durability);
    let store = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
    let operations = OperationLog::open(settings.node_id.clone(), store.clone())?;
    let metrics = Arc::new(Metrics::new(store.meters()));
    let runtime = Runtime::start(&settings, secret, peer_tls.clone(), store, &metrics)?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    tracing::info!("{} listens on {scheme}://{listen}, known to others as {}", settings.node_id, settings.advertise);
    if settings.anybody_may_join() {
        tracing::warn!(
            "whoever reaches {listen} can join the cluster as a node, and read and write everything: add --peer-secret-file \
             FILE on every node"
        );
    }
    let app = App::new(settings, runtime.clone(), operations.clone(), metrics, Trust { tokens, tls: peer_tls });
    let (stop, stopped) = watch::channel(false);
    let router = router(app.clone());
    let serving = tokio::spawn(async move {
        let beside = second.map(|second| second.run(router.clone(), stopped.clone()));
        tokio::join!(server.run(router, stopped), OptionFuture::from(beside));
    });
    tokio::select! {
        _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
        _ = terminate.recv() => tracing::info!("stopping: asked to terminate"),
        () = runtime.left() => tracing::info!("stopping: this node has left its cluster for good"),
    }
    app.stop(DRAIN_TIMEOUT).await;
    let ended = runtime.stop().await;
    operations.flush(LOG_FLUSH_TIMEOUT);
    // Only now: other nodes' connections end with this, and the goodbye had to go out.
    let _ = stop.send(true);
    let _ = timeout(CLOSE_TIMEOUT, serving).await;
    ended?;
    tracing::info!("stopped");
    Ok(())
}
