//! Two owners compare and heal. Nothing is read: whatever arrives, repair has brought.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use quorate_core::config::{Placement, Repair};
use quorate_core::event::{EventKind, MessageKind};
use quorate_core::hash::Slice;
use quorate_core::id::Key;
use quorate_core::sim::pair::{Pair, Traffic};
use quorate_core::storage::{Batch, MemoryStore, PageLimit, Space, Storage};

const INTERVAL: Duration = Duration::from_secs(30);
const ALL: PageLimit = PageLimit { rows: u32::MAX, bytes: u32::MAX };

fn key(number: usize) -> Key {
    Key::new(&format!("key {number:016}")).expect("a good key")
}

fn pair(owners: u8) -> Pair {
    let placement = Placement::Tokens(NonZeroU16::new(150).expect("above zero"));
    let repair = Repair { exchange_interval: INTERVAL, ..Repair::default() };
    Pair::new(owners, placement, repair, true)
}

/// Keys of both, in the order of their numbers.
fn shared(pair: &Pair) -> impl Iterator<Item = Key> {
    (0..).map(key).filter(|key| pair.owners(key).len() == 2)
}

/// So many keys that both hold.
fn filled(owners: u8, keys: usize) -> (Pair, Vec<Key>) {
    let mut pair = pair(owners);
    let keys: Vec<Key> = shared(&pair).take(keys).collect();
    for key in &keys {
        pair.write(&[0, 1], key, "both");
    }
    (pair, keys)
}

/// Lets every slice be compared once, and gives back which keys were repaired at whom.
fn compare(pair: &mut Pair) -> Vec<(Key, String)> {
    pair.take_events();
    pair.run_until(pair.now() + INTERVAL + Duration::from_secs(5));
    let events = pair.take_events();
    let compared = events.iter().filter(|event| matches!(event.kind, EventKind::Compared { .. })).count();
    assert!(compared >= pair.shared_slices().len(), "{compared} comparisons");
    let repaired = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Repaired { key, replica } => Some((key, replica.to_string())),
        _ => None,
    });
    let mut repaired: Vec<_> = repaired.collect();
    repaired.sort();
    repaired
}

#[track_caller]
fn assert_equal(pair: &Pair, keys: &[Key]) {
    for key in keys {
        let (one, other) = (pair.peek(0, key), pair.peek(1, key));
        assert!(one == other && !one.is_empty(), "{key:?}: {one:?} and {other:?}");
    }
    for slice in Slice::all() {
        for side in 0..2 {
            assert_tree_is_that_of_its_rows(pair.shard(side).storage(), slice);
        }
    }
}

/// Every leaf row is what a shard that has only the objects would build.
fn assert_tree_is_that_of_its_rows(storage: &MemoryStore, slice: Slice) {
    let leaves: u64 = pair_leaves(storage, slice).values().sum();
    let end = slice.last().0.checked_add(1).map(u64::to_be_bytes);
    let first = slice.first().0.to_be_bytes();
    let objects = storage.scan(Space::Objects, &first, end.as_ref().map(|end| &end[..]), ALL).expect("reads").rows;
    assert_eq!(leaves, u64::try_from(objects.len()).expect("few"), "{slice:?}");
}

/// The entries that each leaf row counts: its number follows its sum of sixteen bytes.
fn pair_leaves(storage: &MemoryStore, slice: Slice) -> BTreeMap<Vec<u8>, u64> {
    let rows = storage.scan(Space::Tree, &[slice.number()], Some(&[slice.number() + 1]), ALL).expect("reads").rows;
    rows.into_iter().map(|(leaf, row)| (leaf.to_vec(), u64::from(row[16]))).collect()
}

fn remove_rows(storage: &mut MemoryStore, space: Space, which: impl Fn(&[u8]) -> bool) -> usize {
    let mut batch = Batch::default();
    for (place, _) in storage.scan(space, &[], None, ALL).expect("reads").rows {
        if which(&place) {
            batch.remove(space, place);
        }
    }
    let removed = batch.changes.len();
    let seq = storage.apply(batch).expect("writes");
    storage.sync(seq);
    removed
}

fn flip_a_bit(storage: &mut MemoryStore, key: &Key) {
    let rows = storage.scan(Space::Objects, &[], None, ALL).expect("reads").rows;
    let (place, row) = rows.into_iter().find(|(place, _)| place.ends_with(key.as_bytes())).expect("it is there");
    let mut row = row.to_vec();
    let middle = row.len() / 2;
    row[middle] ^= 0x10;
    let mut batch = Batch::default();
    batch.put(Space::Objects, place, row);
    let seq = storage.apply(batch).expect("writes");
    storage.sync(seq);
}

