//! `cargo xtask bugs`: plants each bug in turn, counts how many ordinary seeds it takes until the checkers of the simulated
//! world find it, and writes the table that says so. A checker that cannot fail is worthless.
//!
//! Never leaves a program with a bug where one without is looked for: it is built under a profile of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{command, page};

/// The most seeds that it may take to find a bug.
const SEEDS_MAX: u64 = 1_000;
/// Where the seeds begin, each time: the table is the same until the code changes.
const FIRST_SEEDS: [u64; 5] = [1, 100_001, 200_001, 300_001, 400_001];
/// The most steps that a minimized schedule may have.
const STEPS_MAX: usize = 12;

/// Bugs of the layout: they are looked for where operators change it about once a second.
const OF_THE_LAYOUT: [&str; 4] = ["two_contents", "vote_after_loss", "fence_late", "drop_early"];

/// How a bug was found from one first seed on.
#[derive(Debug, PartialEq, Eq)]
struct Catch {
    /// The seed that showed it.
    seed: u64,
    /// Seeds it took.
    seeds: u64,
    /// The invariant that it broke.
    invariant: String,
}

#[derive(Args)]
pub(crate) struct Options {
    /// Look for these bugs only, and leave what the table says of the others [default: all]
    #[arg(value_name = "BUG")]
    bugs: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    let all = bug_names(workspace)?;
    if let Some(unknown) = options.bugs.iter().find(|bug| !all.contains(bug)) {
        bail!("there is no bug {unknown:?}; there are {}", all.join(", "));
    }
    let is_wanted = |bug: &String| options.bugs.is_empty() || options.bugs.contains(bug);
    let path = workspace.root().join("core/tests/planted.md");
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    page::build(workspace, progress)?;
    let binary = progress.part("a server with bugs", |_| {
        let mut cargo = workspace.cargo();
        command::run(cargo.args(["build", "--profile=planted", "--package=quorate", "--features=planted"]))?;
        Ok(workspace.target().join("planted/quorate"))
    })?;
    let (mut table, mut problems) = (String::from(HEAD), Vec::new());
    for bug in all {
        if !is_wanted(&bug) {
            row_of(&before, &bug).into_iter().for_each(|row| table.push_str(row));
            continue;
        }
        let hunt = Hunt { workspace, binary: binary.clone(), bug };
        let row = hunt.row(progress, &mut problems)?;
        progress.say(row.trim_end());
        table.push_str(&row);
    }
    fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
    progress.say(&format!("written: {}", path.display()));
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

const HEAD: &str = "# Planted bugs, and how soon they are found

Each bug of `core/src/planted.rs` was put in, and seeds of the swarm were run until a checker found it, from five first seeds:
ordinary ones, or, for bugs of the layout, those of `--reconfigure`. The schedule of one of the ordinary ones was then minimized.
Written by `cargo xtask bugs`; do not edit.

| bug | swarm | found as | seeds, median | seeds, most | steps after minimizing |
| --- | --- | --- | --- | --- | --- |
";

/// What a table says of a bug, as a line of its own.
fn row_of<'a>(table: &'a str, bug: &str) -> Option<&'a str> {
    table.split_inclusive('\n').find(|line| line.starts_with(&format!("| `{bug}` |")))
}

/// The bugs, as their list in the core names them.
fn bug_names(workspace: &Workspace) -> Result<Vec<String>> {
    let source = workspace.root().join("core/src/planted.rs");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let names: Vec<String> = text.lines().filter_map(variant).map(snake_case).collect();
    ensure!(!names.is_empty(), "{} names no bugs", source.display());
    Ok(names)
}

/// The variant of an enum that stands in a line by itself.
fn variant(line: &str) -> Option<&str> {
    let name = line.strip_prefix("    ")?.strip_suffix(',')?;
    (name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric()))
        .then_some(name)
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The search for one bug.
struct Hunt<'a> {
    workspace: &'a Workspace,
    binary: PathBuf,
    bug: String,
}

