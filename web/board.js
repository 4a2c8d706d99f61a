// board.js - the storyboard: cards on a timeline.   SPDX-License-Identifier: MIT
import { form, post } from "./api.js";
import { fillSizes } from "./compose.js";
import { $, button, el, fail, field } from "./dom.js";
import { examples, language, t } from "./words.js";

let cards = [], hooks = {}; // {at, prompt, file, shown}

const total = () => Math.max(1, Number($("board_seconds").value) || 1);

/** A marker that pointer and arrow keys move: half seconds. */
function marker(card, i) {
  const m = card.marker = button(String(i + 1), null, { role: "slider", "aria-label": t("card_n", { n: i + 1 }), "aria-valuemin": "0" });
  const put = at => {
    card.at = Math.min(total(), Math.max(0, Math.round(at * 2) / 2));
    m.style.left = `${card.at / total() * 100}%`;
    m.setAttribute("aria-valuenow", card.at);
    m.setAttribute("aria-valuemax", total());
    m.setAttribute("aria-valuetext", t("at", { s: card.at }));
    if (card.input) card.input.value = card.at;
  };
  m.onpointerdown = e => m.setPointerCapture(e.pointerId);
  m.onpointermove = e => {
    if (!m.hasPointerCapture(e.pointerId)) return;
    const r = $("timeline").getBoundingClientRect();
    put((e.clientX - r.left) / r.width * total());
  };
  m.onpointerup = () => { draw(); card.marker.focus(); };
  m.onkeydown = e => {
    const by = { ArrowLeft: -0.5, ArrowDown: -0.5, ArrowRight: 0.5, ArrowUp: 0.5 }[e.key];
    if (by) e.preventDefault(), put(card.at + by);
  };
  put(card.at);
  return m;
}

function item(card, i) {
  const at = card.input = el("input", { type: "number", min: 0, max: 60, step: 0.5, value: card.at, required: true, onchange: () => { card.at = Number(at.value); draw(); } });
  const say = el("textarea", { rows: 2, value: card.prompt, maxLength: 1000, oninput: () => { card.prompt = say.value; } });
  const file = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", onchange: () => { if (file.files[0]) setPicture(card, file.files[0]), draw(); } });
  const drop = button(t("remove_card"), () => { setPicture(card, null); cards = cards.filter(c => c !== card); draw(); $("add_card").focus(); }, { "aria-label": t("remove_card_n", { n: i + 1 }), className: "quiet" });
  return el("li", {}, el("div", { className: "row" }, field(t("card_at", { n: i + 1 }), at), drop), field(t("card_prompt"), say), card.shown ? el("img", { src: card.shown, alt: t("card_picture") }) : null, field(t("card_picture"), file));
}

function setPicture(card, file) {
  if (card.shown) URL.revokeObjectURL(card.shown);
  card.file = file;
  card.shown = file && URL.createObjectURL(file);
}

function draw() {
  const held = cards.find(c => c.marker === document.activeElement); // whoever moves a card goes on moving it
  cards.sort((a, b) => a.at - b.at);
  $("cards").replaceChildren(...cards.map(item));
  const s = total(), every = s <= 12 ? 1 : s <= 30 ? 5 : 10, ticks = [];
  for (let x = 0; x <= s; x += every) {
    const tick = el("i", { "aria-hidden": "true" }, `${x} s`);
    tick.style.left = `${x / s * 100}%`;
    ticks.push(tick);
  }
  $("timeline").replaceChildren(...cards.map(marker), ...ticks);
  held?.marker.focus();
}

async function send(e) {
  e.preventDefault();
  const main = $("storyboard").querySelector(".main"), fields = { size: $("board_size").value, seconds: $("board_seconds").value };
  cards.forEach((c, i) => {
    fields[`cards[${i}][at]`] = c.at;
    fields[`cards[${i}][prompt]`] = c.prompt.trim();
    fields[`cards[${i}][picture]`] = c.file;
  });
  fields.prompt = cards.find(c => c.prompt.trim())?.prompt.trim();
  main.disabled = true;
  try {
    await post("/himmel/v1/storyboards", form(fields));
    hooks.started();
  } catch (error) { fail(error, $("storyboard")); }
  main.disabled = false;
}

/** One more card, after the last: what happens, and a picture or nothing. */
export function add(prompt = "", file = null) {
  const card = { at: Math.min(total(), cards.length ? Math.max(...cards.map(c => c.at)) + 2 : 0), prompt };
  setPicture(card, file);
  cards.push(card);
  draw();
}

export function redraw() {
  fillSizes($("board_size"));
  draw();
}

/** hooks: started() */
export function start(h) {
  hooks = h;
  const own = examples[language === "de" ? "de" : "en"];
  cards = [{ at: 0, prompt: own[4] }, { at: 5, prompt: own[0] }];
  $("storyboard").onsubmit = send;
  $("add_card").onclick = () => { add(); $("cards").lastElementChild.querySelector("textarea").focus(); };
  $("board_seconds").onchange = draw;
}
