//! What one replica holds of one key: the versions that nobody who saw them has overwritten, and what is known to be
//! history. It never asks which version is newer to decide which one stays.
//!
//! For every dot of the key a set is in one of three states: it does not know the dot, the dot's version is live, or it has
//! been superseded. Only this way forward is possible, and a merge takes the later state of each dot. So merging is
//! commutative, associative and idempotent whatever the sets, and no order, repetition or loss of messages can make two
//! replicas differ for good (the causal replicated data types of Almeida, Shoker and Baquero, "Delta state replicated data
//! types", 2018).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::by_dot::ByDot;
use super::requests::{Remembered, RequestName};
use super::{Dot, DotSpan, FreshDot, Malformed, Stamp, VersionVector};
use crate::limits;
use crate::value::Value;

/// One version of a key. The order is by stamp; a tie is broken by content, and a value is above a deletion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// When it was written.
    pub stamp: Stamp,
    /// What was written; nothing is a deletion (a tombstone).
    pub value: Option<Value>,
    /// What the client named the write with, so that a retry is the same write.
    pub request: Option<RequestName>,
}

impl Version {
    /// Takes in another version with the same dot. Says whether anything changed here.
    fn join(&mut self, other: &Self) -> bool {
        let is_less = (self.stamp, &self.value) < (other.stamp, &other.value);
        if is_less {
            self.stamp = other.stamp;
            self.value.clone_from(&other.value);
        }
        let request = self.request.max(other.request);
        let is_named_anew = request != self.request;
        self.request = request;
        is_less || is_named_anew
    }
}

/// A set that would be larger than any honest one. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetLimit {
    /// It would have too many spans.
    #[error("a sibling set of {found} spans: there may be {}", limits::ACTORS_MAX)]
    Spans {
        /// Spans it would have.
        found: usize,
    },
    /// It would have too many live versions.
    #[error("a sibling set of {found} live versions: there may be {}", limits::SIBLINGS_WIRE_MAX)]
    Siblings {
        /// Versions it would have.
        found: usize,
    },
    /// It would remember too many names of superseded versions.
    #[error("a sibling set that remembers {found} requests: there may be {}", limits::REQUESTS_WIRE_MAX)]
    Requests {
        /// Names it would remember.
        found: usize,
    },
}

/// Why a write was not accepted under its dot. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// A dot that was thought fresh is covered already: a context or a peer claims it. The write needs another dot.
    #[error("dot {dot} is already covered: the write needs one above {covered_upto}")]
    Covered {
        /// The dot.
        dot: Dot,
        /// The greatest counter of its actor that is covered: the floor for [`super::Issuer::next`].
        covered_upto: u64,
    },
    /// The context brings too many spans.
    #[error(transparent)]
    Limit(#[from] SetLimit),
}

/// The siblings of one key at one replica. Equal sets know and hold the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SiblingSet {
    /// Every dot of the key that this set has heard of, live or superseded.
    pub(super) known: VersionVector,
    /// The versions that nothing known has superseded. Their dots are known.
    pub(super) live: ByDot<Version>,
    /// The names of superseded versions. Their dots are known and not live.
    pub(super) past: ByDot<Remembered>,
}

impl SiblingSet {
    /// The set of a key that was never written.
    #[must_use]
    pub const fn new() -> Self {
        Self { known: VersionVector::new(), live: ByDot::new(), past: ByDot::new() }
    }

    /// The set that a reader was shown: these versions, and what its context covers. For judging answers, not for stores.
    #[cfg(feature = "sim")]
    pub(crate) fn shown(mut known: VersionVector, versions: impl IntoIterator<Item = (Dot, Version)>) -> Self {
        let mut live = ByDot::new();
        for (dot, version) in versions {
            known.insert(dot);
            live.insert(dot, version);
        }
        Self { known, live, past: ByDot::new() }
    }

