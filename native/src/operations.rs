//! The log of what clients did through this node lately: bounded, and kept over a restart. Replication makes no entries of
//! its own. For people and for finding conflicts; nothing is decided from it, and losing its tail in a crash loses no data.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_core::event::OperationKind;
use quorate_core::id::{Key, NodeId};
use quorate_core::value::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::clocks::Clocks;
use crate::storage::Store;

/// Entries kept.
const ENTRIES_MAX: usize = 1_000;
/// Longest value kept in an entry, in bytes of its JSON; a longer one is cut.
const VALUE_BYTES_MAX: usize = 256;
/// Entries reach the store in batches, this often at most.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// What a client did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the operations of this node, from 1.
    pub id: u64,
    /// What kind of operation it was.
    #[serde(rename = "type")]
    pub kind: OperationKind,
    /// Of which key.
    pub key: Key,
    /// The value written or read, cut; nothing for a delete or an absent key.
    pub value: Option<Box<RawValue>>,
    /// What the key's clock was after it.
    pub vector_clock: Clocks,
    /// A fingerprint of the key and that clock, the same on every node: 32 hexadecimal digits.
    pub causal_hash: String,
    /// When, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// Through which node.
    pub node_id: NodeId,
    /// How many values the key had after it.
    pub siblings: usize,
}

/// An operation that succeeded, to be logged.
#[derive(Debug)]
pub struct Operation<'a> {
    /// What kind of operation it was.
    pub kind: OperationKind,
    /// Of which key.
    pub key: &'a Key,
    /// The value written or read.
    pub value: Option<&'a Value>,
    /// What the key's clock is now.
    pub clocks: Clocks,
    /// How many values the key has now.
    pub siblings: usize,
}

/// A key whose last entry saw several values.
#[derive(Clone, Debug, Serialize)]
pub struct Conflict {
    /// Which key.
    pub key: Key,
    /// How many values.
    pub siblings: usize,
    /// Its entries in the log.
    pub events: Vec<u64>,
}

/// The log. Clones share it.
#[derive(Clone, Debug)]
pub struct OperationLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: NodeId,
    entries: Mutex<Entries>,
    /// Something was added, or written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    /// The number of the last entry added.
    last: u64,
    /// The number of the last entry that the store has.
    written: u64,
}

impl OperationLog {
    /// Reads what the store remembers, and writes what is added to it from now on.
    ///
    /// # Errors
    /// When no thread can be started. Entries that cannot be read are left out.
    pub fn open(node: NodeId, store: Store) -> io::Result<Self> {
        let rows = store.operations().unwrap_or_else(|error| {
            tracing::warn!("the log of operations cannot be read, and begins anew: {error}");
            Vec::new()
        });
        let last = rows.last().map_or(0, |(number, _)| *number);
        let first_row = rows.first().map_or(1, |(number, _)| *number);
        let kept = rows.iter().filter_map(|(_, row)| serde_json::from_slice(row).ok()).collect();
        let entries = Mutex::new(Entries { kept, last, written: last });
        let shared = Arc::new(Shared { node, entries, changed: Condvar::new() });
        let writer = shared.clone();
        std::thread::Builder::new().name("operations".into()).spawn(move || writer.write(&store, first_row))?;
        Ok(Self(shared))
    }

    /// Adds an entry, and says how many the log has then.
    pub fn add(&self, operation: Operation<'_>) -> usize {
        let Operation { kind, key, value, clocks, siblings } = operation;
        let value = value.map(preview);
        let causal_hash = fingerprint(key, &clocks);
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut entries = self.0.entries();
        entries.last += 1;
        let entry = Entry {
            id: entries.last,
            kind,
            key: key.clone(),
            value,
            vector_clock: clocks,
            causal_hash,
            timestamp,
            node_id: self.0.node.clone(),
            siblings,
        };
        entries.kept.push_back(entry);
        if entries.kept.len() > ENTRIES_MAX {
            entries.kept.pop_front();
        }
        self.0.changed.notify_all();
        entries.kept.len()
    }

    /// Waits until the store has every entry, or for `patience`: whichever is first.
    pub fn flush(&self, patience: Duration) {
        let behind = |entries: &mut Entries| entries.written < entries.last;
        // Either way there is nothing more to do.
        let _ = self.0.changed.wait_timeout_while(self.0.entries(), patience, behind);
    }

    /// The entries after `since`, in order.
    #[must_use]
    pub fn since(&self, since: u64) -> Vec<Entry> {
        let entries = self.0.entries();
        entries.kept.iter().filter(|entry| entry.id > since).cloned().collect()
    }

    /// How many entries the log has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.entries().kept.len()
    }

    /// Whether nothing was done yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys whose last entry saw several values, in the order of keys.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let entries = self.0.entries();
        let mut by_key: BTreeMap<&Key, (usize, Vec<u64>)> = BTreeMap::new();
        for entry in &entries.kept {
            let (siblings, events) = by_key.entry(&entry.key).or_default();
            *siblings = entry.siblings;
            events.push(entry.id);
        }
        let several = by_key.into_iter().filter(|(_, (siblings, _))| *siblings > 1);
        several.map(|(key, (siblings, events))| Conflict { key: key.clone(), siblings, events }).collect()
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the store up to the log again and again. What is cut from the log before it was written is never written.
    fn write(&self, store: &Store, mut first_row: u64) {
        loop {
            let mut entries = self.entries();
            while entries.last == entries.written {
                entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
            }
            let (last, written) = (entries.last, entries.written);
            let row = |entry: &Entry| serde_json::to_vec(entry).map(|row| (entry.id, Bytes::from(row))).ok();
            let added = entries.kept.iter().filter(|entry| entry.id > written).filter_map(row).collect();
            let first_kept = entries.kept.front().map_or(last, |entry| entry.id);
            drop(entries);
            let removed = (first_row..first_kept.min(written + 1)).collect();
            first_row = first_row.max(first_kept);
            if let Err(error) = store.log_operations(added, removed) {
                tracing::warn!("the log of operations is not kept any more: {error}");
                return;
            }
            self.entries().written = last;
            self.changed.notify_all();
            std::thread::sleep(WRITE_INTERVAL);
        }
    }
}

