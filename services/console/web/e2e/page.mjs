// Looks at the page in a real browser. Run by TestPageInBrowser, which serves the page and changes what the services say:
// a line {"do": ...} on our output asks for a change, a line on our input says that it was made.
//
//   node page.mjs URL SCREENSHOT_FOLDER CHROMIUM
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [url, shots, executablePath] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(change) {
  console.log(JSON.stringify({ do: change }));
  const { done } = await answers.next();
  assert(!done, "the test went away");
}

const browser = await chromium.launch({
  executablePath, headless: true,
  args: [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  ],
});
const complaints = [];
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complaints.push(`${m.text()} ${m.location().url}`); });
  page.on("pageerror", (e) => complaints.push(String(e)));
  page.setDefaultTimeout(15_000);
  const shoot = (name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  const shows = (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();

  await page.goto(url);
  await shows("#connection", /^live$/);
  await shows("#tile-demand .value", /^137req\/s$/);
  await shows("#tile-forecast .value", /\d+(\.\d+)?req\/s/);
  await shows("#tile-forecast .note", /\d+ to [\d.]+ \(p5–p95\)/);
  await shows("#tile-instances .value", /^5 \/ 6instances$/);
  await shows("#tile-production .value", /^\d+(\.\d+)?ms$/);
  await shows("#tile-production .note", "SLO 100 ms met");
  await shows("#tile-shadow .value", /^\d+(\.\d+)?ms$/);
  await shows("#tile-capacity .value", /^65req\/s$/);
  await page.locator("#capacity td.bad", { hasText: "missed: loss of the instance" }).waitFor({ state: "attached" });
  await shows("#tile-capacity .note", /measured \d+ (s|min) ago/);
  await shows("#actions li", "max_step_up allows 2 instances at once");
  await shows("#decisions li", "reactive would hold");
  await shows("#experiments li", "experiment at ×1, ×2");
  assert.equal(await page.locator("canvas").count(), 3);
  await shoot("light-1280");

  // A new decision appears by itself and is announced.
  await ask("decide");
  await shows("#decisions li:first-child", "A sale begins in 8 s");
  await shows("#decisions li:first-child", "→ 9 instances");
  await shows("#announce", "A sale begins in 8 s");
  await shows("#prospects", /^(?!.*0\.80).*HPA.*930.*none.*risk 5 %.*1\.20×.*up to 0\.90×.*1\.00×.*forecast, risk 12 %.*48/s);
  await shows("#prospects-note", "the last 3");
  await page.locator("#decisions li:first-child summary").click();
  await shows("#decisions li:first-child dl", "65 req/s, at least 62");

  // The keyboard alone pauses and resumes.
  await page.locator("#pause").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("freeze for the audit");
  await page.keyboard.press("Tab");
  await page.keyboard.type("kim");
  await shoot("light-1280-dialog");
  await page.keyboard.press("Enter");
  await shows("#paused", /Paused by kim at .*: freeze for the audit/);
  await shows("#pause", /^Resume$/);
  await shoot("light-1280-paused");
  await page.locator("#pause").click();
  await shows("#pause", /^Pause…$/);
  assert.equal(await page.locator("#paused").isVisible(), false);

  // What waits for a person is approved in their name, by the keyboard alone; without a name it is refused.
  assert.equal(await page.locator("#approve").isVisible(), false);
  await ask("propose");
  await shows("#proposal", "Production 9 → 12 instances waits for approval: the sale goes on");
  await shoot("light-1280-proposal");
  await page.locator("#approve").focus();
  await page.keyboard.press("Enter");
  await shows("#approve-what", "Production 9 → 12 instances");
  await page.locator("#approve-actor").fill("");
  await page.keyboard.press("Enter");
  await shows("#approve-error", "an approval is somebody's");
  complaints.length = 0; // the browser reports the refused call, as it should
  await page.locator("#approve-actor").fill("kim");
  await page.keyboard.press("Enter");
  await page.locator("#proposal").waitFor({ state: "hidden" });
  assert.equal(await page.locator("#approve-dialog").isVisible(), false);

  // The other theme, and a telephone.
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  await shows("#theme", "dark");
  await page.waitForTimeout(600);
  await shoot("dark-1280");
  await page.setViewportSize({ width: 400, height: 850 });
  await page.waitForTimeout(600);
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than a telephone");
  await shoot("dark-400");
  await page.locator("#theme").click();
  await page.emulateMedia({ colorScheme: "light" });
  await page.waitForTimeout(600);
  await shoot("light-400");

  // A service that is away is named, and what it said last is marked as old, not as zero.
  await page.setViewportSize({ width: 1280, height: 900 });
  await ask("history away");
  await shows("#notices", /metrics-aggregator is away since \d\d:\d\d:\d\d/);
  await shows("#tile-demand .note", /\d+ s old/);
  await shows("#tile-demand .value", /^137req\/s$/);
  await shoot("light-1280-away");
  await ask("history back");
  await page.locator("#notices").filter({ hasNotText: "metrics-aggregator" }).waitFor({ state: "attached" });

  // Seven tabs of one browser are live, though that has six connections to a server; one that is seen again goes on.
  const browserOfTabs = await browser.newContext();
  const tabs = [];
  const hide = (tab, hidden) => tab.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  for (let i = 0; i < 7; i++) {
    for (const tab of tabs) await hide(tab, true);
    const tab = await browserOfTabs.newPage();
    tabs.push(tab);
    await tab.goto(url, { timeout: 5_000 });
    await tab.locator("#tile-demand .note").filter({ hasText: "errors" }).waitFor();
  }
  await tabs[0].locator("#tile-demand .note").filter({ hasText: /\d+ s old/ }).waitFor();
  await hide(tabs[0], false);
  await tabs[0].locator("#tile-demand .note").filter({ hasText: "errors" }).waitFor();
  // A workload that is not there is not taken for another.
  await tabs[0].goto(`${url}/?workload=nobody`);
  await tabs[0].locator("#notices").filter({ hasText: "There is no workload nobody" }).waitFor();
  assert.equal(await tabs[0].locator("#pause").isDisabled(), true);
  // Where nothing may be stored, nothing is remembered.
  await browserOfTabs.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("denied", "SecurityError"); } }));
  await tabs[0].goto(url);
  await tabs[0].locator("#connection").filter({ hasText: /^live$/ }).waitFor();
  // A name may be longer than a telephone is wide.
  await tabs[0].setViewportSize({ width: 360, height: 800 });
  await tabs[0].locator("#workload option").first().evaluate((el) => { el.textContent = "n".repeat(80); });
  assert(await tabs[0].evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a long name makes the page wider than a telephone");
  await browserOfTabs.close();

  // The shadow sleeps; the forecast abstains.
  await ask("sleep and abstain");
  await shows("#tile-shadow .value", /^asleep$/);
  await shows("#tile-forecast .note", "less than two seasons of history");
  await shows("#tile-forecast .value", /^–$/);

  assert.deepEqual(complaints, [], "the browser complained");
} catch (e) {
  console.error("the browser said:", complaints);
  throw e;
} finally {
  await browser.close();
  process.stdin.destroy();
}
