//! The loop that drives one of the core's machines on a thread of its own: take all that waits, step for each, make
//! durable once, carry out. It decides nothing; which inputs there are and what outputs mean is said by [`Machine`].

use std::{io, thread};

use quorate_core::storage::{Seq, StorageError};
use quorate_core::time::Time;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

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
    let driver = Driver { runtime: Handle::current(), clock, store, machine, wake: None };
    thread::Builder::new().name(name).spawn(move || driver.run(inputs)).map(drop)
}

struct Driver<M> {
    runtime: Handle,
    clock: Clock,
    store: Store,
    machine: M,
    wake: Option<Time>,
}

impl<M: Machine> Driver<M> {
    fn run(mut self, mut inputs: mpsc::Receiver<M::Input>) {
        let mut waiting = Vec::with_capacity(TURN_MAX);
        loop {
            self.turn(&mut waiting);
            let until = self.wake.map(|at| Instant::from_std(self.clock.instant(at)));
            let open = self.runtime.block_on(async {
                let arrived = inputs.recv_many(&mut waiting, TURN_MAX);
                match until {
                    Some(until) => timeout_at(until, arrived).await.unwrap_or(usize::MAX) > 0,
                    None => arrived.await > 0,
                }
            });
            if !open {
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

/// Nobody can know what the disk has: to go on would be to promise it.
pub(super) fn die(error: &StorageError) -> ! {
    tracing::error!("the store cannot be relied on any more, so this node stops: {error}");
    std::process::exit(EXIT_STORE_FAILED);
}
