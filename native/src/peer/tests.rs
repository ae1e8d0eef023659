//! Nodes' connections over real sockets on this machine.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::get;
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// Hands on whatever comes; the word `bad` is a message it cannot read.
struct Collector {
    messages: mpsc::Sender<(NodeId, Bytes)>,
    refusals: mpsc::Sender<String>,
}

impl Receive for Collector {
    async fn receive(&self, from: &NodeId, frame: Bytes) -> Result<(), String> {
        if frame == "bad" {
            return Err("bad is no message".into());
        }
        self.messages.send((from.clone(), frame)).await.map_err(|_| "the test is over".into())
    }

    async fn refused(&self, _by: &NodeId, reason: &str) {
        self.refusals.send(reason.into()).await.expect("the test listens");
    }
}

struct TestNode {
    peers: Peers<Collector>,
    id: NodeId,
    address: Address,
    messages: mpsc::Receiver<(NodeId, Bytes)>,
    refusals: mpsc::Receiver<String>,
}

impl TestNode {
    async fn start(name: &str, cluster: &str) -> Self {
        Self::with_secret(name, cluster, None).await
    }

    async fn with_secret(name: &str, cluster: &str, secret: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: Address = listener.local_addr().expect("bound").to_string().parse().expect("good");
        let id: NodeId = name.parse().expect("a good name");
        let identity = PeerIdentity {
            node: id.clone(),
            cluster: cluster.parse().expect("a good name"),
            address: address.clone(),
            instance: 1,
            secret: secret.map(|secret| Secret::new(secret.as_bytes())),
            tls: None,
        };
        let (messages_in, messages) = mpsc::channel(1_000);
        let (refusals_in, refusals) = mpsc::channel(1_000);
        let peers = Peers::new(identity, Collector { messages: messages_in, refusals: refusals_in });
        let door = peers.clone();
        let accept = async move |mut request: Request| {
            upgrade(&door, &mut request, ()).unwrap_or_else(|| StatusCode::UPGRADE_REQUIRED.into_response())
        };
        let router = Router::new().route(PATH, get(async move |request: Request| accept(request).await));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { peers, id, address, messages, refusals }
    }

    async fn next(&mut self) -> (NodeId, Bytes) {
        timeout(Duration::from_secs(10), self.messages.recv()).await.expect("in time").expect("open")
    }

    fn knows(&self, other: &Self) {
        self.peers.set_address(other.id.clone(), other.address.clone());
    }
}

#[tokio::test]
async fn messages_come_in_order_on_both_lanes_and_both_ways() {
    let (mut one, mut other) = (TestNode::start("a", "c").await, TestNode::start("b", "c").await);
    one.knows(&other);
    other.knows(&one);
    for number in 0..500_u32 {
        one.peers.send(&other.id, Lane::Data, number.to_be_bytes().to_vec().into());
    }
    for number in 0..500_u32 {
        assert_eq!(other.next().await, (one.id.clone(), number.to_be_bytes().to_vec().into()));
    }
    one.peers.send(&other.id, Lane::Membership, "hello".into());
    assert_eq!(other.next().await, (one.id.clone(), "hello".into()));
    other.peers.contact(one.address.clone(), "stranger".into());
    assert_eq!(one.next().await, (other.id.clone(), "stranger".into()));
}

#[tokio::test]
async fn a_message_of_many_megabytes_comes_whole() {
    let (one, mut other) = (TestNode::start("a", "c").await, TestNode::start("b", "c").await);
    one.knows(&other);
    let large: Bytes = (0..20_000_000_u32).map(|index| index.to_le_bytes()[index as usize % 4]).collect();
    one.peers.send(&other.id, Lane::Data, large.clone());
    assert!(other.next().await.1 == large);
}

#[tokio::test]
async fn what_cannot_be_sent_is_dropped_and_counted_and_the_link_goes_on_later() {
    let (one, mut other) = (TestNode::start("a", "c").await, TestNode::start("b", "c").await);
    one.peers.send(&other.id, Lane::Data, "address unknown".into());
    assert_eq!(one.peers.counters().dropped.load(Ordering::Relaxed), 1);
    one.peers.send(&other.id, Lane::Data, vec![0; 5_000_000].into());
    one.peers.set_address(other.id.clone(), "127.0.0.1:1".parse().expect("good"));
    one.peers.send(&other.id, Lane::Data, "nobody listens".into());
    one.knows(&other);
    one.peers.send(&other.id, Lane::Membership, vec![0; 5_000_000].into());
    one.peers.send(&other.id, Lane::Membership, "fits".into());
    assert_eq!(other.next().await.1, "fits");
    let all_counted = async {
        while one.peers.counters().dropped.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), all_counted).await.expect("counted in time");
}

