// queue.js - what waits and works, and for the owner who made how much.   SPDX-License-Identifier: MIT
import { cancel, get } from "./api.js";
import { active, state } from "./cards.js";
import { $, button, el, fail } from "./dom.js";
import { remaining, t } from "./words.js";

let timer, on = false;

function jobRow(job) {
  return el("li", { className: "panel" }, el("div", {}, el("p", {}, job.prompt || job.id), el("p", { className: "small" }, state(job))),
    button(t("cancel"), () => cancel(job).then(show).catch(fail), { "aria-label": t("cancel_of", { prompt: job.prompt || job.id }) }));
}

function keyTable(keys) {
  const cell = text => el("td", {}, text), day = at => at ? new Date(at * 1000).toLocaleDateString(document.documentElement.lang) : t("never");
  const may = k => ["create", "read", "admin"].filter(s => k[s]).map(s => t(`may_${s}`)).join(", ");
  const rows = keys.map(k => el("tr", {}, el("th", { scope: "row" }, k.name, " ", el("span", { className: "small" }, k.prefix ? `${k.prefix}…` : "")), cell(k.revoked ? t("revoked") : may(k)), cell(day(k.expires_at)),
    cell(t("key_films", k)), cell(String(k.active)), el("td", { className: k.shared ? "bad" : "" }, k.shared ? t("shared", k) : String(k.addresses))));
  const head = ["key_name", "key_may", "key_until", "key_made", "key_now", "key_from"].map(name => el("th", { scope: "col" }, t(name)));
  return el("div", { className: "scroll panel", tabIndex: 0, role: "region", "aria-label": t("keys") }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
}

async function show() {
  const [queue, me, health] = await Promise.all([get("/himmel/v1/queue"), get("/himmel/v1/me"), get("/himmel/v1/health")]);
  const all = me.admin ? "&all=true" : "";
  const [films, pictures, keys] = await Promise.all([get(`/v1/videos?limit=100${all}`), get(`/himmel/v1/images?limit=100${all}`), me.admin ? get("/himmel/v1/keys") : { data: [me] }]);
  const jobs = [...films.data, ...pictures.data].filter(active).sort((a, b) => (a.status === "queued") - (b.status === "queued") || a.created_at - b.created_at);
  const figure = (name, value) => el("div", {}, el("dt", { className: "small" }, t(name)), el("dd", {}, value));
  const focus = document.activeElement?.getAttribute("aria-label");
  $("queue_body").replaceChildren(
    el("dl", { className: "figures" }, figure("in_work", String(queue.in_progress)), figure("waiting", String(queue.queued)),
      figure("time_left", queue.eta_seconds === null ? "–" : remaining(queue.eta_seconds)), figure("model", health.model.name ?? t(`model_${health.model.state}`))),
    jobs.length ? el("ul", { className: "jobs" }, ...jobs.map(jobRow)) : el("p", { className: "empty" }, t("idle")),
    el("h2", {}, t(me.admin ? "keys" : "your_key")), keys.data.length ? keyTable(keys.data) : el("p", {}, t("no_keys")));
  if (focus && $("queue").contains(document.activeElement) === false) [...$("queue_body").querySelectorAll("[aria-label]")].find(e => e.getAttribute("aria-label") === focus)?.focus();
  $("sign_out").hidden = !me.prefix;
}

async function keepShowing() {
  clearTimeout(timer);
  if (!on) return;
  await show().catch(fail);
  timer = setTimeout(keepShowing, 3000);
}

/** The room is seen, or not any more. */
export function visible(yes) {
  on = yes;
  keepShowing();
}

export function redraw() { if (on) keepShowing(); }
export function start() { $("sign_out").hidden = true; }
