//! The pane of the stage: the canvas, and over it a thin layer of focusable nodes with their captions. One tab stop leads
//! into the ring, arrow keys walk round it; a drag marks nodes, a click on a link selects it.

use quorate_core::id::NodeId;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, PointerEvent};
use yew::prelude::*;

use super::icon::Sign;
use crate::app::{Msg as AppMsg, Tell};
use crate::canvas::{Canvas, Snapshot, Subject};
use crate::command::CLIENTS;
use crate::mark::Point;
use crate::model::{Model, Selection, Standing};
use crate::stage::face::{Face, faces};
use crate::stage::layout::Layout;
use crate::stage::traffic::{self, Places};

/// A drag shorter than this is a click, in pixels.
const DRAG_MIN: f64 = 6.0;
/// How near a link must be to be hit, in pixels: by mouse and by finger.
const LINK_REACH: f64 = 8.0;
const LINK_REACH_TOUCH: f64 = 18.0;

/// How the pane is set up.
#[derive(Clone, PartialEq, Properties)]
pub struct Props {
    /// The model to show.
    pub snapshot: Snapshot,
    /// Whom to tell what a person did.
    pub tell: Tell,
    /// Counts the changes of theme.
    pub theme: u32,
    /// Whether the reader asked for little motion.
    pub reduced_motion: bool,
    /// Why there is no cluster, if there is none.
    pub failure: Option<String>,
}

/// What happens to the pane.
pub enum Msg {
    /// The canvas has this size.
    Sized((f64, f64)),
    /// Messages are, or are no longer, too fast or too many to be followed.
    Flow(bool),
    /// The keyboard went to this node.
    Focused(usize),
    /// A key was pressed on a node.
    NodeKey(usize, KeyboardEvent),
    /// A node was clicked.
    NodeClicked(NodeId, MouseEvent),
    /// A pointer went down on the ground, moved, or was lifted.
    Down(PointerEvent),
    /// See above.
    Moved(PointerEvent),
    /// See above.
    Up(PointerEvent),
    /// The pointer was taken away.
    Lost,
}

/// The pane.
pub struct StagePane {
    size: (f64, f64),
    flow: bool,
    /// The node that the tab stop leads to.
    stop: usize,
    /// A drag: where it began and where it is.
    drag: Option<(Point, Point)>,
    ground: NodeRef,
}

impl Component for StagePane {
    type Message = Msg;
    type Properties = Props;

    fn create(_: &Context<Self>) -> Self {
        Self { size: (0.0, 0.0), flow: false, stop: 0, drag: None, ground: NodeRef::default() }
    }

    fn update(&mut self, context: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Sized(size) => self.size = size,
            Msg::Flow(flow) => self.flow = flow,
            Msg::Focused(index) => self.stop = index,
            Msg::NodeKey(index, event) => return self.node_key(context, index, &event),
            Msg::NodeClicked(node, event) => click_node(context, &node, &event),
            Msg::Down(event) => return self.down(&event),
            Msg::Moved(event) => return self.moved(&event),
            Msg::Up(event) => self.up(context, &event),
            Msg::Lost => self.drag = None,
        }
        true
    }

    fn view(&self, context: &Context<Self>) -> Html {
        let props = context.props();
        let model = props.snapshot.model.borrow();
        let layout = self.layout(&model);
        let replication = model.setting.replication;
        let on = context.link();
        let faces = faces(&model);
        html! {
            <section class={classes!("stage", layout.phone.then_some("phone"))} aria-label="The ring">
                <div class="stage-head">
                    <h2>{"Ring"}</h2>
                    <p class="quorums">
                        <span>{"copies N "}<b>{replication.n.get()}</b></span>
                        <span>{"read R "}<b>{replication.r.get()}</b></span>
                        <span>{"write W "}<b>{replication.w.get()}</b></span>
                    </p>
                </div>
                <div class="ground" ref={self.ground.clone()}
                    onpointerdown={on.callback(Msg::Down)} onpointermove={on.callback(Msg::Moved)}
                    onpointerup={on.callback(Msg::Up)} onpointercancel={on.callback(|_: PointerEvent| Msg::Lost)}>
                    <Canvas subject={Subject::Stage} snapshot={props.snapshot.clone()} theme={props.theme}
                        reduced_motion={props.reduced_motion} on_size={on.callback(Msg::Sized)} on_flow={on.callback(Msg::Flow)} />
                    {for layout.clients.iter().zip(CLIENTS).map(|(place, name)| client(&model, *place, name))}
                    <div class="nodes" role="group" aria-label="Nodes: arrow keys walk round the ring, Enter looks at one, Space marks it">
                        {for faces.iter().zip(&layout.nodes).enumerate().map(|(index, (face, place))| {
                            self.node(context, &layout, index, face, *place)
                        })}
                    </div>
                    {self.lasso()}
                </div>
                {self.notice(props, &model)}
                {legend()}
            </section>
        }
    }
}

