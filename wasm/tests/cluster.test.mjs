// The package as a program in Node uses it: a whole cluster, made of plain objects.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { test } from "node:test";

const path = process.env.QUORATE_WASM;
if (!path) throw new Error("QUORATE_WASM is not set: run `cargo xtask test --only wasm`");
const { Cluster, hashes } = createRequire(import.meta.url)(path);

const SEEDS = 200;
const READY_MS_MAX = 10_000;
const ANSWER_MS_MAX = 10_000;

/** A cluster whose nodes are all ready. */
function ready(options) {
  const cluster = new Cluster(options);
  while (cluster.view().nodes.some((node) => node.not_ready !== null)) {
    assert.ok(cluster.now < READY_MS_MAX, "it should be ready by now");
    cluster.run(50);
  }
  return cluster;
}

/** Runs until the operation has ended, and gives its outcome. */
function outcome(cluster, id) {
  const until = cluster.now + ANSWER_MS_MAX;
  for (;;) {
    const operation = cluster.view().operations.find((operation) => operation.id === id);
    if (operation.outcome) return operation.outcome;
    assert.ok(cluster.now < until, `operation ${id} should have ended by now`);
    cluster.run(10);
  }
}

test("what is written at one node is read at another", () => {
  const cluster = ready({ nodes: 5, seed: 7 });
  assert.equal(outcome(cluster, cluster.put("A", "cart", "milk")), "written");
  assert.deepEqual(outcome(cluster, cluster.get("D", "cart")), { found: ["milk"] });
  assert.equal(outcome(cluster, cluster.delete("B", "cart", { client: "bob" })), "written");
  assert.deepEqual(outcome(cluster, cluster.get("E", "cart")), { found: [] });
});

test("a key shows its owners and what they hold", () => {
  const cluster = ready({ nodes: 5, n: 3 });
  outcome(cluster, cluster.put("A", "cart", "milk"));
  cluster.run(1_000);
  const key = cluster.key("cart");
  assert.equal(new Set(key.primaries).size, 3);
  assert.deepEqual(key.replicas.map((replica) => replica.node).sort(), [...key.primaries].sort());
  for (const replica of key.replicas) assert.deepEqual(replica.versions.map((version) => version.value), ["milk"]);
});

test("a crashed node is found dead, and is back after its restart", () => {
  const cluster = ready({ nodes: 3 });
  const seenByA = () => cluster.view().nodes[0].members.find((member) => member.node === "B").state;
  cluster.crash("B", { disk: "kept" });
  assert.equal(cluster.view().nodes[1].process, "crashed");
  cluster.run(20_000);
  assert.equal(seenByA(), "Dead");
  cluster.restart("B");
  cluster.run(20_000);
  assert.equal(seenByA(), "Alive");
});

test("a partition stops messages until it is healed", () => {
  const cluster = ready({ nodes: 3 });
  cluster.partition([["A"], ["B", "C"]]);
  assert.equal(cluster.view().links.filter((link) => link.cut).length, 4);
  assert.ok("failed" in outcome(cluster, cluster.put("A", "cart", "milk")), "one of three is no quorum of two");
  cluster.heal();
  assert.deepEqual(cluster.view().links, []);
  cluster.run(30_000);
  assert.equal(outcome(cluster, cluster.put("A", "cart", "milk")), "written");
});

test("one direction of one link can be cut or made lossy", () => {
  const cluster = ready({ nodes: 3 });
  cluster.link("A", "B", { down: true });
  cluster.link("B", "C", { loss: 0.25 });
  const links = cluster.view().links.map(({ from, to, cut, loss_per_million }) => ({ from, to, cut, loss_per_million }));
  assert.deepEqual(links, [
    { from: "A", to: "B", cut: true, loss_per_million: 0 },
    { from: "B", to: "C", cut: false, loss_per_million: 250_000 },
  ]);
});

test("events are numbered, so that each is seen once", () => {
  const cluster = ready({ nodes: 2 });
  const first = cluster.events();
  assert.equal(first.next, first.events.length);
  assert.ok(first.events.some((event) => "founded" in Object(event.kind)));
  cluster.crash("B");
  const second = cluster.events(first.next);
  assert.deepEqual(second.events.map((event) => event.kind), ["crashed"]);
  assert.deepEqual(cluster.events(second.next).events, []);
});

test("a fork goes its own way from the same moment", () => {
  const cluster = ready({ nodes: 3 });
  const same = cluster.fork();
  const other = cluster.fork();
  other.put("A", "cart", "milk");
  for (const each of [cluster, same, other]) each.run(1_000);
  assert.equal(cluster.hash(), same.hash());
  assert.notEqual(cluster.hash(), other.hash());
  assert.deepEqual(cluster.view(), same.view());
});

test("everything it gives is plain: no BigInt, no Map, nothing that JSON loses", () => {
  const cluster = ready({ nodes: 3 });
  cluster.put("A", "cart", "milk");
  cluster.run(5);
  for (const value of [cluster.view(), cluster.key("cart"), cluster.events()]) {
    assert.deepEqual(JSON.parse(JSON.stringify(value)), value);
  }
  assert.match(cluster.hash(), /^[0-9a-f]{16}$/);
  assert.equal(typeof cluster.step(), "number");
});

test("an error says what was wrong and what would be right", () => {
  const cluster = new Cluster({ nodes: 3 });
  for (const [wrong, message] of [
    [() => new Cluster({ nodes: 65 }), /whole number from 1 to 64, not 65/],
    [() => new Cluster({ node: 3 }), /have no "node"; there are nodes, seed/],
    [() => new Cluster("five"), /an object with any of nodes/],
    [() => new Cluster({ seed: "x" }), /options of a cluster/],
    [() => new Cluster({ r: 9 }), /quorums must be 1 to the replication factor/],
    [() => cluster.put("Z", "cart", "milk"), /no node "Z"; there are A, B, C/],
    [() => cluster.put("A", "", "milk"), /a key must be 1 to 1024 bytes/],
    [() => cluster.get("A", "k".repeat(1_025)), /this one has 1025/],
    [() => cluster.crash("A", { disk: "burnt" }), /burnt/],
    [() => cluster.link("A", "B", { delay: 5 }), /have no "delay"; there are down, loss/],
    [() => cluster.partition("A"), /lists of node names/],
    [() => cluster.run(-1), /0 to 86400000 milliseconds, not -1/],
    [() => cluster.run(Number.NaN), /milliseconds/],
  ]) {
    assert.throws(wrong, (error) => error instanceof Error && message.test(error.message), String(wrong));
  }
});

test(`${SEEDS} seeds make the same runs here and natively`, () => {
  const arguments_ = ["run", "--quiet", "--package=quorate-wasm", "--example=fingerprints", "--", "0", String(SEEDS)];
  const natively = execFileSync(process.env.CARGO ?? "cargo", arguments_, { encoding: "utf8" }).trim().split("\n");
  assert.equal(natively.length, SEEDS);
  assert.deepEqual(hashes(0, SEEDS), natively);
});
