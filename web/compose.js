// compose.js - the prompt and what goes with it.   SPDX-License-Identifier: MIT
import { form, get, isFilm, post, startPictures } from "./api.js";
import { refresh } from "./cards.js";
import { $, button, el, fail, say } from "./dom.js";
import { examples, language, t } from "./words.js";

const shapes = [["landscape", [[1280, 720], [1920, 1080], [854, 480], [256, 144]]], ["portrait", [[720, 1280], [1080, 1920]]], ["square", [[1024, 1024], [512, 512]]]];
let hintTimer, asked = 0;

/** Fill a select with sizes; what was chosen stays. */
export function fillSizes(select, own) {
  const chosen = select.value;
  select.replaceChildren(...shapes.map(([shape, list]) => el("optgroup", { label: t(shape) },
    ...list.map(([w, h]) => el("option", { value: `${w}x${h}` }, `${w} × ${h}`)))), ...(own ? [el("option", { value: "own" }, t("another_size"))] : []));
  if (chosen) select.value = chosen;
}

function showFields() {
  const image = $("kind").value === "image";
  $("seconds_label").hidden = $("first_label").hidden = image;
  $("own_size").hidden = $("size").value !== "own";
  $("own").required = !$("own_size").hidden;
}

function showHint(h) {
  const parts = [];
  if (h.unknown) parts.push(el("p", {}, t("unknown", { words: h.words, known: language === "de" ? t("known") : h.known })));
  if (!h.unknown && h.expanded && h.expanded !== $("prompt").value.trim())
    parts.push(el("p", {}, t("fuller", { text: h.expanded }), button(t("use"), () => {
      $("prompt").value = h.expanded;
      hint();
      $("prompt").focus();
    })));
  $("hint").replaceChildren(...parts);
}

function hint() {
  clearTimeout(hintTimer);
  const n = ++asked, prompt = $("prompt").value.trim();
  if (!prompt) return $("hint").replaceChildren();
  hintTimer = setTimeout(async () => {
    try {
      const h = await get(`/himmel/v1/prompt?${new URLSearchParams({ prompt })}`);
      if (n === asked) showHint(h);
    } catch (e) { fail(e); }
  }, 350);
}

const number = id => $(id).value === "" ? undefined : Number($(id).value);

function settings() {
  const size = $("size").value === "own" ? $("own").value.replace(/\s/g, "").replace("×", "x") : $("size").value;
  return { prompt: $("prompt").value.trim(), size, steps: number("steps"), guidance: number("guidance"), negative_prompt: $("negative").value.trim() || undefined };
}

async function makeFilms(n) {
  const seed = number("seed");
  for (let i = 0; i < n; i++)
    await post("/v1/videos", form({ ...settings(), seconds: $("seconds").value, seed: seed === undefined ? seed : seed + i, input_reference: $("first").files[0] }));
}

const makePictures = n => startPictures("/v1/images/generations", { ...settings(), n, seed: number("seed") });

async function compose(e) {
  e.preventDefault();
  const main = $("composer").querySelector(".main"), n = Number($("variations").value);
  main.disabled = true;
  try {
    await ($("kind").value === "film" ? makeFilms(n) : makePictures(n));
    say(t("started"));
    await refresh();
  } catch (error) { fail(error); }
  main.disabled = false;
}

/** Everything of a film or picture into the fields again. */
export function reuse(job) {
  const h = job.himmel || {};
  $("kind").value = isFilm(job) ? "film" : "image";
  $("prompt").value = job.prompt ?? "";
  for (const id of ["seed", "steps", "guidance", "negative"]) $(id).value = h[id] ?? "";
  $("size").value = job.size;
  if (!$("size").value) $("size").value = "own", $("own").value = job.size;
  if (isFilm(job)) $("seconds").value = Math.max(1, Math.round(Number(job.seconds)));
  $("variations").value = 1;
  $("composer").querySelector("details").open = true;
  showFields();
  hint();
}

export function redraw() {
  fillSizes($("size"), true);
  $("prompt").placeholder = t("placeholder");
  $("seed").placeholder = t("random");
  $("chips").replaceChildren(...examples[language === "de" ? "de" : "en"].map(text => button(text, () => {
    $("prompt").value = text;
    hint();
    $("prompt").focus();
  })));
  hint();
}

/** Once, when the page is there. */
export function start() {
  fillSizes($("size"), true);
  $("prompt").oninput = hint;
  $("prompt").onkeydown = e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) $("composer").requestSubmit(); };
  $("composer").onsubmit = compose;
  $("kind").onchange = $("size").onchange = showFields;
}
