// test_openai.mjs BASE_URL - the unchanged official client (npm openai) against himmel serve. SPDX-License-Identifier: MIT
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import http from "node:http";

const require = createRequire(process.env.HIMMEL_NODE_MODULES + "/x.js");
const { default: OpenAI, toFile } = require("openai");
const [base, hookPort, secret] = process.argv.slice(2);
let passed = 0, failed = 0;
function check(ok, what) {
  if (ok) passed++;
  else failed++, console.error(`FAILED: ${what}`);
}

// what the server sends when a film has its end
const events = [];
const hook = http.createServer((request, answer) => {
  let body = "";
  request.on("data", d => { body += d; });
  request.on("end", () => {
    const first = events.length === 0 && !hook.refused;
    if (first) hook.refused = true; // it has to try again
    else events.push({ body, headers: request.headers });
    answer.writeHead(first ? 500 : 200).end();
  });
}).listen(Number(hookPort), "127.0.0.1");

const client = new OpenAI({ apiKey: "nobody-asks", baseURL: base + "/v1", webhookSecret: secret });
const extras = { steps: 1, seed: 3 };
const quick = { seconds: "1", size: "64x64", ...extras };

async function end(video) {
  const start = Date.now();
  while ((video.status === "queued" || video.status === "in_progress") && Date.now() - start < 180000) {
    await new Promise(r => setTimeout(r, 100));
    video = await client.videos.retrieve(video.id);
  }
  check(video.status === "completed" && video.progress === 100, `${video.id}: ${video.status} ${JSON.stringify(video.error)}`);
  return video;
}

async function refused(what, type, call) {
  try {
    await call();
    check(false, `${what} was not refused`);
  } catch (e) {
    check(e instanceof type && e.requestID, `${what}: ${e.constructor.name}: ${e.message}`);
  }
}

const video = await end(await client.videos.create({ model: "sora-2", prompt: "sunset over a calm sea", ...quick }));
const content = Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer());
check(content.subarray(4, 8).toString() === "ftyp", "downloadContent");
for (const [variant, type] of [["thumbnail", "image/webp"], ["spritesheet", "image/jpeg"]])
  check((await client.videos.downloadContent(video.id, { variant })).headers.get("content-type") === type, variant);
const remix = await end(await client.videos.remix(video.id, { prompt: "fog", ...extras }));
check(remix.remixed_from_video_id === video.id, "remixed_from_video_id");
await end(await client.videos.edit({ prompt: "fog", video: { id: video.id }, ...extras }));
await end(await client.videos.edit({ prompt: "fog", video: await toFile(content, "unknown_file"), ...extras }));
const longer = await end(await client.videos.extend({ prompt: "fog", seconds: "1", video: { id: video.id }, ...extras }));
check(longer.seconds === "2", `extend: ${longer.seconds} s`);
const character = await client.videos.createCharacter({ name: "Mossy", video: await toFile(content, "a.mp4") });
check((await client.videos.getCharacter(character.id)).name === "Mossy", "character");
const picture = await client.images.generate({ model: "gpt-image-1", prompt: "aurora", size: "64x64", ...extras });
const png = Buffer.from(picture.data[0].b64_json, "base64");
check(png.subarray(1, 4).toString() === "PNG", "images.generate");
await end(await client.videos.create({ prompt: "fog", input_reference: await toFile(png, "a.png", { type: "image/png" }), ...quick }));
await end(await client.videos.create({ prompt: "fog", input_reference: { image_url: `data:image/png;base64,${picture.data[0].b64_json}` }, ...quick }));
check((await client.images.edit({ prompt: "fog", image: await toFile(png, "a.png", { type: "image/png" }), ...extras })).data.length === 1, "images.edit");
check((await client.images.createVariation({ image: await toFile(png, "a.png", { type: "image/png" }), ...extras })).data.length === 1, "images.createVariation");
const kinds = [];
for await (const event of await client.images.generate({ model: "gpt-image-1", prompt: "aurora", size: "64x64", stream: true, partial_images: 2, steps: 4 })) kinds.push(event.type);
check(kinds.at(-1) === "image_generation.completed" && kinds[0] === "image_generation.partial_image", `stream: ${kinds}`);
const ids = [];
for await (const v of client.videos.list({ limit: 2 })) ids.push(v.id);
check(ids.length === 7 && new Set(ids).size === 7 && ids.at(-1) === video.id, `list: ${ids.length}`);
check((await client.models.list()).data.some(m => m.id === "himmel-1"), "models");
await refused("no prompt", OpenAI.BadRequestError, () => client.videos.create({ prompt: "" }));
await refused("other model", OpenAI.BadRequestError, () => client.videos.create({ prompt: "x", model: "veo-3" }));
await refused("unknown id", OpenAI.NotFoundError, () => client.videos.retrieve("video_123"));
await refused("unknown route", OpenAI.NotFoundError, () => client.get("/fine_tuning/jobs"));
check((await client.videos.delete(video.id)).deleted === true, "delete");
await refused("deleted film", OpenAI.NotFoundError, () => client.videos.retrieve(video.id));
if (secret) {
  for (let i = 0; i < 100 && events.length < 7; i++) await new Promise(r => setTimeout(r, 100));
  const seen = [];
  for (const e of events) seen.push((await client.webhooks.unwrap(e.body, e.headers)).data.id);
  check(new Set(seen).size === 7 && seen.includes(video.id), `webhooks: ${events.length}`);
  check(hook.refused && JSON.parse(events[0].body).type === "video.completed", "webhook type");
}
hook.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
