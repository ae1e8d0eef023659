//! `quorate sim --gossip`: what gossip promises, measured at several sizes and losses under one configuration, as a table.
//! Measures and prints; what is measured stands in `quorate_core::sim::gossip`.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use quorate_core::config::Timing;
use quorate_core::sim::gossip::{Cluster, Quantiles, Setting, heal, list, rounds_until_all, stalls, watch};

use super::progress::Progress;
use super::summary::number;

/// Losses in percent. The greatest only where nodes are few enough.
const LOSSES: [u32; 3] = [0, 5, 25];
const GREATEST_LOSS_NODES_MAX: u32 = 1_000;
/// Larger clusters are not divided: every member would bury thousands. Above the other size only two seeds are.
const HEAL_NODES_MAX: u32 = 1_000;
const HEAL_ALL_SEEDS_NODES_MAX: u32 = 100;
/// Up to so many nodes a quiet cluster is watched for an hour.
const HOUR_NODES_MAX: u32 = 100;
/// Members that gossip tells in one round, and how long a round lasts in Serf's formula.
const SERF_FANOUT: u64 = 3;
const SERF_ROUND: Duration = Duration::from_millis(200);
/// Of the comparison with and without Lifeguard.
const STALL_NODES: u32 = 100;
const STALL_SPAN: Duration = Duration::from_mins(10);
/// Clusters whose speed is measured, and for how long.
const SPEEDS: [u32; 3] = [100, 1_000, 5_000];
const SPEED_SPAN: Duration = Duration::from_mins(1);
/// Of the measurement of memory.
const MEMORY_NODES: u32 = 100;

/// What to measure.
pub(super) struct Plan {
    /// Sizes of clusters.
    pub(super) nodes: Vec<u32>,
    /// Seeds of each measurement, from 0 on.
    pub(super) seeds: u64,
    /// Seeds at a time.
    pub(super) threads: NonZeroUsize,
}

/// Measures, and prints as it goes.
pub(super) fn run(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    // Before anything else: what was used and is free again would hide it.
    let list_kib = list_kib();
    let mut progress = Progress::new("measurements", plan.measurements());
    let timing = Timing::default();
    writeln!(
        out,
        "# Gossip, measured\n\nWritten by `quorate sim --gossip --gossip-nodes {} --gossip-seeds {}`; do not edit. One configuration \
         for all: a probe every {:?} with a time-out of {:?}, gossip every {:?}, a suspicion multiplier of {}, a retransmit \
         multiplier of {}. Messages take 0.5 to 5 ms.\n",
        plan.nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        plan.seeds,
        timing.probe_interval,
        timing.probe_timeout,
        timing.gossip_interval,
        timing.suspicion_multiplier,
        timing.retransmit_multiplier
    )?;
    writeln!(out, "{HEAD}")?;
    for &nodes in &plan.nodes {
        for loss_percent in losses(nodes) {
            writeln!(out, "{}", Cell { plan, nodes, loss_percent }.row(&mut progress))?;
            out.flush()?;
        }
    }
    writeln!(out, "\n{LEGEND}")?;
    lifeguard(plan, &mut progress, out)?;
    if let Some(kib) = list_kib {
        writeln!(out, "\nMemory: {kib} KiB for the list of each of {MEMORY_NODES} members.")?;
    }
    speed(plan, &mut progress, out)?;
    progress.end();
    Ok(())
}

const HEAD: &str = "\
| nodes | loss | crash known to all: median | p99 | join known to all: median | p99 | Serf's formula | halves agree: median | p99 | \
messages a node and second | bytes | false deaths | watched, all seeds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

const LEGEND: &str = "\
Crashes and joins: 10 for each seed at up to 100 nodes, 3 at 1,000, 1 above. Halves: one partition for each seed, for two of\n\
them at 1,000. Messages, bytes (envelope and frame included) and false deaths: of clusters in which nothing happens. Serf's\n\
formula: when 99.99 % have heard, 1 / (1 + (n + 1) e^(-f (1 - loss) r / 2)) in rounds of 0.2 s with f = 3.";

fn losses(nodes: u32) -> impl Iterator<Item = u32> {
    LOSSES.into_iter().filter(move |loss| *loss <= 5 || nodes <= GREATEST_LOSS_NODES_MAX)
}

impl Plan {
    fn measurements(&self) -> u64 {
        let cells = self.nodes.iter().flat_map(|nodes| losses(*nodes).map(|_| self.seeds + self.heals(*nodes)));
        cells.sum::<u64>() + 2 * self.seeds
    }

    /// How many times a cluster of this size is divided.
    fn heals(&self, nodes: u32) -> u64 {
        if nodes <= HEAL_ALL_SEEDS_NODES_MAX {
            self.seeds
        } else if nodes <= HEAL_NODES_MAX {
            self.seeds.min(2)
        } else {
            0
        }
    }

    /// Measures with each seed, on as many threads as there are, and gives the results in the order of the seeds.
    fn each<T: Send>(
        &self,
        seeds: u64,
        progress: &mut Progress,
        what: &str,
        measure: impl Fn(u64) -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicU64::new(0);
        let results = Mutex::new(Vec::new());
        let shown = Mutex::new(progress);
        std::thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            break;
                        }
                        let result = measure(seed);
                        results.lock().expect("no thread has panicked").push((seed, result));
                        shown.lock().expect("no thread has panicked").advance(what);
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("no thread has panicked");
        results.sort_by_key(|(seed, _)| *seed);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// One size at one loss.
struct Cell<'a> {
    plan: &'a Plan,
    nodes: u32,
    loss_percent: u32,
}

