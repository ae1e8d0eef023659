//! Replicas of one key, each beside an oracle that remembers every event one by one: no vectors, no spans, no merging of
//! anything but sets of events.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::causality::{
    Dot, FreshDot, HybridClock, IssueError, Issuer, RequestName, SiblingSet, UpdateError, Version, VersionVector,
};
use quorate_core::id::{ActorId, RequestKey};
use quorate_core::time::WallTime;
use quorate_core::value::Value;

/// Every event that somebody has seen: the explicit causal history.
pub(crate) type History = BTreeSet<Dot>;

/// What a replica knows, in both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) set: SiblingSet,
    pub(crate) history: History,
    /// The events whose versions have been here, and with them their names: of the others only the dot is known.
    met: History,
    /// Those of them that a store which had met them took an overwrite of.
    overwritten: History,
}

/// What a reader has seen, in both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) vector: VersionVector,
    pub(crate) history: History,
}

/// One replica: a store, what of it is on disk, and an actor.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) now: Knowledge,
    on_disk: Knowledge,
    issuer: Issuer,
}

/// The world of one key.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica>,
    /// Every set that was ever sent: it may arrive anywhere, at any time, as often as it likes.
    pub(crate) sent: Vec<Knowledge>,
    /// Every context that was ever read.
    pub(crate) contexts: Vec<Context>,
    /// For each write, the history that its writer had seen.
    seen_by: BTreeMap<Dot, History>,
    versions: BTreeMap<Dot, Version>,
    /// Every dot that was ever issued, for this key or another one.
    issued: BTreeSet<Dot>,
    clock: HybridClock,
    actors: u128,
}

impl World {
    pub(crate) fn new(replicas: usize) -> Self {
        let mut world = Self::default();
        for _ in 0..replicas {
            let issuer = Issuer::new(world.mint_actor());
            let nothing = Knowledge::default();
            world.replicas.push(Replica { now: nothing.clone(), on_disk: nothing, issuer });
        }
        world
    }

