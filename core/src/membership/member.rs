//! What is known of one member: the record that is gossiped, and what only this node adds to it. Knows which of two
//! records wins, never where they came from or what follows from it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::message::Claim;
use crate::id::{ActorId, Address, NodeId, Zone};
use crate::limits;
use crate::time::Time;

/// Greatest incarnation. Nobody refutes so often; a larger one is malformed.
pub const INCARNATION_MAX: u64 = 1 << 62;
/// Furthest that a claim may be ahead of the incarnation last known (0 for a stranger). A real member moves by one at a
/// time; a claim beyond this is passed over, so that one hostile message cannot push a member to the end of its numbers.
pub const INCARNATION_JUMP_MAX: u64 = 1 << 32;

/// What is believed of a member, in rising order of precedence at one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// It answers.
    Alive,
    /// It did not answer somebody; it has a while to say that it lives.
    Suspect,
    /// It did not say so, or it said that it stops.
    Dead,
    /// It has left for good.
    Left,
}

impl State {
    /// Whether it is still probed, gossiped with and counted on: alive or suspected.
    #[must_use]
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// Its place in the order of precedence.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }
}

/// What members tell each other about one of them. Its owner alone raises the incarnation; everything but the state is the
/// owner's own word and the same for everybody at one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Where it is reached.
    pub address: Address,
    /// How often it has had to say something new about itself. At most [`INCARNATION_MAX`].
    pub incarnation: u64,
    /// What is believed of it.
    pub state: State,
    /// Dead by its own word: it was stopped tidily. Only with [`State::Dead`].
    pub stopped: bool,
    /// Who issues its dots.
    pub actor: ActorId,
    /// How often its store has been opened.
    pub boot: u64,
    /// Its failure domain.
    pub zone: Zone,
    /// Its share of the ring, relative to the others.
    pub weight: NonZeroU16,
    /// For people and queries: at most [`limits::TAGS_MAX`], names and values at most [`limits::TAG_BYTES_MAX`] long.
    pub tags: BTreeMap<String, String>,
}

/// Why a record cannot be one. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// An incarnation that nobody reaches.
    #[error("the incarnation of {node} must be at most {INCARNATION_MAX}, this one is {incarnation}")]
    Incarnation {
        /// Whose.
        node: NodeId,
        /// What was found.
        incarnation: u64,
    },
    /// Stopped, but not dead.
    #[error("{node} is called stopped and {state:?}: only a dead member can be stopped")]
    Stopped {
        /// Whose.
        node: NodeId,
        /// What was found.
        state: State,
    },
    /// Too many tags.
    #[error("{node} has {count} tags, at most {} are allowed", limits::TAGS_MAX)]
    Tags {
        /// Whose.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A tag without a name, or with a name or value that is too long.
    #[error(
        "a tag of {node} has a name of {name_bytes} bytes and a value of {value_bytes}: the name must have 1 to {}, the value at most as many",
        limits::TAG_BYTES_MAX
    )]
    Tag {
        /// Whose.
        node: NodeId,
        /// Length of the name.
        name_bytes: usize,
        /// Length of the value.
        value_bytes: usize,
    },
}

impl Member {
    /// Whether this record is newer than the other: by incarnation, then by state. A total order, so that members that
    /// have heard the same agree, in whatever order they heard it.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.version() > other.version()
    }

    /// What decides which record wins.
    #[must_use]
    pub const fn version(&self) -> Version {
        Version { incarnation: self.incarnation, state: self.state }
    }

    /// Whether both say the same about everything that only the owner decides.
    pub(super) fn same_profile(&self, other: &Self) -> bool {
        self.address == other.address
            && self.actor == other.actor
            && self.boot == other.boot
            && self.zone == other.zone
            && self.weight == other.weight
            && self.tags == other.tags
    }

    /// Checks what the types cannot: bounds, and that the fields fit each other.
    ///
    /// # Errors
    /// [`MemberError`] says what is out of range.
    pub fn check(&self) -> Result<(), MemberError> {
        let node = || self.node.clone();
        if self.incarnation > INCARNATION_MAX {
            return Err(MemberError::Incarnation { node: node(), incarnation: self.incarnation });
        }
        if self.stopped && self.state != State::Dead {
            return Err(MemberError::Stopped { node: node(), state: self.state });
        }
        if self.tags.len() > limits::TAGS_MAX {
            return Err(MemberError::Tags { node: node(), count: self.tags.len() });
        }
        for (name, value) in &self.tags {
            if name.is_empty() || name.len() > limits::TAG_BYTES_MAX || value.len() > limits::TAG_BYTES_MAX {
                return Err(MemberError::Tag { node: node(), name_bytes: name.len(), value_bytes: value.len() });
            }
        }
        Ok(())
    }

    /// An upper bound of its size on the wire, in bytes.
    pub(super) fn wire_bytes(&self) -> usize {
        const NUMBERS_AND_LENGTHS: usize = 64;
        let tags: usize = self.tags.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        NUMBERS_AND_LENGTHS + self.node.as_str().len() + self.address.as_str().len() + self.zone.as_str().len() + tags
    }
}

/// What decides which of two records wins: incarnation first, then state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The owner's number.
    pub incarnation: u64,
    /// What is believed at it.
    pub state: State,
}

/// A member as this node knows it: the gossiped record and what only this node can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The record: the same one that is told to others.
    pub member: Arc<Member>,
    /// Who noticed its state: itself when alive, stopped or left, else the accuser.
    pub by: NodeId,
    /// Since when this node has believed the state.
    pub since: Time,
    /// When this node last had a message straight from it; never in this process if `None`.
    pub last_seen: Option<Time>,
    /// How many messages have come straight from it.
    pub heartbeats: u64,
}

impl Known {
    pub(super) const fn new(member: Arc<Member>, by: NodeId, since: Time) -> Self {
        Self { member, by, since, last_seen: None, heartbeats: 0 }
    }

    pub(super) fn note_heard(&mut self, now: Time) {
        self.last_seen = Some(now);
        self.heartbeats = self.heartbeats.saturating_add(1);
    }

    pub(super) fn claim(&self) -> Claim {
        Claim { member: self.member.clone(), by: self.by.clone() }
    }
}
