//! Makes WebAssembly smaller with binaryen's `wasm-opt`, where it is installed.
//!
//! Never leaves a half-written file behind: the outcome replaces the input in one step.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Optimises the file in place, at a level of `wasm-opt -O`.
pub(crate) fn run(wasm_opt: &Path, level: &str, wasm: &Path) -> Result<()> {
    let smaller = wasm.with_extension("smaller");
    let mut tool = Command::new(wasm_opt);
    tool.arg(format!("-O{level}")).arg(format!("--output={}", smaller.display())).arg(wasm);
    command::run(&mut tool)?;
    fs::rename(&smaller, wasm).with_context(|| format!("cannot replace {}", wasm.display()))
}
