//! Who holds each partition: balance first, then zones, then what was before. Never in which order they are asked.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU8;

use super::Before;
use super::flow::{Network, Point};
use super::share::{self, Share};
use crate::hash::Position;
use crate::id::Zone;
use crate::ring::Owner;
use crate::ring::placement::Tokens;

/// What one wish weighs against another.
struct Costs {
    /// For every copy that moves.
    moved: i64,
    /// For every copy that moves to an owner that was there before.
    moved_to_known: i64,
    /// For every copy in a zone that has one of that partition already.
    same_zone: i64,
    /// For every copy that an owner lacks.
    lacking: i64,
}

impl Costs {
    fn new(slots: u32, is_join: bool) -> Self {
        let more_than_all = i64::from(slots) + 1;
        let (moved, least) = (more_than_all, 1);
        let same_zone = (moved + least) * more_than_all;
        // When owners have joined and nobody has left, those who were there are left alone even where moving something
        // among them would spread it better.
        let moved_to_known = if is_join { same_zone * more_than_all } else { moved + least };
        Self { moved, moved_to_known, same_zone, lacking: (same_zone + moved_to_known) * more_than_all }
    }
}

/// For each partition the owners that hold it, as indexes into the owners and in that order.
pub(super) fn holders(owners: &[&Owner], n: NonZeroU8, before: &Before) -> Vec<Vec<u16>> {
    let partitions = u32::try_from(before.lists.len()).expect("partitions are counted in 16 bits");
    let copies = u32::from(n.get()).min(u32::try_from(owners.len()).expect("as few owners as members"));
    let slots = partitions * copies;
    let weights: Vec<u16> = owners.iter().map(|owner| owner.weight.get()).collect();
    let mut problem = Problem::new(owners, &share::by_weight(&weights, partitions, copies), slots, before);
    let choices: Vec<Vec<Choice>> =
        before.lists.iter().zip(0_u16..).map(|(list, p)| problem.partition(p, copies, list)).collect();
    let filled = problem.network.fill();
    assert_eq!(
        filled, slots,
        "every copy has a place: no share is more than all partitions, and together they suffice"
    );
    let used = |choices: Vec<Choice>| {
        let used = choices.into_iter().filter(|choice| problem.network.is_used(choice.edge));
        let mut owners: Vec<u16> = used.map(|choice| choice.owner).collect();
        owners.sort_unstable();
        owners
    };
    choices.into_iter().map(used).collect()
}

/// That an owner may hold a partition.
struct Choice {
    owner: u16,
    edge: usize,
}

/// From the source, copies go to partitions, from there to a zone of the partition, to an owner in the zone, and to the
/// sink.
struct Problem<'a> {
    network: Network,
    costs: Costs,
    owners: &'a [&'a Owner],
    points: Vec<Point>,
    is_known: &'a [bool],
}

impl<'a> Problem<'a> {
    fn new(owners: &'a [&'a Owner], shares: &[Share], slots: u32, before: &'a Before) -> Self {
        let has_left = before.lists.iter().flatten().any(Option::is_none);
        let (mut network, costs) = (Network::new(), Costs::new(slots, !has_left && before.is_known.contains(&false)));
        let point = |share: &Share| {
            let point = network.point();
            network.connect(point, Network::SINK, share.least, -costs.lacking);
            network.connect(point, Network::SINK, share.most - share.least, 0);
            point
        };
        let points = shares.iter().map(point).collect();
        Self { network, costs, owners, points, is_known: &before.is_known }
    }

    fn partition(&mut self, partition: u16, copies: u32, before: &[Option<u16>]) -> Vec<Choice> {
        let at = self.network.point();
        self.network.connect(Network::SOURCE, at, copies, 0);
        let mut zones: BTreeMap<&Zone, Point> = BTreeMap::new();
        let choice = |owner: u16| {
            let network = &mut self.network;
            let zone = *zones.entry(&self.owners[usize::from(owner)].zone).or_insert_with(|| {
                let zone = network.point();
                network.connect(at, zone, 1, 0);
                network.connect(at, zone, copies - 1, self.costs.same_zone);
                zone
            });
            let cost = match (before.contains(&Some(owner)), self.is_known[usize::from(owner)]) {
                (true, _) => 0,
                (false, true) => self.costs.moved_to_known,
                (false, false) => self.costs.moved,
            };
            Choice { owner, edge: network.connect(zone, self.points[usize::from(owner)], 1, cost) }
        };
        mixed(self.owners, partition).into_iter().map(choice).collect()
    }
}

/// The owners in an order that is another one for every partition: that of the tokens they would have. What comes first is chosen where nothing else decides:
/// in one order for all, the same few would always hold a partition together, and stand in for each other alone.
fn mixed(owners: &[&Owner], partition: u16) -> Vec<u16> {
    let hash = |owner: &Owner| Tokens::of(&owner.place).nth(partition.into());
    let mut order: Vec<(Position, u16)> =
        owners.iter().zip(0_u16..).map(|(owner, number)| (hash(owner), number)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, number)| number).collect()
}
