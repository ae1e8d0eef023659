//! What a claim changes: precedence, suspicion, death, refutation, and this node's own answer to what is said of it. The
//! only place where the list is written. Never sends but what a claim about this node or an accused one asks for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::effects::{Change, ChangeKind, Effects, Why};
use super::member::{INCARNATION_JUMP_MAX, INCARNATION_MAX, Known, Member, State};
use super::message::{Claim, MembershipMessage};
use super::suspicion::Suspicion;
use super::{Membership, Stage};
use crate::id::NodeId;
use crate::limits;
use crate::time::Time;

impl Membership {
    /// News that rode on a message from `teller`. Who accuses somebody that has refuted it, be it this node and at this
    /// moment, is told so, lest it miss the refutation and bury the living.
    pub(super) fn hear(&mut self, now: Time, teller: &NodeId, claims: Vec<Claim>, out: &mut Effects) {
        let mut refuted = Vec::new();
        for claim in claims {
            let accused = claim.member.clone();
            let known = self.members.get(&accused.node);
            // Most of what is heard has been heard before.
            if known.is_none_or(|known| accused.incarnation >= known.member.incarnation) {
                self.judge(now, teller, claim, out);
            }
            if accused.state != State::Alive {
                let known = self.members.get(&accused.node);
                refuted.extend(known.filter(|known| known.member.incarnation > accused.incarnation).map(Known::claim));
            }
        }
        if !refuted.is_empty() {
            out.sends.push((teller.clone(), MembershipMessage::Gossip { claims: refuted }));
        }
    }

    /// A record from an exchange of lists: perhaps old, perhaps the view of the other side of a partition. So a death that
    /// contradicts what this node hears itself is brought before the accused, who refutes it if it lives; if it does not,
    /// this node's own probes will find out.
    pub(super) fn learn(&mut self, now: Time, teller: &NodeId, claim: Claim, out: &mut Effects) {
        let member = &claim.member;
        let hearsay = member.state == State::Dead && !member.stopped && member.node != self.me;
        let known = self.members.get(&member.node);
        let heard = known.is_some_and(|known| {
            known.member.state.is_present() && known.last_seen.is_some() && member.supersedes(&known.member)
        });
        if hearsay && heard && is_plausible(member, known) {
            out.sends.push((member.node.clone(), MembershipMessage::Gossip { claims: alloc::vec![claim] }));
        } else {
            self.judge(now, teller, claim, out);
        }
    }

    fn judge(&mut self, now: Time, teller: &NodeId, claim: Claim, out: &mut Effects) {
        let known = self.members.get(&claim.member.node);
        if !is_plausible(&claim.member, known) {
            return;
        }
        if claim.member.node == self.me {
            self.answer(now, &claim, out);
            return;
        }
        let Some(known) = known else {
            self.meet(now, teller, claim, out);
            return;
        };
        if claim.member.supersedes(&known.member) {
            let why = self.reason(&claim, teller);
            self.adopt(now, claim, why, out);
        } else if claim.member.version() == known.member.version() && claim.member.state == State::Suspect {
            self.confirm(now, claim);
        }
    }

    fn reason(&self, claim: &Claim, teller: &NodeId) -> Why {
        if claim.member.stopped {
            Why::Stopped
        } else if *teller == claim.member.node {
            Why::Announced
        } else {
            Why::Told { teller: teller.clone() }
        }
    }

    /// Somebody not heard of before. One that has already left is nobody's business.
    fn meet(&mut self, now: Time, teller: &NodeId, claim: Claim, out: &mut Effects) {
        if claim.member.state == State::Left || !self.has_room() {
            return;
        }
        let node = claim.member.node.clone();
        let why = self.reason(&claim, teller);
        let mut known = Known::new(claim.member.clone(), claim.by.clone(), now);
        if *teller == node {
            known.last_seen = Some(now);
            known.heartbeats = 1;
        }
        self.members.insert(known);
        let change = |kind, by: &NodeId| Change {
            node: node.clone(),
            kind,
            incarnation: claim.member.incarnation,
            by: by.clone(),
            why: why.clone(),
        };
        out.changes.push(change(ChangeKind::Joined, &node));
        match claim.member.state {
            State::Alive | State::Left => {}
            State::Suspect => out.changes.push(change(ChangeKind::Suspected, &claim.by)),
            State::Dead => out.changes.push(change(ChangeKind::Died, &claim.by)),
        }
        self.enter(now, None, &claim);
        self.spread(now, claim);
    }

