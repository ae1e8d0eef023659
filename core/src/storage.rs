//! The storage trait and the in-memory store. A write is visible at once and promises nothing until the shell reports it
//! durable. Never decides what is written.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hash::StableHasher;

/// Numbers the batches of one store: everything up to a durable one is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// The rooms of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// What a machine must remember about itself: identity, members, layout, dot leases, sync progress.
    Meta,
    /// The objects: `position ‖ key` to a sibling set, so that ranges of the ring scan in order.
    Objects,
    /// Hints: what this store keeps for owners that could not be reached.
    Hints,
    /// The leaves of the hash trees over the objects.
    Tree,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Meta, Self::Objects, Self::Hints, Self::Tree];

    /// Its number in a hash of the state.
    const fn number(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Objects => 1,
            Self::Hints => 2,
            Self::Tree => 3,
        }
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub space: Space,
    /// Under which key.
    pub key: Bytes,
    /// The new row, or nothing to remove it.
    pub row: Option<Bytes>,
}

/// Changes that become visible, and durable, together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, in order; a later one of the same key wins.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, row: impl Into<Bytes>) {
        self.changes.push(Change { space, key: key.into(), row: Some(row.into()) });
    }

    /// Removes a row; removing none is fine.
    pub fn remove(&mut self, space: Space, key: impl Into<Bytes>) {
        self.changes.push(Change { space, key: key.into(), row: None });
    }
}

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows in the order of their keys.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Whether rows after the last one remain in the range.
    pub more: bool,
}

/// How much one scan may return: it stops at whichever comes first, but returns at least one row if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Most rows.
    pub rows: u32,
    /// Most bytes of keys and rows.
    pub bytes: u32,
}

/// What a store could not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StorageError {
    /// The row is there and does not match its checksum. Nothing was changed; a peer has a good copy.
    #[error("a stored row is damaged: {0}")]
    Corrupt(String),
    /// No room. Nothing was changed.
    #[error("the disk is full")]
    Full,
    /// The device or file system failed. Nothing of the batch is visible.
    #[error("storage failed: {0}")]
    Io(String),
}

/// A machine's own store. Calls are synchronous and fallible; durability is reported by the shell, as an input.
pub trait Storage {
    /// The row under a key, as of the last applied batch.
    ///
    /// # Errors
    /// [`StorageError`]; an error is never an absence.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Rows from `from` (included) to `to` (excluded; `None` is the end), in order.
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError>;

    /// Makes a batch visible, all of it or nothing, and numbers it. It is not yet durable.
    ///
    /// # Errors
    /// [`StorageError`]; nothing of the batch is visible then.
    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError>;
}

/// The key of a row. A short one lies in the map itself, so that a search does not follow a pointer at every step.
#[derive(Clone, Debug)]
enum RowKey {
    Short { length: u8, bytes: [u8; SHORT_KEY_BYTES] },
    Long(Bytes),
}

/// As many as make no map larger.
const SHORT_KEY_BYTES: usize = 30;

impl From<Bytes> for RowKey {
    fn from(key: Bytes) -> Self {
        match u8::try_from(key.len()) {
            Ok(length) if key.len() <= SHORT_KEY_BYTES => {
                let mut bytes = [0; SHORT_KEY_BYTES];
                bytes[..key.len()].copy_from_slice(&key);
                Self::Short { length, bytes }
            }
            _ => Self::Long(key),
        }
    }
}

impl Borrow<[u8]> for RowKey {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RowKey {}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        Borrow::<[u8]>::borrow(self).cmp(other.borrow())
    }
}

/// A store in memory, exact about what a crash may take: rows are durable only up to the last [`MemoryStore::sync`].
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// By the space's number: a row is found by its borrowed key, which a key of space and bytes would not allow.
    spaces: [BTreeMap<RowKey, Bytes>; Space::ALL.len()],
    /// What a crash brings back: for each batch since the last sync, the rows as they were before it.
    undo: VecDeque<(Seq, Vec<Change>)>,
    applied: Seq,
    durable: Seq,
}

