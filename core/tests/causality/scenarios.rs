//! Schedules of crashes and amnesia that a plain version vector loses siblings by, and contexts that claim too much.

use quorate_core::causality::{DotSpan, Issuer, SiblingSet, Stamp, Version, VersionVector};
use quorate_core::id::ActorId;
use quorate_core::limits;

use crate::oracle::{Context, World};

fn deliver_to_all(world: &mut World) {
    for to in 0..world.replicas.len() {
        world.deliver(world.sent.len() - 1, to);
    }
}

/// The same, and then a client reads the new version at the forgetful coordinator alone and overwrites it. A plain version
/// vector would say that this client has seen everything that the coordinator ever wrote.
#[test]
fn an_overwrite_after_a_forgotten_key_spares_what_was_forgotten() {
    let mut world = World::new(2);
    world.write(0, &Context::default(), Some("old"));
    deliver_to_all(&mut world);
    world.forget(0);
    world.write(0, &Context::default(), Some("new"));
    let context = world.read(0);
    world.write(0, &context, Some("newer"));
    world.converge();
    world.check();
    assert_eq!(world.values(1), ["newer", "old"]);
}

/// A coordinator crashes after its write has reached the others and before its own disk has it.
#[test]
fn a_crash_before_the_disk_has_it_hides_no_sibling() {
    let mut world = World::new(3);
    world.write(0, &Context::default(), Some("first"));
    deliver_to_all(&mut world);
    world.sync_disk(0);
    let stale = world.read(0);
    world.write(0, &stale, Some("acknowledged by the other two"));
    world.deliver(world.sent.len() - 1, 1);
    world.deliver(world.sent.len() - 1, 2);
    world.crash(0);
    world.write(0, &stale, Some("after the crash"));
    let context = world.read(0);
    world.write(0, &context, Some("overwrite"));
    world.converge();
    world.check();
    assert_eq!(world.values(0), ["acknowledged by the other two", "overwrite"]);
}

/// A replica forgets a key, is refilled by a peer that has missed its last write, and goes on.
#[test]
fn a_stale_refill_is_not_taken_for_the_whole_history() {
    let mut world = World::new(3);
    world.write(0, &Context::default(), Some("seen by 1"));
    world.deliver(world.sent.len() - 1, 1);
    world.write(0, &Context::default(), Some("seen by 2"));
    world.deliver(world.sent.len() - 1, 2);
    world.forget(0);
    world.exchange(0, 1);
    let context = world.read(0);
    world.write(0, &context, Some("after"));
    let context = world.read(0);
    world.write(0, &context, Some("later"));
    world.converge();
    world.check();
    assert_eq!(world.values(0), ["later", "seen by 2"]);
}

/// A row falls back to an older state unnoticed, and the next writer has seen one of the two versions that it lost.
#[test]
fn a_writer_who_knows_more_than_the_store_spares_what_the_store_has_lost() {
    let mut world = World::new(3);
    world.write(0, &Context::default(), Some("kept"));
    world.sync_disk(0);
    world.write(0, &Context::default(), Some("seen by 1"));
    world.deliver(world.sent.len() - 1, 1);
    let context = world.read(1);
    world.write(0, &Context::default(), Some("seen by 2"));
    world.deliver(world.sent.len() - 1, 2);
    world.revert(0);
    world.write(0, &context, Some("after"));
    world.converge();
    world.check();
    assert_eq!(world.values(0), ["after", "seen by 2"]);
}

/// A tombstone reaches one replica only, the key is written again, and the tombstone arrives late.
#[test]
fn a_late_deletion_removes_only_what_its_writer_had_seen() {
    let mut world = World::new(3);
    world.write(0, &Context::default(), Some("old"));
    deliver_to_all(&mut world);
    let context = world.read(0);
    world.write(2, &context, None);
    let deletion = world.sent.len() - 1;
    world.write(0, &context, Some("again"));
    deliver_to_all(&mut world);
    world.deliver(deletion, 0);
    world.check();
    assert_eq!(world.values(0), ["again"]);
    assert_eq!(world.live_count(0), 2, "the deletion stays a sibling until somebody overwrites both");
}

/// A context covers what has not arrived yet; when it arrives it stays superseded.
#[test]
fn a_context_suppresses_what_comes_later() {
    let mut world = World::new(2);
    world.write(0, &Context::default(), Some("read at 0"));
    let late = world.sent.len() - 1;
    let context = world.read(0);
    world.write(1, &context, Some("written at 1"));
    assert_eq!(world.values(1), ["written at 1"]);
    world.deliver(late, 1);
    world.check();
    assert_eq!(world.values(1), ["written at 1"]);
}

fn version(number: u64) -> Version {
    Version { stamp: Stamp { wall_ms: number, logical: 0 }, value: None, request: None }
}

/// A context from nowhere covers all dots that an actor could ever issue.
#[test]
fn a_context_that_covers_dots_nobody_issued_harms_no_later_write() {
    let actor = ActorId(1);
    let mut issuer = Issuer::new(actor);
    issuer.extended(limits::DOT_LEASE);
    let mut set = SiblingSet::new();
    let mut context = VersionVector::new();
    context.cover(DotSpan { actor, after: 0, upto: limits::COUNTER_MAX });
    for number in 1..=3 {
        let mut context = context.clone();
        assert!(issuer.clamp(&mut context));
        let fresh = issuer.next(set.context().get(actor)).expect("leased");
        set.update(&context, fresh, version(number)).expect("not covered");
        let live: Vec<_> = set.live().map(|(dot, _)| dot.counter).collect();
        assert_eq!(live, [number], "it covers what was written before, and only that");
    }
}

/// A dot that is covered is refused and nothing changes; the floor in the error leads past it.
#[test]
fn a_covered_dot_is_refused_and_minted_again() {
    let actor = ActorId(1);
    let mut issuer = Issuer::new(actor);
    issuer.extended(limits::DOT_LEASE);
    let mut set = SiblingSet::new();
    let mut claim = VersionVector::new();
    claim.cover(DotSpan { actor, after: 0, upto: 40 });
    let fresh = issuer.next(0).expect("leased");
    let before = set.clone();
    let refused = set.update(&claim, fresh, version(1)).expect_err("covered");
    assert_eq!(set, before);
    assert_eq!(refused.to_string(), format!("dot {actor}:1 is already covered: the write needs one above 40"));
    set.update(&claim, issuer.next(40).expect("leased"), version(1)).expect("not covered");
    let again = set.update(&VersionVector::new(), fresh, version(2));
    assert!(again.is_err(), "a dot is used once");
}

/// One span an actor while nothing is lost, one more for each crash, and never more than the limit.
#[test]
fn clocks_grow_with_crashes_up_to_a_limit() {
    let actor = ActorId(1);
    let mut issuer = Issuer::new(actor);
    let mut set = SiblingSet::new();
    for crashes in 0..40 {
        issuer.extended(issuer.leased() + limits::DOT_LEASE);
        for _ in 0..5 {
            // Another key of the slice, and then this one.
            issuer.next(0).expect("leased");
            let fresh = issuer.next(0).expect("leased");
            let context = set.context().clone();
            set.update(&context, fresh, version(1)).expect("not covered");
        }
        assert_eq!(set.context().len(), (crashes + 1).min(limits::SPANS_PER_ACTOR_MAX));
        assert_eq!(set.len(), 1);
        issuer = Issuer::resume(actor, issuer.leased());
    }
}
