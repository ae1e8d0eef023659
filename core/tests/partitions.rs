//! Partitions and their assignment: against every assignment that there is where those are few, and by what a larger one
//! must keep. What is promised of joins and replacements, and what is refused from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU8, NonZeroU16};

use proptest::prelude::*;
use quorate_core::config::Placement;
use quorate_core::hash::Position;
use quorate_core::id::{NodeId, Zone};
use quorate_core::ring::{Assignment, Owner, Place, Ring};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn owner(number: u16, zone: u8, weight: u16) -> Owner {
    let zone = Zone::new(&format!("zone-{zone}")).expect("a good name");
    Owner::new(node(&format!("node-{number}")), zone, NonZeroU16::new(weight).expect("above zero"))
}

/// So many owners of weight 1 in one zone.
fn equal(count: u16) -> Vec<Owner> {
    (1..=count).map(|number| owner(number, 0, 1)).collect()
}

fn partitions(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("above zero")
}

fn copies(n: u8) -> NonZeroU8 {
    NonZeroU8::new(n).expect("above zero")
}

fn assign(count: u16, n: u8, owners: &[Owner], before: Option<&Assignment>) -> Assignment {
    Assignment::new(partitions(count), copies(n), owners, before)
}

fn lists(assignment: &Assignment) -> Vec<Vec<&Place>> {
    (0..assignment.partitions().get()).map(|partition| assignment.list(partition).collect()).collect()
}

/// How many partitions each place holds.
fn held(assignment: &Assignment) -> BTreeMap<&Place, u32> {
    let mut held: BTreeMap<&Place, u32> = assignment.places().iter().map(|place| (place, 0)).collect();
    lists(assignment).into_iter().flatten().for_each(|place| *held.get_mut(place).expect("a place that is named") += 1);
    held
}

/// Copies that a place holds and did not hold before, of the places that are asked for.
fn gained(before: &Assignment, after: &Assignment, whose: impl Fn(&Place) -> bool) -> u32 {
    let (before, after) = (lists(before), lists(after));
    let pairs = before.iter().zip(&after);
    let gained = pairs.flat_map(|(old, new)| new.iter().filter(|place| !old.contains(place) && whose(place)));
    gained.map(|_| 1).sum()
}

/// Copies that have to move whatever is done: each goes from somebody who has too many, or to somebody who has too few.
fn forced(before: &Assignment, after: &[Owner], n: u8) -> u32 {
    let count = u32::try_from(after.len()).expect("few");
    let slots = u32::from(before.partitions().get()) * u32::from(n).min(count);
    let held = held(before);
    let of = |owner: &Owner| held.get(&owner.place).copied().unwrap_or(0);
    let left: u32 = after.iter().map(of).sum();
    let too_many: u32 = after.iter().map(|owner| of(owner).saturating_sub(slots.div_ceil(count))).sum();
    let too_few: u32 = after.iter().map(|owner| (slots / count).saturating_sub(of(owner))).sum();
    too_few.max((slots - left.min(slots)) + too_many)
}

#[track_caller]
fn check_sound(assignment: &Assignment, owners: &[Owner], n: u8) {
    let count = u32::try_from(owners.len()).expect("few");
    let copies = usize::from(n).min(owners.len());
    for list in lists(assignment) {
        let different: BTreeSet<_> = list.iter().collect();
        assert_eq!((list.len(), different.len()), (copies, copies), "no two of the copies in one place");
    }
    let slots = u32::from(assignment.partitions().get()) * u32::try_from(copies).expect("few");
    if owners.iter().all(|owner| owner.weight == owners[0].weight) {
        for (place, held) in held(assignment) {
            assert!(
                (slots / count..=slots.div_ceil(count)).contains(&held),
                "{place:?} holds {held} of {slots} / {count}"
            );
        }
    }
}

