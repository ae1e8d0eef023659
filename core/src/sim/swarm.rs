//! The swarm: schedules drawn from seeds, each with its own mix of faults, rates, quorums and timing, so that no two test
//! the same thing (Groce, Zhang, Eide, Chen and Regehr, "Swarm testing", 2012). A schedule that was drawn is explicit; the
//! seed is not needed to run it. Nothing here looks at a world.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::{Action, ClientOperation, DiskFate, DiskFault, LayoutChange, Network, RequestOptions, Setting};
use super::host::node_name;
use super::schedule::{Schedule, Step};
use crate::config::{Placement, Repair, Replication, Timing};
use crate::id::{Key, NodeId, RequestKey};
use crate::rng::Rng;
use crate::time::Time;

/// What a swarm asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Faults everywhere and all the time, all healed at the end: nothing promised may be lost.
    Safety,
    /// Operators change the layout about once a second for a minute, while links are cut, processes killed and clocks set.
    Reconfiguration,
    /// In the last third a core of the nodes is healed for good while the rest stays broken: the core must make progress.
    Liveness,
}

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Partition,
    OneWayCut,
    SlowLink,
    LossyLink,
    Crash,
    PowerFailure,
    Stop,
    Pause,
    SlowProcess,
    SlowControl,
    DiskLost,
    DiskRolledBack,
    BitRot,
    Unreadable,
    Full,
    SlowDisk,
    Clock,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Partition,
        Self::OneWayCut,
        Self::SlowLink,
        Self::LossyLink,
        Self::Crash,
        Self::PowerFailure,
        Self::Stop,
        Self::Pause,
        Self::SlowProcess,
        Self::SlowControl,
        Self::DiskLost,
        Self::DiskRolledBack,
        Self::BitRot,
        Self::Unreadable,
        Self::Full,
        Self::SlowDisk,
        Self::Clock,
    ];

    /// Whether a store loses what it had.
    const fn loses(self) -> bool {
        matches!(self, Self::DiskLost | Self::DiskRolledBack | Self::BitRot)
    }
}

/// How much happens in how much time.
#[derive(Clone, Copy, Debug)]
struct Scale {
    span: Duration,
    operations: u64,
    disturbances: (u64, u64),
    /// Whether every kind of disturbance is used, not only those that the seed chooses.
    all_kinds: bool,
}

const FULL: Scale =
    Scale { span: Duration::from_secs(600), operations: 2_000, disturbances: (32, 64), all_kinds: false };

/// A minute in which the layout never comes to rest.
const RESTLESS: Scale =
    Scale { span: Duration::from_secs(63), operations: 1_500, disturbances: (8, 16), all_kinds: false };

/// Enough to draw every random stream and carry out every kind of fault.
const SHORT: Scale = Scale { span: Duration::from_secs(15), operations: 100, disturbances: (32, 32), all_kinds: true };

/// Names of clients.
const CLIENTS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// Keys that most operations are about.
const HOT_KEYS: u64 = 4;
/// Keys that some operations are about.
const COLD_KEYS: u64 = 60;
/// Most changes of the layout that operators ask for.
const LAYOUT_CHANGES_MAX: u64 = 8;
/// The cluster is left alone for so long, so that it comes together.
const SETTLING: Duration = Duration::from_secs(3);

impl Schedule {
    /// Draws a schedule of 2,000 operations and at least 30 disturbances in ten simulated minutes, on 5 to 7 nodes.
    #[must_use]
    pub fn swarm(seed: u64, mode: Mode) -> Self {
        let scale = if mode == Mode::Reconfiguration { RESTLESS } else { FULL };
        Draw::new(seed, mode, scale).schedule()
    }
}

/// The hash of a short run with every kind of fault that a seed makes: the same natively and in wasm.
#[must_use]
pub fn fingerprint(seed: u64) -> u64 {
    let mut world = Draw::new(seed, Mode::Safety, SHORT).schedule().run();
    let end = world.now() + Duration::from_secs(2);
    world.run_until(end);
    world.hash()
}

