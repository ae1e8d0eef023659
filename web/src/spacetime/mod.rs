//! The space-time diagram of the recent past: a lane for each client and node, a slanted line for each message. The slope
//! is the latency, to scale; a cross is a loss, a gap is a crash, hatching is a lane that others cannot reach. Invents
//! nothing: beyond now there are only dotted lines to where a message is due.

mod lanes;

use std::collections::HashMap;

use quorate_core::event::OperationKind;
use quorate_core::id::{Key, NodeId};
use quorate_core::time::Time;
use quorate_core::view::{Endpoint, OperationView, OutcomeView};

use crate::command::CLIENTS;
use crate::faults::{self, Fault};
use crate::mark::{Align, DrawList, Point, Shape, Style, Token};
use crate::model::{Model, Selection, Standing};
use crate::stage::look::Look;
use crate::trace::{Arrow, End};
use crate::words;
pub use lanes::Lanes;

/// Size of a message on a lane, in pixels.
const GLYPH: f64 = 10.0;
/// What does not belong to the story is this faint.
const DIMMED: f64 = 0.34;
/// Most messages that are drawn, newest first.
const ARROWS_MAX: usize = 1_500;

/// The lanes from first to last: the first client, the nodes, the other clients.
struct Cast<'a> {
    ends: HashMap<(bool, &'a str), f64>,
}

impl<'a> Cast<'a> {
    fn new(model: &'a Model) -> Self {
        let first = CLIENTS.iter().take(1).map(|name| (false, *name));
        let nodes = model.view.nodes.iter().map(|node| (true, node.node.as_str()));
        let others = CLIENTS.iter().skip(1).map(|name| (false, *name));
        let ends = first.chain(nodes).chain(others).enumerate().map(|(lane, end)| (end, lane as f64)).collect();
        Self { ends }
    }

    fn lane(&self, end: &Endpoint) -> Option<f64> {
        match end {
            Endpoint::Node(node) => self.node(node),
            Endpoint::Client(name) => self.client(name),
        }
    }

    fn node(&self, node: &NodeId) -> Option<f64> {
        self.ends.get(&(true, node.as_str())).copied()
    }

    fn client(&self, name: &str) -> Option<f64> {
        self.ends.get(&(false, name)).copied()
    }
}

/// How many lanes the model needs.
#[must_use]
pub fn lane_count(model: &Model) -> usize {
    model.view.nodes.len() + CLIENTS.len()
}

/// Draws the diagram.
#[must_use]
pub fn picture(model: &Model, lanes: &Lanes) -> DrawList {
    let mut list = DrawList::default();
    let cast = Cast::new(model);
    future(&mut list, lanes);
    axis(&mut list, lanes);
    unreachable_lanes(&mut list, model, lanes, &cast);
    for name in CLIENTS {
        client_lane(&mut list, lanes, &cast, name);
    }
    for node in &model.view.nodes {
        node_lane(&mut list, model, lanes, &cast, &node.node);
    }
    for operation in model.operations.values() {
        operation_bar(&mut list, model, lanes, &cast, operation);
    }
    arrows(&mut list, model, lanes, &cast);
    for operation in model.operations.values() {
        quorum(&mut list, lanes, &cast, operation);
    }
    now_line(&mut list, lanes);
    list
}

/// The operation whose bar is under a place, if any.
#[must_use]
pub fn operation_at(model: &Model, lanes: &Lanes, at: Point) -> Option<u64> {
    let cast = Cast::new(model);
    let shown = model.operations.values().rev().find(|operation| {
        let Some(lane) = cast.client(&operation.client) else { return false };
        let end = operation.ended_at.unwrap_or(lanes.now).min(lanes.now);
        at.distance_to_line(lanes.place(operation.started_at, lane), lanes.place(end, lane)) <= 12.0
    });
    shown.map(|operation| operation.id)
}

fn future(list: &mut DrawList, lanes: &Lanes) {
    let (near, far) = lanes.edges();
    let from = lanes.turned(lanes.along(lanes.now), near);
    list.push(Shape::Rect(from, lanes.turned(lanes.far_edge(), far)), Style::fill(Token::Future));
}

