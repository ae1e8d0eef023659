//! Holds a run to its promises while it goes on: from what nodes say they do, from what clients are answered, and from
//! looks at the nodes now and then. It counts what happens, and never tells a node anything.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::client::Open;
use super::losses::Losses;
use super::network::HostIndex;
use super::oracle::{Oracle, Shown};
use super::verdict::{Fault, Mark, Tally, Violation};
use super::{Invariant, lists};
use crate::causality::{self, ContextSecret, Dot};
use crate::config::Replication;
use crate::event::{Event, EventKind, OperationKind};
use crate::id::{ActorId, Key, NodeId, RequestKey, Token};
use crate::layout::{LayoutId, Rings, Role};
use crate::limits;
use crate::membership::{ChangeKind, Why};
use crate::request::{Reply, Success};
use crate::time::Time;

/// Violations that are kept: the first ones tell the story.
const VIOLATIONS_MAX: usize = 100;
/// How long everything must have been well before somebody may be taken for dead only if it is.
pub(super) const CALM_AFTER: Duration = Duration::from_secs(30);

/// Everything that a run is judged by.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    pub(super) violations: Vec<Violation>,
    pub(super) tally: Tally,
    pub(super) oracle: Oracle,
    pub(super) losses: Losses,
    replication: Replication,
    /// The last layout that was seen, and the names of all that were.
    layout: Option<Arc<Rings>>,
    layouts: BTreeSet<LayoutId>,
    /// The content of each version that was decided.
    contents: BTreeMap<(u32, u64), u64>,
    /// Under which names each node has issued dots.
    actors: BTreeSet<(NodeId, ActorId)>,
    /// Repairs so far: after healing there are none any more.
    pub(super) repairs: u64,
}

/// What a client was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) token: Token,
    /// To which try.
    pub(super) open: &'a Open,
    pub(super) reply: &'a Reply,
}

/// Under which an event happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Everything has been well for so long that nobody who lives may be taken for dead.
    pub(super) calm: bool,
    /// It came of comparing two replicas.
    pub(super) exchange: bool,
}

impl Checker {
    pub(super) fn new(replication: Replication) -> Self {
        Self {
            violations: Vec::new(),
            tally: Tally::default(),
            oracle: Oracle::default(),
            losses: Losses::new(replication),
            replication,
            layout: None,
            layouts: BTreeSet::new(),
            contents: BTreeMap::new(),
            actors: BTreeSet::new(),
            repairs: 0,
        }
    }

    pub(super) fn note(&mut self, fault: Fault) {
        *self.tally.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        *self.tally.marks.entry(mark).or_default() += 1;
    }

    pub(super) fn count(&mut self, outcome: &str) {
        match self.tally.outcomes.get_mut(outcome) {
            Some(count) => *count += 1,
            None => _ = self.tally.outcomes.insert(String::from(outcome), 1),
        }
    }

