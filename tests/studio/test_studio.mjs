// test_studio.mjs BASE_URL [SCREENSHOTS] - the studio in a real browser, on a server without keys and films: create, progress, play,
// remix, mask, verify, delete; axe; keyboard; phone; German.   SPDX-License-Identifier: MIT
import { readFileSync } from "node:fs";
import { check, open } from "./browser.mjs";

const [base, shots] = process.argv.slice(2);
const { page, shot, accessible, end, expected } = await open(base, shots);
const ready = n => page.waitForFunction(k => document.querySelectorAll(".card button.picture").length >= k, n);
const films = () => page.evaluate(async () => (await (await fetch("/v1/videos")).json()).data);
const room = name => page.click(`#rooms a[href='#/${name}']`);
const newest = () => page.locator(".card button.picture").first().click();
const tool = name => page.click(`[data-tool=${name}]`);
const sent = () => page.waitForSelector("#create:not([hidden])", { state: "attached" });
const playing = () => page.waitForFunction(() => document.querySelector(".stage video")?.readyState >= 2);

// empty, hints, chips
const answer = await page.goto(base);
const policy = answer.headers()["content-security-policy"];
check(policy?.includes("default-src 'none'") && !policy.includes("unsafe"), `a strict policy: ${policy}`);
await page.waitForSelector("#gallery .empty");
await accessible("empty studio");
await page.click("#chips button >> nth=1");
check((await page.inputValue("#prompt")).includes("aurora"), "a chip fills the prompt");
await page.fill("#prompt", "a piano at dusk");
await page.waitForFunction(() => document.getElementById("hint").textContent.includes("piano"));
await shot("hint");

// a film: its own size, progress, and then it is there
await page.selectOption("#size", "own");
await page.fill("#own", "128 x 72");
await page.fill("#seconds", "1");
await page.click("#create summary");
await page.fill("#steps", "2");
await page.fill("#seed", "7");
await page.fill("#prompt", "sunset over a calm sea, the camera pans left");
await page.click("#composer .main");
await page.waitForSelector(".card progress");
check(/left|Waiting|known/.test(await page.textContent(".card .small")), `says how long: ${await page.textContent(".card .small")}`);
await shot("progress");
await ready(1);
const made = (await films())[0];
check(made.size === "128x72" && made.himmel.seed === 7 && made.himmel.steps === 2, `as asked for: ${JSON.stringify(made)}`);

// play, by hand and by keyboard
await newest();
await playing();
check(await page.evaluate(() => Math.abs(document.querySelector(".stage video").duration - 1) < 0.1), "a film of a second");
await page.locator(".player button").nth(2).click();
await page.waitForFunction(() => document.querySelector(".stage video").paused);
const at = () => page.evaluate(() => document.querySelector(".stage video").currentTime);
await page.evaluate(() => { const v = document.querySelector(".stage video"); v.currentTime = 0.5; document.activeElement.blur(); });
await page.waitForTimeout(200);
await page.keyboard.press(".");
check(Math.abs(await at() - 0.5 - 1 / 24) < 0.005, `a frame on: ${await at()}`);
await page.keyboard.press(",");
check(Math.abs(await at() - 0.5) < 0.005, `a frame back: ${await at()}`);
await page.keyboard.press("l");
check(!(await page.evaluate(() => document.querySelector(".stage video").loop)), "l: no loop any more");
await accessible("film");
await shot("film");
const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download")]);
check(readFileSync(await download.path()).subarray(4, 8).toString() === "ftyp", "the download is a film");
await page.click("#film .tool >> text=Verify");
await page.waitForSelector("#film .layers li");
check((await page.textContent("#film .layers")).includes("a machine made it"), `origin: ${await page.textContent("#film .layers")}`);

// its prompt and seed again
await page.click("text=Use prompt and seed");
check(await page.inputValue("#seed") === "7" && await page.inputValue("#own") === "128x72" && (await page.inputValue("#prompt")).startsWith("sunset"), "reused");

// remix
await newest();
await tool("remix");
await page.fill("#film .say", "thunderstorm over the sea");
await page.fill("#film .strength", "0.5");
await page.click("#film .main");
await sent();
await ready(2);
check((await films())[0].remixed_from_video_id === made.id && (await films())[0].himmel.strength === 0.5, "remixed from the film");

// a mask, painted; nothing painted is said
await newest();
await playing();
await tool("paint");
await page.fill("#film .say", "a red hot-air balloon");
await page.click("#film .main");
await page.waitForSelector("#film .error");
const box = await page.locator(".stage canvas").boundingBox();
await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.3);
await page.mouse.down();
await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.4, { steps: 5 });
await page.mouse.up();
const painted = await page.evaluate(() => {
  const c = document.querySelector(".stage canvas"), p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  const on = (x, y) => p[4 * (Math.round(y * c.height) * c.width + Math.round(x * c.width)) + 3] > 0;
  return [on(0.2, 0.3), on(0.4, 0.35), on(0.6, 0.4), on(0.9, 0.9)].join();
});
check(painted === "true,true,true,false", `paint is where the pointer was: ${painted}`);
await accessible("edit room");
await shot("paint");
await page.click("#film .main");
await sent();
await ready(3);
const edited = (await films())[0];
check(edited.himmel.mode === "change" && edited.prompt === "a red hot-air balloon", `the masked edit: ${JSON.stringify(edited)}`);

