//! The core's storage in a log-structured merge tree (fjall). One journal serves all machines of the node, so one fsync
//! does too. Never decides when to sync.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::{io, thread};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, OwnedWriteBatch, PersistMode, Readable as _};
use prometheus::Histogram;
use quorate_core::storage::{Batch, Page, PageLimit, Space, StorageError};

use super::barrier::Barrier;
use super::directory::DataDirectory;
use crate::descriptors::TABLES_MAX;
use crate::metrics::fsync_meter;

/// Blocks of tables kept in memory, in bytes.
const CACHE_BYTES: u64 = 256 * 1_024 * 1_024;
/// Objects are refused as `Full` while the file system has less than this left, in bytes: the journal must never meet a
/// full disk half-way through a batch, and what is in memory must still find room in tables.
const RESERVE_BYTES: u64 = 192 * 1_024 * 1_024;
/// Rows of the operation log.
const OPERATIONS: &str = "operations";

/// One open database. Shared by all machines of a node.
pub(super) struct Lsm {
    database: Database,
    meta: Keyspace,
    objects: Keyspace,
    hints: Keyspace,
    tree: Keyspace,
    operations: Keyspace,
    barrier: Barrier,
    fsync: Histogram,
    directory: DataDirectory,
    /// Rows of objects: what came and went since the start, and, once it is counted, what was there before.
    keys: Arc<AtomicI64>,
    /// Why the journal takes nothing any more: after one failed write nobody knows what it holds.
    failure: OnceLock<StorageError>,
}

