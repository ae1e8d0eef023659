//! Comparing lists: a digest of versions goes out, the records that differ travel, nothing else. With random members, and
//! with dead ones at the same low rate, so that both sides of a healed partition find each other. Never decides what a
//! record changes.

use alloc::vec::Vec;
use core::time::Duration;

use super::Membership;
use super::effects::Effects;
use super::member::{Known, Member, State};
use super::message::{Claim, Digest, DigestEntry, MembershipMessage, SYNC_BYTES_MAX, SYNC_MEMBERS_MAX};
use crate::id::NodeId;
use crate::time::Time;

/// Members that have left are remembered this long, until nobody can bring old news of them.
const LEFT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Up to so many members the exchanges keep their interval; each doubling beyond adds one interval.
const UNSCALED_MEMBERS: u64 = 32;

impl Membership {
    /// Compares lists with a random member and with a random dead one, and forgets who left long ago.
    pub(super) fn push_pull(&mut self, now: Time, out: &mut Effects) {
        let interval = self.timing.push_pull_interval.saturating_mul(interval_factor(self.size()));
        self.next_push_pull = now + interval;
        let before = self.members.len();
        self.members.retain(|_, known| known.member.state != State::Left || now.since(known.since) < LEFT_KEPT);
        self.revision += u64::from(self.members.len() < before);
        for node in self.sample(1, |known| known.member.state == State::Alive) {
            self.send_digests(&node, out);
        }
        self.contact_dead(out);
    }

    /// Compares lists with somebody dead: if it lives after all, it learns what is said of it and refutes.
    pub(super) fn contact_dead(&mut self, out: &mut Effects) {
        for node in self.sample(1, |known| known.member.state == State::Dead) {
            self.send_digests(&node, out);
        }
    }

    /// A stranger pings: asks who it is by comparing lists, now and then.
    pub(super) fn inquire(&mut self, now: Time, from: &NodeId, out: &mut Effects) {
        if now >= self.next_inquiry && !self.members.contains_key(from) {
            self.next_inquiry = now + self.timing.probe_interval;
            self.send_digests(from, out);
        }
    }

    pub(super) fn send_digests(&self, receiver: &NodeId, out: &mut Effects) {
        let entries =
            |(node, known): (&NodeId, &Known)| DigestEntry { node: node.clone(), version: known.member.version() };
        let entries: Vec<DigestEntry> = self.members.iter().map(entries).collect();
        let mut after = None;
        let mut stretches = entries.chunks(SYNC_MEMBERS_MAX).peekable();
        while let Some(stretch) = stretches.next() {
            let last = stretch.last().expect("stretches are not empty").node.clone();
            let upto = stretches.peek().map(|_| last.clone());
            let digest = Digest { sender: self.me().clone(), after, upto, entries: stretch.to_vec() };
            out.sends.push((receiver.clone(), MembershipMessage::Digest(digest)));
            after = Some(last);
        }
    }

    /// Sends what the other lacks and asks for what this node lacks.
    pub(super) fn on_digest(&mut self, now: Time, from: &NodeId, digest: Digest, out: &mut Effects) {
        self.learn(now, from, Claim::own(digest.sender), out);
        let mut wanted = Vec::new();
        for DigestEntry { node, version } in &digest.entries {
            match self.members.get(node) {
                Some(_) if *node == self.me => {
                    let said = Member { incarnation: version.incarnation, state: version.state, ..self.me().clone() };
                    self.learn(now, from, Claim { member: said, by: from.clone() }, out);
                }
                Some(known) if *version <= known.member.version() => {}
                None if version.state == State::Left => {}
                _ => wanted.push(node.clone()),
            }
        }
        let inside = |node: &NodeId| {
            digest.after.as_ref().is_none_or(|after| after < node)
                && digest.upto.as_ref().is_none_or(|upto| node <= upto)
        };
        let theirs = |node: &NodeId| {
            let place = digest.entries.binary_search_by(|entry| entry.node.cmp(node)).ok();
            place.and_then(|place| digest.entries.get(place)).map(|entry| entry.version)
        };
        let lacks = |known: &&Known| match theirs(&known.member.node) {
            Some(version) => version < known.member.version(),
            None => known.member.state != State::Left && known.member.node != *from,
        };
        let in_stretch = self.members.iter().filter(|(node, _)| inside(node)).map(|(_, known)| known);
        let claims: Vec<Claim> = in_stretch.filter(lacks).map(Known::claim).collect();
        send_records(from, claims, wanted, out);
    }

    /// Takes what was sent and sends what is wanted; and this node's own record, if it had to refute what was sent, since
    /// the sender may be one that hears no gossip from here.
    pub(super) fn on_records(
        &mut self,
        now: Time,
        from: &NodeId,
        claims: Vec<Claim>,
        wanted: Vec<NodeId>,
        out: &mut Effects,
    ) {
        let shown = self.me().incarnation;
        for claim in claims {
            self.learn(now, from, claim, out);
        }
        let refuted = Some(&self.me).filter(|me| self.me().incarnation > shown && !wanted.contains(me));
        let asked = wanted.iter().chain(refuted);
        let records = asked.filter_map(|node| self.members.get(node)).map(Known::claim).collect();
        send_records(from, records, Vec::new(), out);
    }
}

/// Sends records in as many messages as their number and size ask for; none when there is nothing to say.
fn send_records(receiver: &NodeId, claims: Vec<Claim>, mut wanted: Vec<NodeId>, out: &mut Effects) {
    let mut batch: Vec<Claim> = Vec::new();
    let mut bytes = 0;
    let mut send = |claims, wanted| out.sends.push((receiver.clone(), MembershipMessage::Records { claims, wanted }));
    for claim in claims {
        let size = claim.wire_bytes();
        if !batch.is_empty() && (bytes + size > SYNC_BYTES_MAX || batch.len() == SYNC_MEMBERS_MAX) {
            send(core::mem::take(&mut batch), core::mem::take(&mut wanted));
            bytes = 0;
        }
        bytes += size;
        batch.push(claim);
    }
    if !batch.is_empty() || !wanted.is_empty() {
        send(batch, wanted);
    }
}

/// Large clusters compare lists less often, so that the load of each member stays the same.
fn interval_factor(members: u64) -> u32 {
    if members <= UNSCALED_MEMBERS {
        return 1;
    }
    let doublings = (members - 1).ilog2() + 1;
    doublings - UNSCALED_MEMBERS.ilog2() + 1
}
