//! The core's machines at work: one thread for the control plane, one for each shard, a clock, a store and the
//! connections between them. It carries out; it never decides.

mod clock;
mod control;
mod inbox;
mod interval;
mod machine;
mod shard;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::Request as HttpRequest;
use quorate_core::error::RequestError;
use quorate_core::gossip::{Answers, Asked, Stamp, UserEvent};
use quorate_core::hash::{Position, Slice};
use quorate_core::id::{Address, EventName, NodeId};
use quorate_core::layout::{ChangeError, LayoutId};
use quorate_core::message::Envelope;
use quorate_core::node::{self, JoinError, Node, StartError, TalkError, Wish};
use quorate_core::rng::Rng;
use quorate_core::shard::{self as core_shard, Reply, Request, Shard};
use quorate_core::storage::StorageError;
use quorate_core::time::Time;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;

use self::clock::Clock;
use self::control::{ControlInput, ControlMachine};
use self::inbox::Inbox;
use self::interval::Interval;
use self::shard::{ShardInput, ShardMachine};
use crate::config::Settings;
use crate::discovery::Discovery;
use crate::metrics::Metrics;
use crate::peer::{self, Lane, PeerIdentity, Peers, Secret};
use crate::storage::Store;
use crate::tls::TlsClient;

/// Inputs that wait for one machine; beyond, peers wait and clients are refused.
const QUEUE_MAX: usize = 4_096;
/// How long a machine may take to show itself. One that takes longer hangs, or is buried under work.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Events that wait for one that listens; who is further behind is cut off.
const EVENTS_WAITING_MAX: usize = 1_024;
/// How long the network has to take the goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the machines did not start. What the store remembers was not changed, but for the count of starts.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The core refuses.
    #[error(transparent)]
    Core(#[from] StartError),
    /// No thread, or no randomness.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

/// A machine did not show itself in time.
#[derive(Debug, thiserror::Error)]
#[error("a thread of this node has not answered for {} s", INSPECTION_TIMEOUT.as_secs())]
pub struct NoAnswer;

/// An event that this node has heard.
#[derive(Clone, Debug)]
pub struct HeardEvent {
    /// What happened.
    pub event: Arc<UserEvent>,
    /// Whether it was found by comparing with another node, and may have happened long before.
    pub is_late: bool,
}

/// A node at work.
pub struct Runtime {
    clock: Clock,
    store: Store,
    peers: Peers<Inbox>,
    control: mpsc::Sender<ControlInput>,
    shards: Vec<mpsc::Sender<ShardInput>>,
    /// What this node hears of events.
    events: broadcast::Sender<HeardEvent>,
    /// Comes once the node has left its cluster for good; taken by whoever waits for it.
    left: Mutex<Option<oneshot::Receiver<()>>>,
    /// Makes durable what nobody waited for.
    _interval: Option<Interval>,
}

impl Runtime {
    /// Starts the machines of a node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn start(
        settings: &Settings,
        secret: Option<Secret>,
        tls: Option<TlsClient>,
        store: Store,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, RuntimeError> {
        let clock = Clock::start();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let mut rng = Rng::from_seed(seed);
        let identity = PeerIdentity {
            node: settings.node_id.clone(),
            cluster: settings.core.cluster.name.clone(),
            address: settings.advertise.clone(),
            instance: rng.u64(),
            secret,
            tls,
        };
        let start = node::Start {
            node: settings.node_id.clone(),
            address: settings.advertise.clone(),
            config: settings.core.clone(),
            seeds: settings.seeds.clone(),
            wall: clock.wall(),
        };
        let node = Node::start(clock.now(), start, store.clone(), rng)?;
        let (control, control_inputs) = mpsc::channel(QUEUE_MAX);
        let (shards, shard_inputs): (Vec<_>, Vec<_>) = (0..settings.shards).map(|_| mpsc::channel(QUEUE_MAX)).unzip();
        let peers = Peers::new(identity, Inbox::new(control.clone(), shards.clone()));
        for (index, inputs) in (0_u32..).zip(shard_inputs) {
            let shard = Shard::start(clock.now(), shard_start(settings, &node, index), store.clone())?;
            let machine = ShardMachine::new(shard, clock, peers.clone(), control.clone(), metrics.clone());
            machine::spawn(format!("shard-{index}"), clock, store.clone(), machine, inputs)?;
        }
        let (leaves, left) = oneshot::channel();
        let (events, _) = broadcast::channel(EVENTS_WAITING_MAX);
        let discovery = Discovery::new(settings);
        let (heard, counted) = (events.clone(), metrics.clone());
        let machine = ControlMachine::new(node, peers.clone(), discovery, shards.clone(), heard, counted, leaves);
        machine::spawn("control".into(), clock, store.clone(), machine, control_inputs)?;
        let (left, interval) = (Mutex::new(Some(left)), Interval::start(store.clone())?);
        Ok(Arc::new(Self { clock, store, peers, control, shards, events, left, _interval: interval }))
    }

    /// Carries out a client's request.
    ///
    /// # Errors
    /// As the core's.
    pub async fn request(&self, request: Request) -> Reply {
        let slice = Position::of(&request.key).slice();
        let shard = &self.shards[shard_of(slice, self.shards.len())];
        let (reply, answered) = oneshot::channel();
        shard.try_send(ShardInput::Request { request, reply }).map_err(|_| RequestError::Overloaded)?;
        answered.await.unwrap_or_else(|_| Err(RequestError::NotReady { reason: "it is stopping".into() }))
    }

    /// Introduces the node at an address to the cluster, and says who it is once it is a member.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn introduce(&self, address: Address) -> Result<NodeId, JoinError> {
        let stopping = || JoinError::NotNow("this node is stopping");
        let (outcome, decided) = oneshot::channel();
        self.control.send(ControlInput::Introduce { address, outcome }).await.map_err(|_| stopping())?;
        decided.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Asks the owners for another layout, and says which one fulfils the wish.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing if this node is stopping.
    pub async fn wish(&self, wish: Wish) -> Option<Result<LayoutId, ChangeError>> {
        let (outcome, decided) = oneshot::channel();
        self.control.send(ControlInput::Wish { wish, outcome }).await.ok()?;
        decided.await.ok()
    }

    /// Makes this node leave for good. The answer comes once that begins; [`Self::left`] says when it is done.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing if this node is stopping.
    pub async fn leave(&self) -> Option<Result<LayoutId, ChangeError>> {
        let (outcome, decided) = oneshot::channel();
        self.control.send(ControlInput::Leave { outcome }).await.ok()?;
        decided.await.ok()
    }

    /// Tells the whole cluster something, and says with which stamp.
    ///
    /// # Errors
    /// [`TalkError`]; nothing if this node is stopping.
    pub async fn fire(&self, name: EventName, payload: Bytes) -> Option<Result<Stamp, TalkError>> {
        let (outcome, told) = oneshot::channel();
        self.control.send(ControlInput::Fire { name, payload, outcome }).await.ok()?;
        told.await.ok()
    }

    /// Asks members something, and waits for what they say.
    ///
    /// # Errors
    /// [`TalkError`]; nothing if this node is stopping.
    pub async fn ask(&self, asked: Asked) -> Option<Result<Answers, TalkError>> {
        let (outcome, said) = oneshot::channel();
        self.control.send(ControlInput::Ask { asked, outcome }).await.ok()?;
        said.await.ok()
    }

    /// The events that this node remembers, by rising stamp, and from then on those that it hears; an event that is heard
    /// just now may be among both. One that falls too far behind hears that it has.
    ///
    /// # Errors
    /// [`NoAnswer`] if the control plane's thread hangs.
    pub async fn listen(&self) -> Result<(Vec<Arc<UserEvent>>, broadcast::Receiver<HeardEvent>), NoAnswer> {
        let events = self.events.clone();
        // On the thread that hears: nothing falls between the two.
        self.node(move |node| (node.events().cloned().map(Arc::new).collect(), events.subscribe())).await
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    /// Waits until this node has left its cluster for good. For one who waits; others wait for ever.
    pub async fn left(&self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let has_left = match left {
            Some(left) => left.await.is_ok(),
            None => false,
        };
        if !has_left {
            std::future::pending::<()>().await;
        }
    }

    /// Looks at the control plane.
    ///
    /// # Errors
    /// [`NoAnswer`] if its thread hangs.
    pub async fn node<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Node<Store>) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (seen, shown) = oneshot::channel();
        let inspect = ControlInput::Inspect(Box::new(move |node| {
            let _ = seen.send(look(node));
        }));
        timeout(INSPECTION_TIMEOUT, async {
            self.control.send(inspect).await.map_err(|_| NoAnswer)?;
            shown.await.map_err(|_| NoAnswer)
        })
        .await
        .map_err(|_| NoAnswer)?
    }

    /// Looks at every shard, one after the other.
    ///
    /// # Errors
    /// [`NoAnswer`] if a thread hangs.
    pub async fn shards<T: Send + 'static>(
        &self,
        look: impl Fn(&Shard<Store>) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, NoAnswer> {
        let mut all = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (seen, shown) = oneshot::channel();
            let look = look.clone();
            let inspect = ShardInput::Inspect(Box::new(move |shard| {
                let _ = seen.send(look(shard));
            }));
            let answer = timeout(INSPECTION_TIMEOUT, async {
                shard.send(inspect).await.map_err(|_| NoAnswer)?;
                shown.await.map_err(|_| NoAnswer)
            });
            all.push(answer.await.map_err(|_| NoAnswer)??);
        }
        Ok(all)
    }

    /// Says goodbye to the cluster, and makes everything durable. Requests must have ended before.
    ///
    /// # Errors
    /// [`StorageError`] when the last writes could not be made durable; none of them was acknowledged.
    pub async fn stop(&self) -> Result<(), StorageError> {
        let (told, done) = oneshot::channel();
        if self.control.send(ControlInput::Stop { told }).await.is_ok() {
            // A control plane that hangs must not keep the process from ending.
            let _ = timeout(GOODBYE_TIMEOUT, done).await;
        }
        let _ = timeout(GOODBYE_TIMEOUT, self.peers.flushed()).await;
        self.store.sync()
    }

    /// Answers another node that asks for a connection; nothing if the request asks for something else. `permit` is
    /// held as long as the connection is open.
    pub fn accept_peer(&self, request: &mut HttpRequest<Body>, permit: impl Send + 'static) -> Option<Response> {
        peer::upgrade(&self.peers, request, permit)
    }

    /// The rows of this node.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// How long ago the node started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now().since(Time::ZERO)
    }

    /// The time of day at a moment of the core's clock.
    #[must_use]
    pub fn time_of_day(&self, at: Time) -> SystemTime {
        self.clock.time_of_day(at)
    }

    /// How many inputs wait for each thread.
    pub(crate) fn queue_lengths(&self) -> Vec<(String, usize)> {
        let control = ("control".to_owned(), waiting(&self.control));
        let shards = self.shards.iter().enumerate();
        shards.map(|(index, shard)| (format!("shard-{index}"), waiting(shard))).chain([control]).collect()
    }

    /// Messages sent, dropped, received and not understood since the start.
    #[must_use]
    pub fn message_counts(&self) -> [u64; 4] {
        let counters = self.peers.counters();
        [&counters.sent, &counters.dropped, &counters.received, &counters.malformed]
            .map(|counter| counter.load(Ordering::Relaxed))
    }
}

fn shard_start(settings: &Settings, node: &Node<Store>, index: u32) -> core_shard::Start {
    let shards = usize::from(settings.shards);
    let own = |slice: &Slice| u32::try_from(shard_of(*slice, shards)) == Ok(index);
    core_shard::Start {
        node: settings.node_id.clone(),
        actor: node.actor(),
        boot: node.boot(),
        index,
        slices: Slice::all().filter(own).collect(),
        config: settings.core.clone(),
    }
}

fn waiting<T>(queue: &mpsc::Sender<T>) -> usize {
    queue.max_capacity() - queue.capacity()
}

/// Which of so many shards holds a slice. Nothing on disk depends on it.
fn shard_of(slice: Slice, shards: usize) -> usize {
    usize::from(slice.number()) % shards
}

fn send(peers: &Peers<Inbox>, to: &NodeId, envelope: &Envelope) {
    let lane = if envelope.message.is_urgent() { Lane::Membership } else { Lane::Data };
    peers.send(to, lane, envelope.encode().into());
}
