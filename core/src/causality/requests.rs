//! What clients called the writes of a key, so that a retry is found to be the same write. It never makes a version live,
//! and never takes one from a reader whose write nobody else stands for.
//!
//! A live version carries its name itself. Of a superseded one the set remembers name and dot for a while, and whether a
//! writer is known who had that very version before him: then it was *overwritten*. For every dot of the key a set then is in
//! one of four states: it does not know it, the version is live, it is superseded, it was overwritten. A merge takes the later
//! state of each; a known dot that is neither live nor remembered is superseded. A name is what the client sent, and a digest
//! of what the write replaced: two dots of one name are one write, taken in by two coordinators who knew the same. On what
//! comes out of a merge, two rules are carried on until nothing moves any more:
//!
//! * of the dots of one name, all but the greatest are superseded, if not worse;
//! * if one dot of a name was overwritten, all of them were.
//!
//! Both only look at which dots have which name and which were overwritten, both only move dots forward, and more knowledge
//! never makes them move less: they are a closure of the lattice of these states, and joining closed elements and closing
//! the result is again commutative, associative and idempotent.
//!
//! **No acknowledged write is lost by them.** Call what took the place of a superseded version its heir: by the first rule a
//! greater dot of its name, which has the same value and replaced the same versions; by the second rule a writer who had
//! read that value under another dot; else a writer who had seen it. The heir of the first kind had seen as much as the
//! version, and has a greater dot; every other heir had seen more. So no version is its own heir over however many steps,
//! and at the end of every line there is one that is live. That is why the digest is part of the name: if two
//! coordinations of one request replaced different versions, one of them may have replaced what had replaced the other,
//! and dropping either for the other could leave nothing. Such two stay siblings; their values are equal, so that readers
//! are shown one, and the next write that has seen them replaces both. Forgetting takes away names, never a dot.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

use super::by_dot::ByDot;
use super::{Dot, SiblingSet, Version, VersionVector};
use crate::id::RequestKey;
use crate::limits;
use crate::time::WallTime;

/// What a write is called: the name that its client gave it, and what it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestName {
    /// What the client sent.
    pub key: RequestKey,
    /// A digest of the context that the write was taken in with.
    seen: u64,
}

impl RequestName {
    /// The name of a write that replaces what this context covers.
    #[must_use]
    pub fn new(key: RequestKey, replaces: &VersionVector) -> Self {
        let mut hash = Sha256::new();
        for span in replaces.iter() {
            hash.update(span.actor.0.to_be_bytes());
            hash.update(span.after.to_be_bytes());
            hash.update(span.upto.to_be_bytes());
        }
        let digest = hash.finalize();
        let seen = u64::from_be_bytes(*digest.first_chunk::<8>().expect("a SHA-256 has 32 bytes"));
        Self { key, seen }
    }
}

/// How a version stopped being live. Later states are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Fate {
    /// Somebody covers it, or the same write is there under a greater dot.
    Superseded,
    /// A store that had it, or remembered it, took in a write of somebody who had seen it.
    Overwritten,
}

/// What is remembered of a superseded version that had a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) name: RequestName,
    pub(super) fate: Fate,
    /// When it was first found to be superseded, in milliseconds since the Unix epoch; 0 until somebody who has a clock
    /// has looked.
    pub(super) noticed_ms: u64,
}

/// The dots of one name.
struct Namesakes {
    greatest: Dot,
    overwritten: bool,
    count: u32,
}

impl SiblingSet {
    /// The dot of the write that a client gave this name, be it live or superseded: a write with this name is that write
    /// again. Of several dots it is the greatest live one, if there is any.
    #[must_use]
    pub fn find_request(&self, key: RequestKey) -> Option<Dot> {
        let dots = self.named().filter(|(_, named)| named.name.key == key).map(|(dot, _)| dot);
        dots.max_by_key(|dot| (self.contains(*dot), *dot))
    }

    /// How many names of superseded versions are remembered.
    #[must_use]
    pub fn requests_remembered(&self) -> usize {
        self.past.len()
    }

