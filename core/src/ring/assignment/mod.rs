//! Which places hold which partition: the ring cut into equal slices, assigned by optimisation. It follows from the owners
//! and the assignment before alone, and never from who is alive.
//!
//! Equal partitions after DeCandia et al., "Dynamo" (2007), section 6.2, strategy 3. Assigned by a greatest flow at the
//! least cost, as Mendes da Fonseca, Auvolat and others do it in Garage ("An optimal layout for Garage", 2022), with other
//! costs: balance comes first, then zones, then that little moves, and of that the less the better to owners that were
//! there before. When owners only join, nothing moves to those who were there, not even for the sake of zones.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::num::{NonZeroU8, NonZeroU16};

use serde::{Deserialize, Serialize};

use super::{Owner, Place};
use crate::hash::Position;
use crate::limits;

mod choose;
mod flow;
mod order;
mod share;

/// For each partition the places that hold it, in the order in which they are asked.
///
/// Places and not nodes, so that nothing changes when a node takes the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Assignment {
    /// A power of two.
    partitions: NonZeroU16,
    /// In order.
    places: Vec<Place>,
    /// The lists of all partitions, one behind the other and all of one length: indexes into the places.
    slots: Vec<u16>,
}

/// The same as it is sent and stored, before it is checked.
#[derive(Serialize, Deserialize)]
struct Wire {
    partitions: NonZeroU16,
    places: Vec<Place>,
    slots: Vec<u16>,
}

/// An earlier assignment in the numbers that the places have now.
struct Before {
    /// Of each partition. Nothing for who has left.
    lists: Vec<Vec<Option<u16>>>,
    /// For each place, whether it was there, though it may have held nothing.
    is_known: Vec<bool>,
}

impl Before {
    fn new(partitions: NonZeroU16, places: &[Place], before: Option<&Assignment>) -> Self {
        let number = |place: &Place| {
            let index = places.binary_search(place).ok()?;
            Some(u16::try_from(index).expect("as few places as members"))
        };
        let list = |partition| {
            before.map_or_else(Vec::new, |before| before.list(partition).map(number).collect::<Vec<Option<u16>>>())
        };
        let is_known = |place| before.is_some_and(|before| before.places.binary_search(place).is_ok());
        Self { lists: (0..partitions.get()).map(list).collect(), is_known: places.iter().map(is_known).collect() }
    }
}

/// An assignment from outside that no member would make. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAssignment {
    /// A number of partitions that cannot be.
    #[error("an assignment of {0} partitions: it must be a power of two up to {max}", max = limits::PARTITIONS_MAX)]
    Partitions(u16),
    /// Too many places, or not in order, or one of them twice.
    #[error("{0} places that are out of order, or more than {max}", max = limits::MEMBERS_MAX)]
    Places(usize),
    /// Lists of different lengths, or longer than there can be copies.
    #[error("{slots} slots are no whole number of copies, up to {}, of each partition", limits::REPLICATION_MAX)]
    Slots {
        /// How many there are.
        slots: usize,
    },
    /// A list that names a place twice, or one that is not there.
    #[error("partition {0} names a place twice, or one that is not there")]
    List(u16),
}