    /// Takes in what another replica holds. Says whether anything changed here. Of versions that are one write under several
    /// dots one stays.
    ///
    /// Two versions with the same dot are a broken promise; the greater one stays, so that even then all replicas agree.
    ///
    /// # Errors
    /// [`SetLimit`] when the two together are more than any honest set is. Nothing was changed.
    pub fn merge(&mut self, other: &Self) -> Result<bool, SetLimit> {
        let mut merged = Self { known: self.known.clone(), live: ByDot::new(), past: self.merged_past(other) };
        let mut changed = merged.known.merge(&other.known);
        check_spans(&merged.known)?;
        let superseded = |by: &Self, dot: Dot| by.known.covers(dot) && !by.live.contains_key(dot);
        let adopted = other.live.keys().filter(|dot| !self.known.covers(*dot)).count();
        let kept = self.live.keys().filter(|dot| !superseded(other, *dot)).count();
        if adopted > 0 && kept + adopted > limits::SIBLINGS_WIRE_MAX {
            return Err(SetLimit::Siblings { found: kept + adopted });
        }
        if merged.past.len() > limits::REQUESTS_WIRE_MAX {
            return Err(SetLimit::Requests { found: merged.past.len() });
        }

        let before = self.live.len();
        merged.live = core::mem::take(&mut self.live);
        merged.live.retain(|dot, _| !superseded(other, dot));
        changed |= merged.live.len() < before;
        for (dot, version) in other.live.iter() {
            match merged.live.get_mut(dot) {
                Some(own) => changed |= own.join(version),
                None if !self.known.covers(dot) => merged.live.insert(dot, version.clone()),
                None => {}
            }
        }
        merged.settle_duplicates();
        changed |= merged.past != self.past;
        *self = merged;
        self.assert_consistent();
        Ok(changed)
    }

    /// Accepts a write at the actor's own store: what the context covers is superseded, here now and elsewhere when it
    /// arrives there, and the version is live under its dot. Everything else stays as a sibling.
    ///
    /// # Errors
    /// [`UpdateError`]. Nothing was changed.
    ///
    /// # Panics
    /// When the version has the name of a write that is here already and that it does not replace: that one is to be found
    /// first, with [`SiblingSet::find_request`].
    pub fn update(&mut self, context: &VersionVector, fresh: FreshDot, version: Version) -> Result<(), UpdateError> {
        let dot = fresh.dot();
        let again = version.request.and_then(|request| self.find_request(request.key));
        let again = again.filter(|other| !context.covers(*other));
        assert!(again.is_none(), "the write is here already, as {again:?}");
        if self.known.covers(dot) || context.covers(dot) {
            let covered_upto = self.known.get(dot.actor).max(context.get(dot.actor));
            return Err(UpdateError::Covered { dot, covered_upto });
        }
        let mut known = self.known.clone();
        known.merge(context);
        known.cover(DotSpan { actor: dot.actor, after: self.nothing_issued_after(fresh, context), upto: dot.counter });
        // So that clocks stay bounded: a loss that is so many crashes old is taken for repaired.
        while known.spans_of(dot.actor).count() > limits::SPANS_PER_ACTOR_MAX {
            known.close_oldest_gap(dot.actor);
        }
        check_spans(&known)?;

        self.known = known;
        self.remember_overwritten(context);
        self.live.retain(|live, _| !context.covers(live));
        self.live.insert(dot, version);
        self.settle_duplicates();
        self.assert_consistent();
        Ok(())
    }

    /// The counter after which the actor of a fresh dot has surely issued no other one for this key: its last one here;
    /// but only the counter before, if the store may have forgotten some: it lost its tail in a crash since then, it does
    /// not have the key at all, or the writer has seen dots of this actor that the store does not know.
    fn nothing_issued_after(&self, fresh: FreshDot, context: &VersionVector) -> u64 {
        let dot = fresh.dot();
        let last = self.known.get(dot.actor);
        let whole = last > 0 && last >= fresh.remembered_after() && self.known.descends_for(dot.actor, context);
        if whole { last.min(dot.counter - 1) } else { dot.counter - 1 }
    }

