// edit.js - one film or picture, large: playing it, and making others from it.   SPDX-License-Identifier: MIT
import { form, isFilm, post, url } from "./api.js";
import { el, films } from "./cards.js";
import { t } from "./words.js";

const viewer = document.getElementById("viewer"), stage = document.getElementById("stage"), room = document.getElementById("room");
let job, media, mask, hooks = {};

function number(label, id, props) {
  return el("label", {}, el("span", {}, label), el("input", { type: "number", id, ...props }));
}

function promptField(value) {
  return el("label", { className: "wide" }, el("span", {}, t("prompt")), el("input", { type: "text", id: "edit_prompt", value, maxLength: 4000, required: true }));
}

function strengthField(value) {
  return el("label", {}, el("span", {}, t("strength")), el("input", { type: "range", id: "edit_strength", min: 0.05, max: 1, step: 0.05, value }));
}

const value = id => document.getElementById(id)?.value;

/** A form in the room; send() makes the request. */
function open(title, help, fields, send) {
  const button = el("button", { type: "submit", className: "main" }, t("make"));
  const f = el("form", {}, el("fieldset", {}, el("legend", {}, title), help ? el("p", { className: "small" }, help) : null, el("div", { className: "row" }, ...fields, button)));
  f.onsubmit = async e => {
    e.preventDefault();
    button.disabled = true;
    try {
      await send();
      hooks.started();
      viewer.close();
    } catch (error) {
      hooks.fail(error, room);
    }
    button.disabled = false;
  };
  closeMask();
  room.replaceChildren(f);
  f.querySelector("input")?.focus();
}

// ---- masks ----

function closeMask() {
  mask?.canvas.remove();
  mask = null;
}

/** A canvas over the film, in its pixels; white will be what may change. */
function openMask() {
  const w = media.videoWidth || media.naturalWidth, h = media.videoHeight || media.naturalHeight;
  const canvas = el("canvas", { width: w, height: h, "aria-label": t("mask"), role: "img" });
  mask = { canvas, painted: false, size: Math.round(w / 12) };
  const place = () => {
    const r = media.getBoundingClientRect(), s = stage.getBoundingClientRect();
    Object.assign(canvas.style, { left: `${r.left - s.left}px`, top: `${r.top - s.top}px`, width: `${r.width}px`, height: `${r.height}px` });
  };
  place();
  new ResizeObserver(place).observe(media);
  const pen = canvas.getContext("2d");
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "rgba(255,255,255,.75)";
  const at = e => {
    const r = canvas.getBoundingClientRect();
    return [(e.clientX - r.left) / r.width * w, (e.clientY - r.top) / r.height * h];
  };
  canvas.onpointerdown = e => {
    canvas.setPointerCapture(e.pointerId);
    pen.lineWidth = mask.size;
    pen.beginPath();
    pen.moveTo(...at(e));
    pen.lineTo(...at(e));
    pen.stroke();
    mask.painted = true;
  };
  canvas.onpointermove = e => {
    if (!e.buttons) return;
    pen.lineTo(...at(e));
    pen.stroke();
  };
  media.pause?.();
  if ("controls" in media) media.controls = false;
  stage.append(canvas);
}

