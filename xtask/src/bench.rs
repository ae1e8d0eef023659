//! `cargo xtask bench`: three release nodes on this machine under `quorate bench`, and beside them a bare quorum in the same
//! run, so that every ratio is of figures that were taken under the same conditions.
//!
//! Judges nothing: a table, and how busy the machine was.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::bare::Bare;
use crate::cluster::{Plan, SIZE};
use crate::demo::{build_example, interruption, server_or};
use crate::progress::Progress;
use crate::rehearsal::free_ports;
use crate::workspace::Workspace;
use crate::{command, http, usage};

/// What every run has in common.
const COMMON: [&str; 6] = ["bench", "--json", "--connections=64", "--keys=20000", "--value-size=100", "--for"];
/// What `quorate bench` says when the keys are there.
const BEGINS: &str = "measuring";
/// How long the nodes may take to own the ring together.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

const WRITES: &[&str] = &["--read-share=0"];
const BLIND: &[&str] = &["--read-share=0", "--blind"];
const READS: &[&str] = &["--read-share=1"];
const OPEN: &[&str] = &["--read-share=0.5", "--rate=1000"];

#[derive(Args)]
pub(crate) struct Options {
    /// How long each measurement takes
    #[arg(long = "for", default_value = "10s", value_name = "SPAN")]
    length: String,
    /// A release binary to measure, an older one for example [default: the one of this repository, built first]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// A line's name, what `quorate bench` is told, and the line of the bare quorum that it is compared with.
type Measurement = (&'static str, &'static [&'static str], Option<&'static str>);

/// One line of the table.
struct Row {
    what: &'static str,
    per_second: f64,
    /// The slower of reads and writes.
    latencies_us: [u64; 3],
    failed: u64,
    /// Of all three processes.
    processor_us: f64,
    /// The line of the bare quorum that it is compared with.
    beside: Option<&'static str>,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    let binary = server_or(workspace, progress, options.binary.as_ref())?;
    let bare = build_example(workspace, progress, "bare_quorum")?;
    let interrupted = interruption()?;
    let data = workspace.target().join("bench");
    remove(&data)?;
    let before = usage::load_average()?;
    let run = Run { binary, bare, data, length: &options.length };
    let rows = run.all(progress, &interrupted);
    remove(&run.data)?;
    println!("\n{}", table(&rows?));
    let (after, cores) = (usage::load_average()?, std::thread::available_parallelism()?);
    println!("{} each; {cores} processors, load average {before} before and {after} after", options.length);
    Ok(())
}

fn remove(data: &Path) -> Result<()> {
    if data.exists() {
        fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    Ok(())
}

struct Run<'a> {
    binary: PathBuf,
    bare: PathBuf,
    data: PathBuf,
    length: &'a str,
}

impl Run<'_> {
    fn all(&self, progress: &mut Progress, interrupted: &Receiver<()>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        progress.part("nodes", |_| {
            let measured = [
                ("durable writes with contexts", WRITES, Some("bare: synced writes")),
                ("durable writes, blind", BLIND, Some("bare: synced writes")),
                ("reads, R=2", READS, Some("bare: reads")),
                ("1,000/s, half writes", OPEN, Some("bare: 1,000/s, half synced writes")),
            ];
            rows.extend(self.nodes(&measured, interrupted)?);
            Ok(())
        })?;
        progress.part("bare quorum, synced", |_| {
            let bare = Bare::start(&self.bare, Some(&self.data.join("bare")))?;
            for (what, flags) in [("bare: synced writes", WRITES), ("bare: 1,000/s, half synced writes", OPEN)] {
                rows.push(self.measure(bare.addresses(), &bare.process_ids(), what, flags, None)?);
            }
            Ok(())
        })?;
        progress.part("bare quorum, in memory", |_| {
            let bare = Bare::start(&self.bare, None)?;
            for (what, flags) in [("bare: writes in memory", WRITES), ("bare: reads", READS)] {
                rows.push(self.measure(bare.addresses(), &bare.process_ids(), what, flags, None)?);
            }
            Ok(())
        })?;
        Ok(rows)
    }

    fn nodes(&self, measured: &[Measurement], interrupted: &Receiver<()>) -> Result<Vec<Row>> {
        let plan = Plan { binary: self.binary.clone(), first_port: free_ports(SIZE)?, data: self.data.join("nodes") };
        let mut cluster = plan.start()?;
        cluster.wait_until_ready(interrupted)?;
        wait_until_settled(&plan.addresses())?;
        let measure = |(what, flags, beside): &Measurement| {
            self.measure(&plan.addresses(), &cluster.process_ids(), what, flags, *beside)
        };
        let rows = measured.iter().map(measure).collect();
        cluster.stop()?;
        rows
    }

    /// One run of `quorate bench`, and the processor time that the servers took from its beginning to its end.
    fn measure(
        &self,
        addresses: &[SocketAddr],
        ids: &[u32],
        what: &'static str,
        flags: &[&str],
        beside: Option<&'static str>,
    ) -> Result<Row> {
        let endpoints: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let mut bench = Command::new(&self.binary);
        bench.args(COMMON).arg(self.length).args(flags).args(["--endpoint", &endpoints.join(",")]);
        bench.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = bench.spawn().with_context(|| format!("cannot start `{}`", command::line(&bench)))?;
        let mut told = BufReader::new(running.stderr.take().context("its standard error is a pipe")?).lines();
        let mut lines = Vec::new();
        while let Some(line) = told.next().transpose()? {
            let begins = line.contains(BEGINS);
            lines.push(line);
            if begins {
                break;
            }
        }
        let before = usage::processor_time(ids)?;
        for line in told {
            lines.push(line?);
        }
        let mut output = String::new();
        running.stdout.take().context("its output is a pipe")?.read_to_string(&mut output)?;
        let status = running.wait()?;
        ensure!(status.success(), "`{}` failed ({status}):\n{}", command::line(&bench), lines.join("\n"));
        let used = usage::processor_time(ids)?.saturating_sub(before);
        row(what, &serde_json::from_str(&output)?, used, beside).context("`quorate bench` gives no such figures")
    }
}

fn row(what: &'static str, figures: &Value, used: Duration, beside: Option<&'static str>) -> Option<Row> {
    let slower = |name| figures["reads"][name].as_u64().max(figures["writes"][name].as_u64());
    let operations = figures["operations"].as_f64().filter(|operations| *operations > 0.0)?;
    Some(Row {
        what,
        per_second: figures["operations_per_second"].as_f64()?,
        latencies_us: [slower("p50_us")?, slower("p99_us")?, slower("p99_9_us")?],
        failed: figures["failed"].as_u64()? + figures["never_begun"].as_u64()?,
        processor_us: used.as_secs_f64() * 1e6 / operations,
        beside,
    })
}

fn wait_until_settled(addresses: &[SocketAddr]) -> Result<()> {
    let began = Instant::now();
    let is_settled = |address: &SocketAddr| {
        let ring = http::get_json(*address, "/api/v1/ring", REQUEST_TIMEOUT).unwrap_or_default();
        let owners = ring["nodes"].as_array().map_or(0, Vec::len);
        owners == usize::from(SIZE) && http::get_json(*address, "/ready", REQUEST_TIMEOUT).is_ok()
    };
    while !addresses.iter().all(is_settled) {
        let seconds = SETTLE_TIMEOUT.as_secs();
        ensure!(began.elapsed() < SETTLE_TIMEOUT, "the nodes do not own the ring together after {seconds} s");
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<36}{:>9}{:>10}{:>10}{:>10}{:>8}{:>12}{:>9}{:>7}\n",
        "", "A SECOND", "P50", "P99", "P99.9", "FAILED", "CPU/OP", "SPEED", "CPU"
    );
    for row in rows {
        let beside = row.beside.and_then(|name| rows.iter().find(|other| other.what == name));
        let ratio = |of: fn(&Row) -> f64| beside.map_or_else(String::new, |bare| format!("{:.2}x", of(row) / of(bare)));
        let [p50, p99, p99_9] = row.latencies_us.map(|micros| format!("{:.2} ms", micros as f64 / 1_000.0));
        text += &format!(
            "{:<36}{:>9.0}{p50:>10}{p99:>10}{p99_9:>10}{:>8}{:>12}{:>9}{:>7}\n",
            row.what,
            row.per_second,
            row.failed,
            format!("{:.0} us", row.processor_us),
            ratio(|row| row.per_second),
            ratio(|row| row.processor_us),
        );
    }
    text + "latencies: the slower of reads and writes; CPU/OP: of all three servers; SPEED and CPU: against the bare quorum\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_compared_with_its_bare_quorum() {
        let figures = serde_json::json!({
            "operations": 2_000, "operations_per_second": 1_000.0, "failed": 1, "never_begun": 2,
            "reads": {"p50_us": null, "p99_us": null, "p99_9_us": null},
            "writes": {"p50_us": 1_500, "p99_us": 9_000, "p99_9_us": 12_000},
        });
        let node = row("node", &figures, Duration::from_secs(1), Some("bare")).expect("figures");
        assert_eq!((node.processor_us, node.failed, node.latencies_us), (500.0, 3, [1_500, 9_000, 12_000]));
        let bare = Row { what: "bare", per_second: 4_000.0, processor_us: 125.0, beside: None, ..node };
        let node = row("node", &figures, Duration::from_secs(1), Some("bare")).expect("figures");
        let text = table(&[node, bare]);
        let line = text.lines().find(|line| line.starts_with("node")).expect("a line");
        assert!(line.ends_with("0.25x  4.00x"), "{text}");
        assert!(row("none", &serde_json::json!({"operations": 0}), Duration::ZERO, None).is_none());
    }
}
