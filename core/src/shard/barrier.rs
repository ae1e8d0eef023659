//! The durability barrier: what shows or promises a batch waits here until the batch is durable. It never does what waits,
//! it only gives it back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::transfer::Whole;
use crate::event::EventId;
use crate::hash::Slice;
use crate::id::{NodeId, RequestId};
use crate::message::{Answer, Refusal, ShardMessage};
use crate::storage::Seq;

/// What is to be done once a batch is durable.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// Send this.
    Send { to: NodeId, slice: Slice, message: ShardMessage },
    /// Count this node's own answer.
    Answer { request: RequestId, result: Result<Answer, Refusal> },
    /// Issue dots up to this counter.
    Leased { slice: Slice, upto: u64 },
    /// Answer for this slice from now on.
    Synced { slice: Slice, whole: Whole, objects: u64 },
}

/// What waits, by the batch it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Barrier {
    waiting: BTreeMap<Seq, Vec<(Option<EventId>, Then)>>,
    /// The last batch that wrote a row, for rows whose last batch is not durable.
    rows: BTreeMap<Bytes, Seq>,
    durable: Seq,
}

impl Barrier {
    /// Notes that a batch wrote a row: whoever reads it sees that batch.
    pub(super) fn wrote(&mut self, row: Bytes, seq: Seq) {
        self.rows.insert(row, seq);
    }

    /// The batch that a reader of the row must wait for; nothing if all of it is durable.
    pub(super) fn shown_by(&self, row: &[u8]) -> Option<Seq> {
        self.rows.get(row).copied()
    }

    /// The last batch that wrote a row and is not durable.
    pub(super) fn last(&self) -> Option<Seq> {
        self.rows.values().max().copied()
    }

    pub(super) fn wait(&mut self, seq: Seq, cause: Option<EventId>, then: Then) {
        assert!(seq > self.durable, "what is durable needs no waiting");
        self.waiting.entry(seq).or_default().push((cause, then));
    }

    /// Gives up what would mark slices as synced.
    pub(super) fn forget_synced(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(_, then)| !matches!(then, Then::Synced { .. }));
        }
    }

    /// Gives up what would extend leases.
    pub(super) fn forget_leases(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(_, then)| !matches!(then, Then::Leased { .. }));
        }
    }

    /// Everything up to this batch is durable: gives back what waited for it, in the order it came.
    pub(super) fn durable(&mut self, upto: Seq) -> Vec<(Option<EventId>, Then)> {
        self.durable = self.durable.max(upto);
        let later = self.waiting.split_off(&Seq(upto.0.saturating_add(1)));
        let due = core::mem::replace(&mut self.waiting, later);
        self.rows.retain(|_, seq| *seq > upto);
        due.into_values().flatten().collect()
    }
}
