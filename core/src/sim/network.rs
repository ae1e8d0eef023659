//! The simulated network: how long a message takes, whether it arrives, which links are cut. It carries whole messages,
//! may lose and reorder them, and never changes one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::action;
use crate::event::LossReason;
use crate::id::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::view::LinkView;

/// One direction of one link that is not as it should be.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    cut: bool,
    loss_per_million: u32,
    since: Time,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives, or would.
    pub(super) due_at: Time,
    /// If it is lost: when, and why.
    pub(super) lost: Option<(Time, LossReason)>,
}

/// The network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    setting: action::Network,
    links: BTreeMap<(NodeId, NodeId), Link>,
    rng: Rng,
}

impl Network {
    pub(super) const fn new(setting: action::Network, rng: Rng) -> Self {
        Self { setting, links: BTreeMap::new(), rng }
    }

    /// The time one message takes.
    pub(super) fn latency(&mut self) -> Duration {
        let ns = |span: Duration| u64::try_from(span.as_nanos()).expect("a latency of less than 500 years");
        let (low, high) = (ns(self.setting.latency_min), ns(self.setting.latency_max));
        Duration::from_nanos(self.rng.between(low.min(high), low.max(high)))
    }

    /// Decides what becomes of a message between two nodes. Every message draws as many numbers, so that a fault on one
    /// link does not shift what happens on the others.
    pub(super) fn send(&mut self, now: Time, from: &NodeId, to: &NodeId) -> Fate {
        let latency = self.latency();
        let (network, link) = (self.rng.below(1_000_000), self.rng.below(1_000_000));
        let due_at = now + latency;
        let midway = now + latency / 2;
        let state = self.links.get(&(from.clone(), to.clone())).copied().unwrap_or_default();
        let lost = if state.cut {
            Some((midway, LossReason::Cut))
        } else if network < u64::from(self.setting.loss_per_million) || link < u64::from(state.loss_per_million) {
            Some((midway, LossReason::Loss))
        } else {
            None
        };
        Fate { due_at, lost }
    }

    pub(super) fn is_cut(&self, from: &NodeId, to: &NodeId) -> bool {
        self.links.get(&(from.clone(), to.clone())).is_some_and(|link| link.cut)
    }

    pub(super) fn set_link(&mut self, now: Time, from: NodeId, to: NodeId, cut: bool, loss_per_million: u32) {
        if cut || loss_per_million > 0 {
            self.links.insert((from, to), Link { cut, loss_per_million, since: now });
        } else {
            self.links.remove(&(from, to));
        }
    }

    /// Cuts every link between two groups. Nodes that are in none form one more.
    pub(super) fn partition(&mut self, now: Time, groups: &[Vec<NodeId>], all: &[NodeId]) {
        let group_of = |node: &NodeId| groups.iter().position(|group| group.contains(node));
        for from in all {
            for to in all.iter().filter(|to| *to != from) {
                if group_of(from) != group_of(to) {
                    self.set_link(now, from.clone(), to.clone(), true, 0);
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.links.clear();
    }

    pub(super) fn views(&self) -> Vec<LinkView> {
        let view = |((from, to), link): (&(NodeId, NodeId), &Link)| LinkView {
            from: from.clone(),
            to: to.clone(),
            cut: link.cut,
            loss_per_million: link.loss_per_million,
            since: link.since,
        };
        self.links.iter().map(view).collect()
    }
}
