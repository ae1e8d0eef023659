//! How far a run is, for whoever waits for more than a second. Always on standard error; never a part of the result.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::connection::Shared;

/// Between two looks, on a terminal and elsewhere.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Tells of a run until it is over.
pub(super) struct Progress {
    task: JoinHandle<()>,
    /// Redrawn in place; only on a terminal.
    line: Option<ProgressBar>,
}

impl Progress {
    /// Must be called inside a tokio runtime. `what` is what is counted, in the plural.
    pub(super) fn start(shared: Arc<Shared>, what: &'static str) -> Self {
        let line = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        let task = tokio::spawn(tell(shared, what, line.clone()));
        Self { task, line }
    }

    /// Takes the line away, so that nothing stands between the lines of the result.
    pub(super) fn end(self) {
        self.task.abort();
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

async fn tell(shared: Arc<Shared>, what: &'static str, line: Option<ProgressBar>) {
    let begin = Instant::now();
    let mut before = 0;
    let mut looked = begin;
    loop {
        sleep(LOOK_INTERVAL).await;
        let (done, failed) = shared.progress();
        // Counts far below 2^53.
        let rate = (done - before) as f64 / looked.elapsed().as_secs_f64();
        (before, looked) = (done, Instant::now());
        let text = format!("{:.0} s: {done} {what}, {rate:.0}/s, {failed} failed", begin.elapsed().as_secs_f64());
        match &line {
            Some(line) => line.set_message(text),
            None => eprintln!("{text}"),
        }
    }
}
