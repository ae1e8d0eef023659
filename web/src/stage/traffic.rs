//! Links, what travels on them, and what is lost. Every place is a function of simulated time alone: linear, never eased.
//! When messages are too fast or too many to follow it draws how busy each link is instead, and says so to the caller.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use quorate_core::sim::player::Speed;
use quorate_core::time::Time;
use quorate_core::view::{ClusterView, Endpoint};

use super::layout::{LINKED_NODES_MAX, Layout};
use super::look::Look;
use crate::faults::{self, Fault};
use crate::mark::{Align, DrawList, Point, Shape, Style, Token};
use crate::trace::{Arrow, End, Trace};

/// Size of a message on the stage, in pixels.
const GLYPH: f64 = 14.0;
/// Length of the trail behind a message, in pixels.
const TRAIL: f64 = 46.0;
/// Between a disc and the end of its links, in pixels.
const LINK_GAP: f64 = 4.0;
/// From here on a message is on the screen too briefly to be followed.
const FLOW_SPEED: Speed = Speed::Tenth;
/// More messages than this on their way are too many to follow.
const PACKETS_MAX: usize = 300;
/// How long a cross stays, and then fades, on the screen.
const CROSS_STAYS: Duration = Duration::from_millis(600);
const CROSS_FADES: Duration = Duration::from_millis(200);
/// How much of the past the width of a busy link stands for, on the screen.
const FLOW_WINDOW: Duration = Duration::from_secs(1);
/// More broken links than this are drawn without bars and words.
const NAMED_LINKS_MAX: usize = 3;

/// Where everybody stands, for looking up the ends of a message.
pub struct Places<'a> {
    layout: &'a Layout,
    nodes: HashMap<&'a str, Point>,
    clients: HashMap<&'a str, Point>,
}

impl<'a> Places<'a> {
    /// The places of the nodes of this picture and of these clients.
    #[must_use]
    pub fn new(layout: &'a Layout, view: &'a ClusterView, clients: &'a [&'a str]) -> Self {
        let nodes = view.nodes.iter().map(|node| node.node.as_str()).zip(layout.nodes.iter().copied()).collect();
        let clients = clients.iter().copied().zip(layout.clients.iter().copied()).collect();
        Self { layout, nodes, clients }
    }

    fn of(&self, end: &Endpoint) -> Option<Point> {
        match end {
            Endpoint::Node(node) => self.nodes.get(node.as_str()).copied(),
            Endpoint::Client(name) => self.clients.get(name.as_str()).copied(),
        }
    }

    /// The two ends of a path between two of them, clear of their discs and pills.
    fn path(&self, from: &Endpoint, to: &Endpoint) -> Option<(Point, Point)> {
        let (a, b) = (self.of(from)?, self.of(to)?);
        let clear = |end: &Endpoint| match end {
            Endpoint::Node(_) => self.layout.disc + LINK_GAP,
            Endpoint::Client(_) => 30.0,
        };
        Some((a.step_towards(b, clear(from)), b.step_towards(a, clear(to))))
    }
}

/// What the traffic is drawn from.
pub struct Scene<'a> {
    /// The cluster.
    pub view: &'a ClusterView,
    /// The recent past.
    pub trace: &'a Trace,
    /// The moment to be shown.
    pub now: Time,
    /// How fast simulated time passes.
    pub speed: Speed,
    /// Whether it passes.
    pub running: bool,
    /// The link that is selected.
    pub selected_link: Option<(&'a str, &'a str)>,
}

/// Draws links and messages. Says whether it drew how busy links are, because messages cannot be followed.
pub fn draw(list: &mut DrawList, places: &Places<'_>, scene: &Scene<'_>) -> bool {
    let faults = faults::active(scene.view);
    idle_links(list, places, scene);
    let under_way: Vec<_> = scene.trace.arrows().filter(|arrow| is_under_way(arrow, scene.now)).collect();
    let flow = scene.running && (scene.speed >= FLOW_SPEED || under_way.len() > PACKETS_MAX);
    if flow {
        busy_links(list, places, scene);
    }
    broken_links(list, places, scene.view, &faults);
    if !flow {
        client_lines(list, places, scene);
        for arrow in under_way {
            packet(list, places, arrow, scene.now);
        }
    }
    crosses(list, places, scene, flow);
    flow
}

