//! Arcs of the ring. Knows nothing of who owns them.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::{Position, Slice};

/// An arc of the ring, clockwise: the positions behind `after`, up to and with `upto`. It may pass the end of the ring
/// and begin again at position 0. It is never empty; an arc that ends where it began is the whole ring.
///
/// Half open at the beginning, because a token owns what lies before it, up to and with its own position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(Position, Position)", into = "(Position, Position)")]
pub struct Range {
    after: Position,
    upto: Position,
}

/// Positions from `first` to `last`, both included, with `first` not above `last`: what an ordered store can scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The lowest position.
    pub first: Position,
    /// The highest position.
    pub last: Position,
}

impl Range {
    /// The whole ring.
    pub const FULL: Self = Self { after: Position::MAX, upto: Position::MAX };

    /// The arc behind `after`, up to and with `upto`; the whole ring if they are the same.
    #[must_use]
    pub fn new(after: Position, upto: Position) -> Self {
        // Every way to write the whole ring is the same one, so that equal ranges are equal values.
        if after == upto { Self::FULL } else { Self { after, upto } }
    }

    /// The arc of a slice.
    #[must_use]
    pub fn of_slice(slice: Slice) -> Self {
        Self::new(slice.first().previous(), slice.last())
    }

    /// The position just before the arc.
    #[must_use]
    pub const fn after(&self) -> Position {
        self.after
    }

    /// The last position of the arc.
    #[must_use]
    pub const fn upto(&self) -> Position {
        self.upto
    }

    /// Whether this is the whole ring.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// Whether the position lies on the arc.
    #[must_use]
    pub fn contains(&self, at: Position) -> bool {
        if self.after < self.upto { self.after < at && at <= self.upto } else { self.after < at || at <= self.upto }
    }

    /// How many positions it has, 1 to 2^64.
    #[must_use]
    pub fn width(&self) -> u128 {
        if self.is_full() { 1 << 64 } else { u128::from(self.upto.0.wrapping_sub(self.after.0)) }
    }

    /// The same positions as one or two spans for a scan, in the order of the arc.
    pub fn spans(&self) -> impl Iterator<Item = Span> + use<> {
        let (head, tail) = if self.is_full() {
            (Some(Span { first: Position::MIN, last: Position::MAX }), None)
        } else if self.after < self.upto {
            (Some(Span { first: self.after.next(), last: self.upto }), None)
        } else {
            // Nothing is left before the end of the ring if the arc begins behind its last position.
            let head = (self.after < Position::MAX).then(|| Span { first: self.after.next(), last: Position::MAX });
            (head, Some(Span { first: Position::MIN, last: self.upto }))
        };
        head.into_iter().chain(tail)
    }
}

impl From<(Position, Position)> for Range {
    fn from((after, upto): (Position, Position)) -> Self {
        Self::new(after, upto)
    }
}

impl From<Range> for (Position, Position) {
    fn from(range: Range) -> Self {
        (range.after, range.upto)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:?}, {:?}]", self.after, self.upto)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const LAST: u64 = u64::MAX;

    /// Ends of arcs: mostly where it gets narrow.
    fn positions() -> impl Strategy<Value = Position> {
        prop_oneof![0_u64..4, (LAST - 3)..=LAST, any::<u64>()].prop_map(Position)
    }

    #[test]
    fn spans_are_the_arc_cut_where_the_ring_closes() {
        for (after, upto, expected) in [
            (10, 20, &[(11, 20)][..]),
            (19, 20, &[(20, 20)]),
            (20, 10, &[(21, LAST), (0, 10)]),
            (LAST, 10, &[(0, 10)]),
            (LAST - 1, 0, &[(LAST, LAST), (0, 0)]),
            (0, LAST, &[(1, LAST)]),
            (7, 7, &[(0, LAST)]),
            (LAST, LAST, &[(0, LAST)]),
            (0, 0, &[(0, LAST)]),
        ] {
            let range = Range::new(Position(after), Position(upto));
            let spans: Vec<_> = range.spans().map(|span| (span.first.0, span.last.0)).collect();
            assert_eq!(spans, expected, "{range:?}");
        }
    }

    #[test]
    fn all_ways_to_write_the_whole_ring_are_equal() {
        let seven = Range::new(Position(7), Position(7));
        assert_eq!(seven, Range::FULL);
        let wire = postcard::to_allocvec(&(Position(7), Position(7))).expect("serializes");
        assert_eq!(postcard::from_bytes::<Range>(&wire).expect("parses"), Range::FULL);
        assert_eq!(seven.width(), 1 << 64);
    }

    #[test]
    fn slices_are_ranges() {
        let width: u128 = Slice::all().map(|slice| Range::of_slice(slice).width()).sum();
        assert_eq!(width, 1 << 64);
        for slice in Slice::all() {
            let range = Range::of_slice(slice);
            assert!(range.contains(slice.first()) && range.contains(slice.last()));
            assert!(!range.contains(slice.first().previous()) && !range.contains(slice.last().next()));
        }
    }

    proptest! {
        #[test]
        fn an_arc_contains_what_its_spans_contain(after in positions(), upto in positions(), at in positions()) {
            let range = Range::new(after, upto);
            let in_spans = range.spans().filter(|span| span.first <= at && at <= span.last).count();
            prop_assert_eq!(in_spans, usize::from(range.contains(at)));
            let width: u128 = range.spans().map(|span| u128::from(span.last.0 - span.first.0) + 1).sum();
            prop_assert_eq!(width, range.width());
        }

        #[test]
        fn an_arc_and_its_rest_share_no_position(after in positions(), upto in positions(), at in positions()) {
            prop_assume!(after != upto);
            let (range, rest) = (Range::new(after, upto), Range::new(upto, after));
            prop_assert_ne!(range.contains(at), rest.contains(at));
            prop_assert_eq!(range.width() + rest.width(), 1 << 64);
            prop_assert!(range.contains(upto) && !range.contains(after));
        }
    }
}
