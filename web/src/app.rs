//! The page as a whole: holds the model, speaks with the world, and lays the panels out. What a person does anywhere on
//! the page arrives here as one message; what changes goes out as one revision of the model, at most ten times a second.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::events::{EventListener, EventListenerOptions};
use gloo::timers::callback::Timeout;
use gloo::utils::{document, window};
use quorate_core::id::NodeId;
use quorate_core::sim::player::{Command, Speed, Update};
use quorate_core::sim::{Action, Setting};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, KeyboardEvent};
use yew::prelude::*;

use crate::canvas::Snapshot;
use crate::keys::{self, Focus, Shortcut};
use crate::model::{Model, Selection};
use crate::panel::dialog::{Dialog, Dialogs};
use crate::panel::{console::Console, faults::Faults, header::Header, inspector::Inspector, lanes::LanesPane};
use crate::panel::{stage::StagePane, story::spoken, tabs::Pane, tabs::TabBar, transport::Transport};
use crate::tools::Tool;
use crate::worker::Link;

/// Panels are drawn anew at most this often, in milliseconds; the canvases have their own pace.
const REFRESH_MS: f64 = 100.0;
/// Where the chosen theme is kept, as `light` or `dark`; `boot.js` reads it before anything is drawn.
const THEME_KEY: &str = "quorate.theme";

/// What a person does, and what the world says.
pub enum Msg {
    /// The world said something, or cannot be understood.
    Heard(Result<Update, String>),
    /// Panels may be drawn anew.
    Refresh,
    /// A shortcut, or the button that does the same.
    Shortcut(Shortcut),
    /// Show this in the inspector.
    Select(Selection),
    /// Mark this node for the next fault, or take the mark away.
    ToggleMark(NodeId),
    /// Mark exactly these nodes.
    Mark(Vec<NodeId>),
    /// Do this to the cluster.
    Do(Vec<Action>),
    /// Use this tool on the targets.
    Use(Tool),
    /// Let time pass at this speed.
    Speed(Speed),
    /// Begin a new world.
    NewRun(Box<Setting>),
    /// Open a dialog, or close the one that is open.
    Dialog(Option<Dialog>),
    /// Show this pane on a phone.
    Pane(Pane),
    /// Say a sentence to the person.
    Remark(String),
}

/// How panels tell the page what a person did.
pub type Tell = Callback<Msg>;

/// The page.
pub struct App {
    model: Rc<RefCell<Model>>,
    revision: u64,
    drawn_at_ms: f64,
    refresh: Option<Timeout>,
    world: Option<Link>,
    failure: Option<String>,
    remark: Option<String>,
    dialog: Option<Dialog>,
    pane: Pane,
    theme: u32,
    reduced_motion: bool,
    _keys: EventListener,
}

impl Component for App {
    type Message = Msg;
    type Properties = ();

    fn create(context: &Context<Self>) -> Self {
        let link = context.link().clone();
        let options = EventListenerOptions::enable_prevent_default();
        let keys = EventListener::new_with_options(&document(), "keydown", options, move |event| {
            if let Some(shortcut) = event.dyn_ref::<KeyboardEvent>().and_then(shortcut_of) {
                event.prevent_default();
                link.send_message(Msg::Shortcut(shortcut));
            }
        });
        let link = context.link().clone();
        let world = Link::open(move |heard| link.send_message(Msg::Heard(heard)));
        let (world, failure) = match world {
            Ok(world) => (Some(world), None),
            Err(reason) => (None, Some(format!("the simulated cluster could not start: {reason}"))),
        };
        let mut app = Self {
            model: Rc::default(),
            revision: 0,
            drawn_at_ms: 0.0,
            refresh: None,
            world,
            failure,
            remark: None,
            dialog: None,
            pane: Pane::default(),
            theme: 0,
            reduced_motion: media_matches("(prefers-reduced-motion: reduce)"),
            _keys: keys,
        };
        if app.reduced_motion {
            app.say(Command::Pause);
        }
        app
    }