fn is_under_way(arrow: &Arrow, now: Time) -> bool {
    arrow.sent_at <= now && arrow.end.at().is_some_and(|end| now < end)
}

fn node_path(places: &Places<'_>, from: &str, to: &str) -> Option<(Point, Point)> {
    let (a, b) = (*places.nodes.get(from)?, *places.nodes.get(to)?);
    let clear = places.layout.disc + LINK_GAP;
    Some((a.step_towards(b, clear), b.step_towards(a, clear)))
}

fn idle_links(list: &mut DrawList, places: &Places<'_>, scene: &Scene<'_>) {
    let nodes = &scene.view.nodes;
    if nodes.len() <= LINKED_NODES_MAX {
        let broken = |a: &str, b: &str| {
            scene.view.links.iter().any(|link| {
                let ends = (link.from.as_str(), link.to.as_str());
                ends == (a, b) || ends == (b, a)
            })
        };
        for (index, a) in nodes.iter().enumerate() {
            for b in nodes.iter().skip(index + 1) {
                let (a, b) = (a.node.as_str(), b.node.as_str());
                if let (false, Some((from, to))) = (broken(a, b), node_path(places, a, b)) {
                    list.line(from, to, Style::stroke(Token::Fainter, 1.0));
                }
            }
        }
    }
    if let Some((a, b)) = scene.selected_link
        && let Some((from, to)) = node_path(places, a, b)
    {
        list.line(from, to, Style::stroke(Token::Ink3, 2.2));
    }
}

fn broken_links(list: &mut DrawList, places: &Places<'_>, view: &ClusterView, faults: &[Fault]) {
    let named = faults.iter().filter(|fault| matches!(fault, Fault::Link { .. })).count();
    for fault in faults {
        match fault {
            Fault::Link { from, to, both_ways, cut, .. } => {
                let Some(path) = node_path(places, from.as_str(), to.as_str()) else { continue };
                let label = (named <= NAMED_LINKS_MAX).then(|| fault.title());
                broken_link(list, path, *both_ways, *cut, label);
            }
            Fault::Partition { groups, .. } => partition_links(list, places, groups, view.nodes.len()),
            Fault::Down { .. } => {}
        }
    }
}

fn broken_link(list: &mut DrawList, (from, to): (Point, Point), both_ways: bool, cut: bool, label: Option<String>) {
    let length = from.distance(to);
    let middle = from.towards(to, 0.5);
    if cut {
        let (near, far) = (middle.step_towards(from, 13.0), middle.step_towards(to, 13.0));
        list.line(from, near, Style::stroke(Token::Lost, 1.6));
        let beyond = Style::stroke(Token::Lost, 1.6);
        list.line(far, to, if both_ways { beyond } else { beyond.dashed(&[1.5, 4.0]).opacity(0.6) });
        for place in [near, far] {
            bar(list, place, to);
        }
        list.push(Shape::Cross(middle, 11.0), Style::stroke(Token::Lost, 2.2));
    } else {
        list.line(from, to, Style::stroke(Token::Lost, 1.4).dashed(&[5.0, 4.0]));
    }
    if let Some(text) = label.filter(|_| length > 90.0) {
        list.text(Point::new(middle.x + 18.0, middle.y + 4.0), text, 12.0, 550, Align::Start, Token::Lost);
    }
}

/// A bar across the line that goes on to `to`.
fn bar(list: &mut DrawList, place: Point, to: Point) {
    let along = place.distance(to).max(1.0);
    let (x, y) = ((to.x - place.x) / along * 7.0, (to.y - place.y) / along * 7.0);
    let (one, other) = (Point::new(place.x - y, place.y + x), Point::new(place.x + y, place.y - x));
    list.line(one, other, Style::stroke(Token::Lost, 2.2));
}

