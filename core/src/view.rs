//! What a person can see of a cluster: one schema for the simulator, the WebSocket and the page. Pictures only: nothing is
//! decided from them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{EventId, LossReason, MessageKind, OperationKind};
use crate::id::{ActorId, Address, Key, NodeId, Zone};
use crate::membership::State;
use crate::time::Time;

/// A cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The moment.
    pub now: Time,
    /// Every node, in the order of its id.
    pub nodes: Vec<NodeView>,
    /// The ring of the newest layout that any running node has.
    pub ring: RingView,
    /// Messages on their way.
    pub messages: Vec<MessageView>,
    /// Links that are not as they should be.
    pub links: Vec<LinkView>,
    /// The operations of clients that are under way or ended lately, oldest first.
    pub operations: Vec<OperationView>,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    #[default]
    Running,
    /// It is down.
    Crashed,
    /// It was stopped tidily.
    Stopped,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: NodeId,
    /// Its address.
    pub address: Address,
    /// Its zone.
    pub zone: Zone,
    /// What its process is doing.
    pub process: ProcessState,
    /// Why it cannot serve yet; nothing if it can.
    pub not_ready: Option<String>,
    /// Its incarnation.
    pub incarnation: u64,
    /// How often its store has been opened.
    pub boot: u64,
    /// Under which name its store issues dots.
    pub actor: ActorId,
    /// The version of its layout.
    pub layout_version: u64,
    /// Objects in its store.
    pub keys: u64,
    /// Hints in its store, by the owner they are kept for.
    pub hints: BTreeMap<NodeId, u64>,
    /// What it believes of every member, itself included, in the order of their ids.
    pub members: Vec<MemberView>,
}

/// What one node believes of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Which member.
    pub node: NodeId,
    /// What is believed.
    pub state: State,
    /// Whether it said goodbye.
    pub stopped: bool,
    /// Its incarnation as known here.
    pub incarnation: u64,
    /// When it was last heard of, on the believing node's clock; nothing if not yet.
    pub last_seen: Option<Time>,
}

/// The ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingView {
    /// The layout's version.
    pub layout_version: u64,
    /// Copies of each key.
    pub n: u8,
    /// The owners, in the order of their ids.
    pub owners: Vec<NodeId>,
    /// The tokens, in the order of their positions.
    pub tokens: Vec<TokenView>,
}

/// One token of the ring: its owner is first in line for the keys from the token before it up to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// The first four bytes of its position.
    pub hash: u32,
    /// Index into [`RingView::owners`].
    pub owner: u16,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// Its number in this world.
    pub id: u64,
    /// Who sent it.
    pub from: Endpoint,
    /// Who will receive it.
    pub to: Endpoint,
    /// What it is about.
    pub kind: MessageKind,
    /// The key it is about, if it is about one.
    pub key: Option<Key>,
    /// When it left.
    pub sent_at: Time,
    /// When it arrives, or would have.
    pub due_at: Time,
    /// If it is lost: when, and why.
    pub lost: Option<(Time, LossReason)>,
    /// The event of its sending.
    pub cause: Option<EventId>,
}

/// An end of a message: a node, or a client by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// A node.
    Node(NodeId),
    /// A client.
    Client(String),
}

/// A link in one direction that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// From this node
    pub from: NodeId,
    /// to this one
    pub to: NodeId,
    /// nothing passes.
    pub cut: bool,
    /// Messages lost, per million.
    pub loss_per_million: u32,
    /// Since when.
    pub since: Time,
}

/// Where a key lives and what each replica holds of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key.
    pub key: Key,
    /// The first four bytes of its position.
    pub hash: u32,
    /// Its owners, in the order of the walk.
    pub primaries: Vec<NodeId>,
    /// Who stands in, in the order of the walk.
    pub fallbacks: Vec<NodeId>,
    /// What each node that holds anything of it holds.
    pub replicas: Vec<ReplicaView>,
}

/// What one replica holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// The replica.
    pub node: NodeId,
    /// Its live versions, tombstones included.
    pub versions: Vec<VersionView>,
}

/// What the shards of a node compared with others and repaired, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AntiEntropyView {
    /// When a comparison ended last, on the node's own monotonic clock.
    pub last_exchange: Option<Time>,
    /// Comparisons of a slice with a peer that this node began and that came to their end.
    pub exchanges: u64,
    /// Copies that were behind and were brought up to date by those: of one key it may be both sides.
    pub keys_repaired: u64,
    /// Hash trees that did not fit their objects and were built anew.
    pub trees_built: u64,
    /// Damaged objects that were fetched from their other owners.
    pub objects_healed: u64,
}

impl AntiEntropyView {
    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            last_exchange: self.last_exchange.max(other.last_exchange),
            exchanges: self.exchanges + other.exchanges,
            keys_repaired: self.keys_repaired + other.keys_repaired,
            trees_built: self.trees_built + other.trees_built,
            objects_healed: self.objects_healed + other.objects_healed,
        }
    }
}

/// The hash tree of one slice at one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleView {
    /// The slice, by its number.
    pub slice: u8,
    /// Whether the tree fits its objects, as far as known; if not, it is being built anew.
    pub whole: bool,
    /// The nodes that are not empty, from the root downward, level by level.
    pub nodes: Vec<MerkleNodeView>,
}

/// One node of a hash tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleNodeView {
    /// Its level: 0 is the root.
    pub level: u8,
    /// Its number on the level, in the order of positions.
    pub index: u16,
    /// The sum of the hashes of what is below it, in hexadecimal.
    pub digest: String,
    /// Keys below it.
    pub keys: u64,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// The node whose store issued its dot, as far as known.
    pub issuer: Option<NodeId>,
    /// The store that issued its dot.
    pub actor: ActorId,
    /// The counter of its dot.
    pub counter: u64,
    /// The value as text, cut at 200 bytes; nothing for a tombstone.
    pub value: Option<String>,
    /// Its hybrid time in milliseconds.
    pub wall_ms: u64,
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// Its number in this world.
    pub id: u64,
    /// Who asked.
    pub client: String,
    /// Which node was asked.
    pub node: NodeId,
    /// What for.
    pub operation: OperationKind,
    /// Of which key.
    pub key: Key,
    /// The value that was written, as text.
    pub value: Option<String>,
    /// When the client sent it.
    pub started_at: Time,
    /// When the client had its answer.
    pub ended_at: Option<Time>,
    /// The answer.
    pub outcome: Option<OutcomeView>,
    /// Who coordinated it, as far as known.
    pub coordinator: Option<NodeId>,
    /// The answers of replicas, in the order they were counted.
    pub votes: Vec<VoteView>,
    /// The event of its arrival.
    pub event: Option<EventId>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeView {
    /// A write was acknowledged.
    Written,
    /// A read found these values: several are siblings, none is an absent key.
    Found(Vec<String>),
    /// It failed: the error's code and sentence.
    Failed {
        /// The code.
        code: String,
        /// The sentence.
        message: String,
    },
}

/// One replica's answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    /// Who answered.
    pub node: NodeId,
    /// When it was counted.
    pub at: Time,
    /// Answers so far in its round, this one included: a write without a context looks first, and then writes.
    pub count: u8,
    /// Whether it completed the quorum.
    pub decisive: bool,
}
