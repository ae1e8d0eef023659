//! Where the rows of one node are: on disk or in memory, behind the core's storage trait. Each machine has a handle of its
//! own with numbers of its own; what one fsync makes durable, it makes durable for all. Never decides what is written.

mod barrier;
mod btree;
mod directory;
mod disk;
mod engine;
mod lsm;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_core::storage::{Batch, MemoryStore, Page, PageLimit, Seq, Space, Storage, StorageError};

pub use directory::{DataDirectory, DirectoryError};
use disk::Disk;

use crate::config::{Durability, StorageKind};
use crate::metrics::StoreMeters;

/// What keeps rows on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEngine {
    /// A log-structured merge tree.
    Lsm,
    /// Copy-on-write B-trees.
    Btree,
}

impl DiskEngine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Lsm, Self::Btree];

    /// As it is written on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lsm => StorageKind::Lsm.as_str(),
            Self::Btree => StorageKind::Btree.as_str(),
        }
    }
}

/// Why a store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database inside it.
    #[error(
        "the database in {path} cannot be opened: {source}; if that does not go away, start this node with an empty --data-dir: \
         it pulls what the others have"
    )]
    Database {
        /// Where it is.
        path: String,
        /// What it said.
        source: StorageError,
    },
}

/// A machine's handle on the rows of its node. A clone is a handle for another machine, with numbers of its own.
#[derive(Clone)]
pub struct Store {
    rows: Rows,
    applied: Seq,
}

/// Where the rows are.
#[derive(Clone)]
enum Rows {
    Disk(Arc<Disk>),
    Memory(Arc<Mutex<MemoryStore>>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} store at {:?}", self.engine_name(), self.applied)
    }
}

impl Store {
    /// Opens the rows of a directory, and makes them if there are none; in memory the directory is left alone.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, kind: StorageKind, durability: Durability) -> Result<Self, OpenError> {
        let engine = match kind {
            StorageKind::Lsm => DiskEngine::Lsm,
            StorageKind::Btree => DiskEngine::Btree,
            StorageKind::Memory => return Ok(Self::in_memory()),
        };
        Ok(Self::on_disk(Disk::open(path, engine, durability)?))
    }

    fn on_disk(disk: Disk) -> Self {
        Self { rows: Rows::Disk(Arc::new(disk)), applied: Seq(0) }
    }

    /// Empty rows in memory, which end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { rows: Rows::Memory(Arc::default()), applied: Seq(0) }
    }

    /// Returns once everything that was applied before the call, by any handle, counts as written: as the durability of the
    /// store has it, and where the core promises something by it, on the disk.
    ///
    /// # Errors
    /// [`StorageError`]: nobody can know then what the disk has. The process must stop.
    pub fn settle(&self) -> Result<(), StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.settle(),
            // The rows end with the process whatever is done: there is nothing to wait for.
            Rows::Memory(_) => Ok(()),
        }
    }

    /// Returns once everything that was applied before the call, by any handle, is on the disk, whatever the durability.
    ///
    /// # Errors
    /// [`StorageError`]: nobody can know then what the disk has. The process must stop.
    pub fn sync(&self) -> Result<(), StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.sync(),
            Rows::Memory(_) => Ok(()),
        }
    }

    /// Why nothing can be written any more, if that is so. The process must stop.
    #[must_use]
    pub fn failure(&self) -> Option<&StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.failure(),
            Rows::Memory(_) => None,
        }
    }

    /// What people call the engine.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match &self.rows {
            Rows::Disk(disk) => disk.name(),
            Rows::Memory(_) => StorageKind::Memory.as_str(),
        }
    }

    /// When a write counts as written; nothing in memory, where none outlives the process.
    #[must_use]
    pub fn durability(&self) -> Option<Durability> {
        match &self.rows {
            Rows::Disk(disk) => Some(disk.durability()),
            Rows::Memory(_) => None,
        }
    }

    /// Bytes of its files; 0 in memory.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        match &self.rows {
            Rows::Disk(disk) => disk.disk_bytes(),
            Rows::Memory(_) => 0,
        }
    }

    /// Bytes left on the file system; nothing in memory, or where the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        match &self.rows {
            Rows::Disk(disk) => disk.free_bytes().ok(),
            Rows::Memory(_) => None,
        }
    }

    /// What it counts of its disk; nothing in memory.
    pub(crate) fn meters(&self) -> Option<StoreMeters> {
        match &self.rows {
            Rows::Disk(disk) => Some(disk.meters().clone()),
            Rows::Memory(_) => None,
        }
    }

    /// How many keys have a row, deleted ones included. Counting what was there at the start takes a while.
    #[must_use]
    pub fn keys(&self) -> u64 {
        match &self.rows {
            Rows::Disk(disk) => disk.keys(),
            Rows::Memory(rows) => u64::try_from(locked(rows).len(Space::Objects)).unwrap_or(u64::MAX),
        }
    }

    /// Rows of the operation log in the order of their numbers; none in memory.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn operations(&self) -> Result<Vec<(u64, Bytes)>, StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.operations(),
            Rows::Memory(_) => Ok(Vec::new()),
        }
    }

    /// Adds rows to the operation log and removes old ones; keeps none in memory.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn log_operations(&self, added: Vec<(u64, Bytes)>, removed: Vec<u64>) -> Result<(), StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.log_operations(added, removed),
            Rows::Memory(_) => Ok(()),
        }
    }
}

impl Storage for Store {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.get(space, key),
            Rows::Memory(rows) => locked(rows).get(space, key),
        }
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.scan(space, from, to, limit),
            Rows::Memory(rows) => locked(rows).scan(space, from, to, limit),
        }
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        match &self.rows {
            Rows::Disk(disk) => disk.apply(batch)?,
            Rows::Memory(rows) => {
                let mut rows = locked(rows);
                let seq = rows.apply(batch)?;
                // Nothing is ever taken back: a crash takes the whole process.
                rows.sync(seq);
            }
        }
        self.applied = Seq(self.applied.0 + 1);
        Ok(self.applied)
    }
}

fn locked(rows: &Mutex<MemoryStore>) -> MutexGuard<'_, MemoryStore> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
