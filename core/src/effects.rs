//! How a machine says what it wants done: outputs in order, and the trace that explains them. Does nothing itself.

use alloc::collections::VecDeque;
use core::fmt;

use crate::config::Trace;
use crate::event::{Event, EventId, EventKind};
use crate::hash::StableHasher;
use crate::id::NodeId;
use crate::time::Time;

/// What one step gave out, in order. The borrow keeps the machine from being stepped again before this is drained.
#[must_use = "outputs that are not carried out are promises broken"]
pub struct Outputs<'a, O>(&'a mut VecDeque<O>);

impl<O> Iterator for Outputs<'_, O> {
    type Item = O;

    fn next(&mut self) -> Option<O> {
        self.0.pop_front()
    }
}

impl<O> fmt::Debug for Outputs<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outputs", self.0.len())
    }
}

/// Collects the outputs of one machine and numbers its events.
#[derive(Clone, Debug)]
pub(crate) struct Effects<O> {
    queue: VecDeque<O>,
    node: NodeId,
    origin: u32,
    events: u32,
    trace: Trace,
    /// The moment of the step under way.
    pub(crate) now: Time,
    /// What made the step under way happen.
    pub(crate) cause: Option<EventId>,
}

impl<O: From<Event>> Effects<O> {
    /// `part` tells the machines of one process apart, so that no two events have one name.
    pub(crate) fn new(node: NodeId, boot: u64, part: u64, trace: Trace) -> Self {
        let mut hasher = StableHasher::new();
        hasher.bytes(node.as_str().as_bytes());
        hasher.u64(boot);
        hasher.u64(part);
        let origin = u32::try_from(hasher.finish() >> 32).expect("half of 64 bits");
        Self { queue: VecDeque::new(), node, origin, events: 0, trace, now: Time::ZERO, cause: None }
    }

    /// Begins a step.
    ///
    /// # Panics
    /// When the outputs of the step before were not drained: the shell would lose promises.
    pub(crate) fn begin(&mut self, now: Time) {
        assert!(self.queue.is_empty(), "the outputs of the step before must be drained");
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.now = now;
        self.cause = None;
    }

    /// Ends a step.
    pub(crate) fn outputs(&mut self) -> Outputs<'_, O> {
        Outputs(&mut self.queue)
    }

    pub(crate) fn push(&mut self, output: O) {
        self.queue.push_back(output);
    }

    /// Puts what came of something on the trace, caused by what made this step happen.
    pub(crate) fn event(&mut self, kind: impl FnOnce() -> EventKind) -> Option<EventId> {
        self.note(Trace::Outcomes, kind)
    }

    /// As [`Self::event`], and what follows in this step is because of it.
    pub(crate) fn event_as_cause(&mut self, kind: impl FnOnce() -> EventKind) -> Option<EventId> {
        let id = self.event(kind);
        self.follow_from(id)
    }

    /// As [`Self::event`], for a step on the way: costs nothing but its number where only outcomes are wanted.
    pub(crate) fn detail(&mut self, kind: impl FnOnce() -> EventKind) -> Option<EventId> {
        self.note(Trace::Steps, kind)
    }

    /// As [`Self::detail`], and what follows in this step is because of it.
    pub(crate) fn detail_as_cause(&mut self, kind: impl FnOnce() -> EventKind) -> Option<EventId> {
        let id = self.detail(kind);
        self.follow_from(id)
    }

    fn follow_from(&mut self, id: Option<EventId>) -> Option<EventId> {
        self.cause = id.or(self.cause);
        self.cause
    }

    fn note(&mut self, wanted_by: Trace, kind: impl FnOnce() -> EventKind) -> Option<EventId> {
        if self.trace == Trace::Off {
            return None;
        }
        let id = EventId { origin: self.origin, number: self.events };
        self.events = self.events.wrapping_add(1);
        if self.trace >= wanted_by {
            let event = Event { id, cause: self.cause, at: self.now, node: self.node.clone(), kind: kind() };
            self.queue.push_back(event.into());
        }
        Some(id)
    }
}