    fn update(&mut self, context: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Heard(Ok(update)) => return self.hear(context, update),
            Msg::Heard(Err(reason)) => self.failure = Some(reason),
            Msg::Refresh => self.refresh = None,
            Msg::Shortcut(shortcut) => self.shortcut(shortcut),
            Msg::Select(selection) => self.select(selection),
            Msg::ToggleMark(node) => self.model.borrow_mut().toggle_mark(&node),
            Msg::Mark(nodes) => self.model.borrow_mut().marked = nodes.into_iter().collect(),
            Msg::Do(actions) => self.act(actions),
            Msg::Use(tool) => self.use_tool(tool),
            Msg::Speed(speed) => self.say(Command::Speed(speed)),
            Msg::NewRun(setting) => self.new_run(*setting),
            Msg::Dialog(dialog) => self.dialog = dialog,
            Msg::Pane(pane) => self.pane = pane,
            Msg::Remark(text) => self.remark = Some(text),
        }
        self.draw_anew()
    }

    fn view(&self, context: &Context<Self>) -> Html {
        let snapshot = Snapshot { model: Rc::clone(&self.model), revision: self.revision };
        let tell = context.link().callback(|msg: Msg| msg);
        let model = self.model.borrow();
        let state = if model.frames == 0 || model.playback.settling { "starting" } else { "ready" };
        html! {
            <div class="app" data-pane={self.pane.name()} data-state={state}>
                <Header snapshot={snapshot.clone()} tell={tell.clone()} />
                <aside class="left" aria-label="Break something, and talk to the cluster">
                    <Faults snapshot={snapshot.clone()} tell={tell.clone()} remark={self.remark.clone()} />
                    <Console snapshot={snapshot.clone()} tell={tell.clone()} />
                </aside>
                <main>
                    <StagePane snapshot={snapshot.clone()} tell={tell.clone()} theme={self.theme}
                        reduced_motion={self.reduced_motion} failure={self.failure.clone()} />
                    <LanesPane snapshot={snapshot.clone()} tell={tell.clone()} theme={self.theme}
                        reduced_motion={self.reduced_motion} />
                    <Transport snapshot={snapshot.clone()} tell={tell.clone()} />
                </main>
                <aside class="right" aria-label="Inspector">
                    <Inspector snapshot={snapshot.clone()} tell={tell.clone()} />
                </aside>
                <TabBar pane={self.pane} tell={tell.clone()} />
                <p class="spoken" aria-live="polite">{spoken(&model, self.remark.as_deref())}</p>
                <Dialogs open={self.dialog} setting={model.setting.clone()} {tell} />
            </div>
        }
    }
}

impl App {
    /// Says a command to the world.
    fn say(&mut self, command: Command) {
        if let Some(world) = &mut self.world {
            world.send(command);
        }
    }

    /// Learns what the world says; says whether panels should be drawn anew now. If not, they will be soon.
    fn hear(&mut self, context: &Context<Self>, update: Update) -> bool {
        if let Some(world) = &mut self.world {
            world.is_listening();
        }
        let now_ms = now_ms();
        self.model.borrow_mut().absorb(update, now_ms);
        let waits_ms = REFRESH_MS - (now_ms - self.drawn_at_ms);
        if waits_ms <= 0.0 || self.model.borrow().frames <= 1 {
            return self.draw_anew();
        }
        if self.refresh.is_none() {
            let link = context.link().clone();
            self.refresh = Some(Timeout::new(whole_ms(waits_ms), move || link.send_message(Msg::Refresh)));
        }
        false
    }

    fn draw_anew(&mut self) -> bool {
        self.revision += 1;
        self.drawn_at_ms = now_ms();
        true
    }

    fn select(&mut self, selection: Selection) {
        let watched = {
            let mut model = self.model.borrow_mut();
            model.selection = selection;
            model.key_to_watch()
        };
        self.remark = None;
        self.say(Command::Watch(watched));
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.remark = None;
        for action in actions {
            self.model.borrow_mut().note_deed(&action);
            self.say(Command::Act(action));
        }
    }

    fn use_tool(&mut self, tool: Tool) {
        let (targets, nodes) = {
            let model = self.model.borrow();
            (model.targets(), model.view.nodes.len())
        };
        match tool.actions(&targets, nodes) {
            Ok(actions) => {
                self.act(actions);
                self.model.borrow_mut().marked.clear();
            }
            Err(need) => self.remark = Some(need.into()),
        }
    }

    fn new_run(&mut self, setting: Setting) {
        self.dialog = None;
        self.remark = None;
        self.model.borrow_mut().setting = setting.clone();
        self.say(Command::New(setting));
        self.say(Command::Watch(None));
    }

