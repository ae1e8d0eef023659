//! A new owner pulls what it owns, slice by slice, page by page, from the settled owners; they keep serving meanwhile.
//! Pages are merged, never put in place of what is there, so a page may come twice and a pull may begin again.
//!
//! A slice is synced once, of every arc of it, so many settled owners have given all they hold that any earlier write
//! quorum, and any earlier read quorum, has one of them. Each of them has acknowledged a layout with the joiner when it
//! gives: from then on it refuses requests that do not count the joiner in.
//!
//! Owners that lost their data one after the other may wait for each other. Once nobody else is left to ask, they give each
//! other what they have: of an acknowledged write at most a write quorum less one store lost its copy, so some owner has
//! it. What they give may be long deleted, so those who hold all they own give again afterwards.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::barrier::Then;
use super::collection::{Collection, Marks};
use super::{Output, RETRY_SOON, Shard, first_request, rows};
use crate::causality::{Floor, Issuer, SiblingSet};
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{ActorId, Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::message::{Refusal, ShardMessage, TransferPage};
use crate::node::{FromShard, Picture};
use crate::storage::{Batch, PageLimit, Storage};
use crate::time::Time;

/// Slices that one shard pulls at a time.
const PULLS_MAX: usize = 4;
/// Until a page that did not come is asked for again.
const PAGE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A slice that is being pulled.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// Settled owners that have given all they hold.
    done: BTreeSet<NodeId>,
    /// Settled owners that are not synced themselves, when they were asked last.
    unsynced: BTreeSet<NodeId>,
    /// Those of them that have given all they have, which is less than all they own.
    bare: BTreeSet<NodeId>,
    /// The floors of the givers, with their first pages.
    floors: BTreeMap<NodeId, Floor>,
    /// Who is asked for a page, by which request.
    asked: Option<(NodeId, RequestId)>,
    /// Who was asked last and had nothing to give: the next one in line is asked then, not the same one for ever.
    passed: Option<NodeId>,
    /// Whether it is asked for what little it has.
    asked_bare: bool,
    /// Where the next page of that owner begins.
    after: Option<(Position, Key)>,
    /// Whether that owner has left something out that it could not read.
    damaged: bool,
    /// When to look at it again; nothing once it only waits for its mark to be durable.
    due: Option<Time>,
    objects: u64,
}

impl Pull {
    fn new(due: Option<Time>) -> Self {
        let (done, unsynced, bare, floors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Self {
            done,
            unsynced,
            bare,
            floors,
            asked: None,
            asked_bare: false,
            passed: None,
            after: None,
            damaged: false,
            due,
            objects: 0,
        }
    }

    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }
}

impl<S: Storage> Shard<S> {
    /// This store enters a cluster it was not in: what it lacks is unknown from now on, and until the next picture it
    /// belongs to none.
    pub(super) fn enter_cluster(&mut self) {
        let mut batch = Batch::default();
        for &slice in &self.start.slices {
            rows::remove_synced(&mut batch, slice);
            rows::remove_marks(&mut batch, slice);
        }
        self.picture = None;
        self.collection = Collection::new(BTreeMap::new(), self.effects.now);
        self.unsync();
        if let Err(error) = self.apply(batch) {
            self.effects.push(Output::Failed(error));
        }
    }

    /// This store has another actor: the marks of its slices, which name the one before, are void.
    pub(super) fn begin_life(&mut self, actor: ActorId, boot: u64) {
        self.start.actor = actor;
        self.start.boot = boot;
        self.next_request = first_request(&self.start);
        for (slice, issuer) in &mut self.issuers {
            assert!(issuer.actor() != actor, "a new actor has issued nothing in {slice:?}");
            *issuer = Issuer::new(actor);
        }
        self.leasing.clear();
        self.barrier.forget_leases();
        self.unsync();
        if self.picture.is_some() {
            self.mint_again(|_| true);
            self.begin_pulls();
        }
    }

    fn unsync(&mut self) {
        self.synced.clear();
        self.pulls.clear();
        self.barrier.forget_synced();
    }

    /// Starts pulls for slices that are not synced, a few at a time.
    pub(super) fn begin_pulls(&mut self) {
        let now = self.effects.now;
        for slice in self.start.slices.clone() {
            if self.pulls.len() >= PULLS_MAX {
                return;
            }
            if !self.synced.contains(&slice) && !self.pulls.contains_key(&slice) {
                self.pulls.insert(slice, Pull::new(Some(now)));
            }
        }
    }

    pub(super) fn pulls_on_time(&mut self) {
        let now = self.effects.now;
        let due: Vec<Slice> = self
            .pulls
            .iter()
            .filter(|(_, pull)| pull.due.is_some_and(|due| due <= now))
            .map(|(slice, _)| *slice)
            .collect();
        for slice in due {
            self.advance_pull(slice);
        }
    }

