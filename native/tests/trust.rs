//! Which nodes trust each other, and whom clients trust: a secret of the cluster, and certificates.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use support::{Cluster, Node, PATIENCE, START_TIMEOUT, eventually, quorate, run};

/// A file with a secret; gives its path.
fn secret(root: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = root.path().join(name);
    fs::write(&path, text).expect("writes");
    path.to_str().expect("text").to_owned()
}

/// What keeps a node out, once it says so.
fn refusal(node: &Node) -> String {
    eventually("it is refused", PATIENCE, || {
        let answer = support::http::send(node.port, "GET", "/ready", &[], b"").ok()?;
        let message = answer.message();
        (answer.status == 503 && !message.contains("no seed has answered")).then_some(message)
    })
}

#[test]
fn only_nodes_that_know_the_secret_are_let_in_and_both_sides_say_why() {
    let root = tempfile::tempdir().expect("a directory");
    let right = secret(&root, "right", "correct horse battery staple\n");
    let wrong = secret(&root, "wrong", "incorrect horse battery staple\n");
    let mut cluster = Cluster::start(2, &["--peer-secret-file", &right]);
    for (id, flags, part) in [
        ("without", vec![], "knows none"),
        ("mistaken", vec!["--peer-secret-file", wrong.as_str()], "know different secrets"),
    ] {
        let mut stranger = Node::new(root.path(), id, &flags);
        stranger.start(&cluster.addresses());
        let message = refusal(&stranger);
        assert!(message.contains(part) && message.contains("--peer-secret-file"), "{message}");
        assert!(stranger.log().contains("no membership between"), "{}", stranger.log());
        let said = format!("{id} has not proven that it belongs to this cluster");
        let logs: String = cluster.nodes.iter().map(Node::log).collect();
        assert!(logs.contains(&said), "{logs}");
        assert!(!logs.contains("horse") && !stranger.log().contains("horse"));
    }
    assert_eq!(cluster.nodes[0].get("/gossip/members").json()["total_members"], 2);
    let mut friend = cluster.node("node-3", &["--peer-secret-file", &right]);
    friend.start(&cluster.addresses());
    cluster.nodes.push(friend);
    cluster.wait_whole();
    assert_eq!(cluster.nodes[2].write("key", &json!("through all three")).status, 200);
    assert_eq!(cluster.nodes[0].read("key").json()["value"], "through all three");
}

#[test]
fn a_node_that_asks_for_the_secret_does_not_join_those_who_know_none() {
    let root = tempfile::tempdir().expect("a directory");
    let file = secret(&root, "secret", "correct horse battery staple");
    let cluster = Cluster::start(1, &[]);
    let mut careful = Node::new(root.path(), "careful", &["--peer-secret-file", &file]);
    careful.start(&cluster.addresses());
    let message = refusal(&careful);
    assert!(message.contains("node-1 knows none"), "{message}");
    assert_eq!(cluster.nodes[0].get("/gossip/members").json()["total_members"], 1);
}

/// An authority, and a certificate of it for this machine with its key: the paths of the three files.
struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn make(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        let authority_key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&authority_key).expect("signs");
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("signs");
        let write = |part: &str, text: String| {
            let path = directory.join(format!("{name}-{part}.pem"));
            fs::write(&path, text).expect("writes");
            path
        };
        Self {
            authority: write("ca", authority.pem()),
            certificate: write("cert", certificate.pem()),
            key: write("key", key.serialize_pem()),
        }
    }

    fn flags(&self) -> Vec<&str> {
        let files = [("--tls-cert", &self.certificate), ("--tls-key", &self.key), ("--tls-ca", &self.authority)];
        files.into_iter().flat_map(|(flag, file)| [flag, file.to_str().expect("text")]).collect()
    }
}

