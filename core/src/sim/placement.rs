//! How evenly a placement shares, and how little moves when the nodes change: what is promised of it, measured. Everything
//! is counted in copies and by the widths of arcs, so it is exact; no key is drawn, and nothing is ever routed by it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::{NonZeroU8, NonZeroU16};

use crate::config::Placement;
use crate::hash::Position;
use crate::id::{NodeId, Zone};
use crate::ring::{Assignment, Owner, Place, Range, Ring};

/// A whole, where parts are counted in millionths.
const MILLION: u64 = 1_000_000;
/// Of tokens: the most that may move to a joiner, on average over sets of names, in millionths of a fair share.
const MOVED_ON_AVERAGE_MAX: u64 = 1_020_000;
/// Of tokens: the most that may move to a joiner in any set of names, in millionths of a fair share.
const MOVED_AT_WORST_MAX: u64 = 1_250_000;
/// Of tokens: the most that one node may hold in any set of names, in millionths of the mean.
const HEAVIEST_MAX: u64 = 1_250_000;

/// What the joining of one node moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Join {
    /// What the joiners gain, in millionths of one node's fair share of all copies.
    moved: u64,
    /// Whether a node that was there gained anything.
    is_spilled: bool,
}

impl Join {
    /// Compares the rings before and after.
    fn between(before: &Ring, after: &Ring) -> Self {
        let (mut gained, mut spilled) = (0_u128, 0_u128);
        let mut ends: Vec<Position> = [before, after].into_iter().flat_map(Ring::tokens).map(|t| t.position).collect();
        ends.sort_unstable();
        ends.dedup();
        let starts = ends.iter().cycle().skip(ends.len().saturating_sub(1));
        for (&end, &start) in ends.iter().zip(starts) {
            let old = before.preference_list(end).primaries();
            for node in after.preference_list(end).primaries().iter().filter(|node| !old.contains(node)) {
                let width = Range::new(start, end).width();
                *(if before.is_owner(node) { &mut spilled } else { &mut gained }) += width;
            }
        }
        Self { moved: in_millionths(gained, fair_share(after)), is_spilled: spilled > 0 }
    }
}

/// What the heaviest node holds, in millionths of the mean.
fn heaviest(ring: &Ring) -> u64 {
    let mut held: BTreeMap<&NodeId, u128> = BTreeMap::new();
    for (range, nodes) in ring.segments() {
        nodes.iter().for_each(|node| *held.entry(node).or_default() += range.width());
    }
    in_millionths(held.into_values().max().unwrap_or(0), fair_share(ring))
}

/// An equal part of all copies, as a width.
fn fair_share(ring: &Ring) -> u128 {
    let nodes = ring.owners().len();
    let copies = nodes.min(usize::from(ring.n().get()));
    let wide = |count: usize| u128::try_from(count).expect("a length fits");
    wide(copies) * Range::FULL.width() / wide(nodes)
}

fn in_millionths(part: u128, whole: u128) -> u64 {
    u64::try_from(part * u128::from(MILLION) / whole).expect("at most a few thousand times the whole")
}

fn owner(name: &str) -> Owner {
    let zone = Zone::new("default").expect("a good name");
    Owner::new(NodeId::new(name).expect("a good name"), zone, NonZeroU16::MIN)
}

/// Tokens, over many sets of node names of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensRow {
    /// Nodes before one more joins.
    pub nodes: u16,
    /// What moved to the joiner, in millionths of its fair share: the mean over the sets.
    pub moved_on_average: u64,
    /// The same: the most over the sets.
    pub moved_at_worst: u64,
    /// What the heaviest node of any set holds, in millionths of the mean.
    pub heaviest: u64,
    /// Sets in which a node gained that did not join.
    pub spilled: u64,
}

impl TokensRow {
    /// Measures so many sets.
    ///
    /// # Panics
    /// Without nodes or sets there is nothing to measure.
    #[must_use]
    pub fn measure(per_weight: NonZeroU16, n: NonZeroU8, nodes: u16, sets: u16) -> Self {
        assert!(nodes > 0 && sets > 0, "{sets} sets of {nodes} nodes");
        let mut row = Self { nodes, moved_on_average: 0, moved_at_worst: 0, heaviest: 0, spilled: 0 };
        for set in 0..sets {
            let mut owners: Vec<_> = (0..nodes).map(|index| owner(&format!("set{set}-node{index}"))).collect();
            let before = Ring::new(Placement::Tokens(per_weight), n, owners.clone());
            owners.push(owner(&format!("set{set}-node{nodes}")));
            let join = Join::between(&before, &Ring::new(Placement::Tokens(per_weight), n, owners));
            row.moved_on_average += join.moved;
            row.moved_at_worst = row.moved_at_worst.max(join.moved);
            row.heaviest = row.heaviest.max(heaviest(&before));
            row.spilled += u64::from(join.is_spilled);
        }
        row.moved_on_average /= u64::from(sets);
        row
    }

    /// Of every number the worse one, as if of the larger size.
    #[must_use]
    pub fn or_worse(&self, other: &Self) -> Self {
        Self {
            nodes: self.nodes.max(other.nodes),
            moved_on_average: self.moved_on_average.max(other.moved_on_average),
            moved_at_worst: self.moved_at_worst.max(other.moved_at_worst),
            heaviest: self.heaviest.max(other.heaviest),
            spilled: self.spilled.max(other.spilled),
        }
    }