    /// Takes versions for superseded that are known to be so without a successor in any set: they lie below a floor. Says
    /// whether anything changed.
    pub fn bury(&mut self, is_dead: impl Fn(Dot) -> bool) -> bool {
        let before = self.live.len();
        self.live.retain(|dot, _| !is_dead(dot));
        self.live.len() < before
    }

    /// Everything this set has heard of: what a reader of all its live versions has seen. A write with it as its context
    /// replaces exactly these versions.
    #[must_use]
    pub const fn context(&self) -> &VersionVector {
        &self.known
    }

    /// What somebody has seen who is told of this one version: it, and what is superseded anyway; not its siblings.
    #[must_use]
    pub fn context_of(&self, dot: Dot) -> VersionVector {
        let mut seen = self.known.clone();
        for sibling in self.live.keys().filter(|sibling| *sibling != dot) {
            seen.remove(sibling);
        }
        if seen.len() > limits::ACTORS_MAX {
            // So many holes that no context could say them: then only the version itself.
            seen = VersionVector::new();
            seen.insert(dot);
        }
        seen
    }

    /// Whether the dot's version is live here.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.live.contains_key(dot)
    }

    /// Whether the dot is known here to be superseded.
    #[must_use]
    pub fn is_covered(&self, dot: Dot) -> bool {
        self.known.covers(dot) && !self.contains(dot)
    }

    /// The live versions, deletions among them, in the order of their dots.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = (Dot, &Version)> {
        self.live.iter()
    }

    /// How many versions are live, deletions among them: what the limit on siblings counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// How many bytes the live values have.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        let bytes = self.live.values().filter_map(|version| version.value.as_ref()).map(|value| value.bytes.len());
        u64::try_from(bytes.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Whether no version is live: the key was never written, as far as is known here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether the key was written and only deletions are left.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        !self.is_empty() && self.live.values().all(|version| version.value.is_none())
    }

    /// What a reader is shown: the live versions that are no deletions, newest first, and of equal values only the newest.
    #[must_use]
    pub fn values(&self) -> Vec<(Dot, &Version)> {
        let mut values: Vec<_> = self.live().filter(|(_, version)| version.value.is_some()).collect();
        values.sort_unstable_by_key(|&(dot, version)| Reverse((version.stamp, &version.value, dot)));
        let mut shown = BTreeSet::new();
        values.retain(|(_, version)| shown.insert(&version.value));
        values
    }

    /// The newest live version by its stamp, be it a deletion: what is left where the last writer wins.
    #[must_use]
    pub fn newest(&self) -> Option<(Dot, &Version)> {
        self.live().max_by_key(|&(dot, version)| (version, dot))
    }

    /// What is left of it where the last writer wins: the newest version, and all others taken for replaced. Only for showing:
    /// a store that kept this would lose what nobody has seen.
    #[must_use]
    pub fn collapsed(&self) -> Self {
        let live = self.newest().map(|(dot, version)| (dot, version.clone())).into_iter().collect();
        Self { known: self.known.clone(), live, past: ByDot::new() }
    }

    /// Whether this set has everything that the other one has: merging that one would change neither what is known nor what
    /// is live. Names of superseded versions may still differ.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        let has_all = self.known.descends(&other.known)
            && self.live.keys().all(|dot| other.live.contains_key(dot) || !other.known.covers(dot));
        if !has_all || self.live.values().all(|version| version.request.is_none()) {
            return has_all;
        }
        // The other one may know that a live version here is there under a greater dot, or was overwritten under another.
        let mut merged = self.clone();
        merged.merge(other).is_ok() && merged.live.len() == self.live.len()
    }

    /// How the two are ordered: greater is who has everything of the other and more; none if each has something that the
    /// other has not.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.descends(other), other.descends(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// A hash of the live dots in their order, for comparing replicas: 16 bytes of SHA-256. It does not depend on how much
    /// history a replica still knows, and says nothing of the key.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        for dot in self.live.keys() {
            hash.update(dot.actor.0.to_be_bytes());
            hash.update(dot.counter.to_be_bytes());
        }
        let digest = hash.finalize();
        *digest.first_chunk::<16>().expect("a SHA-256 has 32 bytes")
    }

    fn assert_consistent(&self) {
        for dot in self.live.keys() {
            assert!(self.known.covers(dot), "{dot:?} is live and not known");
        }
        for dot in self.past.keys() {
            assert!(self.known.covers(dot) && !self.live.contains_key(dot), "{dot:?} is remembered and not superseded");
        }
    }
}

