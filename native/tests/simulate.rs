//! `quorate sim` as a person or a script uses it: what it prints last, and how it ends.

mod support;

use std::path::Path;
use std::process::Command;

use support::run;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn last(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }
}

fn sim(directory: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let output = run(command.arg("sim").args(arguments).current_dir(directory));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn seeds_that_keep_every_promise_end_with_a_hash_that_does_not_depend_on_threads() {
    let directory = tempfile::tempdir().expect("a directory");
    let ran = |threads| sim(directory.path(), &["--seed", "1", "--seeds", "3", "--threads", threads]);
    let alone = ran("1");
    // How far it is, it says on a slow machine only.
    assert_eq!(alone.code, Some(0), "{}", alone.err);
    assert!(alone.out.starts_with("seeds 1 to 3, safety\n"), "{}", alone.out);
    assert!(alone.last().starts_with("3 seeds from 1: every invariant held; hash "), "{}", alone.last());
    assert_eq!(ran("3").last(), alone.last());
    assert_ne!(sim(directory.path(), &["--seed", "2", "--seeds", "3"]).last(), alone.last());
}

#[test]
fn the_events_of_a_seed_are_lines_of_json_and_change_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let traced = sim(directory.path(), &["--seed", "1", "--seeds", "1", "--trace", "events.jsonl"]);
    let events = std::fs::read_to_string(directory.path().join("events.jsonl")).expect("written");
    let first = events.lines().next().expect("there are events");
    let first: serde_json::Value = serde_json::from_str(first).expect("JSON");
    assert!(first["kind"].is_object() && first["node"].is_string(), "{first}");
    assert_eq!(traced.last(), sim(directory.path(), &["--seed", "1", "--seeds", "1"]).last());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let usage: [(&[&str], &str); 6] = [
        (&["--seeds", "0"], "0 is not in 1.."),
        (&["--seed", "x"], "invalid digit found in string"),
        (&["--trace", "events"], "--trace needs --scenario or --seeds 1"),
        (&["--seed", "18446744073709551615", "--seeds", "2"], "they end at 18446744073709551615"),
        (&["--scenario", "nowhere.json"], "nowhere.json: No such file or directory"),
        (&["--scenario", "nowhere.json", "--liveness"], "cannot be used with"),
    ];
    for (arguments, reason) in usage {
        let ran = sim(directory.path(), arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.err.contains(reason), "{arguments:?}: {}", ran.err);
    }
}

#[cfg(feature = "planted")]
#[test]
fn a_broken_promise_ends_with_a_story_a_short_schedule_and_the_command_that_shows_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let ran = sim(path, &["--seed", "1", "--seeds", "1000", "--bug", "acknowledge_early"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    let (_, command) = ran.last().split_once("again with `quorate sim ").expect("a command");
    let (command, _) = command.split_once('`').expect("its end");
    let mut arguments: Vec<&str> = command.split(' ').collect();
    arguments.push("--minimize");
    let again = sim(path, &arguments);
    assert_eq!(again.code, Some(1));
    assert!(again.out.contains("Broken: "), "{}", again.out);
    let name = format!("quorate-violation-{}.json", arguments[1]);
    let scenario = sim(path, &["--scenario", &name]);
    assert_eq!(scenario.code, Some(1), "{}", scenario.out);
    assert!(scenario.last().starts_with(&format!("{name}: it broke ")), "{}", scenario.last());
}
