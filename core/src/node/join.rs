//! How a node comes into a cluster: it founds one, asks to join one, returns to its own, or is introduced. A node with
//! seeds that do not answer goes on asking and never founds; two clusters never become one by accident.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::life::Trial;
use super::rows::ConfigText;
use super::{Identity, Node, Output, ShardEvent, ToShard};
use crate::event::EventKind;
use crate::id::{Address, ClusterId, NodeId, Token};
use crate::layout::{Change, History, Layout, Role};
use crate::limits;
use crate::membership::{self, Member};
use crate::message::{JoinRequest, NodeMessage, Welcome};
use crate::storage::Storage;
use crate::time::Time;

/// Between two attempts; each asks the next seed.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(250);
/// How long an introduction may take before it is given up.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Introductions under way; the next one is refused.
const INTRODUCTIONS_MAX: usize = 64;

/// Why a node did not become a member. Neither cluster was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It, or this node, said no.
    #[error("{0}")]
    Refused(String),
    /// It did not answer.
    #[error("nobody at {0} became a member within 5 s: is a node listening there?")]
    NoAnswer(Address),
    /// This node has no cluster itself, or too many introductions are under way.
    #[error("{0}")]
    NotNow(&'static str),
}

/// How far this node's own asking has come.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) seeds: Vec<Address>,
    /// Why the last one that answered said no.
    pub(super) refusal: Option<String>,
    turn: usize,
    /// When to ask the next one; nothing once a member let us in.
    due: Option<Time>,
}

impl Joining {
    pub(super) fn new(seeds: Vec<Address>, now: Time) -> Self {
        let due = if seeds.is_empty() { None } else { Some(now) };
        Self { seeds, refusal: None, turn: 0, due }
    }

    pub(super) const fn next_wake(&self) -> Option<Time> {
        self.due
    }
}

/// A node that an operator introduced and that has not come in yet.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    token: Token,
    address: Address,
    pub(super) until: Time,
}

impl<S: Storage> Node<S> {
    /// Begins a cluster of this node alone.
    pub(super) fn found(&mut self) {
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        let identity = Identity { cluster: ClusterId(self.rng.u128()), secret };
        let config = &self.start.config;
        let node = self.start.node.clone();
        let role = Role::of(node.clone(), config.zone.clone(), config.weight, self.actor());
        let layout = Layout::founded_by(node, role, &config.cluster);
        self.begin_history(History::begin(layout, &self.start.config.cluster));
        self.save_identity(identity);
        self.effects.event_as_cause(|| EventKind::Founded { cluster: identity.cluster });
        self.effects.push(Output::Shards(ShardEvent(ToShard::Founded(self.rings.id))));
        self.tell_of_joining();
    }

    /// Comes back to a cluster of this node alone, under a new actor: what its store lacks does not exist.
    pub(super) fn go_on_alone(&mut self) {
        let actor = self.actor();
        let reason = String::from("nobody but this store knows what it issued before");
        self.effects.event_as_cause(|| EventKind::ActorMinted { actor, reason });
        let readmit = Change::Readmit { node: self.start.node.clone(), store: actor };
        // The only owner is the majority; where it was none, it waits to be let in.
        if let Ok(layout) = self.layout().with(&[readmit], &self.start.config.cluster) {
            self.history.follow(layout, &self.start.config.cluster);
            self.layout_changed();
            self.effects.push(Output::Shards(ShardEvent(ToShard::Founded(self.rings.id))));
        }
    }

    pub(super) fn join_on_time(&mut self) {
        let now = self.effects.now;
        if self.joining.due.is_none_or(|due| due > now) {
            return;
        }
        let Some(seed) = self.joining.seeds.get(self.joining.turn % self.joining.seeds.len().max(1)).cloned() else {
            self.joining.due = None;
            return;
        };
        self.joining.turn += 1;
        self.joining.due = Some(now + ATTEMPT_INTERVAL);
        self.ask(seed);
    }

