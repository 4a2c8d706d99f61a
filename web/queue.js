// queue.js - what waits and works, and for the owner who made how much.   SPDX-License-Identifier: MIT
import { cancel, get, revoke } from "./api.js";
import { active, state } from "./cards.js";
import { $, button, el, fail, say, twoStep } from "./dom.js";
import { remaining, t } from "./words.js";

let timer, on = false;

function jobRow(job) {
  return el("li", { className: "panel" }, el("div", {}, el("p", {}, job.prompt || job.id), el("p", { className: "small" }, state(job))),
    button(t("cancel"), () => cancel(job).then(show).catch(fail), { "aria-label": t("cancel_of", { prompt: job.prompt || job.id }) }));
}

const day = at => at ? new Date(at * 1000).toLocaleDateString(document.documentElement.lang) : t("never");
const cell = (text, className = "") => el("td", { className, role: "cell" }, text);
const row = (name, over, ...cells) => el("tr", { className: over ? "over" : "", role: "row" }, el("th", { scope: "row", role: "rowheader" }, ...name), ...cells);

/** Rows under their heads; a phone shows every row as a card, where each cell has its head before it (so roles are said here). */
function table(label, heads, rows) {
  for (const r of rows) [...r.cells].forEach((c, i) => i && heads[i] && c.setAttribute("data-head", heads[i]));
  return el("div", { className: "scroll panel", tabIndex: 0, role: "region", "aria-label": label }, el("table", { role: "table" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads.map(h => el("th", { scope: "col", role: "columnheader" }, h)))), el("tbody", { role: "rowgroup" }, ...rows)));
}

/** Ends a key, or an invitation and every key of it, with what they are making; asked twice. */
function revokeCell(name) {
  const does = () => revoke(name).then(r => { say(t(r.stopped ? "revoked_news" : "revoked_nothing", r)); return show(); }).catch(fail);
  return el("td", { className: "end", role: "cell" }, twoStep(t("revoke"), t("revoke_sure"), does, { "aria-label": t("revoke_of", { name }) }));
}

function keyTable(keys, me) {
  const may = k => ["create", "read", "admin"].filter(s => k[s]).map(s => t(`may_${s}`)).join(", ");
  const last = k => k.revoked || !me.admin ? cell("") : k.prefix === me.prefix ? cell(t("your_own"), "small end") : revokeCell(k.name);
  const rows = keys.map(k => row([k.name, " ", el("span", { className: "small" }, k.prefix ? `${k.prefix}…` : "")], k.revoked,
    cell(k.revoked ? t("revoked") : may(k)), cell(day(k.expires_at)), cell(t("key_films", k)), cell(String(k.active)),
    cell(k.shared ? t("shared", k) : String(k.addresses), k.shared ? "bad" : ""), last(k)));
  return table(t("keys"), [...["key_name", "key_may", "key_until", "key_made", "key_now", "key_from"].map(n => t(n)), ""], rows);
}

function invitationTable(invitations) {
  const rows = invitations.map(v => row([v.name], v.revoked, cell(day(v.expires_at)), cell(String(v.redeemed)),
    cell(v.revoked ? t("revoked") : String(v.uses_left)), v.revoked ? cell("") : revokeCell(v.name)));
  return table(t("invitations"), [...["invitation", "key_until", "redeemed", "uses_left"].map(n => t(n)), ""], rows);
}

async function show() {
  const [queue, me, health] = await Promise.all([get("/himmel/v1/queue"), get("/himmel/v1/me"), get("/himmel/v1/health")]);
  const all = me.admin ? "&all=true" : "";
  const [films, pictures, keys, invitations] = await Promise.all([get(`/v1/videos?limit=100${all}`), get(`/himmel/v1/images?limit=100${all}`),
    me.admin ? get("/himmel/v1/keys") : { data: [me] }, me.admin ? get("/himmel/v1/invitations") : { data: [] }]);
  const jobs = [...films.data, ...pictures.data].filter(active).sort((a, b) => (a.status === "queued") - (b.status === "queued") || a.created_at - b.created_at);
  const figure = (name, value) => el("div", {}, el("dt", { className: "small" }, t(name)), el("dd", {}, value));
  const focus = document.activeElement?.getAttribute("aria-label");
  $("queue_body").replaceChildren(
    el("dl", { className: "figures" }, figure("in_work", String(queue.in_progress)), figure("waiting", String(queue.queued)),
      figure("time_left", queue.eta_seconds === null ? "–" : remaining(queue.eta_seconds)), figure("model", health.model.name ?? t(`model_${health.model.state}`))),
    jobs.length ? el("ul", { className: "jobs" }, ...jobs.map(jobRow)) : el("p", { className: "empty" }, t("idle")),
    el("h2", {}, t(me.admin ? "keys" : "your_key")), keys.data.length ? keyTable(keys.data, me) : el("p", {}, t("no_keys")),
    ...(invitations.data.length ? [el("h2", {}, t("invitations")), invitationTable(invitations.data)] : []));
  if (focus && $("queue").contains(document.activeElement) === false) [...$("queue_body").querySelectorAll("[aria-label]")].find(e => e.getAttribute("aria-label") === focus)?.focus();
  $("sign_out").hidden = !me.prefix;
}

async function keepShowing() {
  clearTimeout(timer);
  if (!on) return;
  if (!$("queue_body").querySelector("[data-sure]")) await show().catch(fail); // a question stays until it is answered
  timer = setTimeout(keepShowing, 3000);
}

/** The room is seen, or not any more. */
export function visible(yes) {
  on = yes;
  keepShowing();
}

export function redraw() { if (on) keepShowing(); }
export function start() { $("sign_out").hidden = true; }
