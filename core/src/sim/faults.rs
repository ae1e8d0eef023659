//! What somebody does to the world: every action carried out, and counted where it disturbed anything. A fault that would
//! break more than the protocol claims to survive is not carried out (`losses`).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, DiskFate, DiskFault, LayoutChange};
use super::host::Host;
use super::losses::Scope;
use super::network::{HostIndex, Link};
use super::verdict::Fault;
use super::world::{GOODBYE, Item, World};
use crate::causality::Dot;
use crate::event::EventKind;
use crate::hash::Position;
use crate::id::{ActorId, Key, NodeId};
use crate::layout::{Change, Farewell};
use crate::node::{Node, Wish};
use crate::shard;
use crate::storage::Space;
use crate::time::Time;
use crate::view::ProcessState;

/// A store says every few seconds how far it has come; within so long somebody has heard it who will remember.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

impl World {
    /// Somebody does something to the world, now.
    pub fn apply(&mut self, action: &Action) {
        let at = |world: &Self, node: &NodeId| world.index(node);
        match action {
            Action::Client { client, node, operation, options } => {
                if let Some(host) = at(self, node) {
                    self.client_asks(client, host, operation, options);
                }
            }
            Action::Add => self.add(),
            Action::Layout { node, change } => {
                if let Some(host) = at(self, node) {
                    self.change_layout(host, change);
                }
            }
            Action::Partition { groups } => self.partition(groups),
            Action::Link { from, to, cut, loss_per_million, latency } => {
                let link = Link { cut: *cut, loss_per_million: *loss_per_million, latency: *latency };
                if let (Some(from), Some(to)) = (at(self, from), at(self, to))
                    && from != to
                {
                    self.set_link(from, to, link);
                }
            }
            Action::Heal => self.network.heal(),
            Action::PowerFailure => self.fail_power(),
            Action::HealCore { core } => self.heal_core(core),
            Action::Crash { node, .. }
            | Action::Stop { node }
            | Action::Restart { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::Slow { node, .. }
            | Action::SlowControl { node, .. }
            | Action::Clock { node, .. }
            | Action::Disk { node, .. } => {
                if let Some(host) = at(self, node) {
                    self.apply_to(host, action);
                }
            }
        }
        self.note_health();
    }

    /// Somebody does something to one node.
    fn apply_to(&mut self, host: HostIndex, action: &Action) {
        let running = self.hosts[host].state == ProcessState::Running;
        let paused = self.hosts[host].paused;
        match action {
            Action::Crash { disk, .. } if running => self.crash(host, *disk),
            Action::Stop { .. } if running && !paused => self.stop(host),
            Action::Restart { .. } if !running => self.start(host),
            Action::Pause { .. } if running && !paused => {
                self.hosts[host].paused = true;
                self.checker.note(Fault::Pause);
                self.own_event(host, None, EventKind::Paused { paused: true });
            }
            Action::Resume { .. } if paused => {
                self.own_event(host, None, EventKind::Paused { paused: false });
                self.go_on(host);
            }
            Action::Slow { by, .. } if running => {
                self.hosts[host].slow_by = *by;
                if !by.is_zero() {
                    self.checker.note(Fault::SlowProcess);
                }
            }
            Action::SlowControl { by, .. } if running => {
                self.hosts[host].slow_control_by = *by;
                if !by.is_zero() {
                    self.checker.note(Fault::SlowControl);
                }
            }
            Action::Clock { jump_ms, drift_ppm, .. } => self.set_clock(host, *jump_ms, *drift_ppm),
            Action::Disk { fault, .. } => self.disk(host, *fault),
            _ => {}
        }
    }

    fn crash(&mut self, host: HostIndex, disk: DiskFate) {
        if disk != DiskFate::Kept && !self.may_lose_disk(host, disk) {
            return;
        }
        self.checker.note(Fault::Crash);
        self.own_event(host, None, EventKind::Crashed);
        self.end_process(host, ProcessState::Crashed);
        let (fault, what) = match disk {
            DiskFate::Kept => return,
            DiskFate::Lost => {
                self.hosts[host].lose_disks();
                (Fault::DiskLost, "the disk is lost")
            }
            DiskFate::RolledBack => {
                self.hosts[host].roll_back();
                (Fault::DiskRolledBack, "an old copy of the disk was put back")
            }
        };
        self.note_disk(host, fault, what.into());
    }

    /// Whether the disk may be lost or replaced by an old copy. That a store is old can only be known by those who have
    /// heard that it went on since then.
    fn may_lose_disk(&mut self, host: HostIndex, disk: DiskFate) -> bool {
        if disk == DiskFate::RolledBack && !self.went_on_since_copied(host) {
            return false;
        }
        let name = self.hosts[host].node.clone();
        self.can_decide(|owner| *owner == name, |_| false) && self.may_lose(host, &Scope::Store)
    }

    /// Whether a majority of the owners would remember what they promised, if these had lost their disks and those were no
    /// owners any more. Without one nothing is ever decided again, for nobody can tell what was; only an override helps.
    fn can_decide(&mut self, loses: impl Fn(&NodeId) -> bool, goes: impl Fn(&NodeId) -> bool) -> bool {
        let Some(rings) = self.checker.rings().cloned() else { return true };
        self.hosts.iter_mut().for_each(|host| host.note_votes(rings.layout()));
        let owners: Vec<&NodeId> = rings.layout().owners().filter(|owner| !goes(owner)).collect();
        let remembers = |owner: &&&NodeId| {
            let host = self.index(owner).map(|index| &self.hosts[index]);
            !loses(owner) && host.is_some_and(|host| !host.forgot_votes)
        };
        2 * owners.iter().filter(remembers).count() > owners.len()
    }

    /// Whether everybody runs and has had time to hear that the node went on since its copy was made.
    fn went_on_since_copied(&self, host: HostIndex) -> bool {
        let long_ago = |since: Option<Time>| since.is_some_and(|since| since + HEARD_WITHIN <= self.now);
        long_ago(self.steady_since)
            && long_ago(self.hosts[host].copied_at())
            && self
                .hosts
                .iter()
                .all(|host| host.left || (host.state == ProcessState::Running && long_ago(Some(host.since))))
    }

    /// Whether so much may be lost at a node; if so it is noted that it is.
    fn may_lose(&mut self, host: HostIndex, scope: &Scope) -> bool {
        for store in self.checker.losses.pulling().collect::<Vec<_>>() {
            if self.hosts[store].control().is_some_and(|control| control.not_ready().is_none()) {
                self.checker.losses.is_whole(store);
            }
        }
        let mut losses = self.checker.losses.clone();
        losses.keep_damaged(|store, key| {
            let store = self.hosts[store].store_of(Position::of(key).slice());
            shard::held(store.memory(), key).is_err()
        });
        let may = losses.lose(host, scope, |key, dot| self.owners_that_have(key, dot));
        self.checker.losses = losses;
        may
    }

    /// The owners of a key, if all of them have a write on their disks, or know that it was replaced.
    fn owners_that_have(&self, key: &Key, dot: Dot) -> Option<BTreeSet<HostIndex>> {
        let at = Position::of(key);
        let owners = self.checker.rings()?.ring().preference_list(at).primaries();
        let indexes: BTreeSet<HostIndex> = owners.iter().filter_map(|owner| self.index(owner)).collect();
        let has = |host: &HostIndex| {
            let store = self.hosts[*host].store_of(at.slice());
            self.hosts[*host].has_forgotten(at.slice(), dot)
                || store.memory().is_durable(Space::Objects, &shard::object_key(key))
                    && shard::held(store.memory(), key).is_ok_and(|set| set.context().covers(dot))
        };
        indexes.iter().all(has).then_some(indexes)
    }

    fn fail_power(&mut self) {
        let running = |host: &HostIndex| self.hosts[*host].state == ProcessState::Running;
        let running: Vec<HostIndex> = (0..self.hosts.len()).filter(running).collect();
        if running.is_empty() {
            return;
        }
        self.checker.note(Fault::PowerFailure);
        for host in running {
            self.own_event(host, None, EventKind::Crashed);
            self.end_process(host, ProcessState::Crashed);
        }
    }

    fn stop(&mut self, host: HostIndex) {
        self.checker.note(Fault::Stop);
        let (wishes, life) = (self.hosts[host].say_goodbye(self.now), self.hosts[host].life);
        self.fulfil(host, wishes);
        self.put(self.now + GOODBYE, Item::End { host, life });
    }

    /// An operator asks a node for another layout. So many owners are left that every key has all its copies.
    fn change_layout(&mut self, host: HostIndex, change: &LayoutChange) {
        let n = usize::from(self.setting.replication.n.get());
        let owners = self.checker.rings().map_or(0, |rings| rings.layout().len());
        let shrinks =
            matches!(change, LayoutChange::Leave | LayoutChange::Remove { .. } | LayoutChange::Replace { .. });
        let moves = self.hosts[host].state == ProcessState::Running && !self.hosts[host].paused;
        if !moves || (shrinks && owners <= n.max(3)) {
            return;
        }
        let own = self.hosts[host].node.clone();
        let goes = |owner: &NodeId| match change {
            LayoutChange::Leave => *owner == own,
            LayoutChange::Remove { node } | LayoutChange::Replace { old: node, .. } => owner == node,
            LayoutChange::Weigh { .. } | LayoutChange::Revert | LayoutChange::Force { .. } => false,
        };
        if shrinks && !self.can_decide(|_| false, goes) {
            return;
        }
        let changes = |changes: Vec<Change>| Wish::Changes { base: None, changes };
        let (fault, wish) = match change {
            LayoutChange::Leave => {
                self.checker.note(Fault::Leave);
                let wishes = self.hosts[host].leave(self.now);
                return self.fulfil(host, wishes);
            }
            LayoutChange::Remove { node } => {
                let why = Farewell::Removed;
                (Fault::Remove, changes([Change::Remove { node: node.clone(), why }].into()))
            }
            LayoutChange::Replace { old, new } => {
                let Some(store) = self.store_id(new) else { return };
                let (old, new) = (old.clone(), new.clone());
                (Fault::Replace, changes([Change::Replace { old, new, store }].into()))
            }
            LayoutChange::Weigh { node, weight } => {
                let change = Change::Adjust { node: node.clone(), zone: None, weight: Some(*weight) };
                (Fault::Weigh, changes([change].into()))
            }
            LayoutChange::Revert => (Fault::Revert, Wish::Revert),
            LayoutChange::Force { lost } => {
                let why = Farewell::Removed;
                let remove = |node: &NodeId| Change::Remove { node: node.clone(), why };
                (Fault::Force, Wish::Force { changes: lost.iter().map(remove).collect() })
            }
        };
        self.checker.note(fault);
        let wishes = self.hosts[host].wish(self.now, wish);
        self.fulfil(host, wishes);
    }

    /// The store that a running node has now.
    fn store_id(&self, node: &NodeId) -> Option<ActorId> {
        self.hosts[self.index(node)?].control().map(Node::actor)
    }

    fn set_clock(&mut self, host: HostIndex, jump_ms: i64, drift_ppm: i32) {
        if jump_ms != 0 {
            self.checker.note(Fault::ClockJump);
        }
        if drift_ppm != 0 {
            self.checker.note(Fault::ClockDrift);
        }
        let offset_ms = self.hosts[host].set_clock(self.now, jump_ms, drift_ppm);
        self.own_event(host, None, EventKind::ClockSet { offset_ms });
    }

    fn disk(&mut self, host: HostIndex, fault: DiskFault) {
        match fault {
            DiskFault::Unreadable => {
                self.hosts[host].set_drive(true, false);
                self.note_disk(host, Fault::ReadError, "it cannot read".into());
            }
            DiskFault::Full => {
                self.hosts[host].set_drive(false, true);
                self.note_disk(host, Fault::DiskFull, "it is full".into());
            }
            DiskFault::Slow { sync_max } => {
                self.hosts[host].set_sync_max(sync_max);
                self.note_disk(host, Fault::SlowDisk, format!("it takes up to {sync_max:?} for a batch"));
            }
            DiskFault::Rot => self.rot(host),
            DiskFault::Copied => self.hosts[host].copy_disks(self.now),
            DiskFault::Healthy => self.hosts[host].mend_disks(),
        }
    }

    fn rot(&mut self, host: HostIndex) {
        let Some((disk, rotting)) = self.hosts[host].choose_rot() else { return };
        let key = shard::placed_at(&rotting.key).map(|(_, key)| key);
        let scope = match rotting.space {
            Space::Objects => key.map(Scope::Key),
            Space::Hints => Some(Scope::Some),
            // A tree is built anew from the objects.
            Space::Meta | Space::Tree => None,
        };
        if scope.is_none_or(|scope| self.may_lose(host, &scope)) {
            let what = format!("a row of its {:?} changed by itself", rotting.space);
            self.hosts[host].rot(disk, rotting);
            self.note_disk(host, Fault::BitRot, what);
        }
    }

    fn note_disk(&mut self, host: HostIndex, fault: Fault, what: String) {
        self.checker.note(fault);
        self.own_event(host, None, EventKind::DiskFault { what });
    }

    /// Cuts every link between two groups. Nodes that are in none form one more.
    fn partition(&mut self, groups: &[Vec<NodeId>]) {
        let group = |host: HostIndex| groups.iter().position(|group| group.contains(self.host_name(host)));
        let groups: Vec<Option<usize>> = (0..self.hosts.len()).map(group).collect();
        let mut changed = false;
        for (from, one) in groups.iter().enumerate() {
            for (to, _) in groups.iter().enumerate().filter(|(_, other)| *other != one) {
                changed |= self.network.set_link(self.now, from, to, Link { cut: true, ..Link::default() });
            }
        }
        if changed {
            self.checker.note(Fault::Partition);
        }
    }

    fn set_link(&mut self, from: HostIndex, to: HostIndex, link: Link) {
        let changed = self.network.set_link(self.now, from, to, link);
        if changed && link.cut {
            self.checker.note(Fault::OneWayCut);
        }
        if changed && !link.latency.is_zero() {
            self.checker.note(Fault::SlowLink);
        }
    }

    fn heal_core(&mut self, core: &[NodeId]) {
        let core: Vec<HostIndex> = core.iter().filter_map(|node| self.index(node)).collect();
        for &from in &core {
            for &to in &core {
                self.network.set_link(self.now, from, to, Link::default());
            }
        }
        core.iter().for_each(|host| self.mend(*host));
        self.core = Some((self.now, core));
    }

    /// Everything about a node is as it should be from now on, but for its links.
    pub(super) fn mend(&mut self, host: HostIndex) {
        self.hosts[host].mend_disks();
        self.hosts[host].hurry();
        if self.hosts[host].paused {
            self.go_on(host);
        }
        if self.hosts[host].state != ProcessState::Running {
            self.start(host);
        }
    }

    /// Notes whether everything is as it should be.
    pub(super) fn note_health(&mut self) {
        let since = |before: Option<Time>, well: bool| if well { before.or(Some(self.now)) } else { None };
        let calm = self.network.is_calm();
        let well_or_down = |host: &Host| host.state != ProcessState::Running || host.is_well();
        self.well_since = since(self.well_since, calm && self.hosts.iter().all(|host| host.is_well() || host.left));
        let steady = self.hosts.iter().all(well_or_down);
        self.quiet_since = since(self.quiet_since, calm && steady);
        self.steady_since = since(self.steady_since, self.network.is_healed() && steady);
    }
}
