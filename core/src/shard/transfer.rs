//! A new owner pulls what it will own, slice by slice, page by page, from the owners whom reads ask; they keep serving
//! meanwhile. Pages are merged, never put in place of what is there, so a page may come twice and a pull may begin again.
//! What the node has owned all the time it does not pull.
//!
//! A slice is synced once, of every arc that is new, so many of those owners have given all they hold that any earlier
//! write quorum, and any earlier read quorum, has one of them. Each of them has acknowledged the newest layout when it
//! gives: from then on it refuses requests that do not count the new owner in.
//!
//! Owners that lost their data one after the other may wait for each other. Once nobody else is left to ask, they give each
//! other what they have: of an acknowledged write at most a write quorum less one store lost its copy, so some owner has
//! it. What they give may be long deleted, so those who hold all they own give again afterwards.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

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
use crate::planted::PlantedBug;
use crate::storage::{Batch, PageLimit, Storage};
use crate::time::Time;

/// Slices that one shard pulls at a time.
const PULLS_MAX: usize = 4;
/// Until a page that did not come is asked for again.
const PAGE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Under which layouts this store holds all that the node owns of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// The first one.
    pub(super) since: LayoutId,
    /// The last one.
    pub(super) at: LayoutId,
}

/// What a new owner asks for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The version under whose owners it pulls.
    pub(super) under: u64,
    /// Since when it has held what it owned.
    pub(super) since: Option<LayoutId>,
    /// Where the page begins.
    pub(super) after: Option<(Position, Key)>,
    /// Whether a store that has not pulled everything itself is to give what it has.
    pub(super) bare: bool,
}

