//! The loop that drives one of the core's machines on a thread of its own: take all that waits, step for each, make
//! durable once, carry out. It decides nothing; which inputs there are and what outputs mean is said by [`Machine`].

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use quorate_core::storage::{Seq, StorageError};
use quorate_core::time::Time;
use tokio::sync::mpsc;

use super::clock::Clock;
use crate::storage::Store;

/// Inputs taken at once: one fsync serves them all.
const TURN_MAX: usize = 512;

/// The exit code of a node whose store failed: an input/output error, as sysexits.h has it.
const EXIT_STORE_FAILED: i32 = 74;

/// A look at a machine, between two of its steps.
pub(super) type Look<M> = Box<dyn FnOnce(&M) + Send>;

/// What a step left to be done by the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    /// Batches up to this one must be made durable.
    pub(super) sync: Option<Seq>,
    /// When to come back.
    pub(super) wake: Option<Time>,
}

impl Due {
    /// Adds what a later step left.
    pub(super) fn add(&mut self, later: Self) {
        self.sync = later.sync.or(self.sync);
        self.wake = later.wake.or(self.wake);
    }
}

/// A machine of the core, with the means to carry out what it says.
pub(super) trait Machine: Send + 'static {
    /// What it is given.
    type Input: Send;

    /// Steps with one input and carries out the outputs, but for syncing and waking.
    fn take(&mut self, now: Time, input: Self::Input) -> Due;

    /// Comes back at the time asked for; too early or too often does no harm.
    fn on_time(&mut self, now: Time) -> Due;

    /// Tells the machine what is durable now.
    fn on_durable(&mut self, now: Time, upto: Seq) -> Due;

    /// Everything that was taken is carried out, and what was written for it is durable.
    fn on_turn_end(&mut self) {}
}

/// Runs a machine on a thread of its own until nobody can give it anything any more.
pub(super) fn spawn<M: Machine>(
    name: String,
    clock: Clock,
    store: Store,
    machine: M,
    inputs: mpsc::Receiver<M::Input>,
) -> io::Result<()> {
    let driver = Driver { clock, store, machine, wake: None };
    thread::Builder::new().name(name).spawn(move || driver.run(inputs)).map(drop)
}

struct Driver<M> {
    clock: Clock,
    store: Store,
    machine: M,
    wake: Option<Time>,
}

impl<M: Machine> Driver<M> {
    fn run(mut self, mut inputs: mpsc::Receiver<M::Input>) {
        let mut waiting = Vec::with_capacity(TURN_MAX);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            self.turn(&mut waiting);
            let until = self.wake.map(|at| self.clock.instant(at));
            if !wait(&waker, &mut inputs, &mut waiting, until) {
                return;
            }
        }
    }

    /// Steps for everything that waits, then makes it durable, and steps with that, until nothing is left to be made
    /// durable. The first turn carries out what the machine began before it had a thread.
    fn turn(&mut self, waiting: &mut Vec<M::Input>) {
        let mut due = Due::default();
        for input in waiting.drain(..) {
            due.add(self.machine.take(self.clock.now(), input));
        }
        due.add(self.machine.on_time(self.clock.now()));
        while let Some(upto) = due.sync.take() {
            if let Err(error) = self.store.settle() {
                die(&error);
            }
            due.add(self.machine.on_durable(self.clock.now(), upto));
        }
        if let Some(error) = self.store.failure() {
            die(error);
        }
        self.machine.on_turn_end();
        let now = self.clock.now();
        // A time that has passed was served by the last step; without a new one there is nothing to come back for.
        self.wake = due.wake.or_else(|| self.wake.filter(|at| *at > now));
    }
}

/// Waits until something has come, or it is time; says whether anything can come any more. The thread sleeps by itself: a
/// timer of the runtime would wake one of the threads that serve connections each time it is set.
fn wait<T>(waker: &Waker, inputs: &mut mpsc::Receiver<T>, arrived: &mut Vec<T>, until: Option<Instant>) -> bool {
    let mut receive = pin!(inputs.recv_many(arrived, TURN_MAX));
    let mut context = Context::from_waker(waker);
    loop {
        if let Poll::Ready(count) = receive.as_mut().poll(&mut context) {
            return count > 0;
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return true,
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Wakes a thread that sleeps.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Nobody can know what the disk has: to go on would be to promise it.
pub(super) fn die(error: &StorageError) -> ! {
    tracing::error!("the store cannot be relied on any more, so this node stops: {error}");
    std::process::exit(EXIT_STORE_FAILED);
}
