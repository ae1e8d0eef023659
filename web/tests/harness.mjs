// What every browser test needs: a browser, somebody who serves the page, and an ear for problems.
// It never waits by sleeping: each wait is for a condition, with a bound.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize, sep } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { chromium } from "playwright-core";

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 12_000;
const POLL_INTERVAL_MS = 50;

const CHROMIUM_ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const CONTENT_TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
};

/** A variable that `cargo xtask test` sets. */
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run \`cargo xtask test --only browser\``);
  return value;
}

/** Starts the browser. */
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: CHROMIUM_ARGUMENTS });
}

/**
 * Opens a tab of its own, with nothing kept from others, and listens for everything that goes wrong in it.
 * `options` are Playwright's for a browser context: `viewport`, `colorScheme`, `reducedMotion`, …
 */
export async function open(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error}`));
  page.on("response", (response) => {
    if (response.status() >= 400) problems.push(`${response.status()}: ${response.url()}`);
  });
  page.on("requestfailed", (request) => problems.push(`${request.failure()?.errorText}: ${request.url()}`));
  return { page, problems, close: () => context.close() };
}

/** Loads the page and waits until the program has drawn its frame. */
export async function load(page, address) {
  await page.goto(address);
  await page.locator("main").first().waitFor({ state: "visible", timeout: START_TIMEOUT_MS });
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * Runs one real node with data of its own.
 * `flags` are further ones of `quorate serve`. Gives its address (`http://…`, without a slash at the end) and `stop`.
 */
export async function serveQuorate(flags = []) {
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), "quorate-page-"));
  const address = `http://127.0.0.1:${port}`;
  const all = ["serve", "--node-id", "node-1", "--port", String(port), "--data-dir", join(directory, "data"), ...flags];
  const node = spawn(required("QUORATE_BINARY"), all, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(node, "exit");
  let log = "";
  for (const stream of [node.stdout, node.stderr]) stream.on("data", (text) => (log += text));
  const stop = async () => {
    node.kill("SIGTERM");
    const late = setTimeout(() => node.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(late);
    await rm(directory, { recursive: true });
  };
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const answer = await fetch(`${address}/ready`).catch(() => null);
    if (answer?.ok) return { address, stop };
    if (node.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`the node is not ready (exit code ${node.exitCode}):\n${log}`);
    }
    await delay(POLL_INTERVAL_MS);
  }
}

/** Serves the built page as a directory of files, under a path, as a static host would. */
export async function serveFiles(prefix = "/somewhere/") {
  const root = required("QUORATE_PAGE");
  const server = createHttpServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const name = path === prefix ? "index.html" : path.slice(prefix.length);
    const file = normalize(join(root, name));
    const type = CONTENT_TYPES[extname(file)];
    const bytes = path.startsWith(prefix) && file.startsWith(root + sep) && type ? await readFile(file).catch(() => null) : null;
    response.writeHead(bytes ? 200 : 404, { "content-type": bytes ? type : "text/plain" }).end(bytes ?? "not found");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { address: `http://127.0.0.1:${server.address().port}${prefix}`, stop };
}