/// A schedule being drawn.
struct Draw {
    /// Of everything but operations and faults.
    rng: Rng,
    mode: Mode,
    scale: Scale,
    nodes: Vec<NodeId>,
    setting: Setting,
    steps: Vec<Step>,
    /// Who stays broken for ever.
    broken: Vec<NodeId>,
}

impl Draw {
    fn new(seed: u64, mode: Mode, scale: Scale) -> Self {
        let mut rng = Rng::labelled(seed, "swarm");
        let setting = setting(seed, &mut rng);
        let nodes = (0..setting.nodes).map(node_name).collect();
        Self { rng, mode, scale, nodes, setting, steps: Vec::new(), broken: Vec::new() }
    }

    fn schedule(mut self) -> Schedule {
        if self.mode == Mode::Liveness {
            self.break_for_ever();
        }
        self.disturb();
        self.change_layouts();
        self.operate();
        self.steps.sort_by_key(|step| step.at);
        Schedule { setting: self.setting, steps: self.steps }
    }

    /// When the core is healed for good.
    fn healed_at(&self) -> Time {
        Time::ZERO + self.scale.span / 3 * 2
    }

    fn at(&mut self, at: Time, action: Action) {
        self.steps.push(Step { at, action });
    }

    /// Heals the core, and leaves as many of the others broken as requests to the core survive.
    fn break_for_ever(&mut self) {
        let Replication { n, r, w } = self.setting.replication;
        let most = u64::from(n.get() - r.max(w).get());
        let count = usize::try_from(self.rng.between(most.min(1), most)).expect("few nodes");
        self.rng.shuffle(&mut self.nodes);
        self.broken = self.nodes[..count].to_vec();
        let core = self.nodes[count..].to_vec();
        let healed_at = self.healed_at();
        let before = self.scale.span / 30;
        for node in self.broken.clone() {
            let at = Time(healed_at.0 - self.rng.below(ns(before)));
            let action = match self.rng.below(3) {
                0 => Action::Crash { node, disk: DiskFate::Kept },
                1 => Action::Pause { node },
                _ => Action::Partition { groups: [[node].into()].into() },
            };
            self.at(at, action);
        }
        self.at(healed_at, Action::HealCore { core });
    }

