//! What the page knows and what is selected: everything that is drawn is computed from it. Pure: fed with updates from the
//! world and with what a person chose; it sends nothing and draws nothing.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::id::{Key, NodeId};
use quorate_core::membership::State;
use quorate_core::sim::player::{Frame, Playback, Update};
use quorate_core::sim::{Action, Setting};
use quorate_core::time::Time;
use quorate_core::view::{ClusterView, KeyView, NodeView, OperationView, ProcessState};

use crate::clock::Clock;
use crate::story::{self, Story};
use crate::trace::Trace;

/// Most operations of the past that the console shows.
const OPERATIONS_MAX: usize = 100;

/// What the inspector shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The cluster as a whole.
    #[default]
    Nothing,
    /// A node.
    Node(NodeId),
    /// A key.
    Key(Key),
    /// An operation, by its number.
    Operation(u64),
    /// A link, its ends in order.
    Link(NodeId, NodeId),
}

/// How a node stands with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its process is down without a word.
    Crashed,
    /// Its process was stopped tidily.
    Stopped,
    /// It runs, and most of the others that run think so.
    Alive,
    /// It runs, and most of the others doubt it.
    Suspected,
    /// It runs, and most of the others have given it up.
    Dead,
    /// It runs, and cannot serve yet.
    Starting,
}

/// Everything the page knows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// How the world began.
    pub setting: Setting,
    /// Where the player stands.
    pub playback: Playback,
    /// What time the screen shows.
    pub clock: Clock,
    /// The cluster.
    pub view: ClusterView,
    /// The watched key.
    pub key: Option<KeyView>,
    /// The recent past.
    pub trace: Trace,
    /// What happened, in words.
    pub story: Story,
    /// The operations of clients, by their number.
    pub operations: BTreeMap<u64, OperationView>,
    /// What the inspector shows.
    pub selection: Selection,
    /// The nodes that the next fault is for.
    pub marked: BTreeSet<NodeId>,
    /// Counts the frames.
    pub frames: u64,
}

impl Model {
    /// Learns what the world says at `wall_ms` on the screen's clock. What belongs to an older world is dropped.
    pub fn absorb(&mut self, update: Update, wall_ms: f64) {
        match update {
            Update::Clock(playback) if playback.run == self.playback.run => {
                self.playback = playback;
                self.clock.hear(playback, wall_ms);
            }
            Update::Clock(_) => {}
            Update::Frame(frame) if frame.playback.run >= self.playback.run => self.absorb_frame(*frame, wall_ms),
            Update::Frame(_) => {}
        }
    }

    fn absorb_frame(&mut self, frame: Frame, wall_ms: f64) {
        if frame.playback.run > self.playback.run {
            self.forget_run();
        }
        self.trace.absorb(&frame);
        for event in &frame.events {
            self.story.tell(event);
        }
        for operation in &frame.view.operations {
            self.operations.insert(operation.id, operation.clone());
        }
        while self.operations.len() > OPERATIONS_MAX {
            self.operations.pop_first();
        }
        self.playback = frame.playback;
        self.clock.hear(frame.playback, wall_ms);
        self.key = frame.key;
        self.view = frame.view;
        self.frames += 1;
    }

    fn forget_run(&mut self) {
        self.trace = Trace::default();
        self.story = Story::default();
        self.operations.clear();
        self.marked.clear();
        self.selection = Selection::Nothing;
        self.key = None;
    }

    /// Takes note of what a person does to the cluster.
    pub fn note_deed(&mut self, action: &Action) {
        if let Some(text) = story::deed(action) {
            self.story.tell_deed(self.playback.now, text);
        }
    }

    /// The key that should be watched for the selection.
    #[must_use]
    pub fn key_to_watch(&self) -> Option<Key> {
        match &self.selection {
            Selection::Key(key) => Some(key.clone()),
            Selection::Operation(id) => self.operations.get(id).map(|operation| operation.key.clone()),
            Selection::Nothing | Selection::Node(_) | Selection::Link(..) => None,
        }
    }

    /// The picture of the key of the selection, once it has come.
    #[must_use]
    pub fn watched_key(&self) -> Option<&KeyView> {
        let wanted = self.key_to_watch()?;
        self.key.as_ref().filter(|key| key.key == wanted)
    }

    /// The operation that is selected.
    #[must_use]
    pub fn selected_operation(&self) -> Option<&OperationView> {
        match &self.selection {
            Selection::Operation(id) => self.operations.get(id),
            _ => None,
        }
    }

    /// The nodes a fault is for: those that are marked, or else the one that is selected.
    #[must_use]
    pub fn targets(&self) -> Vec<NodeId> {
        if !self.marked.is_empty() {
            return self
                .view
                .nodes
                .iter()
                .map(|node| &node.node)
                .filter(|node| self.marked.contains(*node))
                .cloned()
                .collect();
        }
        match &self.selection {
            Selection::Node(node) => vec![node.clone()],
            Selection::Link(from, to) => vec![from.clone(), to.clone()],
            Selection::Nothing | Selection::Key(_) | Selection::Operation(_) => Vec::new(),
        }
    }

    /// Marks a node for the next fault, or takes the mark away.
    pub fn toggle_mark(&mut self, node: &NodeId) {
        // The first mark takes the selected node with it: select A, mark B means A and B.
        if let (true, Selection::Node(selected)) = (self.marked.is_empty(), &self.selection)
            && selected != node
        {
            self.marked.insert(selected.clone());
        }
        if !self.marked.remove(node) {
            self.marked.insert(node.clone());
        }
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &NodeId) -> Option<&NodeView> {
        self.view.nodes.iter().find(|node| node.node == *name)
    }

