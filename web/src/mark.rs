//! What a canvas is told to draw: marks with a shape, colour tokens and a text, and the places that can be hit. Pure data,
//! computed and tested natively; never a colour value, never a pixel.

/// A place on a canvas, in CSS pixels from its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

impl Point {
    /// A place.
    #[must_use]
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// The place at `share` (0 to 1) of the way to `other`.
    #[must_use]
    pub fn towards(self, other: Self, share: f64) -> Self {
        Self::new(self.x + (other.x - self.x) * share, self.y + (other.y - self.y) * share)
    }

    /// The distance to `other`.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        (other.x - self.x).hypot(other.y - self.y)
    }

    /// The place `by` pixels from here in the direction of `other`.
    #[must_use]
    pub fn step_towards(self, other: Self, by: f64) -> Self {
        let distance = self.distance(other);
        if distance == 0.0 { self } else { self.towards(other, by / distance) }
    }

    /// The place `radius` away at `angle` radians, clockwise from the top.
    #[must_use]
    pub fn around(self, radius: f64, angle: f64) -> Self {
        Self::new(self.x + radius * angle.sin(), self.y - radius * angle.cos())
    }

    /// The distance to the stretch between two places.
    #[must_use]
    pub fn distance_to_line(self, from: Self, to: Self) -> f64 {
        let length_squared = (to.x - from.x).powi(2) + (to.y - from.y).powi(2);
        if length_squared == 0.0 {
            return self.distance(from);
        }
        let along = ((self.x - from.x) * (to.x - from.x) + (self.y - from.y) * (to.y - from.y)) / length_squared;
        self.distance(from.towards(to, along.clamp(0.0, 1.0)))
    }
}

/// A colour by its meaning; the style sheet knows its value in each theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// The ground that the world is drawn on.
    Stage,
    /// The story.
    Ink,
    /// Secondary text.
    Ink2,
    /// Captions and axes.
    Ink3,
    /// Lanes.
    Faint,
    /// Grid and idle links.
    Fainter,
    /// A replica of the selected key.
    Node,
    /// Any other node.
    Node2,
    /// A letter on a replica of the selected key.
    OnNode,
    /// A letter on any other node.
    OnDisc,
    /// A band segment.
    Segment,
    /// Its neighbour.
    SegmentAlternate,
    /// A client's operation: fill.
    Client,
    /// A client's operation: line.
    ClientLine,
    /// A copy for a replica: fill.
    Copy,
    /// A copy for a replica: line; also suspicion.
    CopyLine,
    /// Repair and transfer: fill.
    Repair,
    /// Repair and transfer: line.
    RepairLine,
    /// Gossip and probes.
    Gossip,
    /// Lost, cut, dead.
    Lost,
    /// A quorum that is met.
    Quorum,
    /// Round every filled mark in the light theme.
    Outline,
    /// What has not happened yet.
    Future,
    /// A band over lanes that cannot be reached.
    Hatch,
}

impl Token {
    /// Every token.
    pub const ALL: [Self; 24] = [
        Self::Stage,
        Self::Ink,
        Self::Ink2,
        Self::Ink3,
        Self::Faint,
        Self::Fainter,
        Self::Node,
        Self::Node2,
        Self::OnNode,
        Self::OnDisc,
        Self::Segment,
        Self::SegmentAlternate,
        Self::Client,
        Self::ClientLine,
        Self::Copy,
        Self::CopyLine,
        Self::Repair,
        Self::RepairLine,
        Self::Gossip,
        Self::Lost,
        Self::Quorum,
        Self::Outline,
        Self::Future,
        Self::Hatch,
    ];

