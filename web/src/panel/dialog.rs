//! The dialogs: how a new run begins, and the help. At most one is open; Escape closes it, and the keyboard goes back to
//! where it was.

use quorate_core::config::Replication;
use quorate_core::sim::Setting;
use web_sys::{HtmlDialogElement, HtmlInputElement};
use yew::prelude::*;

use crate::app::{Msg, Tell};
use crate::command;
use crate::keys;

/// Most nodes of a new run.
const NODES_MAX: u8 = 64;

/// A dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialog {
    /// How a new run begins.
    NewRun,
    /// Keys and commands.
    Help,
}

/// How the dialogs are set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// Which is open, if any.
    pub open: Option<Dialog>,
    /// How the run of the moment began.
    pub setting: Setting,
    /// Whom to tell what a person did.
    pub tell: Tell,
}

/// The dialogs.
#[component]
pub fn Dialogs(props: &Props) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with(props.open, move |open| {
            let Some(dialog) = node.cast::<HtmlDialogElement>() else { return };
            match open {
                // Opening one that is open already is the only way this fails.
                Some(_) => drop(dialog.show_modal()),
                None => dialog.close(),
            }
        });
    }
    let oncancel = props.tell.reform(|_: Event| Msg::Dialog(None));
    // The browser tells of a close late: by then another dialog may be open, which is not meant.
    let onclose = {
        let (node, tell) = (node.clone(), props.tell.clone());
        Callback::from(move |_: Event| {
            if node.cast::<HtmlDialogElement>().is_some_and(|dialog| !dialog.open()) {
                tell.emit(Msg::Dialog(None));
            }
        })
    };
    let close = props.tell.reform(|_: MouseEvent| Msg::Dialog(None));
    let (label, content) = match props.open {
        Some(Dialog::NewRun) => {
            ("New run", html! { <NewRun setting={props.setting.clone()} tell={props.tell.clone()} /> })
        }
        Some(Dialog::Help) => ("Help", help()),
        None => ("", html! {}),
    };
    html! {
        <dialog ref={node} {oncancel} {onclose} aria-label={label}>
            <div class="dialog-head">
                <h2>{label}</h2>
                <button class="icon-button" onclick={close} aria-label="Close" title="Close (Esc)">{"×"}</button>
            </div>
            {content}
        </dialog>
    }
}

fn help() -> Html {
    let row = |(keys, what): &(&'static str, &'static str)| {
        let keys = keys.split("  ").map(|key| html! { <kbd>{key}</kbd> });
        html! { <><dt>{for keys}</dt><dd>{*what}</dd></> }
    };
    let example =
        |(line, what): &(&'static str, &'static str)| html! { <><dt><code>{*line}</code></dt><dd>{*what}</dd></> };
    html! {
        <div class="help">
            <section><h3>{"Keys"}</h3><dl>{for keys::HELP.iter().map(row)}</dl></section>
            <section><h3>{"Command line"}</h3><dl class="commands">{for command::EXAMPLES.iter().map(example)}</dl></section>
            <section>
                <h3>{"What is real here"}</h3>
                <p>{"Every node runs the code of the real server. Time, network and disks are simulated, all from one seed: \
                     the same seed and the same deeds give the same run."}</p>
            </section>
        </div>
    }
}

/// How the form of a new run is set up.
#[derive(Clone, PartialEq, Properties)]
struct NewRunProps {
    setting: Setting,
    tell: Tell,
}

/// The fields of the form, as typed.
#[derive(Clone, PartialEq)]
struct Fields {
    seed: String,
    nodes: String,
    n: String,
    r: String,
    w: String,
}

impl Fields {
    fn of(setting: &Setting) -> Self {
        let replication = setting.replication;
        Self {
            seed: setting.seed.to_string(),
            nodes: setting.nodes.to_string(),
            n: replication.n.to_string(),
            r: replication.r.to_string(),
            w: replication.w.to_string(),
        }
    }

    /// The setting they describe, on top of `base`; or a sentence about what is wrong.
    fn setting(&self, base: &Setting) -> Result<Setting, String> {
        let seed =
            self.seed.trim().parse().map_err(|_| "the seed must be a whole number from 0 to 2^64 - 1".to_owned())?;
        let nodes = self.nodes.trim().parse().ok().filter(|nodes| (1..=NODES_MAX).contains(nodes));
        let nodes = nodes.ok_or_else(|| format!("a cluster here has 1 to {NODES_MAX} nodes"))?;
        let small = |text: &str| text.trim().parse::<u8>().unwrap_or(0);
        let replication =
            Replication::new(small(&self.n), small(&self.r), small(&self.w)).map_err(|error| error.to_string())?;
        Ok(Setting { seed, nodes, replication, ..base.clone() })
    }
}

#[component]
fn NewRun(props: &NewRunProps) -> Html {
    let fields = use_state(|| Fields::of(&props.setting));
    let checked = fields.setting(&props.setting);
    let field = |label: &'static str, value: &str, max: &'static str, change: fn(&mut Fields, String)| {
        let fields = fields.clone();
        let oninput = Callback::from(move |event: InputEvent| {
            let typed = event.target_dyn_into::<HtmlInputElement>().map(|input| input.value()).unwrap_or_default();
            let mut next = (*fields).clone();
            change(&mut next, typed);
            fields.set(next);
        });
        html! {
            <label>{label}<input type="number" min={if label == "Seed" { "0" } else { "1" }} {max} value={value.to_owned()} {oninput} /></label>
        }
    };
    let onsubmit = {
        let (checked, tell) = (checked.clone(), props.tell.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if let Ok(setting) = &checked {
                tell.emit(Msg::NewRun(Box::new(setting.clone())));
            }
        })
    };
    html! {
        <form class="new-run" {onsubmit} novalidate={true}>
            {field("Seed", &fields.seed, "18446744073709551615", |fields, typed| fields.seed = typed)}
            {field("Nodes", &fields.nodes, "64", |fields, typed| fields.nodes = typed)}
            {field("Copies N", &fields.n, "16", |fields, typed| fields.n = typed)}
            {field("Read quorum R", &fields.r, "16", |fields, typed| fields.r = typed)}
            {field("Write quorum W", &fields.w, "16", |fields, typed| fields.w = typed)}
            <p class="error" role="alert">{checked.as_ref().err()}</p>
            <button class="button" disabled={checked.is_err()}>{"Begin"}</button>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_what_is_wrong_and_what_would_be_right() {
        let base = Setting::default();
        let good = Fields::of(&base);
        assert_eq!(good.setting(&base), Ok(base.clone()));
        for (fields, part) in [
            (Fields { seed: "7Q2F".into(), ..good.clone() }, "whole number"),
            (Fields { nodes: "65".into(), ..good.clone() }, "1 to 64 nodes"),
            (Fields { nodes: "0".into(), ..good.clone() }, "1 to 64 nodes"),
            (Fields { r: "4".into(), ..good.clone() }, "quorums must be 1 to the replication factor"),
            (Fields { w: String::new(), ..good.clone() }, "quorums must be 1 to the replication factor"),
        ] {
            let error = fields.setting(&base).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let sixty_four = Fields { nodes: "64".into(), seed: "9".into(), ..good }.setting(&base).expect("in range");
        assert_eq!((sixty_four.nodes, sixty_four.seed), (64, 9));
    }
}
