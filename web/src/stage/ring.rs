//! The ring: the band of ownership, the letters on its rim, and for a selected key its pin and the walk to its replicas.
//! Draws what the layout of the cluster says; never computes an owner itself.

use std::f64::consts::TAU;

use quorate_core::id::NodeId;
use quorate_core::view::{KeyView, RingView};

use super::layout::Layout;
use crate::mark::{Align, DrawList, Point, Shape, Style, Token};

/// Width of the band, in pixels.
const BAND_WIDTH: f64 = 6.0;
/// Above this many tokens they have no letters and no gaps between them.
const LETTERED_TOKENS_MAX: usize = 64;
/// A letter needs this much of the rim, in pixels.
const LETTER_ROOM: f64 = 12.0;
/// Between the band and the first arc of the walk, and from one arc to the next, in pixels.
const WALK_STEP: f64 = 13.0;
/// Most arcs of a walk.
const WALK_ARCS_MAX: usize = 5;

/// Where a position of the ring is: clockwise from the top.
#[must_use]
pub fn angle(hash: u32) -> f64 {
    TAU * f64::from(hash) / (f64::from(u32::MAX) + 1.0)
}

/// How a segment of the band is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Idle,
    Owner,
    StandsIn,
}

/// Draws the band. The segments of `highlighted` stand out: those on the walk of a selected key, or all of a selected node.
pub fn band(list: &mut DrawList, layout: &Layout, ring: &RingView, key: Option<&KeyView>, node: Option<&NodeId>) {
    if ring.tokens.is_empty() {
        let style = Style::stroke(Token::Segment, BAND_WIDTH);
        list.push(Shape::Arc { center: layout.center, radius: layout.band, start: 0.0, end: TAU }, style);
        return;
    }
    let walk = key.map(|key| walk(ring, key)).unwrap_or_default();
    let gap = if ring.tokens.len() <= LETTERED_TOKENS_MAX { 1.5 / layout.band } else { 0.0 };
    let mut previous = ring.tokens.last().map_or(0.0, |token| angle(token.hash) - TAU);
    for (index, token) in ring.tokens.iter().enumerate() {
        let end = angle(token.hash);
        let owned_by_selected = node.is_some() && ring.owners.get(usize::from(token.owner)) == node;
        let role = match walk.iter().find(|stop| stop.token == index) {
            Some(stop) if stop.stands_in => Role::StandsIn,
            Some(_) => Role::Owner,
            None if owned_by_selected => Role::Owner,
            None => Role::Idle,
        };
        let token = match (role, index % 2) {
            (Role::Owner, _) => Token::Ink,
            (Role::StandsIn, _) => Token::Ink3,
            (Role::Idle, 0) => Token::Segment,
            (Role::Idle, _) => Token::SegmentAlternate,
        };
        let (start, end_drawn) = (previous + gap / 2.0, end - gap / 2.0);
        if end_drawn > start {
            let shape = Shape::Arc { center: layout.center, radius: layout.band, start, end: end_drawn };
            list.push(shape, Style::stroke(token, BAND_WIDTH));
        }
        if role != Role::Idle || has_room(layout, ring, end - previous) {
            letter(list, layout, ring, index, f64::midpoint(previous, end), role);
        }
        previous = end;
    }
}

fn has_room(layout: &Layout, ring: &RingView, width: f64) -> bool {
    ring.tokens.len() <= LETTERED_TOKENS_MAX && width * layout.band >= LETTER_ROOM
}

fn letter(list: &mut DrawList, layout: &Layout, ring: &RingView, index: usize, at: f64, role: Role) {
    let owner = ring.tokens.get(index).and_then(|token| ring.owners.get(usize::from(token.owner)));
    let Some(owner) = owner else { return };
    let place = layout.center.around(layout.band + 13.0, at);
    let (weight, token) = if role == Role::Owner { (700, Token::Ink) } else { (500, Token::Ink3) };
    list.text(Point::new(place.x, place.y + 3.0), owner.as_str(), 9.0, weight, Align::Middle, token);
}

/// A stop on the walk from a key's position: the first token of a node that has not been met before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stop {
    token: usize,
    stands_in: bool,
}

