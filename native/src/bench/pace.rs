//! When the next operation is due. In a closed loop that is at once; in an open loop it is written in a timetable that waits
//! for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The timetable is looked at again after so long at the latest, and at the earliest: timers of the runtime would be too
/// coarse.
const LOOK_MAX: Duration = Duration::from_millis(50);
const LOOK_MIN: Duration = Duration::from_micros(50);

/// What sets the pace.
#[derive(Debug)]
pub(super) enum Pace {
    /// The answers do, until this moment.
    Closed { end: Instant },
    /// The timetable does.
    Open(Arc<Timetable>),
}

/// Operations at even intervals.
#[derive(Debug)]
pub(super) struct Timetable {
    begin: Instant,
    rate: u32,
    total: u64,
    /// Holds as many permits as operations are due and not begun; closed at the end.
    due: Semaphore,
    begun: AtomicU64,
}

impl Pace {
    /// # Errors
    /// There is no thread left for a timetable.
    pub(super) fn start(begin: Instant, length: Duration, rate: Option<u32>) -> io::Result<Self> {
        let end = begin + length;
        let Some(rate) = rate else { return Ok(Self::Closed { end }) };
        let total = u128::from(rate) * length.as_nanos() / Duration::from_secs(1).as_nanos();
        let total = u64::try_from(total).expect("a day at a million a second");
        let timetable = Arc::new(Timetable { begin, rate, total, due: Semaphore::new(0), begun: AtomicU64::new(0) });
        let kept = timetable.clone();
        thread::Builder::new().name("timetable".into()).spawn(move || kept.keep(end))?;
        Ok(Self::Open(timetable))
    }

    /// Waits until an operation is due and says since when it is; nothing once no more are to begin.
    pub(super) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { end } => Some(Instant::now()).filter(|now| now < end),
            Self::Open(timetable) => {
                timetable.due.acquire().await.ok()?.forget();
                Some(timetable.moment(timetable.begun.fetch_add(1, Ordering::Relaxed)))
            }
        }
    }

    /// How many operations were due and never began, because all connections were busy to the end.
    pub(super) fn never_begun(&self) -> u64 {
        match self {
            Self::Closed { .. } => 0,
            Self::Open(timetable) => timetable.total - timetable.begun.load(Ordering::Relaxed),
        }
    }

    /// Whether a connection that fails has to wait by itself before it goes on.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl Timetable {
    /// When an operation is due.
    fn moment(&self, number: u64) -> Instant {
        let nanos = u128::from(number) * Duration::from_secs(1).as_nanos() / u128::from(self.rate);
        self.begin + Duration::from_nanos(u64::try_from(nanos).expect("within a day"))
    }

    /// How many are due at a moment.
    fn due_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begin);
        let count = since.as_nanos() * u128::from(self.rate) / Duration::from_secs(1).as_nanos();
        u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1).min(self.total)
    }

    fn keep(&self, end: Instant) {
        let mut released = 0;
        loop {
            let now = Instant::now();
            let due = self.due_at(now);
            self.due.add_permits(usize::try_from(due - released).expect("a day's operations"));
            released = due;
            if now >= end {
                return self.due.close();
            }
            let next = if due < self.total { self.moment(due) } else { end };
            thread::sleep(next.saturating_duration_since(now).clamp(LOOK_MIN, LOOK_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timetable_waits_for_nobody_and_leaves_nothing_out() {
        let begin = Instant::now();
        let length = Duration::from_millis(300);
        let pace = Pace::start(begin, length, Some(1_000)).expect("a thread");
        let mut moments = Vec::new();
        while let Some(moment) = pace.next().await {
            moments.push(moment);
            if moments.len() == 100 {
                // A connection that is stuck for a third of the time.
                let stuck = Instant::now();
                while stuck.elapsed() < length / 3 {
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(begin.elapsed() >= length);
        let begun = u64::try_from(moments.len()).expect("a few");
        assert_eq!(begun + pace.never_begun(), 300);
        assert!(begun > 100, "what was held up is begun afterwards: {begun}");
        for (number, moment) in (0..).zip(&moments) {
            assert_eq!(*moment, begin + Duration::from_millis(number));
        }
    }

    #[tokio::test]
    async fn a_closed_loop_is_due_at_once_until_its_end() {
        let now = Instant::now();
        let pace = Pace::start(now, Duration::from_secs(60), None).expect("no thread");
        assert!(pace.next().await.is_some_and(|moment| moment >= now));
        let over = Pace::Closed { end: now };
        assert_eq!((over.next().await, over.never_begun()), (None, 0));
    }
}