/// A slice that is being pulled.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// The version under whose owners it is pulled.
    under: u64,
    /// The layout since which this store holds what it has owned under all.
    since: Option<LayoutId>,
    /// Owners that have given all they hold.
    done: BTreeSet<NodeId>,
    /// Owners that were not synced themselves when they were asked last.
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
    fn new(under: u64, since: Option<LayoutId>, due: Option<Time>) -> Self {
        let (done, unsynced, bare, floors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Self {
            under,
            since,
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

    pub(super) const fn under(&self) -> u64 {
        self.under
    }

    pub(super) const fn since(&self) -> Option<LayoutId> {
        self.since
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

    /// Whether this store holds all that the node owns of a slice under the newest layout.
    pub(super) fn is_whole(&self, slice: Slice) -> bool {
        let newest = self.picture.as_ref().map(|picture| picture.rings.id);
        self.synced.get(&slice).is_some_and(|whole| Some(whole.at) == newest)
    }

    /// Whether this store has held all of a position since the node owned it.
    pub(super) fn has_seen_all(&self, at: Position) -> bool {
        let (Some(picture), Some(whole)) = (&self.picture, self.synced.get(&at.slice())) else { return false };
        whole.at == picture.rings.id || picture.rings.keeps(&picture.me, whole.at, at)
    }

    /// Whether this store held all that the node owned of a slice under a version, and has missed nothing since.
    pub(super) fn is_synced_under(&self, slice: Slice, version: u64) -> bool {
        let Some(picture) = &self.picture else { return false };
        self.synced.get(&slice).is_some_and(|whole| {
            (whole.since.version..=whole.at.version).contains(&version) && picture.rings.knows(whole.at)
        })
    }

    /// This store begins a cluster.
    pub(super) fn begin_whole(&mut self, layout: LayoutId) {
        let whole = Whole { since: layout, at: layout };
        for slice in self.start.slices.clone() {
            self.write_whole(slice, whole, None, 0);
        }
    }

    /// There is a newer layout: what was pulled under the one before must be given by those who acknowledge this one.
    pub(super) fn restart_pulls(&mut self) {
        self.pulls.clear();
        self.barrier.forget_synced();
    }

    /// Starts pulls for slices that are not synced, a few at a time. Where nothing is new there is nothing to pull.
    pub(super) fn begin_pulls(&mut self) {
        let now = self.effects.now;
        let Some(picture) = self.picture.clone().filter(|picture| !picture.rings.layout().is_empty()) else { return };
        let rings = &picture.rings;
        for slice in self.start.slices.clone() {
            if self.is_whole(slice) {
                continue;
            }
            let under = rings.reads_under(slice);
            let since = self.synced.get(&slice).map(|whole| whole.at).filter(|at| rings.knows(*at));
            match self.pulls.get_mut(&slice) {
                // The slice is read under a newer version now, and pulled under that one from now on.
                Some(pull) if pull.under != under && pull.due.is_some() => *pull = Pull::new(under, since, Some(now)),
                Some(_) => {}
                None => {
                    let pull = Pull::new(under, since, Some(now));
                    let whole = self.is_synced_under(slice, under);
                    let is_needed = !missing_sources(&picture, slice, &pull, whole).is_empty();
                    if !is_needed || self.pulls.values().filter(|pull| pull.due.is_some()).count() < PULLS_MAX {
                        self.pulls.insert(slice, pull);
                    }
                    if !is_needed {
                        self.become_synced(slice, 0);
                    }
                }
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
        let whole = self.pulls.get(&slice).is_some_and(|pull| self.is_synced_under(slice, pull.under));
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        pull.due = Some(due);
        let missing = missing_sources(&picture, slice, pull, whole);
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
        let (layout, under, since, after) = (picture.rings.id, pull.under, pull.since, pull.after.clone());
        self.send(source, slice, ShardMessage::Pull { request, layout, under, since, after, bare });
    }

    /// Remembers durably that this store holds all that this node owns of the slice.
    fn become_synced(&mut self, slice: Slice, objects: u64) {
        let Some(at) = self.picture.as_ref().map(|picture| picture.rings.id) else { return };
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        pull.due = None;
        // Whoever has pulled everything holds nothing of what only owners of before had.
        let since = pull.since.and_then(|_| self.synced.get(&slice)).map_or(at, |whole| whole.since);
        let marks = self.marks_of_givers(slice);
        self.write_whole(slice, Whole { since, at }, marks, objects);
    }

    fn write_whole(&mut self, slice: Slice, whole: Whole, marks: Option<Marks>, objects: u64) {
        let mut batch = Batch::default();
        rows::put_synced(&mut batch, slice, self.start.actor, whole);
        if let Some(marks) = &marks {
            rows::put_marks(&mut batch, slice, marks);
        }
        if let Ok(seq) = self.apply(batch) {
            self.barrier.wait(seq, self.effects.cause, Then::Synced { slice, whole, objects });
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
    pub(super) fn on_synced(&mut self, slice: Slice, whole: Whole, objects: u64) {
        self.pulls.remove(&slice);
        self.synced.insert(slice, whole);
        // Before the first picture there is nobody to tell; the first one has it told.
        if let Some(cluster) = self.picture.as_ref().map(|picture| picture.cluster) {
            let (actor, layout) = (self.start.actor, whole.at);
            self.tell(FromShard::Synced { cluster, actor, slice, layout, objects });
        }
        self.begin_pulls();
        self.look_for_leftovers();
    }

    /// The giving side: a page of what the asker owns of the slice.
    pub(super) fn serve_pull(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        wanted: Wanted,
    ) {
        let result = self.check_layout(from, layout).and_then(|()| {
            let is_needed = self.is_needed_under(slice, wanted.under);
            let gives =
                wanted.bare || self.is_synced_under(slice, wanted.under) || self.has_bug(PlantedBug::ReadUnsynced);
            if is_needed && gives { self.page_for(from, slice, &wanted) } else { Err(Refusal::NotSynced) }
        });
        self.send_once_durable(from.clone(), slice, ShardMessage::Pulled { request, result });
    }

    /// Whether writes still need the owners under a version: if not, what they hold may be long deleted, and the deletion
    /// forgotten by those who own it now.
    fn is_needed_under(&self, slice: Slice, version: u64) -> bool {
        let rings = &self.picture.as_ref().expect("messages come after the picture").rings;
        rings.writing(slice).iter().any(|active| active.id.version == version)
    }

    fn page_for(&mut self, asker: &NodeId, slice: Slice, wanted: &Wanted) -> Result<TransferPage, Refusal> {
        let picture = self.picture.clone().expect("messages come after the picture");
        let (first, end) = rows::bounds(slice);
        let from = match &wanted.after {
            Some((at, key)) if at.slice() == slice => rows::place_after(&rows::placed(*at, key)),
            _ => first.to_vec(),
        };
        let end = end.as_ref().map(<[u8; 8]>::as_slice);
        let limit = PageLimit { rows: limits::PAGE_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
        let page = rows::scan(&self.storage, &from, end, limit).map_err(Refusal::Storage)?;
        let is_shared = |at| picture.rings.gives(&picture.me, wanted.under, asker, wanted.since, at);
        let damaged = page.damaged.iter().any(|key| is_shared(Position::of(key)));
        page.damaged.iter().for_each(|key| self.begin_heal(key));
        let next = page.next.as_deref().and_then(rows::place_before);
        let found = page.found.into_iter().filter(|object| is_shared(object.at));
        let objects = found.map(|object| (object.key, object.set)).collect();
        let synced = self.is_synced_under(slice, wanted.under);
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
                    // The two tell each other. Whoever has given nothing yet may take long to hear of it: others are asked
                    // meanwhile.
                    Refusal::Layout if pull.after.is_none() => {
                        pull.asked = None;
                        pull.passed = Some(from.clone());
                    }
                    Refusal::Layout => {}
                    // Another owner may have it; this one is asked again later.
                    Refusal::NotSynced
                    | Refusal::HintsFull
                    | Refusal::Storage(_)
                    | Refusal::CoveredDot(_)
                    | Refusal::Sealed => self.ask_another(from, slice),
                }
            }
        }
    }

    /// Asks the next owner in line, after a while, and this one again later, from the beginning.
    fn ask_another(&mut self, than: &NodeId, slice: Slice) {
        let due = self.effects.now + PAGE_TIMEOUT;
        let Some(pull) = self.pulls.get_mut(&slice) else { return };
        pull.asked = None;
        pull.passed = Some(than.clone());
        pull.after = None;
        pull.damaged = false;
        pull.due = Some(due);
    }

    fn take_page(&mut self, from: &NodeId, slice: Slice, page: TransferPage) {
        // What the giver could not read is not dead for that.
        let is_whole = page.synced && !self.pulls.get(&slice).is_some_and(|pull| pull.asked_bare);
        if is_whole && !page.floor.descends(&self.floor(slice)) {
            // What it shows may be long dead, and it does not know. It is told, and asked again.
            self.bring_up(from, slice, &page.floor);
            return self.ask_another(from, slice);
        }
        let given: BTreeMap<&Key, &SiblingSet> = page.objects.iter().map(|(key, set)| (key, set)).collect();
        let span = self.span_of(slice, &page);
        let merged = page.objects.iter().try_for_each(|(key, set)| self.merge(key, set).map(|_| ()));
        let floor = if page.damaged || !is_whole { Floor::new() } else { page.floor.clone() };
        if let Err(error) = merged.and_then(|()| self.bury_missing(from, slice, span, &given, &floor)) {
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
                return self.ask_another(from, slice);
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

/// The owners that could still give something needed: none once every arc that is new has enough of them in `done`, or all
/// of them have given, those in `bare` what little they had: who is not synced has lost data, and of every acknowledged
/// write fewer stores than a write quorum may have.
/// `whole`: this store is a synced owner of what the node owns under the version that it pulls under. It pulls nothing of
/// that again: whoever lost an arc to a change that did not come to its end, and gets it back, has been written to all the
/// while.
fn missing_sources(picture: &Picture, slice: Slice, pull: &Pull, whole: bool) -> Vec<NodeId> {
    let replication = picture.config.replication;
    let (r, w) = (usize::from(replication.r.get()), usize::from(replication.w.get()));
    let rings = &picture.rings;
    let me = &picture.me;
    let owned = |at: Position| whole && rings.reading(slice).ring.preference_list(at).primaries().contains(me);
    let kept = |at: Position| pull.since.is_some_and(|since| rings.keeps(me, since, at)) || owned(at);
    let is_new = |at: Position| rings.will_own(me, at) && !kept(at);
    let mut missing = Vec::new();
    for at in rings.cuts(slice).into_iter().filter(|at| is_new(*at)) {
        let primaries = rings.reading(slice).ring.preference_list(at).primaries();
        let owners = primaries.len();
        let others: Vec<&NodeId> = primaries.iter().filter(|node| *node != me).collect();
        let least = r.min(w).min(owners);
        let needed = (owners + 1 - least).min(others.len());
        let gave = |node: &NodeId| pull.done.contains(node) || pull.bare.contains(node);
        let is_enough = others.iter().filter(|node| pull.done.contains(**node)).count() >= needed;
        if !is_enough && !others.iter().all(|node| gave(node)) {
            missing.extend(others.into_iter().filter(|node| !gave(node)).cloned());
        }
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}
