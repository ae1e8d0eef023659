//! How this node follows the layout: it learns of versions, says of itself what it has come to, moves its slices on, and
//! tells others. What it acts under is durable before it acts. It decides no version: `decide` does.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Node, Output, rows};
use crate::event::EventKind;
use crate::hash::Slice;
use crate::id::NodeId;
use crate::layout::{Farewell, History, Layout, LayoutId, Learned, News, NewsDigest, bit};
use crate::membership::{self, State};
use crate::message::NodeMessage;
use crate::storage::{Batch, Space, Storage};
use crate::time::Time;

/// Members that are told at once that something is new; they tell others.
const FANOUT: usize = 3;
/// Between two tellings of something new.
const NEWS_PAUSE: Duration = Duration::from_millis(50);
/// Between two comparisons with one random member when nothing is new.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);

/// How this node stands to the layout.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The slices of which this store holds all that the node owns under the newest layout, one bit each.
    pub(super) synced: u64,
    /// As that, under whichever layout, in this life of the store.
    pub(super) ever_synced: u64,
    /// The slices that the shards read under nothing older than the newest layout.
    moved: u64,
    /// The slices of which this store holds nothing that others own, and no hint.
    cleared: u64,
    pub(super) objects_pulled: u64,
    /// Something is new since others were told.
    is_news: bool,
    news_due: Time,
    compare_due: Time,
    /// Whether this process was an owner, sure of its store: then it is told by a layout that excludes it to go. A process
    /// that finds itself excluded when it starts comes back as a new one.
    was_owner: bool,
    /// Owns nothing any more, and goes once it has handed over what it holds.
    pub(super) leaving: bool,
}

impl Standing {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            synced: 0,
            ever_synced: 0,
            moved: 0,
            cleared: 0,
            objects_pulled: 0,
            is_news: false,
            news_due: now,
            compare_due: now,
            was_owner: false,
            leaving: false,
        }
    }

    /// The store holds nothing for whole any more.
    pub(super) const fn unsync(&mut self) {
        (self.synced, self.ever_synced, self.objects_pulled) = (0, 0, 0);
    }

    pub(super) fn next_wake(&self) -> Time {
        if self.is_news { self.news_due.min(self.compare_due) } else { self.compare_due }
    }
}

impl<S: Storage> Node<S> {
    /// The newest layout.
    pub(super) fn layout(&self) -> &Layout {
        self.history.layout()
    }

    pub(super) fn on_layout_digest(&mut self, from: &NodeId, theirs: &NewsDigest) {
        if *theirs != self.history.digest() {
            self.send(from.clone(), NodeMessage::Layout(self.history.news()));
        }
    }

    pub(super) fn on_layout(&mut self, from: &NodeId, news: &News) {
        // Two operators have forced the same version. All nodes follow one of them; somebody should know.
        if let Some(version) = self.history.disagreement(news) {
            let other = from.clone();
            self.effects.event(|| EventKind::TwoLayouts { other, version });
        }
        self.learn_layout(news);
        if self.history.news() != *news {
            self.send(from.clone(), NodeMessage::Layout(self.history.news()));
        }
    }

    /// Compares what this node and another one know of the layout.
    pub(super) fn compare_layout(&mut self, with: NodeId) {
        self.send(with, NodeMessage::LayoutDigest(self.history.digest()));
    }

    pub(super) fn learn_layout(&mut self, news: &News) {
        let alone = self.layout().len() == 1 && self.layout().is_owner(&self.start.node);
        let Learned { newer, changed } = self.history.learn(news, &self.start.config.cluster);
        if newer {
            self.layout_changed();
            // Whoever is alone lets the next one in itself, durably first: only an old copy can hear of it from others.
            if alone && self.layout().len() > 1 {
                self.on_forgotten("a layout names other owners, and this store has forgotten them");
            }
        } else if changed {
            // What others have seen to be passed is followed here too, durably first.
            if self.history.rings().hash() != self.rings.hash() {
                self.save_layout();
            }
            self.move_on();
            self.spread_soon();
        }
    }

    /// There is a newer layout: makes it durable before anybody, our own shards included, acts under it; then spreads it.
    pub(super) fn layout_changed(&mut self) {
        (self.standing.synced, self.standing.moved, self.standing.cleared) = (0, 0, 0);
        let (version, owners) = (self.layout().version(), self.layout().len());
        let owners = u32::try_from(owners).unwrap_or(u32::MAX);
        self.effects.event_as_cause(|| EventKind::LayoutChanged { version, owners });
        self.save_layout();
        self.move_on();
        self.end_wishes();
        self.ask_new_members();
        self.note_exclusion();
        self.spread_now();
    }

    /// Says of itself what it has come to, and moves every slice on as far as all that is known allows.
    pub(super) fn move_on(&mut self) {
        let me = self.start.node.clone();
        let Standing { synced, moved, .. } = self.standing;
        if self.history.active().any(|layout| layout.is_owner(&me)) {
            let news = self.history.track(&me, synced, moved);
            self.standing.is_news |= news;
        }
        let before = self.rings.clone();
        let alive: Vec<NodeId> = self.living_others();
        // Whoever is dead may never be synced; whoever lives will be, and reads wait for it.
        let awaited = |node: &NodeId| *node == me || alive.binary_search(node).is_ok();
        if self.history.advance(self.start.config.cluster.replication, awaited) {
            self.save_layout();
        }
        if self.standing.synced == u64::MAX {
            self.history.forget_retired();
        }
        self.rings = self.history.rings();
        let version = self.rings.id.version;
        let passes = |slice: &Slice| self.rings.is_settled(*slice) && !before.is_settled(*slice);
        let passed: Vec<Slice> = Slice::all().filter(passes).collect();
        for slice in passed {
            self.effects.event(|| EventKind::SlicePassed { slice: slice.number(), version });
        }
    }

