// The page comes up wherever it is served from, without an error.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, load, open, serveFiles, serveQuorate } from "./harness.mjs";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser.close());

async function comesUp(address) {
  const { page, problems, close } = await open(browser);
  await load(page, address);
  assert.deepEqual(problems, []);
  await close();
}

test("from a node, at every address that leads to it", async () => {
  const node = await serveQuorate();
  try {
    for (const path of ["/", "/playground"]) await comesUp(node.address + path);
  } finally {
    await node.stop();
  }
});

test("from a directory of files, under a path", async () => {
  const files = await serveFiles();
  try {
    await comesUp(files.address);
  } finally {
    await files.stop();
  }
});

test("a node forbids scripts that are not its own, and says what a file is", async () => {
  const node = await serveQuorate();
  try {
    const document = await fetch(`${node.address}/`);
    assert.equal(document.headers.get("content-type"), "text/html; charset=utf-8");
    assert.match(document.headers.get("content-security-policy") ?? "", /script-src 'self' 'wasm-unsafe-eval';/);
    assert.doesNotMatch(await document.text(), /<script(?![^>]*\ssrc=)/, "no script stands inside the document");

    const wasm = await fetch(`${node.address}/quorate-web_bg.wasm`, { headers: { "accept-encoding": "br" } });
    assert.equal(wasm.headers.get("content-type"), "application/wasm");
    assert.equal(wasm.headers.get("content-encoding"), "br");
    assert.deepEqual(new Uint8Array(await wasm.arrayBuffer()).slice(0, 4), new Uint8Array([0, 0x61, 0x73, 0x6d]));

    const again = await fetch(`${node.address}/quorate-web_bg.wasm`, {
      headers: { "if-none-match": wasm.headers.get("etag") },
    });
    assert.equal(again.status, 304);
  } finally {
    await node.stop();
  }
});
