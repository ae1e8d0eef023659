//! The dead are found in time, and the living are left alone.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use std::println;

use super::harness::{SECOND, World, in_state, ms, name, record};
use crate::config::Timing;
use crate::id::NodeId;
use crate::membership::{ChangeKind, Claim, Effects, Membership, MembershipMessage, State, Why};
use crate::rng::Rng;
use crate::time::Time;

/// Kills the last node of a settled cluster after `phase` and says how long it took until all others listed it dead.
fn time_to_list_dead(count: usize, seed: u64, phase: Duration) -> Option<Duration> {
    let mut world = World::settled(count, seed);
    world.run(phase);
    world.kill(count - 1);
    world.run_until(100 * SECOND, |world| world.all_believe(count - 1, State::Dead))
}

#[test]
fn a_killed_node_of_three_is_listed_dead_within_eight_seconds() {
    // Every phase of the two other nodes' probe rounds, which repeat after two intervals.
    let times: Vec<Duration> = (0..30)
        .flat_map(|seed| (0..20).map(move |step| time_to_list_dead(3, seed, ms(step * 100))))
        .map(|time| time.expect("found in the end"))
        .collect();
    let worst = times.iter().max().expect("some");
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).expect("few");
    println!("killed one of 3, {} runs: listed dead by all after {mean:?} on average, {worst:?} at worst", times.len());
    // Two intervals until both others have probed it, one for the verdict, six of suspicion, and the way of the news.
    assert!(*worst < ms(6_000), "{worst:?}");
}

#[test]
fn survivors_of_larger_losses_are_not_kept_waiting() {
    // Killed at once; the suspects cannot confirm suspicions of each other, so nobody waits for them.
    for (count, killed, bound_s) in [(2, 1, 6), (3, 2, 7), (5, 2, 8), (5, 3, 8)] {
        let mut worst = Duration::ZERO;
        for seed in 0..20 {
            let mut world = World::settled(count, seed);
            (count - killed..count).for_each(|place| world.kill(place));
            let dead = |world: &World| (count - killed..count).all(|place| world.all_believe(place, State::Dead));
            let time = world.run_until(100 * SECOND, dead).expect("found in the end");
            worst = worst.max(time);
        }
        println!("{killed} of {count} killed at once: listed dead by all survivors after {worst:?} at worst");
        assert!(worst < bound_s * SECOND, "{killed} of {count}: {worst:?}");
    }
}

#[test]
fn somebody_suspects_the_dead_soon_and_never_later_than_the_round_robin_bound() {
    const COUNT: usize = 20;
    let mut first: Vec<Duration> = Vec::new();
    for seed in 0..20 {
        let mut world = World::settled(COUNT, seed);
        world.kill(0);
        let suspected = |world: &World| world.changes_of(ChangeKind::Suspected).next().is_some();
        first.push(world.run_until(100 * SECOND, suspected).expect("found in the end"));
        // Every single prober keeps its own bound: within 2n - 1 periods, and one for the verdict, all have noticed.
        let all = world.run_until(40 * SECOND, |world| world.all_believe(0, State::Dead));
        assert!(all.is_some(), "seed {seed}");
    }
    let mean = first.iter().sum::<Duration>() / u32::try_from(first.len()).expect("few");
    let worst = first.iter().max().expect("some");
    println!("killed one of {COUNT}: first suspicion after {mean:?} on average, {worst:?} at worst");
    // 1.58 periods are expected until the first probe, and one is needed for its verdict.
    assert!(mean < ms(3_500), "{mean:?}");
    assert!(*worst <= 39 * SECOND, "{worst:?}");
}

#[test]
fn a_lossy_cluster_in_good_health_buries_nobody() {
    for (seed, lost_percent) in [(0, 20), (1, 20), (2, 30), (3, 30)] {
        let mut world = World::settled(20, seed);
        world.loss = lost_percent * 10_000;
        world.run(600 * SECOND);
        let suspected = world.changes_of(ChangeKind::Suspected).count();
        assert!(suspected > 0, "{lost_percent} % of all messages lost must raise some suspicion");
        let dead: Vec<_> = world.changes_of(ChangeKind::Died).collect();
        assert!(dead.is_empty(), "{lost_percent} % lost, seed {seed}: {dead:?}");
    }
}

