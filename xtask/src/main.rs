//! Everything that a person or CI runs on this repository, as one program: `cargo xtask COMMAND`.
//!
//! It is the only place of automation: CI and the README call nothing else. It is never part of the product, and the
//! product never depends on it.

mod bindings;
mod command;
mod page;
mod progress;
mod tools;
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
    /// Build the page into dist/, where the server's build finds it
    Web,
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
        Task::Web => page::build(&workspace, &mut progress).map(|()| ExitCode::SUCCESS),
    }
}
