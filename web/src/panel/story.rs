//! What happened, as sentences: a list for the inspector and the newest line for a screen reader and a phone.

use web_sys::Element;
use yew::prelude::*;

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
#[must_use]
pub fn lines(model: &Model) -> Vec<Line> {
    if model.playback.settling {
        return Vec::new();
    }
    let mut lines: Vec<_> = model.story.newest_first().cloned().collect();
    lines.reverse();
    lines
}

/// How the list is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// The sentences, oldest first.
    pub lines: Vec<Line>,
}

/// The list, oldest first and scrolled to its end.
#[component]
pub fn StoryList(props: &Props) -> Html {
    let scroll = use_node_ref();
    {
        let scroll = scroll.clone();
        use_effect_with(props.lines.clone(), move |_| {
            if let Some(scroll) = scroll.cast::<Element>() {
                scroll.set_scroll_top(scroll.scroll_height());
            }
        });
    }
    let line = |line: &Line| {
        let tone = match line.tone {
            Tone::Deed => "deed",
            Tone::Bad => "bad",
            Tone::Good => "good",
            Tone::Plain => "plain",
        };
        html! { <li class={tone}><span>{&line.text}</span><span class="time">{words::moment(line.at)}</span></li> }
    };
    html! {
        <div class="story-scroll" ref={scroll} tabindex="0" role="region" aria-label="What happened">
            if props.lines.is_empty() { <p class="quiet-text">{"Nothing yet."}</p> }
            <ol class="story">{for props.lines.iter().map(line)}</ol>
        </div>
    }
}
