// cards.js - the gallery: films and pictures, in work and finished.   SPDX-License-Identifier: MIT
import { cancel, follow, isFilm, list, url } from "./api.js";
import { $, button, el, fail } from "./dom.js";
import { remaining, t } from "./words.js";

const cards = new Map(); // id -> {job, element, preview, shown}
const still = matchMedia("(prefers-reduced-motion: reduce)");
let search = "", next = null, followed = null, stopFollowing = null, timer, hooks = {};

export const active = job => job.status === "in_progress" || job.status === "queued";
export const films = () => [...cards.values()].map(e => e.job).filter(j => isFilm(j) && j.status === "completed");

export function facts(job) {
  return t(isFilm(job) ? "facts" : "facts_image", { size: job.size.replace("x", " × "), seconds: job.seconds });
}

/** How it is, in a line: honest about what is not known yet. */
export function state(job) {
  const h = job.himmel || {};
  if (job.status === "queued") return h.queue_position > 1 ? t("queued", { n: h.queue_position - 1 }) : t("queued_next");
  if (job.status === "failed") return job.error?.code === "cancelled" ? t("stopped") : t("failed", { message: job.error?.message });
  if (job.status === "completed") return facts(job);
  const doing = h.phase === "sample" && h.n_steps ? t("phase_sample", { step: h.step, n: h.n_steps }) : h.phase ? t(`phase_${h.phase}`) : t("phase_text");
  return `${doing} · ${job.progress} % · ${typeof h.eta_seconds === "number" ? remaining(h.eta_seconds) : t("eta_open")}`;
}

/** The film itself over its picture, as long as somebody points at it. */
function playOver(picture, job) {
  let video = null;
  picture.onpointerenter = e => {
    if (e.pointerType !== "mouse" || still.matches || video) return;
    video = el("video", { src: url.film(job), muted: true, loop: true, playsInline: true });
    video.setAttribute("aria-hidden", "true");
    picture.append(video);
    video.play().catch(() => {});
  };
  picture.onpointerleave = () => { video?.remove(); video = null; };
}

function pictureOf(entry) {
  const { job, preview } = entry, name = job.prompt || job.id;
  if (job.status !== "completed") return el("div", { className: "picture" }, preview && active(job) ? el("img", { src: preview, alt: t("preview") }) : null);
  const picture = button("", () => hooks.open(job), { className: "picture", "aria-label": t("open", { prompt: name }) });
  picture.append(el("img", { src: url.thumb(job), alt: "", loading: "lazy" }));
  if (isFilm(job)) playOver(picture, job);
  return picture;
}

function draw(entry) {
  const { job } = entry, name = job.prompt || job.id;
  const text = el("div", { className: "text" }, el("p", { className: "prompt", title: name }, name), el("p", { className: job.status === "failed" ? "small bad" : "small" }, state(job)));
  if (active(job)) text.append(el("progress", { max: 100, value: job.progress, "aria-label": t("progress_of", { prompt: name }) }), button(t("cancel"), () => cancel(job).then(refresh, fail)));
  if (job.status === "failed") text.append(button(t("erase"), () => hooks.erase(job)));
  const focused = entry.element.contains(document.activeElement);
  entry.element.replaceChildren(pictureOf(entry), text);
  if (focused) entry.element.querySelector("button")?.focus();
}

function put(job, first) {
  let entry = cards.get(job.id);
  if (!entry) {
    entry = { job, element: el("article", { className: "card", "data-id": job.id }), shown: "" };
    cards.set(job.id, entry);
    if (first) $("gallery").prepend(entry.element);
    else $("gallery").append(entry.element);
  }
  const was = entry.job.status, shown = JSON.stringify([job.status, job.progress, job.himmel, job.error]);
  entry.job = job;
  if (shown !== entry.shown) draw(entry);
  entry.shown = shown;
  if (was !== "completed" && job.status === "completed") hooks.done(job);
}

/** The job in work tells every step; the others are asked for. */
function followRunning() {
  const running = [...cards.values()].find(e => e.job.status === "in_progress")?.job.id ?? null;
  if (running === followed) return;
  stopFollowing?.();
  followed = running;
  stopFollowing = running && follow(running, (job, end) => {
    const entry = cards.get(running);
    if (!job.deleted && entry) put({ ...job, object: entry.job.object });
    if (end) followed = null, refresh().catch(() => {});
  }, preview => {
    const entry = cards.get(running);
    if (entry) entry.preview = preview, draw(entry);
  });
}

/** Ask the server for the newest again. */
export async function refresh() {
  clearTimeout(timer);
  try {
    const wanted = search, page = await list(search);
    if (wanted !== search) return;
    const ids = new Set(page.jobs.map(j => j.id));
    for (const [id, e] of cards) if (!ids.has(id) && !e.old) e.element.remove(), cards.delete(id);
    for (const job of [...page.jobs].reverse()) if (!cards.has(job.id)) put(job, true);
    for (const job of page.jobs) put(job);
    $("gallery").querySelector(".empty")?.remove();
    if (!cards.size) $("gallery").append(el("p", { className: "empty" }, t(search ? "nothing_found" : "nothing")));
    if (![...cards.values()].some(e => e.old)) next = page.next, $("older").hidden = !next;
    followRunning();
  } finally { /* often while something is in work */
    clearTimeout(timer);
    timer = setTimeout(() => document.hidden || refresh().catch(() => {}), [...cards.values()].some(e => active(e.job)) ? 2000 : 8000);
  }
}

async function showOlder() {
  const page = await list(search, next);
  for (const job of page.jobs) put(job), cards.get(job.id).old = true;
  next = page.next;
  $("older").hidden = !next;
}

export function redraw() {
  for (const e of cards.values()) draw(e);
  const empty = $("gallery").querySelector(".empty");
  if (empty) empty.textContent = t(search ? "nothing_found" : "nothing");
}

/** hooks: open(job), erase(job), done(job) */
export function start(h) {
  hooks = h;
  $("older").onclick = () => showOlder().catch(fail);
  let typing;
  $("search").oninput = e => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      search = e.target.value.trim();
      cards.clear();
      $("gallery").replaceChildren();
      refresh().catch(fail);
    }, 300);
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
  refresh().catch(fail);
}