fn axis(list: &mut DrawList, lanes: &Lanes) {
    let (near, far) = lanes.edges();
    let now = lanes.along(lanes.now);
    for tick in lanes.ticks() {
        let along = lanes.along(tick);
        list.line(lanes.turned(along, near), lanes.turned(along, far), Style::stroke(Token::Fainter, 1.0));
        // The pill of now stands where a label would be, and one at the far edge would be cut.
        if (along - now).abs() < 56.0 || (!lanes.downward && along > lanes.far_edge() - 20.0) {
            continue;
        }
        let label = words::moment(tick);
        if lanes.downward {
            list.text(Point::new(4.0, along - 3.0), label, 10.0, 400, Align::Start, Token::Ink3);
        } else {
            list.text(Point::new(along, far + 18.0), label, 11.0, 400, Align::Middle, Token::Ink3);
        }
    }
}

fn now_line(list: &mut DrawList, lanes: &Lanes) {
    let (near, far) = lanes.edges();
    let along = lanes.along(lanes.now);
    list.line(lanes.turned(along, near - 6.0), lanes.turned(along, far), Style::stroke(Token::Ink, 1.3));
    let middle = if lanes.downward { Point::new(34.0, along) } else { Point::new(along, far + 14.0) };
    let half = if lanes.downward { 30.0 } else { 33.0 };
    let (left, right) = (Point::new(middle.x - half + 9.0, middle.y), Point::new(middle.x + half - 9.0, middle.y));
    // A thick line with round ends is the pill.
    list.line(left, right, Style::stroke(Token::Ink, 18.0));
    list.text(Point::new(middle.x, middle.y + 4.0), words::moment(lanes.now), 11.0, 600, Align::Middle, Token::Stage);
}

fn lane_line(list: &mut DrawList, lanes: &Lanes, lane: f64, from: Time, to: Time, style: Style) {
    if to > from {
        list.line(lanes.place(from, lane), lanes.place(to, lane), style);
    }
}

fn client_lane(list: &mut DrawList, lanes: &Lanes, cast: &Cast<'_>, name: &str) {
    let Some(lane) = cast.client(name) else { return };
    lane_line(list, lanes, lane, lanes.start, lanes.now, Style::stroke(Token::Fainter, 1.2));
    // Where lanes are too close for names, those of the first and the last client still have room outside.
    let outermost = CLIENTS.first() == Some(&name) || CLIENTS.last() == Some(&name);
    if lanes.is_lettered() || outermost {
        let head = lanes.head(lane);
        list.text(Point::new(head.x, head.y + 4.0), name, 12.0, 400, Align::Middle, Token::Ink2);
    }
}

fn node_lane(list: &mut DrawList, model: &Model, lanes: &Lanes, cast: &Cast<'_>, name: &NodeId) {
    let Some(lane) = cast.node(name) else { return };
    let style = Style::stroke(if lanes.is_lettered() { Token::Faint } else { Token::Fainter }, 1.2);
    let mut up_since = lanes.start;
    for spell in model.trace.spells().filter(|spell| spell.node == *name) {
        lane_line(list, lanes, lane, up_since, spell.since.min(lanes.now), style);
        up_since = spell.until.unwrap_or(Time(u64::MAX)).max(lanes.start);
        if spell.since >= lanes.start && spell.since <= lanes.now {
            list.push(Shape::Cross(lanes.place(spell.since, lane), GLYPH), Style::stroke(Token::Lost, 2.2));
        }
    }
    lane_line(list, lanes, lane, up_since, lanes.now, style);
    if up_since <= lanes.now && lanes.is_lettered() {
        let ahead = Style::stroke(Token::Fainter, 1.2).dashed(&[2.0, 4.0]);
        lane_line(list, lanes, lane, lanes.now, lanes.end, ahead);
    }
    if lanes.is_lettered() {
        lane_head(list, model, lanes, lane, name);
    }
}

fn lane_head(list: &mut DrawList, model: &Model, lanes: &Lanes, lane: f64, name: &NodeId) {
    let head = lanes.head(lane);
    let radius = (lanes.pitch() * 0.4).min(10.5);
    let standing = model.node(name).map(|node| model.standing(node).0);
    let is_replica = model.watched_key().is_some_and(|key| key.primaries.contains(name));
    let (style, letter) = match standing {
        Some(Standing::Suspected | Standing::Dead) => {
            (Style::stroke(Token::CopyLine, 1.5).dashed(&[3.0, 2.4]).filled(Token::Stage), Token::Ink)
        }
        Some(Standing::Crashed | Standing::Stopped) => {
            (Style::stroke(Token::Ink3, 1.3).filled(Token::Stage), Token::Ink3)
        }
        _ if is_replica => (Style::fill(Token::Node), Token::OnNode),
        _ => (Style::fill(Token::Node2), Token::OnDisc),
    };
    list.push(Shape::Disc(head, radius), style);
    list.text(Point::new(head.x, head.y + 4.0), name.as_str(), 11.0, 650, Align::Middle, letter);
}

