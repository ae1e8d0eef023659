//! The transport: let time pass, stop it, step, and say in words how fast it goes.

use quorate_core::sim::player::Speed;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::{PanelProps, icon};
use crate::app::Msg;
use crate::keys::Shortcut;
use crate::words;

/// The transport.
#[component]
pub fn Transport(props: &PanelProps) -> Html {
    let model = props.snapshot.model.borrow();
    let playback = model.playback;
    let does = |shortcut| props.tell.reform(move |_: MouseEvent| Msg::Shortcut(shortcut));
    let stop = Speed::ALL.iter().position(|speed| *speed == playback.speed).unwrap_or(0);
    let oninput = props.tell.reform(|event: InputEvent| {
        let chosen = event.target_dyn_into::<HtmlInputElement>().and_then(|input| input.value().parse::<usize>().ok());
        Msg::Speed(chosen.and_then(|index| Speed::ALL.get(index).copied()).unwrap_or_default())
    });
    let pace = match (playback.settling, playback.behind) {
        (true, _) => "the cluster forms",
        (false, true) => "as fast as this machine can",
        (false, false) => words::pace(playback.speed),
    };
    html! {
        <section class="transport" aria-label="Time">
            <button class="play" onclick={does(Shortcut::PlayOrPause)} title="Play or pause (Space)"
                aria-label={if playback.playing { "Pause" } else { "Play" }}>
                {icon::button(Shortcut::PlayOrPause, playback.playing)}
            </button>
            <button class="icon-button" onclick={does(Shortcut::Step)} title="Step to the next event (→)" aria-label="Step">
                {icon::button(Shortcut::Step, false)}
            </button>
            <div class="speed">
                <button class="icon-button" onclick={does(Shortcut::Slower)} title="Slower ([)" aria-label="Slower">
                    {icon::button(Shortcut::Slower, false)}
                </button>
                <input type="range" min="0" max={(Speed::ALL.len() - 1).to_string()} step="1" value={stop.to_string()} {oninput}
                    aria-label="Speed" aria-valuetext={format!("{}, {}", words::ratio(playback.speed), words::pace(playback.speed))} />
                <button class="icon-button" onclick={does(Shortcut::Faster)} title="Faster (])" aria-label="Faster">
                    {icon::button(Shortcut::Faster, false)}
                </button>
            </div>
            <p class="pace"><b>{words::ratio(playback.speed)}</b><span>{pace}</span></p>
            <p class="now"><span class="quiet-text">{"cluster time"}</span><b title={words::exact_moment(playback.now)}>{words::fine_moment(playback.now)}</b></p>
        </section>
    }
}
