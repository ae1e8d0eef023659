//! What can be done to a simulated world: its setting and the actions of its schedule. Explicit and recordable, so that a
//! run can be replayed from them; nothing is drawn at random here.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Placement, Repair, Replication, Strategies};
use crate::id::{Key, NodeId};
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
    /// Repair in the background, at every node.
    pub repair: Repair,
    /// What concurrent writes become.
    pub strategies: Strategies,
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
            placement: Placement::Tokens(core::num::NonZeroU16::new(8).expect("above zero")),
            network: Network::default(),
            sync_max: Duration::from_millis(2),
            repair: Repair::default(),
            strategies: Strategies::default(),
            planted: None,
            trace: true,
        }
    }
}

/// How messages travel where no link says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Shortest latency.
    pub latency_min: Duration,
    /// Longest latency; every one between is equally likely.
    pub latency_max: Duration,
    /// Messages lost, per million.
    pub loss_per_million: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self { latency_min: Duration::from_millis(2), latency_max: Duration::from_millis(8), loss_per_million: 0 }
    }
}

/// What happens to a disk when its node crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFate {
    /// What was durable is kept; what was not is lost.
    #[default]
    Kept,
    /// Everything is lost.
    Lost,
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
    },
    /// A process ends without a word.
    Crash {
        /// Which.
        node: NodeId,
        /// What happens to its disk.
        disk: DiskFate,
    },
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
    /// A new node joins through any running one.
    Add,
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
        /// and so many messages are lost, per million, on top of the network's own loss.
        loss_per_million: u32,
    },
    /// Every link is as it was at the beginning.
    Heal,
}
