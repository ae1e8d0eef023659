//! The rows of a shard: objects at `position ‖ key`, dot leases and sync marks by slice, leaves of the hash trees. Only
//! their form, no decisions.
//!
//! What must not be taken for something else after a bit has flipped is *sealed*: eight bytes at its end are the FNV-1a of
//! its place and its content. That finds any change of one byte for sure and any other with a chance of 2^-64 to miss it.
//! It is no defence against whoever can write to the disk.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Start;
use super::collection::Marks;
use super::transfer::Whole;
use super::trees::SliceTree;
use crate::causality::{Issuer, SiblingSet};
use crate::hash::{Position, Slice, StableHasher};
use crate::id::{ActorId, Key};
use crate::merkle::Sum;
use crate::node::StartError;
use crate::planted::PlantedBug;
use crate::ring::Span;
use crate::storage::{Batch, PageLimit, Space, Storage, StorageError};
use crate::time::Time;
use crate::wire;

/// What the store remembers of the slices of a shard.
pub(super) struct Rows {
    pub(super) issuers: BTreeMap<Slice, Issuer>,
    pub(super) synced: BTreeMap<Slice, Whole>,
    pub(super) marks: BTreeMap<Slice, Marks>,
    pub(super) trees: BTreeMap<Slice, SliceTree>,
    pub(super) holds_data: bool,
}

impl Rows {
    pub(super) fn read<S: Storage>(storage: &S, start: &Start, now: Time) -> Result<Self, StartError> {
        let (issuers, synced) = (BTreeMap::new(), BTreeMap::new());
        let (marks, trees) = (BTreeMap::new(), BTreeMap::new());
        let mut rows = Self { issuers, synced, marks, trees, holds_data: false };
        for &slice in &start.slices {
            let leased = match storage.get(Space::Meta, lease_key(slice).as_bytes())? {
                Some(_) if start.config.has_bug(PlantedBug::ReuseDot) => 0,
                Some(row) => leased_by(&row, start.actor)?,
                None => 0,
            };
            rows.issuers.insert(slice, Issuer::resume(start.actor, leased));
            if let Some(row) = storage.get(Space::Meta, synced_key(slice).as_bytes())?
                && let Ok((actor, whole)) = postcard::from_bytes::<(ActorId, Whole)>(&row)
                && actor == start.actor
            {
                rows.synced.insert(slice, whole);
            }
            if let Some(row) = storage.get(Space::Meta, &marks_key(slice))? {
                let marks = postcard::from_bytes(&row).map_err(|_| StartError::Row("shard/floor"))?;
                rows.marks.insert(slice, marks);
            }
            let (from, to) = bounds(slice);
            let one = PageLimit { rows: 1, bytes: 1 };
            let to = to.as_ref().map(<[u8; 8]>::as_slice);
            let holds_objects = !storage.scan(Space::Objects, &from, to, one)?.rows.is_empty();
            rows.trees.insert(slice, SliceTree::read(storage, slice, holds_objects, now)?);
            rows.holds_data |= holds_objects;
        }
        Ok(rows)
    }
}

fn lease_key(slice: Slice) -> String {
    format!("shard/lease/{:02}", slice.number())
}

fn synced_key(slice: Slice) -> String {
    format!("shard/synced/{:02}", slice.number())
}

/// How far the actor may issue. A lease of another actor is none of this one's.
fn leased_by(row: &[u8], actor: ActorId) -> Result<u64, StartError> {
    let (owner, upto): (ActorId, u64) = postcard::from_bytes(row).map_err(|_| StartError::Row("shard/lease"))?;
    Ok(if owner == actor { upto } else { 0 })
}

pub(super) fn put_lease(batch: &mut Batch, slice: Slice, actor: ActorId, upto: u64) {
    let row = postcard::to_allocvec(&(actor, upto)).expect("every row has a stored form");
    batch.put(Space::Meta, lease_key(slice).into_bytes(), row);
}

/// Marks a slice as synced in the life of this actor: a store that gets another one holds no slice for whole any more.
pub(super) fn put_synced(batch: &mut Batch, slice: Slice, actor: ActorId, whole: Whole) {
    let row = postcard::to_allocvec(&(actor, whole)).expect("every row has a stored form");
    batch.put(Space::Meta, synced_key(slice).into_bytes(), row);
}

pub(super) fn remove_synced(batch: &mut Batch, slice: Slice) {
    batch.remove(Space::Meta, synced_key(slice).into_bytes());
}

