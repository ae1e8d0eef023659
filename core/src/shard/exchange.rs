//! Anti-entropy (DeCandia et al., "Dynamo", 2007, section 4.7): now and then every two owners of a slice compare what they
//! hold of the arcs they share, and each gets what it lacks. It merges, never overwrites, and never mints a dot. It compares
//! primaries only: what a fallback keeps for somebody is handed over by `hints`, and what a joiner lacks by `transfer`.
//!
//! Of two owners the one with the lower id asks, so a pair compares once in an interval; one slice after the other, and with
//! a few peers at a time. A comparison goes down the two hash trees (see `merkle`) where they differ, until few enough
//! entries are left to be listed. A key that differs is looked at *again* after a moment, and is repaired only if neither
//! side has changed it: else a write is on its way, and a repair would only double it. Then the asker merges what the other
//! holds, and sends it the merge if it is behind.
//!
//! Every question and answer waits until what it shows is durable. Nothing follows from an answer that does not come: the
//! comparison is given up, and its turn comes again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Shard, rows};
use crate::causality::SiblingSet;
use crate::event::{EventId, EventKind};
use crate::hash::{Position, Slice, StableHasher};
use crate::id::{Key, NodeId, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::merkle::{Arcs, Sum, TreeNode};
use crate::message::{
    Difference, Entry, ExchangeMessage, Finding, Listing, NodeDigests, Question, Refusal, ShardMessage,
};
use crate::ring::Span;
use crate::storage::{Storage, StorageError};
use crate::time::Time;
use crate::view::AntiEntropyView;

/// Until an answer that did not come ends a comparison.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_000);
/// Between the two looks at a key that differs: longer than a write takes to reach all owners.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// The shortest interval between two comparisons, whatever the configuration says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// A node with no more entries than this is listed at once: that costs less than the digests below it.
const LISTED_AT_ONCE: u64 = 8;
/// Stands for a root that cannot be summed up at once: no root is the same, so it is looked into.
const UNKNOWN: Sum = Sum { hash: 0, count: u64::MAX };

/// The comparisons of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges {
    /// What is shared with whom, by slice, under the layout of now.
    pub(super) shared: BTreeMap<Slice, Arc<BTreeMap<NodeId, Arcs>>>,
    /// When which slice is to be compared with everybody.
    due: BTreeSet<(Time, Slice)>,
    /// Slices whose turn with a peer has come.
    waiting: BTreeMap<NodeId, BTreeSet<Slice>>,
    /// What is under way, by peer: one each.
    running: BTreeMap<NodeId, Exchange>,
    pub(super) numbers: AntiEntropyView,
}

/// A comparison under way.
#[derive(Clone, Debug)]
struct Exchange {
    slice: Slice,
    arcs: Arc<BTreeMap<NodeId, Arcs>>,
    request: RequestId,
    asked: Asked,
    due: Time,
    cause: Option<EventId>,
    /// Nodes that differ and are to be looked into.
    nodes: BTreeSet<TreeNode>,
    /// Positions whose entries are to be listed: from the first to the last.
    spans: BTreeMap<Position, Position>,
    /// Positions that differed at the first look.
    found: VecDeque<Difference>,
    /// Keys that differed at the second look.
    differing: u32,
}

/// What a comparison waits for.
#[derive(Clone, Debug)]
enum Asked {
    Root,
    Below(Vec<TreeNode>),
    /// The parts that were listed.
    Entries(Vec<Span>),
    /// The moment of the second look.
    Moment,
    Again(Vec<Difference>),
}

/// How a comparison goes on.
enum Next {
    Ask(Question, Asked),
    Wait,
    Done,
}

impl Exchanges {
    /// Begins to take turns, spread over the interval so that not all slices of all nodes come at once.
    pub(super) fn new(now: Time, me: &NodeId, slices: &[Slice], interval: Duration) -> Self {
        let interval_ns = u64::try_from(interval.max(INTERVAL_MIN).as_nanos()).unwrap_or(u64::MAX);
        let due = slices.iter().map(|&slice| {
            let mut hasher = StableHasher::new();
            hasher.bytes(me.as_str().as_bytes());
            hasher.u8(slice.number());
            (now + Duration::from_nanos(hasher.finish() % interval_ns), slice)
        });
        Self { due: due.collect(), ..Self::default() }
    }

