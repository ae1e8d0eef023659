//! What happened, as sentences: a list for the inspector and the newest line for a screen reader and a phone.

use yew::prelude::*;

use super::scroll::ToEnd;
use crate::model::Model;
use crate::story::{Line, Tone};
use crate::words;

/// The newest sentence, or what the page has to say to the person.
#[must_use]
pub fn spoken(model: &Model, remark: Option<&str>) -> String {
    match (remark, model.story.newest_first().next()) {
        (Some(remark), _) => remark.into(),
        (None, Some(line)) => format!("{} at {}", line.text, words::moment(line.at)),
        (None, None) => String::new(),
    }
}

/// What the list shows: nothing while a new cluster forms, whose first words are too many and too quick to read.
fn lines(model: &Model) -> Vec<&Line> {
    if model.playback.settling {
        return Vec::new();
    }
    let mut lines: Vec<_> = model.story.newest_first().collect();
    lines.reverse();
    lines
}

/// The list, oldest first.
pub fn list(model: &Model) -> Html {
    let lines = lines(model);
    let newest = lines.last().map_or(0, |line| line.number);
    let line = |line: &Line| {
        let tone = match line.tone {
            Tone::Deed => "deed",
            Tone::Bad => "bad",
            Tone::Good => "good",
            Tone::Plain => "plain",
        };
        html! {
            <li class={tone} key={line.number}>
                <span>{&line.text}</span><span class="time">{words::moment(line.at)}</span>
            </li>
        }
    };
    html! {
        <ToEnd class="story-scroll" label="What happened" {newest}>
            if lines.is_empty() { <p class="quiet-text">{"Nothing yet."}</p> }
            <ol class="story">{for lines.into_iter().map(line)}</ol>
        </ToEnd>
    }
}
