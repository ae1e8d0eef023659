// Loads the page from an address and fails on any problem: node load.mjs ADDRESS
import { launch, load, open } from "./harness.mjs";

const [address] = process.argv.slice(2);
if (!address) {
  console.error("usage: node load.mjs ADDRESS");
  process.exit(2);
}

const browser = await launch();
try {
  const { page, problems } = await open(browser);
  await load(page, address);
  if (problems.length > 0) throw new Error(`${address} has problems:\n  ${problems.join("\n  ")}`);
  console.log(`${address} came up without a problem`);
} finally {
  await browser.close();
}
