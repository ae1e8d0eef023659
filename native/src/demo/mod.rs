//! `quorate demo`: a real cluster on this machine, clients that write and read all the while, a node that is killed and one
//! that is added, and at the end what that cost. What it says of promises was checked: every acknowledged write is read back.

mod nodes;
mod report;
mod ring;
mod show;
mod views;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use self::nodes::{Nodes, Plan};
use self::show::Show;

/// A promise was broken.
const BROKEN: u8 = 1;
/// Ended by Ctrl-C before the end of the show, as shells say it.
const INTERRUPTED: u8 = 130;

/// What to show.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// How many nodes there are before one is killed
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u16).range(3..=20))]
    nodes: u16,
    /// The first port on 127.0.0.1: each node has one, and so has the one that is added
    #[arg(long, default_value_t = 8081, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// How many keys are written before the show begins
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// Stay up after the show, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Why there is nothing more to see.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something else listens there.
    #[error("port {0} is in use: stop what listens there, or choose another first port with --port")]
    PortInUse(u16),
    /// There are no such ports.
    #[error("--port {port} leaves no room for {needed} ports in a row")]
    NoRoom {
        /// The first one.
        port: u16,
        /// How many are needed.
        needed: u16,
    },
    /// A process ended that should not have.
    #[error("{node} has ended ({status}); the end of its log, {log}:\n{last_lines}")]
    Ended {
        /// Which node.
        node: String,
        /// How.
        status: String,
        /// Where its log is.
        log: String,
        /// The end of it.
        last_lines: String,
    },
    /// Something did not come about.
    #[error("within {} s it did not come about that {what}; logs: {logs}", patience.as_secs())]
    TooLong {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
        /// Where the logs are.
        logs: String,
    },
    /// A directory, a process, or standard output.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

/// Runs the show, then stops all that it has started.
///
/// # Errors
/// [`DemoError`].
pub async fn run(arguments: &DemoArguments, out: &mut impl Write) -> Result<ExitCode, DemoError> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Whoever is added needs a port too.
    let plan = Plan::new(arguments.port, arguments.nodes + 1)?;
    let mut show = Show::new(Nodes::new(plan)?, arguments);
    let code = {
        let asked_to_stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        tokio::select! {
            ended = async {
                let is_good = show.run(out).await?;
                if arguments.keep {
                    show.stay(out).await?;
                }
                Ok::<_, DemoError>(is_good)
            } => match ended {
                Ok(is_good) => ExitCode::from(if is_good { 0 } else { BROKEN }),
                Err(error) => {
                    show.keep_logs();
                    return Err(error);
                }
            },
            () = asked_to_stop => ExitCode::from(show.verdict().map_or(INTERRUPTED, |is_good| if is_good { 0 } else { BROKEN })),
        }
    };
    writeln!(out, "stopping …")?;
    show.stop().await;
    Ok(code)
}