impl MemoryStore {
    /// Makes everything up to `upto` durable, and says how far durability reaches now.
    pub fn sync(&mut self, upto: Seq) -> Seq {
        self.durable = self.durable.max(upto.min(self.applied));
        while self.undo.front().is_some_and(|(seq, _)| *seq <= self.durable) {
            self.undo.pop_front();
        }
        self.durable
    }

    /// Takes back everything that was never made durable, as a crash does.
    pub fn crash(&mut self) {
        self.crash_keeping(0);
    }

    /// As [`MemoryStore::crash`], but the disk had got as far as so many of the batches that nobody was told are durable.
    pub fn crash_keeping(&mut self, batches: usize) {
        while self.undo.len() > batches {
            let (_, changes) = self.undo.pop_back().expect("it is longer than that");
            for change in changes.into_iter().rev() {
                self.set(change);
            }
        }
        self.durable = self.undo.back().map_or(self.durable, |(seq, _)| *seq);
        self.applied = self.durable;
        self.undo.clear();
    }

    /// How many batches a crash may take back.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.undo.len()
    }

    /// Whether a crash leaves the row as it is now.
    #[must_use]
    pub fn is_durable(&self, space: Space, key: &[u8]) -> bool {
        let wrote = |change: &Change| change.space == space && change.key == key;
        !self.undo.iter().any(|(_, changes)| changes.iter().any(wrote))
    }

    /// How many rows a space has.
    #[must_use]
    pub fn len(&self, space: Space) -> usize {
        self.space(space).len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spaces.iter().all(BTreeMap::is_empty)
    }

    /// Puts every row into a hash of the state.
    pub fn hash_into(&self, hasher: &mut StableHasher) {
        for space in Space::ALL {
            for (key, row) in self.rows(space) {
                hasher.u8(space.number());
                hasher.bytes(key);
                hasher.bytes(row);
            }
        }
    }

    /// Carries out a change, and gives back the row that was there.
    fn set(&mut self, change: Change) -> Option<Bytes> {
        let rows = &mut self.spaces[usize::from(change.space.number())];
        match change.row {
            Some(row) => rows.insert(change.key.into(), row),
            None => rows.remove(&change.key[..]),
        }
    }

    /// The rows of a space, in the order of their keys.
    pub fn rows(&self, space: Space) -> impl Iterator<Item = (&[u8], &Bytes)> + Clone {
        self.space(space).iter().map(|(key, row)| (key.borrow(), row))
    }

    fn space(&self, space: Space) -> &BTreeMap<RowKey, Bytes> {
        &self.spaces[usize::from(space.number())]
    }

    /// Puts other bytes in the place of a row, as a failing device does: no batch, no number, nothing to take back.
    pub fn damage(&mut self, space: Space, key: &[u8], row: Bytes) {
        if let Some(stored) = self.spaces[usize::from(space.number())].get_mut(key) {
            *stored = row;
        }
    }
}

