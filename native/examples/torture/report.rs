//! What came of it all, as a table and as one verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::faults::{Kind, Tally};
use crate::history::{Operation, Outcome};
use crate::judge::Judgement;

/// What a run of this length has to reach; shorter ones in proportion.
const FULL: Duration = Duration::from_secs(600);
const FAULTS_MIN: u64 = 100;
const ACKNOWLEDGED_MIN: u64 = 100_000;
/// Violations that are printed in full.
const SHOWN_MAX: usize = 20;

/// All phases together.
pub(crate) struct Report {
    length: Duration,
    acknowledged: u64,
    failed: u64,
    unknown: u64,
    /// Why operations failed or were not answered.
    reasons: BTreeMap<String, u64>,
    nameless: usize,
    counts: BTreeMap<Kind, u64>,
    recoveries: BTreeMap<Kind, Vec<Duration>>,
    violations: Vec<String>,
}

impl Report {
    pub(crate) const fn new(length: Duration) -> Self {
        Self {
            length,
            acknowledged: 0,
            failed: 0,
            unknown: 0,
            reasons: BTreeMap::new(),
            nameless: 0,
            counts: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Takes in one phase.
    pub(crate) fn add(&mut self, operations: &[Operation], tally: &Tally, judgement: Judgement) {
        for operation in operations {
            match &operation.outcome {
                Outcome::Acknowledged { .. } | Outcome::Shown { .. } => self.acknowledged += 1,
                Outcome::Failed(why) => {
                    self.failed += 1;
                    *self.reasons.entry(format!("failed: {why}")).or_default() += 1;
                }
                Outcome::Unknown(why) => {
                    self.unknown += 1;
                    *self.reasons.entry(format!("unknown: {why}")).or_default() += 1;
                }
            }
        }
        self.nameless += judgement.nameless;
        for (kind, count) in &tally.counts {
            *self.counts.entry(*kind).or_default() += count;
        }
        for (kind, times) in &tally.recoveries {
            self.recoveries.entry(*kind).or_default().extend(times);
        }
        self.violations.extend(judgement.violations);
        self.violations.extend(tally.misdeeds.iter().cloned());
    }

    fn faults(&self) -> u64 {
        self.counts.values().sum()
    }

    /// So much of what a full run has to reach.
    fn share(&self, of: u64) -> u64 {
        let share = u128::from(of) * self.length.min(FULL).as_millis() / FULL.as_millis();
        u64::try_from(share).expect("no more than the whole")
    }

    /// Whether nothing was broken, and enough was tried.
    pub(crate) fn is_good(&self) -> bool {
        let enough = self.faults() >= self.share(FAULTS_MIN) && self.acknowledged >= self.share(ACKNOWLEDGED_MIN);
        self.violations.is_empty() && enough
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>9}", "OPERATIONS", "")?;
        for (what, count) in [("acknowledged", self.acknowledged), ("failed", self.failed), ("unknown", self.unknown)] {
            writeln!(f, "{what:<28}{count:>9}")?;
        }
        for (why, count) in &self.reasons {
            writeln!(f, "  {why:.60}: {count}")?;
        }
        if self.nameless > 0 {
            writeln!(f, "{:<28}{:>9}", "acknowledged, nameless", self.nameless)?;
        }
        writeln!(f, "\n{:<28}{:>9}{:>14}{:>14}", "FAULTS", "", "RECOVERY P50", "LONGEST")?;
        for (kind, count) in &self.counts {
            let mut times = self.recoveries.get(kind).cloned().unwrap_or_default();
            times.sort_unstable();
            let seconds =
                |time: Option<&Duration>| time.map_or_else(String::new, |time| format!("{:.1} s", time.as_secs_f64()));
            let (median, longest) = (seconds(times.get(times.len() / 2)), seconds(times.last()));
            writeln!(f, "{:<28}{count:>9}{median:>14}{longest:>14}", kind.to_string())?;
        }
        writeln!(f, "{:<28}{:>9}", "all", self.faults())?;
        writeln!(f, "\n{:<28}{:>9}", "VIOLATIONS", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN_MAX) {
            writeln!(f, "  {violation}")?;
        }
        let (faults, acknowledged) = (self.share(FAULTS_MIN), self.share(ACKNOWLEDGED_MIN));
        writeln!(f, "\nasked for in {:?}: {faults} faults, {acknowledged} acknowledged operations", self.length)?;
        f.write_str(if self.is_good() { "all is well" } else { "NOT well" })
    }
}
