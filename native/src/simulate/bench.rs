//! `quorate sim --bench`: how fast the simulated world is here, on one core.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use quorate_core::sim::Bench;

use super::summary::{number, span};

/// Clusters whose cost for each event is compared, and how long each is under load.
const SIZES: [(u16, Duration); 3] =
    [(5, Duration::from_mins(10)), (50, Duration::from_mins(1)), (100, Duration::from_mins(1))];

/// One measurement.
struct Measured {
    load: Duration,
    took: Duration,
    things: u64,
}

impl Measured {
    fn of(nodes: u16, load: Duration) -> Self {
        let mut bench = Bench::new(nodes);
        let began = Instant::now();
        bench.run(load);
        Self { load, took: began.elapsed(), things: bench.things() }
    }

    fn ratio(&self) -> f64 {
        self.load.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Events a second. Counts and rates are far below 2^53.
    fn rate(&self) -> u64 {
        (self.things as f64 / self.took.as_secs_f64()) as u64
    }

    fn event_ns(&self) -> u128 {
        self.took.as_nanos() / u128::from(self.things.max(1))
    }
}

/// Measures, and prints as it goes.
pub(super) fn run(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "10,000 keys, R = W = 2 of 3, 100 operations a second, gossip, repair and invariants on, no events recorded, one core"
    )?;
    for (nodes, load) in SIZES {
        let measured = Measured::of(nodes, load);
        writeln!(
            out,
            "{nodes:>3} nodes: {} in {}, {:.0} times real time, {} events, {} a second, {} ns each",
            span(measured.load),
            span(measured.took),
            measured.ratio(),
            number(measured.things),
            number(measured.rate()),
            measured.event_ns()
        )?;
        out.flush()?;
    }
    Ok(())
}
