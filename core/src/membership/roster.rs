//! The list itself: who is known, by name, with what can be said of all of them without looking at each: how many are in
//! which state, what the list comes to, somebody at random. Keeps what it is told and never judges it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::member::{Known, Member, State};
use crate::hash::StableHasher;
use crate::id::NodeId;
use crate::rng::Rng;
use crate::time::Time;

/// Where this node itself stands: it comes first and is never taken off.
const OWN: usize = 0;
/// Draws for each member wanted at random, before all are looked at. Most of a list usually fits.
const DRAWS_EACH: usize = 16;

/// How many members are in each state, this node included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answering.
    pub alive: u64,
    /// Suspected.
    pub suspect: u64,
    /// Dead, tidily stopped ones included.
    pub dead: u64,
    /// Gone for good.
    pub left: u64,
}

impl Counts {
    /// Members that have not left.
    pub(super) const fn size(&self) -> u64 {
        self.alive + self.suspect + self.dead
    }

    fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Alive => &mut self.alive,
            State::Suspect => &mut self.suspect,
            State::Dead => &mut self.dead,
            State::Left => &mut self.left,
        }
    }
}

/// Everybody known, this node included.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    /// In no order, but this node first: a random place is a random member.
    known: Vec<Known>,
    places: BTreeMap<NodeId, usize>,
    counts: Counts,
    checksum: u64,
    revision: u64,
}

impl Roster {
    pub(super) fn new(own: Known) -> Self {
        let mut roster =
            Self { known: Vec::new(), places: BTreeMap::new(), counts: Counts::default(), checksum: 0, revision: 0 };
        roster.insert(own);
        roster
    }

    /// Adds a stranger.
    pub(super) fn insert(&mut self, known: Known) {
        self.account(&known.member);
        let before = self.places.insert(known.member.node.clone(), self.known.len());
        assert!(before.is_none(), "nobody is listed twice");
        self.known.push(known);
    }

    /// Replaces the record of a member, of the same name, and what goes with it.
    pub(super) fn update(&mut self, node: &NodeId, change: impl FnOnce(&mut Known)) {
        let place = *self.places.get(node).expect("only known members change");
        self.update_at(place, change);
    }

    /// Replaces this node's own record.
    pub(super) fn update_own(&mut self, change: impl FnOnce(&mut Member)) {
        self.update_at(OWN, |known| change(Arc::make_mut(&mut known.member)));
    }

    fn update_at(&mut self, place: usize, change: impl FnOnce(&mut Known)) {
        let known = self.known.get_mut(place).expect("places are those of members");
        let before = known.member.clone();
        change(known);
        let after = known.member.clone();
        self.discount(&before);
        self.account(&after);
    }

    /// A message has come straight from it, or the node itself had its turn.
    pub(super) fn note_heard(&mut self, node: &NodeId, now: Time) {
        if let Some(known) = self.places.get(node).and_then(|place| self.known.get_mut(*place)) {
            known.note_heard(now);
        }
    }

    /// This node itself is there.
    pub(super) fn own_mark(&mut self) -> &mut Known {
        self.known.get_mut(OWN).expect("a node is in its own list")
    }

    /// Forgets whoever does not fit; never this node itself.
    pub(super) fn retain(&mut self, fits: impl Fn(&Known) -> bool) {
        for place in (OWN + 1..self.known.len()).rev() {
            if !self.known.get(place).is_some_and(&fits) {
                let gone = self.known.swap_remove(place);
                self.places.remove(&gone.member.node);
                self.discount(&gone.member);
                if let Some(moved) = self.known.get(place) {
                    self.places.insert(moved.member.node.clone(), place);
                }
            }
        }
    }

    pub(super) fn own(&self) -> &Known {
        self.known.first().expect("a node is in its own list")
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Known> {
        self.places.get(node).and_then(|place| self.known.get(*place))
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.places.contains_key(node)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.places.values().filter_map(|place| self.known.get(*place))
    }

    /// By name, those after `after` up to and with `upto`.
    pub(super) fn stretch(&self, after: Option<&NodeId>, upto: Option<&NodeId>) -> impl Iterator<Item = &Known> {
        // A stretch that ends before it begins, as nobody who keeps the rules sends it, is empty.
        let is_one = !matches!((after, upto), (Some(after), Some(upto)) if after >= upto);
        let bounds = (after.map_or(Bound::Unbounded, Bound::Excluded), upto.map_or(Bound::Unbounded, Bound::Included));
        let places = is_one.then(|| self.places.range::<NodeId, _>(bounds)).into_iter().flatten();
        places.filter_map(|(_, place)| self.known.get(*place))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Known> {
        self.known.iter_mut()
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Says the same of two lists only if they hold the same versions of the same members, but for a chance that does not
    /// count. Those that have left are no part of it: everybody forgets them at another time.
    pub(super) const fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Counts the changes of records.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Up to `count` random others that fit, each equally likely and none twice.
    pub(super) fn sample(&self, rng: &mut Rng, count: usize, fits: impl Fn(&Known) -> bool) -> Vec<NodeId> {
        let mut chosen: Vec<NodeId> = Vec::new();
        for _ in 0..DRAWS_EACH * count {
            let Some(known) = rng.pick(&self.known) else { break };
            if known.member.node != self.own().member.node && fits(known) && !chosen.contains(&known.member.node) {
                chosen.push(known.member.node.clone());
            }
            if chosen.len() == count {
                return chosen;
            }
        }
        let others = self.known.iter().skip(OWN + 1).filter(|known| fits(known));
        let mut left: Vec<&NodeId> =
            others.map(|known| &known.member.node).filter(|node| !chosen.contains(node)).collect();
        rng.shuffle(&mut left);
        let missing = count - chosen.len();
        chosen.extend(left.into_iter().take(missing).cloned());
        chosen
    }

    fn account(&mut self, member: &Member) {
        *self.counts.of(member.state) += 1;
        self.checksum = self.checksum.wrapping_add(weight(member));
        self.revision += 1;
    }

    fn discount(&mut self, member: &Member) {
        *self.counts.of(member.state) -= 1;
        self.checksum = self.checksum.wrapping_sub(weight(member));
        self.revision += 1;
    }
}

/// What a record adds to the checksum.
fn weight(member: &Member) -> u64 {
    if member.state == State::Left {
        return 0;
    }
    let mut hasher = StableHasher::new();
    hasher.bytes(member.node.as_str().as_bytes());
    hasher.u64(member.incarnation);
    hasher.u8(member.state.rank());
    scatter(hasher.finish())
}

/// Lets every bit depend on every other, so that differences of two sums do not make up for each other (the finisher of
/// MurmurHash3).
const fn scatter(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}
