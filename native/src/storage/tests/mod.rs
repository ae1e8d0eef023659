//! What every store promises, whatever keeps its rows: the same tests for all of them, against the core's exact one.

mod crash;
mod damage;
mod model;
mod power;
mod room;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use quorate_core::storage::Change;

use super::*;

/// A row to be set, or removed.
type Row = (Space, Vec<u8>, Option<Vec<u8>>);

fn space() -> impl Strategy<Value = Space> {
    prop::sample::select(Space::ALL.to_vec())
}

/// Few and short keys, so that changes meet; bytes at the ends, so that order matters.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(127), Just(255)], 1..4)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec((space(), key(), proptest::option::weighted(0.7, vec(any::<u8>(), 0..40))), 0..5)
}

fn batch(rows: &[Row]) -> Batch {
    let change =
        |(space, key, row): &Row| Change { space: *space, key: key.clone().into(), row: row.clone().map(Bytes::from) };
    Batch { changes: rows.iter().map(change).collect() }
}

fn everything(store: &impl Storage) -> Vec<Vec<(Bytes, Bytes)>> {
    let all = PageLimit { rows: u32::MAX, bytes: u32::MAX };
    Space::ALL.map(|space| store.scan(space, &[], None, all).expect("scans").rows).into()
}

/// Bytes that cannot be packed, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn open(path: &Path, kind: StorageKind) -> Store {
    Store::open(path, kind, Durability::Sync).expect("opens")
}

const KINDS: [StorageKind; 3] = [StorageKind::Lsm, StorageKind::Btree, StorageKind::Memory];
