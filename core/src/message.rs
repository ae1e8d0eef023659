//! What nodes say to each other, and its wire form (postcard). Decoding checks bounds; it never trusts a peer.

mod collection;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::collection::{ArcDigest, CollectionMessage, SealedStore};
use crate::causality::{Dot, Floor, SiblingSet};
use crate::config::ClusterConfig;
use crate::event::{EventId, MessageKind};
use crate::gossip::GossipMessage;
use crate::hash::{Position, Slice};
use crate::id::{ActorId, Address, ClusterId, Key, NodeId, RequestId};
use crate::layout::{Decision, LayoutId, News, NewsDigest, Verdict};
use crate::limits;
use crate::membership::{Member, MembershipMessage};
use crate::merkle::Sum;
use crate::request::{Reply, Request};
use crate::storage::StorageError;
use crate::wire;

mod exchange;

pub use exchange::{Difference, Entry, ExchangeMessage, Finding, Listing, NodeDigests, Question};

/// A message with what every message carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender's cluster; nothing while it has none. Messages of another cluster are refused.
    pub cluster: Option<ClusterId>,
    /// The event of its sending, if the sender traces.
    pub cause: Option<EventId>,
    /// What it says.
    pub message: Message,
}

/// A message, by the machine that takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// For the control plane.
    Node(NodeMessage),
    /// For the shard that holds a slice.
    Shard(Slice, ShardMessage),
}

/// Between control planes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeMessage {
    /// Let me in.
    Join(Box<JoinRequest>),
    /// Come in.
    Welcome(Box<Welcome>),
    /// Stay out: why, for people.
    Refused {
        /// Why.
        reason: String,
    },
    /// Ask me to let you in: an operator introduced us.
    Invite {
        /// Where the sender is reached.
        address: Address,
    },
    /// Who is alive.
    Membership(MembershipMessage),
    /// Who owns what, as the sender knows it.
    Layout(News),
    /// The name of what the sender knows of it. Whoever knows something else tells.
    LayoutDigest(NewsDigest),
    /// What follows a layout.
    Decision(Decision),
    /// This is the life of my store: do you remember a later one?
    Life {
        /// Under which name it issues dots.
        actor: ActorId,
        /// How often it was opened.
        boot: u64,
        /// Tells this process from another one of the same name.
        nonce: u64,
        /// A count that the store raises now and then, durably before it is told.
        tick: u64,
    },
    /// The answer to that.
    LifeAnswer {
        /// As asked.
        actor: ActorId,
        /// As asked.
        nonce: u64,
        /// What is remembered.
        verdict: LifeVerdict,
    },
    /// What users and nodes tell and ask the whole cluster.
    Gossip(GossipMessage),
}

/// What a member remembers of another one's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifeVerdict {
    /// Nothing later, and this life from now on, durably.
    Confirmed,
    /// A later life: the store is an old copy or a clone.
    Stale {
        /// The greatest boot number that is remembered.
        boot: u64,
    },
}

/// What a node says that wants to be a member, or is one and comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Itself.
    pub member: Member,
    /// Tells two processes of one name apart: drawn at random at each start.
    pub nonce: u64,
    /// The address it was sent to, so that a node that asks itself finds out.
    pub sent_to: Address,
    /// What it believes the cluster agreed on.
    pub config: ClusterConfig,
    /// Whether its cluster has more nodes than itself, or data.
    pub established: bool,
}

/// What a new member must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster's identity.
    pub cluster: ClusterId,
    /// With what contexts are sealed.
    pub secret: [u8; 32],
    /// Everybody the welcoming node knows.
    pub members: Vec<Member>,
    /// Who owns what; the new member is let in afterwards.
    pub layout: News,
}

