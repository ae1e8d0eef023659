//! What users tell and ask the whole cluster. An event reaches every member, each process once; a question is put to the
//! members that it concerns, and what they say is gathered. Carried by messages of its own, so that what users say cannot
//! delay who is found alive.
//!
//! It never decides anything by what is said, never says who is alive (it is shown the list), never does IO and never reads
//! a clock. Nothing of it is durable: a process that starts remembers nothing.
//!
//! Events are spread as rumours are (Demers and others, "Epidemic Algorithms for Replicated Database Maintenance", 1987):
//! each member sends each so often, to random members, and then no more. Whoever missed one finds it by comparing what is
//! remembered with a random member, which is done every few seconds. The same gives a member that starts the last
//! [`limits::EVENTS_REMEMBERED`] events; like all that is found so they are marked as late.
//!
//! A process hears no event twice, and hears every event unless [`limits::EVENTS_REMEMBERED`] newer ones reach it first.
//! Events of one message come in the order of their stamps; across messages the order is that of arrival, and whoever
//! needs another one has the stamps.

mod answering;
mod asking;
mod compare;
mod effects;
mod event;
mod message;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

pub use asking::{Asked, Audience};
pub use effects::{Effects, Heard};
pub use event::{Stamp, Summary, UserEvent};
pub use message::{Answers, GossipError, GossipMessage, Health, Question, QuestionId, Reply};

use crate::config::Timing;
use crate::id::{EventName, NodeId};
use crate::limits;
use crate::membership::{Membership, sends_max};
use crate::rng::Rng;
use crate::time::Time;
use answering::{Answering, Step};
use asking::{Asking, Pace};
use event::Log;

/// How names begin that only nodes use.
pub const RESERVED: &str = "quorate.";
/// The question that every node answers itself, with its [`Health`].
pub const HEALTH: &str = "quorate.health";
/// How many random members hear the news in one round.
const FANOUT: usize = 3;
/// How many members a process that starts compares with.
const START_FANOUT: usize = 3;
/// Comparisons in one push/pull interval of the list of members: there is little to compare.
const COMPARISONS: u32 = 6;

