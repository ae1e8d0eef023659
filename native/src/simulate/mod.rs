//! `quorate sim`: the simulated world from the command line. Runs seeds or a schedule from a file, says what came of it, and
//! how to see it again. It decides nothing about a run: what is broken is judged in `quorate_core::sim`.

mod bench;
mod failure;
mod placement;
mod progress;
mod summary;
mod sweep;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
#[cfg(feature = "planted")]
use quorate_core::planted::PlantedBug;
use quorate_core::sim::{Mode, Schedule, Verdict};

use progress::Progress;
use sweep::{Outcome, Seeds, sweep};

/// A promise was broken, or a thorough sweep has not seen what it should.
const BROKEN: u8 = 1;
/// Ended by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;
/// A second Ctrl-C that comes sooner is the same one.
const SECOND_INTERRUPT_AFTER: Duration = Duration::from_millis(300);

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct SimArguments {
    /// The first seed [default: drawn at random, and printed]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How many seeds, one after the other from the first on. From 10,000 on, every kind of fault and of what a sweep
    /// should see must come up 100 times
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Threads [default: the cores of this machine]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Change the layout about once a second, for a minute, while links are cut, processes killed and clocks set
    #[arg(long, conflicts_with = "liveness")]
    reconfigure: bool,
    /// Heal only a core of the nodes, leave the others broken for ever, and demand progress
    #[arg(long)]
    liveness: bool,
    /// Run the schedule in this JSON file instead of seeds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "threads", "liveness", "reconfigure", "bench"])]
    scenario: Option<PathBuf>,
    /// If a promise is broken: find a schedule that is as short as can be, and write it to quorate-violation-SEED.json
    #[arg(long)]
    minimize: bool,
    /// Write the events as JSON lines; for one seed or one schedule
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Measure how fast the simulated world is, and run nothing else
    #[arg(long, conflicts_with_all = ["seed", "seeds", "threads", "liveness", "reconfigure", "minimize", "trace"])]
    bench: bool,
    /// Measure how evenly the placements share and how little moves, and run nothing else. Takes some minutes
    #[arg(long, conflicts_with_all = ["seed", "seeds", "threads", "liveness", "reconfigure", "minimize", "trace", "scenario", "bench"])]
    placement: bool,
    /// Put a bug in on purpose
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "NAME", value_parser = planted_bug)]
    bug: Option<PlantedBug>,
}

/// Why nothing could be run, or nothing could be said of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Standard output.
    #[error("standard output failed: {0}")]
    Output(#[from] io::Error),
}

#[cfg(feature = "planted")]
fn planted_bug(text: &str) -> Result<PlantedBug, String> {
    let names = || PlantedBug::ALL.iter().map(summary::name).collect::<Vec<_>>().join(", ");
    PlantedBug::ALL.into_iter().find(|bug| summary::name(bug) == text).ok_or_else(|| format!("there are {}", names()))
}

