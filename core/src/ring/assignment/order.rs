//! In which order the holders of each partition are asked: everybody is first for an equal part of what it holds, and so
//! on for every rank; beyond that nobody changes its rank. Never who holds what.

use alloc::vec;
use alloc::vec::Vec;

use super::flow::Network;
use super::share::Share;

/// Orders the holders of each partition, given how they were ordered before.
pub(super) fn ranked(mut held: Vec<Vec<u16>>, owners: usize, before: &[Vec<Option<u16>>]) -> Vec<Vec<u16>> {
    let mut lists: Vec<Vec<u16>> = vec![Vec::new(); held.len()];
    while held.iter().any(|holders| !holders.is_empty()) {
        let chosen = next_rank(&held, owners, |partition, owner| {
            before[partition].get(lists[partition].len()) == Some(&Some(owner))
        });
        for ((holders, list), owner) in held.iter_mut().zip(&mut lists).zip(chosen) {
            holders.retain(|&holder| holder != owner);
            list.push(owner);
        }
    }
    lists
}

/// One of the holders of each partition, so that everybody has its part: one in so many of what it holds, rounded down or
/// up. That can always be done, because dividing each partition equally among its holders does it in fractions, and a
/// flow with whole bounds need not be in fractions.
fn next_rank(held: &[Vec<u16>], owners: usize, had_it: impl Fn(usize, u16) -> bool) -> Vec<u16> {
    let mut counts = vec![0_u32; owners];
    held.iter().flatten().for_each(|&owner| counts[usize::from(owner)] += 1);
    let ranks_left = held.first().map_or(0, Vec::len);
    let ranks_left = u32::try_from(ranks_left).expect("few copies");
    // A change of rank costs 1: more than all of them together is what makes a part be had before anything else.
    let lacking = i64::try_from(held.len()).expect("partitions are counted in 16 bits") + 1;
    let mut network = Network::new();
    let point = |&count: &u32| {
        let (point, share) = (network.point(), Share::part(count, ranks_left));
        network.connect(point, Network::SINK, share.least, -lacking);
        network.connect(point, Network::SINK, share.most - share.least, 0);
        point
    };
    let points: Vec<_> = counts.iter().map(point).collect();
    let choices = |(partition, holders): (usize, &Vec<u16>)| -> Vec<(u16, usize)> {
        let at = network.point();
        network.connect(Network::SOURCE, at, 1, 0);
        let choice = |&owner: &u16| {
            let cost = i64::from(!had_it(partition, owner));
            (owner, network.connect(at, points[usize::from(owner)], 1, cost))
        };
        holders.iter().map(choice).collect()
    };
    let choices: Vec<_> = held.iter().enumerate().map(choices).collect();
    network.fill();
    let used = |choices: Vec<(u16, usize)>| choices.into_iter().find(|(_, edge)| network.is_used(*edge));
    choices.into_iter().map(|choices| used(choices).expect("every partition has somebody of each rank").0).collect()
}
