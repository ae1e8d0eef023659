//! Bits that flip in files: they are found, counted, and overwritten by what heals them.

use std::fs;
use std::path::PathBuf;

use super::super::engine::{Engine as _, Table, Write};
use super::super::lsm::Lsm;
use super::*;

/// Long enough that no two share a block.
fn row(number: u8) -> Vec<u8> {
    noise(number.into(), 5_000)
}

fn put(number: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::Objects, vec![number], row(number));
    batch
}

/// Flips a bit of a row in all files that are no journal, and says in how many.
fn flip(directory: PathBuf, row: &[u8]) -> usize {
    let mut flipped = 0;
    for entry in fs::read_dir(directory).expect("lists") {
        let path = entry.expect("reads").path();
        if path.is_dir() {
            flipped += flip(path, row);
        } else if path.extension().is_none_or(|extension| extension != "jnl") {
            let mut content = fs::read(&path).expect("reads");
            if let Some(at) = content.windows(64).position(|window| window == &row[1_000..1_064]) {
                content[at] ^= 1;
                fs::write(path, content).expect("writes");
                flipped += 1;
            }
        }
    }
    flipped
}

#[test]
fn a_damaged_block_is_found_and_counted_and_can_be_overwritten() {
    let root = tempfile::tempdir().expect("a directory");
    damaged(root.path());
    let mut store = open(root.path(), StorageKind::Lsm);
    let get = |store: &Store, number: u8| store.get(Space::Objects, &[number]);
    let is_damaged = |found: Result<Option<Bytes>, _>| matches!(found, Err(StorageError::Corrupt(_)));
    assert!(is_damaged(get(&store, 3)), "{:?}", get(&store, 3));
    assert_eq!(get(&store, 0), Ok(Some(row(0).into())));
    assert_eq!(get(&store, 7), Ok(Some(row(7).into())));
    assert!(store.meters().expect("a disk").damaged_reads.get() > 0);
    store.apply(put(3)).expect("what heals it is taken");
    assert_eq!(get(&store, 3), Ok(Some(row(3).into())));
    assert_eq!(store.failure(), None);
}

/// A store with a damaged table, and nothing of it in the journal.
fn damaged(root: &Path) {
    let mut store = open(root, StorageKind::Lsm);
    for number in 0..8 {
        store.apply(put(number)).expect("applies");
    }
    store.sync().expect("syncs");
    drop(store);
    Lsm::open(&root.join("store")).expect("opens").write_table(Table::Objects);
    assert_eq!(flip(root.join("store"), &row(3)), 1);
}

#[test]
fn a_compaction_that_meets_damage_ends_the_store() {
    let root = tempfile::tempdir().expect("a directory");
    damaged(root.path());
    let engine = Lsm::open(&root.path().join("store")).expect("opens");
    let refused = (0..100).find_map(|number: u8| {
        let write = Write { table: Table::Objects, key: vec![number].into(), row: Some(row(number).into()) };
        let refused = engine.write(vec![write]).err();
        if refused.is_none() {
            engine.write_table(Table::Objects);
        }
        refused
    });
    assert!(refused.is_some_and(|error| error.to_string().contains("could not be compacted")));
}

#[test]
fn an_engine_that_compares_no_checksums_shows_damage_to_whoever_sealed_the_row() {
    let root = tempfile::tempdir().expect("a directory");
    let mut store = open(root.path(), StorageKind::Btree);
    for number in 0..8 {
        store.apply(put(number)).expect("applies");
    }
    store.sync().expect("syncs");
    drop(store);
    assert_eq!(flip(root.path().join("store"), &row(3)), 1);
    let store = open(root.path(), StorageKind::Btree);
    let found = store.get(Space::Objects, &[3]).expect("reads").expect("is there");
    assert_eq!(found.len(), row(3).len());
    assert_ne!(found, row(3));
    assert_eq!(store.get(Space::Objects, &[2]), Ok(Some(row(2).into())));
}