impl StagePane {
    fn layout(&self, model: &Model) -> Layout {
        // Nobody stands anywhere before the stage has been measured.
        let clients = if self.size.0 > 0.0 { CLIENTS.len() } else { 0 };
        Layout::new(self.size.0, self.size.1, model.view.nodes.len(), clients)
    }

    fn node(&self, context: &Context<Self>, layout: &Layout, index: usize, face: &Face, place: Point) -> Html {
        if self.size.0 <= 0.0 {
            return html! {};
        }
        let on = context.link();
        let node = face.node.clone();
        let onclick = on.callback(move |event| Msg::NodeClicked(node.clone(), event));
        let onkeydown = on.callback(move |event| Msg::NodeKey(index, event));
        let onfocus = on.callback(move |_: FocusEvent| Msg::Focused(index));
        let side = match layout.caption_side(place) {
            -1 => "side-left",
            0 => "side-below",
            _ => "side-right",
        };
        let style = format!("left:{:.1}px;top:{:.1}px;--disc:{:.1}px", place.x, place.y, layout.disc);
        let stop = self.stop.min(layout.nodes.len().saturating_sub(1));
        html! {
            <div class={classes!("place", side, (!layout.is_labelled()).then_some("crowded"))} {style} key={index}>
                <button class={classes(face)} {onclick} {onkeydown} {onfocus} tabindex={if index == stop { "0" } else { "-1" }}
                    aria-label={face.description()} aria-pressed={face.is_marked.to_string()} data-node={face.node.to_string()}>
                    <span class="letter">{face.node.as_str()}</span>
                    {badge(face)}
                </button>
                <p class="caption" aria-hidden="true"><b>{&face.title}</b><span>{&face.detail}</span></p>
            </div>
        }
    }

    fn notice(&self, props: &Props, model: &Model) -> Html {
        if let Some(reason) = &props.failure {
            return html! { <p class="notice bad" role="alert">{reason}</p> };
        }
        if model.frames == 0 {
            return html! { <p class="notice">{"The cluster starts …"}</p> };
        }
        if self.flow {
            return html! { <p class="notice">{"Too fast to follow single messages: wide links are busy links."}</p> };
        }
        html! {}
    }

    fn lasso(&self) -> Html {
        let Some((from, to)) = self.drag.filter(|(from, to)| from.distance(*to) >= DRAG_MIN) else { return html! {} };
        let style = format!(
            "left:{:.0}px;top:{:.0}px;width:{:.0}px;height:{:.0}px",
            from.x.min(to.x),
            from.y.min(to.y),
            (to.x - from.x).abs(),
            (to.y - from.y).abs()
        );
        html! { <div class="lasso" {style}></div> }
    }

    /// Arrow keys walk round the ring, Space marks; every other key is the page's.
    fn node_key(&mut self, context: &Context<Self>, index: usize, event: &KeyboardEvent) -> bool {
        let model = context.props().snapshot.model.borrow();
        let count = model.view.nodes.len().max(1);
        let goal = match event.key().as_str() {
            "ArrowRight" | "ArrowDown" => (index + 1) % count,
            "ArrowLeft" | "ArrowUp" => (index + count - 1) % count,
            "Home" => 0,
            "End" => count - 1,
            " " => {
                event.prevent_default();
                if let Some(node) = model.view.nodes.get(index) {
                    context.props().tell.emit(AppMsg::ToggleMark(node.node.clone()));
                }
                return false;
            }
            _ => return false,
        };
        event.prevent_default();
        self.stop = goal;
        if let Some(ground) = self.ground.cast::<Element>()
            && let Ok(buttons) = ground.query_selector_all(".node")
            && let Some(button) = u32::try_from(goal).ok().and_then(|goal| buttons.item(goal))
            && let Ok(button) = button.dyn_into::<HtmlElement>()
        {
            drop(button.focus());
        }
        true
    }