    /// The custom property of the style sheet that has its value.
    #[must_use]
    pub const fn property(self) -> &'static str {
        match self {
            Self::Stage => "--stage",
            Self::Ink => "--ink",
            Self::Ink2 => "--ink2",
            Self::Ink3 => "--ink3",
            Self::Faint => "--faint",
            Self::Fainter => "--fainter",
            Self::Node => "--node",
            Self::Node2 => "--node2",
            Self::OnNode => "--on-node",
            Self::OnDisc => "--on-disc",
            Self::Segment => "--segment",
            Self::SegmentAlternate => "--segment-alternate",
            Self::Client => "--client",
            Self::ClientLine => "--client-line",
            Self::Copy => "--copy",
            Self::CopyLine => "--copy-line",
            Self::Repair => "--repair",
            Self::RepairLine => "--repair-line",
            Self::Gossip => "--gossip",
            Self::Lost => "--lost",
            Self::Quorum => "--quorum",
            Self::Outline => "--outline",
            Self::Future => "--future",
            Self::Hatch => "--hatch",
        }
    }
}

/// The shape that says what a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Glyph {
    /// A client's operation.
    Triangle,
    /// A copy for a replica.
    Square,
    /// Gossip.
    Dot,
    /// A probe.
    DotRing,
    /// Repair and transfer.
    Pentagon,
}

/// Where a text stands from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A shape on the canvas. Angles are radians, clockwise from the top.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A straight line.
    Line(Point, Point),
    /// A part of a circle.
    Arc {
        /// Its middle.
        center: Point,
        /// Its radius.
        radius: f64,
        /// Where it begins.
        start: f64,
        /// Where it ends, going clockwise.
        end: f64,
    },
    /// A circle.
    Disc(Point, f64),
    /// A line that grows from nothing to its full colour: where something came from.
    Trail(Point, Point),
    /// An upright rectangle by its corners.
    Rect(Point, Point),
    /// An upright rectangle filled with diagonal lines.
    Hatched(Point, Point),
    /// A message, `size` pixels wide.
    Glyph(Glyph, Point, f64),
    /// A cross, `size` pixels wide.
    Cross(Point, f64),
    /// Words.
    Text {
        /// Where the base line is.
        at: Point,
        /// What they are.
        text: String,
        /// Height of the letters, in pixels.
        size: f64,
        /// Weight of the letters, 100 to 900.
        weight: u16,
        /// Where the words stand from their place.
        align: Align,
    },
}

/// How a shape is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Its inside.
    pub fill: Option<Token>,
    /// Its outline.
    pub stroke: Option<Token>,
    /// Width of the outline, in pixels.
    pub width: f64,
    /// Lengths of dashes and gaps, in pixels; empty for an unbroken line.
    pub dash: &'static [f64],
    /// 0 is invisible, 1 is full.
    pub opacity: f64,
}

impl Style {
    /// A filled shape without an outline.
    #[must_use]
    pub const fn fill(token: Token) -> Self {
        Self { fill: Some(token), stroke: None, width: 0.0, dash: &[], opacity: 1.0 }
    }

    /// An outline or a line.
    #[must_use]
    pub const fn stroke(token: Token, width: f64) -> Self {
        Self { fill: None, stroke: Some(token), width, dash: &[], opacity: 1.0 }
    }

    /// The same, filled.
    #[must_use]
    pub const fn filled(self, token: Token) -> Self {
        Self { fill: Some(token), ..self }
    }

    /// The same, dashed.
    #[must_use]
    pub const fn dashed(self, dash: &'static [f64]) -> Self {
        Self { dash, ..self }
    }

    /// The same, seen through.
    #[must_use]
    pub const fn opacity(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }
}

/// A shape and how it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// What.
    pub shape: Shape,
    /// How.
    pub style: Style,
}

/// Marks, first to last: later ones lie on top.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrawList {
    /// The marks.
    pub marks: Vec<Mark>,
}

impl DrawList {
    /// Puts a shape on top.
    pub fn push(&mut self, shape: Shape, style: Style) {
        self.marks.push(Mark { shape, style });
    }

    /// Puts a line on top.
    pub fn line(&mut self, from: Point, to: Point, style: Style) {
        self.push(Shape::Line(from, to), style);
    }

    /// Puts words on top.
    pub fn text(&mut self, at: Point, text: impl Into<String>, size: f64, weight: u16, align: Align, token: Token) {
        self.push(Shape::Text { at, text: text.into(), size, weight, align }, Style::fill(token));
    }

    /// The words in it, first to last.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.marks.iter().filter_map(|mark| match &mark.shape {
            Shape::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }
}
