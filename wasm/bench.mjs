// How fast the simulated world is as WebAssembly, on one core: `node wasm/bench.mjs SECONDS`, by way of
// `cargo xtask sim --wasm-bench`.
import { createRequire } from "node:module";

const path = process.env.QUORATE_WASM;
if (!path) throw new Error("QUORATE_WASM is not set: run `cargo xtask sim --wasm-bench`");
const { Bench, Gossip } = createRequire(import.meta.url)(path);

const seconds = Number(process.argv[2] ?? 600);
const bench = new Bench(5);
const began = performance.now();
bench.run(seconds);
const took = (performance.now() - began) / 1_000;
console.log("10,000 keys, R = W = 2 of 3, 100 operations a second, gossip, repair and invariants on, no events recorded, one core");
console.log(
  `  5 nodes as WebAssembly: ${seconds} s in ${took.toFixed(1)} s, ${(seconds / took).toFixed(0)} times real time, ` +
    `${bench.things.toLocaleString("en")} events, ${Math.round(bench.things / took).toLocaleString("en")} a second, ` +
    `${Math.round((took * 1e9) / bench.things)} ns each`,
);

const MEMBERS = 1_000;
const GOSSIP_SECONDS = 60;
const gossip = new Gossip(MEMBERS);
const before = gossip.happenings;
const gossipBegan = performance.now();
gossip.run(GOSSIP_SECONDS);
const gossipTook = (performance.now() - gossipBegan) / 1_000;
console.log(
  `${MEMBERS.toLocaleString("en")} gossiping nodes as WebAssembly: ${GOSSIP_SECONDS} s in ${gossipTook.toFixed(1)} s, ` +
    `${(GOSSIP_SECONDS / gossipTook).toFixed(0)} times real time, ` +
    `${Math.round((gossipTook * 1e9) / (gossip.happenings - before))} ns an event`,
);