    fn ask(&mut self, address: Address) {
        let request = JoinRequest {
            member: self.membership.me().clone(),
            nonce: self.nonce,
            sent_to: address.clone(),
            config: self.start.config.cluster.clone(),
            established: self.is_established(),
        };
        self.contact(address, NodeMessage::Join(Box::new(request)));
    }

    /// Whether anything would be lost if this node entered another cluster.
    fn is_established(&self) -> bool {
        self.holds_data || self.membership.members().count() > 1
    }

    pub(super) fn on_join(&mut self, from: &NodeId, cluster: Option<ClusterId>, join: JoinRequest) {
        if join.member.node == self.start.node {
            return self.on_own_name(join);
        }
        let address = join.member.address.clone();
        if *from != join.member.node {
            return self.refuse(from, address, format!("{from} asks in the name of {}", join.member.node));
        }
        if join.config != self.start.config.cluster {
            let (ours, theirs) = (ConfigText(self.start.config.cluster.clone()), ConfigText(join.config));
            return self.refuse(from, address, format!("this cluster has {ours}; {from} was started with {theirs}"));
        }
        if !self.layout().is_owner(from) && self.layout().len() >= limits::MEMBERS_MAX {
            let reason = format!("this cluster has {} nodes, and that is the most it can have", self.layout().len());
            return self.refuse(from, address, reason);
        }
        // Whoever has no cluster itself says nothing: the other one asks again.
        let Some(identity) = self.identity else { return };
        if cluster.is_none_or(|theirs| theirs == identity.cluster) || !join.established {
            return self.welcome(identity, join.member);
        }
        let theirs = cluster.map_or_else(String::new, |id| format!("{id}"));
        if self.is_established() {
            let reason = format!("two clusters with data do not become one: {} here, {theirs} there", identity.cluster);
            return self.refuse(from, address, reason);
        }
        // This node alone has nothing to lose: it asks in turn.
        self.joining = Joining::new(alloc::vec![address], self.effects.now);
    }

    /// A seed that is this node itself is dropped; another process of this name is told so.
    fn on_own_name(&mut self, join: JoinRequest) {
        if join.nonce != self.nonce {
            let (here, there) = (&self.start.address, &join.member.address);
            let reason = format!(
                "the name {} is taken by the node at {here}; give the one at {there} another --node-id",
                self.start.node
            );
            let from = join.member.node.clone();
            return self.refuse(&from, join.member.address, reason);
        }
        self.joining.seeds.retain(|seed| *seed != join.sent_to);
        if self.joining.seeds.is_empty() {
            self.joining.due = None;
            if self.identity.is_none() {
                self.found();
            }
        }
    }

    fn refuse(&mut self, other: &NodeId, address: Address, reason: String) {
        self.effects.event(|| EventKind::JoinRefused { other: other.clone(), reason: reason.clone() });
        self.contact(address, NodeMessage::Refused { reason });
    }

    fn welcome(&mut self, identity: Identity, member: Member) {
        let (node, address) = (member.node.clone(), member.address.clone());
        let mut effects = membership::Effects::default();
        self.membership.absorb(self.effects.now, &node, alloc::vec![member], &mut effects);
        self.carry_out(effects);
        let welcome = Welcome {
            cluster: identity.cluster,
            secret: identity.secret,
            members: self.membership.push_pull_state(),
            layout: self.history.news(),
        };
        self.contact(address, NodeMessage::Welcome(Box::new(welcome)));
    }

    pub(super) fn on_welcome(&mut self, from: &NodeId, welcome: Welcome) {
        let known = self.identity.map(|identity| identity.cluster);
        if self.joining.due.is_none() || (known != Some(welcome.cluster) && known.is_some() && self.is_established()) {
            return self.reject(from.clone(), String::from("a welcome that was not asked for"));
        }
        self.joining.due = None;
        self.joining.refusal = None;
        if known == Some(welcome.cluster) {
            self.learn_layout(&welcome.layout);
        } else {
            self.enter(from, &welcome);
        }
        let mut effects = membership::Effects::default();
        self.membership.absorb(self.effects.now, from, welcome.members, &mut effects);
        self.carry_out(effects);
    }

