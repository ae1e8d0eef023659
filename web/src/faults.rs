//! What is broken at the moment, said once each: cut links that split the cluster are one partition, not forty links.
//! Reads the picture only; never changes anything.

use std::time::Duration;

use std::collections::BTreeSet;

use quorate_core::id::NodeId;
use quorate_core::sim::Action;
use quorate_core::time::Time;
use quorate_core::view::{ClusterView, LinkView, ProcessState};

use crate::words;

/// Something that is not as it should be, and lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process that is down.
    Down {
        /// Which.
        node: NodeId,
        /// Whether it was told to stop, and said goodbye.
        stopped: bool,
    },
    /// The cluster is split: nothing passes between the groups.
    Partition {
        /// The groups, each in the order of its names.
        groups: Vec<Vec<NodeId>>,
        /// Since when.
        since: Time,
    },
    /// A link.
    Link {
        /// From this node
        from: NodeId,
        /// to this one
        to: NodeId,
        /// (and back, if that is broken in the same way)
        both_ways: bool,
        /// nothing passes,
        cut: bool,
        /// or so many messages are lost, per million.
        loss_per_million: u32,
        /// Since when.
        since: Time,
    },
}

impl Fault {
    /// The fault in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Down { node, stopped: true } => format!("{node} stopped"),
            Self::Down { node, stopped: false } => format!("{node} crashed"),
            Self::Partition { groups, .. } => {
                let sides: Vec<_> = groups.iter().map(|group| side(group)).collect();
                format!("split {}", sides.join(" | "))
            }
            Self::Link { from, to, both_ways, cut, loss_per_million, .. } => {
                let arrow = if *both_ways { "↔" } else { "→" };
                if *cut {
                    format!("{from} {arrow} {to} cut")
                } else {
                    format!("{from} {arrow} {to} loses {} %", loss_per_million / 10_000)
                }
            }
        }
    }

    /// Since when, where the picture knows.
    #[must_use]
    pub const fn since(&self) -> Option<Time> {
        match self {
            Self::Down { .. } => None,
            Self::Partition { since, .. } | Self::Link { since, .. } => Some(*since),
        }
    }

    /// What the button that ends it says.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Down { .. } => "Restart",
            Self::Partition { .. } | Self::Link { .. } => "Heal",
        }
    }

    /// What ends it.
    #[must_use]
    pub fn remedies(&self) -> Vec<Action> {
        match self {
            Self::Down { node, .. } => vec![Action::Restart { node: node.clone() }],
            Self::Partition { groups, .. } => {
                let mut actions = Vec::new();
                for (index, group) in groups.iter().enumerate() {
                    for other in groups.iter().skip(index + 1).flatten() {
                        actions.extend(group.iter().flat_map(|node| whole_again(node, other)));
                    }
                }
                actions
            }
            Self::Link { from, to, both_ways: true, .. } => whole_again(from, to).to_vec(),
            Self::Link { from, to, both_ways: false, .. } => vec![link(from, to, false, 0)],
        }
    }
}

/// One direction of a link.
#[must_use]
pub fn link(from: &NodeId, to: &NodeId, cut: bool, loss_per_million: u32) -> Action {
    Action::Link { from: from.clone(), to: to.clone(), cut, loss_per_million, latency: Duration::ZERO }
}

fn whole_again(a: &NodeId, b: &NodeId) -> [Action; 2] {
    [link(a, b, false, 0), link(b, a, false, 0)]
}

fn side(group: &[NodeId]) -> String {
    if group.len() > 4 {
        return words::count(u64::try_from(group.len()).unwrap_or(u64::MAX), "node");
    }
    group.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ")
}

/// Everything that is broken: processes first, then the network.
#[must_use]
pub fn active(view: &ClusterView) -> Vec<Fault> {
    let down = view.nodes.iter().filter(|node| node.process != ProcessState::Running);
    let mut faults: Vec<_> = down
        .map(|node| Fault::Down { node: node.node.clone(), stopped: node.process == ProcessState::Stopped })
        .collect();
    match partition(view) {
        Some((groups, since)) => {
            let group_of = |node: &NodeId| groups.iter().position(|group| group.contains(node));
            let inside = view.links.iter().filter(|link| group_of(&link.from) == group_of(&link.to));
            let links = links(&inside.collect::<Vec<_>>());
            faults.push(Fault::Partition { groups, since });
            faults.extend(links);
        }
        None => faults.extend(links(&view.links.iter().collect::<Vec<_>>())),
    }
    faults
}

