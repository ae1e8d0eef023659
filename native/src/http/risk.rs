//! What is at stake when nodes are given up for lost: how much of the ring has no copy left, and how much may have lost its
//! last writes. Worked out from who owns what; nothing is asked of anybody.

use std::fmt;

use quorate_core::config::Replication;
use quorate_core::hash::Slice;
use quorate_core::id::NodeId;
use quorate_core::layout::Rings;
use serde::Serialize;

use super::layout::percent;

/// What giving up some owners risks.
#[derive(Debug, Serialize)]
pub(crate) struct Risk {
    /// Who is given up.
    lost: Vec<NodeId>,
    /// The part of all keys of which no owner is left.
    no_copy_left_percent: f64,
    /// The part of all keys whose last acknowledged writes may be with lost owners alone.
    last_writes_at_risk_percent: f64,
}

impl Risk {
    pub(crate) fn of(rings: &Rings, lost: &[NodeId], replication: Replication) -> Self {
        let write_quorum = usize::from(replication.w.get());
        let (mut all, mut gone, mut doubtful) = (0_u128, 0_u128, 0_u128);
        for slice in Slice::all() {
            let mut first = slice.first();
            for (last, owners) in rings.ring().arcs_of(slice) {
                let width = u128::from(last.0 - first.0) + 1;
                let lost_owners = owners.iter().filter(|owner| lost.contains(owner)).count();
                all += width;
                if lost_owners == owners.len() {
                    gone += width;
                } else if lost_owners >= write_quorum.min(owners.len()) {
                    doubtful += width;
                }
                first = last.next();
            }
        }
        let share = |part: u128| percent(u64::try_from(part * 1_000_000 / all.max(1)).unwrap_or(u64::MAX));
        let (no_copy_left_percent, last_writes_at_risk_percent) = (share(gone), share(doubtful));
        Self { lost: lost.to_vec(), no_copy_left_percent, last_writes_at_risk_percent }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost: Vec<&str> = self.lost.iter().map(NodeId::as_str).collect();
        write!(
            f,
            "without {}, {}% of all keys have no owner left and are lost; of {}% the last acknowledged writes may be \
             lost, because enough owners to acknowledge them are gone; and if a lost node lives after all, it is overruled",
            lost.join(", "),
            self.no_copy_left_percent,
            self.last_writes_at_risk_percent,
        )
    }
}
