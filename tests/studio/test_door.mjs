// test_door.mjs BASE_URL OWNER_KEY GUEST_KEY INVITED_KEY [SCREENSHOTS] - a studio that has keys: the door; the owner's tables, and
// revoking in them.   SPDX-License-Identifier: MIT
import { check, open } from "./browser.mjs";

const [base, owner, guest, invited, shots] = process.argv.slice(2);
const { page, shot, accessible, end, expected } = await open(base, shots);

/** A call with a key, beside the browser. */
async function call(key, method, path, body) {
  const a = await fetch(base + path, { method, headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  return { status: a.status, json: await a.json() };
}
const film = { prompt: "fog over hills", seconds: "8", size: "256x144", steps: 200 };
const row = name => page.locator("#queue tr", { has: page.locator(`th:text-matches("^${name}( |$)")`) });

expected.push("401");
await page.goto(base);
await page.waitForSelector("#door[open]");
await accessible("door");
await page.fill("#key", "hm-wrong");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.getElementById("door_news").textContent);
check(await page.isVisible("#door"), "a wrong key does not open");
await page.fill("#key", owner);
await page.keyboard.press("Enter");
await page.waitForSelector("#door:not([open])", { state: "attached" });
await page.click("#rooms a[href='#/queue']");
await page.waitForSelector("#queue table");
check((await page.textContent("#queue table")).includes("Ada"), "the owner sees keys");
check(!(await page.evaluate(() => document.cookie)), "no script sees the key");

// a guest's jobs, one at work and one waiting: revoked, in two steps, and they have ended when the studio says so
const jobs = [(await call(guest, "POST", "/v1/videos", film)).json.id, (await call(guest, "POST", "/v1/videos", film)).json.id];
await page.waitForFunction(() => document.querySelectorAll("#queue .jobs li").length === 2);
check(await row("Ada").locator("button").count() === 0, "no button for the key that one is signed in with");
await row("Grace").getByRole("button", { name: "Revoke Grace" }).click();
await page.waitForTimeout(3500);
check(await row("Grace").getByRole("button", { name: "Revoke for good?" }).count() === 1, "the question outlives the next look at the queue");
check((await call(guest, "GET", "/v1/videos")).status === 200, "asked, not yet done");
await accessible("owner");
await shot("keys");
await page.getByRole("button", { name: "Revoke for good?" }).click();
await page.waitForSelector(".toast:has-text('Jobs stopped: 2')");
for (const id of jobs) {
  const j = (await call(owner, "GET", `/v1/videos/${id}`)).json;
  check(j.status === "failed" && j.error.code === "cancelled", `a job of a revoked key: ${JSON.stringify(j)}`);
}
check((await call(guest, "GET", "/v1/videos")).status === 401, "a revoked key opens nothing");
await page.waitForSelector("#queue .empty");
await row("Grace").filter({ hasText: "revoked" }).waitFor();
check(await row("Grace").locator("button").count() === 0, "and the table says so");

// an invitation with everyone who came by it; in German, by the keyboard
await page.click("#language");
await page.waitForSelector("#queue h2:has-text('Einladungen')");
await row("preview").getByRole("button", { name: "preview sperren" }).focus();
await page.keyboard.press("Enter");
await page.waitForSelector("button:has-text('Endgültig sperren?')");
await page.keyboard.press("Enter");
await page.waitForSelector(".toast:has-text('Gesperrt: preview')");
check((await call(invited, "GET", "/v1/videos")).status === 401, "a key of a revoked invitation");
await row("preview-1").filter({ hasText: "gesperrt" }).waitFor(); // drawn anew a moment after the toast
check(await row("preview-1").locator("button").count() === 0, "the guest's key is revoked too");
await page.setViewportSize({ width: 390, height: 844 });
check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a phone must not scroll sideways");
await accessible("keys on a phone");
await page.evaluate(() => document.querySelector("#queue .scroll").scrollIntoView());
await shot("keys-phone");
await page.setViewportSize({ width: 1280, height: 900 });
await page.click("#sign_out");
await page.waitForSelector("#door[open]");
check(true, "signed out");
await end();
