//! “Break something”: the tools, what they are for at the moment, and what is broken.

use quorate_core::sim::Action;
use quorate_core::view::NodeView;
use yew::prelude::*;

use super::icon;
use crate::app::{Msg, Tell};
use crate::canvas::Snapshot;
use crate::faults::{self, Fault};
use crate::model::Model;
use crate::tools::Tool;
use crate::words;

/// How the panel is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// The model to show.
    pub snapshot: Snapshot,
    /// Whom to tell what a person did.
    pub tell: Tell,
    /// What the page has to say to the person.
    pub remark: Option<String>,
}

/// The panel.
#[component]
pub fn Faults(props: &Props) -> Html {
    let model = props.snapshot.model.borrow();
    let tool = |tool: Tool| {
        let onclick = props.tell.reform(move |_: MouseEvent| Msg::Use(tool));
        html! { <button {onclick} title={tool.hint()}>{icon::tool(tool)}{tool.label()}</button> }
    };
    let targets = model.targets();
    let line = match (&props.remark, targets.as_slice()) {
        (Some(remark), _) => html! { <span class="remark">{remark}</span> },
        (None, []) => html! { {"Pick a node on the ring, then a tool."} },
        (None, some) => html! { <>{"For "}<b>{words::list(some)}</b></> },
    };
    html! {
        <section class="faults">
            <h2>{"Break something"}</h2>
            <div class="tools">{for Tool::ALL.map(tool)}</div>
            <p class="targets">{line}</p>
            {picks(&model, &props.tell)}
            {active(&model, &props.tell)}
        </section>
    }
}

/// The nodes as toggles: where one pane is shown at a time the ring is out of sight.
fn picks(model: &Model, tell: &Tell) -> Html {
    let targets = model.targets();
    let pick = |node: &NodeView| {
        let name = node.node.clone();
        let pressed = targets.contains(&name).to_string();
        let onclick = tell.reform(move |_: MouseEvent| Msg::ToggleMark(name.clone()));
        html! { <button {onclick} aria-pressed={pressed}>{node.node.as_str()}</button> }
    };
    html! { <div class="picks" role="group" aria-label="Nodes that the next fault is for">{for model.view.nodes.iter().map(pick)}</div> }
}

fn active(model: &Model, tell: &Tell) -> Html {
    let faults = faults::active(&model.view);
    let several_links = faults.iter().filter(|fault| !matches!(fault, Fault::Down { .. })).count() > 1;
    let heal_all = several_links.then(|| {
        let onclick = tell.reform(|_: MouseEvent| Msg::Do(vec![Action::Heal]));
        html! { <li><span></span><button {onclick}>{"Heal all links"}</button></li> }
    });
    html! {
        <ul class="active-faults" aria-label="What is broken">
            {for faults.iter().map(|fault| row(model, tell, fault))}
            {heal_all}
        </ul>
    }
}

fn row(model: &Model, tell: &Tell, fault: &Fault) -> Html {
    let remedies = fault.remedies();
    let onclick = tell.reform(move |_: MouseEvent| Msg::Do(remedies.clone()));
    let since = fault.since().or_else(|| down_since(model, fault));
    let age = since.map(|since| words::span(model.playback.now.since(since)));
    let down = matches!(fault, Fault::Down { .. });
    html! {
        <li>
            <i class={classes!("fault-sign", down.then_some("down"))}></i>
            <span>{fault.title()}</span><span class="time">{age}</span>
            <button {onclick} aria-label={format!("{}: {}", fault.remedy(), fault.title())}>{fault.remedy()}</button>
        </li>
    }
}

fn down_since(model: &Model, fault: &Fault) -> Option<quorate_core::time::Time> {
    let Fault::Down { node, .. } = fault else { return None };
    model.trace.spells().filter(|spell| spell.node == *node && spell.until.is_none()).last().map(|spell| spell.since)
}
