//! News reaches everybody in about a logarithm of rounds, in bounded messages, and then is no longer told.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use std::println;

use super::harness::{SECOND, World, ms, name, record};
use crate::membership::message::Claim;
use crate::membership::rumor::{Rumors, sends_max};
use crate::membership::{Member, PIGGYBACK_BYTES_MAX, PIGGYBACK_CLAIMS_MAX};

#[test]
fn news_reaches_all_in_about_a_logarithm_of_rounds() {
    // The epidemic formula gives 9 rounds for 30 members and 10 for 100 until 99.99 % have heard.
    for (count, rounds) in [(30, 9), (100, 10)] {
        let mut times: Vec<Duration> = Vec::new();
        for seed in 0..5 {
            let mut world = World::settled(count, seed);
            let news = record(&name("newcomer"), 1);
            world.call(0, |membership, now, out| membership.absorb(now, &news.node, alloc::vec![news.clone()], out));
            let heard = |world: &World| {
                world.running().all(|place| world.membership(place).member(&name("newcomer")).is_some())
            };
            times.push(world.run_until(10 * SECOND, heard).expect("heard by all"));
        }
        let mean = times.iter().sum::<Duration>() / 5;
        let worst = times.iter().max().expect("some");
        println!("{count} members: news at all after {mean:?} on average, {worst:?} at worst");
        assert!(*worst <= rounds * ms(200) + ms(400), "{count} members: {worst:?}");
    }
}

#[test]
fn a_rumour_is_sent_so_often_and_then_forgotten() {
    for (members, sends) in [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1_000, 16)] {
        assert_eq!(sends_max(4, members), sends, "{members} members");
    }
    let mut rumors = Rumors::default();
    rumors.add(Claim::own(record(&name("x"), 1)));
    let receiver = name("receiver");
    for sent in 0..4 {
        assert_eq!(rumors.iter().next().expect("still told").sent, sent);
        assert_eq!(rumors.take(&receiver, 4).len(), 1);
    }
    assert!(rumors.is_empty());
}

#[test]
fn the_least_told_goes_first_and_newer_news_replaces_older() {
    let mut rumors = Rumors::default();
    for number in 0..30 {
        rumors.add(Claim::own(record(&name(&format!("x{number:02}")), 1)));
    }
    let receiver = name("receiver");
    let first = rumors.take(&receiver, 8);
    assert_eq!(first.len(), PIGGYBACK_CLAIMS_MAX);
    let second = rumors.take(&receiver, 8);
    assert!(second.iter().filter(|claim| !first.contains(claim)).count() == 14, "those that had no place before");
    rumors.add(Claim::own(record(&name("x05"), 2)));
    let third = rumors.take(&receiver, 8);
    assert_eq!(third[0].member.incarnation, 2);
    assert_eq!(rumors.iter().filter(|rumor| rumor.claim.member.node == name("x05")).count(), 1);
}

#[test]
fn messages_stay_small_and_the_largest_record_still_travels() {
    let tags: BTreeMap<_, _> = (0..16).map(|tag| (format!("{tag:0>128}"), "v".repeat(128))).collect();
    let mut rumors = Rumors::default();
    for number in 0..5 {
        rumors.add(Claim::own(Member { tags: tags.clone(), ..record(&name(&format!("x{number}")), 1) }));
    }
    let mut travelled = 0;
    while !rumors.is_empty() {
        let claims = rumors.take(&name("receiver"), 1);
        let bytes = postcard::to_allocvec(&claims).expect("serializes").len();
        assert!(!claims.is_empty() && bytes <= PIGGYBACK_BYTES_MAX, "{} claims, {bytes} bytes", claims.len());
        travelled += claims.len();
    }
    assert_eq!(travelled, 5);
}

#[test]
fn the_estimate_of_a_size_is_an_upper_bound() {
    let long = name(&"n".repeat(64));
    let plain = record(&name("x"), 1);
    let numbers =
        Member { incarnation: 1 << 62, boot: u64::MAX, weight: core::num::NonZeroU16::MAX, ..record(&long, 1) };
    let tags = (0..16).map(|tag| (format!("{tag:0>128}"), "v".repeat(128))).collect();
    let tagged = Member { tags, ..numbers.clone() };
    for member in [plain, numbers, tagged] {
        let claim = Claim { by: long.clone(), member: member.into() };
        let bytes = postcard::to_allocvec(&claim).expect("serializes").len();
        assert!(
            bytes <= claim.wire_bytes() && claim.wire_bytes() <= bytes + 64,
            "{bytes}, estimated {}",
            claim.wire_bytes()
        );
    }
}
