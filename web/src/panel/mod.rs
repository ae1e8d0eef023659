//! The parts of the page around and over the canvases. Each reads a snapshot of the model and tells the page what a person
//! did; none changes anything itself.

use quorate_core::id::NodeId;
use yew::prelude::*;

use crate::app::Tell;
use crate::canvas::Snapshot;

pub mod console;
pub mod dialog;
pub mod faults;
pub mod header;
pub mod icon;
pub mod inspector;
mod key;
pub mod lanes;
mod node;
mod operation;
pub mod scroll;
pub mod stage;
pub mod story;
pub mod tabs;
pub mod transport;

/// What most panels need.
#[derive(Clone, PartialEq, Properties)]
pub struct PanelProps {
    /// The model to show.
    pub snapshot: Snapshot,
    /// Whom to tell what a person did.
    pub tell: Tell,
}

/// A node as a small disc with its letter.
fn disc(node: &NodeId, is_replica: bool) -> Html {
    html! { <span class={classes!("disc", is_replica.then_some("replica"))}>{node.as_str()}</span> }
}