/// Between the shards that hold one slice on different nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardMessage {
    /// What do you hold of this key?
    Read {
        /// To find the answer's question.
        request: RequestId,
        /// The layout the asker acts under.
        layout: LayoutId,
        /// The version under whose owners it reads.
        under: u64,
        /// Which key.
        key: Key,
    },
    /// Merge this set into what you hold.
    Write {
        /// To find the answer's question.
        request: RequestId,
        /// The layout the coordinator acts under.
        layout: LayoutId,
        /// Which key.
        key: Key,
        /// The whole set.
        set: SiblingSet,
        /// The dot that was minted for this write.
        fresh: Dot,
    },
    /// The answer to a question about a key.
    Answer {
        /// The question.
        request: RequestId,
        /// What came of it.
        result: Result<Answer, Refusal>,
    },
    /// You were behind: merge this set. Nobody waits for an answer.
    Repair {
        /// The layout the sender acts under.
        layout: LayoutId,
        /// Which key.
        key: Key,
        /// The whole set.
        set: SiblingSet,
    },
    /// Keep this set for an owner of the key that cannot be reached, and hand it over once it can be.
    Hint {
        /// To find the answer's question.
        request: RequestId,
        /// The layout the coordinator acts under.
        layout: LayoutId,
        /// The owner.
        target: NodeId,
        /// Which key.
        key: Key,
        /// The whole set.
        set: SiblingSet,
        /// The dot that was minted for this write.
        fresh: Dot,
    },
    /// I kept this for you, or for an owner before you: merge it into what you hold.
    HandOff {
        /// To find the answer's question.
        request: RequestId,
        /// The layout under which the receiver owns the key.
        layout: LayoutId,
        /// Which key.
        key: Key,
        /// The whole set.
        set: SiblingSet,
    },
    /// Do this for a client of mine. One that is sent again has the same name and is done once.
    Forward {
        /// To find the answer's question.
        request: RequestId,
        /// How often it has been handed on.
        hops: u8,
        /// What the client asked for.
        body: Request,
    },
    /// The answer to that.
    ForwardAnswer {
        /// The question.
        request: RequestId,
        /// What the client is to be told.
        reply: Box<Reply>,
    },
    /// Give me what I own of this slice, from this place on.
    Pull {
        /// To find the answer's question.
        request: RequestId,
        /// The layout under which the asker owns it.
        layout: LayoutId,
        /// The version under whose owners it pulls.
        under: u64,
        /// The layout since which the asker holds what it has owned under all; nothing if it holds nothing for sure.
        since: Option<LayoutId>,
        /// After this object; nothing is the beginning.
        after: Option<(Position, Key)>,
        /// Whether a store that has not pulled everything itself is to give what it has.
        bare: bool,
    },
    /// The answer to that.
    Pulled {
        /// The question.
        request: RequestId,
        /// What came of it.
        result: Result<TransferPage, Refusal>,
    },
    /// I hold these objects and own them no more: do you hold the same versions?
    Leftovers {
        /// To find the answer's question.
        request: RequestId,
        /// The layout under which the receiver owns them.
        layout: LayoutId,
        /// Keys and sums of what of them is live, in the order of the ring.
        entries: Vec<(Key, Sum)>,
    },
    /// The answer to that: of these keys it holds something else, durably; of the others the same.
    LeftoversAnswer {
        /// The question.
        request: RequestId,
        /// What came of it.
        result: Result<Vec<Key>, Refusal>,
    },
    /// Which tombstones may go.
    Collection(CollectionMessage),
    /// Owners compare what they hold.
    Exchange(ExchangeMessage),
}

/// Part of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferPage {
    /// Objects in the order of the ring.
    pub objects: Vec<(Key, SiblingSet)>,
    /// Where to go on; nothing at the end.
    pub next: Option<(Position, Key)>,
    /// What the sender has seen all of: below it, what is not live in this page is dead.
    pub floor: Floor,
    /// Whether the giver left out what it cannot read at present: then it has not given all.
    pub damaged: bool,
    /// Whether the giver holds all that it owns: if not, what it lacks is unknown, not absent.
    pub synced: bool,
}

