// film.js - one film or picture, large: playing it, what it is, what can be made of it.   SPDX-License-Identifier: MIT
import { find, isFilm, post, url } from "./api.js";
import { active, facts, state } from "./cards.js";
import { $, button, el, fail, twoStep } from "./dom.js";
import { openMask } from "./mask.js";
import { toolsFor } from "./tools.js";
import { t } from "./words.js";
import { layers } from "./verify.js";

let job = null, media, stage, frame = 1 / 24, mask = null, hooks = {}, shown = 0, keys = () => {};

// ---- player ----

/** Measure how long a frame is, while it plays: films are not all of 24 a second. */
function watchFrames(video) {
  let last = null, least = 1;
  frame = 1 / 24;
  const look = (_, { mediaTime }) => {
    if (last !== null && mediaTime > last) frame = least = Math.min(least, mediaTime - last);
    last = mediaTime;
    if (video.isConnected) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback?.(look);
}

function player(video) {
  const play = button("", () => video.paused ? video.play().catch(() => {}) : video.pause());
  const scrub = el("input", { type: "range", min: 0, max: 1, step: "any", value: 0, "aria-label": t("position") });
  const clock = el("span", { className: "small" });
  const loop = el("input", { type: "checkbox", checked: true });
  const step = n => { video.pause(); video.currentTime = Math.min(video.duration - frame / 2, Math.max(0, video.currentTime + n * frame)); };
  const show = () => {
    play.textContent = video.paused ? "▶" : "❚❚";
    play.setAttribute("aria-label", t(video.paused ? "play" : "pause"));
    scrub.max = video.duration || 1;
    scrub.value = video.currentTime;
    scrub.setAttribute("aria-valuetext", t("at", { s: video.currentTime.toFixed(2) }));
    clock.textContent = `${video.currentTime.toFixed(2)} / ${(video.duration || 0).toFixed(2)} s`;
  };
  scrub.oninput = () => { video.pause(); video.currentTime = scrub.value; };
  loop.onchange = () => { video.loop = loop.checked; };
  for (const e of ["timeupdate", "play", "pause", "seeked", "loadedmetadata"]) video.addEventListener(e, show);
  const full = () => document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen();
  keys = e => {
    const does = { " ": () => play.click(), k: () => play.click(), ",": () => step(-1), ".": () => step(1), ArrowLeft: () => step(-1), ArrowRight: () => step(1), l: () => loop.click(), f: full }[e.key];
    if (does) e.preventDefault(), does();
  };
  show();
  return el("div", { className: "player", role: "group", "aria-label": t("player") }, play, button("◂|", () => step(-1), { "aria-label": t("frame_back"), title: t("frame_back") }),
    button("|▸", () => step(1), { "aria-label": t("frame_on"), title: t("frame_on") }), scrub, clock,
    el("label", { className: "tick" }, loop, el("span", {}, t("loop"))), button(t("fullscreen"), full));
}

// ---- about ----

/** The frame that is shown, as a picture file. */
async function frameFile() {
  const c = el("canvas", { width: media.videoWidth || media.naturalWidth, height: media.videoHeight || media.naturalHeight });
  c.getContext("2d").drawImage(media, 0, 0);
  const blob = await new Promise(done => c.toBlob(done, "image/png"));
  return new File([blob], "frame.png", { type: "image/png" });
}

function about(place) {
  const h = job.himmel || {}, film = isFilm(job), rows = [["seed", h.seed], ["steps", h.steps], ["guidance", h.guidance], ["negative", h.negative], ["strength", h.strength], ["made", new Date(job.created_at * 1000).toLocaleString(document.documentElement.lang)]];
  const list = el("dl", {}, ...rows.filter(([, v]) => v !== undefined && v !== null && v !== "").flatMap(([k, v]) => [el("dt", {}, t(k)), el("dd", {}, String(typeof v === "number" ? Math.round(v * 1000) / 1000 : v))]));
  const save = el("a", { className: "button", href: film ? `${url.film(job)}?download=1` : url.picture(job), download: `${job.id}.${film ? "mp4" : "png"}` }, t("download"));
  const origin = el("div", { "aria-live": "polite" });
  const check = button(t("verify"), async () => {
    origin.textContent = t("checking");
    try {
      const f = new FormData();
      f.append("file", new File([await (await fetch(film ? url.film(job) : url.picture(job))).blob()], film ? "film.mp4" : "picture.png"));
      origin.replaceChildren(layers(await post("/v1/content_provenance_checks", f)));
    } catch (e) { origin.replaceChildren(); fail(e, origin); }
  });
  const from = job.remixed_from_video_id ? el("a", { href: `#/film/${job.remixed_from_video_id}` }, t("made_from")) : null;
  place.replaceChildren(list, ...(from ? [from] : []), el("div", { className: "acts" }, save, button(t("again"), () => hooks.reuse(job)),
    button(t("to_card"), async () => { hooks.card(job.prompt ?? "", await frameFile()); hooks.go("board"); }), check), origin, twoStep(t("erase"), t("really"), () => hooks.erase(job)));
}

// ---- the room ----

function choose(name, tools, place) {
  mask?.close();
  mask = null;
  for (const b of place.previousElementSibling.children) b.setAttribute("aria-pressed", String(b.dataset.tool === name));
  if (name === "about") return about(place);
  if (name === "paint") {
    media.pause?.();
    mask = openMask(media, stage);
  }
  place.replaceChildren(tools[name].form(job, mask));
}

function draw() {
  const film = isFilm(job), name = job.prompt || job.id;
  media = film ? el("video", { src: url.film(job), loop: true, muted: true, autoplay: true, playsInline: true, "aria-label": name }) : el("img", { src: url.picture(job), alt: name });
  stage = el("div", { className: "stage" }, media);
  if (film) watchFrames(media);
  const place = el("div", { className: "tool" }), tools = toolsFor(job, hooks.started);
  const names = ["about", ...Object.keys(tools)];
  const bar = el("div", { className: "tools", role: "group", "aria-label": t("tools") }, ...names.map(n => button(t(n), () => choose(n, tools, place), { "data-tool": n, "aria-pressed": "false" })));
  keys = () => {};
  $("film").replaceChildren(el("h1", { id: "film_title" }, name),
    el("div", { className: "desk" }, el("div", {}, stage, film ? player(media) : null, el("p", { className: "small", id: "film_facts" }, facts(job))),
      el("div", { className: "panel" }, bar, place)));
  choose("about", tools, place);
}

/** Show the film or picture of that id. */
export async function show(id) {
  const n = ++shown;
  if (job?.id !== id) job = null, $("film").replaceChildren(el("h1", { id: "film_title" }, "…"));
  const found = await find(id);
  if (n !== shown) return;
  job = found;
  if (job.status === "completed") return draw();
  $("film").replaceChildren(el("h1", { id: "film_title" }, job.prompt || job.id), el("p", {}, state(job)));
  if (active(job)) setTimeout(() => n === shown && show(id).catch(fail), 2000);
}

/** Nothing plays in a room that nobody sees. */
export function leave() {
  shown++;
  job = null;
  keys = () => {};
  mask?.close();
  mask = null;
  $("film").replaceChildren();
}

export function redraw() { if (job?.status === "completed") draw(); }

/** hooks: started(), go(room), reuse(job), erase(job), card(prompt, picture) */
export function start(h) {
  hooks = h;
  document.addEventListener("keydown", e => {
    if (!job || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select, button, a, summary, dialog")) return;
    keys(e);
  });
}
