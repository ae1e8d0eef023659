//! What this store holds and the node owns no more. It is handed over to all owners, object by object, and dropped once each
//! of them has said that it holds the same, durably, and nothing has changed since. A node that is gone for good does not
//! wait for the dead: for it a write quorum, and all owners that live, are enough. Never drops what a request may still need:
//! a slice is looked at once it has passed to the newest layout.
//!
//! Owners are asked by digests of live versions, as in a comparison; only what differs is sent, and merged there. An owner
//! that has merged an object durably holds it, or knows it to be superseded or dead.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Shard, rows};
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::{LayoutId, bit};
use crate::limits;
use crate::merkle::Sum;
use crate::message::{Refusal, ShardMessage};
use crate::node::FromShard;
use crate::planted::PlantedBug;
use crate::storage::{Batch, PageLimit, Storage, StorageError};
use crate::time::Time;

/// Between two pages: clients come first.
const PAUSE: Duration = Duration::from_millis(10);
/// Until a page that not all owners hold is offered again.
const RETRY: Duration = Duration::from_millis(500);
/// Slices that are handed over at a time.
const SLICES_MAX: usize = 2;

/// A page of objects that is offered to their owners.
#[derive(Clone, Debug)]
struct Offer {
    request: RequestId,
    /// The objects, in the order of the ring: their sums, and who has not said yet that it holds the same.
    objects: BTreeMap<(Position, Key), (Sum, BTreeSet<NodeId>)>,
    /// Objects that were sent to an owner, as they were then.
    sent: BTreeMap<RequestId, (NodeId, Key, Sum)>,
    /// Where the next page begins; nothing at the end.
    next: Option<Vec<u8>>,
}

/// A slice that is looked through.
#[derive(Clone, Debug)]
struct Search {
    from: Vec<u8>,
    due: Time,
    /// Nothing between two pages.
    offer: Option<Offer>,
}

/// The leftovers of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Leftovers {
    /// The layout under which they were looked for.
    layout: Option<LayoutId>,
    /// Slices that were not looked through since they last could have some.
    waiting: BTreeSet<Slice>,
    searches: BTreeMap<Slice, Search>,
    /// Slices that have none under the layout of now.
    clear: BTreeSet<Slice>,
}

impl Leftovers {
    pub(super) fn due(&self) -> Option<Time> {
        self.searches.values().map(|search| search.due).min()
    }
}

impl<S: Storage> Shard<S> {
    /// There is another layout, or more is synced: slices may hold what others own.
    pub(super) fn look_for_leftovers(&mut self) {
        let Some(picture) = self.picture.clone() else { return };
        let newest = picture.rings.id;
        if self.leftovers.layout != Some(newest) {
            let waiting = self.start.slices.iter().copied().collect();
            self.leftovers = Leftovers { layout: Some(newest), waiting, ..Leftovers::default() };
        }
        let ready = |slice: &Slice| picture.rings.is_settled(*slice) && self.is_whole(*slice);
        let room = SLICES_MAX.saturating_sub(self.leftovers.searches.len());
        let begin: Vec<Slice> = self.leftovers.waiting.iter().copied().filter(ready).take(room).collect();
        for slice in begin {
            self.leftovers.waiting.remove(&slice);
            let search = Search { from: rows::bounds(slice).0.to_vec(), due: self.effects.now, offer: None };
            self.leftovers.searches.insert(slice, search);
        }
    }

    pub(super) fn leftovers_on_time(&mut self) {
        let now = self.effects.now;
        let due: Vec<Slice> =
            self.leftovers.searches.iter().filter(|(_, search)| search.due <= now).map(|(slice, _)| *slice).collect();
        for slice in due {
            self.search_on(slice);
        }
    }

    /// Offers the next page, or the same one again.
    fn search_on(&mut self, slice: Slice) {
        let Some(mut search) = self.leftovers.searches.remove(&slice) else { return };
        search.due = self.effects.now + RETRY;
        if search.offer.is_none() {
            match self.next_offer(slice, &search.from) {
                Ok(Some(offer)) => search.offer = Some(offer),
                Ok(None) => return self.end_search(slice),
                Err(error) => {
                    self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
                }
            }
        } else {
            self.renew_offer(&mut search);
        }
        let questions = search.offer.as_ref().map(Offer::questions).unwrap_or_default();
        let request = search.offer.as_ref().map(|offer| offer.request);
        let is_done = search.offer.is_some() && questions.is_empty();
        self.leftovers.searches.insert(slice, search);
        if is_done {
            return self.drop_page(slice);
        }
        let (Some(request), Some(picture)) = (request, self.picture.clone()) else { return };
        for (owner, entries) in questions {
            let layout = picture.rings.id;
            self.send(owner, slice, ShardMessage::Leftovers { request, layout, entries });
        }
    }

