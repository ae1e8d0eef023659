//! Bugs that can be put in on purpose, to show that the checkers of the simulated world find them. Without the feature
//! `planted`, which no release build has, none can.

use serde::{Deserialize, Serialize};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlantedBug {
    /// A hint that voted is forgotten before it was delivered.
    ForgetHint,
    /// A restart begins again at the first dot.
    ReuseDot,
    /// A replica acknowledges a fresh dot that it has seen superseded.
    AcknowledgeCovered,
    /// A replica votes before its disk has the write.
    VoteBeforeDurable,
    /// A write is acknowledged one vote early.
    AcknowledgeEarly,
    /// A read answers with what one of the replicas said.
    AnswerWithoutMerging,
    /// A merge keeps the newest version only.
    KeepNewest,
    /// A tombstone is forgotten before every owner has it.
    CollectEarly,
    /// The answer of a store that has not pulled everything counts.
    ReadUnsynced,
    /// A store that was restored from an old copy goes on as if nothing had happened.
    TrustOldCopy,
    /// Owners forget what they promised when the next version of the layout is decided.
    TwoContents,
    /// A store that took another one's place votes on the next version as if it were that one.
    VoteAfterLoss,
    /// Replicas refuse requests under an old layout only once it has retired.
    FenceLate,
    /// A former owner drops what it holds before all owners have it.
    DropEarly,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ForgetHint,
        Self::ReuseDot,
        Self::AcknowledgeCovered,
        Self::VoteBeforeDurable,
        Self::AcknowledgeEarly,
        Self::AnswerWithoutMerging,
        Self::KeepNewest,
        Self::CollectEarly,
        Self::ReadUnsynced,
        Self::TrustOldCopy,
        Self::TwoContents,
        Self::VoteAfterLoss,
        Self::FenceLate,
        Self::DropEarly,
    ];
}
