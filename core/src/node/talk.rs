//! What users tell and ask the cluster through this node, and what the node itself tells. Never decides anything by it.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use bytes::Bytes;

use super::{Node, Output};
use crate::gossip::{self, Asked, GossipMessage, QuestionId, RefusedError, UserEvent};
use crate::id::{EventName, NodeId, Token};
use crate::layout::LayoutId;
use crate::limits;
use crate::membership::{Change, ChangeKind, Why};
use crate::message::NodeMessage;
use crate::storage::Storage;
use crate::time::Time;

/// Something has happened to a member.
const MEMBER: &str = "quorate.member";
/// There is another layout.
const LAYOUT: &str = "quorate.layout";
/// How much longer each next one of those who suspected a member waits before it tells of its death, so that one does.
const STAGGER: Duration = Duration::from_secs(1);

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

/// What this node is to tell all others, in its own name.
#[derive(Clone, Debug)]
struct Announcement {
    due: Time,
    name: EventName,
    payload: Bytes,
}

/// What this node is to tell. At most [`limits::EVENTS_UNSENT_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements(VecDeque<Announcement>);

impl Announcements {
    fn next_wake(&self) -> Option<Time> {
        self.0.iter().map(|one| one.due).min()
    }
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

    /// Has everybody told of the death of a member if the verdict is this node's own. Those who have asked a member in vain
    /// come to it at about the same time; the first of them by name tells at once, and the next one only if it has not.
    pub(super) fn tell_of_death(&mut self, change: &Change) {
        let Why::SuspicionTimeout { accusers, .. } = &change.why else { return };
        let me = &self.start.node;
        if change.kind != ChangeKind::Died || change.by != *me {
            return;
        }
        let before = accusers.iter().filter(|accuser| *accuser < me).count();
        let wait = STAGGER * u32::try_from(before).unwrap_or(u32::MAX).min(8);
        let (node, incarnation) = (&change.node, change.incarnation);
        // A node's name needs no escaping.
        self.announce(wait, MEMBER, format!(r#"{{"node":"{node}","status":"dead","incarnation":{incarnation}}}"#));
    }

    /// Has everybody told of a layout that this node has brought about.
    pub(super) fn tell_of_layout(&mut self, layout: LayoutId) {
        let (version, owners) = (layout.version, self.layout().len());
        self.announce(Duration::ZERO, LAYOUT, format!(r#"{{"layout_version":{version},"owners":{owners}}}"#));
    }

    fn announce(&mut self, wait: Duration, name: &str, payload: String) {
        if self.announcements.0.len() < limits::EVENTS_UNSENT_MAX {
            let name = EventName::new(name).expect("it is short and plain");
            let due = self.effects.now + wait;
            self.announcements.0.push_back(Announcement { due, name, payload: payload.into() });
        }
    }

    fn announce_what_is_due(&mut self) {
        let now = self.effects.now;
        let mut effects = gossip::Effects::default();
        for Announcement { due, name, payload } in core::mem::take(&mut self.announcements.0) {
            if due > now {
                self.announcements.0.push_back(Announcement { due, name, payload });
            } else if !self.gossip.events().any(|event| event.name == name && event.payload == payload) {
                // With too much under way already, one event less: the list of members and the layout are what counts.
                let _ = self.gossip.announce(now, name, payload, &self.membership, &mut effects);
            }
        }
        self.carry_out_talk(effects);
    }

    fn carry_out_talk(&mut self, effects: gossip::Effects) {
        let gossip::Effects { sends, heard } = effects;
        for (to, message) in sends {
            self.send(to, NodeMessage::Gossip(message));
        }
        heard.into_iter().for_each(|heard| self.effects.push(Output::Heard(heard)));
    }
}
