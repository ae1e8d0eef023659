//! A small deterministic world for memberships alone: a virtual clock, latency, loss, one-way cuts, crashes, pauses.
//! Nothing in it knows how the protocol works, but it checks at every send that nobody speaks for another.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use crate::config::Timing;
use crate::id::{ActorId, Address, NodeId, Zone};
use crate::membership::{
    Change, ChangeKind, Effects, Member, Membership, MembershipMessage, SYNC_BYTES_MAX, SYNC_MEMBERS_MAX, State,
};
use crate::rng::Rng;
use crate::time::Time;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a good name")
}

/// The record of a new node.
pub(super) fn record(node: &NodeId, incarnation: u64) -> Member {
    Member {
        node: node.clone(),
        address: Address::new(&format!("{node}:8080")).expect("a good address"),
        incarnation,
        state: State::Alive,
        stopped: false,
        actor: ActorId(7),
        boot: 1,
        zone: Zone::new("default").expect("a good name"),
        weight: NonZeroU16::MIN,
        tags: BTreeMap::new(),
    }
}

pub(super) fn in_state(node: &NodeId, incarnation: u64, state: State) -> Member {
    Member { state, ..record(node, incarnation) }
}

/// What a process leaves behind on its disk.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) incarnation: u64,
    pub(super) members: Vec<Member>,
    pub(super) boot: u64,
}

pub(super) struct Process {
    pub(super) node: NodeId,
    pub(super) membership: Option<Membership>,
    pub(super) disk: Disk,
    paused: bool,
    /// Cut off from its connections: what it sends and is sent waits, while its timers run.
    blocked: bool,
    inbox: Vec<(NodeId, MembershipMessage)>,
    outbox: Vec<(NodeId, MembershipMessage)>,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) rng: Rng,
    pub(super) processes: Vec<Process>,
    /// What every process noticed: when, at whom, what.
    pub(super) changes: Vec<(Time, NodeId, Change)>,
    /// Lost messages in a million.
    pub(super) loss: u32,
    /// Shortest and longest way of a message.
    pub(super) latency_ms: (u64, u64),
    pub(super) messages_sent: u64,
    timing: Timing,
    in_flight: BTreeMap<(Time, u64), (NodeId, usize, MembershipMessage)>,
    sent: u64,
    cuts: BTreeSet<(usize, usize)>,
    /// The highest incarnation that each node ever gave itself.
    shown: BTreeMap<NodeId, u64>,
}