    /// The layout has changed: what was shared under the one before is shared no more.
    pub(super) fn forget_layout(&mut self) {
        self.shared.clear();
        self.waiting.clear();
        self.running.clear();
    }

    /// When something is to be done next.
    pub(super) fn next_due(&self) -> Option<Time> {
        let turn = self.due.first().map(|(at, _)| *at);
        turn.into_iter().chain(self.running.values().map(|exchange| exchange.due)).min()
    }
}

impl<S: Storage> Shard<S> {
    /// What was compared and repaired here since the start.
    #[must_use]
    pub const fn anti_entropy(&self) -> AntiEntropyView {
        self.exchanges.numbers
    }

    pub(super) fn exchanges_on_time(&mut self) {
        let now = self.effects.now;
        let interval = self.start.config.repair.exchange_interval.max(INTERVAL_MIN);
        let mut turns = false;
        while let Some(&(at, slice)) = self.exchanges.due.first()
            && at <= now
        {
            self.exchanges.due.pop_first();
            self.exchanges.due.insert((now + interval, slice));
            self.queue_turns(slice);
            turns = true;
        }
        let is_due = |(peer, exchange): (&NodeId, &Exchange)| (exchange.due <= now).then(|| peer.clone());
        let due: Vec<NodeId> = self.exchanges.running.iter().filter_map(is_due).collect();
        for peer in due {
            match self.exchanges.running[&peer].asked {
                Asked::Moment => self.advance_exchange(&peer),
                _ => self.end_exchange(&peer),
            }
        }
        if turns {
            self.begin_exchanges();
        }
    }

    /// The turn of a slice has come: it waits for its peers to be free.
    fn queue_turns(&mut self, slice: Slice) {
        let Some(picture) = self.picture.clone().filter(|_| self.can_compare(slice)) else { return };
        for peer in self.shared(slice).keys().filter(|peer| **peer > picture.me && !picture.down.contains(*peer)) {
            self.exchanges.waiting.entry(peer.clone()).or_default().insert(slice);
        }
    }

    /// Begins what waits, with peers that are free.
    fn begin_exchanges(&mut self) {
        let waiting: Vec<NodeId> = self.exchanges.waiting.keys().cloned().collect();
        for peer in waiting {
            while self.exchanges.running.len() < limits::EXCHANGES_MAX && !self.exchanges.running.contains_key(&peer) {
                let slices = self.exchanges.waiting.get_mut(&peer);
                let Some(slice) = slices.and_then(BTreeSet::pop_first) else {
                    self.exchanges.waiting.remove(&peer);
                    break;
                };
                self.begin_exchange(&peer, slice);
            }
        }
    }

    fn begin_exchange(&mut self, peer: &NodeId, slice: Slice) {
        let is_down = self.picture.as_ref().is_none_or(|picture| picture.down.contains(peer));
        if is_down || !self.can_compare(slice) {
            return;
        }
        let all = self.shared(slice);
        let Some(arcs) = all.get(peer) else { return };
        let root = match self.sums_on(slice, arcs, [TreeNode::ROOT]) {
            Ok(sums) => sums[0],
            Err(error) => return self.note_failure(&error),
        };
        let exchange = Exchange {
            slice,
            arcs: all.clone(),
            request: RequestId(0),
            asked: Asked::Root,
            due: self.effects.now,
            cause: self.effects.cause,
            nodes: BTreeSet::new(),
            spans: BTreeMap::new(),
            found: VecDeque::new(),
            differing: 0,
        };
        self.ask_peer(peer, exchange, Question::Root(root.unwrap_or(UNKNOWN)), Asked::Root);
    }

