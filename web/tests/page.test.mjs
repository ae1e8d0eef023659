// The page as a person uses it: by keyboard, by mouse, by thumb. Every wait is for something to be seen.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, load, open, serveFiles } from "./harness.mjs";

const READY_TIMEOUT_MS = 20_000;
const MANY_NODES_TIMEOUT_MS = 60_000;
/** Longest wait for what one step changes; most steps within one moment. */
const STEP_TIMEOUT_MS = 2_000;
const STEPS_AT_ONE_MOMENT_MAX = 20;
const DESK = { viewport: { width: 1440, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

let browser;
let files;

before(async () => {
  browser = await launch();
  files = await serveFiles();
});

after(async () => {
  await browser.close();
  await files.stop();
});

/** Runs `body` on a page whose cluster is ready, and fails on every problem that the browser tells of. */
async function onPage(options, body) {
  const { page, problems, close } = await open(browser, options);
  page.setDefaultTimeout(READY_TIMEOUT_MS);
  await page.addInitScript(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const { value, sources } of list.getEntries()) {
        const moved = sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.textContent);
        window.shifts.push({ value, moved });
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await load(page, files.address);
  await ready(page);
  await body(page);
  assert.deepEqual(problems, []);
  await close();
}

const ready = (page) => page.locator('.app[data-state="ready"]').waitFor({ timeout: MANY_NODES_TIMEOUT_MS });
const node = (page, name) => page.locator(`.node[data-node="${name}"]`);
const hasClass = (page, name, wanted) => page.locator(`.node.${wanted}[data-node="${name}"]`).waitFor();
const faults = (page) => page.locator(".active-faults li > span:not(.time)").allTextContents();
const fault = (page, text) => page.locator(".active-faults li", { hasText: text }).first();
const clusterTime = async (page) => Number.parseFloat(await page.locator(".now b").textContent());
const exactTime = (page) => page.locator(".now b").getAttribute("title");
const pickSpeed = (page, words) => page.locator(".pace", { hasText: words }).waitFor();

/** Steps until the clock has moved: several events may happen at one moment. */
async function goOnUntilItMoves(page, key, from) {
  for (let presses = 0; presses < STEPS_AT_ONE_MOMENT_MAX; presses += 1) {
    await page.keyboard.press(key);
    const moved = page.waitForFunction((old) => document.querySelector(".now b").title !== old, from, { timeout: STEP_TIMEOUT_MS });
    if (await moved.then(() => true, () => false)) return;
  }
  assert.fail(`the clock stands at ${from} after ${STEPS_AT_ONE_MOMENT_MAX} steps`);
}

/** Types a line into the command line and sends it. */
async function command(page, line) {
  await page.locator("#command-line").fill(line);
  await page.locator("#command-line").press("Enter");
}

/** Waits until the newest operation in the history says this. */
async function answered(page, what, outcome) {
  const row = page.locator(".console .history li", { hasText: what }).last();
  await row.locator(".outcome", { hasText: outcome }).waitFor();
}

/** Lets time pass fast enough that answers and suspicions come soon. */
async function realTime(page) {
  await page.locator("h1").click();
  while (!(await page.locator(".pace b").textContent()).startsWith("1×")) {
    const before = await page.locator(".pace b").textContent();
    await page.keyboard.press("]");
    await page.waitForFunction((old) => document.querySelector(".pace b").textContent !== old, before);
  }
}

/** The place of a node's middle on the screen. */
async function middle(page, name) {
  const box = await node(page, name).boundingBox();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

describe("comes up", () => {
  for (const [name, options] of Object.entries({
    "in the light": { ...DESK, colorScheme: "light" },
    "in the dark": { ...DESK, colorScheme: "dark" },
    "on a phone": PHONE,
    "with little motion": { ...DESK, reducedMotion: "reduce" },
  })) {
    test(name, () =>
      onPage(options, async (page) => {
        assert.equal(await page.locator(".node").count(), 5);
        const canvas = page.locator(".stage canvas");
        const painted = await canvas.evaluate((canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value !== 0);
        });
        assert.ok(painted, "the ring is drawn");
        const shifts = await page.evaluate(() => window.shifts);
        assert.deepEqual(shifts, [], "nothing jumps");
      }));
  }

  test("with words to read before the program is there", async () => {
    const { page, close } = await open(browser, DESK);
    await page.route("**/*.wasm", () => {});
    await page.goto(files.address, { waitUntil: "commit" });
    await page.getByText("whose every decision can be watched").waitFor();
    await close();
  });
});

describe("the console", () => {
  test("writes at one node and reads at another", () =>
    onPage(DESK, async (page) => {
      await command(page, "put cart milk");
      await realTime(page);
      await answered(page, "put cart milk", "ok");
      await command(page, "bob: get cart @D");
      await answered(page, "get cart", "milk");
      await command(page, "del cart");
      await answered(page, "delete cart", "ok");
      await command(page, "get cart");
      await answered(page, "get cart", "nothing");
    }));

  test("says what is wrong with a line and what would be right, and keeps it", () =>
    onPage(DESK, async (page) => {
      for (const [line, error] of [
        ["fetch cart", "“fetch” is no command"],
        ["get cart @Z", "there are A to E"],
        ["put cart", "for example: put cart milk"],
      ]) {
        await command(page, line);
        await page.locator("#console-error", { hasText: error }).waitFor();
        assert.equal(await page.locator("#command-line").inputValue(), line);
      }
      assert.equal(await page.locator(".history").count(), 0, "nothing was asked");
    }));

  test("has a form that fits a thumb", () =>
    onPage(PHONE, async (page) => {
      await page.getByRole("button", { name: "Act" }).tap();
      await page.getByLabel("Key", { exact: true }).fill("cart");
      await page.getByLabel("Value", { exact: true }).fill("milk");
      await page.getByRole("button", { name: "Send", exact: true }).tap();
      await page.locator(".console .history", { hasText: "put cart milk" }).waitFor();
    }));

  test("an operation can be looked at: who answered, when, and who holds what", () =>
    onPage(DESK, async (page) => {
      await command(page, "put cart milk");
      await realTime(page);
      await answered(page, "put cart milk", "ok");
      await page.locator(".console .history button").click();
      await page.locator(".inspector", { hasText: "W = 2 met" }).waitFor();
      await page.locator(".inspector .replicas li", { hasText: "milk" }).first().waitFor();
      assert.equal(await page.locator(".node.replica").count(), 3);
    }));
});

describe("faults", () => {
  test("a node crashes and starts again by keyboard alone", () =>
    onPage(DESK, async (page) => {
      await page.keyboard.press("g");
      await page.keyboard.press("ArrowRight");
      assert.equal(await page.evaluate(() => document.activeElement.dataset.node), "B");
      await page.keyboard.press("Enter");
      await page.locator(".inspector", { hasText: "Node B" }).waitFor();
      await page.keyboard.press("c");
      await hasClass(page, "B", "crashed");
      assert.deepEqual(await faults(page), ["B crashed"]);
      await page.keyboard.press("r");
      await fault(page, "B crashed").waitFor({ state: "detached" });
      await page.locator('.node[data-node="B"]:not(.crashed)').waitFor();
    }));

  test("a crashed node is found dead by the others, and the page says so", () =>
    onPage(DESK, async (page) => {
      await command(page, "crash B");
      await realTime(page);
      await page.locator(".story", { hasText: "declares B dead" }).waitFor();
      await node(page, "A").click();
      await page.locator(".members tr.dead", { hasText: "B" }).waitFor();
    }));

  test("a drag marks nodes, and a press cuts them off from the others", () =>
    onPage(DESK, async (page) => {
      const [b, c] = [await middle(page, "B"), await middle(page, "C")];
      await page.mouse.move(Math.max(b.x, c.x) + 60, Math.min(b.y, c.y) - 40);
      await page.mouse.down();
      await page.mouse.move(Math.min(b.x, c.x) - 40, Math.max(b.y, c.y) + 40, { steps: 5 });
      await page.mouse.up();
      await hasClass(page, "B", "marked");
      await hasClass(page, "C", "marked");
      await page.getByRole("button", { name: "Cut off" }).click();
      await fault(page, "split A D E | B C").waitFor();
      await page.getByRole("button", { name: "Heal" }).click();
      await fault(page, "split").waitFor({ state: "detached" });
    }));

  test("nodes are marked and cut off by keyboard, and every link is healed", () =>
    onPage(DESK, async (page) => {
      for (const key of ["g", " ", "ArrowRight", " ", "p"]) await page.keyboard.press(key);
      await fault(page, "split A B | C D E").waitFor();
      await page.keyboard.press("h");
      await fault(page, "split").waitFor({ state: "detached" });
    }));

  test("a link is picked on the ring and cut in one direction", () =>
    onPage(DESK, async (page) => {
      const [a, d] = [await middle(page, "A"), await middle(page, "D")];
      await page.mouse.click(a.x + (d.x - a.x) * 0.25, a.y + (d.y - a.y) * 0.25);
      await page.getByRole("button", { name: "Cut A → D" }).click();
      await fault(page, "A → D cut").waitFor();
      await page.locator(".inspector .facts", { hasText: "cut for" }).waitFor();
    }));

  test("a tool without a node says what it needs", () =>
    onPage(DESK, async (page) => {
      await page.keyboard.press("c");
      await page.locator(".remark", { hasText: "Pick a node first" }).waitFor();
      await page.locator(".spoken", { hasText: "Pick a node first" }).waitFor({ state: "attached" });
    }));

  test("a node joins", () =>
    onPage(DESK, async (page) => {
      await page.getByRole("button", { name: "Add node" }).click();
      await node(page, "F").waitFor();
      await realTime(page);
      await page.locator(".story", { hasText: "F joined" }).waitFor();
    }));
});

describe("time", () => {
  test("stands still when paused, and goes on one event at a time", () =>
    onPage(DESK, async (page) => {
      await page.keyboard.press("Space");
      await page.getByRole("button", { name: "Play", exact: true }).waitFor();
      const paused = await exactTime(page);
      await goOnUntilItMoves(page, "ArrowRight", paused);
      const stepped = await exactTime(page);
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      assert.equal(await exactTime(page), stepped);
      await page.keyboard.press(".");
      await page.waitForFunction((old) => document.querySelector(".now b").title !== old, stepped);
    }));

  test("passes at the chosen speed, and the speed is said in words", () =>
    onPage(DESK, async (page) => {
      await pickSpeed(page, "1 s of screen = 10 ms of cluster");
      await page.keyboard.press("[");
      await pickSpeed(page, "1 s of screen = 1 ms of cluster");
      await page.getByLabel("Speed").fill("5");
      await page.waitForFunction(() => document.querySelector(".pace b").textContent === "100×");
      const began = await clusterTime(page);
      await page.waitForFunction((old) => Number.parseFloat(document.querySelector(".now b").textContent) > old + 20, began);
      await page.locator(".notice", { hasText: "Too fast to follow" }).waitFor();
    }));
});

describe("a new run", () => {
  test("has 64 nodes, and its seed is shown", () =>
    onPage(DESK, async (page) => {
      await page.keyboard.press("n");
      await page.getByLabel("Seed").fill("42");
      await page.getByLabel("Nodes", { exact: true }).fill("64");
      await page.getByRole("button", { name: "Begin" }).click();
      await page.locator(".chip.nodes", { hasText: "64 nodes" }).waitFor();
      await ready(page);
      assert.equal(await page.locator(".node").count(), 64);
      await page.locator("header", { hasText: "seed 42" }).waitFor();
      await command(page, "put cart milk");
      await realTime(page);
      await answered(page, "put cart milk", "ok");
    }));

  test("is not begun with numbers that make no sense", () =>
    onPage(DESK, async (page) => {
      await page.getByRole("button", { name: "New run" }).click();
      await page.getByLabel("Read quorum R").fill("9");
      await page.locator(".new-run .error", { hasText: "quorums must be 1 to the replication factor" }).waitFor();
      assert.ok(await page.getByRole("button", { name: "Begin" }).isDisabled());
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
    }));
});

describe("the frame", () => {
  test("keeps the theme that was chosen", () =>
    onPage({ ...DESK, colorScheme: "light" }, async (page) => {
      const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const light = await ground();
      await page.keyboard.press("t");
      await page.waitForFunction((old) => getComputedStyle(document.body).backgroundColor !== old, light);
      const dark = await ground();
      await page.reload();
      await ready(page);
      assert.equal(await ground(), dark);
    }));

  test("explains its keys, and gives the keyboard back", () =>
    onPage(DESK, async (page) => {
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Help" }).waitFor();
      await page.keyboard.press("Escape");
      await page.keyboard.press("n");
      await page.getByRole("dialog", { name: "New run" }).waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
      await page.keyboard.press("k");
      await page.waitForFunction(() => document.activeElement.id === "command-line");
    }));

  for (const width of [700, 900, 1100, 1280, 1440]) {
    test(`keeps everything in its column at ${width} pixels`, () =>
      onPage({ viewport: { width, height: 800 } }, async (page) => {
        const outside = await page.locator("main").evaluate((main) => {
          const { left, right } = main.getBoundingClientRect();
          const visible = [...main.querySelectorAll("*")].filter((element) => element.checkVisibility({ visibilityProperty: true }));
          return visible
            .filter((element) => {
              const box = element.getBoundingClientRect();
              return box.width > 0 && (box.left < left - 1 || box.right > right + 1);
            })
            .map((element) => element.outerHTML.slice(0, 80));
        });
        assert.deepEqual(outside, []);
      }));
  }

  test("shows one pane at a time on a phone, with places to press that fit a thumb", () =>
    onPage(PHONE, async (page) => {
      for (const [tab, shown] of [["Time", ".space-time"], ["Inspect", ".inspector"], ["Act", ".console"], ["Stage", ".stage"]]) {
        await page.getByRole("button", { name: tab, exact: true }).tap();
        await page.locator(shown).waitFor({ state: "visible" });
        const small = await page.locator("button:visible, select:visible, input:visible").evaluateAll((elements) =>
          elements
            .filter((element) => element.closest(".command") === null)
            .map((element) => ({ name: element.outerHTML.slice(0, 80), height: element.getBoundingClientRect().height }))
            .filter(({ height }) => height < 44),
        );
        assert.deepEqual(small, [], `on ${tab}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
        assert.equal(wide, false, `${tab} fits the screen`);
      }
    }));
});