/// Hatches the lanes that some others cannot reach.
fn unreachable_lanes(list: &mut DrawList, model: &Model, lanes: &Lanes, cast: &Cast<'_>) {
    for fault in faults::active(&model.view) {
        let (unreachable, since) = match &fault {
            Fault::Link { to, cut: true, since, .. } => (vec![to.clone()], *since),
            Fault::Partition { groups, since } => {
                let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
                let keeps = groups.iter().position(|group| group.len() == largest);
                let others = groups.iter().enumerate().filter(|(index, _)| Some(*index) != keeps);
                (others.flat_map(|(_, group)| group.clone()).collect(), *since)
            }
            Fault::Link { .. } | Fault::Down { .. } => continue,
        };
        for (index, node) in unreachable.into_iter().enumerate() {
            let Some(lane) = cast.node(&node) else { continue };
            let half = (lanes.pitch() * 0.29).min(10.0);
            let (from, to) = (lanes.along(since.max(lanes.start)), lanes.far_edge());
            let middle = lanes.across(lane);
            let corners = (lanes.turned(from, middle - half), lanes.turned(to, middle + half));
            list.push(Shape::Hatched(corners.0, corners.1), Style::stroke(Token::Hatch, 1.6));
            let begins_here = since >= lanes.start && lanes.is_lettered() && !lanes.downward;
            if begins_here {
                list.line(
                    lanes.turned(from, middle - half),
                    lanes.turned(from, middle + half),
                    Style::stroke(Token::Lost, 2.0),
                );
            }
            if begins_here && index == 0 {
                let at = lanes.turned(from + 7.0, middle - half - 3.0);
                list.text(at, fault.title(), 11.5, 550, Align::Start, Token::Lost);
            }
        }
    }
}

/// Whether something about this key, or about none, belongs to what is selected.
fn belongs(model: &Model, key: Option<&Key>) -> bool {
    model.key_to_watch().is_none_or(|selected| key == Some(&selected))
}

fn operation_bar(list: &mut DrawList, model: &Model, lanes: &Lanes, cast: &Cast<'_>, operation: &OperationView) {
    let Some(lane) = cast.client(&operation.client) else { return };
    let ended = operation.ended_at.filter(|ended| *ended <= lanes.now);
    let end = ended.unwrap_or(lanes.now);
    if operation.started_at > lanes.now || end < lanes.start {
        return;
    }
    let start = operation.started_at.max(lanes.start);
    let selected = model.selection == Selection::Operation(operation.id);
    let opacity = if selected || belongs(model, Some(&operation.key)) { 0.3 } else { 0.16 };
    lane_line(list, lanes, lane, start, end, Style::stroke(Token::ClientLine, 5.0).opacity(opacity));
    if lanes.downward || !lanes.is_lettered() {
        return;
    }
    let at = lanes.place(start, lane);
    let label = format!("{} {}", words::verb(operation.operation), words::short(operation.key.as_str(), 16));
    let weight = if selected { 650 } else { 500 };
    list.text(
        Point::new(at.x, at.y - 8.0),
        label,
        11.5,
        weight,
        Align::Start,
        if selected { Token::Ink } else { Token::Ink2 },
    );
    if ended.is_some() {
        let place = lanes.place(end, lane);
        let (word, token) = outcome_word(operation);
        list.text(Point::new(place.x + 10.0, place.y + 4.0), word, 11.5, 550, Align::Start, token);
    }
}

/// How an operation ended, in a word.
fn outcome_word(operation: &OperationView) -> (String, Token) {
    match &operation.outcome {
        None => (String::new(), Token::Ink2),
        Some(OutcomeView::Written) => ("ok".into(), Token::Ink),
        Some(OutcomeView::Found(values)) => match (values.as_slice(), operation.operation) {
            ([], OperationKind::Get) => ("nothing".into(), Token::Ink2),
            ([one], _) => (words::short(one, 14), Token::Ink),
            (several, _) => (format!("{} values", several.len()), Token::Ink),
        },
        Some(OutcomeView::Failed { code, .. }) => (code.replace('_', " "), Token::Lost),
    }
}