#[tokio::test]
async fn a_message_that_is_none_ends_the_connection_and_nothing_else() {
    let (one, mut other) = (TestNode::start("a", "c").await, TestNode::start("b", "c").await);
    one.knows(&other);
    one.peers.send(&other.id, Lane::Data, "bad".into());
    // The link notices and connects anew; what is sent meanwhile may be lost.
    let until_through = async {
        loop {
            one.peers.send(&other.id, Lane::Data, "good".into());
            tokio::select! {
                message = other.messages.recv() => return message.expect("open"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    let (_, message) = timeout(Duration::from_secs(10), until_through).await.expect("in time");
    assert_eq!(message, "good");
    assert_eq!(other.peers.counters().malformed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nodes_of_other_clusters_and_namesakes_are_refused_with_the_reason() {
    let mut one = TestNode::start("a", "blue").await;
    let other = TestNode::start("b", "red").await;
    one.peers.contact(other.address.clone(), "hello".into());
    let reason = timeout(Duration::from_secs(10), one.refusals.recv()).await.expect("in time").expect("open");
    assert!(reason.contains("red") && reason.contains("blue"), "{reason}");

    let listener = TestNode::start("a", "blue").await;
    let mut namesake = TestNode::start("b", "blue").await;
    let identity = PeerIdentity { node: one.id.clone(), instance: 2, ..namesake.peers.0.identity.clone() };
    let (messages, refusals) = (mpsc::channel(1).0, mpsc::channel(1));
    namesake.peers = Peers::new(identity, Collector { messages, refusals: refusals.0 });
    namesake.refusals = refusals.1;
    namesake.peers.contact(listener.address.clone(), "hello".into());
    let reason = timeout(Duration::from_secs(10), namesake.refusals.recv()).await.expect("in time").expect("open");
    assert!(reason.contains("is taken") && reason.contains("--node-id"), "{reason}");
}

#[tokio::test]
async fn nodes_that_know_the_same_secret_talk_and_no_others_do() {
    let secrets = [None, Some("one secret of many"), Some("another one of many")];
    for (opener, accepter) in secrets.into_iter().flat_map(|one| secrets.map(|other| (one, other))) {
        let mut one = TestNode::with_secret("a", "c", opener).await;
        let mut other = TestNode::with_secret("b", "c", accepter).await;
        one.peers.contact(other.address.clone(), "hello".into());
        let outcome = async {
            tokio::select! {
                (from, message) = other.next() => Ok((from, message)),
                refusal = one.refusals.recv() => Err(refusal.expect("open")),
            }
        };
        match timeout(Duration::from_secs(10), outcome).await.expect("in time") {
            Ok(heard) => {
                assert_eq!(heard, (one.id.clone(), "hello".into()));
                assert_eq!(opener, accepter);
            }
            Err(reason) => {
                assert!(opener != accepter && reason.contains("--peer-secret-file"), "{reason}");
                assert!(!reason.contains("of many"), "{reason}");
            }
        }
    }
}

/// Somebody who has heard how others proved themselves, and says the same again.
#[tokio::test]
async fn what_proved_one_connection_proves_no_other() {
    let node = TestNode::with_secret("b", "c", Some("one secret of many")).await;
    let secret = Secret::new(b"one secret of many");
    let hello = handshake::encode(&handshake::Hello {
        cluster: "c".parse().expect("good"),
        node: "a".parse().expect("good"),
        instance: 1,
        address: "127.0.0.1:1".parse().expect("good"),
        lane: Lane::Data,
        nonce: [7; 32],
        has_secret: true,
    });
    let mut proven = None;
    for is_replay in [false, true] {
        let (mut near, far) = tokio::io::duplex(65_536);
        let peers = node.peers.clone();
        tokio::spawn(async move { peers.serve(far).await });
        frame::write(&mut near, &hello).await.expect("writes");
        let challenge = frame::read(&mut near, 4_096).await.expect("reads").expect("a challenge");
        let proof = *proven.get_or_insert_with(|| secret.proof(secret::Side::Opener, &hello, &challenge));
        frame::write(&mut near, &handshake::encode(&proof)).await.expect("writes");
        let verdict = frame::read(&mut near, 4_096).await.expect("reads").expect("a verdict");
        let verdict = handshake::decode(&verdict).expect("good");
        assert_eq!(matches!(verdict, handshake::Verdict::Refused { .. }), is_replay, "{verdict:?}");
    }
}