impl Assignment {
    /// Assigns the partitions to the places of the owners, in `n` copies, or as many as there are owners.
    ///
    /// - Each holds its share by weight, rounded down or up; nobody a partition twice. Each is first, second and so on for
    ///   its share of what it holds.
    /// - As far as that allows, the copies of a partition are in as many zones as there are, up to `n`.
    /// - As far as that allows, they stay where they were `before`. When owners have joined and none has left, this comes
    ///   before zones for the owners that were there: nothing moves to them that balance does not force there, and if all
    ///   weights are equal it forces nothing.
    ///
    /// # Panics
    /// When the number of partitions is not a power of two up to [`limits::PARTITIONS_MAX`], or two owners have one place.
    #[must_use]
    pub fn new(partitions: NonZeroU16, n: NonZeroU8, owners: &[Owner], before: Option<&Self>) -> Self {
        assert!(is_possible(partitions), "{partitions} partitions");
        let mut owners: Vec<&Owner> = owners.iter().collect();
        owners.sort_unstable_by(|one, other| one.place.cmp(&other.place));
        assert!(owners.is_sorted_by(|one, other| one.place < other.place), "two owners in one place");
        let places: Vec<Place> = owners.iter().map(|owner| owner.place.clone()).collect();
        // Of another number of partitions nothing can stay where it was.
        let before = Before::new(partitions, &places, before.filter(|before| before.partitions == partitions));
        let held = choose::holders(&owners, n, &before);
        let slots = order::ranked(held, places.len(), &before.lists).into_iter().flatten().collect();
        Self { partitions, places, slots }
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn partitions(&self) -> NonZeroU16 {
        self.partitions
    }

    /// All places that could be given something, in order.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The places that hold a partition, in the order in which they are asked.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn list(&self, partition: u16) -> impl Iterator<Item = &Place> {
        assert!(partition < self.partitions.get(), "partition {partition} of {}", self.partitions);
        let copies = self.slots.len() / usize::from(self.partitions.get());
        let slots = self.slots.iter().skip(usize::from(partition) * copies).take(copies);
        slots.map(|&place| &self.places[usize::from(place)])
    }

    /// The last position of a partition.
    #[must_use]
    pub fn end_of(&self, partition: u16) -> Position {
        // A partition more than there are ends behind the last position, which is before the first one.
        let bits = self.partitions.ilog2();
        let end = u128::from(partition + 1) << (u64::BITS - bits);
        Position(u64::try_from(end - 1).expect("the last partition ends with the ring"))
    }

    /// How many copies have to be made to come here from another assignment: those in places that did not hold the
    /// partition.
    #[must_use]
    pub fn moved_since(&self, before: &Self) -> u32 {
        let gained = |partition| {
            let held: BTreeSet<&Place> = before.list(partition).collect();
            self.list(partition).filter(|place| !held.contains(place)).map(|_| 1_u32).sum::<u32>()
        };
        (0..self.partitions.get()).map(gained).sum()
    }

    fn check(&self) -> Result<(), MalformedAssignment> {
        if !is_possible(self.partitions) {
            return Err(MalformedAssignment::Partitions(self.partitions.get()));
        }
        if self.places.len() > limits::MEMBERS_MAX || !self.places.is_sorted_by(|one, other| one < other) {
            return Err(MalformedAssignment::Places(self.places.len()));
        }
        let (slots, partitions) = (self.slots.len(), usize::from(self.partitions.get()));
        let copies = slots / partitions;
        if slots % partitions != 0 || copies > usize::from(limits::REPLICATION_MAX) {
            return Err(MalformedAssignment::Slots { slots });
        }
        let is_good = |list: &[u16]| {
            let different: BTreeSet<_> = list.iter().collect();
            different.len() == list.len() && list.iter().all(|&place| usize::from(place) < self.places.len())
        };
        // Without copies there are no lists to check.
        let wrong = self.slots.chunks(copies.max(1)).zip(0_u16..).find(|(list, _)| !is_good(list));
        wrong.map_or(Ok(()), |(_, partition)| Err(MalformedAssignment::List(partition)))
    }
}

fn is_possible(partitions: NonZeroU16) -> bool {
    partitions.is_power_of_two() && partitions.get() <= limits::PARTITIONS_MAX
}

impl TryFrom<Wire> for Assignment {
    type Error = MalformedAssignment;

    fn try_from(Wire { partitions, places, slots }: Wire) -> Result<Self, MalformedAssignment> {
        let assignment = Self { partitions, places, slots };
        assignment.check().map(|()| assignment)
    }
}

impl From<Assignment> for Wire {
    fn from(Assignment { partitions, places, slots }: Assignment) -> Self {
        Self { partitions, places, slots }
    }
}