    /// The next objects of a slice that others own; nothing if there are no more.
    fn next_offer(&mut self, slice: Slice, from: &[u8]) -> Result<Option<Offer>, StorageError> {
        let Some(picture) = self.picture.clone() else { return Ok(None) };
        let (_, end) = rows::bounds(slice);
        let end = end.as_ref().map(<[u8; 8]>::as_slice);
        let mut from = from.to_vec();
        let limit = PageLimit { rows: limits::COLLECTION_ROWS_MAX, bytes: limits::PAGE_BYTES_MAX };
        loop {
            let page = rows::scan(&self.storage, &from, end, limit)?;
            let mut objects = BTreeMap::new();
            for object in page.found {
                let owners = picture.rings.ring().preference_list(object.at).primaries();
                if owners.contains(&picture.me) {
                    continue;
                }
                let left = if self.has_bug(PlantedBug::DropEarly) { 1 } else { owners.len() };
                let owners: BTreeSet<NodeId> = owners.iter().take(left).cloned().collect();
                let sum = object.sum();
                objects.insert((object.at, object.key), (sum, owners));
            }
            match page.next {
                Some(next) if objects.is_empty() => from = next,
                None if objects.is_empty() => return Ok(None),
                next => {
                    let (request, sent) = (self.new_request(), BTreeMap::new());
                    return Ok(Some(Offer { request, objects, sent, next }));
                }
            }
        }
    }

    /// Before a page is offered again: what has changed meanwhile is offered as it is now.
    fn renew_offer(&mut self, search: &mut Search) {
        let Some(offer) = &mut search.offer else { return };
        let Some(picture) = self.picture.clone() else { return };
        offer.request = self.new_request();
        for ((at, key), (sum, owners)) in &mut offer.objects {
            let Ok(set) = rows::load(&self.storage, key) else { continue };
            let now = rows::entry(key, &set);
            if now != *sum {
                *sum = now;
                *owners = picture.rings.ring().preference_list(*at).primaries().iter().cloned().collect();
            }
            if !self.stays() {
                // Whoever is gone for good cannot wait for the dead; the living make up for them.
                let living = owners.iter().filter(|node| !picture.down.contains(*node)).cloned().collect();
                let all = picture.rings.ring().preference_list(*at).primaries();
                let have_it = all.len() - owners.len();
                if have_it >= usize::from(picture.config.replication.w.get()).min(all.len()) {
                    *owners = living;
                }
            }
        }
    }

    /// An owner is offered what another one holds.
    pub(super) fn serve_leftovers(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        layout: LayoutId,
        entries: &[(Key, Sum)],
    ) {
        let result = self.check_layout(from, layout).and_then(|()| {
            if !self.is_whole(slice) {
                return Err(Refusal::NotSynced);
            }
            let mut differing = Vec::new();
            for (key, theirs) in entries {
                let held = self.load(key).map_err(Refusal::Storage)?;
                if rows::entry(key, &held) != *theirs {
                    differing.push(key.clone());
                }
            }
            Ok(differing)
        });
        let message = ShardMessage::LeftoversAnswer { request, result };
        self.send_once_durable(from.clone(), slice, message);
    }

    /// What an owner says to an offer: it holds the same, but for these keys. Those it is sent.
    pub(super) fn on_leftovers_answer(
        &mut self,
        from: &NodeId,
        slice: Slice,
        request: RequestId,
        result: Result<Vec<Key>, Refusal>,
    ) {
        let Some(search) = self.leftovers.searches.get_mut(&slice) else { return };
        let Some(offer) = search.offer.as_mut().filter(|offer| offer.request == request) else { return };
        let Ok(differing) = result else { return };
        let differing: BTreeSet<&Key> = differing.iter().collect();
        for ((_, key), (_, owners)) in &mut offer.objects {
            if !differing.contains(key) {
                owners.remove(from);
            }
        }
        let is_done = offer.is_held();
        let keys: Vec<Key> =
            offer.objects.keys().map(|(_, key)| key.clone()).filter(|key| differing.contains(key)).collect();
        for key in keys {
            self.hand_over(from, slice, &key);
        }
        if is_done {
            self.drop_page(slice);
        }
    }

    /// Sends an owner an object, as it would be sent what was kept for it.
    fn hand_over(&mut self, to: &NodeId, slice: Slice, key: &Key) {
        let Some(layout) = self.picture.as_ref().map(|picture| picture.rings.id) else { return };
        let Ok(set) = rows::load(&self.storage, key) else { return };
        let request = self.new_request();
        let Some(offer) = self.leftovers.searches.get_mut(&slice).and_then(|search| search.offer.as_mut()) else {
            return;
        };
        offer.sent.insert(request, (to.clone(), key.clone(), rows::entry(key, &set)));
        self.send(to.clone(), slice, ShardMessage::HandOff { request, layout, key: key.clone(), set });
    }

