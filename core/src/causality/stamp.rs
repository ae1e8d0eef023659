//! The hybrid logical clock: stamps that people can read as a time of day and that never order an effect before its cause.
//! Never decides what supersedes what; only which of several siblings is called the newest.
//!
//! Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical physical clocks and consistent snapshots in globally distributed
//! databases" (2014).

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::time::WallTime;

/// When something was written, as the hybrid clock of its coordinator had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, as the fastest clock had it that this one has heard of.
    pub wall_ms: u64,
    /// Tells stamps of the same millisecond apart.
    pub logical: u32,
}

impl Stamp {
    /// The stamp just after this one. At the very end of time it is this one.
    const fn next(self) -> Self {
        match (self.logical.checked_add(1), self.wall_ms.checked_add(1)) {
            (Some(logical), _) => Self { wall_ms: self.wall_ms, logical },
            (None, Some(wall_ms)) => Self { wall_ms, logical: 0 },
            (None, None) => self,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall_ms, self.logical)
    }
}

/// A stamp too far ahead of the wall clock. It was not adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stamp {ahead_ms} ms ahead of this node's clock: at most {} ms are adopted", limits::CLOCK_DRIFT_MAX.as_millis())]
pub struct StampAhead {
    /// How far ahead it is, in milliseconds.
    pub ahead_ms: u64,
}

/// The clock of one node: the greatest stamp it has given or adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// A clock that has heard of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: Stamp { wall_ms: 0, logical: 0 } }
    }

    /// A stamp above all that this clock has given or adopted, and not before the wall clock.
    pub fn now(&mut self, wall: WallTime) -> Stamp {
        let wall = Stamp { wall_ms: wall.0, logical: 0 };
        self.last = if wall > self.last { wall } else { self.last.next() };
        self.last
    }

    /// Adopts a stamp that was seen, so that later ones are above it.
    ///
    /// # Errors
    /// [`StampAhead`] if it is more than [`limits::CLOCK_DRIFT_MAX`] ahead of the wall clock: one node's broken clock must
    /// not become everybody's.
    pub fn observe(&mut self, seen: Stamp, wall: WallTime) -> Result<(), StampAhead> {
        let drift_max_ms = u64::try_from(limits::CLOCK_DRIFT_MAX.as_millis()).expect("a short span");
        let ahead_ms = seen.wall_ms.saturating_sub(wall.0);
        if ahead_ms > drift_max_ms {
            return Err(StampAhead { ahead_ms });
        }
        self.last = self.last.max(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRIFT_MAX_MS: u64 = 60_000;

    fn stamp(wall_ms: u64, logical: u32) -> Stamp {
        Stamp { wall_ms, logical }
    }

    #[test]
    fn stamps_follow_the_wall_clock_and_never_go_back() {
        let mut clock = HybridClock::new();
        for (wall, expected) in [(10, (10, 0)), (10, (10, 1)), (9, (10, 2)), (12, (12, 0)), (0, (12, 1))] {
            assert_eq!(clock.now(WallTime(wall)), stamp(expected.0, expected.1));
        }
    }

    #[test]
    fn an_effect_is_stamped_after_its_cause() {
        let mut clock = HybridClock::new();
        clock.observe(stamp(500, 7), WallTime(100)).expect("within the bound");
        assert_eq!(clock.now(WallTime(100)), stamp(500, 8));
        clock.observe(stamp(400, 9), WallTime(100)).expect("within the bound");
        assert_eq!(clock.now(WallTime(501)), stamp(501, 0));
    }

    #[test]
    fn a_clock_too_far_ahead_is_not_followed() {
        let mut clock = HybridClock::new();
        let before = clock;
        let far = stamp(100 + DRIFT_MAX_MS + 1, 0);
        assert_eq!(clock.observe(far, WallTime(100)), Err(StampAhead { ahead_ms: DRIFT_MAX_MS + 1 }));
        assert_eq!(clock, before);
        assert_eq!(clock.observe(stamp(100 + DRIFT_MAX_MS, u32::MAX), WallTime(100)), Ok(()));
        assert_eq!(
            clock.now(WallTime(100)),
            stamp(100 + DRIFT_MAX_MS + 1, 0),
            "the logical part runs over into the other"
        );
    }

    proptest! {
        #[test]
        fn stamps_always_rise(walls in prop::collection::vec((0_u64..50, 0_u64..70_000, 0_u32..3), 1..60)) {
            let mut clock = HybridClock::new();
            let mut last = Stamp::default();
            for (wall, ahead, logical) in walls {
                let seen = stamp(wall + ahead, logical);
                let adopted = clock.observe(seen, WallTime(wall)).is_ok();
                prop_assert_eq!(adopted, ahead <= DRIFT_MAX_MS);
                let now = clock.now(WallTime(wall));
                prop_assert!(now > last && now.wall_ms >= wall && (!adopted || now > seen));
                prop_assert!(now.wall_ms <= 50 + DRIFT_MAX_MS, "bounded by the clocks and the drift");
                last = now;
            }
        }
    }
}
