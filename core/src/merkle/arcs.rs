//! The arcs of one slice that two nodes both own: what they may compare. Computed from a ring, once for each layout.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::hash::{Position, Slice};
use crate::id::NodeId;
use crate::ring::{Ring, Span};

/// A set of positions within one slice: spans in their order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arcs(Vec<Span>);

impl Arcs {
    /// What a node shares of a slice with each other owner: the arcs that have both among their primaries. Fallbacks are
    /// not looked at: what they keep for others is none of theirs.
    #[must_use]
    pub fn shared(ring: &Ring, slice: Slice, me: &NodeId) -> BTreeMap<NodeId, Self> {
        let mut shared: BTreeMap<NodeId, Self> = BTreeMap::new();
        let mut first = slice.first();
        for (last, primaries) in ring.arcs_of(slice) {
            if primaries.contains(me) {
                for other in primaries.iter().filter(|node| *node != me) {
                    shared.entry(other.clone()).or_default().push(Span { first, last });
                }
            }
            if last == slice.last() {
                break;
            }
            first = last.next();
        }
        shared
    }

    /// Adds a span behind those there are.
    ///
    /// # Panics
    /// When it begins before the last one ends.
    pub fn push(&mut self, span: Span) {
        match self.0.last_mut() {
            Some(before) => {
                assert!(before.last < span.first && span.first <= span.last, "spans come in their order");
                if before.last.next() == span.first {
                    before.last = span.last;
                } else {
                    self.0.push(span);
                }
            }
            None => self.0.push(span),
        }
    }

    /// The spans, in their order.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Whether a position lies on them.
    #[must_use]
    pub fn contains(&self, at: Position) -> bool {
        let index = self.0.partition_point(|span| span.last < at);
        self.0.get(index).is_some_and(|span| span.first <= at)
    }

    /// The parts of a span that lie on them, in their order.
    pub fn within(&self, span: Span) -> impl Iterator<Item = Span> {
        let index = self.0.partition_point(|arc| arc.last < span.first);
        self.0[index..]
            .iter()
            .take_while(move |arc| arc.first <= span.last)
            .map(move |arc| Span { first: arc.first.max(span.first), last: arc.last.min(span.last) })
    }
}
