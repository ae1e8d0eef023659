//! Makes a schedule that breaks an invariant as short and as plain as it can, so that a person can read it: delta debugging
//! (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002, section 3) over its steps, then over
//! its setting and its times. Whatever it keeps breaks the same invariant: each change is run, and taken back if it does
//! not. It never decides what is broken: that is asked of a judge.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::action::{Action, ClientOperation, DiskFate, Network, RequestOptions, Setting};
use super::related::{Trait, are_related, traits};
use super::{Invariant, Schedule, Step};
use crate::config::{Repair, Replication, Timing};
use crate::time::Time;

/// Steps up to which every pair is tried, not only those that belong together.
const EVERY_PAIR_MAX: usize = 16;
/// Steps up to which pairs are tried at all.
const PAIRS_MAX: usize = 80;
/// Other seeds that are tried where a step seems to be needed only for its luck.
const OTHER_SEEDS: u64 = 3;
/// What the gaps between steps are shortened to, shortest first.
const GAPS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// How far a search has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs so far.
    pub runs: u32,
    /// Runs that it may take.
    pub budget_runs: u32,
    /// Steps of the shortest schedule so far.
    pub steps: usize,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimized {
    /// The shortest schedule that still breaks the invariant.
    pub schedule: Schedule,
    /// Runs that it took.
    pub runs: u32,
}

/// Makes a schedule shorter for as long as it breaks the invariant, in so many runs at most. One that does not break it
/// comes back as it was.
pub fn minimize(
    schedule: &Schedule,
    invariant: Invariant,
    budget_runs: u32,
    progress: &mut dyn FnMut(Progress),
) -> Minimized {
    let mut judge = |candidate: &Schedule| candidate.breaks(invariant);
    minimize_by(schedule, budget_runs, &mut judge, progress)
}

/// Makes a schedule shorter for as long as it goes wrong, in so many runs at most. The judge says when that is, or nothing
/// if it does not. A schedule that does not go wrong comes back as it was.
pub fn minimize_by(
    schedule: &Schedule,
    budget_runs: u32,
    judge: &mut dyn FnMut(&Schedule) -> Option<Time>,
    progress: &mut dyn FnMut(Progress),
) -> Minimized {
    let mut search = Search { best: schedule.clone(), wrong_at: Time::ZERO, runs: 0, budget_runs, judge, progress };
    if search.confirm() {
        search.run();
    }
    Minimized { schedule: search.best, runs: search.runs }
}

