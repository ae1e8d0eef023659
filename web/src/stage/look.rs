//! What a message looks like: its meaning as a shape and a colour, the same on the ring and on the lanes. Hollow is an
//! answer. Never depends on who sent it, but for a client's own messages.

use quorate_core::event::MessageKind;
use quorate_core::view::Endpoint;

use crate::mark::{DrawList, Glyph, Point, Shape, Style, Token};

/// How a message is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its shape.
    pub glyph: Glyph,
    /// Its inside.
    pub fill: Token,
    /// Its path.
    pub line: Token,
    /// Whether it is an answer.
    pub hollow: bool,
}

impl Look {
    /// How a message of this kind between these two is drawn.
    #[must_use]
    pub fn of(kind: MessageKind, from: &Endpoint, to: &Endpoint) -> Self {
        let client = |hollow| Self { glyph: Glyph::Triangle, fill: Token::Client, line: Token::ClientLine, hollow };
        let copy = |hollow| Self { glyph: Glyph::Square, fill: Token::Copy, line: Token::CopyLine, hollow };
        let repair = |hollow| Self { glyph: Glyph::Pentagon, fill: Token::Repair, line: Token::RepairLine, hollow };
        let gossip = |glyph, hollow| Self { glyph, fill: Token::Gossip, line: Token::Gossip, hollow };
        if matches!(from, Endpoint::Client(_)) {
            return client(false);
        }
        if matches!(to, Endpoint::Client(_)) {
            return client(true);
        }
        match kind {
            MessageKind::Forward => client(false),
            MessageKind::ForwardAnswer => client(true),
            MessageKind::Write | MessageKind::Read => copy(false),
            MessageKind::WriteAnswer | MessageKind::ReadAnswer => copy(true),
            MessageKind::Repair | MessageKind::Transfer => repair(false),
            MessageKind::TransferAnswer => repair(true),
            MessageKind::Gossip | MessageKind::Join | MessageKind::Layout => gossip(Glyph::Dot, false),
            MessageKind::Probe => gossip(Glyph::DotRing, false),
            MessageKind::ProbeAnswer => gossip(Glyph::DotRing, true),
        }
    }

    /// How its glyph is filled and outlined.
    #[must_use]
    pub const fn style(self) -> Style {
        match (self.hollow, self.fill) {
            (true, _) => Style::stroke(self.line, 1.8).filled(Token::Stage),
            // Dots are dark enough in both themes to stand without an outline.
            (false, Token::Gossip) => Style::fill(Token::Gossip),
            (false, _) => Style::stroke(Token::Outline, 1.0).filled(self.fill),
        }
    }

    /// Draws it, `size` pixels wide.
    pub fn draw(self, list: &mut DrawList, at: Point, size: f64, opacity: f64) {
        list.push(Shape::Glyph(self.glyph, at, size), self.style().opacity(opacity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::node;

    #[test]
    fn shape_and_colour_say_what_a_message_is_about_and_hollow_is_an_answer() {
        let (a, b, alice) = (Endpoint::Node(node("A")), Endpoint::Node(node("B")), Endpoint::Client("alice".into()));
        for (kind, from, to, glyph, hollow) in [
            (MessageKind::Write, &a, &b, Glyph::Square, false),
            (MessageKind::WriteAnswer, &b, &a, Glyph::Square, true),
            (MessageKind::Read, &a, &b, Glyph::Square, false),
            (MessageKind::Repair, &a, &b, Glyph::Pentagon, false),
            (MessageKind::Gossip, &a, &b, Glyph::Dot, false),
            (MessageKind::Probe, &a, &b, Glyph::DotRing, false),
            (MessageKind::ProbeAnswer, &b, &a, Glyph::DotRing, true),
            (MessageKind::Forward, &a, &b, Glyph::Triangle, false),
            (MessageKind::Write, &alice, &a, Glyph::Triangle, false),
            (MessageKind::ReadAnswer, &a, &alice, Glyph::Triangle, true),
        ] {
            let look = Look::of(kind, from, to);
            assert_eq!((look.glyph, look.hollow), (glyph, hollow), "{kind:?}");
            assert_eq!(look.style().fill == Some(Token::Stage), hollow, "{kind:?}");
        }
    }
}
