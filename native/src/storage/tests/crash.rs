//! Crashes: the files of a store that is at work are copied as the operating system has them, which is what a killed
//! process leaves, and the copy is opened. A power cut leaves less: the end of a journal, from where it was fsynced last, is
//! cut off anywhere.

use std::fs;
use std::path::PathBuf;

use quorate_core::shard;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Row>),
    Settle,
    Sync,
    /// The process is killed.
    Kill,
    /// The power goes, and so much of what was not fsynced is on the disk: a share of 100.
    PowerCut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => rows().prop_map(Step::Apply),
        1 => Just(Step::Settle),
        1 => Just(Step::Sync),
        1 => Just(Step::Kill),
        2 => (0_usize..=100).prop_map(Step::PowerCut),
    ]
}

/// A store at work, and what it must have after a crash.
struct Crashing {
    root: tempfile::TempDir,
    kind: StorageKind,
    durability: Durability,
    store: Store,
    exact: MemoryStore,
    /// What there was after each batch, and before the first.
    past: Vec<Vec<Vec<(Bytes, Bytes)>>>,
    /// The first of them that a kill may leave.
    settled: usize,
    /// The first of them that a power cut may leave.
    durable: usize,
    /// How much of the journal was fsynced.
    durable_bytes: usize,
    owes_a_promise: bool,
}

impl Crashing {
    fn new(kind: StorageKind, durability: Durability) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let store = Store::open(&root.path().join("data"), kind, durability).expect("opens");
        let exact = MemoryStore::default();
        let past = vec![everything(&exact)];
        let (settled, durable, durable_bytes, owes_a_promise) = Default::default();
        let mut new =
            Self { root, kind, durability, store, exact, past, settled, durable, durable_bytes, owes_a_promise };
        new.store.sync().expect("syncs");
        new.durable_bytes = new.journal_bytes();
        new
    }

    fn carry_out(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Apply(rows) => {
                let batch = batch(&rows);
                self.owes_a_promise |= shard::is_promise(&batch);
                self.store.apply(batch.clone()).expect("applies");
                self.exact.apply(batch).expect("applies");
                self.past.push(everything(&self.exact));
            }
            Step::Settle => {
                let is_behind = self.durable < self.past.len() - 1;
                let must_sync = is_behind && (self.owes_a_promise || self.durability == Durability::Sync);
                let before = self.fsyncs();
                self.store.settle().expect("settles");
                prop_assert_eq!(self.fsyncs() - before, u64::from(must_sync));
                self.settled = self.past.len() - 1;
                if must_sync {
                    self.note_synced();
                }
            }
            Step::Sync => {
                self.store.sync().expect("syncs");
                self.note_synced();
            }
            Step::Kill => self.check_copy(self.settled, |_| ())?,
            Step::PowerCut(share) if self.kind == StorageKind::Lsm => {
                let durable = self.durable_bytes;
                let cut = |content: &mut Vec<u8>| content.truncate(durable + (content.len() - durable) * share / 100);
                self.check_copy(self.durable, |copy| change_journal(copy, cut))?;
            }
            // What there is beside a journal is made durable by the engine in an order of its own.
            Step::PowerCut(_) => {}
        }
        Ok(())
    }

    fn fsyncs(&self) -> u64 {
        self.store.meters().expect("a disk").fsync.get_sample_count()
    }

    fn note_synced(&mut self) {
        self.settled = self.past.len() - 1;
        self.durable = self.settled;
        self.durable_bytes = self.journal_bytes();
        self.owes_a_promise = false;
    }

    fn journal_bytes(&self) -> usize {
        let data = self.root.path().join("data");
        if self.kind == StorageKind::Lsm { written_part(&journal(&data)).len() } else { 0 }
    }

    /// A copy of the files, damaged as a crash does, has everything up to some batch, and that is no earlier than it may.
    fn check_copy(&self, earliest: usize, damage: impl FnOnce(&Path)) -> Result<(), TestCaseError> {
        let copy = self.root.path().join("copy");
        copy_all(&self.root.path().join("data"), &copy);
        damage(&copy);
        let found = everything(&Store::open(&copy, self.kind, self.durability).expect("a crash leaves a good store"));
        fs::remove_dir_all(&copy).expect("removes");
        prop_assert!(
            self.past[earliest..].contains(&found),
            "{found:?} is none of those from {earliest} on: {:?}",
            self.past
        );
        Ok(())
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("reads");
        let copy = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_all(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).expect("copies");
        }
    }
}

fn change_journal(data: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = written_part(&journal(data));
    change(&mut content);
    fs::write(journal(data), content).expect("writes");
}

/// The only journal of a store that has not written much.
fn journal(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("store")).expect("lists").map(|entry| entry.expect("reads").path());
    let journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect();
    let [journal] = journals.try_into().expect("one");
    journal
}

/// A journal without the zeros that it was made with.
fn written_part(journal: &Path) -> Vec<u8> {
    const BLOCK: usize = 4_096;
    let mut content = fs::read(journal).expect("reads");
    let blocks = content.chunks(BLOCK).rposition(|block| block != &[0; BLOCK][..block.len()]);
    content.truncate(blocks.map_or(0, |last| (last + 1) * BLOCK));
    content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_crash_leaves_what_was_promised_and_a_beginning_of_the_rest(steps in vec(step(), 1..40)) {
        for kind in [StorageKind::Lsm, StorageKind::Btree] {
            for durability in [Durability::Sync, Durability::Os] {
                let mut crashing = Crashing::new(kind, durability);
                for step in steps.clone() {
                    crashing.carry_out(step)?;
                }
            }
        }
    }
}

#[test]
fn a_batch_with_a_hole_at_the_end_of_a_journal_is_refused_and_not_read() {
    let root = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(&root.path().join("data"), StorageKind::Lsm, Durability::Os).expect("opens");
    store.apply(batch(&[(Space::Objects, vec![1], Some(noise(1, 20_000)))])).expect("applies");
    store.settle().expect("settles");
    let copy = root.path().join("copy");
    copy_all(&root.path().join("data"), &copy);
    change_journal(&copy, |content| {
        let end = content.len();
        content[end - 12_000..end - 8_000].fill(0);
    });
    let refused = Store::open(&copy, StorageKind::Lsm, Durability::Os).expect_err("refused");
    assert!(matches!(refused, OpenError::Database { source: StorageError::Corrupt(_), .. }), "{refused}");
    assert!(refused.to_string().contains("empty --data-dir"), "{refused}");
}
