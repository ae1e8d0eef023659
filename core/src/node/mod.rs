//! The control plane of one node: who it is, which cluster it belongs to, who is alive and who owns what; and the shared
//! picture from which its shards route. It never touches an object: data is the shards' affair.
//!
//! Everything it tells others about itself (its incarnation, the layout it has acknowledged) is durable first: while a
//! batch is not, everything that goes out waits behind it.

mod announce;
mod decide;
mod interface;
mod join;
mod layout;
mod life;
mod rows;
mod talk;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::announce::Announcements;
use self::decide::Deciding;
pub use self::decide::Wish;
pub(crate) use self::interface::{FromShard, Identity, ToShard};
pub use self::interface::{Input, NodeEvent, Output, Picture, ShardEvent, Start};
pub use self::join::JoinError;
use self::join::{Introduction, Joining};
use self::layout::Standing;
use self::life::{Lives, Trial};
pub use self::rows::StartError;
pub use self::talk::TalkError;
use crate::causality::ContextSecret;
use crate::effects::{Effects, Outputs};
use crate::event::EventKind;
use crate::gossip::Gossip;
use crate::hash::{SLICES, StableHasher};
use crate::id::{ActorId, Address, ClusterId, NodeId};
use crate::layout::{History, Layout, Progress, Rings};
use crate::membership::{self, Change, ChangeKind, Member, Membership, State};
use crate::message::{AddressBookEntry, Envelope, Message, NodeMessage};
use crate::rng::Rng;
use crate::storage::{Batch, Seq, Storage, StorageError};
use crate::time::Time;

/// The control plane. Give it inputs with [`Node::step`], drain the outputs, carry them out.
#[derive(Clone, Debug)]
pub struct Node<S> {
    start: Start,
    storage: S,
    rng: Rng,
    effects: Effects<Output>,
    identity: Option<Identity>,
    membership: Membership,
    gossip: Gossip,
    announcements: Announcements,
    history: History,
    /// What follows from the history.
    rings: Arc<Rings>,
    standing: Standing,
    deciding: Deciding,
    /// What the shards were shown last; a new picture is shown when this no longer fits.
    shown: Option<u64>,
    /// The members and the rings that this was last seen to fit, by revision and hash.
    fits: Option<(u64, u64)>,
    joining: Joining,
    introductions: Vec<Introduction>,
    /// Tells this process from another one of the same name.
    nonce: u64,
    boot: u64,
    /// Counts the ticks of this store, told to others once durable.
    ticks: u64,
    /// Whether this store is the one that the others remember.
    trial: Trial,
    /// What this node remembers of the stores of the others.
    lives: BTreeMap<NodeId, Lives>,
    holds_data: bool,
    /// What goes out once its batch is durable.
    held: VecDeque<(Seq, Output)>,
    /// The last batch that what goes out depends on.
    applied: Seq,
    durable: Seq,
    /// What [`Node::start`] began; it goes out with the first step.
    begun: Vec<Output>,
}

