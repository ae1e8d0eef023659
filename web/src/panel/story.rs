//! What happened, as sentences: a list for the inspector and the newest line for a screen reader and a phone.

use yew::prelude::*;

use crate::model::Model;
use crate::story::Tone;
use crate::words;

/// Sentences shown at once.
const LINES: usize = 40;

/// The newest sentence, or what the page has to say to the person.
#[must_use]
pub fn spoken(model: &Model, remark: Option<&str>) -> String {
    match (remark, model.story.newest_first().next()) {
        (Some(remark), _) => remark.into(),
        (None, Some(line)) => format!("{} at {}", line.text, words::moment(line.at)),
        (None, None) => String::new(),
    }
}

/// The list, newest first.
pub fn list(model: &Model) -> Html {
    let line = |line: &crate::story::Line| {
        let tone = match line.tone {
            Tone::Deed => "deed",
            Tone::Bad => "bad",
            Tone::Good => "good",
            Tone::Plain => "plain",
        };
        html! { <li class={tone}><span>{&line.text}</span><span class="time">{words::moment(line.at)}</span></li> }
    };
    let lines: Vec<_> = model.story.newest_first().take(LINES).map(line).collect();
    if lines.is_empty() {
        return html! { <p class="quiet-text">{"Nothing yet."}</p> };
    }
    html! { <ol class="story">{for lines}</ol> }
}
