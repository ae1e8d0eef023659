//! A simulated disk: a store in memory that can fail in the ways disks do. It never decides when; and it never fails what
//! a real machine keeps a reserve for.

use bytes::Bytes;

use crate::rng::Rng;
use crate::storage::{Batch, MemoryStore, Page, PageLimit, Seq, Space, Storage, StorageError};

/// Where bits rot: what a machine remembers of itself is small, and kept by other means.
const ROTTING: [Space; 3] = [Space::Objects, Space::Hints, Space::Tree];

/// One store of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct SimStore {
    memory: MemoryStore,
    pub(super) unreadable: bool,
    pub(super) full: bool,
}

/// A row whose bytes are about to change.
#[derive(Clone, Debug)]
pub(super) struct Rotting {
    pub(super) space: Space,
    pub(super) key: Bytes,
    row: Bytes,
}

impl SimStore {
    /// A store with these rows.
    pub(super) const fn of(memory: MemoryStore) -> Self {
        Self { memory, unreadable: false, full: false }
    }

    /// The rows.
    pub(super) const fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// The rows, to be damaged by hand.
    pub(super) const fn memory_mut(&mut self) -> &mut MemoryStore {
        &mut self.memory
    }

    /// Makes everything up to a batch durable; says how far durability reaches.
    pub(super) fn sync(&mut self, upto: Seq) -> Seq {
        self.memory.sync(upto)
    }

    /// Loses power. Of what was not durable, a beginning may have got to the disk, and the batch after it is torn: its
    /// checksum says so, and it is dropped whole. Says whether that was so.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> bool {
        let pending = u64::try_from(self.memory.pending()).expect("a length fits 64 bits");
        let survivors = if rng.chance(500_000) { rng.below(pending + 1) } else { 0 };
        self.memory.crash_keeping(usize::try_from(survivors).expect("no more than a length"));
        0 < survivors && survivors < pending
    }

    /// What would be found after a crash now.
    pub(super) fn durable_copy(&self) -> MemoryStore {
        let mut copy = self.memory.clone();
        copy.crash();
        copy
    }

    /// Chooses the row that rots, and how; nothing if there is none.
    pub(super) fn choose_rot(&self, rng: &mut Rng) -> Option<Rotting> {
        let (space_draw, row_draw, byte_draw, bit) = (rng.u64(), rng.u64(), rng.u64(), rng.below(8));
        let filled = ROTTING.into_iter().filter(|space| self.memory.len(*space) > 0);
        let space = nth(filled, space_draw)?;
        let (key, row) = nth(self.memory.rows(space), row_draw)?;
        let length = u64::try_from(row.len()).expect("a length fits 64 bits");
        let at = usize::try_from(byte_draw.checked_rem(length)?).expect("below a length");
        let mut rotten = row.to_vec();
        rotten[at] ^= 1 << bit;
        Some(Rotting { space, key: Bytes::copy_from_slice(key), row: rotten.into() })
    }

    /// Lets it rot.
    pub(super) fn rot(&mut self, rotting: Rotting) {
        self.memory.damage(rotting.space, &rotting.key, rotting.row);
    }
}

/// The element that a draw stands for.
fn nth<T>(items: impl Iterator<Item = T> + Clone, draw: u64) -> Option<T> {
    let count = u64::try_from(items.clone().count()).expect("a length fits 64 bits");
    items.into_iter().nth(usize::try_from(draw.checked_rem(count)?).expect("below a length"))
}

fn failing() -> StorageError {
    StorageError::Io("the simulated disk cannot read".into())
}

impl Storage for SimStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if self.unreadable { Err(failing()) } else { self.memory.get(space, key) }
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: PageLimit) -> Result<Page, StorageError> {
        if self.unreadable { Err(failing()) } else { self.memory.scan(space, from, to, limit) }
    }

    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        let grows = |space| matches!(space, Space::Objects | Space::Hints);
        if self.full && batch.changes.iter().any(|change| change.row.is_some() && grows(change.space)) {
            return Err(StorageError::Full);
        }
        self.memory.apply(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(space: Space, key: &'static str) -> Batch {
        let mut batch = Batch::default();
        batch.put(space, key, "row");
        batch
    }

    #[test]
    fn a_full_disk_takes_what_frees_room_and_what_a_machine_remembers_of_itself() {
        let mut store = SimStore::default();
        store.apply(put(Space::Objects, "old")).expect("there is room");
        store.full = true;
        for (space, result) in [(Space::Objects, Err(StorageError::Full)), (Space::Hints, Err(StorageError::Full))] {
            assert_eq!(store.apply(put(space, "new")), result);
        }
        store.apply(put(Space::Meta, "lease")).expect("the reserve");
        let mut removal = Batch::default();
        removal.remove(Space::Objects, "old");
        store.apply(removal).expect("it frees room");
        assert_eq!(store.memory().len(Space::Objects), 0);
    }

    #[test]
    fn a_disk_that_cannot_read_says_so_and_never_that_nothing_is_there() {
        let mut store = SimStore::default();
        store.apply(put(Space::Objects, "a")).expect("there is room");
        store.unreadable = true;
        assert!(store.get(Space::Objects, b"a").is_err());
        let all = PageLimit { rows: 9, bytes: 99 };
        assert!(store.scan(Space::Objects, b"", None, all).is_err());
        store.unreadable = false;
        assert!(store.get(Space::Objects, b"a").expect("it reads").is_some());
    }

    #[test]
    fn rot_changes_one_bit_of_one_row_and_never_of_what_a_machine_remembers_of_itself() {
        let mut rng = Rng::labelled(1, "rot");
        let mut store = SimStore::default();
        store.apply(put(Space::Meta, "lease")).expect("there is room");
        assert!(store.choose_rot(&mut rng).is_none());
        store.apply(put(Space::Objects, "a")).expect("there is room");
        store.apply(put(Space::Hints, "b")).expect("there is room");
        for _ in 0..100 {
            let mut rotten = store.clone();
            let rotting = rotten.choose_rot(&mut rng).expect("there are rows");
            rotten.rot(rotting.clone());
            let found = rotten.get(rotting.space, &rotting.key).expect("it reads").expect("it is there");
            let changed: u32 = found.iter().zip(b"row").map(|(one, other)| (one ^ other).count_ones()).sum();
            assert_eq!(changed, 1);
            assert_eq!(rotten.get(Space::Meta, b"lease").expect("it reads").as_deref(), Some(&b"row"[..]));
        }
    }

    #[test]
    fn a_crash_leaves_nothing_a_beginning_or_all_of_what_was_not_durable() {
        let mut rng = Rng::labelled(1, "crash");
        let mut left = [0; 4];
        for _ in 0..1_000 {
            let mut store = SimStore::default();
            for key in ["a", "b", "c"] {
                store.apply(put(Space::Objects, key)).expect("there is room");
            }
            let torn = store.crash(&mut rng);
            let rows = store.memory().len(Space::Objects);
            let names: alloc::vec::Vec<_> = store.memory().rows(Space::Objects).map(|(key, _)| key).collect();
            assert_eq!(names, [b"a", b"b", b"c"][..rows], "a beginning");
            assert_eq!(torn, rows == 1 || rows == 2);
            left[rows] += 1;
        }
        assert!(left.iter().all(|count| *count > 50), "{left:?}");
    }
}
