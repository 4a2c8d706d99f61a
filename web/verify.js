// verify.js - where any file comes from, layer by layer.   SPDX-License-Identifier: MIT
import { form, post } from "./api.js";
import { $, el, fail } from "./dom.js";
import { t } from "./words.js";

let hooks = {};

function layer(title, kind, text) {
  return el("li", { className: kind }, el("p", {}, title), el("p", {}, text));
}

function credentials(found = {}) {
  if (found.state !== "valid") return layer(t("layer_credentials"), found.state === "broken" ? "broken" : "", t(found.state === "broken" ? "credentials_broken" : "credentials_none"));
  const made = found.made_by_machine ? t("made_by_machine") : found.camera ? t("made_by_camera") : "";
  return layer(t("layer_credentials"), "yes", `${t(found.trusted ? "credentials_trusted" : "credentials_valid", { signer: found.signer })} ${made}`);
}

function watermark(found = {}) {
  const how = { found: "watermark_found", none: "watermark_none" }[found.state] ?? "watermark_unread";
  return layer(t("layer_watermark"), found.state === "found" ? "yes" : "", t(how));
}

/** Only credentials that hold can say so. */
function mark(found, credentials) {
  const state = credentials?.state === "valid" ? found?.state : "";
  return layer(t("layer_mark"), state === "drawn" ? "yes" : "", t({ drawn: "mark_drawn", "left out": "mark_left_out" }[state] ?? "mark_not_said"));
}

/** The three layers of a provenance check as a list, whether they contradict each other, and all the rest to unfold. */
export function layers(answer) {
  const all = answer.himmel || {};
  const list = el("ul", { className: "layers" }, credentials(all.credentials), watermark(all.watermark), mark(all.visible_mark, all.credentials),
    all.agreement?.state === "disagree" ? layer(t("disagree"), "broken", all.agreement.notes.join("; ")) : null);
  return el("div", {}, list, el("details", {}, el("summary", {}, t("everything")), el("pre", { tabIndex: 0 }, JSON.stringify(all, null, 2))));
}

async function check(file) {
  hooks.go("verify");
  $("verdict").replaceChildren(el("p", {}, t("checking")));
  try {
    $("verdict").replaceChildren(el("h2", {}, file.name), layers(await post("/v1/content_provenance_checks", form({ file }))));
  } catch (e) {
    $("verdict").replaceChildren();
    fail(e, $("verdict"));
  }
}

/** A file may be dropped anywhere. hooks: go(room) */
export function start(h) {
  hooks = h;
  $("verify_file").onchange = e => e.target.files[0] && check(e.target.files[0]);
  for (const name of ["dragover", "drop", "dragleave"])
    document.addEventListener(name, e => {
      if (e.target.matches?.("input[type=file]") && e.target.id !== "verify_file") return; /* that field wants it */
      e.preventDefault();
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && e.dataTransfer.files[0]) check(e.dataTransfer.files[0]);
    });
}
