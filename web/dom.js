// dom.js - elements and short messages.   SPDX-License-Identifier: MIT
import { ApiError } from "./api.js";
import { t } from "./words.js";

export const $ = id => document.getElementById(id);

/** An element with properties, attributes (aria-*, data-*, role, for) and children; null children are left out. */
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props))
    if (k.startsWith("aria-") || k.startsWith("data-") || k === "role" || k === "for") e.setAttribute(k, v);
    else e[k] = v;
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

/** A field under its label. */
export function field(label, input, className = "") {
  return el("label", { className }, el("span", {}, label), input);
}

export function button(text, onclick, props = {}) {
  return el("button", { type: "button", onclick, ...props }, text);
}

/** A button that asks once more before it does what cannot be undone. */
export function twoStep(text, sure, does, props = {}) {
  const b = button(text, () => {
    if (b.dataset.sure) return does();
    b.dataset.sure = "1";
    b.textContent = sure;
    b.removeAttribute("aria-label"); // the question is what is read out
  }, { className: "danger", ...props });
  b.onblur = () => {
    delete b.dataset.sure;
    b.textContent = text;
    if (props["aria-label"]) b.setAttribute("aria-label", props["aria-label"]);
  };
  return b;
}

let timer;
/** One line at the foot of the page; errors stay until they are closed. */
export function say(text, bad = false) {
  clearTimeout(timer);
  const close = button("×", () => $("news").replaceChildren(), { className: "quiet", "aria-label": t("close") });
  $("news").replaceChildren(el("div", { className: bad ? "toast bad" : "toast" }, el("span", {}, text), close));
  if (!bad) timer = setTimeout(() => $("news").replaceChildren(), 6000);
}

/** An error, where it happened if there is a place for it. A missing key is the door's business. */
export function fail(error, where) {
  if (error instanceof ApiError && error.status === 401) return;
  if (!where) return say(error.message, true);
  where.querySelector(".error")?.remove();
  where.append(el("p", { className: "error bad", role: "alert" }, error.message));
}
