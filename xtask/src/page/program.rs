//! One program of the page: from a crate to WebAssembly, its bindings, and smaller WebAssembly.
//!
//! Never repeats the slow steps while the WebAssembly that Cargo built, the tools and the settings are the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bindings::{self, Target};
use crate::page::description::Program;
use crate::page::{Files, add, list};
use crate::progress::Progress;
use crate::workspace::{self, Workspace};
use crate::{command, wasm_opt};

impl Program {
    /// What its files are called: the binary, or else the package.
    pub(crate) fn name(&self, workspace: &Workspace) -> Result<String> {
        if let Some(binary) = &self.binary {
            return Ok(binary.clone());
        }
        workspace
            .package_name(&workspace.root().join(&self.manifest))
            .map(str::to_owned)
            .with_context(|| format!("index.html: {} is not a package of this workspace", self.manifest))
    }
}

/// Builds the program and adds its files.
pub(crate) fn build(
    workspace: &Workspace,
    progress: &mut Progress,
    program: &Program,
    name: &str,
    wasm_opt: Option<&Path>,
    files: &mut Files,
) -> Result<()> {
    let wasm = compile(workspace, program)?;
    let out = workspace.target().join("page").join(name);
    let stamp_file = workspace.target().join("page").join(format!("{name}.stamp"));
    let stamp = stamp(&wasm, program, wasm_opt)?;
    if fs::read_to_string(&stamp_file).ok().as_ref() != Some(&stamp) {
        remove_if_present(&stamp_file)?;
        progress.say(&format!("page: {name}: bindings"));
        bindings::make(&wasm, &out, name, Target::Page)?;
        if let Some(wasm_opt) = wasm_opt {
            progress.say(&format!("page: {name}: wasm-opt -O{}", program.optimization));
            wasm_opt::run(wasm_opt, &program.optimization, &out.join(format!("{name}_bg.wasm")))?;
        }
        fs::write(&stamp_file, stamp).with_context(|| format!("cannot write {}", stamp_file.display()))?;
    }

    for file in list(&out)? {
        let bytes = fs::read(out.join(&file))?;
        // Two programs may share a snippet of a library: then it is the same file.
        if file.starts_with("snippets/") && files.get(&file).is_some_and(|same| *same == bytes) {
            continue;
        }
        add(files, &file, bytes)?;
    }
    if program.loader {
        let loader = format!("import init from './{name}.js';await init();");
        add(files, &format!("{name}_loader.js"), loader.into_bytes())?;
    }
    Ok(())
}

fn remove_if_present(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Has Cargo build the program, exactly as Trunk has it, and gives the WebAssembly file.
fn compile(workspace: &Workspace, program: &Program) -> Result<PathBuf> {
    let manifest = workspace.root().join(&program.manifest);
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--target=wasm32-unknown-unknown", "--message-format=json-render-diagnostics"]);
    cargo.arg("--manifest-path").arg(&manifest).arg("--profile").arg(&program.profile);
    if let Some(binary) = &program.binary {
        cargo.arg("--bin").arg(binary);
    }
    if let Some(features) = &program.features {
        cargo.arg("--features").arg(features);
    }
    let messages = command::output(&mut cargo)?;
    let mut artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && is_path(&message["manifest_path"], &manifest))
        .filter_map(|message| wasm_file(&message, program));
    match (artifacts.next(), artifacts.next()) {
        (Some(wasm), None) => Ok(wasm),
        (None, _) => bail!("{} has no binary that becomes WebAssembly", program.manifest),
        (Some(_), Some(_)) => bail!("{} has several binaries: index.html must name one by data-bin", program.manifest),
    }
}

/// The WebAssembly of an artifact, if it is the program's.
fn wasm_file(message: &Value, program: &Program) -> Option<PathBuf> {
    let target = &message["target"];
    let kinds = target["kind"].as_array()?;
    if !kinds.iter().any(|kind| kind == "bin" || kind == "cdylib") {
        return None;
    }
    if program.binary.as_ref().is_some_and(|binary| target["name"] != **binary) {
        return None;
    }
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    files.map(PathBuf::from).find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

fn is_path(value: &Value, path: &Path) -> bool {
    value.as_str().is_some_and(|value| Path::new(value) == path)
}

/// Stands for everything that the outcome depends on: the WebAssembly, the settings, and both tools.
fn stamp(wasm: &Path, program: &Program, wasm_opt: Option<&Path>) -> Result<String> {
    let bytes = fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let identity = |path: &Path| -> Result<String> {
        let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(format!("{} {} {:?}", path.display(), metadata.len(), metadata.modified()?))
    };
    let this = workspace::this_program()?;
    let wasm_opt = wasm_opt.map_or(Ok("none".to_owned()), identity)?;
    Ok(format!("wasm {digest}\nprogram {program:?}\nxtask {}\nwasm-opt {wasm_opt}\n", identity(&this)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(binary: Option<&str>) -> Program {
        Program {
            manifest: "wasm/Cargo.toml".to_owned(),
            binary: binary.map(str::to_owned),
            profile: "web".to_owned(),
            features: None,
            optimization: "z".to_owned(),
            loader: false,
        }
    }

    #[test]
    fn only_the_programs_own_binary_counts() {
        let message = |kind: &str, name: &str, file: &str| serde_json::json!({"target": {"kind": [kind], "name": name}, "filenames": ["/t/x.d", file]});
        let table = [
            (message("bin", "worker", "/t/worker.wasm"), Some("worker"), Some("/t/worker.wasm")),
            (message("bin", "other", "/t/other.wasm"), Some("worker"), None),
            (message("bin", "web", "/t/web.wasm"), None, Some("/t/web.wasm")),
            (message("lib", "web", "/t/libweb.rlib"), None, None),
            (message("bin", "web", "/t/web"), None, None),
        ];
        for (message, binary, expected) in table {
            assert_eq!(wasm_file(&message, &program(binary)), expected.map(PathBuf::from), "{message}");
        }
    }

    #[test]
    fn a_stamp_changes_with_whatever_the_outcome_depends_on() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let wasm = directory.path().join("a.wasm");
        let tool = directory.path().join("wasm-opt");
        fs::write(&wasm, "one").expect("written");
        fs::write(&tool, "tool").expect("written");
        let stamp = |program: &Program, tool: Option<&Path>| stamp(&wasm, program, tool).expect("a stamp");

        let first = stamp(&program(None), None);
        assert_eq!(stamp(&program(None), None), first);
        assert_ne!(stamp(&program(Some("worker")), None), first, "settings");
        assert_ne!(stamp(&program(None), Some(&tool)), first, "wasm-opt");
        fs::write(&wasm, "two").expect("written");
        assert_ne!(stamp(&program(None), None), first, "WebAssembly");
    }
}