/// Why nothing was told or asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedError {
    /// A name that only nodes use.
    #[error("{name:?} begins {RESERVED:?}: such names are the nodes' own")]
    Reserved {
        /// The name.
        name: EventName,
    },
    /// Too many of this node's are under way. They will be fewer soon.
    #[error("{max} {what} of this node are under way: try again")]
    Busy {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// Out of bounds.
    #[error(transparent)]
    Bounds(#[from] GossipError),
}

/// What one process tells, hears, asks and answers.
///
/// Calls that take `now` must not see it go back; every one of them may want messages sent. After each, the caller arranges
/// for [`Gossip::on_timer`] at [`Gossip::next_wake`]. Spurious calls of it do nothing.
#[derive(Clone, Debug)]
pub struct Gossip {
    me: NodeId,
    timing: Timing,
    rng: Rng,
    log: Log,
    asking: Asking,
    answering: Answering,
    is_ready: bool,
    /// Whether it has asked others what they remember.
    is_started: bool,
    next_round: Time,
    next_compare: Time,
}

impl Gossip {
    /// Of a process that starts. It should be woken at once, to hear what the others remember.
    ///
    /// `clock` is where its Lamport clock begins: the time of day in milliseconds, so that what it tells first is not
    /// taken for old by those who have forgotten more than it ever told.
    #[must_use]
    pub fn new(me: NodeId, timing: Timing, rng: Rng, clock: u64) -> Self {
        Self {
            me,
            timing,
            rng,
            log: Log::new(clock),
            asking: Asking::default(),
            answering: Answering::default(),
            is_ready: false,
            is_started: false,
            next_round: Time::ZERO,
            next_compare: Time::ZERO,
        }
    }

    /// Whether this node serves requests, for [`HEALTH`].
    pub const fn set_ready(&mut self, is_ready: bool) {
        self.is_ready = is_ready;
    }

    /// Takes a message from a peer whose connection has shown that it belongs to this cluster.
    ///
    /// # Errors
    /// [`GossipError`] when the message breaks the rules; it is dropped whole and nothing has changed.
    pub fn handle(
        &mut self,
        now: Time,
        from: &NodeId,
        message: GossipMessage,
        members: &Membership,
        out: &mut Effects,
    ) -> Result<(), GossipError> {
        if *from == self.me {
            return Err(GossipError::OwnName);
        }
        message.check()?;
        match message {
            GossipMessage::Events { events, is_late } => {
                // What was found by comparing is found by others in the same way, and need not be told to all again.
                let sends = if is_late { 0 } else { self.sends(members) };
                for event in events {
                    self.hear(event, sends, is_late, out);
                }
            }
            GossipMessage::Summary { clock, summary } => self.on_summary(from, clock, summary, out),
            GossipMessage::Have { clock, stamps } => self.on_have(from, clock, stamps, out),
            GossipMessage::Want { stamps } => self.on_want(from, &stamps, out),
            GossipMessage::Question(question) => self.on_question(now, from, question, members, out),
            GossipMessage::Reply { id, reply } => self.asking.on_reply(now, from, id, reply),
        }
        self.settle(now, members, out);
        Ok(())
    }

    /// Does what is due. To be called at [`Gossip::next_wake`]; calls at other times do no harm.
    pub fn on_timer(&mut self, now: Time, members: &Membership, out: &mut Effects) {
        if now >= self.next_compare {
            self.compare(now, members, out);
        }
        self.settle(now, members, out);
    }

    /// When [`Gossip::on_timer`] is wanted next.
    #[must_use]
    pub fn next_wake(&self) -> Time {
        let round = Some(self.next_round).filter(|_| self.log.is_telling());
        [round, self.asking.next_wake()].into_iter().flatten().fold(self.next_compare, Time::min)
    }

    /// Tells the whole cluster something on behalf of a user.
    ///
    /// # Errors
    /// [`RefusedError`]; nothing was told.
    pub fn fire(
        &mut self,
        now: Time,
        name: EventName,
        payload: Bytes,
        members: &Membership,
        out: &mut Effects,
    ) -> Result<Stamp, RefusedError> {
        if name.as_str().starts_with(RESERVED) {
            return Err(RefusedError::Reserved { name });
        }
        self.tell(now, name, payload, members, out)
    }

    /// Tells the whole cluster something on behalf of this node itself.
    ///
    /// # Errors
    /// [`RefusedError`]; nothing was told.
    ///
    /// # Panics
    /// When the name does not begin [`RESERVED`].
    pub fn announce(
        &mut self,
        now: Time,
        name: EventName,
        payload: Bytes,
        members: &Membership,
        out: &mut Effects,
    ) -> Result<Stamp, RefusedError> {
        assert!(name.as_str().starts_with(RESERVED), "{name:?} is a user's");
        self.tell(now, name, payload, members, out)
    }

    /// Asks members something. What comes of it is [`Heard::Answers`]: when all that were asked and are not found dead
    /// meanwhile have answered, or at the time-out.
    ///
    /// # Errors
    /// [`RefusedError`]; nothing was asked.
    pub fn ask(
        &mut self,
        now: Time,
        asked: Asked,
        members: &Membership,
        out: &mut Effects,
    ) -> Result<QuestionId, RefusedError> {
        let Asked { name, payload, timeout, to } = asked;
        if name.as_str().starts_with(RESERVED) && name.as_str() != HEALTH {
            return Err(RefusedError::Reserved { name });
        }
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        message::check_timeout(timeout_ms)?;
        message::check_payload(&payload)?;
        if self.asking.is_full() {
            return Err(RefusedError::Busy { what: "questions", max: limits::QUESTIONS_MAX });
        }
        let id = QuestionId(self.rng.u64());
        let question = Question { id, name, payload, timeout_ms };
        let (who, missing) = to.resolve(members);
        let is_asked = who.contains(&self.me);
        self.asking.begin(now, question.clone(), &self.me, who, missing);
        if is_asked {
            let me = self.me.clone();
            self.on_question(now, &me, question, members, out);
        }
        self.settle(now, members, out);
        Ok(id)
    }

    /// Says something to a question that was heard. Does nothing if its asker has given up, or has been answered.
    ///
    /// # Errors
    /// [`GossipError::TooMany`] when the answer is too long; nothing was said.
    pub fn answer(
        &mut self,
        now: Time,
        asker: &NodeId,
        id: QuestionId,
        payload: Bytes,
        out: &mut Effects,
    ) -> Result<(), GossipError> {
        message::check_payload(&payload)?;
        self.say(now, asker, id, Reply::Answer(payload), out);
        Ok(())
    }

    /// The events that are remembered, by rising stamp.
    pub fn events(&self) -> impl Iterator<Item = &UserEvent> {
        self.log.events()
    }

    fn tell(
        &mut self,
        now: Time,
        name: EventName,
        payload: Bytes,
        members: &Membership,
        out: &mut Effects,
    ) -> Result<Stamp, RefusedError> {
        message::check_payload(&payload)?;
        if self.log.unsent_of(&self.me) >= limits::EVENTS_UNSENT_MAX {
            return Err(RefusedError::Busy { what: "events", max: limits::EVENTS_UNSENT_MAX });
        }
        let stamp = Stamp { time: self.log.tick(), origin: self.me.clone(), id: self.rng.u64() };
        let sends = self.sends(members);
        self.hear(UserEvent { stamp: stamp.clone(), name, payload }, sends, false, out);
        self.settle(now, members, out);
        Ok(stamp)
    }

    fn hear(&mut self, event: UserEvent, sends: u32, is_late: bool, out: &mut Effects) {
        if self.log.add(event.clone(), sends) {
            out.heard.push(Heard::Event { event, is_late });
        }
    }

    /// How often an event is sent by each member that hears it.
    fn sends(&self, members: &Membership) -> u32 {
        let counts = members.counts();
        sends_max(self.timing.retransmit_multiplier.get(), counts.alive + counts.suspect)
    }

    fn settle(&mut self, now: Time, members: &Membership, out: &mut Effects) {
        if self.log.is_telling() && now >= self.next_round {
            self.next_round = now + self.timing.gossip_interval;
            let receivers = self.sample(FANOUT, members);
            if receivers.is_empty() {
                self.log.stop_telling();
            }
            for receiver in receivers {
                let events = self.log.take();
                if !events.is_empty() {
                    out.sends.push((receiver, GossipMessage::Events { events, is_late: false }));
                }
            }
        }
        let pace = Pace { again: self.timing.probe_timeout, handful: self.timing.gossip_interval };
        self.asking.advance(now, pace, members, out);
    }

    fn compare(&mut self, now: Time, members: &Membership, out: &mut Effects) {
        let fanout = if self.is_started { 1 } else { START_FANOUT };
        let receivers = self.sample(fanout, members);
        self.is_started |= !receivers.is_empty();
        // As long as nobody is known there is nobody to compare with, and the first one who comes should not be waited for.
        let interval = self.timing.push_pull_interval / COMPARISONS;
        self.next_compare = now + if self.is_started { interval } else { self.timing.probe_interval };
        receivers.into_iter().for_each(|receiver| self.send_summary(receiver, out));
    }

    fn on_question(&mut self, now: Time, from: &NodeId, question: Question, members: &Membership, out: &mut Effects) {
        match self.answering.on_question(now, from, &question) {
            Step::Wait => {}
            Step::Said(reply) => self.send_reply(now, from, question.id, reply, out),
            Step::Put if question.name.as_str() == HEALTH => {
                let health = Reply::Health(self.health(members));
                self.say(now, from, question.id, health, out);
            }
            Step::Put if question.name.as_str().starts_with(RESERVED) => {
                self.say(now, from, question.id, Reply::Unknown, out);
            }
            Step::Put => {
                let Question { id, name, payload, timeout_ms } = question;
                let timeout = Duration::from_millis(timeout_ms.into());
                out.heard.push(Heard::Question { from: from.clone(), id, name, payload, timeout });
            }
        }
    }

    fn say(&mut self, now: Time, asker: &NodeId, id: QuestionId, reply: Reply, out: &mut Effects) {
        if self.answering.say(now, asker, id, &reply) {
            self.send_reply(now, asker, id, reply, out);
        }
    }

    fn send_reply(&mut self, now: Time, asker: &NodeId, id: QuestionId, reply: Reply, out: &mut Effects) {
        if *asker == self.me {
            self.asking.on_reply(now, asker, id, reply);
        } else {
            out.sends.push((asker.clone(), GossipMessage::Reply { id, reply }));
        }
    }

    fn health(&self, members: &Membership) -> Health {
        let counts = members.counts();
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Health {
            is_ready: self.is_ready,
            local_health: members.local_health(),
            alive: count(counts.alive),
            suspect: count(counts.suspect),
            dead: count(counts.dead),
        }
    }

    /// Random members that are present, this node left out.
    fn sample(&mut self, count: usize, members: &Membership) -> Vec<NodeId> {
        let others = members.members().filter(|known| known.member.state.is_present() && known.member.node != self.me);
        let mut others: Vec<NodeId> = others.map(|known| known.member.node.clone()).collect();
        self.rng.shuffle(&mut others);
        others.truncate(count);
        others
    }
}
