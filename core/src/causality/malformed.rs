//! What can be wrong with causality that comes from outside.

use super::Dot;
use crate::id::ActorId;
use crate::limits;

/// Why bytes are not a version vector or a sibling set, though they have the right shape. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A span that is empty or reaches too far.
    #[error(
        "a span of actor {actor} covers {count} dots behind {after}: it must cover at least one, up to {}",
        limits::COUNTER_MAX
    )]
    Span {
        /// Whose span.
        actor: ActorId,
        /// Where it begins.
        after: u64,
        /// How many dots it covers.
        count: u64,
    },
    /// Spans that are out of order, overlap, or could be one.
    #[error("the spans of actor {actor} are not in order, or not apart, at {after}")]
    SpanOrder {
        /// Whose spans.
        actor: ActorId,
        /// Where the second of the two begins.
        after: u64,
    },
    /// More spans than any honest vector has.
    #[error("{found} spans in one version vector: there may be {}", limits::ACTORS_MAX)]
    SpanCount {
        /// Spans found.
        found: usize,
    },
    /// A live version whose dot lies outside the span it was said to be in.
    #[error("a live version with number {offset} of span {span}, which does not cover it")]
    UnknownDot {
        /// Index of the span.
        span: u32,
        /// The dot's number in the span.
        offset: u64,
    },
    /// Live versions that are out of order, or two with the same dot.
    #[error("the live versions are not in the order of their dots at {dot}")]
    DotOrder {
        /// The dot that is not above the one before it.
        dot: Dot,
    },
    /// More live versions than any honest set has.
    #[error("{found} live versions in one sibling set: there may be {}", limits::SIBLINGS_WIRE_MAX)]
    SiblingCount {
        /// Versions found.
        found: usize,
    },
    /// A name remembered of a version that is live, or that the set does not know.
    #[error("a request is remembered for {dot}, which is not superseded")]
    NotSuperseded {
        /// The dot.
        dot: Dot,
    },
    /// More names of superseded versions than any honest set remembers.
    #[error("{found} requests in one sibling set: there may be {}", limits::REQUESTS_WIRE_MAX)]
    RequestCount {
        /// Names found.
        found: usize,
    },
    /// A value that no configuration allows.
    #[error("a value of {length} bytes: it may have {}", limits::VALUE_BYTES_MAX)]
    ValueLength {
        /// Length found, in bytes.
        length: usize,
    },
}
