//! A connection that another node has opened: who it is, and the messages it brings. A message that cannot be read ends
//! the connection; nothing a peer sends ends the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use super::frame::{self, FrameError};
use super::handshake::{self, HELLO_BYTES_MAX, HandshakeError, Hello, Verdict};
use super::secret::{Proof, Secret, Side};
use super::{Complaint, Receive, Shared};

/// How long each of the first frames may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, CloseReason> {
    let frame = timeout(HELLO_TIMEOUT, frame::read(stream, HELLO_BYTES_MAX)).await;
    frame.map_err(|_| CloseReason::NoHello)??.ok_or(CloseReason::NoHello)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<(), CloseReason> {
    let said = async {
        frame::write(stream, frame).await?;
        stream.flush().await
    };
    Ok(timeout(HELLO_TIMEOUT, said).await.map_err(|_| CloseReason::NoHello)?.map_err(FrameError::from)?)
}

/// Why a connection was closed from this side.
#[derive(Debug, thiserror::Error)]
enum CloseReason {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no word within {} s", HELLO_TIMEOUT.as_secs())]
    NoHello,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Refused(String),
    #[error("a message cannot be read: {0}")]
    Malformed(String),
}

impl<R: Receive> Shared<R> {
    /// Serves a connection until either side ends it.
    pub(super) async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut stream = BufReader::with_capacity(64 * 1_024, stream);
        let hello = match self.greet(&mut stream).await {
            Ok(hello) => hello,
            Err(reason) => {
                tracing::debug!("a connection between nodes was not opened: {reason}");
                return;
            }
        };
        self.wake_links(&hello.address);
        match self.listen(&mut stream, &hello).await {
            Ok(()) => {}
            Err(CloseReason::Malformed(reason)) => {
                self.counters.malformed.fetch_add(1, Ordering::Relaxed);
                self.warn_once(&hello.node, Complaint::NotUnderstood, &reason);
            }
            Err(reason) => tracing::debug!("the connection from {} ends: {reason}", hello.node),
        }
    }

    async fn greet(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Hello, CloseReason> {
        let first = hear(stream).await?;
        let decoded = handshake::decode::<Hello>(&first);
        let judged = match &decoded {
            Ok(hello) => self.judge(stream, hello, &first).await?,
            Err(error) => Err(error.to_string()),
        };
        let node = self.identity.node.clone();
        let verdict = match judged.clone() {
            Ok(proof) => Verdict::Welcome { node, proof },
            Err(reason) => Verdict::Refused { node, reason },
        };
        say(stream, &handshake::encode(&verdict)).await?;
        match judged {
            Ok(_) => Ok(decoded?),
            Err(reason) => Err(CloseReason::Refused(reason)),
        }
    }

    /// Lets the other node prove that it knows the secret, if there is one; gives this node's own proof, or the reason for
    /// a refusal.
    async fn judge(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        hello: &Hello,
        first: &[u8],
    ) -> Result<Result<Option<Proof>, String>, CloseReason> {
        if let Some(reason) = self.refusal(hello) {
            return Ok(Err(reason));
        }
        let own = &self.identity.node;
        let judged = match &self.identity.secret {
            None if !hello.has_secret => return Ok(Ok(None)),
            None => Err(format!(
                "{} knows a secret of the cluster, {own} knows none: start both with the same --peer-secret-file",
                hello.node
            )),
            Some(_) if !hello.has_secret => Err(format!(
                "{own} asks for the secret of the cluster, {} knows none: start both with the same --peer-secret-file",
                hello.node
            )),
            Some(secret) => self.challenge(stream, secret, first).await?.map(Some).ok_or_else(|| {
                format!("{own} and {} know different secrets: start both with the same --peer-secret-file", hello.node)
            }),
        };
        if let Err(reason) = &judged {
            self.warn_once(&hello.node, Complaint::NotProven, reason);
        }
        Ok(judged)
    }

    /// Gives this node's proof once the other one has given a good one.
    async fn challenge(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        secret: &Secret,
        first: &[u8],
    ) -> Result<Option<Proof>, CloseReason> {
        let nonce = handshake::nonce().map_err(FrameError::from)?;
        let challenge = handshake::encode(&Verdict::Challenge { node: self.identity.node.clone(), nonce });
        say(stream, &challenge).await?;
        let proof: Proof = handshake::decode(&hear(stream).await?)?;
        let is_good = secret.is_proof(&proof, Side::Opener, first, &challenge);
        Ok(is_good.then(|| secret.proof(Side::Accepter, first, &challenge)))
    }

    /// Why this node does not talk to the other one, if it does not.
    fn refusal(&self, hello: &Hello) -> Option<String> {
        let own = &self.identity;
        if hello.cluster != own.cluster {
            return Some(format!(
                "it belongs to the cluster {}, {} to the cluster {}: give both the same --cluster",
                own.cluster, hello.node, hello.cluster
            ));
        }
        // A node that reaches itself by another name is for the core to find out.
        (hello.node == own.node && hello.instance != own.instance).then(|| {
            format!(
                "the name {} is taken by the node at {}: give the one at {} another --node-id",
                own.node, own.address, hello.address
            )
        })
    }

    async fn listen(&self, stream: &mut (impl AsyncRead + Unpin), hello: &Hello) -> Result<(), CloseReason> {
        while let Some(frame) = frame::read(stream, hello.lane.frame_bytes_max()).await? {
            self.counters.received.fetch_add(1, Ordering::Relaxed);
            self.receiver.receive(&hello.node, frame).await.map_err(CloseReason::Malformed)?;
        }
        Ok(())
    }
}
