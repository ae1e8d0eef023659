//! Collecting tombstones, at one store: what is sealed, what the floor is, and what follows. Never decides that a floor may
//! be raised: `agreement` does, for all owners together, and says there why that is safe.
//!
//! Below a **floor** this store has seen everything that was ever written. So a key of which only deletions are left, all
//! that is known of it below the floor, is removed whole; and a version below the floor that comes from outside and is not
//! live here was superseded, whatever its sender knows: it is dropped before anything is merged, in one place, [`strip`].
//! Below a **seal** (never lower than the floor) this store takes no fresh write that it does not hold yet.
//!
//! Deleted keys have a row of their own each, written and removed with the object, so that a look for tombstones reads
//! nothing else.
//!
//! [`strip`]: Shard::strip

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::agreement::Round;
use super::survey::Survey;
use super::{Shard, rows};
use crate::causality::{Dot, Floor, SiblingSet};
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId};
use crate::limits;
use crate::message::{CollectionMessage, ShardMessage};
use crate::planted::PlantedBug;
use crate::storage::{Batch, PageLimit, Seq, Space, Storage, StorageError};
use crate::time::Time;

/// Between two pages of a sweep or a survey: clients come first.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// Until a page that could not be swept is tried again.
const SWEEP_RETRY: Duration = Duration::from_secs(1);

/// What a store remembers of a slice, durably.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    pub(super) sealed: Floor,
    pub(super) floor: Floor,
}

/// Everything about collection that a shard keeps.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) marks: BTreeMap<Slice, Marks>,
    /// When the next slice is looked at, and which one that is.
    turn_due: Time,
    turn: usize,
    /// Up to which place a slice was looked through for tombstones; nothing is the beginning.
    looked: BTreeMap<Slice, Vec<u8>>,
    /// From which place on a slice is to be swept of what its floor has made needless, and when.
    sweeps: BTreeMap<Slice, (Time, Vec<u8>)>,
    /// Agreements that this node leads.
    pub(super) rounds: BTreeMap<Slice, Round>,
    /// Comparisons that others lead, or this node itself.
    pub(super) surveys: BTreeMap<Slice, Survey>,
}

impl Collection {
    pub(super) fn new(marks: BTreeMap<Slice, Marks>, now: Time) -> Self {
        let (looked, sweeps) = (BTreeMap::new(), BTreeMap::new());
        let (rounds, surveys) = (BTreeMap::new(), BTreeMap::new());
        Self { marks, turn_due: now, turn: 0, looked, sweeps, rounds, surveys }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        let sweep = self.sweeps.values().map(|(due, _)| *due).min();
        let round = self.rounds.values().map(Round::due).min();
        let survey = self.surveys.values().map(Survey::due).min();
        [Some(self.turn_due), sweep, round, survey].into_iter().flatten().min()
    }
}

impl<S: Storage> Shard<S> {
    /// Below this, the store has seen everything that was ever written to the slice: what is not live below it is gone.
    #[must_use]
    pub fn floor(&self, slice: Slice) -> Floor {
        self.collection.marks.get(&slice).map(|marks| marks.floor.clone()).unwrap_or_default()
    }

    /// Whether tombstones of a slice may be agreed on: only the owners of now are asked for it, and this store has all.
    pub(super) fn may_collect(&self, slice: Slice) -> bool {
        self.is_whole(slice) && self.picture.as_ref().is_some_and(|picture| picture.rings.is_settled(slice))
    }

    pub(super) fn is_sealed(&self, slice: Slice, dot: Dot) -> bool {
        self.collection.marks.get(&slice).is_some_and(|marks| marks.sealed.covers(dot))
    }

