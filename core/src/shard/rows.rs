//! The rows of a shard: objects at `position ‖ key`, dot leases and sync marks by slice. Only their form, no decisions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Start;
use crate::causality::{Issuer, SiblingSet};
use crate::hash::{Position, Slice};
use crate::id::{ActorId, Key};
use crate::node::StartError;
use crate::planted::PlantedBug;
use crate::storage::{Batch, PageLimit, Space, Storage, StorageError};

/// What the store remembers of the slices of a shard.
pub(super) struct Rows {
    pub(super) issuers: BTreeMap<Slice, Issuer>,
    pub(super) synced: BTreeSet<Slice>,
    pub(super) holds_data: bool,
}

impl Rows {
    pub(super) fn read<S: Storage>(storage: &S, start: &Start) -> Result<Self, StartError> {
        let mut rows = Self { issuers: BTreeMap::new(), synced: BTreeSet::new(), holds_data: false };
        for &slice in &start.slices {
            let leased = match storage.get(Space::Meta, lease_key(slice).as_bytes())? {
                Some(_) if start.config.has_bug(PlantedBug::ReuseDot) => 0,
                Some(row) => leased_by(&row, start.actor)?,
                None => 0,
            };
            rows.issuers.insert(slice, Issuer::resume(start.actor, leased));
            if let Some(row) = storage.get(Space::Meta, synced_key(slice).as_bytes())?
                && row == start.actor.0.to_be_bytes()[..]
            {
                rows.synced.insert(slice);
            }
            let (from, to) = bounds(slice);
            let one = PageLimit { rows: 1, bytes: 1 };
            rows.holds_data |=
                !storage.scan(Space::Objects, &from, to.as_ref().map(<[u8; 8]>::as_slice), one)?.rows.is_empty();
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
pub(super) fn put_synced(batch: &mut Batch, slice: Slice, actor: ActorId) {
    batch.put(Space::Meta, synced_key(slice).into_bytes(), actor.0.to_be_bytes().to_vec());
}

pub(super) fn remove_synced(batch: &mut Batch, slice: Slice) {
    batch.remove(Space::Meta, synced_key(slice).into_bytes());
}

/// Where an object lies.
pub(super) fn object_key(key: &Key) -> Bytes {
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

/// The key in an object's place.
pub(super) fn key_in(place: &[u8]) -> Result<Key, StorageError> {
    let damaged = || StorageError::Corrupt(String::from("the place of an object"));
    let text = place.get(8..).and_then(|key| core::str::from_utf8(key).ok()).ok_or_else(damaged)?;
    Key::new(text).map_err(|_| damaged())
}

pub(super) fn decode(row: &[u8], key: &Key) -> Result<SiblingSet, StorageError> {
    postcard::from_bytes(row).map_err(|error| StorageError::Corrupt(format!("object {key:?}: {error}")))
}

/// Merges a set into one that is held. Only a set that no honest node sends cannot be merged.
pub(super) fn merge(held: &mut SiblingSet, set: &SiblingSet) -> Result<bool, StorageError> {
    held.merge(set).map_err(|error| StorageError::Corrupt(format!("{error}")))
}

pub(super) fn load<S: Storage>(storage: &S, key: &Key) -> Result<SiblingSet, StorageError> {
    match storage.get(Space::Objects, &object_key(key))? {
        Some(row) => decode(&row, key),
        None => Ok(SiblingSet::default()),
    }
}

pub(super) fn put_object(batch: &mut Batch, key: &Key, set: &SiblingSet) {
    batch.put(Space::Objects, object_key(key), postcard::to_allocvec(set).expect("every set has a stored form"));
}