/// The groups between which nothing passes, if every link between different groups is cut both ways and there are two or
/// more groups of which one has more than one node or at least two links are cut; and since when.
fn partition(view: &ClusterView) -> Option<(Vec<Vec<NodeId>>, Time)> {
    let cut: BTreeSet<_> = view.links.iter().filter(|link| link.cut).map(|link| (&link.from, &link.to)).collect();
    // One cut pair in a cluster of two is a cut link as well as a partition: the shorter word wins.
    if view.nodes.len() < 3 || cut.is_empty() {
        return None;
    }
    let is_cut = |a: &NodeId, b: &NodeId| cut.contains(&(a, b)) && cut.contains(&(b, a));
    let mut groups: Vec<Vec<NodeId>> = Vec::new();
    for node in view.nodes.iter().map(|node| &node.node) {
        let reachable = |group: &Vec<NodeId>| group.iter().any(|other| !is_cut(node, other));
        let (mut joined, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(reachable);
        groups = others;
        let mut merged: Vec<_> = joined.drain(..).flatten().chain([node.clone()]).collect();
        merged.sort_by_key(|name| view.nodes.iter().position(|node| node.node == *name));
        groups.push(merged);
    }
    groups.sort_by_key(|group| view.nodes.iter().position(|node| Some(&node.node) == group.first()));
    let since = view.links.iter().filter(|link| link.cut).map(|link| link.since).min()?;
    (groups.len() > 1).then_some((groups, since))
}

/// Links that are broken in the same way in both directions are one fault.
fn links(broken: &[&LinkView]) -> Vec<Fault> {
    let same = |a: &LinkView, b: &LinkView| {
        a.from == b.to && a.to == b.from && a.cut == b.cut && a.loss_per_million == b.loss_per_million
    };
    let has_twin = |link: &LinkView| broken.iter().any(|other| same(link, other));
    let shown = broken.iter().filter(|link| !has_twin(link) || link.from < link.to);
    shown
        .map(|link| Fault::Link {
            from: link.from.clone(),
            to: link.to.clone(),
            both_ways: has_twin(link),
            cut: link.cut,
            loss_per_million: link.loss_per_million,
            since: link.since,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn titles(view: &ClusterView) -> Vec<String> {
        active(view).iter().map(Fault::title).collect()
    }

    #[test]
    fn each_kind_of_fault_is_said_once() {
        for (cuts, said) in [
            (vec!["A>D"], vec!["A → D cut"]),
            (vec!["A>D", "D>A"], vec!["A ↔ D cut"]),
            (vec!["A>D", "B>C", "C>B"], vec!["A → D cut", "B ↔ C cut"]),
            (vec![], vec![]),
        ] {
            assert_eq!(titles(&fixture::cluster(5).cut(&cuts).view), said, "{cuts:?}");
        }
    }

    #[test]
    fn links_that_split_the_cluster_are_one_partition() {
        let split = fixture::cluster(5).split(&[&["A", "B"], &["C", "D", "E"]]).view;
        assert_eq!(titles(&split), ["split A B | C D E"]);
        let alone = fixture::cluster(3).split(&[&["B"], &["A", "C"]]).view;
        assert_eq!(titles(&alone), ["split A C | B"]);
        let and_more = fixture::cluster(5).split(&[&["A", "B"], &["C", "D", "E"]]).cut(&["D>E"]).view;
        assert_eq!(titles(&and_more), ["split A B | C D E", "D → E cut"]);
    }

    #[test]
    fn processes_that_are_down_come_first_with_their_remedy() {
        let view =
            fixture::cluster(3).down("B", ProcessState::Crashed).down("C", ProcessState::Stopped).cut(&["A>B"]).view;
        assert_eq!(titles(&view), ["B crashed", "C stopped", "A → B cut"]);
        let restart = Action::Restart { node: NodeId::new("B").expect("a name") };
        assert_eq!(active(&view).first().map(Fault::remedies), Some(vec![restart]));
    }

    #[test]
    fn healing_a_partition_mends_exactly_the_links_between_the_groups() {
        let view = fixture::cluster(5).split(&[&["A", "B"], &["C", "D", "E"]]).view;
        let mended: BTreeSet<_> = active(&view)
            .iter()
            .flat_map(Fault::remedies)
            .map(|action| match action {
                Action::Link { from, to, cut: false, loss_per_million: 0, .. } => (from, to),
                other => panic!("{other:?} is not a mended link"),
            })
            .collect();
        let cut: BTreeSet<_> = view.links.iter().map(|link| (link.from.clone(), link.to.clone())).collect();
        assert_eq!(mended, cut);
    }
}
