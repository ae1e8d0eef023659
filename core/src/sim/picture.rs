//! The world as a picture: what a person looking at it from outside would see. Reads everything, changes nothing.

use alloc::vec::Vec;

use super::client::value_text;
use super::host::{Host, address_of};
use super::world::World;
use crate::hash::Position;
use crate::id::{ActorId, Key, NodeId, Zone};
use crate::layout::Rings;
use crate::storage::Space;
use crate::view::{
    ClusterView, KeyView, MemberView, NodeView, ProcessState, ReplicaView, RingView, TokenView, VersionView,
};

impl World {
    /// The whole cluster at this moment.
    #[must_use]
    pub fn view(&self) -> ClusterView {
        ClusterView {
            now: self.now(),
            nodes: self.hosts().map(node_view).collect(),
            ring: self.rings().map(ring_view).unwrap_or_default(),
            messages: self.in_flight(),
            links: self.network.views(|index| self.host_name(index).clone()),
            operations: self.clients.views(),
        }
    }

    /// Where a key lives, and what every node holds of it. Nothing before there is a ring.
    #[must_use]
    pub fn key_view(&self, key: &Key) -> Option<KeyView> {
        let ring = self.rings()?.ring();
        let at = Position::of(key);
        let list = ring.preference_list(at);
        let replicas = self.hosts().filter_map(|host| self.replica_view(host, key)).collect();
        Some(KeyView {
            key: key.clone(),
            hash: at.short(),
            primaries: list.primaries().to_vec(),
            fallbacks: list.fallbacks().cloned().collect(),
            replicas,
        })
    }

    /// The rings of the newest layout that a running node has.
    fn rings(&self) -> Option<&Rings> {
        let running = self.hosts().filter_map(Host::control);
        running.map(|node| &**node.rings()).filter(|rings| !rings.layout().is_empty()).max_by_key(|rings| rings.id)
    }

    fn replica_view(&self, host: &Host, key: &Key) -> Option<ReplicaView> {
        let slice = Position::of(key).slice();
        let index = usize::from(slice.number()) % host.shards().len().max(1);
        let set = host.shards().get(index)?.peek(key).ok()?;
        let versions: Vec<VersionView> = set
            .live()
            .map(|(dot, version)| VersionView {
                issuer: self.issuer(dot.actor),
                actor: dot.actor,
                counter: dot.counter,
                value: version.value.as_ref().map(value_text),
                wall_ms: version.stamp.wall_ms,
            })
            .collect();
        (!versions.is_empty()).then(|| ReplicaView { node: host.node.clone(), versions })
    }

    fn issuer(&self, actor: ActorId) -> Option<NodeId> {
        let running = self.hosts().filter_map(Host::control);
        let mut members = running.flat_map(|node| node.membership().members());
        members.find(|known| known.member.actor == actor).map(|known| known.member.node.clone())
    }
}

fn node_view(host: &Host) -> NodeView {
    let control = host.control();
    let member = control.map(|node| node.membership().me());
    NodeView {
        node: host.node.clone(),
        address: address_of(&host.node),
        zone: member.map_or_else(|| Zone::new("default").expect("a good name"), |member| member.zone.clone()),
        process: host.state,
        not_ready: match (host.state, control) {
            (ProcessState::Running, Some(node)) => node.not_ready(),
            _ => Some("its process does not run".into()),
        },
        incarnation: member.map_or(0, |member| member.incarnation),
        boot: member.map_or(0, |member| member.boot),
        actor: member.map_or(ActorId(0), |member| member.actor),
        layout_version: control.map_or(0, |node| node.rings().id.version),
        keys: host.rows(Space::Objects),
        hints: host.hints(),
        members: control.map(|node| node.membership().members().map(member_view).collect()).unwrap_or_default(),
    }
}

fn member_view(known: &crate::membership::Known) -> MemberView {
    MemberView {
        node: known.member.node.clone(),
        state: known.member.state,
        stopped: known.member.stopped,
        incarnation: known.member.incarnation,
        last_seen: known.last_seen,
    }
}

fn ring_view(rings: &Rings) -> RingView {
    RingView {
        layout_version: rings.id.version,
        n: rings.ring().n().get(),
        owners: rings.ring().owners().iter().map(|owner| owner.node.clone()).collect(),
        tokens: rings
            .ring()
            .tokens()
            .iter()
            .map(|token| TokenView { hash: token.position.short(), owner: token.owner })
            .collect(),
    }
}
