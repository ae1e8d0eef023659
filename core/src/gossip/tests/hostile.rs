//! Members that do not keep the rules: what they send is refused, or bounded in what it does.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{SECOND, World, event_name, name};
use crate::gossip::{
    Effects, GossipError, GossipMessage, Heard, Question, QuestionId, Reply, Stamp, Summary, UserEvent,
};
use crate::limits;

fn stamp(time: u64, id: u64) -> Stamp {
    Stamp { time, origin: name("n1"), id }
}

fn event(time: u64, bytes: usize) -> UserEvent {
    UserEvent { stamp: stamp(time, 1), name: event_name("x"), payload: Bytes::from(alloc::vec![0; bytes]) }
}

fn told(events: Vec<UserEvent>) -> GossipMessage {
    GossipMessage::Events { events, is_late: false }
}

fn question(id: u64, timeout_ms: u32) -> GossipMessage {
    GossipMessage::Question(Question { id: QuestionId(id), name: event_name("x"), payload: Bytes::new(), timeout_ms })
}

/// What the first node does with a message from the second.
fn handle(world: &mut World, message: GossipMessage) -> (Result<(), GossipError>, Effects) {
    let mut out = Effects::default();
    let (now, node) = (world.now, &mut world.nodes[0]);
    let handled = node.gossip.handle(now, &name("n1"), message, &node.members, &mut out);
    (handled, out)
}

#[test]
fn messages_out_of_bounds_are_dropped_whole() {
    let long = u32::try_from(limits::TIMEOUT_MAX.as_millis()).expect("short") + 1;
    let too_long = Bytes::from(alloc::vec![0; limits::EVENT_BYTES_MAX + 1]);
    let many = u64::try_from(limits::EVENTS_REMEMBERED).expect("few") + 1;
    for message in [
        told(alloc::vec![event(1, limits::EVENT_BYTES_MAX + 1)]),
        told((0..65).map(|time| event(time, 0)).collect()),
        told(alloc::vec![event(2, 0), event(1, 0)]),
        told(alloc::vec![event(1, 0), event(1, 0)]),
        told(alloc::vec![event(1, 0), event(u64::MAX, 0)]),
        GossipMessage::Summary { clock: u64::MAX, summary: Summary { count: 0, sum: 0 } },
        GossipMessage::Have { clock: 1, stamps: (0..many).map(|time| stamp(time, 1)).collect() },
        GossipMessage::Want { stamps: alloc::vec![stamp(2, 1), stamp(1, 1)] },
        question(1, 0),
        question(1, long),
        GossipMessage::Reply { id: QuestionId(1), reply: Reply::Answer(too_long) },
    ] {
        let mut world = World::new(3, 1, 0);
        let (handled, out) = handle(&mut world, message.clone());
        assert!(handled.is_err() && out == Effects::default(), "{message:?}");
        assert_eq!(world.nodes[0].gossip.events().count(), 0);
    }
    let mut world = World::new(3, 1, 0);
    let (now, node, mut out) = (world.now, &mut world.nodes[0], Effects::default());
    let own = node.gossip.handle(now, &name("n0"), told(Vec::new()), &node.members, &mut out);
    assert_eq!(own, Err(GossipError::OwnName));
    let nameless = postcard::to_allocvec(&(0_u8, alloc::vec![(stamp(1, 1), "", Bytes::new())], false));
    assert!(postcard::from_bytes::<GossipMessage>(&nameless.expect("serializes")).is_err(), "an event has a name");
}

#[test]
fn one_message_cannot_push_the_clock_to_its_end() {
    let mut world = World::new(3, 1, 0);
    let (handled, out) = handle(&mut world, told(alloc::vec![event(1 << 62, 0)]));
    assert_eq!((handled, out.heard.len()), (Ok(()), 0), "passed over");
    assert!(world.fire(0, "x").time < 2_000);
}

#[test]
fn a_flood_is_remembered_within_bounds_and_told_within_bounds() {
    let mut world = World::new(3, 1, 0);
    world.run(SECOND);
    let mut sent = 0;
    for batch in 0..100 {
        let events = (0..64).map(|number| event(2_000 + batch * 64 + number, 100)).collect();
        let (handled, out) = handle(&mut world, told(events));
        assert_eq!((handled, out.heard.len()), (Ok(()), 64));
        sent += out.sends.len();
    }
    assert_eq!(world.nodes[0].gossip.events().count(), limits::EVENTS_REMEMBERED);
    assert!(sent <= 3, "one round at a time: {sent}");
    let (_, out) = handle(&mut world, told(alloc::vec![event(2_000, 100)]));
    assert_eq!(out.heard, [], "what was forgotten was heard");
}

#[test]
fn a_small_request_gets_no_unbounded_answer() {
    let mut world = World::new(3, 1, 0);
    for time in 0..limits::EVENTS_REMEMBERED {
        let time = u64::try_from(time).expect("small");
        let (handled, _) = handle(&mut world, told(alloc::vec![event(2_000 + time, limits::EVENT_BYTES_MAX)]));
        assert_eq!(handled, Ok(()));
    }
    let stamps = world.nodes[0].gossip.events().map(|event| event.stamp.clone()).collect();
    for message in [GossipMessage::Want { stamps }, GossipMessage::Have { clock: 1, stamps: Vec::new() }] {
        let (_, out) = handle(&mut world, message);
        let bytes: usize = out.sends.iter().map(|(_, m)| postcard::to_allocvec(m).expect("serializes").len()).sum();
        assert!(bytes <= limits::EVENTS_COMPARED_BYTES_MAX && bytes > limits::EVENTS_COMPARED_BYTES_MAX / 2, "{bytes}");
    }
}

#[test]
fn one_asker_cannot_keep_the_others_from_being_heard() {
    let mut world = World::new(3, 1, 0);
    let put = |out: &Effects| out.heard.iter().filter(|heard| matches!(heard, Heard::Question { .. })).count();
    let heard: usize = (0..1_000).map(|id| put(&handle(&mut world, question(id, 60_000)).1)).sum();
    assert_eq!(heard, limits::QUESTIONS_MAX);
    let (now, node, mut out) = (world.now, &mut world.nodes[0], Effects::default());
    node.gossip.handle(now, &name("n2"), question(1, 60_000), &node.members, &mut out).expect("fine");
    assert_eq!(put(&out), 1);
}

#[test]
fn answers_that_nobody_asked_for_are_nothing() {
    let mut world = World::new(3, 1, 0);
    let reply = Reply::Answer(Bytes::from_static(b"42"));
    let (handled, out) = handle(&mut world, GossipMessage::Reply { id: QuestionId(1), reply });
    assert_eq!((handled, out), (Ok(()), Effects::default()));
}
