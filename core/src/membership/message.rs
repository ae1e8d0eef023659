//! What members say to each other about members, and the bounds it must keep. Never interprets it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::member::{INCARNATION_MAX, Member, MemberError, State, Version};
use crate::id::NodeId;

/// Most claims that ride on one message, besides the one about its receiver.
pub const PIGGYBACK_CLAIMS_MAX: usize = 16;
/// Most bytes of claims that ride on one message; the first one rides in any case.
pub const PIGGYBACK_BYTES_MAX: usize = 8 * 1_024;
/// Most members in one message of a push/pull exchange. Longer lists are cut.
pub const SYNC_MEMBERS_MAX: usize = 256;
/// Most bytes of records in one message of a push/pull exchange; the first one goes in any case.
pub const SYNC_BYTES_MAX: usize = 64 * 1_024;

/// A belief about one member, and who came to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The record claimed.
    pub member: Arc<Member>,
    /// Who noticed: the member itself when it is alive, stopped or has left, else whoever suspects it or calls it dead.
    pub by: NodeId,
}

/// The version that the sender holds of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// Of whom.
    pub node: NodeId,
    /// Which.
    pub version: Version,
}

/// How a push/pull begins: as much as fits a small message in a cluster of any size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The sender's own record, so that a stranger or a returner is known with the first message.
    pub sender: Arc<Member>,
    /// What the sender's list comes to: the same at both where nothing differs.
    pub checksum: u64,
}

/// What the receiver of a [`Summary`] that does not fit its own holds of the members in one stretch of names: those after `after` up to and with `upto`.
/// A member in the stretch without an entry is one that the sender does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The sender's own record, so that a stranger or a returner is known with the first message.
    pub sender: Arc<Member>,
    /// Where the stretch begins (not included); at the first name if `None`.
    pub after: Option<NodeId>,
    /// Where the stretch ends (included); at the last name if `None`.
    pub upto: Option<NodeId>,
    /// By rising name, at most [`SYNC_MEMBERS_MAX`].
    pub entries: Vec<DigestEntry>,
}

/// What one member says to another. Every kind but the exchange of lists carries claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipMessage {
    /// Do you live? Answered with an [`MembershipMessage::Ack`] of the same number.
    Ping {
        /// The asker's number for this probe.
        sequence: u64,
        /// News.
        claims: Vec<Claim>,
    },
    /// Yes; or, from a helper: yes, it lives.
    Ack {
        /// The asker's number.
        sequence: u64,
        /// News.
        claims: Vec<Claim>,
    },
    /// Ask the target for me: I have no answer.
    PingRequest {
        /// The asker's number for this probe.
        sequence: u64,
        /// Whom to ask.
        target: NodeId,
        /// News.
        claims: Vec<Claim>,
    },
    /// From a helper: I asked, and have no answer either. Shows the asker that its own connections work.
    Nack {
        /// The asker's number.
        sequence: u64,
        /// News.
        claims: Vec<Claim>,
    },
    /// News alone.
    Gossip {
        /// News.
        claims: Vec<Claim>,
    },
    /// Second step of a push/pull: what I hold.
    Digest(Digest),
    /// Third and fourth step of a push/pull: what you lack, and what I would like to have.
    Records {
        /// At most [`SYNC_MEMBERS_MAX`].
        claims: Vec<Claim>,
        /// At most [`SYNC_MEMBERS_MAX`].
        wanted: Vec<NodeId>,
    },
    /// First step of a push/pull: do we hold the same?
    Summary(Summary),
}

