//! What can be done to a simulated world: its setting and the actions of its schedule. Explicit and recordable, so that a
//! run can be replayed from them; nothing is drawn at random here.

use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Placement, Repair, Replication, Strategies, Timing};
use crate::id::{Key, NodeId, RequestKey};
use crate::planted::PlantedBug;

/// How a world begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// Everything random comes from here.
    pub seed: u64,
    /// Nodes at the beginning, 1 to 64, named `A`, `B`, … `Z`, `A1`, …
    pub nodes: u8,
    /// Copies and quorums.
    pub replication: Replication,
    /// How the ring is cut.
    pub placement: Placement,
    /// The network between all of them.
    pub network: Network,
    /// The most that a disk takes to make a batch durable.
    pub sync_max: Duration,
    /// When members are probed, suspected and told.
    pub timing: Timing,
    /// Repair in the background, at every node.
    pub repair: Repair,
    /// What concurrent writes become.
    pub strategies: Strategies,
    /// An owner that has been dead for so long is taken out of the layout; nothing is never.
    pub evict_after: Option<Duration>,
    /// A bug put in on purpose, which only a build with the feature `planted` carries out: other builds read the schedule
    /// and run it without the bug.
    pub planted: Option<PlantedBug>,
    /// Whether nodes make events. Without them there is nothing to draw.
    pub trace: bool,
}

impl Default for Setting {
    /// Five nodes, three copies, quorums of two, 8 tokens a node, links of 2 to 8 ms.
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 5,
            replication: Replication::default(),
            placement: Placement::Tokens(NonZeroU16::new(8).expect("above zero")),
            network: Network::default(),
            sync_max: Duration::from_millis(2),
            timing: Timing::default(),
            repair: Repair::default(),
            strategies: Strategies::default(),
            evict_after: None,
            planted: None,
            trace: true,
        }
    }
}

/// How messages travel where no link says otherwise. Each message has its own latency, so that one may overtake another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Shortest latency.
    pub latency_min: Duration,
    /// Longest latency of most messages; every one between is equally likely.
    pub latency_max: Duration,
    /// Messages that take longer, per million.
    pub tail_per_million: u32,
    /// The most that those take longer.
    pub tail_max: Duration,
    /// Messages lost, per million.
    pub loss_per_million: u32,
    /// Messages that arrive twice, per million.
    pub duplicate_per_million: u32,
    /// Messages that one direction of a link holds; more than that are dropped.
    pub link_messages_max: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency_min: Duration::from_millis(2),
            latency_max: Duration::from_millis(8),
            tail_per_million: 0,
            tail_max: Duration::ZERO,
            loss_per_million: 0,
            duplicate_per_million: 0,
            link_messages_max: 10_000,
        }
    }
}

/// What happens to a disk when its node crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFate {
    /// What was durable is kept. Of what was not, a beginning may be there, or nothing.
    #[default]
    Kept,
    /// Everything is lost.
    Lost,
    /// The copy that was put aside last takes its place. Where there is none, nothing happens, and the node runs on.
    RolledBack,
}

/// What can happen to the disk of a node that keeps running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// It cannot read, until it is healthy again.
    Unreadable,
    /// It has no room for objects and hints, until it is healthy again. A reserve keeps what a machine remembers of itself.
    Full,
    /// It takes up to so long to make a batch durable, until it is healthy again.
    Slow {
        /// How long.
        sync_max: Duration,
    },
    /// Some bytes of one stored row change by themselves.
    Rot,
    /// What is durable on it is copied and put aside, for [`DiskFate::RolledBack`].
    Copied,
    /// It works as it should.
    Healthy,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOperation {
    /// Read a key.
    Get {
        /// Which key.
        key: Key,
    },
    /// Write a key.
    Put {
        /// Which key.
        key: Key,
        /// The new value, as text.
        value: String,
        /// Whether to replace exactly what this client last read or wrote of the key, instead of what is found there.
        informed: bool,
    },
    /// Delete a key.
    Delete {
        /// Which key.
        key: Key,
        /// As with a put.
        informed: bool,
    },
}

