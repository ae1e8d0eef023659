//! One outgoing connection: it connects when there is something to send, sends in order, and connects anew when it broke.
//! What cannot be sent now is dropped and counted, never kept for later: the protocol survives loss, and old news harm.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::header::{CONNECTION, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use quorate_core::id::{Address, NodeId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::{self, FrameError, KEEPALIVE_INTERVAL};
use super::handshake::{self, HELLO_BYTES_MAX, HandshakeError, Hello, Lane, Verdict};
use super::secret::{Proof, Side};
use super::{Receive, Shared};
use crate::tls;

/// Messages that wait for one connection; the next one is dropped.
const QUEUE_MESSAGES_MAX: usize = 2_048;
/// Bytes that wait for one connection; a message beyond is dropped, but one alone may always wait.
const QUEUE_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// How long connecting and saying hello may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one write may take; longer means that nobody reads at the other end.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the first failure, doubled with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_millis(800);
/// A connection that nobody used for so long is closed.
const UNUSED_MAX: Duration = Duration::from_secs(120);

/// Between two looks at whether everything is written; only used at the end of a process.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A message, and whom it is for; nobody in particular if the sender only knows the address.
struct Outgoing {
    to: Option<NodeId>,
    frame: Bytes,
}

/// The sending end of a link.
#[derive(Clone)]
pub(super) struct Link {
    queue: mpsc::Sender<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Ends a pause early: the other side has just shown that it lives.
    woken: Arc<Notify>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits to be sent.
    Yes,
    /// There was no room.
    Full,
    /// The link has ended; a new one is needed.
    Ended,
}

