//! What members say to each other so that tombstones can go: see `shard::agreement`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::causality::Floor;
use crate::hash::{Position, Slice};
use crate::id::RequestId;
use crate::layout::LayoutId;
use crate::limits;

/// Live dots of the keys of an arc, as one hash: 16 bytes of SHA-256.
pub type ArcDigest = [u8; 16];

/// A step on the way to a floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectionMessage {
    /// To the leader: I hold tombstones that could go if this were below the floor.
    Wanted {
        /// The layout the sender acts under.
        layout: LayoutId,
        /// What should be below the floor.
        upto: Floor,
    },
    /// From the leader: take no fresh write from here on that is below this and that you do not hold.
    Seal {
        /// To find the answer's question.
        request: RequestId,
        /// The layout the leader acts under.
        layout: LayoutId,
        /// What is sealed.
        upto: Floor,
    },
    /// The answer to that.
    Sealed {
        /// The question.
        request: RequestId,
        /// What came of it.
        result: Result<SealedStore, Refusal>,
    },
    /// From the leader, once all have sealed: which versions below this are live with you?
    Compare {
        /// To find the answer's question.
        request: RequestId,
        /// The layout the leader acts under.
        layout: LayoutId,
        /// What is compared.
        upto: Floor,
    },
    /// The answer to that.
    Compared {
        /// The question.
        request: RequestId,
        /// For every arc of the slice that the sender owns, by its last position, the digest; arcs without a live version
        /// below the bound are left out.
        result: Result<Vec<(Position, ArcDigest)>, Refusal>,
    },
    /// Every owner has seen everything below this: what is deleted below it may go.
    Raised {
        /// The floor.
        floor: Floor,
    },
}

/// A store that has sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedStore {
    /// The floor that it knows.
    pub floor: Floor,
    /// Whether it keeps hints. Once it has sealed and keeps none, it will keep none below the seal.
    pub hints: bool,
}

impl CollectionMessage {
    /// Checks what the types cannot. Floors check their own bounds when they are read.
    pub(super) fn validate(&self, slice: Slice) -> Result<(), String> {
        match self {
            Self::Compared { result: Ok(arcs), .. } => {
                let ordered = arcs.windows(2).all(|pair| pair[0].0 < pair[1].0);
                let inside = arcs.iter().all(|(at, _)| at.slice() == slice);
                if ordered && inside && arcs.len() <= limits::ARCS_MAX {
                    Ok(())
                } else {
                    Err(String::from("arcs that are not of the slice, not in order, or too many"))
                }
            }
            _ => Ok(()),
        }
    }
}
