//! Everything that a person or CI runs on this repository, as one program: `cargo xtask COMMAND`.
//!
//! It is the only place of automation: CI and the README call nothing else. It is never part of the product, and the
//! product never depends on it.

mod bare;
mod bench;
mod bindings;
mod bugs;
mod cluster;
mod command;
mod demo;
mod http;
mod lint;
mod page;
mod progress;
mod rehearsal;
mod sim;
mod test;
mod tools;
mod torture;
mod trunk;
mod usage;
mod wasm_opt;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::progress::Progress;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, checks and runs Quorate")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything and run three real nodes on this machine, until Ctrl-C
    Demo(demo::Options),
    /// Run every check: lints, unit, property and cluster tests, WebAssembly, the page in a browser
    Test(test::Options),
    /// Build the page into dist/, where the server's build finds it
    Web,
    /// Check format, lints, the shape of the code and its dependencies
    Lint,
    /// Build and run the simulated world, with any arguments of `quorate sim`
    Sim(sim::Options),
    /// Measure three release nodes on this machine, beside a bare quorum in the same run
    Bench(bench::Options),
    /// Kill, pause, cut off and wipe real nodes under clients, and check that nothing promised is lost
    Torture(torture::Options),
    /// Plant each known bug in turn, see it found, and write core/tests/planted.md
    Bugs(bugs::Options),
    /// Build and serve the page with Trunk, and check that it gives the same page as `web`
    Trunk,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut progress = Progress::start();
    match task {
        Task::Demo(options) => demo::run(&workspace, &mut progress, &options).map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&workspace, &mut progress, &options),
        Task::Web => page::build(&workspace, &mut progress).map(|()| ExitCode::SUCCESS),
        Task::Lint => lint::run(&workspace, &mut progress),
        Task::Sim(options) => sim::run(&workspace, &mut progress, &options).map(|()| ExitCode::SUCCESS),
        Task::Bench(options) => bench::run(&workspace, &mut progress, &options).map(|()| ExitCode::SUCCESS),
        Task::Bugs(options) => bugs::run(&workspace, &mut progress, &options).map(|()| ExitCode::SUCCESS),
        Task::Torture(options) => torture::run(&workspace, &mut progress, &options).map(|()| ExitCode::SUCCESS),
        Task::Trunk => trunk::run(&workspace, &mut progress),
    }
}
