//! The console: clients ask the cluster, by a command line or by a form that fits a thumb, and see what came of it.

use quorate_core::id::NodeId;
use quorate_core::sim::{Action, RequestOptions};
use quorate_core::view::{OperationView, OutcomeView};
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::PanelProps;
use super::scroll::ToEnd;
use crate::app::Msg as AppMsg;
use crate::command::{self, CLIENTS, Context as Asking};
use crate::model::{Model, Selection};
use crate::words;

/// Operations shown at once.
const HISTORY: usize = 30;
/// Lines that the arrow keys bring back.
const TYPED_MAX: usize = 100;

/// What happens to the console.
pub enum Msg {
    /// Another client asks.
    Client(String),
    /// Another node is asked.
    Node(String),
    /// The command line holds this.
    Typed(String),
    /// A line that was typed before is wanted: the one before, or the one after.
    Recall(isize),
    /// Another operation is chosen in the form.
    Verb(&'static str),
    /// The form's key is this.
    Key(String),
    /// The form's value is this.
    Value(String),
    /// The command line is sent.
    SendLine,
    /// The form is sent.
    SendForm,
}

/// The console.
pub struct Console {
    client: String,
    node: Option<String>,
    line: String,
    typed: Vec<String>,
    recalled: Option<usize>,
    verb: &'static str,
    key: String,
    value: String,
    error: Option<String>,
}

impl Component for Console {
    type Message = Msg;
    type Properties = PanelProps;

    fn create(_: &Context<Self>) -> Self {
        Self {
            client: CLIENTS.first().copied().unwrap_or_default().into(),
            node: None,
            line: String::new(),
            typed: Vec::new(),
            recalled: None,
            verb: "put",
            key: String::new(),
            value: String::new(),
            error: None,
        }
    }

    fn update(&mut self, context: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Client(client) => self.client = client,
            Msg::Node(node) => self.node = Some(node),
            Msg::Typed(line) => {
                self.line = line;
                self.error = None;
            }
            Msg::Recall(by) => self.recall(by),
            Msg::Verb(verb) => self.verb = verb,
            Msg::Key(key) => self.key = key,
            Msg::Value(value) => self.value = value,
            Msg::SendLine => self.send_line(context),
            Msg::SendForm => self.send_form(context),
        }
        true
    }

    fn view(&self, context: &Context<Self>) -> Html {
        let model = context.props().snapshot.model.borrow();
        html! {
            <section class="console">
                <h2>{"Clients"}</h2>
                {history(&model, context.props())}
                {self.choices(context, &model)}
                {self.command_line(context)}
                <p class="error" role="alert" id="console-error">{self.error.as_deref()}</p>
                {self.form(context)}
            </section>
        }
    }
}

impl Console {
    fn asked(&self, model: &Model) -> Option<NodeId> {
        let chosen =
            self.node.as_ref().and_then(|name| model.view.nodes.iter().find(|node| node.node.as_str() == name));
        chosen.or_else(|| model.view.nodes.first()).map(|node| node.node.clone())
    }

    fn choices(&self, context: &Context<Self>, model: &Model) -> Html {
        let on = context.link();
        let chosen = |event: Event| {
            event.target_dyn_into::<HtmlSelectElement>().map(|select| select.value()).unwrap_or_default()
        };
        let onclient = on.callback(move |event| Msg::Client(chosen(event)));
        let onnode = on.callback(move |event| Msg::Node(chosen(event)));
        let asked = self.asked(model);
        html! {
            <div class="choices">
                <select aria-label="Client that asks" onchange={onclient}>
                    {for CLIENTS.map(|name| html! { <option value={name} selected={name == self.client}>{name}</option> })}
                </select>
                <span>{"asks"}</span>
                <select aria-label="Node that is asked" onchange={onnode}>
                    {for model.view.nodes.iter().map(|node| {
                        let name = node.node.to_string();
                        html! { <option value={name.clone()} selected={asked.as_ref() == Some(&node.node)}>{name}</option> }
                    })}
                </select>
            </div>
        }
    }

    fn command_line(&self, context: &Context<Self>) -> Html {
        let on = context.link();
        let oninput = on.callback(|event: InputEvent| Msg::Typed(text_of(&event)));
        let onkeydown = on.batch_callback(|event: KeyboardEvent| match event.key().as_str() {
            "ArrowUp" => Some(Msg::Recall(-1)),
            "ArrowDown" => Some(Msg::Recall(1)),
            _ => None,
        });
        let onsubmit = on.callback(|event: SubmitEvent| {
            event.prevent_default();
            Msg::SendLine
        });
        html! {
            <form class="command" {onsubmit}>
                <label for="command-line" class="who">{&self.client}</label>
                <input id="command-line" value={self.line.clone()} {oninput} {onkeydown} placeholder="put cart milk"
                    autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="console-error"
                    aria-invalid={self.error.is_some().to_string()} />
                <button class="send" aria-label="Send the command" title="Send (Enter)">{"↵"}</button>
            </form>
        }
    }

