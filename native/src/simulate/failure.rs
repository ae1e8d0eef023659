//! What is said when a promise was broken: the promise, the story, the command that shows it again, and, if it is asked
//! for, a schedule that is as short as can be.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quorate_core::event::Event;
use quorate_core::sim::{self, Minimized, Recorded, Schedule, Story, Verdict, Violation};

use super::SimError;
use super::progress::Progress;
use super::summary::{name, number};

/// Runs that a search for a shorter schedule may take.
const BUDGET_RUNS: u32 = 3_000;
/// The most events that a story is told from; the newest are kept, the others are far from what broke.
const EVENTS_MAX: usize = 2_000_000;

/// Says what a schedule broke and how. With `minimize`, makes it shorter first and writes it to a file.
pub(super) fn report(
    schedule: &Schedule,
    verdict: &Verdict,
    minimize: bool,
    replay: &str,
    out: &mut impl Write,
) -> Result<(), SimError> {
    let Some(first) = verdict.violations.first() else { return Ok(()) };
    writeln!(out, "Broken at {}: {}", first.at, first.invariant.sentence())?;
    writeln!(out, "{}", first.detail)?;
    for other in &verdict.violations[1..] {
        writeln!(out, "Also at {}: {}: {}", other.at, name(&other.invariant), other.detail)?;
    }
    writeln!(out, "\nAgain: {replay}")?;
    if !minimize {
        writeln!(out, "Shorter: {replay} --minimize\n")?;
        tell(schedule, out)?;
        return Ok(());
    }
    let minimized = shorten(schedule, first);
    let path = PathBuf::from(format!("quorate-violation-{}.json", schedule.setting.seed));
    writeln!(
        out,
        "Shorter: {} of {} steps after {} runs: quorate sim --scenario {}\n",
        minimized.schedule.steps.len(),
        number(count(schedule.steps.len())),
        number(minimized.runs.into()),
        path.display()
    )?;
    let told = tell(&minimized.schedule, out)?;
    let about =
        told.map_or_else(String::new, |violation| format!("{}: {}", name(&violation.invariant), violation.detail));
    write_schedule(&path, &Recorded { about, schedule: minimized.schedule })
}

fn shorten(schedule: &Schedule, violation: &Violation) -> Minimized {
    let mut progress = Progress::new("runs", BUDGET_RUNS.into());
    let minimized = sim::minimize(schedule, violation.invariant, BUDGET_RUNS, &mut |so_far| {
        progress.set(so_far.runs.into(), &format!("{} steps are left", number(count(so_far.steps))));
    });
    progress.end();
    minimized
}

/// Runs the schedule once more, this time with events, and tells its story. Gives the violation that it ends with.
fn tell(schedule: &Schedule, out: &mut impl Write) -> io::Result<Option<Violation>> {
    let mut events: Vec<Event> = Vec::new();
    let verdict = traced(schedule).judge_with(&mut |fresh| {
        events.extend_from_slice(fresh);
        events.drain(..events.len().saturating_sub(EVENTS_MAX));
    });
    let Some(first) = verdict.violations.into_iter().next() else { return Ok(None) };
    writeln!(out, "{}", Story::tell(schedule, &first, &events))?;
    Ok(Some(first))
}

/// The same schedule, in which nodes say what they do.
pub(super) fn traced(schedule: &Schedule) -> Schedule {
    let mut traced = schedule.clone();
    traced.setting.trace = true;
    traced
}

/// Writes a schedule as JSON that people can read and change.
fn write_schedule(path: &Path, recorded: &Recorded) -> Result<(), SimError> {
    let mut text = serde_json::to_string_pretty(recorded).map_err(io::Error::from)?;
    text.push('\n');
    std::fs::write(path, text).map_err(|error| SimError::File { path: path.to_owned(), reason: error.to_string() })
}

/// Reads a schedule, recorded or bare.
pub(super) fn read_schedule(path: &Path) -> Result<Recorded, SimError> {
    let fail = |reason: String| SimError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| fail(format!("it is no schedule: {error}")))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_is_written_reads_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("schedule.json");
        let recorded = Recorded { about: "what it shows".to_owned(), schedule: Schedule::swarm(7, sim::Mode::Safety) };
        write_schedule(&path, &recorded).expect("written");
        assert_eq!(read_schedule(&path).expect("read"), recorded);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("{\n  \"about\": \"what it shows\",\n  \"setting\": {"), "{text:.80}");
    }

    #[test]
    fn a_file_that_is_no_schedule_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("schedule.json");
        assert!(read_schedule(&path).expect_err("not there").to_string().contains("schedule.json"));
        std::fs::write(&path, "{}").expect("written");
        let error = read_schedule(&path).expect_err("no schedule").to_string();
        assert!(error.ends_with("it is no schedule: missing field `setting` at line 1 column 2"), "{error}");
    }
}
