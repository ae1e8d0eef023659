//! The bar with which a phone changes panes.

use yew::prelude::*;

use super::icon::Pane;
use crate::app::{Msg, Tell};

/// How the bar is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// The pane that is shown.
    pub pane: Pane,
    /// Whom to tell of another one.
    pub tell: Tell,
}

/// The bar.
#[component]
pub fn TabBar(props: &Props) -> Html {
    let tab = |pane: Pane| {
        let onclick = props.tell.reform(move |_: MouseEvent| Msg::Pane(pane));
        let current = (pane == props.pane).then_some("page");
        html! { <button {onclick} aria-current={current}>{pane.icon()}{pane.label()}</button> }
    };
    html! { <nav class="tab-bar" aria-label="Panes">{for Pane::ALL.map(tab)}</nav> }
}