    fn ask_peer(&mut self, peer: &NodeId, mut exchange: Exchange, question: Question, asked: Asked) {
        let request = self.new_request();
        let layout = self.layout_id();
        exchange.request = request;
        exchange.asked = asked;
        exchange.due = self.effects.now + ANSWER_TIMEOUT;
        let message = ShardMessage::Exchange(ExchangeMessage::Ask { request, layout, question });
        self.send_once_durable(peer.clone(), exchange.slice, message);
        self.exchanges.running.insert(peer.clone(), exchange);
    }

    fn layout_id(&self) -> LayoutId {
        self.picture.as_ref().expect("comparisons come after the picture").rings.id
    }

    /// An answer to a question of a comparison.
    pub(super) fn on_finding(&mut self, from: &NodeId, request: RequestId, result: Result<Finding, Refusal>) {
        let Some(exchange) = self.exchanges.running.get_mut(from).filter(|exchange| exchange.request == request) else {
            return;
        };
        if matches!(exchange.asked, Asked::Moment) {
            return;
        }
        exchange.cause = self.effects.cause;
        let taken = match result {
            Ok(Finding::Again { looked, differing, objects }) => self.take_repairs(from, looked, &differing, objects),
            Ok(Finding::NotNow) => return self.end_exchange(from),
            Ok(finding) => exchange.take(&finding),
            Err(_) => return self.end_exchange(from),
        };
        match taken {
            Ok(()) => self.advance_exchange(from),
            Err(reason) => {
                self.reject(from, reason);
                self.end_exchange(from);
            }
        }
    }

    /// Asks the next question, or ends.
    fn advance_exchange(&mut self, peer: &NodeId) {
        let Some(mut exchange) = self.exchanges.running.remove(peer) else { return };
        self.effects.cause = exchange.cause;
        let all = exchange.arcs.clone();
        let Some(arcs) = all.get(peer) else { return };
        let next = if self.can_compare(exchange.slice) {
            self.next_question(&mut exchange, arcs)
        } else {
            // A listing has shown that the tree is broken.
            return self.begin_exchanges();
        };
        match next {
            Ok(Next::Ask(question, asked)) => self.ask_peer(peer, exchange, question, asked),
            Ok(Next::Wait) => {
                exchange.asked = Asked::Moment;
                exchange.due = self.effects.now + SECOND_LOOK;
                self.exchanges.running.insert(peer.clone(), exchange);
            }
            Ok(Next::Done) => {
                let (slice, differing) = (exchange.slice.number(), exchange.differing);
                self.effects.detail(|| EventKind::Compared { peer: peer.clone(), slice, differing });
                self.exchanges.numbers.exchanges += 1;
                self.exchanges.numbers.last_exchange = Some(self.effects.now);
                self.begin_exchanges();
            }
            Err(error) => {
                self.note_failure(&error);
                self.begin_exchanges();
            }
        }
    }

    /// Gives a comparison up: its turn comes again.
    fn end_exchange(&mut self, peer: &NodeId) {
        self.exchanges.running.remove(peer);
        self.begin_exchanges();
    }

    fn next_question(&mut self, exchange: &mut Exchange, arcs: &Arcs) -> Result<Next, StorageError> {
        if matches!(exchange.asked, Asked::Moment | Asked::Again(_)) && !exchange.found.is_empty() {
            let again = self.still_so(exchange)?;
            if !again.is_empty() {
                let entries = again.iter().map(|found| Entry { at: found.at, digest: found.answerer }).collect();
                return Ok(Next::Ask(Question::Again(entries), Asked::Again(again)));
            }
        }
        loop {
            let searched = exchange.nodes.is_empty() && exchange.spans.is_empty();
            if exchange.found.len() >= limits::EXCHANGE_KEYS_MAX || searched && !exchange.found.is_empty() {
                return Ok(Next::Wait);
            }
            if !exchange.nodes.is_empty() {
                let nodes = self.digests_below(exchange, arcs)?;
                if !nodes.is_empty() {
                    let asked = nodes.iter().map(|node| node.node).collect();
                    return Ok(Next::Ask(Question::Below(nodes), Asked::Below(asked)));
                }
            } else if !exchange.spans.is_empty() {
                let listings = self.listings(exchange, arcs)?;
                if !listings.is_empty() {
                    let asked = listings.iter().map(Listing::span).collect();
                    return Ok(Next::Ask(Question::Entries(listings), Asked::Entries(asked)));
                }
            } else {
                return Ok(Next::Done);
            }
        }
    }

