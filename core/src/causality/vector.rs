//! Which dots are known. A set of dots, written as spans; never holds what the dots stand for.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::{Dot, Malformed};
use crate::id::ActorId;
use crate::limits;

/// Dots of one actor that follow each other: the counters behind `after`, up to and with `upto`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DotSpan {
    /// Whose dots.
    pub actor: ActorId,
    /// The counter before the first one; below `upto`.
    pub after: u64,
    /// The last counter, at most [`limits::COUNTER_MAX`].
    pub upto: u64,
}

impl DotSpan {
    /// The span of one dot.
    ///
    /// # Panics
    /// When the dot's counter is 0: the first one is 1.
    #[must_use]
    pub const fn of(dot: Dot) -> Self {
        assert!(dot.counter > 0, "counters begin at 1");
        Self { actor: dot.actor, after: dot.counter - 1, upto: dot.counter }
    }
}

impl fmt::Debug for DotSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            0 => write!(f, "{:?}:{}", self.actor, self.upto),
            after => write!(f, "{:?}:{}-{}", self.actor, after + 1, self.upto),
        }
    }
}

/// A set of dots: a version vector whose entries have a lower end too (see the module).
///
/// It is canonical: spans of an actor neither overlap nor touch, so that equal sets are equal values. The order is that of
/// knowledge: one vector is less than another if that one covers all its dots and more; two may be in no order.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "Vec<WireSpan>")]
pub struct VersionVector {
    /// In the order of actors and counters. A vector of a key has a few spans: a sorted list takes one allocation.
    spans: Vec<DotSpan>,
}

/// A span as it travels: actor, `after`, number of dots.
type WireSpan = (ActorId, u64, u64);

impl VersionVector {
    /// The vector that covers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { spans: Vec::new() }
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many spans it has: as many as actors, but for the traces of crashes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The greatest counter of the actor that is covered; 0 if none is.
    #[must_use]
    pub fn get(&self, actor: ActorId) -> u64 {
        self.spans_of(actor).next_back().map_or(0, |span| span.upto)
    }

    /// Whether it covers the dot.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter > 0 && self.covers_span(DotSpan::of(dot))
    }

    /// Whether it covers everything that the other one covers.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        other.iter().all(|span| self.covers_span(span))
    }

    /// Whether it covers every dot of this actor that the other one covers.
    #[must_use]
    pub fn descends_for(&self, actor: ActorId, other: &Self) -> bool {
        other.spans_of(actor).all(|span| self.covers_span(span))
    }

    /// Covers the dot. Says whether that is new.
    ///
    /// # Panics
    /// When the dot's counter is 0 or above [`limits::COUNTER_MAX`].
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.cover(DotSpan::of(dot))
    }

    /// Covers all dots of the span. Says whether any of them is new.
    ///
    /// # Panics
    /// When the span is empty or reaches above [`limits::COUNTER_MAX`].
    pub fn cover(&mut self, span: DotSpan) -> bool {
        assert!(span.after < span.upto && span.upto <= limits::COUNTER_MAX, "{span:?} is not a span");
        // The spans that it overlaps or touches become one with it.
        let first = self.spans.partition_point(|left| (left.actor, left.upto) < (span.actor, span.after));
        let touched =
            self.spans[first..].iter().take_while(|right| (right.actor, right.after) <= (span.actor, span.upto));
        let last = first + touched.count();
        let Some(one) = self.spans[first..last].first().copied() else {
            self.spans.insert(first, span);
            return true;
        };
        if one.after <= span.after && span.upto <= one.upto {
            return false;
        }
        let upto = self.spans[last - 1].upto.max(span.upto);
        self.spans[first] = DotSpan { actor: span.actor, after: one.after.min(span.after), upto };
        self.spans.drain(first + 1..last);
        true
    }

    /// No longer covers the dot. Says whether it did.
    pub(super) fn remove(&mut self, dot: Dot) -> bool {
        let Some(index) = self
            .spans
            .iter()
            .position(|span| span.actor == dot.actor && span.after < dot.counter && dot.counter <= span.upto)
        else {
            return false;
        };
        let span = self.spans[index];
        let below = DotSpan { upto: dot.counter - 1, ..span };
        let above = DotSpan { after: dot.counter, ..span };
        let left = [below, above].into_iter().filter(|part| part.after < part.upto);
        self.spans.splice(index..=index, left);
        true
    }

    /// Covers everything that the other one covers. Says whether any of it is new.
    pub fn merge(&mut self, other: &Self) -> bool {
        other.iter().filter(|span| self.cover(*span)).count() > 0
    }

    /// The spans, in the order of actors and counters.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = DotSpan> {
        self.spans.iter().copied()
    }

    /// The spans of one actor, in order.
    pub fn spans_of(&self, actor: ActorId) -> impl DoubleEndedIterator<Item = DotSpan> {
        let first = self.spans.partition_point(|span| span.actor < actor);
        let count = self.spans[first..].partition_point(|span| span.actor == actor);
        self.spans[first..first + count].iter().copied()
    }

    /// Gives up all dots of the actor above `upto`. Says whether there were any.
    pub(super) fn truncate(&mut self, actor: ActorId, upto: u64) -> bool {
        let before = self.get(actor);
        self.spans.retain(|span| span.actor != actor || span.after < upto);
        for span in self.spans.iter_mut().filter(|span| span.actor == actor) {
            span.upto = span.upto.min(upto);
        }
        before > upto
    }

    /// Covers what lies between the first two spans of the actor.
    pub(super) fn close_oldest_gap(&mut self, actor: ActorId) {
        let mut spans = self.spans_of(actor);
        if let (Some(first), Some(second)) = (spans.next(), spans.next()) {
            drop(spans);
            self.cover(DotSpan { actor, after: first.upto, upto: second.after });
        }
    }

    fn covers_span(&self, span: DotSpan) -> bool {
        self.span_from(span.actor, span.after).is_some_and(|left| left.upto >= span.upto)
    }

    /// The actor's last span that begins at `after` or earlier.
    fn span_from(&self, actor: ActorId, after: u64) -> Option<DotSpan> {
        let behind = self.spans.partition_point(|span| (span.actor, span.after) <= (actor, after));
        self.spans[..behind].last().copied().filter(|span| span.actor == actor)
    }
}

