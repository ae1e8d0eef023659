//! The faults: two sequences of them, each one after the other, both drawn from the seed. One is of processes and disks, the
//! other of wires; they overlap except where a disk is wiped. Never more than a minority of the nodes is down at a time but
//! for a power failure of all, and a disk is wiped only where all others are whole.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_core::rng::Rng;
use rustix::process::Signal;
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, sleep};

use crate::clients::any_of;
use crate::network::{Network, Trouble};
use crate::nodes::Nodes;

/// How long nodes may take to serve again, and the cluster to be whole again.
const READY_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Before a wipe the cluster gets so long to be whole; else another fault is chosen.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// kill -9 of a minority.
    Kill,
    /// SIGSTOP of a minority, and SIGCONT later.
    Pause,
    /// SIGTERM, and a start.
    Restart,
    /// kill -9 of all at once.
    PowerFailure,
    /// kill -9, and an empty disk.
    Wipe,
    /// Two nodes do not hear each other.
    Cut,
    /// One does not hear another one that hears it.
    OneWayCut,
    /// A node hears nobody, and nobody hears it.
    Isolation,
    /// What one says does not come to another one for a while, and nobody is told.
    Silence,
    /// One direction is slow.
    Delay,
}

/// Those of wires.
const WIRE_FAULTS: [Kind; 5] = [Kind::Cut, Kind::OneWayCut, Kind::Isolation, Kind::Silence, Kind::Delay];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9",
            Self::Pause => "SIGSTOP, SIGCONT",
            Self::Restart => "tidy restart",
            Self::PowerFailure => "kill -9 of all at once",
            Self::Wipe => "wiped disk",
            Self::Cut => "link cut",
            Self::OneWayCut => "link cut one way",
            Self::Isolation => "node cut off",
            Self::Silence => "link silent one way",
            Self::Delay => "link slow one way",
        })
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<Kind, u64>,
    /// From the end of a fault until its nodes served again, or for a wiped disk until everything was whole.
    pub(crate) recoveries: BTreeMap<Kind, Vec<Duration>>,
    /// What nodes must not do, whatever is done to them.
    pub(crate) misdeeds: Vec<String>,
}

