//! How hints come to the owners they are kept for: slice by slice and owner by owner, one bounded batch at a time, the next
//! one when the last is answered. A hint is forgotten here once it is durable there, and only if nothing has come to it
//! since. Where the owners of a key have changed it goes to all that own it now, and is forgotten once a write quorum of
//! them has it. Without hints nothing is sent and no timer runs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Shard;
use super::hints::{self, Hints};
use crate::causality::SiblingSet;
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::message::{Answer, Refusal, ShardMessage};
use crate::node::{FromShard, Picture};
use crate::ring::Ring;
use crate::storage::{Page, PageLimit, Space, Storage, StorageError};
use crate::time::Time;

/// How long a batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A hint on its way.
#[derive(Clone, Debug)]
struct Sent {
    /// The row as it was sent.
    row: Bytes,
    key: Key,
    /// Who has not answered yet.
    waiting: BTreeSet<NodeId>,
    /// Who has it durably.
    took: BTreeSet<NodeId>,
}

/// The hints that are looked at.
#[derive(Clone, Debug)]
struct Place {
    slice: Slice,
    target: NodeId,
    /// Where the next batch begins; nothing at the end.
    from: Option<Vec<u8>>,
    /// Whether all of them so far can do nothing but wait for their owner.
    only_wait: bool,
}

/// Where the delivery of a shard stands.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// When to go on, or to look at what did not answer; nothing without hints.
    due: Option<Time>,
    /// Nothing between two rounds.
    place: Option<Place>,
    /// Owners that took nothing in this round: they are left alone until the next one.
    left_alone: BTreeSet<NodeId>,
    /// The batch under way, by the places of the hints.
    sent: BTreeMap<Bytes, Sent>,
    questions: BTreeMap<RequestId, Bytes>,
    /// Hints that can do nothing but wait for their owner, who is down: with the layout under which that was so.
    waiting: BTreeMap<(Slice, NodeId), LayoutId>,
}

impl Delivery {
    /// A store that has hints begins at once.
    pub(super) fn new(now: Time, hints: &Hints) -> Self {
        Self {
            due: (!hints.is_empty()).then_some(now),
            place: None,
            left_alone: BTreeSet::new(),
            sent: BTreeMap::new(),
            questions: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }

    fn all_answered(&self) -> bool {
        self.sent.values().all(|sent| sent.waiting.is_empty())
    }
}

impl<S: Storage> Shard<S> {
    /// There is a hint: look at it by and by.
    pub(super) fn delivery_begins(&mut self) {
        let due = self.effects.now + self.start.config.repair.hint_interval;
        self.delivery.due.get_or_insert(due);
    }

    pub(super) fn delivery_on_time(&mut self) {
        if self.delivery.due.is_none_or(|due| due > self.effects.now) {
            return;
        }
        self.effects.cause = None;
        self.end_batch();
        self.deliver();
    }

    /// Every answer to the batch has come, or its time is over.
    fn end_batch(&mut self) {
        self.delivery.questions.clear();
        let sent = core::mem::take(&mut self.delivery.sent);
        let silent: BTreeSet<&NodeId> = sent.values().flat_map(|sent| &sent.waiting).collect();
        silent.into_iter().for_each(|node| self.tell(FromShard::NoAnswer(node.clone())));
        let nobody_took_any = !sent.is_empty() && sent.values().all(|sent| sent.took.is_empty());
        if let Some(place) = self.delivery.place.as_mut().filter(|_| nobody_took_any) {
            place.from = None;
            self.delivery.left_alone.insert(place.target.clone());
        }
    }

    /// Sends the next batch. One page of hints is looked at in one step, whatever comes of it.
    fn deliver(&mut self) {
        let now = self.effects.now;
        let again = now + self.start.config.repair.hint_interval;
        let Some(picture) = self.picture.clone() else {
            self.delivery.due = Some(again);
            return;
        };
        let Some(mut place) = self.next_place(&picture) else {
            self.delivery.left_alone.clear();
            self.delivery.due = (!self.hints.is_empty()).then_some(again);
            return;
        };
        let limit = PageLimit { rows: limits::HAND_OFFS_MAX, bytes: limits::HAND_OFF_BYTES_MAX };
        let (from, end) = (place.from.take().unwrap_or_default(), hints::end_place(place.slice, &place.target));
        match self.storage.scan(Space::Hints, &from, Some(&end), limit) {
            Ok(page) => {
                place.only_wait &= self.send_page(&picture, &page);
                place.from = page.rows.last().filter(|_| page.more).map(|(last, _)| hints::after(last));
            }
            Err(error) => {
                self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
                place.only_wait = false;
            }
        }
        if place.from.is_none() && place.only_wait {
            self.delivery.waiting.insert((place.slice, place.target.clone()), picture.rings.id);
        }
        self.delivery.place = Some(place);
        let wait = if self.delivery.all_answered() { Duration::ZERO } else { BATCH_TIMEOUT };
        self.delivery.due = Some(now + wait);
    }