impl<S: Storage> Node<S> {
    /// Reads what the store remembers, or begins a new one, and joins, returns to or founds a cluster. The first step's
    /// outputs carry out what was begun here: step with [`Input::Timer`] at once.
    ///
    /// # Errors
    /// [`StartError`] when the store cannot be read or written, or belongs to another node or a cluster with another
    /// configuration. Nothing was changed then.
    pub fn start(now: Time, start: Start, storage: S, mut rng: Rng) -> Result<Self, StartError> {
        let rows = rows::Rows::read(&storage, &start, &mut rng)?;
        let me = Member {
            node: start.node.clone(),
            address: start.address.clone(),
            incarnation: rows.incarnation,
            state: State::Alive,
            stopped: false,
            actor: rows.actor,
            boot: rows.boot,
            zone: start.config.zone.clone(),
            weight: start.config.weight,
            tags: start.config.tags.clone(),
        };
        let nonce = rng.u64();
        let membership = Membership::new(me, start.config.timing, rng.fork(), rows.members);
        let gossip = Gossip::new(start.node.clone(), start.config.timing, rng.fork(), start.wall.0);
        let seeds = start.seeds.iter().filter(|seed| **seed != start.address).cloned().collect();
        let history = rows.history.unwrap_or_else(|| History::begin(Layout::default(), &start.config.cluster));
        let mut node = Self {
            effects: Effects::new(start.node.clone(), rows.boot, 0, start.config.trace),
            joining: Joining::new(seeds, now),
            start,
            storage,
            rng,
            identity: rows.identity,
            membership,
            gossip,
            announcements: Announcements::default(),
            rings: history.rings(),
            history,
            standing: Standing::new(now),
            deciding: Deciding::new(rows.acceptor, now),
            shown: None,
            fits: None,
            introductions: Vec::new(),
            nonce,
            boot: rows.boot,
            ticks: rows.ticks,
            // Whoever is alone has nobody to ask, and a new actor.
            trial: Trial::new(rows.minted, now),
            lives: rows.lives,
            holds_data: false,
            held: VecDeque::new(),
            applied: Seq::default(),
            durable: Seq::default(),
            begun: Vec::new(),
        };
        node.effects.begin(now);
        let boot = node.boot;
        node.effects.event_as_cause(|| EventKind::Started { boot });
        node.save_store();
        node.save_members(true);
        node.tell_addresses();
        if rows.minted && node.identity.is_some() {
            node.go_on_alone();
        }
        if node.identity.is_none() && node.joining.seeds.is_empty() {
            node.found();
        }
        node.begun = node.effects.outputs().collect();
        let failed = node.begun.iter().find_map(|output| match output {
            Output::Failed(error) => Some(error.clone()),
            _ => None,
        });
        failed.map_or(Ok(node), |error| Err(StartError::Storage(error)))
    }

