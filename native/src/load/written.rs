//! Writes that were acknowledged, and whether they are still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use quorate_core::id::Key;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::attempt::Session;
use crate::config::Endpoint;

/// Readers at one time.
const READERS: usize = 8;
/// How long a key may refuse to be read, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Writes that were acknowledged: each a key that was written once, with its own name as the value.
#[derive(Clone, Debug)]
pub struct Written {
    name: String,
    numbers: Vec<u64>,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which key.
    pub key: String,
    /// What is there instead.
    pub found: String,
}

impl Written {
    pub(super) const fn new(name: String, numbers: Vec<u64>) -> Self {
        Self { name, numbers }
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing was acknowledged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.numbers.iter().map(|number| Key::new(&self.key(*number)).expect("a short text"))
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// Reads every one of them back, through all of these nodes in turn, and gives those that are not as they were written.
    pub async fn read_back(&self, endpoints: &[Endpoint]) -> Vec<Broken> {
        let (next, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(self.clone()));
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let sessions = endpoints.iter().cycle().skip(number).take(endpoints.len()).cloned().map(Session::new);
            readers.spawn(read_on(next.clone(), all.clone(), sessions.collect()));
        }
        readers.join_all().await.into_iter().flatten().collect()
    }
}

async fn read_on(next: Arc<AtomicUsize>, all: Arc<Written>, mut sessions: Vec<Session>) -> Vec<Broken> {
    let mut broken = Vec::new();
    while let Some(number) = all.numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
        let key = all.key(*number);
        if let Err(found) = read_until(&key, &mut sessions).await {
            broken.push(Broken { key, found });
        }
    }
    broken
}

/// Reads until a node answers.
async fn read_until(key: &str, sessions: &mut [Session]) -> Result<(), String> {
    let start = Instant::now();
    loop {
        sessions.rotate_left(1);
        let session = sessions.first_mut().expect("somebody is asked");
        let refused = match session.read(key).await {
            Ok(answer) if answer.shows(key) => return Ok(()),
            Ok(answer) if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND => {
                return Err(answer.told());
            }
            Ok(answer) => answer.told(),
            Err(error) => error.to_string(),
        };
        if start.elapsed() > PATIENCE {
            return Err(refused);
        }
        sleep(RETRY_PAUSE).await;
    }
}
