//! Plays a world at a chosen speed: how far to run for so much time on the screen, and what to show afterwards. Reads no
//! clock (the caller says how much time has passed and when a turn must end) and decides nothing about the cluster.

use alloc::boxed::Box;
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
    Frame(Box<Frame>),
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
        Some(Update::Frame(Box::new(Frame {
            playback: self.playback(),
            view: self.world.view(),
            key: self.watched.as_ref().and_then(|key| self.world.key_view(key)),
            events: core::mem::take(&mut self.events),
            events_skipped: core::mem::take(&mut self.events_skipped),
        })))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::sim::DiskFate;
    use crate::view::ProcessState;

    const FRAME: Duration = Duration::from_millis(16);

    fn never() -> impl FnMut() -> bool {
        || false
    }

    /// A player whose cluster is ready.
    fn settled(nodes: u8) -> Player {
        let mut player = Player::new(&Setting { nodes, ..Setting::default() });
        player.turn(FRAME, never());
        assert!(!player.playback().settling, "one turn without a limit settles it");
        drop(player.update());
        player
    }

    fn frame(player: &mut Player) -> Frame {
        match player.update() {
            Some(Update::Frame(frame)) => *frame,
            other => panic!("a frame was due, not {other:?}"),
        }
    }

    #[test]
    fn a_speed_says_how_much_time_passes_in_the_cluster() {
        let passed = Speed::ALL.map(|speed| speed.cluster_time(Duration::from_secs(1)).as_millis());
        assert_eq!(passed, [1, 10, 100, 1_000, 10_000, 100_000]);
        assert!(Speed::ALL.is_sorted(), "slowest first");
    }

    #[test]
    fn a_turn_runs_exactly_as_far_as_the_speed_says() {
        for speed in Speed::ALL {
            let mut player = settled(3);
            player.command(Command::Speed(speed));
            let began = player.playback().now;
            for _ in 0..5 {
                player.turn(FRAME, never());
            }
            assert_eq!(player.playback().now, began + speed.cluster_time(FRAME * 5), "{speed:?}");
        }
    }

    #[test]
    fn a_page_that_was_hidden_goes_on_where_it_was() {
        let mut player = settled(3);
        let began = player.playback().now;
        player.turn(Duration::from_secs(3_600), never());
        assert_eq!(player.playback().now, began + Speed::default().cluster_time(ELAPSED_MAX));
    }

    #[test]
    fn a_paused_world_stands_still_and_is_idle() {
        let mut player = settled(3);
        player.command(Command::Pause);
        drop(player.update());
        let began = player.playback().now;
        player.turn(FRAME, never());
        assert_eq!((player.playback().now, player.is_idle(), player.update()), (began, true, None));
        player.command(Command::Play);
        player.turn(FRAME, never());
        assert!(player.playback().now > began);
    }

    #[test]
    fn a_step_stops_time_and_lets_one_thing_happen_that_leaves_a_trace() {
        let mut player = settled(3);
        for _ in 0..20 {
            let before = player.playback().now;
            player.command(Command::Step);
            let shown = frame(&mut player);
            assert!(!shown.playback.playing && !shown.events.is_empty());
            assert!(shown.events.iter().all(|event| event.at == shown.playback.now), "all of one moment");
            assert!(shown.playback.now >= before);
        }
    }

    #[test]
    fn what_could_not_be_run_in_time_is_dropped_and_not_owed() {
        let mut player = settled(5);
        player.command(Command::Speed(Speed::Hundred));
        let began = player.playback().now;
        player.turn(Duration::from_millis(100), || true);
        let behind = player.playback();
        assert!(behind.behind && behind.now < began + Duration::from_secs(10));
        player.command(Command::Speed(Speed::Hundredth));
        player.turn(FRAME, never());
        let now = player.playback();
        assert_eq!((now.behind, now.now), (false, behind.now + Speed::Hundredth.cluster_time(FRAME)));
    }

    #[test]
    fn settling_is_spread_over_turns_and_then_everybody_is_ready() {
        let mut player = Player::new(&Setting { nodes: 8, ..Setting::default() });
        let mut turns = 0;
        while player.playback().settling {
            player.turn(FRAME, || true);
            turns += 1;
            assert!(turns < 100_000, "it ends");
        }
        assert!(turns > 1, "a turn that must end at once does not do all of it");
        assert!(frame(&mut player).view.nodes.iter().all(|node| node.not_ready.is_none()));
    }

    #[test]
    fn nothing_but_the_clock_is_said_when_nothing_but_time_passed() {
        let mut player = settled(1);
        let quiet = (0..100).any(|_| {
            player.turn(Duration::from_micros(10), never());
            matches!(player.update(), Some(Update::Clock(_)))
        });
        assert!(quiet, "ten microseconds of screen are a tenth of one in the cluster");
    }

    #[test]
    fn commands_reach_the_world_and_the_watched_key_comes_with_every_frame() {
        let mut player = settled(3);
        let (node, key) = (NodeId::new("B").expect("a name"), Key::new("cart").expect("a key"));
        player.command(Command::Act(Action::Crash { node: node.clone(), disk: DiskFate::Kept }));
        player.command(Command::Watch(Some(key.clone())));
        let shown = frame(&mut player);
        let seen = shown.view.nodes.iter().find(|seen| seen.node == node).map(|seen| seen.process);
        assert_eq!(seen, Some(ProcessState::Crashed));
        assert_eq!(shown.key.map(|view| view.key), Some(key));
        player.command(Command::Watch(None));
        assert_eq!(frame(&mut player).key, None);
    }

    #[test]
    fn a_new_world_keeps_the_pace_and_counts_as_another_run() {
        let mut player = settled(3);
        player.command(Command::Pause);
        player.command(Command::Speed(Speed::Tenth));
        player.command(Command::New(Setting { nodes: 4, ..Setting::default() }));
        player.turn(FRAME, never());
        let shown = frame(&mut player);
        assert_eq!((shown.playback.run, shown.playback.playing, shown.playback.speed), (2, false, Speed::Tenth));
        assert_eq!(shown.view.nodes.len(), 4);
    }

    #[test]
    fn events_wait_for_a_frame_within_bounds_and_the_rest_is_counted() {
        let mut player = settled(5);
        player.command(Command::Speed(Speed::Hundred));
        for _ in 0..20 {
            player.turn(ELAPSED_MAX, never());
        }
        let shown = frame(&mut player);
        assert_eq!(shown.events.len(), EVENTS_MAX);
        assert!(shown.events_skipped > 0);
        assert_eq!(player.update(), None, "and nothing is said twice");
    }
}
