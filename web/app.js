// app.js - the studio: rooms, language, the door.   SPDX-License-Identifier: MIT
import { erase, get, post, remove, whenLocked } from "./api.js";
import * as board from "./board.js";
import * as gallery from "./cards.js";
import * as composer from "./compose.js";
import { $, fail, say } from "./dom.js";
import * as film from "./film.js";
import * as queue from "./queue.js";
import * as verify from "./verify.js";
import { language, setLanguage, t, translate } from "./words.js";

const rooms = ["create", "film", "board", "verify", "queue"];

/** #/create, #/board, #/verify, #/queue, #/film/ID: the room of the address. */
function enterRoom() {
  const [, name, id] = location.hash.split("/");
  const room = rooms.includes(name) && (name !== "film" || id) ? name : "create";
  for (const r of rooms) $(r).hidden = r !== room;
  for (const a of $("rooms").children) {
    if (a.hash === `#/${room === "film" ? "create" : room}`) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (room === "film") film.show(id).catch(fail);
  else film.leave();
  queue.visible(room === "queue");
  document.title = `himmel – ${t(room === "film" ? "yours" : `tab_${room}`)}`;
  scrollTo(0, 0);
}

export function go(room) {
  if (location.hash === `#/${room}`) enterRoom();
  else location.hash = `#/${room}`;
}

function showLanguage() {
  const other = language === "de" ? "English" : "Deutsch";
  $("language").textContent = other;
  $("language").lang = language === "de" ? "en" : "de";
  for (const part of [composer, board, gallery, film, queue]) part.redraw();
}

async function about() {
  const { version, model } = await get("/himmel/v1/health");
  $("about").textContent = `himmel ${version}` + (model.name ? ` · ${model.name} · ${model.sha256.slice(0, 12)}` : "");
  if (model.state === "failed") say(t("no_model", model), true);
  if (model.state !== "loading") return;
  say(t("loading"));
  setTimeout(() => about().catch(() => {}), 2000);
}

async function unlock(e) {
  e.preventDefault();
  try {
    await post("/himmel/v1/session", { key: $("key").value.trim() });
    $("door").close();
    $("key").value = $("door_news").textContent = "";
    await gallery.refresh();
    enterRoom();
  } catch (error) { $("door_news").textContent = error.message; }
}

async function eraseJob(job) {
  try {
    await erase(job);
    say(t("deleted"));
    if (!$("film").hidden) go("create");
    await gallery.refresh();
  } catch (e) { fail(e); }
}

function started() {
  say(t("started"));
  go("create");
  gallery.refresh().catch(fail);
}

function start() {
  translate();
  whenLocked(() => { if (!$("door").open) $("door").showModal(); });
  composer.start({ started });
  board.start({ started });
  verify.start({ go });
  queue.start();
  film.start({ started, go, reuse: job => { composer.reuse(job); go("create"); }, erase: eraseJob, card: board.add });
  gallery.start({ open: job => go(`film/${job.id}`), erase: eraseJob, done: job => say(t("done_news", { prompt: job.prompt || job.id })) });
  showLanguage();
  $("language").onclick = () => { setLanguage(language === "de" ? "en" : "de"); showLanguage(); };
  $("sign_out").onclick = () => remove("/himmel/v1/session").then(() => location.reload(), fail);
  $("door_form").onsubmit = unlock;
  addEventListener("hashchange", () => { enterRoom(); $("main").focus({ preventScroll: true }); });
  enterRoom();
  about().catch(fail);
}

start();
