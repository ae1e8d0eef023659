//! A replica's side: answer what this store holds of a key, merge what a coordinator sends. It merges, never overwrites,
//! never mints a dot, and refuses whoever acts under another layout.

use super::barrier::Then;
use super::mint::forgotten_dots;
use super::{Shard, rows};
use crate::causality::{Dot, SiblingSet};
use crate::config::Strategy;
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::message::{Answer, Refusal, ShardMessage};
use crate::node::FromShard;
use crate::planted::PlantedBug;
use crate::storage::{Seq, Storage, StorageError};

impl<S: Storage> Shard<S> {
    pub(super) fn serve_read(&mut self, from: &NodeId, request: RequestId, layout: LayoutId, under: u64, key: &Key) {
        let at = Position::of(key);
        let result = self.check_layout(from, layout).and_then(|()| self.check_reading(from, at.slice(), under));
        let rings = &self.picture.as_ref().expect("messages come after the picture").rings;
        if rings.owns(&self.start.node, at) {
            let result = result.and_then(|()| self.holds(under, key));
            return self.answer(from, request, key, result);
        }
        // What a node that owns nothing of the key has beyond its hints may be what it owned once: others know better.
        match result.and_then(|()| self.hinted(key).map_err(Refusal::Storage)) {
            Ok((set, shown)) => self.answer_after(shown, from, request, key, Ok(Answer::Holds { set, synced: false })),
            Err(refusal) => self.answer_after(None, from, request, key, Err(refusal)),
        }
    }

    pub(super) fn serve_write(
        &mut self,
        from: &NodeId,
        request: RequestId,
        layout: LayoutId,
        key: &Key,
        set: &SiblingSet,
        fresh: Dot,
    ) {
        let result = self.check_layout(from, layout).and_then(|()| self.merge_fresh(key, set, fresh));
        self.answer(from, request, key, result);
    }

    /// Nobody waits for the outcome: what fails is repaired by the next read.
    pub(super) fn serve_repair(&mut self, from: &NodeId, layout: LayoutId, key: &Key, set: &SiblingSet) {
        match self.check_layout(from, layout).and_then(|()| self.merge(key, set).map_err(Refusal::Storage)) {
            Ok(_) => self.bring_up_if_it_shows_dead(from, key, set),
            Err(Refusal::Storage(error)) => {
                self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
            }
            Err(_) => self.reject(from, "a repair under another layout"),
        }
    }

    /// The fence of writes, and of all that follows from them: whoever acts under another layout is refused, so that nobody
    /// gathers votes of the older one once its successor is acknowledged here.
    pub(super) fn check_layout(&mut self, from: &NodeId, named: LayoutId) -> Result<(), Refusal> {
        let rings = &self.picture.as_ref().expect("messages come after the picture").rings;
        if rings.id == named || (self.has_bug(PlantedBug::FenceLate) && rings.knows(named)) {
            return Ok(());
        }
        self.refuse_layout(from, named.version, rings.id.version)
    }

    /// The fence of reads: who has moved on reads under nothing older any more.
    fn check_reading(&mut self, from: &NodeId, slice: Slice, under: u64) -> Result<(), Refusal> {
        let own = self.picture.as_ref().expect("messages come after the picture").rings.reads_under(slice);
        if under >= own || self.has_bug(PlantedBug::FenceLate) {
            return Ok(());
        }
        self.refuse_layout(from, under, own)
    }

    fn refuse_layout(&mut self, from: &NodeId, named: u64, own: u64) -> Result<(), Refusal> {
        self.effects.event(|| EventKind::LayoutRefused { named, own });
        self.tell(FromShard::LayoutDiffers(from.clone()));
        Err(Refusal::Layout)
    }

    fn holds(&mut self, under: u64, key: &Key) -> Result<Answer, Refusal> {
        let set = self.load(key).map_err(Refusal::Storage)?;
        let slice = Position::of(key).slice();
        let synced = self.is_synced_under(slice, under) || self.has_bug(PlantedBug::ReadUnsynced);
        Ok(Answer::Holds { set, synced })
    }

