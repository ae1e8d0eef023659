//! The answering side of a comparison, and what both sides need for it: the arcs two owners share, and what this store
//! holds on them. It remembers nothing between two questions, and believes nothing it is told: it only says where it
//! differs.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::barrier::Then;
use super::trees::PAGE;
use super::{Shard, rows};
use crate::causality::SiblingSet;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::merkle::{Arcs, Digest, Sum, TreeNode};
use crate::message::{
    Difference, Entry, ExchangeMessage, Finding, Listing, NodeDigests, Question, Refusal, ShardMessage,
};
use crate::ring::Span;
use crate::storage::{PageLimit, Storage, StorageError};

/// What this store holds on a part of what is shared.
pub(super) struct Listed {
    /// In the order of their positions.
    pub(super) entries: Vec<Entry>,
    /// Up to where it looked, if not to the end.
    pub(super) upto: Option<Position>,
    /// Rows looked at.
    pub(super) rows: u32,
}

/// All objects at one position: nearly always one.
pub(super) struct Group {
    pub(super) objects: Vec<(Key, SiblingSet)>,
    pub(super) digest: Digest,
    /// The size of their rows.
    pub(super) bytes: usize,
}

impl<S: Storage> Shard<S> {
    /// What this node shares of a slice with each other owner, worked out once for each layout.
    pub(super) fn shared(&mut self, slice: Slice) -> Arc<BTreeMap<NodeId, Arcs>> {
        let Some(picture) = &self.picture else { return Arc::default() };
        let shared = &mut self.exchanges.shared;
        shared.entry(slice).or_insert_with(|| Arc::new(Arcs::shared(picture.rings.ring(), slice, &picture.me))).clone()
    }

    /// Whether this store may compare a slice: what it lacks is a difference only if it should have everything, and its
    /// tree must be that of its rows. A store that is still pulling gets what it lacks by `transfer`, and what it alone has
    /// is found by the first comparison after that.
    pub(super) fn can_compare(&self, slice: Slice) -> bool {
        self.is_whole(slice) && self.trees.get(&slice).is_some_and(super::trees::SliceTree::is_whole)
    }

    pub(super) fn serve_exchange(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        question: &Question,
    ) {
        let result = self.check_layout(from, layout).and_then(|()| {
            let shared = self.shared(slice);
            match shared.get(from) {
                Some(arcs) if self.can_compare(slice) => self.find(slice, arcs, question).map_err(Refusal::Storage),
                _ => Ok(Finding::NotNow),
            }
        });
        let answer = ShardMessage::Exchange(ExchangeMessage::Answer { request, result });
        self.send_once_durable(from.clone(), slice, answer);
    }

    /// Sends what shows rows that may not be durable yet: once they all are.
    pub(super) fn send_once_durable(&mut self, to: NodeId, slice: Slice, message: ShardMessage) {
        match self.barrier.last() {
            Some(seq) => self.barrier.wait(seq, self.effects.cause, Then::Send { to, slice, message }),
            None => self.send(to, slice, message),
        }
    }

    fn find(&mut self, slice: Slice, arcs: &Arcs, question: &Question) -> Result<Finding, StorageError> {
        match question {
            Question::Root(theirs) => {
                let ours = self.sums_on(slice, arcs, [TreeNode::ROOT])?;
                Ok(Finding::Root { same: ours == [Some(*theirs)] })
            }
            Question::Below(nodes) => {
                let bits = nodes.iter().map(|node| self.differing_children(slice, arcs, node));
                bits.collect::<Result<_, _>>().map(Finding::Below)
            }
            Question::Entries(listings) => self.differing_entries(slice, arcs, listings),
            Question::Again(entries) => self.look_again(slice, arcs, entries),
        }
    }

    fn differing_children(&mut self, slice: Slice, arcs: &Arcs, theirs: &NodeDigests) -> Result<u16, StorageError> {
        let ours = self.sums_on(slice, arcs, theirs.node.children())?;
        let differs =
            |(ours, (_, theirs)): &(&Option<Sum>, (TreeNode, Digest))| ours.is_none_or(|ours| ours.digest() != *theirs);
        let bits = ours.iter().zip(theirs.children()).map(|pair| u16::from(differs(&pair)));
        Ok(bits.zip(0..).fold(0, |all, (bit, place)| all | (bit << place)))
    }

    fn differing_entries(&mut self, slice: Slice, arcs: &Arcs, listings: &[Listing]) -> Result<Finding, StorageError> {
        let mut differing = Vec::new();
        let mut rows_left = limits::EXCHANGE_ENTRIES_MAX;
        let end = listings.last().map(|listing| listing.last);
        for listing in listings {
            let ours = self.list(slice, arcs, listing.span(), rows_left)?;
            let looked_upto = ours.upto.unwrap_or(listing.last);
            let theirs = listing.entries.iter().take_while(|entry| entry.at <= looked_upto);
            differing.extend(differences(theirs, &ours.entries));
            rows_left = rows_left.saturating_sub(ours.rows);
            let full = ours.upto.is_some() || rows_left == 0;
            if full && Some(looked_upto) != end {
                return Ok(Finding::Entries { differing, upto: Some(looked_upto) });
            }
        }
        Ok(Finding::Entries { differing, upto: None })
    }

