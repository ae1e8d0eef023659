//! A survey: which versions below a bound are live in this store, as one digest for each arc that this node owns of a
//! slice. Read page by page, shown once all that was read is durable. It compares nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::barrier::Then;
use super::collection::PAUSE;
use super::{Shard, rows};
use crate::causality::{Dot, Floor, SiblingSet, Version};
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::message::{ArcDigest, CollectionMessage, Refusal, ShardMessage};
use crate::ring::Ring;
use crate::storage::{PageLimit, Storage};
use crate::time::Time;

/// A survey under way.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    asker: NodeId,
    request: RequestId,
    layout: LayoutId,
    upto: Floor,
    /// The place where it goes on.
    from: Vec<u8>,
    digests: BTreeMap<Position, ArcDigest>,
    due: Time,
}

impl Survey {
    pub(super) const fn due(&self) -> Time {
        self.due
    }
}

impl<S: Storage> Shard<S> {
    /// Begins to answer a leader. One survey of a slice at a time: a new question takes the place of an older one.
    pub(super) fn serve_compare(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        upto: Floor,
    ) {
        if self.collection.surveys.get(&slice).is_some_and(|survey| survey.asker == *from && survey.request == request)
        {
            return;
        }
        let sealed = self.collection.marks.get(&slice).is_some_and(|marks| marks.sealed.descends(&upto));
        let result = self.check_layout(from, layout).and_then(|()| {
            // A store that was restored has forgotten its seal.
            if self.may_collect(slice) && sealed { Ok(()) } else { Err(Refusal::NotSynced) }
        });
        if let Err(refusal) = result {
            return self.post(from, slice, CollectionMessage::Compared { request, result: Err(refusal) });
        }
        let survey = Survey {
            asker: from.clone(),
            request,
            layout,
            upto,
            from: rows::bounds(slice).0.to_vec(),
            digests: BTreeMap::new(),
            due: self.effects.now,
        };
        self.collection.surveys.insert(slice, survey);
    }

    pub(super) fn surveys_on_time(&mut self) {
        let now = self.effects.now;
        let due = self.collection.surveys.iter().filter(|(_, survey)| survey.due <= now);
        let due: Vec<Slice> = due.map(|(slice, _)| *slice).collect();
        for slice in due {
            if let Some(survey) = self.collection.surveys.remove(&slice) {
                self.read_on(slice, survey);
            }
        }
    }

    fn read_on(&mut self, slice: Slice, mut survey: Survey) {
        let Some(picture) = self.picture.clone().filter(|picture| picture.rings.id == survey.layout) else { return };
        let (_, end) = rows::bounds(slice);
        let limit = PageLimit { rows: limits::COLLECTION_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
        let end = end.as_ref().map(<[u8; 8]>::as_slice);
        let ring = picture.rings.ring();
        let floor = self.floor(slice);
        let result = match rows::scan(&self.storage, &survey.from, end, limit) {
            Ok(page) => {
                for object in &page.found {
                    if ring.preference_list(object.at).primaries().contains(&self.start.node) {
                        let arc = arc_end(ring, slice, object.at);
                        note(&mut survey.digests, arc, &object.key, &object.set, (&floor, &survey.upto));
                    }
                }
                page.damaged.iter().for_each(|key| self.begin_heal(key));
                match page.next {
                    // What cannot be read cannot be compared.
                    _ if !page.damaged.is_empty() => Err(Refusal::NotSynced),
                    Some(next) => {
                        survey.from = next;
                        survey.due = self.effects.now + PAUSE;
                        self.collection.surveys.insert(slice, survey);
                        return;
                    }
                    None => Ok(survey.digests.into_iter().collect()),
                }
            }
            Err(error) => Err(Refusal::Storage(error)),
        };
        let message = CollectionMessage::Compared { request: survey.request, result };
        // It may show rows that are not durable yet: it waits for all of them.
        match self.barrier.last() {
            Some(seq) => {
                let then = Then::Send { to: survey.asker, slice, message: ShardMessage::Collection(message) };
                self.barrier.wait(seq, self.effects.cause, then);
            }
            None => self.post(&survey.asker, slice, message),
        }
    }
}

/// The last position of the arc of a slice that a position lies on.
fn arc_end(ring: &Ring, slice: Slice, at: Position) -> Position {
    let after = ring.tokens().partition_point(|token| token.position < at);
    ring.tokens().get(after).map_or_else(|| slice.last(), |token| token.position.min(slice.last()))
}

/// Adds a key's live versions below the bound to the digest of its arc, but for tombstones below the floor, which one owner
/// may have forgotten and another not yet. Keys come in the order of the ring.
fn note(
    digests: &mut BTreeMap<Position, ArcDigest>,
    arc: Position,
    key: &Key,
    set: &SiblingSet,
    bounds: (&Floor, &Floor),
) {
    let (floor, upto) = bounds;
    let is_gone = |dot: Dot, version: &Version| version.value.is_none() && floor.covers(dot);
    let live = set.live().filter(|(dot, version)| upto.covers(*dot) && !is_gone(*dot, version));
    let mut live = live.map(|(dot, _)| dot).peekable();
    if live.peek().is_none() {
        return;
    }
    let digest = digests.entry(arc).or_default();
    let mut hash = Sha256::new();
    hash.update(*digest);
    hash.update(key.as_bytes());
    // No key has this byte: what follows is not of the key.
    hash.update([0xff]);
    for dot in live {
        hash.update(dot.actor.0.to_be_bytes());
        hash.update(dot.counter.to_be_bytes());
    }
    let bytes = hash.finalize();
    *digest = *bytes.first_chunk::<16>().expect("a SHA-256 has 32 bytes");
}
