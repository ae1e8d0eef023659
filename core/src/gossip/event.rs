//! Events that users and nodes tell the whole cluster, and how many of them are remembered. Never says whom to tell.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hash::StableHasher;
use crate::id::{EventName, NodeId};
use crate::limits;

/// Furthest that an event may be ahead of this node's clock. A clock moves by one for each event; an event beyond this is
/// passed over, so that one hostile message cannot push the clocks of all to the end of their numbers.
const CLOCK_JUMP_MAX: u64 = 1 << 48;
/// The end of the numbers.
pub(super) const CLOCK_MAX: u64 = 1 << 62;

/// When an event was told, and which it is. Whoever tells one after hearing another gives it a greater stamp; the rest of
/// the order is arbitrary, and the same for everybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The Lamport clock of the teller (Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978).
    pub time: u64,
    /// Who told it first.
    pub origin: NodeId,
    /// Drawn at random for this event.
    pub id: u64,
}

/// Something that is told to the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// When, and which.
    pub stamp: Stamp,
    /// What kind it is.
    pub name: EventName,
    /// What it says: at most [`limits::EVENT_BYTES_MAX`]. Never looked into.
    pub payload: Bytes,
}

impl Stamp {
    /// An upper bound of its size on the wire, in bytes.
    pub(super) fn wire_bytes(&self) -> usize {
        const NUMBERS: usize = 24;
        NUMBERS + self.origin.as_str().len()
    }

    fn hash(&self) -> u64 {
        let mut hasher = StableHasher::new();
        hasher.u64(self.time);
        hasher.bytes(self.origin.as_str().as_bytes());
        hasher.u64(self.id);
        hasher.finish()
    }
}

impl UserEvent {
    /// An upper bound of its size on the wire, in bytes.
    pub(super) fn wire_bytes(&self) -> usize {
        const LENGTHS: usize = 8;
        LENGTHS + self.stamp.wire_bytes() + self.name.as_str().len() + self.payload.len()
    }
}

/// An event that is remembered.
#[derive(Clone, Debug)]
struct Entry {
    event: UserEvent,
    /// How often it still has to be sent.
    sends_left: u32,
}

/// The events with the greatest stamps, [`limits::EVENTS_REMEMBERED`] of them: for those who have not heard them, and so
/// that none is heard twice. What is below all that were ever forgotten counts as heard, so forgetting repeats nothing.
#[derive(Clone, Debug)]
pub(super) struct Log {
    clock: u64,
    entries: BTreeMap<Stamp, Entry>,
    /// The greatest stamp that was forgotten.
    floor: Option<Stamp>,
}

/// What a log holds, in a few bytes: logs that hold the same are equal here, and others, for all that matters, are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many events.
    pub count: u16,
    /// The sum of the hashes of their stamps.
    pub sum: u64,
}

impl Log {
    /// An empty one whose clock begins here.
    pub(super) fn new(clock: u64) -> Self {
        Self { clock: clock.min(CLOCK_MAX), entries: BTreeMap::new(), floor: None }
    }

    pub(super) const fn clock(&self) -> u64 {
        self.clock
    }

    /// Moves the clock on to what somebody else's shows. Says whether that is believed.
    pub(super) fn observe(&mut self, clock: u64) -> bool {
        let is_believed = clock <= CLOCK_MAX && clock <= self.clock.saturating_add(CLOCK_JUMP_MAX);
        if is_believed {
            self.clock = self.clock.max(clock);
        }
        is_believed
    }

    /// The time of an event that is told now: later than all that were heard.
    pub(super) fn tick(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1).min(CLOCK_MAX);
        self.clock
    }

    /// Takes an event that is to be sent so often. Says whether it is news.
    pub(super) fn add(&mut self, event: UserEvent, sends_left: u32) -> bool {
        if !self.lacks(&event.stamp) || !self.observe(event.stamp.time) {
            return false;
        }
        self.entries.insert(event.stamp.clone(), Entry { event, sends_left });
        if self.entries.len() > limits::EVENTS_REMEMBERED {
            self.floor = self.entries.pop_first().map(|(stamp, _)| stamp);
        }
        true
    }

    /// Whether an event with this stamp would be news.
    pub(super) fn lacks(&self, stamp: &Stamp) -> bool {
        self.floor.as_ref().is_none_or(|floor| floor < stamp) && !self.entries.contains_key(stamp)
    }

    /// Events that somebody with a full log that begins at this stamp has not forgotten.
    pub(super) fn is_remembered(begin: Option<&Stamp>, count: usize, stamp: &Stamp) -> bool {
        count < limits::EVENTS_REMEMBERED || begin.is_none_or(|begin| begin < stamp)
    }

    pub(super) fn get(&self, stamp: &Stamp) -> Option<&UserEvent> {
        self.entries.get(stamp).map(|entry| &entry.event)
    }

    /// All of them, by stamp.
    pub(super) fn events(&self) -> impl Iterator<Item = &UserEvent> {
        self.entries.values().map(|entry| &entry.event)
    }

    pub(super) fn stamps(&self) -> Vec<Stamp> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn summary(&self) -> Summary {
        let sum = self.entries.keys().fold(0_u64, |sum, stamp| sum.wrapping_add(stamp.hash()));
        Summary { count: u16::try_from(self.entries.len()).expect("few are remembered"), sum }
    }

    /// Whether some are still to be sent.
    pub(super) fn is_telling(&self) -> bool {
        self.entries.values().any(|entry| entry.sends_left > 0)
    }

    /// Sends nothing that it holds any more: there is nobody to send it to.
    pub(super) fn stop_telling(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.sends_left = 0);
    }

    /// How many of the node's own are still to be sent.
    pub(super) fn unsent_of(&self, origin: &NodeId) -> usize {
        let waiting = self.entries.iter().filter(|(stamp, entry)| entry.sends_left > 0 && stamp.origin == *origin);
        waiting.count()
    }

    /// Events for one message, those sent least often first, then the oldest; in the order of their stamps. Each counts as
    /// sent once more.
    pub(super) fn take(&mut self) -> Vec<UserEvent> {
        let mut waiting: Vec<&mut Entry> = self.entries.values_mut().filter(|entry| entry.sends_left > 0).collect();
        waiting.sort_by_key(|entry| core::cmp::Reverse(entry.sends_left));
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for entry in waiting.into_iter().take(limits::EVENTS_PER_MESSAGE_MAX) {
            bytes += entry.event.wire_bytes();
            if bytes > limits::EVENTS_TOLD_BYTES_MAX && !taken.is_empty() {
                break;
            }
            entry.sends_left -= 1;
            taken.push(entry.event.clone());
        }
        taken.sort_unstable_by(|one: &UserEvent, other| one.stamp.cmp(&other.stamp));
        taken
    }
}
