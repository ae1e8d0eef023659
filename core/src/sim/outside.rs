//! The oracle of the simulated world for a cluster that is not simulated: judges what clients of real nodes wrote and were
//! shown. It knows nothing of nodes, and believes whoever describes the history.

use alloc::vec::Vec;

use super::Violation;
use super::oracle::{Oracle, Shown, WRITES_MAX};
use crate::causality::{Dot, SiblingSet, Stamp, Version, VersionVector};
use crate::id::Key;
use crate::time::Time;
use crate::value::Value;

/// A write that was sent, whatever became of it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Of what.
    pub key: Key,
    /// Its name.
    pub dot: Dot,
    /// What it replaces.
    pub replaces: VersionVector,
    /// What was written; nothing is a deletion.
    pub value: Option<Value>,
    /// When it was sent.
    pub at: Time,
}

/// What a reader was shown.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of what.
    pub key: Key,
    /// The versions. Deletions are not shown.
    pub values: Vec<(Dot, Value)>,
    /// What it says that it covers.
    pub context: VersionVector,
}

/// What clients did to every key.
#[derive(Clone, Debug, Default)]
pub struct History {
    oracle: Oracle,
}

impl History {
    /// Writes that a history may have: one of more is judged no further.
    pub const WRITES_MAX: usize = WRITES_MAX - 1;

    /// The history of these writes, in whatever order they come. Gives the violations that they are by themselves: names that
    /// were given twice.
    #[must_use]
    pub fn new(mut writes: Vec<Write>) -> (Self, Vec<Violation>) {
        // A write covers more than every write that it replaces.
        writes.sort_by_key(|write| (covered(&write.replaces), write.at));
        let mut oracle = Oracle::default();
        let mut found = Vec::new();
        for Write { key, dot, replaces, value, at } in &writes {
            found.extend(oracle.mint(*at, key, *dot, replaces, None));
            oracle.know(key, *dot, value.is_none());
            // From outside a tombstone is not seen, and may be gone.
            oracle.collect(key);
        }
        (Self { oracle }, found)
    }

    /// A client was told that a write is safe; `strict` says whether a write quorum of owners had it by then.
    pub fn acknowledge(&mut self, at: Time, key: &Key, dot: Dot, value: Option<&Value>, strict: bool) {
        self.oracle.acknowledge(at, key, dot, value, strict);
    }

    /// How many writes have been acknowledged: what a later read is measured by.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.oracle.acknowledgements()
    }

    /// Judges a read: what it shows fits together, and a strict one, to which a read quorum of owners had answered, shows what
    /// was acknowledged before it began: the first `before` acknowledgements.
    #[must_use]
    pub fn read(&self, at: Time, seen: &Seen, strict: bool, before: u64) -> Vec<Violation> {
        let set = set_of(seen);
        let mut found = self.oracle.check_set(at, &seen.key, &set);
        let shown = Shown { key: &seen.key, set: &set, strict, before };
        // Of what was replaced or deleted, from outside nobody can tell whether every owner has known it.
        found.extend(self.oracle.check_read(at, shown, |_| true));
        found
    }

    /// Judges what is left of a key once everything is healed.
    #[must_use]
    pub fn end(&self, at: Time, seen: &Seen) -> Vec<Violation> {
        self.oracle.check_end(at, &seen.key, &set_of(seen))
    }
}

fn set_of(seen: &Seen) -> SiblingSet {
    let version = |value: &Value| Version { stamp: Stamp::default(), value: Some(value.clone()), request: None };
    SiblingSet::shown(seen.context.clone(), seen.values.iter().map(|(dot, value)| (*dot, version(value))))
}

