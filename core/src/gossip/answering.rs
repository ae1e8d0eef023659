//! Questions that this node was asked: what it has said to them, so that one asked again is answered again and put to the
//! application only once. Never asks any.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::message::{Question, QuestionId, Reply};
use crate::id::NodeId;
use crate::limits;
use crate::time::Time;

/// What came of a question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is new: somebody has to say something.
    Put,
    /// It was answered before.
    Said(Reply),
    /// The answer is awaited, or there is no room for it. It will be asked again.
    Wait,
}

#[derive(Clone, Debug)]
struct Put {
    until: Time,
    reply: Option<Reply>,
}

/// The questions that are remembered until their askers have given up: of one asker at most
/// [`limits::QUESTIONS_MAX`], and [`limits::QUESTIONS_ANSWERED_MAX`] in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Answering {
    put: BTreeMap<(NodeId, QuestionId), Put>,
}

impl Answering {
    pub(super) fn on_question(&mut self, now: Time, from: &NodeId, question: &Question) -> Step {
        self.put.retain(|_, put| put.until > now);
        if let Some(put) = self.put.get(&(from.clone(), question.id)) {
            return put.reply.clone().map_or(Step::Wait, Step::Said);
        }
        let of_asker = self.put.keys().filter(|(asker, _)| asker == from).count();
        if of_asker >= limits::QUESTIONS_MAX || self.put.len() >= limits::QUESTIONS_ANSWERED_MAX {
            return Step::Wait;
        }
        let until = now + Duration::from_millis(question.timeout_ms.into());
        self.put.insert((from.clone(), question.id), Put { until, reply: None });
        Step::Put
    }

    /// Notes what is said to a question. Nothing if it was not asked, was answered or is over.
    pub(super) fn say(&mut self, now: Time, from: &NodeId, id: QuestionId, reply: &Reply) -> bool {
        let put = self.put.get_mut(&(from.clone(), id)).filter(|put| put.until > now && put.reply.is_none());
        put.is_some_and(|put| {
            put.reply = Some(reply.clone());
            true
        })
    }
}