    /// Becomes a member of a cluster it did not belong to.
    fn enter(&mut self, from: &NodeId, welcome: &Welcome) {
        if self.identity.is_some() {
            // The marks of the cluster before must not count in this one, whatever crashes.
            self.mint_actor(self.boot, "this store enters another cluster");
        }
        self.begin_history(History::from_news(&welcome.layout, &self.start.config.cluster));
        self.trial = Trial::new(true, self.effects.now);
        self.save_identity(Identity { cluster: welcome.cluster, secret: welcome.secret });
        let (cluster, through) = (welcome.cluster, from.clone());
        self.effects.event_as_cause(|| EventKind::JoinedCluster { cluster, through });
        self.effects.push(Output::Shards(ShardEvent(ToShard::Entered)));
        self.tell_of_joining();
    }

    pub(super) fn on_refused(&mut self, from: &NodeId, reason: String) {
        self.effects.event(|| EventKind::JoinRefused { other: from.clone(), reason: reason.clone() });
        let address = self.membership.member(from).map(|known| known.member.address.clone());
        let answered = |introduction: &Introduction| address.as_ref().is_none_or(|at| *at == introduction.address);
        if let Some(index) = self.introductions.iter().position(answered) {
            let introduction = self.introductions.remove(index);
            let result = Err(JoinError::Refused(reason.clone()));
            self.effects.push(Output::Introduced { token: introduction.token, result });
        }
        self.joining.refusal = Some(reason);
    }

    /// An operator introduced a node: invite it, and wait until it is a member.
    pub(super) fn introduce(&mut self, token: Token, address: Address) {
        let refusal = match self.identity {
            None => Some("this node is not a member of a cluster itself yet"),
            Some(_) if self.introductions.len() >= INTRODUCTIONS_MAX => Some("too many introductions are under way"),
            Some(_) => None,
        };
        if let Some(reason) = refusal {
            return self.effects.push(Output::Introduced { token, result: Err(JoinError::NotNow(reason)) });
        }
        let members = self.membership.members().map(|known| &known.member);
        let known = members.filter(|member| member.address == address).map(|member| member.node.clone()).next();
        if let Some(node) = known {
            return self.effects.push(Output::Introduced { token, result: Ok(node) });
        }
        let until = self.effects.now + INTRODUCTION_TIMEOUT;
        self.introductions.push(Introduction { token, address: address.clone(), until });
        self.contact(address, NodeMessage::Invite { address: self.start.address.clone() });
    }

    /// Another cluster's member invites this node: it asks to join, unless it would lose something.
    pub(super) fn on_invite(&mut self, from: &NodeId, cluster: Option<ClusterId>, address: Address) {
        let own = self.identity.map(|identity| identity.cluster);
        let differs = own.is_some() && own != cluster;
        if differs && self.is_established() {
            let show = |id: Option<ClusterId>| id.map_or_else(String::new, |id| format!("{id}"));
            let reason =
                format!("two clusters with data do not become one: {} here, {} there", show(own), show(cluster));
            return self.refuse(from, address, reason);
        }
        self.joining = Joining::new(alloc::vec![address], self.effects.now);
    }

    pub(super) fn note_introduced(&mut self, member: &Member) {
        let found = self.introductions.iter().position(|introduction| introduction.address == member.address);
        if let Some(index) = found {
            let introduction = self.introductions.remove(index);
            self.effects.push(Output::Introduced { token: introduction.token, result: Ok(member.node.clone()) });
        }
    }

    pub(super) fn end_introductions(&mut self) {
        let now = self.effects.now;
        while let Some(index) = self.introductions.iter().position(|introduction| introduction.until <= now) {
            let Introduction { token, address, .. } = self.introductions.remove(index);
            self.effects.push(Output::Introduced { token, result: Err(JoinError::NoAnswer(address)) });
        }
    }
}
