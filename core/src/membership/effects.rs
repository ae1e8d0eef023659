//! What membership wants done: messages to send, and what has changed in the list, with who noticed and why. Plain data.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::State;
use super::message::MembershipMessage;
use crate::id::{Address, NodeId};

/// What one call wants done. The caller empties it before the next call, or hands in the same one to collect several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages, in order. They may be lost, repeated and reordered on the way.
    pub sends: Vec<(NodeId, MembershipMessage)>,
    /// What has changed in the list, in order. When there are any, the list is worth saving, without haste.
    pub changes: Vec<Change>,
    /// This node's own incarnation has risen. It must be durable before these sends, or any later ones, go out: whoever
    /// restarts below an incarnation that it has shown would contradict itself.
    pub persist: bool,
}

/// One member is believed to be something else than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// About whom.
    pub node: NodeId,
    /// What happened.
    pub kind: ChangeKind,
    /// The incarnation that it is about.
    pub incarnation: u64,
    /// Who noticed it first, as far as is known.
    pub by: NodeId,
    /// Why this node believes it.
    pub why: Why,
}

/// What can happen to a member. After any of these its record may have a new address, zone, weight or tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Heard of for the first time. A suspicion or death follows in the same call if that is what was heard.
    Joined,
    /// It has not answered.
    Suspected,
    /// Nobody had a sign of life in time, or it stopped.
    Died,
    /// It was suspected and has said that it lives; about this node itself: it was accused and has said so.
    Refuted,
    /// It was dead or had left and is back.
    Revived,
    /// It has left for good.
    Left,
    /// Its address, actor, boot, zone, weight or tags are new.
    Updated,
}

/// Why a change is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It answered neither this node nor the helpers.
    ProbeTimeout {
        /// How many others were asked to ask it.
        helpers: u8,
        /// How many of them said that it did not answer them either.
        nacks: u8,
    },
    /// It was suspected and said nothing in time.
    SuspicionTimeout {
        /// Everybody who is known to have suspected it, the first one first.
        accusers: Vec<NodeId>,
        /// How long it had.
        waited: Duration,
    },
    /// This member said so.
    Told {
        /// Who brought the news; who noticed is in [`Change::by`].
        teller: NodeId,
    },
    /// It said that it stops, and does not give up what it owns.
    Stopped,
    /// It said so itself.
    Announced,
    /// This node was called something that it is not.
    Accused {
        /// What it was called.
        state: State,
    },
    /// Another life of this node's name is known: an older one whose state this node has lost, or a second process.
    OtherLife {
        /// Where the other life is or was reached.
        address: Address,
        /// Its boot number.
        boot: u64,
    },
}
