//! The clock of the picture: between two words from the simulated world, simulated time goes on at the known speed, so
//! that motion is smooth and still a function of simulated time alone. Never goes back within one run.

use std::time::Duration;

use quorate_core::sim::player::Playback;
use quorate_core::time::Time;

/// Longest span on the screen that is shown without a word from the world: then the picture waits for it.
const LEAD_MAX_MS: f64 = 100.0;

/// What the screen shows the time to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clock {
    playback: Playback,
    heard_at_ms: f64,
    shown_at_least: Time,
}

impl Clock {
    /// Takes a word from the world, heard at `wall_ms` on the screen's clock.
    pub fn hear(&mut self, playback: Playback, wall_ms: f64) {
        let shown = self.at(wall_ms);
        let goes_on = playback.run == self.playback.run && playback.playing && !playback.settling;
        self.shown_at_least = if goes_on { shown } else { Time::ZERO };
        self.playback = playback;
        self.heard_at_ms = wall_ms;
    }

    /// The simulated time to be shown at `wall_ms` on the screen's clock.
    #[must_use]
    pub fn at(&self, wall_ms: f64) -> Time {
        if !self.is_running() {
            return self.playback.now;
        }
        let lead_ms = (wall_ms - self.heard_at_ms).clamp(0.0, LEAD_MAX_MS);
        let lead = self.playback.speed.cluster_time(Duration::from_secs_f64(lead_ms / 1_000.0));
        (self.playback.now + lead).max(self.shown_at_least)
    }

    /// Whether simulated time passes by itself.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.playback.playing && !self.playback.settling && !self.playback.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_core::sim::player::Speed;

    fn playback(now_us: u64, playing: bool) -> Playback {
        Playback { run: 1, now: Time(now_us * 1_000), playing, speed: Speed::Hundredth, ..Playback::default() }
    }

    #[test]
    fn time_goes_on_between_words_at_the_known_speed_and_waits_when_none_come() {
        let mut clock = Clock::default();
        clock.hear(playback(2_000, true), 500.0);
        for (wall_ms, shown_us) in [(500.0, 2_000), (510.0, 2_100), (600.0, 3_000), (5_000.0, 3_000)] {
            assert_eq!(clock.at(wall_ms), Time(shown_us * 1_000), "at {wall_ms} ms");
        }
        clock.hear(playback(2_000, false), 510.0);
        assert_eq!(clock.at(900.0), Time(2_000_000), "a paused picture shows the world's own time");
    }

    #[test]
    fn a_new_run_begins_at_its_own_time() {
        let mut clock = Clock::default();
        clock.hear(playback(9_000_000, true), 0.0);
        clock.hear(Playback { run: 2, ..playback(10, true) }, 20.0);
        assert_eq!(clock.at(20.0), Time(10_000));
    }

    proptest! {
        #[test]
        fn it_never_goes_back_while_it_runs(words in prop::collection::vec((0_u64..50, 0_u32..200, 0_u32..200), 1..60)) {
            let (mut clock, mut now_us, mut wall_ms, mut last) = (Clock::default(), 0, 0.0, Time::ZERO);
            for (advance_us, quiet_ms, look_ms) in words {
                now_us += advance_us * 100;
                wall_ms += f64::from(quiet_ms);
                clock.hear(playback(now_us, true), wall_ms);
                wall_ms += f64::from(look_ms);
                prop_assert!(clock.at(wall_ms) >= last);
                last = clock.at(wall_ms);
            }
        }
    }
}