    /// Asks for the next page, or ends the pull if enough owners have given all.
    fn advance_pull(&mut self, slice: Slice) {
        let Some(picture) = self.picture.clone() else { return };
        let due = self.effects.now + PAGE_TIMEOUT;
        let request = self.new_request();
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        pull.due = Some(due);
        let missing = missing_sources(&picture, slice, &pull.done, &pull.bare);
        if missing.is_empty() {
            let objects = pull.objects;
            return self.become_synced(slice, objects);
        }
        let up = |node: &&NodeId| !picture.down.contains(*node);
        let current = pull.asked.take().map(|(node, _)| node).filter(|node| missing.contains(node) && up(&node));
        if current.is_none() {
            // Another source begins at its beginning.
            pull.after = None;
        }
        let behind = missing.iter().filter(|node| Some(*node) > pull.passed.as_ref());
        let Some(source) = current.or_else(|| behind.chain(&missing).find(up).cloned()) else { return };
        // Stores that wait for each other would wait for ever: then each gives what it has.
        let bare = missing.iter().all(|node| pull.unsynced.contains(node));
        if bare != pull.asked_bare {
            pull.after = None;
        }
        pull.asked = Some((source.clone(), request));
        pull.asked_bare = bare;
        let (layout, after) = (picture.rings.id, pull.after.clone());
        self.send(source, slice, ShardMessage::Pull { request, layout, after, bare });
    }

    /// Remembers durably that this store holds all that this node owns of the slice.
    pub(super) fn become_synced(&mut self, slice: Slice, objects: u64) {
        let mut batch = Batch::default();
        rows::put_synced(&mut batch, slice, self.start.actor);
        let marks = self.marks_of_givers(slice);
        if let Some(marks) = &marks {
            rows::put_marks(&mut batch, slice, marks);
        }
        if let Ok(seq) = self.apply(batch) {
            self.pulls.entry(slice).or_insert_with(|| Pull::new(None)).due = None;
            self.barrier.wait(seq, self.effects.cause, Then::Synced { slice, objects });
            if let Some(marks) = marks {
                self.collection.marks.insert(slice, marks);
                self.begin_sweep(slice);
            }
        }
    }

    /// What this store may take for the floor once it has what its givers have: the lowest that any of them had when it
    /// began to give.
    fn marks_of_givers(&self, slice: Slice) -> Option<Marks> {
        let pull = self.pulls.get(&slice)?;
        let mut floors = pull.floors.iter().filter(|(giver, _)| pull.done.contains(*giver)).map(|(_, floor)| floor);
        let first = floors.next()?.clone();
        let lowest = floors.fold(first, |lowest, floor| lowest.meet(floor));
        let mut marks = self.collection.marks.get(&slice).cloned().unwrap_or_default();
        let changed = marks.floor.raise(&lowest);
        let floor = marks.floor.clone();
        marks.sealed.raise(&floor);
        Some(marks).filter(|_| changed)
    }

    /// The mark is durable: from now on this store answers for the slice.
    pub(super) fn on_synced(&mut self, slice: Slice, objects: u64) {
        self.pulls.remove(&slice);
        self.synced.insert(slice);
        // Before the first picture there is nobody to tell; the first one has it told.
        if let Some(cluster) = self.picture.as_ref().map(|picture| picture.cluster) {
            let actor = self.start.actor;
            self.tell(FromShard::Synced { cluster, actor, slice, objects });
        }
        self.begin_pulls();
    }

    /// The giving side: a page of what the asker owns of the slice.
    pub(super) fn serve_pull(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        after: Option<(Position, Key)>,
        bare: bool,
    ) {
        let result = self.check_layout(layout).and_then(|()| {
            if !bare && !self.synced.contains(&slice) {
                return Err(Refusal::NotSynced);
            }
            self.page_for(from, slice, after)
        });
        self.send_once_durable(from.clone(), slice, ShardMessage::Pulled { request, result });
    }