/// The value as JSON, cut: JSON as it is, text and other bytes as a JSON string.
fn preview(value: &Value) -> Box<RawValue> {
    let text = String::from_utf8_lossy(&value.bytes[..value.bytes.len().min(VALUE_BYTES_MAX)]);
    if value.bytes.len() <= VALUE_BYTES_MAX
        && value.content_type.is_json()
        && let Ok(json) = RawValue::from_string(text.clone().into_owned())
    {
        return json;
    }
    let shown = if value.bytes.len() > VALUE_BYTES_MAX { format!("{text}…") } else { text.into_owned() };
    serde_json::value::to_raw_value(&shown).expect("a text is JSON")
}

fn fingerprint(key: &Key, clocks: &Clocks) -> String {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    for (node, count) in &clocks.clocks {
        // A byte that no name holds ends it.
        hash.update([0]);
        hash.update(node.as_bytes());
        hash.update([0]);
        hash.update(count.to_be_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use quorate_core::value::ContentType;

    use super::*;
    use crate::config::{Durability, StorageKind};

    fn log(store: &Store) -> OperationLog {
        OperationLog::open("node-1".parse().expect("good"), store.clone()).expect("starts")
    }

    fn add(log: &OperationLog, key: &str, value: Option<&Value>, siblings: usize) -> usize {
        let key = Key::new(key).expect("good");
        let clocks = Clocks { clocks: [("node-1".to_owned(), 7)].into() };
        log.add(Operation { kind: OperationKind::Put, key: &key, value, clocks, siblings })
    }

    #[test]
    fn the_last_thousand_are_kept_over_a_restart_and_numbers_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), StorageKind::Lsm, Durability::Sync).expect("opens");
        let first = log(&store);
        for _ in 0..2_500 {
            add(&first, "k", Some(&Value::json("1")), 1);
        }
        let rows = || store.operations().expect("reads").iter().map(|(number, _)| *number).collect::<Vec<_>>();
        first.flush(Duration::from_secs(20));
        assert_eq!(rows(), (1_501..=2_500).collect::<Vec<_>>());
        let second = log(&store);
        assert_eq!(add(&second, "k", None, 1), ENTRIES_MAX);
        let ids: Vec<_> = second.since(2_498).iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [2_499, 2_500, 2_501]);
        second.flush(Duration::from_secs(20));
        assert_eq!(rows(), (1_502..=2_501).collect::<Vec<_>>());
    }

    #[test]
    fn values_are_shown_as_json_and_cut() {
        let long = format!("\"{}\"", "ä".repeat(400));
        let text = |value: &Value| preview(value).get().to_owned();
        let plain = |bytes: &'static [u8]| Value {
            content_type: ContentType::new("text/plain").expect("good"),
            bytes: Bytes::from_static(bytes),
        };
        assert_eq!(text(&Value::json("{\"a\": 1}")), "{\"a\": 1}");
        assert_eq!(text(&plain(b"{}")), "\"{}\"");
        assert_eq!(text(&plain(b"\xff\"")), "\"\u{fffd}\\\"\"");
        let cut = text(&Value::json(long));
        assert!(cut.ends_with("…\"") && cut.len() < 300, "{cut}");
    }

    #[test]
    fn a_conflict_lasts_until_an_entry_sees_one_value() {
        let log = log(&Store::in_memory());
        add(&log, "b", None, 2);
        add(&log, "a", None, 1);
        add(&log, "a", None, 3);
        let found: Vec<_> = log.conflicts().iter().map(|c| (c.key.to_string(), c.siblings, c.events.clone())).collect();
        assert_eq!(found, [("a".into(), 3, vec![2, 3]), ("b".into(), 2, vec![1])]);
        add(&log, "a", None, 1);
        add(&log, "b", None, 1);
        assert!(log.conflicts().is_empty());
    }

    #[test]
    fn the_fingerprint_tells_keys_and_clocks_apart() {
        let clocks = |pairs: &[(&str, u64)]| Clocks {
            clocks: pairs.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect(),
        };
        let key = |text: &str| Key::new(text).expect("good");
        let base = fingerprint(&key("k"), &clocks(&[("a", 1)]));
        assert_eq!(base.len(), 32);
        assert_eq!(base, fingerprint(&key("k"), &clocks(&[("a", 1)])));
        for other in [
            fingerprint(&key("l"), &clocks(&[("a", 1)])),
            fingerprint(&key("k"), &clocks(&[("a", 2)])),
            fingerprint(&key("k"), &clocks(&[("a", 1), ("b", 1)])),
        ] {
            assert_ne!(base, other);
        }
    }
}