    fn disturb(&mut self) {
        let mut rng = Rng::labelled(self.setting.seed, "faults");
        let mut kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|_| self.scale.all_kinds || rng.chance(500_000)).collect();
        if self.mode == Mode::Reconfiguration {
            kinds = Vec::from([
                Kind::Partition,
                Kind::OneWayCut,
                Kind::Crash,
                Kind::Pause,
                Kind::Clock,
                Kind::PowerFailure,
                // Its shards go on under the old layout after others have left it.
                Kind::SlowControl,
            ]);
        }
        if self.mode == Mode::Liveness {
            // Damage is found by reading: what nobody read before the others broke could not be healed any more.
            kinds.retain(|kind| *kind != Kind::BitRot);
        }
        if kinds.len() < 4 {
            kinds.extend([Kind::Crash, Kind::Partition, Kind::Pause, Kind::OneWayCut]);
        }
        let (least, most) = self.scale.disturbances;
        for number in 0..rng.between(least, most) {
            let drawn = *rng.pick(&kinds).expect("there are some");
            let kind = if self.scale.all_kinds { nth(&kinds, number) } else { drawn };
            self.disturbance(kind, &mut rng);
        }
        if self.mode == Mode::Safety && rng.chance(250_000) {
            let at = Time::ZERO + SETTLING + Duration::from_nanos(rng.below(ns(self.scale.span / 2)));
            self.at(at, Action::Add);
        }
    }

    /// One disturbance from its beginning to its end.
    fn disturbance(&mut self, kind: Kind, rng: &mut Rng) {
        let last = match self.mode {
            Mode::Safety | Mode::Reconfiguration => self.scale.span,
            // What is lost must be pulled again before others go for ever.
            Mode::Liveness if kind.loses() => self.scale.span / 3,
            Mode::Liveness => self.scale.span / 2,
        };
        let begin = Time::ZERO + SETTLING + Duration::from_nanos(rng.below(ns(last - SETTLING)));
        // Most are short, some are long.
        let longest = ns(self.scale.span / 15);
        let lasts = rng.below(longest).min(rng.below(longest)).max(ns(Duration::from_millis(100)));
        let end = begin + Duration::from_nanos(lasts);
        let node = rng.pick(&self.nodes).expect("a world has nodes").clone();
        let other = rng.pick(&self.nodes).expect("a world has nodes").clone();
        let (from, to) = (node.clone(), other);
        let nothing = Duration::ZERO;
        let mended =
            Action::Link { from: from.clone(), to: to.clone(), cut: false, loss_per_million: 0, latency: nothing };
        let restart = Action::Restart { node: node.clone() };
        let disk = |fault| Action::Disk { node: node.clone(), fault };
        let ms = |rng: &mut Rng, low, high| Duration::from_millis(rng.between(low, high));
        let (begins, ends) = match kind {
            Kind::Partition => {
                let side = self.nodes.iter().filter(|_| rng.chance(400_000)).cloned().collect();
                (Action::Partition { groups: [side].into() }, Action::Heal)
            }
            Kind::OneWayCut => (Action::Link { from, to, cut: true, loss_per_million: 0, latency: nothing }, mended),
            Kind::SlowLink => {
                let latency = ms(rng, 20, 2_000);
                (Action::Link { from, to, cut: false, loss_per_million: 0, latency }, mended)
            }
            Kind::LossyLink => {
                let loss_per_million = small(rng.between(50_000, 600_000));
                (Action::Link { from, to, cut: false, loss_per_million, latency: nothing }, mended)
            }
            Kind::Crash => (Action::Crash { node, disk: DiskFate::Kept }, restart),
            Kind::PowerFailure => {
                for node in self.nodes.clone() {
                    let back = end + ms(rng, 0, 2_000);
                    self.at(back, Action::Restart { node });
                }
                (Action::PowerFailure, restart)
            }
            Kind::Stop => (Action::Stop { node }, restart),
            Kind::Pause => (Action::Pause { node: node.clone() }, Action::Resume { node }),
            Kind::SlowProcess => {
                (Action::Slow { node: node.clone(), by: ms(rng, 5, 1_500) }, Action::Slow { node, by: nothing })
            }
            Kind::SlowControl => (
                Action::SlowControl { node: node.clone(), by: ms(rng, 50, 3_000) },
                Action::SlowControl { node, by: nothing },
            ),
            Kind::DiskLost => (Action::Crash { node, disk: DiskFate::Lost }, restart),
            Kind::DiskRolledBack => {
                let copied = Time(rng.between((Time::ZERO + SETTLING).0, begin.0));
                self.at(copied, disk(DiskFault::Copied));
                (Action::Crash { node, disk: DiskFate::RolledBack }, restart)
            }
            Kind::BitRot => (disk(DiskFault::Rot), disk(DiskFault::Rot)),
            Kind::Unreadable => (disk(DiskFault::Unreadable), disk(DiskFault::Healthy)),
            Kind::Full => (disk(DiskFault::Full), disk(DiskFault::Healthy)),
            Kind::SlowDisk => (disk(DiskFault::Slow { sync_max: ms(rng, 50, 3_000) }), disk(DiskFault::Healthy)),
            Kind::Clock => {
                let jump_ms = i64::try_from(rng.below(600_000)).expect("ten minutes") - 300_000;
                let drift_ppm = i32::try_from(rng.below(20_000)).expect("two percent") - 10_000;
                (
                    Action::Clock { node: node.clone(), jump_ms, drift_ppm },
                    Action::Clock { node, jump_ms: 0, drift_ppm: 0 },
                )
            }
        };
        self.at(begin, begins);
        self.at(end, ends);
    }

    /// What operators do to the layout, in most runs.
    fn change_layouts(&mut self) {
        let mut rng = Rng::labelled(self.setting.seed, "operators");
        let restless = self.mode == Mode::Reconfiguration;
        if !restless && !self.scale.all_kinds && rng.chance(300_000) {
            return;
        }
        let last = if self.mode == Mode::Liveness { self.scale.span / 2 } else { self.scale.span };
        let room = ns(last - SETTLING);
        let changes = if restless { room / ns(Duration::from_secs(1)) } else { rng.between(1, LAYOUT_CHANGES_MAX) };
        for _ in 0..changes {
            let at = Time::ZERO + SETTLING + Duration::from_nanos(rng.below(room));
            self.change_layout(at, &mut rng);
        }
        if restless {
            self.remove_the_slow(&mut rng);
        }
        if rng.chance(200_000) {
            self.setting.evict_after = Some(Duration::from_secs(rng.between(10, 60)));
        }
    }

    /// Operators remove who hears late of it: its shards go on as if they owned what others own by then.
    fn remove_the_slow(&mut self, rng: &mut Rng) {
        let slowed = |step: &Step| match &step.action {
            Action::SlowControl { node, by } if !by.is_zero() => Some((step.at, node.clone(), *by)),
            _ => None,
        };
        for (since, slow, by) in self.steps.iter().filter_map(slowed).collect::<Vec<_>>() {
            let node = rng.pick(&self.nodes).expect("a world has nodes").clone();
            let at = since + Duration::from_nanos(rng.below(ns(by)));
            self.at(at, Action::Layout { node, change: LayoutChange::Remove { node: slow.clone() } });
            let back = at + Duration::from_millis(rng.between(5_000, 15_000));
            self.at(back, Action::Restart { node: slow });
        }
    }

    /// One change of the layout, and what an operator does about it afterwards.
    fn change_layout(&mut self, at: Time, rng: &mut Rng) {
        let node = rng.pick(&self.nodes).expect("a world has nodes").clone();
        let other = rng.pick(&self.nodes).expect("a world has nodes").clone();
        let third = rng.pick(&self.nodes).expect("a world has nodes").clone();
        let weight = NonZeroU16::new(u16::try_from(rng.between(1, 3)).expect("small")).expect("above zero");
        let longest_ms = if self.mode == Mode::Reconfiguration { 8_000 } else { 60_000 };
        let back = at + Duration::from_millis(rng.between(1_000, longest_ms));
        let (change, gone) = match rng.below(12) {
            0..3 => (LayoutChange::Leave, Some(node.clone())),
            3..6 => (LayoutChange::Remove { node: other.clone() }, Some(other)),
            6..9 => (LayoutChange::Weigh { node: other, weight }, None),
            9..11 => (LayoutChange::Replace { old: other.clone(), new: third }, Some(other)),
            _ => (LayoutChange::Revert, None),
        };
        self.at(at, Action::Layout { node: node.clone(), change });
        // Most come back as new ones, some changes are thought better of.
        if let Some(node) = gone.filter(|_| rng.chance(700_000)) {
            self.at(back, Action::Restart { node });
        }
        if rng.chance(150_000) {
            let soon = at + Duration::from_millis(rng.below(1_000));
            self.at(soon, Action::Layout { node, change: LayoutChange::Revert });
        }
    }

    fn operate(&mut self) {
        let mut rng = Rng::labelled(self.setting.seed, "workload");
        let (begin, end) = (Time::ZERO + SETTLING / 2, Time::ZERO + self.scale.span);
        let deletes = rng.between(5, 30);
        let gets = rng.between(20, 60);
        let mut number = 0;
        while number < self.scale.operations {
            let at = Time(rng.between(begin.0, end.0));
            let key = draw_key(&mut rng);
            // Some come together, so that they meet at one key.
            let together = if rng.chance(200_000) { rng.between(2, 6) } else { 1 };
            for _ in 0..together.min(self.scale.operations - number) {
                number += 1;
                let at = at + Duration::from_millis(rng.below(20));
                let operation = draw_operation(&mut rng, key.clone(), number, gets, deletes);
                let action = self.request(&mut rng, at, operation);
                self.at(at, action);
            }
        }
    }

    /// A request to any node, or once a core is healed to one of the core.
    fn request(&self, rng: &mut Rng, at: Time, operation: ClientOperation) -> Action {
        let healed = self.mode == Mode::Liveness && at >= self.healed_at();
        let may = |node: &&NodeId| !healed || !self.broken.contains(node);
        let nodes: Vec<NodeId> = self.nodes.iter().filter(may).cloned().collect();
        let node = |rng: &mut Rng| rng.pick(&nodes).expect("a core has nodes").clone();
        let write = !matches!(operation, ClientOperation::Get { .. });
        let tries = if rng.chance(400_000) { rng.between(1, 3) } else { 0 };
        let named = write && rng.chance(250_000);
        let options = RequestOptions {
            strict: rng.chance(300_000),
            request_key: named.then(|| RequestKey(rng.u128())),
            retry: (0..tries).map(|_| node(rng)).collect(),
        };
        let client = String::from(*rng.pick(&CLIENTS).expect("there are some"));
        Action::Client { client, node: node(rng), operation, options }
    }
}

