//! When room runs out: what is refused, and what goes on. Nobody fills a disk here: the store is told how full it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn put(space: Space, key: &'static str) -> Batch {
    let mut batch = Batch::default();
    batch.put(space, key, "row");
    batch
}

#[test]
fn a_full_disk_takes_what_frees_room_and_what_a_machine_remembers_of_itself() {
    let root = tempfile::tempdir().expect("a directory");
    for engine in DiskEngine::ALL {
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let disk = Disk::open(&root.path().join(engine.as_str()), engine, Durability::Sync).expect("opens");
        let told = free.clone();
        let mut store = Store::on_disk(disk.with_free_bytes(Box::new(move || Ok(told.load(Ordering::SeqCst)))));
        store.apply(put(Space::Objects, "old")).expect("there is room");
        free.store(1_024, Ordering::SeqCst);
        for space in [Space::Objects, Space::Hints] {
            assert_eq!(store.apply(put(space, "new")), Err(StorageError::Full));
            assert_eq!(store.get(space, b"new"), Ok(None), "nothing of it is there");
        }
        store.apply(put(Space::Meta, "lease")).expect("the reserve");
        assert_eq!(store.get(Space::Objects, b"old"), Ok(Some("row".into())));
        let mut removal = Batch::default();
        removal.remove(Space::Objects, "old");
        store.apply(removal).expect("it frees room");
        assert_eq!((store.settle(), store.failure()), (Ok(()), None), "nothing has failed");
        free.store(u64::MAX, Ordering::SeqCst);
        store.apply(put(Space::Objects, "new")).expect("there is room again");
    }
}

#[test]
fn a_disk_that_cannot_say_how_full_it_is_takes_no_objects() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = Disk::open(root.path(), DiskEngine::Lsm, Durability::Sync).expect("opens");
    let failing = || StorageError::Io("no answer".into());
    let mut store = Store::on_disk(disk.with_free_bytes(Box::new(move || Err(failing()))));
    assert_eq!(store.apply(put(Space::Objects, "new")), Err(failing()));
    assert_eq!(store.free_bytes(), None);
}