    /// An owner has merged an object that it was sent, durably. Says whether it was one of these.
    pub(super) fn on_leftover_taken(&mut self, from: &NodeId, request: RequestId) -> bool {
        let mut searches = self.leftovers.searches.iter_mut();
        let found = searches.find_map(|(slice, search)| {
            let offer = search.offer.as_mut()?;
            let (to, key, sum) = offer.sent.remove(&request).filter(|(to, ..)| to == from)?;
            let (offered, owners) = offer.objects.get_mut(&(Position::of(&key), key))?;
            if *offered == sum {
                owners.remove(&to);
            }
            Some((*slice, offer.is_held()))
        });
        if let Some((slice, true)) = found {
            self.drop_page(slice);
        }
        found.is_some()
    }

    /// All owners hold the page: what has not changed since goes.
    fn drop_page(&mut self, slice: Slice) {
        let Some(mut search) = self.leftovers.searches.remove(&slice) else { return };
        let Some(offer) = search.offer.take() else { return };
        for ((_, key), (sum, owners)) in &offer.objects {
            assert!(owners.is_empty(), "every owner has said that it holds {key:?}");
            let Ok(set) = rows::load(&self.storage, key) else { continue };
            if rows::entry(key, &set) == *sum && self.store_in(Batch::default(), key, &set, None).is_ok() {
                let key = key.clone();
                self.effects.event(|| EventKind::LeftoverDropped { key });
            }
        }
        match offer.next {
            Some(next) => {
                (search.from, search.due) = (next, self.effects.now + PAUSE);
                self.leftovers.searches.insert(slice, search);
            }
            // What changed meanwhile, or came since, is met by another look.
            None if self.holds_leftovers(slice) => {
                (search.from, search.due) = (rows::bounds(slice).0.to_vec(), self.effects.now + RETRY);
                self.leftovers.searches.insert(slice, search);
            }
            None => self.end_search(slice),
        }
    }

    fn holds_leftovers(&mut self, slice: Slice) -> bool {
        !matches!(self.next_offer(slice, &rows::bounds(slice).0), Ok(None))
    }

    fn end_search(&mut self, slice: Slice) {
        self.leftovers.clear.insert(slice);
        self.look_for_leftovers();
        self.tell_cleared();
    }

    /// Tells the control plane of which slices nothing is left that others own, hints included.
    pub(super) fn tell_cleared(&mut self) {
        let Some(layout) = self.picture.as_ref().map(|picture| picture.rings.id) else { return };
        let bits = |slices: &mut dyn Iterator<Item = &Slice>| slices.fold(0, |bits, slice| bits | bit(*slice));
        let slices = bits(&mut self.start.slices.iter());
        let is_clear = |slice: &&Slice| !self.hints.has_any_in(**slice);
        let cleared = bits(&mut self.leftovers.clear.iter().filter(is_clear));
        self.tell(FromShard::Cleared { layout, slices, cleared });
    }

    /// Whether this node keeps a part of the ring: if not, nobody comes back for what it keeps for others.
    pub(super) fn stays(&self) -> bool {
        self.picture.as_ref().is_none_or(|picture| picture.rings.layout().exclusion(&picture.me).is_none())
    }

    /// Tells the control plane which slices are read under nothing older than the newest layout from now on.
    pub(super) fn tell_moved(&mut self) {
        let Some(picture) = self.picture.clone() else { return };
        let layout = picture.rings.id;
        let moved = self.start.slices.iter().filter(|slice| picture.rings.reads_under(**slice) == layout.version);
        let slices = moved.fold(0, |bits, slice| bits | bit(*slice));
        self.tell(FromShard::Moved { layout, slices });
        self.look_for_leftovers();
    }
}

impl Offer {
    /// Whether every owner holds every object.
    fn is_held(&self) -> bool {
        self.objects.values().all(|(_, owners)| owners.is_empty())
    }

    /// For each owner that has not said yet that it holds the same: of which objects.
    fn questions(&self) -> BTreeMap<NodeId, Vec<(Key, Sum)>> {
        let mut questions: BTreeMap<NodeId, Vec<(Key, Sum)>> = BTreeMap::new();
        for ((_, key), (sum, owners)) in &self.objects {
            for owner in owners {
                questions.entry(owner.clone()).or_default().push((key.clone(), *sum));
            }
        }
        questions
    }
}
