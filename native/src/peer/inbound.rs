//! A connection that another node has opened: who it is, and the messages it brings. A message that cannot be read ends
//! the connection; nothing a peer sends ends the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use super::frame::{self, FrameError};
use super::handshake::{self, HELLO_BYTES_MAX, HandshakeError, Hello, Verdict};
use super::{Receive, Shared};

/// How long the first frame may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection was closed from this side.
#[derive(Debug, thiserror::Error)]
enum CloseReason {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no first frame within {} s", HELLO_TIMEOUT.as_secs())]
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
                self.warn_once(&hello.node, &reason);
            }
            Err(reason) => tracing::debug!("the connection from {} ends: {reason}", hello.node),
        }
    }

    async fn greet(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Hello, CloseReason> {
        let first = timeout(HELLO_TIMEOUT, frame::read(stream, HELLO_BYTES_MAX)).await;
        let first = first.map_err(|_| CloseReason::NoHello)??.ok_or(CloseReason::NoHello)?;
        let decoded = handshake::decode::<Hello>(&first);
        let refusal = match &decoded {
            Ok(hello) => self.refusal(hello),
            Err(error) => Some(error.to_string()),
        };
        let node = self.identity.node.clone();
        let verdict = match refusal.clone() {
            None => Verdict::Welcome { node },
            Some(reason) => Verdict::Refused { node, reason },
        };
        let answer = async {
            frame::write(stream, &handshake::encode(&verdict)).await?;
            stream.flush().await
        };
        timeout(HELLO_TIMEOUT, answer).await.map_err(|_| CloseReason::NoHello)?.map_err(FrameError::from)?;
        match refusal {
            None => Ok(decoded?),
            Some(reason) => Err(CloseReason::Refused(reason)),
        }
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
