//! The show itself, one act after the other, each until it has come about.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::nodes::Nodes;
use super::report::{Act, Report};
use super::ring::Ring;
use super::{DemoArguments, DemoError, views};
use crate::config::Endpoint;
use crate::load::{Load, Pace, Written};

/// Who writes and reads all the while.
const PACE: Pace = Pace { clients: 4, pause: Duration::from_millis(5) };
/// Clients that write the keys that are there before the show.
const FILLERS: u32 = 16;
/// How long nothing happens before and after.
const CALM: Duration = Duration::from_secs(3);
/// How long anything may take that has no bound of its own, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// With as many owners as copies nobody is evicted: there would be nobody to take what the dead one had.
const COPIES: u16 = 3;

/// The show, as far as it has come.
pub(super) struct Show<'a> {
    nodes: Nodes,
    arguments: &'a DemoArguments,
    start: Instant,
    report: Option<Report>,
}

impl<'a> Show<'a> {
    pub(super) fn new(nodes: Nodes, arguments: &'a DemoArguments) -> Self {
        Self { nodes, arguments, start: Instant::now(), report: None }
    }

    /// From the first node to the last check; says whether every promise was kept.
    pub(super) async fn run(&mut self, out: &mut impl Write) -> Result<bool, DemoError> {
        let mut report = Report::default();
        for _ in 0..self.arguments.nodes {
            self.nodes.start()?;
        }
        report.steps.push((format!("{} nodes became one cluster", self.arguments.nodes), self.settle().await?));
        let page = self.nodes.endpoints()[0].0.to_string();
        self.say(out, &format!("{} nodes are one cluster: http://{page}/", self.arguments.nodes))?;
        let (stock, figures) = Load::fill("stock", self.nodes.endpoints(), FILLERS, self.arguments.keys).await;
        self.say(out, &format!("{} keys are written; {} clients begin", stock.len(), PACE.clients))?;
        report.acts.push(Act { name: "the keys before".into(), figures });

        let load = Load::start("show", self.nodes.endpoints(), PACE);
        sleep(CALM).await;
        report.acts.push(Act { name: "all is well".into(), figures: load.take_figures() });
        self.lose_one(out, &load, &stock, &mut report).await?;
        self.add_one(out, &load, &stock, &mut report).await?;
        sleep(CALM).await;
        let (written, figures) = load.stop().await;
        report.acts.push(Act { name: "all is well again".into(), figures });

        self.say(out, &format!("reading back all {} acknowledged writes", stock.len() + written.len()))?;
        for written in [&stock, &written] {
            report.acknowledged += written.len();
            report.lost.extend(written.read_back(&self.nodes.endpoints()).await);
        }
        write!(out, "\n{}", report.text())?;
        out.flush()?;
        let is_good = report.is_good();
        self.report = Some(report);
        Ok(is_good)
    }

    async fn lose_one(
        &mut self,
        out: &mut impl Write,
        load: &Load,
        stock: &Written,
        report: &mut Report,
    ) -> Result<(), DemoError> {
        let before = self.ring().await?;
        let keys: Vec<_> = stock.keys().chain(load.written().keys()).collect();
        let killed_at = Instant::now();
        let victim = self.nodes.kill(self.nodes.running().len() / 2)?;
        self.say(out, &format!("{victim} is killed; the clients do not know"))?;
        let found = format!("every other node knew that {victim} is dead");
        report
            .steps
            .push((found.clone(), self.wait_for_all(&found, async |node| views::is_dead(node, &victim).await).await?));
        self.say(out, &found)?;
        // From now on nobody is sent there in vain.
        load.set_endpoints(self.nodes.endpoints());
        if self.arguments.nodes > COPIES {
            self.settle().await?;
            let moved = before.moved(&self.ring().await?, keys.into_iter());
            let what = format!("every key had {COPIES} copies again, {victim} evicted");
            self.say(out, &what)?;
            report.steps.push((what, killed_at.elapsed()));
            report.moves.push((format!("without {victim}"), moved));
        }
        report.acts.push(Act { name: format!("{victim} is killed"), figures: load.take_figures() });
        Ok(())
    }

    async fn add_one(
        &mut self,
        out: &mut impl Write,
        load: &Load,
        stock: &Written,
        report: &mut Report,
    ) -> Result<(), DemoError> {
        let before = self.ring().await?;
        let keys: Vec<_> = stock.keys().chain(load.written().keys()).collect();
        let newcomer = self.nodes.start()?.name.clone();
        self.say(out, &format!("{newcomer} is started"))?;
        let took = self.settle().await?;
        load.set_endpoints(self.nodes.endpoints());
        let moved = before.moved(&self.ring().await?, keys.into_iter());
        let what = format!("{newcomer} had all that it owns");
        self.say(out, &what)?;
        report.steps.push((what, took));
        report.moves.push((format!("with {newcomer}"), moved));
        report.acts.push(Act { name: format!("{newcomer} is added"), figures: load.take_figures() });
        Ok(())
    }

    /// Waits until all nodes that run, and nobody else, own the ring, each with all that it owns.
    async fn settle(&mut self) -> Result<Duration, DemoError> {
        let owners = self.nodes.names();
        let what = format!("{} own the ring", owners.join(", "));
        self.wait_for_all(&what, async |node| views::is_settled(node, &owners).await).await
    }

    /// Waits until something is true at every node, and says how long that took.
    async fn wait_for_all(
        &mut self,
        what: &str,
        is_true: impl AsyncFn(&Endpoint) -> bool,
    ) -> Result<Duration, DemoError> {
        let start = Instant::now();
        for endpoint in self.nodes.endpoints() {
            while !is_true(&endpoint).await {
                self.nodes.check()?;
                // Many keys take their time.
                let patience = PATIENCE + Duration::from_millis(self.arguments.keys);
                if start.elapsed() > patience {
                    let (what, logs) = (format!("{what}, as {} sees it", endpoint.0), self.nodes.directory());
                    return Err(DemoError::TooLong { what, patience, logs });
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(start.elapsed())
    }

    async fn ring(&mut self) -> Result<Ring, DemoError> {
        let start = Instant::now();
        loop {
            if let Some(ring) = views::ask(&self.nodes.endpoints()[0], "/api/v1/ring").await {
                return Ok(ring);
            }
            self.nodes.check()?;
            if start.elapsed() > PATIENCE {
                let (what, logs) = ("a node shows the ring".into(), self.nodes.directory());
                return Err(DemoError::TooLong { what, patience: PATIENCE, logs });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Stays up until somebody ends it.
    pub(super) async fn stay(&mut self, out: &mut impl Write) -> Result<(), DemoError> {
        let page = self.nodes.endpoints()[0].0.to_string();
        writeln!(out, "\nThe cluster stays up: http://{page}/   Ctrl-C ends it, and its data goes with it.")?;
        writeln!(out, "Data and logs: {}", self.nodes.directory())?;
        out.flush()?;
        loop {
            self.nodes.check()?;
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether every promise was kept; nothing before the end of the show.
    pub(super) fn verdict(&self) -> Option<bool> {
        self.report.as_ref().map(Report::is_good)
    }

    /// Leaves data and logs where they are, for whoever wants to know why something failed.
    pub(super) fn keep_logs(&mut self) {
        self.nodes.keep_directory();
    }

    pub(super) async fn stop(&mut self) {
        self.nodes.stop().await;
    }

    fn say(&self, out: &mut impl Write, what: &str) -> Result<(), DemoError> {
        writeln!(out, "{:6.1} s  {what}", self.start.elapsed().as_secs_f64())?;
        Ok(out.flush()?)
    }
}
