//! Whether the store that a node starts with is the one that it ended with. A store that was restored from an old copy, or
//! cloned, would issue dots a second time and vote with data that it has forgotten; so the shards are shown no picture
//! before the other members have said that they remember nothing newer. It never looks at an object.
//!
//! What members remember of each other is a *life*: the actor, how often its store was opened (`boot`), the process that
//! runs with it (`nonce`) and a count that the store raises every few seconds, durably, before it tells it to others
//! (`tick`). A store whose boot goes back or is seen twice is an old copy or a clone; so is one that was opened again but
//! has forgotten ticks that it had told, which is how a copy made during the last boot shows.
//!
//! A store that is told so mints a new actor and pulls everything again before it counts. What it holds it keeps: pulling
//! merges. The marks of slices as synced name the actor, so that a new actor makes all of them void at once.
//!
//! What is not found out: a copy that is younger than the last tick that anybody heard, and one of which all members that
//! remember something newer are silent for [`PATIENCE`] or believed dead. If the whole cluster is restored from copies of
//! one time, nobody remembers anything newer, and contexts that clients got since then cover dots that will be issued
//! again: after such a restore clients must read before they write. A peer that shows dots of this store that it never
//! issued is a second line: the shards say so, and the store gets a new actor then.
//!
//! Where a node is alone in its layout nobody remembers it. It gets a new actor at each start: clients may hold contexts
//! that cover dots of a life that its copy has forgotten.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Node, Output, ShardEvent, ToShard, rows};
use crate::event::EventKind;
use crate::id::{ActorId, NodeId};
use crate::limits;
use crate::membership::{self, Member, State};
use crate::message::{LifeVerdict, NodeMessage};
use crate::planted::PlantedBug;
use crate::storage::{Batch, Seq, Space, Storage};
use crate::time::Time;

/// How long a start waits for members that are not believed dead and do not answer, once one has answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two askings of a member that has not answered, before the store is sure of itself.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// As that, afterwards: everybody is to remember this life, also who was away when it began.
const ASK_LATER: Duration = Duration::from_secs(2);
/// Between two ticks.
const TICK_INTERVAL: Duration = Duration::from_secs(5);
/// Members that are told each tick.
const TICK_FANOUT: usize = 3;
/// Greatest boot number and tick. Nobody gets so far; what is greater is malformed on the wire.
const TICKS_MAX: u64 = limits::COUNTER_MAX - 1;
/// Actors of one node that are remembered.
const ACTORS_REMEMBERED: usize = 8;

/// One life of a store, as another member remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) actor: ActorId,
    boot: u64,
    /// The process; nothing if it was only heard of from others.
    nonce: Option<u64>,
    tick: u64,
}

/// The lives of one node that are remembered, one for each actor, the latest actor last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lives(pub(super) Vec<Remembered>);

impl Lives {
    fn newest_boot(&self) -> Option<u64> {
        self.0.iter().map(|life| life.boot).max()
    }

    /// Takes over what a member record says. Says whether that was new.
    fn hear(&mut self, actor: ActorId, boot: u64) -> bool {
        match self.0.iter_mut().find(|life| life.actor == actor) {
            Some(life) if boot > life.boot => {
                (life.boot, life.nonce) = (boot, None);
                true
            }
            Some(_) => false,
            None => {
                self.push(Remembered { actor, boot, nonce: None, tick: 0 });
                true
            }
        }
    }

    /// Whether a store is the one that is remembered; remembers it if so.
    fn judge(&mut self, asked: Remembered) -> LifeVerdict {
        let newest = self.newest_boot();
        let stale = LifeVerdict::Stale { boot: newest.unwrap_or(0) };
        let Some(place) = self.0.iter().position(|life| life.actor == asked.actor) else {
            // An actor that nobody heard of is new: its store begins, or was told to take one with the next boot. Else it
            // is so old that it was forgotten.
            if asked.boot > 1 && newest.is_some_and(|newest| asked.boot <= newest) {
                return stale;
            }
            self.push(asked);
            return LifeVerdict::Confirmed;
        };
        if place + 1 < self.0.len() {
            // This node has had another store, or another actor, since.
            return stale;
        }
        let life = &mut self.0[place];
        if life.boot == asked.boot && life.nonce == asked.nonce {
            life.tick = life.tick.max(asked.tick);
            return LifeVerdict::Confirmed;
        }
        let seen_twice = life.boot == asked.boot && life.nonce.is_some();
        if asked.boot < life.boot || seen_twice || asked.tick < life.tick {
            return stale;
        }
        *life = asked;
        LifeVerdict::Confirmed
    }