/// Every link between two groups, with a cross on it while they are few.
fn partition_links(list: &mut DrawList, places: &Places<'_>, groups: &[Vec<quorate_core::id::NodeId>], nodes: usize) {
    if nodes > LINKED_NODES_MAX {
        return;
    }
    for (index, group) in groups.iter().enumerate() {
        for other in groups.iter().skip(index + 1).flatten() {
            for node in group {
                let Some((from, to)) = node_path(places, node.as_str(), other.as_str()) else { continue };
                let middle = from.towards(to, 0.5);
                let style = Style::stroke(Token::Lost, 1.2).dashed(&[1.5, 4.0]).opacity(0.6);
                list.line(from, middle.step_towards(from, 9.0), style);
                list.line(middle.step_towards(to, 9.0), to, style);
                list.push(Shape::Cross(middle, 8.0), Style::stroke(Token::Lost, 1.8));
            }
        }
    }
}

/// A dotted line from each client that waits to the node it asked.
fn client_lines(list: &mut DrawList, places: &Places<'_>, scene: &Scene<'_>) {
    let waiting = scene.view.operations.iter().filter(|operation| {
        operation.started_at <= scene.now && operation.ended_at.is_none_or(|ended| scene.now < ended)
    });
    for operation in waiting {
        let (client, node) = (Endpoint::Client(operation.client.clone()), Endpoint::Node(operation.node.clone()));
        if let Some((from, to)) = places.path(&client, &node) {
            list.line(from, to, Style::stroke(Token::Faint, 1.0).dashed(&[1.5, 3.5]));
        }
    }
}

/// The share of its way that a message has behind it.
fn share(arrow: &Arrow, now: Time) -> f64 {
    // Lost messages are drawn at the pace of one that arrives: they vanish before the end of the path.
    let end = match arrow.end {
        End::Unknown => return 0.0,
        End::Arrives(at) => at,
        End::Lost(at, _) => at + at.since(arrow.sent_at).mul_f64(lost_share_rest(arrow)),
    };
    let whole = end.since(arrow.sent_at).as_secs_f64();
    if whole == 0.0 { 1.0 } else { (now.since(arrow.sent_at).as_secs_f64() / whole).min(1.0) }
}

/// How much longer, relative to its life, a lost message would have travelled: one that finds its receiver down came all
/// the way, others are shown to be lost half-way.
fn lost_share_rest(arrow: &Arrow) -> f64 {
    match arrow.end {
        End::Lost(_, quorate_core::event::LossReason::Down) => 0.0,
        _ => 1.0,
    }
}

fn packet(list: &mut DrawList, places: &Places<'_>, arrow: &Arrow, now: Time) {
    let Some((from, to)) = places.path(&arrow.from, &arrow.to) else { return };
    let look = Look::of(arrow.kind);
    let at = from.towards(to, share(arrow, now));
    let tail = at.step_towards(from, TRAIL.min(from.distance(at)));
    list.push(Shape::Trail(tail, at), Style::stroke(look.line, 2.5));
    list.line(at.step_towards(to, GLYPH * 0.7), to, Style::stroke(Token::Faint, 1.0).dashed(&[2.0, 3.0]));
    look.draw(list, at, GLYPH, 1.0);
}

fn crosses(list: &mut DrawList, places: &Places<'_>, scene: &Scene<'_>, flow: bool) {
    let (stays, fades) = (scene.speed.cluster_time(CROSS_STAYS), scene.speed.cluster_time(CROSS_FADES));
    let mut drawn = 0;
    for arrow in scene.trace.arrows().rev() {
        let End::Lost(at, _) = arrow.end else { continue };
        let age = scene.now.since(at);
        if scene.now < at || age > stays + fades || (flow && drawn >= LOST_IN_FLOW_MAX) {
            continue;
        }
        let Some((from, to)) = places.path(&arrow.from, &arrow.to) else { continue };
        let faded = age.saturating_sub(stays).as_secs_f64() / fades.as_secs_f64().max(1e-9);
        let style = Style::stroke(Token::Lost, 2.2).opacity((1.0 - faded).clamp(0.0, 1.0));
        list.push(Shape::Cross(from.towards(to, share(arrow, at)), 11.0), style);
        drawn += 1;
    }
}

