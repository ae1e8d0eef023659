//! The promises that every run is held to, each with the sentence that explains it to a person. One list, one place.

use serde::{Deserialize, Serialize};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// No acknowledged write is lost.
    AcknowledgedIsKept,
    /// No dot is issued twice.
    DotsAreUnique,
    /// Siblings are what the history of the key says.
    SiblingsFollowHistory,
    /// What was deleted stays deleted.
    DeletedStaysDeleted,
    /// A strict read sees every strict write acknowledged before it.
    StrictReadsAreFresh,
    /// A request is answered once at most.
    OneReply,
    /// After healing the replicas are equal.
    ReplicasConverge,
    /// After healing no hint is left.
    HintsAreDrained,
    /// After healing there is one layout.
    OneLayout,
    /// After healing everybody believes the same of everybody.
    OneMembership,
    /// An idle, healed cluster repairs nothing.
    IdleRepairsNothing,
    /// No queue or list grows past its bound.
    QueuesAreBounded,
    /// Preference lists are what a naive walk over the tokens gives.
    ListsFollowTokens,
    /// No version of the layout has two contents.
    OneContent,
    /// When a node joins, ranges move to it and to nobody else.
    JoinsMoveToJoiner,
    /// No live member of a healthy cluster is declared dead.
    LiveAreNotBuried,
    /// A dead member is found dead within the bound.
    DeadAreFound,
    /// What is healed answers again, whatever stays broken elsewhere.
    HealedCoreProgresses,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::AcknowledgedIsKept,
        Self::DotsAreUnique,
        Self::SiblingsFollowHistory,
        Self::DeletedStaysDeleted,
        Self::StrictReadsAreFresh,
        Self::OneReply,
        Self::ReplicasConverge,
        Self::HintsAreDrained,
        Self::OneLayout,
        Self::OneMembership,
        Self::IdleRepairsNothing,
        Self::QueuesAreBounded,
        Self::ListsFollowTokens,
        Self::OneContent,
        Self::JoinsMoveToJoiner,
        Self::LiveAreNotBuried,
        Self::DeadAreFound,
        Self::HealedCoreProgresses,
    ];

    /// The promise as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::AcknowledgedIsKept => {
                "A write that a client was told is safe is found afterwards, or was replaced by one that had seen it."
            }
            Self::DotsAreUnique => "No two writes have the same name, whatever crashed in between.",
            Self::SiblingsFollowHistory => {
                "Values stand side by side exactly where neither writer had seen the other's value."
            }
            Self::DeletedStaysDeleted => "A value whose deletion was acknowledged never comes back.",
            Self::StrictReadsAreFresh => {
                "A read that a read quorum of owners answered sees every write that a write quorum of owners had acknowledged before it began."
            }
            Self::OneReply => "A request is answered once at most.",
            Self::ReplicasConverge => "Once everything is healed, the owners of a key hold the same of it.",
            Self::HintsAreDrained => "Once everything is healed, nothing waits at a fallback any more.",
            Self::OneLayout => "Once everything is healed, all nodes agree on who owns what.",
            Self::OneMembership => "Once everything is healed, all nodes agree on who is alive.",
            Self::IdleRepairsNothing => "A healed cluster that nobody writes to has nothing to repair.",
            Self::QueuesAreBounded => "No queue, list of hints or set of requests grows past its bound.",
            Self::ListsFollowTokens => "The owners of a key are the first distinct nodes clockwise, zones spread.",
            Self::OneContent => "Of every version of who owns what there is one, whoever wants another.",
            Self::JoinsMoveToJoiner => "A joining node takes ranges over; nobody else gets any.",
            Self::LiveAreNotBuried => "Where nothing is broken, nobody who lives is declared dead.",
            Self::DeadAreFound => "A dead node is declared dead within the bound.",
            Self::HealedCoreProgresses => {
                "Where enough nodes are healed, requests succeed, though others stay broken for ever."
            }
        }
    }
}
