//! The few pictures of the page's frame, as inline drawings in the colour of the text around them.

use yew::prelude::*;

use crate::keys::Shortcut;
use crate::tools::Tool;

/// A picture on a ground of 20 by 20.
pub(super) fn drawing(class: &'static str, content: Html) -> Html {
    html! { <svg class={classes!("icon", class)} viewBox="0 0 20 20" aria-hidden="true">{content}</svg> }
}

/// The mark of Quorate: a ring of three arcs, of which two are enough.
pub fn logo() -> Html {
    drawing(
        "logo-mark",
        html! {<>
            <path d="M10 2.2A7.8 7.8 0 0 1 17.4 12.4" />
            <path d="M15.5 15.5A7.8 7.8 0 0 1 4 14.9" />
            <path class="third" d="M2.4 11.7A7.8 7.8 0 0 1 7 2.8" />
        </>},
    )
}

/// The picture of a tool.
pub fn tool(tool: Tool) -> Html {
    let ends = html! {<><circle cx="4" cy="10" r="2.2" /><circle cx="16" cy="10" r="2.2" /></>};
    let disc = html! { <circle cx="10" cy="10" r="6.6" /> };
    let content = match tool {
        Tool::Crash => html! {<>{disc}<path class="warm" d="M7.8 7.8l4.4 4.4M12.2 7.8l-4.4 4.4" /></>},
        Tool::LoseDisk => html! {<>
            <ellipse cx="10" cy="5.4" rx="5.4" ry="2.2" /><path d="M4.6 5.4v9.2c0 1.2 2.4 2.2 5.4 2.2M15.4 5.4v4" />
            <path class="warm" d="M12.6 12.8l4 4M16.6 12.8l-4 4" />
        </>},
        Tool::Stop => html! {<>{disc}<rect x="7.6" y="7.6" width="4.8" height="4.8" rx=".6" /></>},
        Tool::Restart => html! {<><path d="M15.8 7.2A6.6 6.6 0 1 0 16.6 10.6" /><path d="M16.4 3.6v3.8h-3.8" /></>},
        Tool::Cut => {
            html! {<>{ends}<path d="M6.2 10h1.6M12.2 10h1.6" /><path class="warm" d="M8.6 6.8v6.4M11.4 6.8v6.4" /></>}
        }
        Tool::Lossy => html! {<>{ends}<path class="warm" stroke-width="2" d="M7.6 10h.1M10 10h.1M12.4 10h.1" /></>},
        Tool::Split => html! {<>
            <circle cx="5" cy="6" r="2.2" /><circle cx="5" cy="14" r="2.2" />
            <circle cx="15" cy="6" r="2.2" /><circle cx="15" cy="14" r="2.2" />
            <path class="warm" stroke-dasharray="2.2 2.6" d="M10 3v14" />
        </>},
        Tool::Add => html! {<>{disc}<path d="M10 7.2v5.6M7.2 10h5.6" /></>},
    };
    drawing("line", content)
}

/// The picture of a button of the transport or the header.
pub fn button(shortcut: Shortcut, playing: bool) -> Html {
    match shortcut {
        Shortcut::PlayOrPause if playing => drawing("solid", html! { <path d="M5.6 4h3v12h-3zM11.4 4h3v12h-3z" /> }),
        Shortcut::PlayOrPause => drawing("solid", html! { <path d="M6 3.8v12.4l10-6.2z" /> }),
        Shortcut::Step => drawing("solid", html! { <path d="M5 4.5v11l8-5.5zM13.8 4.5h1.8v11h-1.8z" /> }),
        Shortcut::Slower => drawing("line", html! { <path d="M5 10h10" /> }),
        Shortcut::Faster => drawing("line", html! { <path d="M5 10h10M10 5v10" /> }),
        Shortcut::Theme => drawing(
            "line",
            html! {<><circle cx="10" cy="10" r="6.6" /><path class="filled" d="M10 3.4a6.6 6.6 0 0 1 0 13.2z" /></>},
        ),
        _ => drawing(
            "line",
            html! {<>
                <path d="M7.6 7.6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2 1-1.2 1.9" /><path stroke-width="2" d="M10 14.4h.01" />
            </>},
        ),
    }
}

/// What the legend explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A client's operation.
    Client,
    /// A copy for a replica.
    Copy,
    /// Gossip.
    Gossip,
    /// A probe.
    Probe,
    /// Repair and transfer.
    Repair,
    /// A message that was lost.
    Lost,
    /// An answer.
    Answer,
}

impl Sign {
    /// Every sign with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Client, "client"),
        (Self::Copy, "replica copy"),
        (Self::Gossip, "gossip"),
        (Self::Probe, "probe"),
        (Self::Repair, "repair"),
        (Self::Lost, "lost"),
        (Self::Answer, "hollow = answer"),
    ];

    /// Its drawing.
    pub fn icon(self) -> Html {
        let content = match self {
            Self::Client => html! { <path class="sign sign-client" d="M10 3L16.5 14.6L3.5 14.6Z" /> },
            Self::Copy => html! { <rect class="sign sign-copy" x="4.6" y="4.6" width="10.8" height="10.8" rx="1" /> },
            Self::Gossip => html! { <circle class="sign sign-gossip" cx="10" cy="10" r="3.2" /> },
            Self::Probe => {
                html! {<><circle class="sign sign-gossip" cx="10" cy="10" r="2.7" /><circle class="sign sign-probe" cx="10" cy="10" r="6" /></>}
            }
            Self::Repair => {
                html! { <polygon class="sign sign-repair" points="10,3.2 16.5,7.9 14,15.6 6,15.6 3.5,7.9" /> }
            }
            Self::Lost => html! { <path class="sign sign-lost" d="M5 5L15 15M15 5L5 15" /> },
            Self::Answer => {
                html! { <rect class="sign sign-copy hollow" x="4.6" y="4.6" width="10.8" height="10.8" rx="1" /> }
            }
        };
        drawing("legend-sign", content)
    }
}
