//! The hash trees of a shard's slices: every object that is written or goes takes its tree with it, in one batch. Nobody
//! else writes objects. Never compares trees, and never trusts one that does not fit its rows.
//!
//! A leaf is a row, the nodes above are summed up at the start. A tree whose rows are missing, damaged, or not what lies
//! below them is *broken*: that is marked durably, and a new one is built page by page while writes go on. It knows all
//! places before a point that moves along with the pages; a write there is put into it at once, a write behind it is met
//! later. The finished tree takes the place of the broken one, rows and mark, in one batch.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Shard, rows};
use crate::causality::SiblingSet;
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::Key;
use crate::limits;
use crate::merkle::{Arcs, Sum, Tree, TreeNode};
use crate::node::FromShard;
use crate::ring::Span;
use crate::storage::{Batch, PageLimit, Seq, Space, Storage, StorageError};
use crate::time::Time;
use crate::view::{MerkleNodeView, MerkleView};

/// Between two pages of a tree that is built anew: clients come first.
const REBUILD_PAUSE: Duration = Duration::from_millis(10);

/// A page of objects that are read to be summed up or listed.
pub(super) const PAGE: PageLimit = PageLimit { rows: limits::EXCHANGE_ENTRIES_MAX, bytes: limits::PAGE_BYTES_MAX };

/// The tree of one slice.
#[derive(Clone, Debug, Default)]
pub(super) struct SliceTree {
    tree: Tree,
    /// The tree that will be, if this one is broken.
    rebuild: Option<Rebuild>,
    /// The sums of parts of leaves, and the sum of the whole leaf when they were counted: while that is the same, so are
    /// they.
    cut: BTreeMap<Span, (Sum, Sum)>,
}

/// A tree that is being built.
#[derive(Clone, Debug)]
struct Rebuild {
    tree: Tree,
    /// Every object before this place is in it; without a place, every object.
    from: Option<Vec<u8>>,
    due: Time,
    /// Whether a restart would know that the tree is broken.
    marked: bool,
}

impl Rebuild {
    fn new(slice: Slice, due: Time, marked: bool) -> Self {
        Self { tree: Tree::default(), from: Some(rows::bounds(slice).0.to_vec()), due, marked }
    }

    /// Whether the object at a place is in it.
    fn knows(&self, place: &[u8]) -> bool {
        self.from.as_ref().is_none_or(|from| place < &from[..])
    }
}

/// Why a part of a leaf was not summed up.
enum Uncounted {
    Storage(StorageError),
    /// It is too full to be read at once.
    TooFull,
}

impl SliceTree {
    /// Reads the leaves of a slice. `holds_objects` says whether there is anything to be in them.
    pub(super) fn read<S: Storage>(
        storage: &S,
        slice: Slice,
        holds_objects: bool,
        now: Time,
    ) -> Result<Self, StorageError> {
        let mut slice_tree = Self::default();
        let (first, end) = rows::tree_bounds(slice);
        let mut from = first.to_vec();
        let mut broken = false;
        let mut marked = false;
        loop {
            let page = storage.scan(Space::Tree, &from, Some(&end), PAGE)?;
            for (key, row) in &page.rows {
                match rows::leaf_in(key, row) {
                    Some((leaf, sum)) => slice_tree.tree.set_leaf(leaf, sum),
                    None => {
                        broken = true;
                        marked |= key[..] == first;
                    }
                }
            }
            match page.rows.last().filter(|_| page.more) {
                Some((key, _)) => from = rows::place_after(key),
                None => break,
            }
        }
        // All of the one and nothing of the other: somebody has cleared a space.
        broken |= holds_objects == slice_tree.tree.sum(TreeNode::ROOT).is_empty();
        slice_tree.rebuild = broken.then(|| Rebuild::new(slice, now, marked));
        Ok(slice_tree)
    }

    /// Whether it fits its rows, as far as known.
    pub(super) const fn is_whole(&self) -> bool {
        self.rebuild.is_none()
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// When its next page is to be read, if it is being built.
    pub(super) fn due(&self) -> Option<Time> {
        self.rebuild.as_ref().map(|rebuild| rebuild.due)
    }
}

impl<S: Storage> Shard<S> {
    /// A tree does not fit its rows: another one is begun.
    fn break_down(&mut self, slice: Slice) {
        let state = self.trees.get_mut(&slice).expect("an own slice");
        state.cut.clear();
        state.rebuild = Some(Rebuild::new(slice, self.effects.now, false));
        self.broken.insert(slice);
    }