/// Where the seal and the floor of a slice are remembered.
pub(super) fn marks_key(slice: Slice) -> Vec<u8> {
    format!("shard/floor/{:02}", slice.number()).into_bytes()
}

pub(super) fn put_marks(batch: &mut Batch, slice: Slice, marks: &Marks) {
    batch.put(Space::Meta, marks_key(slice), postcard::to_allocvec(marks).expect("every row has a stored form"));
}

pub(super) fn remove_marks(batch: &mut Batch, slice: Slice) {
    batch.remove(Space::Meta, marks_key(slice));
}

/// Before the place of an object: a row that says that only deletions are left of it.
const DELETED: &[u8] = b"shard/deleted/";

fn deleted_key(place: &[u8]) -> Vec<u8> {
    [DELETED, place].concat()
}

/// The places of the deleted keys of a slice: the first, and the first one after them.
pub(super) fn deleted_bounds(slice: Slice) -> (Vec<u8>, Vec<u8>) {
    let (first, end) = bounds(slice);
    // `0` follows `/`: the end of all places.
    let end = end.map_or_else(|| b"shard/deleted0".to_vec(), |end| deleted_key(&end));
    (deleted_key(&first), end)
}

pub(super) fn deleted_key_in(row: &[u8]) -> Result<Key, StorageError> {
    let placed = row.get(DELETED.len()..).and_then(placed_at);
    placed.map(|(_, key)| key).ok_or_else(|| StorageError::Corrupt(String::from("the place of a deleted key")))
}

/// Whether a batch holds something that this store goes by after a crash: everything in [`Space::Meta`] but the rows of
/// deleted keys, which come and go with their objects. Such a batch must outlive a power cut whatever is chosen for the
/// others, and everything that was applied before it with it.
///
/// Why the others may be lost, as far as safety goes. *Leases* are promises: no dot is issued before the disk has its
/// lease, and a restart counts the whole lease as issued and takes no history of its own actor for whole. So a store that
/// has forgotten objects issues no dot twice, and a context that covers a forgotten dot covers nothing else. *Identity,
/// boots, ticks, votes, layouts and incarnations* are all in this space. *Marks* of slices that are synced, seals and
/// floors are, too; since a power cut takes an end of what was applied and nothing from its middle, none outlives what it
/// speaks of.
///
/// What a power cut costs then: objects and hints that were acknowledged in the last moments, as if this store had missed
/// them, until a comparison brings them back from an owner that has them. If what was missed is a deletion, and all owners
/// raised the floor above it in those moments, this store shows the value again until one of them has heard it say so.
#[must_use]
pub fn is_promise(batch: &Batch) -> bool {
    batch.changes.iter().any(|change| change.space == Space::Meta && !change.key.starts_with(DELETED))
}

/// Whether a batch writes no object but deleted ones, and no hint: a store that is short of room takes these still, for
/// else nobody could make any.
#[must_use]
pub fn is_deletion(batch: &Batch) -> bool {
    batch.changes.iter().all(|change| match (change.space, &change.row) {
        (Space::Objects, Some(row)) => decode(&change.key, row).is_ok_and(|set| set.is_deleted()),
        (Space::Hints, Some(_)) => false,
        _ => true,
    })
}

/// Keeps the row of a deleted key in step with its object: `after` takes the place of `before`.
pub(super) fn put_deleted(batch: &mut Batch, key: &Key, before: &SiblingSet, after: Option<&SiblingSet>) {
    let deleted = after.is_some_and(SiblingSet::is_deleted);
    if deleted != before.is_deleted() {
        mark_deleted(batch, key, deleted);
    }
}

/// As [`put_deleted`], whatever was there before.
pub(super) fn mark_deleted(batch: &mut Batch, key: &Key, deleted: bool) {
    let row = deleted_key(&object_key(key));
    if deleted {
        batch.put(Space::Meta, row, Bytes::new());
    } else {
        batch.remove(Space::Meta, row);
    }
}

/// Where an object lies.
pub(crate) fn object_key(key: &Key) -> Bytes {
    placed(Position::of(key), key)
}

pub(super) fn placed(at: Position, key: &Key) -> Bytes {
    let mut place = Vec::with_capacity(8 + key.as_bytes().len());
    place.extend_from_slice(&at.0.to_be_bytes());
    place.extend_from_slice(key.as_bytes());
    place.into()
}