/// Runs what was asked for. What came of it goes to `out`, how far it is to standard error.
pub(crate) fn run(arguments: &SimArguments, out: &mut impl Write) -> Result<ExitCode, SimError> {
    if arguments.bench {
        bench::run(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.placement {
        let is_as_promised = placement::run(out)?;
        return Ok(ExitCode::from(if is_as_promised { 0 } else { BROKEN }));
    }
    match &arguments.scenario {
        Some(path) => scenario(arguments, path, out),
        None => seeds(arguments, out),
    }
}

impl SimArguments {
    fn mode(&self) -> Mode {
        match (self.liveness, self.reconfigure) {
            (true, _) => Mode::Liveness,
            (false, true) => Mode::Reconfiguration,
            (false, false) => Mode::Safety,
        }
    }

    fn schedule(&self, seed: u64) -> Schedule {
        self.with_bug(Schedule::swarm(seed, self.mode()))
    }

    #[cfg(feature = "planted")]
    fn with_bug(&self, mut schedule: Schedule) -> Schedule {
        schedule.setting.planted = self.bug.or(schedule.setting.planted);
        schedule
    }

    #[cfg(not(feature = "planted"))]
    fn with_bug(&self, schedule: Schedule) -> Schedule {
        schedule
    }

    /// The options that a replay needs besides the seed.
    fn replay_options(&self) -> String {
        let mode = match self.mode() {
            Mode::Safety => "",
            Mode::Liveness => " --liveness",
            Mode::Reconfiguration => " --reconfigure",
        };
        #[cfg(feature = "planted")]
        let bug = self.bug.map(|bug| format!(" --bug {}", summary::name(&bug))).unwrap_or_default();
        #[cfg(not(feature = "planted"))]
        let bug = "";
        format!("{mode}{bug}")
    }

    fn replay(&self, seed: u64) -> String {
        format!("quorate sim --seed {seed} --seeds 1{}", self.replay_options())
    }
}

fn seeds(arguments: &SimArguments, out: &mut impl Write) -> Result<ExitCode, SimError> {
    let count = arguments.seeds;
    if arguments.trace.is_some() && count != 1 {
        return Err(SimError::Usage(
            "--trace needs --scenario or --seeds 1: the events of one run are many".to_owned(),
        ));
    }
    let first = arguments.seed.map_or_else(random_seed, Ok)?;
    if first.checked_add(count).is_none() {
        return Err(SimError::Usage(format!("there are no {count} seeds from {first} on: they end at {}", u64::MAX)));
    }
    let mode = match arguments.mode() {
        Mode::Safety => "safety",
        Mode::Liveness => "liveness",
        Mode::Reconfiguration => "reconfiguration",
    };
    writeln!(out, "seeds {first} to {}, {mode}", first + (count - 1))?;
    out.flush()?;
    say_which_seed_on_panic(arguments.replay_options());
    let stop = stop_on_interrupt();
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = arguments.threads.unwrap_or_else(cores);
    let mut progress = Progress::new("seeds", count);
    let look = |outcome: &Outcome| {
        progress.set(outcome.seeds, &format!("{} faults", summary::number(summary::faults(&outcome.tally))));
    };
    let outcome = match &arguments.trace {
        Some(path) => {
            let mut outcome = Outcome::new();
            outcome.add(first, trace(&arguments.schedule(first), path)?);
            outcome
        }
        None => sweep(Seeds { first, count }, threads, &stop, |seed| arguments.schedule(seed).judge(), look),
    };
    progress.end();
    conclude(arguments, &outcome, first, progress.elapsed(), out)
}

/// Prints what came of a sweep.
fn conclude(
    arguments: &SimArguments,
    outcome: &Outcome,
    first: u64,
    took: Duration,
    out: &mut impl Write,
) -> Result<ExitCode, SimError> {
    if let Some((seed, verdict)) = &outcome.broken {
        writeln!(out, "\nSeed {seed}")?;
        let schedule = arguments.schedule(*seed);
        failure::report(&schedule, verdict, arguments.minimize, &arguments.replay(*seed), out)?;
    }
    writeln!(out, "{}", summary::table(&outcome.tally, outcome.simulated, took))?;
    let unseen = summary::unseen(outcome.seeds, &outcome.tally);
    for sentence in &unseen {
        writeln!(out, "{sentence}")?;
    }
    let is_interrupted = outcome.broken.is_none() && outcome.seeds < arguments.seeds;
    let (end, code) = match &outcome.broken {
        Some((seed, verdict)) => {
            let broken = verdict.violations.first().map(|first| summary::name(&first.invariant)).unwrap_or_default();
            (format!("seed {seed} broke {broken}, again with `{}`", arguments.replay(*seed)), BROKEN)
        }
        None if !unseen.is_empty() => ("too little was seen".to_owned(), BROKEN),
        None if is_interrupted => ("interrupted, every invariant held so far".to_owned(), INTERRUPTED),
        None => ("every invariant held".to_owned(), 0),
    };
    writeln!(out, "{} seeds from {first}: {end}; hash {:016x}", outcome.seeds, outcome.hash())?;
    Ok(ExitCode::from(code))
}

fn scenario(arguments: &SimArguments, path: &Path, out: &mut impl Write) -> Result<ExitCode, SimError> {
    let recorded = failure::read_schedule(path)?;
    let schedule = arguments.with_bug(recorded.schedule);
    if !recorded.about.is_empty() {
        writeln!(out, "{}\n", recorded.about)?;
    }
    let began = Instant::now();
    let verdict = match &arguments.trace {
        Some(path) => trace(&schedule, path)?,
        None => schedule.judge(),
    };
    let took = began.elapsed();
    let replay = format!("quorate sim --scenario {}{}", path.display(), arguments.replay_options());
    failure::report(&schedule, &verdict, arguments.minimize, &replay, out)?;
    writeln!(out, "{}", summary::table(&verdict.tally, verdict.simulated, took))?;
    let broken = verdict.violations.first().map(|first| summary::name(&first.invariant));
    let end = broken.as_ref().map_or_else(|| "every invariant held".to_owned(), |name| format!("it broke {name}"));
    writeln!(out, "{}: {end}; hash {:016x}", path.display(), verdict.hash)?;
    Ok(ExitCode::from(if broken.is_some() { BROKEN } else { 0 }))
}

/// Runs a schedule and writes its events, one JSON object a line.
fn trace(schedule: &Schedule, path: &Path) -> Result<Verdict, SimError> {
    let fail = |error: io::Error| SimError::File { path: path.to_owned(), reason: error.to_string() };
    let mut file = BufWriter::new(File::create(path).map_err(fail)?);
    let mut written = Ok(());
    let verdict = failure::traced(schedule).judge_with(&mut |events| {
        for event in events {
            if written.is_ok() {
                let line = serde_json::to_writer(&mut file, event).map_err(io::Error::from);
                written = line.and_then(|()| file.write_all(b"\n"));
            }
        }
    });
    written.and_then(|()| file.flush()).map_err(fail)?;
    Ok(verdict)
}

/// A seed that is short enough to be typed.
fn random_seed() -> Result<u64, SimError> {
    let drawn = getrandom::u32().map_err(|error| SimError::Usage(format!("no randomness, give --seed: {error}")))?;
    Ok(drawn.into())
}

/// Ctrl-C ends the sweep; what was done so far is told. A second one ends the program.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first: Option<Instant> = None;
    let handler = move || {
        // Whoever stops a program with all it started may do so twice at once.
        if first.get_or_insert_with(Instant::now).elapsed() > SECOND_INTERRUPT_AFTER {
            std::process::exit(INTERRUPTED.into());
        }
        flag.store(true, Ordering::Relaxed);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("quorate: Ctrl-C ends this at once, without a summary: {error}");
    }
    stop
}

/// A broken assertion of the core is a violation as well, and ends the program: which seed it was must be said.
fn say_which_seed_on_panic(options: String) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if let Some(seed) = sweep::running() {
            println!("seed {seed} broke an assertion, again with `quorate sim --seed {seed} --seeds 1{options}`");
        }
        std::process::exit(BROKEN.into());
    }));
}
