//! Makes the JavaScript side of a WebAssembly module, by the library behind `wasm-bindgen`: the version that
//! `Cargo.lock` pins, so that it always fits and no tool has to be installed.
//!
//! Never optimises; that is `wasm-opt`'s work.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

/// Who loads the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A page or a Worker, as a module.
    Page,
    /// Node, with types for TypeScript.
    Node,
}

/// Writes `NAME.js`, `NAME_bg.wasm` and what they need to `out`, which is emptied first. The settings are the defaults
/// of the `wasm-bindgen` program, because Trunk calls that.
pub(crate) fn make(wasm: &Path, out: &Path, name: &str, target: Target) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).out_name(name).omit_default_module_path(false);
    match target {
        Target::Page => bindgen.web(true)?.typescript(false),
        Target::Node => bindgen.nodejs(true)?.typescript(true),
    };
    bindgen.generate(out).with_context(|| format!("cannot make the bindings of {}", wasm.display()))
}