/// The first place of a slice, and the first one after it.
pub(super) fn bounds(slice: Slice) -> ([u8; 8], Option<[u8; 8]>) {
    let after = slice.last().0.checked_add(1);
    (slice.first().0.to_be_bytes(), after.map(u64::to_be_bytes))
}

/// The places of the objects at some positions: the first, and the first one after them.
pub(super) fn places(span: Span) -> (Vec<u8>, Option<Vec<u8>>) {
    let after = span.last.0.checked_add(1);
    (span.first.0.to_be_bytes().to_vec(), after.map(|at| at.to_be_bytes().to_vec()))
}

/// The key in an object's place, and where on the ring it lies.
pub(crate) fn placed_at(place: &[u8]) -> Option<(Position, Key)> {
    let (at, key) = place.split_first_chunk::<8>()?;
    let key = Key::new(core::str::from_utf8(key).ok()?).ok()?;
    Some((Position(u64::from_be_bytes(*at)), key))
}

/// The key in an object's place.
pub(super) fn key_in(place: &[u8]) -> Result<Key, StorageError> {
    placed_at(place).map(|(_, key)| key).ok_or_else(|| StorageError::Corrupt(String::from("the place of an object")))
}

/// A row that says itself whether it is whole. `place` is the key it is stored under.
pub(super) fn seal(place: &[u8], mut content: Vec<u8>) -> Bytes {
    let checksum = checksum(place, &content);
    content.extend_from_slice(&checksum.to_be_bytes());
    // It stays for long: without the room that is left.
    Bytes::copy_from_slice(&content)
}

/// The content of a sealed row.
///
/// # Errors
/// [`StorageError::Corrupt`] when it is not what was sealed for this place. Nothing was changed.
pub(super) fn unseal<'a>(place: &[u8], row: &'a [u8]) -> Result<&'a [u8], StorageError> {
    let whole = row.split_last_chunk::<8>().filter(|(content, seal)| checksum(place, content).to_be_bytes() == **seal);
    whole.map(|(content, _)| content).ok_or_else(|| StorageError::Corrupt(String::from("its checksum does not fit")))
}

fn checksum(place: &[u8], content: &[u8]) -> u64 {
    let mut hasher = StableHasher::new();
    hasher.bytes(place);
    hasher.bytes(content);
    hasher.finish()
}

fn decode(place: &[u8], row: &[u8]) -> Result<SiblingSet, StorageError> {
    postcard::from_bytes(unseal(place, row)?).map_err(|error| StorageError::Corrupt(format!("{error}")))
}

/// Merges a set into one that is held. Only a set that no honest node sends cannot be merged.
pub(super) fn merge(held: &mut SiblingSet, set: &SiblingSet) -> Result<bool, StorageError> {
    held.merge(set).map_err(|error| StorageError::Corrupt(format!("{error}")))
}

pub(crate) fn load<S: Storage>(storage: &S, key: &Key) -> Result<SiblingSet, StorageError> {
    let place = object_key(key);
    match storage.get(Space::Objects, &place)? {
        Some(row) => decode(&place, &row),
        None => Ok(SiblingSet::default()),
    }
}

pub(super) fn put_object(batch: &mut Batch, place: Bytes, set: &SiblingSet) {
    let row = seal(&place, wire::encode(set));
    batch.put(Space::Objects, place, row);
}

/// What a scan of objects found.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) found: Vec<Object>,
    /// Objects that do not match their checksum: they are there, and what they are is unknown.
    pub(super) damaged: Vec<Key>,
    /// The place after the last one that was looked at, if more are left.
    pub(super) next: Option<Vec<u8>>,
}

/// An object where it lies.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) at: Position,
    pub(super) key: Key,
    pub(super) set: SiblingSet,
    /// The size of its row.
    pub(super) bytes: usize,
}

impl Object {
    /// What it adds to a hash tree.
    pub(super) fn sum(&self) -> Sum {
        entry(&self.key, &self.set)
    }
}

/// Reads a page of objects. A damaged one is passed over and named; a place that names no key is nobody's.
pub(super) fn scan<S: Storage>(
    storage: &S,
    from: &[u8],
    to: Option<&[u8]>,
    limit: PageLimit,
) -> Result<Objects, StorageError> {
    let page = storage.scan(Space::Objects, from, to, limit)?;
    let mut objects = Objects::default();
    for (place, row) in &page.rows {
        let Some((at, key)) = placed_at(place) else { continue };
        match decode(place, row) {
            Ok(set) => objects.found.push(Object { at, key, set, bytes: place.len() + row.len() }),
            Err(_) => objects.damaged.push(key),
        }
    }
    objects.next = page.rows.last().filter(|_| page.more).map(|(place, _)| place_after(place));
    Ok(objects)
}