    /// Takes what was found and has not changed here since, as much as a message may bring back.
    fn still_so(&mut self, exchange: &mut Exchange) -> Result<Vec<Difference>, StorageError> {
        let budget = usize::try_from(limits::PAGE_BYTES_MAX).expect("a page fits memory");
        let (mut bytes, mut again) = (0, Vec::new());
        while bytes <= budget && again.len() < limits::EXCHANGE_KEYS_MAX {
            let Some(found) = exchange.found.pop_front() else { break };
            let group = self.group(found.at)?;
            if group.digest == found.asker {
                bytes += group.bytes;
                again.push(found);
            }
        }
        // A message's positions are in order; what is put back by a peer that saw only a part of them stays so too.
        again.sort_unstable_by_key(|found| found.at);
        again.dedup_by_key(|found| found.at);
        Ok(again)
    }

    /// The digests below some of the nodes that differ. A node with few entries is put to those to be listed.
    fn digests_below(&mut self, exchange: &mut Exchange, arcs: &Arcs) -> Result<Vec<NodeDigests>, StorageError> {
        let mut questions = Vec::new();
        while questions.len() < limits::EXCHANGE_NODES_MAX {
            let Some(node) = exchange.nodes.pop_first() else { break };
            let span = node.span(exchange.slice);
            if node.is_leaf() || self.trees[&exchange.slice].tree().sum(node).count <= LISTED_AT_ONCE {
                exchange.spans.insert(span.first, span.last);
                continue;
            }
            let sums = self.sums_on(exchange.slice, arcs, node.children())?;
            let (mut occupied, mut digests) = (0_u16, Vec::new());
            for ((child, sum), bit) in node.children().zip(sums).zip(0_u32..) {
                match sum {
                    Some(sum) if sum.is_empty() => {}
                    Some(sum) => {
                        occupied |= 1 << bit;
                        digests.push(sum.digest());
                    }
                    // Nobody knows it without reading more than is good at once: it is looked into anyway.
                    None => _ = exchange.nodes.insert(child),
                }
            }
            questions.push(NodeDigests { node, occupied, digests });
        }
        Ok(questions)
    }

    /// Lists entries, as many as a message may hold.
    fn listings(&mut self, exchange: &mut Exchange, arcs: &Arcs) -> Result<Vec<Listing>, StorageError> {
        let mut listings = Vec::new();
        let mut rows_left = limits::EXCHANGE_ENTRIES_MAX;
        while rows_left > 0 && listings.len() < limits::EXCHANGE_NODES_MAX {
            let Some((first, last)) = exchange.spans.pop_first() else { break };
            if arcs.within(Span { first, last }).next().is_none() {
                continue;
            }
            let listed = self.list(exchange.slice, arcs, Span { first, last }, rows_left)?;
            rows_left = rows_left.saturating_sub(listed.rows);
            let upto = listed.upto.unwrap_or(last);
            listings.push(Listing { first, last: upto, entries: listed.entries });
            if upto < last {
                exchange.spans.insert(upto.next(), last);
                break;
            }
        }
        Ok(listings)
    }