/// What a replica says to a request that it carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It holds this, durably.
    Holds {
        /// The whole set; empty if it holds nothing.
        set: SiblingSet,
        /// Whether it holds everything that it owns of the slice: if not, what it lacks is unknown, not absent.
        synced: bool,
    },
    /// It has merged the set, durably.
    Written,
}

/// Why a replica did not carry out a request. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It acts under another layout, or reads under a newer one. The two tell each other.
    Layout,
    /// The fresh dot is superseded already by what it holds: this. The coordinator must mint another.
    CoveredDot(SiblingSet),
    /// All owners agreed that no write below a seal is on its way any more, and this one is. The coordinator must mint
    /// another dot.
    Sealed,
    /// It has not pulled everything itself.
    NotSynced,
    /// It keeps as many hints for that owner as it may.
    HintsFull,
    /// Its disk failed.
    Storage(StorageError),
}

/// Bytes that are not a message. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not this version's wire form.
    #[error("not a message of this protocol version")]
    Form,
    /// The right form with a content that no member would send.
    #[error("a message that no member would send: {0}")]
    Content(String),
}

impl Envelope {
    /// The wire form.
    ///
    /// # Panics
    /// Never: every message has a wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads the wire form and checks its content.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (envelope, rest): (Self, _) = postcard::take_from_bytes(bytes).map_err(|_| DecodeError::Form)?;
        if !rest.is_empty() {
            return Err(DecodeError::Form);
        }
        envelope.message.validate().map_err(DecodeError::Content)?;
        Ok(envelope)
    }
}

impl Message {
    /// What it is about, for whoever draws it.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Node(message) => match message {
                NodeMessage::Join(_)
                | NodeMessage::Welcome(_)
                | NodeMessage::Refused { .. }
                | NodeMessage::Invite { .. } => MessageKind::Join,
                NodeMessage::Membership(message) => match message {
                    MembershipMessage::Ping { .. } | MembershipMessage::PingRequest { .. } => MessageKind::Probe,
                    MembershipMessage::Ack { .. } | MembershipMessage::Nack { .. } => MessageKind::ProbeAnswer,
                    MembershipMessage::Gossip { .. }
                    | MembershipMessage::Summary(_)
                    | MembershipMessage::Digest(_)
                    | MembershipMessage::Records { .. } => MessageKind::Gossip,
                },
                NodeMessage::Layout(_) | NodeMessage::LayoutDigest(_) | NodeMessage::Decision(_) => MessageKind::Layout,
                NodeMessage::Life { .. } | NodeMessage::LifeAnswer { .. } => MessageKind::Life,
                NodeMessage::Gossip(_) => MessageKind::Talk,
            },
            Self::Shard(_, message) => match message {
                ShardMessage::Read { .. } => MessageKind::Read,
                ShardMessage::Write { .. } => MessageKind::Write,
                ShardMessage::Answer { result: Ok(Answer::Holds { .. }), .. } => MessageKind::ReadAnswer,
                ShardMessage::Answer { .. } => MessageKind::WriteAnswer,
                ShardMessage::Repair { .. } => MessageKind::Repair,
                ShardMessage::Hint { .. } => MessageKind::Hint,
                ShardMessage::HandOff { .. } => MessageKind::HandOff,
                ShardMessage::Forward { .. } => MessageKind::Forward,
                ShardMessage::ForwardAnswer { .. } => MessageKind::ForwardAnswer,
                ShardMessage::Pull { .. } => MessageKind::Transfer,
                ShardMessage::Pulled { .. } => MessageKind::TransferAnswer,
                ShardMessage::Leftovers { .. } | ShardMessage::LeftoversAnswer { .. } => MessageKind::HandOff,
                ShardMessage::Collection(_) => MessageKind::Collection,
                ShardMessage::Exchange(ExchangeMessage::Ask { .. }) => MessageKind::Exchange,
                ShardMessage::Exchange(ExchangeMessage::Answer { .. }) => MessageKind::ExchangeAnswer,
            },
        }
    }

    /// The key it is about, if it is about one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Shard(
                _,
                ShardMessage::Read { key, .. }
                | ShardMessage::Write { key, .. }
                | ShardMessage::Repair { key, .. }
                | ShardMessage::Hint { key, .. }
                | ShardMessage::HandOff { key, .. },
            ) => Some(key),
            Self::Shard(_, ShardMessage::Forward { body, .. }) => Some(&body.key),
            _ => None,
        }
    }

    /// Whether it belongs on the connection that bulk data cannot delay.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        // What users say must not delay who is found alive.
        matches!(self, Self::Node(message) if !matches!(message, NodeMessage::Gossip(_)))
    }

    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Node(message) => message.validate(),
            Self::Shard(slice, message) => message.validate(*slice),
        }
    }
}

