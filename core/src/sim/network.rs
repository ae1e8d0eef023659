//! The simulated network: how long a message takes, whether it arrives, once or twice, which links are bad. It carries whole
//! messages, may lose, repeat and reorder them, and never changes one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::action;
use crate::event::LossReason;
use crate::id::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::view::LinkView;

/// A node, by its number in the world.
pub(super) type HostIndex = usize;

/// One direction of one link that is not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) cut: bool,
    pub(super) loss_per_million: u32,
    pub(super) latency: Duration,
}

/// What goes over one direction of a link.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    on_its_way: u32,
    /// The latest message that has arrived, by its number.
    arrived: u64,
}

/// What one node sends: by a stream of its own, so that what others send does not shift it.
#[derive(Clone, Debug)]
struct Sender {
    rng: Rng,
    traffic: Vec<Traffic>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives, or would.
    pub(super) due_at: Time,
    /// If it is lost: when, and why.
    pub(super) lost: Option<(Time, LossReason)>,
    /// If it arrives twice: when it does again.
    pub(super) again_at: Option<Time>,
}

/// The network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    setting: action::Network,
    seed: u64,
    links: BTreeMap<(HostIndex, HostIndex), (Time, Link)>,
    senders: Vec<Sender>,
    clients: Rng,
}

impl Network {
    pub(super) fn new(setting: action::Network, seed: u64) -> Self {
        let clients = Rng::labelled(seed, "network of clients");
        Self { setting, seed, links: BTreeMap::new(), senders: Vec::new(), clients }
    }

    /// Connects one more node, whose number is the count of those before it.
    pub(super) fn connect(&mut self, node: &NodeId) {
        let rng = Rng::labelled(self.seed, &alloc::format!("network of {node}"));
        self.senders.push(Sender { rng, traffic: Vec::new() });
    }

    /// The time that a message between a client and a node takes.
    pub(super) fn client_latency(&mut self) -> Duration {
        latency(&self.setting, &mut self.clients)
    }

    /// Decides what becomes of a message between two nodes. Every message draws as many numbers, so that a fault on one
    /// link does not shift what happens on the others.
    pub(super) fn send(&mut self, now: Time, from: HostIndex, to: HostIndex) -> Fate {
        let link = self.links.get(&(from, to)).map(|(_, link)| *link).unwrap_or_default();
        let setting = self.setting;
        let sender = &mut self.senders[from];
        let latency = latency(&setting, &mut sender.rng) + link.latency;
        let (network, lossy) = (sender.rng.below(1_000_000), sender.rng.below(1_000_000));
        let again = sender.rng.chance(setting.duplicate_per_million);
        let again_after = self::latency(&setting, &mut sender.rng) + link.latency;
        let full = sender.traffic_to(to).on_its_way >= setting.link_messages_max;
        let reason = if link.cut {
            Some(LossReason::Cut)
        } else if network < u64::from(setting.loss_per_million) || lossy < u64::from(link.loss_per_million) {
            Some(LossReason::Loss)
        } else if full {
            Some(LossReason::Full)
        } else {
            None
        };
        let due_at = now + latency;
        let lost = reason.map(|reason| (now + latency / 2, reason));
        let again_at = (again && lost.is_none()).then(|| now + again_after);
        if lost.is_none() {
            sender.traffic_to(to).on_its_way += 1 + u32::from(again_at.is_some());
        }
        Fate { due_at, lost, again_at }
    }

    /// A message has got to the end of its link; says whether a later one overtook it.
    pub(super) fn arrived(&mut self, from: HostIndex, to: HostIndex, number: u64) -> bool {
        let traffic = self.senders[from].traffic_to(to);
        traffic.on_its_way -= 1;
        let overtaken = number < traffic.arrived;
        traffic.arrived = traffic.arrived.max(number);
        overtaken
    }

    /// The most messages that are on their way over one direction of one link.
    pub(super) fn longest_queue(&self) -> u32 {
        self.senders.iter().flat_map(|sender| &sender.traffic).map(|traffic| traffic.on_its_way).max().unwrap_or(0)
    }

    pub(super) fn is_cut(&self, from: HostIndex, to: HostIndex) -> bool {
        !self.links.is_empty() && self.links.get(&(from, to)).is_some_and(|(_, link)| link.cut)
    }

