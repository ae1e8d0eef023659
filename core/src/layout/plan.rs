//! What a change would move, worked out before anything moves. Changes nothing.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Active;
use super::rings::cuts;
use crate::hash::Slice;
use crate::id::NodeId;

/// What a change means for one node. Shares are parts of all copies of everything, in millionths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// What it owns before.
    pub before_ppm: u64,
    /// What it owns afterwards.
    pub after_ppm: u64,
    /// What it must pull.
    pub takes_ppm: u64,
    /// In how many arcs that lies.
    pub ranges_taken: u32,
    /// What it gives up.
    pub gives_ppm: u64,
    /// In how many arcs that lies.
    pub ranges_given: u32,
}

/// What a change would move, node by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version that it begins with.
    pub from: u64,
    /// Everybody who owns something before or afterwards.
    pub moves: BTreeMap<NodeId, Move>,
}

/// Widths of arcs, in positions.
#[derive(Clone, Copy, Default)]
struct Widths {
    before: u128,
    after: u128,
    takes: u128,
    gives: u128,
    taken: u32,
    given: u32,
}

impl Plan {
    /// What passes from one to the other.
    #[must_use]
    pub fn new(before: &Active, after: &Active) -> Self {
        let mut widths: BTreeMap<NodeId, Widths> = BTreeMap::new();
        let (mut copies_before, mut copies_after) = (0_u128, 0_u128);
        for slice in Slice::all() {
            let mut first = slice.first();
            for last in cuts([before, after].into_iter(), slice) {
                let width = u128::from(last.0 - first.0) + 1;
                let old = before.ring.preference_list(last).primaries();
                let new = after.ring.preference_list(last).primaries();
                for node in old {
                    let of = widths.entry(node.clone()).or_default();
                    of.before += width;
                    copies_before += width;
                    if !new.contains(node) {
                        of.gives += width;
                        of.given += 1;
                    }
                }
                for node in new {
                    let of = widths.entry(node.clone()).or_default();
                    of.after += width;
                    copies_after += width;
                    if !old.contains(node) {
                        of.takes += width;
                        of.taken += 1;
                    }
                }
                first = last.next();
            }
        }
        let ppm = |part: u128, whole: u128| u64::try_from(part * 1_000_000 / whole.max(1)).expect("at most a million");
        let moves = widths.into_iter().map(|(node, of)| {
            let what = Move {
                before_ppm: ppm(of.before, copies_before),
                after_ppm: ppm(of.after, copies_after),
                takes_ppm: ppm(of.takes, copies_after),
                ranges_taken: of.taken,
                gives_ppm: ppm(of.gives, copies_before),
                ranges_given: of.given,
            };
            (node, what)
        });
        Self { from: before.id.version, moves: moves.collect() }
    }
}
