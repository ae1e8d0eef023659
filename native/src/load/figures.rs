//! What clients met, in numbers. Counts; judges nothing.

use std::time::Duration;

/// A client that tries again for so long after the first failure is served, or else was late.
const RETRY: Duration = Duration::from_secs(1);

/// What clients met in some span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads of acknowledged writes that were answered.
    pub reads: u64,
    /// Of both, those that were served only when tried again.
    pub retried: u64,
    /// Of these, those that were not served within one second after their first failure.
    pub late: u64,
    /// Those that were given up.
    pub given_up: u64,
    /// Reads that did not show the acknowledged write they asked for.
    pub missed: u64,
    /// The longest that one took, with all its tries.
    pub slowest: Duration,
    /// Why the first one that was late or given up, or missed its write, was.
    pub first_reason: Option<String>,
}

/// What came of one write or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    Read,
    /// A read without the write that it asked for.
    Missed,
    GivenUp,
}

/// How one write or read went.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) outcome: Outcome,
    /// With all tries.
    pub(super) took: Duration,
    /// What went wrong, if something did.
    pub(super) failed: Option<Failed>,
}

/// What went wrong at first, and for how long it did not go better.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) why: String,
    pub(super) lasted: Duration,
}

impl Figures {
    /// Writes and reads that were served.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.writes + self.reads
    }

    /// Whether every write and read was served as promised, within a second of tries where the first one failed.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.late == 0 && self.given_up == 0 && self.missed == 0
    }

    pub(super) fn add(&mut self, course: Course) {
        let Course { outcome, took, failed } = course;
        let was_good = self.is_good();
        self.slowest = self.slowest.max(took);
        match outcome {
            Outcome::Written => self.writes += 1,
            Outcome::Read => self.reads += 1,
            Outcome::Missed => self.missed += 1,
            Outcome::GivenUp => self.given_up += 1,
        }
        let Some(Failed { why, lasted }) = failed else { return };
        if matches!(outcome, Outcome::Written | Outcome::Read) {
            self.retried += 1;
            self.late += u64::from(lasted > RETRY);
        }
        if was_good && !self.is_good() {
            self.first_reason = Some(format!("{why}; for {} ms", lasted.as_millis()));
        }
    }

    /// Takes in what others met in the same or another span.
    pub fn merge(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.retried += other.retried;
        self.late += other.late;
        self.given_up += other.given_up;
        self.missed += other.missed;
        self.slowest = self.slowest.max(other.slowest);
        self.first_reason = self.first_reason.take().or_else(|| other.first_reason.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(outcome: Outcome, failed_ms: Option<u64>) -> Course {
        let failed = failed_ms.map(|ms| Failed { why: format!("refused {ms}"), lasted: Duration::from_millis(ms) });
        Course { outcome, took: Duration::from_millis(failed_ms.unwrap_or(5)), failed }
    }

    #[test]
    fn a_second_of_tries_is_fine_and_more_is_late() {
        let mut figures = Figures::default();
        for (outcome, failed_ms) in [(Outcome::Written, None), (Outcome::Read, Some(1_000))] {
            figures.add(course(outcome, failed_ms));
        }
        assert!(figures.is_good() && figures.first_reason.is_none());
        for (outcome, failed_ms) in [(Outcome::Written, 1_001), (Outcome::GivenUp, 9_000), (Outcome::Missed, 7)] {
            figures.add(course(outcome, Some(failed_ms)));
        }
        let expected = Figures {
            writes: 2,
            reads: 1,
            retried: 2,
            late: 1,
            given_up: 1,
            missed: 1,
            slowest: Duration::from_secs(9),
            first_reason: Some("refused 1001; for 1001 ms".into()),
        };
        assert_eq!(figures, expected);
        let mut twice = figures.clone();
        twice.merge(&figures);
        assert_eq!((twice.operations(), twice.retried, twice.slowest), (6, 4, Duration::from_secs(9)));
    }
}
