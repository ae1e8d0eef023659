//! One request after the other over a connection that is kept. Never tries again: what came of a try is what is recorded.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Carries what a reader or writer has seen.
const CONTEXT: &str = "x-quorate-context";

/// A connection to one node, opened when it is needed.
pub(crate) struct Session {
    address: SocketAddr,
    patience: Duration,
    open: Option<SendRequest<Body>>,
}

/// What a node answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) context: Option<String>,
    pub(crate) body: Value,
}

/// Why it did not.
#[derive(Debug)]
pub(crate) enum Silence {
    /// Nothing was sent.
    NotReached(String),
    /// It was sent, at least in part.
    NoAnswer(String),
}

impl Session {
    /// To a node, with so much time for each request.
    pub(crate) const fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, open: None }
    }

    /// Sends one request; a body is JSON.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        context: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, Silence> {
        // One that is not given back is not used again.
        let open = self.open.take();
        let connected = async {
            if let Some(mut open) = open
                && open.ready().await.is_ok()
            {
                return Ok(open);
            }
            connect(self.address).await
        };
        let late = |_| Silence::NotReached("no connection in time".into());
        let mut open = timeout(self.patience, connected).await.map_err(late)??;
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        if let Some(context) = context {
            request = request.header(CONTEXT, context);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(body.map_or_else(Body::empty, Body::from)).expect("names and contexts are plain text");
        let answered = async {
            let (head, body) = open.send_request(request).await?.into_parts();
            let context = head.headers.get(CONTEXT).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let bytes = body.collect().await?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            Ok(Answer { status: head.status.as_u16(), context, body })
        };
        let answer =
            timeout(self.patience, answered).await.map_err(|_| Silence::NoAnswer("no answer in time".into()))?;
        let answer = answer.map_err(|error: hyper::Error| Silence::NoAnswer(error.to_string()))?;
        self.open = Some(open);
        Ok(answer)
    }

    /// Reads JSON; nothing if the answer is no success.
    pub(crate) async fn get(&mut self, path: &str) -> Option<Value> {
        let answer = self.send(Method::GET, path, None, None).await.ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Body>, Silence> {
    let not_reached = |error: String| Silence::NotReached(error);
    let stream = TcpStream::connect(address).await.map_err(|error| not_reached(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| not_reached(error.to_string()))?;
    let (open, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| not_reached(error.to_string()))?;
    tokio::spawn(connection);
    Ok(open)
}
