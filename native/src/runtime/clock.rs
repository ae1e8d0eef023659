//! The clocks of a process, in the core's terms. The only place that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate_core::time::{Time, WallTime};

/// Monotonic time since the process began. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment as the system's timers take it.
    pub(super) fn instant(&self, at: Time) -> Instant {
        self.origin + at.since(Time::ZERO)
    }

    /// The time of day at a moment, by the time of day now.
    pub(super) fn time_of_day(&self, at: Time) -> SystemTime {
        SystemTime::now() - self.now().since(at)
    }

    /// The time of day now.
    pub(super) fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
