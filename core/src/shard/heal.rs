//! Damaged objects: a row that does not match its checksum is fetched from the other owners of its key. Until then this
//! store says that it cannot read the key, which is neither a vote nor an absence. Never writes a copy before it has heard
//! so many owners that any earlier quorum has one of them, as a joiner does (see `transfer`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::mint::forgotten_dots;
use super::round::merge_all;
use super::{Shard, rows};
use crate::causality::SiblingSet;
use crate::event::EventKind;
use crate::hash::Position;
use crate::id::{Key, NodeId, RequestId};
use crate::limits;
use crate::message::{Answer, Refusal, ShardMessage};
use crate::storage::{Storage, StorageError};
use crate::time::Time;

/// Between two askings of owners that have not answered.
const HEAL_RETRY: Duration = Duration::from_millis(1_000);

/// A damaged object that is being fetched.
#[derive(Clone, Debug)]
pub(super) struct Heal {
    request: RequestId,
    /// What those who answered hold.
    sets: BTreeMap<NodeId, SiblingSet>,
    /// Those of them that hold everything they own.
    synced: BTreeSet<NodeId>,
    /// Owners whose own copy is damaged.
    damaged: BTreeSet<NodeId>,
    due: Time,
}

impl Heal {
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    fn has_answered(&self, node: &NodeId) -> bool {
        self.sets.contains_key(node) || self.damaged.contains(node)
    }
}

impl<S: Storage> Shard<S> {
    /// What this store holds of a key. A damaged object begins to be healed.
    ///
    /// # Errors
    /// [`StorageError`]: an error is never an absence.
    pub(super) fn load(&mut self, key: &Key) -> Result<SiblingSet, StorageError> {
        let held = rows::load(&self.storage, key);
        if let Err(StorageError::Corrupt(_)) = &held {
            self.begin_heal(key);
        }
        held
    }

    /// Begins to fetch a damaged object, unless as many are under way as may be: then it is met again later. A key that
    /// nobody else owns stays damaged.
    pub(super) fn begin_heal(&mut self, key: &Key) {
        if self.picture.is_none() || self.heals.len() >= limits::HEALS_MAX || self.heals.contains_key(key) {
            return;
        }
        self.effects.event(|| EventKind::Damaged { key: key.clone() });
        if self.other_owners(key).is_empty() {
            return;
        }
        let (request, due) = (self.new_request(), self.effects.now);
        let (sets, synced, damaged) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        self.heals.insert(key.clone(), Heal { request, sets, synced, damaged, due });
    }

    /// The owners of a key but this node, settled or not.
    fn other_owners(&self, key: &Key) -> BTreeSet<NodeId> {
        let Some(picture) = &self.picture else { return BTreeSet::new() };
        let at = Position::of(key);
        let rings = picture.rings.writing(at.slice());
        let owners = rings.iter().flat_map(|active| active.ring.preference_list(at).primaries());
        owners.filter(|node| **node != picture.me).cloned().collect()
    }

    pub(super) fn heals_on_time(&mut self) {
        let now = self.effects.now;
        let due: Vec<Key> = self.heals.iter().filter(|(_, heal)| heal.due <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.ask_owners(&key);
        }
    }

    /// The layout has changed: what was heard counted under the one before.
    pub(super) fn restart_heals(&mut self) {
        let now = self.effects.now;
        for heal in self.heals.values_mut() {
            *heal = Heal { sets: BTreeMap::new(), synced: BTreeSet::new(), due: now, ..heal.clone() };
        }
    }

    fn ask_owners(&mut self, key: &Key) {
        let owners = self.other_owners(key);
        let (Some(picture), Some(heal)) = (self.picture.clone(), self.heals.get_mut(key)) else { return };
        heal.due = self.effects.now + HEAL_RETRY;
        // Somebody who could not read it either may have healed since.
        heal.damaged.clear();
        let request = heal.request;
        let silent = |node: &NodeId| !heal.sets.contains_key(node) || !heal.synced.contains(node);
        let asked: Vec<NodeId> =
            owners.into_iter().filter(|node| silent(node) && !picture.down.contains(node)).collect();
        for node in asked {
            let slice = Position::of(key).slice();
            let (layout, under) = (picture.rings.id, picture.rings.reads_under(slice));
            self.send(node, slice, ShardMessage::Read { request, layout, under, key: key.clone() });
        }
    }

    /// Takes an answer, if it is one to a question of these. Says whether it was.
    pub(super) fn take_heal_answer(
        &mut self,
        from: &NodeId,
        request: RequestId,
        result: &Result<Answer, Refusal>,
    ) -> bool {
        let Some((key, heal)) = self.heals.iter_mut().find(|(_, heal)| heal.request == request) else { return false };
        let key = key.clone();
        match result {
            Ok(Answer::Holds { set, synced }) => {
                heal.damaged.remove(from);
                heal.sets.insert(from.clone(), set.clone());
                if *synced {
                    heal.synced.insert(from.clone());
                }
            }
            Err(Refusal::Storage(StorageError::Corrupt(_))) => {
                heal.damaged.insert(from.clone());
            }
            _ => {}
        }
        self.judge_heal(&key);
        true
    }

    /// Writes the merge of what was heard once that is enough: so many synced owners that every quorum has one of them, or,
    /// with one at least, all there are. For if all have answered there is nobody left who could know more.
    fn judge_heal(&mut self, key: &Key) {
        let (Some(picture), Some(heal)) = (&self.picture, self.heals.get(key)) else { return };
        let replication = picture.config.replication;
        let owners =
            picture.rings.reading(Position::of(key).slice()).ring.preference_list(Position::of(key)).primaries();
        let least = usize::from(replication.r.get().min(replication.w.get())).min(owners.len());
        let others: Vec<&NodeId> = owners.iter().filter(|node| **node != picture.me).collect();
        let needed = (owners.len() + 1 - least).min(others.len()).max(1);
        let synced = others.iter().filter(|node| heal.synced.contains(**node)).count();
        let all_answered = self.other_owners(key).iter().all(|node| heal.has_answered(node));
        if synced < needed && !(all_answered && synced > 0) {
            return;
        }
        let merged = merge_all(heal.sets.values());
        // What only a store shows that is not synced may be long dead: below the floor the others would have it.
        let sure = merge_all(heal.sets.iter().filter(|(node, _)| heal.synced.contains(*node)).map(|(_, set)| set));
        let merged = self.strip(Position::of(key), &sure, &merged).into_owned();
        self.heals.remove(key);
        if let Err(error) = self.heal(key, &merged) {
            self.note_failure(&error);
        }
    }

    fn heal(&mut self, key: &Key, merged: &SiblingSet) -> Result<(), StorageError> {
        match rows::load(&self.storage, key) {
            // The disk has thought better of it.
            Ok(_) => self.merge(key, merged).map(|_| ()),
            Err(StorageError::Corrupt(_)) => {
                if let Some(issuer) = self.issuers.get_mut(&Position::of(key).slice()) {
                    // What was damaged may have been the only copy of dots of this very store.
                    issuer.forgot();
                    if let Some(forgotten) = forgotten_dots(issuer, merged, &self.start.config) {
                        self.tell(forgotten);
                    }
                }
                self.store_over_damaged(key, merged)?;
                self.exchanges.numbers.objects_healed += 1;
                self.effects.event(|| EventKind::Healed { key: key.clone() });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