fn nth(kinds: &[Kind], number: u64) -> Kind {
    let count = u64::try_from(kinds.len()).expect("few kinds");
    kinds[usize::try_from(number % count).expect("few kinds")]
}

fn draw_key(rng: &mut Rng) -> Key {
    let name = match rng.below(10) {
        0..5 => format!("hot-{}", rng.below(HOT_KEYS)),
        _ => format!("cold-{}", rng.below(COLD_KEYS)),
    };
    Key::new(&name).expect("a good key")
}

fn draw_operation(rng: &mut Rng, key: Key, number: u64, gets: u64, deletes: u64) -> ClientOperation {
    let informed = rng.chance(500_000);
    let kind = rng.below(100);
    if kind < gets {
        ClientOperation::Get { key }
    } else if kind < gets + deletes {
        ClientOperation::Delete { key, informed }
    } else {
        ClientOperation::Put { key, value: format!("value {number}"), informed }
    }
}

fn setting(seed: u64, rng: &mut Rng) -> Setting {
    let nodes = u8::try_from(rng.between(5, 7)).expect("a small number");
    let (n, r, w) = match rng.below(20) {
        0 => (3, 1, 3),
        1 => (3, 3, 1),
        2 => (3, 1, 2),
        3 => (5, 3, 3),
        4 => (4, 2, 3),
        5 => (2, 1, 2),
        _ => (3, 2, 2),
    };
    let sync_max = Duration::from_millis(if rng.chance(500_000) { 2 } else { rng.between(10, 200) });
    Setting {
        seed,
        nodes,
        replication: Replication::new(n, r, w).expect("good quorums"),
        placement: Placement::Tokens(NonZeroU16::new(8).expect("above zero")),
        network: network(rng),
        sync_max,
        timing: timing(rng),
        repair: repair(rng),
        ..Setting::default()
    }
}

