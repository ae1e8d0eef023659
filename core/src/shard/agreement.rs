//! How owners agree that a floor may be raised: a leader asks all members of the layout, and raises nothing before all have
//! answered. Any node may lead, several at once do no harm; usually it is the first owner of the slice's first position.
//! It removes nothing itself.
//!
//! 1. A store that holds old tombstones tells the leader what it **wants** below the floor: of each actor, the greatest
//!    counter that these keys know.
//! 2. All members of the layout **seal** that bound, durably, and say whether they keep hints. From then on each refuses a
//!    fresh write, or a hint, under a dot below it that it does not hold; its coordinator mints another dot.
//! 3. Once all have sealed and nobody keeps a hint, every owner of every arc of the slice gives a digest of the versions
//!    below the bound that are live with it, but for tombstones below the floor there is: some owners may have forgotten
//!    them, and others not yet. It is durable, and read after the seal. An arc is agreed once its owners gave
//!    the same; that may take several attempts, while clients go on writing.
//! 4. Once all arcs are agreed under one layout the floor is **raised** to the bound.
//!
//! Why that is safe. Let *d* be a dot below the bound, of a write that a client was told is safe. A quorum stored it
//! durably; as long as no more stores than the quorum allows for lose what they hold, one of them has it: an owner, a
//! fallback with a hint, or an owner of before, from which the owner of now has pulled (all are synced, or they do not
//! seal). No fallback has a hint when it seals, and it takes none below the bound afterwards; where a hint was handed over,
//! the owner had it durably before the hint was removed, which is before the digests. So an owner knows *d* when it gives
//! its digest. If *d* is live there, equal digests say that it is live at every owner: all have seen it. If not, *d* was
//! superseded there by a write whose author had seen it, and no owner shows it as live: it is dead, and whoever brings it
//! later brings something dead. What is known of a key is closed: a set that has heard of a write has heard of all that
//! the write has seen, for contexts and sets travel whole. So an owner at which a tombstone is live knows everything that
//! the tombstone has replaced, and after agreement every owner does, or is ahead of it.
//!
//! From this follow the rules of `collection`. *A version below the floor that is not live here is dead*: it was live with
//! all owners or with none when they agreed, and one that was live here and is not any more has been superseded. *A key
//! with nothing but tombstones, all it knows below the floor, may be forgotten*: everything older is dropped when it comes,
//! everything newer has a dot above the floor, since no actor issues a counter twice, and stands alone as it should.
//!
//! What it rests on, and where that is seen to: counters of a slice only grow, also over restarts (leases), and a store
//! that was restored has a new actor (`node::life`). A restored store has lost its floor, its seal and what it had seen: it
//! is not synced, so nothing is agreed meanwhile. It pulls pages, each with the floor of its giver, who is synced and owns
//! the same arcs: what it holds below that floor and the giver does not show as live is dead ([`Shard::bury_missing`]), and
//! from its first pages it has a floor again, the lowest of its givers'. A new owner does the same; one that has a floor of
//! its own, from other arcs of the slice, takes nothing from a giver that has not heard of that floor, and until it has
//! pulled an arc its floor says nothing about it ([`Shard::strip`]). A layout that changes ends the round; the digests
//! before it were given before its owners acknowledged the new layout, so before they gave a new owner its pages. While a
//! slice passes from one layout to the next nothing is agreed: owners of before may still be read, and are not asked.
//!
//! What it does not cover: a write that nobody was told is safe, of which every durable copy is lost and a message alone is
//! left, may be shown by one owner and dropped by the others until the key is written again.
//!
//! A member that is dead, not synced or under another layout stops all collection, as it must: its hints and its copies
//! may be anything. It is heard again or leaves the layout.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::barrier::Then;
use super::{Shard, rows};
use crate::causality::{Floor, SiblingSet};
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::{LayoutId, Rings};
use crate::message::{ArcDigest, CollectionMessage, Refusal, SealedStore, ShardMessage};
use crate::storage::{Storage, StorageError};
use crate::time::Time;

/// The shortest and the longest time between two attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the leader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sealing,
    Comparing,
}

/// An agreement that this node leads.
#[derive(Clone, Debug)]
pub(super) struct Round {
    layout: LayoutId,
    upto: Floor,
    stage: Stage,
    request: RequestId,
    sealed: BTreeSet<NodeId>,
    /// The digests of this attempt.
    compared: BTreeMap<NodeId, BTreeMap<Position, ArcDigest>>,
    /// Arcs that are agreed, by their last positions.
    agreed: BTreeSet<Position>,
    due: Time,
}

