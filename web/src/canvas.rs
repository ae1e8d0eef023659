//! A canvas that shows the model at the moment of the screen, as often as the screen is drawn and only when there is
//! something new. Measures itself; what it shows is computed elsewhere.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::render::{AnimationFrame, request_animation_frame};
use quorate_core::time::Time;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlCanvasElement, ResizeObserver};
use yew::prelude::*;

use crate::command::CLIENTS;
use crate::mark::DrawList;
use crate::model::Model;
use crate::paint::Painter;
use crate::spacetime::{self, Lanes};
use crate::stage::{self, layout::Layout};

/// With reduced motion, what is shown changes at most once in so many milliseconds.
const REDUCED_MOTION_STEP_MS: f64 = 500.0;

/// The model as it is at some revision: components compare the number, not the contents.
#[derive(Clone)]
pub struct Snapshot {
    /// Everything the page knows.
    pub model: Rc<RefCell<Model>>,
    /// Grows with every change that panels should show.
    pub revision: u64,
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

/// What a canvas shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The ring and its traffic.
    Stage,
    /// The space-time diagram.
    SpaceTime,
}

/// How a canvas is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// What it shows.
    pub subject: Subject,
    /// Of which model.
    pub snapshot: Snapshot,
    /// Counts the changes of theme.
    pub theme: u32,
    /// Whether the reader asked for little motion.
    pub reduced_motion: bool,
    /// Is told its size in pixels.
    pub on_size: Callback<(f64, f64)>,
    /// Is told whether messages are too fast or too many to be followed, when that changes.
    #[prop_or_default]
    pub on_flow: Callback<bool>,
}

/// What happens to a canvas.
pub enum Msg {
    /// The screen is about to be drawn, at this moment of its clock in milliseconds.
    Tick(f64),
    /// It has another size.
    Measured,
}

/// A canvas that shows the model.
pub struct Canvas {
    node: NodeRef,
    painter: Option<Painter>,
    size: (f64, f64),
    /// The time, revision and size that it shows.
    shown: Option<(Time, u64, (f64, f64))>,
    shown_at_ms: f64,
    theme: u32,
    flow: bool,
    _frame: AnimationFrame,
    observer: Option<(ResizeObserver, Closure<dyn FnMut()>)>,
}

impl Component for Canvas {
    type Message = Msg;
    type Properties = Props;

    fn create(context: &Context<Self>) -> Self {
        Self {
            node: NodeRef::default(),
            painter: None,
            size: (0.0, 0.0),
            shown: None,
            shown_at_ms: 0.0,
            theme: context.props().theme,
            flow: false,
            _frame: next_frame(context),
            observer: None,
        }
    }

    fn update(&mut self, context: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Tick(now_ms) => {
                self.show(context, now_ms);
                self._frame = next_frame(context);
            }
            Msg::Measured => self.measure(context),
        }
        false
    }

    fn changed(&mut self, context: &Context<Self>, _: &Props) -> bool {
        let theme = context.props().theme;
        if theme != self.theme {
            self.theme = theme;
            self.shown = None;
            if let Some(painter) = &mut self.painter {
                painter.read_theme();
            }
        }
        false
    }

    fn view(&self, _: &Context<Self>) -> Html {
        html! { <canvas ref={self.node.clone()} class="canvas" aria-hidden="true" /> }
    }

    fn rendered(&mut self, context: &Context<Self>, first: bool) {
        if !first {
            return;
        }
        let Some(canvas) = self.node.cast::<HtmlCanvasElement>() else { return };
        let link = context.link().clone();
        let measured = Closure::<dyn FnMut()>::new(move || link.send_message(Msg::Measured));
        if let Ok(observer) = ResizeObserver::new(measured.as_ref().unchecked_ref()) {
            observer.observe(&canvas);
            self.observer = Some((observer, measured));
        }
        self.painter = Painter::new(canvas);
        self.measure(context);
    }

    fn destroy(&mut self, _: &Context<Self>) {
        if let Some((observer, _)) = &self.observer {
            observer.disconnect();
        }
    }
}

impl Canvas {
    fn measure(&mut self, context: &Context<Self>) {
        let Some(canvas) = self.node.cast::<HtmlCanvasElement>() else { return };
        let size = (f64::from(canvas.client_width()), f64::from(canvas.client_height()));
        if size != self.size {
            self.size = size;
            context.props().on_size.emit(size);
        }
    }

    fn show(&mut self, context: &Context<Self>, now_ms: f64) {
        let props = context.props();
        let model = props.snapshot.model.borrow();
        let now = if props.reduced_motion { model.playback.now } else { model.now(now_ms) };
        let moment = Some((now, props.snapshot.revision, self.size));
        let too_soon =
            props.reduced_motion && now_ms - self.shown_at_ms < REDUCED_MOTION_STEP_MS && model.playback.playing;
        if self.size.0 <= 0.0 || moment == self.shown || (too_soon && self.shown.is_some()) {
            return;
        }
        let Some(painter) = &self.painter else { return };
        let (list, flow) = draw(props.subject, &model, self.size, now);
        painter.paint(&list, self.size.0, self.size.1);
        self.shown = moment;
        self.shown_at_ms = now_ms;
        if flow != self.flow {
            self.flow = flow;
            props.on_flow.emit(flow);
        }
    }
}

fn draw(subject: Subject, model: &Model, (width, height): (f64, f64), now: Time) -> (DrawList, bool) {
    match subject {
        Subject::Stage => {
            let layout = Layout::new(width, height, model.view.nodes.len(), CLIENTS.len());
            let picture = stage::picture(model, &layout, now);
            (picture.list, picture.flow)
        }
        Subject::SpaceTime => (spacetime::picture(model, &lanes(model, (width, height), now)), false),
    }
}

/// The lanes of the space-time diagram on a canvas of this size.
#[must_use]
pub fn lanes(model: &Model, (width, height): (f64, f64), now: Time) -> Lanes {
    Lanes::new(width, height, height > width, spacetime::lane_count(model), now, model.playback.speed)
}

fn next_frame(context: &Context<Canvas>) -> AnimationFrame {
    let link = context.link().clone();
    request_animation_frame(move |now_ms| link.send_message(Msg::Tick(now_ms)))
}
