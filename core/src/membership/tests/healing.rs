//! Whoever comes back is found, without an operator.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use std::println;

use super::harness::{SECOND, World, in_state, ms, name, record, wire_bytes};
use crate::config::Timing;
use crate::membership::{ChangeKind, Effects, Member, Membership, MembershipMessage, SYNC_MEMBERS_MAX, State, Why};
use crate::rng::Rng;
use crate::time::Time;

#[test]
fn halves_find_each_other_after_a_partition() {
    for (count, side, bound_s) in [(2, 1, 5), (3, 1, 5), (5, 2, 5), (10, 5, 5), (40, 20, 5)] {
        let mut world = World::settled(count, 11);
        world.partition(side);
        let apart = |world: &World| {
            (0..count).all(|one| {
                (0..count).all(|other| {
                    let expected = if (one < side) == (other < side) { State::Alive } else { State::Dead };
                    world.state(one, other) == Some(expected)
                })
            })
        };
        assert!(world.run_until(240 * SECOND, apart).is_some(), "{count}: both sides see the other side dead");
        world.run(60 * SECOND);
        world.changes.clear();
        world.heal();
        let healed = world.run_until(bound_s * SECOND, World::all_agree_alive);
        println!("{count} nodes, {side} cut off, healed after {healed:?}");
        assert!(healed.is_some(), "{count} nodes, {side} cut off: not within {bound_s} s");
        world.run(30 * SECOND);
        let died = world.changes_of(ChangeKind::Died).count();
        assert_eq!(died, 0, "{count} nodes: nobody is buried over old news");
        assert!(world.all_agree_alive());
    }
}

#[test]
fn a_killed_node_is_back_soon_after_it_starts_with_any_seed() {
    for down_s in [1, 30] {
        for seed in 0..3 {
            let mut world = World::settled(3, 20 + u64::try_from(seed).expect("small"));
            let returner = 1;
            world.kill(returner);
            world.run(down_s * SECOND);
            world.start(returner);
            if seed != returner {
                world.join(returner, seed);
            }
            let back = world.run_until(3 * SECOND, World::all_agree_alive);
            assert!(back.is_some(), "down for {down_s} s, seed {seed}");
            world.run(20 * SECOND);
            assert!(world.all_agree_alive(), "and stays so");
        }
    }
}

#[test]
fn all_killed_and_started_again_find_each_other_from_their_disks() {
    let orders: [[usize; 3]; 3] = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
    for (gap_s, order) in [0, 1, 20].iter().flat_map(|gap| orders.iter().map(move |order| (*gap, order))) {
        let mut world = World::settled(3, 5);
        for &place in order {
            world.kill(place);
            world.run(gap_s * SECOND);
        }
        world.run(5 * SECOND);
        for &place in order {
            world.start(place);
            world.run(gap_s * SECOND);
        }
        let back = world.run_until(5 * SECOND, World::all_agree_alive);
        assert!(back.is_some(), "{gap_s} s apart, in the order {order:?}");
    }
}

#[test]
fn a_lone_survivor_finds_those_who_have_forgotten_everything() {
    let mut world = World::settled(4, 8);
    (1..4).for_each(|place| world.kill(place));
    world.run(60 * SECOND);
    for place in 1..4 {
        world.processes[place].disk.members.clear();
        world.start(place);
    }
    // One of them at once, while the survivor has nobody else to ask; the others in its exchanges with the dead.
    assert!(world.run_until(5 * SECOND, |world| world.membership(0).counts().alive >= 2).is_some());
    assert!(world.run_until(180 * SECOND, World::all_agree_alive).is_some());
}

#[test]
fn a_node_restored_from_an_old_copy_rises_above_what_is_remembered_of_it() {
    let mut world = World::settled(3, 6);
    let old = world.processes[1].disk.clone();
    for _ in 0..3 {
        world.kill(1);
        world.run(10 * SECOND);
        world.start(1);
        assert!(world.run_until(5 * SECOND, World::all_agree_alive).is_some());
    }
    let remembered = world.membership(1).me().incarnation;
    world.kill(1);
    world.processes[1].disk = old;
    world.start(1);
    assert!(world.membership(1).me().incarnation < remembered);
    assert!(world.run_until(5 * SECOND, World::all_agree_alive).is_some());
    assert!(world.membership(1).me().incarnation > remembered);
    let refuted = world.changes_of(ChangeKind::Refuted).last().expect("it had to say so");
    assert!(matches!(refuted.2.why, Why::OtherLife { .. } | Why::Accused { .. }), "{refuted:?}");
}

#[test]
fn a_tidy_stop_is_known_at_once_and_a_return_too() {
    for count in [2, 3, 20] {
        let mut world = World::settled(count, 2);
        let node = world.processes[0].node.clone();
        world.stop(0);
        let known = world.run_until(ms(100), |world| world.all_believe(0, State::Dead));
        assert!(known.is_some(), "{count} nodes");
        assert!(world.running().all(|place| world.membership(place).member(&node).expect("kept").member.stopped));
        let whys: BTreeSet<_> =
            world.changes_of(ChangeKind::Died).map(|(_, _, change)| format!("{:?}", change.why)).collect();
        assert_eq!(whys, BTreeSet::from([format!("{:?}", Why::Stopped)]));
        world.run(20 * SECOND);
        world.start(0);
        assert!(world.run_until(3 * SECOND, World::all_agree_alive).is_some(), "{count} nodes");
        assert!(world.running().all(|place| !world.membership(place).member(&node).expect("kept").member.stopped));
    }
}

