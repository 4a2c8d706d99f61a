// app.js - the studio: prompt, storyboard, checking files, queue and keys.   SPDX-License-Identifier: MIT
import { ApiError, erase, form, get, post, remove, whenLocked } from "./api.js";
import * as gallery from "./cards.js";
import { el } from "./cards.js";
import * as editor from "./edit.js";
import { examples, language, setLanguage, t, translate } from "./words.js";

const $ = id => document.getElementById(id);
const sizes = [["1280x720", "1280 × 720"], ["1920x1080", "1920 × 1080"], ["720x1280", "720 × 1280"], ["1024x1024", "1024 × 1024"], ["640x360", "640 × 360"], ["256x144", "256 × 144"]];

function say(text, bad) {
  $("news").textContent = text;
  $("news").className = bad ? "bad" : "";
}

function fail(error, where) {
  if (error instanceof ApiError && error.status === 401) return;
  if (where) where.append(el("p", { className: "bad", role: "alert" }, error.message));
  else say(error.message, true);
}

// ---- tabs, language ----

function tab(name) {
  for (const b of $("tabs").children) {
    const on = b.dataset.tab === name;
    if (on) b.setAttribute("aria-current", "page");
    else b.removeAttribute("aria-current");
    $(b.dataset.tab).hidden = !on;
  }
  if (name === "owner") showOwner().catch(fail);
}

function showLanguage() {
  $("language").textContent = language === "de" ? "EN" : "DE";
  $("language").setAttribute("aria-label", language === "de" ? "EN – English" : "DE – Deutsch");
  $("chips").replaceChildren(...examples[language === "de" ? "de" : "en"].map(text => el("button", { type: "button", onclick: () => { $("prompt").value = text; hint(); $("prompt").focus(); } }, text)));
}

// ---- prompt ----

let hintTimer;
function hint() {
  clearTimeout(hintTimer);
  hintTimer = setTimeout(async () => {
    const prompt = $("prompt").value.trim();
    if (!prompt) return void ($("hint").textContent = "");
    try {
      const h = await get(`/himmel/v1/prompt?${new URLSearchParams({ prompt })}`);
      $("hint").textContent = h.unknown ? t("unknown", h) : "";
    } catch (e) { fail(e); }
  }, 400);
}

function settings() {
  return { prompt: $("prompt").value.trim(), size: $("size").value, steps: $("steps").value, guidance: $("guidance").value, negative_prompt: $("negative").value.trim() };
}

async function makeFilms(n) {
  for (let i = 0; i < n; i++) {
    const seed = $("seed").value === "" ? undefined : Number($("seed").value) + i;
    await post("/v1/videos", form({ ...settings(), seconds: $("seconds").value, seed, input_reference: $("first").files[0] }));
  }
}

/** Pictures are answered when they are finished; the gallery shows them before. */
function makePictures(n) {
  const seed = $("seed").value === "" ? undefined : Number($("seed").value);
  post("/v1/images/generations", { ...settings(), steps: Number($("steps").value), guidance: Number($("guidance").value), n, seed, response_format: "url" }).then(gallery.refresh).catch(fail);
  return new Promise(done => setTimeout(done, 300));
}

async function compose(e) {
  e.preventDefault();
  const button = e.submitter ?? $("composer").querySelector(".main"), n = Number($("variations").value);
  button.disabled = true;
  try {
    await ($("kind").value === "film" ? makeFilms(n) : makePictures(n));
    say(t("started"));
    await gallery.refresh();
  } catch (error) { fail(error); }
  button.disabled = false;
}

function reuse(job) {
  tab("create");
  const h = job.himmel || {};
  $("prompt").value = job.prompt ?? "";
  $("seed").value = h.seed ?? "";
  if (h.steps) $("steps").value = h.steps;
  if (h.guidance) $("guidance").value = h.guidance;
  $("negative").value = h.negative ?? "";
  if ([...$("size").options].some(o => o.value === job.size)) $("size").value = job.size;
  if (job.object === "video") $("seconds").value = Math.round(Number(job.seconds));
  document.querySelector("#create details").open = true;
  hint();
  $("prompt").focus();
}

async function eraseJob(job) {
  try {
    await erase(job);
    say(t("deleted"));
    await gallery.refresh();
  } catch (e) { fail(e); }
}

// ---- storyboard ----

function addCard(at, prompt = "") {
  const item = el("li", {}, el("div", { className: "row" },
    el("label", {}, el("span", {}, t("card_at")), el("input", { type: "number", min: 0, max: 60, step: 0.5, value: at, className: "at", required: true })),
    el("label", { className: "wide" }, el("span", {}, t("card_prompt")), el("input", { type: "text", className: "text", value: prompt, maxLength: 1000 })),
    el("label", { className: "wide" }, el("span", {}, t("card_picture")), el("input", { type: "file", className: "file", accept: "image/png,image/jpeg,image/webp" })),
    el("button", { type: "button", "aria-label": t("remove_card"), onclick: () => item.remove() }, "×")));
  $("cards").append(item);
}

