//! How far a node has come on the chain of layouts: which versions are active, who is synced under the newest, and by which
//! version each slice is read and written. Everything here follows from what the owners say of themselves ([`Tracker`]), so
//! that all nodes come to the same end in whatever order they hear of it. Never sends, and never knows who is alive.
//!
//! What a tracker says of its owner about the newest layout, slice by slice:
//!
//! - **synced**: its store holds all that the node owns of the slice.
//! - **moved**: the node refuses to read the slice under anything older, durably.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::rings::{COUNT, place};
use super::{Active, Layout, LayoutId, MalformedLayout, Rings};
use crate::config::{ClusterConfig, Replication};
use crate::hash::{Slice, StableHasher};
use crate::id::NodeId;
use crate::limits;

/// What an owner says of itself. Only the owner raises the turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tracker {
    /// Counts what it has said: a greater one is later.
    pub turn: u64,
    /// The newest layout that it acts under.
    pub layout: LayoutId,
    /// The slices that are synced under it, one bit each.
    pub synced: u64,
    /// The slices that it reads under nothing older, one bit each.
    pub moved: u64,
}

/// What a node tells others of the layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The active layouts, oldest first.
    pub chain: Vec<Layout>,
    /// What the owners say of themselves.
    pub trackers: BTreeMap<NodeId, Tracker>,
    /// For each slice how far it has come: the place in the chain of the layout that reads ask, and of the oldest that writes
    /// need. What was seen once stays true: whoever has forgotten since what it said of itself takes none of it back.
    pub points: Vec<(u8, u8)>,
}

/// Names some news: equal digests, equal news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsDigest {
    /// The newest layout.
    pub newest: LayoutId,
    /// A hash of everything.
    pub hash: u64,
}

/// What must outlive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    chain: Vec<Layout>,
    /// For each slice, the version that reads ask and the oldest that writes need.
    points: Vec<(u64, u64)>,
    tracker: Tracker,
}

/// How far a change has come, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The active versions, oldest first.
    pub active: Vec<u64>,
    /// For each owner under the newest layout, the slices that are synced, of 64.
    pub synced: BTreeMap<NodeId, u32>,
    /// Slices that are read under the newest layout here.
    pub read: u32,
    /// Slices that have passed to it here.
    pub passed: u32,
}

/// The chain of layouts as one node knows it.
#[derive(Clone, Debug)]
pub struct History {
    /// Consecutive versions, oldest first; never empty. The first ones may be retired and only kept because this node's
    /// store is synced under them.
    chain: Vec<Arc<Active>>,
    reading: [u64; COUNT],
    writing: [u64; COUNT],
    trackers: BTreeMap<NodeId, Tracker>,
}

/// What came of some news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// There is a newer layout than before.
    pub newer: bool,
    /// Something is new.
    pub changed: bool,
}

impl History {
    /// A history of one layout.
    #[must_use]
    pub fn begin(layout: Layout, cluster: &ClusterConfig) -> Self {
        let version = layout.version();
        let chain = alloc::vec![Active::new(layout, cluster)];
        Self { chain, reading: [version; COUNT], writing: [version; COUNT], trackers: BTreeMap::new() }
    }

    /// The history of a node that knew nothing.
    #[must_use]
    pub fn from_news(news: &News, cluster: &ClusterConfig) -> Self {
        let mut history = Self::begin(Layout::default(), cluster);
        history.replace(news, cluster);
        history.learn_trackers(news);
        history
    }

    /// What a restart finds; nothing if it is none that was written here.
    #[must_use]
    pub fn from_row(row: HistoryRow, me: &NodeId, cluster: &ClusterConfig) -> Option<Self> {
        if !is_chain(&row.chain) || row.points.len() != COUNT {
            return None;
        }
        let point = |index: usize| row.points[index];
        let mut history = Self {
            chain: row.chain.into_iter().map(|layout| Active::new(layout, cluster)).collect(),
            reading: core::array::from_fn(|index| point(index).0),
            writing: core::array::from_fn(|index| point(index).1),
            trackers: BTreeMap::new(),
        };
        if row.tracker != Tracker::default() {
            // What was said before the restart may be known to others; what is said now is later.
            let tracker = Tracker { turn: row.tracker.turn, layout: row.tracker.layout, synced: 0, moved: 0 };
            history.trackers.insert(me.clone(), tracker);
        }
        Some(history)
    }

    /// What must outlive a restart.
    #[must_use]
    pub fn row(&self, me: &NodeId) -> HistoryRow {
        HistoryRow {
            chain: self.chain.iter().map(|active| active.layout.clone()).collect(),
            points: self.reading.iter().copied().zip(self.writing).collect(),
            tracker: self.trackers.get(me).copied().unwrap_or_default(),
        }
    }

    /// The newest layout.
    #[must_use]
    pub fn newest(&self) -> &Active {
        self.chain.last().expect("a chain is never empty")
    }