    fn push(&mut self, life: Remembered) {
        if self.0.len() == ACTORS_REMEMBERED {
            // The one with the greatest boot says what is old: it stays.
            let newest = self.newest_boot();
            let oldest = self.0.iter().position(|life| Some(life.boot) < newest);
            self.0.remove(oldest.unwrap_or(0));
        }
        self.0.push(life);
    }
}

/// How far a process has come in finding out whether its store is the one that the others remember.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    sure: bool,
    answered: BTreeSet<NodeId>,
    /// Until when silent members are waited for.
    until: Time,
    /// When those who have not answered are asked again; nothing if all have.
    due: Option<Time>,
    tick_due: Time,
    /// A tick that is told once this batch is durable.
    ticking: Option<Seq>,
}

impl Trial {
    /// A store that was never shared with others needs no confirmation.
    pub(super) fn new(sure: bool, now: Time) -> Self {
        let answered = BTreeSet::new();
        Self { sure, answered, until: now + PATIENCE, due: Some(now), tick_due: now + TICK_INTERVAL, ticking: None }
    }

    pub(super) const fn is_sure(&self) -> bool {
        self.sure
    }
}

impl<S: Storage> Node<S> {
    /// Asks who has not answered, and ends the waiting when it is over.
    pub(super) fn life_on_time(&mut self) {
        if self.identity.is_none() {
            return;
        }
        self.settle_trial();
        let now = self.effects.now;
        if self.trial.due.is_some_and(|due| due <= now) {
            let silent: Vec<NodeId> = self.others().filter(|node| !self.trial.answered.contains(node)).collect();
            self.trial.due = None;
            if !silent.is_empty() {
                self.trial.due = Some(now + if self.trial.sure { ASK_LATER } else { ASK_INTERVAL });
            }
            silent.into_iter().for_each(|node| self.tell_life(node));
        }
        if self.trial.tick_due <= now {
            self.trial.tick_due = now + TICK_INTERVAL;
            self.tick();
        }
        if self.trial.ticking.is_some_and(|seq| seq <= self.durable) {
            self.trial.ticking = None;
            let mut others: Vec<NodeId> = self.others().collect();
            self.rng.shuffle(&mut others);
            others.into_iter().take(TICK_FANOUT).for_each(|node| self.tell_life(node));
        }
    }

    pub(super) fn life_wake(&self) -> Option<Time> {
        let patience = Some(self.trial.until).filter(|_| !self.trial.sure && self.was_answered());
        [self.trial.due, patience, Some(self.trial.tick_due)].into_iter().flatten().min()
    }

    /// The other members of the layout.
    fn others(&self) -> impl Iterator<Item = NodeId> {
        self.layout().owners().filter(|node| **node != self.start.node).cloned()
    }

    fn tell_life(&mut self, to: NodeId) {
        let (actor, boot, nonce, tick) = (self.actor(), self.boot, self.nonce, self.ticks);
        self.send(to, NodeMessage::Life { actor, boot, nonce, tick });
    }

    /// Raises the count. A few are told once it is durable; nothing else waits for that.
    fn tick(&mut self) {
        if !self.trial.sure || self.trial.ticking.is_some() || self.layout().len() <= 1 {
            return;
        }
        self.ticks = self.ticks.saturating_add(1).min(TICKS_MAX);
        let batch = self.store_row();
        // The failure is on the trace, and the next tick tries again.
        self.trial.ticking = self.apply(batch).ok();
    }

    /// The layout has members that may not have heard of this life.
    pub(super) fn ask_new_members(&mut self) {
        if self.others().any(|node| !self.trial.answered.contains(&node)) {
            self.trial.due = Some(self.effects.now);
        }
    }

    /// Whether somebody has answered who still counts: whoever did may have left the layout since.
    fn was_answered(&self) -> bool {
        self.others().any(|node| self.trial.answered.contains(&node))
    }