impl Round {
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// Takes in what the owners gave: an arc is agreed if they all gave the same. Says whether all arcs are.
    fn judge(&mut self, rings: &Rings, slice: Slice) -> bool {
        // Nothing if the owner has not answered; nothing inside if it holds nothing below the bound.
        let given = |owner: &NodeId, arc: Position| self.compared.get(owner).map(|arcs| arcs.get(&arc));
        let mut all = true;
        let mut agreed = Vec::new();
        for (arc, owners) in rings.ring().arcs_of(slice) {
            let mut digests = owners.iter().map(|owner| given(owner, arc));
            let first = digests.next().flatten();
            let same = first.is_some_and(|first| digests.all(|digest| digest == Some(first)));
            if same || self.agreed.contains(&arc) {
                agreed.push(arc);
            } else {
                all = false;
            }
        }
        self.agreed.extend(agreed);
        all
    }
}

impl<S: Storage> Shard<S> {
    /// A store holds tombstones that could go.
    pub(super) fn on_wanted(&mut self, from: &NodeId, slice: Slice, layout: LayoutId, upto: Floor) {
        if self.check_layout(from, layout).is_err() || !self.may_collect(slice) {
            return;
        }
        let floor = self.floor(slice);
        if floor.descends(&upto) {
            // It missed the news; this store itself may have stopped in the middle of its sweep.
            self.begin_sweep(slice);
            return self.post(from, slice, CollectionMessage::Raised { floor });
        }
        if self.collection.rounds.contains_key(&slice) {
            return;
        }
        let round = Round {
            layout,
            upto,
            stage: Stage::Sealing,
            request: self.new_request(),
            sealed: BTreeSet::new(),
            compared: BTreeMap::new(),
            agreed: BTreeSet::new(),
            due: self.effects.now,
        };
        self.collection.rounds.insert(slice, round);
    }

    pub(super) fn rounds_on_time(&mut self) {
        let now = self.effects.now;
        let due = self.collection.rounds.iter().filter(|(_, round)| round.due <= now);
        let due: Vec<Slice> = due.map(|(slice, _)| *slice).collect();
        due.into_iter().for_each(|slice| self.drive(slice));
    }

    /// Asks whoever has not answered.
    fn drive(&mut self, slice: Slice) {
        let Some(mut round) = self.collection.rounds.remove(&slice) else { return };
        let Some(picture) = self.picture.clone() else { return };
        if round.layout != picture.rings.id || !self.may_collect(slice) {
            return;
        }
        let interval = self.start.config.repair.collect_interval;
        let members: Vec<NodeId> = picture.rings.layout().owners().cloned().collect();
        if members.iter().any(|node| picture.down.contains(node)) {
            round.due = self.effects.now + interval.max(RETRY.0);
            self.collection.rounds.insert(slice, round);
            return;
        }
        round.due = self.effects.now + (interval / 8).clamp(RETRY.0, RETRY.1);
        let targets: Vec<NodeId> = match round.stage {
            Stage::Sealing => members.into_iter().filter(|node| !round.sealed.contains(node)).collect(),
            Stage::Comparing => {
                let owners: BTreeSet<&NodeId> =
                    picture.rings.ring().arcs_of(slice).flat_map(|(_, owners)| owners).collect();
                if owners.iter().all(|owner| round.compared.contains_key(*owner)) {
                    // They did not agree: another attempt.
                    round.compared.clear();
                    round.request = self.new_request();
                }
                owners.into_iter().filter(|owner| !round.compared.contains_key(*owner)).cloned().collect()
            }
        };
        let (stage, request, layout, upto) = (round.stage, round.request, round.layout, round.upto.clone());
        self.collection.rounds.insert(slice, round);
        for node in targets {
            let upto = upto.clone();
            let message = match stage {
                Stage::Sealing => CollectionMessage::Seal { request, layout, upto },
                Stage::Comparing => CollectionMessage::Compare { request, layout, upto },
            };
            self.post(&node, slice, message);
        }
    }

    /// A member's side: seals, and answers once that is durable.
    pub(super) fn serve_seal(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        upto: &Floor,
    ) {
        let result = self.check_layout(from, layout).and_then(|()| self.seal(slice, upto));
        let message = CollectionMessage::Sealed { request, result };
        match self.barrier.shown_by(&rows::marks_key(slice)) {
            Some(seq) => {
                let then = Then::Send { to: from.clone(), slice, message: ShardMessage::Collection(message) };
                self.barrier.wait(seq, self.effects.cause, then);
            }
            None => self.post(from, slice, message),
        }
    }