#[test]
fn c4_no_two_copies_at_one_owner_shares_even_and_little_moves() {
    let grid = [1, 2, 8, 16, 32, 64, 256].into_iter().flat_map(|q| (1..=12).map(move |nodes| (q, nodes)));
    let regressions = [(16, 5), (32, 5), (64, 7), (64, 4), (256, 5), (64, 100), (256, 50)];
    for (q, nodes) in grid.chain(regressions) {
        for n in 1..=5 {
            let (here, more) = (equal(nodes), equal(nodes + 1));
            let first = assign(q, n, &here, None);
            check_sound(&first, &here, n);
            for (before, from, to) in [(&first, nodes, &more), (&assign(q, n, &more, None), nodes + 1, &here)] {
                let after = assign(q, n, to, Some(before));
                check_sound(&after, to, n);
                let (moved, optimum) = (after.moved_since(before), forced(before, to, n));
                let slack = u32::from(nodes) + 1;
                assert!(
                    moved <= optimum + slack,
                    "{q} partitions, {n} copies, from {from}: {moved} moved, {optimum} had to"
                );
            }
        }
    }
}

#[test]
fn joining_and_leaving_move_no_more_than_they_have_to() {
    for (q, nodes) in [(16, 5), (32, 5), (64, 7), (64, 4), (256, 5)] {
        let (here, more) = (equal(nodes), equal(nodes + 1));
        let before = assign(q, 3, &here, None);
        let joined = assign(q, 3, &more, Some(&before));
        assert_eq!(joined.moved_since(&before), forced(&before, &more, 3), "{q} / {nodes} and one more");
        let left = assign(q, 3, &here, Some(&joined));
        assert_eq!(left.moved_since(&joined), forced(&joined, &here, 3), "{q} / {nodes} again");
    }
}

/// All ways to choose so many of the owners.
fn choices(owners: usize, copies: usize) -> Vec<u32> {
    (0_u32..1 << owners).filter(|set| set.count_ones() == u32::try_from(copies).expect("few")).collect()
}

/// What an assignment leaves to be desired, the worst first: copies that owners lack, copies that move to owners that were
/// there when others have only joined, copies in a zone that has one, copies that move, and of these those to owners that
/// were there. Or nothing where an owner holds too much.
fn wanting(owners: &[Owner], sets: &[u32], before: &[u32], known: u32, is_join: bool) -> Option<[u32; 5]> {
    let count = u32::try_from(owners.len()).expect("few");
    let slots: u32 = sets.iter().map(|set| set.count_ones()).sum();
    let held = |owner: usize| sets.iter().map(|set| set >> owner & 1).sum::<u32>();
    let is_within = (0..owners.len()).all(|owner| held(owner) <= slots.div_ceil(count));
    let lacking: u32 = (0..owners.len()).map(|owner| (slots / count).saturating_sub(held(owner))).sum();
    let zones =
        |set: u32| (0..owners.len()).filter(move |owner| set >> owner & 1 == 1).map(|owner| &owners[owner].zone);
    let different = |set: u32| u32::try_from(zones(set).collect::<BTreeSet<_>>().len()).expect("few");
    let same_zone = sets.iter().map(|&set| set.count_ones() - different(set)).sum();
    let new = || sets.iter().zip(before).map(|(set, before)| set & !before);
    let moved = new().map(u32::count_ones).sum();
    let to_known: u32 = new().map(|set| (set & known).count_ones()).sum();
    is_within.then_some([lacking, if is_join { to_known } else { 0 }, same_zone, moved, to_known])
}

/// The best there is, by trying all of them.
fn best(owners: &[Owner], copies: usize, before: &[u32], known: u32, is_join: bool) -> [u32; 5] {
    let choices = choices(owners.len(), copies);
    let mut odometer = vec![0; before.len()];
    let mut best = None;
    loop {
        let sets: Vec<u32> = odometer.iter().map(|&index: &usize| choices[index]).collect();
        best = [best, wanting(owners, &sets, before, known, is_join)].into_iter().flatten().min();
        let Some(place) = odometer.iter().position(|&index| index + 1 < choices.len()) else {
            return best.expect("a way to share");
        };
        odometer[place] += 1;
        odometer[..place].fill(0);
    }
}

/// Who holds each partition, in the numbers of the owners.
fn sets(assignment: &Assignment, owners: &[Owner]) -> Vec<u32> {
    let number = |place: &Place| owners.iter().position(|owner| owner.place == *place);
    lists(assignment).iter().map(|list| list.iter().filter_map(|place| number(place)).map(|n| 1 << n).sum()).collect()
}

