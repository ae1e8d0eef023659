//! What is measured, each from one seed: how soon a crash and a join are known, how soon halves agree again, what is said
//! when nothing happens, and what stalls do.

use alloc::vec::Vec;
use core::time::Duration;

use super::cluster::{Cluster, Setting};
use super::process::{Hold, Place};
use crate::membership::State;
use crate::time::Time;

/// What is not known after so long counts as known then: the table would show it.
const BOUND: Duration = Duration::from_secs(300);
/// Between two trials, so that what came of one is over.
const PAUSE: Duration = Duration::from_secs(10);

/// How soon it was known, once in each trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// From a crash until everybody lists the member dead.
    pub crashes: Vec<Duration>,
    /// From the first word of a newcomer to its seed until everybody lists it.
    pub joins: Vec<Duration>,
}

/// Crashes a random member, lets it come back, lets a newcomer join and leave, so many times.
#[must_use]
pub fn turnover(setting: Setting, trials: u32) -> Turnover {
    trial(&mut Cluster::new(setting), trials)
}

/// Lets nothing happen for so long, and then does the trials of [`turnover`]: it takes long to make a large cluster.
#[must_use]
pub fn watch(setting: Setting, span: Duration, trials: u32) -> (Quiet, Turnover) {
    let mut cluster = Cluster::new(setting);
    (rest(&mut cluster, span), trial(&mut cluster, trials))
}

fn trial(cluster: &mut Cluster, trials: u32) -> Turnover {
    let mut turnover = Turnover::default();
    let newcomer = cluster.count();
    for _ in 0..trials {
        let phase = cluster.rng().below(1_000);
        cluster.run(Duration::from_millis(phase));
        let victim = Place::try_from(cluster.rng().below(newcomer.into())).expect("below a count");
        let seed = (victim + 1) % newcomer;
        cluster.crash(victim);
        let is_dead = |state| state == Some(State::Dead);
        turnover.crashes.push(cluster.run_until(BOUND, |cluster| cluster.all_believe(victim, is_dead)));
        cluster.run(PAUSE);
        cluster.join(victim, seed);
        cluster.run(PAUSE);
        cluster.join(newcomer, seed);
        let is_present = |state: Option<State>| state.is_some_and(State::is_present);
        turnover.joins.push(cluster.run_until(BOUND, |cluster| cluster.all_believe(newcomer, is_present)));
        cluster.run(PAUSE);
        cluster.leave(newcomer);
        cluster.run(PAUSE);
    }
    turnover
}

/// Divides the members into halves until each has given up the other, joins them again, and says how long it takes until
/// everybody lists everybody as present.
#[must_use]
pub fn heal(setting: Setting) -> Duration {
    let mut cluster = Cluster::new(setting);
    let half = u64::from(setting.nodes / 2);
    cluster.divide(|place| u8::from(u64::from(place) < half));
    let apart = |cluster: &Cluster| cluster.lists().all(|list| list.counts().dead >= half);
    cluster.run_until(BOUND, apart);
    cluster.run(3 * PAUSE);
    let phase = cluster.rng().below(5_000);
    cluster.run(Duration::from_millis(phase));
    cluster.divide(|_| 0);
    cluster.run_until(BOUND, |cluster| cluster.lists().all(|list| list.counts().dead == 0))
}

/// Cuts one member off from the others for so long, joins it to them again, and says how long it takes until everybody lists
/// everybody as present.
#[must_use]
pub fn absence(setting: Setting, span: Duration) -> Duration {
    let mut cluster = Cluster::new(setting);
    cluster.divide(|place| u8::from(place == 0));
    cluster.run(span);
    assert!(cluster.lists().all(|list| list.counts().dead > 0), "who was away that long is given up");
    cluster.divide(|_| 0);
    cluster.run_until(BOUND, |cluster| cluster.lists().all(|list| list.counts().dead == 0))
}

/// What is said and wrongly believed while nothing happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// Messages sent by all.
    pub messages: u64,
    /// Their bytes on the wire, envelopes and frames included.
    pub bytes: u64,
    /// How often somebody has come to believe that somebody else is dead.
    pub false_deaths: u64,
}

/// Lets nothing happen for so long.
#[must_use]
pub fn quiet(setting: Setting, span: Duration) -> Quiet {
    rest(&mut Cluster::new(setting), span)
}

fn rest(cluster: &mut Cluster, span: Duration) -> Quiet {
    cluster.count_anew();
    cluster.run(span);
    let counters = cluster.counters;
    Quiet { messages: counters.messages, bytes: counters.bytes, false_deaths: counters.false_deaths }
}

/// What stalls of some members have done to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// How often they stalled.
    pub stalls: u64,
    /// How often somebody who was well has come to believe that somebody else who was well, and never stalls, is dead.
    pub false_deaths: u64,
}

/// Lets every twentieth member stall again and again, each for 1 to 20 s with up to 2 s in between: every other time the
/// whole process, else only its input and output.
#[must_use]
pub fn stalls(setting: Setting, span: Duration) -> Stalls {
    let mut cluster = Cluster::new(setting);
    cluster.count_anew();
    let until = cluster.now() + span;
    let mut stalls = 0;
    // When each of them stalls or goes on next.
    let mut turns: Vec<(Time, Place, Hold)> =
        (0..setting.nodes / 20).map(|place| (cluster.now(), place * 20, Hold::None)).collect();
    while let Some(turn) = turns.iter_mut().min() {
        if turn.0 >= until {
            break;
        }
        let (at, place, held) = *turn;
        cluster.run(at.since(cluster.now()));
        let (hold, span_ms) = if held == Hold::None {
            stalls += 1;
            let hold = if cluster.rng().chance(500_000) { Hold::Process } else { Hold::Network };
            cluster.hold(place, hold);
            (hold, cluster.rng().between(1_000, 20_000))
        } else {
            cluster.release(place);
            (Hold::None, cluster.rng().between(1, 2_000))
        };
        *turn = (at + Duration::from_millis(span_ms), place, hold);
    }
    Stalls { stalls, false_deaths: cluster.counters.false_deaths }
}