impl World {
    /// So many nodes that have just joined through the first one.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut world = Self {
            now: Time::from_ms(1_000),
            rng: Rng::labelled(seed, "world"),
            processes: Vec::new(),
            changes: Vec::new(),
            loss: 0,
            latency_ms: (1, 5),
            messages_sent: 0,
            timing: Timing::default(),
            in_flight: BTreeMap::new(),
            sent: 0,
            cuts: BTreeSet::new(),
            shown: BTreeMap::new(),
        };
        for _ in 0..count {
            world.add();
        }
        world
    }

    /// So many nodes that have known each other for a while.
    pub(super) fn settled(count: usize, seed: u64) -> Self {
        let mut world = Self::new(count, seed);
        let joined = world.run_until(60 * SECOND, Self::all_agree_alive);
        assert!(joined.is_some(), "{count} nodes must become one cluster within a minute");
        world.run(ms(10_000 + seed * 137 % 5_000));
        world.changes.clear();
        world
    }

    /// Starts a node and lets it join through the first one that runs.
    pub(super) fn add(&mut self) -> usize {
        let place = self.processes.len();
        let node = name(&format!("node-{place:03}"));
        self.processes.push(Process {
            node,
            membership: None,
            disk: Disk::default(),
            paused: false,
            blocked: false,
            inbox: Vec::new(),
            outbox: Vec::new(),
        });
        self.start(place);
        if let Some(seed) = (0..place).find(|&seed| self.processes[seed].membership.is_some()) {
            self.join(place, seed);
        }
        place
    }

    /// Starts a process from what its disk holds.
    pub(super) fn start(&mut self, place: usize) {
        let rng = self.rng.fork();
        let process = &mut self.processes[place];
        assert!(process.membership.is_none(), "already running");
        process.disk.boot += 1;
        process.disk.incarnation += 1;
        let me = Member { boot: process.disk.boot, ..record(&process.node, process.disk.incarnation) };
        process.membership = Some(Membership::new(me, self.timing, rng, process.disk.members.clone()));
        self.wake(place);
    }

    /// Introduces a node to a seed, as the join request of a node does: each is given the other's list.
    pub(super) fn join(&mut self, place: usize, seed: usize) {
        let own = alloc::vec![self.membership(place).me().clone()];
        let joiner = self.processes[place].node.clone();
        self.call(seed, |membership, now, out| membership.absorb(now, &joiner, own, out));
        let list = self.membership(seed).push_pull_state();
        let seed = self.processes[seed].node.clone();
        self.call(place, |membership, now, out| membership.absorb(now, &seed, list, out));
    }

    /// Ends a process without a word.
    pub(super) fn kill(&mut self, place: usize) {
        let process = &mut self.processes[place];
        process.membership = None;
        process.paused = false;
        process.blocked = false;
        process.inbox.clear();
        process.outbox.clear();
    }

    /// Stops a process tidily.
    pub(super) fn stop(&mut self, place: usize) {
        self.call(place, Membership::stop);
        self.kill(place);
    }

    /// Lets a process stand still: its timers do not run and its messages wait.
    pub(super) fn pause(&mut self, place: usize) {
        self.processes[place].paused = true;
    }

    /// Lets it go on. Its late timers run before it sees what waits: the worst order.
    pub(super) fn resume(&mut self, place: usize) {
        self.processes[place].paused = false;
        self.wake(place);
        for (from, message) in core::mem::take(&mut self.processes[place].inbox) {
            self.deliver(&from, place, message);
        }
    }

    /// Holds back what a process sends and is sent, while its timers run: a process whose input and output are starved.
    pub(super) fn block(&mut self, place: usize) {
        self.processes[place].blocked = true;
    }

    /// Lets what was held back go its way.
    pub(super) fn unblock(&mut self, place: usize) {
        let process = &mut self.processes[place];
        process.blocked = false;
        let (inbox, outbox) = (core::mem::take(&mut process.inbox), core::mem::take(&mut process.outbox));
        for (to, message) in outbox {
            self.send(place, &to, message);
        }
        for (from, message) in inbox {
            self.deliver(&from, place, message);
        }
    }

    /// Loses everything that one node sends to another.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Separates the first `count` nodes from the others.
    pub(super) fn partition(&mut self, count: usize) {
        for one in 0..count {
            for other in count..self.processes.len() {
                self.cut(one, other);
                self.cut(other, one);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn membership(&self, place: usize) -> &Membership {
        self.processes[place].membership.as_ref().expect("a running process")
    }

    /// What one running node believes of another.
    pub(super) fn state(&self, observer: usize, of: usize) -> Option<State> {
        self.membership(observer).member(&self.processes[of].node).map(|known| known.member.state)
    }

    /// Whether every running node but `of` believes this of it.
    pub(super) fn all_believe(&self, of: usize, state: State) -> bool {
        self.running().filter(|&observer| observer != of).all(|observer| self.state(observer, of) == Some(state))
    }

    /// Whether every running node lists every running node as alive, at the same incarnation.
    pub(super) fn all_agree_alive(&self) -> bool {
        self.running().all(|of| {
            let version = self.membership(of).me().version();
            self.running().all(|observer| {
                let known = self.membership(observer).member(&self.processes[of].node);
                known.is_some_and(|known| known.member.version() == version)
            })
        })
    }

    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.processes.len()).filter(|&place| self.processes[place].membership.is_some())
    }

    pub(super) fn changes_of(&self, kind: ChangeKind) -> impl Iterator<Item = &(Time, NodeId, Change)> {
        self.changes.iter().filter(move |(_, _, change)| change.kind == kind)
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.next().filter(|next| next.at() <= end) {
            self.step(next);
        }
        self.now = end;
    }

    /// Lets time pass until it is so, looking every 10 ms; says how long that took, or nothing if it took longer than
    /// `bound`.
    pub(super) fn run_until(&mut self, bound: Duration, is_so: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        while !is_so(self) {
            if self.now.since(begin) >= bound {
                return None;
            }
            self.run(ms(10));
        }
        Some(self.now.since(begin))
    }

    /// Makes a call to one membership and does what it wants.
    pub(super) fn call(&mut self, place: usize, call: impl FnOnce(&mut Membership, Time, &mut Effects)) {
        let mut out = Effects::default();
        let process = &mut self.processes[place];
        let membership = process.membership.as_mut().expect("a running process");
        call(membership, self.now, &mut out);
        assert!(membership.next_wake().is_none_or(|wake| wake >= self.now), "never woken in the past");
        let own = membership.me().incarnation;
        let shown = self.shown.entry(process.node.clone()).or_default();
        assert!(own <= *shown || out.persist, "an incarnation is made durable before it is shown");
        *shown = own.max(*shown);
        if out.persist {
            process.disk.incarnation = own;
        }
        if !out.changes.is_empty() {
            process.disk.members = membership.push_pull_state();
        }
        let node = process.node.clone();
        self.changes.extend(out.changes.into_iter().map(|change| (self.now, node.clone(), change)));
        for (to, message) in out.sends {
            self.send(place, &to, message);
        }
    }

    pub(super) fn place(&self, node: &NodeId) -> Option<usize> {
        self.processes.iter().position(|process| process.node == *node)
    }

    fn send(&mut self, from: usize, to: &NodeId, message: MembershipMessage) {
        let sender = self.processes[from].node.clone();
        assert_eq!(message.check(&sender), Ok(()), "nobody sends what others must refuse");
        assert!(message.claims().len() <= SYNC_MEMBERS_MAX);
        for claim in message.claims() {
            let shown = self.shown.get(&claim.member.node).copied();
            assert!(
                shown.is_none_or(|shown| claim.member.incarnation <= shown),
                "{sender} speaks for {}: {:?}",
                claim.member.node,
                claim
            );
        }
        if self.processes[from].blocked {
            self.processes[from].outbox.push((to.clone(), message));
            return;
        }
        self.sent += 1;
        self.messages_sent += 1;
        let Some(to) = self.place(to) else { return };
        if self.cuts.contains(&(from, to)) || self.rng.chance(self.loss) {
            return;
        }
        let latency = ms(self.rng.between(self.latency_ms.0, self.latency_ms.1));
        self.in_flight.insert((self.now + latency, self.sent), (sender, to, message));
    }

    fn deliver(&mut self, from: &NodeId, to: usize, message: MembershipMessage) {
        let process = &mut self.processes[to];
        if process.membership.is_none() {
            return;
        }
        if process.paused || process.blocked {
            process.inbox.push((from.clone(), message));
            return;
        }
        self.call(to, |membership, now, out| {
            assert_eq!(membership.handle(now, from, message, out), Ok(()));
        });
    }

    fn wake(&mut self, place: usize) {
        if self.processes[place].membership.is_some() {
            self.call(place, Membership::on_timer);
        }
    }

    fn next(&self) -> Option<Next> {
        let message = self.in_flight.keys().next().map(|(at, number)| Next::Message(*at, *number));
        let awake = self.processes.iter().enumerate().filter(|(_, process)| !process.paused);
        let timers = awake.filter_map(|(place, process)| Some((process.membership.as_ref()?.next_wake()?, place)));
        let timer = timers.min().map(|(at, place)| Next::Timer(at, place));
        message.into_iter().chain(timer).min_by_key(Next::at)
    }

    fn step(&mut self, next: Next) {
        self.now = self.now.max(next.at());
        match next {
            Next::Message(at, number) => {
                let (from, to, message) = self.in_flight.remove(&(at, number)).expect("still on its way");
                self.deliver(&from, to, message);
            }
            Next::Timer(_, place) => self.wake(place),
        }
    }
}

/// What happens next.
enum Next {
    Message(Time, u64),
    Timer(Time, usize),
}

impl Next {
    fn at(&self) -> Time {
        match self {
            Self::Message(at, _) | Self::Timer(at, _) => *at,
        }
    }
}

/// No message of an exchange is larger than its bound by more than one record.
pub(super) fn wire_bytes(message: &MembershipMessage) -> usize {
    let bytes = postcard::to_allocvec(message).expect("messages serialize").len();
    assert!(bytes <= 2 * SYNC_BYTES_MAX, "{bytes} bytes");
    bytes
}
