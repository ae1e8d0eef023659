//! `quorate bench`: how much a running cluster does, and how soon it answers. Closed loop: every connection sends its next
//! operation when the one before was answered. Open loop: operations are due at a fixed rate whatever becomes of those before,
//! and each one's time counts from when it was due, so that a stall shows in all the operations that it held up.
//!
//! Nothing is tried again: what fails is counted.

mod choice;
mod connection;
mod pace;
mod progress;
mod report;
mod tally;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use tokio::task::JoinSet;

use self::choice::Mix;
use self::connection::{Connection, Shared};
use self::pace::Pace;
use self::progress::Progress;
use self::report::Report;
use self::tally::Tally;
use crate::client::ClientArguments;
use crate::config::{Size, Span};
use crate::load::Access;
use crate::tls::TlsError;

/// How long one operation may take before it counts as failed.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest run.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// No node takes larger values.
const VALUE_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Above this practically every operation is for the first key.
const ZIPFIAN_MAX: f64 = 10.0;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct BenchArguments {
    /// Connections, spread over the endpoints; each has one operation under way
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Open loop: this many operations a second are due, answered or not [default: closed loop]
    #[arg(long, value_name = "OPS", value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How long to measure
    #[arg(long = "for", value_name = "SPAN", default_value = "10s", value_parser = parse_length)]
    length: Duration,
    /// Keys, bench-0 and so on; each is written once before the measuring begins, and they stay afterwards
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// Prefer some keys, by Zipf's law with this exponent [default: all keys alike]
    #[arg(long, value_name = "EXPONENT", value_parser = parse_exponent)]
    zipfian: Option<f64>,
    /// Which part of the operations are reads, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = parse_share)]
    read_share: f64,
    /// Size of the text that is written, at most 16MiB
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_value_size)]
    value_size: usize,
    /// Write without contexts, so that each write reads before it replaces
    #[arg(long)]
    blind: bool,
    /// Where to ask.
    #[command(flatten)]
    client: ClientArguments,
}

fn parse_length(text: &str) -> Result<Duration, String> {
    let Span(length) = text.parse().map_err(|error: crate::config::UnitError| error.to_string())?;
    if length.is_zero() || length > LENGTH_MAX {
        return Err("a run lasts more than nothing and at most 24h".into());
    }
    Ok(length)
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    let fits = text.parse().ok().filter(|exponent: &f64| *exponent > 0.0 && *exponent <= ZIPFIAN_MAX);
    fits.ok_or_else(|| format!("an exponent is above 0 and at most {ZIPFIAN_MAX}, for example 0.99"))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let fits = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    fits.ok_or_else(|| "a share is from 0 to 1, for example 0.95".into())
}

fn parse_value_size(text: &str) -> Result<usize, String> {
    let Size(bytes) = text.parse().map_err(|error: crate::config::UnitError| error.to_string())?;
    if bytes > VALUE_MAX_BYTES {
        return Err("a value has at most 16MiB".into());
    }
    Ok(bytes)
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The keys cannot be written.
    #[error("{key} could not be written before the measuring: {reason}")]
    Prepare {
        /// The key.
        key: String,
        /// What the last try came to.
        reason: String,
    },
    /// All that there is to say is that nothing works.
    #[error("not one operation succeeded; one of the failures: {0}")]
    AllFailed(String),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Standard output, or a thread.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

/// Writes every key once, measures, and writes what it has come to.
///
/// # Errors
/// [`BenchError`].
pub async fn run(arguments: &BenchArguments, out: &mut impl Write) -> Result<(), BenchError> {
    let client = &arguments.client;
    let access = Access { token: client.token().map(Into::into), tls: client.tls()?, timeout: TRY_TIMEOUT };
    let mix = Mix::new(arguments.keys, arguments.zipfian, arguments.read_share);
    let shared = Arc::new(Shared::new(client.endpoint.clone(), access, mix, arguments.value_size, arguments.blind));
    prepare(&shared, arguments).await?;

    let begin = Instant::now();
    let pace = Arc::new(Pace::start(begin, arguments.length, arguments.rate)?);
    let progress = Progress::start(shared.clone(), "operations");
    let mut connections = JoinSet::new();
    for number in 0..arguments.connections {
        connections.spawn(Connection::new(shared.clone(), number).measure(pace.clone()));
    }
    let mut tally = Tally::default();
    while let Some(ended) = connections.join_next().await {
        tally.merge(&ended.expect("a connection does not panic"));
    }
    let report = Report { arguments, tally, never_begun: pace.never_begun(), took: begin.elapsed() };
    progress.end();
    let text = if client.json { report.json().to_string() + "\n" } else { report.text() };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    match report.tally.reason() {
        Some(reason) if report.tally.operations() == 0 => Err(BenchError::AllFailed(reason.into())),
        _ => Ok(()),
    }
}

/// Writes every key once, so that reads find something and writes know what they replace.
async fn prepare(shared: &Arc<Shared>, arguments: &BenchArguments) -> Result<(), BenchError> {
    let progress = Progress::start(shared.clone(), "keys written");
    let mut connections = JoinSet::new();
    for number in 0..arguments.connections {
        connections.spawn(Connection::new(shared.clone(), number).prepare());
    }
    while let Some(ended) = connections.join_next().await {
        ended.expect("a connection does not panic")?;
    }
    progress.end();
    shared.reset_progress();
    // Whoever watches the nodes from outside takes their figures from here on.
    eprintln!("{} keys are written; measuring", arguments.keys);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        assert_eq!(parse_length("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["0s", "25h"] {
            assert!(parse_length(wrong).expect_err(wrong).contains("at most 24h"));
        }
        assert!(parse_length("10").expect_err("no unit").contains("200ms"));
        assert_eq!(parse_share("0.95"), Ok(0.95));
        for wrong in ["-0.1", "1.1", "NaN", "half"] {
            assert!(parse_share(wrong).expect_err(wrong).contains("from 0 to 1"));
        }
        assert_eq!(parse_exponent("0.99"), Ok(0.99));
        for wrong in ["0", "NaN", "inf", "11"] {
            assert!(parse_exponent(wrong).expect_err(wrong).contains("above 0"));
        }
        assert_eq!(parse_value_size("1KiB"), Ok(1_024));
        assert!(parse_value_size("17MiB").expect_err("too large").contains("16MiB"));
    }
}