    /// Takes one input. Carry out the outputs in their order before the next step.
    ///
    /// # Panics
    /// When the outputs of the step before were not drained, or time goes back.
    pub fn step(&mut self, now: Time, input: Input) -> Outputs<'_, Output> {
        self.effects.begin(now);
        for output in core::mem::take(&mut self.begun) {
            self.effects.push(output);
        }
        match input {
            Input::Message { from, envelope } => self.on_message(from, envelope),
            Input::Timer => {}
            Input::Durable { upto } => self.durable = self.durable.max(upto),
            Input::Shard(event) => self.on_shard(event.0),
            Input::Introduce { token, address } => self.introduce(token, address),
            Input::Wish { token, wish } => self.wish(token, wish),
            Input::Leave { token } => self.leave(token),
            Input::Fire { token, name, payload } => self.fire(token, name, payload),
            Input::Ask { token, asked } => self.ask_members(token, asked),
            Input::Answer { token, asker, id, payload } => self.answer_question(token, &asker, id, payload),
            Input::Stop => self.say_goodbye(),
        }
        self.on_time();
        self.show_picture();
        self.finish();
        self.effects.outputs()
    }

    fn on_message(&mut self, from: NodeId, envelope: Envelope) {
        let kind = envelope.message.kind();
        self.effects.cause = envelope.cause;
        self.effects.detail_as_cause(|| EventKind::Delivered { from: from.clone(), message: kind });
        let Message::Node(message) = envelope.message else {
            return self.reject(from, "a message for a shard came to the control plane".to_string());
        };
        let ours = self.identity.is_some() && envelope.cluster == self.identity.map(|identity| identity.cluster);
        match message {
            NodeMessage::Join(join) => self.on_join(&from, envelope.cluster, *join),
            NodeMessage::Welcome(welcome) => self.on_welcome(&from, *welcome),
            NodeMessage::Refused { reason } => self.on_refused(&from, reason),
            NodeMessage::Invite { address } => self.on_invite(&from, envelope.cluster, address),
            NodeMessage::Membership(message) if ours => {
                let mut effects = membership::Effects::default();
                let now = self.effects.now;
                match self.membership.handle(now, &from, message, &mut effects) {
                    Ok(()) => self.carry_out(effects),
                    Err(error) => self.reject(from, error.to_string()),
                }
            }
            NodeMessage::Layout(news) if ours => self.on_layout(&from, &news),
            NodeMessage::LayoutDigest(digest) if ours => self.on_layout_digest(&from, &digest),
            NodeMessage::Decision(decision) if ours => self.on_decision(&from, decision),
            NodeMessage::Life { actor, boot, nonce, tick } if ours => self.on_life(&from, actor, boot, nonce, tick),
            NodeMessage::LifeAnswer { actor, nonce, verdict } if ours => {
                self.on_life_answer(&from, actor, nonce, verdict);
            }
            NodeMessage::Gossip(message) if ours => self.on_gossip(from, message),
            NodeMessage::Membership(_)
            | NodeMessage::Layout(_)
            | NodeMessage::LayoutDigest(_)
            | NodeMessage::Decision(_)
            | NodeMessage::Life { .. }
            | NodeMessage::LifeAnswer { .. }
            | NodeMessage::Gossip(_) => {
                self.reject(from, "it belongs to another cluster, or one of us to none yet".to_string());
            }
        }
    }

    fn on_shard(&mut self, event: FromShard) {
        match event {
            // A shard that has not heard yet that this node entered another cluster, or that its store has another actor,
            // speaks of the one before.
            FromShard::Synced { cluster, actor, .. } if self.cluster() != Some(cluster) || self.actor() != actor => {}
            FromShard::Synced { slice, layout, objects, .. } => self.on_slice_synced(slice, layout, objects),
            FromShard::Moved { layout, slices } => self.on_slices_moved(layout, slices),
            FromShard::Cleared { layout, slices, cleared } => self.on_slices_cleared(layout, slices, cleared),
            FromShard::HoldsData => self.holds_data = true,
            FromShard::Forgotten { actor } if actor == self.actor() => {
                self.on_forgotten("another store knows of writes here that this store has forgotten");
            }
            FromShard::Forgotten { .. } => {}
            FromShard::LayoutDiffers(peer) => self.compare_layout(peer),
            FromShard::Conflict { key, siblings } => self.tell_of_conflict(key, siblings),
            FromShard::NoAnswer(peer) => {
                let mut effects = membership::Effects::default();
                self.membership.note_failure(self.effects.now, &peer, &mut effects);
                self.carry_out(effects);
            }
        }
    }

    fn on_time(&mut self) {
        let now = self.effects.now;
        if self.identity.is_some() && self.membership.next_wake().is_some_and(|at| at <= now) {
            let mut effects = membership::Effects::default();
            self.membership.on_timer(now, &mut effects);
            self.carry_out(effects);
        }
        if self.identity.is_some() {
            self.layout_on_time();
        }
        self.life_on_time();
        self.decide_on_time();
        self.join_on_time();
        self.end_introductions();
        self.talk_on_time();
    }

    /// Turns what membership wants into outputs, addresses, events.
    fn carry_out(&mut self, effects: membership::Effects) {
        let membership::Effects { sends, changes, persist } = effects;
        if persist || !changes.is_empty() {
            self.save_members(persist);
        }
        // Of somebody new only the newcomer tells: what came to pass before this node heard of it is no news.
        let mut met = None;
        for change in changes {
            if change.kind == ChangeKind::Joined {
                met = Some(change.node.clone());
            } else if met.as_ref() != Some(&change.node) {
                self.tell_of_member(&change);
            }
            self.note_change(change);
        }
        for (to, message) in sends {
            self.send(to, NodeMessage::Membership(message));
        }
    }

    fn note_change(&mut self, change: Change) {
        if let Some(known) = self.membership.member(&change.node).filter(|_| change.node != self.start.node) {
            let member = known.member.clone();
            let entry = AddressBookEntry { node: member.node.clone(), address: member.address.clone() };
            self.effects.push(Output::Address(entry));
            self.note_introduced(&member);
            self.hear_of_life(&member);
        }
        self.effects.event(|| EventKind::MemberChanged { change });
    }

    fn say_goodbye(&mut self) {
        self.effects.event_as_cause(|| EventKind::Stopped);
        if self.identity.is_some() {
            let mut effects = membership::Effects::default();
            self.membership.stop(self.effects.now, &mut effects);
            self.carry_out(effects);
        }
    }

    /// Has the shards shown a picture again, whatever they were shown.
    const fn show_anew(&mut self) {
        self.shown = None;
        self.fits = None;
    }

    /// Shows the shards a new picture where the old one no longer fits; none before this store is sure of itself.
    fn show_picture(&mut self) {
        let Some(identity) = self.identity.filter(|_| self.trial.is_sure()) else { return };
        let seen = (self.membership.revision(), self.rings.hash());
        if self.fits.replace(seen) == Some(seen) {
            return;
        }
        let down: BTreeSet<NodeId> = self
            .membership
            .members()
            .map(|known| &known.member)
            .filter(|member| matches!(member.state, State::Dead | State::Left))
            .map(|member| member.node.clone())
            .collect();
        let issuers = self.issuers();
        let mut hasher = StableHasher::new();
        hasher.u64(self.rings.hash());
        down.iter().for_each(|node| hasher.bytes(node.as_str().as_bytes()));
        hasher.u64(0);
        issuers.keys().for_each(|actor| hasher.bytes(&actor.0.to_be_bytes()));
        let content = hasher.finish();
        if self.shown.replace(content) == Some(content) {
            return;
        }
        let picture = Picture {
            me: self.start.node.clone(),
            cluster: identity.cluster,
            secret: ContextSecret(identity.secret),
            config: self.start.config.cluster.clone(),
            rings: self.rings.clone(),
            down,
            issuers,
        };
        self.effects.push(Output::Shards(ShardEvent(ToShard::Picture(Arc::new(picture)))));
    }

    /// Which node's store each actor is or was, as far as it is remembered.
    fn issuers(&self) -> BTreeMap<ActorId, NodeId> {
        let past =
            self.lives.iter().flat_map(|(node, lives)| lives.0.iter().map(move |life| (life.actor, node.clone())));
        let now = self.membership.members().map(|known| (known.member.actor, known.member.node.clone()));
        past.chain(now).collect()
    }

    fn tell_addresses(&mut self) {
        let entries: Vec<AddressBookEntry> = self
            .membership
            .members()
            .map(|known| &known.member)
            .filter(|member| member.node != self.start.node)
            .map(|member| AddressBookEntry { node: member.node.clone(), address: member.address.clone() })
            .collect();
        entries.into_iter().for_each(|entry| self.effects.push(Output::Address(entry)));
    }

    fn send(&mut self, to: NodeId, message: NodeMessage) {
        let message = Message::Node(message);
        let cause = self.effects.detail(|| EventKind::Sent { to: to.clone(), message: message.kind(), key: None });
        let cluster = self.identity.map(|identity| identity.cluster);
        self.effects.push(Output::Send { to, envelope: Envelope { cluster, cause, message } });
    }

    fn contact(&mut self, address: Address, message: NodeMessage) {
        let cluster = self.identity.map(|identity| identity.cluster);
        let envelope = Envelope { cluster, cause: self.effects.cause, message: Message::Node(message) };
        self.effects.push(Output::Contact { address, envelope });
    }

    fn reject(&mut self, from: NodeId, reason: String) {
        self.effects.event(|| EventKind::Rejected { from, reason });
    }

    /// Writes what nothing that goes out depends on.
    fn apply(&mut self, batch: Batch) -> Result<Seq, StorageError> {
        match self.storage.apply(batch) {
            Ok(seq) => {
                self.effects.push(Output::Sync { upto: seq });
                Ok(seq)
            }
            Err(error) => {
                self.effects.event(|| EventKind::StorageFailed { reason: error.to_string() });
                Err(error)
            }
        }
    }

    /// Writes what this node acts on from now on: what goes out waits for it, and without it the process must not go on.
    fn must_apply(&mut self, batch: Batch) {
        match self.apply(batch) {
            Ok(seq) => self.applied = seq,
            Err(error) => self.effects.push(Output::Failed(error)),
        }
    }

    /// Holds back what goes out until what it shows is durable, and lets go what is.
    fn finish(&mut self) {
        let made: Vec<Output> = self.effects.outputs().collect();
        while self.held.front().is_some_and(|(seq, _)| *seq <= self.durable) {
            let (_, output) = self.held.pop_front().expect("there is a first one");
            self.effects.push(output);
        }
        for output in made {
            match output {
                Output::Event(_) | Output::Sync { .. } | Output::Failed(_) => self.effects.push(output),
                shown if self.applied <= self.durable && self.held.is_empty() => self.effects.push(shown),
                shown => self.held.push_back((self.applied, shown)),
            }
        }
        if let Some(at) = self.next_wake() {
            self.effects.push(Output::Wake { at: at.max(self.effects.now) });
        }
    }

    fn next_wake(&self) -> Option<Time> {
        let member = self.identity.is_some();
        let membership = self.membership.next_wake().filter(|_| member);
        let layout = Some(self.standing.next_wake().min(self.deciding.next_wake())).filter(|_| member);
        let introductions = self.introductions.iter().map(|introduction| introduction.until).min();
        let life = self.life_wake().filter(|_| member);
        let talk = Some(self.talk_wake()).filter(|_| member);
        [membership, layout, life, self.joining.next_wake(), introductions, talk].into_iter().flatten().min()
    }

    /// This node's name.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.start.node
    }

    /// How often this store has been opened.
    #[must_use]
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// Under which name this store issues dots.
    #[must_use]
    pub fn actor(&self) -> ActorId {
        self.membership.me().actor
    }

    /// Its cluster; nothing while it has none.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.identity.map(|identity| identity.cluster)
    }

    /// Who is alive.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Who owns what.
    #[must_use]
    pub const fn rings(&self) -> &Arc<Rings> {
        &self.rings
    }

    /// How far a change of the layout has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.history.progress()
    }

    /// Why it cannot serve yet; nothing if it can.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        if self.identity.is_none() {
            let seeds: Vec<&str> = self.joining.seeds.iter().map(Address::as_str).collect();
            let reason = self.joining.refusal.as_deref().unwrap_or("no seed has answered yet");
            return Some(alloc::format!("it is not yet a member of a cluster ({}: {reason})", seeds.join(", ")));
        }
        if !self.trial.is_sure() {
            return Some("it is asking the other members whether its store is the one that they remember".to_string());
        }
        if self.standing.leaving {
            return Some("it is leaving the cluster, and hands over what it holds".to_string());
        }
        if !self.layout().is_owner(&self.start.node) {
            return Some("it waits for the owners to give it a part of the ring".to_string());
        }
        let synced = self.standing.ever_synced.count_ones();
        if synced < u32::from(SLICES) {
            return Some(alloc::format!("it is pulling what it owns: {synced} of {SLICES} slices are there"));
        }
        let down = |node: &NodeId| self.membership.member(node).is_none_or(|known| known.member.state == State::Dead);
        let live = self.layout().owners().filter(|node| !down(node)).count();
        let replication = self.start.config.cluster.replication;
        let needed = usize::from(replication.r.max(replication.w).get()).min(self.layout().len());
        (live < needed).then(|| alloc::format!("only {live} of the owners are alive, a quorum needs {needed}"))
    }

    /// Its store.
    #[must_use]
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Its store, for a shell whose durability is a call on it.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The store, and the end of this machine: what a crash leaves.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.storage
    }
}
