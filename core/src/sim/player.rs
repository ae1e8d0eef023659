//! Plays a world at a chosen speed: how far to run for so much time on the screen, and what to show afterwards. Reads no
//! clock (the caller says how much time has passed and when a turn must end) and decides nothing about the cluster.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::id::Key;
use crate::sim::{Action, Setting, World};
use crate::time::Time;
use crate::view::{ClusterView, KeyView};

/// Longest span on the screen that one turn makes up for: a page that was hidden goes on where it was, it does not jump.
const ELAPSED_MAX: Duration = Duration::from_millis(100);
/// Most things that one turn processes, whatever its time.
const TURN_THINGS_MAX: u32 = 50_000;
/// Things processed between two looks at the clock.
const THINGS_PER_LOOK: u32 = 32;
/// Most things that one step passes over in search of one that left a trace.
const STEP_THINGS_MAX: u32 = 10_000;
/// Most events that wait for a frame; older ones are counted and forgotten.
const EVENTS_MAX: usize = 4_096;
/// Simulated time between two looks at whether a new cluster is ready.
const SETTLING_STRIDE: Duration = Duration::from_millis(50);
/// A cluster that is not ready by then is shown as it is.
const SETTLING_MAX: Duration = Duration::from_secs(30);

/// How much time passes in the cluster for a second on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Speed {
    /// 1 ms.
    Thousandth,
    /// 10 ms: a message can be followed with the eye.
    #[default]
    Hundredth,
    /// 100 ms.
    Tenth,
    /// 1 s: real time.
    Real,
    /// 10 s.
    Ten,
    /// 100 s.
    Hundred,
}

impl Speed {
    /// Every speed, slowest first.
    pub const ALL: [Self; 6] = [Self::Thousandth, Self::Hundredth, Self::Tenth, Self::Real, Self::Ten, Self::Hundred];

    /// The time that passes in the cluster during `screen`.
    #[must_use]
    pub fn cluster_time(self, screen: Duration) -> Duration {
        match self {
            Self::Thousandth => screen / 1_000,
            Self::Hundredth => screen / 100,
            Self::Tenth => screen / 10,
            Self::Real => screen,
            Self::Ten => screen.saturating_mul(10),
            Self::Hundred => screen.saturating_mul(100),
        }
    }
}

/// What a person tells the player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Begin a new world. It runs as fast as it can until every node is ready, then goes on as before.
    New(Setting),
    /// Let time pass.
    Play,
    /// Stop time.
    Pause,
    /// Let time pass at this speed.
    Speed(Speed),
    /// Stop time, and process one thing that leaves a trace.
    Step,
    /// Do something to the world, now.
    Act(Action),
    /// Send the picture of this key with every frame, or of none.
    Watch(Option<Key>),
}

/// Where the player stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playback {
    /// Counts the worlds that were begun: what belongs to an older one is stale.
    pub run: u32,
    /// The moment in the cluster.
    pub now: Time,
    /// Whether time passes.
    pub playing: bool,
    /// How fast.
    pub speed: Speed,
    /// Whether the world is new and runs as fast as it can until every node is ready.
    pub settling: bool,
    /// Whether the machine could not keep up with the speed in the last turn.
    pub behind: bool,
}

/// What the player tells the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// Time passed and nothing else.
    Clock(Playback),
    /// Something happened.
    Frame(Frame),
}

/// Everything a page needs to draw a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where the player stands.
    pub playback: Playback,
    /// The cluster.
    pub view: ClusterView,
    /// The watched key, if one is watched.
    pub key: Option<KeyView>,
    /// What happened since the last frame, oldest first.
    pub events: Vec<Event>,
    /// How many older events were too many to be kept for this frame.
    pub events_skipped: u64,
}

/// A world and the pace at which it is shown.
#[derive(Clone)]
pub struct Player {
    world: World,
    run: u32,
    playing: bool,
    speed: Speed,
    behind: bool,
    /// When to look next whether the cluster is ready; nothing once it is.
    settling: Option<Time>,
    watched: Option<Key>,
    events: Vec<Event>,
    events_skipped: u64,
    picture_changed: bool,
    clock_changed: bool,
}

