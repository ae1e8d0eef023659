//! How this node brings about another version of the layout: what operators ask of it, and what the list of members asks
//! for: newcomers are let in together, a store that took another one's place may vote again, whoever has been dead for too
//! long is evicted. One attempt at a time; which of two competing changes comes first, the owners decide.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Node, Output, rows};
use crate::id::{NodeId, Token};
use crate::layout::{
    Acceptor, Active, Ballot, Change, ChangeError, Decision, Farewell, Layout, LayoutId, Plan, Proposal, Role, Step,
    Verdict,
};
use crate::limits;
use crate::membership::{Member, State};
use crate::message::NodeMessage;
use crate::planted::PlantedBug;
use crate::storage::{Batch, Space, Storage};
use crate::time::Time;

/// Between the first newcomer and the change that lets it in, so that those who come together come in together.
const GATHER: Duration = Duration::from_millis(200);
/// How much later each next owner in line acts, so that they seldom compete.
const STAGGER: Duration = Duration::from_millis(500);
/// Between two askings of voters that have not answered.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// After so long an attempt is given up, and another one begun.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest and the longest pause, in milliseconds, before whoever was outbid tries again.
const BACK_OFF_MS: (u64, u64) = (20, 300);
/// How long an operator waits for a decision.
const WISH_TIMEOUT: Duration = Duration::from_secs(10);
/// Wishes of operators that wait; the next one is refused.
const WISHES_MAX: usize = 64;

/// What an operator wants of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// These changes, one after the other, in one version.
    Changes {
        /// The version they were planned for; nothing for whichever there is.
        base: Option<u64>,
        /// What changes.
        changes: Vec<Change>,
    },
    /// Back to what was before the change that is under way.
    Revert,
    /// As changes, without asking the owners: most of them are lost for ever. Whatever only they know is lost, and if they
    /// live after all, they are overruled.
    Force {
        /// What changes.
        changes: Vec<Change>,
    },
}

/// A wish that waits for the owners.
#[derive(Clone, Debug)]
struct Waiting {
    token: Token,
    wish: Wish,
    until: Time,
    /// What it came to, when it was last proposed.
    wanted: Option<LayoutId>,
}

#[derive(Clone, Debug)]
struct Attempt {
    proposal: Proposal,
    ask_at: Time,
    until: Time,
}

/// Everything about decisions that a node keeps.
#[derive(Clone, Debug)]
pub(super) struct Deciding {
    acceptor: Acceptor,
    /// When it accepted something last, or this process began.
    accepted_at: Time,
    attempt: Option<Attempt>,
    /// The greatest round of a ballot that was heard of.
    round: u64,
    not_before: Time,
    wishes: VecDeque<Waiting>,
    /// Since when the members ask for another layout.
    wanted_since: Option<Time>,
    /// Since when members are known to be dead.
    dead_since: BTreeMap<NodeId, Time>,
    look_at: Time,
}

impl Deciding {
    pub(super) const fn new(acceptor: Acceptor, now: Time) -> Self {
        Self {
            acceptor,
            accepted_at: now,
            attempt: None,
            round: 0,
            not_before: now,
            wishes: VecDeque::new(),
            wanted_since: None,
            dead_since: BTreeMap::new(),
            look_at: now,
        }
    }

    pub(super) fn next_wake(&self) -> Time {
        let attempt = self.attempt.as_ref().map(|attempt| attempt.ask_at.min(attempt.until));
        let wish = self.wishes.front().map(|wish| wish.until);
        [attempt, wish, Some(self.look_at)].into_iter().flatten().min().expect("there is one")
    }
}

impl<S: Storage> Node<S> {
    /// An operator wants something of the layout.
    pub(super) fn wish(&mut self, token: Token, wish: Wish) {
        if self.identity.is_none() || self.layout().is_empty() {
            return self.answer_wish(token, Err(ChangeError::NoCluster));
        }
        if let Wish::Force { changes } = &wish {
            let changes = self.beside_readmissions(changes);
            let result = self.layout().forced(&changes, &self.start.config.cluster).map(|layout| self.follow(layout));
            return self.answer_wish(token, result);
        }
        if self.deciding.wishes.len() >= WISHES_MAX {
            return self.answer_wish(token, Err(ChangeError::TooManyActive { active: self.deciding.wishes.len() }));
        }
        let until = self.effects.now + WISH_TIMEOUT;
        self.deciding.wishes.push_back(Waiting { token, wish, until, wanted: None });
        self.deciding.look_at = self.effects.now;
    }