fn arrows(list: &mut DrawList, model: &Model, lanes: &Lanes, cast: &Cast<'_>) {
    let shown = model.trace.arrows().rev().filter(|arrow| {
        arrow.sent_at <= lanes.now
            && arrow.end.at().is_none_or(|end| end >= lanes.start)
            && arrow.sent_at.0 + WAY_MAX_NS >= lanes.start.0
    });
    for arrow in shown.take(ARROWS_MAX) {
        arrow_line(list, model, lanes, cast, arrow);
    }
}

/// A message of which nothing is known since it left is forgotten after this long.
const WAY_MAX_NS: u64 = 5_000_000_000;

fn arrow_line(list: &mut DrawList, model: &Model, lanes: &Lanes, cast: &Cast<'_>, arrow: &Arrow) {
    let (Some(from), Some(to)) = (cast.lane(&arrow.from), cast.lane(&arrow.to)) else { return };
    let Some(ends) = arrow.end.at() else { return };
    let look = Look::of(arrow.kind);
    let in_story = belongs(model, arrow.key.as_ref()) && look.fill != Token::Gossip;
    let under_way = ends > lanes.now;
    let opacity = if in_story || under_way { 1.0 } else { DIMMED };
    // A lost message got half-way; the line says where it was lost, and keeps its slope up to there.
    let reached = if matches!(arrow.end, End::Lost(..)) { f64::midpoint(from, to) } else { to };
    let whole = ends.since(arrow.sent_at).as_secs_f64().max(1e-12);
    let share = (lanes.now.since(arrow.sent_at).as_secs_f64() / whole).min(1.0);
    let head_lane = from + (reached - from) * share;
    // What left before the diagram begins comes in at its edge.
    let left_at = arrow.sent_at.max(lanes.start);
    let tail_lane = from + (reached - from) * (left_at.since(arrow.sent_at).as_secs_f64() / whole);
    let (tail, head) = (lanes.place(left_at, tail_lane), lanes.place(ends.min(lanes.now), head_lane));
    let width = if in_story { 1.7 } else { 1.2 };
    list.line(tail, head, Style::stroke(look.line, width).opacity(opacity));
    if lanes.is_lettered() && left_at == arrow.sent_at {
        list.push(Shape::Disc(tail, 2.2), Style::fill(look.line).opacity(opacity));
    }
    let size = GLYPH.min(lanes.pitch() * 0.7).max(4.0);
    match arrow.end {
        End::Lost(at, _) if at <= lanes.now => list.push(Shape::Cross(head, size), Style::stroke(Token::Lost, 2.2)),
        _ => look.draw(list, head, size, opacity),
    }
    if under_way {
        let ghost = Style::stroke(Token::Ink3, 1.0).dashed(&[1.5, 3.5]).opacity(0.7);
        list.line(head, lanes.place(ends.min(lanes.end), reached), ghost);
    }
}

