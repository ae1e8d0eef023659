//! The stage: the ring with its nodes and what travels between them. Everything that moves or comes in thousands is a
//! draw list computed here; the nodes themselves are a thin layer of buttons over the canvas.

pub mod face;
pub mod layout;
pub mod look;
pub mod ring;
pub mod traffic;

use quorate_core::time::Time;

use crate::command::CLIENTS;
use crate::mark::DrawList;
use crate::model::{Model, Selection};
use layout::Layout;
use traffic::{Places, Scene};

/// Everything on the canvas of the stage at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// What to draw.
    pub list: DrawList,
    /// Whether it shows how busy links are, because messages are too fast or too many to follow.
    pub flow: bool,
}

/// Draws the stage as it is at `now`.
#[must_use]
pub fn picture(model: &Model, layout: &Layout, now: Time) -> Picture {
    let mut list = DrawList::default();
    let key = model.watched_key();
    let selected_node = match &model.selection {
        Selection::Node(node) => Some(node),
        _ => None,
    };
    let selected_link = match &model.selection {
        Selection::Link(a, b) => Some((a.as_str(), b.as_str())),
        _ => None,
    };
    ring::band(&mut list, layout, &model.view.ring, key, selected_node);
    let places = Places::new(layout, &model.view, &CLIENTS);
    let scene = Scene {
        view: &model.view,
        trace: &model.trace,
        now,
        speed: model.playback.speed,
        running: model.clock.is_running() || model.playback.behind,
        selected_link,
    };
    let mut traffic = DrawList::default();
    let flow = traffic::draw(&mut traffic, &places, &scene);
    if let Some(key) = key {
        ring::key_walk(&mut list, layout, &model.view.ring, key);
    }
    list.marks.append(&mut traffic.marks);
    Picture { list, flow }
}
