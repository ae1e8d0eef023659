//! Comparing what two members remember: in short first, then stamp by stamp, and only what one of them lacks travels. So
//! whoever missed an event, or came later, gets it as long as it is remembered. Never decides who is compared with.

use alloc::vec::Vec;

use super::event::{Log, Stamp, Summary, UserEvent};
use super::message::GossipMessage;
use super::{Effects, Gossip};
use crate::id::NodeId;
use crate::limits;

impl Gossip {
    pub(super) fn send_summary(&self, to: NodeId, out: &mut Effects) {
        let message = GossipMessage::Summary { clock: self.log.clock(), summary: self.log.summary() };
        out.sends.push((to, message));
    }

    pub(super) fn on_summary(&mut self, from: &NodeId, clock: u64, summary: Summary, out: &mut Effects) {
        self.log.observe(clock);
        if summary != self.log.summary() {
            let message = GossipMessage::Have { clock: self.log.clock(), stamps: self.log.stamps() };
            out.sends.push((from.clone(), message));
        }
    }

    pub(super) fn on_have(&mut self, from: &NodeId, clock: u64, theirs: Vec<Stamp>, out: &mut Effects) {
        self.log.observe(clock);
        let (begin, count) = (theirs.first(), theirs.len());
        let is_lacking = |event: &&UserEvent| {
            theirs.binary_search(&event.stamp).is_err() && Log::is_remembered(begin, count, &event.stamp)
        };
        send_late(from, self.log.events().filter(is_lacking), out);
        let stamps: Vec<Stamp> = theirs.into_iter().filter(|stamp| self.log.lacks(stamp)).collect();
        if !stamps.is_empty() {
            out.sends.push((from.clone(), GossipMessage::Want { stamps }));
        }
    }

    pub(super) fn on_want(&self, from: &NodeId, stamps: &[Stamp], out: &mut Effects) {
        send_late(from, stamps.iter().filter_map(|stamp| self.log.get(stamp)), out);
    }
}

/// Sends events in as many messages as their number and size ask for, the oldest first, and no more than
/// [`limits::EVENTS_COMPARED_BYTES_MAX`]: what is left is found by the next comparison.
fn send_late<'a>(to: &NodeId, events: impl Iterator<Item = &'a UserEvent>, out: &mut Effects) {
    let (mut batch, mut bytes, mut all) = (Vec::new(), 0, 0);
    let mut send = |events| out.sends.push((to.clone(), GossipMessage::Events { events, is_late: true }));
    for event in events {
        let size = event.wire_bytes();
        all += size;
        if all > limits::EVENTS_COMPARED_BYTES_MAX {
            break;
        }
        let is_full = bytes + size > limits::EVENTS_LATE_BYTES_MAX || batch.len() == limits::EVENTS_PER_MESSAGE_MAX;
        if is_full && !batch.is_empty() {
            send(core::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(event.clone());
    }
    if !batch.is_empty() {
        send(batch);
    }
}
