//! What really happened to each key: every write with the writes that it replaced, kept apart from the nodes and by other
//! means than theirs. It judges answers and final states; it never tells a node anything.
//!
//! A write is what a shard said it minted. The past of a write is every earlier one of its key that it replaced. From that
//! alone follows what must still be there, what must not, and what may stand side by side.
//!
//! Whether one client's reads go back is not judged: that they never do holds only where a read waits for its repair, which
//! no request of this world asks for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::{Invariant, Violation};
use crate::causality::{Dot, SiblingSet, VersionVector};
use crate::hash::{Position, Slice, StableHasher};
use crate::id::{Key, RequestKey};
use crate::time::Time;
use crate::value::Value;

/// Writes that are remembered. A world that has seen more is judged no further by its history.
pub(super) const WRITES_MAX: usize = 200_000;

/// A write that got its dot.
#[derive(Clone, Debug)]
struct Minted {
    /// Counts the writes of all keys: the past of a write is earlier than it.
    number: u64,
    replaces: VersionVector,
    /// What the client called it. A write that was sent again may have several dots, of which one is kept.
    request: Option<RequestKey>,
    /// Whether it is a deletion, where that is known before anybody was told of it.
    deletes: Option<bool>,
    at: Time,
}

/// A write that a client was told is safe.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    /// Its dot.
    pub(super) dot: Dot,
    /// The value, by its hash; nothing if it was a delete.
    pub(super) value: Option<u64>,
    /// Whether a write quorum of owners had it by then.
    pub(super) strict: bool,
    /// Counts acknowledgements: what a read must show was acknowledged before it began.
    order: u64,
    at: Time,
}

/// What happened to one key.
#[derive(Clone, Debug, Default)]
struct History {
    minted: BTreeMap<Dot, Minted>,
    acknowledged: Vec<Acknowledged>,
    /// Whether a tombstone of it was forgotten by anybody.
    collected: bool,
}

/// What happened to every key.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    keys: BTreeMap<Key, History>,
    /// Counters run by slice, so a dot may appear once in each.
    dots: BTreeSet<(Slice, Dot)>,
    writes: u64,
    acknowledgements: u64,
}

/// What a read showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) key: &'a Key,
    pub(super) set: &'a SiblingSet,
    /// Whether a read quorum of owners had answered.
    pub(super) strict: bool,
    /// What had been acknowledged when it began: [`Oracle::acknowledgements`].
    pub(super) before: u64,
}

impl History {
    /// Whether one write was replaced by another.
    fn is_past(&self, dot: Dot, of: Dot) -> bool {
        let number = |dot| self.minted.get(&dot).map(|minted| minted.number);
        let earlier = number(dot).zip(number(of)).is_some_and(|(dot, of)| dot < of);
        earlier && self.minted[&of].replaces.covers(dot)
    }

    /// The dots of a write: its own, and those that it got when it was sent again to somebody who had seen the same.
    fn names_of(&self, dot: Dot) -> impl Iterator<Item = Dot> {
        let named = self.minted.get(&dot).filter(|minted| minted.request.is_some());
        let same = move |other: &Minted| {
            named.is_some_and(|minted| minted.request == other.request && minted.replaces == other.replaces)
        };
        core::iter::once(dot).chain(self.minted.iter().filter(move |(_, other)| same(other)).map(|(other, _)| *other))
    }

    /// Every write that one of the roots goes back to, the roots included.
    fn reaches(&self, roots: impl Iterator<Item = Dot>) -> BTreeSet<Dot> {
        let mut reached: BTreeSet<Dot> = BTreeSet::new();
        let mut waiting: Vec<Dot> = roots.collect();
        while let Some(dot) = waiting.pop() {
            if reached.insert(dot) {
                let past = self.minted.keys().filter(|past| !reached.contains(past) && self.is_past(**past, dot));
                waiting.extend(past.copied());
            }
        }
        reached
    }

