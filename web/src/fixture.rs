//! Hand-made pictures for the tests of this crate.

use std::collections::BTreeMap;

use quorate_core::event::{Event, EventId, EventKind, LossReason, MessageKind, OperationKind};
use quorate_core::id::{ActorId, Address, Key, NodeId, Zone};
use quorate_core::membership::State;
use quorate_core::sim::player::{Frame, Playback};
use quorate_core::time::Time;
use quorate_core::view::{
    ClusterView, Endpoint, KeyView, LinkView, MemberView, MessageView, NodeView, OperationView, OutcomeView,
    ProcessState, ReplicaView, RingView, TokenView, VersionView, VoteView,
};

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a test names its nodes well")
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).expect("a test names its keys well")
}

/// The name of the node with this index: `A` to `Z`, then `A1` and so on.
pub(crate) fn name(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).expect("below 26"));
    if index < 26 { letter.into() } else { format!("{letter}{}", index / 26) }
}

/// A cluster in which all is well; its ring has four evenly spread tokens a node, dealt in turn.
pub(crate) fn cluster(nodes: usize) -> Fixture {
    let names: Vec<_> = (0..nodes).map(|index| node(&name(index))).collect();
    let alive = |name: &NodeId| MemberView {
        node: name.clone(),
        state: State::Alive,
        stopped: false,
        incarnation: 1,
        last_seen: Some(Time::ZERO),
    };
    let members: Vec<_> = names.iter().map(alive).collect();
    let count = u32::try_from(nodes * 4).expect("few nodes");
    let tokens = (0..count)
        .map(|index| TokenView {
            hash: (u32::MAX / count) * index,
            owner: u16::try_from(index).expect("few") % u16::try_from(nodes).expect("few"),
        })
        .collect();
    let nodes = names
        .iter()
        .enumerate()
        .map(|(index, name)| NodeView {
            node: name.clone(),
            address: Address::new(&format!("{name}:1")).expect("an address"),
            zone: Zone::new("default").expect("a zone"),
            process: ProcessState::Running,
            not_ready: None,
            incarnation: 1,
            boot: 1,
            actor: ActorId(u128::try_from(index).expect("few") + 1),
            layout_version: 1,
            hints: BTreeMap::new(),
            keys: 0,
            members: members.clone(),
        })
        .collect();
    let ring = RingView { layout_version: 1, n: 3, owners: names, tokens };
    Fixture { view: ClusterView { now: Time::from_ms(2_400), nodes, ring, ..ClusterView::default() } }
}

pub(crate) struct Fixture {
    pub(crate) view: ClusterView,
}

impl Fixture {
    /// Cuts links, each one way, written `A>B`.
    pub(crate) fn cut(mut self, links: &[&str]) -> Self {
        for link in links {
            let (from, to) = link.split_once('>').expect("written A>B");
            let since = Time::from_ms(2_392);
            self.view.links.push(LinkView { from: node(from), to: node(to), cut: true, loss_per_million: 0, since });
        }
        self
    }

    /// Cuts every link between the groups.
    pub(crate) fn split(self, groups: &[&[&str]]) -> Self {
        let mut links = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(index + 1).copied().flatten() {
                links.extend(group.iter().flat_map(|node| [format!("{node}>{other}"), format!("{other}>{node}")]));
            }
        }
        self.cut(&links.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Ends a process.
    pub(crate) fn down(mut self, name: &str, process: ProcessState) -> Self {
        let found = self.view.nodes.iter_mut().find(|found| found.node == node(name));
        found.expect("a node of the fixture").process = process;
        self
    }

    /// Lets some nodes believe something of a member.
    pub(crate) fn believed(mut self, observers: &[&str], subject: &str, state: State) -> Self {
        for observer in self.view.nodes.iter_mut().filter(|seen| observers.contains(&seen.node.as_str())) {
            let member = observer.members.iter_mut().find(|member| member.node == node(subject));
            member.expect("a member of the fixture").state = state;
        }
        self
    }

    /// Puts a message between two nodes, or a client (in lower case) and a node, on its way.
    pub(crate) fn message(mut self, from: &str, to: &str, kind: MessageKind, sent_ms: u64, due_ms: u64) -> Self {
        let end = |name: &str| match name.starts_with(char::is_lowercase) {
            true => Endpoint::Client(name.into()),
            false => Endpoint::Node(node(name)),
        };
        let id = u64::try_from(self.view.messages.len()).expect("few") + 1;
        self.view.messages.push(MessageView {
            id,
            from: end(from),
            to: end(to),
            kind,
            key: None,
            sent_at: Time::from_ms(sent_ms),
            due_at: Time::from_ms(due_ms),
            lost: None,
            cause: Some(EventId { origin: 9, number: u32::try_from(id).expect("few") }),
        });
        self
    }

    /// Loses the last message on its way.
    pub(crate) fn lost(mut self, at_ms: u64, reason: LossReason) -> Self {
        self.view.messages.last_mut().expect("a message to lose").lost = Some((Time::from_ms(at_ms), reason));
        self
    }

    /// Adds a put that A coordinates and that A and C vote for.
    pub(crate) fn put(mut self, id: u64, outcome: Option<OutcomeView>) -> Self {
        let vote =
            |name, us: u64, count, decisive| VoteView { node: node(name), at: Time(us * 1_000), count, decisive };
        self.view.operations.push(OperationView {
            id,
            client: "alice".into(),
            node: node("A"),
            operation: OperationKind::Put,
            key: key("cart"),
            value: Some("milk, eggs".into()),
            started_at: Time::from_ms(2_400),
            ended_at: outcome.is_some().then_some(Time(2_414_600_000)),
            outcome,
            coordinator: Some(node("A")),
            votes: vec![vote("A", 2_403_900, 1, false), vote("C", 2_412_400, 2, true)],
            event: None,
        });
        self
    }

    /// The picture as a frame of the first run.
    pub(crate) fn frame(self, events: Vec<Event>) -> Box<Frame> {
        let playback = Playback { run: 1, now: self.view.now, ..Playback::default() };
        Box::new(Frame { playback, view: self.view, key: None, events, events_skipped: 0 })
    }
}

/// `cart` belongs to A, C and D; A and C hold it, E and B stand in.
pub(crate) fn cart() -> KeyView {
    let holds = |name: &str, value: &str| ReplicaView {
        node: node(name),
        versions: vec![VersionView {
            issuer: Some(node("A")),
            actor: ActorId(1),
            counter: 8,
            value: Some(value.into()),
            wall_ms: 0,
        }],
    };
    KeyView {
        key: key("cart"),
        hash: 0x1000_0000,
        primaries: ["A", "C", "D"].map(node).to_vec(),
        fallbacks: ["E", "B"].map(node).to_vec(),
        replicas: vec![holds("A", "milk, eggs"), holds("C", "milk, eggs")],
    }
}

/// An event of node `at_node`.
pub(crate) fn event(number: u32, cause: Option<u32>, at_ms: u64, at_node: &str, kind: EventKind) -> Event {
    let id = |number| EventId { origin: 9, number };
    Event { id: id(number), cause: cause.map(id), at: Time::from_ms(at_ms), node: node(at_node), kind }
}
