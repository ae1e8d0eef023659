//! An engine: a log-structured merge tree (fjall). One journal serves all tables, so one fsync does too. Cheap to write;
//! a read may look into several files. Blocks of its tables carry checksums, which every read compares. Before a table is
//! written from memory the journal is fsynced, so that no table is ahead of what is durable.
//!
//! A start reads the journal up to the first batch that is not whole, which is where a crash ended it. If the end of that
//! batch is there and its middle is not, as a power cut may leave a large one that was not fsynced, the start is refused.
//!
//! A damaged block gives errors to whoever reads or scans it, and new rows take the place of those in it. A compaction that
//! meets it ends the engine, and so the node: then it is to be started with an empty directory.

use std::io;
use std::path::Path;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable as _};
use quorate_core::storage::{Page, PageLimit, StorageError};

use super::engine::{self, Count, Engine, Table, Write};
use crate::descriptors::TABLES_MAX;

/// Blocks of tables kept in memory, in bytes.
const CACHE_BYTES: u64 = 256 * 1_024 * 1_024;

/// One open database.
pub(super) struct Lsm {
    database: Database,
    meta: Keyspace,
    objects: Keyspace,
    hints: Keyspace,
    tree: Keyspace,
    operations: Keyspace,
}

impl Lsm {
    /// Opens the database in a directory.
    pub(super) fn open(store: &Path) -> Result<Self, StorageError> {
        let database = open_database(store).map_err(from_fjall)?;
        let keyspace =
            |table: Table| database.keyspace(table.name(), KeyspaceCreateOptions::default).map_err(from_fjall);
        Ok(Self {
            meta: keyspace(Table::Meta)?,
            objects: keyspace(Table::Objects)?,
            hints: keyspace(Table::Hints)?,
            tree: keyspace(Table::Tree)?,
            operations: keyspace(Table::Operations)?,
            database,
        })
    }

    /// Makes the files of an empty database.
    pub(super) fn make(store: &Path) -> io::Result<()> {
        open_database(store).map(drop).map_err(|error| match error {
            fjall::Error::Io(error) => error,
            other => io::Error::other(other),
        })
    }

    const fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Meta => &self.meta,
            Table::Objects => &self.objects,
            Table::Hints => &self.hints,
            Table::Tree => &self.tree,
            Table::Operations => &self.operations,
        }
    }

    /// Moves what is in memory to a table, where reads compare checksums.
    #[cfg(test)]
    pub(super) fn write_table(&self, table: Table) {
        self.keyspace(table).rotate_memtable_and_wait().expect("it is written");
    }
}

impl Engine for Lsm {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let row = self.keyspace(table).get(key).map_err(from_fjall)?;
        Ok(row.map(Bytes::from))
    }

    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, StorageError> {
        self.keyspace(table).contains_key(key).map_err(from_fjall)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        let keyspace = self.keyspace(table);
        let rows = match to {
            Some(to) if to <= from => return Ok(Page::default()),
            Some(to) => keyspace.range(from..to),
            None => keyspace.range(from..),
        };
        let plain = |row: fjall::Guard| row.into_inner().map(|(key, row)| (key.into(), row.into()));
        engine::page(rows.map(|row| plain(row).map_err(from_fjall)), limit)
    }

    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        let mut writes = self.database.batch();
        for Write { table, key, row } in batch {
            match row {
                Some(row) => writes.insert(self.keyspace(table), key, row),
                None => writes.remove(self.keyspace(table), key),
            }
        }
        writes.commit().map_err(from_fjall)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.database.persist(PersistMode::Buffer).map_err(from_fjall)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.database.persist(PersistMode::SyncData).map_err(from_fjall)
    }

    fn count(&self, table: Table) -> Result<Count, StorageError> {
        let (snapshot, keyspace) = (self.database.snapshot(), self.keyspace(table).clone());
        Ok(Box::new(move || {
            let count = snapshot.len(&keyspace).map_err(from_fjall)?;
            Ok(u64::try_from(count).expect("a count fits 64 bits"))
        }))
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }
}

fn open_database(store: &Path) -> fjall::Result<Database> {
    // Batches stay in the process until a step asks for them: each begins with handing them over.
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
        error @ fjall::Error::JournalRecovery(_) => StorageError::Corrupt(error.to_string()),
        fjall::Error::Poisoned => StorageError::Io(
            "an earlier write failed, or a damaged file could not be compacted: nothing is accepted any more".into(),
        ),
        error => StorageError::Io(error.to_string()),
    }
}
