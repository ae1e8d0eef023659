//! The data of real nodes: what a kill leaves, what a full, a damaged and a read-only disk mean.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use support::{Cluster, Node, PATIENCE, eventually, free_port, quorate, run};

#[test]
fn a_kill_takes_nothing_that_was_acknowledged_whatever_the_engine_and_the_durability() {
    let root = tempfile::tempdir().expect("a directory");
    for storage in ["lsm", "btree"] {
        for durability in ["sync", "interval:1h", "os"] {
            let name = format!("{storage}-{}", durability.replace(':', "-"));
            let mut node = Node::new(root.path(), &name, &["--storage", storage, "--durability", durability]);
            node.start(&[]);
            node.wait_ready();
            let status = node.get("/status").json();
            assert_eq!(
                (&status["storage"]["engine"], &status["storage"]["durability"]),
                (&json!(storage), &json!(durability))
            );
            for number in 0..20 {
                assert_eq!(node.write(&format!("key-{number}"), &json!(number)).status, 200);
            }
            assert_eq!(node.request("DELETE", "/api/v1/data/key-0", &[], b"").status, 200);
            node.kill();
            node.start(&[]);
            node.wait_ready();
            assert_eq!(node.read("key-0").status, 404);
            for number in 1..20 {
                assert_eq!(node.read(&format!("key-{number}")).json()["value"], json!(number), "{name}");
            }
            assert_eq!(node.terminate().code(), Some(0));
        }
    }
}

#[test]
fn a_directory_of_another_engine_is_refused_with_the_way_out() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::new(root.path(), "node", &["--storage", "btree"]);
    node.start(&[]);
    node.wait_ready();
    assert_eq!(node.terminate().code(), Some(0));
    let directory = node.directory.to_str().expect("text");
    let refused = refusal(directory);
    for part in [directory, "--storage btree", "not lsm", "--data-dir"] {
        assert!(refused.contains(part), "{part:?} is not in {refused}");
    }
}

/// What a start with the usual engine says of a directory that it does not take.
fn refusal(directory: &str) -> String {
    let port = free_port().to_string();
    let output = run(&mut quorate(&["serve", "--node-id", "node", "--port", &port, "--data-dir", directory]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// A file system in memory, for tests that may have one; others have nothing to say.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).expect("makes");
        let made = mount(&["-t", "tmpfs", "-o", "size=1g", "tmpfs"], &path);
        if !made {
            eprintln!("this test needs to mount a file system, and may not");
        }
        made.then_some(Self(path))
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0));
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(arguments).arg(path).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It goes with the directory otherwise, or stays until the machine stops.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_takes_no_writes_and_serves_reads_and_deletions() {
    let root = tempfile::tempdir().expect("a directory");
    for storage in ["lsm", "btree"] {
        let Some(disk) = Mount::new(root.path().join(storage)) else { return };
        let mut node = Node::new(&disk.0, "node", &["--storage", storage]);
        node.start(&[]);
        node.wait_ready();
        for key in ["kept", "deleted"] {
            assert_eq!(node.write(key, &json!(1)).status, 200);
        }
        disk.remount("size=150m");
        for key in ["new", "kept"] {
            let refused = node.write(key, &json!(2));
            assert_eq!((refused.status, refused.code().as_str()), (507, "disk_full"), "{refused:?}");
        }
        assert_eq!(node.read("kept").json()["value"], json!(1));
        assert_eq!(node.read("new").status, 404);
        for _ in 0..2 {
            assert_eq!(node.request("DELETE", "/api/v1/data/deleted", &[], b"").status, 200);
        }
        assert_eq!(node.read("deleted").status, 404);
        disk.remount("size=1g");
        assert_eq!(node.write("new", &json!(2)).status, 200);
        assert_eq!(node.terminate().code(), Some(0));
    }
}

#[test]
fn a_node_with_a_full_disk_can_still_hand_its_data_over_and_leave() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(disk) = Mount::new(root.path().join("disk")) else { return };
    let one_copy = ["--replication-factor", "1"];
    let mut stays = Node::new(root.path(), "stays", &one_copy);
    let mut leaves = Node::new(&disk.0, "leaves", &one_copy);
    stays.start(&[]);
    stays.wait_ready();
    leaves.start(&[stays.address()]);
    leaves.wait_ready();
    eventually("both are owners", PATIENCE, || {
        let owners = stays.get("/api/v1/ring").json()["nodes"].as_array().map(Vec::len);
        (owners == Some(2)).then_some(())
    });
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        assert_eq!(stays.write(key, &json!(key)).status, 200);
    }
    assert!(leaves.get("/status").json()["storage"]["keys"].as_u64() > Some(0));
    disk.remount("size=150m");
    assert_eq!(leaves.post("/gossip/leave", &json!({})).status, 202);
    assert_eq!(leaves.wait_end_within(PATIENCE).code(), Some(0), "{}", leaves.log());
    for key in &keys {
        assert_eq!(stays.read(key).json()["value"], json!(key));
    }
}

#[test]
fn a_read_only_disk_is_refused_at_the_start_with_the_way_out() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(disk) = Mount::new(root.path().join("disk")) else { return };
    let mut node = Node::new(&disk.0, "node", &[]);
    node.start(&[]);
    node.wait_ready();
    assert_eq!(node.terminate().code(), Some(0));
    disk.remount("ro");
    for directory in [node.directory.clone(), disk.0.join("another")] {
        let refused = refusal(directory.to_str().expect("text"));
        for part in ["cannot be written", "Read-only file system", "--data-dir"] {
            assert!(refused.contains(part), "{part:?} is not in {refused}");
        }
    }
}

#[test]
fn a_damaged_object_is_healed_from_the_others_and_counted() {
    let mut cluster = Cluster::start(3, &["--storage", "btree"]);
    let value = "as it was written ".repeat(20);
    assert_eq!(cluster.nodes[0].request("PUT", "/api/v1/data/key?w=3", &[], value.as_bytes()).status, 200);
    assert_eq!(cluster.nodes[1].terminate().code(), Some(0));
    let file = cluster.nodes[1].directory.join("store/rows.redb");
    let mut content = fs::read(&file).expect("reads");
    let places: Vec<usize> =
        content.windows(18).enumerate().filter(|(_, part)| part == b"as it was written ").map(|(at, _)| at).collect();
    assert!(places.len() >= 20, "the value is there as it was written");
    places.into_iter().for_each(|at| content[at] ^= 1);
    fs::write(&file, content).expect("writes");
    let seeds = cluster.addresses();
    cluster.nodes[1].start(&seeds);
    cluster.wait_whole();
    let counted = |name: &str| {
        let text = String::from_utf8(cluster.nodes[1].get("/metrics").body).expect("text");
        text.lines().any(|line| line.strip_prefix(name).is_some_and(|count| count.trim() != "0"))
    };
    eventually("the object is healed", PATIENCE, || {
        assert!(matches!(cluster.nodes[1].read("key").status, 200 | 503));
        counted("quorate_healed_objects_total ").then_some(())
    });
    assert!(counted("quorate_damaged_objects_total "));
    let alone = cluster.nodes[1].request("GET", "/api/v1/data/key?r=3", &[("Accept", "application/octet-stream")], b"");
    assert_eq!((alone.status, alone.body), (200, value.into_bytes()));
}
