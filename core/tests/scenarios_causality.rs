//! The causality scenarios that other stores of this kind lost data or grew siblings by, by their names (several are known
//! from Riak KV), each beside an oracle of explicit histories.
//!
//! Where the plan of this store decides otherwise, the scenario says so. A2 ends with both values beside each other, as
//! the name asks; through a coordinator a write without a context would first read the others and replace what they show,
//! so here the writer is one who has seen nothing. In A3 and A4 the fallbacks are replicas that hold a set for somebody
//! else: handing it over is merging it; A2 to A4 with real fallbacks and their hints stand in `shard::tests::amnesia`.

#[path = "causality/oracle.rs"]
#[allow(dead_code, reason = "the other user of it needs more")]
mod oracle;

use quorate_core::causality::{Dot, SiblingSet};
use quorate_core::id::RequestKey;

use oracle::{Context, World};

/// What a client has seen after its own write: what it had seen before, and that write.
fn after_write(context: &Context, dot: Dot) -> Context {
    let mut after = context.clone();
    after.vector.insert(dot);
    after.history.insert(dot);
    after
}

fn deliver_to_all(world: &mut World) {
    for to in 0..world.replicas.len() {
        world.deliver(world.sent.len() - 1, to);
    }
}

/// A1. Two clients take turns, each knowing only its own writes.
#[test]
fn sibling_explosion() {
    let mut world = World::new(3);
    let mut clients = [(Context::default(), String::new()), (Context::default(), String::new())];
    for turn in 0..100 {
        let (context, written) = &mut clients[turn % 2];
        written.push_str(&format!("{turn} "));
        let dot = world.write(turn % 3, context, Some(written));
        *context = after_write(context, dot);
        deliver_to_all(&mut world);
        world.check();
        for at in 0..3 {
            assert!(world.live_count(at) <= 2, "{} siblings", world.live_count(at));
        }
    }
    let together: String = world.values(0).concat();
    let mut turns: Vec<usize> = together.split_whitespace().map(|turn| turn.parse().expect("a number")).collect();
    turns.sort_unstable();
    assert_eq!(turns, (0..100).collect::<Vec<_>>());
}

/// A2. The coordinator loses the key and nothing else, and then takes a write of somebody who has read nothing.
#[test]
fn kv679_dataloss() {
    let mut world = World::new(3);
    for number in 0..5 {
        let context = world.read(0);
        world.write(0, &context, Some(&format!("{number}")));
        deliver_to_all(&mut world);
    }
    world.forget(0);
    world.write(0, &Context::default(), Some("new"));
    deliver_to_all(&mut world);
    world.converge();
    world.check();
    for at in 0..3 {
        assert_eq!(world.values(at), ["4", "new"]);
    }
}

/// A3. One write reached two fallbacks only, two later ones the other owners; the coordinator loses the key, is repaired
/// from the fallbacks to the first write, and goes on from there.
#[test]
fn kv679_dataloss_fb() {
    let (a, b, c, d, e) = (0, 1, 2, 3, 4);
    let mut world = World::new(5);
    let deliver = |world: &mut World, to: [usize; 2]| {
        let last = world.sent.len() - 1;
        to.into_iter().for_each(|to| world.deliver(last, to));
    };
    world.write(a, &Context::default(), Some("1"));
    deliver(&mut world, [d, e]);
    for value in ["2", "3"] {
        let context = world.read(a);
        world.write(a, &context, Some(value));
        deliver(&mut world, [b, c]);
    }
    world.forget(a);
    world.exchange(a, d);
    world.exchange(a, e);
    assert_eq!(world.values(a), ["1"]);
    let context = world.read(a);
    world.write(a, &context, Some("4"));
    deliver(&mut world, [b, c]);
    world.check();
    for owner in [b, c] {
        assert_eq!(world.values(owner), ["3", "4"], "the last one, and the one that its writer has not seen");
    }
    world.converge();
    world.check();
    assert_eq!(world.values(d), ["3", "4"]);
}

/// A4. Two owners and three fallbacks. The first owner forgets the key, and hears of its own earlier write only when a
/// fallback hands it over: a write that it does not coordinate. Then it coordinates again.
#[test]
fn kv679_dataloss_fb2() {
    let (a, b, c, d, e) = (0, 1, 2, 3, 4);
    let mut world = World::new(5);
    world.write(a, &Context::default(), Some("1"));
    world.deliver(world.sent.len() - 1, c);
    let seen_first = world.read(a);
    world.write(a, &seen_first, Some("2"));
    world.deliver(world.sent.len() - 1, d);
    world.write(b, &seen_first, Some("3"));
    world.deliver(world.sent.len() - 1, e);
    world.forget(a);
    // The oldest hint comes first, in the middle of a handoff to the other owner.
    world.exchange(c, a);
    world.exchange(e, b);
    let context = world.read(a);
    world.write(a, &context, Some("4"));
    world.deliver(world.sent.len() - 1, b);
    world.check();
    let context = world.read(a);
    world.write(a, &context, Some("5"));
    world.exchange(d, a);
    world.exchange(a, b);
    world.check();
    for owner in [a, b] {
        assert_eq!(world.values(owner), ["2", "3", "5"], "what no later writer has seen is there");
    }
}