    /// Whether every link is as it was at the beginning.
    pub(super) fn is_healed(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether it loses, delays and repeats nothing anywhere.
    pub(super) fn is_calm(&self) -> bool {
        let setting = &self.setting;
        self.is_healed()
            && setting.loss_per_million == 0
            && setting.duplicate_per_million == 0
            && setting.tail_per_million == 0
    }

    /// From now on it loses, delays and repeats nothing anywhere.
    pub(super) fn calm(&mut self) {
        self.links.clear();
        self.setting.loss_per_million = 0;
        self.setting.duplicate_per_million = 0;
        self.setting.tail_per_million = 0;
    }

    /// Changes one direction of one link; says whether it was otherwise before.
    pub(super) fn set_link(&mut self, now: Time, from: HostIndex, to: HostIndex, link: Link) -> bool {
        let before = self.links.get(&(from, to)).map(|(_, link)| *link).unwrap_or_default();
        if link == Link::default() {
            self.links.remove(&(from, to));
        } else {
            self.links.insert((from, to), (now, link));
        }
        before != link
    }

    pub(super) fn heal(&mut self) {
        self.links.clear();
    }

    pub(super) fn views(&self, name: impl Fn(HostIndex) -> NodeId) -> Vec<LinkView> {
        let view = |(&(from, to), (since, link)): (&(HostIndex, HostIndex), &(Time, Link))| LinkView {
            from: name(from),
            to: name(to),
            cut: link.cut,
            loss_per_million: link.loss_per_million,
            since: *since,
        };
        self.links.iter().map(view).collect()
    }
}

impl Sender {
    fn traffic_to(&mut self, to: HostIndex) -> &mut Traffic {
        if self.traffic.len() <= to {
            self.traffic.resize(to + 1, Traffic::default());
        }
        &mut self.traffic[to]
    }
}

/// Most messages take about as long as the others; a few take much longer.
fn latency(setting: &action::Network, rng: &mut Rng) -> Duration {
    let ns = |span: Duration| u64::try_from(span.as_nanos()).expect("a latency of less than 500 years");
    let (low, high) = (ns(setting.latency_min), ns(setting.latency_max));
    let usual = rng.between(low.min(high), low.max(high));
    let late = rng.chance(setting.tail_per_million);
    let longer = rng.between(0, ns(setting.tail_max));
    Duration::from_nanos(if late { usual + longer } else { usual })
}

#[cfg(test)]
mod tests {
    use super::super::node_name;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn network(setting: action::Network) -> Network {
        let mut network = Network::new(setting, 1);
        (0..3).for_each(|index| network.connect(&node_name(index)));
        network
    }

    /// What became of many messages from the first node to the second: lost by reason, repeated, longest, overtaken.
    fn send(network: &mut Network, messages: u64) -> (Vec<LossReason>, usize, Duration, usize) {
        let mut fates = Vec::new();
        for number in 0..messages {
            fates.push((number, network.send(Time::from_ms(number), 0, 1)));
        }
        let lost = fates.iter().filter_map(|(_, fate)| fate.lost.map(|(_, reason)| reason)).collect();
        let again = fates.iter().filter(|(_, fate)| fate.again_at.is_some()).count();
        let longest = fates.iter().map(|(number, fate)| fate.due_at.since(Time::from_ms(*number))).max();
        let mut arriving: Vec<_> = fates.iter().filter(|(_, fate)| fate.lost.is_none()).collect();
        arriving.sort_by_key(|(_, fate)| fate.due_at);
        let overtaken = arriving.into_iter().filter(|(number, _)| network.arrived(0, 1, *number)).count();
        (lost, again, longest.expect("there are some"), overtaken)
    }

    #[test]
    fn a_network_as_it_should_be_delivers_everything_once_within_its_latency() {
        let mut network = network(action::Network::default());
        let (lost, again, longest, overtaken) = send(&mut network, 1_000);
        assert_eq!((lost.len(), again), (0, 0));
        assert!(longest <= Duration::from_millis(8) && overtaken > 0, "latencies are independent");
    }

    #[test]
    fn every_fault_does_what_it_says() {
        let fault = |change: fn(&mut action::Network)| {
            let mut setting = action::Network::default();
            change(&mut setting);
            send(&mut network(setting), 1_000)
        };
        let (lost, ..) = fault(|network| network.loss_per_million = 100_000);
        assert!((50..150).contains(&lost.len()) && lost.iter().all(|reason| *reason == LossReason::Loss));
        let (_, again, ..) = fault(|network| network.duplicate_per_million = 100_000);
        assert!((50..150).contains(&again));
        let (_, _, longest, _) = fault(|network| (network.tail_per_million, network.tail_max) = (10_000, HOUR));
        assert!(longest > HOUR / 4);
        let (lost, ..) = fault(|network| network.link_messages_max = 10);
        assert_eq!((lost.len(), lost.iter().all(|reason| *reason == LossReason::Full)), (990, true));
    }

    #[test]
    fn a_bad_link_is_bad_in_one_direction_and_shifts_nothing_elsewhere() {
        let link = |link: Link| {
            let mut network = network(action::Network::default());
            assert!(network.set_link(Time::ZERO, 0, 1, link));
            assert!(!network.set_link(Time::ZERO, 0, 1, link), "that changes nothing");
            let there = network.send(Time::ZERO, 0, 1);
            let (back, aside) = (network.send(Time::ZERO, 1, 0), network.send(Time::ZERO, 0, 2));
            let mut good = self::network(action::Network::default());
            good.send(Time::ZERO, 0, 1);
            assert_eq!((back, aside), (good.send(Time::ZERO, 1, 0), good.send(Time::ZERO, 0, 2)));
            there
        };
        let cut = link(Link { cut: true, ..Link::default() });
        assert_eq!(cut.lost.map(|(_, reason)| reason), Some(LossReason::Cut));
        let lossy = link(Link { loss_per_million: 1_000_000, ..Link::default() });
        assert_eq!(lossy.lost.map(|(_, reason)| reason), Some(LossReason::Loss));
        assert!(link(Link { latency: HOUR, ..Link::default() }).due_at > Time::ZERO + HOUR);
    }
}