/// The shortest schedule so far, and what is left to spend.
struct Search<'a> {
    best: Schedule,
    /// When the best one goes wrong.
    wrong_at: Time,
    runs: u32,
    budget_runs: u32,
    judge: &'a mut dyn FnMut(&Schedule) -> Option<Time>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Search<'_> {
    /// Rounds of everything, until a round changes nothing. Each way makes work for the others: a shorter run is a cheaper
    /// one, and with fewer nodes more steps are in vain.
    fn run(&mut self) {
        loop {
            let before = self.best.clone();
            self.cut_the_end();
            self.drop_groups();
            self.drop_chunks();
            self.drop_pairs();
            self.simplify_setting();
            self.simplify_actions();
            self.shorten_gaps();
            if self.best == before {
                self.try_other_seeds();
            }
            if self.best == before || self.is_spent() {
                return;
            }
        }
    }

    const fn is_spent(&self) -> bool {
        self.runs >= self.budget_runs
    }

    /// Runs the schedule as it came.
    fn confirm(&mut self) -> bool {
        let candidate = self.best.clone();
        self.judge(candidate)
    }

    /// Keeps a candidate if it is another one and goes wrong as well.
    fn keep(&mut self, candidate: Schedule) -> bool {
        candidate != self.best && self.judge(candidate)
    }

    fn judge(&mut self, candidate: Schedule) -> bool {
        if self.is_spent() {
            return false;
        }
        self.runs += 1;
        let wrong_at = (self.judge)(&candidate);
        if let Some(at) = wrong_at {
            self.best = candidate;
            self.wrong_at = at;
        }
        (self.progress)(Progress { runs: self.runs, budget_runs: self.budget_runs, steps: self.best.steps.len() });
        wrong_at.is_some()
    }

    /// What is done after things went wrong did not make them go wrong.
    fn cut_the_end(&mut self) {
        let wrong_at = self.wrong_at;
        self.keep_steps(|_, step| step.at <= wrong_at);
    }

    fn keep_steps(&mut self, is_kept: impl Fn(usize, &Step) -> bool) -> bool {
        let steps = self.best.steps.iter().enumerate();
        let steps: Vec<Step> =
            steps.filter(|(index, step)| is_kept(*index, step)).map(|(_, step)| step.clone()).collect();
        let is_shorter = steps.len() < self.best.steps.len();
        is_shorter && self.keep(Schedule { setting: self.best.setting.clone(), steps })
    }

    fn drop_steps(&mut self, range: &Range<usize>) -> bool {
        self.keep_steps(|index, _| !range.contains(&index))
    }

    /// Everything that one client does, everything about one key, everything of one kind: the largest groups first.
    fn drop_groups(&mut self) {
        let mut groups: Vec<(Trait, usize)> = Vec::new();
        for one in self.best.steps.iter().flat_map(|step| traits(&step.action)) {
            match groups.iter_mut().find(|(known, _)| *known == one) {
                Some((_, size)) => *size += 1,
                None => groups.push((one, 1)),
            }
        }
        groups.sort_by_key(|(_, size)| core::cmp::Reverse(*size));
        for (group, _) in groups.into_iter().filter(|(_, size)| *size > 1) {
            self.keep_steps(|_, step| !traits(&step.action).contains(&group));
        }
    }

    /// Halves, quarters and so on down to single steps, the last ones first: they have the fewest consequences.
    fn drop_chunks(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 && !self.is_spent() {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                self.drop_steps(&(start..end));
                end = start;
            }
            size /= 2;
        }
    }

    /// Two steps that are only in vain together: a crash with its restart, a partition with its heal, a write with its
    /// retry.
    fn drop_pairs(&mut self) {
        let mut first = 0;
        while first < self.best.steps.len() && self.best.steps.len() <= PAIRS_MAX {
            let every = self.best.steps.len() <= EVERY_PAIR_MAX;
            let steps = &self.best.steps;
            let partners: Vec<usize> = (first + 1..steps.len())
                .filter(|second| every || are_related(&steps[first].action, &steps[*second].action))
                .collect();
            let is_gone = partners.into_iter().any(|second| self.keep_steps(|i, _| i != first && i != second));
            // Where one went, another stands in its place now.
            if !is_gone {
                first += 1;
            }
        }
    }

    /// A quiet network, few nodes, true clocks: whatever of it does not matter.
    fn simplify_setting(&mut self) {
        for simplify in SIMPLER {
            let mut candidate = self.best.clone();
            simplify(&mut candidate.setting);
            self.keep(candidate);
        }
        for nodes in 1..self.best.setting.nodes {
            let setting = Setting { nodes, ..self.best.setting.clone() };
            if self.keep(Schedule { setting, steps: self.best.steps.clone() }) {
                return;
            }
        }
    }

    fn simplify_actions(&mut self) {
        for index in 0..self.best.steps.len() {
            let mut candidate = self.best.clone();
            simplify(&mut candidate.steps[index].action);
            self.keep(candidate);
        }
    }

    /// Pulls later steps earlier: all gaps at once, then each by itself.
    fn shorten_gaps(&mut self) {
        for gap_max in GAPS {
            let candidate = with_gaps(&self.best, |_, gap| gap.min(gap_max));
            if self.keep(candidate) {
                break;
            }
        }
        for chosen in 0..self.best.steps.len() {
            for gap_max in GAPS {
                let candidate =
                    with_gaps(&self.best, |index, gap| if index == chosen { gap.min(gap_max) } else { gap });
                if candidate == self.best || self.keep(candidate) {
                    break;
                }
            }
        }
    }

    /// A step may be there only for the messages it makes, which shift what the network draws. With another seed it may
    /// go.
    fn try_other_seeds(&mut self) {
        let mut index = self.best.steps.len();
        while index > 0 {
            index -= 1;
            for other in 1..=OTHER_SEEDS {
                let mut candidate = self.best.clone();
                candidate.setting.seed = candidate.setting.seed.wrapping_add(other);
                candidate.steps.remove(index);
                if self.keep(candidate) {
                    break;
                }
            }
        }
    }
}