    /// Forgets names that were given to versions superseded longer ago than `memory`, and beyond
    /// [`limits::REQUESTS_REMEMBERED_MAX`] the oldest ones. What was superseded since the last time is taken to have been
    /// so now. To be called by each store for itself, never for a merge: what it forgets depends on the time of day.
    pub fn forget_requests(&mut self, now: WallTime, memory: Duration) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        // A time that is too far ahead is that of somebody's broken clock: it would never be over.
        let latest = now.0.saturating_add(ms(limits::CLOCK_DRIFT_MAX));
        let oldest = now.0.saturating_sub(ms(memory));
        self.past.retain(|_, remembered| {
            if remembered.noticed_ms == 0 || remembered.noticed_ms > latest {
                remembered.noticed_ms = now.0;
            }
            remembered.noticed_ms >= oldest
        });
        let excess = self.past.len().saturating_sub(limits::REQUESTS_REMEMBERED_MAX);
        if excess > 0 {
            let mut by_age: Vec<_> = self.past.iter().map(|(dot, remembered)| (remembered.noticed_ms, dot)).collect();
            by_age.sort_unstable();
            for (_, dot) in by_age.into_iter().take(excess) {
                self.past.remove(dot);
            }
        }
    }

    /// Every dot that has a name, and what would be remembered of it were it superseded now.
    fn named(&self) -> impl Iterator<Item = (Dot, Remembered)> {
        let named = |(dot, version): (Dot, &Version)| {
            version.request.map(|name| (dot, Remembered { name, fate: Fate::Superseded, noticed_ms: 0 }))
        };
        self.live.iter().filter_map(named).chain(self.past.iter().map(|(dot, remembered)| (dot, *remembered)))
    }

    /// How far a dot has come: nothing where it is unknown or live.
    fn fate(&self, dot: Dot) -> Option<Fate> {
        match self.past.get(dot) {
            Some(remembered) => Some(remembered.fate),
            None if self.is_covered(dot) => Some(Fate::Superseded),
            None => None,
        }
    }

    /// What the two together remember, before the rules on dots of one name.
    pub(super) fn merged_past(&self, other: &Self) -> ByDot<Remembered> {
        let mut past = ByDot::new();
        for (dot, named) in self.named().chain(other.named()) {
            let Some(fate) = self.fate(dot).max(other.fate(dot)) else { continue };
            let Remembered { name, noticed_ms, .. } = past.get(dot).copied().unwrap_or(named);
            let (name, noticed_ms) = (name.max(named.name), noticed_ms.max(named.noticed_ms));
            past.insert(dot, Remembered { name, fate, noticed_ms });
        }
        past
    }

    /// Remembers that a writer with this context has overwritten what has a name and is covered. To be called while its
    /// versions are still live.
    pub(super) fn remember_overwritten(&mut self, context: &VersionVector) {
        let overwritten: Vec<_> = self.named().filter(|(dot, _)| context.covers(*dot)).collect();
        for (dot, remembered) in overwritten {
            self.past.insert(dot, Remembered { fate: Fate::Overwritten, ..remembered });
        }
    }

    /// Carries out the two rules on dots of one name.
    pub(super) fn settle_duplicates(&mut self) {
        if self.named().nth(1).is_none() {
            return;
        }
        let mut names: BTreeMap<RequestName, Namesakes> = BTreeMap::new();
        for (dot, named) in self.named() {
            let first = Namesakes { greatest: dot, overwritten: false, count: 0 };
            let namesakes = names.entry(named.name).or_insert(first);
            namesakes.greatest = namesakes.greatest.max(dot);
            namesakes.overwritten |= named.fate == Fate::Overwritten;
            namesakes.count += 1;
        }
        names.retain(|_, namesakes| namesakes.count > 1);
        if names.is_empty() {
            return;
        }
        let moved: Vec<(Dot, Remembered)> = self
            .named()
            .filter_map(|(dot, named)| {
                let namesakes = names.get(&named.name)?;
                let fate = if namesakes.overwritten { Fate::Overwritten } else { named.fate };
                (namesakes.overwritten || dot < namesakes.greatest).then_some((dot, Remembered { fate, ..named }))
            })
            .collect();
        for (dot, remembered) in moved {
            self.live.remove(dot);
            self.past.insert(dot, remembered);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use super::super::{FreshDot, Issuer, Stamp};
    use super::*;
    use crate::id::ActorId;
    use crate::value::Value;

    const MEMORY: Duration = Duration::from_secs(600);
    const NAME: RequestKey = RequestKey(7);

    /// One store's copy of the key, and who issues its dots.
    struct Store {
        set: SiblingSet,
        issuer: Issuer,
    }

    impl Store {
        fn new(actor: u128) -> Self {
            let mut issuer = Issuer::new(ActorId(actor));
            issuer.extended(limits::DOT_LEASE);
            Self { set: SiblingSet::new(), issuer }
        }

        fn fresh(&mut self) -> FreshDot {
            self.issuer.next(0).expect("leased")
        }

        fn write(&mut self, context: &VersionVector, value: Option<&str>, request: Option<RequestKey>) -> Dot {
            let fresh = self.fresh();
            let value = value.map(|text| Value::json(String::from(text)));
            let request = request.map(|key| RequestName::new(key, context));
            let version = Version { stamp: Stamp::default(), value, request };
            self.set.update(context, fresh, version).expect("a fresh dot");
            fresh.dot()
        }

        fn hear(&mut self, other: &Self) {
            self.set.merge(&other.set).expect("small sets");
        }

        fn live(&self) -> Vec<Dot> {
            self.set.live().map(|(dot, _)| dot).collect()
        }
    }

    /// Two coordinators that took the same write in without hearing of each other; the second has the greater dot.
    fn two_of_one_name() -> (Store, Store, Dot, Dot) {
        let (mut one, mut two) = (Store::new(1), Store::new(2));
        let lower = one.write(&VersionVector::new(), Some("1"), Some(NAME));
        let greater = two.write(&VersionVector::new(), Some("1"), Some(NAME));
        (one, two, lower, greater)
    }

    #[test]
    fn a_name_is_found_while_its_version_is_live_and_after_it_was_replaced() {
        for value in [Some("1"), None] {
            let mut store = Store::new(1);
            let dot = store.write(&VersionVector::new(), value, Some(NAME));
            assert_eq!(store.set.find_request(NAME), Some(dot));
            let seen = store.set.context().clone();
            store.write(&seen, Some("2"), None);
            assert_eq!(store.set.find_request(NAME), Some(dot), "{value:?}");
            assert_eq!(store.set.find_request(RequestKey(8)), None);
            assert_eq!(store.set.requests_remembered(), 1);
        }
    }

    #[test]
    fn a_store_that_only_hears_of_the_overwrite_remembers_the_name_as_well() {
        let (mut coordinator, mut other) = (Store::new(1), Store::new(2));
        let dot = coordinator.write(&VersionVector::new(), Some("1"), Some(NAME));
        let seen = coordinator.set.context().clone();
        // The overwrite is taken in by a store that has never had the version, only its writer's context.
        other.write(&seen, Some("2"), None);
        assert_eq!(other.set.find_request(NAME), None);
        coordinator.hear(&other);
        assert_eq!(coordinator.set.find_request(NAME), Some(dot));
        other.hear(&coordinator);
        assert_eq!(other.set, coordinator.set);
    }

    #[test]
    fn of_two_dots_of_one_name_the_greater_stays() {
        let (mut one, mut two, lower, greater) = two_of_one_name();
        one.hear(&two);
        two.hear(&one);
        for store in [&one, &two] {
            assert_eq!(store.live(), [greater]);
            assert!(store.set.is_covered(lower));
            assert_eq!(store.set.find_request(NAME), Some(greater));
        }
        assert_eq!(one.set, two.set);
    }

    #[test]
    fn an_overwrite_of_either_dot_ends_both() {
        for overwrites_lower in [true, false] {
            let (mut one, mut two, _, _) = two_of_one_name();
            let overwritten = if overwrites_lower { &mut one } else { &mut two };
            let seen = overwritten.set.context().clone();
            let after = overwritten.write(&seen, Some("2"), None);
            one.hear(&two);
            two.hear(&one);
            assert_eq!(one.live(), [after], "lower: {overwrites_lower}");
            assert_eq!(one.set, two.set);
        }
    }

    /// The client was told of the lower dot, and writes on with the context of that answer.
    #[test]
    fn an_overwrite_of_a_duplicate_ends_the_version_that_stands_for_it() {
        let (mut one, two, lower, _) = two_of_one_name();
        one.hear(&two);
        let mut seen = VersionVector::new();
        seen.insert(lower);
        let after = one.write(&seen, Some("2"), None);
        assert_eq!(one.live(), [after]);
    }

    #[test]
    fn names_are_forgotten_after_their_time_and_a_superseded_dot_stays_superseded() {
        let mut store = Store::new(1);
        let dot = store.write(&VersionVector::new(), Some("1"), Some(NAME));
        let stale = store.set.clone();
        store.set.forget_requests(WallTime(1_000), MEMORY);
        let seen = store.set.context().clone();
        store.write(&seen, Some("2"), None);
        for (now, remembered) in [(5_000_000, 1), (5_600_000, 1), (5_600_001, 0)] {
            store.set.forget_requests(WallTime(now), MEMORY);
            assert_eq!(store.set.requests_remembered(), remembered, "at {now}: counted from when it was noticed");
        }
        store.set.merge(&stale).expect("small sets");
        assert!(store.set.is_covered(dot), "what is forgotten does not come back");
        assert_eq!(store.live().len(), 1);
    }

    /// The first attempt reached one store only. A reader saw it there and wrote over it elsewhere; then the retry came, was
    /// not recognised, and replaced that in turn. The value of the retry must not be taken for a duplicate of what its own
    /// write has replaced.
    #[test]
    fn a_retry_that_replaced_what_had_replaced_the_first_attempt_stays() {
        let (mut one, mut two, mut three) = (Store::new(3), Store::new(2), Store::new(1));
        one.write(&VersionVector::new(), Some("1"), Some(NAME));
        two.write(one.set.context(), Some("2"), None);
        three.hear(&two);
        assert_eq!(three.set.find_request(NAME), None);
        let seen = three.set.context().clone();
        let retry = three.write(&seen, Some("1"), Some(NAME));
        three.hear(&one);
        one.hear(&three);
        assert_eq!((one.live(), three.live()), (vec![retry], vec![retry]), "and not nothing");
    }

    #[test]
    fn a_live_name_needs_no_memory() {
        let (mut one, two, _, greater) = two_of_one_name();
        one.hear(&two);
        one.set.forget_requests(WallTime(1_000), MEMORY);
        one.set.forget_requests(WallTime(u64::MAX), MEMORY);
        assert_eq!((one.set.find_request(NAME), one.live()), (Some(greater), vec![greater]));
    }

    #[test]
    fn two_coordinations_that_replaced_different_versions_stay_and_are_shown_once() {
        let (mut one, mut two) = (Store::new(1), Store::new(2));
        one.write(&VersionVector::new(), Some("0"), None);
        let seen = one.set.context().clone();
        one.write(&seen, Some("1"), Some(NAME));
        two.write(&VersionVector::new(), Some("1"), Some(NAME));
        one.hear(&two);
        assert_eq!((one.set.len(), one.set.values().len()), (2, 1));
    }

    #[test]
    fn a_time_from_a_broken_clock_is_not_believed() {
        let mut store = Store::new(1);
        store.write(&VersionVector::new(), Some("1"), Some(NAME));
        let seen = store.set.context().clone();
        store.write(&seen, Some("2"), None);
        store.set.forget_requests(WallTime(u64::MAX / 2), MEMORY);
        store.set.forget_requests(WallTime(1_000), MEMORY);
        store.set.forget_requests(WallTime(1_000 + 600_001), MEMORY);
        assert_eq!(store.set.requests_remembered(), 0);
    }

    #[test]
    fn beyond_the_limit_the_oldest_names_go_first() {
        let mut store = Store::new(1);
        let many = limits::REQUESTS_REMEMBERED_MAX + 20;
        for number in 0..many {
            let seen = store.set.context().clone();
            store.write(&seen, Some("1"), Some(RequestKey(u128::try_from(number).expect("small"))));
            store.set.forget_requests(WallTime(1_000 + u64::try_from(number).expect("small")), MEMORY);
        }
        assert_eq!(store.set.requests_remembered(), limits::REQUESTS_REMEMBERED_MAX);
        // The last one is live, and needs no memory.
        let found =
            |number: usize| store.set.find_request(RequestKey(u128::try_from(number).expect("small"))).is_some();
        let first_kept = many - 1 - limits::REQUESTS_REMEMBERED_MAX;
        assert!((0..first_kept).all(|number| !found(number)) && (first_kept..many).all(found));
    }

    #[test]
    fn a_digest_says_nothing_of_names() {
        let mut store = Store::new(1);
        store.write(&VersionVector::new(), Some("1"), Some(NAME));
        let seen = store.set.context().clone();
        store.write(&seen, Some("2"), None);
        let mut forgotten = store.set.clone();
        forgotten.past = ByDot::default();
        assert_ne!(forgotten, store.set);
        assert_eq!(forgotten.digest(), store.set.digest());
        assert!(forgotten.descends(&store.set) && store.set.descends(&forgotten));
    }
}