    /// Room for one more: the member that left longest ago makes place.
    fn has_room(&mut self) -> bool {
        if self.members.len() < limits::MEMBERS_MAX {
            return true;
        }
        if self.members.counts().left == 0 {
            return false;
        }
        let gone = self.members.iter().filter(|known| known.member.state == State::Left);
        let oldest = gone.min_by_key(|known| known.since).map(|known| known.member.node.clone());
        self.members.retain(|known| Some(&known.member.node) != oldest.as_ref());
        true
    }

    /// Takes over a newer record of somebody known.
    fn adopt(&mut self, now: Time, claim: Claim, why: Why, out: &mut Effects) {
        let node = claim.member.node.clone();
        let known = self.members.get(&node).expect("only records of known members are taken over");
        let old = known.member.state;
        let new = claim.member.state;
        let same_profile = known.member.same_profile(&claim.member);
        self.members.update(&node, |known| {
            // At one incarnation everything but the state stands already, in the owner's own words.
            if same_profile || claim.member.incarnation > known.member.incarnation {
                known.member = claim.member.clone();
            } else {
                let member = Arc::make_mut(&mut known.member);
                (member.state, member.stopped) = (new, claim.member.stopped);
            }
            known.by = claim.by.clone();
            if old != new {
                known.since = now;
            }
        });
        let kind = match (old, new) {
            (State::Alive, State::Alive) if same_profile => None,
            (State::Alive, State::Alive) => Some(ChangeKind::Updated),
            (State::Suspect, State::Alive) => Some(ChangeKind::Refuted),
            (State::Dead | State::Left, State::Alive) => Some(ChangeKind::Revived),
            (_, State::Suspect) => Some(ChangeKind::Suspected),
            (_, State::Dead) => Some(ChangeKind::Died),
            (_, State::Left) => Some(ChangeKind::Left),
        };
        if let Some(kind) = kind {
            let incarnation = claim.member.incarnation;
            out.changes.push(Change { node, kind, incarnation, by: claim.by.clone(), why });
        }
        self.enter(now, Some(old), &claim);
        self.spread(now, claim);
        if kind == Some(ChangeKind::Revived) {
            self.expect_more(out);
        }
    }

    /// Opens or closes the case against a member, and has it probed when it is (again) present.
    fn enter(&mut self, now: Time, old: Option<State>, claim: &Claim) {
        let node = &claim.member.node;
        let new = claim.member.state;
        if new == State::Suspect {
            self.suspicions.insert(node.clone(), Suspicion::new(now, claim.by.clone()));
        } else {
            self.suspicions.remove(node);
        }
        if new.is_present() && !old.is_some_and(State::is_present) {
            self.probing.enlist(&mut self.rng, node.clone());
        }
    }

    /// The same suspicion from somebody: one more witness if it is a member that has not been counted, worth passing on.
    fn confirm(&mut self, now: Time, claim: Claim) {
        let limits = self.suspicion_limits();
        let witness = self.members.get(&claim.by).is_some_and(|known| known.member.state.is_present());
        let node = &claim.member.node;
        let Some(suspicion) = self.suspicions.get_mut(node) else { return };
        if witness && claim.by != *node && suspicion.confirm(&claim.by, limits.confirmations_max()) {
            self.spread(now, claim);
        }
    }

    /// Something is said about this node. Whatever would win over its own record is answered with a higher incarnation:
    /// accusations, and another life under its name.
    fn answer(&mut self, now: Time, claim: &Claim, out: &mut Effects) {
        let said = &claim.member;
        let own = self.me();
        let same_version_other_life = said.version() == own.version() && !said.same_profile(own);
        if !said.supersedes(own) && !same_version_other_life {
            return;
        }
        let Some(incarnation) = said.incarnation.checked_add(1).filter(|next| *next <= INCARNATION_MAX) else {
            return;
        };
        let why = if said.state == State::Alive {
            Why::OtherLife { address: said.address.clone(), boot: said.boot }
        } else {
            self.health.worsen(1);
            Why::Accused { state: said.state }
        };
        self.members.update_own(|own| own.incarnation = incarnation);
        let own = self.members.own().claim();
        out.persist = true;
        let (node, by) = (self.me.clone(), claim.by.clone());
        out.changes.push(Change { node, kind: ChangeKind::Refuted, incarnation, by, why });
        self.spread(now, own);
    }

