//! What a store on disk asks of an engine: tables of rows, batches that are whole or absent, and the steps that bring them
//! to the disk. An engine never decides when to take such a step, nor what is written.

use bytes::Bytes;
use quorate_core::storage::{Page, PageLimit, Space, StorageError};

/// The tables of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Meta,
    Objects,
    Hints,
    Tree,
    /// The log of operations, which is none of the core's.
    Operations,
}

impl Table {
    pub(super) const ALL: [Self; 5] = [Self::Meta, Self::Objects, Self::Hints, Self::Tree, Self::Operations];

    /// Its name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Objects => "objects",
            Self::Hints => "hints",
            Self::Tree => "tree",
            Self::Operations => "operations",
        }
    }
}

impl From<Space> for Table {
    fn from(space: Space) -> Self {
        match space {
            Space::Meta => Self::Meta,
            Space::Objects => Self::Objects,
            Space::Hints => Self::Hints,
            Space::Tree => Self::Tree,
        }
    }
}

/// A row to be set, or removed if there is none.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Bytes,
    pub(super) row: Option<Bytes>,
}

/// Counts rows, which may take as long as reading them.
pub(super) type Count = Box<dyn FnOnce() -> Result<u64, StorageError> + Send>;

/// An open database. Used by many threads at once. Every error is a [`StorageError`] as the core has them.
pub(super) trait Engine: Send + Sync {
    /// The row under a key, as of the last batch.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Whether there is one.
    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, StorageError>;

    /// Rows from `from` (included) to `to` (excluded; none is the end), in order.
    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError>;

    /// Makes a batch visible, all of it or nothing; a later write of the same key wins. A crash leaves a beginning of what
    /// was written, batch by batch, and at least what the disk was last made to have.
    ///
    /// An error means that nobody knows what the journal holds: nothing may be written after it.
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError>;

    /// Returns once the operating system has everything that was written before the call: it outlives the process.
    fn flush(&self) -> Result<(), StorageError>;

    /// Returns once the disk has it: it outlives a power cut.
    fn sync(&self) -> Result<(), StorageError>;

    /// Counts the rows that a table has at the moment of the call, and not at that of the counting.
    fn count(&self, table: Table) -> Result<Count, StorageError>;

    /// Bytes of all files.
    fn disk_bytes(&self) -> u64;
}

/// The first of some rows, as far as the limit goes.
pub(super) fn page(
    rows: impl Iterator<Item = Result<(Bytes, Bytes), StorageError>>,
    limit: PageLimit,
) -> Result<Page, StorageError> {
    let mut page = Page::default();
    let mut bytes = 0_u64;
    for row in rows {
        let (key, row) = row?;
        bytes += u64::try_from(key.len() + row.len()).expect("a length fits 64 bits");
        let count = u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
        if count > 0 && (count >= limit.rows || bytes > u64::from(limit.bytes)) {
            page.more = true;
            break;
        }
        page.rows.push((key, row));
    }
    Ok(page)
}
