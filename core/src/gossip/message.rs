//! What members tell and ask each other on behalf of users, and the bounds it must keep. Never interprets it.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event::{CLOCK_MAX, Stamp, Summary, UserEvent};
use crate::id::{EventName, NodeId};
use crate::limits;

/// Names a question: drawn at random by who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuestionId(pub u64);

/// What is asked of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Which.
    pub id: QuestionId,
    /// What kind it is.
    pub name: EventName,
    /// What it says: at most [`limits::EVENT_BYTES_MAX`].
    pub payload: Bytes,
    /// How long the asker waits, in milliseconds; at most [`limits::TIMEOUT_MAX`].
    pub timeout_ms: u32,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it serves requests.
    pub is_ready: bool,
    /// How unwell it finds itself: 0 (well) to [`crate::membership::LOCAL_HEALTH_WORST`].
    pub local_health: u8,
    /// How many members it believes alive, itself included.
    pub alive: u32,
    /// How many it suspects.
    pub suspect: u32,
    /// How many it believes dead.
    pub dead: u32,
}

/// What a member says to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// What its application says: at most [`limits::EVENT_BYTES_MAX`].
    Answer(Bytes),
    /// To `quorate.health`.
    Health(Health),
    /// It knows no question of this name: it begins `quorate.`, and a later version may.
    Unknown,
}

/// What one member says to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipMessage {
    /// Something has happened. At most [`limits::EVENTS_PER_MESSAGE_MAX`], by rising stamp.
    Events {
        /// What.
        events: Vec<UserEvent>,
        /// Whether the receiver was found to lack them, rather than told.
        is_late: bool,
    },
    /// First step of a comparison: what I hold, in short. If you hold the same, say nothing.
    Summary {
        /// The sender's clock.
        clock: u64,
        /// What it holds.
        summary: Summary,
    },
    /// Second step: what I hold. Send me what I lack, and ask for what you lack.
    Have {
        /// The sender's clock.
        clock: u64,
        /// By rising stamp, at most [`limits::EVENTS_REMEMBERED`].
        stamps: Vec<Stamp>,
    },
    /// Third step: what I lack.
    Want {
        /// By rising stamp, at most [`limits::EVENTS_REMEMBERED`].
        stamps: Vec<Stamp>,
    },
    /// Say something to this. Repeated until it is answered.
    Question(Question),
    /// That is what I say.
    Reply {
        /// To what.
        id: QuestionId,
        /// What.
        reply: Reply,
    },
}

/// Why a message cannot come from a member that keeps the rules. It is dropped whole; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GossipError {
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
    /// Stamps that do not rise, or times that no clock shows.
    #[error("stamps must rise and no clock shows more than {CLOCK_MAX}")]
    Stamps,
    /// A time-out that nobody may ask for.
    #[error("a time-out of {found_ms} ms: it must be 1 ms to {:?}", limits::TIMEOUT_MAX)]
    Timeout {
        /// In milliseconds.
        found_ms: u32,
    },
}

impl GossipMessage {
    /// Checks every bound. A message that passes can be handled whatever it says.
    ///
    /// # Errors
    /// [`GossipError`] says what was wrong.
    pub fn check(&self) -> Result<(), GossipError> {
        match self {
            Self::Events { events, .. } => {
                at_most("events", events.len(), limits::EVENTS_PER_MESSAGE_MAX)?;
                rising(events.iter().map(|event| &event.stamp))?;
                events.iter().try_for_each(|event| check_payload(&event.payload))
            }
            Self::Summary { clock, .. } => check_clock(*clock),
            Self::Have { clock, stamps } => {
                check_clock(*clock)?;
                check_stamps(stamps)
            }
            Self::Want { stamps } => check_stamps(stamps),
            Self::Question(question) => {
                check_timeout(question.timeout_ms)?;
                check_payload(&question.payload)
            }
            Self::Reply { reply: Reply::Answer(bytes), .. } => check_payload(bytes),
            Self::Reply { .. } => Ok(()),
        }
    }
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), GossipError> {
    if found > max { Err(GossipError::TooMany { what, found, max }) } else { Ok(()) }
}

pub(super) fn check_payload(payload: &Bytes) -> Result<(), GossipError> {
    at_most("bytes of payload", payload.len(), limits::EVENT_BYTES_MAX)
}

pub(super) fn check_timeout(timeout_ms: u32) -> Result<(), GossipError> {
    let is_good = timeout_ms > 0 && Duration::from_millis(timeout_ms.into()) <= limits::TIMEOUT_MAX;
    if is_good { Ok(()) } else { Err(GossipError::Timeout { found_ms: timeout_ms }) }
}

const fn check_clock(clock: u64) -> Result<(), GossipError> {
    if clock > CLOCK_MAX { Err(GossipError::Stamps) } else { Ok(()) }
}

fn check_stamps(stamps: &[Stamp]) -> Result<(), GossipError> {
    at_most("stamps", stamps.len(), limits::EVENTS_REMEMBERED)?;
    rising(stamps.iter())
}

fn rising<'a>(stamps: impl Iterator<Item = &'a Stamp> + Clone) -> Result<(), GossipError> {
    let is_good =
        stamps.clone().is_sorted_by(|one, other| one < other) && stamps.into_iter().all(|s| s.time <= CLOCK_MAX);
    if is_good { Ok(()) } else { Err(GossipError::Stamps) }
}

/// Who has said what, when a question is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// To what.
    pub id: QuestionId,
    /// In the order in which they came.
    pub replies: Vec<(NodeId, Reply)>,
    /// Who was asked and did not answer.
    pub missing: Vec<NodeId>,
}
