//! How the next version of a layout is decided: once, by a majority of the owners of the one before. Single-decree Paxos
//! for each version (Lamport, "Paxos Made Simple", 2001, section 2). Plain data in, plain data out: it neither sends nor
//! stores, and never judges whether a change is wise.
//!
//! A proposer that finds a value accepted by somebody proposes that one, and makes its own change in the version after.
//! What an acceptor promises or accepts must be durable before its answer leaves.

use alloc::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Layout, LayoutId};
use crate::id::NodeId;

/// Orders proposals; no two proposers have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Raised by whoever was outbid.
    pub round: u64,
    /// Whose.
    pub node: NodeId,
}

/// What owners say to each other to decide what follows the layout `base`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The layout whose successor is decided.
    pub base: LayoutId,
    /// The ballot it is about; of a refusal, the greater one that was promised.
    pub ballot: Ballot,
    /// What is said.
    pub verdict: Verdict,
}

/// What is said about a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Promise to take nothing below it.
    Prepare,
    /// It is promised; this was accepted last.
    Promise {
        /// Under which ballot, and what.
        accepted: Option<(Ballot, Layout)>,
    },
    /// Accept this.
    Accept {
        /// What.
        layout: Layout,
    },
    /// It is accepted.
    Accepted,
    /// A greater ballot, this one, was promised.
    Outbid,
}

/// What an owner has promised and accepted. To be kept durably.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptor {
    base: LayoutId,
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Layout)>,
}

impl Acceptor {
    /// Takes a proposer's message and gives the answer, to be sent once this acceptor is durable; nothing if the message
    /// is none of a proposer. The caller has seen to it that `base` is the newest layout.
    pub fn answer(&mut self, Decision { base, ballot, verdict }: Decision) -> Option<Decision> {
        if self.base != base {
            *self = Self { base, promised: None, accepted: None };
        }
        let outbid = self.promised.as_ref().filter(|promised| **promised > ballot).cloned();
        if let (Some(promised), Verdict::Prepare | Verdict::Accept { .. }) = (outbid, &verdict) {
            return Some(Decision { base, ballot: promised, verdict: Verdict::Outbid });
        }
        let verdict = match verdict {
            Verdict::Prepare => {
                self.promised = Some(ballot.clone());
                Verdict::Promise { accepted: self.accepted.clone() }
            }
            Verdict::Accept { layout } => {
                self.promised = Some(ballot.clone());
                self.accepted = Some((ballot.clone(), layout));
                Verdict::Accepted
            }
            Verdict::Promise { .. } | Verdict::Accepted | Verdict::Outbid => return None,
        };
        Some(Decision { base, ballot, verdict })
    }

    /// What it has accepted as the successor of `base`. A majority may have done so too, and whoever counted them may be
    /// gone: then it is decided, and nobody knows.
    #[must_use]
    pub fn accepted(&self, base: LayoutId) -> Option<&Layout> {
        self.accepted.as_ref().filter(|_| self.base == base).map(|(_, layout)| layout)
    }
}

/// An attempt to decide the next version.
#[derive(Clone, Debug)]
pub struct Proposal {
    base: LayoutId,
    voters: BTreeSet<NodeId>,
    ballot: Ballot,
    /// What is proposed: what was wanted, or what somebody had accepted.
    layout: Layout,
    /// The ballot under which it was accepted, if it was.
    accepted_under: Option<Ballot>,
    is_accepting: bool,
    votes: BTreeSet<NodeId>,
}

/// What comes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More answers are needed.
    Wait,
    /// A majority has promised: ask the voters to accept.
    AskToAccept,
    /// It is decided.
    Decided(Layout),
    /// Somebody promised a greater ballot, of this round.
    Outbid(u64),
}

impl Proposal {
    /// Wants `layout` to follow `base`.
    #[must_use]
    pub fn new(base: &Layout, layout: Layout, ballot: Ballot) -> Self {
        let voters = base.owners().cloned().collect();
        let base = base.id();
        Self { base, voters, ballot, layout, accepted_under: None, is_accepting: false, votes: BTreeSet::new() }
    }

    /// The layout whose successor it is.
    #[must_use]
    pub const fn base(&self) -> LayoutId {
        self.base
    }

    /// Its ballot's round.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.ballot.round
    }

    /// What to ask now.
    #[must_use]
    pub fn question(&self) -> Decision {
        let verdict =
            if self.is_accepting { Verdict::Accept { layout: self.layout.clone() } } else { Verdict::Prepare };
        Decision { base: self.base, ballot: self.ballot.clone(), verdict }
    }

    /// Voters that have not answered the question of now.
    pub fn silent(&self) -> impl Iterator<Item = &NodeId> {
        self.voters.difference(&self.votes)
    }

    /// Takes a voter's answer.
    pub fn take(&mut self, from: &NodeId, answer: Decision) -> Step {
        if answer.base != self.base || !self.voters.contains(from) {
            return Step::Wait;
        }
        if answer.verdict == Verdict::Outbid && answer.ballot > self.ballot {
            return Step::Outbid(answer.ballot.round);
        }
        if answer.ballot != self.ballot {
            return Step::Wait;
        }
        match answer.verdict {
            Verdict::Promise { accepted } if !self.is_accepting => {
                if let Some((ballot, layout)) = accepted
                    && self.accepted_under.as_ref().is_none_or(|known| *known < ballot)
                {
                    self.accepted_under = Some(ballot);
                    self.layout = layout;
                }
                self.votes.insert(from.clone());
                if self.has_majority() {
                    self.is_accepting = true;
                    self.votes.clear();
                    return Step::AskToAccept;
                }
            }
            Verdict::Accepted if self.is_accepting => {
                self.votes.insert(from.clone());
                if self.has_majority() {
                    return Step::Decided(self.layout.clone());
                }
            }
            _ => {}
        }
        Step::Wait
    }

    fn has_majority(&self) -> bool {
        self.votes.len() > self.voters.len() / 2
    }
}
