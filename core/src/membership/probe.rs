//! Asking members whether they live: in turn, in a random order, first directly, then through others. Says who did not
//! answer; never what follows from it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Membership;
use super::effects::{Effects, Why};
use super::member::State;
use super::message::MembershipMessage;
use crate::id::NodeId;
use crate::rng::Rng;
use crate::time::Time;

/// How many others are asked to probe a member that does not answer.
const HELPERS: usize = 3;
/// Probes of this node's own that may be open at once: the one whose turn it is, and those that failed requests asked for.
const PROBES_MAX: usize = 16;
/// Probes on behalf of others that may be open at once; beyond, the asker gets no answer and takes this node for slow.
const RELAYS_MAX: usize = 256;
/// A ping that is not answered is repeated so often within the time-out, and as often after it: the question may be lost,
/// or the answer.
const REPEATS_PER_TIMEOUT: u32 = 3;
/// A helper says that it has no answer after this share of its own probe time-out, in time for the asker's verdict.
const NACK_AFTER_PERCENT: u32 = 80;

/// Whose turn it is, and which probes are open.
#[derive(Clone, Debug)]
pub(super) struct Probing {
    /// When the next member is asked.
    pub(super) next: Time,
    /// Members to ask, in this round's order.
    order: Vec<NodeId>,
    /// How many of this round have had their turn.
    done: usize,
    /// Number of the latest probe or relay. Begins at random, so that late answers to a former life match nothing.
    sequence: u64,
    open: BTreeMap<u64, Probe>,
    relays: BTreeMap<u64, Relay>,
}

#[derive(Clone, Debug)]
struct Probe {
    target: NodeId,
    /// What it is accused of at the end; stale if it has refuted something since.
    incarnation: u64,
    /// When the target is asked again.
    again_at: Time,
    /// When helpers are asked; `None` once they were.
    helpers_at: Option<Time>,
    /// When the verdict falls.
    until: Time,
    helpers: Vec<NodeId>,
    /// Helpers that are still to say anything.
    silent: Vec<NodeId>,
}

#[derive(Clone, Debug)]
struct Relay {
    asker: NodeId,
    /// The asker's number.
    sequence: u64,
    target: NodeId,
    /// When the asker hears that there is no answer; `None` once it did.
    nack_at: Option<Time>,
    until: Time,
}

impl Probing {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            next: Time::ZERO,
            order: Vec::new(),
            done: 0,
            sequence: rng.u64() >> 1,
            open: BTreeMap::new(),
            relays: BTreeMap::new(),
        }
    }

    /// A member that is to be probed, at a random place among those that this round has still to ask.
    pub(super) fn enlist(&mut self, rng: &mut Rng, node: NodeId) {
        if let Some(place) = self.order.iter().position(|other| *other == node) {
            self.order.remove(place);
            self.done -= usize::from(place < self.done);
        }
        let waiting = u64::try_from(self.order.len() - self.done).expect("a length fits 64 bits");
        let place = usize::try_from(rng.between(0, waiting)).expect("at most a length");
        self.order.insert(self.done + place, node);
    }

    /// All that are to be probed, in a random order.
    pub(super) fn enlist_all(&mut self, rng: &mut Rng, mut nodes: Vec<NodeId>) {
        rng.shuffle(&mut nodes);
        self.order = nodes;
        self.done = 0;
    }

    /// The next member that is to be probed. A new round shuffles the halves of the old one apart from each other: no
    /// member waits longer than one and a half rounds, where a full shuffle would let it wait for two.
    fn turn(&mut self, rng: &mut Rng, fits: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
        for _round in 0..2 {
            while let Some(node) = self.order.get(self.done) {
                self.done += 1;
                if fits(node) {
                    return Some(node.clone());
                }
            }
            self.order.retain(&fits);
            self.done = 0;
            let half = self.order.len().div_ceil(2);
            let (first, second) = self.order.split_at_mut(half);
            rng.shuffle(first);
            rng.shuffle(second);
        }
        None
    }

    /// Every moment at which an open probe or relay wants something.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Time> {
        let probes = self.open.values().map(|probe| probe.again_at.min(probe.helpers_at.unwrap_or(probe.until)));
        let relays = self.relays.values().map(|relay| relay.nack_at.unwrap_or(relay.until));
        probes.chain(relays)
    }

    /// This node stood still: whether answers came in time cannot be told.
    pub(super) fn forget(&mut self, next: Time) {
        self.open.clear();
        self.relays.clear();
        self.next = next;
    }

    /// A helper has no answer either, but it works, and so does the way to it.
    pub(super) fn on_nack(&mut self, from: &NodeId, sequence: u64) {
        if let Some(probe) = self.open.get_mut(&sequence) {
            probe.silent.retain(|helper| helper != from);
        }
    }

    fn number(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Whether the member is being probed already, or as many as can be: then an open probe's end is what to wait for.
    pub(super) fn is_busy_for(&self, node: &NodeId) -> bool {
        self.open.len() >= PROBES_MAX || self.is_open(node)
    }

    fn is_open(&self, node: &NodeId) -> bool {
        self.open.values().any(|probe| probe.target == *node)
    }
}