fn check_spans(known: &VersionVector) -> Result<(), SetLimit> {
    if known.len() > limits::ACTORS_MAX { Err(SetLimit::Spans { found: known.len() }) } else { Ok(()) }
}

/// A set as it is stored and travels: a live dot is named by the span that covers it and its number in that span.
#[derive(Serialize, Deserialize)]
struct Wire<K, V> {
    known: K,
    live: Vec<(u32, u64, V)>,
    past: Vec<(Dot, Remembered)>,
}

impl Serialize for SiblingSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut spans = self.known.iter().zip(0_u32..);
        let mut span = spans.next();
        let mut live = Vec::with_capacity(self.live.len());
        for (dot, version) in self.live.iter() {
            // Both are in order: the span is this one or a later one.
            while let Some((here, index)) = span {
                if here.actor == dot.actor && dot.counter <= here.upto {
                    live.push((index, dot.counter - here.after, version));
                    break;
                }
                span = spans.next();
            }
        }
        assert_eq!(live.len(), self.live.len(), "a live dot is known");
        let past = self.past.iter().map(|(dot, remembered)| (dot, *remembered)).collect();
        Wire { known: &self.known, live, past }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SiblingSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::<VersionVector, Version>::deserialize(deserializer)?;
        Self::try_from(wire).map_err(serde::de::Error::custom)
    }
}

impl TryFrom<Wire<VersionVector, Version>> for SiblingSet {
    type Error = Malformed;

