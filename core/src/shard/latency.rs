//! How long answers take, from the last of them: so that a late one is noticed. It never decides what is done about it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// Answers that are remembered.
const SAMPLES_MAX: usize = 128;
/// With fewer answers than this nothing is known yet.
const SAMPLES_MIN: usize = 16;
/// Nobody is late before this: a moment of noise is not worth a second question.
pub(super) const PATIENCE_MIN: Duration = Duration::from_millis(10);
/// Everybody is late after this, however slow they all have been.
pub(super) const PATIENCE_MAX: Duration = Duration::from_millis(500);

/// The last answers of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    /// The time each took, the oldest first.
    samples: VecDeque<Duration>,
    /// The same, the shortest first: it is asked for as often as it changes.
    sorted: Vec<Duration>,
}

impl Latency {
    pub(super) fn note(&mut self, took: Duration) {
        if self.samples.len() == SAMPLES_MAX
            && let Some(oldest) = self.samples.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|sample| *sample < oldest));
        }
        self.samples.push_back(took);
        self.sorted.insert(self.sorted.partition_point(|sample| *sample < took), took);
    }

    /// How long to wait before somebody else is asked too: 19 of 20 answers came sooner (Dean and Barroso, "The tail at
    /// scale", 2013, on hedged requests). Within [`PATIENCE_MIN`] and [`PATIENCE_MAX`].
    pub(super) fn patience(&self) -> Duration {
        if self.sorted.len() < SAMPLES_MIN {
            return PATIENCE_MAX;
        }
        self.sorted[self.sorted.len() * 95 / 100].clamp(PATIENCE_MIN, PATIENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl IntoIterator<Item = u64>) -> u128 {
        let mut latency = Latency::default();
        samples.into_iter().for_each(|ms| latency.note(Duration::from_millis(ms)));
        latency.patience().as_millis()
    }

    #[test]
    fn patience_is_what_nearly_all_of_the_last_answers_needed_within_bounds() {
        for (samples, expected, what) in [
            ((1..=15).collect::<Vec<u64>>(), 500, "too few to know"),
            ((1..=100).collect(), 96, "19 of 20 are faster"),
            ((1..=100).rev().collect(), 96, "whatever their order"),
            ((0..100).map(|_| 1).collect(), 10, "never shorter than noise"),
            ((0..100).map(|_| 9_000).collect(), 500, "never longer than a person waits"),
            ((0..128).map(|_| 400).chain((0..128).map(|_| 50)).collect(), 50, "old answers are forgotten"),
            (
                (0..128).map(|number| if number % 32 == 0 { 400 } else { 20 }).collect(),
                20,
                "a few slow ones are no rule",
            ),
        ] {
            assert_eq!(of(samples), expected, "{what}");
        }
    }
}