impl Membership {
    /// Probes the member whose turn it is. When there is nobody to probe, the turn goes to somebody dead.
    pub(super) fn probe_next(&mut self, now: Time, out: &mut Effects) {
        self.members.own_mark().note_heard(now);
        let members = &self.members;
        let present = |node: &NodeId| members.get(node).is_some_and(|known| known.member.state.is_present());
        match self.probing.turn(&mut self.rng, present) {
            Some(node) if self.probing.is_open(&node) => {}
            Some(node) => self.probe(now, &node, out),
            None => {
                // With nobody to ask there is no evidence against this node either.
                self.health.improve();
                self.contact_dead(out);
            }
        }
        self.look_after_dead(out);
        self.catch_up(out);
        self.probing.next = now + self.health.scale(self.timing.probe_interval);
    }

    /// A request failed: probes the member now, unless it was heard lately or has had its share of attention.
    pub(super) fn probe_early(&mut self, now: Time, node: &NodeId, out: &mut Effects) {
        let Some(known) = self.members.get(node) else { return };
        let heard_lately = known.last_seen.is_some_and(|seen| now.since(seen) < self.timing.probe_interval);
        let wanted = known.member.state == State::Alive && *node != self.me && !heard_lately;
        if wanted && !self.probing.is_busy_for(node) {
            self.probe(now, node, out);
        }
    }

    /// The time of a suspect is over that this node has not asked itself.
    pub(super) fn probe_suspect(&mut self, now: Time, node: &NodeId, out: &mut Effects) {
        if !self.probing.is_busy_for(node) {
            self.probe(now, node, out);
        }
    }

    fn probe(&mut self, now: Time, node: &NodeId, out: &mut Effects) {
        let sequence = self.probing.number();
        let incarnation = self.members.get(node).expect("only members are probed").member.incarnation;
        let probe = Probe {
            target: node.clone(),
            incarnation,
            again_at: now + self.repeat_interval(),
            helpers_at: Some(now + self.health.scale(self.timing.probe_timeout)),
            until: now + self.health.scale(self.timing.probe_interval),
            helpers: Vec::new(),
            silent: Vec::new(),
        };
        self.probing.open.insert(sequence, probe);
        let claims = self.claims_for(node);
        out.sends.push((node.clone(), MembershipMessage::Ping { sequence, claims }));
    }

    fn repeat_interval(&self) -> Duration {
        self.health.scale(self.timing.probe_timeout) / REPEATS_PER_TIMEOUT
    }

    /// Asks again where there is no answer yet.
    fn repeat_probes(&mut self, now: Time, out: &mut Effects) {
        let next = now + self.repeat_interval();
        let waiting = self.probing.open.iter_mut().filter(|(_, probe)| probe.again_at <= now && now < probe.until);
        let mut again: Vec<(u64, NodeId)> = Vec::new();
        for (sequence, probe) in waiting {
            probe.again_at = next;
            again.push((*sequence, probe.target.clone()));
        }
        for (sequence, target) in again {
            let claims = self.claims_for(&target);
            out.sends.push((target, MembershipMessage::Ping { sequence, claims }));
        }
    }