impl Player {
    /// A player of a new world.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        Self {
            world: World::new(setting),
            run: 1,
            playing: true,
            speed: Speed::default(),
            behind: false,
            settling: Some(Time::ZERO + SETTLING_STRIDE),
            watched: None,
            events: Vec::new(),
            events_skipped: 0,
            picture_changed: true,
            clock_changed: true,
        }
    }

    /// Does what a person asked for.
    pub fn command(&mut self, command: Command) {
        match command {
            Command::New(setting) => {
                let (run, playing, speed) = (self.run + 1, self.playing, self.speed);
                *self = Self { run, playing, speed, ..Self::new(&setting) };
            }
            Command::Play => self.playing = true,
            Command::Pause => self.playing = false,
            Command::Speed(speed) => self.speed = speed,
            Command::Step => self.step(),
            Command::Act(action) => self.world.apply(&action),
            Command::Watch(key) => self.watched = key,
        }
        self.collect_events();
        self.picture_changed = true;
    }

    /// Lets the world run for `elapsed` on the screen. `out_of_time` is asked now and then: once it says yes the turn ends,
    /// and what could not be run is dropped, so that the world falls behind the screen and never piles up debt.
    pub fn turn(&mut self, elapsed: Duration, mut out_of_time: impl FnMut() -> bool) {
        if self.settling.is_some() {
            self.settle(&mut out_of_time);
        } else if self.playing {
            let goal = self.world.now() + self.speed.cluster_time(elapsed.min(ELAPSED_MAX));
            self.behind = !self.run_until(goal, &mut out_of_time);
            self.clock_changed = true;
        }
        self.collect_events();
    }

    /// What changed since it was last asked for.
    pub fn update(&mut self) -> Option<Update> {
        let picture = core::mem::take(&mut self.picture_changed);
        let clock = core::mem::take(&mut self.clock_changed);
        if !picture {
            return clock.then(|| Update::Clock(self.playback()));
        }
        Some(Update::Frame(Frame {
            playback: self.playback(),
            view: self.world.view(),
            key: self.watched.as_ref().and_then(|key| self.world.key_view(key)),
            events: core::mem::take(&mut self.events),
            events_skipped: core::mem::take(&mut self.events_skipped),
        }))
    }

    /// Where it stands.
    #[must_use]
    pub fn playback(&self) -> Playback {
        Playback {
            run: self.run,
            now: self.world.now(),
            playing: self.playing,
            speed: self.speed,
            settling: self.settling.is_some(),
            behind: self.behind,
        }
    }

    /// Whether there is anything to do before the next command.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.playing && self.settling.is_none() && !self.picture_changed && !self.clock_changed
    }

    /// Runs up to `goal`; says whether it got there.
    fn run_until(&mut self, goal: Time, out_of_time: &mut impl FnMut() -> bool) -> bool {
        let mut things = 0;
        while self.world.next_at().is_some_and(|at| at <= goal) {
            if things == TURN_THINGS_MAX || (things % THINGS_PER_LOOK == THINGS_PER_LOOK - 1 && out_of_time()) {
                return false;
            }
            self.world.step();
            self.picture_changed = true;
            things += 1;
        }
        self.world.run_until(goal);
        true
    }

    fn settle(&mut self, out_of_time: &mut impl FnMut() -> bool) {
        self.picture_changed = true;
        while let Some(look_at) = self.settling {
            if !self.run_until(look_at, out_of_time) {
                return;
            }
            let ready = self.world.view().nodes.iter().all(|node| node.not_ready.is_none());
            let waited_enough = look_at >= Time::ZERO + SETTLING_MAX;
            self.settling = (!ready && !waited_enough).then(|| look_at + SETTLING_STRIDE);
        }
    }

    fn step(&mut self) {
        self.playing = false;
        for _ in 0..STEP_THINGS_MAX {
            if self.world.step().is_none() {
                return;
            }
            if self.collect_events() > 0 {
                return;
            }
        }
    }

    /// Puts aside what the world has to tell; says how many events that were.
    fn collect_events(&mut self) -> usize {
        let mut fresh = self.world.take_events();
        let count = fresh.len();
        self.events.append(&mut fresh);
        let excess = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..excess);
        self.events_skipped += u64::try_from(excess).expect("a length fits 64 bits");
        count
    }
}
