//! What came of a run: the invariants that were broken, and a tally of everything that happened. Plain data.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Invariant;
use crate::causality::Dot;
use crate::id::Key;
use crate::time::Time;

/// An invariant that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// When it was found broken.
    pub at: Time,
    /// The key it is about, if it is about one.
    pub key: Option<Key>,
    /// The write it is about, if it is about one.
    pub dot: Option<Dot>,
    /// What was found, as a sentence.
    pub detail: String,
}

/// A way to disturb a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A message was lost at random.
    Loss,
    /// A message came twice.
    Duplication,
    /// A message overtook an earlier one of its link.
    Reordering,
    /// Two sides could not hear each other.
    Partition,
    /// One direction of a link was cut.
    OneWayCut,
    /// A link was slow.
    SlowLink,
    /// A link had too much on its way and dropped a message.
    QueueFull,
    /// A process ended without a word; what its disk had not made durable is lost.
    Crash,
    /// The process of every node ended at once.
    PowerFailure,
    /// A process was stopped tidily.
    Stop,
    /// A process stood still for a while.
    Pause,
    /// A process took long for everything.
    SlowProcess,
    /// A control plane took long for everything, while its shards went on.
    SlowControl,
    /// A crash kept some batches that were not durable yet, and tore the next one.
    TornBatch,
    /// A disk lost everything.
    DiskLost,
    /// A disk was restored from an old copy.
    DiskRolledBack,
    /// Stored bytes changed by themselves.
    BitRot,
    /// A disk could not read for a while.
    ReadError,
    /// A disk was full for a while.
    DiskFull,
    /// A disk took long to make anything durable.
    SlowDisk,
    /// A clock ran too fast or too slow.
    ClockDrift,
    /// A clock jumped.
    ClockJump,
    /// A node was told to leave for good.
    Leave,
    /// A node was removed by an operator.
    Remove,
    /// A node was given another share of the ring.
    Weigh,
    /// A change of the layout was reverted.
    Revert,
    /// A node took the place of another one.
    Replace,
    /// A layout was forced, because the majority of the owners was lost.
    Force,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::Partition,
        Self::OneWayCut,
        Self::SlowLink,
        Self::QueueFull,
        Self::Crash,
        Self::PowerFailure,
        Self::Stop,
        Self::Pause,
        Self::SlowProcess,
        Self::SlowControl,
        Self::TornBatch,
        Self::DiskLost,
        Self::DiskRolledBack,
        Self::BitRot,
        Self::ReadError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::ClockDrift,
        Self::ClockJump,
        Self::Leave,
        Self::Remove,
        Self::Weigh,
        Self::Revert,
        Self::Replace,
    ];
}

/// Something that a sweep must have seen to have tested anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A fallback kept a write for an owner.
    HintStored,
    /// A fallback had as many hints as it may have.
    HintRefused,
    /// A hint arrived where it belongs.
    HintDelivered,
    /// A tombstone was forgotten.
    TombstoneCollected,
    /// A store got a new actor.
    ActorMinted,
    /// A replica refused a dot that it had seen superseded.
    DotRefused,
    /// A key had siblings.
    Conflict,
    /// A read repaired a replica.
    ReadRepaired,
    /// A comparison of hash trees found something.
    ExchangeRepaired,
    /// A hash tree was built anew.
    TreeRebuilt,
    /// A damaged object was fetched from its other owners.
    Healed,
    /// A new or emptied store pulled what it owns.
    Synced,
    /// A late answer made somebody else be asked too.
    Hedged,
    /// A retried write was recognised.
    RetryRecognised,
    /// A version of the layout was decided.
    LayoutDecided,
    /// A slice passed from one layout to the next at a node.
    SlicePassed,
    /// A former owner dropped an object that all owners have.
    LeftoverDropped,
    /// A node has left for good.
    Left,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::HintStored,
        Self::HintRefused,
        Self::HintDelivered,
        Self::TombstoneCollected,
        Self::ActorMinted,
        Self::DotRefused,
        Self::Conflict,
        Self::ReadRepaired,
        Self::ExchangeRepaired,
        Self::TreeRebuilt,
        Self::Healed,
        Self::Synced,
        Self::Hedged,
        Self::RetryRecognised,
        Self::LayoutDecided,
        Self::SlicePassed,
        Self::LeftoverDropped,
        Self::Left,
    ];
}

/// What happened in a run, or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Things that the world let happen: arrivals, wake-ups, disks that were done.
    pub things: u64,
    /// How often the world was disturbed, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// What the nodes did of which a sweep must have seen enough.
    pub marks: BTreeMap<Mark, u64>,
    /// Operations of clients by their outcome: `written`, `found`, `absent`, or an error's code.
    pub outcomes: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        self.things += other.things;
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(*kind).or_default() += count);
        other.marks.iter().for_each(|(mark, count)| *self.marks.entry(*mark).or_default() += count);
        other.outcomes.iter().for_each(|(code, count)| *self.outcomes.entry(code.clone()).or_default() += count);
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was broken, in the order it was found; nothing if every promise was kept.
    pub violations: Vec<Violation>,
    /// What happened.
    pub tally: Tally,
    /// Simulated time.
    pub simulated: Duration,
    /// The hash of the world at the end.
    pub hash: u64,
}
