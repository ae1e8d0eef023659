//! Runs the schedules of many seeds on several threads and adds up what came of them. What it says does not depend on the
//! number of threads: verdicts are taken in the order of the seeds, up to the first that broke something.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use quorate_core::hash::StableHasher;
use quorate_core::sim::{Tally, Verdict};

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// Verdicts that may wait, for each thread: nobody runs far ahead of a slow seed.
const WAITING_PER_THREAD: usize = 4;

thread_local! {
    /// The seed that this thread runs, for whoever reports a fault of the program itself.
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The seed that the calling thread runs.
pub(super) fn running() -> Option<u64> {
    RUNNING.get()
}

/// Which seeds: so many from the first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    pub(super) first: u64,
    pub(super) count: u64,
}

/// What came of the seeds so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Seeds that were run, from the first on.
    pub(super) seeds: u64,
    pub(super) simulated: Duration,
    pub(super) tally: Tally,
    /// The seed that broke something, and its verdict.
    pub(super) broken: Option<(u64, Verdict)>,
    hasher: StableHasher,
}

impl Outcome {
    pub(super) fn new() -> Self {
        let (tally, hasher) = (Tally::default(), StableHasher::new());
        Self { seeds: 0, simulated: Duration::ZERO, tally, broken: None, hasher }
    }

    /// Adds the next seed.
    pub(super) fn add(&mut self, seed: u64, verdict: Verdict) {
        self.seeds += 1;
        self.simulated += verdict.simulated;
        self.tally.add(&verdict.tally);
        self.hasher.u64(seed);
        self.hasher.u64(verdict.hash);
        if !verdict.violations.is_empty() {
            self.broken = Some((seed, verdict));
        }
    }

    /// The hash of everything that was run.
    pub(super) const fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

/// Runs the seeds until all are done, one breaks something, or `stop` says so. `look` is shown now and then how far it is.
pub(super) fn sweep(
    seeds: Seeds,
    threads: NonZeroUsize,
    stop: &AtomicBool,
    judge: impl Fn(u64) -> Verdict + Sync,
    mut look: impl FnMut(&Outcome),
) -> Outcome {
    let mut outcome = Outcome::new();
    let next = AtomicU64::new(0);
    let (sender, verdicts) = mpsc::sync_channel(threads.get() * WAITING_PER_THREAD);
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (sender, next, judge) = (sender.clone(), &next, &judge);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= seeds.count {
                        return;
                    }
                    let seed = seeds.first + index;
                    RUNNING.set(Some(seed));
                    // Nobody listens any more once something broke.
                    if sender.send((seed, judge(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        while outcome.broken.is_none() {
            match verdicts.recv_timeout(LOOK) {
                Ok((seed, verdict)) => early.insert(seed, verdict),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            while outcome.broken.is_none()
                && let Some(verdict) = early.remove(&(seeds.first + outcome.seeds))
            {
                outcome.add(seeds.first + outcome.seeds, verdict);
            }
            look(&outcome);
        }
        drop(verdicts);
    });
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_core::sim::{Invariant, Violation};
    use quorate_core::time::Time;

    /// A verdict that depends on the seed alone, broken from the given seed on.
    fn verdict(seed: u64, broken_from: u64) -> Verdict {
        let violation = Violation {
            invariant: Invariant::OneReply,
            at: Time::ZERO,
            key: None,
            dot: None,
            detail: format!("seed {seed}"),
        };
        let violations = if seed >= broken_from { vec![violation] } else { vec![] };
        let tally = Tally { things: seed, ..Tally::default() };
        Verdict { violations, tally, simulated: Duration::from_secs(1), hash: seed.wrapping_mul(0x9e37_79b9) }
    }

    fn run(threads: usize, count: u64, broken_from: u64) -> Outcome {
        let threads = NonZeroUsize::new(threads).expect("above zero");
        let judge = |seed| {
            // Later seeds are done earlier.
            if seed % 3 == 0 {
                std::thread::yield_now();
            }
            verdict(seed, broken_from)
        };
        sweep(Seeds { first: 100, count }, threads, &AtomicBool::new(false), judge, |_| {})
    }

    #[test]
    fn the_outcome_does_not_depend_on_the_number_of_threads() {
        let alone = run(1, 500, u64::MAX);
        assert_eq!((alone.seeds, alone.simulated, alone.broken.is_none()), (500, Duration::from_secs(500), true));
        assert_eq!(alone.tally.things, (100..600).sum::<u64>());
        for threads in [2, 3, 8] {
            assert_eq!(run(threads, 500, u64::MAX), alone);
        }
        assert_ne!(run(1, 499, u64::MAX).hash(), alone.hash());
    }

    #[test]
    fn it_ends_at_the_first_seed_that_breaks_something_whichever_thread_finds_it() {
        let alone = run(1, 500, 250);
        assert_eq!(alone.broken.as_ref().map(|(seed, _)| *seed), Some(250));
        assert_eq!(alone.seeds, 151);
        for threads in [2, 8] {
            assert_eq!(run(threads, 500, 250), alone);
        }
    }

    #[test]
    fn it_stops_when_it_is_told_and_keeps_what_was_done() {
        let stop = AtomicBool::new(false);
        let judge = |seed| {
            if seed == 20 {
                stop.store(true, Ordering::Relaxed);
            }
            verdict(seed, u64::MAX)
        };
        let outcome = sweep(Seeds { first: 0, count: u64::MAX }, NonZeroUsize::MIN, &stop, judge, |_| {});
        assert_eq!((outcome.seeds, outcome.broken), (21, None));
    }
}
