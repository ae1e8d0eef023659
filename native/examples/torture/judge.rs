//! Turns what clients were told into the explicit history that the oracle of the simulated world judges.
//!
//! A write's answer has a context: what the write replaced, and its own name. What it replaced is known where its client gave
//! a context; where it did not, the name is the last one of the coordinator's actor, which its other writes tell. A write that
//! nobody answered has no name: it gets one that no store gives, and is taken to have replaced no more than it must have.
//! Never asks a node anything.

use std::collections::BTreeMap;

use quorate_core::causality::{Dot, DotSpan, VersionVector, unproven};
use quorate_core::id::{ActorId, Key};
use quorate_core::sim::{History, Seen, Violation, Write};
use quorate_core::time::Time;
use quorate_core::value::Value;

use crate::history::{Action, Operation, Outcome};

/// What is left of a key at the end, as one node shows it.
pub(crate) struct Left {
    pub(crate) node: String,
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
    pub(crate) context: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Each as a sentence, with the operation that it is about.
    pub(crate) violations: Vec<String>,
    /// Acknowledged writes whose names could not be told, so that only reads of their values are judged.
    pub(crate) nameless: usize,
}

/// A write with its name.
struct Named {
    dot: Dot,
    /// What it replaces; nothing if that is not known.
    replaces: Option<VersionVector>,
    acknowledged: bool,
}

/// Judges all operations of clients, and what they left.
pub(crate) fn judge(operations: &[Operation], left: &[Left]) -> Judgement {
    let names = names(operations);
    let mut judgement = Judgement::default();
    let is_write = |operation: &&Operation| matches!(operation.outcome, Outcome::Acknowledged { .. });
    let acknowledged = operations.iter().filter(is_write).count();
    judgement.nameless = acknowledged - names.values().filter(|named| named.acknowledged).count();
    let values: BTreeMap<&str, usize> =
        operations.iter().enumerate().filter_map(|(index, operation)| Some((value_of(operation)?, index))).collect();
    if names.len() > History::WRITES_MAX {
        judgement.violations.push(format!("{} writes are too many to be judged", names.len()));
        return judgement;
    }
    let judge = Judge { operations, names: &names, values: &values };
    judge.reads(&mut judgement);
    judge.end(left, &mut judgement);
    judgement
}

struct Judge<'a> {
    operations: &'a [Operation],
    names: &'a BTreeMap<usize, Named>,
    /// The operation that wrote each value.
    values: &'a BTreeMap<&'a str, usize>,
}