/// Ways to make a setting plainer. A way that changes nothing costs no run.
const SIMPLER: [fn(&mut Setting); 12] = [
    |setting| setting.network = Network::default(),
    |setting| setting.network.loss_per_million = 0,
    |setting| setting.network.duplicate_per_million = 0,
    |setting| setting.network.tail_per_million = 0,
    |setting| setting.network.link_messages_max = Network::default().link_messages_max,
    |setting| {
        let Network { latency_min, latency_max, .. } = Network::default();
        setting.network = Network { latency_min, latency_max, ..setting.network };
    },
    |setting| setting.sync_max = Setting::default().sync_max,
    |setting| setting.timing = Timing::default(),
    |setting| setting.repair = Repair::default(),
    |setting| setting.replication = Replication::default(),
    |setting| setting.placement = Setting::default().placement,
    |setting| setting.trace = true,
];

/// A plainer action that may do as well.
fn simplify(action: &mut Action) {
    match action {
        Action::Crash { disk, .. } => *disk = DiskFate::Kept,
        Action::Client { operation, options, .. } => {
            *options = RequestOptions::default();
            match operation {
                ClientOperation::Put { informed, .. } | ClientOperation::Delete { informed, .. } => *informed = false,
                ClientOperation::Get { .. } => {}
            }
        }
        Action::Link { cut: true, loss_per_million, latency, .. } => {
            (*loss_per_million, *latency) = (0, Duration::ZERO);
        }
        _ => {}
    }
}

