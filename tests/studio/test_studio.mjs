// test_studio.mjs BASE_URL SCREENSHOTS - the studio in a real browser: create, play, remix, mask, verify, delete; axe; nothing
// leaves the origin. Needs playwright-core and axe-core beside it or in NODE_PATH, and chromium. SPDX-License-Identifier: MIT
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const require = createRequire(process.env.HIMMEL_NODE_MODULES ? process.env.HIMMEL_NODE_MODULES + "/x.js" : import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [base, shots] = process.argv.slice(2);
mkdirSync(shots, { recursive: true });
let passed = 0, failed = 0;
function check(ok, what) {
  if (ok) passed++;
  else failed++, console.error(`FAILED: ${what}`);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-US", acceptDownloads: true })).newPage();
page.setDefaultTimeout(60000);
const foreign = [], errors = [];
page.on("request", r => { if (!r.url().startsWith(base) && !/^(data|blob):/.test(r.url())) foreign.push(r.url()); });
page.on("console", m => { if (m.type() === "error") errors.push(m.text()); });
page.on("pageerror", e => errors.push(String(e)));
page.on("dialog", d => d.accept());
const shot = name => page.screenshot({ path: `${shots}/${name}.png` });

async function accessible(where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = found.violations.filter(v => v.impact === "serious" || v.impact === "critical");
  check(!serious.length, `${where}: axe: ${serious.map(v => `${v.id}: ${v.nodes[0].html.slice(0, 160)}`).join("; ")}`);
}

const cards = () => page.locator(".card");
const ready = n => page.locator(".card button.picture").nth(n - 1).waitFor({ timeout: 180000 });

async function make(prompt, kind = "film") {
  await page.fill("#prompt", prompt);
  await page.selectOption("#kind", kind);
  await page.click("#composer .main");
}

await page.goto(base);
await page.waitForSelector("#gallery .empty");
await accessible("empty studio");
await shot("empty");
await page.click("#chips button >> nth=1");
check((await page.inputValue("#prompt")).includes("aurora"), "a chip fills the prompt");
await page.fill("#prompt", "a piano at dusk");
await page.waitForFunction(() => document.getElementById("hint").textContent.includes("piano"));
check(true, "hint");
await page.selectOption("#size", "256x144");
await page.fill("#seconds", "1");
await page.click("#create summary");
await page.fill("#steps", process.env.STEPS || "3");
await page.fill("#seed", "7");
await shot("prompt");
await make("sunset over a calm sea, the camera pans left");
await page.waitForSelector(".card progress, .card button.picture");
await shot("progress");
await ready(1);
await accessible("gallery");
await page.click(".card button.picture");
await page.waitForFunction(() => document.querySelector("#stage video")?.readyState >= 2);
check(await page.evaluate(() => Math.abs(document.querySelector("#stage video").duration - 1) < 0.1), "a film of a second plays");
await page.click("#player button >> nth=1");
await page.waitForTimeout(300);
await shot("player");
await accessible("viewer");
const [download] = await Promise.all([page.waitForEvent("download"), page.click("#actions button >> nth=0")]);
check(readFileSync(await download.path()).subarray(4, 8).toString() === "ftyp", "the download is a film");
// remix
await page.getByRole("button", { name: "Remix" }).click();
await page.fill("#edit_prompt", "thunderstorm over the sea");
await page.click("#room .main");
await page.waitForSelector("#viewer:not([open])", { state: "attached" });
await ready(2);
// mask: painted, with the pointer
await page.locator(".card button.picture").last().click();
await page.waitForFunction(() => document.querySelector("#stage video")?.readyState >= 2);
await page.getByRole("button", { name: "Change a part" }).click();
const box = await page.locator("#stage canvas").boundingBox();
await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.3);
await page.mouse.down();
await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.4, { steps: 5 });
await page.mouse.up();
await page.fill("#edit_prompt", "a red hot-air balloon");
await shot("mask");
await accessible("edit room");
await page.click("#room .main");
await page.waitForSelector("#viewer:not([open])", { state: "attached" });
await ready(3);
const listed = await page.evaluate(async () => (await (await fetch("/v1/videos")).json()).data);
check(listed.length === 3 && listed.every(v => v.status === "completed"), `three films: ${JSON.stringify(listed.map(v => [v.status, v.error]))}`);
check(listed[0].himmel.mode === "change" && listed[0].prompt === "a red hot-air balloon", "the masked edit");
// picture
await make("aurora above mountains", "image");
await ready(4);
await shot("gallery");
// verify
await page.locator(".card button.picture").first().click();
await page.getByRole("button", { name: "Where from?" }).click();
await page.waitForSelector(".layers li");
check((await page.textContent(".layers")).includes("found"), `verdict: ${await page.textContent("#verdict")}`);
await accessible("verdict");
await shot("verify");
// storyboard, queue
await page.click("[data-tab=board]");
await accessible("storyboard");
await shot("storyboard");
await page.click("[data-tab=owner]");
await page.waitForSelector("#keys p, #keys table");
await accessible("owner");
// delete
await page.click("[data-tab=create]");
const before = await cards().count();
await page.locator(".card button.picture").first().click();
await page.locator("#actions button").last().click();
await page.waitForFunction(n => document.querySelectorAll(".card").length < n, before);
// phone, dark, German, keyboard
await page.setViewportSize({ width: 390, height: 844 });
await page.emulateMedia({ colorScheme: "dark" });
await page.click("#language");
check((await page.textContent("#create_title")) === "Was soll der Himmel tun?", "German");
check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a phone must not scroll sideways");
await accessible("phone, dark");
await shot("phone");
await page.evaluate(() => scrollTo(0, 0));
await page.focus("#prompt");
await page.keyboard.press("Control+A");
await page.keyboard.type("Nebel");
await page.keyboard.press("Control+Enter");
await page.waitForFunction(() => [...document.querySelectorAll(".card .prompt")].some(p => p.textContent === "Nebel"));
check(true, "keyboard alone makes a film");
check(!foreign.length, `requests to others: ${foreign.slice(0, 3)}`);
check(!errors.length, `errors in the console: ${errors.slice(0, 5).join(" | ")}`);
await browser.close();
writeFileSync(`${shots}/done.txt`, `${passed} ${failed}\n`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
