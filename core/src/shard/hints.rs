//! Hints: what this store keeps for owners that could not be reached (hinted handoff; DeCandia et al., "Dynamo", 2007,
//! section 4.6). A hint is a vote for the write it came with, so it is as durable as any copy, and none is dropped before
//! it was delivered durably: with as many as there may be, further ones are refused. It never sends them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Shard, rows};
use crate::causality::{Dot, SiblingSet};
use crate::event::EventKind;
use crate::hash::{Position, Slice, StableHasher};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::message::{Answer, Refusal};
use crate::node::StartError;
use crate::planted::PlantedBug;
use crate::ring::PreferenceList;
use crate::storage::{Batch, PageLimit, Seq, Space, Storage, StorageError};
use crate::wire;

/// How many hints there are, by slice and owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    by_slice: BTreeMap<Slice, BTreeMap<NodeId, u64>>,
    by_target: BTreeMap<NodeId, u64>,
}

/// A hint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hint {
    /// A hash of who owned the key when the first of it was kept.
    pub(super) owners: u64,
    /// What is kept.
    pub(super) set: SiblingSet,
}

impl Hints {
    /// Counts the hints that the store holds of these slices.
    pub(super) fn read<S: Storage>(storage: &S, slices: &[Slice]) -> Result<Self, StartError> {
        let mut hints = Self::default();
        for &slice in slices {
            let mut from = Vec::from([slice.number()]);
            loop {
                let limit = PageLimit { rows: limits::PAGE_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
                let page = storage.scan(Space::Hints, &from, Some(&[slice.number() + 1]), limit)?;
                for (place, _) in &page.rows {
                    let (target, _) = read_place(place)?;
                    hints.added(slice, &target);
                    from = after(place);
                }
                if !page.more {
                    break;
                }
            }
        }
        Ok(hints)
    }

    pub(super) const fn by_target(&self) -> &BTreeMap<NodeId, u64> {
        &self.by_target
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// The first slice and owner after these for which there are hints.
    pub(super) fn next_place(&self, after: Option<&(Slice, NodeId)>) -> Option<(Slice, NodeId)> {
        let begin = after.map_or(Unbounded, |(slice, _)| Included(*slice));
        let mut slices = self.by_slice.range((begin, Unbounded));
        slices.find_map(|(slice, targets)| {
            let begin = match after {
                Some((of, target)) if of == slice => Excluded(target),
                _ => Unbounded,
            };
            targets.range::<NodeId, _>((begin, Unbounded)).next().map(|(target, _)| (*slice, target.clone()))
        })
    }

    /// For whom there are hints of a slice.
    pub(super) fn targets_in(&self, slice: Slice) -> impl Iterator<Item = &NodeId> {
        self.by_slice.get(&slice).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether there is any hint of a slice.
    pub(super) fn has_any_in(&self, slice: Slice) -> bool {
        self.by_slice.contains_key(&slice)
    }

    pub(super) fn added(&mut self, slice: Slice, target: &NodeId) {
        *self.by_slice.entry(slice).or_default().entry(target.clone()).or_default() += 1;
        *self.by_target.entry(target.clone()).or_default() += 1;
    }

    pub(super) fn removed(&mut self, slice: Slice, target: &NodeId) {
        let of_slice = self.by_slice.get_mut(&slice).expect("what is removed was counted");
        take_one(of_slice, target);
        if of_slice.is_empty() {
            self.by_slice.remove(&slice);
        }
        take_one(&mut self.by_target, target);
    }
}

fn take_one(counts: &mut BTreeMap<NodeId, u64>, target: &NodeId) {
    let count = counts.get_mut(target).expect("what is removed was counted");
    *count -= 1;
    if *count == 0 {
        counts.remove(target);
    }
}

impl<S: Storage> Shard<S> {
    /// A coordinator asks this node to stand in for an owner of the key.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of the message")]
    pub(super) fn serve_hint(
        &mut self,
        from: &NodeId,
        request: RequestId,
        layout: LayoutId,
        target: &NodeId,
        key: &Key,
        set: &SiblingSet,
        fresh: Dot,
    ) {
        let result = self.check_layout(from, layout);
        if result.is_ok() {
            let rings = &self.picture.as_ref().expect("messages come after the picture").rings;
            let owners = rings.ring().preference_list(Position::of(key)).primaries();
            if !owners.contains(target) || owners.contains(&self.start.node) {
                return self.reject(from, "a hint for a node that is no owner of the key, or to one that is");
            }
        }
        let result = result.and_then(|()| self.keep(target, key, set, fresh));
        let shown = self.barrier.shown_by(&place(target, key));
        self.answer_after(shown, from, request, key, result);
    }

    /// Merges a write into what is kept for an owner, unless its fresh dot is superseded by that.
    fn keep(&mut self, target: &NodeId, key: &Key, set: &SiblingSet, fresh: Dot) -> Result<Answer, Refusal> {
        let rings = &self.picture.as_ref().expect("messages come after the picture").rings;
        let slice = Position::of(key).slice();
        let owners = owners_hash(&rings.ring().preference_list(Position::of(key)));
        let held = self.hint(target, key).map_err(Refusal::Storage)?;
        let is_new = held.is_none();
        let mut hint = held.unwrap_or(Hint { owners, set: SiblingSet::default() });
        if set.contains(fresh) && hint.set.is_covered(fresh) {
            self.effects.event(|| EventKind::DotRefused { key: key.clone() });
            return Err(Refusal::CoveredDot(hint.set));
        }
        if set.contains(fresh) && !hint.set.contains(fresh) && self.is_sealed(slice, fresh) {
            self.effects.event(|| EventKind::DotRefused { key: key.clone() });
            return Err(Refusal::Sealed);
        }
        let kept = self.hints.by_target().get(target).copied().unwrap_or(0);
        if is_new && kept >= u64::from(self.start.config.repair.hints_max) {
            self.effects.event(|| EventKind::HintRefused { key: key.clone(), target: target.clone() });
            return Err(Refusal::HintsFull);
        }
        if self.has_bug(PlantedBug::ForgetHint) {
            return Ok(Answer::Written);
        }
        if rows::merge(&mut hint.set, set).map_err(Refusal::Storage)? {
            hint.set.forget_requests(self.wall_now(), self.start.config.repair.request_memory);
            let mut batch = Batch::default();
            let place = place(target, key);
            batch.put(Space::Hints, place.clone(), rows::seal(&place, wire::encode(&hint)));
            let seq = self.apply(batch).map_err(Refusal::Storage)?;
            self.barrier.wrote(place, seq);
            if is_new {
                self.hints.added(slice, target);
                self.delivery_begins();
            }
            self.effects.event(|| EventKind::HintStored { key: key.clone(), target: target.clone() });
        }
        Ok(Answer::Written)
    }

    fn hint(&mut self, target: &NodeId, key: &Key) -> Result<Option<Hint>, StorageError> {
        let place = place(target, key);
        let row = self.storage.get(Space::Hints, &place)?;
        match row.as_ref().map(|row| read_row(&place, row)).transpose() {
            Err(StorageError::Corrupt(_)) => {
                self.drop_damaged(&place, &row.unwrap_or_default())?;
                Ok(None)
            }
            read => read,
        }
    }

    /// A damaged hint is lost, as it would be with its disk; the owners' own copies and exchanges make up for it.
    pub(super) fn drop_damaged(&mut self, place: &Bytes, row: &Bytes) -> Result<(), StorageError> {
        let (_, key) = read_place(place)?;
        self.effects.event(|| EventKind::Damaged { key });
        self.forget_hint(place, row).map(drop)
    }

    /// Everything that is kept of a key, whoever it is for, and the batch that makes the last of it durable.
    pub(super) fn hinted(&mut self, key: &Key) -> Result<(SiblingSet, Option<Seq>), StorageError> {
        let mut set = SiblingSet::default();
        let mut shown = None;
        let targets: Vec<NodeId> = self.hints.targets_in(Position::of(key).slice()).cloned().collect();
        for target in targets {
            if let Some(hint) = self.hint(&target, key)? {
                rows::merge(&mut set, &hint.set)?;
                shown = shown.max(self.barrier.shown_by(&place(&target, key)));
            }
        }
        Ok((set, shown))
    }

    /// Forgets a hint that was delivered, unless more has come to it since.
    pub(super) fn forget_hint(&mut self, place: &Bytes, sent: &Bytes) -> Result<bool, StorageError> {
        if self.storage.get(Space::Hints, place)?.as_ref() != Some(sent) {
            return Ok(false);
        }
        let (target, key) = read_place(place)?;
        let mut batch = Batch::default();
        batch.remove(Space::Hints, place.clone());
        let seq = self.apply(batch)?;
        self.barrier.wrote(place.clone(), seq);
        self.hints.removed(Position::of(&key).slice(), &target);
        Ok(true)
    }
}

/// A hash of who owns a key: equal for equal owners, in whatever order they come in the walk.
pub(super) fn owners_hash(list: &PreferenceList<'_>) -> u64 {
    let mut owners: Vec<&NodeId> = list.primaries().iter().collect();
    owners.sort_unstable();
    let mut hasher = StableHasher::new();
    owners.into_iter().for_each(|owner| hasher.bytes(owner.as_str().as_bytes()));
    hasher.finish()
}

/// The first place of the hints of a slice for an owner. Slices come first, for a shard holds some slices of a store that
/// it shares with others; a zero ends the name, which has none in it.
pub(super) fn first_place(slice: Slice, target: &NodeId) -> Vec<u8> {
    let mut place = Vec::with_capacity(2 + target.as_str().len());
    place.push(slice.number());
    place.extend_from_slice(target.as_str().as_bytes());
    place.push(0);
    place
}

/// The first place after them.
pub(super) fn end_place(slice: Slice, target: &NodeId) -> Vec<u8> {
    let mut place = first_place(slice, target);
    *place.last_mut().expect("it ends with a zero") = 1;
    place
}

/// Where a hint lies: by slice, owner and position.
pub(super) fn place(target: &NodeId, key: &Key) -> Bytes {
    let mut place = first_place(Position::of(key).slice(), target);
    place.extend_from_slice(&rows::object_key(key));
    place.into()
}

/// The first place after a place.
pub(super) fn after(place: &[u8]) -> Vec<u8> {
    let mut after = place.to_vec();
    after.push(0);
    after
}

/// For whom the hint in a place is, and of which key.
pub(super) fn read_place(place: &[u8]) -> Result<(NodeId, Key), StorageError> {
    let damaged = || StorageError::Corrupt(String::from("the place of a hint"));
    let named = place.get(1..).ok_or_else(damaged)?;
    let end = named.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
    let (target, object) = named.split_at(end);
    let target = core::str::from_utf8(target).ok().and_then(|text| NodeId::new(text).ok()).ok_or_else(damaged)?;
    Ok((target, rows::key_in(&object[1..])?))
}

pub(super) fn read_row(place: &[u8], row: &[u8]) -> Result<Hint, StorageError> {
    postcard::from_bytes(rows::unseal(place, row)?).map_err(|error| StorageError::Corrupt(format!("a hint: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStore;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a good name")
    }

    fn key(number: u32) -> Key {
        Key::new(&format!("key-{number}")).expect("a good key")
    }

    #[test]
    fn a_place_tells_whose_hint_it_is_and_of_which_key() {
        for (target, number) in [("B", 1), ("node-2.example", 77)] {
            let place = place(&node(target), &key(number));
            assert_eq!(read_place(&place), Ok((node(target), key(number))));
        }
        for damaged in [&b""[..], b"\x01", b"\x01node", b"\x01node\0", b"\x01\xff\0AAAAAAAAkey"] {
            assert!(matches!(read_place(damaged), Err(StorageError::Corrupt(_))), "{damaged:?}");
        }
    }

    #[test]
    fn hints_of_one_owner_lie_together_in_the_order_of_the_ring() {
        let slice = Position::of(&key(0)).slice();
        let in_slice = (0..2_000).map(key).filter(|key| Position::of(key).slice() == slice);
        let mut places: Vec<_> =
            in_slice.flat_map(|key| ["B", "B1", "A"].map(|name| place(&node(name), &key))).collect();
        places.sort_unstable();
        let mut positions = BTreeMap::new();
        for place in &places {
            let (target, key) = read_place(place).expect("a place");
            assert!(first_place(slice, &target)[..] <= place[..] && place[..] < end_place(slice, &target)[..]);
            let before = positions.insert(target, Position::of(&key));
            assert!(before <= Some(Position::of(&key)), "in order");
        }
        let owners: Vec<_> = places.iter().map(|place| read_place(place).expect("a place").0).collect();
        assert!(owners.is_sorted(), "one after the other");
        assert!(places.len() > 60, "{} hints show nothing", places.len());
    }

    #[test]
    fn hints_are_found_again_by_who_holds_their_slices() {
        let mut store = MemoryStore::default();
        let mut batch = Batch::default();
        for number in 0..1_000 {
            batch.put(Space::Hints, place(&node(if number % 4 == 0 { "A" } else { "B" }), &key(number)), "");
        }
        store.apply(batch).expect("memory does not fail");
        let (even, odd): (Vec<Slice>, Vec<Slice>) = Slice::all().partition(|slice| slice.number() % 2 == 0);
        let count = |slices: &[Slice], target: &str| {
            let hints = Hints::read(&store, slices).expect("it can be read");
            hints.by_target().get(&node(target)).copied().unwrap_or(0)
        };
        assert_eq!(count(&even, "A") + count(&odd, "A"), 250);
        assert_eq!(count(&even, "B") + count(&odd, "B"), 750);
        assert!(count(&even, "B") > 250 && count(&odd, "B") > 250);
    }
}