/// Most crosses that are drawn while messages cannot be followed.
const LOST_IN_FLOW_MAX: usize = 20;

/// Each link as wide as it is busy.
fn busy_links(list: &mut DrawList, places: &Places<'_>, scene: &Scene<'_>) {
    let window = scene.speed.cluster_time(FLOW_WINDOW);
    let mut counts: BTreeMap<(&Endpoint, &Endpoint), (u32, Look)> = BTreeMap::new();
    for arrow in scene.trace.arrows().rev() {
        if arrow.sent_at <= scene.now && scene.now.since(arrow.sent_at) <= window {
            let look = Look::of(arrow.kind);
            let ends = if arrow.from < arrow.to { (&arrow.from, &arrow.to) } else { (&arrow.to, &arrow.from) };
            let (count, loudest) = counts.entry(ends).or_insert((0, look));
            *count += 1;
            // Data is rarer than gossip: one copy colours its link.
            if loudest.fill == Token::Gossip {
                *loudest = look;
            }
        }
    }
    let most = counts.values().map(|(count, _)| *count).max().unwrap_or(1);
    for ((from, to), (count, look)) in counts {
        if let Some((from, to)) = places.path(from, to) {
            let busy = f64::from(count) / f64::from(most);
            list.line(from, to, Style::stroke(look.line, 1.0 + 4.0 * busy.sqrt()).opacity(0.25 + 0.35 * busy));
        }
    }
}