/// The tokens at which the walk meets the owners, then who stands in.
fn walk(ring: &RingView, key: &KeyView) -> Vec<Stop> {
    let first = ring.tokens.partition_point(|token| token.hash < key.hash);
    let count = ring.tokens.len();
    let first_token_of = |node: &NodeId| {
        (first..first + count).map(|index| index % count).find(|index| {
            let owner = ring.tokens.get(*index).and_then(|token| ring.owners.get(usize::from(token.owner)));
            owner == Some(node)
        })
    };
    let owners = key.primaries.iter().map(|node| (node, false));
    let others = key.fallbacks.iter().take(1).map(|node| (node, true));
    let stops = owners
        .chain(others)
        .filter_map(|(node, stands_in)| first_token_of(node).map(|token| Stop { token, stands_in }));
    stops.take(WALK_ARCS_MAX).collect()
}

/// Draws the pin of a key and the nested arcs of its walk, one to each owner and a dotted one to who is next.
pub fn key_walk(list: &mut DrawList, layout: &Layout, ring: &RingView, key: &KeyView) {
    let pin = angle(key.hash);
    let stops = walk(ring, key);
    let step = WALK_STEP.min((layout.band - 12.0) / (stops.len() as f64 + 1.0));
    for (index, stop) in stops.iter().enumerate() {
        let radius = layout.band - step * (index as f64 + 1.0);
        let Some(token) = ring.tokens.get(stop.token) else { continue };
        // The arc ends under the middle of the segment it means; that segment may be the one the pin stands on.
        let end_of_segment = clockwise(pin, angle(token.hash));
        let width = segment_width(ring, stop.token);
        let end = (end_of_segment - width / 2.0).max(pin + (end_of_segment - pin) / 2.0);
        draw_stop(list, layout, pin, end, radius, (!stop.stands_in).then_some(index + 1));
    }
    draw_pin(list, layout, pin, step * (stops.len() as f64), key.key.as_str());
}

/// `angle`, so often round that it lies after `from`.
fn clockwise(from: f64, angle: f64) -> f64 {
    from + (angle - from).rem_euclid(TAU)
}

fn segment_width(ring: &RingView, index: usize) -> f64 {
    let before = index.checked_sub(1).or_else(|| ring.tokens.len().checked_sub(1));
    let ends = (before.and_then(|before| ring.tokens.get(before)), ring.tokens.get(index));
    match ends {
        (Some(before), Some(token)) if ring.tokens.len() > 1 => {
            (angle(token.hash) - angle(before.hash)).rem_euclid(TAU)
        }
        _ => TAU,
    }
}

fn draw_stop(list: &mut DrawList, layout: &Layout, start: f64, end: f64, radius: f64, number: Option<usize>) {
    let dotted: &[f64] = &[2.5, 3.0];
    let (token, dash, width) = match number {
        Some(_) => (Token::Ink, &[][..], 1.6),
        None => (Token::Ink3, dotted, 1.4),
    };
    let center = layout.center;
    list.push(Shape::Arc { center, radius, start, end }, Style::stroke(token, width).dashed(dash));
    let stop = center.around(radius, end);
    list.line(stop, center.around(layout.band - BAND_WIDTH / 2.0, end), Style::stroke(token, 1.0).dashed(dash));
    match number {
        Some(number) => {
            list.push(Shape::Disc(stop, 6.5), Style::fill(Token::Ink));
            list.text(Point::new(stop.x, stop.y + 3.2), number.to_string(), 9.0, 700, Align::Middle, Token::Stage);
        }
        None => list.push(Shape::Disc(stop, 3.0), Style::stroke(Token::Ink3, 1.3).filled(Token::Stage)),
    }
}