/// The schedule with other gaps between its steps; the first gap is the one before the first step.
fn with_gaps(schedule: &Schedule, gap: impl Fn(usize, Duration) -> Duration) -> Schedule {
    let (mut before, mut now) = (Time::ZERO, Time::ZERO);
    let mut changed = schedule.clone();
    for (index, step) in changed.steps.iter_mut().enumerate() {
        now = now + gap(index, step.at.since(before));
        before = step.at;
        step.at = now;
    }
    changed
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::id::{Key, NodeId};
    use crate::rng::Rng;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn key(number: u64) -> Key {
        Key::new(&format!("key {number}")).expect("a key")
    }

    fn get(number: u64) -> Action {
        Action::Client {
            client: String::from("alice"),
            node: node("A"),
            operation: ClientOperation::Get { key: key(number) },
            options: RequestOptions::default(),
        }
    }

    fn crash(name: &str) -> Action {
        Action::Crash { node: node(name), disk: DiskFate::Kept }
    }

    fn restart(name: &str) -> Action {
        Action::Restart { node: node(name) }
    }

    /// One step a second, from the first second on.
    fn schedule(actions: Vec<Action>) -> Schedule {
        let steps = (1..).zip(actions).map(|(second, action)| Step { at: Time::from_ms(second * 1_000), action });
        Schedule { setting: Setting::default(), steps: steps.collect() }
    }

    fn actions(schedule: &Schedule) -> Vec<Action> {
        schedule.steps.iter().map(|step| step.action.clone()).collect()
    }

    /// Goes wrong at the last of these actions, once all of them were done in this order.
    fn once_done(wanted: &[Action]) -> impl FnMut(&Schedule) -> Option<Time> {
        move |schedule| {
            let mut left = wanted.iter();
            let mut next = left.next()?;
            for step in &schedule.steps {
                if step.action == *next {
                    match left.next() {
                        Some(another) => next = another,
                        None => return Some(step.at),
                    }
                }
            }
            None
        }
    }

    fn minimized(schedule: &Schedule, mut judge: impl FnMut(&Schedule) -> Option<Time>) -> Minimized {
        minimize_by(schedule, 10_000, &mut judge, &mut |_| {})
    }

    #[test]
    fn what_matters_is_kept_in_order_and_everything_else_goes() {
        let mut rng = Rng::labelled(1, "minimize");
        for wanted in 1..=8 {
            let all: Vec<Action> = (0..1_000).map(get).collect();
            let chosen: BTreeSet<u64> = (0..wanted).map(|_| rng.below(1_000)).collect();
            let chosen: Vec<Action> = chosen.into_iter().map(get).collect();
            let found = minimized(&schedule(all), once_done(&chosen));
            assert_eq!(actions(&found.schedule), chosen);
            assert!(found.runs < 500, "{} runs for {wanted} steps", found.runs);
        }
    }

    #[test]
    fn steps_that_are_only_in_vain_together_go_together() {
        // A crash without its restart, or a restart without its crash, hides what goes wrong.
        let balanced = |schedule: &Schedule| {
            let count = |wanted: &Action| schedule.steps.iter().filter(|step| step.action == *wanted).count();
            let is_balanced = ["B", "C"].iter().all(|name| count(&crash(name)) == count(&restart(name)));
            schedule.steps.iter().find(|step| is_balanced && step.action == get(7)).map(|step| step.at)
        };
        let all = vec![crash("B"), get(1), crash("C"), get(7), restart("B"), get(2), restart("C"), get(3)];
        // Everything after it went wrong is cut first, and may be needed: then the pairs are all there is.
        assert_eq!(actions(&minimized(&schedule(all), balanced).schedule), [get(7)]);
    }

    #[test]
    fn times_are_pulled_together_as_far_as_it_still_goes_wrong() {
        let apart = |schedule: &Schedule| match &schedule.steps[..] {
            [.., first, last] if last.at.since(first.at) >= Duration::from_millis(700) => Some(last.at),
            _ => None,
        };
        let mut slow = schedule(vec![get(1), get(2)]);
        slow.steps[1].at = Time::from_ms(600_000);
        let found = minimized(&slow, apart).schedule;
        assert_eq!(found.steps.iter().map(|step| step.at.as_ms()).collect::<Vec<_>>(), [0, 1_000]);
    }

    #[test]
    fn the_setting_becomes_as_plain_as_it_can() {
        let network = Network { loss_per_million: 5_000, latency_max: Duration::from_secs(1), ..Network::default() };
        let sync_max = Duration::from_millis(300);
        let noisy = Setting { seed: 9, nodes: 7, network, sync_max, ..Setting::default() };
        let wild = Schedule { setting: noisy, ..schedule(vec![get(1)]) };
        let needs_loss = |schedule: &Schedule| {
            let setting = &schedule.setting;
            (setting.network.loss_per_million > 0 && setting.nodes >= 3).then_some(Time::from_ms(5_000))
        };
        let found = minimized(&wild, needs_loss).schedule;
        assert_eq!((found.setting.nodes, found.setting.sync_max), (3, Setting::default().sync_max));
        assert!(found.steps.is_empty() && found.setting.network.loss_per_million == 5_000);
    }

    #[test]
    fn a_step_that_is_there_for_luck_goes_with_another_seed() {
        let lucky = |schedule: &Schedule| {
            let is_lucky = schedule.setting.seed == 3 || schedule.steps.len() >= 2;
            schedule.steps.iter().find(|step| is_lucky && step.action == get(7)).map(|step| step.at)
        };
        let mut all = schedule(vec![get(1), get(7)]);
        all.setting.seed = 1;
        let found = minimized(&all, lucky).schedule;
        assert_eq!((found.setting.seed, actions(&found)), (3, vec![get(7)]));
    }

    #[test]
    fn it_stops_when_its_runs_are_spent_and_leaves_alone_what_goes_right() {
        let all = schedule((0..100).map(get).collect());
        for budget_runs in [0, 1, 7] {
            let mut judged = 0;
            let mut judge = |schedule: &Schedule| {
                judged += 1;
                schedule.steps.last().map(|step| step.at)
            };
            let found = minimize_by(&all, budget_runs, &mut judge, &mut |_| {});
            assert_eq!((found.runs, judged), (budget_runs, budget_runs));
        }
        assert_eq!(minimized(&all, |_| None), Minimized { schedule: all, runs: 1 });
    }

    #[test]
    fn what_it_gives_always_goes_wrong_whatever_the_judge() {
        for seed in 0..200 {
            let mut rng = Rng::labelled(seed, "judges");
            let all: Vec<Action> = (0..rng.between(1, 60)).map(|_| get(rng.below(8))).collect();
            let (weight, modulus) = (rng.between(1, 9), rng.between(1, 5));
            // A judge without any structure: steps hide each other.
            let mut judge = |schedule: &Schedule| {
                let sum: u64 = schedule.steps.iter().map(|step| u64::from(step.action == get(3)) + weight).sum();
                sum.is_multiple_of(modulus).then(|| schedule.steps.last().map_or(Time::ZERO, |step| step.at))
            };
            let all = schedule(all);
            if judge(&all).is_some() {
                let found = minimize_by(&all, 2_000, &mut judge, &mut |_| {}).schedule;
                assert!(judge(&found).is_some(), "seed {seed}");
                assert!(found.steps.is_sorted_by_key(|step| step.at), "seed {seed}");
            }
        }
    }
}
