//! The pane of the space-time diagram.

use gloo::utils::window;
use yew::prelude::*;

use crate::app::{Msg, Tell};
use crate::canvas::{Canvas, Snapshot, Subject, lanes};
use crate::mark::Point;
use crate::model::Selection;
use crate::spacetime;

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
}

/// The pane.
#[component]
pub fn LanesPane(props: &Props) -> Html {
    let size = use_mut_ref(|| (0.0, 0.0));
    let on_size = {
        let size = size.clone();
        Callback::from(move |measured| *size.borrow_mut() = measured)
    };
    let onclick = {
        let (snapshot, tell) = (props.snapshot.clone(), props.tell.clone());
        Callback::from(move |event: MouseEvent| {
            let model = snapshot.model.borrow();
            let now = model.now(window().performance().map_or(0.0, |performance| performance.now()));
            let lanes = lanes(&model, *size.borrow(), now);
            let at = Point::new(f64::from(event.offset_x()), f64::from(event.offset_y()));
            if let Some(operation) = spacetime::operation_at(&model, &lanes, at) {
                tell.emit(Msg::Select(Selection::Operation(operation)));
            }
        })
    };
    html! {
        <section class="space-time" aria-label="Space-time diagram: who sent what to whom, and when" {onclick}>
            <Canvas subject={Subject::SpaceTime} snapshot={props.snapshot.clone()} theme={props.theme}
                reduced_motion={props.reduced_motion} {on_size} />
        </section>
    }
}
