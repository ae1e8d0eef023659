//! The recent past of a cluster as a picture needs it: who sent what to whom, when it arrived or was lost, and when
//! processes were down. Bounded; never decides anything, and invents nothing that no frame has told.

use std::collections::{HashMap, VecDeque};

use quorate_core::event::{Event, EventId, EventKind, LossReason, MessageKind};
use quorate_core::id::{Key, NodeId};
use quorate_core::sim::player::Frame;
use quorate_core::time::Time;
use quorate_core::view::{Endpoint, MessageView};

/// Most messages that are remembered.
const ARROWS_MAX: usize = 4_000;
/// Most spells of a process being down that are remembered.
const SPELLS_MAX: usize = 200;

/// A message of the past or on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// Who sent it.
    pub from: Endpoint,
    /// Whom it was sent to.
    pub to: Endpoint,
    /// What it is about.
    pub kind: MessageKind,
    /// The key it is about, if it is about one.
    pub key: Option<Key>,
    /// When it left.
    pub sent_at: Time,
    /// How it ends, as far as known.
    pub end: End,
}

/// How a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It left, and nothing more is known.
    Unknown,
    /// It arrives at this moment.
    Arrives(Time),
    /// It is lost at this moment.
    Lost(Time, LossReason),
}

impl End {
    /// When it ends, if that is known.
    #[must_use]
    pub const fn at(self) -> Option<Time> {
        match self {
            Self::Unknown => None,
            Self::Arrives(at) | Self::Lost(at, _) => Some(at),
        }
    }
}

/// A span in which a process was down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Which.
    pub node: NodeId,
    /// Since when.
    pub since: Time,
    /// Until when; nothing while it lasts.
    pub until: Option<Time>,
}

/// What a message is known by: the event of its sending, or (for those of clients) its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ArrowId {
    Event(EventId),
    Message(u64),
}

/// The recent past.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    arrows: VecDeque<Arrow>,
    /// How many arrows have been forgotten: the position of one in `arrows` is its number less this.
    forgotten: usize,
    /// The number of the arrow that an event sent, or that led to it.
    numbers: HashMap<ArrowId, usize>,
    spells: VecDeque<Spell>,
}

impl Trace {
    /// Learns what a frame tells.
    pub fn absorb(&mut self, frame: &Frame) {
        for event in &frame.events {
            self.learn_event(event);
        }
        for message in &frame.view.messages {
            self.learn_message(message);
        }
        self.forget();
    }

    /// The messages, in the order in which they became known.
    pub fn arrows(&self) -> impl DoubleEndedIterator<Item = &Arrow> {
        self.arrows.iter()
    }

    /// When processes were down, oldest first.
    pub fn spells(&self) -> impl Iterator<Item = &Spell> {
        self.spells.iter()
    }

    fn learn_message(&mut self, message: &MessageView) {
        let end = match message.lost {
            Some((at, reason)) => End::Lost(at, reason),
            None => End::Arrives(message.due_at),
        };
        let id = message.cause.map_or(ArrowId::Message(message.id), ArrowId::Event);
        match self.known(id) {
            Some(arrow) => arrow.end = end,
            None => self.add(
                id,
                Arrow {
                    from: message.from.clone(),
                    to: message.to.clone(),
                    kind: message.kind,
                    key: message.key.clone(),
                    sent_at: message.sent_at,
                    end,
                },
            ),
        }
    }

    fn learn_event(&mut self, event: &Event) {
        let cause = event.cause.map(ArrowId::Event);
        let id = ArrowId::Event(event.id);
        match &event.kind {
            EventKind::Sent { to, message, key } => {
                if self.known(id).is_none() {
                    let (from, to) = (Endpoint::Node(event.node.clone()), Endpoint::Node(to.clone()));
                    // An answer does not name the key; the message that led to it does.
                    let caused = || cause.and_then(|cause| self.known(cause)).and_then(|arrow| arrow.key.clone());
                    let key = key.clone().or_else(caused);
                    self.add(id, Arrow { from, to, kind: *message, key, sent_at: event.at, end: End::Unknown });
                }
                return;
            }
            EventKind::Delivered { .. } => {
                if let Some(arrow) = cause.and_then(|id| self.known(id)) {
                    arrow.end = End::Arrives(event.at);
                }
            }
            EventKind::Lost { reason, .. } => {
                if let Some(arrow) = cause.and_then(|id| self.known(id)) {
                    arrow.end = End::Lost(event.at, *reason);
                }
            }
            EventKind::Crashed | EventKind::Stopped => {
                self.spells.push_back(Spell { node: event.node.clone(), since: event.at, until: None });
            }
            EventKind::Started { .. } => {
                let open = self.spells.iter_mut().rev().find(|spell| spell.node == event.node);
                if let Some(spell) = open {
                    spell.until.get_or_insert(event.at);
                }
            }
            _ => {}
        }
        // What follows from this event follows from the message that led to it.
        if let Some(number) = cause.and_then(|cause| self.numbers.get(&cause)).copied() {
            self.numbers.insert(id, number);
        }
    }

    fn known(&mut self, id: ArrowId) -> Option<&mut Arrow> {
        let number = *self.numbers.get(&id)?;
        self.arrows.get_mut(number.checked_sub(self.forgotten)?)
    }