/// The link between two nodes that is nearest to a place, within `reach` pixels; never one whose ends are nearer than that.
#[must_use]
pub fn link_at(places: &Places<'_>, view: &ClusterView, at: Point, reach: f64) -> Option<(usize, usize)> {
    let mut best: Option<(f64, (usize, usize))> = None;
    let all = view.nodes.len() <= LINKED_NODES_MAX;
    for (index, a) in view.nodes.iter().enumerate() {
        for (other, b) in view.nodes.iter().enumerate().skip(index + 1) {
            let drawn = all
                || view.links.iter().any(|link| {
                    (link.from == a.node && link.to == b.node) || (link.from == b.node && link.to == a.node)
                });
            let Some((from, to)) = node_path(places, a.node.as_str(), b.node.as_str()).filter(|_| drawn) else {
                continue;
            };
            let distance = at.distance_to_line(from, to);
            if distance <= reach && best.is_none_or(|(nearest, _)| distance < nearest) {
                best = Some((distance, (index, other)));
            }
        }
    }
    best.map(|(_, ends)| ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, cluster};
    use crate::mark::Glyph;
    use quorate_core::event::{LossReason, MessageKind};

    const CLIENTS: [&str; 2] = ["alice", "bob"];

    fn drawn(fixture: Fixture, now_ms: u64, speed: Speed, running: bool) -> (DrawList, bool) {
        let frame = fixture.frame(vec![]);
        let mut trace = Trace::default();
        trace.absorb(&frame);
        let layout = Layout::new(816.0, 446.0, frame.view.nodes.len(), 2);
        let places = Places::new(&layout, &frame.view, &CLIENTS);
        let now = Time::from_ms(now_ms);
        let scene = Scene { view: &frame.view, trace: &trace, now, speed, running, selected_link: None };
        let mut list = DrawList::default();
        let flow = draw(&mut list, &places, &scene);
        (list, flow)
    }

    fn glyphs(list: &DrawList) -> Vec<(Glyph, Point)> {
        let found = list.marks.iter().filter_map(|mark| match mark.shape {
            Shape::Glyph(glyph, at, _) => Some((glyph, at)),
            _ => None,
        });
        found.collect()
    }

    fn crosses(list: &DrawList) -> usize {
        list.marks.iter().filter(|mark| matches!(mark.shape, Shape::Cross(..))).count()
    }

    #[test]
    fn a_message_is_where_simulated_time_says() {
        let place = |now_ms| {
            let fixture = cluster(5).message("A", "C", MessageKind::Write, 2_400, 2_408);
            glyphs(&drawn(fixture, now_ms, Speed::Hundredth, true).0)
        };
        let [(Glyph::Square, start)] = place(2_400)[..] else { panic!("it has left") };
        let [(Glyph::Square, middle)] = place(2_404)[..] else { panic!("it is under way") };
        let [(Glyph::Square, late)] = place(2_407)[..] else { panic!("it is under way") };
        assert!(place(2_399).is_empty(), "not yet");
        assert!(place(2_408).is_empty(), "it has arrived");
        assert!((start.distance(middle) - 4.0 / 3.0 * middle.distance(late)).abs() < 1e-6, "linear, never eased");
    }

    #[test]
    fn a_lost_message_leaves_a_cross_that_stays_and_fades() {
        let lost = || cluster(5).message("A", "C", MessageKind::Write, 2_400, 2_408).lost(2_404, LossReason::Loss);
        for (now_ms, packets, left) in [(2_403, 1, 0), (2_404, 0, 1), (2_410, 0, 1), (2_411, 0, 1), (2_413, 0, 0)] {
            let (list, _) = drawn(lost(), now_ms, Speed::Hundredth, true);
            assert_eq!((glyphs(&list).len(), crosses(&list)), (packets, left), "at {now_ms}");
        }
    }

    #[test]
    fn too_fast_to_follow_becomes_a_flow_unless_time_stands_still() {
        for (speed, running, flow) in [
            (Speed::Hundredth, true, false),
            (Speed::Tenth, true, true),
            (Speed::Hundred, true, true),
            (Speed::Hundred, false, false),
        ] {
            let fixture = cluster(5).message("A", "C", MessageKind::Write, 2_400, 2_408);
            let (list, flows) = drawn(fixture, 2_404, speed, running);
            assert_eq!((flows, glyphs(&list).is_empty()), (flow, flow), "{speed:?}");
        }
    }

    #[test]
    fn a_cut_link_shows_bars_a_cross_and_its_name() {
        let (list, _) = drawn(cluster(5).cut(&["A>D"]), 2_400, Speed::Hundredth, true);
        assert_eq!(crosses(&list), 1);
        assert_eq!(list.words().collect::<Vec<_>>(), ["A → D cut"]);
        let idle = list.marks.iter().filter(|mark| mark.style.stroke == Some(Token::Fainter)).count();
        assert_eq!(idle, 9, "ten links, one of them cut");
    }

    #[test]
    fn a_partition_crosses_every_link_between_the_groups_and_names_none() {
        let (list, _) = drawn(cluster(5).split(&[&["A", "B"], &["C", "D", "E"]]), 2_400, Speed::Hundredth, true);
        assert_eq!((crosses(&list), list.words().count()), (6, 0));
    }

    #[test]
    fn a_link_is_found_where_it_is_drawn() {
        let view = cluster(5).view;
        let layout = Layout::new(816.0, 446.0, 5, 2);
        let places = Places::new(&layout, &view, &CLIENTS);
        let [a, _, _, d, _] = layout.nodes[..] else { panic!("five nodes") };
        assert_eq!(link_at(&places, &view, a.towards(d, 0.4), 8.0), Some((0, 3)));
        assert_eq!(link_at(&places, &view, Point::new(4.0, 4.0), 8.0), None);
    }

    #[test]
    fn a_client_that_waits_is_tied_to_the_node_it_asked() {
        let dotted = |fixture, now_ms| {
            let (list, _) = drawn(fixture, now_ms, Speed::Hundredth, true);
            list.marks.iter().filter(|mark| mark.style.stroke == Some(Token::Faint)).count()
        };
        assert_eq!(dotted(cluster(5).put(1, None), 2_405), 1);
        assert_eq!(dotted(cluster(5).put(1, None), 2_399), 0, "not yet asked");
    }
}
