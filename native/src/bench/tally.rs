//! What connections met: how long operations took, and what failed. Judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept to three digits.
const DIGITS: u8 = 3;

/// Latencies in microseconds of what succeeded, and failures by kind.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    pub(super) failures: BTreeMap<String, Failures>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// What one of them said.
    pub(super) example: String,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// A word for programs.
    pub(super) kind: String,
    /// For people.
    pub(super) told: String,
}

impl Default for Tally {
    fn default() -> Self {
        let empty = || Histogram::new(DIGITS).expect("few digits");
        Self { reads: empty(), writes: empty(), failures: BTreeMap::new() }
    }
}

impl Tally {
    pub(super) fn succeeded(&mut self, is_read: bool, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let histogram = if is_read { &mut self.reads } else { &mut self.writes };
        histogram.record(micros).expect("it grows with what it is given");
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        let of_kind = self.failures.entry(failure.kind);
        of_kind.or_insert(Failures { count: 0, example: failure.told }).count += 1;
    }

    /// Takes in what another connection met.
    pub(super) fn merge(&mut self, other: &Self) {
        self.reads += &other.reads;
        self.writes += &other.writes;
        for (kind, Failures { count, example }) in &other.failures {
            let of_kind = self.failures.entry(kind.clone());
            of_kind.or_insert_with(|| Failures { count: 0, example: example.clone() }).count += count;
        }
    }

    /// How many operations succeeded.
    pub(super) fn operations(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// How many failed.
    pub(super) fn failed_count(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// What a failure said, if there was one.
    pub(super) fn reason(&self) -> Option<&str> {
        self.failures.values().next().map(|failures| failures.example.as_str())
    }
}