#[test]
fn who_has_left_stays_away_until_it_comes_back_by_itself_and_is_forgotten_in_the_end() {
    let mut world = World::settled(4, 3);
    world.call(3, Membership::leave);
    world.kill(3);
    assert!(world.run_until(ms(100), |world| world.all_believe(3, State::Left)).is_some());
    world.run(120 * SECOND);
    assert!(world.all_believe(3, State::Left));
    world.add();
    assert!(world.run_until(5 * SECOND, |world| world.state(4, 0).is_some()).is_some());
    assert_eq!(world.state(4, 3), None, "a newcomer does not hear of it");
    world.start(3);
    assert!(world.run_until(3 * SECOND, World::all_agree_alive).is_some());
    world.call(3, Membership::leave);
    world.kill(3);
    world.run(ms(500));
    // A day later, with a round of exchanges.
    world.now = world.now + 24 * 60 * 60 * SECOND;
    world.run(60 * SECOND);
    assert!(world.running().all(|place| world.state(place, 3).is_none()));
}

#[test]
fn members_that_have_forgotten_each_other_meet_again_by_a_ping() {
    let mut world = World::settled(2, 4);
    // The second forgets the first, which goes on probing it.
    let disk_without_members =
        super::harness::Disk { incarnation: world.processes[1].disk.incarnation, ..Default::default() };
    world.kill(1);
    world.processes[1].disk = disk_without_members;
    world.start(1);
    assert_eq!(world.state(1, 0), None);
    assert!(world.run_until(5 * SECOND, World::all_agree_alive).is_some());
}

/// Two nodes that remember different members, and what they say to each other until they agree.
fn exchange(one: Vec<Member>, other: Vec<Member>) -> (Membership, Membership, Vec<MembershipMessage>) {
    let now = Time::from_ms(1);
    let names = [name("a"), name("b")];
    let start =
        |node, remembered| Membership::new(record(node, 1), Timing::default(), Rng::labelled(1, "sync"), remembered);
    let mut nodes = [start(&names[0], one), start(&names[1], other)];
    let mut out = Effects::default();
    nodes.iter_mut().for_each(|node| node.on_timer(now, &mut out));
    let mut out = Effects::default();
    nodes[0].send_digests(&names[1], &mut out);
    let mut said = Vec::new();
    let mut turn = 1;
    while !out.sends.is_empty() {
        let mut answers = Effects::default();
        for (_, message) in out.sends.into_iter().filter(|(to, _)| *to == names[turn]) {
            said.push(message.clone());
            nodes[turn].handle(now, &names[1 - turn], message, &mut answers).expect("keeps the rules");
        }
        (out, turn) = (answers, 1 - turn);
        assert!(said.len() < 100, "an exchange comes to an end");
    }
    let [one, other] = nodes;
    (one, other, said)
}

#[test]
fn only_what_differs_travels() {
    let known = |numbers: core::ops::Range<u64>| -> Vec<Member> {
        numbers.map(|number| record(&name(&format!("m{number:03}")), 1)).collect()
    };
    let mut newer = known(0..50);
    newer[7] = record(&name("m007"), 5);
    newer.push(record(&name("new"), 1));
    let (_, other, said) = exchange(newer, known(0..50));
    assert_eq!(other.member(&name("m007")).expect("known").member.incarnation, 5);
    assert!(other.member(&name("new")).is_some());
    let records: Vec<&str> =
        said.iter().flat_map(MembershipMessage::claims).map(|claim| claim.member.node.as_str()).collect();
    assert_eq!(records, ["b", "m007", "new"], "the other's own record, and what it lacked");
    let bytes: usize = said.iter().map(wire_bytes).sum();
    assert!(bytes < 1_500, "{bytes} bytes for 52 members");
}

#[test]
fn long_lists_go_in_several_messages_and_meet() {
    let list = |letter: char, count: u64| -> Vec<Member> {
        let tags = (0..10).map(|tag| (format!("tag-{tag}"), "x".repeat(100))).collect();
        let heavy = |number| Member { tags, ..record(&name(&format!("{letter}{number:03}")), 1) };
        core::iter::once(heavy(0))
            .chain((1..count).map(|number| record(&name(&format!("{letter}{number:03}")), 1)))
            .collect()
    };
    let (one, other, said) = exchange(list('c', 400), list('z', 450));
    assert_eq!(one.members().count(), 852);
    assert_eq!(other.members().count(), 852);
    assert!(said.iter().all(|message| message.claims().len() <= SYNC_MEMBERS_MAX));
    said.iter().for_each(|message| assert!(wire_bytes(message) < 100_000));
}

#[test]
fn a_death_from_a_list_is_brought_before_an_accused_that_is_heard() {
    let mut out = Effects::default();
    let (accuser, accused) = (name("accuser"), name("accused"));
    let now = Time::from_ms(5);
    let mut node =
        Membership::new(record(&name("me"), 1), Timing::default(), Rng::labelled(2, "list"), Vec::<Member>::new());
    node.absorb(now, &accuser, alloc::vec![record(&accuser, 1), record(&accused, 3)], &mut out);
    let dead = in_state(&accused, 3, State::Dead);
    // Heard of, but never heard: the list is believed.
    let mut unheard = node.clone();
    unheard.absorb(now, &accuser, alloc::vec![dead.clone()], &mut out);
    assert_eq!(unheard.member(&accused).expect("known").member.state, State::Dead);
    // Heard: asked to answer.
    node.handle(now, &accused, MembershipMessage::Gossip { claims: Vec::new() }, &mut out).expect("keeps the rules");
    let mut out = Effects::default();
    node.absorb(now, &accuser, alloc::vec![dead.clone()], &mut out);
    assert_eq!(node.member(&accused).expect("known").member.state, State::Alive);
    assert_eq!(out.changes, []);
    let told = out
        .sends
        .iter()
        .any(|(to, message)| *to == accused && message.claims().iter().any(|claim| *claim.member == dead));
    assert!(told, "{:?}", out.sends);
}
