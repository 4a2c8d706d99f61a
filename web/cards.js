// cards.js - the gallery: films and pictures, in work and finished.   SPDX-License-Identifier: MIT
import { cancel, follow, isFilm, list, url } from "./api.js";
import { duration, t } from "./words.js";

const gallery = document.getElementById("gallery"), older = document.getElementById("older");
const cards = new Map(); // id -> {job, element, preview}
let search = "", last = null, followed = null, stopFollowing = null, hooks = {};

/** An element with properties, attributes (aria*, data-*) and children. */
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props))
    if (k.startsWith("aria-") || k.startsWith("data-") || k === "role" || k === "for") e.setAttribute(k, v);
    else e[k] = v;
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

function state(job) {
  const h = job.himmel || {};
  if (job.status === "queued") return t("queued", { n: h.queue_position ?? "?" });
  if (job.status === "failed") return t("failed", { message: job.error?.message });
  if (job.status === "completed") return isFilm(job) ? t("facts", { size: job.size, seconds: job.seconds, seed: h.seed }) : t("facts_image", { size: job.size, seed: h.seed });
  return h.eta_seconds >= 0 && h.eta_seconds !== null ? t("in_progress", { percent: job.progress, eta: duration(h.eta_seconds) }) : t("in_progress_open", { percent: job.progress });
}

function draw(entry) {
  const { job, preview } = entry, done = job.status === "completed", active = job.status === "in_progress" || job.status === "queued";
  const name = job.prompt || job.id;
  const image = done ? el("img", { src: url.thumb(job), alt: "", loading: "lazy" }) : preview ? el("img", { src: preview, alt: "" }) : null;
  const picture = done ? el("button", { type: "button", className: "picture", "aria-label": t("open", { prompt: name }), onclick: () => hooks.open(job) }, image)
                       : el("div", { className: "picture" }, image);
  const text = el("div", { className: "text" }, el("p", { className: "prompt" }, name), el("p", { className: job.status === "failed" ? "small bad" : "small" }, state(job)));
  if (job.status === "in_progress") text.append(el("progress", { max: 100, value: job.progress, "aria-label": name }));
  if (active) text.append(el("button", { type: "button", onclick: () => cancel(job).then(refresh, hooks.fail) }, t("cancel")));
  if (job.status === "failed") text.append(el("button", { type: "button", onclick: () => hooks.erase(job) }, t("erase")));
  const focused = entry.element?.contains(document.activeElement) ? document.activeElement.className : null;
  entry.element.replaceChildren(picture, text);
  if (focused !== null) (entry.element.querySelector(focused ? `.${focused.split(" ")[0]}` : "button") ?? entry.element.querySelector("button"))?.focus();
}

function put(job, where) {
  let entry = cards.get(job.id);
  if (!entry) {
    entry = { job, element: el("article", { className: "card", "data-id": job.id }), shown: "" };
    cards.set(job.id, entry);
    if (where === "first") gallery.prepend(entry.element);
    else gallery.append(entry.element);
  }
  const was = entry.job.status;
  entry.job = job;
  const shown = JSON.stringify([job.status, job.progress, job.himmel, document.documentElement.lang, entry.preview?.length]);
  if (shown !== entry.shown) draw(entry);
  entry.shown = shown;
  if (was !== "completed" && job.status === "completed") hooks.done(job);
}

function followRunning() {
  const running = [...cards.values()].find(e => e.job.status === "in_progress")?.job.id ?? null;
  if (running === followed) return;
  stopFollowing?.();
  followed = running;
  stopFollowing = !running ? null : follow(running, (job, end) => {
    if (!job.deleted && cards.has(running)) put({ ...job, object: cards.get(running).job.object });
    if (end) followed = null, refresh();
  }, preview => {
    const e = cards.get(running);
    if (e) e.preview = preview, draw(e);
  });
}

/** Ask the server for the newest again. */
export async function refresh() {
  const { jobs, more, last: end } = await list(search);
  const ids = new Set(jobs.map(j => j.id));
  for (const [id, e] of cards) if (!ids.has(id) && !e.old) e.element.remove(), cards.delete(id);
  for (const job of [...jobs].reverse()) if (!cards.has(job.id)) put(job, "first");
  for (const job of jobs) put(job);
  gallery.querySelector(".empty")?.remove();
  if (!cards.size) gallery.append(el("p", { className: "empty" }, t(search ? "nothing_found" : "nothing")));
  if (![...cards.values()].some(e => e.old)) last = end, older.hidden = !more;
  followRunning();
}

async function showOlder() {
  const { jobs, more, last: end } = await list(search, last);
  for (const job of jobs) put(job, "last"), cards.get(job.id).old = true;
  last = end;
  older.hidden = !more;
}

export const films = () => [...cards.values()].map(e => e.job).filter(j => isFilm(j) && j.status === "completed");
export function redraw() { for (const e of cards.values()) draw(e); }

/** hooks: open(job), erase(job), done(job), fail(error) */
export function start(h) {
  hooks = h;
  older.onclick = () => showOlder().catch(hooks.fail);
  let timer;
  document.getElementById("search").oninput = e => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      search = e.target.value.trim();
      cards.clear();
      gallery.replaceChildren();
      refresh().catch(hooks.fail);
    }, 300);
  };
  setInterval(() => document.hidden || refresh().catch(() => {}), 3000);
  return refresh().catch(hooks.fail);
}