    fn try_from(wire: Wire<VersionVector, Version>) -> Result<Self, Malformed> {
        if wire.live.len() > limits::SIBLINGS_WIRE_MAX {
            return Err(Malformed::SiblingCount { found: wire.live.len() });
        }
        if wire.past.len() > limits::REQUESTS_WIRE_MAX {
            return Err(Malformed::RequestCount { found: wire.past.len() });
        }
        let mut live = ByDot::with_capacity(wire.live.len());
        for (index, offset, version) in wire.live {
            let span = usize::try_from(index).ok().and_then(|index| wire.known.iter().nth(index));
            let Some(span) = span.filter(|span| 0 < offset && offset <= span.upto - span.after) else {
                return Err(Malformed::UnknownDot { span: index, offset });
            };
            let dot = Dot { actor: span.actor, counter: span.after + offset };
            if live.keys().next_back().is_some_and(|last| last >= dot) {
                return Err(Malformed::DotOrder { dot });
            }
            if let Some(value) = &version.value
                && value.bytes.len() > limits::VALUE_BYTES_MAX
            {
                return Err(Malformed::ValueLength { length: value.bytes.len() });
            }
            live.insert(dot, version);
        }
        let mut past = ByDot::with_capacity(wire.past.len());
        for (dot, remembered) in wire.past {
            if !wire.known.covers(dot) || live.contains_key(dot) {
                return Err(Malformed::NotSuperseded { dot });
            }
            if past.keys().next_back().is_some_and(|last| last >= dot) {
                return Err(Malformed::DotOrder { dot });
            }
            past.insert(dot, remembered);
        }
        let mut set = Self { known: wire.known, live, past };
        set.settle_duplicates();
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::super::requests::Fate;
    use super::*;
    use crate::id::{ActorId, RequestKey};

    const A: ActorId = ActorId(1);
    const B: ActorId = ActorId(2);

    fn version(wall_ms: u64, value: Option<&str>) -> Version {
        let value = value.map(|text| Value::json(alloc::string::String::from(text)));
        Version { stamp: Stamp { wall_ms, logical: 0 }, value, request: None }
    }

    /// A set that knows the spans and has these dots live, whatever their history.
    fn set(known: &[(ActorId, u64, u64)], live: Vec<(Dot, Version)>) -> SiblingSet {
        let mut vector = VersionVector::new();
        for &(actor, after, upto) in known {
            vector.cover(DotSpan { actor, after, upto });
        }
        let live = live.into_iter().filter(|(dot, _)| vector.covers(*dot)).collect();
        SiblingSet { known: vector, live, past: ByDot::new() }
    }

    fn dot(actor: ActorId, counter: u64) -> Dot {
        Dot { actor, counter }
    }

    /// A dot has one name wherever it is seen; some have none, and some share theirs.
    fn name_of(dot: Dot) -> Option<RequestName> {
        let number = u128::from(dot.counter % 4);
        (number > 0).then(|| RequestName::new(RequestKey(number), &VersionVector::new()))
    }

    /// Any sets at all, also such as no schedule leads to, and with different versions under one dot.
    fn any_set() -> impl Strategy<Value = SiblingSet> {
        let actor = || prop::sample::select(vec![A, B]);
        let spans = prop::collection::vec((actor(), 0_u64..8, 1_u64..4), 0..5);
        let live = prop::collection::vec((actor(), 1_u64..10, 0_u64..3, prop::option::of("[ab]")), 0..8);
        let past = prop::collection::vec((actor(), 1_u64..10, any::<bool>(), 0_u64..3), 0..6);
        (spans, live, past).prop_map(|(spans, live, past)| {
            let spans: Vec<_> = spans.into_iter().map(|(actor, after, count)| (actor, after, after + count)).collect();
            let live = live.into_iter().map(|(actor, counter, wall, value)| {
                let dot = dot(actor, counter);
                (dot, Version { request: name_of(dot), ..version(wall, value.as_deref()) })
            });
            let mut set = set(&spans, live.collect());
            for (actor, counter, overwritten, noticed_ms) in past {
                let dot = dot(actor, counter);
                if let Some(name) = name_of(dot).filter(|_| set.is_covered(dot)) {
                    let fate = if overwritten { Fate::Overwritten } else { Fate::Superseded };
                    set.past.insert(dot, Remembered { name, fate, noticed_ms });
                }
            }
            set.settle_duplicates();
            set
        })
    }

    fn merged(one: &SiblingSet, other: &SiblingSet) -> SiblingSet {
        let mut merged = one.clone();
        let changed = merged.merge(other).expect("few spans");
        assert_eq!(changed, merged != *one, "a merge says whether it changed anything");
        merged
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in any_set(), b in any_set(), c in any_set()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a.clone());
            prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        }

        #[test]
        fn the_order_of_sets_is_that_of_merging(a in any_set(), b in any_set()) {
            // Names are no part of the order.
            let dots = |set: &SiblingSet| (set.known.clone(), set.live.keys().collect::<Vec<_>>());
            let ab = merged(&a, &b);
            prop_assert_eq!(a.descends(&b), dots(&ab) == dots(&a));
            prop_assert!(ab.descends(&a) && ab.descends(&b));
            let expected = match (dots(&ab) == dots(&a), dots(&ab) == dots(&b)) {
                (true, true) => Some(Ordering::Equal),
                (true, false) => Some(Ordering::Greater),
                (false, true) => Some(Ordering::Less),
                (false, false) => None,
            };
            prop_assert_eq!(a.compare(&b), expected);
        }

        #[test]
        fn what_is_written_is_what_is_read(set in any_set()) {
            let wire = postcard::to_allocvec(&set).expect("serializes");
            prop_assert_eq!(postcard::from_bytes::<SiblingSet>(&wire).expect("parses"), set.clone());
            let text = serde_json::to_string(&set).expect("serializes");
            prop_assert_eq!(serde_json::from_str::<SiblingSet>(&text).expect("parses"), set);
        }