    /// Sure, once somebody has answered and nobody is left to be waited for.
    fn settle_trial(&mut self) {
        if self.trial.sure {
            return;
        }
        let down = |node: &NodeId| self.membership.member(node).is_none_or(|known| !known.member.state.is_present());
        let waited_for = self.others().any(|node| !self.trial.answered.contains(&node) && !down(&node));
        self.trial.sure = self.was_answered() && (!waited_for || self.effects.now >= self.trial.until);
    }

    /// Another member starts, or tells that it goes on.
    pub(super) fn on_life(&mut self, from: &NodeId, actor: ActorId, boot: u64, nonce: u64, tick: u64) {
        if !self.layout().is_owner(from) && self.membership.member(from).is_none() {
            return self.reject(from.clone(), "it asks about its life and is no member".to_string());
        }
        let before = self.lives.get(from).cloned().unwrap_or_default();
        let mut lives = before.clone();
        let verdict = lives.judge(Remembered { actor, boot, nonce: Some(nonce), tick });
        let ticked = before.0.last().is_some_and(|life| life.nonce == Some(nonce));
        if lives != before {
            self.save_lives(from.clone(), lives, !ticked);
        }
        self.send(from.clone(), NodeMessage::LifeAnswer { actor, nonce, verdict });
    }

    pub(super) fn on_life_answer(&mut self, from: &NodeId, actor: ActorId, nonce: u64, verdict: LifeVerdict) {
        // An answer to another process of this store, or from before it got another actor.
        if actor != self.actor() || nonce != self.nonce {
            return;
        }
        match verdict {
            LifeVerdict::Stale { boot } if !self.start.config.has_bug(PlantedBug::TrustOldCopy) => {
                self.begin_life(boot, &alloc::format!("{from} remembers a later life of this store"));
            }
            LifeVerdict::Stale { .. } | LifeVerdict::Confirmed => {
                self.trial.answered.insert(from.clone());
                self.settle_trial();
            }
        }
    }

    /// A shard was shown dots of this store that it never issued, or a layout names others where this store knows none.
    pub(super) fn on_forgotten(&mut self, reason: &str) {
        if !self.start.config.has_bug(PlantedBug::TrustOldCopy) {
            self.begin_life(self.boot, reason);
        }
    }

    /// Goes on as a new store that happens to hold something: under a new actor, and with everything to be pulled.
    fn begin_life(&mut self, boot: u64, reason: &str) {
        self.mint_actor(boot.max(self.boot).saturating_add(1), reason);
        self.trial.sure = true;
        self.show_anew();
    }

    /// Takes a new actor, durably, before anything is issued under it. Every slice is unsynced by that.
    pub(super) fn mint_actor(&mut self, boot: u64, reason: &str) {
        let actor = ActorId(self.rng.u128());
        self.boot = boot.min(TICKS_MAX);
        let reason = String::from(reason);
        self.effects.event_as_cause(|| EventKind::ActorMinted { actor, reason });
        let mut effects = membership::Effects::default();
        self.membership.renew(self.effects.now, actor, self.boot, &mut effects);
        self.save_store();
        self.carry_out(effects);
        self.standing.unsync();
        self.trial.answered.clear();
        self.trial.due = Some(self.effects.now);
        self.effects.push(Output::Shards(ShardEvent(ToShard::Reborn { actor, boot: self.boot })));
    }

    /// What the list of members says of somebody's life is remembered too.
    pub(super) fn hear_of_life(&mut self, member: &Member) {
        if member.node == self.start.node || member.state == State::Left {
            return;
        }
        let mut lives = self.lives.get(&member.node).cloned().unwrap_or_default();
        if lives.hear(member.actor, member.boot) {
            self.save_lives(member.node.clone(), lives, true);
        }
    }