    /// All that others may be told waits until this is durable.
    pub(super) fn save_layout(&mut self) {
        let mut batch = Batch::default();
        batch.put(Space::Meta, rows::LAYOUT, rows::encode(&self.history.row(&self.start.node)));
        self.must_apply(batch);
        self.rings = self.history.rings();
    }

    /// Replaces all that is known: a cluster is founded or entered.
    pub(super) fn begin_history(&mut self, history: History) {
        self.history = history;
        self.standing = Standing::new(self.effects.now);
        self.rings = self.history.rings();
    }

    /// A shard holds all that this node owns of a slice under a layout.
    pub(super) fn on_slice_synced(&mut self, slice: Slice, layout: LayoutId, objects: u64) {
        self.standing.ever_synced |= bit(slice);
        if layout != self.rings.id {
            return;
        }
        let before = self.standing.synced;
        self.standing.synced |= bit(slice);
        self.standing.objects_pulled += objects;
        if before != self.standing.synced {
            self.move_on();
        }
        if before != u64::MAX && self.standing.synced == u64::MAX {
            let objects = core::mem::take(&mut self.standing.objects_pulled);
            self.effects.event_as_cause(|| EventKind::Synced { objects });
        }
        self.spread_soon();
    }

    /// A shard reads these slices under nothing older than this layout from now on.
    pub(super) fn on_slices_moved(&mut self, layout: LayoutId, slices: u64) {
        if layout == self.rings.id && self.standing.moved | slices != self.standing.moved {
            self.standing.moved |= slices;
            self.move_on();
            self.spread_soon();
        }
    }

    /// A shard holds nothing of these slices that others own; `cleared` names those of its slices.
    pub(super) fn on_slices_cleared(&mut self, layout: LayoutId, slices: u64, cleared: u64) {
        if layout == self.rings.id {
            self.standing.cleared = (self.standing.cleared & !slices) | cleared;
            self.leave_if_cleared();
        }
    }

    /// The layout names this store among those that own nothing any more.
    pub(super) fn note_exclusion(&mut self) {
        match self.exclusion() {
            // It runs, and others want it gone: it hands over what it holds, and goes.
            Some(Farewell::Removed) if self.standing.was_owner => {
                if !core::mem::replace(&mut self.standing.leaving, true) {
                    self.effects.event_as_cause(|| EventKind::Leaving);
                }
            }
            Some(_) => {}
            None => self.standing.leaving = false,
        }
    }

    /// Why the layout excludes this very store, if it does.
    fn exclusion(&self) -> Option<Farewell> {
        let exclusion = self.layout().exclusion(&self.start.node)?;
        (exclusion.store == self.actor()).then_some(exclusion.why)
    }

    /// It was excluded while it was away: it comes back as a new store that happens to hold something. Not before no active
    /// layout names the store as it was: until then others may count on it for what they have still to pull.
    pub(super) fn return_if_excluded(&mut self) {
        let names_me = |layout: &Layout| layout.role(&self.start.node).is_some_and(|role| role.store == self.actor());
        let (is_owner, was_owner) = (names_me(self.layout()), self.history.active().any(names_me));
        self.standing.was_owner |= self.trial.is_sure() && is_owner;
        if self.exclusion().is_some() && !self.standing.leaving && self.trial.is_sure() && !was_owner {
            self.standing.was_owner = false;
            self.on_forgotten("the layout has excluded this store while it was away");
        }
    }

    /// While this node leaves for good: the slices of which it holds nothing any more that others own, of 64.
    #[must_use]
    pub const fn slices_handed_over(&self) -> Option<u32> {
        if self.standing.leaving { Some(self.standing.cleared.count_ones()) } else { None }
    }

    fn leave_if_cleared(&mut self) {
        if self.standing.leaving && self.standing.cleared == u64::MAX && self.rings.is_all_settled() {
            self.leave_now();
        }
    }

    /// Says that it is gone for good.
    pub(super) fn leave_now(&mut self) {
        let mut effects = membership::Effects::default();
        self.membership.leave(self.effects.now, &mut effects);
        self.carry_out(effects);
        self.effects.event_as_cause(|| EventKind::Left);
        self.effects.push(Output::Left);
    }

    pub(super) const fn spread_soon(&mut self) {
        self.standing.is_news = true;
    }

    /// Tells a few members that something is new.
    pub(super) fn spread_now(&mut self) {
        self.standing.is_news = false;
        self.standing.news_due = self.effects.now + NEWS_PAUSE;
        let mut others = self.living_others();
        self.rng.shuffle(&mut others);
        others.truncate(FANOUT);
        for other in others {
            self.send(other, NodeMessage::Layout(self.history.news()));
        }
    }

    pub(super) fn layout_on_time(&mut self) {
        let now = self.effects.now;
        if self.standing.is_news && self.standing.news_due <= now {
            self.spread_now();
        }
        if self.standing.compare_due <= now {
            self.standing.compare_due = now + COMPARE_INTERVAL;
            // Somebody whom reads waited for may have died.
            self.move_on();
            let others = self.living_others();
            if let Some(other) = self.rng.pick(&others).cloned() {
                self.compare_layout(other);
            }
        }
    }

    /// The members that are alive, but for this one.
    pub(super) fn living_others(&self) -> Vec<NodeId> {
        let members = self.membership.members().map(|known| &known.member);
        let others = members.filter(|member| member.node != self.start.node && member.state == State::Alive);
        others.map(|member| member.node.clone()).collect()
    }
}
