//! Events reach everybody, each once, in bounded time and messages; and what those get who come late.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use std::println;

use super::{SECOND, Stamp, World, event_name, name};
use crate::gossip::{GossipMessage, RefusedError};
use crate::limits;

#[test]
fn all_of_50_hear_an_event_once_though_a_quarter_is_lost() {
    let mut times: Vec<Duration> = Vec::new();
    for seed in 0..10 {
        let mut world = World::new(50, seed, 250_000);
        world.run(SECOND);
        let (place, before) = (usize::try_from(seed).expect("small"), world.sent);
        let stamp = world.fire(place, "version 7");
        let has = |world: &World, place| world.heard(place).any(|(heard, _)| *heard == stamp);
        let took = world.run_until(30 * SECOND, |world| (0..50).all(|place| has(world, place)));
        times.push(took.expect("heard by all"));
        world.run(30 * SECOND);
        world.assert_nothing_heard_twice();
        // 8 sends of each member, and every 5 s a comparison, of up to four messages where there is a difference.
        assert!(world.sent - before < 50 * (8 + 4 * 13), "{} messages", world.sent - before);
    }
    times.sort_unstable();
    println!("50 members, 25 % lost: heard by all after {:?}, median {:?}", times, times[times.len() / 2]);
    assert!(times[9] < 7 * SECOND && times[5] < SECOND, "{times:?}");
}

#[test]
fn an_event_is_sent_so_often_and_then_no_more() {
    let mut world = World::new(9, 1, 0);
    world.run(SECOND);
    world.fire(0, "once");
    world.run(4 * SECOND);
    let before = world.sent;
    world.run(25 * SECOND);
    assert!(world.sent - before <= 9 * 6, "only comparisons are left: {}", world.sent - before);
    assert_eq!((0..9).map(|place| world.heard(place).count()).collect::<Vec<_>>(), [1; 9]);
}

#[test]
fn whoever_tells_after_hearing_tells_later() {
    let mut world = World::new(12, 3, 100_000);
    let mut known: Vec<(Vec<Stamp>, Stamp)> = Vec::new();
    for round in 0..60 {
        world.run(Duration::from_millis(70));
        let place = round * 7 % 12;
        let heard = world.heard(place).map(|(stamp, _)| stamp.clone()).collect();
        known.push((heard, world.fire(place, &format!("round {round}"))));
    }
    world.run(60 * SECOND);
    for (before, stamp) in &known {
        assert!(before.iter().all(|earlier| earlier < stamp), "{stamp:?}");
    }
    let all: BTreeSet<_> = known.iter().map(|(_, stamp)| stamp.clone()).collect();
    for place in 0..12 {
        let remembered: Vec<_> = world.nodes[place].gossip.events().map(|event| event.stamp.clone()).collect();
        assert!(remembered.is_sorted() && remembered.iter().eq(&all), "everybody remembers them in one order");
        assert_eq!(world.heard(place).count(), 60);
    }
}

#[test]
fn who_comes_late_hears_what_is_remembered_and_nothing_older() {
    let mut world = World::new(5, 4, 0);
    world.run(SECOND);
    let mut all: Vec<Stamp> = Vec::new();
    for number in 0..700 {
        all.push(world.fire(number % 5, "x"));
        world.run(Duration::from_millis(50));
    }
    world.run(10 * SECOND);
    (0..5).for_each(|place| assert_eq!(world.heard(place).count(), 700, "n{place}"));
    all.sort();
    world.start(4, 5);
    world.run(SECOND);
    let mut heard: Vec<(Stamp, bool)> = world.heard(4).map(|(stamp, late)| (stamp.clone(), late)).collect();
    assert!(heard.iter().all(|(_, is_late)| *is_late));
    // It asked three members, and their messages overtook each other.
    heard.sort();
    let expected = &all[all.len() - limits::EVENTS_REMEMBERED..];
    assert!(heard.iter().map(|(stamp, _)| stamp).eq(expected), "{} events", heard.len());
    let stamp = world.fire(4, "after starting again");
    assert!(stamp > all[699], "its clock goes on where the others are");
    world.run(5 * SECOND);
    assert!((0..5).all(|place| world.heard(place).any(|(heard, is_late)| *heard == stamp && !is_late)));
    world.assert_nothing_heard_twice();
}

#[test]
fn who_was_cut_off_hears_the_rest_late_and_is_heard() {
    let mut world = World::new(8, 5, 0);
    world.run(SECOND);
    world.cut_off(7);
    let missed = world.fire(0, "while it was away");
    let unheard = world.fire(7, "into the void");
    world.run(20 * SECOND);
    assert_eq!(world.heard(7).count(), 1);
    world.cuts.clear();
    world.run(60 * SECOND);
    assert!(world.heard(7).any(|(stamp, is_late)| *stamp == missed && is_late));
    assert!((0..7).all(|place| world.heard(place).any(|(stamp, is_late)| *stamp == unheard && is_late)));
    world.assert_nothing_heard_twice();
}

#[test]
fn many_events_at_once_travel_in_bounded_messages() {
    let mut world = World::new(6, 6, 100_000);
    world.run(SECOND);
    let large = "v".repeat(limits::EVENT_BYTES_MAX);
    for number in 0..limits::EVENTS_UNSENT_MAX {
        world.fire(0, if number % 9 == 0 { &large } else { "small" });
    }
    let refused = world
        .call(0, |gossip, now, members, out| gossip.fire(now, event_name("deploy"), bytes::Bytes::new(), members, out));
    assert!(matches!(refused, Err(RefusedError::Busy { .. })), "{refused:?}");
    let bound = limits::EVENTS_LATE_BYTES_MAX + limits::EVENT_BYTES_MAX;
    while (0..6).any(|place| world.heard(place).count() < limits::EVENTS_UNSENT_MAX) {
        world.run(Duration::from_millis(10));
        assert!(world.now.as_ms() < 60_000, "heard by all in a minute");
        for (_, _, message) in world.in_flight.values() {
            let bytes = postcard::to_allocvec(message).expect("serializes").len();
            let is_told = matches!(message, GossipMessage::Events { is_late: false, .. });
            assert!(bytes <= if is_told { 2 * limits::EVENT_BYTES_MAX } else { bound }, "{bytes} bytes");
        }
    }
    world.assert_nothing_heard_twice();
}

#[test]
fn users_cannot_use_the_names_of_nodes_and_nodes_can() {
    let mut world = World::new(3, 7, 0);
    world.run(SECOND);
    let built_in = event_name("quorate.layout");
    let refused = world
        .call(0, |gossip, now, members, out| gossip.fire(now, built_in.clone(), bytes::Bytes::new(), members, out));
    assert_eq!(refused, Err(RefusedError::Reserved { name: built_in.clone() }));
    world
        .call(0, |gossip, now, members, out| gossip.announce(now, built_in, bytes::Bytes::new(), members, out))
        .expect("told");
    world.run(2 * SECOND);
    assert_eq!(world.heard(2).count(), 1);
}

#[test]
fn who_is_alone_keeps_quiet_and_whoever_comes_hears_what_was_said() {
    let mut world = World::new(1, 8, 0);
    world.fire(0, "hello");
    world.run(20 * SECOND);
    assert_eq!((world.sent, world.heard(0).count()), (0, 1));
    world.start(1, 2);
    world.run(5 * SECOND);
    assert_eq!(
        world.heard(1).map(|(stamp, late)| (stamp.origin.clone(), late)).collect::<Vec<_>>(),
        [(name("n0"), true)]
    );
}