impl NodeMessage {
    fn validate(&self) -> Result<(), String> {
        let text = |error: &dyn core::fmt::Display| alloc::format!("{error}");
        let counts = |count: u64| {
            if count < limits::COUNTER_MAX { Ok(()) } else { Err(alloc::format!("{count}: nothing is counted so far")) }
        };
        match self {
            Self::Join(join) => join.member.check().map_err(|error| text(&error)),
            Self::Welcome(welcome) => {
                welcome.layout.validate().map_err(|error| text(&error))?;
                welcome.members.iter().try_for_each(|member| member.check().map_err(|error| text(&error)))
            }
            Self::Refused { .. } | Self::Invite { .. } => Ok(()),
            // Membership and gossip check their own, which needs to know the sender.
            Self::Membership(_) | Self::Gossip(_) => Ok(()),
            Self::Layout(news) => news.validate().map_err(|error| text(&error)),
            Self::LayoutDigest(_) => Ok(()),
            Self::Decision(decision) => match &decision.verdict {
                Verdict::Accept { layout } | Verdict::Promise { accepted: Some((_, layout)) } => {
                    layout.validate().map_err(|error| text(&error))
                }
                Verdict::Prepare | Verdict::Promise { accepted: None } | Verdict::Accepted | Verdict::Outbid => Ok(()),
            },
            Self::Life { boot, tick, .. } => counts(*boot).and_then(|()| counts(*tick)),
            Self::LifeAnswer { verdict: LifeVerdict::Stale { boot }, .. } => counts(*boot),
            Self::LifeAnswer { verdict: LifeVerdict::Confirmed, .. } => Ok(()),
        }
    }
}

impl ShardMessage {
    fn validate(&self, slice: Slice) -> Result<(), String> {
        let holds = |key: &Key| {
            let found = Position::of(key).slice();
            if found == slice { Ok(()) } else { Err(alloc::format!("key {key:?} is not of slice {slice:?}")) }
        };
        match self {
            Self::Exchange(message) => message.validate(slice),
            Self::Read { key, .. }
            | Self::Write { key, .. }
            | Self::Repair { key, .. }
            | Self::Hint { key, .. }
            | Self::HandOff { key, .. } => holds(key),
            Self::Forward { body, .. } => holds(&body.key),
            Self::Pulled { result: Ok(page), .. } => page.objects.iter().try_for_each(|(key, _)| holds(key)),
            Self::Collection(message) => message.validate(slice),
            Self::Leftovers { entries, .. } => entries.iter().try_for_each(|(key, _)| holds(key)),
            Self::LeftoversAnswer { result: Ok(keys), .. } => keys.iter().try_for_each(holds),
            Self::Answer { .. }
            | Self::Pull { .. }
            | Self::Pulled { result: Err(_), .. }
            | Self::LeftoversAnswer { result: Err(_), .. }
            | Self::ForwardAnswer { .. } => Ok(()),
        }
    }
}

/// Whom the outside world calls by which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBookEntry {
    /// The node.
    pub node: NodeId,
    /// Where it is reached now.
    pub address: Address,
}
