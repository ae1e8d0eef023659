//! Questions that this node has asked: who still has to answer, and what the others have said. Never answers any.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::effects::{Effects, Heard};
use super::message::{Answers, GossipMessage, Question, QuestionId, Reply};
use crate::id::{EventName, NodeId};
use crate::limits;
use crate::membership::{Known, Membership, State};
use crate::time::Time;

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All members that are present.
    All,
    /// Those that have all of these tags.
    Tags(BTreeMap<String, String>),
    /// Those that are named. Who is not present is missing from the start.
    Nodes(Vec<NodeId>),
}

/// What is asked, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What kind of question it is.
    pub name: EventName,
    /// What it says: at most [`limits::EVENT_BYTES_MAX`].
    pub payload: Bytes,
    /// How long to wait for answers, up to [`limits::TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Who is asked.
    pub to: Audience,
}

impl Audience {
    /// The members that are asked, and those that cannot be.
    pub(super) fn resolve(&self, members: &Membership) -> (Vec<NodeId>, Vec<NodeId>) {
        let present = |known: &&Known| known.member.state.is_present();
        let named = |known: &Known| known.member.node.clone();
        match self {
            Self::All => (members.members().filter(present).map(named).collect(), Vec::new()),
            Self::Tags(tags) => {
                let has = |known: &&Known| tags.iter().all(|(name, value)| known.member.tags.get(name) == Some(value));
                (members.members().filter(present).filter(has).map(named).collect(), Vec::new())
            }
            Self::Nodes(nodes) => {
                let mut nodes = nodes.clone();
                nodes.sort_unstable();
                nodes.dedup();
                nodes.into_iter().partition(|node| members.member(node).as_ref().is_some_and(present))
            }
        }
    }
}

/// A question under way.
#[derive(Clone, Debug)]
struct Waiting {
    question: Question,
    until: Time,
    /// Who has not answered, and when to ask again.
    unanswered: BTreeMap<NodeId, Time>,
    missing: Vec<NodeId>,
    replies: Vec<(NodeId, Reply)>,
    /// When there is something to do.
    next: Time,
}

/// All questions under way: at most [`limits::QUESTIONS_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    by_id: BTreeMap<QuestionId, Waiting>,
}

impl Asking {
    pub(super) fn is_full(&self) -> bool {
        self.by_id.len() >= limits::QUESTIONS_MAX
    }

    /// Begins to ask. This node itself, if it is among them, is waited for but never sent anything.
    pub(super) fn begin(&mut self, now: Time, question: Question, me: &NodeId, who: Vec<NodeId>, missing: Vec<NodeId>) {
        let until = now + Duration::from_millis(question.timeout_ms.into());
        let first = |node: &NodeId| if node == me { until } else { now };
        let unanswered = who.into_iter().map(|node| (node.clone(), first(&node))).collect();
        let waiting = Waiting { until, unanswered, missing, replies: Vec::new(), next: now, question };
        self.by_id.insert(waiting.question.id, waiting);
    }

    /// Takes an answer. One that comes late, twice, or from somebody who was not asked is nothing.
    pub(super) fn on_reply(&mut self, now: Time, from: &NodeId, id: QuestionId, reply: Reply) {
        if let Some(waiting) = self.by_id.get_mut(&id)
            && waiting.unanswered.remove(from).is_some()
        {
            waiting.replies.push((from.clone(), reply));
            if waiting.unanswered.is_empty() {
                waiting.next = now;
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.by_id.values().map(|waiting| waiting.next).min()
    }

    /// Asks again who has not answered, gives up on who has died, and ends what is over.
    pub(super) fn advance(&mut self, now: Time, pace: Pace, members: &Membership, out: &mut Effects) {
        for waiting in self.by_id.values_mut().filter(|waiting| waiting.next <= now && now < waiting.until) {
            waiting.advance(now, pace, members, out);
        }
        let is_over = |waiting: &Waiting| waiting.unanswered.is_empty() || now >= waiting.until;
        for (id, waiting) in self.by_id.extract_if(.., |_, waiting| is_over(waiting)) {
            let missing = waiting.missing.into_iter().chain(waiting.unanswered.into_keys()).collect();
            out.heard.push(Heard::Answers(Answers { id, replies: waiting.replies, missing }));
        }
    }
}

/// How fast members are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Until a member is asked again.
    pub(super) again: Duration,
    /// Between two handfuls where many are asked.
    pub(super) handful: Duration,
}

impl Waiting {
    fn advance(&mut self, now: Time, pace: Pace, members: &Membership, out: &mut Effects) {
        let is_gone = |node: &NodeId| members.member(node).is_none_or(|known| known.member.state > State::Suspect);
        self.missing.extend(self.unanswered.extract_if(.., |node, _| is_gone(node)).map(|(node, _)| node));
        let mut due: Vec<_> = self.unanswered.iter_mut().filter(|(_, at)| **at <= now).collect();
        due.sort_by_key(|(_, at)| **at);
        let is_handful = due.len() <= limits::QUESTIONS_SENT_AT_ONCE;
        for (node, at) in due.into_iter().take(limits::QUESTIONS_SENT_AT_ONCE) {
            *at = now + pace.again;
            out.sends.push((node.clone(), GossipMessage::Question(self.question.clone())));
        }
        let again = self.unanswered.values().min().copied().unwrap_or(now);
        self.next = self.until.min(if is_handful { again } else { now + pace.handful });
    }
}