#[test]
fn a_quiet_cluster_suspects_nobody_and_says_little() {
    let mut world = World::settled(20, 5);
    world.run(60 * SECOND);
    world.messages_sent = 0;
    world.run(60 * SECOND);
    assert_eq!(world.changes, []);
    assert!(world.running().all(|place| world.membership(place).rumors().count() == 0));
    // A ping and an answer of each node in every interval, and the comparison of lists: of one number where nothing differs.
    assert!(world.messages_sent <= 20 * (100 * 2 + 2 + 2), "{} messages", world.messages_sent);
}

#[test]
fn others_can_vouch_over_a_one_way_cut() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut world = World::settled(4, 9);
        world.cut(from, to);
        world.run(120 * SECOND);
        assert_eq!(world.changes_of(ChangeKind::Suspected).count(), 0, "{from} to {to}: {:?}", world.changes);
    }
}

#[test]
fn where_nobody_can_vouch_a_cut_off_node_is_found() {
    let mut world = World::settled(4, 9);
    world.partition(1);
    let found = world.run_until(30 * SECOND, |world| {
        (1..4).all(|observer| world.state(observer, 0) == Some(State::Dead))
            && (1..4).all(|of| world.state(0, of) == Some(State::Dead))
    });
    assert!(found.is_some());
}

#[test]
fn a_paused_node_refutes_when_it_goes_on_and_accuses_nobody() {
    for (seed, pause_s) in [(1, 3), (2, 6), (3, 20), (4, 60)] {
        let mut world = World::settled(5, seed);
        world.pause(2);
        world.run(pause_s * SECOND);
        if pause_s >= 20 {
            assert!(
                [0, 1, 3, 4].iter().all(|&observer| world.state(observer, 2) == Some(State::Dead)),
                "paused for {pause_s} s"
            );
        }
        world.resume(2);
        let back = world.run_until(5 * SECOND, World::all_agree_alive);
        assert!(back.is_some(), "seed {seed}");
        world.run(30 * SECOND);
        let paused = &world.processes[2].node;
        let wrongly: Vec<_> = world.changes.iter().filter(|(_, _, change)| change.by == *paused).collect();
        let accused = |change: &ChangeKind| matches!(change, ChangeKind::Suspected | ChangeKind::Died);
        assert!(!wrongly.iter().any(|(_, _, change)| accused(&change.kind)), "{wrongly:?}");
    }
}

#[test]
fn a_failed_request_is_a_reason_to_probe_at_once() {
    let mut world = World::settled(10, 4);
    world.kill(7);
    world.run(ms(1_200));
    let node = world.processes[7].node.clone();
    let before = world.messages_sent;
    world.call(0, |membership, now, out| membership.note_failure(now, &node, out));
    let suspected = world.run_until(ms(1_100), |world| world.state(0, 7) == Some(State::Suspect));
    assert!(suspected.is_some());
    assert!(world.messages_sent > before);
    // A member that is known to answer is not bothered.
    let (mut world, mut asked) = (World::settled(3, 4), Vec::new());
    let node = world.processes[1].node.clone();
    let heard = |world: &World| {
        let seen = world.membership(0).member(&node).and_then(|known| known.last_seen);
        seen.is_some_and(|seen| world.now.since(seen) < ms(100))
    };
    assert!(world.run_until(5 * SECOND, heard).is_some());
    for _ in 0..100 {
        world.call(0, |membership, now, out| {
            membership.note_failure(now, &node, out);
            asked.append(&mut out.sends);
        });
    }
    assert_eq!(asked, []);
}

#[test]
fn a_death_can_be_explained() {
    let mut world = World::settled(5, 3);
    world.kill(4);
    assert!(world.run_until(30 * SECOND, |world| world.all_believe(4, State::Dead)).is_some());
    let first = |kind| world.changes_of(kind).next().expect("happened").2.clone();
    let suspected = first(ChangeKind::Suspected);
    assert!(matches!(suspected.why, Why::ProbeTimeout { helpers: 3, nacks: 3 }), "{suspected:?}");
    let died = first(ChangeKind::Died);
    let Why::SuspicionTimeout { accusers, waited } = &died.why else { panic!("{died:?}") };
    assert_eq!(accusers.len(), 3, "the first accuser and two that confirm");
    assert_eq!(accusers.first(), Some(&suspected.by));
    let shortest = world.membership(0).suspicion_timeout();
    assert!(*waited >= shortest && *waited < 6 * shortest, "{waited:?}");
    let told = world.changes_of(ChangeKind::Died).any(|(_, _, change)| matches!(change.why, Why::Told { .. }));
    assert!(told, "and those who did not find out themselves say who told them");
    for (at, observer, _) in world.changes_of(ChangeKind::Died) {
        let observer = world.membership(world.place(observer).expect("a process"));
        let known = observer.member(&died.node).expect("kept");
        assert_eq!((known.since, known.member.state), (*at, State::Dead));
        assert!(known.last_seen.is_some_and(|seen| seen < *at));
    }
}

