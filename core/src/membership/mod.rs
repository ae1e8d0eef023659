//! Who is alive: SWIM with Lifeguard. Probes the members in turn, asks others to probe those that do not answer, suspects
//! before it buries, lets the suspect speak, spreads what it hears on the back of its own messages, and compares lists with
//! others now and then, also with those it believes dead, so that a healed partition finds itself. What that comes to is
//! measured in `core/tests/gossip.md`.
//!
//! It never says who owns anything (the layout does), never does IO, never reads a clock, and never takes a member's word
//! about another as that other's own: only a member itself raises its incarnation.
//!
//! Das, Gupta and Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", 2002.
//! Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017.
//!
//! Some things differ from the papers:
//! - A death heard in an exchange of lists (perhaps old, perhaps from the other side of a partition) about a member that
//!   this node hears itself is not taken over: the accused is asked to answer for itself.
//! - How many confirmations shorten a suspicion depends on how many members could give one *now*.
//! - A helper that does not even say that it has no answer is probed at once by a node that has no doubt of itself.
//! - A new round of probes shuffles the halves of the old one, which bounds the wait for a turn more tightly.
//! - A ping that is not answered is repeated until the verdict: a lost message is more likely than a dead member.
//! - Who suspects a member that has not answered it asks it to speak for itself in every round of gossip; who answers an
//!   accusation tells the accuser first.
//! - Who comes to the same suspicion as others tells those others apart, whose time is running.
//! - Up to a hundred members a suspicion lasts as long as at a hundred: what a small cluster could save is not worth what
//!   a short pause would cost.
//! - Lists are compared by one number, so that what is said where nothing happens does not grow with the cluster.
//! - The dead are asked in turn, each as often whatever the size of the cluster, and more while others come back.
//! - Who has nothing to tell passes the first news on at once; the gossip interval bounds what follows.
//! - A suspect is buried only by who has had no answer from it itself for a while; who has only heard of it asks first. And
//!   who still accuses a member that has refuted it is told so. Without these, whoever misses a refutation buries the living.
//! - A timer that comes late says that this process stood still: what it could not hear meanwhile is held against nobody.

mod effects;
mod health;
mod judgement;
mod member;
mod message;
mod probe;
mod roster;
mod rumor;
mod suspicion;
mod sync;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

pub use effects::{Change, ChangeKind, Effects, Why};
pub use health::LOCAL_HEALTH_WORST;
pub use member::{INCARNATION_JUMP_MAX, INCARNATION_MAX, Known, Member, MemberError, State, Version};
pub use message::{
    Claim, Digest, DigestEntry, MembershipMessage, MessageError, PIGGYBACK_BYTES_MAX, PIGGYBACK_CLAIMS_MAX,
    SYNC_BYTES_MAX, SYNC_MEMBERS_MAX, Summary,
};
pub use roster::Counts;
pub use rumor::Rumor;
pub(crate) use rumor::sends_max;
#[cfg(feature = "sim")]
pub(crate) use suspicion::log2_fixed;

use crate::config::Timing;
use crate::id::{ActorId, NodeId};
use crate::rng::Rng;
use crate::time::Time;
use health::Health;
use probe::Probing;
use roster::Roster;
use rumor::Rumors;
use suspicion::{Limits, Suspicion};

/// How many random members hear the news in one round of gossip.
const GOSSIP_FANOUT: usize = 3;
/// How many remembered members are asked for their list at a start.
const START_FANOUT: usize = 3;

/// The list of members as one node has it, and the protocol that keeps it true.
///
/// Calls that take `now` must not see it go back; every one of them may want messages sent. After each, the caller arranges
/// for [`Membership::on_timer`] at [`Membership::next_wake`]. Spurious calls of it do nothing.
#[derive(Clone, Debug)]
pub struct Membership {
    me: NodeId,
    timing: Timing,
    rng: Rng,
    members: Roster,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// How long they last, at the size for which it was worked out last.
    limits: Limits,
    rumors: Rumors,
    probing: Probing,
    health: Health,
    stage: Stage,
    next_gossip: Time,
    next_push_pull: Time,
    /// A stranger is asked who it is at most once in a probe interval.
    next_inquiry: Time,
    /// What [`Membership::next_wake`] says.
    wake: Option<Time>,
    /// Compared with: the shortest suspicion from the first accuser on.
    #[cfg(any(test, feature = "sim"))]
    fixed_suspicion: bool,
    /// Compared with: the suspect is left to hear of it like everybody.
    #[cfg(any(test, feature = "sim"))]
    silent_to_suspects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Made, but not yet told what time it is.
    New,
    Running,
    /// Has said good-bye; hears and says nothing any more.
    Gone,
}