fn few_owners() -> impl Strategy<Value = Vec<Owner>> {
    prop::collection::btree_map(1_u16..8, 0_u8..3, 1..=5)
        .prop_map(|owners| owners.into_iter().map(|(number, zone)| owner(number, zone, 1)).collect())
}

fn many_owners() -> impl Strategy<Value = Vec<Owner>> {
    (prop::collection::btree_map(1_u16..200, (0_u8..6, 1_u16..5), 2..=40), any::<bool>()).prop_map(|(owners, heavy)| {
        let weight = |weight| if heavy { weight } else { 1 };
        owners.into_iter().map(|(number, (zone, given))| owner(number, zone, weight(given))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_assignment_is_better(before in few_owners(), after in few_owners(), n in 1_u8..4, bits in 0_u32..3) {
        let first = assign(1 << bits, n, &before, None);
        let second = assign(1 << bits, n, &after, Some(&first));
        let (held_before, held_after) = (sets(&first, &after), sets(&second, &after));
        let is_known = |owner: &&Owner| first.places().contains(&owner.place);
        let known = (0..).zip(&after).filter(|(_, owner)| is_known(owner)).map(|(number, _)| 1 << number).sum();
        let has_left = held(&first).iter().any(|(place, held)| *held > 0 && after.iter().all(|owner| owner.place != **place));
        let is_join = !has_left && after.iter().any(|owner| !is_known(&owner));
        let found = wanting(&after, &held_after, &held_before, known, is_join);
        prop_assert_eq!(found, Some(best(&after, after.len().min(n.into()), &held_before, known, is_join)));
    }

    #[test]
    fn shares_follow_weights(owners in many_owners(), n in 1_u8..6, bits in 0_u32..8) {
        let found = assign(1 << bits, n, &owners, None);
        check_sound(&found, &owners, n);
        let held = held(&found);
        let weight: u64 = owners.iter().map(|owner| u64::from(owner.weight.get())).sum();
        let all = u32::from(found.partitions().get());
        let slots = u64::from(all) * u64::from(n).min(u64::try_from(owners.len()).expect("few"));
        // Where nobody's share is more than all partitions, it is the weighted one, rounded.
        let share = |owner: &Owner| slots * u64::from(owner.weight.get());
        if owners.iter().all(|owner| share(owner) <= u64::from(all) * weight) {
            for owner in &owners {
                let share = share(owner) / weight..=share(owner).div_ceil(weight);
                prop_assert!(share.contains(&u64::from(held[&owner.place])), "{owner:?}");
            }
        }
    }

    #[test]
    fn everybody_is_first_for_its_part(owners in many_owners(), n in 1_u8..6, bits in 0_u32..8) {
        let found = assign(1 << bits, n, &owners, None);
        let copies = u32::try_from(owners.len().min(n.into())).expect("few");
        for (place, held) in held(&found) {
            let first = lists(&found).iter().filter(|list| list[0] == place).map(|_| 1_u32).sum::<u32>();
            prop_assert!((held / copies..=held.div_ceil(copies)).contains(&first), "{place:?}: {first} of {held}");
        }
    }

    #[test]
    fn on_a_join_ranges_move_only_to_the_joiner(owners in many_owners(), n in 1_u8..6, bits in 0_u32..7) {
        let owners: Vec<_> = owners.into_iter().map(|owner| Owner { weight: NonZeroU16::MIN, ..owner }).collect();
        let mut before = assign(1 << bits, n, &owners[..1], None);
        for count in 2..=owners.len() {
            let joiner = &owners[count - 1].place;
            let after = assign(1 << bits, n, &owners[..count], Some(&before));
            prop_assert_eq!(gained(&before, &after, |place| place != joiner), 0, "to {} of them", count);
            before = after;
        }
    }

    #[test]
    fn nothing_changes_when_nothing_changes(owners in many_owners(), n in 1_u8..6, bits in 0_u32..8) {
        let before = assign(1 << bits, n, &owners, None);
        let reversed: Vec<_> = owners.iter().rev().cloned().collect();
        prop_assert_eq!(&assign(1 << bits, n, &reversed, None), &before);
        prop_assert_eq!(&assign(1 << bits, n, &reversed, Some(&before)), &before);
        let wire = postcard::to_allocvec(&before).expect("serializes");
        prop_assert_eq!(postcard::from_bytes::<Assignment>(&wire).expect("parses"), before);
    }

    #[test]
    fn rings_of_partitions_say_what_is_assigned(
        owners in many_owners(),
        n in 1_u8..6,
        bits in 0_u32..7,
        random in prop::collection::vec(any::<u64>(), 16),
    ) {
        let assignment = assign(1 << bits, n, &owners, None);
        let ring = Ring::assigned(copies(n), owners.clone(), &assignment);
        prop_assert_eq!(ring.hash(), Ring::new(Placement::Partitions(partitions(1 << bits)), copies(n), owners.clone()).hash());
        prop_assert_eq!(ring.tokens().len(), lists(&assignment).len());
        let edges = (0..1 << bits).flat_map(|partition| {
            let end = assignment.end_of(partition);
            [end.previous(), end, end.next()]
        });
        let ranges: Vec<_> = owners.iter().map(|owner| (&owner.node, ring.ranges_of(&owner.node))).collect();
        for at in edges.chain(random.into_iter().map(Position)) {
            let expected = naive(&assignment, &owners, at);
            let list = ring.preference_list(at);
            prop_assert_eq!(list.primaries().len(), owners.len().min(n.into()));
            prop_assert_eq!(ring.walk(at).cloned().collect::<Vec<_>>(), expected, "at {:?}", at);
            let segments: Vec<_> = ring.segments().filter(|(range, _)| range.contains(at)).map(|(_, list)| list).collect();
            prop_assert_eq!(segments, [list.primaries()]);
            for (node, ranges) in &ranges {
                let holds = ranges.iter().any(|range| range.contains(at));
                prop_assert_eq!(holds, list.primaries().contains(node), "{:?} at {:?}", node, at);
            }
        }
    }

    #[test]
    fn who_takes_a_place_takes_what_it_had(owners in many_owners(), n in 1_u8..6, bits in 0_u32..7, who in any::<prop::sample::Index>()) {
        let mut replaced = owners.clone();
        let gone = who.index(owners.len());
        replaced[gone].node = node("another");
        let before = assign(1 << bits, n, &owners, None);
        prop_assert_eq!(&assign(1 << bits, n, &replaced, Some(&before)), &before);
        for placement in [Placement::Partitions(partitions(1 << bits)), Placement::Tokens(partitions(4))] {
            let [old, new] = [&owners, &replaced].map(|owners| Ring::new(placement, copies(n), owners.clone()));
            prop_assert_eq!(old.ranges_of(&owners[gone].node), new.ranges_of(&node("another")));
            prop_assert_ne!(old.hash(), new.hash());
        }
    }
}

/// The nodes in the order of preference: the list of the partition, then all others in the order in which lists name them
/// clockwise, those who are in none by name, the first in each zone that has not come before all that are not.
fn naive(assignment: &Assignment, owners: &[Owner], at: Position) -> Vec<NodeId> {
    let mut owners: Vec<_> = owners.iter().collect();
    owners.sort();
    let lists = lists(assignment);
    let first =
        lists.iter().zip(0_u16..).position(|(_, partition)| at <= assignment.end_of(partition)).expect("an end");
    let of = |place: &Place| *owners.iter().find(|owner| owner.place == *place).expect("an owner");
    let mut clockwise: Vec<&Owner> = Vec::new();
    for owner in
        lists[first..].iter().chain(&lists[..first]).flatten().map(|place| of(place)).chain(owners.iter().copied())
    {
        if !clockwise.contains(&owner) {
            clockwise.push(owner);
        }
    }
    let (primaries, others) = clockwise.split_at(lists[first].len());
    let mut zones: BTreeSet<_> = primaries.iter().map(|owner| &owner.zone).collect();
    let (firsts, seconds): (Vec<&Owner>, Vec<_>) = others.iter().partition(|owner| zones.insert(&owner.zone));
    primaries.iter().copied().chain(firsts).chain(seconds).map(|owner| owner.node.clone()).collect()
}

#[test]
fn a_node_of_the_same_weight_and_zone_that_comes_for_another_gets_what_that_one_had() {
    let owners = equal(7);
    let before = assign(64, 3, &owners, None);
    let after: Vec<_> = owners[1..].iter().cloned().chain([owner(99, 0, 1)]).collect();
    let swapped = assign(64, 3, &after, Some(&before));
    for (old, new) in lists(&before).into_iter().zip(lists(&swapped)) {
        let old: BTreeSet<_> =
            old.into_iter().map(|place| if *place == owners[0].place { &after[6].place } else { place }).collect();
        assert_eq!(old, new.into_iter().collect());
    }
}

#[test]
fn placements_are_said_in_words() {
    for (text, expected) in [
        ("partitions:64", Some(Placement::Partitions(partitions(64)))),
        ("partitions:1", Some(Placement::Partitions(partitions(1)))),
        ("partitions:1024", Some(Placement::Partitions(partitions(1_024)))),
        ("tokens:150", Some(Placement::Tokens(partitions(150)))),
        ("partitions:0", None),
        ("partitions:63", None),
        ("partitions:2048", None),
        ("partitions", None),
        ("tokens:1025", None),
        ("slices:64", None),
    ] {
        let found = text.parse::<Placement>();
        let problem = format!(
            "placement {text:?}: it must be tokens:K with K from 1 to 1024, for example tokens:150, or partitions:K \
             with K a power of two from 1 to 1024, for example partitions:64"
        );
        assert_eq!(found.clone().map_err(|error| error.to_string()), expected.ok_or(problem));
        assert!(found.is_err() || found.expect("good").to_string() == text);
    }
}

#[test]
#[should_panic(expected = "two owners in one place")]
fn two_owners_in_one_place_are_a_bug() {
    let mut owners = equal(3);
    owners[2].place = owners[0].place.clone();
    let _ = Ring::new(Placement::default(), copies(3), owners);
}

#[test]
fn later_places_of_a_node_are_other_places() {
    let first = owner(1, 0, 1);
    let second = Owner { place: Place { turn: 1, ..first.place.clone() }, ..first.clone() };
    let tokens = |owner: &Owner| -> BTreeSet<Position> {
        let ring = Ring::new(Placement::default(), copies(1), vec![owner.clone()]);
        ring.tokens().iter().map(|token| token.position).collect()
    };
    assert!(tokens(&first).is_disjoint(&tokens(&second)));
}

#[test]
fn assignments_from_outside_are_checked() {
    let places = |count: u16| equal(count).into_iter().map(|owner| owner.place).collect::<Vec<_>>();
    let twice = [places(1), places(1)].concat();
    for (partitions, places, slots, problem) in [
        (2_u16, places(3), vec![0_u16, 1, 2, 0], None),
        (2, places(0), vec![], None),
        (3, places(3), vec![0, 1, 2], Some("3 partitions")),
        (2_048, places(1), vec![0; 2_048], Some("2048 partitions")),
        (2, twice, vec![0, 1], Some("2 places")),
        (2, places(3), vec![0, 1, 2], Some("3 slots")),
        (1, places(20), (0..17).collect(), Some("17 slots")),
        (2, places(3), vec![0, 1, 2, 2], Some("partition 1")),
        (2, places(3), vec![0, 3], Some("partition 1")),
    ] {
        let wire = postcard::to_allocvec(&(partitions, places, slots)).expect("serializes");
        let found: Result<Assignment, _> = postcard::from_bytes(&wire);
        assert_eq!(found.is_err(), problem.is_some(), "{problem:?}: {found:?}");
    }
    let json = r#"{"partitions":2,"places":[{"node":"a","turn":0}],"slots":[0,1]}"#;
    let refused = serde_json::from_str::<Assignment>(json).expect_err("there is no place 1").to_string();
    assert!(refused.contains("partition 1 names a place twice, or one that is not there"), "{refused}");
}
