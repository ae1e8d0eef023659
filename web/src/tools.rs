//! The tools of “Break something”: what each does to the nodes that are marked, and what it asks for if they are not the
//! right ones. Pure: makes actions, applies none.

use quorate_core::id::NodeId;
use quorate_core::sim::{Action, DiskFate};

use crate::faults::link;

/// Share of messages that a lossy link loses, per million.
const LOSSY_PER_MILLION: u32 = 300_000;

/// Something that can be done to the cluster with one key or one press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// End a process without a word.
    Crash,
    /// End it and take its disk away.
    LoseDisk,
    /// Tell it to stop.
    Stop,
    /// Start it again.
    Restart,
    /// Cut the link between two nodes.
    Cut,
    /// Let the link between two nodes lose messages.
    Lossy,
    /// Cut nodes off from all others.
    Split,
    /// Let a new node join.
    Add,
}

impl Tool {
    /// Every tool, in the order of the panel.
    pub const ALL: [Self; 8] =
        [Self::Crash, Self::LoseDisk, Self::Stop, Self::Restart, Self::Cut, Self::Lossy, Self::Split, Self::Add];

    /// Its name on the panel.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Crash => "Crash",
            Self::LoseDisk => "Lose disk",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Cut => "Cut link",
            Self::Lossy => "Lossy",
            Self::Split => "Cut off",
            Self::Add => "Add node",
        }
    }

    /// What it does, in a sentence.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Crash => "End the process without a word; its disk stays",
            Self::LoseDisk => "End the process without a word and take its disk away",
            Self::Stop => "Tell the process to stop; it says goodbye",
            Self::Restart => "Start the process again",
            Self::Cut => "Cut the link between two nodes, both ways",
            Self::Lossy => "Let the link between two nodes lose 30 % of the messages",
            Self::Split => "Cut the marked nodes off from all others",
            Self::Add => "Let a new node join the cluster",
        }
    }

    /// What it does to these nodes.
    ///
    /// # Errors
    /// A sentence that says which nodes it needs.
    pub fn actions(self, targets: &[NodeId], nodes: usize) -> Result<Vec<Action>, &'static str> {
        const PICK_ONE: &str = "Pick a node first: click it, or go to the ring with Tab and use the arrow keys";
        const PICK_TWO: &str = "A link has two ends: pick a node, then mark another with Shift-click or Space";
        let each = |action: fn(NodeId) -> Action| match targets {
            [] => Err(PICK_ONE),
            some => Ok(some.iter().cloned().map(action).collect()),
        };
        let both_ways = |cut, loss| match targets {
            [a, b] => Ok(vec![link(a, b, cut, loss), link(b, a, cut, loss)]),
            _ => Err(PICK_TWO),
        };
        match self {
            Self::Crash => each(|node| Action::Crash { node, disk: DiskFate::Kept }),
            Self::LoseDisk => each(|node| Action::Crash { node, disk: DiskFate::Lost }),
            Self::Stop => each(|node| Action::Stop { node }),
            Self::Restart => each(|node| Action::Restart { node }),
            Self::Cut => both_ways(true, 0),
            Self::Lossy => both_ways(false, LOSSY_PER_MILLION),
            Self::Split if targets.is_empty() => {
                Err("Mark the nodes to cut off first: drag round them, or Space on each")
            }
            Self::Split if targets.len() == nodes => Err("All nodes on one side is no split: leave at least one out"),
            Self::Split => Ok(vec![Action::Partition { groups: vec![targets.to_vec()] }]),
            Self::Add => Ok(vec![Action::Add]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::node;

    #[test]
    fn each_tool_does_its_deed_to_the_targets_or_says_what_it_needs() {
        let targets = |names: &[&str]| names.iter().map(|name| node(name)).collect::<Vec<_>>();
        for (tool, names, done) in [
            (Tool::Crash, &["B"][..], Some(1)),
            (Tool::Crash, &["B", "C"], Some(2)),
            (Tool::Crash, &[], None),
            (Tool::LoseDisk, &["B"], Some(1)),
            (Tool::Stop, &["B"], Some(1)),
            (Tool::Restart, &[], None),
            (Tool::Cut, &["A"], None),
            (Tool::Cut, &["A", "D"], Some(2)),
            (Tool::Lossy, &["A", "B", "C"], None),
            (Tool::Split, &["A", "B"], Some(1)),
            (Tool::Split, &[], None),
            (Tool::Split, &["A", "B", "C", "D", "E"], None),
            (Tool::Add, &[], Some(1)),
        ] {
            assert_eq!(
                tool.actions(&targets(names), 5).ok().map(|actions| actions.len()),
                done,
                "{tool:?} on {names:?}"
            );
        }
    }
}