    /// What is deleted or was replaced, under any of its dots, may be forgotten once every owner has known it.
    fn may_be_forgotten(&self, dot: Dot) -> bool {
        let was_replaced = |dot: Dot| self.minted.keys().any(|newer| self.is_past(dot, *newer));
        self.is_deletion(dot) || self.names_of(dot).any(was_replaced)
    }

    /// Whether a write may have been a delete: of one that nobody was told is safe it may not be known.
    fn may_be_deletion(&self, dot: Dot) -> bool {
        if let Some(deletes) = self.minted.get(&dot).and_then(|minted| minted.deletes) {
            return deletes;
        }
        self.acknowledged.iter().find(|write| write.dot == dot).is_none_or(|write| write.value.is_none())
    }

    fn is_deletion(&self, dot: Dot) -> bool {
        self.acknowledged.iter().any(|write| write.dot == dot && write.value.is_none())
    }
}

impl Oracle {
    /// Acknowledgements so far.
    pub(super) const fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    /// The keys that were written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    /// When a write got its dot.
    pub(super) fn minted_at(&self, key: &Key, dot: Dot) -> Option<Time> {
        Some(self.keys.get(key)?.minted.get(&dot)?.at)
    }

    /// Whether one write was replaced by another one.
    pub(super) fn is_past(&self, key: &Key, dot: Dot, of: Dot) -> bool {
        self.keys.get(key).is_some_and(|history| history.is_past(dot, of))
    }

    /// A shard has named a write.
    pub(super) fn mint(
        &mut self,
        now: Time,
        key: &Key,
        dot: Dot,
        replaces: &VersionVector,
        request: Option<RequestKey>,
    ) -> Option<Violation> {
        if self.dots.len() >= WRITES_MAX {
            return None;
        }
        self.writes += 1;
        let fresh = self.dots.insert((Position::of(key).slice(), dot));
        let minted = Minted { number: self.writes, replaces: replaces.clone(), request, deletes: None, at: now };
        self.keys.entry(key.clone()).or_default().minted.entry(dot).or_insert(minted);
        (!fresh).then(|| violation(Invariant::DotsAreUnique, now, key, dot, "a second write got this name"))
    }

    /// Somebody knows whether a write is a deletion, though nobody may have been told that it is safe.
    pub(super) fn know(&mut self, key: &Key, dot: Dot, deletes: bool) {
        if let Some(minted) = self.keys.get_mut(key).and_then(|history| history.minted.get_mut(&dot)) {
            minted.deletes = Some(deletes);
        }
    }

    /// A node has forgotten a tombstone of the key.
    pub(super) fn collect(&mut self, key: &Key) {
        if let Some(history) = self.keys.get_mut(key) {
            history.collected = true;
        }
    }

    /// A client was told that its write is safe.
    pub(super) fn acknowledge(&mut self, now: Time, key: &Key, dot: Dot, value: Option<&Value>, strict: bool) {
        self.acknowledgements += 1;
        let order = self.acknowledgements;
        let value = value.map(hash_of);
        let history = self.keys.entry(key.clone()).or_default();
        history.acknowledged.push(Acknowledged { dot, value, strict, order, at: now });
    }

    /// What one answer, or one replica, shows must fit together.
    pub(super) fn check_set(&self, now: Time, key: &Key, set: &SiblingSet) -> Vec<Violation> {
        let Some(history) = self.history(key) else { return Vec::new() };
        let mut found = Vec::new();
        for (dot, version) in set.live() {
            if !history.minted.contains_key(&dot) {
                found.push(violation(Invariant::SiblingsFollowHistory, now, key, dot, "nobody has written this"));
            }
            if let Some((newer, _)) = set.live().find(|(newer, _)| history.is_past(dot, *newer)) {
                let detail = format!("it stands beside {newer}, which replaced it");
                found.push(violation(Invariant::SiblingsFollowHistory, now, key, dot, &detail));
            }
            let value = version.value.as_ref().map(hash_of);
            let other = history.acknowledged.iter().find(|write| write.dot == dot && write.value != value);
            if let Some(write) = other {
                let detail = format!("it has another value now than when it was acknowledged at {}", write.at);
                found.push(violation(Invariant::AcknowledgedIsKept, now, key, dot, &detail));
            }
        }
        found
    }