#[test]
fn what_reached_one_owner_only_reaches_the_other() {
    let (mut pair, keys) = filled(5, 300);
    for (number, key) in keys.iter().enumerate() {
        match number % 10 {
            0 => pair.write(&[0], key, "only at A"),
            1 => pair.write(&[1], key, "only at B"),
            _ => {}
        }
    }
    let repaired = compare(&mut pair);
    let expected = keys.iter().enumerate().filter_map(|(number, key)| match number % 10 {
        0 => Some((key.clone(), "B".to_string())),
        1 => Some((key.clone(), "A".to_string())),
        _ => None,
    });
    assert_eq!(repaired, expected.collect::<Vec<_>>());
    assert_equal(&pair, &keys);
    assert_eq!(compare(&mut pair), [], "what is equal is not repaired");
}

#[test]
fn siblings_that_grew_apart_are_merged_at_both() {
    let (mut pair, keys) = filled(5, 40);
    for key in &keys {
        pair.write(&[0], key, "left");
        pair.write(&[1], key, "right");
        assert_ne!(pair.peek(0, key), pair.peek(1, key));
    }
    assert_eq!(compare(&mut pair).len(), 2 * keys.len(), "both sides were behind");
    for key in &keys {
        assert_eq!(pair.peek(0, key).len(), 2);
    }
    assert_equal(&pair, &keys);
    assert_eq!(compare(&mut pair), []);
}

#[test]
fn what_one_owner_alone_should_have_stays_with_it() {
    let mut pair = pair(5);
    let foreign: Vec<Key> = (0..).map(key).filter(|key| pair.owners(key) == [0]).take(300).collect();
    for key in &foreign {
        pair.write(&[0], key, "A's");
    }
    assert_eq!(compare(&mut pair), []);
    for key in &foreign {
        assert!(pair.peek(1, key).is_empty());
    }
}

#[test]
fn partition_repair_a_wiped_slice_comes_back_whole() {
    let (mut pair, keys) = filled(3, 2_000);
    pair.restart(1, |storage| {
        let wiped = |place: &[u8]| place[0] >> 2 == 7;
        assert!(remove_rows(storage, Space::Objects, wiped) > 10);
        remove_rows(storage, Space::Tree, |leaf| leaf[0] == 7);
    });
    let repaired = compare(&mut pair);
    assert!(repaired.len() > 10 && repaired.iter().all(|(_, replica)| replica == "B"), "{repaired:?}");
    assert_equal(&pair, &keys);
    assert_eq!(compare(&mut pair), []);
}

#[test]
fn everything_comes_back_in_bounded_messages_after_all_rows_are_gone() {
    let (mut pair, keys) = filled(2, 3_000);
    pair.restart(0, |storage| {
        remove_rows(storage, Space::Objects, |_| true);
        remove_rows(storage, Space::Tree, |_| true);
    });
    pair.take_traffic();
    assert_eq!(compare(&mut pair).len(), keys.len());
    for (kind, traffic) in pair.take_traffic() {
        assert!(traffic.bytes / traffic.messages < 1_024 * 1_024, "{kind:?}: {traffic:?}");
    }
    assert_equal(&pair, &keys);
}

#[test]
fn a_tree_that_does_not_fit_its_rows_is_built_anew_and_costs_no_repair() {
    type Damage = fn(&mut MemoryStore);
    let lost_leaf: Damage = |storage| {
        let mut first = None;
        for (leaf, _) in storage.scan(Space::Tree, &[], None, ALL).expect("reads").rows {
            first.get_or_insert(leaf);
        }
        let lost = first.expect("a leaf");
        assert_eq!(remove_rows(storage, Space::Tree, |leaf| leaf == lost), 1);
    };
    let no_leaf: Damage = |storage| {
        remove_rows(storage, Space::Tree, |leaf| leaf[0] == 9);
    };
    let rotten_leaf: Damage = |storage| {
        let (leaf, row) = storage.scan(Space::Tree, &[], None, ALL).expect("reads").rows.remove(0);
        let mut row = row.to_vec();
        row[3] ^= 1;
        let mut batch = Batch::default();
        batch.put(Space::Tree, leaf, row);
        let seq = storage.apply(batch).expect("writes");
        storage.sync(seq);
    };
    for (what, damage) in [("a lost leaf", lost_leaf), ("no leaf", no_leaf), ("a rotten leaf", rotten_leaf)] {
        for side in 0..2 {
            let (mut pair, keys) = filled(2, 2_000);
            pair.restart(side, damage);
            assert_eq!(compare(&mut pair), [], "{what}");
            assert_eq!(pair.shard(side).anti_entropy().trees_built, 1, "{what}");
            assert_equal(&pair, &keys);
            pair.restart(side, |_| {});
            assert_eq!(compare(&mut pair), [], "{what}");
            assert_eq!(pair.shard(side).anti_entropy().trees_built, 0, "{what}: the new tree is on disk");
        }
    }
}