    /// `shown`: what goes out from now on says that it is remembered. A tick alone is not worth a wait.
    fn save_lives(&mut self, node: NodeId, lives: Lives, shown: bool) {
        let known = |node: &NodeId| self.layout().is_owner(node) || self.membership.member(node).is_some();
        let mut batch = Batch::default();
        let forgotten: Vec<NodeId> = self.lives.keys().filter(|of| **of != node && !known(of)).cloned().collect();
        let forgets = !forgotten.is_empty();
        for of in forgotten {
            batch.remove(Space::Meta, rows::life_key(&of));
            self.lives.remove(&of);
        }
        batch.put(Space::Meta, rows::life_key(&node), rows::encode(&lives));
        let actors = |lives: &Lives| lives.0.iter().map(|life| life.actor).collect::<Vec<_>>();
        let new = actors(&lives);
        if self.lives.insert(node, lives).is_none_or(|before| actors(&before) != new) || forgets {
            // Whose store an actor was is part of the picture.
            self.fits = None;
        }
        if shown {
            self.must_apply(batch);
        } else {
            // The failure is on the trace, and the next tick tries again.
            let _ = self.apply(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(actor: u128, boot: u64, nonce: u64, tick: u64) -> Remembered {
        Remembered { actor: ActorId(actor), boot, nonce: Some(nonce), tick }
    }

    /// What is remembered, what asks then, and the boot above which a new actor must begin if it is an old copy.
    #[test]
    fn an_old_copy_and_a_clone_are_found_and_a_restart_is_not() {
        let past = |lives: &[Remembered]| Lives(lives.to_vec());
        let heard = |actor, boot, tick| Remembered { nonce: None, ..life(actor, boot, 0, tick) };
        for (name, lives, asked, stale) in [
            ("the first time", past(&[]), life(1, 5, 1, 3), None),
            ("asked again", past(&[life(1, 5, 1, 3)]), life(1, 5, 1, 3), None),
            ("a late message", past(&[life(1, 5, 1, 3)]), life(1, 5, 1, 2), None),
            ("a restart", past(&[life(1, 5, 1, 3)]), life(1, 6, 2, 3), None),
            ("a restart that had told nobody its last tick", past(&[life(1, 5, 1, 3)]), life(1, 6, 2, 4), None),
            ("a restart that gossip ran ahead of", past(&[heard(1, 6, 3)]), life(1, 6, 2, 3), None),
            ("an emptied store", past(&[life(1, 5, 1, 3)]), life(2, 1, 2, 0), None),
            ("a store that was told to take a new actor", past(&[life(1, 5, 1, 3)]), life(2, 6, 2, 1), None),
            ("a clone", past(&[life(1, 5, 1, 3)]), life(1, 5, 2, 3), Some(5)),
            ("a copy from an earlier boot", past(&[life(1, 5, 1, 3)]), life(1, 4, 2, 1), Some(5)),
            ("a copy from the last boot", past(&[life(1, 5, 1, 3)]), life(1, 6, 2, 2), Some(5)),
            ("such a copy after gossip", past(&[heard(1, 6, 3)]), life(1, 6, 2, 2), Some(6)),
            ("a copy from before a new actor", past(&[life(1, 5, 1, 3), life(2, 6, 2, 0)]), life(1, 7, 3, 3), Some(6)),
            (
                "a copy from before the store was emptied",
                past(&[life(1, 5, 1, 3), life(2, 1, 2, 0)]),
                life(1, 6, 3, 3),
                Some(5),
            ),
            ("a copy with a forgotten actor", past(&[life(2, 6, 2, 0)]), life(1, 3, 3, 0), Some(6)),
        ] {
            let mut lives = lives;
            let before = lives.clone();
            match stale {
                None => {
                    assert_eq!(lives.judge(asked), LifeVerdict::Confirmed, "{name}");
                    assert_eq!(lives.judge(asked), LifeVerdict::Confirmed, "{name}, asked again");
                    let other = Remembered { nonce: Some(77), ..asked };
                    assert!(matches!(lives.judge(other), LifeVerdict::Stale { .. }), "{name}, then a clone of it");
                }
                Some(boot) => {
                    assert_eq!(lives.judge(asked), LifeVerdict::Stale { boot }, "{name}");
                    assert_eq!(lives, before, "{name}: what is stale leaves nothing behind");
                }
            }
        }
    }

    #[test]
    fn only_so_many_actors_are_remembered_and_the_newest_boot_is_among_them() {
        let mut lives = Lives::default();
        assert_eq!(lives.judge(life(1, 100, 1, 0)), LifeVerdict::Confirmed);
        for actor in 2..50 {
            assert_eq!(lives.judge(life(actor, 1, 1, 0)), LifeVerdict::Confirmed);
            assert!(lives.0.len() <= ACTORS_REMEMBERED);
        }
        assert_eq!(lives.judge(life(60, 99, 1, 0)), LifeVerdict::Stale { boot: 100 });
    }
}
