//! What came of a sweep, as text: a table for people, and one last line for scripts. Counts nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use quorate_core::sim::{Fault, Mark, Tally};
use serde::Serialize;

/// Seeds from which on a sweep must have seen everything.
pub(super) const THOROUGH_SEEDS: u64 = 10_000;
/// How often a thorough sweep must have seen every fault and every mark.
const SEEN_MIN: u64 = 100;

/// The table: time, then faults, marks and operations side by side.
pub(super) fn table(tally: &Tally, simulated: Duration, took: Duration) -> String {
    let mut text = String::new();
    let seconds = took.as_secs_f64().max(0.001);
    // Counts and spans of any sweep are far below 2^53.
    let rate = (tally.things as f64 / seconds) as u64;
    let ratio = (simulated.as_secs_f64() / seconds) as u64;
    let _ = writeln!(text, "simulated  {} in {}: {} times real time", span(simulated), span(took), number(ratio));
    let _ = writeln!(text, "events     {}: {} a second\n", number(tally.things), number(rate));
    let columns =
        [("FAULTS", counts(&tally.faults)), ("SEEN", counts(&tally.marks)), ("OPERATIONS", counts(&tally.outcomes))];
    let columns = columns.map(|(head, rows)| column(head, &rows));
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    for row in 0..height {
        let cells = columns.iter().map(|column| {
            let width = column.first().map_or(0, |cell| cell.chars().count());
            column.get(row).cloned().unwrap_or_else(|| " ".repeat(width))
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("    ").trim_end());
    }
    text
}

/// What a thorough sweep should have seen more often, a sentence each.
pub(super) fn unseen(seeds: u64, tally: &Tally) -> Vec<String> {
    if seeds < THOROUGH_SEEDS {
        return Vec::new();
    }
    let rarely = |name: String, times: u64| {
        (times < SEEN_MIN).then(|| format!("{name} happened {times} times in {seeds} seeds: {SEEN_MIN} are the least"))
    };
    let times = |count: Option<&u64>| count.copied().unwrap_or(0);
    let faults = Fault::ALL.iter().filter_map(|kind| rarely(name(kind), times(tally.faults.get(kind))));
    let marks = Mark::ALL.iter().filter_map(|kind| rarely(name(kind), times(tally.marks.get(kind))));
    faults.chain(marks).collect()
}

/// How many faults of any kind there were.
pub(super) fn faults(tally: &Tally) -> u64 {
    tally.faults.values().sum()
}

/// Cells of one width: a head, and a name with its count in each row.
fn column(head: &str, rows: &[(String, String)]) -> Vec<String> {
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(head.len());
    let counts = rows.iter().map(|(_, count)| count.len()).max().unwrap_or(0);
    let row = |name: &str, count: &str| format!("{name:<names$}  {count:>counts$}");
    std::iter::once(row(head, "")).chain(rows.iter().map(|(name, count)| row(name, count))).collect()
}

fn counts<K: Serialize>(counts: &BTreeMap<K, u64>) -> Vec<(String, String)> {
    counts.iter().map(|(kind, count)| (name(kind), number(*count))).collect()
}

/// The name that a kind has in JSON.
pub(super) fn name(kind: &impl Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("kinds are plain names, not {other:?}"),
    }
}

/// A number that people can read: `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span that people can read: `2.5 s`, `3 min 20 s`, `5 h 12 min`, `12 days 3 h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", span.as_secs_f64()),
        100..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_as_people_write_them() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(number), ["0", "12", "123", "1,234", "1,234,567"]);
        let spans = [2, 200, 18_720, 1_047_600].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["2.0 s", "3 min 20 s", "5 h 12 min", "12 days 3 h"]);
    }

    fn tally(times: u64) -> Tally {
        Tally {
            things: 12_000,
            faults: Fault::ALL.into_iter().map(|kind| (kind, times)).collect(),
            marks: Mark::ALL.into_iter().map(|kind| (kind, times)).collect(),
            outcomes: [("written".to_owned(), 1_234)].into(),
        }
    }

    #[test]
    fn the_columns_stand_side_by_side() {
        let tally = Tally { faults: [(Fault::Crash, 12)].into(), marks: [(Mark::Conflict, 3)].into(), ..tally(0) };
        let text = table(&tally, Duration::from_secs(600), Duration::from_secs(2));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "simulated  10 min 0 s in 2.0 s: 300 times real time",
                "events     12,000: 6,000 a second",
                "",
                "FAULTS        SEEN           OPERATIONS",
                "crash   12    conflict  3    written     1,234",
            ]
        );
    }

    #[test]
    fn a_thorough_sweep_must_have_seen_everything_often_enough() {
        let all = Fault::ALL.len() + Mark::ALL.len();
        for (seeds, times, missing) in [(THOROUGH_SEEDS, 100, 0), (THOROUGH_SEEDS, 99, all), (THOROUGH_SEEDS - 1, 0, 0)]
        {
            assert_eq!(unseen(seeds, &tally(times)).len(), missing, "{seeds} seeds, {times} times");
        }
        let unseen = unseen(THOROUGH_SEEDS, &Tally::default());
        assert_eq!(unseen[0], "loss happened 0 times in 10000 seeds: 100 are the least");
    }
}