/// What the command line gets from a node over TLS, or what it says instead.
fn over_tls(node: &Node, authority: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = run(quorate(arguments).args(["--endpoint", &node.address()]).env("QUORATE_TLS_CA", authority));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn wait_alive(node: &Node, authority: &Path, count: u64) {
    eventually(&format!("{} sees {count} members", node.id), START_TIMEOUT, || {
        let status: Value = serde_json::from_str(&over_tls(node, authority, &["status", "--json"]).ok()?).ok()?;
        (status["ready"] == true && status["cluster"]["alive"] == count).then_some(())
    });
}

#[test]
fn nodes_and_clients_speak_tls_with_those_they_know() {
    let root = tempfile::tempdir().expect("a directory");
    let (own, foreign) = (Certificates::make(root.path(), "own"), Certificates::make(root.path(), "foreign"));
    let mut nodes: Vec<Node> =
        (1..=2).map(|number| Node::new(root.path(), &format!("node-{number}"), &own.flags())).collect();
    let seed = vec![nodes[0].address()];
    nodes.iter_mut().for_each(|node| node.start(&seed));
    nodes.iter().for_each(|node| wait_alive(node, &own.authority, 2));

    over_tls(&nodes[0], &own.authority, &["put", "key", "1", "--w", "all"]).expect("it is written");
    assert_eq!(over_tls(&nodes[1], &own.authority, &["get", "key"]), Ok("1\n".into()));
    let message = over_tls(&nodes[0], &foreign.authority, &["get", "key"]).expect_err("not believed");
    assert!(message.contains("over TLS") && message.contains("certificate"), "{message}");
    let members = over_tls(&nodes[1], &own.authority, &["members"]).expect("works");
    assert!(members.contains(&nodes[0].address()), "{members}");
    let bench = ["bench", "--connections", "2", "--keys", "4", "--for", "100ms", "--json"];
    let figures: Value =
        serde_json::from_str(&over_tls(&nodes[0], &own.authority, &bench).expect("works")).expect("JSON");
    assert!(figures["failed"] == 0 && figures["operations"] != 0, "{figures}");

    // Who speaks no TLS is told so, a node as well as a client.
    let plain = nodes[0].get("/api/v1/status");
    assert_eq!((plain.status, plain.code().as_str()), (400, "invalid_argument"));
    assert!(plain.message().contains("https"), "{}", plain.message());
    let mut without = Node::new(root.path(), "without", &[]);
    let mut stranger = Node::new(root.path(), "stranger", &foreign.flags());
    without.start(&seed);
    stranger.start(&seed);
    for (node, part) in [(&without, "status 400"), (&stranger, "invalid peer certificate")] {
        eventually("it says so", PATIENCE, || node.log().contains(part).then_some(()));
        assert!(node.log().contains(&nodes[0].address()), "{}", node.log());
    }
    wait_alive(&nodes[0], &own.authority, 2);
    let logs: String = nodes.iter().map(Node::log).collect();
    assert!(logs.contains("listens on https://") && !logs.contains("PRIVATE KEY"), "{logs}");
}

/// Sends a request over TLS without a certificate of the client's, and reads until the server closes.
fn without_certificate(port: u16, authority: &Path, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("good");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = "127.0.0.1".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("good");
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = Vec::new();
    // The server may end the connection without a word of TLS.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_client_without_a_certificate_is_served_but_never_taken_for_a_node() {
    let root = tempfile::tempdir().expect("a directory");
    let own = Certificates::make(root.path(), "own");
    let mut node = Node::new(root.path(), "node", &own.flags());
    node.start(&[]);
    wait_alive(&node, &own.authority, 1);
    let ask = |path: &str, headers: &str| {
        without_certificate(node.port, &own.authority, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    };
    let served = ask("/health", "Connection: close\r\n");
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    let refused = ask("/internal/peer", "Connection: upgrade, close\r\nUpgrade: quorate/1\r\n");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("--tls-ca"), "{refused}");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let root = tempfile::tempdir().expect("a directory");
    let (own, other) = (Certificates::make(root.path(), "own"), Certificates::make(root.path(), "other"));
    let empty = root.path().join("empty.pem");
    fs::write(&empty, "no certificate").expect("writes");
    for (certificate, key, parts) in [
        (&empty, &own.key, vec!["empty.pem", "--tls-cert", "BEGIN CERTIFICATE"]),
        (&own.certificate, &empty, vec!["empty.pem", "--tls-key"]),
        (&own.certificate, &other.key, vec!["cannot be used together"]),
    ] {
        let mut command = quorate(&["serve", "--storage", "memory", "--port", &support::free_port().to_string()]);
        command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key).arg("--tls-ca").arg(&own.authority);
        let output = run(&mut command);
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