impl Hunt<'_> {
    /// What the swarm is told to be.
    fn mode(&self) -> Option<&'static str> {
        OF_THE_LAYOUT.contains(&self.bug.as_str()).then_some("--reconfigure")
    }

    /// The bug's row of the table. What is not as it should be is added to the problems.
    fn row(&self, progress: &Progress, problems: &mut Vec<String>) -> Result<String> {
        let bug = &self.bug;
        let swarm = self.mode().unwrap_or("ordinary");
        let mut catches = Vec::new();
        for first in FIRST_SEEDS {
            match self.catch(first)? {
                Some(found) => {
                    progress.say(&format!("{bug}: {} after {} seeds", found.invariant, found.seeds));
                    catches.push(found);
                }
                None => problems.push(format!("{bug} was not found in {SEEDS_MAX} seeds from {first} on")),
            }
        }
        catches.sort_by_key(|found| found.seeds);
        let Some(middle) = catches.get(catches.len() / 2) else {
            return Ok(format!("| `{bug}` | {swarm} | never | more than {SEEDS_MAX} | more than {SEEDS_MAX} | |\n"));
        };
        let mut invariants: Vec<&str> = catches.iter().map(|found| found.invariant.as_str()).collect();
        invariants.sort_unstable();
        invariants.dedup();
        // Where it was not found it took longer than anywhere else.
        let of_all = |place: usize| {
            catches.get(place).map_or_else(|| format!("more than {SEEDS_MAX}"), |found| found.seeds.to_string())
        };
        let (median, most) = (of_all(FIRST_SEEDS.len() / 2), of_all(FIRST_SEEDS.len() - 1));
        // The one in the middle is neither the easiest nor the hardest. A minute of a thousand steps takes hours.
        let is_minimized = self.mode().is_none();
        let steps = if is_minimized { self.minimized_steps(middle.seed)? } else { None };
        if is_minimized && steps.is_none_or(|steps| steps > STEPS_MAX) {
            problems.push(format!("{bug} at seed {} has more than {STEPS_MAX} steps left: {steps:?}", middle.seed));
        }
        let mut row = format!("| `{bug}` | {swarm} | `{}` | {median} | {most} | ", invariants.join("`, `"));
        match steps {
            Some(steps) => writeln!(row, "{steps} |")?,
            None => writeln!(row, "not minimized |")?,
        }
        Ok(row)
    }

    /// Runs seeds until the bug is found.
    fn catch(&self, first: u64) -> Result<Option<Catch>> {
        let (first_seed, seeds) = (first.to_string(), SEEDS_MAX.to_string());
        let line = self.last_line(&["--seed", &first_seed, "--seeds", &seeds])?;
        match caught(&line, first) {
            None if line.contains("every invariant held") => Ok(None),
            None => bail!("quorate sim said {line:?}"),
            found => Ok(found),
        }
    }

    /// Steps that are left of a seed's schedule; nothing where the program itself stopped, which nobody minimizes.
    fn minimized_steps(&self, seed: u64) -> Result<Option<usize>> {
        let file = self.directory()?.join(format!("quorate-violation-{seed}.json"));
        if file.exists() {
            fs::remove_file(&file)?;
        }
        self.last_line(&["--seed", &seed.to_string(), "--seeds", "1", "--minimize"])?;
        if !file.exists() {
            return Ok(None);
        }
        let schedule: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        Ok(schedule["steps"].as_array().map(Vec::len))
    }

    fn last_line(&self, arguments: &[&str]) -> Result<String> {
        let mut sim = Command::new(&self.binary);
        sim.args(["sim", "--bug", &self.bug]).args(self.mode()).args(arguments).current_dir(self.directory()?);
        let output = sim.stdin(Stdio::null()).stderr(Stdio::null()).output().context("cannot start quorate sim")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().last().unwrap_or_default().to_owned())
    }

    /// Where minimized schedules are left.
    fn directory(&self) -> Result<PathBuf> {
        let directory = self.workspace.target().join("bugs").join(&self.bug);
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

/// What the last line of a sweep says was broken: `… seed 17 broke acknowledged_is_kept, again with …`.
fn caught(line: &str, first: u64) -> Option<Catch> {
    let (seed, rest) = line.split_once("seed ")?.1.split_once(" broke ")?;
    let seed: u64 = seed.parse().ok()?;
    let invariant = rest.split_once(',')?.0.replace("an ", "");
    Some(Catch { seed, seeds: seed - first + 1, invariant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_sweep_says_what_was_caught() {
        let found = |seed, seeds, invariant: &str| Some(Catch { seed, seeds, invariant: invariant.to_owned() });
        let line = "17 seeds from 1: seed 17 broke one_reply, again with `quorate sim --seed 17 --seeds 1`; hash 0a";
        assert_eq!(caught(line, 1), found(17, 17, "one_reply"));
        let line = "seed 107 broke an assertion, again with `quorate sim --seed 107 --seeds 1`";
        assert_eq!(caught(line, 101), found(107, 7, "assertion"));
        assert_eq!(caught("1000 seeds from 1: every invariant held; hash 0a", 1), None);
    }

    #[test]
    fn a_row_is_found_by_the_name_of_its_bug() {
        let table = "| bug |\n| `one_more` | 2 |\n| `one` | 1 |\n";
        assert_eq!(row_of(table, "one"), Some("| `one` | 1 |\n"));
        assert_eq!(row_of(table, "bug"), None);
    }

    #[test]
    fn bugs_are_read_from_their_list_once_each() {
        let lines = ["pub enum PlantedBug {", "    /// One.", "    ForgetHint,", "        Self::ForgetHint,", "    ];"];
        assert_eq!(lines.into_iter().filter_map(variant).map(snake_case).collect::<Vec<_>>(), ["forget_hint"]);
    }
}