impl Lsm {
    /// Opens the database of a directory.
    pub(super) fn open(directory: DataDirectory) -> Result<Self, StorageError> {
        let database = open_database(&directory.store()).map_err(from_fjall)?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).map_err(from_fjall);
        let (meta, objects) = (keyspace("meta")?, keyspace("objects")?);
        let (hints, tree, operations) = (keyspace("hints")?, keyspace("tree")?, keyspace(OPERATIONS)?);
        let keys = Arc::default();
        count_rows(&database, &objects, Arc::clone(&keys));
        Ok(Self {
            database,
            meta,
            objects,
            hints,
            tree,
            operations,
            barrier: Barrier::default(),
            fsync: fsync_meter(),
            directory,
            keys,
            failure: OnceLock::new(),
        })
    }

    /// Makes the files of an empty database.
    pub(super) fn make(store: &Path) -> io::Result<()> {
        open_database(store).map(drop).map_err(|error| match error {
            fjall::Error::Io(error) => error,
            other => io::Error::other(other),
        })
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let row = self.keyspace(space).get(key).map_err(from_fjall)?;
        Ok(row.map(Bytes::from))
    }

    pub(super) fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: PageLimit,
    ) -> Result<Page, StorageError> {
        let keyspace = self.keyspace(space);
        let rows = match to {
            Some(to) if to <= from => return Ok(Page::default()),
            Some(to) => keyspace.range(from..to),
            None => keyspace.range(from..),
        };
        let mut page = Page::default();
        let mut bytes = 0_u64;
        for row in rows {
            let (key, row) = row.into_inner().map_err(from_fjall)?;
            bytes += wide(key.len() + row.len());
            let count = u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
            if count > 0 && (count >= limit.rows || bytes > u64::from(limit.bytes)) {
                page.more = true;
                break;
            }
            page.rows.push((key.into(), row.into()));
        }
        Ok(page)
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let stores_objects = batch
            .changes
            .iter()
            .any(|change| matches!(change.space, Space::Objects | Space::Hints) && change.row.is_some());
        if stores_objects && self.free_bytes()? < RESERVE_BYTES {
            return Err(StorageError::Full);
        }
        let mut writes = self.database.batch();
        let more_keys = self.more_keys(&batch)?;
        for change in batch.changes {
            let keyspace = self.keyspace(change.space);
            match change.row {
                Some(row) => writes.insert(keyspace, change.key, row),
                None => writes.remove(keyspace, change.key),
            }
        }
        self.commit(writes)?;
        self.keys.fetch_add(more_keys, Ordering::Relaxed);
        Ok(())
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
            let was = self.objects.contains_key(key).map_err(from_fjall)?;
            more += i64::from(stays) - i64::from(was);
        }
        Ok(more)
    }

    /// Rows of objects.
    pub(super) fn keys(&self) -> u64 {
        u64::try_from(self.keys.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Returns once everything applied before the call is on the disk.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.barrier.wait(|| {
            let _timer = self.fsync.start_timer();
            self.database.persist(PersistMode::SyncData).map_err(from_fjall)
        })
    }

    /// How long fsyncs took.
    pub(super) const fn fsync_meter(&self) -> &Histogram {
        &self.fsync
    }

    /// Bytes of all files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    /// Rows of the operation log in the order of their numbers.
    pub(super) fn operations(&self) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let mut rows = Vec::new();
        for row in self.operations.iter() {
            let (key, row) = row.into_inner().map_err(from_fjall)?;
            let number = <[u8; 8]>::try_from(&key[..])
                .map_err(|_| StorageError::Corrupt("a row of the operation log has a malformed number".into()))?;
            rows.push((u64::from_be_bytes(number), row.into()));
        }
        Ok(rows)
    }

    /// Adds rows to the operation log and removes old ones. It reaches the operating system, not yet the disk.
    pub(super) fn log_operations(&self, added: Vec<(u64, Bytes)>, removed: Vec<u64>) -> Result<(), StorageError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::Buffer));
        for (number, row) in added {
            writes.insert(&self.operations, number.to_be_bytes(), row);
        }
        for number in removed {
            writes.remove(&self.operations, number.to_be_bytes());
        }
        self.commit(writes)
    }

    fn commit(&self, writes: OwnedWriteBatch) -> Result<(), StorageError> {
        if let Err(error) = writes.commit().map_err(from_fjall) {
            // If there is one already, it is the one that says why.
            let _ = self.failure.set(error.clone());
            return Err(error);
        }
        self.barrier.applied();
        Ok(())
    }

    /// Why nothing can be written any more, if that is so.
    pub(super) fn failure(&self) -> Option<&StorageError> {
        self.failure.get()
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Meta => &self.meta,
            Space::Objects => &self.objects,
            Space::Hints => &self.hints,
            Space::Tree => &self.tree,
        }
    }

    /// Bytes left on the file system.
    pub(super) fn free_bytes(&self) -> Result<u64, StorageError> {
        let found = rustix::fs::statvfs(self.directory.store()).map_err(|error| StorageError::Io(error.to_string()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Adds the rows that are there now to the counter, on a thread of its own: there may be many.
fn count_rows(database: &Database, objects: &Keyspace, keys: Arc<AtomicI64>) {
    let (snapshot, objects) = (database.snapshot(), objects.clone());
    let count = move || match snapshot.len(&objects) {
        Ok(count) => {
            keys.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        Err(error) => tracing::warn!("the keys in the store cannot be counted: {error}"),
    };
    if let Err(error) = thread::Builder::new().name("count-keys".into()).spawn(count) {
        tracing::warn!("the keys in the store are not counted: {error}");
    }
}

fn open_database(store: &Path) -> fjall::Result<Database> {
    // Batches stay in the process until a sync asks for them: it flushes first.
    Database::builder(store)
        .max_cached_files(Some(TABLES_MAX))
        .cache_size(CACHE_BYTES)
        .manual_journal_persist(true)
        .open()
}

fn from_fjall(error: fjall::Error) -> StorageError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error))
            if error.kind() == io::ErrorKind::StorageFull =>
        {
            StorageError::Full
        }
        fjall::Error::Storage(
            error @ (LsmError::ChecksumMismatch { .. }
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::InvalidHeader(_)),
        ) => StorageError::Corrupt(error.to_string()),
        fjall::Error::Poisoned => {
            StorageError::Io("an earlier write of the journal failed, so nothing more is accepted".into())
        }
        error => StorageError::Io(error.to_string()),
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).expect("a size fits 64 bits")
}