async function board(e) {
  e.preventDefault();
  const fields = { size: $("board_size").value, seconds: $("board_seconds").value };
  const cards = [...$("cards").children].map(c => ({ at: Number(c.querySelector(".at").value), prompt: c.querySelector(".text").value.trim(), picture: c.querySelector(".file").files[0] }));
  cards.sort((a, b) => a.at - b.at).forEach((c, i) => {
    fields[`cards[${i}][at]`] = c.at;
    fields[`cards[${i}][prompt]`] = c.prompt;
    fields[`cards[${i}][picture]`] = c.picture;
  });
  fields.prompt = cards[0]?.prompt;
  try {
    await post("/himmel/v1/storyboards", form(fields));
    tab("create");
    say(t("started"));
    await gallery.refresh();
  } catch (error) { fail(error); }
}

// ---- checking files ----

function layer(title, text) {
  return el("li", {}, el("strong", {}, title), el("br"), text);
}

async function check(file) {
  tab("check");
  $("verdict").textContent = t("checking");
  try {
    const v = await post("/v1/content_provenance_checks", form({ file })), c = v.results[0], all = v.himmel || {};
    const states = { trusted: "layer_trusted", valid: "layer_found", invalid: "layer_broken", not_present: "layer_absent" };
    const items = [layer(t("layer_credentials"), t(states[c.validation_state]) + (c.issuer ? ` – ${c.issuer}` : ""))];
    for (const [key, title] of [["watermark", "layer_watermark"], ["visible_mark", "layer_mark"]])
      if (all[key]) items.push(layer(t(title), typeof all[key] === "object" ? all[key].state ?? JSON.stringify(all[key]) : String(all[key])));
    $("verdict").replaceChildren(el("h3", {}, file.name), el("ul", { className: "layers" }, ...items),
      el("details", {}, el("summary", {}, t("other_layers")), el("pre", { tabIndex: 0, className: "scroll small" }, JSON.stringify(all, null, 2))));
  } catch (e) {
    $("verdict").replaceChildren();
    fail(e, $("verdict"));
  }
}

// ---- queue and keys ----

async function showOwner() {
  const q = await get("/himmel/v1/queue"), me = await get("/himmel/v1/me");
  $("queue").replaceChildren(el("p", {}, t("waiting", { n: q.queued, m: q.in_progress })));
  const keys = me.admin ? (await get("/himmel/v1/keys")).data : [me];
  if (!keys.length) return $("keys").replaceChildren(el("p", {}, t("no_keys")));
  const head = ["key_name", "key_can", "key_made", "key_now", "key_from"].map(k => el("th", { scope: "col" }, t(k)));
  const rows = keys.map(k => el("tr", {}, el("th", { scope: "row" }, `${k.name} (${k.prefix}…)`), el("td", {}, ["create", "read", "admin"].filter(s => k[s]).join(", ") + (k.revoked ? ` – ${t("revoked")}` : "")),
    el("td", {}, `${k.films} (${k.seconds} ${t("s")})`), el("td", {}, String(k.active)), el("td", {}, `${k.addresses}${k.shared ? ` – ${t("shared")}` : ""}`)));
  $("keys").replaceChildren(el("div", { className: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows))));
}

async function about() {
  const h = await get("/himmel/v1/health"), m = h.model;
  $("about").textContent = `himmel ${h.version}` + (m.name ? ` · ${m.name} · ${m.sha256.slice(0, 12)}` : "");
  if (m.state === "failed") say(t("no_model", m), true);
  if (m.state === "loading") setTimeout(() => about().catch(() => {}), 2000);
}

async function enter(e) {
  e.preventDefault();
  try {
    await post("/himmel/v1/session", { key: $("key").value.trim() });
    $("door").close();
    $("key").value = "";
    await gallery.refresh();
  } catch (error) { $("door_news").textContent = error.message; }
}

function start() {
  for (const select of [$("size"), $("board_size")]) select.append(...sizes.map(([value, text]) => el("option", { value }, text)));
  translate();
  showLanguage();
  $("language").onclick = () => { setLanguage(language === "de" ? "en" : "de"); showLanguage(); gallery.redraw(); };
  for (const b of $("tabs").children) b.onclick = () => tab(b.dataset.tab);
  $("prompt").oninput = hint;
  $("prompt").onkeydown = e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) $("composer").requestSubmit(); };
  $("composer").onsubmit = compose;
  $("kind").onchange = () => { $("seconds_label").hidden = $("first_label").hidden = $("kind").value === "image"; };
  $("storyboard").onsubmit = board;
  $("add_card").onclick = () => addCard($("cards").children.length * 2);
  addCard(0, examples[language === "de" ? "de" : "en"][4]);
  addCard(5, examples[language === "de" ? "de" : "en"][0]);
  $("check_file").onchange = e => e.target.files[0] && check(e.target.files[0]);
  for (const name of ["dragover", "drop", "dragleave"])
    document.addEventListener(name, e => {
      e.preventDefault();
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && e.dataTransfer.files[0]) check(e.dataTransfer.files[0]);
    });
  $("sign_out").onclick = () => remove("/himmel/v1/session").then(() => location.reload(), fail);
  $("door_form").onsubmit = enter;
  whenLocked(() => { if (!$("door").open) $("door").showModal(); });
  editor.start({ started: () => { say(t("started")); gallery.refresh().catch(fail); }, reuse, verify: check, erase: eraseJob, fail });
  gallery.start({ open: editor.show, erase: eraseJob, done: job => say(t("done_news", { prompt: job.prompt || job.id })), fail });
  about().catch(fail);
}

start();