impl Tally {
    pub(crate) fn faults(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// What both sequences know.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) network: Arc<Network>,
    /// Held by a fault of wires as long as it lasts, and by a wipe.
    pub(crate) wires: Arc<Turn<()>>,
    pub(crate) until: Instant,
}

impl Stage {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn note(&self, what: impl FnOnce(&mut Tally)) {
        what(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Troubles wires until the time is over.
    pub(crate) async fn trouble_wires(self, mut rng: Rng, nodes: usize) {
        while self.goes_on() {
            let turn = self.wires.lock().await;
            let first = any_of(&mut rng, nodes);
            let second = (first + 1 + any_of(&mut rng, nodes - 1)) % nodes;
            let delay = Trouble::Slow(Duration::from_millis(rng.between(20, 600)));
            let kind = WIRE_FAULTS[any_of(&mut rng, WIRE_FAULTS.len())];
            let troubles: Vec<(usize, usize, Trouble)> = match kind {
                Kind::Cut => vec![(first, second, Trouble::Cut), (second, first, Trouble::Cut)],
                Kind::Isolation => {
                    let others = (0..nodes).filter(|node| *node != first);
                    others.flat_map(|node| [(first, node, Trouble::Cut), (node, first, Trouble::Cut)]).collect()
                }
                Kind::Delay => vec![(first, second, delay)],
                Kind::Silence => vec![(first, second, Trouble::Silent)],
                _ => vec![(first, second, Trouble::Cut)],
            };
            troubles.into_iter().for_each(|(from, to, trouble)| self.network.trouble(from, to, trouble));
            self.note(|tally| *tally.counts.entry(kind).or_default() += 1);
            pause(&mut rng, 800, 3_500).await;
            self.network.heal();
            drop(turn);
            pause(&mut rng, 300, 1_500).await;
        }
    }

    /// Torments processes and disks until the time is over, and gives back the nodes, all of which run.
    pub(crate) async fn torment_processes(self, mut rng: Rng, mut nodes: Nodes) -> Nodes {
        while self.goes_on() {
            let kind = match rng.below(20) {
                0..7 => Kind::Kill,
                7..12 => Kind::Pause,
                12..16 => Kind::Restart,
                16..18 => Kind::PowerFailure,
                _ => Kind::Wipe,
            };
            if let Err(misdeed) = self.torment(kind, &mut rng, &mut nodes).await {
                self.note(|tally| tally.misdeeds.push(format!("after {kind}: {misdeed}")));
                return nodes;
            }
            pause(&mut rng, 300, 1_500).await;
        }
        nodes
    }

    async fn torment(&self, kind: Kind, rng: &mut Rng, nodes: &mut Nodes) -> Result<(), String> {
        let told = |error: std::io::Error| error.to_string();
        if let Some(ended) = nodes.ended().map_err(told)? {
            return Err(ended);
        }
        let chosen = victims(kind, rng, nodes.all.len());
        let calm = if kind == Kind::Wipe { Some(self.wires.lock().await) } else { None };
        if kind == Kind::Wipe && nodes.wait_settled(WHOLE_WITHIN).await.is_err() {
            return Ok(());
        }
        self.note(|tally| *tally.counts.entry(kind).or_default() += 1);
        match kind {
            Kind::Pause => {
                chosen.iter().try_for_each(|node| nodes.signal(*node, Signal::STOP)).map_err(told)?;
                pause(rng, 500, 5_000).await;
                chosen.iter().try_for_each(|node| nodes.signal(*node, Signal::CONT)).map_err(told)?;
            }
            Kind::Restart => {
                let wrong = nodes.stop(chosen[0]).await.map_err(told)?;
                wrong.map_or(Ok(()), Err)?;
            }
            _ => nodes.kill(&chosen).map_err(told)?,
        }
        if kind == Kind::Wipe {
            nodes.wipe(chosen[0]).map_err(told)?;
        }
        if kind != Kind::Pause {
            pause(rng, 100, 3_000).await;
            chosen.iter().try_for_each(|node| nodes.start(*node)).map_err(told)?;
        }
        let healed = Instant::now();
        nodes.wait_ready(&chosen, READY_WITHIN).await?;
        if calm.is_some() {
            nodes.wait_settled(SETTLED_WITHIN).await?;
        }
        self.note(|tally| tally.recoveries.entry(kind).or_default().push(healed.elapsed()));
        Ok(())
    }
}

/// Whom a fault of processes meets: all in a power failure, else never more than a minority.
fn victims(kind: Kind, rng: &mut Rng, nodes: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..nodes).collect();
    rng.shuffle(&mut chosen);
    let minority = (nodes - 1) / 2;
    match kind {
        Kind::PowerFailure => {}
        Kind::Kill | Kind::Pause => chosen.truncate(1 + any_of(rng, minority)),
        _ => chosen.truncate(1),
    }
    chosen
}

/// Lets a while go by: how long a fault lasts is part of the schedule.
async fn pause(rng: &mut Rng, low_ms: u64, high_ms: u64) {
    sleep(Duration::from_millis(rng.between(low_ms, high_ms))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_a_minority_is_down_but_in_a_power_failure() {
        let mut rng = Rng::labelled(1, "victims");
        for (nodes, minority) in [(3, 1), (4, 1), (5, 2), (9, 4)] {
            let mut most = |kind| (0..200).map(|_| victims(kind, &mut rng, nodes).len()).max();
            for kind in [Kind::Kill, Kind::Pause] {
                assert_eq!(most(kind), Some(minority), "{kind} of {nodes}");
            }
            for kind in [Kind::Restart, Kind::Wipe] {
                assert_eq!(most(kind), Some(1), "{kind} of {nodes}");
            }
            assert_eq!(most(Kind::PowerFailure), Some(nodes));
        }
    }
}
