//! The wires between the nodes: one proxy in front of each node, which its peers are told is its address. It knows who dials
//! by the address that a node says of itself when it begins, and cuts or slows each direction by itself. It never changes a
//! byte, and clients do not come this way.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{self, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1_024;
/// A dialler that has not said who it is in so many bytes does not do so any more.
const HELLO_BYTES_MAX: usize = 8 * 1_024;

/// What is wrong with one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing passes, and what is open breaks.
    Cut,
    /// Nothing passes, and nobody is told.
    Silent,
    /// What is sent is held back so long.
    Slow(Duration),
}

/// All wires.
pub(crate) struct Network {
    wires: Arc<Wires>,
    /// The proxies run as long as this value.
    _proxies: JoinSet<()>,
}

struct Wires {
    /// Where each node says that it is reached.
    addresses: Vec<SocketAddr>,
    troubles: Mutex<BTreeMap<(usize, usize), Trouble>>,
    changed: watch::Sender<()>,
}

impl Network {
    /// Puts a proxy in front of each of these listen addresses.
    pub(crate) async fn start(nodes: &[SocketAddr]) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for _ in nodes {
            listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let wires = Arc::new(Wires { addresses, troubles: Mutex::default(), changed: watch::Sender::new(()) });
        let mut proxies = JoinSet::new();
        for (to, (listener, node)) in listeners.into_iter().zip(nodes.iter().copied()).enumerate() {
            proxies.spawn(serve(wires.clone(), to, listener, node));
        }
        Ok(Self { wires, _proxies: proxies })
    }

    /// Where a node's peers are told that it is.
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.wires.addresses[node]
    }

    /// Troubles one direction, besides those that are troubled already.
    pub(crate) fn trouble(&self, from: usize, to: usize, trouble: Trouble) {
        self.wires.change(|troubles| _ = troubles.insert((from, to), trouble));
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.wires.change(BTreeMap::clear);
    }
}

impl Wires {
    fn change(&self, how: impl FnOnce(&mut BTreeMap<(usize, usize), Trouble>)) {
        how(&mut self.troubles.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }

    fn trouble_of(&self, from: Option<usize>, to: usize) -> Option<Trouble> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.get(&(from?, to)).copied()
    }

    /// Who has begun a connection to this node with these bytes: they hold the address where the dialler is reached.
    fn dialler(&self, to: usize, said: &[u8]) -> Option<usize> {
        (0..self.addresses.len()).filter(|node| *node != to).find(|node| {
            let address = self.addresses[*node].to_string();
            said.windows(address.len()).any(|window| window == address.as_bytes())
        })
    }
}

async fn serve(wires: Arc<Wires>, to: usize, listener: TcpListener, node: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((dialled, _)) = accepted {
                    connections.spawn(connect(wires.clone(), to, dialled, node));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until either side ends it or its direction is cut.
async fn connect(wires: Arc<Wires>, to: usize, dialled: TcpStream, node: SocketAddr) {
    let Ok(reached) = TcpStream::connect(node).await else { return };
    // Without it the proxy would be the slow wire itself.
    if dialled.set_nodelay(true).and_then(|()| reached.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_dialler, mut to_dialler), (mut from_node, to_node)) = (dialled.into_split(), reached.into_split());
    tokio::select! {
        _ = carry(&wires, to, from_dialler, to_node) => {}
        _ = io::copy(&mut from_node, &mut to_dialler) => {}
    }
}

/// Carries what the dialler sends.
async fn carry(wires: &Wires, to: usize, mut from: OwnedReadHalf, mut node: OwnedWriteHalf) -> io::Result<()> {
    let mut changed = wires.changed.subscribe();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut dialler, mut said) = (None, Vec::new());
    loop {
        let trouble = wires.trouble_of(dialler, to);
        if trouble == Some(Trouble::Cut) {
            return Ok(());
        }
        let count = tokio::select! {
            count = from.read(&mut chunk) => count?,
            _ = changed.changed() => continue,
        };
        if count == 0 {
            return Ok(());
        }
        if dialler.is_none() && said.len() < HELLO_BYTES_MAX {
            said.extend_from_slice(&chunk[..count]);
            dialler = wires.dialler(to, &said);
        }
        while wires.trouble_of(dialler, to) == Some(Trouble::Silent) && changed.changed().await.is_ok() {}
        match wires.trouble_of(dialler, to) {
            Some(Trouble::Cut) => return Ok(()),
            Some(Trouble::Slow(delay)) => sleep(delay).await,
            Some(Trouble::Silent) | None => {}
        }
        node.write_all(&chunk[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A node that keeps all that it is sent.
    async fn node() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        (listener.local_addr().expect("bound"), listener)
    }

    #[tokio::test]
    async fn one_direction_is_cut_and_the_others_are_not() {
        let ((first, _first), (second, listener), (third, _third)) = (node().await, node().await, node().await);
        let network = Network::start(&[first, second, third]).await.expect("proxies");
        network.trouble(0, 1, Trouble::Cut);
        for (from, passes) in [(0, false), (2, true)] {
            let mut dialled = TcpStream::connect(network.address(1)).await.expect("a proxy");
            let hello = format!("to {}, from {}", network.address(1), network.address(from));
            dialled.write_all(hello.as_bytes()).await.expect("sent");
            let (mut reached, _) = listener.accept().await.expect("dialled");
            let mut heard = vec![0; hello.len()];
            let came = reached.read_exact(&mut heard).await.is_ok();
            assert_eq!((came, came && heard == hello.as_bytes()), (passes, passes), "from {from}");
            if passes {
                network.trouble(from, 1, Trouble::Cut);
                assert_eq!(reached.read(&mut heard).await.expect("the end"), 0, "what is open breaks");
            }
        }
    }

    #[tokio::test]
    async fn what_a_silent_wire_holds_back_comes_once_it_is_healed() {
        let ((first, _first), (second, listener)) = (node().await, node().await);
        let network = Network::start(&[first, second]).await.expect("proxies");
        network.trouble(0, 1, Trouble::Silent);
        let mut dialled = TcpStream::connect(network.address(1)).await.expect("a proxy");
        let hello = format!("from {}", network.address(0));
        dialled.write_all(hello.as_bytes()).await.expect("sent");
        let (mut reached, _) = listener.accept().await.expect("dialled");
        let mut heard = vec![0; hello.len()];
        let held_back = timeout(Duration::from_millis(50), reached.peek(&mut heard)).await;
        assert!(held_back.is_err(), "it has come through");
        network.heal();
        reached.read_exact(&mut heard).await.expect("it comes");
        assert_eq!(heard, hello.as_bytes());
    }
}