/// The first place after one.
pub(super) fn place_after(place: &[u8]) -> Vec<u8> {
    let mut after = place.to_vec();
    after.push(0);
    after
}

/// The object whose place this is the first one after.
pub(super) fn place_before(after: &[u8]) -> Option<(Position, Key)> {
    placed_at(after.strip_suffix(&[0])?)
}

/// What an object adds to a hash tree: nothing if no version of it is live.
pub(super) fn entry(key: &Key, set: &SiblingSet) -> Sum {
    if set.is_empty() { Sum::EMPTY } else { Sum::of(key, set.digest()) }
}

/// The rows of a slice's tree: the mark that it is broken at the slice's number, a leaf at that and its own.
pub(super) fn tree_bounds(slice: Slice) -> ([u8; 1], [u8; 1]) {
    ([slice.number()], [slice.number() + 1])
}

fn leaf_key(slice: Slice, leaf: u16) -> Vec<u8> {
    let [high, low] = leaf.to_be_bytes();
    [slice.number(), high, low].to_vec()
}

pub(super) fn put_leaf(batch: &mut Batch, slice: Slice, leaf: u16, sum: Sum) {
    let key = leaf_key(slice, leaf);
    if sum.is_empty() {
        batch.remove(Space::Tree, key);
    } else {
        let row = seal(&key, wire::encode(&sum));
        batch.put(Space::Tree, key, row);
    }
}

/// A leaf of a tree, from its row; nothing if the row is none.
pub(super) fn leaf_in(key: &[u8], row: &[u8]) -> Option<(u16, Sum)> {
    let [_, high, low] = *key else { return None };
    let sum: Sum = postcard::from_bytes(unseal(key, row).ok()?).ok()?;
    Some((u16::from_be_bytes([high, low]), sum)).filter(|(leaf, sum)| *leaf < crate::merkle::LEAVES && sum.count > 0)
}

/// Marks the tree of a slice as broken, so that a restart builds it anew.
pub(super) fn put_broken(batch: &mut Batch, slice: Slice) {
    batch.put(Space::Tree, tree_bounds(slice).0.to_vec(), Bytes::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Stamp, Version};
    use crate::value::Value;

    fn with(space: Space, key: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put(space, key.to_vec(), "row");
        batch
    }

    /// What a write of a key puts there, as the shard does it.
    fn write(key: &Key, value: Option<Value>) -> Batch {
        let mut issuer = Issuer::new(ActorId(1));
        issuer.extended(1);
        let mut set = SiblingSet::default();
        let version = Version { stamp: Stamp::default(), value, request: None };
        set.update(&Default::default(), issuer.next(0).expect("leased"), version).expect("the first one");
        let mut batch = Batch::default();
        put_object(&mut batch, object_key(key), &set);
        put_deleted(&mut batch, key, &SiblingSet::default(), Some(&set));
        batch
    }

    #[test]
    fn what_a_store_goes_by_after_a_crash_is_a_promise_and_data_is_not() {
        let key = Key::new("key").expect("good");
        let slice = Position::of(&key).slice();
        let mut lease = write(&key, None);
        put_lease(&mut lease, slice, ActorId(1), 7);
        for (batch, promise) in [
            (lease, true),
            (with(Space::Meta, &marks_key(slice)), true),
            (with(Space::Meta, b"node/anything"), true),
            (with(Space::Hints, b"hint"), false),
            (with(Space::Tree, b"leaf"), false),
            (write(&key, Some(Value::json("1"))), false),
            (write(&key, None), false),
            (Batch::default(), false),
        ] {
            assert_eq!(is_promise(&batch), promise, "{batch:?}");
        }
    }

    #[test]
    fn a_deletion_writes_nothing_but_deleted_objects() {
        let key = Key::new("key").expect("good");
        let (deleted, written) = (write(&key, None), write(&key, Some(Value::json("1"))));
        let mut both = deleted.clone();
        both.changes.extend(write(&Key::new("other").expect("good"), Some(Value::json("1"))).changes);
        let mut hinted = deleted.clone();
        hinted.put(Space::Hints, "hint", "row");
        assert!(is_deletion(&deleted));
        for other in [written, both, hinted, with(Space::Objects, b"damaged")] {
            assert!(!is_deletion(&other), "{other:?}");
        }
    }
}
