//! Embeds the built page (`dist/`, made by `cargo xtask web`) into the binary.
//!
//! It writes a table of assets to `OUT_DIR/page_assets.rs`, which `src/page.rs` includes. It never builds the page and
//! never writes outside `OUT_DIR`: a release build without a page fails and names the command that makes one, any
//! other build embeds a page that says how.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use sha2::{Digest, Sha256};

/// Shown by a development build that was made before the page was.
const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Quorate</title>\n\
    <h1>This binary was built without the page</h1>\n\
    <p>Run <code>cargo xtask web</code>, then build again. The HTTP API works all the same.</p>\n";

/// The only file in `dist/` that is not part of the page: it keeps the directory in the repository, so that Cargo has
/// something to watch before the page is first built.
const KEEPER: &str = ".gitignore";

fn main() {
    if let Err(error) = embed() {
        println!("cargo::error={error}");
        process::exit(1);
    }
}

fn embed() -> io::Result<()> {
    let dist = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../dist");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());

    let mut files = Vec::new();
    collect(&dist, "", &mut files)?;
    if !files.iter().any(|(path, _)| path == "index.html") {
        if variable("PROFILE") == "release" {
            return Err(io::Error::other(
                "the page is not built, and a release binary must carry it: run `cargo xtask web` first",
            ));
        }
        files = vec![("index.html".to_owned(), PLACEHOLDER.into())];
    }
    files.sort();

    let mut table = String::from("&[\n");
    for (index, (path, bytes)) in files.iter().enumerate() {
        let entry = asset(&out, index, path, bytes)?;
        table.push_str(&entry);
    }
    table.push_str("]\n");
    fs::write(out.join("page_assets.rs"), table)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name} for build scripts"))
}

/// Adds every file below `directory` with its path relative to `dist/`. A missing directory has no files.
fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", entry.path().display())))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if path != KEEPER {
            files.push((path, fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Writes the bytes of one file, raw and compressed, to `OUT_DIR`, and gives its line of the table.
fn asset(out: &Path, index: usize, path: &str, bytes: &[u8]) -> io::Result<String> {
    let raw = out.join(format!("page_{index}.raw"));
    fs::write(&raw, bytes)?;
    let compressed = compress(bytes)?;
    let brotli = if compressed.len() < bytes.len() {
        let file = out.join(format!("page_{index}.br"));
        fs::write(&file, &compressed)?;
        format!("Some(include_bytes!({file:?}))")
    } else {
        "None".to_owned()
    };

    let mut etag = String::from("W/\\\"");
    for byte in &Sha256::digest(bytes)[..16] {
        write!(etag, "{byte:02x}").expect("a String takes everything");
    }
    etag.push_str("\\\"");
    Ok(format!(
        "    Asset {{ path: {path:?}, content_type: {:?}, etag: \"{etag}\", raw: include_bytes!({raw:?}), brotli: {brotli} }},\n",
        content_type(path)?
    ))
}

/// Brotli at its best: paid once here, saved at every load of the page.
fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    const QUALITY: u32 = 11;
    const WINDOW_BITS: u32 = 22;
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, QUALITY, WINDOW_BITS);
    writer.write_all(bytes)?;
    Ok(writer.into_inner())
}

fn content_type(path: &str) -> io::Result<&'static str> {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    Ok(match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        _ => {
            return Err(io::Error::other(format!(
                "dist/{path}: no content type is known for this extension; add it to native/build.rs"
            )));
        }
    })
}
