// test_door.mjs BASE_URL KEY - a studio that has keys: the door, and the owner's table.   SPDX-License-Identifier: MIT
import { check, open } from "./browser.mjs";

const [base, key] = process.argv.slice(2);
const { page, accessible, end, expected } = await open(base);
expected.push("401");
await page.goto(base);
await page.waitForSelector("#door[open]");
await accessible("door");
await page.fill("#key", "hm-wrong");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.getElementById("door_news").textContent);
check(await page.isVisible("#door"), "a wrong key does not open");
await page.fill("#key", key);
await page.keyboard.press("Enter");
await page.waitForSelector("#door:not([open])", { state: "attached" });
await page.click("#rooms a[href='#/queue']");
await page.waitForSelector("#queue table");
check((await page.textContent("#queue table")).includes("Ada"), "the owner sees keys");
check(!(await page.evaluate(() => document.cookie)), "no script sees the key");
await accessible("owner");
await page.click("#sign_out");
await page.waitForSelector("#door[open]");
check(true, "signed out");
await end();
