//! An engine: copy-on-write B-trees in one file (redb). A read looks into one tree and waits for nobody; writes take turns,
//! and so do those that wait for the disk.
//!
//! A batch is a transaction that is not made durable: it is visible at once, whole or absent, and stays in the process. A
//! sync is a durable transaction with nothing in it, which takes all of them along: that is the group commit. What it costs
//! beside the engine with a journal: every page on the way to a changed row is written, not the row alone; a durable
//! transaction fsyncs twice, because it keeps the map of free pages with it, without which a start after a crash reads the
//! whole file; and there is nothing between the process and the disk, so whoever asks for the operating system gets the
//! disk.
//!
//! Pages carry checksums, but a read does not compare them: what the core seals, it finds damaged by itself.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_core::storage::{Page, PageLimit, StorageError};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};

use super::engine::{self, Count, Engine, Table, Write};

/// Pages kept in memory, in bytes.
const CACHE_BYTES: usize = 256 * 1_024 * 1_024;
/// The one file.
const FILE: &str = "rows.redb";

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// One open database.
pub(super) struct Btree {
    database: Database,
    file: PathBuf,
}

impl Btree {
    /// Opens the database in a directory.
    pub(super) fn open(store: &Path) -> Result<Self, StorageError> {
        let file = store.join(FILE);
        let opened = Database::builder().set_cache_size(CACHE_BYTES).open(&file);
        let database = opened.map_err(from_redb)?;
        Ok(Self { database, file })
    }

    /// Makes the file of an empty database.
    pub(super) fn make(store: &Path) -> io::Result<()> {
        fs::create_dir(store)?;
        let made = Database::create(store.join(FILE)).map_err(redb::Error::from);
        made.and_then(|database| make_tables(&database)).map_err(|error| match error {
            redb::Error::Io(error) => error,
            other => io::Error::other(other),
        })?;
        File::open(store)?.sync_all()
    }

    /// A database in whatever stands for a file, made if it is empty.
    #[cfg(test)]
    pub(super) fn in_file(file: impl redb::StorageBackend) -> Result<Self, redb::Error> {
        let database = Database::builder().create_with_backend(file)?;
        make_tables(&database)?;
        Ok(Self { database, file: PathBuf::new() })
    }

    fn table(&self, table: Table) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, StorageError> {
        self.database.begin_read().map_err(from_redb)?.open_table(definition(table)).map_err(from_redb)
    }
}

impl Engine for Btree {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let row = self.table(table)?.get(key).map_err(from_redb)?;
        Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
    }

    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, StorageError> {
        Ok(self.table(table)?.get(key).map_err(from_redb)?.is_some())
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        let table = self.table(table)?;
        let rows = match to {
            Some(to) if to <= from => return Ok(Page::default()),
            Some(to) => table.range(from..to),
            None => table.range(from..),
        };
        let copied = rows.map_err(from_redb)?.map(|row| {
            let (key, row) = row.map_err(from_redb)?;
            Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(row.value())))
        });
        engine::page(copied, limit)
    }

    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        let mut transaction = self.database.begin_write().map_err(from_redb)?;
        transaction.set_durability(Durability::None).map_err(from_redb)?;
        for Write { table, key, row } in batch {
            let mut rows = transaction.open_table(definition(table)).map_err(from_redb)?;
            match row {
                Some(row) => rows.insert(&key[..], &row[..]).map(drop),
                None => rows.remove(&key[..]).map(drop),
            }
            .map_err(from_redb)?;
        }
        transaction.commit().map_err(from_redb)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.sync()
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut transaction = self.database.begin_write().map_err(from_redb)?;
        transaction.set_quick_repair(true);
        transaction.commit().map_err(from_redb)
    }

    fn count(&self, table: Table) -> Result<Count, StorageError> {
        let count = self.table(table)?.len().map_err(from_redb)?;
        Ok(Box::new(move || Ok(count)))
    }

    fn disk_bytes(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }
}

/// Makes the tables that are not there yet.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    for table in Table::ALL {
        transaction.open_table(definition(table))?;
    }
    transaction.set_quick_repair(true);
    Ok(transaction.commit()?)
}

fn from_redb(error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => StorageError::Full,
        redb::Error::Corrupted(reason) => StorageError::Corrupt(reason),
        redb::Error::PreviousIo => {
            StorageError::Io("an earlier read or write of the file failed, so nothing more is accepted".into())
        }
        error => StorageError::Io(error.to_string()),
    }
}
