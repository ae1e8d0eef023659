//! What a run has come to, as a table and as JSON. Measures nothing.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::BenchArguments;
use super::tally::Tally;
use crate::client::render;

/// All that there is to say at the end.
pub(super) struct Report<'a> {
    pub(super) arguments: &'a BenchArguments,
    pub(super) tally: Tally,
    /// Operations that were due and for which no connection had time.
    pub(super) never_begun: u64,
    /// From the first operation's beginning to the last one's end.
    pub(super) took: Duration,
}

impl Report<'_> {
    pub(super) fn json(&self) -> Value {
        let arguments = self.arguments;
        let errors: serde_json::Map<_, _> =
            self.tally.failures.iter().map(|(kind, failures)| (kind.clone(), failures.count.into())).collect();
        json!({
            "loop": if arguments.rate.is_some() { "open" } else { "closed" },
            "connections": arguments.connections,
            "rate": arguments.rate,
            "keys": arguments.keys,
            "zipfian": arguments.zipfian,
            "read_share": arguments.read_share,
            "value_bytes": arguments.value_size,
            "blind": arguments.blind,
            "took_s": self.took.as_secs_f64(),
            "begun": self.tally.operations() + self.tally.failed_count(),
            "never_begun": self.never_begun,
            "operations": self.tally.operations(),
            "operations_per_second": self.per_second(self.tally.operations()),
            "failed": self.tally.failed_count(),
            "errors": errors,
            "reads": latencies(&self.tally.reads),
            "writes": latencies(&self.tally.writes),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut both = self.tally.reads.clone();
        both += &self.tally.writes;
        let rows = [("reads", &self.tally.reads), ("writes", &self.tally.writes), ("both", &both)];
        let rows = rows.map(|(name, histogram)| self.row(name, histogram));
        let mut text = render(&["", "SUCCEEDED", "A SECOND", "P50", "P90", "P99", "P99.9", "MAX"], &rows);
        text += &format!("\n{}\n", self.conditions());
        if self.never_begun > 0 {
            let never = self.never_begun;
            text += &format!("{never} operations were due and never began: all connections were busy to the end\n");
        }
        if self.tally.failures.is_empty() {
            return text + "errors: none\n";
        }
        let failures = self.tally.failures.iter();
        let rows: Vec<_> =
            failures.map(|(kind, of)| vec![kind.clone(), of.count.to_string(), of.example.clone()]).collect();
        text + "\n" + &render(&["ERROR", "COUNT", "ONE OF THEM"], &rows)
    }

    fn row(&self, name: &str, histogram: &Histogram<u64>) -> Vec<String> {
        let count = histogram.len();
        let numbers = [name.to_owned(), count.to_string(), format!("{:.0}", self.per_second(count))];
        let latencies = [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| match count {
            0 => "-".into(),
            _ => milliseconds(histogram.value_at_quantile(quantile)),
        });
        numbers.into_iter().chain(latencies).collect()
    }

    fn conditions(&self) -> String {
        let arguments = self.arguments;
        let pace = match arguments.rate {
            Some(rate) => format!("{rate} operations a second due, times counted from when each was due"),
            None => "each connection waits for its answers".into(),
        };
        let keys = arguments.zipfian.map_or_else(|| "uniform".into(), |exponent| format!("Zipf {exponent}"));
        let writes = if arguments.blind { "blind" } else { "with contexts" };
        format!(
            "{:.1} s, {} connections, {pace}; {} keys, {keys}; {}-byte values, writes {writes}",
            self.took.as_secs_f64(),
            arguments.connections,
            arguments.keys,
            arguments.value_size,
        )
    }

    fn per_second(&self, count: u64) -> f64 {
        // Counts far below 2^53.
        count as f64 / self.took.as_secs_f64()
    }
}

/// Null for what did not happen.
fn latencies(histogram: &Histogram<u64>) -> Value {
    let at = |quantile| (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile));
    json!({
        "operations": histogram.len(),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p99_us": at(0.99),
        "p99_9_us": at(0.999),
        "max_us": at(1.0),
    })
}

fn milliseconds(micros: u64) -> String {
    format!("{:.2} ms", Duration::from_micros(micros).as_secs_f64() * 1_000.0)
}