impl Cell<'_> {
    fn setting(&self, seed: u64) -> Setting {
        Setting { nodes: self.nodes, loss_per_million: self.loss_percent * 10_000, seed, lifeguard: true }
    }

    fn row(&self, progress: &mut Progress) -> String {
        let Self { plan, nodes, loss_percent } = self;
        let what = format!("{} nodes, {loss_percent} % loss", number((*nodes).into()));
        let trials = match nodes {
            0..=100 => 10,
            101..=1_000 => 3,
            _ => 1,
        };
        let span = if *nodes <= HOUR_NODES_MAX { Duration::from_hours(1) } else { Duration::from_mins(1) };
        let watched = plan.each(plan.seeds, progress, &what, |seed| watch(self.setting(seed), span, trials));
        let (quiet, turnovers): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
        let crashes = Quantiles::new(turnovers.iter().flat_map(|turnover| turnover.crashes.clone()).collect());
        let joins = Quantiles::new(turnovers.iter().flat_map(|turnover| turnover.joins.clone()).collect());
        let halves = if *nodes <= HEAL_NODES_MAX {
            let seeds = plan.heals(*nodes);
            let heals = Quantiles::new(plan.each(seeds, progress, &what, |seed| heal(self.setting(seed))));
            format!("{} | {}", seconds(heals.percent(50)), seconds(heals.percent(99)))
        } else {
            "not measured | ".to_owned()
        };
        let node_seconds = f64::from(*nodes) * span.as_secs_f64() * quiet.len() as f64;
        // Counts are far below 2^53.
        let rate = |total: u64| total as f64 / node_seconds;
        let rounds = rounds_until_all((*nodes).into(), SERF_FANOUT, (*loss_percent).into());
        let serf = SERF_ROUND * u32::try_from(rounds).unwrap_or(u32::MAX);
        format!(
            "| {} | {loss_percent} % | {} | {} | {} | {} | {} | {halves} | {:.2} | {:.0} | {} | {} x {} |",
            number((*nodes).into()),
            seconds(crashes.percent(50)),
            seconds(crashes.percent(99)),
            seconds(joins.percent(50)),
            seconds(joins.percent(99)),
            seconds(serf),
            rate(quiet.iter().map(|quiet| quiet.messages).sum()),
            rate(quiet.iter().map(|quiet| quiet.bytes).sum()),
            number(quiet.iter().map(|quiet| quiet.false_deaths).sum()),
            plan.seeds,
            if *nodes <= HOUR_NODES_MAX { "1 h" } else { "1 min" },
        )
    }
}

fn lifeguard(plan: &Plan, progress: &mut Progress, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\nStalls of 1 to 20 s in 5 of {STALL_NODES} members, half of them of the whole process and half of its input and \
         output, for {} min: how often a healthy member lists a healthy one dead.\n\n| Lifeguard | stalls | false deaths |\n\
         | --- | --- | --- |",
        STALL_SPAN.as_secs() / 60
    )?;
    for lifeguard in [false, true] {
        let name = if lifeguard { "on" } else { "off" };
        let setting = |seed| Setting { nodes: STALL_NODES, loss_per_million: 0, seed, lifeguard };
        let what = format!("stalls with Lifeguard {name}");
        let all = plan.each(plan.seeds, progress, &what, |seed| stalls(setting(seed), STALL_SPAN));
        let count = number(all.iter().map(|stalls| stalls.stalls).sum());
        let deaths = number(all.iter().map(|stalls| stalls.false_deaths).sum());
        writeln!(out, "| {name} | {count} | {deaths} |")?;
        out.flush()?;
    }
    Ok(())
}

/// What the list of a member takes, by what the process has more of it afterwards. Nothing where that cannot be told.
fn list_kib() -> Option<u64> {
    let before = resident_kib()?;
    let lists: Vec<_> = (0..MEMORY_NODES).map(|place| list(MEMORY_NODES, place)).collect();
    let after = resident_kib()?;
    drop(lists);
    Some(after.saturating_sub(before) / u64::from(MEMORY_NODES))
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn speed(plan: &Plan, progress: &mut Progress, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nSpeed on one core of a cluster in which nothing else happens:\n")?;
    for nodes in SPEEDS.into_iter().filter(|nodes| plan.nodes.contains(nodes)) {
        progress.say(&format!("speed of {nodes} nodes"));
        let mut cluster = Cluster::new(Setting { nodes, loss_per_million: 0, seed: 0, lifeguard: true });
        let (began, before) = (working_time(), cluster.happenings());
        cluster.run(SPEED_SPAN);
        let took = working_time() - began;
        let each = took.as_nanos() / u128::from((cluster.happenings() - before).max(1));
        let ratio = SPEED_SPAN.as_secs_f64() / took.as_secs_f64();
        writeln!(out, "- {} nodes: {ratio:.0} times real time, {each} ns an event", number(nodes.into()))?;
        out.flush()?;
    }
    Ok(())
}

/// For how long this thread has had a core: other programs must not make it slow. Where that cannot be told, for how long it
/// has been alive.
fn working_time() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let began = *BEGAN;
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = statistics.and_then(|text| text.split_whitespace().next()?.parse().ok());
    ns.map_or_else(|| began.elapsed(), Duration::from_nanos)
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}