    /// The newest layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.newest().layout
    }

    /// The oldest version that any slice is written under.
    fn oldest(&self) -> u64 {
        self.writing.iter().copied().min().unwrap_or(0)
    }

    /// The layouts that somebody's request may still need, oldest first.
    pub fn active(&self) -> impl Iterator<Item = &Layout> {
        let oldest = self.oldest();
        self.chain.iter().filter(move |active| active.id.version >= oldest).map(|active| &active.layout)
    }

    /// The layout before the newest one, if it is still active.
    #[must_use]
    pub fn revertible(&self) -> Option<&Layout> {
        let oldest = self.active().next()?;
        (oldest.version() < self.layout().version()).then_some(oldest)
    }

    /// What routing needs.
    #[must_use]
    pub fn rings(&self) -> Arc<Rings> {
        Rings::new(self.chain.clone(), self.reading, self.writing)
    }

    /// What others are told.
    #[must_use]
    pub fn news(&self) -> News {
        let trackers = self.trackers.iter().filter(|(node, _)| self.concerns(node));
        let oldest = self.oldest();
        let place = |version: &u64| u8::try_from(version - oldest).expect("a short chain");
        News {
            chain: self.active().cloned().collect(),
            trackers: trackers.map(|(node, tracker)| (node.clone(), *tracker)).collect(),
            points: self.reading.iter().map(place).zip(self.writing.iter().map(place)).collect(),
        }
    }

    /// The name of what others are told.
    #[must_use]
    pub fn digest(&self) -> NewsDigest {
        let mut hasher = StableHasher::new();
        self.active().for_each(|layout| hasher.u64(layout.id().hash));
        for (node, tracker) in self.trackers.iter().filter(|(node, _)| self.concerns(node)) {
            hasher.bytes(node.as_str().as_bytes());
            hasher.u64(tracker.turn);
        }
        self.reading.iter().chain(&self.writing).for_each(|version| hasher.u64(*version));
        NewsDigest { newest: self.newest().id, hash: hasher.finish() }
    }

    fn concerns(&self, node: &NodeId) -> bool {
        self.active().any(|layout| layout.is_owner(node))
    }

    /// A layout that was decided to follow the newest one, or that an operator forced.
    pub fn follow(&mut self, layout: Layout, cluster: &ClusterConfig) {
        let forced = layout.epoch() > self.layout().epoch();
        let version = layout.version();
        self.chain.push(Active::new(layout, cluster));
        if forced {
            // Nobody asks the owners of before any more: they may be gone.
            self.reading = [version; COUNT];
            self.writing = [version; COUNT];
        }
        let excess = self.chain.len().saturating_sub(limits::LAYOUTS_MAX);
        self.chain.drain(..excess);
    }

    /// A version that this node and another one know with different contents, if there is one.
    #[must_use]
    pub fn disagreement(&self, news: &News) -> Option<u64> {
        let differs = |theirs: &LayoutId| {
            let same = |ours: &LayoutId| (ours.epoch, ours.version) == (theirs.epoch, theirs.version);
            self.chain.iter().map(|active| &active.id).any(|ours| same(ours) && ours.hash != theirs.hash)
        };
        news.chain.iter().map(Layout::id).find(|theirs| differs(theirs)).map(|theirs| theirs.version)
    }

    /// Takes over what another node knows.
    pub fn learn(&mut self, news: &News, cluster: &ClusterConfig) -> Learned {
        let before = (self.newest().id, self.digest());
        if let (Some(first), Some(last)) = (news.chain.first(), news.chain.last()) {
            let newest = self.newest().id;
            let is_later = last.id() > newest;
            // Where the chains meet: after my newest layout, or in it.
            let meets = first.version() == newest.version + 1
                || news.chain.iter().any(|layout| layout.version() == newest.version && layout.id() == newest);
            if is_later && meets {
                for layout in news.chain.iter().filter(|layout| layout.version() > newest.version) {
                    self.follow(layout.clone(), cluster);
                }
            } else if is_later {
                self.replace(news, cluster);
            }
            if self.chain.iter().any(|active| active.id == last.id()) {
                // Somebody has seen that so many slices have come so far.
                let versions = news
                    .points
                    .iter()
                    .map(|(read, written)| [*read, *written].map(|at| first.version() + u64::from(at)));
                for (index, [read, written]) in versions.enumerate() {
                    self.reading[index] = self.reading[index].max(read);
                    self.writing[index] = self.writing[index].max(written);
                }
            }
        }
        self.learn_trackers(news);
        let newer = self.newest().id != before.0;
        Learned { newer, changed: newer || self.digest() != before.1 }
    }

    fn replace(&mut self, news: &News, cluster: &ClusterConfig) {
        self.chain = news.chain.iter().map(|layout| Active::new(layout.clone(), cluster)).collect();
        let first = self.chain.first().map_or(0, |active| active.id.version);
        self.reading = [first; COUNT];
        self.writing = [first; COUNT];
    }

    fn learn_trackers(&mut self, news: &News) {
        for (node, theirs) in &news.trackers {
            let known = self.trackers.entry(node.clone()).or_default();
            *known = (*known).max(*theirs);
        }
        let is_known: Vec<NodeId> = self.trackers.keys().filter(|node| self.concerns(node)).cloned().collect();
        self.trackers.retain(|node, _| is_known.binary_search(node).is_ok());
    }

    /// What this node says of itself from now on. Says whether that is new.
    pub fn track(&mut self, me: &NodeId, synced: u64, moved: u64) -> bool {
        let layout = self.newest().id;
        let known = self.trackers.entry(me.clone()).or_default();
        let says = Tracker { turn: known.turn, layout, synced, moved };
        if *known == says {
            return false;
        }
        *known = Tracker { turn: known.turn.saturating_add(1), ..says };
        true
    }

    /// Moves every slice on as far as the trackers allow, but reads to no owner that is `awaited` and not synced: until then
    /// the owners of before are as many as ever. Says whether any has moved.
    pub fn advance(&mut self, replication: Replication, awaited: impl Fn(&NodeId) -> bool) -> bool {
        let newest = self.newest().id.version;
        let before = (self.reading, self.writing);
        for slice in Slice::all() {
            let index = place(slice);
            if self.reading[index] < newest && self.is_synced(slice, replication, &awaited) {
                self.reading[index] = newest;
            }
            if self.writing[index] < newest && self.reading[index] == newest && self.is_fenced(slice, replication) {
                self.writing[index] = newest;
            }
        }
        (self.reading, self.writing) != before
    }

    /// Whether reads under the newest layout find a quorum of synced owners on every arc, and all that are awaited.
    fn is_synced(&self, slice: Slice, replication: Replication, awaited: impl Fn(&NodeId) -> bool) -> bool {
        let needed = usize::from(replication.r.max(replication.w).get());
        self.newest().ring.arcs_of(slice).all(|(_, owners)| {
            let (synced, behind): (Vec<&NodeId>, Vec<&NodeId>) =
                owners.iter().partition(|owner| self.says(owner, slice, |tracker| tracker.synced));
            synced.len() >= needed.min(owners.len()) && !behind.into_iter().any(&awaited)
        })
    }

    /// Whether no read under an older layout that writes still need can find its quorum any more.
    fn is_fenced(&self, slice: Slice, replication: Replication) -> bool {
        let (newest, oldest) = (self.newest().id.version, self.writing[place(slice)]);
        let older = self.chain.iter().filter(|active| (oldest..newest).contains(&active.id.version));
        older.flat_map(|active| active.ring.arcs_of(slice)).all(|(_, owners)| {
            let moved = owners.iter().filter(|owner| self.says(owner, slice, |tracker| tracker.moved)).count();
            moved + usize::from(replication.r.get()).min(owners.len()) > owners.len()
        })
    }

    fn says(&self, node: &NodeId, slice: Slice, bits: impl Fn(&Tracker) -> u64) -> bool {
        let tracker = self.trackers.get(node).filter(|tracker| tracker.layout == self.newest().id);
        tracker.is_some_and(|tracker| bits(tracker) & bit(slice) != 0)
    }

    /// Forgets layouts that no request needs. To be called once this node's store is synced under the newest one.
    pub fn forget_retired(&mut self) {
        let oldest = self.oldest();
        self.chain.retain(|active| active.id.version >= oldest);
    }

    /// How far the change has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let newest = self.newest().id;
        let count = |versions: &[u64]| {
            u32::try_from(versions.iter().filter(|version| **version == newest.version).count()).expect("64 at most")
        };
        let synced = |node: &NodeId| {
            let tracker = self.trackers.get(node).filter(|tracker| tracker.layout == newest);
            tracker.map_or(0, |tracker| tracker.synced.count_ones())
        };
        Progress {
            active: self.active().map(Layout::version).collect(),
            synced: self.layout().owners().map(|node| (node.clone(), synced(node))).collect(),
            read: count(&self.reading),
            passed: count(&self.writing),
        }
    }
}

/// The bit of a slice.
#[must_use]
pub fn bit(slice: Slice) -> u64 {
    1 << slice.number()
}

fn is_chain(chain: &[Layout]) -> bool {
    let follows = chain.windows(2).all(|pair| pair[0].version() + 1 == pair[1].version());
    follows && (1..=limits::LAYOUTS_MAX).contains(&chain.len())
}

impl News {
    /// Checks news that came from outside.
    ///
    /// # Errors
    /// [`MalformedLayout`].
    pub fn validate(&self) -> Result<(), MalformedLayout> {
        if !is_chain(&self.chain) {
            return Err(MalformedLayout::Chain { layouts: self.chain.len() });
        }
        if self.trackers.len() > limits::MEMBERS_MAX {
            return Err(MalformedLayout::Owners { owners: self.trackers.len() });
        }
        let is_in = |at: u8| usize::from(at) < self.chain.len();
        let points = self.points.len() == COUNT
            && self.points.iter().all(|(read, written)| is_in(*read) && is_in(*written) && written <= read);
        if !points {
            return Err(MalformedLayout::Points);
        }
        self.chain.iter().try_for_each(Layout::validate)
    }
}