/// How many dots the vector covers.
fn covered(vector: &VersionVector) -> u64 {
    vector.iter().map(|span| span.upto - span.after).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ActorId;
    use crate::sim::Invariant;

    fn dot(counter: u64) -> Dot {
        Dot { actor: ActorId(1), counter }
    }

    fn vector(counters: &[u64]) -> VersionVector {
        let mut vector = VersionVector::new();
        counters.iter().for_each(|counter| _ = vector.insert(dot(*counter)));
        vector
    }

    fn value(counter: u64) -> Value {
        Value::json(alloc::format!("{counter}"))
    }

    fn key() -> Key {
        Key::new("cart").expect("a good key")
    }

    fn put(counter: u64, replaces: &[u64]) -> Write {
        let value = Some(value(counter));
        Write { key: key(), dot: dot(counter), replaces: vector(replaces), value, at: Time::ZERO }
    }

    fn delete(counter: u64, replaces: &[u64]) -> Write {
        Write { value: None, ..put(counter, replaces) }
    }

    fn seen(live: &[u64], known: &[u64]) -> Seen {
        let values = live.iter().map(|counter| (dot(*counter), value(*counter))).collect();
        Seen { key: key(), values, context: vector(known) }
    }

    fn history(writes: &[Write], acknowledged: &[u64]) -> History {
        let (mut history, found) = History::new(writes.to_vec());
        assert!(found.is_empty(), "{found:?}");
        for counter in acknowledged {
            let write = writes.iter().find(|write| write.dot == dot(*counter)).expect("it was sent");
            history.acknowledge(Time::ZERO, &write.key, write.dot, write.value.as_ref(), true);
        }
        history
    }

    fn kinds(found: &[Violation]) -> Vec<Invariant> {
        found.iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let two = history(&[put(2, &[1]), put(1, &[])], &[1, 2]);
        assert_eq!(kinds(&two.end(Time::ZERO, &seen(&[2], &[1]))), []);
        assert_eq!(kinds(&two.end(Time::ZERO, &seen(&[], &[1, 2]))), [Invariant::AcknowledgedIsKept; 2]);
        let unanswered = history(&[put(1, &[]), put(2, &[1])], &[1]);
        assert_eq!(kinds(&unanswered.end(Time::ZERO, &seen(&[2], &[1]))), [], "replaced by one that was not answered");
        let gone = unanswered.end(Time::ZERO, &seen(&[], &[1, 2]));
        assert_eq!(kinds(&gone), [Invariant::AcknowledgedIsKept], "one that was not answered is no deletion");
    }

    #[test]
    fn a_deletion_that_is_undone_is_found() {
        let deleted = history(&[put(1, &[]), delete(2, &[1])], &[1, 2]);
        assert_eq!(kinds(&deleted.end(Time::ZERO, &seen(&[], &[1, 2]))), []);
        assert_eq!(kinds(&deleted.end(Time::ZERO, &seen(&[], &[]))), [], "forgotten by all");
        assert_eq!(kinds(&deleted.end(Time::ZERO, &seen(&[1], &[]))), [Invariant::DeletedStaysDeleted]);
        let unanswered = history(&[put(1, &[]), delete(2, &[1])], &[1]);
        for live in [&[1][..], &[]] {
            assert_eq!(kinds(&unanswered.end(Time::ZERO, &seen(live, &[]))), [], "it may have happened, or not");
        }
    }

    #[test]
    fn wrong_siblings_are_found() {
        let three = history(&[put(1, &[]), put(2, &[1]), put(3, &[1])], &[1, 2, 3]);
        assert_eq!(kinds(&three.read(Time::ZERO, &seen(&[2, 3], &[1]), true, 3)), []);
        assert_eq!(kinds(&three.read(Time::ZERO, &seen(&[1, 2], &[]), false, 3)), [Invariant::SiblingsFollowHistory]);
        assert_eq!(
            kinds(&three.end(Time::ZERO, &seen(&[2], &[1, 3]))),
            [Invariant::AcknowledgedIsKept],
            "one is missing"
        );
        assert_eq!(kinds(&three.read(Time::ZERO, &seen(&[9], &[]), false, 0)), [Invariant::SiblingsFollowHistory]);
    }

    #[test]
    fn a_stale_strict_read_and_a_name_given_twice_are_found() {
        let two = history(&[put(1, &[]), put(2, &[1])], &[1, 2]);
        assert_eq!(kinds(&two.read(Time::ZERO, &seen(&[1], &[]), true, 1)), []);
        assert_eq!(kinds(&two.read(Time::ZERO, &seen(&[1], &[]), true, 2)), [Invariant::StrictReadsAreFresh]);
        assert_eq!(kinds(&two.read(Time::ZERO, &seen(&[1], &[]), false, 2)), [], "of others nothing is promised");
        let (_, found) = History::new(alloc::vec![put(1, &[]), put(1, &[])]);
        assert_eq!(kinds(&found), [Invariant::DotsAreUnique]);
    }
}
