//! The clients: each writes a new key, reads one that was acknowledged, and so on, until it is told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use quorate_core::rng::Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::attempt::Session;
use super::figures::{Course, Failed, Figures, Outcome};
use super::written::Written;
use crate::config::Endpoint;

/// A client goes on to the next node after so many writes and reads, so that each node gets its part.
const STAY: u64 = 50;
/// Between two tries of the same, so that one that is refused everywhere does not drown the nodes.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// After failing for so long a write or read is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// How many clients there are, and how hurried they are.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many.
    pub clients: u32,
    /// What each waits after each write or read.
    pub pause: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// Tells the keys of one load from those of another.
    name: String,
    endpoints: Mutex<Vec<Endpoint>>,
    next: AtomicU64,
    /// No more writes than these.
    writes_max: u64,
    stop: AtomicBool,
    /// The numbers of the writes that were acknowledged.
    acknowledged: Mutex<Vec<u64>>,
    figures: Mutex<Figures>,
}

impl Load {
    /// Sets clients to work. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(name: &str, endpoints: Vec<Endpoint>, pace: Pace) -> Self {
        Self::begin(name, endpoints, pace, u64::MAX)
    }

    /// Writes so many keys, as fast as this many clients can, and says what came of it.
    pub async fn fill(name: &str, endpoints: Vec<Endpoint>, clients: u32, keys: u64) -> (Written, Figures) {
        let load = Self::begin(name, endpoints, Pace { clients, pause: Duration::ZERO }, keys);
        load.join().await
    }

    fn begin(name: &str, endpoints: Vec<Endpoint>, pace: Pace, writes_max: u64) -> Self {
        let shared = Arc::new(Shared {
            name: name.into(),
            endpoints: Mutex::new(endpoints),
            next: AtomicU64::new(0),
            writes_max,
            stop: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            figures: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..pace.clients {
            clients.spawn(Client::new(shared.clone(), number).run(pace.pause));
        }
        Self { shared, clients }
    }

    /// Where the clients send what comes from now on.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        *lock(&self.shared.endpoints) = endpoints;
    }

    /// What the clients have met since this was asked last.
    #[must_use]
    pub fn take_figures(&self) -> Figures {
        std::mem::take(&mut *lock(&self.shared.figures))
    }

    /// What was acknowledged until now.
    #[must_use]
    pub fn written(&self) -> Written {
        self.shared.written()
    }

    /// Lets the clients end what they have begun, and gives all that was acknowledged, and what they met since they were
    /// asked last.
    pub async fn stop(self) -> (Written, Figures) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join().await
    }

    async fn join(mut self) -> (Written, Figures) {
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        (self.shared.written(), self.take_figures())
    }
}

impl Shared {
    fn written(&self) -> Written {
        Written::new(self.name.clone(), lock(&self.acknowledged).clone())
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// The node that comes after so many others, round and round.
    fn endpoint(&self, turn: u64) -> Endpoint {
        let endpoints = lock(&self.endpoints);
        let count = u64::try_from(endpoints.len()).expect("a few");
        let index = usize::try_from(turn % count).expect("below their number");
        endpoints[index].clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client.
struct Client {
    shared: Arc<Shared>,
    session: Session,
    /// How often it has gone on to the next node.
    turn: u64,
    rng: Rng,
}

impl Client {
    fn new(shared: Arc<Shared>, number: u32) -> Self {
        let turn = number.into();
        let session = Session::new(shared.endpoint(turn));
        // What is read when decides nothing: any stream will do.
        Self { session, shared, turn, rng: Rng::labelled(turn, "client") }
    }

    async fn run(mut self, pause: Duration) {
        for done in 1_u64.. {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.shared.writes_max || self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let key = self.shared.key(number);
            if self.serve(&key, true).await == Outcome::Written {
                lock(&self.shared.acknowledged).push(number);
            }
            sleep(pause).await;
            // Who fills a store up has no time to read.
            if self.shared.writes_max == u64::MAX {
                let read = self.rng.pick(&lock(&self.shared.acknowledged)).map(|number| self.shared.key(*number));
                if let Some(key) = read {
                    self.serve(&key, false).await;
                }
                sleep(pause).await;
            }
            if done % STAY == 0 {
                self.go_on();
            }
        }
    }

    fn go_on(&mut self) {
        self.turn += 1;
        self.session = Session::new(self.shared.endpoint(self.turn));
    }

    /// Writes or reads, with as many tries as it takes.
    async fn serve(&mut self, key: &str, is_write: bool) -> Outcome {
        let start = Instant::now();
        let mut failed: Option<(Instant, String)> = None;
        let outcome = loop {
            let tried = if is_write { self.session.write(key).await } else { self.session.read(key).await };
            let why = match tried {
                Ok(answer) if is_write && answer.status == StatusCode::OK => break Outcome::Written,
                Ok(answer) if !is_write && answer.shows(key) => break Outcome::Read,
                Ok(answer) if !is_write && (answer.status.is_success() || answer.status == StatusCode::NOT_FOUND) => {
                    failed = Some((Instant::now(), format!("a read of {key} showed {}", answer.told())));
                    break Outcome::Missed;
                }
                Ok(answer) => format!("{} said {}", self.session.endpoint(), answer.told()),
                Err(error) => error.to_string(),
            };
            let (since, _) = failed.get_or_insert_with(|| (Instant::now(), why));
            if since.elapsed() > GIVE_UP_AFTER {
                break Outcome::GivenUp;
            }
            self.go_on();
            sleep(RETRY_PAUSE).await;
        };
        let failed = failed.map(|(since, why)| Failed { why, lasted: since.elapsed() });
        lock(&self.shared.figures).add(Course { outcome, took: start.elapsed(), failed });
        outcome
    }
}