    fn look_again(&mut self, slice: Slice, arcs: &Arcs, entries: &[Entry]) -> Result<Finding, StorageError> {
        let budget = usize::try_from(limits::PAGE_BYTES_MAX).expect("a page fits memory");
        let (mut looked, mut bytes) = (0, 0);
        let (mut differing, mut objects) = (Vec::new(), Vec::new());
        for entry in entries {
            if bytes > budget {
                break;
            }
            looked += 1;
            if !arcs.contains(entry.at) || entry.at.slice() != slice {
                continue;
            }
            let group = self.group(entry.at)?;
            // It changed meanwhile: a write is under way, and will reach whom it is for.
            if group.digest == entry.digest {
                bytes += group.bytes;
                differing.push(entry.at);
                objects.extend(group.objects);
            }
        }
        Ok(Finding::Again { looked, differing, objects })
    }

    /// The entries on a part of what is shared, from the rows, at most so many rows (but some). If all rows of a node of
    /// the tree were read, the node is checked too.
    pub(super) fn list(
        &mut self,
        slice: Slice,
        arcs: &Arcs,
        span: Span,
        rows_max: u32,
    ) -> Result<Listed, StorageError> {
        let mut listed = Listed { entries: Vec::new(), upto: None, rows: 0 };
        let (mut sum, mut whole) = (Sum::EMPTY, arcs.within(span).next() == Some(span));
        let limit_of = |rows: u32| PageLimit { rows: rows_max.saturating_sub(rows).max(1), ..PAGE };
        for part in arcs.within(span) {
            let (from, to) = rows::places(part);
            let page = rows::scan(&self.storage, &from, to.as_deref(), limit_of(listed.rows))?;
            listed.rows += u32::try_from(page.found.len() + page.damaged.len()).unwrap_or(u32::MAX);
            whole &= page.damaged.is_empty();
            for object in page.found.iter().filter(|object| !object.set.is_empty()) {
                sum += object.sum();
                match listed.entries.last_mut() {
                    Some(last) if last.at == object.at => {
                        last.digest = Digest(last.digest.0.wrapping_add(object.sum().digest().0));
                    }
                    _ => listed.entries.push(Entry { at: object.at, digest: object.sum().digest() }),
                }
            }
            page.damaged.iter().for_each(|key| self.begin_heal(key));
            if let Some(next) = page.next {
                listed.upto = Some(cut_off(&mut listed.entries, part, &next));
                return Ok(listed);
            }
            if listed.rows >= rows_max && part.last < span.last {
                listed.upto = Some(part.last);
                return Ok(listed);
            }
        }
        if let Some(node) = TreeNode::of_span(span, slice).filter(|_| whole) {
            self.check_node(slice, node, sum);
        }
        Ok(listed)
    }

    /// What this store holds at one position.
    pub(super) fn group(&mut self, at: Position) -> Result<Group, StorageError> {
        let (from, to) = rows::places(Span { first: at, last: at });
        let page = rows::scan(&self.storage, &from, to.as_deref(), PAGE)?;
        page.damaged.iter().for_each(|key| self.begin_heal(key));
        let digest = page.found.iter().map(rows::Object::sum).sum::<Sum>().digest();
        let bytes = page.found.iter().map(|object| object.bytes).sum();
        let objects = page.found.into_iter().map(|object| (object.key, object.set)).collect();
        Ok(Group { objects, digest, bytes })
    }
}

/// A page ended in the middle of a part: the position it ended at may have more objects, so it does not count as looked at
/// unless it is the only one. Gives back the last one that does.
fn cut_off(entries: &mut Vec<Entry>, part: Span, next: &[u8]) -> Position {
    let last = next.first_chunk::<8>().map_or(part.last, |at| Position(u64::from_be_bytes(*at)));
    if last > part.first && entries.first().is_some_and(|first| first.at < last) {
        entries.retain(|entry| entry.at < last);
        return last.previous();
    }
    last
}

/// Where two lists in order differ.
fn differences<'a>(theirs: impl Iterator<Item = &'a Entry>, ours: &[Entry]) -> Vec<Difference> {
    let mut both: BTreeMap<Position, (Digest, Digest)> = BTreeMap::new();
    theirs.for_each(|entry| both.entry(entry.at).or_default().0 = entry.digest);
    ours.iter().for_each(|entry| both.entry(entry.at).or_default().1 = entry.digest);
    both.into_iter()
        .filter(|(_, (asker, answerer))| asker != answerer)
        .map(|(at, (asker, answerer))| Difference { at, asker, answerer })
        .collect()
}
