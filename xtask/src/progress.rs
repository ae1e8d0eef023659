//! What a person sees while a long task runs: one line when a step begins, one when it ends, and a summary.
//!
//! Never decides whether a step runs; it only tells and counts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Could not be tried on this machine, and why.
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// The steps so far, in the order in which they ran.
pub(crate) struct Progress {
    started: Instant,
    steps: Vec<Step>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), steps: Vec::new() }
    }

    /// Says something about what is going on, with the seconds since the task began.
    pub(crate) fn say(&self, text: &str) {
        println!("[{:>5.1} s] {text}", self.started.elapsed().as_secs_f64());
    }

    /// Runs a part of a larger task: it is announced and timed, and its error ends the task.
    pub(crate) fn part<T>(&mut self, name: &str, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.say(&format!("{name} …"));
        let began = Instant::now();
        let result = part(self);
        let verdict = if result.is_ok() { "done" } else { "FAILED" };
        self.say(&format!("{name}: {verdict} in {:.1} s", began.elapsed().as_secs_f64()));
        result
    }

    /// Runs one check of many and notes how it ended; the checks after it run all the same.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce(&mut Self) -> Result<Outcome>) {
        println!();
        self.say(&format!("{name} …"));
        let began = Instant::now();
        let outcome = check(self).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let took = began.elapsed();
        self.say(&format!("{name}: {} in {:.1} s", outcome.line(), took.as_secs_f64()));
        self.steps.push(Step { name: name.to_owned(), outcome, took });
    }

    /// Prints the summary and gives the exit code. `again` gives the command that runs a step alone.
    pub(crate) fn summary(&self, again: impl Fn(&str) -> String) -> ExitCode {
        println!("\nSummary ({:.1} s):", self.started.elapsed().as_secs_f64());
        for step in &self.steps {
            println!("  {:>7.1} s  {}: {}", step.took.as_secs_f64(), step.name, step.outcome.line());
        }
        let failed = self.steps.iter().find(|step| matches!(step.outcome, Outcome::Failed(_)));
        if let Some(first) = failed {
            println!("\nFirst failure: {}. To run only it: {}", first.name, again(&first.name));
        }
        println!("\n{}", self.count());
        if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn count(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| self.steps.iter().filter(|step| wanted(&step.outcome)).count();
        let mut line = format!(
            "steps: {} passed, {} failed",
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_)))
        );
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        if skipped > 0 {
            line.push_str(&format!(", {skipped} skipped"));
        }
        line
    }
}

impl Outcome {
    fn line(&self) -> String {
        match self {
            Self::Passed => "ok".to_owned(),
            Self::Failed(why) => format!("FAILED: {why}"),
            Self::Skipped(why) => format!("SKIPPED: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn every_step_is_counted_and_one_failure_fails_the_task() {
        let mut progress = Progress::start();
        progress.check("one", |_| Ok(Outcome::Passed));
        assert_eq!(progress.summary(str::to_owned), ExitCode::SUCCESS);
        progress.check("two", |_| Ok(Outcome::Skipped("no browser".to_owned())));
        assert_eq!(progress.count(), "steps: 1 passed, 0 failed, 1 skipped");
        assert_eq!(progress.summary(str::to_owned), ExitCode::SUCCESS);
        progress.check("three", |_| bail!("broken"));
        progress.check("four", |_| Ok(Outcome::Passed));
        assert_eq!(progress.count(), "steps: 2 passed, 1 failed, 1 skipped");
        assert_eq!(progress.summary(str::to_owned), ExitCode::FAILURE);
    }
}