    fn place_of(&self, event: &PointerEvent) -> Option<Point> {
        let ground = self.ground.cast::<Element>()?.get_bounding_client_rect();
        Some(Point::new(f64::from(event.client_x()) - ground.left(), f64::from(event.client_y()) - ground.top()))
    }

    fn down(&mut self, event: &PointerEvent) -> bool {
        let on_a_node = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let on_a_node = on_a_node.is_some_and(|element| element.closest(".node").is_ok_and(|node| node.is_some()));
        if on_a_node || event.button() != 0 {
            return false;
        }
        let place = self.place_of(event);
        self.drag = place.map(|place| (place, place));
        if let Some(ground) = self.ground.cast::<Element>() {
            // Without the capture a drag that leaves the stage merely ends there.
            drop(ground.set_pointer_capture(event.pointer_id()));
        }
        false
    }

    fn moved(&mut self, event: &PointerEvent) -> bool {
        let place = self.place_of(event);
        match (&mut self.drag, place) {
            (Some((_, to)), Some(place)) => {
                *to = place;
                true
            }
            _ => false,
        }
    }

    fn up(&mut self, context: &Context<Self>, event: &PointerEvent) {
        let (Some((from, _)), Some(to)) = (self.drag.take(), self.place_of(event)) else { return };
        let props = context.props();
        let model = props.snapshot.model.borrow();
        let layout = self.layout(&model);
        if from.distance(to) >= DRAG_MIN {
            let inside = |place: &Point| {
                (from.x.min(to.x)..=from.x.max(to.x)).contains(&place.x)
                    && (from.y.min(to.y)..=from.y.max(to.y)).contains(&place.y)
            };
            let nodes = model.view.nodes.iter().zip(&layout.nodes).filter(|(_, place)| inside(place));
            props.tell.emit(AppMsg::Mark(nodes.map(|(node, _)| node.node.clone()).collect()));
            return;
        }
        let reach = if event.pointer_type() == "touch" { LINK_REACH_TOUCH } else { LINK_REACH };
        let places = Places::new(&layout, &model.view, &CLIENTS);
        let link = traffic::link_at(&places, &model.view, to, reach);
        let ends = link.and_then(|(a, b)| Some((model.view.nodes.get(a)?, model.view.nodes.get(b)?)));
        let selection = ends.map_or(Selection::Nothing, |(a, b)| Selection::Link(a.node.clone(), b.node.clone()));
        props.tell.emit(AppMsg::Mark(Vec::new()));
        props.tell.emit(AppMsg::Select(selection));
    }
}

fn click_node(context: &Context<StagePane>, node: &NodeId, event: &MouseEvent) {
    let more = event.shift_key() || event.ctrl_key() || event.meta_key();
    let msg = if more { AppMsg::ToggleMark(node.clone()) } else { AppMsg::Select(Selection::Node(node.clone())) };
    context.props().tell.emit(msg);
}

fn classes(face: &Face) -> Classes {
    let standing = match face.standing {
        Standing::Alive => "alive",
        Standing::Starting => "starting",
        Standing::Suspected => "suspected",
        Standing::Dead => "given-up",
        Standing::Crashed => "crashed",
        Standing::Stopped => "stopped",
    };
    classes!(
        "node",
        standing,
        face.is_replica.then_some("replica"),
        face.is_selected.then_some("selected"),
        face.is_marked.then_some("marked")
    )
}

/// The small sign at the upper right of a node that is not well.
fn badge(face: &Face) -> Html {
    let sign = match face.standing {
        Standing::Alive | Standing::Starting => return html! {},
        Standing::Suspected => "?",
        Standing::Dead | Standing::Crashed => "×",
        Standing::Stopped => "–",
    };
    html! { <span class="badge">{sign}</span> }
}

fn client(model: &Model, place: Point, name: &'static str) -> Html {
    let waiting = model.operations.values().rev().find(|operation| {
        operation.client == name && operation.ended_at.is_none() && operation.started_at <= model.playback.now
    });
    let doing = waiting.map(|operation| format!("waits for {}", crate::words::short(operation.key.as_str(), 14)));
    let style = format!("left:{:.1}px;top:{:.1}px", place.x, place.y);
    html! { <div class="asker" {style}><span class="pill">{name}</span><span class="doing">{doing}</span></div> }
}

fn legend() -> Html {
    let sign = |(sign, word): (Sign, &'static str)| html! { <li>{sign.icon()}{word}</li> };
    html! { <ul class="legend" aria-label="Legend">{for Sign::ALL.map(sign)}</ul> }
}
