//! The shapes of the plain objects, for TypeScript. Times are nanoseconds since the cluster began.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** How a cluster begins. Five nodes, three copies, quorums of two and `tokens:8` unless said otherwise. */
export interface ClusterOptions {
  /** Nodes at the beginning, 1 to 64, named `A`, `B`, … */
  nodes?: number;
  /** Everything random comes from here. */
  seed?: number;
  /** Copies of each key, 1 to 16. */
  n?: number;
  /** Answers a read waits for, 1 to n. */
  r?: number;
  /** Durable copies a write waits for, 1 to n. */
  w?: number;
  /** How the ring is cut: `tokens:K` or `partitions:K`. */
  placement?: string;
  /** The network between all nodes; `loss` is a share, 0 to 1. */
  network?: { latency_min_ms?: number; latency_max_ms?: number; loss?: number };
}
export interface RequestOptions {
  /** Who asks. */
  client?: string;
  /** Whether a write replaces exactly what this client last saw of the key. */
  informed?: boolean;
}
export interface CrashOptions { disk?: "kept" | "lost" }
/** `latency` is in milliseconds, on top of the network's own. */
export interface LinkOptions { down?: boolean; loss?: number; latency?: number }

/** Nanoseconds since the cluster began. */
export type Time = number;
export type MemberState = "Alive" | "Suspect" | "Dead" | "Left";
export type OperationKind = "get" | "put" | "delete";
export type MessageKind =
  | "client" | "client_answer" | "write" | "write_answer" | "read" | "read_answer" | "forward" | "forward_answer"
  | "repair" | "transfer" | "transfer_answer" | "gossip" | "probe" | "probe_answer" | "join" | "layout" | "talk";
export type LossReason = "loss" | "cut" | "down" | "full";
export type Endpoint = { node: string } | { client: string };
export interface EventId { origin: number; number: number }

export interface ClusterView {
  now: Time;
  nodes: NodeView[];
  ring: RingView;
  messages: MessageView[];
  links: LinkView[];
  operations: OperationView[];
}
export interface NodeView {
  node: string;
  address: string;
  zone: string;
  process: "running" | "crashed" | "stopped";
  not_ready: string | null;
  incarnation: number;
  boot: number;
  actor: string;
  layout_version: number;
  /** Hints in its store, by the owner they are kept for. */
  hints: Record<string, number>;
  keys: number;
  members: MemberView[];
}
export interface MemberView {
  node: string;
  state: MemberState;
  stopped: boolean;
  incarnation: number;
  last_seen: Time | null;
}
export interface RingView {
  layout_version: number;
  n: number;
  owners: string[];
  tokens: { hash: number; owner: number }[];
}
export interface MessageView {
  id: number;
  from: Endpoint;
  to: Endpoint;
  kind: MessageKind;
  key: string | null;
  sent_at: Time;
  due_at: Time;
  lost: [Time, LossReason] | null;
  cause: EventId | null;
}
export interface LinkView { from: string; to: string; cut: boolean; loss_per_million: number; since: Time }
export interface OperationView {
  id: number;
  client: string;
  node: string;
  operation: OperationKind;
  key: string;
  value: string | null;
  started_at: Time;
  ended_at: Time | null;
  outcome: "written" | { found: string[] } | { failed: { code: string; message: string } } | null;
  coordinator: string | null;
  votes: VoteView[];
  event: EventId | null;
}
export interface VoteView { node: string; at: Time; count: number; decisive: boolean }
export interface KeyView {
  key: string;
  hash: number;
  primaries: string[];
  fallbacks: string[];
  replicas: { node: string; versions: VersionView[] }[];
}
export interface VersionView {
  issuer: string | null;
  actor: string;
  counter: number;
  value: string | null;
  wall_ms: number;
}
/** One thing that happened. `kind` is a name, or an object with the name as its only field. */
export interface TraceEvent {
  id: EventId;
  cause: EventId | null;
  at: Time;
  node: string;
  kind: string | { [name: string]: unknown };
}
export interface EventPage { next: number; events: TraceEvent[] }
"#;