#[test]
fn a_tree_is_built_while_writes_go_on() {
    let (mut pair, keys) = filled(2, 40_000);
    pair.restart(1, |storage| {
        remove_rows(storage, Space::Tree, |_| true);
    });
    for (number, key) in keys.iter().enumerate().step_by(200) {
        pair.write(&[0, 1], key, &format!("while building {number}"));
        pair.run_until(pair.now() + Duration::from_micros(300));
        if number % 4_000 == 0 {
            pair.restart(1, |_| {});
        }
    }
    pair.run_until(pair.now() + Duration::from_secs(2));
    assert_eq!(compare(&mut pair), []);
    assert_equal(&pair, &keys);
}

#[test]
fn writes_that_go_on_are_not_repaired() {
    let (mut pair, keys) = filled(5, 200);
    pair.take_events();
    for number in 0..2_000 {
        // A write reaches one owner now and the other one 100 ms later.
        let key = &keys[number * 7 % keys.len()];
        pair.write(&[0], key, &format!("value {number}"));
        let set = pair.peek(0, key);
        pair.run_until(pair.now() + Duration::from_millis(100));
        pair.merge(1, key, &set);
    }
    let repaired = pair.take_events().iter().filter(|event| matches!(event.kind, EventKind::Repaired { .. })).count();
    assert_eq!(repaired, 0);
    assert_equal(&pair, &keys);
}

#[test]
fn a_damaged_object_is_fetched_from_the_other_owner() {
    let (mut pair, keys) = filled(2, 100);
    let before = pair.peek(0, &keys[3]);
    pair.damage(0, |storage| flip_a_bit(storage, &keys[3]));
    assert!(pair.shard(0).peek(&keys[3]).is_err());
    pair.take_events();
    // Whoever touches it finds out: here a write that comes from the other side.
    pair.merge(0, &keys[3], &before);
    pair.run_until(pair.now() + Duration::from_millis(10));
    let kinds: Vec<_> = pair.take_events().into_iter().map(|event| event.kind).collect();
    let position = |wanted: EventKind| kinds.iter().position(|kind| *kind == wanted);
    let (damaged, healed) =
        (position(EventKind::Damaged { key: keys[3].clone() }), position(EventKind::Healed { key: keys[3].clone() }));
    assert!(damaged.is_some() && damaged < healed, "{kinds:?}");
    assert_eq!(pair.peek(0, &keys[3]), before);
    assert_eq!(compare(&mut pair), []);
    assert_equal(&pair, &keys);
}

#[test]
fn verify_corruption_filtering_listings_and_pages_pass_over_what_is_damaged() {
    let (mut pair, keys) = filled(2, 400);
    for key in keys.iter().step_by(10) {
        pair.damage(1, |storage| flip_a_bit(storage, key));
    }
    // Some of what is around is behind, so leaves with damaged objects are listed.
    for key in keys.iter().step_by(5) {
        pair.write(&[0], key, "newer");
    }
    for _ in 0..3 {
        compare(&mut pair);
    }
    assert_equal(&pair, &keys);
    assert_eq!(compare(&mut pair), []);
}

#[test]
fn a_key_that_nobody_else_owns_stays_damaged_and_is_never_taken_for_absent() {
    let mut pair = pair(3);
    let key = key(1);
    pair.write(&[0], &key, "the only copy");
    pair.damage(0, |storage| flip_a_bit(storage, &key));
    pair.write(&[1], &key, "unused");
    // B holds something else, C is down: one of the two others is not enough to know every write.
    pair.merge(0, &key, &pair.peek(1, &key));
    pair.run_until(pair.now() + Duration::from_secs(20));
    assert!(pair.shard(0).peek(&key).is_err());
}

/// The bounds that the plan sets for 1,000,000 keys, at a tenth of them: `cargo run --release --example exchange` measures
/// the rest.
#[test]
fn finding_one_key_in_a_thousand_costs_little() {
    let (mut pair, keys) = filled(5, 30_000);
    for key in keys.iter().step_by(1_000) {
        pair.write(&[0], key, "only at A");
    }
    pair.take_traffic();
    assert_eq!(compare(&mut pair).len(), keys.len() / 1_000);
    let found = bytes(&pair.take_traffic());
    // A key of 20 bytes and a dot: an actor of 16 and a counter of 3.
    let everything = u64::try_from(keys.len() * (20 + 16 + 3)).expect("fits");
    assert!(found * 100 <= everything * 3, "{found} bytes to find what {everything} bytes are");

    assert_eq!(compare(&mut pair), []);
    let idle = bytes(&pair.take_traffic());
    let comparisons = u64::try_from(pair.shared_slices().len()).expect("fits");
    assert!(idle <= comparisons * 1_024, "{idle} bytes in {comparisons} comparisons");
}

fn bytes(traffic: &BTreeMap<MessageKind, Traffic>) -> u64 {
    traffic.values().map(|traffic| traffic.bytes).sum()
}
