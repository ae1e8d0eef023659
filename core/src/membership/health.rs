//! How well this node itself is doing: Lifeguard's local health. A node that is slow accuses others more slowly. Never says
//! anything about another member.
//!
//! Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017.

use core::time::Duration;

/// Worst score: intervals and time-outs are then nine times as long.
pub const LOCAL_HEALTH_WORST: u8 = 8;

/// A score from 0, well, to [`LOCAL_HEALTH_WORST`].
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    score: u8,
    /// Compared with: as well as can be, whatever happens.
    #[cfg(any(test, feature = "sim"))]
    pub(super) ignored: bool,
}

impl Health {
    pub(super) const fn score(&self) -> u8 {
        self.score
    }

    /// Evidence that this node is slow or cut off: `count` answers missing, or accusations to refute.
    pub(super) fn worsen(&mut self, count: u8) {
        #[cfg(any(test, feature = "sim"))]
        if self.ignored {
            return;
        }
        self.score = self.score.saturating_add(count).min(LOCAL_HEALTH_WORST);
    }

    /// Evidence that all is well.
    pub(super) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Whether nothing at all speaks against this node, so that it may go looking for more that do not answer.
    pub(super) fn is_perfect(&self) -> bool {
        #[cfg(any(test, feature = "sim"))]
        if self.ignored {
            return false;
        }
        self.score == 0
    }

    /// A span, as long as this node should now make it.
    pub(super) fn scale(&self, span: Duration) -> Duration {
        span.saturating_mul(u32::from(self.score) + 1)
    }

    /// Whether a timer that came this late says that the process stood still.
    pub(super) fn is_stall(&self, late: Duration, tolerance: Duration) -> bool {
        #[cfg(any(test, feature = "sim"))]
        if self.ignored {
            return false;
        }
        late >= tolerance
    }
}
