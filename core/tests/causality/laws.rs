//! Any schedule at all: reads, writes with fresh, stale and no contexts, deletions, messages late, lost, doubled and out
//! of order, crashes, wiped stores and forgotten keys.

use proptest::prelude::*;
use proptest::sample::Index;
use quorate_core::causality::SiblingSet;
use quorate_core::id::RequestKey;
use quorate_core::limits;

use crate::oracle::{Context, World};

#[derive(Clone, Debug)]
enum Step {
    Read(Index),
    WriteBlind(Index),
    WriteInformed(Index),
    WriteStale(Index, Index),
    WriteNamed(Index, Index, u8),
    Delete(Index),
    WriteElsewhere(Index),
    Deliver(Index, Index),
    Exchange(Index, Index),
    SyncDisk(Index),
    Crash(Index),
    Wipe(Index),
    Forget(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = any::<Index>;
    prop_oneof![
        3 => replica().prop_map(Step::Read),
        3 => replica().prop_map(Step::WriteBlind),
        4 => replica().prop_map(Step::WriteInformed),
        4 => (replica(), any::<Index>()).prop_map(|(at, context)| Step::WriteStale(at, context)),
        2 => replica().prop_map(Step::Delete),
        1 => replica().prop_map(Step::WriteElsewhere),
        8 => (any::<Index>(), replica()).prop_map(|(message, to)| Step::Deliver(message, to)),
        2 => (replica(), replica()).prop_map(|(one, other)| Step::Exchange(one, other)),
        2 => replica().prop_map(Step::SyncDisk),
        1 => replica().prop_map(Step::Crash),
        1 => replica().prop_map(Step::Wipe),
        1 => replica().prop_map(Step::Forget),
    ]
}

/// So short that no actor gets to the limit on its spans, where it takes an old loss for repaired and the oracle does not:
/// one more span takes a loss and a write, two steps at least.
const STEPS_MAX: usize = 2 * limits::SPANS_PER_ACTOR_MAX - 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=STEPS_MAX)
}

/// Among them writes that clients gave a name, and sent again elsewhere or later.
fn named_steps() -> impl Strategy<Value = Vec<Step>> {
    let named = (any::<Index>(), any::<Index>(), 0_u8..3).prop_map(|(at, seen, name)| Step::WriteNamed(at, seen, name));
    prop::collection::vec(prop_oneof![3 => step(), 1 => named], 1..=STEPS_MAX)
}

fn take(world: &mut World, number: usize, step: &Step) {
    let replicas = world.replicas.len();
    let value = format!("{number}");
    match step {
        Step::Read(at) => {
            world.read(at.index(replicas));
        }
        Step::WriteBlind(at) => {
            world.write(at.index(replicas), &Context::default(), Some(&value));
        }
        Step::WriteInformed(at) => {
            let context = world.read(at.index(replicas));
            world.write(at.index(replicas), &context, Some(&value));
            assert_eq!(world.live_count(at.index(replicas)), 1, "an informed write replaces all that was read");
        }
        Step::WriteStale(at, context) => {
            if !world.contexts.is_empty() {
                let context = context.get(&world.contexts).clone();
                world.write(at.index(replicas), &context, Some(&value));
            }
        }
        Step::WriteNamed(at, context, name) => {
            let nothing = Context::default();
            let context = if world.contexts.is_empty() { nothing } else { context.get(&world.contexts).clone() };
            // The same name is the same write: it has the same value.
            world.write_named(
                at.index(replicas),
                &context,
                Some(&format!("named {name}")),
                Some(RequestKey((*name).into())),
            );
        }
        Step::Delete(at) => {
            let context = world.read(at.index(replicas));
            world.write(at.index(replicas), &context, None);
            assert!(world.set(at.index(replicas)).is_deleted());
        }
        Step::WriteElsewhere(at) => world.write_elsewhere(at.index(replicas)),
        Step::Deliver(message, to) => {
            if !world.sent.is_empty() {
                world.deliver(message.index(world.sent.len()), to.index(replicas));
            }
        }
        Step::Exchange(one, other) => world.exchange(one.index(replicas), other.index(replicas)),
        Step::SyncDisk(at) => world.sync_disk(at.index(replicas)),
        Step::Crash(at) => world.crash(at.index(replicas)),
        Step::Wipe(at) => world.wipe(at.index(replicas)),
        Step::Forget(at) => world.forget(at.index(replicas)),
    }
}

fn run(replicas: usize, steps: &[Step]) -> World {
    let mut world = World::new(replicas);
    for (number, step) in steps.iter().enumerate() {
        take(&mut world, number, step);
        world.check();
    }
    world
}

fn merged(one: &SiblingSet, other: &SiblingSet) -> SiblingSet {
    let mut merged = one.clone();
    let changed = merged.merge(other).expect("few spans");
    assert_eq!(changed, merged != *one);
    assert_eq!(one.descends(other), one.context() == merged.context() && one.live().eq(merged.live()));
    merged
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    /// No false conflict and no lost sibling: at every replica, at every moment.
    #[test]
    fn siblings_are_what_the_histories_say(replicas in 2_usize..5, steps in named_steps()) {
        let mut world = run(replicas, &steps);
        world.converge();
        world.check();
        for at in 1..replicas {
            prop_assert_eq!(world.set(at), world.set(0));
            prop_assert_eq!(world.set(at).digest(), world.set(0).digest());
        }
    }

    /// The same of sets that a schedule led to, after any kind of amnesia.
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        steps in named_steps(),
        picks in prop::array::uniform3(any::<Index>()),
    ) {
        let mut world = run(3, &steps);
        world.send(0);
        let [a, b, c] = picks.map(|pick| pick.get(&world.sent).set.clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    /// A context, whatever became of the replica it was read from, removes what was read and nothing else.
    #[test]
    fn an_overwrite_removes_exactly_what_was_read(
        steps in steps(),
        from in any::<Index>(),
        to in any::<Index>(),
    ) {
        let mut world = run(3, &steps);
        let (from, to) = (from.index(3), to.index(3));
        let context = world.read(from);
        let read: Vec<_> = world.set(from).live().map(|(dot, _)| dot).collect();
        let unseen: Vec<_> =
            world.set(to).live().map(|(dot, _)| dot).filter(|dot| !context.history.contains(dot)).collect();
        let dot = world.write(to, &context, Some("after"));
        prop_assert!(read.iter().all(|dot| world.set(to).is_covered(*dot)));
        prop_assert!(unseen.iter().all(|dot| world.set(to).contains(*dot)));
        prop_assert!(world.set(to).contains(dot));
        prop_assert_eq!(world.live_count(to), unseen.len() + 1);
        world.exchange(from, to);
        world.check();
    }
}
