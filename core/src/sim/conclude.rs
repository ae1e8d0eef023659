//! The end of a run: first what was mended for good must make progress, whatever stays broken elsewhere; then everything is
//! healed, and what the cluster promises of a healed cluster must come true, each within its bound of simulated time.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{ClientOperation, RequestOptions};
use super::host::Host;
use super::network::HostIndex;
use super::world::World;
use super::{Invariant, Verdict, Violation};
use crate::causality::{Dot, SiblingSet};
use crate::hash::Position;
use crate::id::{Key, NodeId};
use crate::membership::State;
use crate::node::Node;
use crate::storage::{Space, StorageError};

/// Between two looks at whether something has come true.
const STRIDE: Duration = Duration::from_millis(500);
/// How long one request of a checker may take, its retries included.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a healed cluster may take until all agree on who lives and who owns what, and everybody serves.
const CALM_WITHIN: Duration = Duration::from_secs(300);
/// How long it may take to hand over the hints that are left, beyond a few of the intervals at which it looks at them.
const HINTS_WITHIN: Duration = Duration::from_secs(120);
/// As that, for the replicas to become equal.
const EQUAL_WITHIN: Duration = Duration::from_secs(120);
/// Intervals of repair that must be enough.
const INTERVALS: u32 = 6;
/// Keys that are asked of a core that was mended for good.
const CORE_KEYS_MAX: usize = 12;

impl World {
    /// Ends the run: demands progress of what was mended for good, heals everything, waits until it is calm, and holds
    /// what is found to every promise that is left. Gives what came of it all.
    pub fn conclude(&mut self) -> Verdict {
        self.demand_progress();
        self.heal_everything();
        if self.wait_for_calm() {
            let hints = HINTS_WITHIN + self.setting.repair.hint_interval * INTERVALS;
            self.wait_for(Invariant::HintsAreDrained, hints, Self::hints_left);
            let equal = EQUAL_WITHIN + self.setting.repair.exchange_interval * INTERVALS;
            // Without a read: what differs is found by comparing. What is damaged is found by reading.
            self.wait_for(Invariant::ReplicasConverge, equal, |world| world.replicas_that_differ(false));
            self.read_everything();
            self.wait_for(Invariant::ReplicasConverge, equal, |world| world.replicas_that_differ(true));
            self.stay_quiet();
            self.check_what_is_left();
        }
        self.verdict()
    }

    /// What was mended for good answers strict requests, whatever stays broken elsewhere.
    fn demand_progress(&mut self) {
        let Some((since, core)) = self.core.clone() else { return };
        self.run_until(self.now.max(since + ANSWER_WITHIN));
        let keys: Vec<Key> = self.checker.oracle.keys().take(CORE_KEYS_MAX).cloned().collect();
        for (number, key) in keys.iter().enumerate() {
            let at = core[number % core.len()];
            let value = format!("progress {number}");
            let put = ClientOperation::Put { key: key.clone(), value, informed: false };
            for operation in [put, ClientOperation::Get { key: key.clone() }] {
                if let Err(reason) = self.insist(at, &operation) {
                    let node = self.host_name(at);
                    let detail = format!("{node} was mended at {since} and does not answer for {key:?}: {reason}");
                    self.checker.breaks(Invariant::HealedCoreProgresses, self.now, detail);
                }
            }
        }
    }

    /// Asks a node, again and again, until it succeeds or time is over. Only owners may answer.
    fn insist(&mut self, at: HostIndex, operation: &ClientOperation) -> Result<(), String> {
        let options = RequestOptions { strict: true, ..RequestOptions::default() };
        let until = self.now + ANSWER_WITHIN;
        let mut reason = String::from("no answer");
        while self.now < until {
            let token = self.client_asks("checker", at, operation, &options);
            while self.clients.open(token).is_some() && self.next_at().is_some_and(|next| next <= until) {
                self.step();
            }
            if self.clients.last_success() == Some(token) {
                return Ok(());
            }
            reason = format!("the last try ended at {}", self.now);
            self.run_until(self.now + STRIDE);
        }
        Err(reason)
    }