    fn page_for(
        &mut self,
        asker: &NodeId,
        slice: Slice,
        after: Option<(Position, Key)>,
    ) -> Result<TransferPage, Refusal> {
        let picture = self.picture.clone().expect("messages come after the picture");
        let (first, end) = rows::bounds(slice);
        let from = match &after {
            Some((at, key)) if at.slice() == slice => rows::place_after(&rows::placed(*at, key)),
            _ => first.to_vec(),
        };
        let end = end.as_ref().map(<[u8; 8]>::as_slice);
        let limit = PageLimit { rows: limits::PAGE_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
        let page = rows::scan(&self.storage, &from, end, limit).map_err(Refusal::Storage)?;
        // What this node owned once and owns no more may be long deleted, and the deletion forgotten by those who own it.
        let is_shared = |at| {
            picture.rings.owns(&picture.me, at) && picture.rings.all.preference_list(at).primaries().contains(asker)
        };
        let damaged = page.damaged.iter().any(|key| is_shared(Position::of(key)));
        page.damaged.iter().for_each(|key| self.begin_heal(key));
        let next = page.next.as_deref().and_then(rows::place_before);
        let found = page.found.into_iter().filter(|object| is_shared(object.at));
        let objects = found.map(|object| (object.key, object.set)).collect();
        let synced = self.synced.contains(&slice);
        Ok(TransferPage { objects, next, damaged, synced, floor: self.floor(slice) })
    }

    /// The taking side.
    pub(super) fn on_pulled(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        result: Result<TransferPage, Refusal>,
    ) {
        let now = self.effects.now;
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        if pull.asked.as_ref().is_none_or(|(node, asked)| node != from || *asked != request) {
            return;
        }
        match result {
            Ok(page) => self.take_page(from, slice, page),
            Err(refusal) => {
                pull.due = Some(now + RETRY_SOON);
                if refusal == Refusal::NotSynced {
                    pull.unsynced.insert(from.clone());
                }
                match refusal {
                    Refusal::Layout(theirs) => self.exchange_layout(from, theirs),
                    // Another owner may have it; this one is asked again later.
                    Refusal::NotSynced
                    | Refusal::HintsFull
                    | Refusal::Storage(_)
                    | Refusal::CoveredDot(_)
                    | Refusal::Sealed => {
                        pull.asked = None;
                        pull.passed = Some(from.clone());
                        pull.after = None;
                        pull.damaged = false;
                        pull.due = Some(now + PAGE_TIMEOUT);
                    }
                }
            }
        }
    }

    fn take_page(&mut self, from: &NodeId, slice: Slice, page: TransferPage) {
        let given: BTreeMap<&Key, &SiblingSet> = page.objects.iter().map(|(key, set)| (key, set)).collect();
        let span = self.span_of(slice, &page);
        let merged = page.objects.iter().try_for_each(|(key, set)| self.merge(key, set).map(|_| ()));
        // What the giver could not read is not dead for that.
        let is_whole = page.synced && !self.pulls.get(&slice).is_some_and(|pull| pull.asked_bare);
        let floor = if page.damaged || !is_whole { Floor::new() } else { page.floor.clone() };
        if let Err(error) = merged.and_then(|()| self.bury_missing(from, span, &given, &floor)) {
            // The page is asked for again.
            self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
            return;
        }
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        if is_whole {
            pull.floors.entry(from.clone()).or_insert(page.floor);
        }
        pull.objects += u64::try_from(page.objects.len()).expect("a page is short");
        pull.damaged |= page.damaged;
        if page.next.is_none() {
            pull.asked = None;
            if core::mem::take(&mut pull.damaged) {
                // It has not given all: others are asked, and it is asked again, once it has healed what it could not read.
                pull.passed = Some(from.clone());
                pull.after = None;
                pull.due = Some(self.effects.now + PAGE_TIMEOUT);
                return;
            }
            if is_whole {
                pull.done.insert(from.clone());
            } else if pull.bare.insert(from.clone()) {
                // What it gave may be long deleted. Those who know better give again, and what they lack is buried.
                pull.done.clear();
            }
        }
        pull.after = page.next;
        self.advance_pull(slice);
    }
}

impl<S: Storage> Shard<S> {
    /// The places that a page speaks of: from the one before it to its last.
    fn span_of(&self, slice: Slice, page: &TransferPage) -> (Vec<u8>, Option<Vec<u8>>) {
        let (first, end) = rows::bounds(slice);
        let behind = |(at, key): &(Position, Key)| rows::place_after(&rows::placed(*at, key));
        let after = self.pulls.get(&slice).and_then(|pull| pull.after.as_ref());
        let from = after.map_or_else(|| first.to_vec(), behind);
        (from, page.next.as_ref().map(behind).or_else(|| end.map(|end| end.to_vec())))
    }
}

/// The settled owners that could still give something needed: none once every arc of the slice has enough of them in
/// `done`, or all of them have given, those in `bare` what little they had: who is not synced has lost data, and of every
/// acknowledged write fewer stores than a write quorum may have. Arcs of the slice that this node does not own are counted
/// in, which costs a question and spares a case.
fn missing_sources(picture: &Picture, slice: Slice, done: &BTreeSet<NodeId>, bare: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let replication = picture.config.replication;
    let (r, w) = (usize::from(replication.r.get()), usize::from(replication.w.get()));
    let mut missing = Vec::new();
    let rings = &picture.rings;
    let owns_some = arcs(&rings.all, slice).any(|(_, primaries)| primaries.contains(&picture.me));
    for (_, primaries) in arcs(&rings.settled, slice).filter(|_| owns_some) {
        let owners = primaries.len();
        let others: Vec<&NodeId> = primaries.iter().filter(|node| **node != picture.me).collect();
        let least = r.min(w).min(owners);
        let needed = (owners + 1 - least).min(others.len());
        let gave = |node: &NodeId| done.contains(node) || bare.contains(node);
        let is_enough = others.iter().filter(|node| done.contains(**node)).count() >= needed;
        if !is_enough && !others.iter().all(|node| gave(node)) {
            missing.extend(others.into_iter().filter(|node| !gave(node)).cloned());
        }
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// The arcs that touch a slice, each by its last position in it, with the preference list of its keys.
pub(super) fn arcs(ring: &crate::ring::Ring, slice: Slice) -> impl Iterator<Item = (Position, &[NodeId])> {
    let last = core::iter::once(slice.last()).filter(|_| !ring.is_empty());
    let inside = ring.tokens().iter().map(|token| token.position).filter(move |at| at.slice() == slice);
    inside.chain(last).map(|at| (at, ring.preference_list(at).primaries()))
}