    /// A strict read shows every strict write that was acknowledged before it began, but for those that were replaced or
    /// deleted and that nobody need remember: `forgotten` says of which every owner has known.
    pub(super) fn check_read(&self, now: Time, read: Shown<'_>, forgotten: impl Fn(Dot) -> bool) -> Option<Violation> {
        let history = self.history(read.key).filter(|_| read.strict)?;
        let mut before = history.acknowledged.iter().take_while(|write| write.order <= read.before);
        let missed = before.find(|write| {
            let missed = write.strict && !read.set.context().covers(write.dot);
            missed && !(history.may_be_forgotten(write.dot) && forgotten(write.dot))
        })?;
        let detail = format!("a read did not know it, though it was acknowledged at {}", missed.at);
        Some(violation(Invariant::StrictReadsAreFresh, now, read.key, missed.dot, &detail))
    }

    /// What is left of a key once everything is healed.
    pub(super) fn check_end(&self, now: Time, key: &Key, set: &SiblingSet) -> Vec<Violation> {
        let Some(history) = self.history(key) else { return Vec::new() };
        let mut found = self.check_set(now, key, set);
        let live: Vec<Dot> = set.live().map(|(dot, _)| dot).collect();
        let minted = history.minted.keys().copied();
        let forgotten = minted.filter(|dot| history.collected && history.may_be_deletion(*dot));
        let reached = history.reaches(live.iter().copied().chain(forgotten));
        let is_kept = |write: &&Acknowledged| history.names_of(write.dot).any(|dot| reached.contains(&dot));
        for write in history.acknowledged.iter().filter(|write| !is_kept(write)) {
            let detail = format!("acknowledged at {}, gone, and nothing that is left had seen it", write.at);
            found.push(violation(Invariant::AcknowledgedIsKept, now, key, write.dot, &detail));
        }
        for dot in live {
            let newer = history.acknowledged.iter().find(|write| history.is_past(dot, write.dot));
            if let Some(newer) = newer {
                let deleted = history.is_deletion(newer.dot);
                let invariant = if deleted { Invariant::DeletedStaysDeleted } else { Invariant::SiblingsFollowHistory };
                let detail = format!("it is back, though {} replaced it, acknowledged at {}", newer.dot, newer.at);
                found.push(violation(invariant, now, key, dot, &detail));
            }
        }
        found
    }

    fn history(&self, key: &Key) -> Option<&History> {
        self.keys.get(key).filter(|_| self.dots.len() < WRITES_MAX)
    }
}

fn hash_of(value: &Value) -> u64 {
    let mut hasher = StableHasher::new();
    hasher.bytes(&value.bytes);
    hasher.finish()
}

