//! The header: which run this is, and that it is a simulation.

use yew::prelude::*;

use super::{PanelProps, icon};
use crate::app::Msg;
use crate::keys::Shortcut;
use crate::words;

/// The header.
#[component]
pub fn Header(props: &PanelProps) -> Html {
    let model = props.snapshot.model.borrow();
    let does = |shortcut| props.tell.reform(move |_: MouseEvent| Msg::Shortcut(shortcut));
    let nodes = u64::try_from(model.view.nodes.len()).unwrap_or(u64::MAX);
    let (text, detail) = if model.frames == 0 {
        ("starting".into(), String::new())
    } else if model.running() == model.view.nodes.len() {
        (words::count(nodes, "node"), "all running".into())
    } else {
        (words::count(nodes, "node"), format!("{} running", model.running()))
    };
    html! {
        <header>
            <div class="logo">{icon::logo()}<h1>{"Quorate"}</h1></div>
            <span class="chip wide">{"seed "}<b>{model.setting.seed}</b></span>
            <span class="chip"><b>{"SIM"}</b><span class="wide">{"nothing here is real traffic"}</span></span>
            <span class="space"></span>
            <span class="chip nodes"><b>{text}</b><span class="wide">{detail}</span></span>
            <button class="button quiet" onclick={does(Shortcut::NewRun)} title="Choose seed, nodes and quorums (n)">
                {"New run"}
            </button>
            <button class="icon-button" onclick={does(Shortcut::Theme)} aria-label="Light or dark" title="Light or dark (t)">
                {icon::button(Shortcut::Theme, false)}
            </button>
            <button class="icon-button" onclick={does(Shortcut::Help)} aria-label="Help: keys and commands" title="Help (?)">
                {icon::button(Shortcut::Help, false)}
            </button>
        </header>
    }
}
