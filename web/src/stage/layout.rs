//! Where things stand on the stage: nodes on a circle, the ownership band inside, clients at the edges. Pure geometry from
//! the size of the stage and the number of nodes; never looks at what the nodes do.

use std::f64::consts::{PI, TAU};

use crate::mark::Point;

/// Above this many nodes letters and captions are for the selected and the hovered only.
pub const LABELLED_NODES_MAX: usize = 24;
/// Above this many nodes idle links are not drawn.
pub const LINKED_NODES_MAX: usize = 12;
/// Below this width of the stage, in pixels, it is laid out for a phone.
pub const PHONE_WIDTH: f64 = 560.0;
/// Radius of a node's disc where there is room, in pixels.
const DISC: f64 = 20.0;
const DISC_PHONE: f64 = 22.0;
const DISC_MIN: f64 = 5.0;
/// Largest circle of nodes, in pixels.
const CIRCLE_MAX: f64 = 230.0;
/// The band's radius as a share of the circle's.
const BAND_SHARE: f64 = 0.655;

/// The frame that the circle of nodes must fit in: distances from the edges of the stage to the middle of a node.
struct Margins {
    left_right: f64,
    top: f64,
    bottom: f64,
}

/// Where everything stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Width of the stage, in pixels.
    pub width: f64,
    /// Height of the stage, in pixels.
    pub height: f64,
    /// Whether it is laid out for a phone.
    pub phone: bool,
    /// The middle of the ring.
    pub center: Point,
    /// Radius of the circle on which the nodes stand.
    pub circle: f64,
    /// Radius of the band.
    pub band: f64,
    /// Radius of a node's disc.
    pub disc: f64,
    /// The middles of the nodes, in their order.
    pub nodes: Vec<Point>,
    /// The middles of the clients, in their order.
    pub clients: Vec<Point>,
}

impl Layout {
    /// Lays out so many nodes and clients on a stage of this size.
    #[must_use]
    pub fn new(width: f64, height: f64, nodes: usize, clients: usize) -> Self {
        let phone = width < PHONE_WIDTH;
        let labelled = nodes <= LABELLED_NODES_MAX;
        let margins = match (phone, labelled) {
            (true, _) => Margins { left_right: 52.0, top: 96.0, bottom: 132.0 },
            (false, true) => Margins { left_right: 170.0, top: 88.0, bottom: 78.0 },
            (false, false) => Margins { left_right: 60.0, top: 72.0, bottom: 66.0 },
        };
        let angles: Vec<_> = (0..nodes).map(|index| angle_of_node(index, nodes)).collect();
        let (circle, center) = fit(&angles, width, height, &margins);
        let disc = disc_radius(circle, nodes, phone);
        let band =
            if nodes > LINKED_NODES_MAX { (circle - disc - 26.0).max(circle * 0.5) } else { circle * BAND_SHARE };
        Self {
            width,
            height,
            phone,
            center,
            circle,
            band,
            disc,
            nodes: angles.iter().map(|angle| center.around(circle, *angle)).collect(),
            clients: client_places(width, height, phone, clients),
        }
    }

    /// Whether nodes have letters and captions without being asked.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.nodes.len() <= LABELLED_NODES_MAX
    }

    /// Whether a caption stands to the left (below zero), to the right (above zero) or below or above (zero) of a node.
    #[must_use]
    pub fn caption_side(&self, node: Point) -> i8 {
        if self.phone {
            return 0;
        }
        // The topmost node has its caption on the right, as have all on the right half.
        if node.x < self.center.x - 1.0 { -1 } else { 1 }
    }
}

/// The angle of a node, clockwise from the top.
fn angle_of_node(index: usize, nodes: usize) -> f64 {
    TAU * index as f64 / nodes.max(1) as f64
}