    /// Writes a key's set in place of the one that was there; visible at once, shown to nobody before it is durable.
    ///
    /// # Errors
    /// [`StorageError`]: nothing was changed.
    pub(super) fn store(&mut self, key: &Key, before: &SiblingSet, set: &SiblingSet) -> Result<Seq, StorageError> {
        self.store_in(Batch::default(), key, before, Some(set))
    }

    /// As [`Self::store`], with other changes in the same batch; without a set the object goes.
    pub(super) fn store_in(
        &mut self,
        mut batch: Batch,
        key: &Key,
        before: &SiblingSet,
        set: Option<&SiblingSet>,
    ) -> Result<Seq, StorageError> {
        let at = Position::of(key);
        let (slice, leaf) = (at.slice(), TreeNode::leaf_at(at).index());
        let place = rows::placed(at, key);
        match set {
            Some(set) => rows::put_object(&mut batch, place.clone(), set),
            None => batch.remove(Space::Objects, place.clone()),
        }
        rows::put_deleted(&mut batch, key, before, set);
        let (old, new) = (rows::entry(key, before), set.map_or(Sum::EMPTY, |set| rows::entry(key, set)));
        let state = &self.trees[&slice];
        let mut leaf_sum = None;
        if state.is_whole() {
            match state.tree.leaf_with(at, old, new) {
                Ok(sum) => leaf_sum = Some(sum),
                Err(_) => self.break_down(slice),
            }
        }
        let seq = self.apply_with_tree(batch, slice, leaf, leaf_sum)?;
        self.change_rebuilt(at, &place, old, new);
        self.note_stored(key, place, seq, set.is_some());
        Ok(seq)
    }

    /// Writes a batch with objects, and the leaf they lie in, or else the mark that the tree is broken.
    fn apply_with_tree(
        &mut self,
        mut batch: Batch,
        slice: Slice,
        leaf: u16,
        sum: Option<Sum>,
    ) -> Result<Seq, StorageError> {
        match sum {
            Some(sum) => rows::put_leaf(&mut batch, slice, leaf, sum),
            None => rows::put_broken(&mut batch, slice),
        }
        let seq = self.apply(batch)?;
        let state = self.trees.get_mut(&slice).expect("an own slice");
        match (sum, &mut state.rebuild) {
            (Some(sum), _) => state.tree.set_leaf(leaf, sum),
            (None, Some(rebuild)) => rebuild.marked = true,
            (None, None) => unreachable!("a whole tree has a sum for every leaf"),
        }
        Ok(seq)
    }

    fn note_stored(&mut self, key: &Key, place: bytes::Bytes, seq: Seq, holds: bool) {
        self.barrier.wrote(place, seq);
        if !holds {
            return;
        }
        self.effects.detail(|| EventKind::Stored { key: key.clone() });
        if !self.holds_data {
            self.holds_data = true;
            self.tell(FromShard::HoldsData);
        }
    }

    /// A tree that is being built knows what was written behind its back.
    fn change_rebuilt(&mut self, at: Position, place: &[u8], old: Sum, new: Sum) {
        let state = self.trees.get_mut(&at.slice()).expect("an own slice");
        let Some(rebuild) = state.rebuild.as_mut().filter(|rebuild| rebuild.knows(place)) else { return };
        match rebuild.tree.leaf_with(at, old, new) {
            Ok(sum) => rebuild.tree.set_leaf(TreeNode::leaf_at(at).index(), sum),
            // The row was another one when its page was read.
            Err(_) => *rebuild = Rebuild::new(at.slice(), self.effects.now, rebuild.marked),
        }
    }

