//! The cheapest of the greatest flows through a network. Knows nothing of rings; the same network, built in the same
//! order, has the same flow on every machine.
//!
//! The primal-dual method of Ford and Fulkerson ("Flows in Networks", 1962, chapter III): augment along cheapest paths
//! until there is none. All cheapest paths of one length are filled at once, as Dinic does ("Algorithm for solution of a
//! problem of maximum flow in networks with power estimation", 1970), so that there are about as many rounds as there are
//! different costs of a path, and not as many as there are units.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// A point of a network.
pub(super) type Point = usize;

/// One direction of a connection. The other one is its neighbour in the list: their numbers differ in the last bit.
struct Edge {
    to: Point,
    /// Units that can still be added.
    room: u32,
    /// Of one unit.
    cost: i64,
}

/// How a point is best reached: cost, then steps. Steps keep circles that cost nothing out of the paths.
type Distance = (i64, u32);

/// A directed network with a source and a sink. It has no circle of negative cost as long as it is built without one.
pub(super) struct Network {
    edges: Vec<Edge>,
    /// For each point, the edges that begin there.
    from: Vec<Vec<usize>>,
}

impl Network {
    pub(super) const SOURCE: Point = 0;
    pub(super) const SINK: Point = 1;

    pub(super) fn new() -> Self {
        Self { edges: Vec::new(), from: vec![Vec::new(), Vec::new()] }
    }

    pub(super) fn point(&mut self) -> Point {
        self.from.push(Vec::new());
        self.from.len() - 1
    }

    /// Connects two points for so many units, each at this cost. The number that it returns is good for
    /// [`Self::is_used`].
    pub(super) fn connect(&mut self, from: Point, to: Point, room: u32, cost: i64) -> usize {
        let edge = self.edges.len();
        self.edges.push(Edge { to, room, cost });
        self.edges.push(Edge { to: from, room: 0, cost: -cost });
        self.from[from].push(edge);
        self.from[to].push(edge + 1);
        edge
    }

    /// Whether anything flows from one end of the connection to the other.
    pub(super) fn is_used(&self, edge: usize) -> bool {
        self.edges[edge ^ 1].room > 0
    }

    /// Sends as much as can be sent from the source to the sink, as cheaply as it can be. Returns how much.
    pub(super) fn fill(&mut self) -> u32 {
        let mut sent = 0;
        loop {
            let distances = self.distances();
            if distances[Self::SINK].is_none() {
                return sent;
            }
            sent += self.fill_cheapest(&distances);
        }
    }

    /// How each point is best reached from the source (Bellman and Ford, with a queue: costs may be negative).
    fn distances(&self) -> Vec<Option<Distance>> {
        let mut distances: Vec<Option<Distance>> = vec![None; self.from.len()];
        let mut is_queued = vec![false; self.from.len()];
        distances[Self::SOURCE] = Some((0, 0));
        let mut queue = VecDeque::from([Self::SOURCE]);
        while let Some(point) = queue.pop_front() {
            is_queued[point] = false;
            let Some((cost, steps)) = distances[point] else { continue };
            for edge in self.from[point].iter().map(|&edge| &self.edges[edge]) {
                let reached = (cost + edge.cost, steps + 1);
                if edge.room > 0 && distances[edge.to].is_none_or(|known| reached < known) {
                    distances[edge.to] = Some(reached);
                    // No cheapest path goes through the sink.
                    if edge.to != Self::SINK && !core::mem::replace(&mut is_queued[edge.to], true) {
                        queue.push_back(edge.to);
                    }
                }
            }
        }
        distances
    }

    /// Fills paths of the best distance until each has a full edge.
    fn fill_cheapest(&mut self, distances: &[Option<Distance>]) -> u32 {
        let mut next = vec![0; self.from.len()];
        let (mut sent, mut path, mut at) = (0, Vec::new(), Self::SOURCE);
        loop {
            if at == Self::SINK {
                sent += self.send(&path);
                path.clear();
                at = Self::SOURCE;
            }
            let onward = self.from[at].get(next[at]).copied();
            match (onward, onward.is_some_and(|edge| self.is_on_best_path(at, edge, distances))) {
                (Some(edge), true) => {
                    path.push(edge);
                    at = self.edges[edge].to;
                }
                (Some(_), false) => next[at] += 1,
                (None, _) => {
                    let Some(edge) = path.pop() else { return sent };
                    at = self.edges[edge ^ 1].to;
                    next[at] += 1;
                }
            }
        }
    }

    fn is_on_best_path(&self, at: Point, edge: usize, distances: &[Option<Distance>]) -> bool {
        let edge = &self.edges[edge];
        let reached = distances[at].map(|(cost, steps)| (cost + edge.cost, steps + 1));
        edge.room > 0 && reached.is_some() && reached == distances[edge.to]
    }

    /// Sends along a path what its fullest edge has room for.
    fn send(&mut self, path: &[usize]) -> u32 {
        let units = path.iter().map(|&edge| self.edges[edge].room).min().unwrap_or(0);
        for &edge in path {
            self.edges[edge].room -= units;
            self.edges[edge ^ 1].room += units;
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost of giving each worker a job, by trying all ways.
    fn cheapest(costs: &[Vec<i64>], taken: u32) -> i64 {
        let Some((first, rest)) = costs.split_first() else { return 0 };
        let free = (0..first.len()).filter(|job| taken & (1 << job) == 0);
        free.map(|job| first[job] + cheapest(rest, taken | (1 << job))).min().expect("as many jobs as workers")
    }

    proptest! {
        #[test]
        fn work_is_divided_at_the_least_cost(costs in (1_usize..6).prop_flat_map(|size| {
            prop::collection::vec(prop::collection::vec(-9_i64..9, size), size)
        })) {
            let mut network = Network::new();
            let jobs: Vec<_> = costs.iter().map(|_| network.point()).collect();
            jobs.iter().for_each(|&job| { network.connect(job, Network::SINK, 1, 0); });
            let mut choices = Vec::new();
            for row in &costs {
                let worker = network.point();
                network.connect(Network::SOURCE, worker, 1, 0);
                choices.extend(row.iter().zip(&jobs).map(|(&cost, &job)| (network.connect(worker, job, 1, cost), cost)));
            }
            prop_assert_eq!(usize::try_from(network.fill()).expect("small"), costs.len());
            let cost: i64 = choices.iter().filter(|(edge, _)| network.is_used(*edge)).map(|(_, cost)| cost).sum();
            prop_assert_eq!(cost, cheapest(&costs, 0));
        }
    }

    #[test]
    fn what_was_sent_before_is_sent_another_way_if_that_gives_more() {
        let mut network = Network::new();
        let [left, right, wanted, other] = [(); 4].map(|()| network.point());
        for (from, to, cost) in [(left, wanted, 0), (right, wanted, 2)] {
            network.connect(Network::SOURCE, from, 1, 0);
            network.connect(from, to, 1, cost);
        }
        let detour = network.connect(left, other, 1, 5);
        network.connect(wanted, Network::SINK, 1, 0);
        network.connect(other, Network::SINK, 1, 0);
        assert_eq!(network.fill(), 2);
        assert!(network.is_used(detour));
    }
}
