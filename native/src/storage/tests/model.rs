//! Whatever is done, every store shows the same rows.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Apply { handle: usize, rows: Vec<Row> },
    Scan { space: Space, from: Vec<u8>, to: Option<Vec<u8>>, rows: u32, bytes: u32 },
    Settle,
    Sync,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let from = prop_oneof![Just(Vec::new()), key()];
    let scan = (space(), from, proptest::option::of(key()), 1_u32..6, 0_u32..60);
    prop_oneof![
        6 => (0_usize..2, rows()).prop_map(|(handle, rows)| Step::Apply { handle, rows }),
        4 => scan.prop_map(|(space, from, to, rows, bytes)| Step::Scan { space, from, to, rows, bytes }),
        1 => Just(Step::Settle),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

/// Two machines of a node.
fn handles(store: Store) -> [Store; 2] {
    [store.clone(), store]
}

fn shows_what_the_exact_one_shows(kind: StorageKind, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut stores = handles(open(directory.path(), kind));
    let mut exact = MemoryStore::default();
    for step in steps {
        match step {
            Step::Apply { handle, rows } => {
                let seq = stores[handle].applied;
                prop_assert!(stores[handle].apply(batch(&rows)).expect("applies") > seq);
                exact.apply(batch(&rows)).expect("applies");
                for (space, key, _) in &rows {
                    prop_assert_eq!(stores[1 - handle].get(*space, key), exact.get(*space, key));
                }
            }
            Step::Scan { space, from, to, rows, bytes } => {
                let limit = PageLimit { rows, bytes };
                let page = exact.scan(space, &from, to.as_deref(), limit);
                prop_assert_eq!(stores[0].scan(space, &from, to.as_deref(), limit), page);
            }
            Step::Settle => prop_assert_eq!(stores[0].settle(), Ok(())),
            Step::Sync => prop_assert_eq!(stores[1].sync(), Ok(())),
            // A store in memory has nothing to come back to.
            Step::Reopen if kind == StorageKind::Memory => {}
            Step::Reopen => {
                prop_assert_eq!(stores[0].sync(), Ok(()));
                drop(stores);
                stores = handles(open(directory.path(), kind));
            }
        }
    }
    prop_assert_eq!(everything(&stores[0]), everything(&exact));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_store_shows_what_the_exact_one_shows(steps in vec(step(), 1..40)) {
        for kind in KINDS {
            shows_what_the_exact_one_shows(kind, steps.clone())?;
        }
    }
}

#[test]
fn handles_share_rows_and_have_numbers_of_their_own() {
    let root = tempfile::tempdir().expect("a directory");
    for kind in KINDS {
        let [mut one, mut other] = handles(open(&root.path().join(kind.as_str()), kind));
        let mut batch = Batch::default();
        batch.put(Space::Meta, "a", "1");
        assert_eq!(one.apply(batch.clone()), Ok(Seq(1)));
        assert_eq!(one.apply(batch), Ok(Seq(2)));
        assert_eq!(other.apply(Batch::default()), Ok(Seq(1)));
        assert_eq!(other.get(Space::Meta, b"a"), Ok(Some("1".into())));
        assert_eq!((one.sync(), other.settle()), (Ok(()), Ok(())));
        assert_eq!(one.engine_name(), kind.as_str());
    }
}

#[test]
fn machines_write_and_sync_at_the_same_time() {
    let root = tempfile::tempdir().expect("a directory");
    for kind in KINDS {
        let store = open(&root.path().join(kind.as_str()), kind);
        std::thread::scope(|scope| {
            for machine in 0_u8..3 {
                let mut store = store.clone();
                scope.spawn(move || {
                    for row in 0_u8..20 {
                        let mut batch = Batch::default();
                        batch.put(Space::Objects, vec![machine, row], vec![row]);
                        store.apply(batch).expect("applies");
                        store.settle().expect("settles");
                        assert_eq!(store.get(Space::Objects, &[machine, row]), Ok(Some(vec![row].into())));
                    }
                });
            }
        });
        assert_eq!(everything(&store)[1].len(), 60, "{kind:?}");
        assert_eq!(store.keys(), 60);
    }
}

#[test]
fn the_operation_log_is_kept_in_order_and_cut() {
    let root = tempfile::tempdir().expect("a directory");
    for engine in [StorageKind::Lsm, StorageKind::Btree] {
        let path = root.path().join(engine.as_str());
        let store = open(&path, engine);
        store.log_operations((1..=300).map(|number| (number, Bytes::from("x"))).collect(), vec![]).expect("logs");
        store.log_operations(vec![], (1..=297).collect()).expect("cuts");
        drop(store);
        let numbers = open(&path, engine).operations().expect("reads").into_iter().map(|(number, _)| number);
        assert_eq!(numbers.collect::<Vec<_>>(), [298, 299, 300]);
    }
}
