//! The typed trace: what happened, where, when, and because of what. An explanation is a walk along `cause`. Clocks of a
//! picture are derived from the causes by whoever draws it. Events never decide anything.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::causality::{Dot, VersionVector};
use crate::id::{ActorId, ClusterId, Key, NodeId, RequestKey};
use crate::membership::Change;
use crate::time::Time;

/// Names an event: which process made it, and which of its events it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// The process: the first half of a hash of node id, boot number and machine.
    pub origin: u32,
    /// Counts the events of that process.
    pub number: u32,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// The event that made it happen, on this node or on the one that sent the message.
    pub cause: Option<EventId>,
    /// When, on the node's own monotonic clock.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub kind: EventKind,
}

/// What a message is about: decides how it is drawn, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A client's request.
    Client,
    /// The answer to a client.
    ClientAnswer,
    /// A copy for a replica.
    Write,
    /// A replica's answer to a copy.
    WriteAnswer,
    /// A question to a replica.
    Read,
    /// A replica's answer to a question.
    ReadAnswer,
    /// A client's request, handed on to a node of the preference list.
    Forward,
    /// The answer to a forwarded request.
    ForwardAnswer,
    /// A copy for a fallback, to be kept for an owner that cannot be reached.
    Hint,
    /// What a fallback kept, for the owner that is back.
    HandOff,
    /// A merged set for a replica that was behind.
    Repair,
    /// Hash trees are compared.
    Exchange,
    /// The answer to a comparison.
    ExchangeAnswer,
    /// Owners agree on which tombstones may go.
    Collection,
    /// A new owner asks for a range.
    Transfer,
    /// A page of a range.
    TransferAnswer,
    /// What is known of members, spread at random.
    Gossip,
    /// Is that member alive?
    Probe,
    /// The answer to a probe.
    ProbeAnswer,
    /// A node asks to become a member, or learns the outcome.
    Join,
    /// A node that starts asks whether its store is the one the others remember.
    Life,
    /// Who owns what.
    Layout,
    /// What users and nodes tell and ask the whole cluster.
    Talk,
}

