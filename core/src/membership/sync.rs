//! Comparing lists: one number goes out; where it differs a digest of versions comes back, and the records that differ
//! travel, nothing else. With random members, and with dead ones, so that both sides of a healed partition find each other.
//! Never decides what a record changes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Membership;
use super::effects::Effects;
use super::member::{Known, Member, State, Version};
use super::message::{
    Claim, Digest, DigestEntry, MembershipMessage, PIGGYBACK_CLAIMS_MAX, SYNC_BYTES_MAX, SYNC_MEMBERS_MAX, Summary,
};
use crate::id::NodeId;
use crate::time::Time;

/// Members that have left are remembered this long, until nobody can bring old news of them.
const LEFT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Each dead member is asked so often, by all the living together: little where one is dead for long, whatever the size of
/// the cluster, and much where half of it is, which is more likely the other side of a partition.
const DEAD_ASKED_INTERVAL: Duration = Duration::from_secs(5);
/// So many more dead members are asked, by all the living together, for each that has come back: what was divided finds
/// itself in a chain, and one that was alone costs little.
const ASKED_AFTER_RETURN: u64 = 10;
/// More news than a few messages carry.
const NEWS_MANY: usize = 4 * PIGGYBACK_CLAIMS_MAX;

impl Membership {
    /// Compares lists with a random member, and forgets who left long ago.
    pub(super) fn push_pull(&mut self, now: Time, out: &mut Effects) {
        self.next_push_pull = now + self.timing.push_pull_interval;
        if self.counts().left > 0 {
            self.members.retain(|known| known.member.state != State::Left || now.since(known.since) < LEFT_KEPT);
        }
        for node in self.sample(1, |known| known.member.state == State::Alive) {
            self.send_summary(&node, out);
        }
    }

    /// Compares lists with a random member at every turn of probing while there is much news: that tells it sooner.
    pub(super) fn catch_up(&mut self, out: &mut Effects) {
        if self.rumors.len() > NEWS_MANY {
            for node in self.sample(1, |known| known.member.state == State::Alive) {
                self.send_summary(&node, out);
            }
        }
    }

    /// Compares lists with somebody dead: if it lives after all, it learns what is said of it and refutes.
    pub(super) fn contact_dead(&mut self, out: &mut Effects) {
        if self.counts().dead > 0 {
            for node in self.sample(1, |known| known.member.state == State::Dead) {
                self.send_summary(&node, out);
            }
        }
    }

    /// Does this node's share of asking the dead, once in a probe interval.
    pub(super) fn look_after_dead(&mut self, out: &mut Effects) {
        let dead = self.counts().dead;
        if dead > 0 {
            let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            let due = nanoseconds(self.timing.probe_interval).saturating_mul(dead);
            self.contact_dead_by_chance(due, nanoseconds(DEAD_ASKED_INTERVAL), out);
        }
    }

    /// Somebody is back, and may not be the only one: of all who hear of it a few ask somebody else.
    pub(super) fn expect_more(&mut self, out: &mut Effects) {
        self.contact_dead_by_chance(ASKED_AFTER_RETURN, 1, out);
    }

    /// Asks somebody dead with this chance divided by the number of the living: all together do it as often as it says.
    fn contact_dead_by_chance(&mut self, share: u64, of: u64, out: &mut Effects) {
        if self.rng.below(of.saturating_mul(self.counts().alive)) < share {
            self.contact_dead(out);
        }
    }

    /// A stranger pings: asks who it is by comparing lists, now and then.
    pub(super) fn inquire(&mut self, now: Time, from: &NodeId, out: &mut Effects) {
        if now >= self.next_inquiry && !self.members.contains(from) {
            self.next_inquiry = now + self.timing.probe_interval;
            self.send_summary(from, out);
        }
    }

    /// Asks whether the receiver's list is the same.
    pub(super) fn send_summary(&self, receiver: &NodeId, out: &mut Effects) {
        let summary = Summary { sender: self.members.own().member.clone(), checksum: self.members.checksum() };
        out.sends.push((receiver.clone(), MembershipMessage::Summary(summary)));
    }

    /// Says what this node holds, if it is not the same.
    pub(super) fn on_summary(&mut self, now: Time, from: &NodeId, summary: Summary, out: &mut Effects) {
        self.learn(now, from, Claim::own(summary.sender), out);
        if summary.checksum != self.members.checksum() {
            self.send_digests(from, out);
        }
    }

    pub(super) fn send_digests(&self, receiver: &NodeId, out: &mut Effects) {
        let entries = |known: &Known| DigestEntry { node: known.member.node.clone(), version: known.member.version() };
        let entries: Vec<DigestEntry> = self.members.iter().map(entries).collect();
        let mut after = None;
        let mut stretches = entries.chunks(SYNC_MEMBERS_MAX).peekable();
        while let Some(stretch) = stretches.next() {
            let last = stretch.last().expect("stretches are not empty").node.clone();
            let upto = stretches.peek().map(|_| last.clone());
            let digest = Digest { sender: self.members.own().member.clone(), after, upto, entries: stretch.to_vec() };
            out.sends.push((receiver.clone(), MembershipMessage::Digest(digest)));
            after = Some(last);
        }
    }

    /// Sends what the other lacks and asks for what this node lacks.
    pub(super) fn on_digest(&mut self, now: Time, from: &NodeId, digest: Digest, out: &mut Effects) {
        self.learn(now, from, Claim::own(digest.sender), out);
        if let Ok(place) = digest.entries.binary_search_by(|entry| entry.node.cmp(&self.me)) {
            let Version { incarnation, state } = digest.entries[place].version;
            let said = Member { incarnation, state, ..self.me().clone() };
            self.learn(now, from, Claim { member: Arc::new(said), by: from.clone() }, out);
        }
        let (mut claims, mut wanted) = (Vec::new(), Vec::new());
        // Both are in the order of names.
        let mut theirs = digest.entries.iter().peekable();
        for known in self.members.stretch(digest.after.as_ref(), digest.upto.as_ref()) {
            let node = &known.member.node;
            while let Some(entry) = theirs.next_if(|entry| entry.node < *node) {
                wanted.extend(wanted_of_stranger(entry));
            }
            match theirs.next_if(|entry| entry.node == *node).map(|entry| entry.version) {
                Some(version) if version > known.member.version() => wanted.push(node.clone()),
                Some(version) if version < known.member.version() => claims.push(known.claim()),
                None if known.member.state != State::Left && node != from => claims.push(known.claim()),
                _ => {}
            }
        }
        wanted.extend(theirs.filter_map(wanted_of_stranger));
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

/// Who has already left is nobody's business.
fn wanted_of_stranger(entry: &DigestEntry) -> Option<NodeId> {
    (entry.version.state != State::Left).then(|| entry.node.clone())
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