    fn heal_everything(&mut self) {
        self.network.calm();
        (0..self.hosts.len())
            .filter(|host| !self.hosts[*host].left)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|host| self.mend(host));
        self.note_health();
    }

    /// Runs until nothing is left of what should go away; says what is left otherwise.
    fn wait_for(&mut self, invariant: Invariant, within: Duration, left: impl Fn(&Self) -> Option<String>) -> bool {
        let until = self.now + within;
        while let Some(found) = left(self) {
            if self.now >= until {
                self.checker.breaks(invariant, self.now, format!("{found}, {within:?} after that should have ended"));
                return false;
            }
            // What takes longer is looked at less often.
            let waited = within.saturating_sub(until.since(self.now));
            self.run_until(self.now + STRIDE.max(waited / 10));
        }
        true
    }

    /// Whether all nodes that have not left serve, believe each other alive, and own the ring together, with no change under
    /// way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        [self.layouts_that_differ(), self.not_ready(), self.beliefs_that_differ()].iter().all(Option::is_none)
    }

    fn wait_for_calm(&mut self) -> bool {
        self.wait_for(Invariant::OneLayout, CALM_WITHIN, Self::layouts_that_differ)
            && self.wait_for(Invariant::HealedCoreProgresses, CALM_WITHIN, Self::not_ready)
            && self.wait_for(Invariant::OneMembership, CALM_WITHIN, Self::beliefs_that_differ)
    }

    fn layouts_that_differ(&self) -> Option<String> {
        let all: BTreeSet<&NodeId> = self.present().map(|host| &host.node).collect();
        let mut ids = BTreeSet::new();
        for host in self.present() {
            let Some(rings) = host.control().map(Node::rings) else {
                return Some(format!("{} does not run", host.node));
            };
            let owners: BTreeSet<&NodeId> = rings.layout().owners().collect();
            if owners != all {
                return Some(format!("{} knows the owners {owners:?} where there are {all:?}", host.node));
            }
            let store = host.control().map(Node::actor);
            if rings.layout().role(&host.node).map(|role| role.store) != store {
                return Some(format!("the store of {} may not vote yet", host.node));
            }
            if !rings.is_all_settled() {
                return Some(format!("{} is still on its way to layout {}", host.node, rings.id.version));
            }
            ids.insert(rings.id);
        }
        (ids.len() > 1).then(|| format!("there are {} layouts", ids.len()))
    }

    /// The machines that have not left for good.
    fn present(&self) -> impl Iterator<Item = &Host> {
        self.hosts().filter(|host| !host.left)
    }

    fn not_ready(&self) -> Option<String> {
        let reasons: Vec<String> = self
            .present()
            .filter_map(|host| match host.control() {
                Some(control) => control.not_ready().map(|reason| format!("{} cannot serve: {reason}", host.node)),
                None => Some(format!("{} does not run", host.node)),
            })
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn beliefs_that_differ(&self) -> Option<String> {
        let all: Vec<&NodeId> = self.present().map(|host| &host.node).collect();
        self.present().find_map(|host| {
            let members = host.control()?.membership();
            let alive = |known: &&crate::membership::Known| known.member.state == State::Alive;
            let believed: Vec<&NodeId> = members.members().filter(alive).map(|known| &known.member.node).collect();
            (believed != all).then(|| format!("{} believes that {believed:?} live", host.node))
        })
    }

    fn hints_left(&self) -> Option<String> {
        let host = self.present().find(|host| host.rows(Space::Hints) > 0)?;
        Some(format!("{} keeps {} hints", host.node, host.rows(Space::Hints)))
    }

    /// What each owner of a key holds.
    fn held(&self, key: &Key) -> Vec<(HostIndex, Result<SiblingSet, StorageError>)> {
        let slice = Position::of(key).slice();
        let index = usize::from(slice.number());
        let peek = |host: HostIndex| {
            let shards = self.hosts[host].shards();
            shards[index % shards.len()].peek(key)
        };
        self.owners_of(key).into_iter().map(|host| (host, peek(host))).collect()
    }

    /// The first key of which two owners hold something else. `whole` says whether damaged rows must be healed by now.
    fn replicas_that_differ(&self, whole: bool) -> Option<String> {
        let live = |set: &SiblingSet| set.live().map(|(dot, _)| dot).collect::<Vec<Dot>>();
        self.checker.oracle.keys().find_map(|key| {
            let held = self.held(key);
            let mut sets = BTreeSet::new();
            for (host, set) in &held {
                match set {
                    Ok(set) => _ = sets.insert(live(set)),
                    Err(_) if !whole => {}
                    Err(error) => return Some(format!("{} cannot read {key:?}: {error}", self.host_name(*host))),
                }
            }
            (sets.len() > 1).then(|| format!("the owners of {key:?} hold {sets:?}"))
        })
    }

    /// Nobody writes any more: nothing is left to repair.
    fn stay_quiet(&mut self) {
        // What was under way when they became equal comes to its end first.
        self.run_until(self.now + self.setting.repair.exchange_interval);
        let before = self.checker.repairs;
        self.run_until(self.now + self.setting.repair.exchange_interval * 2);
        let repairs = self.checker.repairs - before;
        if repairs > 0 {
            let detail = format!("{repairs} repairs, though all replicas were equal");
            self.checker.breaks(Invariant::IdleRepairsNothing, self.now, detail);
        }
    }

    /// Every key can be read, through one node after the other; each answer is judged when it comes.
    fn read_everything(&mut self) {
        let keys: Vec<Key> = self.checker.oracle.keys().cloned().collect();
        let present: Vec<HostIndex> = self.present().filter_map(|host| self.index(&host.node)).collect();
        for (number, key) in keys.into_iter().enumerate() {
            let at = present[number % present.len()];
            let get = ClientOperation::Get { key: key.clone() };
            if let Err(reason) = self.insist(at, &get) {
                let detail = format!("{} does not answer for {key:?}: {reason}", self.host_name(at));
                self.checker.breaks(Invariant::HealedCoreProgresses, self.now, detail);
            }
        }
    }

    fn check_what_is_left(&mut self) {
        let keys: Vec<Key> = self.checker.oracle.keys().cloned().collect();
        for key in &keys {
            let sets = self.held(key).into_iter().filter_map(|(_, set)| set.ok());
            let found: Vec<Violation> = match sets.into_iter().next() {
                Some(set) => self.checker.oracle.check_end(self.now, key, &set),
                None => Vec::new(),
            };
            found.into_iter().for_each(|violation| self.checker.broken(violation));
        }
    }
}