    /// What of a set from outside may be merged with what is held of the key: all but versions that lie below the floor
    /// and are not live here. They were superseded and forgotten. Every way into a held set leads through here.
    ///
    /// Of a position that this node has not owned all the time the store has not seen everything, whatever its floor is: not
    /// before it has pulled it.
    pub(super) fn strip<'a>(&self, at: Position, held: &SiblingSet, set: &'a SiblingSet) -> Cow<'a, SiblingSet> {
        let marks = self.collection.marks.get(&at.slice()).filter(|_| self.has_seen_all(at));
        let Some(marks) = marks else { return Cow::Borrowed(set) };
        let is_dead = |dot: Dot| marks.floor.covers(dot) && !held.contains(dot);
        if !set.live().any(|(dot, _)| is_dead(dot)) {
            return Cow::Borrowed(set);
        }
        let mut stripped = set.clone();
        stripped.bury(is_dead);
        Cow::Owned(stripped)
    }

    pub(super) fn on_collection(&mut self, from: &NodeId, slice: Slice, message: CollectionMessage) {
        match message {
            CollectionMessage::Wanted { layout, upto } => self.on_wanted(from, slice, layout, upto),
            CollectionMessage::Seal { request, layout, upto } => self.serve_seal(from, slice, request, layout, &upto),
            CollectionMessage::Sealed { request, result } => self.on_sealed(from, slice, request, result),
            CollectionMessage::Compare { request, layout, upto } => {
                self.serve_compare(from, slice, request, layout, upto);
            }
            CollectionMessage::Compared { request, result } => self.on_compared(from, slice, request, result),
            CollectionMessage::Raised { floor } => {
                self.adopt_floor(slice, &floor);
                // Whoever says so may have seen here what a crash kept from being swept.
                self.begin_sweep(slice);
            }
        }
    }

    /// To a member, this node itself included.
    pub(super) fn post(&mut self, to: &NodeId, slice: Slice, message: CollectionMessage) {
        if *to == self.start.node {
            self.on_collection(to, slice, message);
        } else {
            self.send(to.clone(), slice, ShardMessage::Collection(message));
        }
    }

    pub(super) fn collect_on_time(&mut self) {
        let now = self.effects.now;
        if self.collection.turn_due <= now {
            let slices = u32::try_from(self.start.slices.len()).expect("64 at most").max(1);
            let pause = (self.start.config.repair.collect_interval / slices).max(PAUSE);
            self.collection.turn_due = now + pause;
            let turn = self.collection.turn % self.start.slices.len().max(1);
            self.collection.turn = turn + 1;
            if let Some(slice) = self.start.slices.get(turn).copied() {
                self.look_for_tombstones(slice);
            }
        }
        let due: Vec<Slice> =
            self.collection.sweeps.iter().filter(|(_, (due, _))| *due <= now).map(|(slice, _)| *slice).collect();
        due.into_iter().for_each(|slice| self.sweep(slice));
        self.surveys_on_time();
        self.rounds_on_time();
    }

    /// Tells the leader of the slice what should be below the floor, if there is anything.
    fn look_for_tombstones(&mut self, slice: Slice) {
        let Some(picture) = self.picture.clone().filter(|_| self.may_collect(slice)) else { return };
        let Ok(upto) = self.tombstones(slice) else { return };
        if upto.is_empty() {
            return;
        }
        if self.start.config.has_bug(PlantedBug::CollectEarly) {
            self.adopt_floor(slice, &upto);
            return;
        }
        let primaries = picture.rings.ring().preference_list(slice.first()).primaries();
        let Some(leader) = primaries.first().cloned() else { return };
        let layout = picture.rings.id;
        self.post(&leader, slice, CollectionMessage::Wanted { layout, upto });
    }

    /// What would have to be below the floor for the tombstones of the next page to go: those that are old enough.
    fn tombstones(&mut self, slice: Slice) -> Result<Floor, StorageError> {
        let keep_ms = u64::try_from(self.start.config.repair.collect_after.as_millis()).unwrap_or(u64::MAX);
        let wall = self.wall_now().0;
        let from = self.collection.looked.remove(&slice);
        let (keys, next) = self.deleted_keys(slice, from.as_deref(), limits::TOMBSTONES_PER_LOOK)?;
        if let Some(next) = next {
            self.collection.looked.insert(slice, next);
        }
        let mut upto = Floor::new();
        for key in keys {
            let Ok(set) = rows::load(&self.storage, &key) else { continue };
            let old = |wall_ms: u64| wall_ms.saturating_add(keep_ms) <= wall;
            if set.is_deleted() && set.live().all(|(_, version)| old(version.stamp.wall_ms)) {
                // Where there is no room for one more actor, this tombstone stays until others have gone.
                let _ = upto.raise_above(set.context());
            }
        }
        Ok(upto)
    }

    /// Keys of which only deletions are left, and the place after them if there are more.
    fn deleted_keys(
        &self,
        slice: Slice,
        from: Option<&[u8]>,
        rows: u32,
    ) -> Result<(Vec<Key>, Option<Vec<u8>>), StorageError> {
        let (first, end) = rows::deleted_bounds(slice);
        let limit = PageLimit { rows, bytes: limits::PAGE_BYTES_MAX };
        let page = self.storage.scan(Space::Meta, from.unwrap_or(&first), Some(&end), limit)?;
        let next = page.rows.last().filter(|_| page.more).map(|(place, _)| rows::place_after(place));
        let keys = page.rows.iter().map(|(place, _)| rows::deleted_key_in(place));
        Ok((keys.collect::<Result<_, _>>()?, next))
    }

    /// Raises this store's floor, durably; not while it may lack something. Gives back the batch, if there was one.
    pub(super) fn adopt_floor(&mut self, slice: Slice, floor: &Floor) -> Option<Seq> {
        let mut marks = self.collection.marks.get(&slice).cloned().unwrap_or_default();
        if !self.synced.contains_key(&slice) || !marks.floor.raise(floor) {
            return None;
        }
        let raised = marks.floor.clone();
        marks.sealed.raise(&raised);
        let seq = self.save_marks(slice, marks).ok()?;
        self.effects.event(|| EventKind::FloorRaised { slice: slice.number() });
        self.begin_sweep(slice);
        Some(seq)
    }

    pub(super) fn begin_sweep(&mut self, slice: Slice) {
        let due = self.effects.now + PAUSE;
        self.collection.sweeps.insert(slice, (due, rows::deleted_bounds(slice).0));
    }

    pub(super) fn save_marks(&mut self, slice: Slice, marks: Marks) -> Result<Seq, StorageError> {
        let mut batch = Batch::default();
        rows::put_marks(&mut batch, slice, &marks);
        let seq = self.apply(batch)?;
        self.barrier.wrote(rows::marks_key(slice).into(), seq);
        self.collection.marks.insert(slice, marks);
        Ok(seq)
    }

    /// Removes a page of tombstones that nobody needs any more.
    fn sweep(&mut self, slice: Slice) {
        let Some((_, from)) = self.collection.sweeps.remove(&slice) else { return };
        let swept = self.deleted_keys(slice, Some(&from), limits::COLLECTION_ROWS_MAX).and_then(|(keys, next)| {
            keys.iter().try_for_each(|key| self.sweep_key(slice, key))?;
            Ok(next)
        });
        let now = self.effects.now;
        match swept {
            Ok(Some(next)) => _ = self.collection.sweeps.insert(slice, (now + PAUSE, next)),
            Ok(None) => {}
            // The other owners may have forgotten what this one still shows: the page is swept again until it can be.
            Err(_) => _ = self.collection.sweeps.insert(slice, (now + SWEEP_RETRY, from)),
        }
    }

    /// Forgets a key if its floor has made it needless. A damaged one is healed first, by whoever meets it.
    fn sweep_key(&mut self, slice: Slice, key: &Key) -> Result<(), StorageError> {
        let set = match rows::load(&self.storage, key) {
            Err(StorageError::Corrupt(_)) => return Ok(()),
            read => read?,
        };
        if set.is_deleted() && self.floor(slice).covers_all(set.context()) {
            self.store_in(Batch::default(), key, &set, None)?;
            self.effects.event(|| EventKind::TombstoneCollected { key: key.clone() });
        }
        Ok(())
    }

    /// What a page of a transfer says of what this store holds: below the floor of the giver, and on arcs that both own,
    /// whatever is not live there is dead. A store that was rolled back may hold such things.
    pub(super) fn bury_missing(
        &mut self,
        giver: &NodeId,
        slice: Slice,
        span: (Vec<u8>, Option<Vec<u8>>),
        given: &BTreeMap<&Key, &SiblingSet>,
        floor: &Floor,
    ) -> Result<(), StorageError> {
        let Some(pull) = self.pulls.get(&slice) else { return Ok(()) };
        let (under, since) = (pull.under(), pull.since());
        let Some(picture) = self.picture.clone().filter(|_| !floor.is_empty()) else { return Ok(()) };
        let (mut from, to) = span;
        let limit = PageLimit { rows: limits::COLLECTION_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
        loop {
            let page = rows::scan(&self.storage, &from, to.as_deref(), limit)?;
            for object in &page.found {
                let gives = picture.rings.gives(giver, under, &self.start.node, since, object.at);
                if !gives || !picture.rings.will_own(giver, object.at) {
                    continue;
                }
                let mut left = object.set.clone();
                let is_live = |dot: Dot| given.get(&object.key).is_some_and(|set| set.contains(dot));
                if left.bury(|dot| floor.covers(dot) && !is_live(dot)) {
                    let left = Some(&left).filter(|left| !left.is_empty());
                    self.store_in(Batch::default(), &object.key, &object.set, left)?;
                }
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }
}