    /// Merges a coordinator's write, unless its fresh dot is superseded by what is held, or sealed: then the write would
    /// vanish. A retry may be of a write that its coordinator knows to be superseded: that one is not fresh.
    fn merge_fresh(&mut self, key: &Key, set: &SiblingSet, fresh: Dot) -> Result<Answer, Refusal> {
        let held = self.load(key).map_err(Refusal::Storage)?;
        if set.contains(fresh) && held.is_covered(fresh) {
            self.effects.event(|| EventKind::DotRefused { key: key.clone() });
            if self.has_bug(PlantedBug::AcknowledgeCovered) {
                return Ok(Answer::Written);
            }
            return Err(Refusal::CoveredDot(held));
        }
        if set.contains(fresh) && !held.contains(fresh) && self.is_sealed(Position::of(key).slice(), fresh) {
            self.effects.event(|| EventKind::DotRefused { key: key.clone() });
            return Err(Refusal::Sealed);
        }
        self.merge_into(key, held, set).map_err(Refusal::Storage)?;
        Ok(Answer::Written)
    }

    /// Merges a set from outside into what is held, and gives back the merge.
    pub(super) fn merge(&mut self, key: &Key, set: &SiblingSet) -> Result<SiblingSet, StorageError> {
        let before = self.load(key)?;
        self.merge_into(key, before, set)
    }

    /// As [`Self::merge`], where what is held has just been read.
    fn merge_into(&mut self, key: &Key, before: SiblingSet, set: &SiblingSet) -> Result<SiblingSet, StorageError> {
        let slice = Position::of(key).slice();
        let set = self.strip(Position::of(key), &before, set);
        if let Some(issuer) = self.issuers.get_mut(&slice) {
            // Whoever knows more of this store's dots than the store does has what it has forgotten.
            if !set.is_empty() {
                issuer.observe(before.context(), set.context());
            }
            if let Some(forgotten) = forgotten_dots(issuer, &set, &self.start.config) {
                self.tell(forgotten);
            }
        }
        let mut merged = before.clone();
        // Of a key that was collected here, what others still know is not worth a row.
        if (before.is_empty() && set.is_empty()) || !rows::merge(&mut merged, &set)? {
            return Ok(before);
        }
        if self.has_bug(PlantedBug::KeepNewest) {
            merged = merged.collapsed();
        }
        merged.forget_requests(self.wall_now(), self.start.config.repair.request_memory);
        self.store(key, &before, &merged)?;
        self.tell_of_conflict(key, &before, &merged);
        Ok(merged)
    }

    /// Where one value comes to stand beside another one, the key's first living owner has everybody told. What comes here
    /// with all its values is an old story.
    fn tell_of_conflict(&mut self, key: &Key, before: &SiblingSet, merged: &SiblingSet) {
        if before.live().count() != 1 || merged.live().count() < 2 {
            return;
        }
        let picture = self.picture.as_ref().expect("sets come after the picture");
        let siblings = merged.values().len();
        let primaries = picture.rings.ring().preference_list(Position::of(key)).primaries();
        let teller = primaries.iter().find(|owner| !picture.down.contains(*owner));
        if siblings > 1 && teller == Some(&self.start.node) && picture.config.strategies.of(key) == Strategy::Siblings {
            self.tell(FromShard::Conflict { key: key.clone(), siblings });
        }
    }

    /// Answers once everything that the answer shows or promises is durable: this node's own question included.
    pub(super) fn answer(&mut self, to: &NodeId, request: RequestId, key: &Key, result: Result<Answer, Refusal>) {
        let shown = self.barrier.shown_by(&rows::object_key(key));
        self.answer_after(shown, to, request, key, result);
    }

    /// Answers once a batch is durable.
    pub(super) fn answer_after(
        &mut self,
        shown: Option<Seq>,
        to: &NodeId,
        request: RequestId,
        key: &Key,
        result: Result<Answer, Refusal>,
    ) {
        let slice = Position::of(key).slice();
        let own = *to == self.start.node;
        match shown.filter(|_| !self.has_bug(PlantedBug::VoteBeforeDurable)) {
            Some(seq) => {
                let then = if own {
                    Then::Answer { request, result }
                } else {
                    Then::Send { to: to.clone(), slice, message: ShardMessage::Answer { request, result } }
                };
                self.barrier.wait(seq, self.effects.cause, then);
            }
            None if own => self.on_answer(to, request, result),
            None => self.send(to.clone(), slice, ShardMessage::Answer { request, result }),
        }
    }
}
