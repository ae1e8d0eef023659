//! The stores against the core's exact one: whatever is done, all three show the same rows.

use proptest::collection::vec;
use proptest::prelude::*;
use quorate_core::storage::Change;

use super::*;

/// A row to be set, or removed.
type Row = (Space, Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Row>),
    Scan { space: Space, from: Vec<u8>, to: Option<Vec<u8>>, rows: u32, bytes: u32 },
    Sync,
    Reopen,
}

fn space() -> impl Strategy<Value = Space> {
    prop::sample::select(Space::ALL.to_vec())
}

/// Few and short keys, so that changes meet; bytes at the ends, so that order matters.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(127), Just(255)], 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let change = (space(), key(), proptest::option::weighted(0.7, vec(any::<u8>(), 0..40)));
    let from = prop_oneof![Just(Vec::new()), key()];
    let scan = (space(), from, proptest::option::of(key()), 1_u32..6, 0_u32..60);
    prop_oneof![
        6 => vec(change, 0..5).prop_map(Step::Apply),
        4 => scan.prop_map(|(space, from, to, rows, bytes)| Step::Scan { space, from, to, rows, bytes }),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

fn batch(changes: &[Row]) -> Batch {
    let change =
        |(space, key, row): &Row| Change { space: *space, key: key.clone().into(), row: row.clone().map(Bytes::from) };
    Batch { changes: changes.iter().map(change).collect() }
}

fn everything(store: &impl Storage, space: Space) -> Vec<(Bytes, Bytes)> {
    let limit = PageLimit { rows: u32::MAX, bytes: u32::MAX };
    store.scan(space, &[], None, limit).expect("scans").rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_store_shows_what_the_exact_one_shows(steps in vec(step(), 1..40)) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut disk = Store::open(directory.path()).expect("opens");
        let mut memory = Store::in_memory();
        let mut exact = MemoryStore::default();
        for step in steps {
            match step {
                Step::Apply(changes) => {
                    let seq = disk.applied;
                    prop_assert!(disk.apply(batch(&changes)).expect("applies") > seq);
                    memory.apply(batch(&changes)).expect("applies");
                    exact.apply(batch(&changes)).expect("applies");
                    for (space, key, _) in &changes {
                        let row = exact.get(*space, key);
                        prop_assert_eq!(disk.get(*space, key), row.clone());
                        prop_assert_eq!(memory.get(*space, key), row);
                    }
                }
                Step::Scan { space, from, to, rows, bytes } => {
                    let limit = PageLimit { rows, bytes };
                    let page = exact.scan(space, &from, to.as_deref(), limit);
                    prop_assert_eq!(disk.scan(space, &from, to.as_deref(), limit), page.clone());
                    prop_assert_eq!(memory.scan(space, &from, to.as_deref(), limit), page);
                }
                Step::Sync => prop_assert_eq!(disk.sync(), Ok(())),
                Step::Reopen => {
                    drop(disk);
                    disk = Store::open(directory.path()).expect("opens again");
                }
            }
        }
        for space in Space::ALL {
            prop_assert_eq!(everything(&disk, space), everything(&exact, space));
            prop_assert_eq!(everything(&memory, space), everything(&exact, space));
        }
    }
}

#[test]
fn handles_share_rows_and_have_numbers_of_their_own() {
    let directory = tempfile::tempdir().expect("a directory");
    for store in [Store::open(directory.path()).expect("opens"), Store::in_memory()] {
        let (mut one, mut other) = (store.clone(), store);
        let mut batch = Batch::default();
        batch.put(Space::Meta, "a", "1");
        assert_eq!(one.apply(batch.clone()), Ok(Seq(1)));
        assert_eq!(one.apply(batch), Ok(Seq(2)));
        assert_eq!(other.apply(Batch::default()), Ok(Seq(1)));
        assert_eq!(other.get(Space::Meta, b"a"), Ok(Some("1".into())));
        assert_eq!((one.sync(), other.sync()), (Ok(()), Ok(())));
    }
}

#[test]
fn the_operation_log_is_kept_in_order_and_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).expect("opens");
    store.log_operations((1..=300).map(|number| (number, Bytes::from("x"))).collect(), vec![]).expect("logs");
    store.log_operations(vec![], (1..=297).collect()).expect("cuts");
    drop(store);
    let store = Store::open(directory.path()).expect("opens");
    let numbers: Vec<_> = store.operations().expect("reads").into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [298, 299, 300]);
}