fn violation(invariant: Invariant, at: Time, key: &Key, dot: Dot, detail: &str) -> Violation {
    let detail = format!("{dot} of {key:?}: {detail}");
    Violation { invariant, at, key: Some(key.clone()), dot: Some(dot), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Issuer, Stamp, Version};
    use crate::id::ActorId;

    /// A key whose writes are named by the counters of one actor.
    #[derive(Clone)]
    struct Fixture {
        oracle: Oracle,
        key: Key,
    }

    fn dot(counter: u64) -> Dot {
        Dot { actor: ActorId(1), counter }
    }

    fn vector(counters: &[u64]) -> VersionVector {
        let mut vector = VersionVector::new();
        counters.iter().for_each(|counter| _ = vector.insert(dot(*counter)));
        vector
    }

    fn value(counter: u64) -> Value {
        Value::json(format!("{counter}"))
    }

    /// A set of these writes, as stores make it, that knows others too.
    fn set(live: &[u64], known: &[u64]) -> SiblingSet {
        let mut set = SiblingSet::new();
        let mut issuer = Issuer::new(ActorId(1));
        issuer.extended(100);
        for counter in live {
            let fresh = issuer.next(counter - 1).expect("leased");
            let version = Version { stamp: Stamp::default(), value: Some(value(*counter)), request: None };
            set.update(&vector(known), fresh, version).expect("it is fresh");
        }
        set
    }

    impl Fixture {
        fn new() -> Self {
            Self { oracle: Oracle::default(), key: Key::new("cart").expect("a good key") }
        }

        fn write(self, counter: u64, replaces: &[u64]) -> Self {
            self.named(counter, replaces, None)
        }

        fn named(mut self, counter: u64, replaces: &[u64], request: Option<u128>) -> Self {
            let request = request.map(RequestKey);
            let broken = self.oracle.mint(Time::ZERO, &self.key, dot(counter), &vector(replaces), request);
            assert!(broken.is_none());
            self
        }

        fn acknowledged(mut self, counter: u64) -> Self {
            self.oracle.acknowledge(Time::ZERO, &self.key, dot(counter), Some(&value(counter)), true);
            self
        }

        fn deleted(mut self, counter: u64) -> Self {
            self.oracle.acknowledge(Time::ZERO, &self.key, dot(counter), None, true);
            self
        }

        fn end(&self, live: &[u64]) -> Vec<Invariant> {
            let found = self.oracle.check_end(Time::ZERO, &self.key, &set(live, &[]));
            found.into_iter().map(|violation| violation.invariant).collect()
        }

        fn read(&self, known: &[u64], before: u64) -> Option<Invariant> {
            let set = set(&[50], known);
            let shown = Shown { key: &self.key, set: &set, strict: true, before };
            self.oracle.check_read(Time::ZERO, shown, |_| false).map(|violation| violation.invariant)
        }
    }

    #[test]
    fn what_was_acknowledged_is_there_or_was_replaced_by_what_is_there() {
        use Invariant::AcknowledgedIsKept;
        let one = Fixture::new().write(1, &[]).acknowledged(1);
        assert_eq!((one.end(&[1]), one.end(&[])), (alloc::vec![], alloc::vec![AcknowledgedIsKept]));
        let replaced = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]);
        assert_eq!((replaced.end(&[2]), replaced.end(&[])), (alloc::vec![], alloc::vec![AcknowledgedIsKept]));
        let chain = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]).write(3, &[2]);
        assert_eq!(chain.end(&[3]), [], "by one that replaced the one that replaced it");
        let beside = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[]).acknowledged(2);
        assert_eq!((beside.end(&[1, 2]), beside.end(&[2])), (alloc::vec![], alloc::vec![AcknowledgedIsKept]));
        let unanswered = Fixture::new().write(1, &[]);
        assert_eq!(unanswered.end(&[]), [], "nobody was told that it is safe");
    }

    #[test]
    fn a_write_that_was_sent_again_is_kept_under_any_of_its_dots() {
        let again = |one, other, seen: &[u64]| {
            let first = Fixture::new().write(9, &[]).named(1, &[9], one).write(2, &[1]);
            first.named(3, seen, other).acknowledged(3).end(&[2])
        };
        assert_eq!(again(Some(7), Some(7), &[9]), []);
        for (one, other, seen) in [(Some(7), Some(8), [9]), (None, None, [9]), (Some(7), Some(7), [1])] {
            assert_eq!(
                again(one, other, &seen),
                [Invariant::AcknowledgedIsKept],
                "another name, or after another past"
            );
        }
    }

    #[test]
    fn what_was_replaced_does_not_come_back() {
        let replaced = Fixture::new().write(1, &[]).write(2, &[1]).acknowledged(2);
        let beside = [Invariant::SiblingsFollowHistory; 2];
        assert_eq!(replaced.end(&[1, 2]), beside, "side by side, and back");
        let deleted = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]).deleted(2);
        assert!(deleted.end(&[1]).contains(&Invariant::DeletedStaysDeleted));
    }

    #[test]
    fn a_tombstone_may_be_gone_only_where_one_was_collected() {
        let mut deleted = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]).deleted(2);
        assert_eq!(deleted.end(&[]), [Invariant::AcknowledgedIsKept; 2]);
        deleted.oracle.collect(&deleted.key);
        assert_eq!(deleted.end(&[]), []);
        assert_eq!(deleted.end(&[1]), [Invariant::DeletedStaysDeleted]);
    }

    #[test]
    fn what_nobody_wrote_and_what_has_another_value_is_noticed() {
        let one = Fixture::new().write(1, &[]).acknowledged(1);
        assert_eq!(one.end(&[1, 7]), [Invariant::SiblingsFollowHistory]);
        let mut other = Fixture::new().write(1, &[]);
        other.oracle.acknowledge(Time::ZERO, &other.key, dot(1), Some(&value(9)), true);
        assert_eq!(other.end(&[1]), [Invariant::AcknowledgedIsKept]);
    }

    #[test]
    fn a_dot_is_minted_once_in_a_slice() {
        let mut one = Fixture::new().write(1, &[]);
        let again = one.oracle.mint(Time::ZERO, &one.key, dot(1), &vector(&[]), None);
        assert_eq!(again.map(|violation| violation.invariant), Some(Invariant::DotsAreUnique));
        let slice = |key: &Key| Position::of(key).slice();
        let keys = (0..999).map(|number| Key::new(&format!("{number}")).expect("a good key"));
        let (same, others): (Vec<Key>, Vec<Key>) = keys.partition(|key| slice(key) == slice(&one.key));
        assert!(one.oracle.mint(Time::ZERO, &same[0], dot(1), &vector(&[]), None).is_some(), "of another key");
        assert!(one.oracle.mint(Time::ZERO, &others[0], dot(1), &vector(&[]), None).is_none(), "of another slice");
    }

    #[test]
    fn a_strict_read_shows_what_was_acknowledged_before_it_began() {
        let two = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]).acknowledged(2);
        for (known, before, broken) in [
            (&[1, 2][..], 2, None),
            (&[1], 1, None),
            (&[1], 2, Some(Invariant::StrictReadsAreFresh)),
            (&[2], 2, Some(Invariant::StrictReadsAreFresh)),
            (&[], 0, None),
        ] {
            assert_eq!(two.read(known, before), broken, "{known:?}, {before} before");
        }
        let set = set(&[50], &[]);
        let shown = Shown { key: &two.key, set: &set, strict: false, before: 2 };
        assert!(two.oracle.check_read(Time::ZERO, shown, |_| false).is_none(), "of others nothing is promised");
        let shown = Shown { strict: true, ..shown };
        let read = |forgotten: fn(Dot) -> bool| two.oracle.check_read(Time::ZERO, shown, forgotten).is_none();
        assert!(!read(|_| true), "what stands cannot be forgotten, whoever has known it");
        let deleted = Fixture::new().write(1, &[]).acknowledged(1).write(2, &[1]).deleted(2);
        let read = |forgotten: fn(Dot) -> bool| deleted.oracle.check_read(Time::ZERO, shown, forgotten).is_none();
        assert_eq!((read(|_| true), read(|_| false)), (true, false), "what is deleted can");
        let first = Fixture::new().named(1, &[], Some(7)).write(2, &[1]);
        for (name, may_be) in [(7, true), (8, false)] {
            let again = first.clone().named(3, &[], Some(name)).acknowledged(3);
            let read = again.oracle.check_read(Time::ZERO, Shown { before: 1, ..shown }, |_| true);
            assert_eq!(read.is_none(), may_be, "a retry of what was replaced under its first dot");
        }
    }
}
