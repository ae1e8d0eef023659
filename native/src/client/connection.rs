//! One request to the first endpoint that can be reached. It repeats nothing that may have had an effect.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Endpoint;
use crate::tls::{self, TlsClient};

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
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for endpoint in endpoints {
            let address = endpoint.0.as_str();
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.send_over(stream, address, tls).await,
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        let tried: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.0.as_str()).collect();
        Err(ConnectionError::Unreachable { tried: tried.join(", "), source: failure })
    }

    async fn send_over(
        self,
        stream: TcpStream,
        endpoint: &str,
        tls: Option<&TlsClient>,
    ) -> Result<Answer, ConnectionError> {
        let stream = match timeout(CONNECT_TIMEOUT, tls::over(tls, stream, endpoint)).await {
            Ok(result) => result.map_err(|source| ConnectionError::Tls { endpoint: endpoint.into(), source })?,
            Err(_) => return Err(ConnectionError::Timeout { endpoint: endpoint.into() }),
        };
        let broken = |source| ConnectionError::Broken { endpoint: endpoint.into(), source };
        let answer = async {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let mut request = Request::builder().method(self.method).uri(self.target).header(HOST, endpoint);
            for (name, value) in self.headers {
                request = request.header(name, value);
            }
            let request = request.body(Body::from(self.body)).expect("targets are encoded and headers checked");
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
        };
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(result) => result.map_err(broken),
            Err(_) => Err(ConnectionError::Timeout { endpoint: endpoint.into() }),
        }
    }
}