/// Why a message cannot come from a member that keeps the rules. It is dropped whole; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It came under this node's own name.
    #[error("a message under this node's own name: two processes use the same node id")]
    OwnName,
    /// Longer than allowed.
    #[error("{found} {what} in one message, at most {max} are allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A record out of bounds.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Something that only the member itself can say, said by another.
    #[error("{by} says that {node} is {state:?} (stopped: {stopped}), which only {node} itself can say")]
    Owner {
        /// About whom.
        node: NodeId,
        /// Who said so.
        by: NodeId,
        /// What.
        state: State,
        /// Whether it is called stopped.
        stopped: bool,
    },
    /// A summary or digest whose sender is not who sent it.
    #[error("a digest of {claimed} came from {from}")]
    Sender {
        /// Who sent it.
        from: NodeId,
        /// Whom it names.
        claimed: NodeId,
    },
    /// A digest out of order, outside its own stretch, or with an incarnation that nobody reaches.
    #[error("the digest entry for {node} is out of order, outside its stretch or beyond incarnation {INCARNATION_MAX}")]
    Entry {
        /// The first bad one.
        node: NodeId,
    },
}

impl MembershipMessage {
    /// The news that it carries.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        match self {
            Self::Ping { claims, .. }
            | Self::Ack { claims, .. }
            | Self::PingRequest { claims, .. }
            | Self::Nack { claims, .. }
            | Self::Gossip { claims }
            | Self::Records { claims, .. } => claims,
            Self::Digest(_) | Self::Summary(_) => &[],
        }
    }

    /// Checks every bound. A message that passes can be handled whatever it says.
    ///
    /// # Errors
    /// [`MessageError`] says what was wrong.
    pub fn check(&self, from: &NodeId) -> Result<(), MessageError> {
        let claims_max = match self {
            Self::Records { wanted, .. } => {
                at_most("wanted members", wanted.len(), SYNC_MEMBERS_MAX)?;
                SYNC_MEMBERS_MAX
            }
            Self::Digest(digest) => return digest.check(from),
            Self::Summary(summary) => return check_sender(&summary.sender, from),
            _ => PIGGYBACK_CLAIMS_MAX + 1,
        };
        at_most("claims", self.claims().len(), claims_max)?;
        self.claims().iter().try_for_each(Claim::check)
    }
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), MessageError> {
    if found > max { Err(MessageError::TooMany { what, found, max }) } else { Ok(()) }
}

/// Whoever begins or answers a push/pull says of itself that it lives.
fn check_sender(sender: &Member, from: &NodeId) -> Result<(), MessageError> {
    sender.check()?;
    if sender.node != *from {
        return Err(MessageError::Sender { from: from.clone(), claimed: sender.node.clone() });
    }
    if sender.state != State::Alive {
        let (node, by, state) = (from.clone(), from.clone(), sender.state);
        return Err(MessageError::Owner { node, by, state, stopped: sender.stopped });
    }
    Ok(())
}

impl Claim {
    /// What a member says of itself.
    #[must_use]
    pub fn own(member: impl Into<Arc<Member>>) -> Self {
        let member = member.into();
        Self { by: member.node.clone(), member }
    }

    /// Checks the record, and that nobody speaks for another where only the owner can.
    pub(super) fn check(&self) -> Result<(), MessageError> {
        self.member.check()?;
        let Member { node, state, stopped, .. } = &*self.member;
        let owners_word = *state == State::Alive || *stopped;
        if owners_word && self.by != *node {
            let (node, by) = (node.clone(), self.by.clone());
            return Err(MessageError::Owner { node, by, state: *state, stopped: *stopped });
        }
        Ok(())
    }

    /// An upper bound of its size on the wire, in bytes.
    pub(super) fn wire_bytes(&self) -> usize {
        self.member.wire_bytes() + self.by.as_str().len() + 2
    }
}

impl Digest {
    fn check(&self, from: &NodeId) -> Result<(), MessageError> {
        check_sender(&self.sender, from)?;
        at_most("digest entries", self.entries.len(), SYNC_MEMBERS_MAX)?;
        let mut before = self.after.as_ref();
        for DigestEntry { node, version } in &self.entries {
            let ordered = before.is_none_or(|before| before < node);
            let inside = self.upto.as_ref().is_none_or(|upto| node <= upto);
            if !ordered || !inside || version.incarnation > INCARNATION_MAX {
                return Err(MessageError::Entry { node: node.clone() });
            }
            before = Some(node);
        }
        Ok(())
    }
}