        #[test]
        fn hostile_bytes_make_no_set_that_breaks_its_promises(
            set in any_set(),
            cut in any::<prop::sample::Index>(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut wire = postcard::to_allocvec(&set).expect("serializes");
            let short = &wire[..cut.index(wire.len())];
            prop_assert!(postcard::from_bytes::<SiblingSet>(short).is_err(), "every byte is needed");
            for (at, bits) in flips {
                let at = at.index(wire.len());
                wire[at] ^= bits;
            }
            if let Ok(read) = postcard::from_bytes::<SiblingSet>(&wire) {
                read.assert_consistent();
                let again = postcard::to_allocvec(&read).expect("serializes");
                prop_assert_eq!(postcard::from_bytes::<SiblingSet>(&again).expect("parses"), read);
            }
        }
    }

    #[test]
    fn malformed_sets_are_refused() {
        let known = set(&[(A, 4, 6), (B, 0, 1)], Vec::new()).known;
        let live = |dots: &[(u32, u64)]| {
            let live = dots.iter().map(|&(span, offset)| (span, offset, version(1, None))).collect();
            SiblingSet::try_from(Wire { known: known.clone(), live, past: Vec::new() })
        };
        assert_eq!(
            live(&[(0, 1), (0, 2), (1, 1)]).map(|set| set.live().map(|(dot, _)| dot).collect()),
            Ok(vec![dot(A, 5), dot(A, 6), dot(B, 1)])
        );
        for (dots, expected) in [
            (&[(0, 0)][..], Malformed::UnknownDot { span: 0, offset: 0 }),
            (&[(0, 3)], Malformed::UnknownDot { span: 0, offset: 3 }),
            (&[(2, 1)], Malformed::UnknownDot { span: 2, offset: 1 }),
            (&[(0, u64::MAX)], Malformed::UnknownDot { span: 0, offset: u64::MAX }),
            (&[(0, 1), (0, 1)], Malformed::DotOrder { dot: dot(A, 5) }),
            (&[(1, 1), (0, 1)], Malformed::DotOrder { dot: dot(A, 5) }),
        ] {
            assert_eq!(live(dots), Err(expected), "{dots:?}");
        }
    }

    #[test]
    fn names_from_outside_are_of_superseded_versions_in_order_and_bounded() {
        let known = set(&[(A, 0, 20_000)], Vec::new()).known;
        let past = |dots: &[u64]| {
            let name = RequestName::new(RequestKey(1), &VersionVector::new());
            let remembered = Remembered { name, fate: Fate::Superseded, noticed_ms: 0 };
            let past = dots.iter().map(|counter| (dot(A, *counter), remembered)).collect();
            SiblingSet::try_from(Wire { known: known.clone(), live: vec![(0, 3, version(1, None))], past })
        };
        assert!(past(&[1, 2, 4]).is_ok());
        assert_eq!(past(&[2, 1]), Err(Malformed::DotOrder { dot: dot(A, 1) }));
        for counter in [3, 0, 20_001] {
            assert_eq!(past(&[counter]), Err(Malformed::NotSuperseded { dot: dot(A, counter) }));
        }
        let many: Vec<u64> = (4..=10_004).collect();
        assert!(past(&many[1..]).is_ok());
        assert_eq!(past(&many), Err(Malformed::RequestCount { found: 10_001 }));
    }

    #[test]
    fn sets_from_outside_are_bounded() {
        let mut known = VersionVector::new();
        known.cover(DotSpan { actor: A, after: 0, upto: 20_000 });
        let live = |count| (1..=count).map(|offset| (0, offset, version(1, None))).collect();
        assert!(SiblingSet::try_from(Wire { known: known.clone(), live: live(10_000), past: Vec::new() }).is_ok());
        let many = SiblingSet::try_from(Wire { known: known.clone(), live: live(10_001), past: Vec::new() });
        assert_eq!(many, Err(Malformed::SiblingCount { found: 10_001 }));

        let bytes = vec![0; limits::VALUE_BYTES_MAX + 1];
        let large = Version { value: Some(Value::json(bytes)), ..version(1, None) };
        let large = SiblingSet::try_from(Wire { known, live: vec![(0, 1, large)], past: Vec::new() });
        assert_eq!(large, Err(Malformed::ValueLength { length: limits::VALUE_BYTES_MAX + 1 }));
    }