#[test]
fn a_returner_is_watched_again() {
    let mut world = World::settled(3, 7);
    for _ in 0..3 {
        world.kill(1);
        assert!(world.run_until(8 * SECOND, |world| world.all_believe(1, State::Dead)).is_some());
        world.run(30 * SECOND);
        world.start(1);
        assert!(world.run_until(3 * SECOND, World::all_agree_alive).is_some());
        world.run(30 * SECOND);
    }
}

/// A membership that is alone with one remembered member, which never answers, and has just suspected it.
fn suspecting() -> (Membership, Time) {
    let remembered = alloc::vec![record(&name("x"), 1)];
    let mut membership = Membership::new(record(&name("me"), 1), Timing::default(), Rng::labelled(1, "x"), remembered);
    while membership.counts().suspect == 0 {
        let now = membership.next_wake().expect("running");
        assert!(now < Time::from_ms(3_000));
        membership.on_timer(now, &mut Effects::default());
    }
    let now = membership.next_wake().expect("running");
    (membership, now)
}

#[test]
fn time_in_which_a_node_stood_still_is_not_held_against_a_suspect() {
    let (mut membership, mut now) = suspecting();
    let shortest = membership.suspicion_timeout();
    now = now + 100 * SECOND;
    membership.on_timer(now, &mut Effects::default());
    assert_eq!(membership.counts().suspect, 1, "it had no chance to be heard");
    let resumed = now;
    while membership.counts().dead == 0 {
        now = membership.next_wake().expect("running");
        membership.on_timer(now, &mut Effects::default());
    }
    let waited = now.since(resumed);
    assert!(waited > shortest / 2 && waited <= shortest, "{waited:?}");
}

/// Runs one membership until `end`, with every member but `silent` answering its pings and nothing else.
fn run_answered(membership: &mut Membership, silent: Option<&NodeId>, end: Time) {
    while let Some(now) = membership.next_wake().filter(|now| *now < end) {
        let mut out = Effects::default();
        membership.on_timer(now, &mut out);
        for (to, message) in out.sends.into_iter().filter(|(to, _)| Some(to) != silent) {
            if let MembershipMessage::Ping { sequence, .. } = message {
                let answer = MembershipMessage::Ack { sequence, claims: Vec::new() };
                membership.handle(now, &to, answer, &mut Effects::default()).expect("keeps the rules");
            }
        }
    }
}

#[test]
fn nobody_buries_whom_it_has_not_asked_itself() {
    let x = name("x");
    for seed in 0..8 {
        let mut known: Vec<_> = (0..20).map(|number| record(&name(&format!("n{number}")), 1)).collect();
        known.push(record(&x, 1));
        let mut membership =
            Membership::new(record(&name("me"), 1), Timing::default(), Rng::labelled(seed, "x"), known);
        for accuser in ["n1", "n2", "n3"].map(name) {
            let accusation = Claim { member: in_state(&x, 1, State::Suspect).into(), by: accuser.clone() };
            let message = MembershipMessage::Gossip { claims: alloc::vec![accusation] };
            membership.handle(Time::ZERO, &accuser, message, &mut Effects::default()).expect("keeps the rules");
        }
        // Its time is over long before its turn comes. It answers, but the refutation never comes: suspected, and alive.
        run_answered(&mut membership, None, Time::from_ms(60_000));
        assert_eq!((membership.counts().suspect, membership.counts().dead), (1, 0), "seed {seed}");
        // It stops answering: that is another matter.
        run_answered(&mut membership, Some(&x), Time::from_ms(120_000));
        assert_eq!((membership.counts().suspect, membership.counts().dead), (0, 1), "seed {seed}");
    }
}
