//! What goes into the control plane and what comes out: its inputs and outputs, and what it and its shards tell each other.
//! Plain data.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{JoinError, TalkError, Wish};
use crate::causality::ContextSecret;
use crate::config::{ClusterConfig, Config};
use crate::event::Event;
use crate::gossip::{Asked, GossipError, Heard, QuestionId, Stamp};
use crate::hash::Slice;
use crate::id::{ActorId, Address, ClusterId, EventName, Key, NodeId, Token};
use crate::layout::{ChangeError, LayoutId, Rings};
use crate::message::{AddressBookEntry, Envelope};
use crate::storage::{Seq, StorageError};
use crate::time::{Time, WallTime};

/// What the control plane is told.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "handed over one at a time and never kept")]
pub enum Input {
    /// A peer's message.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        envelope: Envelope,
    },
    /// The time asked for with [`Output::Wake`] has come; too early or too often does no harm.
    Timer,
    /// Every batch up to this one is durable.
    Durable {
        /// The last durable batch.
        upto: Seq,
    },
    /// A shard of this process reports.
    Shard(NodeEvent),
    /// An operator introduces a node: invite it. Answered by [`Output::Introduced`].
    Introduce {
        /// Returned with the answer.
        token: Token,
        /// Where that node is reached.
        address: Address,
    },
    /// An operator wants something of the layout. Answered by [`Output::LayoutChanged`].
    Wish {
        /// Returned with the answer.
        token: Token,
        /// What is wanted.
        wish: Wish,
    },
    /// This node is to leave for good: it hands over what it holds, and ends with [`Output::Left`]. Answered by
    /// [`Output::LayoutChanged`] once that begins.
    Leave {
        /// Returned with the answer.
        token: Token,
    },
    /// A user tells the whole cluster something. Answered by [`Output::Fired`].
    Fire {
        /// Returned with the answer.
        token: Token,
        /// What kind of event it is.
        name: EventName,
        /// What it says: at most [`crate::limits::EVENT_BYTES_MAX`].
        payload: Bytes,
    },
    /// A user asks members something. Answered by [`Output::Asked`]; what they say is [`Heard::Answers`].
    Ask {
        /// Returned with the answer.
        token: Token,
        /// What, and whom.
        asked: Asked,
    },
    /// The application says something to a question that it was put with [`Heard::Question`]. Answered by
    /// [`Output::Answered`].
    Answer {
        /// Returned with the answer.
        token: Token,
        /// Who asked.
        asker: NodeId,
        /// Which question.
        id: QuestionId,
        /// What is said: at most [`crate::limits::EVENT_BYTES_MAX`].
        payload: Bytes,
    },
    /// The process is to stop: say goodbye.
    Stop,
}

/// What the control plane wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send to a member; it may be lost.
    Send {
        /// Whom to.
        to: NodeId,
        /// What.
        envelope: Envelope,
    },
    /// Send to whoever listens at an address; it may be lost.
    Contact {
        /// Where.
        address: Address,
        /// What.
        envelope: Envelope,
    },
    /// Make every batch up to this one durable, then say so with [`Input::Durable`].
    Sync {
        /// The last batch.
        upto: Seq,
    },
    /// Come back with [`Input::Timer`] at this time; replaces the time asked for before.
    Wake {
        /// When.
        at: Time,
    },
    /// From now on this node is reached at this address.
    Address(AddressBookEntry),
    /// For every shard of this process.
    Shards(ShardEvent),
    /// The outcome of an introduction.
    Introduced {
        /// As given.
        token: Token,
        /// What came of it.
        result: Result<NodeId, JoinError>,
    },
    /// What came of a wish: the layout that fulfils it.
    LayoutChanged {
        /// As given.
        token: Token,
        /// What came of it.
        result: Result<LayoutId, ChangeError>,
    },
    /// What came of an event: with which stamp everybody hears it.
    Fired {
        /// As given.
        token: Token,
        /// What came of it.
        result: Result<Stamp, TalkError>,
    },
    /// What came of a question: under which id its answers will come.
    Asked {
        /// As given.
        token: Token,
        /// What came of it.
        result: Result<QuestionId, TalkError>,
    },
    /// What came of what the application said to a question. Whether the asker still waited is not known.
    Answered {
        /// As given.
        token: Token,
        /// What came of it.
        result: Result<(), GossipError>,
    },
    /// An event, a question or the answers to one, for the application.
    Heard(Heard),
    /// This node has left the cluster for good: end the process.
    Left,
    /// The store cannot remember what this node must not forget: stop the process.
    Failed(StorageError),
    /// For the trace.
    Event(Event),
}

impl From<Event> for Output {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// What the control plane tells its shards. Opaque to the shell, which only carries it.
#[derive(Clone, Debug)]
pub struct ShardEvent(pub(crate) ToShard);

#[derive(Clone, Debug)]
pub(crate) enum ToShard {
    /// The world has changed: route by this.
    Picture(Arc<Picture>),
    /// This store begins a cluster, under this layout: whatever it does not hold does not exist.
    Founded(LayoutId),
    /// This store enters another cluster: what it does not hold is unknown.
    Entered,
    /// This store has a new actor: it issues under it from now on, and what it does not hold is unknown.
    Reborn { actor: ActorId, boot: u64 },
}

/// What a shard tells its control plane. Opaque to the shell, which only carries it.
#[derive(Clone, Debug)]
pub struct NodeEvent(pub(crate) FromShard);

#[derive(Clone, Debug)]
pub(crate) enum FromShard {
    /// A slice holds everything that this node owns of it under this layout, durably.
    Synced { cluster: ClusterId, actor: ActorId, slice: Slice, layout: LayoutId, objects: u64 },
    /// These slices, one bit each, are read under nothing older than this layout.
    Moved { layout: LayoutId, slices: u64 },
    /// Of these slices, those that hold nothing any more that only others own under this layout.
    Cleared { layout: LayoutId, slices: u64, cleared: u64 },
    /// A peer knows dots of this actor that the store never issued: the store has forgotten them.
    Forgotten { actor: ActorId },
    /// There are objects in this store.
    HoldsData,
    /// A peer acts under another layout than ours, or reads a slice under an older one.
    LayoutDiffers(NodeId),
    /// A peer did not answer in time.
    NoAnswer(NodeId),
    /// A key of which this node is the first living owner has several values, and had fewer than two.
    Conflict { key: Key, siblings: usize },
}

/// What every shard routes by: immutable, replaced as a whole.
#[derive(Debug)]
pub struct Picture {
    /// This node.
    pub me: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// With what contexts are sealed.
    pub secret: ContextSecret,
    /// What the cluster agreed on.
    pub config: ClusterConfig,
    /// Who owns what.
    pub rings: Arc<Rings>,
    /// Members that are known to be dead or gone.
    pub down: BTreeSet<NodeId>,
    /// Which node's store each known actor is.
    pub issuers: BTreeMap<ActorId, NodeId>,
}

/// What makes a cluster itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) secret: [u8; 32],
}

/// What a node is told about itself at its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name.
    pub node: NodeId,
    /// Where the others reach it.
    pub address: Address,
    /// What the operator chose.
    pub config: Config,
    /// Where members may be found. Its own address among them is skipped.
    pub seeds: Vec<Address>,
    /// The time of day, from which the clock of its events begins.
    pub wall: WallTime,
}
