// mask.js - painting on a frame what shall change.   SPDX-License-Identifier: MIT
import { el } from "./dom.js";
import { t } from "./words.js";

/** A canvas over the film or picture, in its pixels. Returns {width, height, brush(part), erase(on), box(x, y, w, h), undo(),
 * clear(), file(), close()}; brush: part of the width, 0..1. file() is null if nothing is painted: white may change, black stays. */
export function openMask(media, stage) {
  const width = media.videoWidth || media.naturalWidth, height = media.videoHeight || media.naturalHeight;
  const canvas = el("canvas", { width, height, role: "img", "aria-label": t("mask") });
  const pen = canvas.getContext("2d", { willReadFrequently: true }), old = [];
  let size = width / 10, erasing = false, down = false;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = pen.fillStyle = "#ff4f9a";
  canvas.style.opacity = "0.6";
  const place = () => { /* the pixels of object-fit: contain */
    const r = media.getBoundingClientRect(), s = stage.getBoundingClientRect(), k = Math.min(r.width / width, r.height / height);
    Object.assign(canvas.style, { width: `${width * k}px`, height: `${height * k}px`, left: `${r.left - s.left + (r.width - width * k) / 2}px`, top: `${r.top - s.top + (r.height - height * k) / 2}px` });
  };
  const watch = new ResizeObserver(place);
  watch.observe(media);
  place();
  const keep = () => { old.push(pen.getImageData(0, 0, width, height)); if (old.length > 20) old.shift(); };
  const at = e => {
    const r = canvas.getBoundingClientRect();
    return [(e.clientX - r.left) / r.width * width, (e.clientY - r.top) / r.height * height];
  };
  const line = e => {
    pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
    pen.lineWidth = size;
    pen.lineTo(...at(e));
    pen.stroke();
  };
  canvas.onpointerdown = e => {
    keep();
    down = true;
    canvas.setPointerCapture(e.pointerId);
    pen.beginPath();
    pen.moveTo(...at(e));
    line(e);
  };
  canvas.onpointermove = e => { if (down) line(e); };
  canvas.onpointerup = canvas.onpointercancel = () => { down = false; };
  stage.append(canvas);
  return {
    width, height,
    brush: part => { size = Math.max(1, part * width); },
    erase: on => { erasing = on; },
    undo: () => { const last = old.pop(); if (last) pen.putImageData(last, 0, 0); },
    clear: () => { keep(); pen.clearRect(0, 0, width, height); },
    close: () => { watch.disconnect(); canvas.remove(); },
    box: (x, y, w, h) => {
      keep();
      pen.globalCompositeOperation = "source-over";
      pen.fillRect(x, y, w, h);
    },
    file: async () => {
      const out = el("canvas", { width, height }), pixels = pen.getImageData(0, 0, width, height), d = pixels.data;
      let painted = 0;
      for (let i = 0; i < d.length; i += 4) {
        const on = d[i + 3] > 127 ? 255 : 0;
        d[i] = d[i + 1] = d[i + 2] = on;
        d[i + 3] = 255;
        painted += on;
      }
      if (!painted) return null;
      out.getContext("2d").putImageData(pixels, 0, 0);
      return new File([await new Promise(done => out.toBlob(done, "image/png"))], "mask.png", { type: "image/png" });
    },
  };
}
