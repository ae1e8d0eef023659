//! What is to happen, in order, and the messages on their way. Loses some, changes none.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::process::Place;
use crate::membership::MembershipMessage;
use crate::rng::Rng;
use crate::time::Time;

/// Fastest and slowest way of a message, in nanoseconds.
const LATENCY_NS: (u64, u64) = (500_000, 5_000_000);

/// Something that happens to a process.
#[derive(Debug)]
pub(super) enum Happening {
    /// It wanted to be woken.
    Wake(Place),
    /// A message arrives.
    Arrival { from: Place, to: Place, message: MembershipMessage },
}

/// What is queued: small, for it is moved about. An arrival is a number of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Queued {
    Wake(Place),
    Arrival(usize),
}

/// The queue.
#[derive(Clone, Debug)]
pub(super) struct Network {
    rng: Rng,
    loss_per_million: u32,
    queue: BinaryHeap<Reverse<(Time, u64, Queued)>>,
    queued: u64,
    messages: Vec<Option<(Place, Place, MembershipMessage)>>,
    free: Vec<usize>,
}

impl Network {
    pub(super) fn new(rng: Rng, loss_per_million: u32) -> Self {
        let (queue, messages, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { rng, loss_per_million, queue, queued: 0, messages, free }
    }

    /// Brings a message on its way, or loses it.
    pub(super) fn send(&mut self, now: Time, from: Place, to: Place, message: MembershipMessage) {
        let latency = self.rng.between(LATENCY_NS.0, LATENCY_NS.1);
        if self.loss_per_million > 0 && self.rng.chance(self.loss_per_million) {
            return;
        }
        let entry = Some((from, to, message));
        let number = if let Some(number) = self.free.pop() {
            *self.messages.get_mut(number).expect("a place that was used") = entry;
            number
        } else {
            self.messages.push(entry);
            self.messages.len() - 1
        };
        self.push(Time(now.0 + latency), Queued::Arrival(number));
    }

    pub(super) fn wake(&mut self, at: Time, place: Place) {
        self.push(at, Queued::Wake(place));
    }

    fn push(&mut self, at: Time, what: Queued) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, what)));
    }

    /// What happens next, if that is not after `until`.
    pub(super) fn next(&mut self, until: Time) -> Option<(Time, Happening)> {
        let Reverse((at, _, what)) = self.queue.peek().filter(|Reverse((at, ..))| *at <= until).copied()?;
        self.queue.pop();
        let happening = match what {
            Queued::Wake(place) => Happening::Wake(place),
            Queued::Arrival(number) => {
                let message = self.messages.get_mut(number).and_then(Option::take);
                let (from, to, message) = message.expect("a message arrives once");
                self.free.push(number);
                Happening::Arrival { from, to, message }
            }
        };
        Some((at, happening))
    }
}