    #[test]
    fn a_merge_never_makes_a_set_that_cannot_be_read_again() {
        let of = |actors: core::ops::Range<u128>| {
            let spans: Vec<_> = actors.map(|actor| (ActorId(actor), 0, 1)).collect();
            set(&spans, vec![(dot(spans[0].0, 1), version(1, None))])
        };
        let mut half = of(0..500);
        assert_eq!(half.merge(&of(500..1_000)), Ok(true));
        let before = half.clone();
        assert_eq!(half.merge(&of(1_000..1_001)), Err(SetLimit::Spans { found: 1_001 }));
        assert_eq!(half, before);
    }

    #[test]
    fn readers_are_shown_each_value_once_and_no_deletion() {
        let live = vec![
            (dot(A, 1), version(10, Some("1"))),
            (dot(A, 2), version(30, Some("2"))),
            (dot(A, 3), version(40, None)),
            (dot(B, 1), version(20, Some("1"))),
            (dot(B, 2), version(5, Some("3"))),
        ];
        let set = set(&[(A, 0, 3), (B, 0, 2)], live);
        let shown: Vec<_> = set.values().into_iter().map(|(dot, _)| dot).collect();
        assert_eq!(shown, [dot(A, 2), dot(B, 1), dot(B, 2)]);
        assert_eq!(set.newest().map(|(dot, _)| dot), Some(dot(A, 3)));
        assert_eq!(set.len(), 5);
        assert!(!set.is_deleted() && !set.is_empty());
    }

    #[test]
    fn at_the_same_time_a_value_is_newer_than_a_deletion() {
        let set =
            set(&[(A, 0, 1), (B, 0, 1)], vec![(dot(A, 1), version(10, Some("1"))), (dot(B, 1), version(10, None))]);
        assert_eq!(set.newest().map(|(dot, _)| dot), Some(dot(A, 1)));
    }

    #[test]
    fn whoever_is_told_of_one_version_has_not_seen_its_siblings() {
        let live = vec![(dot(A, 2), version(10, Some("1"))), (dot(A, 3), version(20, Some("2")))];
        let set = set(&[(A, 0, 3), (B, 0, 4)], live);
        let seen = set.context_of(dot(A, 2));
        let expected = [(A, 0, 2), (B, 0, 4)].map(|(actor, after, upto)| DotSpan { actor, after, upto });
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
        assert_eq!(set.context_of(dot(B, 1)).get(A), 1, "of a superseded one, neither of the two");
    }

    #[test]
    fn the_last_writer_is_the_newest_and_no_context_is_lost() {
        let live = vec![(dot(A, 1), version(10, Some("1"))), (dot(B, 1), version(20, None))];
        let both = set(&[(A, 0, 1), (B, 0, 1)], live);
        let collapsed = both.collapsed();
        assert_eq!(collapsed.live().map(|(dot, _)| dot).collect::<Vec<_>>(), [dot(B, 1)]);
        assert!(collapsed.is_deleted(), "a deletion wins as well");
        assert_eq!(collapsed.context(), both.context());
    }

    #[test]
    fn deleted_is_not_the_same_as_never_written() {
        let never = SiblingSet::new();
        assert!(never.is_empty() && !never.is_deleted() && never.context().is_empty());
        let deleted = set(&[(A, 0, 1)], vec![(dot(A, 1), version(1, None))]);
        assert!(!deleted.is_empty() && deleted.is_deleted() && deleted.values().is_empty());
    }

    #[test]
    fn a_digest_follows_the_live_dots_alone() {
        let live = |counter| vec![(dot(A, counter), version(1, Some("1")))];
        let one = set(&[(A, 0, 2)], live(2));
        assert_eq!(one.digest(), set(&[(A, 1, 2), (B, 0, 7)], live(2)).digest());
        assert_ne!(one.digest(), set(&[(A, 0, 2)], live(1)).digest());
        assert_ne!(one.digest(), SiblingSet::new().digest());
    }
}