impl Judge<'_> {
    /// The history of all writes; `replaced` says what one has replaced of which that is not known otherwise.
    fn history(&self, replaced: &BTreeMap<usize, VersionVector>) -> (History, Vec<Violation>) {
        let write = |(index, named): (&usize, &Named)| {
            let operation = &self.operations[*index];
            let replaces = named.replaces.clone().or_else(|| replaced.get(index).cloned()).unwrap_or_default();
            let value = value_of(operation).map(json);
            Write { key: key_of(&operation.key), dot: named.dot, replaces, value, at: time(operation.invoked_us) }
        };
        History::new(self.names.iter().map(write).collect())
    }

    /// What every reader was shown while it went on.
    fn reads(&self, judgement: &mut Judgement) {
        let (mut history, found) = self.history(&BTreeMap::new());
        found.iter().for_each(|violation| judgement.violations.push(self.sentence(violation)));
        let mut order: Vec<usize> = (0..self.operations.len()).collect();
        order.sort_by_key(|index| self.operations[*index].returned_us);
        // When each acknowledgement came, in their order.
        let mut acknowledged_us = Vec::new();
        for index in order {
            let operation = &self.operations[index];
            match (&operation.action, &operation.outcome) {
                (_, Outcome::Acknowledged { strict, .. }) => {
                    if let Some(named) = self.names.get(&index).filter(|named| named.acknowledged) {
                        let (key, value) = (key_of(&operation.key), value_of(operation).map(json));
                        history.acknowledge(time(operation.returned_us), &key, named.dot, value.as_ref(), *strict);
                        acknowledged_us.push(operation.returned_us);
                    }
                }
                (Action::Get { strict }, Outcome::Shown { values, context }) => {
                    let before = acknowledged_us.partition_point(|at| *at < operation.invoked_us);
                    let before = u64::try_from(before).expect("a count fits 64 bits");
                    let Some(seen) = self.seen(&operation.key, values, context, judgement) else { continue };
                    for violation in history.read(time(operation.returned_us), &seen, *strict, before) {
                        let read = format!("a read of client {} at {}", operation.client, operation.node);
                        judgement.violations.push(format!("{}; found by {read}", self.sentence(&violation)));
                    }
                }
                _ => {}
            }
        }
    }

    /// What is left once everything was healed.
    fn end(&self, left: &[Left], judgement: &mut Judgement) {
        let mut ends: Vec<(&Left, Seen)> = Vec::new();
        let mut replaced = BTreeMap::new();
        for end in left {
            let Some(seen) = self.seen(&end.key, &end.values, &end.context, judgement) else { continue };
            for value in &end.values {
                // At most all that is known there and not shown.
                let beside = without(&seen.context, seen.values.iter().map(|(dot, _)| *dot));
                replaced.insert(self.values[value.as_str()], beside);
            }
            if !ends.iter().any(|(other, shown)| other.key == end.key && shown.values == seen.values) {
                ends.push((end, seen));
            }
        }
        let (mut history, _) = self.history(&replaced);
        for (index, named) in self.names.iter().filter(|(_, named)| named.acknowledged) {
            let operation = &self.operations[*index];
            let (key, value) = (key_of(&operation.key), value_of(operation).map(json));
            history.acknowledge(time(operation.returned_us), &key, named.dot, value.as_ref(), true);
        }
        let now = self.operations.iter().map(|operation| operation.returned_us).max().unwrap_or_default();
        for (end, seen) in ends {
            for violation in history.end(time(now), &seen) {
                let shown = format!("{} shows {:?} at the end", end.node, end.values);
                judgement.violations.push(format!("{}; {shown}", self.sentence(&violation)));
            }
        }
    }

    /// An answer, by the names of what it shows.
    fn seen(&self, key: &str, values: &[String], context: &str, judgement: &mut Judgement) -> Option<Seen> {
        let mut shown = Vec::new();
        for value in values {
            let Some(named) = self.values.get(value.as_str()).and_then(|index| self.names.get(index)) else {
                judgement.violations.push(format!("{key} shows {value:?}, which nobody has sent"));
                return None;
            };
            shown.push((named.dot, json(value)));
        }
        shown.sort_by_key(|(dot, _)| *dot);
        Some(Seen { key: key_of(key), values: shown, context: unproven(context).ok()? })
    }

    fn sentence(&self, violation: &Violation) -> String {
        let about = |(_, named): &(&usize, &Named)| Some(named.dot) == violation.dot;
        let same_key = |(index, _): &(&usize, &Named)| {
            violation.key.as_ref().is_some_and(|key| key.as_str() == self.operations[**index].key)
        };
        let operation = self.names.iter().filter(same_key).find(about).map(|(index, _)| &self.operations[*index]);
        let text = operation.and_then(|operation| serde_json::to_string(operation).ok()).unwrap_or_default();
        format!("{:?}: {} {text}", violation.invariant, violation.detail)
    }
}

