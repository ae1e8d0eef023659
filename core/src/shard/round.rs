//! One round of a request: whom the question went to, who has answered, and whether that is enough. It counts votes, knows
//! which owner needs a fallback in its place, and sends nothing.
//!
//! Votes are counted by the places of the preference list: an owner's place has a vote once the owner or a fallback that
//! stands in for it has answered, never two. For what two fallbacks keep for one owner is one copy once it is delivered.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::causality::SiblingSet;
use crate::error::{Answers, StandIn};
use crate::hash::Position;
use crate::id::{NodeId, RequestId};
use crate::layout::Rings;
use crate::limits;
use crate::node::Picture;
use crate::time::Time;

/// What a round needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Places that must have a vote.
    pub(super) votes: u8,
    /// Owners that must have answered themselves, whoever stands in.
    pub(super) primaries: u8,
    /// What is asked for.
    pub(super) question: Question,
    /// Whether the votes of fallbacks count.
    pub(super) sloppy: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What a client wants to read. What a fallback does not hold is unknown, not absent: that a key is absent only owners
    /// can say.
    Read,
    /// What a write replaces. What nobody shows it stays as a sibling, so a fallback that holds nothing answers too.
    ReadToWrite,
    /// Copies of a write.
    Write,
}

/// One question to all replicas of a key.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Its name: what answers an earlier question of the request is no answer to this one.
    pub(super) name: RequestId,
    pub(super) needs: Needs,
    /// Whom it is asked: the owners under the layout that reads ask, or under all that writes need.
    owners: Vec<NodeId>,
    /// Who was asked to stand in, in that order.
    stand_ins: Vec<StandIn>,
    /// When each of them was asked first.
    asked: Vec<(NodeId, Time)>,
    /// The sets of those who answered a read, in the order of their names, whether it was a vote or not.
    sets: Vec<(NodeId, SiblingSet)>,
    /// Whose answers are votes, in the order they came.
    voted: Vec<NodeId>,
    /// Who answered with an error.
    refused: Vec<NodeId>,
    /// How long an answer may take before somebody else is asked too.
    pub(super) patience: Duration,
    /// Whether the reply is out: what comes now is only for repair.
    pub(super) replied: bool,
    /// The quorum is met; until then the reply waits for the others, so that it can name them.
    pub(super) linger_until: Option<Time>,
    pub(super) retry_at: Time,
}

/// How a round stands, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The quorum is met.
    Met,
    /// It still can be.
    Open,
    /// Too many have failed.
    Missed,
}

/// What a round is looked at with: the rings, the place of the key, its owners, and who is down.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rings: &'a Rings,
    pub(super) at: Position,
    /// The owners whom reads ask.
    owners: &'a [NodeId],
    pub(super) down: &'a BTreeSet<NodeId>,
    /// This node, which is never down for itself.
    pub(super) me: &'a NodeId,
}

impl<'a> View<'a> {
    pub(super) fn new(picture: &'a Picture, at: Position) -> Self {
        let rings = &*picture.rings;
        let owners = rings.reading(at.slice()).ring.preference_list(at).primaries();
        Self { rings, at, owners, down: &picture.down, me: &picture.me }
    }

    fn is_down(&self, node: &NodeId) -> bool {
        node != self.me && self.down.contains(node)
    }

    /// Whether fallbacks may stand in: not while owners change, for those of the one layout are not those of the other.
    fn has_fallbacks(&self) -> bool {
        self.rings.is_settled(self.at.slice())
    }
}

