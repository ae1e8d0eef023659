//! How nodes reach each other: connections on the same port as everything else, upgraded from HTTP, with frames of bytes.
//! One connection each way for each lane. Messages may be lost, and are counted then. Never looks inside a message.

mod frame;
mod handshake;
mod inbound;
mod link;
mod secret;
mod upgrade;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::id::{Address, ClusterName, NodeId};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tls::TlsClient;

pub use handshake::{Lane, PATH, UPGRADE};
use link::{Link, Queued};
pub use secret::{Secret, SecretError};
pub use upgrade::upgrade;

/// Most outgoing connections, used or not.
const LINKS_MAX: usize = 4_096;
/// Most peers of which it is remembered that they were complained about.
const COMPLAINTS_MAX: usize = 1_024;

/// Who this node is to others.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// Its name.
    pub node: NodeId,
    /// The cluster it belongs to by name.
    pub cluster: ClusterName,
    /// Where it is reached.
    pub address: Address,
    /// Drawn at random at each start.
    pub instance: u64,
    /// What every node of the cluster must know; nothing if none needs to.
    pub secret: Option<Secret>,
    /// How connections are opened over TLS; nothing if they are not.
    pub tls: Option<TlsClient>,
}

/// Who takes what peers send.
pub trait Receive: Send + Sync + 'static {
    /// Takes one message; waits while there is no room. An error ends the connection it came on.
    fn receive(&self, from: &NodeId, frame: Bytes) -> impl Future<Output = Result<(), String>> + Send;

    /// A peer refuses to talk to this node.
    fn refused(&self, by: &NodeId, reason: &str) -> impl Future<Output = ()> + Send;
}

/// What became of messages since the start.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// Written to a connection.
    pub sent: AtomicU64,
    /// Not sent: no connection, or no room.
    pub dropped: AtomicU64,
    /// Read from a connection.
    pub received: AtomicU64,
    /// Read and not understood.
    pub malformed: AtomicU64,
}

/// The connections of one node.
pub struct Peers<R>(Arc<Shared<R>>);

impl<R> Clone for Peers<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What is wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Complaint {
    NotUnderstood,
    NotProven,
}

struct Shared<R> {
    identity: PeerIdentity,
    receiver: R,
    counters: PeerCounters,
    /// Where members are reached.
    book: Mutex<HashMap<NodeId, Address>>,
    links: Mutex<HashMap<(Address, Lane), Link>>,
    complained: Mutex<HashSet<(NodeId, Complaint)>>,
    runtime: tokio::runtime::Handle,
}

impl<R: Receive> Peers<R> {
    /// A node without connections. Must be called inside a tokio runtime, which will run them.
    pub fn new(identity: PeerIdentity, receiver: R) -> Self {
        Self(Arc::new(Shared {
            identity,
            receiver,
            counters: PeerCounters::default(),
            book: Mutex::default(),
            links: Mutex::default(),
            complained: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    /// From now on the node is reached at this address.
    pub fn set_address(&self, node: NodeId, address: Address) {
        locked(&self.0.book).insert(node, address);
    }

    /// Sends to a member; drops the message if its address is not known or there is no room.
    pub fn send(&self, to: &NodeId, lane: Lane, frame: Bytes) {
        let address = locked(&self.0.book).get(to).cloned();
        match address {
            Some(address) => self.0.send(Some(to.clone()), address, lane, frame),
            None => self.0.drop_one(),
        }
    }

    /// Sends to whoever listens at an address.
    pub fn contact(&self, address: Address, frame: Bytes) {
        self.0.send(None, address, Lane::Membership, frame);
    }

    /// Returns once everything that was to be sent to connected nodes is written.
    pub async fn flushed(&self) {
        let links: Vec<Link> = locked(&self.0.links).values().cloned().collect();
        for link in links {
            link.flushed().await;
        }
    }

    /// Serves a connection that another node has opened, until it ends.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        self.0.clone().serve(stream).await;
    }

    /// What became of messages since the start.
    #[must_use]
    pub fn counters(&self) -> &PeerCounters {
        &self.0.counters
    }
}

impl<R: Receive> Shared<R> {
    fn send(self: &Arc<Self>, to: Option<NodeId>, address: Address, lane: Lane, frame: Bytes) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if length > lane.frame_bytes_max() {
            tracing::warn!("a message of {length} bytes for {address} is longer than peers accept, and was dropped");
            return self.drop_one();
        }
        // A link that ended for want of use is replaced once; the new one cannot have ended yet.
        for _ in 0..2 {
            let Some(link) = self.link(&address, lane) else { break };
            match link.send(to.clone(), frame.clone()) {
                Queued::Yes => return,
                Queued::Full => break,
                Queued::Ended => self.forget_ended(&address, lane),
            }
        }
        self.drop_one();
    }

    fn link(self: &Arc<Self>, address: &Address, lane: Lane) -> Option<Link> {
        let mut links = locked(&self.links);
        if let Some(link) = links.get(&(address.clone(), lane)) {
            return Some(link.clone());
        }
        if links.len() >= LINKS_MAX {
            return None;
        }
        let _runtime = self.runtime.enter();
        let link = Link::start(self.clone(), address.clone(), lane);
        links.insert((address.clone(), lane), link.clone());
        Some(link)
    }

    fn drop_one(&self) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl<R> Shared<R> {
    /// A node at this address has opened a connection: it lives, so links to it need not pause.
    fn wake_links(&self, address: &Address) {
        let links = locked(&self.links);
        for lane in [Lane::Membership, Lane::Data] {
            if let Some(link) = links.get(&(address.clone(), lane)) {
                link.wake();
            }
        }
    }

    fn forget_ended(&self, address: &Address, lane: Lane) {
        let mut links = locked(&self.links);
        let place = (address.clone(), lane);
        if links.get(&place).is_some_and(Link::has_ended) {
            links.remove(&place);
        }
    }

    fn warn_once(&self, peer: &NodeId, complaint: Complaint, reason: &str) {
        let mut complained = locked(&self.complained);
        if complained.len() < COMPLAINTS_MAX && complained.insert((peer.clone(), complaint)) {
            let what = match complaint {
                Complaint::NotUnderstood => "sends what is not understood",
                Complaint::NotProven => "has not proven that it belongs to this cluster",
            };
            tracing::warn!("{peer} {what} ({reason}); its connection was closed, and it is not said again");
        }
    }
}

/// Small messages at once, and an end that is noticed when the other machine is gone without a word.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(15)))?;
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
