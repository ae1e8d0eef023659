//! The name of one write. Never says what was written or when.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ActorId;

/// One event: the actor that accepted a write, and which of its writes in this slice of the ring it was. No two writes
/// of a slice have the same dot, ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who accepted the write.
    pub actor: ActorId,
    /// Its number, 1 to [`crate::limits::COUNTER_MAX`]. An actor's numbers are shared by all keys of a slice.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.actor, self.counter)
    }
}
