//! The world under judgement: what the checkers are shown while it runs. Decides nothing, changes nothing a node can see.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::Invariant;
use super::checker::{Answer, CALM_AFTER, Circumstances, requests_max};
use super::client::Open;
use super::host::Host;
use super::network::HostIndex;
use super::world::World;
use crate::causality::Dot;
use crate::event::{Event, EventKind, MessageKind};
use crate::hash::Position;
use crate::id::{Key, NodeId, Token};
use crate::membership::State;
use crate::request::Reply;
use crate::shard::Shard;
use crate::storage::Space;
use crate::time::Time;
use crate::view::ProcessState;

/// A dead member is found dead by then, whatever the size of the clusters of this world.
const DEAD_FOUND_WITHIN: Duration = Duration::from_secs(90);

impl World {
    /// An event of a node, or of the world itself.
    pub(super) fn judge_event(&mut self, host: HostIndex, event: &Event) {
        if let EventKind::LeftoverDropped { key } = &event.kind {
            let owners: BTreeSet<HostIndex> = self.owners_of(key).into_iter().collect();
            self.checker.losses.hand_over(host, Some(key), |_| owners.clone());
        }
        if let EventKind::LayoutChanged { .. } = event.kind
            && let Some(control) = self.hosts[host].control()
        {
            let rings = control.rings().clone();
            self.checker.layout(self.now, &rings);
        }
        let calm = self.is_calm_since(CALM_AFTER);
        let (names, hosts) = (&self.names, &self.hosts);
        let lives = |node: &NodeId| names.get(node).is_some_and(|index| hosts[*index].is_well());
        let exchange = matches!(self.handling, Some(MessageKind::Exchange | MessageKind::ExchangeAnswer));
        self.checker.observe(self.now, event, Circumstances { calm, exchange }, lives);
    }

    /// A node has left for good: the owners of now stand for what it held.
    pub(super) fn judge_departure(&mut self, host: HostIndex) {
        let Some(rings) = self.checker.rings().cloned() else { return };
        let names = &self.names;
        let owners = |key: &Key| {
            let owners = rings.ring().preference_list(Position::of(key)).primaries();
            owners.iter().filter_map(|owner| names.get(owner).copied()).collect()
        };
        self.checker.losses.hand_over(host, None, owners);
    }

    /// Whether everything has been as it should be for so long.
    pub(super) fn is_calm_since(&self, span: Duration) -> bool {
        self.well_since.is_some_and(|since| since + span <= self.now)
    }

    /// The answer that a client got.
    pub(super) fn judge_reply(&mut self, token: Token, open: &Open, reply: &Reply) {
        let mut shards = self.hosts[open.host].shards().iter();
        let secret = shards.find_map(Shard::picture).map(|picture| picture.secret.clone());
        let names = &self.names;
        let index = |node: &NodeId| names.get(node).copied();
        let slice = Position::of(open.asked.key()).slice();
        let hosts = &self.hosts;
        let forgotten = |dot: Dot| hosts.iter().any(|host| host.has_forgotten(slice, dot));
        let answer = Answer { token, open, reply };
        self.checker.answered(self.now, answer, secret.as_ref(), index, forgotten);
    }

    /// Looks at what waits everywhere, and at who believes whom dead.
    pub(super) fn look(&mut self) {
        let longest = u64::from(self.network.longest_queue());
        let on_its_way = (longest, 1 + u64::from(self.setting.network.link_messages_max));
        let members = u64::try_from(self.hosts.len()).expect("a count fits 64 bits");
        for host in &self.hosts {
            let shards = u64::try_from(host.shards().len()).expect("few shards");
            let hints = u64::from(self.setting.repair.hints_max).saturating_mul(members * shards.max(1));
            let under_way: usize = host.shards().iter().map(Shard::requests_under_way).sum();
            let under_way = u64::try_from(under_way).expect("a count fits 64 bits");
            let queues = BTreeMap::from([
                ("requests under way", (under_way, requests_max(host.shards().len()))),
                ("hints", (host.rows(Space::Hints), hints)),
                ("messages on their way over one link", on_its_way),
            ]);
            self.checker.queues(self.now, &host.node, &queues);
        }
        self.look_for_the_dead();
    }

    /// Who has been down for long while all others were well is believed dead by all of them.
    fn look_for_the_dead(&mut self) {
        let long = |since: Time| since + DEAD_FOUND_WITHIN <= self.now;
        if !self.quiet_since.is_some_and(long) || !self.hosts.iter().all(|host| long(host.since)) {
            return;
        }
        let (up, down): (Vec<&Host>, Vec<&Host>) =
            self.hosts.iter().filter(|host| !host.left).partition(|host| host.state == ProcessState::Running);
        let mut found = None;
        for dead in down {
            let believes = |host: &&&Host| {
                let member = host.control().and_then(|control| control.membership().member(&dead.node));
                member.is_some_and(|known| matches!(known.member.state, State::Alive | State::Suspect))
            };
            if let Some(host) = up.iter().find(believes) {
                found = Some(format!("{} is down since {}, and {} does not know", dead.node, dead.since, host.node));
            }
        }
        if let Some(detail) = found {
            self.checker.breaks(Invariant::DeadAreFound, self.now, detail);
        }
    }

    /// The owners of a key, by the newest layout that was seen.
    pub(super) fn owners_of(&self, key: &Key) -> Vec<HostIndex> {
        let rings = self.checker.rings();
        let list = rings.map(|rings| rings.ring().preference_list(Position::of(key)).primaries());
        list.unwrap_or_default().iter().filter_map(|owner| self.index(owner)).collect()
    }
}
