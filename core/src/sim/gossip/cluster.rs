//! The cluster: processes on one clock. Starts, ends and holds them, divides them, and counts what they say and whom they
//! wrongly call dead.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use super::network::{Happening, Network};
use super::process::{Hold, Place, Process};
use crate::config::Timing;
use crate::id::{ActorId, Address, ClusterId, NodeId, Zone};
use crate::membership::{ChangeKind, Effects, Member, Membership, MembershipMessage, State};
use crate::message::{Envelope, Message, NodeMessage};
use crate::rng::Rng;
use crate::time::Time;

/// Before each message a frame has its length.
const FRAME_HEAD_BYTES: u64 = 4;
/// Between two looks at whether something is so.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What makes a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How many processes there are at first, at least two.
    pub nodes: u32,
    /// Of a million messages, so many are lost.
    pub loss_per_million: u32,
    /// What every draw comes from.
    pub seed: u64,
    /// Whether members are as they are, or plain SWIM to be compared with.
    pub lifeguard: bool,
}

/// What was said and what was wrong, since counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Messages sent, lost ones included.
    pub(super) messages: u64,
    /// Their bytes on the wire.
    pub(super) bytes: u64,
    /// How often somebody who is well has come to believe that somebody else who is well is dead.
    pub(super) false_deaths: u64,
}

/// So many lists of members, and what is between them.
#[derive(Clone, Debug)]
pub struct Cluster {
    setting: Setting,
    now: Time,
    rng: Rng,
    processes: Vec<Process>,
    network: Network,
    pub(super) counters: Counters,
    happenings: u64,
    /// Bytes of a message without what it says.
    envelope_bytes: u64,
}

impl Cluster {
    /// Processes that have known each other for a while.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let mut rng = Rng::labelled(setting.seed, "gossip");
        let network = Network::new(rng.fork(), setting.loss_per_million);
        let processes = Vec::new();
        let (counters, envelope_bytes) = (Counters::default(), envelope_bytes());
        let mut cluster =
            Self { setting, now: Time::ZERO, rng, processes, network, counters, happenings: 0, envelope_bytes };
        let everybody: Vec<Arc<Member>> = (0..setting.nodes).map(|place| Arc::new(record(place, 1))).collect();
        for place in 0..setting.nodes {
            cluster.processes.push(Process::new(name(place)));
            cluster.start(place, everybody.iter().filter(|member| member.node != name(place)).cloned());
        }
        cluster.run(Duration::from_secs(10));
        cluster
    }

    /// The moment it has reached.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Arrivals and wake-ups so far.
    #[must_use]
    pub const fn happenings(&self) -> u64 {
        self.happenings
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some((at, happening)) = self.network.next(until) {
            self.now = at;
            self.happenings += 1;
            match happening {
                Happening::Wake(place) => self.on_wake(place),
                Happening::Arrival { from, to, message } => self.on_arrival(from, to, message),
            }
        }
        self.now = until;
    }

    /// Lets time pass until it is so, or for `bound`; says how long.
    pub(super) fn run_until(&mut self, bound: Duration, is_so: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !is_so(self) && self.now.since(began) < bound {
            self.run(LOOK_INTERVAL);
        }
        self.now.since(began)
    }

    /// Counts from nothing again.
    pub(super) fn count_anew(&mut self) {
        self.counters = Counters::default();
    }

    pub(super) const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(super) fn count(&self) -> Place {
        Place::try_from(self.processes.len()).expect("few processes")
    }

    /// The lists of all who are up.
    pub(super) fn lists(&self) -> impl Iterator<Item = &Membership> {
        self.processes.iter().filter_map(|process| process.membership.as_ref())
    }

    /// Whether everybody else who is up believes this of a process.
    pub(super) fn all_believe(&self, of: Place, belief: impl Fn(Option<State>) -> bool) -> bool {
        let name = name(of);
        let others = self.lists().filter(|list| list.me().node != name);
        others.map(|list| list.member(&name).map(|known| known.member.state)).all(belief)
    }

    /// Starts a process that remembers these.
    fn start(&mut self, place: Place, remembered: impl Iterator<Item = Arc<Member>>) {
        let rng = self.rng.fork();
        let process = self.process(place);
        process.incarnation += 1;
        let me = record(place, process.incarnation);
        let membership = Membership::new(me, Timing::default(), rng, remembered);
        let membership = if self.setting.lifeguard { membership } else { membership.without_lifeguard() };
        self.process(place).membership = Some(membership);
        self.schedule(place);
    }

    /// Starts a process that remembers nobody and lets it join through another one.
    pub(super) fn join(&mut self, place: Place, seed: Place) {
        if place == self.count() {
            self.processes.push(Process::new(name(place)));
        }
        self.start(place, core::iter::empty());
        let own = self.membership(place).me().clone();
        self.call(seed, |list, now, out| list.absorb(now, &name(place), alloc::vec![own], out));
        let list = self.membership(seed).push_pull_state();
        self.call(place, |joiner, now, out| joiner.absorb(now, &name(seed), list, out));
    }

    /// Ends a process without a word.
    pub(super) fn crash(&mut self, place: Place) {
        let process = self.process(place);
        let (incarnation, is_ailing) = (process.incarnation, process.is_ailing);
        *process = Process { incarnation, is_ailing, ..Process::new(process.name.clone()) };
    }

    /// Lets a process leave for good.
    pub(super) fn leave(&mut self, place: Place) {
        self.call(place, Membership::leave);
        self.crash(place);
    }

    /// Divides the processes: each is on the side that is said.
    pub(super) fn divide(&mut self, side: impl Fn(Place) -> u8) {
        for (place, process) in (0..).zip(&mut self.processes) {
            process.side = side(place);
        }
    }

    /// Lets a process, or its input and output, stand still. It no longer counts as one that is well.
    pub(super) fn hold(&mut self, place: Place, hold: Hold) {
        let process = self.process(place);
        process.hold = hold;
        process.is_ailing = true;
    }

    /// Lets it go on. Its late timers fire before it sees what waits: the worst order.
    pub(super) fn release(&mut self, place: Place) {
        let process = self.process(place);
        process.hold = Hold::None;
        let (inbox, outbox) = (core::mem::take(&mut process.inbox), core::mem::take(&mut process.outbox));
        for (to, message) in outbox {
            self.send(place, to, message);
        }
        self.call(place, Membership::on_timer);
        for (from, message) in inbox {
            self.on_arrival(from, place, message);
        }
    }

    pub(super) fn membership(&self, place: Place) -> &Membership {
        let process = self.processes.get(usize::try_from(place).expect("a place fits"));
        process.and_then(|process| process.membership.as_ref()).expect("a process that is up")
    }

    fn process(&mut self, place: Place) -> &mut Process {
        self.processes.get_mut(usize::try_from(place).expect("a place fits")).expect("a process")
    }

    fn on_wake(&mut self, place: Place) {
        let now = self.now;
        let process = self.process(place);
        if process.wake != Some(now) {
            return;
        }
        process.wake = None;
        let wanted = process.membership.as_ref().and_then(Membership::next_wake);
        if process.hold == Hold::Process || wanted.is_none() {
            return;
        }
        if wanted <= Some(now) {
            self.call(place, Membership::on_timer);
        } else {
            self.schedule(place);
        }
    }

    fn on_arrival(&mut self, from: Place, to: Place, message: MembershipMessage) {
        let process = self.process(to);
        if process.hold != Hold::None {
            process.inbox.push((from, message));
        } else if process.membership.is_some() {
            let sender = self.process(from).name.clone();
            self.call(to, |list, now, out| {
                list.handle(now, &sender, message, out).expect("members keep the rules");
            });
        }
    }

    /// Makes a call to one list and does what it wants.
    fn call(&mut self, place: Place, call: impl FnOnce(&mut Membership, Time, &mut Effects)) {
        let mut out = Effects::default();
        let now = self.now;
        let process = self.process(place);
        let membership = process.membership.as_mut().expect("a process that is up");
        call(membership, now, &mut out);
        if out.persist {
            process.incarnation = membership.me().incarnation;
        }
        let is_well = process.is_well();
        for change in out.changes.iter().filter(|change| is_well && change.kind == ChangeKind::Died) {
            let buried = place_of(&change.node);
            self.counters.false_deaths += u64::from(self.process(buried).is_well());
        }
        for (to, message) in out.sends {
            self.send(place, place_of(&to), message);
        }
        self.schedule(place);
    }

    fn send(&mut self, from: Place, to: Place, message: MembershipMessage) {
        let sender = self.process(from);
        if sender.hold == Hold::Network {
            sender.outbox.push((to, message));
            return;
        }
        let side = sender.side;
        self.counters.messages += 1;
        self.counters.bytes += self.envelope_bytes + wire_bytes(&message);
        if self.process(to).side == side {
            self.network.send(self.now, from, to, message);
        }
    }

    /// Has a process woken when it wants to be. An earlier wake-up that is queued finds out by itself.
    fn schedule(&mut self, place: Place) {
        let process = self.process(place);
        let wanted = process.membership.as_ref().and_then(Membership::next_wake);
        let Some(at) = wanted.filter(|at| process.wake.is_none_or(|queued| *at < queued)) else { return };
        process.wake = Some(at);
        self.network.wake(at, place);
    }
}

