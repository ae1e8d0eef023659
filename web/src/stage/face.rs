//! What a node shows of itself: how it stands, its part in what is selected, and a caption in plain words. Computed from
//! the model; the focusable buttons on the stage wear it.

use quorate_core::id::NodeId;
use quorate_core::view::{KeyView, NodeView, OperationView, ReplicaView};

use crate::model::{Model, Selection, Standing};
use crate::words;

/// What a node shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// The node.
    pub node: NodeId,
    /// How it stands with the others.
    pub standing: Standing,
    /// Whether it owns the selected key.
    pub is_replica: bool,
    /// Whether it holds a copy that is not its own to hold.
    pub keeps_for_another: bool,
    /// Whether the inspector shows it.
    pub is_selected: bool,
    /// Whether the next fault is for it.
    pub is_marked: bool,
    /// The caption's first line; empty if there is nothing to say.
    pub title: String,
    /// The caption's second line.
    pub detail: String,
}

impl Face {
    /// The whole of it as a sentence, for those who do not see it.
    #[must_use]
    pub fn description(&self) -> String {
        let standing = match self.standing {
            Standing::Alive => "alive",
            Standing::Starting => "starting",
            Standing::Suspected => "suspected by most",
            Standing::Dead => "given up by most, though it runs",
            Standing::Crashed => "crashed",
            Standing::Stopped => "stopped",
        };
        let mut text = format!("Node {}, {standing}", self.node);
        if !self.title.is_empty() {
            text.push_str(&format!(". {}", self.title));
        }
        if !self.detail.is_empty() {
            text.push_str(&format!(", {}", self.detail));
        }
        if self.is_marked {
            text.push_str(". Marked");
        }
        text
    }
}

/// The faces of all nodes, in their order.
#[must_use]
pub fn faces(model: &Model) -> Vec<Face> {
    let key = model.watched_key();
    let operation = model.selected_operation();
    model.view.nodes.iter().map(|node| face(model, node, key, operation)).collect()
}

fn face(model: &Model, node: &NodeView, key: Option<&KeyView>, operation: Option<&OperationView>) -> Face {
    let (standing, doubters) = model.standing(node);
    let name = &node.node;
    let place = key.and_then(|key| key.primaries.iter().position(|owner| owner == name));
    let holding = key.and_then(|key| key.replicas.iter().find(|replica| replica.node == *name));
    let is_replica = place.is_some();
    let keeps_for_another = !is_replica && holding.is_some();
    let (title, detail) = match standing {
        Standing::Crashed => ("Crashed".into(), place_words(place)),
        Standing::Stopped => ("Stopped".into(), "said goodbye".into()),
        Standing::Starting => ("Starting".into(), String::new()),
        Standing::Dead => ("Given up".into(), format!("by {}, though it runs", some_of(&doubters))),
        Standing::Suspected => ("Suspected".into(), format!("by {}", some_of(&doubters))),
        Standing::Alive => match (key, operation) {
            (None, _) if !doubters.is_empty() => ("Doubted".into(), format!("by {}", some_of(&doubters))),
            (None, _) => (String::new(), String::new()),
            (Some(_), operation) => part(name, place, holding, operation),
        },
    };
    Face {
        node: name.clone(),
        standing,
        is_replica,
        keeps_for_another,
        is_selected: model.selection == Selection::Node(name.clone()),
        is_marked: model.marked.contains(name),
        title,
        detail,
    }
}

fn some_of(doubters: &[NodeId]) -> String {
    if doubters.len() > 3 {
        return format!("{} others", doubters.len());
    }
    words::list(doubters)
}

fn place_words(place: Option<usize>) -> String {
    place.map_or_else(String::new, |place| format!("replica {}", place + 1))
}