impl Storage for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.space(space).get(key).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        let mut page = Page::default();
        let mut bytes = 0_u64;
        for (key, row) in self.space(space).range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            let key: &[u8] = key.borrow();
            if to.is_some_and(|to| key >= to) {
                break;
            }
            let size = u64::try_from(key.len() + row.len()).expect("a length fits 64 bits");
            let rows = u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
            if rows > 0 && (rows >= limit.rows || bytes + size > u64::from(limit.bytes)) {
                page.more = true;
                break;
            }
            bytes += size;
            page.rows.push((Bytes::copy_from_slice(key), row.clone()));
        }
        Ok(page)
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        self.applied = Seq(self.applied.0 + 1);
        let mut undo = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            let (space, key) = (change.space, change.key.clone());
            let row = self.set(change);
            undo.push(Change { space, key, row });
        }
        self.undo.push_back((self.applied, undo));
        Ok(self.applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut MemoryStore, key: &'static str, row: &'static str) -> Seq {
        let mut batch = Batch::default();
        batch.put(Space::Objects, key, row);
        store.apply(batch).expect("memory does not fail")
    }

    fn get(store: &MemoryStore, key: &str) -> Option<Bytes> {
        store.get(Space::Objects, key.as_bytes()).expect("memory does not fail")
    }

    #[test]
    fn a_crash_takes_what_was_not_durable_and_nothing_else() {
        let mut store = MemoryStore::default();
        let first = put(&mut store, "a", "1");
        put(&mut store, "b", "1");
        put(&mut store, "a", "2");
        assert_eq!(store.sync(first), first);
        assert_eq!(get(&store, "a").as_deref(), Some(&b"2"[..]));
        store.crash();
        assert_eq!(get(&store, "a").as_deref(), Some(&b"1"[..]));
        assert_eq!(get(&store, "b"), None);
        assert!(put(&mut store, "c", "1") > first);
    }

    #[test]
    fn a_crash_may_leave_a_beginning_of_what_nobody_was_told_is_durable() {
        for survivors in 0..4 {
            let mut store = MemoryStore::default();
            let first = put(&mut store, "a", "0");
            store.sync(first);
            for row in ["1", "2", "3"] {
                put(&mut store, "a", row);
            }
            assert_eq!((store.pending(), store.is_durable(Space::Objects, b"a")), (3, false));
            store.crash_keeping(survivors);
            assert_eq!(get(&store, "a"), Some(Bytes::from(alloc::format!("{survivors}"))));
            assert_eq!((store.pending(), store.is_durable(Space::Objects, b"a")), (0, true));
            store.crash();
            assert_eq!(get(&store, "a"), Some(Bytes::from(alloc::format!("{survivors}"))), "what survived is durable");
        }
    }

    #[test]
    fn short_and_long_keys_are_in_one_order() {
        let mut store = MemoryStore::default();
        let (short, longest, long) = ("a".repeat(29), "a".repeat(SHORT_KEY_BYTES), "a".repeat(31));
        for key in [&long, "b", &short, &longest] {
            let mut batch = Batch::default();
            batch.put(Space::Objects, String::from(key), String::from(key));
            store.apply(batch).expect("memory does not fail");
        }
        let names: Vec<_> = store.rows(Space::Objects).map(|(key, _)| key).collect();
        assert_eq!(names, [short.as_bytes(), longest.as_bytes(), long.as_bytes(), b"b"]);
        for key in [&short, &longest, &long] {
            assert_eq!(get(&store, key).as_deref(), Some(key.as_bytes()));
        }
    }

    #[test]
    fn a_scan_is_ordered_bounded_and_stays_in_its_space() {
        let mut store = MemoryStore::default();
        for key in ["b", "a", "c", "d"] {
            put(&mut store, key, "x");
        }
        let scan = |from: &str, to: Option<&str>, rows| {
            let limit = PageLimit { rows, bytes: 1_000 };
            let page = store.scan(Space::Objects, from.as_bytes(), to.map(str::as_bytes), limit).expect("works");
            let keys: Vec<_> = page.rows.iter().map(|(key, _)| key.clone()).collect();
            (keys, page.more)
        };
        assert_eq!(scan("a", None, 10), (alloc::vec!["a".into(), "b".into(), "c".into(), "d".into()], false));
        assert_eq!(scan("b", Some("d"), 10), (alloc::vec!["b".into(), "c".into()], false));
        assert_eq!(scan("a", None, 2), (alloc::vec!["a".into(), "b".into()], true));
        let small = store.scan(Space::Objects, b"a", None, PageLimit { rows: 9, bytes: 0 }).expect("works");
        assert_eq!(small.rows.len(), 1);
        let meta = store.scan(Space::Meta, b"", None, PageLimit { rows: 9, bytes: 9 }).expect("works");
        assert!(meta.rows.is_empty());
    }
}