    /// What these changes would move.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn plan(&self, changes: &[Change]) -> Result<(Layout, Plan), ChangeError> {
        let next = self.layout().with(changes, &self.start.config.cluster)?;
        let after = Active::new(next.clone(), &self.start.config.cluster);
        Ok((next, Plan::new(self.history.newest(), &after)))
    }

    fn answer_wish(&mut self, token: Token, result: Result<LayoutId, ChangeError>) {
        self.effects.push(Output::LayoutChanged { token, result });
    }

    pub(super) fn decide_on_time(&mut self) {
        let now = self.effects.now;
        if self.identity.is_none() || self.deciding.next_wake() > now {
            return;
        }
        self.deciding.look_at = now + GATHER;
        self.return_if_excluded();
        self.note_the_dead();
        while self.deciding.wishes.front().is_some_and(|wish| wish.until <= now) {
            let wish = self.deciding.wishes.pop_front().expect("there is a first one");
            let owners = self.layout().len();
            self.answer_wish(wish.token, Err(ChangeError::NoMajority { owners }));
        }
        if let Some(attempt) = &mut self.deciding.attempt {
            if attempt.until <= now || attempt.proposal.base() != self.rings.id {
                self.deciding.attempt = None;
            } else if attempt.ask_at <= now {
                attempt.ask_at = now + ASK_INTERVAL;
                self.ask_voters();
            }
        }
        if self.deciding.attempt.is_none() && self.deciding.not_before <= now && self.trial.is_sure() {
            self.begin_attempt();
        }
    }

    fn begin_attempt(&mut self) {
        let Some(layout) = self.next_wanted() else { return };
        let now = self.effects.now;
        self.deciding.round += 1;
        let ballot = Ballot { round: self.deciding.round, node: self.start.node.clone() };
        let proposal = Proposal::new(self.layout(), layout, ballot);
        let jitter = Duration::from_millis(self.rng.between(BACK_OFF_MS.0, BACK_OFF_MS.1));
        let until = now + ATTEMPT_TIMEOUT + jitter;
        self.deciding.attempt = Some(Attempt { proposal, ask_at: now + ASK_INTERVAL, until });
        self.ask_voters();
    }

    /// What the next version should be: what the first operator wants, or else what the members ask for.
    fn next_wanted(&mut self) -> Option<Layout> {
        let active = self.history.active().count();
        let cluster = self.start.config.cluster.clone();
        while let Some(mut waiting) = self.deciding.wishes.pop_front() {
            let result = match &waiting.wish {
                _ if active >= limits::LAYOUTS_ACTIVE_MAX => Err(ChangeError::TooManyActive { active }),
                Wish::Changes { base: Some(planned), .. } if *planned != self.layout().version() => {
                    Err(ChangeError::Stale { planned: *planned, current: self.layout().version() })
                }
                Wish::Changes { changes, .. } | Wish::Force { changes } => {
                    let alone = self.layout().with(changes, &cluster);
                    alone.and_then(|_| self.layout().with(&self.beside_readmissions(changes), &cluster))
                }
                Wish::Revert => match self.history.revertible() {
                    Some(earlier) => self.layout().reverted_to(earlier, &cluster),
                    None => Err(ChangeError::NothingToRevert),
                },
            };
            match result {
                Ok(layout) => {
                    waiting.wanted = Some(layout.id());
                    self.deciding.wishes.push_front(waiting);
                    return Some(layout);
                }
                Err(error) => self.answer_wish(waiting.token, Err(error)),
            }
        }
        self.wanted_by_members(active).or_else(|| self.left_undecided())
    }

    /// What this node has accepted and heard no more of: whoever proposed it may be gone, and it may be decided already.
    fn left_undecided(&self) -> Option<Layout> {
        let accepted = self.deciding.acceptor.accepted(self.rings.id)?;
        let due = self.deciding.accepted_at + ATTEMPT_TIMEOUT + STAGGER * self.place_in_line()?;
        (due <= self.effects.now).then(|| accepted.clone())
    }

    /// How many owners that are alive act before this one; nothing if it is none.
    fn place_in_line(&self) -> Option<u32> {
        let mut living = self.layout().owners().filter(|node| self.is_alive(node));
        let place = living.position(|node| *node == self.start.node)?;
        Some(u32::try_from(place).unwrap_or(u32::MAX).min(8))
    }

    /// What the members ask for, once this node is the one to see to it.
    fn wanted_by_members(&mut self, active: usize) -> Option<Layout> {
        let now = self.effects.now;
        let changes = self.changes_for_members();
        if changes.is_empty() || active >= limits::LAYOUTS_ACTIVE_MAX {
            self.deciding.wanted_since = None;
            return None;
        }
        let since = *self.deciding.wanted_since.get_or_insert(now);
        if now.since(since) < GATHER + STAGGER * self.place_in_line()? {
            return None;
        }
        self.layout().with(&changes, &self.start.config.cluster).ok()
    }

    fn is_alive(&self, node: &NodeId) -> bool {
        *node == self.start.node || self.membership.member(node).is_some_and(|known| known.member.state == State::Alive)
    }

    fn living_members(&self) -> impl Iterator<Item = &Member> {
        self.membership.members().map(|known| &*known.member).filter(|member| member.state == State::Alive)
    }

    /// Owners with another store than the layout says: they may not vote until it names what they have.
    fn readmissions(&self) -> impl Iterator<Item = Change> {
        let changed =
            |member: &&Member| self.layout().role(&member.node).is_some_and(|role| role.store != member.actor);
        let readmit = |member: &Member| Change::Readmit { node: member.node.clone(), store: member.actor };
        self.living_members().filter(changed).map(readmit)
    }

    /// Whatever is decided, all who wait to vote again are let in by it: after an owner has gone, those who remain might
    /// be too few to do so.
    fn beside_readmissions(&self, changes: &[Change]) -> Vec<Change> {
        self.readmissions().chain(changes.iter().cloned()).collect()
    }

    /// Whether an owner had handed over everything and was gone when a change made it an owner again, as a revert can that
    /// comes too late.
    fn is_gone_for_good(&self, node: &NodeId, role: &Role) -> bool {
        let known = self.membership.member(node).map(|known| &known.member);
        known.is_some_and(|member| member.state == State::Left && member.actor == role.store)
    }

    fn changes_for_members(&self) -> Vec<Change> {
        let is_new = |member: &&Member| {
            let excluded = self.layout().exclusion(&member.node);
            !self.layout().is_owner(&member.node) && excluded.is_none_or(|excluded| excluded.store != member.actor)
        };
        let admit = |member: &Member| Change::Admit { node: member.node.clone(), role: role_of(member) };
        let mut changes: Vec<Change> =
            self.readmissions().chain(self.living_members().filter(is_new).map(admit)).collect();
        let remove = |node: &NodeId, why| Change::Remove { node: node.clone(), why };
        let gone = self.layout().roles().filter(|(node, role)| self.is_gone_for_good(node, role));
        changes.extend(gone.map(|(node, _)| remove(node, Farewell::Removed)));
        if let Some(evict_after) = self.start.config.evict_after {
            let now = self.effects.now;
            let dead = self.deciding.dead_since.iter().filter(|(_, since)| now.since(**since) >= evict_after);
            let waits = |node: &NodeId| self.layout().role(node).is_some_and(|role| !self.is_gone_for_good(node, role));
            // With fewer owners than copies there would be nobody to take what the dead one had.
            let spare = self.layout().len().saturating_sub(usize::from(self.start.config.cluster.replication.n.get()));
            let owners = dead.filter(|(node, _)| waits(node)).take(spare);
            changes.extend(owners.map(|(node, _)| remove(node, Farewell::Evicted)));
        }
        changes
    }

    /// Keeps in mind since when owners are dead.
    fn note_the_dead(&mut self) {
        let now = self.effects.now;
        let is_dead = |node: &NodeId| {
            self.membership.member(node).is_none_or(|known| matches!(known.member.state, State::Dead | State::Left))
        };
        let dead: Vec<NodeId> =
            self.layout().owners().filter(|node| **node != self.start.node && is_dead(node)).cloned().collect();
        self.deciding.dead_since.retain(|node, _| dead.binary_search(node).is_ok());
        for node in dead {
            self.deciding.dead_since.entry(node).or_insert(now);
        }
    }

    /// Puts the question of now to every voter that has not answered it, this node last.
    fn ask_voters(&mut self) {
        let Some(attempt) = &self.deciding.attempt else { return };
        let question = attempt.proposal.question();
        let silent: Vec<NodeId> = attempt.proposal.silent().cloned().collect();
        let me = self.start.node.clone();
        for node in silent.iter().filter(|node| **node != me) {
            self.send(node.clone(), NodeMessage::Decision(question.clone()));
        }
        if silent.contains(&me)
            && let Some(answer) = self.vote(question)
        {
            self.take_vote(&me, answer);
        }
    }

    pub(super) fn on_decision(&mut self, from: &NodeId, decision: Decision) {
        if decision.base != self.rings.id {
            // One of the two has missed a version.
            return self.compare_layout(from.clone());
        }
        self.deciding.round = self.deciding.round.max(decision.ballot.round);
        match decision.verdict {
            Verdict::Prepare | Verdict::Accept { .. } => {
                if let Some(answer) = self.vote(decision) {
                    self.send(from.clone(), NodeMessage::Decision(answer));
                }
            }
            Verdict::Promise { .. } | Verdict::Accepted | Verdict::Outbid => self.take_vote(from, decision),
        }
    }

    /// This node's own word on a ballot: durable before anybody hears it. A store that took another one's place has
    /// forgotten what that one promised, and abstains.
    fn vote(&mut self, decision: Decision) -> Option<Decision> {
        let is_voter = self.layout().role(&self.start.node).is_some_and(|role| role.store == self.actor());
        let trusts_itself = self.start.config.has_bug(PlantedBug::VoteAfterLoss);
        if !(is_voter && self.trial.is_sure() || self.layout().len() == 1 || trusts_itself) {
            return None;
        }
        if self.start.config.has_bug(PlantedBug::TwoContents) {
            self.deciding.acceptor = Acceptor::default();
        }
        let answer = self.deciding.acceptor.answer(decision)?;
        if answer.verdict == Verdict::Accepted {
            self.deciding.accepted_at = self.effects.now;
        }
        let mut batch = Batch::default();
        batch.put(Space::Meta, rows::ACCEPTOR, rows::encode(&self.deciding.acceptor));
        self.must_apply(batch);
        Some(answer)
    }

    fn take_vote(&mut self, from: &NodeId, answer: Decision) {
        let now = self.effects.now;
        let Some(attempt) = &mut self.deciding.attempt else { return };
        match attempt.proposal.take(from, answer) {
            Step::Wait => {}
            Step::AskToAccept => {
                attempt.ask_at = now + ASK_INTERVAL;
                self.ask_voters();
            }
            Step::Outbid(round) => {
                self.deciding.round = self.deciding.round.max(round);
                self.deciding.attempt = None;
                let back_off = Duration::from_millis(self.rng.between(BACK_OFF_MS.0, BACK_OFF_MS.1));
                self.deciding.not_before = now + back_off;
                self.deciding.look_at = self.deciding.look_at.min(now + back_off);
            }
            Step::Decided(layout) => {
                self.deciding.attempt = None;
                self.follow(layout);
            }
        }
    }

    /// Acts under a layout that was decided, or forced, and tells those whom it concerns.
    fn follow(&mut self, layout: Layout) -> LayoutId {
        let id = layout.id();
        self.history.follow(layout, &self.start.config.cluster);
        self.layout_changed();
        self.tell_of_layout(id);
        let concerned: Vec<NodeId> = self.history.active().flat_map(Layout::owners).cloned().collect();
        for node in self.living_others().into_iter().filter(|node| concerned.contains(node)) {
            self.send(node, NodeMessage::Layout(self.history.news()));
        }
        id
    }

    /// There is a new layout: whoever waited for it is answered.
    pub(super) fn end_wishes(&mut self) {
        let id = self.rings.id;
        self.deciding.wanted_since = None;
        self.deciding.look_at = self.effects.now;
        let is_met = |waiting: &Waiting| waiting.wanted == Some(id);
        while self.deciding.wishes.front().is_some_and(is_met) {
            let met = self.deciding.wishes.pop_front().expect("there is a first one");
            self.answer_wish(met.token, Ok(id));
        }
    }

    /// This node gives up what it owns, and goes once it has handed it over.
    pub(super) fn leave(&mut self, token: Token) {
        let node = self.start.node.clone();
        if self.standing.leaving {
            let id = self.rings.id;
            return self.answer_wish(token, Ok(id));
        }
        if self.identity.is_some() && !self.layout().is_owner(&node) {
            let id = self.rings.id;
            self.answer_wish(token, Ok(id));
            return self.leave_now();
        }
        let changes = alloc::vec![Change::Remove { node, why: Farewell::Removed }];
        self.wish(token, Wish::Changes { base: None, changes });
    }
}

/// What a member gets that comes in.
fn role_of(member: &Member) -> Role {
    Role::of(member.node.clone(), member.zone.clone(), member.weight, member.actor)
}