    /// Asks again, asks helpers, passes on that there was no answer, and gives verdicts, each when it is due.
    pub(super) fn conclude_probes(&mut self, now: Time, out: &mut Effects) {
        self.repeat_probes(now, out);
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let late: Vec<u64> =
            self.probing.open.iter().filter(|(_, probe)| is_due(probe.helpers_at)).map(|(number, _)| *number).collect();
        for sequence in late {
            self.ask_helpers(sequence, out);
        }
        let over = |probe: &Probe| probe.until <= now;
        let failed: Vec<Probe> = self.probing.open.values().filter(|probe| over(probe)).cloned().collect();
        self.probing.open.retain(|_, probe| !over(probe));
        for probe in failed {
            self.conclude(now, &probe, out);
        }
        let late: Vec<Relay> = self.probing.relays.values().filter(|relay| is_due(relay.nack_at)).cloned().collect();
        for Relay { asker, sequence, .. } in late {
            let claims = self.claims_for(&asker);
            out.sends.push((asker, MembershipMessage::Nack { sequence, claims }));
        }
        self.probing.relays.retain(|_, relay| relay.until > now);
        for relay in self.probing.relays.values_mut().filter(|relay| is_due(relay.nack_at)) {
            relay.nack_at = None;
        }
    }

    fn ask_helpers(&mut self, sequence: u64, out: &mut Effects) {
        let probe = self.probing.open.get_mut(&sequence).expect("an open probe");
        probe.helpers_at = None;
        let target = probe.target.clone();
        let fits = |known: &super::Known| known.member.state == State::Alive && known.member.node != target;
        let helpers = self.sample(HELPERS, fits);
        let probe = self.probing.open.get_mut(&sequence).expect("an open probe");
        probe.helpers.clone_from(&helpers);
        probe.silent.clone_from(&helpers);
        for helper in helpers {
            let claims = self.claims_for(&helper);
            let target = target.clone();
            out.sends.push((helper, MembershipMessage::PingRequest { sequence, target, claims }));
        }
    }

    /// No answer. A helper that is alive but said nothing at all speaks against this node; so does the failure where nobody
    /// could help. To a node without any doubt of itself it is also a reason to probe the helper, so that those who die
    /// together are found together.
    fn conclude(&mut self, now: Time, probe: &Probe, out: &mut Effects) {
        let count = |nodes: usize| u8::try_from(nodes).expect("at most three helpers");
        let (helpers, silent) = (count(probe.helpers.len()), count(probe.silent.len()));
        let alive = |node: &&NodeId| self.members.get(node).is_some_and(|known| known.member.state == State::Alive);
        let missing = count(probe.silent.iter().filter(alive).count());
        if self.health.is_perfect() {
            for helper in &probe.silent {
                self.probe_early(now, helper, out);
            }
        }
        self.health.worsen(if helpers == 0 { 1 } else { missing });
        let why = Why::ProbeTimeout { helpers, nacks: helpers - silent };
        self.accuse(now, &probe.target, probe.incarnation, why, out);
    }

    /// The target, or a helper for it, says that it lives; or a target of somebody else's does.
    pub(super) fn on_ack(&mut self, now: Time, from: &NodeId, sequence: u64, out: &mut Effects) {
        let answers = |probe: &Probe| probe.target == *from || probe.helpers.contains(from);
        if self.probing.open.get(&sequence).is_some_and(answers) {
            let probe = self.probing.open.remove(&sequence).expect("just found");
            self.health.improve();
            self.vindicate(now, &probe.target);
        }
        if self.probing.relays.get(&sequence).is_some_and(|relay| relay.target == *from) {
            let relay = self.probing.relays.remove(&sequence).expect("just found");
            let claims = self.claims_for(&relay.asker);
            out.sends.push((relay.asker, MembershipMessage::Ack { sequence: relay.sequence, claims }));
        }
    }