    /// This node's own probe of a member at this incarnation had no answer.
    pub(super) fn accuse(&mut self, now: Time, node: &NodeId, incarnation: u64, why: Why, out: &mut Effects) {
        let Some(known) = self.members.get(node).filter(|known| known.member.incarnation == incarnation) else {
            return;
        };
        let member = Member { state: State::Suspect, ..Member::clone(&known.member) };
        let claim = Claim { member: Arc::new(member), by: self.me.clone() };
        match known.member.state {
            State::Alive => self.adopt(now, claim, why, out),
            State::Suspect => self.second(now, claim, out),
            State::Dead | State::Left => {}
        }
        if let Some(suspicion) = self.suspicions.get_mut(node) {
            suspicion.witness(now);
        }
    }

    /// This node comes to the same as others did. Those who did are told apart: of two confirmations on their way through
    /// everybody, one takes the place of the other.
    fn second(&mut self, now: Time, claim: Claim, out: &mut Effects) {
        let suspicion = self.suspicions.get(&claim.member.node).expect("there is a case against every suspect");
        for accuser in suspicion.accusers().iter().filter(|accuser| **accuser != self.me) {
            out.sends.push((accuser.clone(), MembershipMessage::Gossip { claims: alloc::vec![claim.clone()] }));
        }
        self.confirm(now, claim);
    }

    /// A member has answered this node's own probe. If it is suspected, its refutation has not come this far yet.
    pub(super) fn vindicate(&mut self, now: Time, node: &NodeId) {
        if let Some(suspicion) = self.suspicions.get_mut(node) {
            suspicion.restart(now);
        }
    }

    /// Asks those who have not answered this node to speak for themselves: they may have missed what everybody is told, or
    /// everybody what they said.
    pub(super) fn appeal(&self, out: &mut Effects) {
        #[cfg(any(test, feature = "sim"))]
        if self.silent_to_suspects {
            return;
        }
        for (node, _) in self.suspicions.iter().filter(|(_, suspicion)| suspicion.is_witnessed()) {
            let claim = self.members.get(node).expect("suspects are members").claim();
            out.sends.push((node.clone(), MembershipMessage::Gossip { claims: alloc::vec![claim] }));
        }
    }

    /// Suspects whose time is over are dead to those who have asked them in vain. Who has only heard of it asks first.
    pub(super) fn bury_suspects(&mut self, now: Time, out: &mut Effects) {
        if self.suspicions.is_empty() {
            return;
        }
        let limits = self.suspicion_limits();
        let due = self.suspicions.iter().filter(|(_, suspicion)| suspicion.deadline(&limits) <= now);
        let due: Vec<(NodeId, Suspicion)> = due.map(|(node, case)| (node.clone(), case.clone())).collect();
        for (node, suspicion) in due {
            if !suspicion.is_witnessed() {
                self.probe_suspect(now, &node, out);
                continue;
            }
            let known = self.members.get(&node).expect("suspects are members");
            assert!(known.member.state == State::Suspect, "a suspicion is of a suspect");
            let member = Member { state: State::Dead, ..Member::clone(&known.member) };
            let accusers = suspicion.accusers().to_vec();
            let why = Why::SuspicionTimeout { accusers, waited: now.since(suspicion.since()) };
            let claim = Claim { member: Arc::new(member), by: self.me.clone() };
            self.adopt(now, claim, why, out);
        }
    }

    /// Says good-bye to everybody present, with the last incarnation of this life.
    pub(super) fn depart(&mut self, now: Time, state: State, out: &mut Effects) {
        if self.stage == Stage::Gone {
            return;
        }
        self.begin(now, out);
        self.stage = Stage::Gone;
        self.wake = None;
        self.members.update_own(|own| {
            own.incarnation = own.incarnation.saturating_add(1).min(INCARNATION_MAX);
            own.state = state;
            own.stopped = state == State::Dead;
        });
        self.members.own_mark().since = now;
        let claim = self.members.own().claim();
        let incarnation = claim.member.incarnation;
        let (kind, why) = match state {
            State::Left => (ChangeKind::Left, Why::Announced),
            _ => (ChangeKind::Died, Why::Stopped),
        };
        let me = self.me.clone();
        out.changes.push(Change { node: me.clone(), kind, incarnation, by: me.clone(), why });
        out.persist = true;
        for member in self.members.iter().map(|known| &known.member) {
            if member.node != me && member.state.is_present() {
                out.sends.push((member.node.clone(), MembershipMessage::Gossip { claims: alloc::vec![claim.clone()] }));
            }
        }
    }
}

/// Whether a real member could have come to this incarnation since it was last heard of.
fn is_plausible(member: &Member, known: Option<&Known>) -> bool {
    let last = known.map_or(0, |known| known.member.incarnation);
    member.incarnation <= last.saturating_add(INCARNATION_JUMP_MAX)
}
