//! Where the rows of one node are: on disk or in memory, behind the core's storage trait. Each machine has a handle of its
//! own with numbers of its own; what one fsync makes durable, it makes durable for all. Never decides what is written.

mod barrier;
mod directory;
mod lsm;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prometheus::Histogram;
use quorate_core::storage::{Batch, MemoryStore, Page, PageLimit, Seq, Space, Storage, StorageError};

pub use directory::{DataDirectory, DirectoryError};
use lsm::Lsm;

/// Why a store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database inside it.
    #[error("the database in {path} cannot be opened: {source}")]
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
    engine: Engine,
    applied: Seq,
}

#[derive(Clone)]
enum Engine {
    Lsm(Arc<Lsm>),
    Memory(Arc<Mutex<MemoryStore>>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} store at {:?}", self.engine_name(), self.applied)
    }
}

impl Store {
    /// Opens the rows of a directory, and makes them if there are none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = DataDirectory::open(path, Lsm::make)?;
        let lsm =
            Lsm::open(directory).map_err(|source| OpenError::Database { path: path.display().to_string(), source })?;
        Ok(Self { engine: Engine::Lsm(Arc::new(lsm)), applied: Seq(0) })
    }

    /// Empty rows in memory, which end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { engine: Engine::Memory(Arc::default()), applied: Seq(0) }
    }

    /// Returns once everything that was applied before the call, by any handle, survives a crash.
    ///
    /// # Errors
    /// [`StorageError`]: nobody can know then what the disk has. The process must stop.
    pub fn sync(&self) -> Result<(), StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.sync(),
            // The rows end with the process whatever is done: there is nothing to wait for.
            Engine::Memory(_) => Ok(()),
        }
    }

    /// Why nothing can be written any more, if that is so. The process must stop.
    #[must_use]
    pub fn failure(&self) -> Option<&StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.failure(),
            Engine::Memory(_) => None,
        }
    }

    /// What people call the engine.
    #[must_use]
    pub const fn engine_name(&self) -> &'static str {
        match self.engine {
            Engine::Lsm(_) => "lsm",
            Engine::Memory(_) => "memory",
        }
    }

    /// Bytes of its files; 0 in memory.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.disk_bytes(),
            Engine::Memory(_) => 0,
        }
    }

    /// Bytes left on the file system; nothing in memory, or where the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.free_bytes().ok(),
            Engine::Memory(_) => None,
        }
    }

    /// How long its fsyncs took; nothing in memory.
    pub(crate) fn fsync_meter(&self) -> Option<Histogram> {
        match &self.engine {
            Engine::Lsm(lsm) => Some(lsm.fsync_meter().clone()),
            Engine::Memory(_) => None,
        }
    }

    /// How many keys have a row, deleted ones included. Counting what was there at the start takes a while.
    #[must_use]
    pub fn keys(&self) -> u64 {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.keys(),
            Engine::Memory(rows) => u64::try_from(locked(rows).len(Space::Objects)).unwrap_or(u64::MAX),
        }
    }

    /// Rows of the operation log in the order of their numbers; none in memory.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn operations(&self) -> Result<Vec<(u64, Bytes)>, StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.operations(),
            Engine::Memory(_) => Ok(Vec::new()),
        }
    }

    /// Adds rows to the operation log and removes old ones; keeps none in memory.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn log_operations(&self, added: Vec<(u64, Bytes)>, removed: Vec<u64>) -> Result<(), StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.log_operations(added, removed),
            Engine::Memory(_) => Ok(()),
        }
    }
}

impl Storage for Store {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.get(space, key),
            Engine::Memory(rows) => locked(rows).get(space, key),
        }
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.scan(space, from, to, limit),
            Engine::Memory(rows) => locked(rows).scan(space, from, to, limit),
        }
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        match &self.engine {
            Engine::Lsm(lsm) => lsm.apply(batch)?,
            Engine::Memory(rows) => {
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