/// The list of one member that has just started and knows this many, itself included, and shares nothing with others: what
/// its memory is measured with.
#[must_use]
pub fn list(nodes: u32, place: u32) -> Membership {
    let others = (0..nodes).filter(|other| *other != place).map(|other| record(other, 1));
    let mut list = Membership::new(record(place, 1), Timing::default(), Rng::labelled(place.into(), "list"), others);
    list.on_timer(Time::ZERO, &mut Effects::default());
    list
}

/// The name of a process, from which its number can be read.
fn name(place: Place) -> NodeId {
    NodeId::new(&format!("node-{place:05}")).expect("a good name")
}

fn place_of(node: &NodeId) -> Place {
    let digits = node.as_str().bytes().skip_while(|byte| !byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + Place::from(digit - b'0'))
}

fn record(place: Place, incarnation: u64) -> Member {
    let node = name(place);
    Member {
        address: Address::new(&format!("{node}:8080")).expect("a good address"),
        node,
        incarnation,
        state: State::Alive,
        stopped: false,
        actor: ActorId(u128::from(place)),
        boot: 1,
        zone: Zone::new("default").expect("a good name"),
        weight: NonZeroU16::MIN,
        tags: BTreeMap::new(),
    }
}

/// The size of a message without its envelope. Nothing is written for it.
fn wire_bytes(message: &MembershipMessage) -> u64 {
    let bytes = postcard::experimental::serialized_size(message).expect("messages serialize");
    u64::try_from(bytes).expect("a size fits 64 bits")
}

/// What an envelope and a frame add to every message.
fn envelope_bytes() -> u64 {
    let nothing = MembershipMessage::Gossip { claims: Vec::new() };
    let inside = wire_bytes(&nothing);
    let message = Message::Node(NodeMessage::Membership(nothing));
    let envelope = Envelope { cluster: Some(ClusterId(u128::MAX)), cause: None, message };
    let bytes = postcard::experimental::serialized_size(&envelope).expect("messages serialize");
    u64::try_from(bytes).expect("a size fits 64 bits") - inside + FRAME_HEAD_BYTES
}