    /// How many nodes run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.view.nodes.iter().filter(|node| node.process == ProcessState::Running).count()
    }

    /// How a node stands with the others, and who doubts it.
    #[must_use]
    pub fn standing(&self, node: &NodeView) -> (Standing, Vec<NodeId>) {
        let (observers, doubters, dead) = opinions(&self.view, &node.node);
        let standing = match node.process {
            ProcessState::Crashed => Standing::Crashed,
            ProcessState::Stopped => Standing::Stopped,
            ProcessState::Running if dead * 2 > observers => Standing::Dead,
            ProcessState::Running if doubters.len() * 2 > observers => Standing::Suspected,
            ProcessState::Running if node.not_ready.is_some() => Standing::Starting,
            ProcessState::Running => Standing::Alive,
        };
        (standing, doubters)
    }

    /// Where the screen's clock stands at `wall_ms`.
    #[must_use]
    pub fn now(&self, wall_ms: f64) -> Time {
        self.clock.at(wall_ms)
    }
}

/// How many other running nodes have an opinion of this one, who of them doubts it, and how many have given it up.
fn opinions(view: &ClusterView, subject: &NodeId) -> (usize, Vec<NodeId>, usize) {
    let mut observers = 0;
    let mut doubters = Vec::new();
    let mut dead = 0;
    for observer in view.nodes.iter().filter(|node| node.process == ProcessState::Running && node.node != *subject) {
        let Some(member) = observer.members.iter().find(|member| member.node == *subject) else { continue };
        observers += 1;
        if member.state != State::Alive {
            doubters.push(observer.node.clone());
        }
        if matches!(member.state, State::Dead | State::Left) {
            dead += 1;
        }
    }
    (observers, doubters, dead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, cart, cluster, event, key, node};
    use quorate_core::event::EventKind;
    use quorate_core::view::OutcomeView;

    fn model(fixture: Fixture) -> Model {
        let mut model = Model::default();
        model.absorb(Update::Frame(fixture.frame(vec![])), 0.0);
        model
    }

    #[test]
    fn a_node_stands_as_most_of_the_others_that_run_see_it() {
        let fixture = || cluster(5);
        for (seen, expected) in [
            (fixture(), Standing::Alive),
            (fixture().believed(&["A"], "B", State::Suspect), Standing::Alive),
            (fixture().believed(&["A", "C", "D"], "B", State::Suspect), Standing::Suspected),
            (fixture().believed(&["A", "C", "D"], "B", State::Dead), Standing::Dead),
            (
                fixture().believed(&["A", "C"], "B", State::Dead).believed(&["D"], "B", State::Suspect),
                Standing::Suspected,
            ),
            (fixture().down("B", ProcessState::Crashed), Standing::Crashed),
            (fixture().down("B", ProcessState::Stopped), Standing::Stopped),
            (
                fixture().down("D", ProcessState::Crashed).down("E", ProcessState::Crashed).believed(
                    &["D", "E"],
                    "B",
                    State::Dead,
                ),
                Standing::Alive,
            ),
        ] {
            let model = model(seen);
            let (standing, _) = model.standing(model.node(&node("B")).expect("there is a B"));
            assert_eq!(standing, expected);
        }
    }

    #[test]
    fn a_new_run_forgets_the_old_one_and_its_late_updates() {
        let mut model = model(cluster(5).put(7, Some(OutcomeView::Written)));
        model.selection = Selection::Operation(7);
        model.toggle_mark(&node("A"));
        let mut next = cluster(3).frame(vec![event(1, None, 5, "A", EventKind::Crashed)]);
        next.playback.run = 2;
        model.absorb(Update::Frame(next), 10.0);
        assert_eq!(model.selection, Selection::Nothing);
        assert!(model.operations.is_empty() && model.marked.is_empty());
        assert_eq!(model.story.newest_first().count(), 1);
        model.absorb(Update::Frame(cluster(5).frame(vec![])), 20.0);
        assert_eq!(model.view.nodes.len(), 3, "a frame of the old run came late");
    }

    #[test]
    fn the_selection_decides_what_is_watched_and_what_a_fault_is_for() {
        let mut model = model(cluster(5).put(7, None));
        model.key = Some(cart());
        for (selection, watched, targets) in [
            (Selection::Nothing, None, vec![]),
            (Selection::Node(node("B")), None, vec![node("B")]),
            (Selection::Key(key("cart")), Some(key("cart")), vec![]),
            (Selection::Operation(7), Some(key("cart")), vec![]),
            (Selection::Link(node("A"), node("D")), None, vec![node("A"), node("D")]),
        ] {
            model.selection = selection;
            assert_eq!((model.key_to_watch(), model.targets()), (watched.clone(), targets));
            assert_eq!(model.watched_key().map(|view| view.key.clone()), watched);
        }
    }

    #[test]
    fn marks_win_over_the_selection_and_take_it_along() {
        let mut model = model(cluster(5));
        model.selection = Selection::Node(node("C"));
        model.toggle_mark(&node("A"));
        assert_eq!(model.targets(), [node("A"), node("C")], "in the order of the ring");
        model.toggle_mark(&node("A"));
        model.toggle_mark(&node("C"));
        assert_eq!(model.targets(), [node("C")], "back to the selected node");
    }

    #[test]
    fn operations_are_remembered_after_the_world_has_forgotten_them_and_are_bounded() {
        let mut model = model(cluster(5).put(7, Some(OutcomeView::Written)));
        model.absorb(Update::Frame(cluster(5).frame(vec![])), 10.0);
        assert!(model.operations.contains_key(&7));
        for id in 8..300 {
            model.absorb(Update::Frame(cluster(5).put(id, None).frame(vec![])), 10.0);
        }
        assert_eq!(model.operations.len(), OPERATIONS_MAX);
        assert!(!model.operations.contains_key(&7));
    }
}