    /// Asks the target for somebody else.
    pub(super) fn on_ping_request(
        &mut self,
        now: Time,
        asker: &NodeId,
        sequence: u64,
        target: &NodeId,
        out: &mut Effects,
    ) {
        if *target == self.me || !self.members.contains(target) {
            // Asked for itself it can answer at once; of a stranger it has no answer to wait for.
            let claims = self.claims_for(asker);
            let answer = if *target == self.me {
                MembershipMessage::Ack { sequence, claims }
            } else {
                MembershipMessage::Nack { sequence, claims }
            };
            out.sends.push((asker.clone(), answer));
            return;
        }
        if self.probing.relays.len() >= RELAYS_MAX {
            return;
        }
        let relay = Relay {
            asker: asker.clone(),
            sequence,
            target: target.clone(),
            nack_at: Some(now + self.timing.probe_timeout * NACK_AFTER_PERCENT / 100),
            until: now + self.timing.probe_interval,
        };
        let own_sequence = self.probing.number();
        self.probing.relays.insert(own_sequence, relay);
        let claims = self.claims_for(target);
        out.sends.push((target.clone(), MembershipMessage::Ping { sequence: own_sequence, claims }));
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::{NodeId, Probing, Vec};
    use crate::rng::Rng;

    fn name(number: usize) -> NodeId {
        NodeId::new(&format!("n{number}")).expect("a good name")
    }

    fn enlisted(count: usize, rng: &mut Rng) -> Probing {
        let mut probing = Probing::new(rng);
        (0..count).for_each(|number| probing.enlist(rng, name(number)));
        probing
    }

    proptest! {
        #[test]
        fn h3_nobody_waits_longer_than_one_and_a_half_rounds(count in 1..40_usize, seed in any::<u64>()) {
            let mut rng = Rng::labelled(seed, "turns");
            let mut probing = enlisted(count, &mut rng);
            let turns: Vec<NodeId> =
                (0..6 * count).map(|_| probing.turn(&mut rng, |_| true).expect("somebody")).collect();
            for number in 0..count {
                let at: Vec<usize> = (0..turns.len()).filter(|&turn| turns[turn] == name(number)).collect();
                prop_assert_eq!(at.len(), 6, "once in every round");
                let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several");
                // SWIM promises 2n - 1 periods for a cluster of n, which is 2 * count + 1 here.
                prop_assert!(longest < count + count.div_ceil(2), "{longest} turns among {count}");
            }
        }

        #[test]
        fn a_newcomer_has_its_turn_within_a_round(count in 1..40_usize, before in 0..80_usize, seed in any::<u64>()) {
            let mut rng = Rng::labelled(seed, "turns");
            let mut probing = enlisted(count, &mut rng);
            (0..before).for_each(|_| drop(probing.turn(&mut rng, |_| true)));
            probing.enlist(&mut rng, name(1_000));
            let turns: Vec<_> = (0..=count).filter_map(|_| probing.turn(&mut rng, |_| true)).collect();
            prop_assert!(turns.contains(&name(1_000)));
        }

        #[test]
        fn only_those_who_fit_have_turns(count in 1..20_usize, seed in any::<u64>()) {
            let mut rng = Rng::labelled(seed, "turns");
            let mut probing = enlisted(count, &mut rng);
            let fits = |node: &NodeId| *node == name(0);
            for _ in 0..3 {
                prop_assert_eq!(probing.turn(&mut rng, fits), Some(name(0)));
            }
            prop_assert_eq!(probing.turn(&mut rng, |_| false), None);
        }
    }

    #[test]
    fn members_differ_in_whom_they_ask_first() {
        let first = |seed| {
            let mut rng = Rng::labelled(seed, "turns");
            enlisted(10, &mut rng).turn(&mut rng, |_| true)
        };
        let firsts: alloc::collections::BTreeSet<_> = (0..50).map(first).collect();
        assert!(firsts.len() >= 8, "{firsts:?}");
    }
}