fn draw_pin(list: &mut DrawList, layout: &Layout, pin: f64, depth: f64, name: &str) {
    let center = layout.center;
    let outside = center.around(layout.band + 30.0, pin);
    list.line(center.around(layout.band - depth, pin), outside, Style::stroke(Token::Ink, 1.4));
    let head = Style::stroke(Token::Ink, 1.8).filled(Token::Stage);
    list.push(Shape::Disc(center.around(layout.band, pin), 4.2), head);
    let align = if pin.sin() < -0.2 { Align::End } else { Align::Start };
    let aside = if align == Align::End { -4.0 } else { 4.0 };
    let below = if pin.cos() < 0.0 { 11.0 } else { 0.0 };
    let label = crate::words::short(name, 18);
    list.text(Point::new(outside.x + aside, outside.y + below), label, 13.0, 650, align, Token::Ink);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{cart, cluster};
    use proptest::prelude::*;

    fn layout(nodes: usize) -> Layout {
        Layout::new(816.0, 446.0, nodes, 2)
    }

    fn drawn(nodes: usize, key: Option<&KeyView>) -> DrawList {
        let mut list = DrawList::default();
        let view = cluster(nodes).view;
        band(&mut list, &layout(nodes), &view.ring, key, None);
        list
    }

    fn segments(list: &DrawList) -> Vec<(f64, f64, Option<Token>)> {
        let arcs = list.marks.iter().filter_map(|mark| match mark.shape {
            Shape::Arc { start, end, .. } => Some((start, end, mark.style.stroke)),
            _ => None,
        });
        arcs.collect()
    }

    #[test]
    fn positions_go_clockwise_from_the_top() {
        for (hash, turns) in [(0, 0.0), (1 << 30, 0.25), (1 << 31, 0.5), (3 << 30, 0.75)] {
            assert!((angle(hash) - turns * TAU).abs() < 1e-9, "{hash}");
        }
    }

    #[test]
    fn the_band_covers_the_ring_once_with_a_letter_for_each_token() {
        let list = drawn(5, None);
        let covered: f64 = segments(&list).iter().map(|(start, end, _)| end - start).sum();
        assert!((covered - TAU).abs() < 0.35, "all but the gaps: {covered}");
        assert_eq!(list.words().collect::<String>(), "ABCDEABCDEABCDEABCDE");
    }

    #[test]
    fn many_tokens_have_no_letters() {
        assert_eq!(drawn(64, None).words().count(), 0);
        assert_eq!(segments(&drawn(64, None)).len(), 256);
    }

    #[test]
    fn the_walk_of_a_key_meets_its_owners_in_order_and_then_who_stands_in() {
        // The key lies between the second and the third token: the walk goes C (2), D (3), E (4), A (5).
        let view = cluster(5).view;
        let stops: Vec<_> = walk(&view.ring, &cart()).iter().map(|stop| (stop.token, stop.stands_in)).collect();
        assert_eq!(
            stops,
            [(5, false), (2, false), (3, false), (4, true)],
            "in the order of the preference list: A, C, D"
        );
        let list = drawn(5, Some(&cart()));
        let hot = segments(&list).iter().filter(|(_, _, token)| *token == Some(Token::Ink)).count();
        assert_eq!(hot, 3);
    }

    #[test]
    fn the_pin_carries_the_key_and_the_arcs_their_numbers() {
        let mut list = DrawList::default();
        key_walk(&mut list, &layout(5), &cluster(5).view.ring, &cart());
        assert_eq!(list.words().collect::<Vec<_>>(), ["1", "2", "3", "cart"]);
    }

    proptest! {
        #[test]
        fn any_ring_and_any_key_can_be_drawn(
            mut hashes in prop::collection::vec(any::<u32>(), 0..40),
            owners in 1_u16..6,
            position: u32,
        ) {
            hashes.sort_unstable();
            let mut ring = cluster(5).view.ring;
            ring.tokens = (0_u16..).zip(hashes).map(|(index, hash)| quorate_core::view::TokenView { hash, owner: index % owners }).collect();
            let key = KeyView { hash: position, ..cart() };
            let mut list = DrawList::default();
            band(&mut list, &layout(5), &ring, Some(&key), None);
            key_walk(&mut list, &layout(5), &ring, &key);
            let finite = |point: &Point| point.x.is_finite() && point.y.is_finite();
            for mark in &list.marks {
                let sound = match &mark.shape {
                    Shape::Arc { start, end, radius, .. } => end >= start && *end - *start <= TAU + 1e-9 && *radius > 0.0,
                    Shape::Line(from, to) => finite(from) && finite(to),
                    Shape::Text { at, .. } => finite(at),
                    _ => true,
                };
                prop_assert!(sound, "{mark:?}");
            }
        }
    }
}
