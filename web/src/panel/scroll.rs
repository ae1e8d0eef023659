//! A list whose newest line is the last one: it stays scrolled to its end, so that nothing that stands there moves.

use web_sys::Element;
use yew::prelude::*;

/// How the list is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// Its name in the style sheet.
    pub class: &'static str,
    /// Its name for those who do not see it.
    pub label: &'static str,
    /// Changes when there is a newer last line.
    pub newest: u64,
    /// The list.
    pub children: Html,
}

/// The list.
#[component]
pub fn ToEnd(props: &Props) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with(props.newest, move |_| {
            if let Some(element) = node.cast::<Element>() {
                element.set_scroll_top(element.scroll_height());
            }
        });
    }
    html! { <div class={props.class} ref={node} tabindex="0" role="region" aria-label={props.label}>{props.children.clone()}</div> }
}