fn network(rng: &mut Rng) -> Network {
    let often = |rng: &mut Rng, most| if rng.chance(500_000) { small(rng.below(most)) } else { 0 };
    Network {
        latency_min: Duration::from_micros(rng.between(200, 2_000)),
        latency_max: Duration::from_millis(rng.between(2, 20)),
        tail_per_million: often(rng, 10_000),
        tail_max: Duration::from_millis(rng.between(50, 3_000)),
        loss_per_million: often(rng, 20_000),
        duplicate_per_million: often(rng, 20_000),
        link_messages_max: if rng.chance(300_000) { small(rng.between(8, 40)) } else { 10_000 },
    }
}

/// As by default, or half as often.
fn timing(rng: &mut Rng) -> Timing {
    let default = Timing::default();
    if rng.chance(500_000) {
        return default;
    }
    Timing {
        gossip_interval: default.gossip_interval * 2,
        probe_interval: default.probe_interval * 2,
        probe_timeout: default.probe_timeout * 2,
        ..default
    }
}

/// So often that tombstones are collected, hints hit their cap and are drained, and names are forgotten, within the run.
fn repair(rng: &mut Rng) -> Repair {
    Repair {
        hint_interval: Duration::from_secs(rng.between(1, 3)),
        hints_max: small(if rng.chance(500_000) { rng.between(2, 12) } else { 1_000 }),
        exchange_interval: Duration::from_secs(rng.between(10, 30)),
        collect_interval: Duration::from_secs(rng.between(10, 30)),
        collect_after: Duration::from_secs(rng.between(20, 60)),
        request_memory: Duration::from_secs(rng.between(60, 120)),
    }
}

fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a short span")
}

fn small(number: u64) -> u32 {
    u32::try_from(number).expect("a small number")
}