    fn shortcut(&mut self, shortcut: Shortcut) {
        let playback = self.model.borrow().playback;
        match shortcut {
            Shortcut::PlayOrPause => self.say(if playback.playing { Command::Pause } else { Command::Play }),
            Shortcut::Step => self.say(Command::Step),
            Shortcut::Slower => self.change_speed(playback.speed, -1),
            Shortcut::Faster => self.change_speed(playback.speed, 1),
            Shortcut::Tool(tool) => self.use_tool(tool),
            Shortcut::Heal => self.act(vec![Action::Heal]),
            Shortcut::Console => {
                self.pane = Pane::Act;
                focus_on("#command-line");
            }
            Shortcut::Ring => {
                self.pane = Pane::Stage;
                focus_on(".node[tabindex='0']");
            }
            Shortcut::NewRun => self.dialog = Some(Dialog::NewRun),
            Shortcut::Help => self.dialog = Some(Dialog::Help),
            Shortcut::Theme => self.toggle_theme(),
            Shortcut::Escape => {
                blur_field();
                self.model.borrow_mut().marked.clear();
                self.select(Selection::Nothing);
            }
        }
    }

    fn change_speed(&mut self, from: Speed, by: isize) {
        let at = Speed::ALL.iter().position(|speed| *speed == from).and_then(|index| index.checked_add_signed(by));
        if let Some(speed) = at.and_then(|index| Speed::ALL.get(index)) {
            self.say(Command::Speed(*speed));
        }
    }

    fn toggle_theme(&mut self) {
        let shown = document().document_element().and_then(|root| root.get_attribute("data-theme"));
        let dark = shown.map_or_else(|| media_matches("(prefers-color-scheme: dark)"), |theme| theme == "dark");
        let theme = if dark { "light" } else { "dark" };
        show_theme(theme);
        // A browser that keeps nothing still shows the theme until the page is left.
        if let Ok(Some(storage)) = window().local_storage() {
            drop(storage.set_item(THEME_KEY, theme));
        }
        self.theme += 1;
    }
}

/// What a key press asks for; a dialog that is open keeps all keys to itself.
fn shortcut_of(event: &KeyboardEvent) -> Option<Shortcut> {
    let dialog_is_open = document().query_selector("dialog[open]").is_ok_and(|dialog| dialog.is_some());
    if dialog_is_open || event.default_prevented() {
        return None;
    }
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let focus = match element.as_ref().map(Element::tag_name).as_deref() {
        Some("INPUT" | "SELECT" | "TEXTAREA") => Focus::Field,
        Some("BUTTON" | "A" | "SUMMARY") => Focus::Button,
        _ => Focus::Page,
    };
    keys::shortcut(&event.key(), event.ctrl_key() || event.alt_key() || event.meta_key(), focus)
}

fn show_theme(theme: &str) {
    if let Some(root) = document().document_element() {
        // An attribute of one's own can always be set.
        drop(root.set_attribute("data-theme", theme));
    }
}

/// Gives the keyboard to an element: at once if it is to be seen, else when what was just changed is on the page.
fn focus_on(selector: &'static str) {
    if !try_focus(selector) {
        Timeout::new(0, move || {
            try_focus(selector);
        })
        .forget();
    }
}

fn try_focus(selector: &str) -> bool {
    let found = document().query_selector(selector).ok().flatten();
    let Some(element) = found.and_then(|element| element.dyn_into::<HtmlElement>().ok()) else { return false };
    drop(element.focus());
    document().active_element().is_some_and(|active| active.is_same_node(Some(&element)))
}

/// Takes the keyboard away from a field, so that letters are shortcuts again.
fn blur_field() {
    let active =
        document().active_element().filter(|element| matches!(element.tag_name().as_str(), "INPUT" | "SELECT"));
    if let Some(field) = active.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        drop(field.blur());
    }
}

fn media_matches(query: &str) -> bool {
    window().match_media(query).ok().flatten().is_some_and(|media| media.matches())
}

fn now_ms() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a wait of at most a tenth of a second")]
fn whole_ms(wait_ms: f64) -> u32 {
    wait_ms.clamp(0.0, REFRESH_MS).ceil() as u32
}