// a picture
await page.selectOption("#kind", "image");
await page.fill("#prompt", "aurora above mountains");
await page.click("#composer .main");
await ready(4);
await shot("gallery");
await newest();
await page.waitForFunction(() => document.querySelector(".stage img")?.naturalWidth === 128);
check(await page.locator("[data-tool=extend]").count() === 0, "pictures are not extended");

// extend, close the loop, blend: from the first film, as long as was asked for
const from = async (name, numbers, length) => {
  const known = (await films()).map(v => v.id);
  await page.goto(`${base}/#/film/${made.id}`);
  await playing();
  await tool(name);
  await page.fill("#film .say", "fog");
  for (const [i, n] of numbers.entries()) await page.locator("#film .tool input[type=number]").nth(i).fill(String(n));
  await page.click("#film .main");
  await sent();
  for (let v; v?.status !== "completed"; await page.waitForTimeout(200)) {
    v = (await films()).find(x => !known.includes(x.id));
    if (v?.status === "failed") return check(false, `${name}: ${JSON.stringify(v)}`);
    if (v?.status === "completed") check(Math.abs(v.seconds - length) < 0.1 && v.prompt === "fog" && v.himmel.mode === "join", `${name}: ${JSON.stringify(v)}`);
  }
};
await from("extend", [1, 2], 4);
await from("close_loop", [1], 2);
await from("blend", [1], 3);
await page.goto(`${base}/#/create`);
await ready(7);

// a file that is dropped, here where no field wants it, is verified
const signed = readFileSync(await download.path()).toString("base64");
await page.evaluate(file => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([Uint8Array.from(atob(file), c => c.charCodeAt(0))], "dropped.mp4", { type: "video/mp4" }));
  for (const name of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer }));
}, signed);
await page.waitForSelector("#verify:not([hidden]) #verdict .layers li.yes");
check((await page.textContent("#verdict")).includes("dropped.mp4") && !(await page.locator("#verdict .layers li.broken").count()), `dropped: ${await page.textContent("#verdict .layers")}`);

// verify any file: a film that was changed does not pass
await room("verify");
await accessible("verify");
const changed = readFileSync(await download.path());
changed[changed.length >> 1] ^= 255;
await page.setInputFiles("#verify_file", { name: "changed.mp4", mimeType: "video/mp4", buffer: changed });
await page.waitForSelector("#verdict .layers li.broken");
check((await page.locator("#verdict .layers li").count()) >= 3, "three layers");
await accessible("verdict");
await shot("verify");

// storyboard: cards on a line, moved by keys; stopped in the queue
await room("board");
await page.waitForSelector("#timeline button >> nth=1"); // shown: what is hidden takes no focus
await page.focus("#timeline button >> nth=1");
await page.keyboard.press("ArrowRight");
check(await page.locator("#timeline button").nth(1).getAttribute("aria-valuenow") === "5.5", "the arrow keys move a card");
await page.click("#add_card");
await page.keyboard.type("a rainbow");
await accessible("storyboard");
await shot("board");
await page.fill("#board_seconds", "8");
await page.click("#storyboard .main");
await sent();
await room("queue");
await page.click("#queue .jobs button");
await page.waitForSelector("#queue .empty");
await accessible("queue");
const board = (await films())[0];
check(board.seconds === "8" && board.status === "failed" && board.error.code === "cancelled", `stopped: ${JSON.stringify(board)}`);
await room("create");

// search
await page.fill("#search", "balloon");
await page.waitForFunction(() => document.querySelectorAll(".card").length === 1);
await page.fill("#search", "");
await ready(7);

// delete, in two steps
const before = await page.locator(".card").count();
await newest();
await page.click("#film button.danger");
await page.click("text=Delete for good?");
await page.waitForFunction(n => document.querySelectorAll(".card").length < n, before);

// phone, German, keyboard alone
await page.setViewportSize({ width: 390, height: 844 });
await page.click("#language");
check((await page.textContent("#create_title")) === "Was soll der Himmel tun?", "German");
for (const name of ["create", "board", "verify", "queue", `film/${made.id}`]) {
  await page.goto(`${base}/#/${name}`);
  await page.waitForTimeout(500);
  check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: a phone must not scroll sideways`);
}
await accessible("phone");
await shot("phone");
await page.goto(`${base}/#/create`);
await page.selectOption("#kind", "film");
await page.focus("#prompt");
await page.keyboard.type("Nebel");
await page.keyboard.press("Control+Enter");
await page.waitForFunction(() => [...document.querySelectorAll(".card .prompt")].some(p => p.textContent.includes("Nebel")));
check(true, "the keyboard alone makes a film");
expected.push("404"); // a film that is not there is said, not thrown
await page.goto(`${base}/#/film/video_0`);
await page.waitForSelector(".toast.bad");
await end();
