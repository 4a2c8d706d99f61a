// tools.js - other films from a film, other pictures from a picture.   SPDX-License-Identifier: MIT
import { form, isFilm, post, startPictures, url } from "./api.js";
import { films } from "./cards.js";
import { button, el, fail, field } from "./dom.js";
import { t } from "./words.js";

const number = (value, min, max) => el("input", { type: "number", value, min, max, step: 1, required: true });

/** A form with a help line; send() makes the request, started() is called when it is accepted. */
function tool(help, fields, send, started) {
  const main = el("button", { type: "submit", className: "main" }, t("make"));
  const f = el("form", { className: "tool" }, el("p", { className: "small" }, help), ...fields, main);
  f.onsubmit = async e => {
    e.preventDefault();
    main.disabled = true;
    f.querySelector(".error")?.remove();
    try {
      await send();
      started();
    } catch (error) { fail(error, f); }
    main.disabled = false;
  };
  return f;
}

function promptInput(job) {
  return el("textarea", { rows: 3, value: job.prompt ?? "", maxLength: 4000, required: true, className: "say" });
}

const sendPicture = fields => startPictures("/v1/images/edits", form(fields));
const picture = async job => new File([await (await fetch(url.picture(job))).blob()], "picture.png");

function remix(job, started) {
  const say = promptInput(job), strength = el("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: 0.6, className: "strength" });
  const send = async () => isFilm(job) ? post(`/v1/videos/${job.id}/remix`, { prompt: say.value.trim(), strength: Number(strength.value) })
    : sendPicture({ prompt: say.value.trim(), image: await picture(job), strength: strength.value });
  return tool(t("remix_help"), [field(t("prompt"), say), el("div", {}, field(t("strength"), strength), el("div", { className: "ends small" }, el("span", {}, t("strength_low")), el("span", {}, t("strength_high"))))], send, started);
}

function paint(job, mask, started) {
  const say = promptInput(job), brush = el("input", { type: "range", min: 2, max: 40, value: 10, oninput: () => mask.brush(brush.value / 100) });
  const rub = el("input", { type: "checkbox", onchange: () => mask.erase(rub.checked) });
  const boxes = [[t("box_x"), 0, mask.width - 1], [t("box_y"), 0, mask.height - 1], [t("box_w"), 1, mask.width], [t("box_h"), 1, mask.height]]
    .map(([label, min, max]) => field(label, el("input", { type: "number", min, max, step: 1 })));
  const add = button(t("box_add"), () => mask.box(...boxes.map(b => Number(b.querySelector("input").value))));
  const send = async () => {
    const file = await mask.file();
    if (!file) throw new Error(t("no_mask"));
    const fields = { prompt: say.value.trim(), mask: file };
    return isFilm(job) ? post("/v1/videos/edits", form({ ...fields, "video[id]": job.id })) : sendPicture({ ...fields, image: await picture(job) });
  };
  return tool(t(isFilm(job) ? "paint_help" : "paint_help_image"), [field(t("paint_prompt"), say), field(t("brush"), brush),
    el("div", { className: "row" }, el("label", { className: "tick" }, rub, el("span", {}, t("rub"))), button(t("undo"), () => mask.undo()), button(t("clear"), () => mask.clear())),
    el("details", {}, el("summary", {}, t("box")), el("div", { className: "row" }, ...boxes), add)], send, started);
}

function extend(job, started) {
  const say = promptInput(job), after = number(4, 0, 20), before = number(0, 0, 20);
  return tool(t("extend_help"), [field(t("prompt"), say), el("div", { className: "row" }, field(t("extend_before"), before), field(t("extend_after"), after))], () =>
    post("/v1/videos/extensions", form({ prompt: say.value.trim(), "video[id]": job.id, seconds: Number(after.value), seconds_before: Number(before.value) })), started);
}

function loop(job, started) {
  const say = promptInput(job), back = number(2, 1, 8);
  return tool(t("close_loop_help"), [field(t("prompt"), say), field(t("loop_seconds"), back)], () =>
    post("/v1/videos/extensions", form({ prompt: say.value.trim(), "video[id]": job.id, seconds: Number(back.value), loop: "true" })), started);
}

function blend(job, started) {
  const others = films().filter(f => f.id !== job.id);
  if (!others.length) return el("p", { className: "small" }, t("no_other"));
  const say = promptInput(job), between = number(2, 0, 8), image = el("img", { alt: "" }), order = el("select", {}, el("option", { value: "after" }, t("blend_after")), el("option", { value: "before" }, t("blend_before")));
  const other = el("select", { onchange: () => { image.src = url.thumb({ id: other.value, object: "video" }); } }, ...others.map(f => el("option", { value: f.id }, (f.prompt || f.id).slice(0, 70))));
  other.onchange();
  const send = () => {
    const clips = [{ id: job.id }, { id: other.value }];
    return post("/himmel/v1/joins", { clips: order.value === "after" ? clips : clips.reverse(), between: Number(between.value), prompt: say.value.trim() });
  };
  return tool(t("blend_help"), [field(t("blend_with"), other), el("div", { className: "stage" }, image), el("div", { className: "row" }, field(t("blend_order"), order), field(t("blend_seconds"), between)), field(t("prompt"), say)], send, started);
}

/** What can be made of a job: name -> {form(job, mask)}; mask (mask.js) for paint. */
export function toolsFor(job, started) {
  const simple = f => ({ form: j => f(j, started) });
  const both = { remix: simple(remix), paint: { form: (j, mask) => paint(j, mask, started) } };
  return isFilm(job) ? { ...both, extend: simple(extend), close_loop: simple(loop), blend: simple(blend) } : both;
}
