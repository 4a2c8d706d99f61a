// browser.mjs - a page of the studio in Chromium that notices errors, foreign requests and what axe finds. SPDX-License-Identifier: MIT
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";

const require = createRequire(process.env.HIMMEL_NODE_MODULES + "/x.js");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
let passed = 0, failed = 0;

/** Count a check; what it was is said only when it fails. */
export function check(ok, what) {
  if (ok) passed++;
  else failed++, console.error(`FAILED: ${what}`);
}

/** A page at base; shots: folder for screenshots, undefined: none. */
export async function open(base, shots) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-US", acceptDownloads: true })).newPage();
  page.setDefaultTimeout(120000);
  const foreign = [], errors = [], expected = [];
  page.on("request", r => { if (!r.url().startsWith(base + "/") && !/^(data|blob):/.test(r.url())) foreign.push(r.url()); });
  page.on("console", m => { if (m.type() === "error" && !expected.some(e => m.text().includes(e))) errors.push(m.text()); });
  page.on("pageerror", e => errors.push(String(e)));
  if (shots) mkdirSync(shots, { recursive: true });
  const shot = name => shots && page.screenshot({ path: `${shots}/${name}.png` });

  /** axe in light and dark: nothing serious. */
  async function accessible(where) {
    await page.evaluate(axe);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      const serious = found.violations.filter(v => v.impact === "serious" || v.impact === "critical");
      check(found.passes.length > 5 && !serious.length, `${where}, ${colorScheme}: axe: ${serious.map(v => `${v.id}: ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary}`).join("; ")}`);
    }
    await page.emulateMedia({ colorScheme: "light" });
  }

  async function end() {
    check(!foreign.length, `requests to others: ${foreign.slice(0, 3)}`);
    check(!errors.length, `errors in the console: ${errors.slice(0, 5).join(" | ")}`);
    await browser.close();
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed || !passed ? 1 : 0);
  }
  return { page, shot, accessible, end, expected };
}
