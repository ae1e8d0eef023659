//! A store on disk, whichever engine it has: what is refused when room runs out, when a write counts as written, and what
//! is counted. Never decides what is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use quorate_core::shard;
use quorate_core::storage::{Batch, Page, PageLimit, Space, StorageError};

use super::barrier::Barrier;
use super::btree::Btree;
use super::directory::DataDirectory;
use super::engine::{Count, Engine, Table, Write};
use super::lsm::Lsm;
use super::{DiskEngine, OpenError};
use crate::config::Durability;
use crate::metrics::StoreMeters;

/// Objects are refused as `Full` while the file system has less than this left, in bytes: the journal must never meet a
/// full disk half-way through a batch, and what is in memory must still find room in files.
const RESERVE_BYTES: u64 = 192 * 1_024 * 1_024;
/// Deletions are taken until no more than this is left, in bytes: they make room, but not at once.
const LAST_RESERVE_BYTES: u64 = 96 * 1_024 * 1_024;

/// Says how many bytes are left.
pub(super) type FreeBytes = Box<dyn Fn() -> Result<u64, StorageError> + Send + Sync>;

/// One open store. Shared by all machines of a node.
pub(super) struct Disk {
    engine: Box<dyn Engine>,
    name: &'static str,
    durability: Durability,
    barrier: Barrier,
    meters: StoreMeters,
    free_bytes: FreeBytes,
    /// Rows of objects: what came and went since the start, and, once it is counted, what was there before.
    keys: Arc<AtomicI64>,
    /// Why the engine takes nothing any more: after one failed write nobody knows what it holds.
    failure: OnceLock<StorageError>,
    _directory: DataDirectory,
}

impl Disk {
    /// Opens the store of a directory, and makes it if there is none.
    pub(super) fn open(path: &Path, engine: DiskEngine, durability: Durability) -> Result<Self, OpenError> {
        let directory = DataDirectory::open(path, engine, |store| match engine {
            DiskEngine::Lsm => Lsm::make(store),
            DiskEngine::Btree => Btree::make(store),
        })?;
        let store = directory.store();
        let failed = |source| OpenError::Database { path: path.display().to_string(), source };
        let opened: Box<dyn Engine> = match engine {
            DiskEngine::Lsm => Box::new(Lsm::open(&store).map_err(failed)?),
            DiskEngine::Btree => Box::new(Btree::open(&store).map_err(failed)?),
        };
        let count = opened.count(Table::Objects).map_err(failed)?;
        let disk = Self::new(opened, engine.as_str(), durability, directory);
        disk.count_keys(count);
        Ok(disk)
    }

    fn new(engine: Box<dyn Engine>, name: &'static str, durability: Durability, directory: DataDirectory) -> Self {
        let store = directory.store();
        let free_bytes = move || {
            let found = rustix::fs::statvfs(&store).map_err(|error| StorageError::Io(error.to_string()))?;
            Ok(found.f_bavail.saturating_mul(found.f_frsize))
        };
        Self {
            engine,
            name,
            durability,
            barrier: Barrier::default(),
            meters: StoreMeters::new(),
            free_bytes: Box::new(free_bytes),
            keys: Arc::default(),
            failure: OnceLock::new(),
            _directory: directory,
        }
    }

    /// With another idea of how much room there is.
    #[cfg(test)]
    pub(super) fn with_free_bytes(self, free_bytes: FreeBytes) -> Self {
        Self { free_bytes, ..self }
    }

    /// What people call its engine.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// When a write counts as written.
    pub(super) const fn durability(&self) -> Durability {
        self.durability
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(space.into(), key).inspect_err(|error| self.note(error))
    }

