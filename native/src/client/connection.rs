//! One request to the first endpoint that can be reached. It repeats nothing that may have had an effect.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Endpoint;
use crate::tls::{self, Duplex, TlsClient};

/// How long connecting to one endpoint may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the answer may take: longer than any request of the server's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// Nobody can be reached.
    #[error(
        "no node can be reached at {tried}: is one running there? Name others with --endpoint HOST:PORT ({source})"
    )]
    Unreachable {
        /// Every endpoint.
        tried: String,
        /// Why the last one could not.
        source: io::Error,
    },
    /// Who answers is not to be believed; nothing was asked.
    #[error("{endpoint} cannot be spoken to over TLS: {source}")]
    Tls {
        /// Which endpoint.
        endpoint: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke, after the request may have had an effect.
    #[error("the connection to {endpoint} broke before the answer came: {source}")]
    Broken {
        /// Which endpoint.
        endpoint: String,
        /// What happened.
        source: hyper::Error,
    },
    /// No answer came.
    #[error("{endpoint} has not answered within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout {
        /// Which endpoint.
        endpoint: String,
    },
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query, encoded.
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// Sends it to the first endpoint that can be reached.
    pub(crate) async fn send(self, endpoints: &[Endpoint], tls: Option<&TlsClient>) -> Result<Answer, ConnectionError> {
        let (stream, endpoint) = connect(endpoints, tls).await?;
        let answer = async {
            let response = self.send_over(stream, endpoint).await?;
            let status = response.status();
            Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
        };
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(result) => result.map_err(|source| ConnectionError::Broken { endpoint: endpoint.into(), source }),
            Err(_) => Err(ConnectionError::Timeout { endpoint: endpoint.into() }),
        }
    }

    /// Sends it to the first endpoint that can be reached, and gives what comes back bit by bit, for as long as it comes.
    pub(crate) async fn stream(
        self,
        endpoints: &[Endpoint],
        tls: Option<&TlsClient>,
    ) -> Result<Streamed, ConnectionError> {
        let (stream, endpoint) = connect(endpoints, tls).await?;
        match timeout(ANSWER_TIMEOUT, self.send_over(stream, endpoint)).await {
            Ok(Ok(response)) => {
                Ok(Streamed { status: response.status(), body: response.into_body(), endpoint: endpoint.into() })
            }
            Ok(Err(source)) => Err(ConnectionError::Broken { endpoint: endpoint.into(), source }),
            Err(_) => Err(ConnectionError::Timeout { endpoint: endpoint.into() }),
        }
    }

    async fn send_over(self, stream: Box<dyn Duplex>, endpoint: &str) -> hyper::Result<Response<Incoming>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.target).header(HOST, endpoint);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(self.body)).expect("targets are encoded and headers checked");
        sender.send_request(request).await
    }
}

/// What comes back bit by bit.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) status: StatusCode,
    body: Incoming,
    endpoint: String,
}

impl Streamed {
    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ConnectionError::Broken { endpoint: self.endpoint.clone(), source })?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// All the rest.
    pub(crate) async fn into_answer(mut self) -> Result<Answer, ConnectionError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next().await? {
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status: self.status, body: body.into() })
    }
}

/// A connection to the first endpoint that can be reached.
async fn connect<'a>(
    endpoints: &'a [Endpoint],
    tls: Option<&TlsClient>,
) -> Result<(Box<dyn Duplex>, &'a str), ConnectionError> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for endpoint in endpoints {
        let address = endpoint.0.as_str();
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((secured(stream, address, tls).await?, address)),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    let tried: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.0.as_str()).collect();
    Err(ConnectionError::Unreachable { tried: tried.join(", "), source: failure })
}

/// The connection as it is spoken over: with TLS where that is wanted.
async fn secured(
    stream: TcpStream,
    endpoint: &str,
    tls: Option<&TlsClient>,
) -> Result<Box<dyn Duplex>, ConnectionError> {
    match timeout(CONNECT_TIMEOUT, tls::over(tls, stream, endpoint)).await {
        Ok(result) => result.map_err(|source| ConnectionError::Tls { endpoint: endpoint.into(), source }),
        Err(_) => Err(ConnectionError::Timeout { endpoint: endpoint.into() }),
    }
}
