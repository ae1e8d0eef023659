//! The panes of a phone, and the bar that changes them.

use yew::prelude::*;

use super::icon::drawing;
use crate::app::{Msg, Tell};

/// The four panes of a phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The ring.
    #[default]
    Stage,
    /// The space-time diagram.
    Time,
    /// The inspector.
    Inspect,
    /// Faults and the console.
    Act,
}

impl Pane {
    /// Every pane, in the order of the bar.
    pub const ALL: [Self; 4] = [Self::Stage, Self::Time, Self::Inspect, Self::Act];

    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stage => "Stage",
            Self::Time => "Time",
            Self::Inspect => "Inspect",
            Self::Act => "Act",
        }
    }

    /// Its name in the style sheet.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Time => "time",
            Self::Inspect => "inspect",
            Self::Act => "act",
        }
    }

    /// Its picture.
    pub fn icon(self) -> Html {
        let content = match self {
            Self::Stage => html! {<>
                <circle cx="10" cy="10" r="6.5" /><circle class="filled" cx="10" cy="3.5" r="1.8" />
                <circle class="filled" cx="4.4" cy="13.4" r="1.8" /><circle class="filled" cx="15.6" cy="13.4" r="1.8" />
            </>},
            Self::Time => html! { <path d="M3 5h14M3 10h14M3 15h14M6 5l4 10M11 10l3-5" /> },
            Self::Inspect => html! {<><circle cx="9" cy="9" r="5.5" /><path d="M13.2 13.2L17 17" /></>},
            Self::Act => html! { <path d="M4 5.5l3.6 3.2L4 12M9.4 13.5H16" /> },
        };
        drawing("line", content)
    }
}

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