    fn form(&self, context: &Context<Self>) -> Html {
        let on = context.link();
        let verb = |verb: &'static str| {
            let pressed = (verb == self.verb).to_string();
            html! { <button type="button" onclick={on.callback(move |_| Msg::Verb(verb))} aria-pressed={pressed}>{verb}</button> }
        };
        let onsubmit = on.callback(|event: SubmitEvent| {
            event.prevent_default();
            Msg::SendForm
        });
        let onkey = on.callback(|event: InputEvent| Msg::Key(text_of(&event)));
        let onvalue = on.callback(|event: InputEvent| Msg::Value(text_of(&event)));
        html! {
            <form class="ask" {onsubmit}>
                <div class="segmented" role="group" aria-label="Operation">{for ["put", "get", "delete"].map(verb)}</div>
                <input aria-label="Key" placeholder="key" value={self.key.clone()} oninput={onkey} autocomplete="off" autocapitalize="off" />
                <input aria-label="Value" placeholder="value" value={self.value.clone()} oninput={onvalue} autocomplete="off"
                    disabled={self.verb != "put"} />
                <button class="button">{"Send"}</button>
            </form>
        }
    }

    fn recall(&mut self, by: isize) {
        let at = self.recalled.unwrap_or(self.typed.len());
        let goal = at.saturating_add_signed(by).min(self.typed.len());
        self.line = self.typed.get(goal).cloned().unwrap_or_default();
        self.recalled = (goal < self.typed.len()).then_some(goal);
    }

    fn send_line(&mut self, context: &Context<Self>) {
        let props = context.props();
        let model = props.snapshot.model.borrow();
        let Some(node) = self.asked(&model) else { return };
        let nodes: Vec<_> = model.view.nodes.iter().map(|node| node.node.clone()).collect();
        let asking = Asking { client: &self.client, node: &node, nodes: &nodes };
        match command::parse(&self.line, &asking) {
            Ok(actions) => {
                props.tell.emit(AppMsg::Do(actions));
                let line = std::mem::take(&mut self.line);
                if self.typed.len() == TYPED_MAX {
                    self.typed.remove(0);
                }
                self.typed.push(line);
                self.recalled = None;
                self.error = None;
            }
            Err(error) => self.error = Some(error.0),
        }
    }

    fn send_form(&mut self, context: &Context<Self>) {
        let props = context.props();
        let Some(node) = self.asked(&props.snapshot.model.borrow()) else { return };
        let value = if self.verb == "put" { self.value.as_str() } else { "" };
        if self.key.trim().contains(char::is_whitespace) {
            self.error = Some("the key field takes one key without spaces, for example: cart".into());
            return;
        }
        match command::operation(self.verb, &format!("{} {value}", self.key.trim())) {
            Ok(operation) => {
                props.tell.emit(AppMsg::Do(vec![Action::Client {
                    client: self.client.clone(),
                    node,
                    operation,
                    options: RequestOptions::default(),
                }]));
                self.error = None;
            }
            Err(error) => self.error = Some(error.0),
        }
    }
}

fn text_of(event: &InputEvent) -> String {
    event.target_dyn_into::<HtmlInputElement>().map(|input| input.value()).unwrap_or_default()
}

fn history(model: &Model, props: &PanelProps) -> Html {
    let row = |operation: &OperationView| {
        let id = operation.id;
        let onclick = props.tell.reform(move |_: MouseEvent| AppMsg::Select(Selection::Operation(id)));
        let value = operation.value.as_deref().map(|value| format!(" {}", words::short(value, 24)));
        let (outcome, class) = outcome(operation);
        let current = (model.selection == Selection::Operation(id)).then_some("true");
        html! {
            <li key={id}>
                <button {onclick} aria-current={current}>
                    <span class="who">{&operation.client}</span>
                    <span class="what">{words::verb(operation.operation)}{" "}{words::short(operation.key.as_str(), 20)}{value}</span>
                    <span class={classes!("outcome", class)}>{outcome}</span>
                </button>
            </li>
        }
    };
    let newest: Vec<_> = model.operations.values().rev().take(HISTORY).collect();
    if newest.is_empty() {
        return html! { <p class="quiet-text">{"Nobody has asked anything yet. Try: put cart milk"}</p> };
    }
    let last = newest.first().map_or(0, |operation| operation.id);
    html! {
        <ToEnd class="history-scroll" label="What clients asked" newest={last}>
            <ol class="history">{for newest.into_iter().rev().map(row)}</ol>
        </ToEnd>
    }
}

/// How an operation ended, in few words.
#[must_use]
pub fn outcome(operation: &OperationView) -> (String, &'static str) {
    match &operation.outcome {
        None if operation.votes.is_empty() => ("sent".into(), "open"),
        None => (words::count(u64::try_from(operation.votes.len()).unwrap_or(u64::MAX), "answer"), "open"),
        Some(OutcomeView::Written) => ("ok".into(), "ok"),
        Some(OutcomeView::Found(values)) => match values.as_slice() {
            [] => ("nothing".into(), "ok"),
            [one] => (words::short(one, 24), "ok"),
            several => {
                let shown: Vec<_> = several.iter().map(|value| words::short(value, 12)).collect();
                (shown.join(" | "), "warn")
            }
        },
        Some(OutcomeView::Failed { code, .. }) => (code.replace('_', " "), "bad"),
    }
}