/// A live node's part in the selected key and operation.
fn part(
    name: &NodeId,
    place: Option<usize>,
    holding: Option<&ReplicaView>,
    operation: Option<&OperationView>,
) -> (String, String) {
    let coordinates = operation.is_some_and(|operation| operation.coordinator.as_ref() == Some(name));
    let vote = operation.and_then(|operation| {
        let vote = operation.votes.iter().rev().find(|vote| vote.node == *name)?;
        Some(format!("+{}", words::span(vote.at.since(operation.started_at))))
    });
    let replica = place_words(place);
    let title = match (coordinates, place, holding) {
        (true, ..) => "Coordinator".into(),
        (false, Some(_), Some(holding)) => holds(holding),
        (false, Some(_), None) => "Has nothing".into(),
        (false, None, Some(_)) => "Keeps a copy".into(),
        (false, None, None) => String::new(),
    };
    let detail = [replica, vote.unwrap_or_default()].into_iter().filter(|part| !part.is_empty());
    (title, detail.collect::<Vec<_>>().join(" · "))
}

fn holds(replica: &ReplicaView) -> String {
    match replica.versions.as_slice() {
        [] => "Has nothing".into(),
        [one] => one
            .value
            .as_deref()
            .map_or_else(|| "Has a deletion".into(), |value| format!("Has {}", words::short(value, 16))),
        several => format!("Has {} values", several.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, cart, cluster, key, node};
    use quorate_core::membership::State;
    use quorate_core::sim::player::Update;
    use quorate_core::view::ProcessState;

    fn captions(fixture: Fixture, selection: Selection) -> Vec<(String, String, String)> {
        let mut model = Model::default();
        let mut frame = fixture.frame(vec![]);
        frame.key = Some(cart());
        model.absorb(Update::Frame(frame), 0.0);
        model.selection = selection;
        faces(&model).into_iter().map(|face| (face.node.to_string(), face.title, face.detail)).collect()
    }

    fn said(captions: &[(String, String, String)], name: &str) -> String {
        let (_, title, detail) = captions.iter().find(|(node, ..)| node == name).expect("the node is there");
        format!("{title} / {detail}")
    }

    #[test]
    fn a_calm_cluster_has_nothing_to_say() {
        for (_, title, detail) in captions(cluster(5), Selection::Nothing) {
            assert_eq!((title.as_str(), detail.as_str()), ("", ""));
        }
    }

    #[test]
    fn a_selected_operation_says_who_did_what_and_when() {
        let captions = captions(cluster(5).put(7, None), Selection::Operation(7));
        assert_eq!(said(&captions, "A"), "Coordinator / replica 1 · +3.9 ms");
        assert_eq!(said(&captions, "C"), "Has milk, eggs / replica 2 · +12.4 ms");
        assert_eq!(said(&captions, "D"), "Has nothing / replica 3");
        assert_eq!(said(&captions, "E"), " / ");
    }

    #[test]
    fn trouble_comes_before_everything_else() {
        let fixture = cluster(5).down("D", ProcessState::Crashed).down("E", ProcessState::Stopped).believed(
            &["A", "C"],
            "B",
            State::Suspect,
        );
        let captions = captions(fixture, Selection::Key(key("cart")));
        assert_eq!(said(&captions, "B"), "Suspected / by A and C");
        assert_eq!(said(&captions, "D"), "Crashed / replica 3");
        assert_eq!(said(&captions, "E"), "Stopped / said goodbye");
    }

    #[test]
    fn the_description_says_what_the_picture_shows() {
        let mut model = Model::default();
        let fixture = cluster(5).believed(&["A", "C", "D"], "B", State::Suspect);
        model.absorb(Update::Frame(fixture.frame(vec![])), 0.0);
        model.toggle_mark(&node("B"));
        let descriptions: Vec<_> = faces(&model).iter().map(Face::description).collect();
        assert_eq!(
            descriptions.get(1).map(String::as_str),
            Some("Node B, suspected by most. Suspected, by A, C and D. Marked")
        );
        assert_eq!(descriptions.first().map(String::as_str), Some("Node A, alive"));
    }
}
