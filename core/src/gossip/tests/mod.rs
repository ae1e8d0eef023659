//! Many nodes on a network that loses, repeats and reorders, with a clock of its own; their lists of members stand still unless a test changes them.

mod events;
mod hostile;
mod questions;

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use bytes::Bytes;

use super::{Effects, Gossip, GossipMessage, Heard, Stamp};
use crate::config::Timing;
use crate::id::{ActorId, Address, EventName, NodeId, Zone};
use crate::membership::{Member, Membership, State};
use crate::rng::Rng;
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a good name")
}

fn event_name(text: &str) -> EventName {
    EventName::new(text).expect("a good name")
}

fn record(place: usize, state: State) -> Member {
    let tags = [("role", if place.is_multiple_of(5) { "web" } else { "data" })];
    Member {
        node: name(&format!("n{place}")),
        address: Address::new(&format!("n{place}:1")).expect("a good address"),
        incarnation: 1,
        state,
        stopped: false,
        actor: ActorId(u128::try_from(place).expect("small")),
        boot: 1,
        zone: Zone::new("z").expect("a good name"),
        weight: NonZeroU16::MIN,
        tags: tags.map(|(name, value)| (String::from(name), String::from(value))).into(),
    }
}

/// The list of one node among so many, of which it believes some dead.
fn members(me: usize, count: usize, dead: &[usize]) -> Membership {
    let state = |place| if dead.contains(&place) { State::Dead } else { State::Alive };
    let others = (0..count).filter(|&place| place != me).map(|place| record(place, state(place))).collect();
    Membership::new(record(me, State::Alive), Timing::default(), Rng::labelled(0, "members"), others)
}

struct Node {
    gossip: Gossip,
    members: Membership,
    heard: Vec<(Time, Heard)>,
}

/// The nodes `n0`, `n1` and so on, and what is between them.
struct World {
    now: Time,
    rng: Rng,
    /// How many of a million messages are lost.
    loss: u32,
    cuts: BTreeSet<(usize, usize)>,
    nodes: Vec<Node>,
    in_flight: BTreeMap<(Time, u64), (usize, usize, GossipMessage)>,
    sent: u64,
    arrivals: u64,
}

impl World {
    fn new(count: usize, seed: u64, loss: u32) -> Self {
        let mut world = Self {
            now: Time::from_ms(1),
            rng: Rng::labelled(seed, "network"),
            loss,
            cuts: BTreeSet::new(),
            nodes: Vec::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            arrivals: 0,
        };
        (0..count).for_each(|place| world.start(place, count));
        world
    }

    /// Starts a node, or starts it again, with nothing remembered.
    fn start(&mut self, place: usize, count: usize) {
        let gossip = Gossip::new(name(&format!("n{place}")), Timing::default(), self.rng.fork(), 1_000);
        let node = Node { gossip, members: members(place, count, &[]), heard: Vec::new() };
        if place == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[place] = node;
        }
    }

    fn cut_off(&mut self, place: usize) {
        for other in 0..self.nodes.len() {
            self.cuts.extend([(place, other), (other, place)]);
        }
    }

    fn call<T>(&mut self, place: usize, call: impl FnOnce(&mut Gossip, Time, &Membership, &mut Effects) -> T) -> T {
        let mut out = Effects::default();
        let node = &mut self.nodes[place];
        let result = call(&mut node.gossip, self.now, &node.members, &mut out);
        node.heard.extend(out.heard.into_iter().map(|heard| (self.now, heard)));
        for (to, message) in out.sends {
            assert_eq!(message.check(), Ok(()), "nobody sends what others must refuse");
            self.sent += 1;
            let to: usize = to.as_str()[1..].parse().expect("a node of this world");
            assert_ne!(to, place, "nobody sends to itself");
            let is_lost = to >= self.nodes.len() || self.cuts.contains(&(place, to)) || self.rng.chance(self.loss);
            // One in twenty arrives twice.
            let times = if is_lost { 0 } else { 1 + u8::from(self.rng.chance(50_000)) };
            for _ in 0..times {
                let latency = Duration::from_millis(self.rng.between(1, 40));
                self.arrivals += 1;
                self.in_flight.insert((self.now + latency, self.arrivals), (place, to, message.clone()));
            }
        }
        result
    }

    fn fire(&mut self, place: usize, text: &str) -> Stamp {
        let payload = Bytes::from(String::from(text));
        self.call(place, |gossip, now, members, out| gossip.fire(now, event_name("deploy"), payload, members, out))
            .expect("told")
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timer = (0..self.nodes.len()).map(|place| (self.nodes[place].gossip.next_wake(), place)).min();
            let message = self.in_flight.keys().next().copied();
            match (message, timer) {
                (Some((at, number)), timer) if at <= end && timer.is_none_or(|(wake, _)| at <= wake) => {
                    self.now = self.now.max(at);
                    let (from, to, message) = self.in_flight.remove(&(at, number)).expect("on its way");
                    let from = name(&format!("n{from}"));
                    let handled = self.call(to, |g, now, members, out| g.handle(now, &from, message, members, out));
                    assert_eq!(handled, Ok(()));
                }
                (_, Some((wake, place))) if wake <= end => {
                    self.now = self.now.max(wake);
                    self.call(place, Gossip::on_timer);
                    let next = self.nodes[place].gossip.next_wake();
                    assert!(next > self.now, "a timer that is due again at once would never end");
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets time pass until it is so, looking every 10 ms; nothing if it takes longer than the bound.
    fn run_until(&mut self, bound: Duration, is_so: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        while !is_so(self) {
            if self.now.since(begin) >= bound {
                return None;
            }
            self.run(Duration::from_millis(10));
        }
        Some(self.now.since(begin))
    }

    /// The events that a node has heard: stamp, and whether late, in the order of hearing.
    fn heard(&self, place: usize) -> impl Iterator<Item = (&Stamp, bool)> {
        self.nodes[place].heard.iter().filter_map(|(_, heard)| match heard {
            Heard::Event { event, is_late } => Some((&event.stamp, *is_late)),
            _ => None,
        })
    }

    fn assert_nothing_heard_twice(&self) {
        for place in 0..self.nodes.len() {
            let all: Vec<_> = self.heard(place).map(|(stamp, _)| stamp).collect();
            let different: BTreeSet<_> = all.iter().collect();
            assert_eq!(all.len(), different.len(), "n{place}");
        }
    }
}
