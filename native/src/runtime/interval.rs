//! The background fsync of `--durability interval`: a thread that makes everything durable, again and again. Whoever
//! writes does not wait for it, and a failure is as fatal as in the foreground: it never goes on after one.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::machine::die;
use crate::config::Durability;
use crate::storage::Store;

/// The thread ends when this goes.
#[derive(Debug)]
pub(super) struct Interval {
    _ends: Sender<()>,
}

impl Interval {
    /// Starts the thread, if the durability of the store asks for one.
    pub(super) fn start(store: Store) -> io::Result<Option<Self>> {
        let Some(Durability::Interval(span)) = store.durability() else { return Ok(None) };
        let (ends, ended) = channel();
        let keep_syncing = move || {
            if let Err(error) = every(span, &ended, || store.sync()) {
                die(&error);
            }
        };
        thread::Builder::new().name("fsync".into()).spawn(keep_syncing)?;
        Ok(Some(Self { _ends: ends }))
    }
}

/// Works after each span until it fails, or until the end comes.
fn every<E>(span: Duration, ended: &Receiver<()>, mut work: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    while ended.recv_timeout(span) == Err(RecvTimeoutError::Timeout) {
        work()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_the_work_fails_and_not_after() {
        let (_ends, ended) = channel();
        let mut left = 3;
        let work = || {
            left -= 1;
            if left == 0 { Err("disk") } else { Ok(()) }
        };
        assert_eq!(every(Duration::from_millis(1), &ended, work), Err("disk"));
        assert_eq!(left, 0);
    }

    #[test]
    fn it_ends_with_its_owner() {
        let (ends, ended) = channel();
        drop(ends);
        assert_eq!(every(Duration::from_secs(3_600), &ended, || Err("never")), Ok(()));
    }
}
