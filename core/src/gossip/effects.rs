//! What gossip wants done: messages to send, and what the application should hear. Plain data.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::event::UserEvent;
use super::message::{Answers, GossipMessage, QuestionId};
use crate::id::{EventName, NodeId};

/// What one call wants done. The caller empties it before the next call, or hands in the same one to collect several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages, in order. They may be lost, repeated and reordered on the way.
    pub sends: Vec<(NodeId, GossipMessage)>,
    /// What the application should hear, in order.
    pub heard: Vec<Heard>,
}

/// Something for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event, this node's own too. No process hears one twice.
    Event {
        /// What happened.
        event: UserEvent,
        /// It was found missing when two members compared what they remember: it may have happened before this process
        /// began, or on the other side of a partition.
        is_late: bool,
    },
    /// Somebody asks, perhaps this node itself. [`super::Gossip::answer`] says something to it; saying nothing is an answer
    /// too.
    Question {
        /// Who asks.
        from: NodeId,
        /// Which question it is.
        id: QuestionId,
        /// What kind it is.
        name: EventName,
        /// What it says.
        payload: Bytes,
        /// How long the asker waits.
        timeout: Duration,
    },
    /// What came of a question that this node asked.
    Answers(Answers),
}
