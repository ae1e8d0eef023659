//! Every bound in one place: no queue, loop or message of this crate is without one.

use core::time::Duration;

/// Longest node id, zone and cluster name, in bytes.
pub const NODE_ID_BYTES_MAX: usize = 64;
/// Longest address, in bytes: a DNS name and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Largest value that any configuration may allow, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Largest value by default, in bytes.
pub const VALUE_BYTES_DEFAULT: usize = 1_024 * 1_024;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Most actors in one version vector or sibling set that came from outside.
pub const ACTORS_MAX: usize = 1_000;
/// At this many siblings a write that would add another one is refused; repair is exempt.
pub const SIBLINGS_MAX: usize = 100;
/// Most live versions in a set that came from outside: repairs may pass [`SIBLINGS_MAX`], hostile bytes may not pass this.
pub const SIBLINGS_WIRE_MAX: usize = 10_000;
/// From this many siblings on a key is reported: somebody writes and never merges.
pub const SIBLINGS_WARN: usize = 25;
/// Most names of superseded versions that a store remembers of one key; beyond it the oldest are forgotten.
pub const REQUESTS_REMEMBERED_MAX: usize = 128;
/// Most names of superseded versions in a set that came from outside.
pub const REQUESTS_WIRE_MAX: usize = 10_000;
/// Greatest counter of a dot. Nobody issues so many; a larger one is malformed.
pub const COUNTER_MAX: u64 = 1 << 62;
/// Dots reserved durably at a time: after a crash at most this many counters of a slice are skipped.
pub const DOT_LEASE: u64 = 10_000;
/// A stamp this far ahead of the wall clock is not adopted by the hybrid clock.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(60);
/// Most spans of one actor in one sibling set. Each is the trace of a crash; the actor then closes its oldest gap.
pub const SPANS_PER_ACTOR_MAX: usize = 16;
/// Most prefixes of keys with a strategy of their own.
pub const STRATEGIES_MAX: usize = 64;
/// Most tokens of one node, whatever its weight: about a hundred times the usual share.
pub const TOKENS_PER_NODE_MAX: u32 = 16_384;
/// Most partitions of a ring.
pub const PARTITIONS_MAX: u16 = 1_024;
/// Greatest replication factor.
pub const REPLICATION_MAX: u8 = 16;
/// Most members a node remembers.
pub const MEMBERS_MAX: usize = 10_000;
/// Most versions of the layout that are active at once; the next change waits.
pub const LAYOUTS_ACTIVE_MAX: usize = 4;
/// Most versions that a node knows, those included that only its own store still needs.
pub const LAYOUTS_MAX: usize = 8;
/// Most stores that are remembered as excluded.
pub const EXCLUSIONS_MAX: usize = 1_000;
/// Most tags of a member, and longest tag name or value in bytes.
pub const TAGS_MAX: usize = 16;
/// Longest name or value of a tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// Client requests that one shard has under way; the next one is refused as overloaded.
pub const REQUESTS_MAX: usize = 4_096;
/// Bytes of values that one shard holds for requests under way: those that clients sent and those that replicas answered.
/// While there are as many, the next request is refused as overloaded; reads that are under way already may go beyond.
pub const VALUE_BYTES_UNDER_WAY_MAX: u64 = 64 * 1_024 * 1_024;
/// Writes without a context that may wait for their turn at one key; the next one is refused as overloaded.
pub const KEY_WAITERS_MAX: usize = 256;
/// How often a request may be handed on before it is refused: forwarding is one hop in a settled cluster.
pub const HOPS_MAX: u8 = 3;
/// Fallbacks that one request asks for each owner that it cannot reach, one after the other.
pub const STAND_INS_PER_OWNER_MAX: usize = 3;
/// Hints that one shard has on their way to owners at a time.
pub const HAND_OFFS_MAX: u32 = 64;
/// Bytes of hints on their way at a time (one hint may exceed it alone).
pub const HAND_OFF_BYTES_MAX: u32 = 1_024 * 1_024;
/// Writes handed on to one shard that it remembers, so that one sent again is not done again. With as many that may still
/// be sent again, the next one is refused as overloaded.
pub const FORWARDS_MAX: usize = 65_536;
/// Bytes of the replies to such writes that are remembered; older ones go first, and then a write sent again is not
/// answered.
pub const FORWARD_REPLY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Objects and bytes in one page of a transfer.
pub const PAGE_ROWS_MAX: u32 = 256;
/// Bytes of objects in one page of a transfer (one object may exceed it alone).
pub const PAGE_BYTES_MAX: u32 = 1_024 * 1_024;
/// Most arcs of one slice in one message: far more than a slice has.
pub const ARCS_MAX: usize = 65_536;
/// Most deleted keys of a slice that one look for tombstones takes in.
pub const TOMBSTONES_PER_LOOK: u32 = 1_000;
/// Most objects that one step reads to compare, and most tombstones that it removes.
pub const COLLECTION_ROWS_MAX: u32 = 256;
/// Most comparisons that one shard has begun and not ended; with each peer it is one.
pub const EXCHANGES_MAX: usize = 8;
/// Nodes of a hash tree in one question, and listings of entries.
pub const EXCHANGE_NODES_MAX: usize = 64;
/// Entries of leaves in one question, and those looked at for its answer.
pub const EXCHANGE_ENTRIES_MAX: u32 = 1_024;
/// Differing keys of one round of a comparison: the next ones are looked for when these are repaired.
pub const EXCHANGE_KEYS_MAX: usize = 1_024;
/// Rows of a leaf that is cut by the end of an arc that are summed up at once; a fuller one is listed instead.
pub const CUT_LEAF_ROWS_MAX: u32 = 4_096;
/// Bytes of such rows.
pub const CUT_LEAF_BYTES_MAX: u32 = 16 * 1_024 * 1_024;
/// Parts of leaves whose sums one slice remembers.
pub const CUT_LEAVES_MAX: usize = 4_096;
/// Damaged objects that one shard fetches from their other owners at a time.
pub const HEALS_MAX: usize = 64;
/// Longest time-out that a client may ask for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Longest name of a user event or question, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;
/// Most bytes that an event, a question or an answer carries.
pub const EVENT_BYTES_MAX: usize = 8 * 1_024;
/// Events that a node remembers: for those who missed them, and so that none is heard twice.
pub const EVENTS_REMEMBERED: usize = 512;
/// Events of a node's own that it is still telling; the next one is refused.
pub const EVENTS_UNSENT_MAX: usize = 256;
/// Events in one message.
pub const EVENTS_PER_MESSAGE_MAX: usize = 64;
/// Bytes of events in one message that tells them (one event may exceed it alone).
pub const EVENTS_TOLD_BYTES_MAX: usize = 8 * 1_024;
/// Bytes of events in one message that follows a comparison.
pub const EVENTS_LATE_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of events that one step of a comparison sends; the next comparison finds the rest.
pub const EVENTS_COMPARED_BYTES_MAX: usize = 1_024 * 1_024;
/// Questions that a node has under way, as asker; as many of one asker are remembered by who answers.
pub const QUESTIONS_MAX: usize = 16;
/// Questions that a node remembers having been asked; while there are as many, the next one is not heard.
pub const QUESTIONS_ANSWERED_MAX: usize = 256;
/// Members that one question is sent to at once.
pub const QUESTIONS_SENT_AT_ONCE: usize = 64;

const _: () = assert!(EVENTS_UNSENT_MAX < EVENTS_REMEMBERED);
const _: () = assert!(VALUE_BYTES_DEFAULT <= VALUE_BYTES_MAX);
const _: () = assert!(EXCHANGE_NODES_MAX * 16 <= EXCHANGE_KEYS_MAX);
const _: () = assert!(LAYOUTS_ACTIVE_MAX <= LAYOUTS_MAX);
const _: () = assert!(SIBLINGS_WARN < SIBLINGS_MAX);
const _: () = assert!(REQUESTS_REMEMBERED_MAX < REQUESTS_WIRE_MAX);
const _: () = assert!(SIBLINGS_MAX < SIBLINGS_WIRE_MAX);
const _: () = assert!(DOT_LEASE < COUNTER_MAX);
