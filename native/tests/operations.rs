//! What operators do to a cluster that is in use: clients at work notice nothing that a second of tries does not mend, and
//! nothing that was acknowledged is lost.

mod support;

use std::time::Duration;

use quorate::config::Endpoint;
use quorate::load::{Figures, Load, Pace, Written};
use serde_json::json;
use support::{Cluster, Node, PATIENCE, eventually};
use tokio::runtime::Runtime;

/// Clients that leave the nodes of a debug build, on a busy machine, time to breathe.
const PACE: Pace = Pace { clients: 3, pause: Duration::from_millis(10) };

/// Clients at work, on threads of their own.
struct Clients {
    runtime: Runtime,
    load: Option<Load>,
}

impl Clients {
    fn start(nodes: &[Node]) -> Self {
        let runtime = Runtime::new().expect("threads");
        let load = runtime.block_on(async { Load::start("key", endpoints(nodes), PACE) });
        Self { runtime, load: Some(load) }
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("they are at work")
    }

    /// Waits until so many more writes were acknowledged.
    fn wait_writes(&self, count: usize) {
        let before = self.load().written().len();
        eventually("the clients write on", PATIENCE, || (self.load().written().len() >= before + count).then_some(()));
    }

    /// Ends their work, and reads everything back that they were promised.
    #[track_caller]
    fn check(mut self, nodes: &[&Node], least: usize) -> Figures {
        let load = self.load.take().expect("they are at work");
        let endpoints: Vec<Endpoint> = nodes.iter().map(|node| endpoint(node)).collect();
        let (written, figures, lost) = self.runtime.block_on(async {
            let (written, figures): (Written, Figures) = load.stop().await;
            let lost = written.read_back(&endpoints).await;
            (written, figures, lost)
        });
        assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), written.len());
        assert!(written.len() >= least, "only {} writes were acknowledged", written.len());
        assert!(figures.is_good(), "{figures:?}");
        println!("{figures:?}");
        figures
    }
}

fn endpoint(node: &Node) -> Endpoint {
    node.address().parse().expect("an address")
}

fn endpoints(nodes: &[Node]) -> Vec<Endpoint> {
    nodes.iter().map(endpoint).collect()
}

/// Waits until these nodes, and nobody else, own the ring, each with all that it owns, as each of them sees it.
#[track_caller]
fn wait_settled(nodes: &[&Node]) {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    names.sort_unstable();
    for node in nodes {
        eventually(&format!("{} sees {names:?} own everything", node.id), PATIENCE * 2, || {
            let layout = node.get("/api/v1/layout").json();
            let owners = layout["owners"].as_array()?.iter().map(|owner| owner["node_id"].as_str());
            let settled = owners.eq(names.iter().map(|name| Some(*name)))
                && layout["progress"]["synced"].as_object()?.values().all(|slices| *slices == 64)
                && layout["progress"]["passed"] == 64
                && layout["active_versions"] == json!([layout["version"]]);
            settled.then_some(())
        });
    }
}

#[test]
fn nodes_are_restarted_one_after_the_other_and_no_client_is_failed_for_a_second() {
    let mut cluster = Cluster::start(5, &[]);
    wait_settled(&cluster.nodes.iter().collect::<Vec<_>>());
    let clients = Clients::start(&cluster.nodes);
    clients.wait_writes(20);
    for index in 0..cluster.nodes.len() {
        assert_eq!(cluster.nodes[index].terminate().code(), Some(0), "{}", cluster.nodes[index].log());
        clients.wait_writes(20);
        let seeds = cluster.addresses();
        cluster.nodes[index].start(&seeds);
        cluster.wait_whole();
    }
    clients.wait_writes(20);
    let figures = clients.check(&cluster.nodes.iter().collect::<Vec<_>>(), 140);
    assert!(figures.retried > 0, "clients that were at a node when it stopped had to try again: {figures:?}");
}

#[test]
fn a_cluster_grows_from_three_nodes_to_six_and_shrinks_again_and_serves_all_the_while() {
    let mut cluster = Cluster::start(3, &[]);
    let clients = Clients::start(&cluster.nodes);
    clients.wait_writes(100);
    for _ in 0..3 {
        cluster.grow();
        clients.load().set_endpoints(endpoints(&cluster.nodes));
        wait_settled(&cluster.nodes.iter().collect::<Vec<_>>());
        clients.wait_writes(20);
    }
    // Those go that were there from the beginning: every key has to move.
    let mut nodes: Vec<&mut Node> = cluster.nodes.iter_mut().collect();
    for _ in 0..3 {
        let leaver = nodes.remove(0);
        assert_eq!(leaver.post("/gossip/leave", &json!({})).status, 202);
        assert_eq!(leaver.wait_end_within(PATIENCE * 2).code(), Some(0), "{}", leaver.log());
        clients.load().set_endpoints(nodes.iter().map(|node| endpoint(node)).collect());
        wait_settled(&nodes.iter().map(|node| &**node).collect::<Vec<_>>());
        clients.wait_writes(20);
    }
    clients.check(&nodes.iter().map(|node| &**node).collect::<Vec<_>>(), 220);
}