impl PartialOrd for VersionVector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.descends(other), other.descends(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for VersionVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|span| -> WireSpan { (span.actor, span.after, span.upto - span.after) }))
    }
}

impl TryFrom<Vec<WireSpan>> for VersionVector {
    type Error = Malformed;

    fn try_from(wire: Vec<WireSpan>) -> Result<Self, Malformed> {
        if wire.len() > limits::ACTORS_MAX {
            return Err(Malformed::SpanCount { found: wire.len() });
        }
        let mut last = None;
        let check = |(actor, after, count): WireSpan| {
            let upto = after.checked_add(count).filter(|&upto| after < upto && upto <= limits::COUNTER_MAX);
            let Some(upto) = upto else {
                return Err(Malformed::Span { actor, after, count });
            };
            if last.replace((actor, upto)).is_some_and(|last| last >= (actor, after)) {
                return Err(Malformed::SpanOrder { actor, after });
            }
            Ok(DotSpan { actor, after, upto })
        };
        // In place: the two forms of a span are of one size.
        Ok(Self { spans: wire.into_iter().map(check).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const A: ActorId = ActorId(1);
    const B: ActorId = ActorId(2);

    /// The dots of small vectors, one by one.
    fn all_dots() -> impl Iterator<Item = Dot> {
        [A, B].into_iter().flat_map(|actor| (1..=20).map(move |counter| Dot { actor, counter }))
    }

    fn dots(vector: &VersionVector) -> BTreeSet<Dot> {
        all_dots().filter(|dot| vector.covers(*dot)).collect()
    }

    fn span() -> impl Strategy<Value = DotSpan> {
        (prop::sample::select(vec![A, B]), 0_u64..20, 1_u64..6).prop_map(|(actor, after, count)| DotSpan {
            actor,
            after,
            upto: (after + count).min(20),
        })
    }

    fn vector() -> impl Strategy<Value = VersionVector> {
        prop::collection::vec(span(), 0..8).prop_map(|spans| {
            let mut vector = VersionVector::new();
            for span in spans {
                vector.cover(span);
            }
            vector
        })
    }

    proptest! {
        #[test]
        fn a_vector_is_a_set_of_dots(spans in prop::collection::vec(span(), 0..12)) {
            let mut vector = VersionVector::new();
            let mut expected = BTreeSet::new();
            for span in spans {
                let before = expected.len();
                expected.extend((span.after + 1..=span.upto).map(|counter| Dot { actor: span.actor, counter }));
                prop_assert_eq!(vector.cover(span), expected.len() > before);
                prop_assert_eq!(dots(&vector), expected.clone());
            }
            for actor in [A, B] {
                let greatest = expected.iter().filter(|dot| dot.actor == actor).map(|dot| dot.counter).max();
                prop_assert_eq!(vector.get(actor), greatest.unwrap_or(0));
            }
        }

        #[test]
        fn equal_sets_are_equal_values(one in vector(), other in vector()) {
            prop_assert_eq!(one == other, dots(&one) == dots(&other));
            let mut one_by_one = VersionVector::new();
            for dot in dots(&one).into_iter().rev() {
                one_by_one.insert(dot);
            }
            prop_assert_eq!(one_by_one, one);
        }

        #[test]
        fn order_and_merge_are_those_of_sets(one in vector(), other in vector()) {
            let (left, right) = (dots(&one), dots(&other));
            prop_assert_eq!(one.descends(&other), left.is_superset(&right));
            prop_assert_eq!(one <= other, left.is_subset(&right));
            let of_actor = |dots: &BTreeSet<Dot>| dots.iter().copied().filter(|dot| dot.actor == A).collect::<BTreeSet<_>>();
            prop_assert_eq!(one.descends_for(A, &other), of_actor(&left).is_superset(&of_actor(&right)));
            let mut merged = one.clone();
            prop_assert_eq!(merged.merge(&other), !left.is_superset(&right));
            prop_assert_eq!(dots(&merged), &left | &right);
        }

        #[test]
        fn truncating_leaves_what_is_below_and_others(vector in vector(), upto in 0_u64..22) {
            let mut truncated = vector.clone();
            let changed = truncated.truncate(A, upto);
            let expected: BTreeSet<_> =
                dots(&vector).into_iter().filter(|dot| dot.actor != A || dot.counter <= upto).collect();
            prop_assert_eq!(changed, expected != dots(&vector));
            prop_assert_eq!(dots(&truncated), expected);
        }

        #[test]
        fn what_is_written_is_what_is_read(vector in vector()) {
            let wire = postcard::to_allocvec(&vector).expect("serializes");
            prop_assert_eq!(postcard::from_bytes::<VersionVector>(&wire).expect("parses"), vector.clone());
            let text = serde_json::to_string(&vector).expect("serializes");
            prop_assert_eq!(serde_json::from_str::<VersionVector>(&text).expect("parses"), vector);
        }

        #[test]
        fn hostile_bytes_make_no_vector_that_is_not_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(vector) = postcard::from_bytes::<VersionVector>(&bytes) {
                let mut again = VersionVector::new();
                vector.iter().for_each(|span| { again.cover(span); });
                prop_assert_eq!(again, vector);
            }
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (wire, good) in [
            (vec![], true),
            (vec![(A, 0, 3), (A, 4, 1), (B, 0, 1)], true),
            (vec![(A, limits::COUNTER_MAX - 1, 1)], true),
            (vec![(A, limits::COUNTER_MAX, 1)], false),
            (vec![(A, u64::MAX, 1)], false),
            (vec![(A, 7, u64::MAX)], false),
            (vec![(A, 3, 0)], false),
            (vec![(A, 0, 3), (A, 3, 1)], false),
            (vec![(A, 0, 3), (A, 2, 4)], false),
            (vec![(A, 4, 1), (A, 0, 3)], false),
            (vec![(B, 0, 1), (A, 0, 3)], false),
            (vec![(A, 0, 1), (A, 0, 1)], false),
        ] {
            assert_eq!(VersionVector::try_from(wire.clone()).is_ok(), good, "{wire:?}");
        }
    }

    #[test]
    fn a_vector_from_outside_has_a_bounded_number_of_spans() {
        let wire = |count: u128| (0..count).map(|actor| (ActorId(actor), 0, 1)).collect::<Vec<_>>();
        assert!(VersionVector::try_from(wire(1_000)).is_ok());
        assert_eq!(VersionVector::try_from(wire(1_001)), Err(Malformed::SpanCount { found: 1_001 }));
    }
}