/// The name of every write that may have happened. Acknowledged ones that cannot be told are as if nobody had answered.
fn names(operations: &[Operation]) -> BTreeMap<usize, Named> {
    let mut names = BTreeMap::new();
    // Which actor each node wrote as, and when.
    let mut actors: BTreeMap<&str, Vec<(u64, ActorId)>> = BTreeMap::new();
    let mut open = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let given = match &operation.action {
            Action::Get { .. } => continue,
            Action::Put { context, .. } => context.as_deref(),
            Action::Delete { context } => Some(context.as_str()),
        };
        let given = given.and_then(|given| unproven(given).ok());
        if let Outcome::Acknowledged { context, coordinator, .. } = &operation.outcome
            && let Ok(told) = unproven(context)
        {
            let mut candidates = last_dots(&told);
            candidates.retain(|dot| given.as_ref().is_none_or(|given| !given.covers(*dot)));
            if let [dot] = candidates[..] {
                actors.entry(coordinator).or_default().push((operation.returned_us, dot.actor));
                let replaces = Some(without(&told, [dot].into_iter()));
                names.insert(index, Named { dot, replaces, acknowledged: true });
            } else {
                open.push((index, coordinator.as_str(), candidates, told));
            }
        } else {
            names.insert(index, Named { dot: unnamed(index), replaces: given, acknowledged: false });
        }
    }
    actors.values_mut().for_each(|times| times.sort_unstable());
    for (index, coordinator, candidates, told) in open {
        let actor = actors.get(coordinator).and_then(|times| nearest(times, operations[index].returned_us));
        let dot = candidates.into_iter().find(|dot| Some(dot.actor) == actor);
        let named = dot.unwrap_or_else(|| unnamed(index));
        let replaces = Some(without(&told, [named].into_iter()));
        names.insert(index, Named { dot: named, replaces, acknowledged: dot.is_some() });
    }
    names
}

/// The last dot of each actor.
fn last_dots(vector: &VersionVector) -> Vec<Dot> {
    let mut last: BTreeMap<ActorId, u64> = BTreeMap::new();
    vector.iter().for_each(|span| _ = last.insert(span.actor, vector.get(span.actor)));
    last.into_iter().map(|(actor, counter)| Dot { actor, counter }).collect()
}

/// As whom a node wrote at the moment that is nearest to this one.
fn nearest(times: &[(u64, ActorId)], at: u64) -> Option<ActorId> {
    let next = times.partition_point(|(time, _)| *time < at);
    let around = &times[next.saturating_sub(1)..times.len().min(next + 1)];
    around.iter().min_by_key(|(time, _)| time.abs_diff(at)).map(|(_, actor)| *actor)
}

/// A name that no store gives: actors are drawn at random from all 128 bits.
fn unnamed(index: usize) -> Dot {
    let number = u64::try_from(index).expect("an index fits 64 bits");
    Dot { actor: ActorId(u128::from(number)), counter: 1 }
}

/// What the vector covers, but for these.
fn without(vector: &VersionVector, dots: impl Iterator<Item = Dot>) -> VersionVector {
    let mut dots: Vec<Dot> = dots.collect();
    dots.sort_unstable();
    let mut rest = VersionVector::new();
    for span in vector.iter() {
        let mut after = span.after;
        let inside = |dot: &&Dot| dot.actor == span.actor && span.after < dot.counter && dot.counter <= span.upto;
        for dot in dots.iter().filter(inside) {
            cover(&mut rest, DotSpan { after, upto: dot.counter - 1, ..span });
            after = dot.counter;
        }
        cover(&mut rest, DotSpan { after, ..span });
    }
    rest
}

fn cover(vector: &mut VersionVector, span: DotSpan) {
    if span.after < span.upto {
        vector.cover(span);
    }
}

fn value_of(operation: &Operation) -> Option<&str> {
    match &operation.action {
        Action::Put { value, .. } => Some(value),
        Action::Get { .. } | Action::Delete { .. } => None,
    }
}

fn json(value: &str) -> Value {
    Value::json(value.to_owned())
}

fn key_of(key: &str) -> Key {
    Key::new(key).expect("keys of clients are good ones")
}

const fn time(us: u64) -> Time {
    Time(us * 1_000)
}

#[cfg(test)]
mod tests {
    use quorate_core::causality::{ContextSecret, encode};

    use super::*;

    /// A key whose writes are named by the counters of one actor, each told in the millisecond of its number.
    fn context(counters: &[u64]) -> String {
        let mut vector = VersionVector::new();
        counters.iter().for_each(|counter| _ = vector.insert(Dot { actor: ActorId(u128::MAX), counter: *counter }));
        encode(&ContextSecret([7; 32]), &key_of("cart"), &vector)
    }

    fn operation(number: u64, action: Action, outcome: Outcome) -> Operation {
        let (invoked_us, returned_us) = (number * 1_000, number * 1_000 + 500);
        Operation { client: 1, node: "node-1".into(), key: "cart".into(), invoked_us, returned_us, action, outcome }
    }

