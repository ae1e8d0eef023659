//! The command line: what can be asked for, and the exit codes. 0 is success, 1 a failure of what was asked, 2 a mistake
//! in how it was asked.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::bench::{self, BenchArguments};
use crate::client::{self, ClientCommand};
use crate::config::{self, Options, Settings};
use crate::demo::{self, DemoArguments};
use crate::simulate::{self, SimArguments, SimError};
use crate::{logging, serve};

/// Asked wrongly.
const USAGE: u8 = 2;

/// A replicated key-value store that keeps answering while nodes fail.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node: clients, other nodes and the page on one port.
    ///
    /// Every flag is also an environment variable, QUORATE_ and its name in upper case with _ for -, and a key of the
    /// TOML file that --config names. A flag beats the environment, the environment beats the file. Also understood:
    /// NODE_ID, SEED_NODE, JOIN_ADDR, HTTP_PORT, KV_PORT, PARTITION_COUNT (partitions:K), REPLICATION_FACTOR and
    /// BOOTSTRAP=true (no seed).
    Serve(Box<ServeArguments>),
    /// Run the simulated cluster: many seeds, each with its own faults, every promise checked.
    ///
    /// Exit code 0: every promise was kept. 1: one was broken, and the seed and the command that shows it again are
    /// printed. 2: asked wrongly. 130: interrupted, with what was done so far. The last line of standard output is a
    /// summary with a hash: the same seeds give the same hash, however many threads there are.
    Sim(SimArguments),
    /// Run a real cluster on this machine, with clients at work: kill a node, add one, and see what that costs.
    ///
    /// The nodes are processes of their own on 127.0.0.1, in a directory that goes away with them; Ctrl-C ends them all. A
    /// dead node is evicted after 5 s. Exit code 0: no acknowledged write was lost, and whatever failed was served within
    /// a second of tries. 1: that is not so, or the show could not go on. 130: interrupted.
    Demo(DemoArguments),
    /// Put a running cluster under load and measure what it does and how soon it answers.
    ///
    /// The connections are spread over all endpoints. Latencies are of operations that succeeded; what fails is counted and
    /// not tried again. Exit code 0: there are figures. 1: not one operation succeeded, or the keys could not be written.
    Bench(BenchArguments),
    #[command(flatten)]
    Client(ClientCommand),
}

#[derive(Args, Debug)]
struct ServeArguments {
    /// TOML file with any of the other flags as keys
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; clap knows where each is printed and how it ends.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    match cli.command {
        Command::Serve(arguments) => serve_node(*arguments),
        Command::Sim(arguments) => simulate(&arguments),
        Command::Demo(arguments) => show(&arguments),
        Command::Bench(arguments) => measure(&arguments),
        Command::Client(command) => ask_cluster(command),
    }
}

fn serve_node(arguments: ServeArguments) -> ExitCode {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, USAGE),
    };
    logging::start(settings.log_format);
    stop_on_panic();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(settings.connection_threads.get()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let result = runtime.block_on(serve::serve(settings));
    // The machines' threads still lean on it; the end of the process ends them all.
    std::mem::forget(runtime);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn simulate(arguments: &SimArguments) -> ExitCode {
    // Not locked: a thread that finds a fault of the program itself must be able to say so.
    match simulate::run(arguments, &mut io::stdout()) {
        Ok(code) => code,
        Err(error @ SimError::Output(_)) => fail(&error, 1),
        Err(error) => fail(&error, USAGE),
    }
}

fn show(arguments: &DemoArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(demo::run(arguments, &mut io::stdout())) {
        Ok(code) => code,
        Err(error) => fail(&error, 1),
    }
}

fn measure(arguments: &BenchArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(bench::run(arguments, &mut io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn ask_cluster(command: ClientCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(client::run(command, &mut io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn settings(arguments: ServeArguments) -> Result<Settings, Box<dyn std::error::Error>> {
    let environment = config::from_environment(std::env::vars_os().filter_map(|(name, value)| {
        // A variable that is not text is none of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }))?;
    let file = match &arguments.config {
        Some(path) => config::from_file(path)?,
        None => Options::default(),
    };
    Ok(Settings::new(arguments.options.or(environment).or(file))?)
}

/// A broken invariant stops the process, loudly, whichever thread finds it: half a node is worse than none.
fn stop_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        eprintln!("quorate: a fault of the program in thread {name}; this node stops. Please report the lines above.");
        std::process::exit(101);
    }));
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("quorate: {error}");
    ExitCode::from(code)
}
