//! What users tell and ask the cluster through this node. Never decides anything by it.

use alloc::string::ToString;

use bytes::Bytes;

use super::{Node, Output};
use crate::gossip::{self, Asked, GossipMessage, QuestionId, RefusedError, UserEvent};
use crate::id::{EventName, NodeId, Token};
use crate::message::NodeMessage;
use crate::storage::Storage;
use crate::time::Time;

/// Why nothing was told or asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TalkError {
    /// There is nobody to tell or ask.
    #[error("this node is not yet a member of a cluster")]
    NoCluster,
    /// It may not be, or not now.
    #[error(transparent)]
    Refused(#[from] RefusedError),
}

impl<S: Storage> Node<S> {
    /// The events that are remembered, by rising stamp.
    pub fn events(&self) -> impl Iterator<Item = &UserEvent> {
        self.gossip.events()
    }

    pub(super) fn on_gossip(&mut self, from: NodeId, message: GossipMessage) {
        if matches!(message, GossipMessage::Question(_)) {
            self.gossip.set_ready(self.not_ready().is_none());
        }
        let mut effects = gossip::Effects::default();
        match self.gossip.handle(self.effects.now, &from, message, &self.membership, &mut effects) {
            Ok(()) => self.carry_out_talk(effects),
            Err(error) => self.reject(from, error.to_string()),
        }
    }

    /// Tells the whole cluster something on behalf of a user.
    pub(super) fn fire(&mut self, token: Token, name: EventName, payload: Bytes) {
        let mut effects = gossip::Effects::default();
        let result = match self.identity {
            None => Err(TalkError::NoCluster),
            Some(_) => {
                let told = self.gossip.fire(self.effects.now, name, payload, &self.membership, &mut effects);
                told.map_err(TalkError::from)
            }
        };
        self.effects.push(Output::Fired { token, result });
        self.carry_out_talk(effects);
    }

    /// Asks members something on behalf of a user.
    pub(super) fn ask_members(&mut self, token: Token, asked: Asked) {
        let mut effects = gossip::Effects::default();
        let result = match self.identity {
            None => Err(TalkError::NoCluster),
            Some(_) => {
                // It may be among those that are asked.
                self.gossip.set_ready(self.not_ready().is_none());
                self.gossip.ask(self.effects.now, asked, &self.membership, &mut effects).map_err(TalkError::from)
            }
        };
        // Before what comes of it, which may be at once.
        self.effects.push(Output::Asked { token, result });
        self.carry_out_talk(effects);
    }

    /// Says something to a question that was heard.
    pub(super) fn answer_question(&mut self, token: Token, asker: &NodeId, id: QuestionId, payload: Bytes) {
        let mut effects = gossip::Effects::default();
        let result = self.gossip.answer(self.effects.now, asker, id, payload, &mut effects);
        self.effects.push(Output::Answered { token, result });
        self.carry_out_talk(effects);
    }

    pub(super) fn talk_on_time(&mut self) {
        let now = self.effects.now;
        if self.identity.is_none() || self.talk_wake() > now {
            return;
        }
        self.announce_what_is_due();
        let mut effects = gossip::Effects::default();
        self.gossip.on_timer(now, &self.membership, &mut effects);
        self.carry_out_talk(effects);
    }

    pub(super) fn talk_wake(&self) -> Time {
        let gossip = self.gossip.next_wake();
        self.announcements.next_wake().map_or(gossip, |due| due.min(gossip))
    }

    pub(super) fn carry_out_talk(&mut self, effects: gossip::Effects) {
        let gossip::Effects { sends, heard } = effects;
        for (to, message) in sends {
            self.send(to, NodeMessage::Gossip(message));
        }
        heard.into_iter().for_each(|heard| self.effects.push(Output::Heard(heard)));
    }
}
