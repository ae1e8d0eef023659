//! Schedules that once broke a promise, each in a file of `core/tests/schedules` that says what it broke. All of them are
//! run, and none may break anything.
//!
//! To add one: `quorate sim --seed SEED --seeds 1 --minimize` (or `--scenario FILE --minimize`) writes it; give it a name
//! that says what goes wrong in it, say in `about` what it broke and why, and put it there.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_core::sim::Recorded;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules");
    let entries = fs::read_dir(&directory).expect("the directory of schedules");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn no_recorded_schedule_breaks_anything_any_more() {
    let files = files();
    assert!(!files.is_empty(), "there are schedules");
    let mut broken = Vec::new();
    for file in files {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(name.ends_with(".json"), "{name} is no schedule");
        let text = fs::read_to_string(&file).expect("a text");
        let recorded: Recorded = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!recorded.about.is_empty(), "{name} should say what it is about");
        let verdict = recorded.schedule.judge();
        println!("{name}: {} steps, {:016x}: {}", recorded.schedule.steps.len(), verdict.hash, recorded.about);
        broken.extend(verdict.violations.into_iter().map(|violation| format!("{name}: {violation:?}")));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
