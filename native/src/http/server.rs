//! The listener: accepts connections up to a limit and speaks HTTP/1.1 on them. Slow senders of headers are cut off, and with TLS those who do not speak it. Knows
//! nothing of routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use super::{Certified, ConnectionPermit};
use crate::tls::{Accepted, Tls};

/// How long the head of a request may take, and how long a connection may stay without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that is bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Binds the listener. Beyond `connections_max` connections of clients and nodes together, the next ones wait.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not of this machine.
    pub async fn bind(address: SocketAddr, connections_max: usize, tls: Option<Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, tls, connections: Arc::new(Semaphore::new(connections_max)) })
    }

    /// Binds another listener, whose connections count together with those of this one.
    ///
    /// # Errors
    /// As of the first one.
    pub async fn beside(&self, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, tls: self.tls.clone(), connections: self.connections.clone() })
    }

    /// Accepts connections until `stop` says so, and then lets those that are open end after their current request.
    pub async fn run(self, router: Router, mut stop: watch::Receiver<bool>) {
        loop {
            let permit = self.connections.clone().acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopped(&mut stop) => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let permit = ConnectionPermit(Arc::new(permit));
                    tokio::spawn(greet(stream, self.tls.clone(), router.clone(), permit, stop.clone()));
                }
                Err(error) => {
                    tracing::debug!("a connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Returns once the server is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // If nobody can say so any more, it is to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn greet(
    stream: TcpStream,
    tls: Option<Tls>,
    router: Router,
    permit: ConnectionPermit,
    stop: watch::Receiver<bool>,
) {
    let agreed = async {
        crate::peer::tune(&stream)?;
        match tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Accepted { stream: Box::new(stream), is_certified: false }),
        }
    };
    match agreed.await {
        Ok(accepted) => serve(accepted, router, permit, stop).await,
        Err(error) => tracing::debug!("a connection ended before it was served: {error}"),
    }
}

async fn serve(accepted: Accepted, router: Router, permit: ConnectionPermit, mut stop: watch::Receiver<bool>) {
    let Accepted { stream, is_certified } = accepted;
    let held = permit.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut router, mut request) = (router.clone(), request.map(axum::body::Body::new));
        request.extensions_mut().insert(permit.clone());
        if is_certified {
            request.extensions_mut().insert(Certified);
        }
        async move { router.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!("a connection ended: {error}");
    }
    drop(held);
}