    /// What is promised and not kept, a sentence each.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        let nodes = self.nodes;
        let bounds = [
            ("moved on average", self.moved_on_average, MOVED_ON_AVERAGE_MAX),
            ("moved at worst", self.moved_at_worst, MOVED_AT_WORST_MAX),
            ("held by the heaviest", self.heaviest, HEAVIEST_MAX),
            ("sets in which others than the joiner gained", self.spilled, 0),
        ];
        let missed = bounds.into_iter().filter(|(_, found, most)| found > most);
        missed.map(|(what, found, most)| format!("{nodes} nodes, {what}: {found}, {most} at most")).collect()
    }
}

/// Partitions, on nodes of equal weight that joined one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionsRow {
    /// How many partitions there are.
    pub partitions: NonZeroU16,
    /// Copies of each, where there are as many nodes.
    pub n: NonZeroU8,
    /// Nodes before one more joins.
    pub nodes: u16,
    /// Copies of partitions that the heaviest node holds, and those that it may.
    pub most: (u32, u32),
    /// Copies that moved when one node more joined, and those that had to.
    pub joining: (u32, u32),
    /// Copies that moved when the first node left these, and those that had to.
    pub leaving: (u32, u32),
    /// Copies that moved to others than the joiner when it joined.
    pub spilled: u32,
}

impl PartitionsRow {
    /// Lets nodes join one after the other, and measures wherever as many are there as one of the sizes says.
    #[must_use]
    pub fn measure(partitions: NonZeroU16, n: NonZeroU8, sizes: &[u16]) -> Vec<Self> {
        let mut owners = Vec::from([owner("node1")]);
        let mut before = Assignment::new(partitions, n, &owners, None);
        let mut rows = Vec::new();
        for nodes in 1..=sizes.iter().copied().max().unwrap_or(0) {
            owners.push(owner(&format!("node{}", nodes + 1)));
            let after = Assignment::new(partitions, n, &owners, Some(&before));
            if sizes.contains(&nodes) {
                rows.push(Self::of(n, nodes, &before, &after, &owners));
            }
            before = after;
        }
        rows
    }

    fn of(n: NonZeroU8, nodes: u16, before: &Assignment, after: &Assignment, owners: &[Owner]) -> Self {
        let there = &owners[..usize::from(nodes)];
        let left = there.get(1..).filter(|rest| !rest.is_empty());
        let joiner = &owners[usize::from(nodes)].place;
        let to_joiner = held(after).get(joiner).copied().unwrap_or(0);
        let joining = after.moved_since(before);
        let leaving = left.map_or((0, 0), |left| {
            let moved = Assignment::new(before.partitions(), n, left, Some(before)).moved_since(before);
            (moved, optimum(n, before, left))
        });
        Self {
            partitions: before.partitions(),
            n,
            nodes,
            most: (held(before).into_values().max().unwrap_or(0), slots(n, before, there).div_ceil(nodes.into())),
            joining: (joining, optimum(n, before, owners)),
            leaving,
            spilled: joining - to_joiner,
        }
    }

    /// What is promised and not kept, a sentence each.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        let slack = u32::from(self.nodes);
        let bounds = [
            ("held by the heaviest", self.most.0, self.most.1),
            ("moved by joining", self.joining.0, self.joining.1 + slack),
            ("moved by leaving", self.leaving.0, self.leaving.1 + slack),
            ("moved to others than the joiner", self.spilled, 0),
        ];
        let missed = bounds.into_iter().filter(|(_, found, most)| found > most);
        let of = format!("{} copies of {} partitions, {} nodes", self.n, self.partitions, self.nodes);
        missed.map(|(what, found, most)| format!("{of}, {what}: {found}, {most} at most")).collect()
    }
}

/// How many partitions each place holds.
fn held(assignment: &Assignment) -> BTreeMap<&Place, u32> {
    let mut held: BTreeMap<&Place, u32> = BTreeMap::new();
    let places = (0..assignment.partitions().get()).flat_map(|partition| assignment.list(partition));
    places.for_each(|place| *held.entry(place).or_default() += 1);
    held
}

fn slots(n: NonZeroU8, assignment: &Assignment, owners: &[Owner]) -> u32 {
    let owners = u32::try_from(owners.len()).expect("as few owners as members");
    u32::from(assignment.partitions().get()) * owners.min(n.get().into())
}

/// The copies that have to move until these owners hold equal shares, whatever is done: those that nobody of them has or
/// that somebody has too many of, or those that somebody lacks, whichever are more.
fn optimum(n: NonZeroU8, before: &Assignment, owners: &[Owner]) -> u32 {
    let (slots, held) = (slots(n, before, owners), held(before));
    let count = u32::try_from(owners.len()).expect("as few owners as members");
    let kept = |owner: &Owner| held.get(&owner.place).copied().unwrap_or(0).min(slots.div_ceil(count));
    let lacking = |owner: &Owner| (slots / count).saturating_sub(kept(owner));
    (slots - owners.iter().map(kept).sum::<u32>()).max(owners.iter().map(lacking).sum())
}
