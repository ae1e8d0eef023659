//! What a message looks like: its meaning as a shape and a colour, the same on the ring and on the lanes. Hollow is an
//! answer. Never depends on who sent it.

use quorate_core::event::MessageKind;

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
    /// How a message of this kind is drawn.
    #[must_use]
    pub fn of(kind: MessageKind) -> Self {
        let client = |hollow| Self { glyph: Glyph::Triangle, fill: Token::Client, line: Token::ClientLine, hollow };
        let copy = |hollow| Self { glyph: Glyph::Square, fill: Token::Copy, line: Token::CopyLine, hollow };
        let repair = |hollow| Self { glyph: Glyph::Pentagon, fill: Token::Repair, line: Token::RepairLine, hollow };
        let gossip = |glyph, hollow| Self { glyph, fill: Token::Gossip, line: Token::Gossip, hollow };
        match kind {
            MessageKind::Client | MessageKind::Forward => client(false),
            MessageKind::ClientAnswer | MessageKind::ForwardAnswer => client(true),
            MessageKind::Write | MessageKind::Read | MessageKind::Hint => copy(false),
            MessageKind::WriteAnswer | MessageKind::ReadAnswer => copy(true),
            MessageKind::Repair | MessageKind::HandOff | MessageKind::Transfer | MessageKind::Exchange => repair(false),
            MessageKind::TransferAnswer | MessageKind::ExchangeAnswer => repair(true),
            MessageKind::Gossip
            | MessageKind::Join
            | MessageKind::Life
            | MessageKind::Layout
            | MessageKind::Talk
            | MessageKind::Collection => gossip(Glyph::Dot, false),
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

    #[test]
    fn shape_and_colour_say_what_a_message_is_about_and_hollow_is_an_answer() {
        for (kind, glyph, hollow) in [
            (MessageKind::Client, Glyph::Triangle, false),
            (MessageKind::ClientAnswer, Glyph::Triangle, true),
            (MessageKind::Forward, Glyph::Triangle, false),
            (MessageKind::Write, Glyph::Square, false),
            (MessageKind::WriteAnswer, Glyph::Square, true),
            (MessageKind::Read, Glyph::Square, false),
            (MessageKind::Repair, Glyph::Pentagon, false),
            (MessageKind::Gossip, Glyph::Dot, false),
            (MessageKind::Probe, Glyph::DotRing, false),
            (MessageKind::ProbeAnswer, Glyph::DotRing, true),
        ] {
            let look = Look::of(kind);
            assert_eq!((look.glyph, look.hollow), (glyph, hollow), "{kind:?}");
            assert_eq!(look.style().fill == Some(Token::Stage), hollow, "{kind:?}");
        }
    }
}