    /// Writes a set in place of a damaged object. What that one added to its leaf is unknown, so the leaf is summed up
    /// again from its rows.
    pub(super) fn store_over_damaged(&mut self, key: &Key, set: &SiblingSet) -> Result<Seq, StorageError> {
        let at = Position::of(key);
        let (slice, leaf) = (at.slice(), TreeNode::leaf_at(at));
        let place = rows::placed(at, key);
        let (from, to) = rows::places(leaf.span(slice));
        let page = rows::scan(&self.storage, &from, to.as_deref(), PAGE)?;
        let others: Sum = page.found.iter().filter(|object| object.key != *key).map(rows::Object::sum).sum();
        let now = self.effects.now;
        let state = self.trees.get_mut(&slice).expect("an own slice");
        match &mut state.rebuild {
            None if page.next.is_some() => self.break_down(slice),
            Some(rebuild) if rebuild.knows(&place) => *rebuild = Rebuild::new(slice, now, rebuild.marked),
            _ => {}
        }
        let state = self.trees.get_mut(&slice).expect("an own slice");
        // The same sum may have stood for other rows, since one of them could not be read.
        state.cut.clear();
        let leaf_sum = state.is_whole().then(|| others + rows::entry(key, set));
        let mut batch = Batch::default();
        if set.context().is_empty() {
            batch.remove(Space::Objects, place.clone());
        } else {
            rows::put_object(&mut batch, place.clone(), set);
        }
        rows::mark_deleted(&mut batch, key, set.is_deleted());
        let seq = self.apply_with_tree(batch, slice, leaf.index(), leaf_sum)?;
        self.note_stored(key, place, seq, !set.context().is_empty());
        Ok(seq)
    }

    /// What this store holds below nodes of a slice's tree, on arcs; nothing for a node in which a leaf that an arc cuts is
    /// too full to be read at once.
    pub(super) fn sums_on(
        &mut self,
        slice: Slice,
        arcs: &Arcs,
        nodes: impl IntoIterator<Item = TreeNode>,
    ) -> Result<Vec<Option<Sum>>, StorageError> {
        let state = self.trees.get_mut(&slice).expect("an own slice");
        let (storage, tree, cut) = (&self.storage, &state.tree, &mut state.cut);
        let mut damaged = Vec::new();
        let mut rows = |part: Span| sum_of_part(storage, tree, cut, part, &mut damaged);
        let mut sums = Vec::new();
        for node in nodes {
            sums.push(match tree.sum_on(node, slice, arcs, &mut rows) {
                Ok(sum) => Some(sum),
                Err(Uncounted::TooFull) => None,
                Err(Uncounted::Storage(error)) => return Err(error),
            });
        }
        damaged.iter().for_each(|key| self.begin_heal(key));
        Ok(sums)
    }

    /// All rows of a node were read: if they are not what its sum says, the tree is broken.
    pub(super) fn check_node(&mut self, slice: Slice, node: TreeNode, rows: Sum) {
        let state = &self.trees[&slice];
        if state.is_whole() && state.tree.sum(node) != rows {
            self.break_down(slice);
        }
    }

    /// When the next page of a tree that is being built is due.
    pub(super) fn rebuild_due(&self) -> Option<Time> {
        self.broken.iter().filter_map(|slice| self.trees[slice].due()).min()
    }

    pub(super) fn rebuilds_on_time(&mut self) {
        let now = self.effects.now;
        let is_due = |slice: &Slice| self.trees[slice].due().is_some_and(|due| due <= now);
        let due: Vec<Slice> = self.broken.iter().copied().filter(is_due).collect();
        for slice in due {
            if let Err(error) = self.advance_rebuild(slice) {
                self.note_failure(&error);
            }
        }
    }

