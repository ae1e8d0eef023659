//! What local health is good for: members that stall now and then accuse far fewer of the healthy.

use core::time::Duration;
use std::println;

use super::harness::{SECOND, World, ms};
use crate::membership::ChangeKind;

const COUNT: usize = 40;
const STALLED: usize = 4;

/// Deaths of healthy members in the eyes of healthy members, in five minutes in which the input and output of a few others
/// stand still again and again.
fn false_deaths(seed: u64, local_health: bool, confirmations: bool, stall: Duration, run: Duration) -> usize {
    let mut world = World::settled(COUNT, seed);
    for process in &mut world.processes {
        let membership = process.membership.as_mut().expect("running");
        membership.health.ignored = !local_health;
        membership.fixed_suspicion = !confirmations;
    }
    let end = world.now + 300 * SECOND;
    while world.now < end {
        (0..STALLED).for_each(|place| world.block(place));
        world.run(stall);
        (0..STALLED).for_each(|place| world.unblock(place));
        world.run(run);
    }
    let healthy = |node| world.place(node).is_some_and(|place| place >= STALLED);
    let deaths = world.changes_of(ChangeKind::Died);
    deaths.filter(|(_, observer, change)| healthy(observer) && healthy(&change.node)).count()
}

#[test]
fn h1_stalled_members_bury_far_fewer_of_the_healthy_with_lifeguard() {
    // Stalls as an overloaded machine has them: long ones, with short whiles in between in which a little gets done.
    let stalls = [(ms(8_192), ms(64)), (ms(16_384), ms(256)), (ms(32_768), ms(1_024))];
    let total = |local_health, confirmations| -> usize {
        let runs = (1..).zip(stalls);
        runs.map(|(seed, (stall, run))| false_deaths(seed, local_health, confirmations, stall, run)).sum()
    };
    let neither = total(false, false);
    let health_alone = total(true, false);
    let lifeguard = total(true, true);
    println!(
        "{STALLED} of {COUNT} members stall: healthy ones are listed dead by healthy ones {neither} times without local health and confirmations, \
         {health_alone} times with local health alone, {lifeguard} times with all of Lifeguard"
    );
    assert!(neither >= 500, "the stalls must hurt: {neither}");
    assert!(health_alone * 3 <= neither, "{health_alone} with local health, {neither} without");
    assert!(lifeguard * 50 <= neither, "{lifeguard} with Lifeguard, {neither} without");
}

#[test]
fn a_member_that_stalls_doubts_itself_and_recovers() {
    let mut world = World::settled(10, 1);
    for _ in 0..5 {
        world.pause(3);
        world.run(3 * SECOND);
        world.resume(3);
        world.run(ms(100));
    }
    assert!(world.membership(3).local_health() >= 3, "{}", world.membership(3).local_health());
    let well = world.run_until(120 * SECOND, |world| world.membership(3).local_health() == 0);
    assert!(well.is_some());
}

#[test]
fn a_dead_member_is_no_evidence_against_those_who_find_it() {
    let mut world = World::settled(3, 1);
    world.kill(2);
    world.run(20 * SECOND);
    assert!([0, 1].iter().all(|&place| world.membership(place).local_health() == 0));
}