/// What an operator wants of the layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutChange {
    /// The node that is asked leaves for good, once it has handed over what it holds.
    Leave,
    /// Another node is to own nothing any more.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// Another node takes the place of one.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
    },
    /// A node gets another share.
    Weigh {
        /// Which.
        node: NodeId,
        /// How much, relative to the others.
        weight: NonZeroU16,
    },
    /// Back to what was before the change that is under way.
    Revert,
    /// These nodes are lost for ever, and with them the majority: go on without asking them.
    Force {
        /// Who is lost.
        lost: Vec<NodeId>,
    },
}

/// How a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestOptions {
    /// Whether only owners may answer, and no fallback in their place.
    pub strict: bool,
    /// What the client calls its write, so that a retry is the same write.
    pub request_key: Option<RequestKey>,
    /// Whom the client asks next, one after the other, when a try fails.
    pub retry: Vec<NodeId>,
}

/// One thing that somebody does to the world. Naming a node that is not there, or not in the right state, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A client sends a request to a node.
    Client {
        /// The client's name.
        client: String,
        /// Whom it asks.
        node: NodeId,
        /// What for.
        operation: ClientOperation,
        /// How.
        #[serde(default)]
        options: RequestOptions,
    },
    /// A process ends without a word.
    Crash {
        /// Which.
        node: NodeId,
        /// What happens to its disk.
        disk: DiskFate,
    },
    /// The process of every node ends without a word; disks are as [`DiskFate::Kept`] says.
    PowerFailure,
    /// A process is told to stop, says goodbye and ends.
    Stop {
        /// Which.
        node: NodeId,
    },
    /// A process that ended begins again.
    Restart {
        /// Which.
        node: NodeId,
    },
    /// A process stands still: what comes for it waits.
    Pause {
        /// Which.
        node: NodeId,
    },
    /// A process that stood still goes on.
    Resume {
        /// Which.
        node: NodeId,
    },
    /// A process takes everything that comes so much later.
    Slow {
        /// Which.
        node: NodeId,
        /// How much later; zero is as it should be.
        by: Duration,
    },
    /// The control plane of a process takes everything that comes for it so much later, while the shards go on: its thread, or
    /// the connection of its own, stalls.
    SlowControl {
        /// Whose.
        node: NodeId,
        /// How much later; zero is as it should be.
        by: Duration,
    },
    /// The clock on the wall of a node is set, and goes at another pace from now on.
    Clock {
        /// Which.
        node: NodeId,
        /// How far it is set forward, in milliseconds, or back.
        jump_ms: i64,
        /// How much too fast it goes, in millionths, or too slow.
        drift_ppm: i32,
    },
    /// Something happens to a disk.
    Disk {
        /// Whose.
        node: NodeId,
        /// What.
        fault: DiskFault,
    },
    /// A new node joins through any running one.
    Add,
    /// An operator asks a node for another layout.
    Layout {
        /// Which node is asked.
        node: NodeId,
        /// What is wanted.
        change: LayoutChange,
    },
    /// Messages pass only within a group; nodes that are in none form one more.
    Partition {
        /// The groups.
        groups: Vec<Vec<NodeId>>,
    },
    /// One direction of one link.
    Link {
        /// From this node
        from: NodeId,
        /// to this one
        to: NodeId,
        /// nothing passes, or it does again,
        cut: bool,
        /// and so many messages are lost, per million, on top of the network's own loss,
        loss_per_million: u32,
        /// and messages take so much longer.
        #[serde(default)]
        latency: Duration,
    },
    /// Every link is as it was at the beginning.
    Heal,
    /// These nodes, their disks and the links between them are mended for good. What is broken elsewhere may stay broken:
    /// from now on they must make progress.
    HealCore {
        /// Which.
        core: Vec<NodeId>,
    },
}