    /// Reads one page into the tree that is being built, or puts the finished tree in place.
    fn advance_rebuild(&mut self, slice: Slice) -> Result<(), StorageError> {
        let due = self.effects.now + REBUILD_PAUSE;
        let state = self.trees.get_mut(&slice).expect("an own slice");
        let Some(rebuild) = &mut state.rebuild else { return Ok(()) };
        rebuild.due = due;
        if !rebuild.marked {
            let mut batch = Batch::default();
            rows::put_broken(&mut batch, slice);
            return self.apply(batch).map(|_| {
                let state = self.trees.get_mut(&slice).expect("an own slice");
                state.rebuild.iter_mut().for_each(|rebuild| rebuild.marked = true);
            });
        }
        let Some(from) = rebuild.from.take() else { return self.finish_rebuild(slice) };
        let end = rows::bounds(slice).1;
        let page = match rows::scan(&self.storage, &from, end.as_ref().map(<[u8; 8]>::as_slice), PAGE) {
            Ok(page) => page,
            Err(error) => {
                rebuild.from = Some(from);
                return Err(error);
            }
        };
        for object in &page.found {
            let leaf = rebuild.tree.leaf_with(object.at, Sum::EMPTY, object.sum()).expect("nothing is taken away");
            rebuild.tree.set_leaf(TreeNode::leaf_at(object.at).index(), leaf);
        }
        let finished = page.next.is_none();
        rebuild.from = page.next;
        page.damaged.iter().for_each(|key| self.begin_heal(key));
        if finished { self.finish_rebuild(slice) } else { Ok(()) }
    }

    fn finish_rebuild(&mut self, slice: Slice) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        let (first, end) = rows::tree_bounds(slice);
        let all = PageLimit { rows: u32::from(crate::merkle::LEAVES) + 1, bytes: u32::MAX };
        for (key, _) in self.storage.scan(Space::Tree, &first, Some(&end), all)?.rows {
            batch.remove(Space::Tree, key);
        }
        let state = self.trees.get_mut(&slice).expect("an own slice");
        let tree = state.rebuild.as_ref().map(|rebuild| rebuild.tree.clone()).unwrap_or_default();
        tree.leaves().for_each(|(leaf, sum)| rows::put_leaf(&mut batch, slice, leaf, sum));
        self.apply(batch)?;
        let state = self.trees.get_mut(&slice).expect("an own slice");
        *state = SliceTree { tree, ..SliceTree::default() };
        self.broken.remove(&slice);
        self.exchanges.numbers.trees_built += 1;
        self.effects.event(|| EventKind::TreeRebuilt { slice: slice.number() });
        Ok(())
    }

    /// The tree of a slice to a depth of so many levels below the root, for people; nothing if the slice is another
    /// shard's.
    #[must_use]
    pub fn merkle_view(&self, slice: Slice, depth: u8) -> Option<MerkleView> {
        let state = self.trees.get(&slice)?;
        let mut nodes = Vec::new();
        let mut level = alloc::vec![TreeNode::ROOT];
        for _ in 0..=depth.min(crate::merkle::DEPTH) {
            for node in &level {
                let sum = state.tree.sum(*node);
                let (level, index) = (node.level(), node.index());
                nodes.push(MerkleNodeView {
                    level,
                    index,
                    digest: alloc::format!("{:032x}", sum.hash),
                    keys: sum.count,
                });
            }
            let children = level.iter().flat_map(|node| node.children());
            level = children.filter(|node| !state.tree.sum(*node).is_empty()).collect();
        }
        Some(MerkleView { slice: slice.number(), whole: state.is_whole(), nodes })
    }
}

/// The sum of a part of a leaf, from its rows if it is not remembered.
fn sum_of_part<S: Storage>(
    storage: &S,
    tree: &Tree,
    cut: &mut BTreeMap<Span, (Sum, Sum)>,
    part: Span,
    damaged: &mut Vec<Key>,
) -> Result<Sum, Uncounted> {
    let leaf = tree.sum(TreeNode::leaf_at(part.first));
    if let Some((whole, sum)) = cut.get(&part)
        && *whole == leaf
    {
        return Ok(*sum);
    }
    let limit = PageLimit { rows: limits::CUT_LEAF_ROWS_MAX, bytes: limits::CUT_LEAF_BYTES_MAX };
    let (from, to) = rows::places(part);
    let page = rows::scan(storage, &from, to.as_deref(), limit).map_err(Uncounted::Storage)?;
    if page.next.is_some() {
        return Err(Uncounted::TooFull);
    }
    let sum = page.found.iter().map(rows::Object::sum).sum();
    if page.damaged.is_empty() {
        if cut.len() >= limits::CUT_LEAVES_MAX {
            cut.clear();
        }
        cut.insert(part, (leaf, sum));
    }
    damaged.extend(page.damaged);
    Ok(sum)
}