/// A8. A hundred updates arrive, one by one, at a replica that holds a value of its own.
#[test]
fn verify_dvv_repl() {
    let mut world = World::new(2);
    world.write(1, &Context::default(), Some("foreign"));
    let mut context = Context::default();
    for turn in 0..100 {
        let dot = world.write(0, &context, Some(&format!("{turn}")));
        context = after_write(&context, dot);
        world.deliver(world.sent.len() - 1, 1);
        world.check();
        assert!(world.live_count(1) <= 3);
    }
    assert_eq!(world.values(1), ["99", "foreign"]);
}

/// A9. Every write is sent again by its client to another coordinator, and all messages arrive five times, backwards.
#[test]
fn retry_storm() {
    let mut world = World::new(3);
    for number in 0..10_u32 {
        let request = Some(RequestKey(number.into()));
        for at in 0..3 {
            world.write_named(at, &Context::default(), Some(&format!("{number}")), request);
        }
    }
    for _ in 0..5 {
        for message in (0..world.sent.len()).rev() {
            for to in 0..3 {
                world.deliver(message, to);
            }
        }
        world.check();
    }
    let expected: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
    for at in 0..3 {
        assert_eq!(world.values(at), expected, "none lost, none shown twice");
    }
    let context = world.read(1);
    world.write(1, &context, Some("all"));
    world.converge();
    assert_eq!(world.values(2), ["all"], "one overwrite ends every copy");
    for message in 0..world.sent.len() {
        world.deliver(message, 0);
    }
    assert_eq!(world.values(0), ["all"], "and none comes back");
}

/// A10. A writer who has read siblings, and writes what they come to at a replica that holds none of them, removes all that
/// was read and nothing else, however late and often the old versions still arrive.
#[test]
fn informed_overwrite_removes_what_was_read() {
    let mut world = World::new(3);
    for value in ["1", "2", "3"] {
        world.write(0, &Context::default(), Some(value));
    }
    world.write(1, &Context::default(), Some("unseen"));
    let unseen = world.sent.len() - 1;
    let context = world.read(0);
    assert_eq!(world.values(0), ["1", "2", "3"]);
    let merged = world.write(2, &context, Some("1+2+3"));
    for message in (0..world.sent.len()).chain((0..world.sent.len()).rev()) {
        world.deliver(message, 2);
        world.check();
    }
    assert_eq!(world.values(2), ["1+2+3", "unseen"]);
    // The writer goes on with the context of its own write's answer.
    let dot = world.write(2, &after_write(&context, merged), Some("4"));
    world.deliver(unseen, 2);
    world.check();
    assert_eq!(world.values(2), ["4", "unseen"]);
    assert!(world.set(2).contains(dot) && world.set(2).is_covered(merged));
}

/// A11. The laws of merging for every three of the sets that a history with each kind of amnesia has led to.
#[test]
fn merge_laws_with_amnesia() {
    let mut world = World::new(3);
    let lapses: [fn(&mut World, usize); 4] =
        [|world, at| world.crash(at), |world, at| world.wipe(at), |world, at| world.forget(at), |_, _| {}];
    for (round, lapse) in lapses.iter().cycle().take(12).enumerate() {
        let at = round % 3;
        world.write_named(at, &Context::default(), Some("named"), Some(RequestKey(1)));
        let context = world.read((at + 1) % 3);
        world.write(at, &context, Some(&round.to_string()));
        world.deliver(world.sent.len() - 1, (at + 1) % 3);
        world.sync_disk((at + 2) % 3);
        lapse(&mut world, at);
        world.write(at, &Context::default(), None);
        world.check();
    }
    let sets: Vec<SiblingSet> = world.sent.iter().map(|knowledge| knowledge.set.clone()).step_by(2).collect();
    let merged = |one: &SiblingSet, other: &SiblingSet| {
        let mut merged = one.clone();
        merged.merge(other).expect("few spans");
        merged
    };
    for a in &sets {
        assert_eq!(&merged(a, a), a);
        for b in &sets {
            assert_eq!(merged(a, b), merged(b, a));
            for c in &sets {
                assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
            }
        }
    }
    world.converge();
    world.check();
    assert_eq!(world.set(0), world.set(1));
}