impl Link {
    /// Starts a link to an address. It ends by itself when nobody uses it.
    pub(super) fn start<R: Receive>(shared: Arc<Shared<R>>, address: Address, lane: Lane) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let link = Self { queue, waiting_bytes: Arc::default(), woken: Arc::default() };
        let (waiting_bytes, woken) = (link.waiting_bytes.clone(), link.woken.clone());
        let task = Task { shared, address, lane, waiting, waiting_bytes, woken, last_failure: None };
        tokio::spawn(task.run_to_the_end());
        link
    }

    /// Puts a message into the queue if there is room.
    pub(super) fn send(&self, to: Option<NodeId>, frame: Bytes) -> Queued {
        let bytes = frame.len();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let result = if before > 0 && before + bytes > QUEUE_BYTES_MAX {
            Queued::Full
        } else {
            match self.queue.try_send(Outgoing { to, frame }) {
                Ok(()) => return Queued::Yes,
                Err(mpsc::error::TrySendError::Full(_)) => Queued::Full,
                Err(mpsc::error::TrySendError::Closed(_)) => Queued::Ended,
            }
        };
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        result
    }

    /// Returns once nothing waits to be sent.
    pub(super) async fn flushed(&self) {
        while self.waiting_bytes.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(FLUSH_POLL_INTERVAL).await;
        }
    }

    /// Whether nothing can be sent any more.
    pub(super) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Tries at once if it is pausing.
    pub(super) fn wake(&self) {
        self.woken.notify_waiters();
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
    #[error("what answers there is no node of this cluster: {0}")]
    Tls(io::Error),
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    #[error("what answers there is no node of quorate: {0}")]
    NotHttp(#[from] hyper::Error),
    #[error("what answers there is no node of quorate: status {0} instead of an upgrade")]
    NotUpgraded(StatusCode),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{node} refuses this node: {reason}")]
    Refused { node: NodeId, reason: String },
}

type Halves = (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>);

/// A connection that is open, and who is at its other end.
struct Open {
    peer: NodeId,
    halves: Halves,
}

struct Task<R> {
    shared: Arc<Shared<R>>,
    address: Address,
    lane: Lane,
    waiting: mpsc::Receiver<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
    woken: Arc<Notify>,
    /// Said once: the same failure again is no news.
    last_failure: Option<String>,
}

impl<R: Receive> Task<R> {
    async fn run_to_the_end(mut self) {
        self.run().await;
        self.waiting.close();
        self.shared.forget_ended(&self.address, self.lane);
        while let Some(message) = self.waiting.recv().await {
            self.drop_message(&message);
        }
    }

    async fn run(&mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let Ok(Some(first)) = timeout(UNUSED_MAX, self.waiting.recv()).await else { return };
            match timeout(CONNECT_TIMEOUT, self.connect()).await.unwrap_or(Err(ConnectError::Timeout)) {
                Ok(open) => {
                    self.last_failure = None;
                    let opened = Instant::now();
                    tracing::debug!("connected to {} at {} ({:?})", open.peer, self.address, self.lane);
                    if self.pump(open, first).await == Ended::Unused {
                        return;
                    }
                    if opened.elapsed() > BACKOFF_MAX {
                        backoff = BACKOFF_MIN;
                    }
                }
                Err(error) => {
                    self.drop_message(&first);
                    self.note_failure(&error).await;
                }
            }
            self.pause(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn connect(&self) -> Result<Open, ConnectError> {
        let stream = TcpStream::connect(self.address.as_str()).await?;
        super::tune(&stream)?;
        let stream = tls::over(self.shared.identity.tls.as_ref(), stream, self.address.as_str()).await;
        let stream = stream.map_err(ConnectError::Tls)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::get(handshake::PATH)
            .header(HOST, self.address.as_str())
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, handshake::UPGRADE)
            .body(Body::empty())
            .expect("an address of visible ASCII makes a header");
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ConnectError::NotUpgraded(response.status()));
        }
        let upgraded = hyper::upgrade::on(response).await?;
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
        let hello = handshake::encode(&Hello {
            cluster: self.shared.identity.cluster.clone(),
            node: self.shared.identity.node.clone(),
            instance: self.shared.identity.instance,
            address: self.shared.identity.address.clone(),
            lane: self.lane,
            nonce: handshake::nonce()?,
            has_secret: self.shared.identity.secret.is_some(),
        });
        let peer = self.agree(&mut from, &mut to, &hello).await?;
        Ok(Open { peer, halves: (from, to) })
    }

    /// Says hello, and proves and is proven that both know the secret, if there is one.
    async fn agree(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        hello: &[u8],
    ) -> Result<NodeId, ConnectError> {
        let mut answer = ask(from, to, hello).await?;
        let mut verdict = handshake::decode(&answer)?;
        let mut asked = None;
        if let (Verdict::Challenge { .. }, Some(secret)) = (&verdict, &self.shared.identity.secret) {
            let challenge = answer;
            answer = ask(from, to, &handshake::encode(&secret.proof(Side::Opener, hello, &challenge))).await?;
            verdict = handshake::decode(&answer)?;
            asked = Some(challenge);
        }
        let is_proven = |proof: Option<Proof>| match (&self.shared.identity.secret, &asked, proof) {
            (None, None, None) => true,
            (Some(secret), Some(challenge), Some(proof)) => secret.is_proof(&proof, Side::Accepter, hello, challenge),
            _ => false,
        };
        match verdict {
            Verdict::Welcome { node, proof } if is_proven(proof) => Ok(node),
            Verdict::Welcome { node, .. } | Verdict::Challenge { node, .. } => {
                let reason = "it has not proven that it knows the secret of the cluster: start both with the same \
                              --peer-secret-file";
                Err(ConnectError::Refused { node, reason: reason.into() })
            }
            Verdict::Refused { node, reason } => Err(ConnectError::Refused { node, reason }),
        }
    }

    /// Sends what waits until the connection ends.
    async fn pump(&mut self, open: Open, first: Outgoing) -> Ended {
        let Open { peer, halves: (mut from, to) } = open;
        let mut to = BufWriter::with_capacity(64 * 1_024, to);
        let mut next = Some(first);
        let mut used = Instant::now();
        let mut byte = [0; 1];
        loop {
            if let Some(message) = next.take() {
                used = Instant::now();
                if self.write_waiting(&mut to, &peer, message).await.is_err() {
                    return Ended::Broken;
                }
            }
            tokio::select! {
                message = self.waiting.recv() => match message {
                    Some(message) => next = Some(message),
                    None => return Ended::Unused,
                },
                // The other side says nothing on this connection: whatever comes is its end.
                _ = from.read(&mut byte) => return Ended::Broken,
                () = sleep_until(Instant::now() + KEEPALIVE_INTERVAL) => {
                    if used.elapsed() > UNUSED_MAX {
                        return Ended::Unused;
                    }
                    if self.write_timely(&mut to, &[]).await.is_err() || flush(&mut to).await.is_err() {
                        return Ended::Broken;
                    }
                }
            }
        }
    }

    /// Writes a message and all that wait behind it, and flushes once.
    async fn write_waiting(
        &mut self,
        to: &mut BufWriter<WriteHalf<TokioIo<Upgraded>>>,
        peer: &NodeId,
        first: Outgoing,
    ) -> io::Result<()> {
        let mut next = Some(first);
        let mut written = 0;
        while let Some(message) = next {
            written += message.frame.len();
            if message.to.as_ref().is_some_and(|to| to != peer) {
                // Another node has taken over the address.
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            } else if let Err(error) = self.write_timely(to, &message.frame).await {
                self.waiting_bytes.fetch_sub(written, Ordering::AcqRel);
                return Err(error);
            } else {
                self.shared.counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            next = self.waiting.try_recv().ok();
        }
        let flushed = flush(to).await;
        self.waiting_bytes.fetch_sub(written, Ordering::AcqRel);
        flushed
    }

    async fn write_timely(&self, to: &mut BufWriter<WriteHalf<TokioIo<Upgraded>>>, frame: &[u8]) -> io::Result<()> {
        timeout(WRITE_TIMEOUT, frame::write(to, frame)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits, and drops what comes meanwhile.
    async fn pause(&mut self, span: Duration) {
        let woken = self.woken.clone();
        let until = Instant::now() + span;
        let early = woken.notified();
        tokio::pin!(early);
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                () = &mut early => return,
                message = self.waiting.recv() => match message {
                    Some(message) => self.drop_message(&message),
                    None => return,
                },
            }
        }
    }

    fn drop_message(&self, message: &Outgoing) {
        self.waiting_bytes.fetch_sub(message.frame.len(), Ordering::AcqRel);
        self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
    }

    async fn note_failure(&mut self, error: &ConnectError) {
        if let ConnectError::Refused { node, reason } = error {
            self.shared.receiver.refused(node, reason).await;
        }
        let text = error.to_string();
        if self.last_failure.as_ref() != Some(&text) {
            match error {
                // Whatever answers there is none of ours, or one of us is set up wrongly.
                ConnectError::Tls(_) | ConnectError::NotUpgraded(_) => tracing::warn!("{}: {text}", self.address),
                _ => tracing::debug!("{} ({:?}): {text}", self.address, self.lane),
            }
            self.last_failure = Some(text);
        }
    }
}

/// How sending came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The connection broke.
    Broken,
    /// Nobody sends any more.
    Unused,
}

/// Says one of the first frames, and hears what the other side says to it.
async fn ask(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    said: &[u8],
) -> Result<Bytes, ConnectError> {
    frame::write(to, said).await?;
    to.flush().await?;
    Ok(frame::read(from, HELLO_BYTES_MAX).await?.ok_or(HandshakeError::Malformed)?)
}

async fn flush(to: &mut BufWriter<WriteHalf<TokioIo<Upgraded>>>) -> io::Result<()> {
    timeout(WRITE_TIMEOUT, to.flush()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
