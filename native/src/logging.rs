//! Where log lines go and how they look: to standard error, for people or for machines. Never decides what is logged.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Lines that are shown when `RUST_LOG` says nothing: our own at `info`, those of libraries from `warn` on.
const DEFAULT_FILTER: &str = "warn,quorate=info";

/// Begins to log. To be called once, before anything else starts.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