    /// The second look has confirmed differences: merges what the other one holds, and sends it what it lacks.
    fn take_repairs(
        &mut self,
        peer: &NodeId,
        looked: u32,
        differing: &[Position],
        objects: Vec<(Key, SiblingSet)>,
    ) -> Result<(), &'static str> {
        let exchange = self.exchanges.running.get_mut(peer).expect("its answer came");
        let Asked::Again(asked) = &mut exchange.asked else { return Err("an answer to another question") };
        let looked = usize::try_from(looked).unwrap_or(usize::MAX);
        if looked == 0 || looked > asked.len() {
            return Err("a second look at nothing");
        }
        let rest = asked.split_off(looked);
        if differing.iter().any(|at| asked.binary_search_by_key(at, |found| found.at).is_err()) {
            return Err("a difference nobody asked about");
        }
        rest.into_iter().rev().for_each(|found| exchange.found.push_front(found));
        let mut theirs: BTreeMap<Key, SiblingSet> = objects.into_iter().collect();
        for at in differing {
            let held = match self.group(*at) {
                Ok(group) => group.objects,
                Err(error) => {
                    self.note_failure(&error);
                    continue;
                }
            };
            held.into_iter().for_each(|(key, _)| _ = theirs.entry(key).or_default());
        }
        for (key, set) in theirs {
            if let Err(error) = self.repair_both(peer, &key, &set) {
                self.note_failure(&error);
            }
        }
        Ok(())
    }

    /// Merges what a peer holds of a key, and sends it the merge if it is behind.
    fn repair_both(&mut self, peer: &NodeId, key: &Key, theirs: &SiblingSet) -> Result<(), StorageError> {
        let ours = rows::entry(key, &self.load(key)?);
        let merged = self.merge(key, theirs)?;
        let after = rows::entry(key, &merged);
        let behind = |entry| entry != after;
        let (we, they) = (behind(ours), behind(rows::entry(key, theirs)));
        if we {
            self.note_repair(key, self.start.node.clone());
        }
        if they {
            self.note_repair(key, peer.clone());
            let repair = ShardMessage::Repair { layout: self.layout_id(), key: key.clone(), set: merged };
            self.send_once_durable(peer.clone(), Position::of(key).slice(), repair);
            self.bring_up_if_it_shows_dead(peer, key, theirs);
        }
        if let Some(exchange) = self.exchanges.running.get_mut(peer).filter(|_| we || they) {
            exchange.differing = exchange.differing.saturating_add(1);
        }
        Ok(())
    }

    fn note_repair(&mut self, key: &Key, replica: NodeId) {
        self.exchanges.numbers.keys_repaired += 1;
        self.effects.event(|| EventKind::Repaired { key: key.clone(), replica });
    }

    pub(super) fn note_failure(&mut self, error: &StorageError) {
        self.effects.event(|| EventKind::StorageFailed { reason: alloc::format!("{error}") });
    }
}

impl Exchange {
    /// Takes what the other one found, if it answers what was asked.
    fn take(&mut self, finding: &Finding) -> Result<(), &'static str> {
        match (core::mem::replace(&mut self.asked, Asked::Root), finding) {
            (Asked::Root, Finding::Root { same }) => {
                if !same {
                    self.nodes.insert(TreeNode::ROOT);
                }
                Ok(())
            }
            (Asked::Below(nodes), Finding::Below(bits)) if nodes.len() == bits.len() => {
                for (node, bits) in nodes.into_iter().zip(bits) {
                    let differing = node.children().zip(0..).filter(|(_, place)| bits & (1 << place) != 0);
                    self.nodes.extend(differing.map(|(child, _): (TreeNode, u32)| child));
                }
                Ok(())
            }
            (Asked::Entries(spans), Finding::Entries { differing, upto }) => {
                self.take_entries(&spans, differing, *upto)
            }
            _ => Err("an answer to another question"),
        }
    }

    fn take_entries(
        &mut self,
        spans: &[Span],
        differing: &[Difference],
        upto: Option<Position>,
    ) -> Result<(), &'static str> {
        let first = spans.first().expect("something was asked").first;
        let looked_upto = upto.unwrap_or(Position::MAX);
        if looked_upto < first {
            return Err("a look at nothing");
        }
        for span in spans.iter().filter(|span| span.last > looked_upto) {
            self.spans.insert(span.first.max(looked_upto.next()), span.last);
        }
        let asked = |at: Position| spans.iter().any(|span| span.first <= at && at <= span.last);
        let known = differing.iter().filter(|found| asked(found.at) && found.asker != found.answerer);
        self.found.extend(known.copied());
        Ok(())
    }
}
