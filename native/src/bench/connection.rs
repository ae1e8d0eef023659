//! One connection: draws operations, sends them one after the other, and notes what becomes of each. After a failure it goes on
//! to the next endpoint.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::time::sleep;

use super::BenchError;
use super::choice::{Choice, Mix, stream};
use super::pace::Pace;
use super::tally::{Failure, Tally};
use crate::config::Endpoint;
use crate::load::{Access, Answer, Session, TryError};

/// Before going on after a failure where no timetable says when, so that nodes that refuse are not drowned.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a key may refuse to be written before the measuring.
const PREPARE_PATIENCE: Duration = Duration::from_secs(5);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    endpoints: Vec<Endpoint>,
    access: Access,
    mix: Mix,
    value_size: usize,
    /// What the last write of each key has seen; nothing for blind writes.
    contexts: Option<Vec<Mutex<Option<HeaderValue>>>>,
    next_key: AtomicU64,
    written: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Shared {
    pub(super) fn new(endpoints: Vec<Endpoint>, access: Access, mix: Mix, value_size: usize, is_blind: bool) -> Self {
        let contexts = (!is_blind).then(|| (0..mix.keys()).map(|_| Mutex::default()).collect());
        let zero = AtomicU64::default;
        let (next_key, written, done, failed) = (zero(), zero(), zero(), zero());
        Self { endpoints, access, mix, value_size, contexts, next_key, written, done, failed }
    }

    /// How many operations were done until now, and how many of them failed.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// What comes now is counted from nothing.
    pub(super) fn reset_progress(&self) {
        self.done.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    fn session(&self, turn: usize) -> Session {
        Session::with_access(self.endpoints[turn % self.endpoints.len()].clone(), self.access.clone())
    }

    fn context(&self, key: u64) -> Option<&Mutex<Option<HeaderValue>>> {
        self.contexts.as_ref()?.get(usize::try_from(key).expect("one of the keys"))
    }

    /// A JSON body with a text of the wanted size that no other write has, as far as there is room for that.
    fn body(&self) -> Bytes {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let mut text = format!("{number:016x}").chars().rev().collect::<String>();
        text.truncate(self.value_size);
        let filler = "abcdefghijklmnopqrstuvwxyz".bytes().cycle().map(char::from);
        let missing = self.value_size - text.len();
        let mut body = String::with_capacity(self.value_size + 16);
        body += r#"{"value":""#;
        body += &text;
        body.extend(filler.take(missing));
        body += r#""}"#;
        body.into()
    }
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    session: Session,
    /// Which of the endpoints it is at, round and round.
    turn: usize,
    rng: ChaCha8Rng,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, number: u32) -> Self {
        let turn = usize::try_from(number).expect("a few");
        Self { session: shared.session(turn), turn, rng: stream(number), shared }
    }

    /// Writes keys that nobody has written yet, until all are.
    pub(super) async fn prepare(mut self) -> Result<(), BenchError> {
        loop {
            let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
            if key >= self.shared.mix.keys() {
                return Ok(());
            }
            let start = Instant::now();
            while let Err((failure, is_final)) = self.serve(Choice { key, is_read: false }).await {
                if is_final || start.elapsed() > PREPARE_PATIENCE {
                    return Err(BenchError::Prepare { key: name(key), reason: failure.told });
                }
                self.go_on();
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Carries out what is due until nothing more is to begin.
    pub(super) async fn measure(mut self, pace: Arc<Pace>) -> Tally {
        let mut tally = Tally::default();
        while let Some(due) = pace.next().await {
            let choice = self.shared.mix.draw(&mut self.rng);
            match self.serve(choice).await {
                Ok(()) => tally.succeeded(choice.is_read, due.elapsed()),
                Err((failure, _)) => {
                    tally.failed(failure);
                    self.go_on();
                    if pace.is_closed() {
                        sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
        tally
    }

    fn go_on(&mut self) {
        self.turn += 1;
        self.session = self.shared.session(self.turn);
    }

    /// One operation, tried once; where it failed, also whether it would always fail.
    async fn serve(&mut self, choice: Choice) -> Result<(), (Failure, bool)> {
        let served = if choice.is_read {
            judged(self.session.read(&name(choice.key)).await).map(drop)
        } else {
            self.write(choice.key).await
        };
        self.shared.done.fetch_add(1, Ordering::Relaxed);
        self.shared.failed.fetch_add(u64::from(served.is_err()), Ordering::Relaxed);
        served
    }

    async fn write(&mut self, key: u64) -> Result<(), (Failure, bool)> {
        let Some(place) = self.shared.context(key) else {
            return judged(self.session.put(&name(key), self.shared.body(), None).await).map(drop);
        };
        let context = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = judged(self.session.put(&name(key), self.shared.body(), context.as_ref()).await);
        // Copied, for it would hold the whole answer. Whoever has failed has seen nothing: the next write finds out by itself.
        let seen = answer.as_ref().ok().and_then(Answer::context);
        let seen = seen.and_then(|context| HeaderValue::from_bytes(context.as_bytes()).ok());
        *place.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        answer.map(drop)
    }
}

fn name(key: u64) -> String {
    format!("bench-{key}")
}

/// The answer, if it is a success; else what it is, and whether it would always be that.
fn judged(tried: Result<Answer, TryError>) -> Result<Answer, (Failure, bool)> {
    let answer = match tried {
        Ok(answer) if answer.status.is_success() => return Ok(answer),
        Ok(answer) => answer,
        Err(error) => {
            let kind = match &error {
                TryError::Connect { .. } => "no_connection",
                TryError::Broken { .. } => "connection_broken",
                TryError::Timeout { .. } => "no_answer",
            };
            return Err((Failure { kind: kind.into(), told: error.to_string() }, false));
        }
    };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = body["error"]["code"].as_str().map_or_else(|| format!("status_{}", answer.status.as_u16()), Into::into);
    let is_final = answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS;
    Err((Failure { kind, told: answer.told() }, is_final))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ() {
        for size in [0, 1, 15, 16, 17, 100, 5_000] {
            let shared = Shared::new(Vec::new(), Access::default(), Mix::new(1, None, 0.0), size, true);
            let values = [shared.body(), shared.body()].map(|body| {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                body["value"].as_str().expect("a text").to_owned()
            });
            assert!(values.iter().all(|value| value.len() == size), "{values:?}");
            assert_eq!(values[0] != values[1], size > 0, "{values:?}");
        }
    }
}