impl Round {
    pub(super) fn new(name: RequestId, needs: Needs, patience: Duration, rings: &Rings, at: Position) -> Self {
        let mut owners = Vec::new();
        if needs.question == Question::Write {
            let all =
                rings.writing(at.slice()).iter().rev().flat_map(|active| active.ring.preference_list(at).primaries());
            for node in all {
                if !owners.contains(node) {
                    owners.push(node.clone());
                }
            }
        } else {
            owners.extend_from_slice(rings.reading(at.slice()).ring.preference_list(at).primaries());
        }
        Self {
            name,
            needs,
            stand_ins: Vec::new(),
            asked: Vec::with_capacity(owners.len()),
            sets: Vec::new(),
            voted: Vec::with_capacity(owners.len()),
            owners,
            refused: Vec::new(),
            patience,
            replied: false,
            linger_until: None,
            retry_at: Time::ZERO,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        self.needs.question == Question::Write
    }

    pub(super) fn is_owner(&self, node: &NodeId) -> bool {
        self.owners.contains(node)
    }

    /// For whom a node stands in; nothing of an owner.
    pub(super) fn target_of(&self, node: &NodeId) -> Option<&NodeId> {
        self.stand_ins.iter().find(|pair| pair.fallback == *node).map(|pair| &pair.target)
    }

    /// Whether it takes part at all.
    pub(super) fn includes(&self, node: &NodeId) -> bool {
        self.is_owner(node) || self.target_of(node).is_some()
    }

    pub(super) fn votes_of(&self) -> &[NodeId] {
        &self.voted
    }

    /// Notes that the question goes out to a node, and when it did first.
    pub(super) fn note_asked(&mut self, node: &NodeId, now: Time) {
        if !self.asked.iter().any(|(asked, _)| asked == node) {
            self.asked.push((node.clone(), now));
        }
    }

    /// How long ago the node was asked first.
    pub(super) fn waited_for(&self, node: &NodeId, now: Time) -> Option<Duration> {
        self.asked.iter().find(|(asked, _)| asked == node).map(|(_, at)| now.since(*at))
    }

    /// Counts an answer once. Says whether it was new.
    pub(super) fn count(&mut self, from: &NodeId) -> bool {
        if !self.includes(from) || self.voted.contains(from) {
            return false;
        }
        self.refused.retain(|node| node != from);
        self.voted.push(from.clone());
        true
    }

    /// Takes an answer to a read. Says whether it is a new vote. What a replica that is not synced lacks is unknown: its
    /// answer is none, and it is asked again later. What a fallback lacks is unknown too.
    pub(super) fn take(&mut self, from: &NodeId, set: SiblingSet, synced: bool) -> bool {
        if !self.includes(from) {
            return false;
        }
        let tells =
            if self.is_owner(from) { synced } else { !set.is_empty() || self.needs.question == Question::ReadToWrite };
        match self.place_of(from) {
            Ok(index) => self.sets[index].1 = set,
            Err(index) => self.sets.insert(index, (from.clone(), set)),
        }
        tells && self.count(from)
    }

    /// The set that a node answered a read with.
    pub(super) fn set_of(&self, node: &NodeId) -> Option<&SiblingSet> {
        self.place_of(node).ok().map(|index| &self.sets[index].1)
    }

    /// All of them, in the order of the names.
    pub(super) fn into_sets(self) -> Vec<(NodeId, SiblingSet)> {
        self.sets
    }

    fn place_of(&self, node: &NodeId) -> Result<usize, usize> {
        self.sets.binary_search_by(|(other, _)| other.cmp(node))
    }

    /// Notes that a node cannot answer.
    pub(super) fn refuse(&mut self, node: &NodeId) {
        if self.includes(node) && !self.voted.contains(node) && !self.refused.contains(node) {
            self.refused.push(node.clone());
        }
    }

    /// Nodes whose answer may still come.
    pub(super) fn waiting(&self, view: View<'_>) -> Vec<NodeId> {
        let stand_ins = self.stand_ins.iter().map(|pair| &pair.fallback);
        self.owners.iter().chain(stand_ins).filter(|node| self.is_awaited(node, view)).cloned().collect()
    }

    fn is_awaited(&self, node: &NodeId, view: View<'_>) -> bool {
        // A fallback that holds nothing has said so; an owner that is not synced is asked again.
        let said_nothing = !self.is_owner(node) && self.set_of(node).is_some();
        !(self.voted.contains(node) || self.refused.contains(node) || said_nothing || view.is_down(node))
    }

    /// Whether the place of an owner has a vote.
    fn is_covered(&self, owner: &NodeId) -> bool {
        let by_fallback = |pair: &StandIn| pair.target == *owner && self.voted.contains(&pair.fallback);
        self.voted.contains(owner) || (self.needs.sloppy && self.stand_ins.iter().any(by_fallback))
    }

    /// Votes among the owners whom reads ask, for people.
    pub(super) fn votes(&self, view: View<'_>) -> u8 {
        few(view.owners.iter().filter(|owner| self.is_covered(owner)).count())
    }

    /// Votes needed among the owners whom reads ask, for people.
    pub(super) fn needed(&self, view: View<'_>) -> u8 {
        few(at_most(self.needs.votes, view.owners))
    }

    /// Whether there is a quorum: of a write under every layout that is still read somewhere.
    pub(super) fn standing(&self, view: View<'_>) -> Standing {
        if self.is_write() {
            let rings = view.rings.writing(view.at.slice()).iter();
            let standings =
                rings.map(|active| self.standing_among(active.ring.preference_list(view.at).primaries(), view));
            return standings.max().unwrap_or(Standing::Missed);
        }
        match self.standing_among(view.owners, view) {
            Standing::Met if self.absence_is_sure(view) => Standing::Met,
            Standing::Met if self.waiting(view).is_empty() => Standing::Missed,
            Standing::Met => Standing::Open,
            other => other,
        }
    }

    fn standing_among(&self, primaries: &[NodeId], view: View<'_>) -> Standing {
        let (votes, owners) = (at_most(self.needs.votes, primaries), at_most(self.needs.primaries, primaries));
        let count = |counts: &dyn Fn(&NodeId) -> bool| primaries.iter().filter(|owner| counts(owner)).count();
        let answered = |owner: &NodeId| self.voted.contains(owner);
        let may_answer = |owner: &NodeId| answered(owner) || self.is_awaited(owner, view);
        let may_be_covered =
            |owner: &NodeId| self.is_covered(owner) || may_answer(owner) || self.has_hopeful_stand_in(owner, view);
        if count(&|owner| self.is_covered(owner)) >= votes && count(&answered) >= owners {
            Standing::Met
        } else if count(&may_be_covered) < votes || count(&may_answer) < owners {
            Standing::Missed
        } else {
            Standing::Open
        }
    }

    fn has_hopeful_stand_in(&self, owner: &NodeId, view: View<'_>) -> bool {
        let hopeful = |pair: &StandIn| pair.target == *owner && self.is_awaited(&pair.fallback, view);
        self.needs.sloppy && self.stand_ins.iter().any(hopeful)
    }

    /// That a key has no value is said only by as many owners as the quorum has.
    fn absence_is_sure(&self, view: View<'_>) -> bool {
        let owners = || view.owners.iter().filter(|owner| self.voted.contains(owner)).count();
        self.needs.question != Question::Read
            || owners() >= at_most(self.needs.votes, view.owners)
            || !self.merged().values().is_empty()
    }

    /// The owners in whose place somebody else is to be asked now, in the order of the walk. A write wants a copy in every
    /// place, so each owner that is down or refuses is one of them; a late one only while the quorum is missing. A read
    /// asks fallbacks only if the owners cannot make its quorum.
    pub(super) fn vacancies(&self, view: View<'_>, now: Time) -> Vec<NodeId> {
        let counts = self.needs.sloppy || self.is_write();
        if self.replied || !counts || !view.has_fallbacks() {
            return Vec::new();
        }
        let is_missing = || self.needs.sloppy && self.standing(view) != Standing::Met;
        let is_late =
            |node: &NodeId| self.waited_for(node, now).is_some_and(|for_| for_ >= self.patience) && is_missing();
        let is_hopeful = |node: &NodeId| self.is_awaited(node, view) && !is_late(node);
        if !self.is_write() {
            let owners = self.owners.iter().filter(|owner| self.voted.contains(owner) || is_hopeful(owner)).count();
            if owners >= at_most(self.needs.votes, &self.owners) || !is_missing() {
                return Vec::new();
            }
        }
        let is_vacant = |owner: &&NodeId| {
            let mut stand_ins = self.stand_ins.iter().filter(|pair| pair.target == **owner).map(|pair| &pair.fallback);
            let has_one = stand_ins.clone().any(|node| self.voted.contains(node) || is_hopeful(node));
            !self.voted.contains(owner)
                && !is_hopeful(owner)
                && !has_one
                && stand_ins.by_ref().count() < limits::STAND_INS_PER_OWNER_MAX
        };
        self.owners.iter().filter(is_vacant).cloned().collect()
    }

    /// The next fallbacks of the walk that are not down and were not asked yet.
    pub(super) fn enlist(&mut self, vacancies: Vec<NodeId>, view: View<'_>) -> Vec<StandIn> {
        let list = view.rings.ring().preference_list(view.at);
        let free = list.fallbacks().filter(|node| !view.is_down(node) && !self.includes(node));
        let pair = |(target, fallback): (NodeId, &NodeId)| StandIn { fallback: fallback.clone(), target };
        let enlisted: Vec<StandIn> = vacancies.into_iter().zip(free).map(pair).collect();
        self.stand_ins.extend(enlisted.iter().cloned());
        enlisted
    }

    /// When it is looked at next.
    pub(super) fn due(&self, view: View<'_>, now: Time) -> Time {
        [self.linger_until, self.next_late(view, now)].into_iter().flatten().fold(self.retry_at, Time::min)
    }

    /// When the next answer that is waited for is late, if that would matter.
    fn next_late(&self, view: View<'_>, now: Time) -> Option<Time> {
        if self.replied || self.linger_until.is_some() || !self.needs.sloppy || !view.has_fallbacks() {
            return None;
        }
        let awaited = self.asked.iter().filter(|(node, _)| self.is_awaited(node, view));
        awaited.map(|(_, at)| *at + self.patience).filter(|late_at| *late_at > now).min()
    }

    /// Who answered, who failed, and who stood in for whom.
    pub(super) fn answers(&self, view: View<'_>) -> Answers {
        let mut failed = self.refused.clone();
        let lost = |owner: &&NodeId| view.is_down(owner) && !self.voted.contains(owner) && !failed.contains(owner);
        let down: Vec<NodeId> = self.owners.iter().filter(lost).cloned().collect();
        failed.extend(down);
        let stood_in = |pair: &&StandIn| self.voted.contains(&pair.fallback);
        let stand_ins = self.stand_ins.iter().filter(stood_in).cloned().collect();
        Answers { successful: self.voted.clone(), failed, stand_ins }
    }

    /// What all whose answers count hold together. What a store holds that is not synced may be long superseded, and the
    /// successor collected.
    pub(super) fn merged(&self) -> SiblingSet {
        merge_all(self.sets.iter().filter(|(node, _)| self.voted.contains(node)).map(|(_, set)| set))
    }
}

/// No more than there are owners.
fn at_most(needed: u8, primaries: &[NodeId]) -> usize {
    usize::from(needed).min(primaries.len())
}

fn few(count: usize) -> u8 {
    u8::try_from(count).expect("no more than the cluster's copies")
}

/// The merge of sets; one that no honest node sends is left out.
pub(super) fn merge_all<'a>(mut sets: impl Iterator<Item = &'a SiblingSet>) -> SiblingSet {
    let mut merged = sets.next().cloned().unwrap_or_default();
    for set in sets {
        let _ = merged.merge(set);
    }
    merged
}