    /// What is looked at next; nothing at the end of the round.
    fn next_place(&mut self, picture: &Picture) -> Option<Place> {
        let place = self.delivery.place.take();
        if place.as_ref().is_some_and(|place| place.from.is_some()) {
            return place;
        }
        let mut before = place.map(|place| (place.slice, place.target));
        loop {
            let next = self.hints.next_place(before.as_ref())?;
            let waits = self.delivery.waiting.get(&next).is_some_and(|layout| *layout == picture.rings.id)
                && picture.down.contains(&next.1);
            let is_passed_over = waits || self.delivery.left_alone.contains(&next.1);
            if !is_passed_over {
                self.delivery.waiting.remove(&next);
                let (slice, target) = next;
                let from = Some(hints::first_place(slice, &target));
                return Some(Place { slice, target, from, only_wait: true });
            }
            before = Some(next);
        }
    }

    /// Sends the hints of a page. Says whether all of them can do nothing but wait for their owner.
    fn send_page(&mut self, picture: &Picture, page: &Page) -> bool {
        let mut only_wait = true;
        for (place, row) in &page.rows {
            match self.send_hint(picture, place, row) {
                Ok(waits) => only_wait &= waits,
                Err(error) => {
                    self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
                    only_wait = false;
                }
            }
        }
        only_wait
    }

    /// Sends a hint to its owner; if the owners of the key have changed, to all of them. Says whether it can do nothing but
    /// wait for its owner.
    fn send_hint(&mut self, picture: &Picture, place: &Bytes, row: &Bytes) -> Result<bool, StorageError> {
        let (target, key) = hints::read_place(place)?;
        let hint = match hints::read_row(place, row) {
            Err(StorageError::Corrupt(_)) => return self.drop_damaged(place, row).map(|()| false),
            read => read?,
        };
        let at = Position::of(&key);
        let list = picture.rings.ring().preference_list(at);
        let is_home = hint.owners == hints::owners_hash(&list) && list.primaries().contains(&target) && self.stays();
        let rings = picture.rings.writing(at.slice()).iter();
        let owners = rings.flat_map(|active| active.ring.preference_list(at).primaries());
        let is_up = |node: &&NodeId| **node == self.start.node || !picture.down.contains(*node);
        let waiting: BTreeSet<NodeId> =
            owners.filter(|owner| !is_home || **owner == target).filter(is_up).cloned().collect();
        if waiting.is_empty() {
            return Ok(is_home);
        }
        let sent = Sent { row: row.clone(), key: key.clone(), waiting: waiting.clone(), took: BTreeSet::new() };
        self.delivery.sent.insert(place.clone(), sent);
        let layout = picture.rings.id;
        for node in waiting {
            let request = self.new_request();
            self.delivery.questions.insert(request, place.clone());
            if node == self.start.node {
                self.serve_hand_off(&node, request, layout, &key, &hint.set);
            } else {
                let message = ShardMessage::HandOff { request, layout, key: key.clone(), set: hint.set.clone() };
                self.send(node, at.slice(), message);
            }
        }
        Ok(false)
    }

    /// The receiving side: merges what was kept for this node.
    pub(super) fn serve_hand_off(
        &mut self,
        from: &NodeId,
        request: RequestId,
        layout: LayoutId,
        key: &Key,
        set: &SiblingSet,
    ) {
        let result = self.check_layout(from, layout).and_then(|()| self.merge(key, set).map_err(Refusal::Storage));
        self.answer(from, request, key, result.map(|_| Answer::Written));
    }

    /// What came of a hint that was sent.
    pub(super) fn on_handed_off(&mut self, from: &NodeId, question: RequestId, result: Result<Answer, Refusal>) {
        if result == Ok(Answer::Written) && self.on_leftover_taken(from, question) {
            return;
        }
        let Some(place) = self.delivery.questions.remove(&question) else { return };
        let Some(sent) = self.delivery.sent.get_mut(&place).filter(|sent| sent.waiting.contains(from)) else { return };
        sent.waiting.remove(from);
        match result {
            Ok(Answer::Written) => {
                sent.took.insert(from.clone());
                self.forget_if_delivered(from, &place);
            }
            Ok(Answer::Holds { .. })
            | Err(
                Refusal::Layout
                | Refusal::CoveredDot(_)
                | Refusal::Sealed
                | Refusal::NotSynced
                | Refusal::HintsFull
                | Refusal::Storage(_),
            ) => {}
        }
        if self.delivery.all_answered() {
            self.delivery.due = Some(self.effects.now);
        }
    }

    fn forget_if_delivered(&mut self, from: &NodeId, place: &Bytes) {
        let Some(picture) = self.picture.clone() else { return };
        let sent = &self.delivery.sent[place];
        let at = Position::of(&sent.key);
        let w = usize::from(picture.config.replication.w.get());
        let has_quorum = |ring: &Ring| {
            let owners = ring.preference_list(at).primaries();
            owners.iter().filter(|owner| sent.took.contains(*owner)).count() >= w.min(owners.len())
        };
        let Ok((target, _)) = hints::read_place(place) else { return };
        let list = picture.rings.ring().preference_list(at);
        let is_home = sent.took.contains(&target)
            && hints::read_row(place, &sent.row).is_ok_and(|hint| hint.owners == hints::owners_hash(&list));
        let is_delivered = is_home || picture.rings.writing(at.slice()).iter().all(|active| has_quorum(&active.ring));
        if !is_delivered {
            return;
        }
        let (row, key) = (sent.row.clone(), sent.key.clone());
        match self.forget_hint(place, &row) {
            Ok(true) => {
                let to = from.clone();
                self.effects.event(|| EventKind::HintDelivered { key, to });
                if !self.stays() {
                    self.tell_cleared();
                }
            }
            Ok(false) => {}
            Err(error) => {
                self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
            }
        }
    }
}
