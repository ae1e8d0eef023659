//! One process of the world of gossip: a list of members, or nothing while it is down, and what holds it up. Never decides
//! when it is held up.

use alloc::vec::Vec;

use crate::id::NodeId;
use crate::membership::{Membership, MembershipMessage};
use crate::time::Time;

/// A process, by its number.
pub(super) type Place = u32;

/// What stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Nothing: it runs.
    None,
    /// The whole process: its timers fire late, and late ones before it sees what waits.
    Process,
    /// Its input and output: they wait, while its timers fire.
    Network,
}

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) name: NodeId,
    pub(super) membership: Option<Membership>,
    pub(super) hold: Hold,
    /// What has arrived and waits.
    pub(super) inbox: Vec<(Place, MembershipMessage)>,
    /// What was sent and waits.
    pub(super) outbox: Vec<(Place, MembershipMessage)>,
    /// On which side of a partition it is; all on one if there is none.
    pub(super) side: u8,
    /// It has stalled, and may stall again.
    pub(super) is_ailing: bool,
    /// The highest incarnation that it has made durable.
    pub(super) incarnation: u64,
    /// The next wake-up that is queued for it.
    pub(super) wake: Option<Time>,
}

impl Process {
    pub(super) const fn new(name: NodeId) -> Self {
        Self {
            name,
            membership: None,
            hold: Hold::None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            side: 0,
            is_ailing: false,
            incarnation: 0,
            wake: None,
        }
    }

    /// Whether it is up and has never stalled.
    pub(super) const fn is_well(&self) -> bool {
        self.membership.is_some() && !self.is_ailing
    }
}