/// The largest circle whose nodes fit the frame, and its middle.
fn fit(angles: &[f64], width: f64, height: f64, margins: &Margins) -> (f64, Point) {
    // Few nodes would leave most of the circle out of the frame: they are fitted as if they were all round it.
    let whole = [0.0, PI / 2.0, PI, -PI / 2.0];
    let angles = if angles.len() < 3 { &whole[..] } else { angles };
    let extent = |of: fn(f64) -> f64| {
        let all = angles.iter().map(|angle| of(*angle));
        (all.clone().fold(f64::INFINITY, f64::min), all.fold(f64::NEG_INFINITY, f64::max))
    };
    let (left, right) = extent(f64::sin);
    let (top, bottom) = extent(|angle| -angle.cos());
    let room_x = (width - 2.0 * margins.left_right).max(60.0);
    let room_y = (height - margins.top - margins.bottom).max(60.0);
    let circle = (room_x / (right - left)).min(room_y / (bottom - top)).min(CIRCLE_MAX);
    let slack_y = room_y - circle * (bottom - top);
    let center =
        Point::new(width / 2.0 - circle * f64::midpoint(left, right), margins.top + slack_y / 2.0 - circle * top);
    (circle, center)
}

fn disc_radius(circle: f64, nodes: usize, phone: bool) -> f64 {
    let wanted = if phone { DISC_PHONE } else { DISC };
    // Neighbours keep a third of their distance free.
    let room = PI * circle / nodes.max(1) as f64 * 0.68;
    room.clamp(DISC_MIN, wanted)
}

/// The corners, upper left first, then lower left, lower right and upper right.
fn client_places(width: f64, height: f64, phone: bool, clients: usize) -> Vec<Point> {
    let (x, x_low) = if phone { (50.0, 40.0) } else { (width * 0.19, width * 0.095) };
    let (top, bottom) = if phone { (116.0, height - 148.0) } else { (88.0, height - 92.0) };
    let corners =
        [Point::new(x, top), Point::new(x_low, bottom), Point::new(width - x_low, bottom), Point::new(width - x, top)];
    corners.into_iter().take(clients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_node_is_at_the_top_and_the_others_follow_clockwise() {
        let layout = Layout::new(816.0, 446.0, 5, 2);
        let [a, b, c, d, e] = layout.nodes.as_slice() else { panic!("five nodes") };
        assert!(a.y < b.y && b.y < c.y && (c.y - d.y).abs() < 1e-6 && (b.y - e.y).abs() < 1e-6);
        assert!((a.x - layout.center.x).abs() < 1e-6 && b.x > c.x && d.x > e.x);
        assert!((140.0..170.0).contains(&layout.circle), "as large as the frame allows: {}", layout.circle);
    }

    #[test]
    fn nodes_shrink_rather_than_overlap() {
        for (nodes, labelled) in [(1, true), (2, true), (12, true), (24, true), (25, false), (64, false)] {
            let layout = Layout::new(816.0, 446.0, nodes, 3);
            assert_eq!(layout.is_labelled(), labelled, "{nodes} nodes");
            let apart = layout.nodes.windows(2).map(|pair| match pair {
                [one, other] => one.distance(*other),
                _ => f64::INFINITY,
            });
            assert!(apart.fold(f64::INFINITY, f64::min) >= 2.0 * layout.disc, "{nodes} nodes overlap");
            assert!(layout.band + 6.0 < layout.circle - layout.disc, "{nodes} nodes stand on the band");
        }
    }

    proptest! {
        #[test]
        fn everything_is_on_the_stage(width in 320.0..2_600.0_f64, height in 340.0..1_600.0_f64, nodes in 1_usize..=64) {
            let layout = Layout::new(width, height, nodes, 3);
            for place in layout.nodes.iter().chain(&layout.clients) {
                prop_assert!(place.x >= 24.0 && place.x <= width - 24.0, "{place:?} in {width} x {height}");
                prop_assert!(place.y >= 24.0 && place.y <= height - 24.0, "{place:?} in {width} x {height}");
            }
            prop_assert!(layout.band > 0.0 && layout.disc >= DISC_MIN);
        }
    }
}
