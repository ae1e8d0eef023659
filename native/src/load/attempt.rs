//! One try of a request over a connection that is kept. Never tries again: that is the client's affair.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DATA;
use crate::config::Endpoint;

/// How long one try may take, its connection included.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to one node, opened when it is needed.
#[derive(Debug)]
pub(super) struct Session {
    endpoint: Endpoint,
    open: Option<SendRequest<Body>>,
}

/// What a node answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why it did not, in a few words.
#[derive(Debug, thiserror::Error)]
pub(super) enum TryError {
    #[error("no connection to {endpoint}: {source}")]
    Connect { endpoint: String, source: std::io::Error },
    #[error("{endpoint} broke off: {source}")]
    Broken { endpoint: String, source: hyper::Error },
    #[error("{endpoint} has not answered within {} ms", TRY_TIMEOUT.as_millis())]
    Timeout { endpoint: String },
}

impl Session {
    pub(super) const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, open: None }
    }

    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.0.as_str()
    }

    /// Writes a key once, however often this is asked for: the write is named after it.
    pub(super) async fn write(&mut self, key: &str) -> Result<Answer, TryError> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{DATA}{key}"))
            .header(HOST, self.endpoint())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        self.send(request.body(Body::from(format!(r#"{{"value":"{key}"}}"#))).expect("plain text")).await
    }

    pub(super) async fn read(&mut self, key: &str) -> Result<Answer, TryError> {
        let request = Request::builder().uri(format!("{DATA}{key}")).header(HOST, self.endpoint());
        self.send(request.body(Body::empty()).expect("plain text")).await
    }

    async fn send(&mut self, request: Request<Body>) -> Result<Answer, TryError> {
        // One that is not given back, because the time was over or the connection broke, is not used again.
        let open = self.open.take();
        let endpoint = self.endpoint();
        let answer = async {
            let mut open = match open {
                Some(open) => open,
                None => connect(endpoint).await?,
            };
            let answer = answer_over(&mut open, request).await;
            Ok((answer.map_err(|source| TryError::Broken { endpoint: endpoint.into(), source })?, open))
        };
        let (answer, open) =
            timeout(TRY_TIMEOUT, answer).await.map_err(|_| TryError::Timeout { endpoint: endpoint.into() })??;
        self.open = Some(open);
        Ok(answer)
    }
}

async fn connect(endpoint: &str) -> Result<SendRequest<Body>, TryError> {
    let refused = |source| TryError::Connect { endpoint: endpoint.into(), source };
    let stream = TcpStream::connect(endpoint).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let (open, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|source| TryError::Broken { endpoint: endpoint.into(), source })?;
    tokio::spawn(connection);
    Ok(open)
}

async fn answer_over(open: &mut SendRequest<Body>, request: Request<Body>) -> hyper::Result<Answer> {
    open.ready().await?;
    let response = open.send_request(request).await?;
    let status = response.status();
    Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
}

impl Answer {
    /// Whether it shows this value, and no other.
    pub(super) fn shows(&self, value: &str) -> bool {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status == StatusCode::OK && body["value"] == value && body.get("siblings").is_none()
    }

    /// What it says, for people.
    pub(super) fn told(&self) -> String {
        const SHOWN_MAX: usize = 200;
        let text: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_MAX).collect();
        format!("{} {text}", self.status.as_u16())
    }
}
