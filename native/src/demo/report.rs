//! What the show has come to, as a table.

use std::time::Duration;

use super::ring::Moved;
use crate::client::render;
use crate::load::{Broken, Figures};

/// Lost writes that are shown one by one.
const LOST_SHOWN_MAX: usize = 10;

/// What the clients met in one act.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: String,
    pub(super) figures: Figures,
}

/// All that there is to say at the end.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) acts: Vec<Act>,
    /// What came about, and how long it took.
    pub(super) steps: Vec<(String, Duration)>,
    /// What changes have moved.
    pub(super) moves: Vec<(String, Moved)>,
    /// Writes that were acknowledged.
    pub(super) acknowledged: usize,
    /// Of those, the ones that are not there any more.
    pub(super) lost: Vec<Broken>,
}

impl Report {
    /// Whether every promise was kept.
    pub(super) fn is_good(&self) -> bool {
        self.lost.is_empty() && self.acts.iter().all(|act| act.figures.is_good())
    }

    pub(super) fn text(&self) -> String {
        let mut all = Figures::default();
        self.acts.iter().for_each(|act| all.merge(&act.figures));
        let acts = self.acts.iter().map(|act| row(&act.name, &act.figures));
        let rows: Vec<Vec<String>> = acts.chain([row("in all", &all)]).collect();
        let head = ["WHILE", "WRITES", "READS", "FAILED", "RETRIED", "SLOWEST"];
        let mut text = render(&head, &rows);
        text += "failed: not served within 1 s of tries; retried: served at another try\n\n";
        let mut rows: Vec<Vec<String>> =
            self.steps.iter().map(|(what, took)| vec![what.clone(), seconds(*took)]).collect();
        for (what, Moved { copies, moved }) in &self.moves {
            let percent = moved * 100 / copies.max(&1);
            rows.push(vec![format!("copies of keys moved, {what}"), format!("{moved} of {copies} ({percent}%)")]);
        }
        rows.push(vec!["acknowledged writes, all read back".into(), self.acknowledged.to_string()]);
        rows.push(vec!["lost writes".into(), self.lost.len().to_string()]);
        rows.push(vec!["reads that missed an acknowledged write".into(), all.missed.to_string()]);
        text += &render(&["WHAT", "FIGURE"], &rows);
        for Broken { key, found } in self.lost.iter().take(LOST_SHOWN_MAX) {
            text += &format!("lost: {key}, instead of which there is {found}\n");
        }
        text += &all.first_reason.map_or_else(String::new, |reason| format!("what failed first: {reason}\n"));
        text
    }
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let Figures { writes, reads, retried, late, given_up, slowest, .. } = figures;
    let numbers = [*writes, *reads, late + given_up, retried - late].map(|number| number.to_string());
    let slowest = format!("{} ms", slowest.as_millis());
    [name.to_owned()].into_iter().chain(numbers).chain([slowest]).collect()
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_write_is_named_and_a_show_with_one_is_not_good() {
        let figures =
            Figures { writes: 10, reads: 9, retried: 2, slowest: Duration::from_millis(31), ..Figures::default() };
        let mut report = Report {
            acts: vec![Act { name: "all is well".into(), figures }],
            steps: vec![("node-3 was found dead".into(), Duration::from_millis(6_240))],
            moves: vec![("without node-3".into(), Moved { copies: 300, moved: 61 })],
            acknowledged: 10,
            lost: Vec::new(),
        };
        assert!(report.is_good());
        let text = report.text();
        for line in [
            "all is well  10      9      0       2        31 ms\n",
            "node-3 was found dead                    6.2 s\n",
            "copies of keys moved, without node-3     61 of 300 (20%)\n",
            "lost writes                              0\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        report.lost.push(Broken { key: "show-7".into(), found: "404 not found".into() });
        assert!(!report.is_good());
        let text = report.text();
        assert!(text.contains("lost: show-7, instead of which there is 404 not found\n"), "{text}");
        report.lost.clear();
        report.acts[0].figures.late = 1;
        assert!(!report.is_good());
    }
}