    fn seal(&mut self, slice: Slice, upto: &Floor) -> Result<SealedStore, Refusal> {
        if !self.may_collect(slice) {
            return Err(Refusal::NotSynced);
        }
        let mut marks = self.collection.marks.get(&slice).cloned().unwrap_or_default();
        if marks.sealed.raise(upto) {
            if !marks.sealed.descends(upto) {
                // No room for so many actors.
                return Err(Refusal::Storage(StorageError::Full));
            }
            self.save_marks(slice, marks).map_err(Refusal::Storage)?;
        }
        Ok(SealedStore { floor: self.floor(slice), hints: self.hints.has_any_in(slice) })
    }

    /// The round that an answer belongs to.
    fn round_of(&mut self, slice: Slice, request: RequestId, stage: Stage) -> Option<&mut Round> {
        self.collection.rounds.get_mut(&slice).filter(|round| round.request == request && round.stage == stage)
    }

    pub(super) fn on_sealed(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        result: Result<SealedStore, Refusal>,
    ) {
        let Some(round) = self.round_of(slice, request, Stage::Sealing) else { return };
        let Ok(store) = result else { return };
        if !store.hints {
            round.sealed.insert(from.clone());
        }
        let done = store.floor.descends(&round.upto);
        self.adopt_floor(slice, &store.floor);
        self.bring_up(from, slice, &store.floor);
        if done {
            // Another leader came first.
            self.collection.rounds.remove(&slice);
        } else {
            self.compare_if_sealed(slice);
        }
    }

    /// Who shows versions that lie below the floor has missed it: nobody else can free it of them.
    pub(super) fn bring_up_if_it_shows_dead(&mut self, member: &NodeId, key: &Key, shown: &SiblingSet) {
        let slice = Position::of(key).slice();
        let Ok(held) = self.load(key) else { return };
        if matches!(self.strip(Position::of(key), &held, shown), Cow::Owned(_)) {
            self.bring_up(member, slice, &Floor::new());
        }
    }

    /// Tells a member what floor there is, if it has missed that: what the others have forgotten it would show for ever, and
    /// they could not agree.
    pub(super) fn bring_up(&mut self, member: &NodeId, slice: Slice, theirs: &Floor) {
        let floor = self.floor(slice);
        let is_durable = self.barrier.shown_by(&rows::marks_key(slice)).is_none();
        if is_durable && !theirs.descends(&floor) {
            self.post(member, slice, CollectionMessage::Raised { floor });
        }
    }

    fn compare_if_sealed(&mut self, slice: Slice) {
        let Some(picture) = self.picture.clone() else { return };
        let Some(round) = self.collection.rounds.get(&slice) else { return };
        if picture.rings.layout().owners().all(|node| round.sealed.contains(node)) {
            let request = self.new_request();
            let now = self.effects.now;
            let round = self.collection.rounds.get_mut(&slice).expect("it is there");
            (round.stage, round.request, round.due) = (Stage::Comparing, request, now);
        }
    }

    pub(super) fn on_compared(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        result: Result<Vec<(Position, ArcDigest)>, Refusal>,
    ) {
        let Some(picture) = self.picture.clone() else { return };
        let Some(round) = self.round_of(slice, request, Stage::Comparing) else { return };
        match result {
            Ok(arcs) if round.layout == picture.rings.id => {
                round.compared.insert(from.clone(), arcs.into_iter().collect());
                if round.judge(&picture.rings, slice) {
                    self.raise(slice);
                }
            }
            Ok(_) => {}
            Err(Refusal::Layout) => {}
            Err(_) => {
                // It was restored and has forgotten its seal, or it cannot read: from the beginning, after a while.
                round.stage = Stage::Sealing;
                round.sealed.clear();
                round.compared.clear();
                round.agreed.clear();
            }
        }
    }

    /// All owners have seen everything below the bound. The others hear it once this store cannot forget it.
    fn raise(&mut self, slice: Slice) {
        let (Some(picture), Some(round)) = (self.picture.clone(), self.collection.rounds.remove(&slice)) else {
            return;
        };
        let Some(seq) = self.adopt_floor(slice, &round.upto) else { return };
        let floor = self.floor(slice);
        for node in picture.rings.layout().owners().filter(|node| **node != self.start.node) {
            let message = ShardMessage::Collection(CollectionMessage::Raised { floor: floor.clone() });
            self.barrier.wait(seq, self.effects.cause, Then::Send { to: node.clone(), slice, message });
        }
    }
}
