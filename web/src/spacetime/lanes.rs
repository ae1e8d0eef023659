//! Where things stand on the space-time diagram: a lane for each client and node, and simulated time along them, to the
//! right on a wide screen and downwards on a phone. Pure geometry.

use std::time::Duration;

use quorate_core::sim::player::Speed;
use quorate_core::time::Time;

use crate::mark::Point;

/// How much of the screen's time the diagram looks back.
const LOOK_BACK: Duration = Duration::from_millis(4_200);
/// How much of it lies ahead of now.
const LOOK_AHEAD: Duration = Duration::from_millis(700);
/// Lanes nearer to each other than this have no letters, in pixels.
const LETTER_PITCH_MIN: f64 = 13.0;
/// Ticks of the axis are at least this far apart, in pixels.
const TICK_ROOM: f64 = 110.0;

/// Where the lanes are and what time they show.
#[derive(Clone, Debug, PartialEq)]
pub struct Lanes {
    /// Size across the lanes and along them, in pixels.
    across: f64,
    along: f64,
    /// Whether time runs downwards.
    pub downward: bool,
    /// How many lanes there are.
    count: usize,
    /// The first moment that is shown.
    pub start: Time,
    /// The moment of the picture.
    pub now: Time,
    /// The last moment that has room.
    pub end: Time,
}

/// Room for the heads of the lanes and for the axis, in pixels.
const HEAD: f64 = 66.0;
const TAIL: f64 = 12.0;
const BEFORE_FIRST: f64 = 34.0;
const AFTER_LAST: f64 = 50.0;

impl Lanes {
    /// Lanes on a canvas of this size, at this moment and speed.
    #[must_use]
    pub fn new(width: f64, height: f64, downward: bool, count: usize, now: Time, speed: Speed) -> Self {
        let (along, across) = if downward { (height, width) } else { (width, height) };
        let look_back = speed.cluster_time(LOOK_BACK);
        let start = Time(now.0.saturating_sub(u64::try_from(look_back.as_nanos()).unwrap_or(u64::MAX)));
        let end = start + look_back + speed.cluster_time(LOOK_AHEAD);
        Self { across, along, downward, count, start, now, end }
    }

    /// The distance from one lane to the next, in pixels.
    #[must_use]
    pub fn pitch(&self) -> f64 {
        let room = self.across - BEFORE_FIRST - AFTER_LAST;
        (room / (self.count.max(2) - 1) as f64).min(44.0)
    }

    /// Whether lanes are far enough apart for letters.
    #[must_use]
    pub fn is_lettered(&self) -> bool {
        self.pitch() >= LETTER_PITCH_MIN
    }

    /// The distance of a moment from the edge where time begins.
    #[must_use]
    pub fn along(&self, at: Time) -> f64 {
        let whole = self.end.since(self.start).as_secs_f64().max(1e-12);
        let share = if at >= self.start {
            at.since(self.start).as_secs_f64() / whole
        } else {
            -(self.start.since(at).as_secs_f64() / whole)
        };
        HEAD + share * (self.along - HEAD - TAIL)
    }

    /// The distance of a lane from the edge across; fractions lie between two lanes.
    #[must_use]
    pub fn across(&self, lane: f64) -> f64 {
        let used = self.pitch() * (self.count.max(1) - 1) as f64;
        let slack = (self.across - BEFORE_FIRST - AFTER_LAST - used).max(0.0);
        BEFORE_FIRST + slack / 2.0 + lane * self.pitch()
    }

    /// A moment on a lane.
    #[must_use]
    pub fn place(&self, at: Time, lane: f64) -> Point {
        self.turned(self.along(at), self.across(lane))
    }

    /// The head of a lane.
    #[must_use]
    pub fn head(&self, lane: f64) -> Point {
        self.turned(HEAD - 36.0, self.across(lane))
    }

    /// A place by its distances along and across.
    #[must_use]
    pub fn turned(&self, along: f64, across: f64) -> Point {
        if self.downward { Point::new(across, along) } else { Point::new(along, across) }
    }

    /// Where the lanes begin and end across, a little beyond the outermost.
    #[must_use]
    pub fn edges(&self) -> (f64, f64) {
        (self.across(0.0) - 14.0, self.across((self.count.max(1) - 1) as f64) + 14.0)
    }

    /// Where the lanes end along.
    #[must_use]
    pub fn far_edge(&self) -> f64 {
        self.along - TAIL
    }

    /// Round moments for the axis.
    #[must_use]
    pub fn ticks(&self) -> Vec<Time> {
        let span = self.end.since(self.start).as_nanos();
        let room = ((self.along - HEAD - TAIL) / TICK_ROOM).max(1.0);
        let wanted = u64::try_from(span).unwrap_or(u64::MAX) as f64 / room;
        let step = round_step(wanted);
        let first = self.start.0.div_ceil(step);
        (first..).map(|index| Time(index.saturating_mul(step))).take_while(|at| *at <= self.end).take(100).collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `wanted` nanoseconds.
fn round_step(wanted: f64) -> u64 {
    let mut power = 1_u64;
    loop {
        for digit in [1, 2, 5] {
            let step = power.saturating_mul(digit);
            if step as f64 >= wanted || step == u64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_motion_shows_milliseconds_and_a_fast_run_shows_minutes() {
        for (speed, shown_ms) in
            [(Speed::Thousandth, 4), (Speed::Hundredth, 49), (Speed::Real, 4_900), (Speed::Hundred, 490_000)]
        {
            let lanes = Lanes::new(816.0, 296.0, false, 8, Time::from_ms(10_000_000), speed);
            assert_eq!(lanes.end.since(lanes.start).as_millis(), shown_ms, "{speed:?}");
            assert!((2..=8).contains(&lanes.ticks().len()), "{speed:?}: {:?}", lanes.ticks());
        }
    }

    #[test]
    fn steps_of_the_axis_are_round() {
        for (wanted, step) in [(0.5, 1), (1.0, 1), (1.5, 2), (3.0, 5), (7_000.0, 10_000), (1.9e9, 2_000_000_000)] {
            assert_eq!(round_step(wanted), step);
        }
    }

    #[test]
    fn time_runs_downwards_on_a_phone() {
        let now = Time::from_ms(2_400);
        let wide = Lanes::new(816.0, 296.0, false, 7, now, Speed::Hundredth);
        let phone = Lanes::new(296.0, 816.0, true, 7, now, Speed::Hundredth);
        let (right, down) = (wide.place(now, 2.0), phone.place(now, 2.0));
        assert_eq!((right.x, right.y), (down.y, down.x));
    }

    proptest! {
        #[test]
        fn now_and_every_lane_are_on_the_canvas(
            width in 300.0..2_000.0_f64, height in 200.0..900.0_f64, downward: bool, count in 1_usize..70, now_ms in 0_u64..10_000_000,
        ) {
            let now = Time::from_ms(now_ms);
            let lanes = Lanes::new(width, height, downward, count, now, Speed::Hundredth);
            for lane in 0..count {
                let place = lanes.place(now, lane as f64);
                prop_assert!(place.x >= 0.0 && place.x <= width && place.y >= 0.0 && place.y <= height, "{place:?}");
            }
        }
    }
}