    fn mint_actor(&mut self) -> ActorId {
        self.actors += 1;
        // Spread, so that the order of actors is not that of their birth.
        ActorId(self.actors.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    /// A dot that was never issued before; every one is checked.
    fn issue(&mut self, at: usize, floor: u64) -> FreshDot {
        let issuer = &mut self.replicas[at].issuer;
        let fresh = loop {
            match issuer.next(floor) {
                Ok(fresh) => break fresh,
                Err(IssueError::LeaseNeeded { upto }) => issuer.extended(upto),
                Err(IssueError::Exhausted) => panic!("the counters are used up"),
            }
        };
        assert!(self.issued.insert(fresh.dot()), "{:?} was issued twice", fresh.dot());
        fresh
    }

    /// A write of another key of the slice: this key never hears of its dot.
    pub(crate) fn write_elsewhere(&mut self, at: usize) {
        self.issue(at, 0);
    }

    pub(crate) fn read(&mut self, at: usize) -> Context {
        let knowledge = &self.replicas[at].now;
        let context = Context { vector: knowledge.set.context().clone(), history: knowledge.history.clone() };
        self.contexts.push(context.clone());
        context
    }

    /// A write at a replica, by somebody who has seen the context; it is sent to all.
    pub(crate) fn write(&mut self, at: usize, context: &Context, value: Option<&str>) -> Dot {
        self.write_named(at, context, value, None)
    }

    pub(crate) fn write_named(
        &mut self,
        at: usize,
        context: &Context,
        value: Option<&str>,
        request: Option<RequestKey>,
    ) -> Dot {
        if let Some(dot) = request.and_then(|request| self.replicas[at].now.set.find_request(request)) {
            self.send(at);
            return dot;
        }
        let mut vector = context.vector.clone();
        assert!(!self.replicas[at].issuer.clamp(&mut vector), "an honest context covers only what was issued");
        let stamp = self.clock.now(WallTime(1_000));
        let value = value.map(|text| Value::json(text.to_owned()));
        let request = request.map(|key| RequestName::new(key, &vector));
        let version = Version { stamp, value, request };
        let mut floor = 0;
        let dot = loop {
            let fresh = self.issue(at, floor);
            match self.replicas[at].now.set.update(&vector, fresh, version.clone()) {
                Ok(()) => break fresh.dot(),
                Err(UpdateError::Covered { covered_upto, .. }) => floor = covered_upto,
                Err(error @ UpdateError::Limit(_)) => panic!("{error}"),
            }
        };
        let now = &mut self.replicas[at].now;
        now.history.extend(&context.history);
        now.overwritten.extend(&now.met & &context.history);
        now.history.insert(dot);
        now.met.insert(dot);
        self.seen_by.insert(dot, context.history.clone());
        self.versions.insert(dot, version);
        self.send(at);
        dot
    }

    pub(crate) fn send(&mut self, at: usize) {
        self.sent.push(self.replicas[at].now.clone());
    }

    pub(crate) fn deliver(&mut self, message: usize, to: usize) {
        let message = self.sent[message].clone();
        let replica = &mut self.replicas[to];
        replica.issuer.observe(replica.now.set.context(), message.set.context());
        replica.now.set.merge(&message.set).expect("few spans");
        replica.now.history.extend(message.history);
        replica.now.met.extend(message.met);
        replica.now.overwritten.extend(message.overwritten);
    }

    /// What anti-entropy does between two replicas.
    pub(crate) fn exchange(&mut self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.send(from);
            self.deliver(self.sent.len() - 1, to);
        }
    }

    pub(crate) fn converge(&mut self) {
        for _ in 0..2 {
            for other in 1..self.replicas.len() {
                self.exchange(0, other);
            }
        }
    }

    pub(crate) fn sync_disk(&mut self, at: usize) {
        self.replicas[at].on_disk = self.replicas[at].now.clone();
    }

    /// The process dies: what was not on disk is gone here, though others may have it.
    pub(crate) fn crash(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.now = replica.on_disk.clone();
        replica.issuer = Issuer::resume(replica.issuer.actor(), replica.issuer.leased());
    }

    /// The store is lost: an empty one with a new actor takes its place.
    pub(crate) fn wipe(&mut self, at: usize) {
        let actor = self.mint_actor();
        let replica = &mut self.replicas[at];
        replica.now = Knowledge::default();
        replica.on_disk = Knowledge::default();
        replica.issuer = Issuer::new(actor);
    }

    /// This one key is lost, and nobody notices.
    pub(crate) fn forget(&mut self, at: usize) {
        self.replicas[at].now = Knowledge::default();
        self.replicas[at].on_disk = Knowledge::default();
    }

    /// This one key falls back to what is on disk, and nobody notices.
    pub(crate) fn revert(&mut self, at: usize) {
        self.replicas[at].now = self.replicas[at].on_disk.clone();
    }

    /// What the oracle says is live for somebody with this knowledge: the events that no other one of them had seen. Events
    /// of one name are one write: it is gone if any of them was overwritten, and else shows as the greatest.
    fn maximal(&self, knowledge: &Knowledge) -> History {
        let Knowledge { history, met, overwritten, .. } = knowledge;
        let seen: History = history.iter().flat_map(|dot| &self.seen_by[dot]).copied().collect();
        let stands = |dot: &Dot| {
            let Some(name) = self.versions[dot].request else { return true };
            let mut namesakes = met.iter().filter(|other| self.versions[other].request == Some(name));
            namesakes.all(|other| other <= dot && !overwritten.contains(other))
        };
        (history - &seen).into_iter().filter(stands).collect()
    }

    /// Every replica and every message agrees with the oracle, on every dot there ever was.
    #[track_caller]
    pub(crate) fn check(&self) {
        for knowledge in self.replicas.iter().map(|replica| &replica.now).chain(self.sent.last()) {
            self.check_one(knowledge);
        }
    }

    #[track_caller]
    fn check_one(&self, knowledge: &Knowledge) {
        let Knowledge { set, history, .. } = knowledge;
        let live: History = set.live().map(|(dot, _)| dot).collect();
        assert_eq!(live, self.maximal(knowledge), "the siblings are the maximal events of {history:?} in {set:?}");
        for (dot, version) in set.live() {
            assert_eq!(version, &self.versions[&dot]);
        }
        for dot in self.versions.keys() {
            assert_eq!(set.context().covers(*dot), history.contains(dot), "{dot:?} in {set:?}");
            assert_eq!(set.is_covered(*dot), history.contains(dot) && !live.contains(dot));
            assert_eq!(set.contains(*dot), live.contains(dot));
        }
        assert_eq!((set.len(), set.is_empty()), (live.len(), history.is_empty()), "something of every history is live");
    }

    /// The values a reader of this replica is shown.
    pub(crate) fn values(&self, at: usize) -> Vec<String> {
        let text = |value: &Value| String::from_utf8(value.bytes.to_vec()).expect("text");
        let values = self.replicas[at].now.set.values();
        let mut values: Vec<_> =
            values.into_iter().map(|(_, version)| text(version.value.as_ref().expect("no deletion"))).collect();
        values.sort();
        values
    }

    pub(crate) fn live_count(&self, at: usize) -> usize {
        self.replicas[at].now.set.len()
    }

    pub(crate) fn set(&self, at: usize) -> &SiblingSet {
        &self.replicas[at].now.set
    }
}
