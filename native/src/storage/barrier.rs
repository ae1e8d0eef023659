//! Group commit: whoever waits for a step towards the disk while one is under way shares the next one. Never touches a
//! file itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts the batches that an engine was given, and up to where each step has brought them.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    written: AtomicU64,
    /// The last batch that must outlive a power cut.
    promised: AtomicU64,
    flushed: Step,
    durable: Step,
}

/// A step towards the disk.
#[derive(Debug, Default)]
struct Step {
    upto: AtomicU64,
    turn: Mutex<()>,
}

impl Barrier {
    /// To be called after every batch; `is_promise` if it must outlive a power cut before anybody is told of it.
    pub(super) fn wrote(&self, is_promise: bool) {
        let batch = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        if is_promise {
            self.promised.fetch_max(batch, Ordering::AcqRel);
        }
    }

    /// Whether a batch that must outlive a power cut may not do so yet.
    pub(super) fn owes_a_promise(&self) -> bool {
        self.promised.load(Ordering::Acquire) > self.durable.upto.load(Ordering::Acquire)
    }

    /// Returns once the operating system has everything that was written before the call. `flush` hands it over; it is not
    /// called when another caller's has covered everything already.
    ///
    /// # Errors
    /// Whatever `flush` says: the system has nothing then that it had not before.
    pub(super) fn flush<E>(&self, flush: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.flushed.wait(&self.written, flush)
    }

    /// As [`Self::flush`], until the disk has it; `sync` is an fsync.
    ///
    /// # Errors
    /// Whatever `sync` says: nothing is durable then that was not before.
    pub(super) fn sync<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.durable.wait(&self.written, sync)?;
        self.flushed.upto.fetch_max(self.durable.upto.load(Ordering::Acquire), Ordering::AcqRel);
        Ok(())
    }
}

impl Step {
    fn wait<E>(&self, written: &AtomicU64, take: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let needed = written.load(Ordering::Acquire);
        if self.upto.load(Ordering::Acquire) >= needed {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.upto.load(Ordering::Acquire) >= needed {
            return Ok(());
        }
        let covered = written.load(Ordering::Acquire);
        take()?;
        self.upto.fetch_max(covered, Ordering::AcqRel);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// How many of some calls took the step.
    fn taken(
        calls: usize,
        call: impl Fn(&mut dyn FnMut() -> Result<(), Infallible>) -> Result<(), Infallible>,
    ) -> usize {
        let mut taken = 0;
        for _ in 0..calls {
            call(&mut || {
                taken += 1;
                Ok(())
            })
            .expect("works");
        }
        taken
    }

    #[test]
    fn what_has_come_so_far_already_costs_nothing() {
        let barrier = Barrier::default();
        assert_eq!(taken(2, |step| barrier.sync(step)), 0);
        barrier.wrote(false);
        barrier.wrote(false);
        assert_eq!(taken(2, |step| barrier.flush(step)), 1);
        assert_eq!(taken(2, |step| barrier.sync(step)), 1);
        barrier.wrote(false);
        assert_eq!(taken(2, |step| barrier.sync(step)), 1);
        assert_eq!(taken(2, |step| barrier.flush(step)), 0, "the disk has more than the operating system");
    }

    #[test]
    fn a_promise_is_owed_until_the_disk_has_it() {
        let barrier = Barrier::default();
        barrier.wrote(false);
        assert!(!barrier.owes_a_promise());
        barrier.wrote(true);
        barrier.wrote(false);
        taken(1, |step| barrier.flush(step));
        assert!(barrier.owes_a_promise());
        taken(1, |step| barrier.sync(step));
        assert!(!barrier.owes_a_promise());
    }

    #[test]
    fn a_failed_sync_makes_nothing_durable() {
        let barrier = Barrier::default();
        barrier.wrote(true);
        assert_eq!(barrier.sync(|| Err("disk")), Err("disk"));
        assert!(barrier.owes_a_promise());
        assert_eq!(taken(1, |step| barrier.sync(step)), 1);
    }

    #[test]
    fn nobody_returns_before_its_own_write_is_synced() {
        // The journal: how much was written, and how much of it an fsync has covered.
        let (written, synced, barrier) = (AtomicU64::new(0), AtomicU64::new(0), Barrier::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let own = written.fetch_add(1, Ordering::SeqCst) + 1;
                        barrier.wrote(false);
                        barrier
                            .sync(|| {
                                synced.fetch_max(written.load(Ordering::SeqCst), Ordering::SeqCst);
                                Ok::<_, Infallible>(())
                            })
                            .expect("works");
                        assert!(synced.load(Ordering::SeqCst) >= own);
                    }
                });
            }
        });
    }
}
