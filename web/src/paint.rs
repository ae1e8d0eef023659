//! Puts a draw list on a canvas. Knows the canvas and the colours of the theme; decides nothing about what is drawn.

use std::collections::HashMap;
use std::f64::consts::{FRAC_PI_2, TAU};

use wasm_bindgen::prelude::*;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

use crate::mark::{Align, DrawList, Glyph, Mark, Point, Shape, Style, Token};

/// The page's own letters; the style sheet names the same.
const FONT: &str = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";
/// Between the lines of a hatching, in pixels.
const HATCH_STEP: f64 = 8.0;

/// A canvas and the colours it is painted with.
pub struct Painter {
    canvas: HtmlCanvasElement,
    context: CanvasRenderingContext2d,
    colours: HashMap<Token, String>,
}

impl Painter {
    /// A painter of this canvas, with the colours of the theme of the moment.
    #[must_use]
    pub fn new(canvas: HtmlCanvasElement) -> Option<Self> {
        let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        let mut painter = Self { canvas, context, colours: HashMap::new() };
        painter.read_theme();
        Some(painter)
    }

    /// Takes the colours from the style sheet again.
    pub fn read_theme(&mut self) {
        let Some(window) = web_sys::window() else { return };
        // A custom property is only resolved where it is used: the canvas itself lends its text colour.
        let style = self.canvas.style();
        for token in Token::ALL {
            drop(style.set_property("color", &format!("var({})", token.property())));
            let computed = window.get_computed_style(&self.canvas).ok().flatten();
            let colour = computed.and_then(|computed| computed.get_property_value("color").ok());
            self.colours.insert(token, colour.unwrap_or_default());
        }
        drop(style.remove_property("color"));
    }

    /// Paints the list on a canvas of this size in CSS pixels, sharp on screens of any density.
    pub fn paint(&self, list: &DrawList, width: f64, height: f64) {
        let density = web_sys::window().map_or(1.0, |window| window.device_pixel_ratio());
        let (wide, high) = (to_pixels(width * density), to_pixels(height * density));
        if self.canvas.width() != wide || self.canvas.height() != high {
            self.canvas.set_width(wide);
            self.canvas.set_height(high);
        }
        let context = &self.context;
        drop(context.set_transform(density, 0.0, 0.0, density, 0.0, 0.0));
        context.clear_rect(0.0, 0.0, width, height);
        context.set_line_join("round");
        for mark in &list.marks {
            self.mark(mark);
        }
    }

    fn colour(&self, token: Token) -> &str {
        self.colours.get(&token).map_or("", String::as_str)
    }

    fn mark(&self, mark: &Mark) {
        let (context, style) = (&self.context, &mark.style);
        context.set_global_alpha(style.opacity);
        self.set_dash(style.dash);
        context.set_line_cap(if style.dash.is_empty() && !matches!(mark.shape, Shape::Arc { .. }) {
            "round"
        } else {
            "butt"
        });
        match &mark.shape {
            Shape::Text { at, text, size, weight, align } => {
                return self.text(*at, text, *size, *weight, *align, style);
            }
            Shape::Trail(from, to) => return self.trail(*from, *to, style),
            Shape::Hatched(from, to) => return self.hatched(*from, *to, style),
            Shape::Glyph(Glyph::DotRing, at, size) => return self.dot_ring(*at, *size, style),
            shape => {
                context.begin_path();
                self.outline(shape);
            }
        }
        self.fill_and_stroke(style);
    }

    fn fill_and_stroke(&self, style: &Style) {
        if let Some(token) = style.fill {
            self.context.set_fill_style_str(self.colour(token));
            self.context.fill();
        }
        if let Some(token) = style.stroke {
            self.context.set_stroke_style_str(self.colour(token));
            self.context.set_line_width(style.width);
            self.context.stroke();
        }
    }

    fn set_dash(&self, dash: &[f64]) {
        let lengths = js_sys::Array::new();
        for length in dash {
            lengths.push(&(*length).into());
        }
        drop(self.context.set_line_dash(&lengths));
    }