impl MessageKind {
    /// Whether it goes from one control plane to another.
    #[must_use]
    pub const fn is_for_control_plane(self) -> bool {
        matches!(
            self,
            Self::Gossip | Self::Probe | Self::ProbeAnswer | Self::Join | Self::Life | Self::Layout | Self::Talk
        )
    }
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Read a key.
    Get,
    /// Write a key.
    Put,
    /// Write a tombstone.
    Delete,
}

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The network lost it.
    Loss,
    /// The link was cut.
    Cut,
    /// The receiver was down.
    Down,
    /// The link had as much on its way as it holds.
    Full,
}

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The process began to run.
    Started {
        /// How often this store has been opened.
        boot: u64,
    },
    /// The process ended without a word (seen by the simulator only).
    Crashed,
    /// The process stopped tidily.
    Stopped,
    /// This node minted a new cluster.
    Founded {
        /// Its identity.
        cluster: ClusterId,
    },
    /// This node became a member of a cluster.
    JoinedCluster {
        /// Its identity.
        cluster: ClusterId,
        /// Who let it in.
        through: NodeId,
    },
    /// A node was refused as a member, or this one was.
    JoinRefused {
        /// The other node.
        other: NodeId,
        /// Why, for people.
        reason: String,
    },
    /// A message left.
    Sent {
        /// Whereto.
        to: NodeId,
        /// What it is about.
        message: MessageKind,
        /// The key it is about, if it is about one.
        key: Option<Key>,
    },
    /// A message arrived.
    Delivered {
        /// Wherefrom.
        from: NodeId,
        /// What it is about.
        message: MessageKind,
    },
    /// A message was lost on its way (seen by the simulator only).
    Lost {
        /// Whereto.
        to: NodeId,
        /// What it is about.
        message: MessageKind,
        /// Why.
        reason: LossReason,
    },
    /// A client's request arrived.
    Requested {
        /// What it asks for.
        operation: OperationKind,
        /// Of which key.
        key: Key,
    },
    /// A client's request was answered.
    Replied {
        /// What it asked for.
        operation: OperationKind,
        /// Of which key.
        key: Key,
        /// Nothing if it succeeded, else the error's code.
        error: Option<String>,
    },
    /// A replica's answer was counted.
    VoteCounted {
        /// Of which key.
        key: Key,
        /// Who answered.
        from: NodeId,
        /// Answers so far.
        votes: u8,
        /// Answers needed.
        needed: u8,
    },
    /// Enough replicas answered.
    QuorumMet {
        /// What the client asked for.
        operation: OperationKind,
        /// Of which key.
        key: Key,
        /// Who had answered.
        by: Vec<NodeId>,
    },
    /// The request ended without enough answers.
    QuorumMissed {
        /// What the client asked for.
        operation: OperationKind,
        /// Of which key.
        key: Key,
        /// Who had answered.
        by: Vec<NodeId>,
        /// Answers needed.
        needed: u8,
    },
    /// A set was written here; it is shown to nobody before it is durable.
    Stored {
        /// Under which key.
        key: Key,
    },
    /// A key has several live values that no write has seen together.
    Conflict {
        /// Which key.
        key: Key,
        /// How many values.
        siblings: u32,
    },
    /// A write got its dot.
    Minted {
        /// Of which key.
        key: Key,
        /// The dot.
        dot: Dot,
        /// What the write replaces.
        replaces: VersionVector,
        /// What the client called the write: one that was sent again may get a second dot.
        request: Option<RequestKey>,
    },
    /// A fallback is asked to stand in for an owner that cannot be reached.
    StandInAsked {
        /// Of which key.
        key: Key,
        /// Who is asked.
        fallback: NodeId,
        /// For whom.
        target: NodeId,
    },
    /// An answer is late: somebody else is asked too.
    Hedged {
        /// Of which key.
        key: Key,
        /// Who is asked too.
        to: NodeId,
    },
    /// This node keeps a write for an owner that cannot be reached.
    HintStored {
        /// Of which key.
        key: Key,
        /// For whom.
        target: NodeId,
    },
    /// This node keeps as many hints for that owner as it may, and took no more.
    HintRefused {
        /// Of which key.
        key: Key,
        /// For whom.
        target: NodeId,
    },
    /// A hint arrived where it belongs, durably, and was forgotten here.
    HintDelivered {
        /// Of which key.
        key: Key,
        /// Who has it now.
        to: NodeId,
    },
    /// Two owners compared what they hold of a slice.
    Compared {
        /// With whom.
        peer: NodeId,
        /// Which slice, by its number.
        slice: u8,
        /// Keys that differed.
        differing: u32,
    },
    /// The hash tree of a slice did not fit its objects and was built anew.
    TreeRebuilt {
        /// Which slice, by its number.
        slice: u8,
    },
    /// A stored object does not match its checksum.
    Damaged {
        /// Which key.
        key: Key,
    },
    /// A damaged object was fetched from its other owners.
    Healed {
        /// Which key.
        key: Key,
    },
    /// Every owner has seen everything below a floor: what is deleted below it need not be remembered.
    FloorRaised {
        /// Of which slice, by its number.
        slice: u8,
    },
    /// A tombstone that nobody needs any more was forgotten.
    TombstoneCollected {
        /// Of which key.
        key: Key,
    },
    /// This store issues dots under a new name.
    ActorMinted {
        /// The name.
        actor: ActorId,
        /// Why, for people.
        reason: String,
    },
    /// A replica that was behind is sent the merged set.
    Repaired {
        /// Which key.
        key: Key,
        /// Which replica.
        replica: NodeId,
    },
    /// A replica refused a fresh dot that it had already seen superseded; the coordinator mints another.
    DotRefused {
        /// Of which key.
        key: Key,
    },
    /// What this node believes of a member changed.
    MemberChanged {
        /// Which member, what happened, who noticed and why.
        change: Change,
    },
    /// This node acknowledged another layout.
    LayoutChanged {
        /// Its version.
        version: u64,
        /// How many nodes own a part.
        owners: u32,
    },
    /// Another node follows a layout of the same version with another content: operators have forced both.
    TwoLayouts {
        /// Which node.
        other: NodeId,
        /// The version.
        version: u64,
    },
    /// A slice has passed to the owners of this version: what others hold of it is not needed any more. This is where an
    /// embedding program hooks in what it does when ownership changes.
    SlicePassed {
        /// Its number, 0 to 63.
        slice: u8,
        /// The version.
        version: u64,
    },
    /// This node owns nothing any more, and hands over what it holds.
    Leaving,
    /// It has handed over everything, and is gone for good.
    Left,
    /// An object that others own was dropped: each of them holds it.
    LeftoverDropped {
        /// Its key.
        key: Key,
    },
    /// A replica refused a request that named another layout than its own.
    LayoutRefused {
        /// The version that the request named.
        named: u64,
        /// The version that this node has.
        own: u64,
    },
    /// This node holds everything that it owns.
    Synced {
        /// Objects it pulled to get there.
        objects: u64,
    },
    /// Something that a peer sent was refused.
    Rejected {
        /// Who sent it.
        from: NodeId,
        /// Why, for people.
        reason: String,
    },
    /// The disk said no.
    StorageFailed {
        /// What it said.
        reason: String,
    },
    /// The process stands still, or goes on (seen by the simulator only).
    Paused {
        /// Whether it stands still.
        paused: bool,
    },
    /// The clock on the wall was set (seen by the simulator only).
    ClockSet {
        /// Its distance from the true time, in milliseconds.
        offset_ms: i64,
    },
    /// Something happened to the disk (seen by the simulator only).
    DiskFault {
        /// What, for people.
        what: String,
    },
}
