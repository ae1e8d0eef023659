//! How far a long run is, for whoever waits: a bar on a terminal, else a line every few seconds. Always on standard error;
//! never a part of the result.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Something that is so far.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    last_line: Instant,
}

impl Progress {
    /// Begins at nothing of `total`; `what` is what is counted, in the plural.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("a template without mistakes");
            ProgressBar::new(total).with_style(style)
        });
        let now = Instant::now();
        Self { bar, what, total, done: 0, began: now, last_line: now }
    }

    /// How far it is now, with a remark.
    pub(super) fn set(&mut self, done: u64, remark: &str) {
        let remark = format!("{}, {:.1}/s, {remark}", self.what, self.rate(done));
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(remark);
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                eprintln!("{done}/{} {remark}", self.total);
            }
            None => {}
        }
    }

    /// One more is done, with a remark.
    pub(super) fn advance(&mut self, remark: &str) {
        self.done += 1;
        self.set(self.done, remark);
    }

    /// What is being done, where that is no step of it.
    pub(super) fn say(&mut self, remark: &str) {
        self.set(self.done, remark);
    }

    /// Takes the bar away, so that nothing stands between the lines of the result.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Since it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn rate(&self, done: u64) -> f64 {
        // A count of seeds is far below 2^53.
        done as f64 / self.began.elapsed().as_secs_f64().max(0.001)
    }
}