    fn add(&mut self, id: ArrowId, arrow: Arrow) {
        self.numbers.insert(id, self.forgotten + self.arrows.len());
        self.arrows.push_back(arrow);
    }

    fn forget(&mut self) {
        let excess = self.arrows.len().saturating_sub(ARROWS_MAX);
        if excess > 0 {
            self.arrows.drain(..excess);
            self.forgotten += excess;
            let forgotten = self.forgotten;
            self.numbers.retain(|_, number| *number >= forgotten);
        }
        let excess = self.spells.len().saturating_sub(SPELLS_MAX);
        self.spells.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{cluster, event, key, node};
    use quorate_core::event::MessageKind;

    fn trace<const N: usize>(frames: [Box<Frame>; N]) -> Trace {
        let mut trace = Trace::default();
        for frame in &frames {
            trace.absorb(frame);
        }
        trace
    }

    fn sent(number: u32, at_ms: u64) -> Event {
        let kind = EventKind::Sent { to: node("B"), message: MessageKind::Gossip, key: None };
        event(number, None, at_ms, "A", kind)
    }

    #[test]
    fn a_message_that_no_frame_showed_is_known_by_its_events() {
        let delivered = EventKind::Delivered { from: node("A"), message: MessageKind::Gossip };
        let lost = EventKind::Lost { to: node("B"), message: MessageKind::Gossip, reason: LossReason::Cut };
        for (end, expected) in [
            (None, End::Unknown),
            (Some(delivered), End::Arrives(Time::from_ms(7))),
            (Some(lost), End::Lost(Time::from_ms(7), LossReason::Cut)),
        ] {
            let mut events = vec![sent(1, 2)];
            events.extend(end.map(|kind| event(2, Some(1), 7, "B", kind)));
            let trace = trace([cluster(2).frame(events)]);
            let arrows: Vec<_> = trace.arrows().map(|arrow| (arrow.sent_at.as_ms(), arrow.end)).collect();
            assert_eq!(arrows, [(2, expected)]);
        }
    }

    #[test]
    fn a_message_that_is_seen_and_told_of_is_one() {
        let on_its_way = cluster(2).message("A", "B", MessageKind::Gossip, 2, 7).frame(vec![sent(1, 2)]);
        let lost_after_all = cluster(2).message("A", "B", MessageKind::Gossip, 2, 7).lost(6, LossReason::Down);
        let trace = trace([on_its_way.clone(), on_its_way, lost_after_all.frame(vec![])]);
        let ends: Vec<_> = trace.arrows().map(|arrow| arrow.end).collect();
        assert_eq!(ends, [End::Lost(Time::from_ms(6), LossReason::Down)]);
    }

    #[test]
    fn an_answer_is_about_the_key_of_the_message_that_led_to_it() {
        let asked = EventKind::Sent { to: node("B"), message: MessageKind::Write, key: Some(key("cart")) };
        let answered = EventKind::Sent { to: node("A"), message: MessageKind::WriteAnswer, key: None };
        let events = vec![
            event(1, None, 2, "A", asked),
            event(2, Some(1), 5, "B", EventKind::Delivered { from: node("A"), message: MessageKind::Write }),
            event(3, Some(2), 6, "B", EventKind::Stored { key: key("cart") }),
            event(4, Some(3), 6, "B", answered),
        ];
        let trace = trace([cluster(2).frame(events)]);
        let keys: Vec<_> = trace.arrows().map(|arrow| arrow.key.clone()).collect();
        assert_eq!(keys, [Some(key("cart")), Some(key("cart"))]);
    }

    #[test]
    fn a_process_is_down_from_its_crash_to_its_start() {
        let began = event(1, None, 0, "A", EventKind::Started { boot: 1 });
        let crashed = event(2, None, 5, "A", EventKind::Crashed);
        let back = event(3, None, 9, "A", EventKind::Started { boot: 2 });
        let again = event(4, None, 12, "A", EventKind::Stopped);
        let trace = trace([cluster(1).frame(vec![began, crashed, back, again])]);
        let spells: Vec<_> = trace.spells().map(|spell| (spell.since.as_ms(), spell.until.map(Time::as_ms))).collect();
        assert_eq!(spells, [(5, Some(9)), (12, None)]);
    }

    #[test]
    fn the_past_is_bounded_and_ends_still_find_their_message() {
        let count = u32::try_from(ARROWS_MAX).expect("fits") + 500;
        let mut trace = Trace::default();
        trace.absorb(&cluster(2).frame((1..=count).map(|number| sent(number, 1)).collect()));
        let delivered = EventKind::Delivered { from: node("A"), message: MessageKind::Gossip };
        let (gone, kept) =
            (event(count + 1, Some(3), 9, "B", delivered.clone()), event(count + 2, Some(count), 9, "B", delivered));
        trace.absorb(&cluster(2).frame(vec![gone, kept]));
        assert_eq!(trace.arrows().count(), ARROWS_MAX);
        assert!(trace.numbers.len() <= ARROWS_MAX + 1, "one for each, and one for the delivery");
        let ended: Vec<_> = trace.arrows().map(|arrow| arrow.end != End::Unknown).collect();
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        assert_eq!(ended.last(), Some(&true));
    }
}