/// A ring round the vote that completed a quorum.
fn quorum(list: &mut DrawList, lanes: &Lanes, cast: &Cast<'_>, operation: &OperationView) {
    let Some(lane) = operation.coordinator.as_ref().and_then(|node| cast.node(node)) else { return };
    for vote in operation.votes.iter().filter(|vote| vote.decisive) {
        if vote.at >= lanes.start && vote.at <= lanes.now {
            let at = lanes.place(vote.at, lane);
            list.push(Shape::Disc(at, 9.0), Style::stroke(Token::Quorum, 2.2));
            if lanes.is_lettered() && !lanes.downward {
                let letter = if operation.operation == OperationKind::Get { "R" } else { "W" };
                let label = format!("{letter} met");
                list.text(Point::new(at.x, at.y - 13.0), label, 11.5, 600, Align::Middle, Token::Ink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, cluster, event, key};
    use quorate_core::event::{Event, EventKind, LossReason, MessageKind};
    use quorate_core::sim::player::{Speed, Update};

    fn drawn(fixture: Fixture, events: Vec<Event>, selection: Selection) -> DrawList {
        let mut model = Model::default();
        model.absorb(Update::Frame(fixture.frame(events)), 0.0);
        model.selection = selection;
        let lanes = Lanes::new(816.0, 296.0, false, lane_count(&model), Time::from_ms(2_420), Speed::Hundredth);
        picture(&model, &lanes)
    }

    fn count(list: &DrawList, found: impl Fn(&Shape) -> bool) -> usize {
        list.marks.iter().filter(|mark| found(&mark.shape)).count()
    }

    #[test]
    fn every_node_and_client_has_a_lane_with_its_name() {
        let words: Vec<_> = drawn(cluster(5), vec![], Selection::Nothing).words().map(ToString::to_string).collect();
        for name in ["alice", "A", "B", "C", "D", "E", "bob", "carol"] {
            assert!(words.iter().any(|word| word == name), "{name} in {words:?}");
        }
        assert!(words.contains(&"2.420 s".into()), "now: {words:?}");
    }

    #[test]
    fn a_message_is_a_line_whose_slope_is_its_latency() {
        let lost = || cluster(2).message("A", "B", MessageKind::Write, 2_400, 2_410);
        let end = |list: &DrawList| {
            let glyph = list.marks.iter().find_map(|mark| match mark.shape {
                Shape::Glyph(_, at, _) | Shape::Cross(at, _) => Some(at),
                _ => None,
            });
            glyph.expect("a message has a head")
        };
        let arrived = end(&drawn(lost(), vec![], Selection::Nothing));
        let was_lost = end(&drawn(lost().lost(2_405, LossReason::Cut), vec![], Selection::Nothing));
        assert!(was_lost.x < arrived.x && was_lost.y < arrived.y, "lost on its way: {was_lost:?}, {arrived:?}");
    }

    #[test]
    fn a_crash_is_a_cross_and_the_lane_has_a_gap_until_the_restart() {
        let crashed = event(1, None, 2_390, "A", EventKind::Crashed);
        let back = event(2, None, 2_405, "A", EventKind::Started { boot: 2 });
        let lanes_of =
            |events| count(&drawn(cluster(1), events, Selection::Nothing), |shape| matches!(shape, Shape::Line(..)));
        let whole = lanes_of(vec![]);
        assert_eq!(lanes_of(vec![crashed.clone(), back]), whole + 1, "two pieces instead of one");
        assert_eq!(lanes_of(vec![crashed.clone()]), whole - 1, "and nothing ahead of a process that is down");
        let list = drawn(cluster(1), vec![crashed], Selection::Nothing);
        assert_eq!(count(&list, |shape| matches!(shape, Shape::Cross(..))), 1);
    }

    #[test]
    fn an_operation_is_a_bar_with_its_outcome_and_its_quorum() {
        let list = drawn(cluster(5).put(7, Some(OutcomeView::Written)), vec![], Selection::Operation(7));
        let words: Vec<_> = list.words().collect();
        for word in ["put cart", "ok", "W met"] {
            assert!(words.contains(&word), "{word} in {words:?}");
        }
    }

    #[test]
    fn what_does_not_belong_to_the_selected_key_is_dimmed() {
        let fixture = || cluster(2).message("A", "B", MessageKind::Write, 2_400, 2_410);
        let opacity = |selection| {
            let list = drawn(fixture(), vec![], selection);
            let head = list.marks.iter().find(|mark| matches!(mark.shape, Shape::Glyph(..)));
            head.expect("a message has a head").style.opacity
        };
        assert!((opacity(Selection::Nothing) - 1.0).abs() < 1e-9);
        assert!((opacity(Selection::Key(key("wishlist"))) - DIMMED).abs() < 1e-9);
    }

    #[test]
    fn a_partition_hatches_the_lanes_of_the_smaller_side() {
        let list = drawn(cluster(5).split(&[&["A", "B"], &["C", "D", "E"]]), vec![], Selection::Nothing);
        assert_eq!(count(&list, |shape| matches!(shape, Shape::Hatched(..))), 2);
    }

    #[test]
    fn a_bar_is_found_where_it_is_drawn() {
        let mut model = Model::default();
        model.absorb(Update::Frame(cluster(5).put(7, None).frame(vec![])), 0.0);
        let lanes = Lanes::new(816.0, 296.0, false, lane_count(&model), Time::from_ms(2_420), Speed::Hundredth);
        assert_eq!(operation_at(&model, &lanes, lanes.place(Time::from_ms(2_410), 0.0)), Some(7));
        assert_eq!(operation_at(&model, &lanes, lanes.place(Time::from_ms(2_410), 4.0)), None);
    }
}