    fn acknowledged(covered: &[u64]) -> Outcome {
        Outcome::Acknowledged { context: context(covered), coordinator: "node-1".into(), strict: true }
    }

    fn put(number: u64, seen: Option<&[u64]>, told: &[u64]) -> Operation {
        let action = Action::Put { value: number.to_string(), context: seen.map(context) };
        operation(number, action, acknowledged(told))
    }

    fn delete(number: u64, seen: &[u64], told: &[u64]) -> Operation {
        operation(number, Action::Delete { context: context(seen) }, acknowledged(told))
    }

    fn read(number: u64, values: &[u64], known: &[u64]) -> Operation {
        let outcome = Outcome::Shown { values: texts(values), context: context(known) };
        operation(number, Action::Get { strict: true }, outcome)
    }

    fn texts(values: &[u64]) -> Vec<String> {
        values.iter().map(u64::to_string).collect()
    }

    #[track_caller]
    fn check(operations: &[Operation], left: &[u64], known: &[u64], expected: &[&str]) {
        let left = Left { node: "node-1".into(), key: "cart".into(), values: texts(left), context: context(known) };
        let judgement = judge(operations, &[left]);
        assert_eq!(judgement.nameless, 0);
        let kinds: Vec<&str> =
            judgement.violations.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
        assert_eq!(kinds, expected, "{:#?}", judgement.violations);
    }

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let writes = [put(1, None, &[1]), put(2, Some(&[1]), &[1, 2]), put(3, Some(&[1]), &[1, 3])];
        check(&writes, &[2, 3], &[1, 2, 3], &[]);
        check(&writes, &[2], &[1, 2, 3], &["AcknowledgedIsKept"]);
        check(&writes[..1], &[], &[], &["AcknowledgedIsKept"]);
        let unanswered = operation(2, Action::Delete { context: context(&[1]) }, Outcome::Unknown("late".into()));
        check(&[put(1, None, &[1]), unanswered], &[], &[1, 2], &[]);
    }

    #[test]
    fn a_returned_deletion_is_found() {
        let deleted = [put(1, None, &[1]), delete(2, &[1], &[1, 2])];
        check(&deleted, &[], &[1, 2], &[]);
        check(&deleted, &[1], &[1], &["DeletedStaysDeleted"]);
    }

    #[test]
    fn wrong_siblings_and_stale_reads_are_found() {
        let writes = [put(1, None, &[1]), put(2, Some(&[1]), &[1, 2])];
        let with = |read: Operation| [writes.as_slice(), &[read]].concat();
        check(&with(read(3, &[2], &[1, 2])), &[2], &[1, 2], &[]);
        check(&with(read(3, &[1, 2], &[1, 2])), &[2], &[1, 2], &["SiblingsFollowHistory"]);
        check(&with(read(3, &[1], &[1])), &[2], &[1, 2], &["StrictReadsAreFresh"]);
        check(&with(read(3, &[9], &[1, 2])), &[2], &[1, 2], &["cart shows \"9\", which nobody has sent"]);
    }

    #[test]
    fn what_nobody_answered_may_be_there_or_not() {
        for seen in [Some(context(&[1])), None] {
            let action = Action::Put { value: "2".into(), context: seen };
            let writes = [put(1, None, &[1]), operation(2, action, Outcome::Unknown("late".into()))];
            check(&writes, &[1], &[1], &[]);
            check(&writes, &[2], &[1, 2], &[]);
            check(&writes, &[], &[1, 2], &["AcknowledgedIsKept"]);
        }
    }

    #[test]
    fn a_vector_without_some_dots_covers_the_others() {
        let vector = unproven(&context(&[1, 2, 3, 7])).expect("a context");
        let dot = |counter| Dot { actor: ActorId(u128::MAX), counter };
        let rest = without(&vector, [dot(2), dot(7), dot(9)].into_iter());
        assert_eq!([1, 2, 3, 7].map(|counter| rest.covers(dot(counter))), [true, false, true, false]);
    }
}
