//! The least that could stand where a node stands: HTTP in front of a map, and W=2 or R=2 of three processes over TCP, with
//! nothing that makes it safe: no causality, no membership, no repair. `cargo xtask bench` measures it beside real nodes on the
//! same machine, so that their figures can be read as ratios. Never shipped, and never to be used for data.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use clap::Parser;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// The allocator of the server, so that it is not what is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Between two tries to reach a process that is still starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

#[derive(Parser)]
struct Arguments {
    /// Where clients ask
    #[arg(long)]
    http: SocketAddr,
    /// Where the other two processes ask
    #[arg(long)]
    listen: SocketAddr,
    /// Where those two listen
    #[arg(long, value_delimiter = ',', required = true)]
    peers: Vec<SocketAddr>,
    /// Every write is synced to this file before it counts; writes that come together share one fdatasync
    #[arg(long)]
    journal: Option<PathBuf>,
}

#[derive(Clone, Serialize, Deserialize)]
enum Operation {
    Write { key: String, version: u64, value: Bytes },
    Read { key: String },
}

type Found = Option<(u64, Bytes)>;

/// A record for the journal, and who waits for it.
type Entry = (Vec<u8>, oneshot::Sender<()>);

/// What this process holds.
struct Store {
    map: Mutex<HashMap<String, (u64, Bytes)>>,
    journal: Option<blocking::Sender<Entry>>,
}

/// A connection to another process.
struct Peer {
    asks: mpsc::UnboundedSender<(u64, Operation)>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Found>>>>,
    next: AtomicU64,
}

struct App {
    store: Arc<Store>,
    peers: Vec<Peer>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let store = Arc::new(Store { map: Mutex::default(), journal: arguments.journal.map(journal).transpose()? });
    let listener = TcpListener::bind(arguments.listen).await?;
    tokio::spawn(serve_peers(listener, store.clone()));
    let mut peers = Vec::new();
    for address in arguments.peers {
        peers.push(Peer::connect(address).await?);
    }
    let app = Router::new()
        .route("/ready", get(async || "{}"))
        .route("/api/v1/data/{key}", get(read).put(write))
        .with_state(Arc::new(App { store, peers }));
    // Clients are let in once the others are there.
    axum::serve(TcpListener::bind(arguments.http).await?, app).await
}

async fn write(State(app): State<Arc<App>>, Path(key): Path<String>, value: Bytes) -> (StatusCode, String) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let version = u64::try_from(since.as_nanos()).unwrap_or_default();
    match app.quorum(Operation::Write { key: key.clone(), version, value }).await {
        Some(_) => (StatusCode::OK, format!(r#"{{"key":"{key}"}}"#)),
        None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

async fn read(State(app): State<Arc<App>>, Path(key): Path<String>) -> (StatusCode, String) {
    let Some(answers) = app.quorum(Operation::Read { key }).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    };
    match answers.into_iter().flatten().max_by_key(|(version, _)| *version) {
        Some((_, value)) => (StatusCode::OK, String::from_utf8_lossy(&value).into_owned()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

impl App {
    /// Asks all three and waits for two.
    async fn quorum(&self, operation: Operation) -> Option<[Found; 2]> {
        let mut answers: FuturesUnordered<_> = self.peers.iter().map(|peer| peer.ask(operation.clone())).collect();
        let (sender, own) = oneshot::channel();
        answers.push(own);
        let store = self.store.clone();
        // On its own: it has to be carried out even if the other two are faster.
        tokio::spawn(async move { sender.send(store.carry_out(operation).await) });
        let mut first = None;
        while let Some(answer) = answers.next().await {
            match (answer, first.take()) {
                (Ok(answer), Some(first)) => return Some([first, answer]),
                (Ok(answer), None) => first = Some(answer),
                (Err(_), before) => first = before,
            }
        }
        None
    }
}

impl Store {
    async fn carry_out(&self, operation: Operation) -> Found {
        let (key, version, value) = match operation {
            Operation::Read { key } => return lock(&self.map).get(&key).cloned(),
            Operation::Write { key, version, value } => (key, version, value),
        };
        if let Some(journal) = &self.journal {
            let record = postcard::to_allocvec(&(&key, version, &value)).expect("plain data");
            let (sender, synced) = oneshot::channel();
            journal.send((record, sender)).expect("its thread lasts as long as the process");
            synced.await.expect("its thread lasts as long as the process");
        }
        let mut map = lock(&self.map);
        if map.get(&key).is_none_or(|(held, _)| *held < version) {
            map.insert(key, (version, value));
        }
        None
    }
}

/// A thread that writes what has come together, syncs it, and says so.
fn journal(path: PathBuf) -> io::Result<blocking::Sender<Entry>> {
    let mut file = File::create(path)?;
    let (sender, entries) = blocking::channel::<Entry>();
    std::thread::Builder::new().name("journal".into()).spawn(move || {
        while let Ok(first) = entries.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(entries.try_iter()).collect();
            let bytes: Vec<u8> = batch.iter().flat_map(|(record, _)| record).copied().collect();
            file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk takes it");
            for (_, waiting) in batch {
                let _ = waiting.send(());
            }
        }
    })?;
    Ok(sender)
}

impl Peer {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => sleep(CONNECT_PAUSE).await,
            }
        };
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (asks, asked) = mpsc::unbounded_channel();
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Found>>>> = Arc::default();
        tokio::spawn(send_all(to, asked));
        let answered = waiting.clone();
        tokio::spawn(async move {
            let mut from = BufReader::new(from);
            while let Ok((id, found)) = receive::<(u64, Found)>(&mut from).await {
                if let Some(waiting) = lock(&answered).remove(&id) {
                    // Whoever has two answers already waits no longer.
                    let _ = waiting.send(found);
                }
            }
            // Nobody is left waiting for ever.
            lock(&answered).clear();
        });
        Ok(Self { asks, waiting, next: AtomicU64::new(0) })
    }

    /// Sends at once, and gives where the answer comes.
    fn ask(&self, operation: Operation) -> oneshot::Receiver<Found> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        if self.asks.send((id, operation)).is_err() {
            lock(&self.waiting).remove(&id);
        }
        answer
    }
}

async fn serve_peers(listener: TcpListener, store: Arc<Store>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (answers, answered) = mpsc::unbounded_channel();
        tokio::spawn(send_all(to, answered));
        let store = store.clone();
        tokio::spawn(async move {
            let mut from = BufReader::new(from);
            while let Ok((id, operation)) = receive::<(u64, Operation)>(&mut from).await {
                let (store, answers) = (store.clone(), answers.clone());
                tokio::spawn(async move { answers.send((id, store.carry_out(operation).await)) });
            }
        });
    }
}

/// Writes messages as they come; those that come together share one system call.
async fn send_all<T: Serialize>(
    to: impl AsyncWrite + Unpin,
    mut messages: mpsc::UnboundedReceiver<T>,
) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    while let Some(first) = messages.recv().await {
        let mut next = Some(first);
        while let Some(message) = next {
            let bytes = postcard::to_allocvec(&message).expect("plain data");
            to.write_u32(u32::try_from(bytes.len()).expect("a small message")).await?;
            to.write_all(&bytes).await?;
            next = messages.try_recv().ok();
        }
        to.flush().await?;
    }
    Ok(())
}

async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = usize::try_from(from.read_u32().await?).expect("32 bits");
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