    /// Lays the path of a shape.
    fn outline(&self, shape: &Shape) {
        let context = &self.context;
        match *shape {
            Shape::Line(from, to) => {
                context.move_to(from.x, from.y);
                context.line_to(to.x, to.y);
            }
            Shape::Arc { center, radius, start, end } => {
                drop(context.arc(center.x, center.y, radius, start - FRAC_PI_2, end - FRAC_PI_2));
            }
            Shape::Disc(center, radius) => drop(context.arc(center.x, center.y, radius, 0.0, TAU)),
            Shape::Rect(from, to) => context.rect(from.x, from.y, to.x - from.x, to.y - from.y),
            Shape::Cross(at, size) => {
                let half = size / 2.0;
                context.move_to(at.x - half, at.y - half);
                context.line_to(at.x + half, at.y + half);
                context.move_to(at.x + half, at.y - half);
                context.line_to(at.x - half, at.y + half);
            }
            Shape::Glyph(Glyph::Triangle, at, size) => self.polygon(at, size * 0.6, 3),
            Shape::Glyph(Glyph::Pentagon, at, size) => self.polygon(at, size * 0.55, 5),
            Shape::Glyph(Glyph::Square, at, size) => {
                let side = size * 0.8;
                context.rect(at.x - side / 2.0, at.y - side / 2.0, side, side);
            }
            Shape::Glyph(Glyph::Dot, at, size) => drop(context.arc(at.x, at.y, size * 0.25, 0.0, TAU)),
            // These are painted by methods of their own.
            Shape::Glyph(Glyph::DotRing, ..) | Shape::Text { .. } | Shape::Trail(..) | Shape::Hatched(..) => {}
        }
    }

    fn polygon(&self, at: Point, radius: f64, corners: u32) {
        for corner in 0..corners {
            let place = at.around(radius, TAU * f64::from(corner) / f64::from(corners));
            if corner == 0 {
                self.context.move_to(place.x, place.y);
            } else {
                self.context.line_to(place.x, place.y);
            }
        }
        self.context.close_path();
    }

    /// A probe: a dot in a ring, or for its answer a hollow dot in a ring.
    fn dot_ring(&self, at: Point, size: f64, style: &Style) {
        let context = &self.context;
        context.begin_path();
        drop(context.arc(at.x, at.y, size * 0.2, 0.0, TAU));
        self.fill_and_stroke(style);
        context.begin_path();
        drop(context.arc(at.x, at.y, size * 0.45, 0.0, TAU));
        context.set_stroke_style_str(self.colour(Token::Gossip));
        context.set_line_width(1.3);
        context.stroke();
    }

    fn trail(&self, from: Point, to: Point, style: &Style) {
        let Some(token) = style.stroke else { return };
        let gradient = self.context.create_linear_gradient(from.x, from.y, to.x, to.y);
        let colour = self.colour(token);
        drop(gradient.add_color_stop(0.0, &transparent(colour)));
        drop(gradient.add_color_stop(1.0, colour));
        self.context.begin_path();
        self.context.move_to(from.x, from.y);
        self.context.line_to(to.x, to.y);
        self.context.set_stroke_style_canvas_gradient(&gradient);
        self.context.set_line_width(style.width);
        self.context.stroke();
    }

    fn hatched(&self, from: Point, to: Point, style: &Style) {
        let context = &self.context;
        context.save();
        context.begin_path();
        context.rect(from.x, from.y, to.x - from.x, to.y - from.y);
        context.clip();
        context.begin_path();
        let height = to.y - from.y;
        let mut x = from.x - height;
        while x < to.x {
            context.move_to(x, to.y);
            context.line_to(x + height, from.y);
            x += HATCH_STEP;
        }
        self.fill_and_stroke(style);
        context.restore();
    }

    fn text(&self, at: Point, text: &str, size: f64, weight: u16, align: Align, style: &Style) {
        let Some(token) = style.fill else { return };
        let context = &self.context;
        context.set_font(&format!("{weight} {size}px {FONT}"));
        context.set_text_align(match align {
            Align::Start => "start",
            Align::Middle => "center",
            Align::End => "end",
        });
        // A border in the colour of the ground keeps words readable on lines; letters on discs have none.
        if !matches!(token, Token::Stage | Token::OnNode | Token::OnDisc) && size > 9.5 {
            context.set_stroke_style_str(self.colour(Token::Stage));
            context.set_line_width(4.0);
            drop(context.stroke_text(text, at.x, at.y));
        }
        context.set_fill_style_str(self.colour(token));
        drop(context.fill_text(text, at.x, at.y));
    }
}

/// The same colour, invisible: a gradient to the keyword would pass through grey.
fn transparent(colour: &str) -> String {
    match colour.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) {
        Some(parts) => format!("rgba({parts}, 0)"),
        None => "transparent".into(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the size of a canvas is a small positive number"
)]
fn to_pixels(length: f64) -> u32 {
    length.round().clamp(0.0, 16_384.0) as u32
}

#[cfg(test)]
mod tests {
    use super::transparent;

    #[test]
    fn an_invisible_colour_keeps_its_hue() {
        assert_eq!(transparent("rgb(86, 180, 233)"), "rgba(86, 180, 233, 0)");
        assert_eq!(transparent("color(srgb 1 0 0)"), "transparent");
    }
}