impl Membership {
    /// The list of a node that starts. It comes to life with the first call that takes the time, which should follow at
    /// once: that one asks remembered members for their lists.
    ///
    /// `me` must be [`State::Alive`] at an incarnation above every one that this node has ever shown (one above the one
    /// that was persisted last; 1 for a new node). `remembered` is the persisted list: its members are taken at their last
    /// state. Records out of bounds are left out.
    ///
    /// # Panics
    /// When `me` is not alive or out of bounds.
    #[must_use]
    pub fn new<M: Into<Arc<Member>>>(
        me: Member,
        timing: Timing,
        mut rng: Rng,
        remembered: impl IntoIterator<Item = M>,
    ) -> Self {
        assert!(me.state == State::Alive, "a node starts alive");
        assert!(me.check().is_ok(), "a node's own record keeps the bounds");
        let name = me.node.clone();
        let mut members = Roster::new(Known::new(Arc::new(me), name.clone(), Time::ZERO));
        for member in remembered.into_iter().map(Into::into) {
            if member.check().is_err() {
                continue;
            }
            if member.node == name {
                let above = member.incarnation.saturating_add(1).min(INCARNATION_MAX);
                members.update_own(|own| own.incarnation = own.incarnation.max(above));
            } else if !members.contains(&member.node) && members.len() < crate::limits::MEMBERS_MAX {
                let by = if member.state == State::Alive || member.stopped { &member.node } else { &name };
                let by = by.clone();
                members.insert(Known::new(member, by, Time::ZERO));
            }
        }
        let probing = Probing::new(&mut rng);
        Self {
            me: name,
            timing,
            rng,
            members,
            suspicions: BTreeMap::new(),
            limits: Limits::new(timing.probe_interval, timing.suspicion_multiplier.get(), 1, 0),
            rumors: Rumors::default(),
            probing,
            health: Health::default(),
            stage: Stage::New,
            next_gossip: Time::ZERO,
            next_push_pull: Time::ZERO,
            next_inquiry: Time::ZERO,
            wake: Some(Time::ZERO),
            #[cfg(any(test, feature = "sim"))]
            fixed_suspicion: false,
            #[cfg(any(test, feature = "sim"))]
            silent_to_suspects: false,
        }
    }

