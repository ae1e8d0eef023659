//! One try of a request over a connection that is kept. Never tries again: that is the client's affair.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DATA;
use crate::config::Endpoint;
use crate::tls::{self, TlsClient};

/// How long one try may take where nothing else was said, its connection included.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// Carries what a read or write has seen.
const CONTEXT: &str = "x-quorate-context";

/// How nodes are spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Proves who asks.
    pub(crate) token: Option<String>,
    pub(crate) tls: Option<TlsClient>,
    /// How long one try may take, its connection included.
    pub(crate) timeout: Duration,
}

/// A connection to one node, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: Endpoint,
    access: Access,
    open: Option<SendRequest<Body>>,
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why it did not, in a few words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TryError {
    #[error("no connection to {endpoint}: {source}")]
    Connect { endpoint: String, source: std::io::Error },
    #[error("{endpoint} broke off: {source}")]
    Broken { endpoint: String, source: hyper::Error },
    #[error("{endpoint} has not answered within {} ms", timeout.as_millis())]
    Timeout { endpoint: String, timeout: Duration },
}

impl Default for Access {
    fn default() -> Self {
        Self { token: None, tls: None, timeout: TRY_TIMEOUT }
    }
}

impl Session {
    /// To a node that asks for no token and speaks no TLS.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self::with_access(endpoint, Access::default())
    }

    pub(crate) const fn with_access(endpoint: Endpoint, access: Access) -> Self {
        Self { endpoint, access, open: None }
    }

    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.0.as_str()
    }

    /// Writes a key once, however often this is asked for: the write is named after it.
    pub(super) async fn write(&mut self, key: &str) -> Result<Answer, TryError> {
        let request = writing(key).header("idempotency-key", key);
        self.send(request, Body::from(format!(r#"{{"value":"{key}"}}"#))).await
    }

    /// Writes a JSON body, in place of what the context covers if there is one.
    pub(crate) async fn put(
        &mut self,
        key: &str,
        body: Bytes,
        context: Option<&HeaderValue>,
    ) -> Result<Answer, TryError> {
        let mut request = writing(key);
        if let Some(context) = context {
            request = request.header(CONTEXT, context);
        }
        self.send(request, Body::from(body)).await
    }

    pub(crate) async fn read(&mut self, key: &str) -> Result<Answer, TryError> {
        self.send(Request::builder().uri(format!("{DATA}{key}")), Body::empty()).await
    }

    async fn send(&mut self, request: Builder, body: Body) -> Result<Answer, TryError> {
        // One that is not given back, because the time was over or the connection broke, is not used again.
        let open = self.open.take();
        let endpoint = self.endpoint();
        let mut request = request.header(HOST, endpoint);
        if let Some(token) = &self.access.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(body).expect("keys and tokens are plain text");
        let answer = async {
            let mut open = match open {
                Some(open) => open,
                None => connect(endpoint, self.access.tls.as_ref()).await?,
            };
            let answer = answer_over(&mut open, request).await;
            Ok((answer.map_err(|source| TryError::Broken { endpoint: endpoint.into(), source })?, open))
        };
        let late = || TryError::Timeout { endpoint: endpoint.into(), timeout: self.access.timeout };
        let (answer, open) = timeout(self.access.timeout, answer).await.map_err(|_| late())??;
        self.open = Some(open);
        Ok(answer)
    }
}

fn writing(key: &str) -> Builder {
    Request::builder().method(Method::PUT).uri(format!("{DATA}{key}")).header(CONTENT_TYPE, "application/json")
}

async fn connect(endpoint: &str, tls: Option<&TlsClient>) -> Result<SendRequest<Body>, TryError> {
    let refused = |source| TryError::Connect { endpoint: endpoint.into(), source };
    let stream = TcpStream::connect(endpoint).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let stream = tls::over(tls, stream, endpoint).await.map_err(refused)?;
    let (open, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|source| TryError::Broken { endpoint: endpoint.into(), source })?;
    tokio::spawn(connection);
    Ok(open)
}

async fn answer_over(open: &mut SendRequest<Body>, request: Request<Body>) -> hyper::Result<Answer> {
    open.ready().await?;
    let response = open.send_request(request).await?;
    let (head, body) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}

impl Answer {
    /// Whether it shows this value, and no other.
    pub(super) fn shows(&self, value: &str) -> bool {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status == StatusCode::OK && body["value"] == value && body.get("siblings").is_none()
    }

    /// What whoever writes next has seen.
    pub(crate) fn context(&self) -> Option<&HeaderValue> {
        self.headers.get(CONTEXT)
    }

    /// What it says, for people.
    pub(crate) fn told(&self) -> String {
        const SHOWN_MAX: usize = 200;
        let text: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_MAX).collect();
        format!("{} {text}", self.status.as_u16())
    }
}