    pub(super) fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: PageLimit,
    ) -> Result<Page, StorageError> {
        self.engine.scan(space.into(), from, to, limit).inspect_err(|error| self.note(error))
    }

    fn note(&self, error: &StorageError) {
        if let StorageError::Corrupt(_) = error {
            self.meters.damaged_reads.inc();
        }
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.check_room(&batch)?;
        let (more_keys, is_promise) = (self.more_keys(&batch)?, shard::is_promise(&batch));
        let writes = batch.changes.into_iter();
        let writes = writes.map(|change| Write { table: change.space.into(), key: change.key, row: change.row });
        self.write(writes.collect(), is_promise)?;
        self.keys.fetch_add(more_keys, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, batch: Vec<Write>, is_promise: bool) -> Result<(), StorageError> {
        if let Err(error) = self.engine.write(batch) {
            // If there is one already, it is the one that says why.
            let _ = self.failure.set(error.clone());
            return Err(error);
        }
        self.barrier.wrote(is_promise);
        Ok(())
    }

    /// What removes rows, and what a machine remembers of itself, always finds room in the reserve.
    fn check_room(&self, batch: &Batch) -> Result<(), StorageError> {
        let grows = batch.changes.iter().any(|c| matches!(c.space, Space::Objects | Space::Hints) && c.row.is_some());
        if !grows {
            return Ok(());
        }
        let free = self.free_bytes()?;
        if free >= RESERVE_BYTES || free >= LAST_RESERVE_BYTES && shard::is_deletion(batch) {
            return Ok(());
        }
        Err(StorageError::Full)
    }

    /// By how many rows of objects there will be more after the batch; negative if fewer.
    fn more_keys(&self, batch: &Batch) -> Result<i64, StorageError> {
        let last: BTreeMap<_, _> = batch
            .changes
            .iter()
            .filter(|change| change.space == Space::Objects)
            .map(|change| (&change.key, change.row.is_some()))
            .collect();
        let mut more = 0;
        for (key, stays) in last {
            let was = match self.engine.contains(Table::Objects, key) {
                // It is there, and it is what this batch may heal.
                Err(StorageError::Corrupt(_)) => true,
                found => found?,
            };
            more += i64::from(stays) - i64::from(was);
        }
        Ok(more)
    }

    /// Returns once everything that was applied before the call counts as written, and what must outlive a power cut does.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        if self.durability == Durability::Sync || self.barrier.owes_a_promise() { self.sync() } else { self.flush() }
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.barrier.flush(|| self.engine.flush())
    }

    /// Returns once everything that was applied before the call is on the disk.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.barrier.sync(|| {
            let _timer = self.meters.fsync.start_timer();
            self.engine.sync()
        })
    }

    /// What it counts.
    pub(super) const fn meters(&self) -> &StoreMeters {
        &self.meters
    }

    /// Rows of objects.
    pub(super) fn keys(&self) -> u64 {
        u64::try_from(self.keys.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Bytes of all files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    /// Bytes left on the file system.
    pub(super) fn free_bytes(&self) -> Result<u64, StorageError> {
        (self.free_bytes)()
    }

    /// Why nothing can be written any more, if that is so.
    pub(super) fn failure(&self) -> Option<&StorageError> {
        self.failure.get()
    }

    /// Rows of the operation log in the order of their numbers.
    pub(super) fn operations(&self) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let all = PageLimit { rows: u32::MAX, bytes: u32::MAX };
        let rows = self.engine.scan(Table::Operations, &[], None, all)?.rows.into_iter();
        let numbered = rows.map(|(key, row)| {
            let number = <[u8; 8]>::try_from(&key[..])
                .map_err(|_| StorageError::Corrupt("a row of the operation log has a malformed number".into()))?;
            Ok((u64::from_be_bytes(number), row))
        });
        numbered.collect()
    }

    /// Adds rows to the operation log and removes old ones. It reaches the operating system, not yet the disk.
    pub(super) fn log_operations(&self, added: Vec<(u64, Bytes)>, removed: Vec<u64>) -> Result<(), StorageError> {
        let write = |number: u64, row| {
            let key = Bytes::copy_from_slice(&number.to_be_bytes());
            Write { table: Table::Operations, key, row }
        };
        let added = added.into_iter().map(|(number, row)| write(number, Some(row)));
        let removed = removed.into_iter().map(|number| write(number, None));
        self.write(added.chain(removed).collect(), false)?;
        self.flush()
    }

    /// Adds the rows that were there at the start to the counter, on a thread of its own: there may be many.
    fn count_keys(&self, count: Count) {
        let keys = Arc::clone(&self.keys);
        let add = move || match count() {
            Ok(count) => {
                keys.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
            }
            Err(error) => tracing::warn!("the keys in the store cannot be counted: {error}"),
        };
        if let Err(error) = thread::Builder::new().name("count-keys".into()).spawn(add) {
            tracing::warn!("the keys in the store are not counted: {error}");
        }
    }
}