    pub(super) fn broken(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// A promise about no key in particular is broken.
    pub(super) fn breaks(&mut self, invariant: Invariant, at: Time, detail: String) {
        self.broken(Violation { invariant, at, key: None, dot: None, detail });
    }

    /// What nodes say they do. `lives` says whether the process of a node runs and moves.
    pub(super) fn observe(
        &mut self,
        now: Time,
        event: &Event,
        circumstances: Circumstances,
        lives: impl Fn(&NodeId) -> bool,
    ) {
        let Circumstances { calm, exchange } = circumstances;
        let mark = match &event.kind {
            EventKind::Minted { key, dot, replaces, request } => {
                if let Some(violation) = self.oracle.mint(now, key, *dot, replaces, *request) {
                    self.broken(violation);
                }
                None
            }
            EventKind::MemberChanged { change }
                if calm && change.kind == ChangeKind::Died && change.why != Why::Stopped && lives(&change.node) =>
            {
                let detail = format!("{} took {} for dead: {:?}", event.node, change.node, change.why);
                self.breaks(Invariant::LiveAreNotBuried, now, detail);
                None
            }
            EventKind::TombstoneCollected { key } => {
                self.oracle.collect(key);
                Some(Mark::TombstoneCollected)
            }
            EventKind::ActorMinted { actor, .. } => {
                let first = !self.actors.iter().any(|(node, _)| *node == event.node);
                self.actors.insert((event.node.clone(), *actor));
                (!first).then_some(Mark::ActorMinted)
            }
            EventKind::Repaired { .. } => {
                self.repairs += 1;
                Some(if exchange { Mark::ExchangeRepaired } else { Mark::ReadRepaired })
            }
            EventKind::HintStored { .. } => Some(Mark::HintStored),
            EventKind::HintRefused { .. } => Some(Mark::HintRefused),
            EventKind::HintDelivered { .. } => Some(Mark::HintDelivered),
            EventKind::DotRefused { .. } => Some(Mark::DotRefused),
            EventKind::Conflict { .. } => Some(Mark::Conflict),
            EventKind::TreeRebuilt { .. } => Some(Mark::TreeRebuilt),
            EventKind::Healed { .. } => Some(Mark::Healed),
            EventKind::Synced { .. } => Some(Mark::Synced),
            EventKind::Hedged { .. } => Some(Mark::Hedged),
            EventKind::SlicePassed { .. } => Some(Mark::SlicePassed),
            EventKind::LeftoverDropped { .. } => Some(Mark::LeftoverDropped),
            EventKind::Left => Some(Mark::Left),
            _ => None,
        };
        if let Some(mark) = mark {
            self.mark(mark);
        }
    }

    /// What a client was answered. `index` numbers nodes; `forgotten` says of which writes of the key every owner has known.
    pub(super) fn answered(
        &mut self,
        now: Time,
        answer: Answer<'_>,
        secret: Option<&ContextSecret>,
        index: impl Fn(&NodeId) -> Option<HostIndex>,
        forgotten: impl Fn(Dot) -> bool,
    ) {
        let Answer { token, open, reply } = answer;
        let kind = open.asked.kind();
        let success = match reply {
            Ok(success) => success,
            Err(error) => {
                self.losses.give_up(token);
                return self.count(error.code());
            }
        };
        let key = open.asked.key();
        let outcome = match kind {
            OperationKind::Get if success.set.values().is_empty() => "absent",
            OperationKind::Get => "found",
            OperationKind::Put | OperationKind::Delete => "written",
        };
        self.count(outcome);
        let found = self.oracle.check_set(now, key, &success.set);
        found.into_iter().for_each(|violation| self.broken(violation));
        if kind == OperationKind::Get {
            let strict = self.overlapping() && has_quorum(success, self.replication.r.get());
            let shown = Shown { key, set: &success.set, strict, before: open.before };
            if let Some(violation) = self.oracle.check_read(now, shown, forgotten) {
                self.broken(violation);
            }
            return;
        }
        let named = open.asked.options.request_key;
        let dot = secret.and_then(|secret| dot_of(key, success, named, secret));
        let Some(dot) = dot else { return self.losses.give_up(token) };
        if open.tries > 0 && self.oracle.minted_at(key, dot).is_some_and(|at| at < open.began) {
            self.mark(Mark::RetryRecognised);
        }
        let strict = has_quorum(success, self.replication.w.get());
        // What its client asked for, not what the answer shows: a retry may find the write superseded.
        self.oracle.acknowledge(now, key, dot, open.asked.value().as_ref(), strict);
        // Once a fallback has handed over what it kept, the owner it stood in for has it instead.
        let targets = success.answers.stand_ins.iter().map(|pair| &pair.target);
        let stores = success.answers.successful.iter().chain(targets).filter_map(index).collect();
        let oracle = &self.oracle;
        self.losses.promise(token, dot, stores, |replaced| oracle.is_past(key, replaced, dot));
    }

    /// Whether every read quorum has a store of every write quorum.
    fn overlapping(&self) -> bool {
        self.replication.r.get() + self.replication.w.get() > self.replication.n.get()
    }

    /// A node acknowledged a layout.
    pub(super) fn layout(&mut self, now: Time, rings: &Arc<Rings>) {
        if !self.layouts.insert(rings.id) {
            return;
        }
        let LayoutId { epoch, version, hash } = rings.id;
        if *self.contents.entry((epoch, version)).or_insert(hash) != hash {
            self.breaks(Invariant::OneContent, now, format!("version {version} of the layout has two contents"));
        }
        self.mark(Mark::LayoutDecided);
        if let Some(detail) = lists::departure(rings.ring()) {
            self.breaks(Invariant::ListsFollowTokens, now, detail);
        }
        let only_joins = |before: &&Arc<Rings>| {
            let stays = |(node, role): (&NodeId, &Role)| {
                rings.layout().role(node).is_some_and(|now| Role { store: role.store, ..now.clone() } == *role)
            };
            before.id.version + 1 == version && before.layout().roles().all(stays)
        };
        let before = self.layout.as_ref().filter(only_joins);
        if let Some(detail) = before.and_then(|before| lists::gain(before.ring(), rings.ring())) {
            self.breaks(Invariant::JoinsMoveToJoiner, now, detail);
        }
        if self.layout.as_ref().is_none_or(|before| before.id < rings.id) {
            self.layout = Some(rings.clone());
        }
    }

    /// The newest layout that was seen.
    pub(super) const fn rings(&self) -> Option<&Arc<Rings>> {
        self.layout.as_ref()
    }

    /// What waits at a node.
    pub(super) fn queues(&mut self, now: Time, node: &NodeId, queues: &BTreeMap<&'static str, (u64, u64)>) {
        for (what, (found, max)) in queues {
            if found > max {
                let detail = format!("{node} has {found} {what}; at most {max} are allowed");
                self.breaks(Invariant::QueuesAreBounded, now, detail);
            }
        }
    }
}

/// Requests that one process may have under way.
pub(super) fn requests_max(shards: usize) -> u64 {
    u64::try_from(limits::REQUESTS_MAX * shards).expect("a count fits 64 bits")
}

/// Whether so many owners have answered; fewer where there are not so many.
fn has_quorum(success: &Success, needed: u8) -> bool {
    let owners = &success.replicas;
    let answered = success.answers.successful.iter().filter(|node| owners.contains(node)).count();
    answered >= usize::from(needed).min(owners.len())
}

/// The name of the write that was acknowledged: of what its coordinator stored, what has the client's own name for it,
/// or else the one live version that the client has seen once it is told. The others it has not.
fn dot_of(key: &Key, success: &Success, named: Option<RequestKey>, secret: &ContextSecret) -> Option<Dot> {
    if let Some(dot) = named.and_then(|named| success.set.find_request(named)) {
        return Some(dot);
    }
    let seen = causality::decode(secret, key, &success.context).ok()?;
    let mut fresh = success.set.live().map(|(dot, _)| dot).filter(|dot| seen.covers(*dot));
    fresh.next().filter(|_| fresh.next().is_none())
}
