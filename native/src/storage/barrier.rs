//! Group commit: whoever asks for durability while an fsync is under way shares the next one. Never touches a file
//! itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts what was applied to a journal, and up to where it is durable.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    applied: AtomicU64,
    durable: Mutex<u64>,
}

impl Barrier {
    /// To be called after every write to the journal.
    pub(super) fn applied(&self) {
        self.applied.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns once everything that was applied before the call is durable. `sync` is an fsync of the journal; it is not
    /// called when another caller's has covered everything already.
    ///
    /// # Errors
    /// Whatever `sync` says: nothing is durable then that was not before.
    pub(super) fn wait<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let needed = self.applied.load(Ordering::Acquire);
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable >= needed {
            return Ok(());
        }
        let covered = self.applied.load(Ordering::Acquire);
        sync()?;
        *durable = covered;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn what_is_durable_already_costs_nothing() {
        let barrier = Barrier::default();
        let mut syncs = 0;
        let mut wait = |barrier: &Barrier| {
            barrier.wait(|| {
                syncs += 1;
                Ok::<_, Infallible>(())
            })
        };
        wait(&barrier).expect("works");
        barrier.applied();
        barrier.applied();
        wait(&barrier).expect("works");
        wait(&barrier).expect("works");
        assert_eq!(syncs, 1);
    }

    #[test]
    fn a_failed_sync_makes_nothing_durable() {
        let barrier = Barrier::default();
        barrier.applied();
        assert_eq!(barrier.wait(|| Err("disk")), Err("disk"));
        let mut synced = false;
        barrier
            .wait(|| {
                synced = true;
                Ok::<_, Infallible>(())
            })
            .expect("works");
        assert!(synced);
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
                        barrier.applied();
                        barrier
                            .wait(|| {
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