    /// The same without Lifeguard, to be compared with: as unwell as this node may be it judges others as ever, confirmations
    /// shorten nothing, and suspects are not told first.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn without_lifeguard(mut self) -> Self {
        self.health.ignored = true;
        self.fixed_suspicion = true;
        self.silent_to_suspects = true;
        self
    }

    /// Takes a message from a peer whose connection has shown that it belongs to this cluster.
    ///
    /// A sender that is not in the list is no member by that alone. It is answered, so that it does not take this node for
    /// dead, its news is judged like anybody's, and a ping from it starts an exchange of lists, which makes it a member by
    /// its own word: members that have forgotten each other find each other again.
    ///
    /// # Errors
    /// [`MessageError`] when the message breaks the rules; it is dropped whole and nothing has changed.
    pub fn handle(
        &mut self,
        now: Time,
        from: &NodeId,
        message: MembershipMessage,
        out: &mut Effects,
    ) -> Result<(), MessageError> {
        if *from == self.me {
            return Err(MessageError::OwnName);
        }
        message.check(from)?;
        if self.stage == Stage::Gone {
            return Ok(());
        }
        self.begin(now, out);
        self.members.note_heard(from, now);
        match message {
            MembershipMessage::Ping { sequence, claims } => {
                self.hear(now, from, claims, out);
                let claims = self.claims_for(from);
                out.sends.push((from.clone(), MembershipMessage::Ack { sequence, claims }));
                self.inquire(now, from, out);
            }
            MembershipMessage::Ack { sequence, claims } => {
                self.hear(now, from, claims, out);
                self.on_ack(now, from, sequence, out);
            }
            MembershipMessage::PingRequest { sequence, target, claims } => {
                self.hear(now, from, claims, out);
                self.on_ping_request(now, from, sequence, &target, out);
            }
            MembershipMessage::Nack { sequence, claims } => {
                self.hear(now, from, claims, out);
                self.probing.on_nack(from, sequence);
            }
            MembershipMessage::Gossip { claims } => self.hear(now, from, claims, out),
            MembershipMessage::Digest(digest) => self.on_digest(now, from, digest, out),
            MembershipMessage::Records { claims, wanted } => self.on_records(now, from, claims, wanted, out),
            MembershipMessage::Summary(summary) => self.on_summary(now, from, summary, out),
        }
        self.settle(now);
        Ok(())
    }

    /// Does what is due. To be called at [`Membership::next_wake`]; calls at other times do no harm.
    pub fn on_timer(&mut self, now: Time, out: &mut Effects) {
        if self.stage == Stage::Gone {
            return;
        }
        self.begin(now, out);
        self.conclude_probes(now, out);
        self.bury_suspects(now, out);
        if now >= self.probing.next {
            self.probe_next(now, out);
        }
        if now >= self.next_push_pull {
            self.push_pull(now, out);
        }
        if now >= self.next_gossip {
            self.gossip(now, out);
        }
        self.settle(now);
    }

    /// When [`Membership::on_timer`] is wanted next; `None` once stopped.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.wake
    }

    /// A request to a member has failed: a reason to probe it now, not a verdict. Does nothing about a member that has been
    /// heard within a probe interval, or that is not alive anyway.
    pub fn note_failure(&mut self, now: Time, node: &NodeId, out: &mut Effects) {
        if self.stage == Stage::Gone {
            return;
        }
        self.begin(now, out);
        self.probe_early(now, node, out);
        self.settle(now);
    }

    /// Takes over a list from `from`: what a joining node is given, or the record that it brings. Each record is judged
    /// like one heard in an exchange of lists; those out of bounds are left out.
    pub fn absorb(&mut self, now: Time, from: &NodeId, members: Vec<Member>, out: &mut Effects) {
        if self.stage == Stage::Gone {
            return;
        }
        self.begin(now, out);
        for member in members {
            let owners_word = member.state == State::Alive || member.stopped;
            let by = if owners_word { member.node.clone() } else { from.clone() };
            let claim = Claim { member: Arc::new(member), by };
            if claim.check().is_ok() {
                self.learn(now, from, claim, out);
            }
        }
        self.settle(now);
    }

    /// This node's store has got another actor, with another boot number: everybody is told.
    pub fn renew(&mut self, now: Time, actor: ActorId, boot: u64, out: &mut Effects) {
        self.members.update_own(|own| (own.actor, own.boot) = (actor, boot));
        if self.stage == Stage::Gone {
            return;
        }
        self.begin(now, out);
        self.members.update_own(|own| own.incarnation = own.incarnation.saturating_add(1).min(INCARNATION_MAX));
        let own = self.members.own().claim();
        out.persist = true;
        let (node, by, incarnation) = (self.me.clone(), self.me.clone(), own.member.incarnation);
        out.changes.push(Change { node, kind: ChangeKind::Updated, incarnation, by, why: Why::Announced });
        self.spread(now, own);
        self.settle(now);
    }

    /// Stops tidily: tells everybody present that this node is dead by its own word, and keeps what it owns. Nothing is
    /// heard or said afterwards.
    pub fn stop(&mut self, now: Time, out: &mut Effects) {
        self.depart(now, State::Dead, out);
    }

    /// Leaves for good: tells everybody present. Nothing is heard or said afterwards.
    pub fn leave(&mut self, now: Time, out: &mut Effects) {
        self.depart(now, State::Left, out);
    }

    /// Every record, this node's own included: what a joining node is given, and what is worth persisting.
    #[must_use]
    pub fn push_pull_state(&self) -> Vec<Member> {
        self.members.iter().map(|known| Member::clone(&known.member)).collect()
    }

    /// Everybody known, this node included, by name.
    pub fn members(&self) -> impl Iterator<Item = &Known> {
        self.members.iter()
    }

    /// Counts the changes of the list: while it is the same, so are the members, their states and actors.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.members.revision()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, node: &NodeId) -> Option<&Known> {
        self.members.get(node)
    }

    /// This node's own record.
    #[must_use]
    pub fn me(&self) -> &Member {
        &self.members.own().member
    }

    /// What is being spread, and how often it was sent.
    pub fn rumors(&self) -> impl Iterator<Item = &Rumor> {
        self.rumors.iter()
    }

    /// How many members are in each state.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.members.counts()
    }

    /// How unwell this node itself is: 0 (well) to [`LOCAL_HEALTH_WORST`].
    #[must_use]
    pub fn local_health(&self) -> u8 {
        self.health.score()
    }

    /// How long a suspect that several members suspect has to say that it lives, at the present size of the cluster.
    #[must_use]
    pub fn suspicion_timeout(&self) -> Duration {
        let interval = self.timing.probe_interval;
        suspicion::shortest(interval, self.timing.suspicion_multiplier.get(), self.size())
    }

    /// Members that have not left, this node included.
    const fn size(&self) -> u64 {
        self.counts().size()
    }

    /// How long suspicions last now. Those who could confirm one: everybody alive but this node.
    fn suspicion_limits(&mut self) -> Limits {
        let witnesses = self.counts().alive.saturating_sub(1);
        #[cfg(any(test, feature = "sim"))]
        let witnesses = if self.fixed_suspicion { 0 } else { witnesses };
        if !self.limits.fit(self.size(), witnesses) {
            let multiplier = self.timing.suspicion_multiplier.get();
            self.limits = Limits::new(self.timing.probe_interval, multiplier, self.size(), witnesses);
        }
        self.limits
    }

    /// First thing in every call: comes to life, or finds out that it stood still.
    fn begin(&mut self, now: Time, out: &mut Effects) {
        self.members.own_mark().last_seen = Some(now);
        if self.stage == Stage::New {
            self.start(now, out);
            return;
        }
        let Some(late) = self.wake.map(|wake| now.since(wake)) else { return };
        if self.health.is_stall(late, self.timing.probe_timeout) {
            self.health.worsen(1);
            self.probing.forget(now + self.timing.probe_interval);
            for suspicion in self.suspicions.values_mut() {
                suspicion.extend(late);
            }
        }
    }

    fn start(&mut self, now: Time, out: &mut Effects) {
        self.stage = Stage::Running;
        let phase = |rng: &mut Rng, span: Duration| {
            now + Duration::from_nanos(rng.below(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)))
        };
        self.probing.next = phase(&mut self.rng, self.timing.probe_interval);
        self.next_push_pull = phase(&mut self.rng, self.timing.push_pull_interval);
        self.next_gossip = now;
        self.next_inquiry = now;
        let mut present = Vec::new();
        for known in self.members.iter_mut() {
            known.since = now;
            let node = &known.member.node;
            if *node == self.me || !known.member.state.is_present() {
                continue;
            }
            present.push(node.clone());
            if known.member.state == State::Suspect {
                self.suspicions.insert(node.clone(), Suspicion::new(now, known.by.clone()));
            }
        }
        self.probing.enlist_all(&mut self.rng, present);
        out.persist = true;
        let own = Claim::own(self.me().clone());
        self.spread(now, own);
        for node in self.sample(START_FANOUT, |known| known.member.state != State::Left) {
            self.send_summary(&node, out);
        }
    }

    /// Last thing in every call: when to be woken.
    fn settle(&mut self, now: Time) {
        let mut wake = self.probing.next.min(self.next_push_pull);
        wake = self.probing.deadlines().fold(wake, Time::min);
        if !self.rumors.is_empty() || self.suspicions.values().any(Suspicion::is_witnessed) {
            wake = wake.min(self.next_gossip);
        }
        if !self.suspicions.is_empty() {
            let limits = self.suspicion_limits();
            let waits = |node, suspicion: &Suspicion| suspicion.is_witnessed() || !self.probing.is_busy_for(node);
            let running = self.suspicions.iter().filter(|(node, suspicion)| waits(node, suspicion));
            wake = running.map(|(_, suspicion)| suspicion.deadline(&limits)).fold(wake, Time::min);
        }
        self.wake = Some(wake.max(now));
    }

    /// Up to `count` random others that fit, each equally likely.
    fn sample(&mut self, count: usize, fits: impl Fn(&Known) -> bool) -> Vec<NodeId> {
        self.members.sample(&mut self.rng, count, fits)
    }

    /// Tells a few random members the news, and suspects what they are accused of.
    fn gossip(&mut self, now: Time, out: &mut Effects) {
        self.next_gossip = now + self.timing.gossip_interval;
        self.appeal(out);
        if self.rumors.is_empty() {
            return;
        }
        let listeners = self.sample(GOSSIP_FANOUT, |known| known.member.state.is_present());
        if listeners.is_empty() {
            self.rumors.clear();
        }
        for node in listeners {
            let claims = self.claims_for(&node);
            if !claims.is_empty() {
                out.sends.push((node, MembershipMessage::Gossip { claims }));
            }
        }
    }

    /// What rides on a message to `receiver`: first that it is not believed alive, if so, then news.
    fn claims_for(&mut self, receiver: &NodeId) -> Vec<Claim> {
        let multiplier = self.timing.retransmit_multiplier.get();
        let mut news = self.rumors.take(receiver, sends_max(multiplier, self.size()));
        if let Some(known) = self.members.get(receiver).filter(|known| known.member.state != State::Alive) {
            #[cfg(any(test, feature = "sim"))]
            if self.silent_to_suspects && known.member.state == State::Suspect {
                return news;
            }
            news.insert(0, known.claim());
        }
        news
    }

    fn spread(&mut self, now: Time, claim: Claim) {
        if self.rumors.is_empty() {
            self.next_gossip = self.next_gossip.max(now);
        }
        self.rumors.add(claim);
    }
}
