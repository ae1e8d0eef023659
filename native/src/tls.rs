//! TLS: how a node shows who it is, and whom it believes. Clients of a node check its certificate; nodes check each
//! other's, against the same authority. Never decides what somebody may do who was believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long agreeing on keys may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 22;

/// The files that make a node speak TLS, each in the PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The authorities that other nodes' certificates are from; nothing for a node that talks to nobody.
    pub authority: Option<PathBuf>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{} cannot be used as {what}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not fit together.
    #[error("the certificate, its key and the authority cannot be used together: {0}")]
    Unfit(String),
}

/// A connection of either kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a node needs to speak TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    client: Option<TlsClient>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// What is needed to open connections over TLS.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// A connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn Duplex>,
    /// Whether the other side has shown a certificate of the authority.
    pub(crate) is_certified: bool,
}

impl Tls {
    /// Reads the files of a node.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&files.certificate, "a certificate (--tls-cert)")?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| unusable(&files.key, "the key of the certificate (--tls-key)", &error))?;
        let roots = files.authority.as_deref().map(authority).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(unfit)?;
        let builder = match &roots {
            // Clients show none, nodes do: the door for nodes asks whether one was shown.
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .map_err(unfit)?,
            ),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(unfit)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = match roots {
            Some(roots) => {
                let config = client_builder(provider)?.with_root_certificates(roots);
                let config = config.with_client_auth_cert(chain, key).map_err(unfit)?;
                Some(TlsClient::new(config))
            }
            None => None,
        };
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), client })
    }

    /// How this node opens connections to others; nothing if it talks to nobody.
    #[must_use]
    pub fn client(&self) -> Option<TlsClient> {
        self.client.clone()
    }

    /// Agrees on keys with whoever has connected. One who speaks no TLS is told so in HTTP.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let agreed = async {
            let mut first = [0; 1];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                return refuse_plain(stream).await;
            }
            let stream = self.acceptor.accept(stream).await?;
            let is_certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
            Ok(Accepted { stream: Box::new(stream), is_certified })
        };
        timeout(HANDSHAKE_TIMEOUT, agreed).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn refuse_plain(mut stream: TcpStream) -> io::Result<Accepted> {
    use tokio::io::AsyncWriteExt as _;
    let body = r#"{"error":{"code":"invalid_argument","message":"this port speaks TLS: use https, or quorate with --tls-ca","retryable":false}}"#;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await?;
    stream.shutdown().await?;
    Err(io::Error::other("it speaks no TLS"))
}

impl TlsClient {
    /// One that believes the authorities of a file, and shows no certificate itself.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn of_authority(path: &Path) -> Result<Self, TlsError> {
        let builder = client_builder(Arc::new(ring::default_provider()))?;
        Ok(Self::new(builder.with_root_certificates(authority(path)?).with_no_client_auth()))
    }

    fn new(config: ClientConfig) -> Self {
        Self(TlsConnector::from(Arc::new(config)))
    }

    async fn wrap(&self, stream: TcpStream, address: &str) -> io::Result<Box<dyn Duplex>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = ServerName::try_from(crate::config::plain_host(host)).map_err(io::Error::other)?;
        Ok(Box::new(self.0.connect(name, stream).await?))
    }
}

/// Speaks TLS on a connection that was opened to `address`, where there is something to speak it with.
pub(crate) async fn over(client: Option<&TlsClient>, stream: TcpStream, address: &str) -> io::Result<Box<dyn Duplex>> {
    match client {
        Some(client) => client.wrap(stream, address).await,
        None => Ok(Box::new(stream)),
    }
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn client_builder(provider: Arc<CryptoProvider>) -> Result<ClientBuilder, TlsError> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unfit)
}

fn authority(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let what = "a certificate authority (--tls-ca)";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, what)? {
        roots.add(certificate).map_err(|error| unusable(path, what, &error))?;
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    let found = read.map_err(|error| unusable(path, what, &error))?;
    if found.is_empty() {
        return Err(unusable(path, what, &"it has no part that begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

fn unusable(path: &Path, what: &'static str, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.into(), what, reason: reason.to_string() }
}

fn unfit(error: impl fmt::Display) -> TlsError {
    TlsError::Unfit(error.to_string())
}