/** What is painted and the box, white on black, as a PNG. */
function maskFile() {
  const { canvas } = mask, out = el("canvas", { width: canvas.width, height: canvas.height }), pen = out.getContext("2d");
  const [x, y, w, h] = ["box_x", "box_y", "box_w", "box_h"].map(id => Number(value(id)) || 0);
  if (!mask.painted && !(w > 0 && h > 0)) throw new Error(t("no_mask"));
  pen.drawImage(canvas, 0, 0);
  const pixels = pen.getImageData(0, 0, out.width, out.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set(pixels.data[i + 3] > 60 ? [255, 255, 255, 255] : [0, 0, 0, 255], i);
  pen.putImageData(pixels, 0, 0);
  pen.fillStyle = "#fff";
  pen.fillRect(x, y, w, h);
  return new Promise(done => out.toBlob(b => done(new File([b], "mask.png", { type: "image/png" })), "image/png"));
}

function paintRoom() {
  const brush = el("input", { type: "range", min: 1, max: 40, value: 10, oninput: e => { mask.size = Math.round(mask.canvas.width * e.target.value / 120); } });
  const clear = el("button", { type: "button", onclick: () => {
    mask.canvas.getContext("2d").clearRect(0, 0, mask.canvas.width, mask.canvas.height);
    mask.painted = false;
  } }, t("clear"));
  const boxes = ["box_x", "box_y", "box_w", "box_h"].map(id => number(t(id), id, { min: 0, step: 1 }));
  open(t("paint"), t("paint_help"), [promptField(job.prompt ?? ""), el("label", {}, el("span", {}, t("brush")), brush), clear, ...boxes], async () => {
    const file = await maskFile();
    return isFilm(job) ? post("/v1/videos/edits", form({ prompt: value("edit_prompt"), "video[id]": job.id, mask: file }))
                       : post("/v1/images/edits", form({ prompt: value("edit_prompt"), image: await pictureFile(), mask: file, response_format: "url" }));
  });
  openMask();
}

async function pictureFile() {
  return new File([await (await fetch(url.picture(job))).blob()], "picture.png");
}

// ---- the other rooms ----

function remixRoom() {
  open(t("remix"), t("remix_help"), [promptField(job.prompt ?? ""), strengthField(0.8)], async () => isFilm(job)
    ? post(`/v1/videos/${job.id}/remix`, { prompt: value("edit_prompt"), strength: Number(value("edit_strength")) })
    : post("/v1/images/edits", form({ prompt: value("edit_prompt"), image: await pictureFile(), strength: value("edit_strength"), response_format: "url" })));
}

function extendRoom() {
  const loop = el("input", { type: "checkbox", id: "edit_loop" });
  open(t("extend"), "", [promptField(job.prompt ?? ""), number(t("extend_after"), "edit_after", { min: 0, max: 20, step: 1, value: 4 }),
    number(t("extend_before"), "edit_before", { min: 0, max: 20, step: 1, value: 0 }), el("label", { className: "tick" }, loop, " ", el("span", {}, t("close_loop")))], () =>
    post("/v1/videos/extensions", form({ prompt: value("edit_prompt"), "video[id]": job.id, seconds: value("edit_after"), seconds_before: Number(value("edit_before")) || undefined, loop: loop.checked || undefined })));
}

function blendRoom() {
  const others = films().filter(f => f.id !== job.id);
  if (!others.length) return hooks.fail(new Error(t("no_other")), room);
  const select = el("select", { id: "edit_other" }, ...others.map(f => el("option", { value: f.id }, (f.prompt || f.id).slice(0, 60))));
  open(t("blend"), "", [el("label", { className: "wide" }, el("span", {}, t("blend_with")), select), number(t("blend_seconds"), "edit_between", { min: 0, max: 8, step: 1, value: 2 })], () =>
    post("/himmel/v1/joins", { clips: [{ id: job.id }, { id: select.value }], between: Number(value("edit_between")), prompt: job.prompt ?? "" }));
}

// ---- the viewer ----

function player() {
  const step = n => { media.pause(); media.currentTime = Math.max(0, media.currentTime + n / 24); };
  const loop = el("input", { type: "checkbox", checked: true, onchange: e => { media.loop = e.target.checked; } });
  return [el("button", { type: "button", onclick: () => step(-1) }, t("frame_back")), el("button", { type: "button", onclick: () => step(1) }, t("frame_on")),
    el("label", { className: "tick" }, loop, " ", el("span", {}, t("loop")))];
}

function actions() {
  const button = (name, f) => el("button", { type: "button", onclick: f }, t(name));
  const save = el("button", { type: "button", onclick: () => el("a", { href: (isFilm(job) ? url.film(job) + "?download=1" : url.picture(job)), download: `${job.id}${isFilm(job) ? ".mp4" : ".png"}` }).click() }, t("download"));
  const list = [save, button("again", () => { viewer.close(); hooks.reuse(job); }), button("remix", remixRoom), button("paint", paintRoom)];
  if (isFilm(job)) list.push(button("extend", extendRoom), button("blend", blendRoom));
  list.push(button("verify", async () => {
    const blob = await (await fetch(isFilm(job) ? url.film(job) : url.picture(job))).blob();
    viewer.close();
    hooks.verify(new File([blob], job.id));
  }), button("erase", () => { if (confirm(t("really"))) viewer.close(), hooks.erase(job); }));
  return list;
}

export function show(j) {
  job = j;
  closeMask();
  room.replaceChildren();
  document.getElementById("viewer_prompt").textContent = job.prompt || job.id;
  const h = job.himmel || {};
  document.getElementById("viewer_facts").textContent = isFilm(job) ? t("facts", { size: job.size, seconds: job.seconds, seed: h.seed }) : t("facts_image", { size: job.size, seed: h.seed });
  media = isFilm(job) ? el("video", { src: url.film(job), controls: true, loop: true, muted: true, autoplay: true, playsInline: true, "aria-label": job.prompt || job.id })
                      : el("img", { src: url.picture(job), alt: job.prompt || job.id });
  media.addEventListener(isFilm(job) ? "loadedmetadata" : "load", e => { /* small films are shown large */
    const m = e.target, ratio = (m.videoWidth || m.naturalWidth) / (m.videoHeight || m.naturalHeight);
    m.style.width = `min(100%, ${62 * ratio}vh)`;
  });
  stage.replaceChildren(media);
  document.getElementById("player").replaceChildren(...(isFilm(job) ? player() : []));
  document.getElementById("actions").replaceChildren(...actions());
  viewer.showModal();
}

/** hooks: started(), reuse(job), verify(file), erase(job), fail(error, where) */
export function start(h) {
  hooks = h;
  document.getElementById("viewer_close").onclick = () => viewer.close();
  viewer.addEventListener("close", () => { closeMask(); stage.replaceChildren(); });
}

