//! Real nodes under clients while they are killed, paused, cut off, slowed and robbed of their disks, and what clients were
//! told held to the oracle of the simulated world. `cargo xtask torture` builds and runs it. Never shipped.

mod clients;
mod faults;
mod history;
mod http;
mod judge;
mod network;
mod nodes;
mod report;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use quorate_core::rng::Rng;
use tokio::time::{Instant, sleep};

use clients::{Clients, ask, outcome};
use faults::{Stage, Tally};
use history::{Action, Operation, Outcome};
use judge::Left;
use network::Network;
use nodes::{Nodes, end_all, free_addresses};
use report::Report;

/// How long a cluster may take to form, and to be whole again at the end.
const FOUNDED_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// How long a healed node may take to answer one read, with all its tries.
const READ_WITHIN: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The longest silence.
const TOLD_EVERY: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(name = "cargo xtask torture", about = "Torments real nodes and checks that they keep what they promised")]
struct Arguments {
    /// How long the nodes are tormented, in all
    #[arg(long = "for", value_name = "SPAN", default_value = "10m")]
    length: humantime::Duration,
    /// How many nodes [default: 3 for half of the time, then 5]
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: Option<u8>,
    /// How many clients
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// What faults and operations are drawn from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// The server
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Where data and logs are kept if something is wrong; emptied first
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        let _none_starts = end_all();
        std::process::exit(101);
    }));
    let interrupted = ctrlc::set_handler(|| {
        let _none_starts = end_all();
        eprintln!("interrupted: all nodes have been ended");
        std::process::exit(130);
    });
    let outcome =
        interrupted.map_err(io::Error::other).and_then(|()| tokio::runtime::Runtime::new()?.block_on(run(&arguments)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}; logs and data: {}", arguments.data.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs every phase; says whether all is well.
async fn run(arguments: &Arguments) -> io::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let seed = arguments.seed.unwrap_or(now.as_secs());
    let length = Duration::from(arguments.length);
    println!("seed {seed}, {} clients, {length:?}", arguments.clients);
    if arguments.data.exists() {
        fs::remove_dir_all(&arguments.data)?;
    }
    let sizes: &[u8] = arguments.nodes.as_ref().map_or(&[3, 5], std::slice::from_ref);
    let each = length / u32::try_from(sizes.len()).expect("a few");
    let mut report = Report::new(length);
    for size in sizes {
        let data = arguments.data.join(format!("{size}-nodes"));
        fs::create_dir_all(&data)?;
        let phase = Phase { arguments, data: &data, size: usize::from(*size), seed };
        phase.run(each, &mut report).await?;
    }
    println!("\n{report}");
    let good = report.is_good();
    if good {
        fs::remove_dir_all(&arguments.data)?;
    } else {
        println!("seed {seed}; logs, data and histories: {}", arguments.data.display());
    }
    Ok(good)
}

/// One cluster, from its beginning to its end.
struct Phase<'a> {
    arguments: &'a Arguments,
    data: &'a Path,
    size: usize,
    seed: u64,
}

impl Phase<'_> {
    async fn run(&self, length: Duration, report: &mut Report) -> io::Result<()> {
        let addresses = free_addresses(self.size)?;
        let network = Arc::new(Network::start(&addresses).await?);
        let mut nodes = Nodes::new(&self.arguments.binary, self.data, &addresses, &network);
        nodes.found()?;
        nodes.wait_settled(FOUNDED_WITHIN).await.map_err(io::Error::other)?;
        self.say("one cluster: clients and faults begin");

        let names = nodes.all.iter().map(|node| (node.name.clone(), node.address)).collect();
        let clients = Clients::start(names, self.arguments.clients, length, self.seed);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stage = Stage {
            tally: tally.clone(),
            network: network.clone(),
            wires: Arc::default(),
            until: Instant::now() + length,
        };
        let wires = tokio::spawn(stage.clone().trouble_wires(Rng::labelled(self.seed, "wires"), self.size));
        let processes = tokio::spawn(stage.torment_processes(Rng::labelled(self.seed, "processes"), nodes));
        let both = async { tokio::join!(wires, processes) };
        let told = || {
            let faults = tally.lock().unwrap_or_else(PoisonError::into_inner).faults();
            format!("{faults} faults, {} operations acknowledged", clients.acknowledged())
        };
        let (wires, processes) = self.watch(both, told).await;
        wires.map_err(io::Error::other)?;
        let mut nodes = processes.map_err(io::Error::other)?;
        let operations = clients.stop().await;
        network.heal();
        let mut tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        self.say("everything is healed");
        let settled = self.watch(nodes.wait_settled(SETTLED_WITHIN), || "waiting until it has settled".into()).await;
        tally.misdeeds.extend(settled.err().map(|misdeed| format!("at the end: {misdeed}")));
        let reading = self.read_all(&nodes, &operations, &mut tally);
        let left = self.watch(reading, || "reading every key at every node".into()).await;
        drop(nodes);

        self.say(&format!("{} operations are judged", operations.len()));
        self.write_history(&operations)?;
        let judging = tokio::task::spawn_blocking(move || (judge::judge(&operations, &left), operations));
        let (judgement, operations) = self.watch(judging, || "judging".into()).await.map_err(io::Error::other)?;
        report.add(&operations, &tally, judgement);
        Ok(())
    }

    /// Waits for something, and tells now and then how it goes.
    async fn watch<T>(&self, work: impl Future<Output = T>, told: impl Fn() -> String) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(TOLD_EVERY) => self.say(&told()),
            }
        }
    }

    fn say(&self, text: &str) {
        println!("{} nodes: {text}", self.size);
    }

    /// Every key, as every node shows it.
    async fn read_all(&self, nodes: &Nodes, operations: &[Operation], tally: &mut Tally) -> Vec<Left> {
        let keys: BTreeSet<&str> = operations.iter().map(|operation| operation.key.as_str()).collect();
        let action = Action::Get { strict: true };
        let mut left = Vec::new();
        for node in &nodes.all {
            let mut session = http::Session::new(node.address, READ_WITHIN);
            for key in &keys {
                let deadline = Instant::now() + READ_WITHIN;
                let shown = loop {
                    let shown = outcome(&action, ask(&mut session, key, &action).await);
                    if matches!(shown, Outcome::Shown { .. }) || Instant::now() > deadline {
                        break shown;
                    }
                    sleep(RETRY_PAUSE).await;
                };
                let (node, key) = (node.name.clone(), (*key).to_owned());
                match shown {
                    Outcome::Shown { values, context } => left.push(Left { node, key, values, context }),
                    other => tally.misdeeds.push(format!("{node} does not show {key} once all is healed: {other:?}")),
                }
            }
        }
        left
    }

    fn write_history(&self, operations: &[Operation]) -> io::Result<()> {
        let mut file = io::BufWriter::new(fs::File::create(self.data.join("history.jsonl"))?);
        for operation in operations {
            serde_json::to_writer(&mut file, operation)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }
}
