"""probe.py - the probe by both roads: what himmel-twin-probe wrote, and the twin's.   SPDX-License-Identifier: MIT
usage: probe.py LIB PROBE DUMP. Exit status 1 where they disagree."""
import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "twin"))
import himmel1 as h
import importlib.util

spec = importlib.util.spec_from_file_location("twin_probe", os.path.join(sys.path[0], "probe.py"))  # this file has the same name
twin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twin)
bad = 0


def say(what, error, bar):
    global bad
    ok = error <= bar  # a NaN is not
    bad += not ok
    print(f"| {'probe':24} | {what:38} | {error:8.1e} | {bar:5.0e} | {'ok' if ok else 'TOO FAR'} |", flush=True)


def far(a, b):
    return float((a.float() - b).abs().max() / b.abs().max().clamp(min=1e-30))


def main(lib, probe, dump):
    world, (d, _), (file, meta) = twin.World(lib), h.load(dump), h.load(probe)
    sizes, n, few = twin.facts(world), len(d["clips"]), len(d["x"])
    say("metadata that is missing", float(twin.META not in meta), 0)
    seeds, start, label, _ = twin.scenes(world, True, 0, n, len(sizes))
    say("labels", float((torch.where(label[:, 0] < 0, 255, label[:, 0]) != d["label"]).sum()), 0)
    swap = {"camera": {1: 2, 2: 1}, "side": {0: 2, 2: 0}}  # pan left and right, left and right
    mirrored = [[swap.get(k, {}).get(int(v), int(v)) for k, v in zip(sizes, row)] for row in label[:, 0]]
    say("labels, mirrored", float((label[:, 1] != torch.tensor(mirrored)).sum()), 0)
    delta = (twin.clips(world, seeds, start).int() - d["clips"].int()).abs()
    say("clips: bytes that differ", float((delta > 0).float().mean()), 1e-3)
    say("clips: by more than one", float((delta > 1).float().mean()), 1e-4)
    frames = d["clips"].float() / 255
    say("input", far(twin.net_input(frames[:few]), d["x"]), 1e-4)
    # In f64: of pictures that are alike the changes are 0, and where rounding makes them 1e-9, |change| has a gradient of either sign.
    p = {k: v.double().requires_grad_() for k, v in file.items()}
    logits, z = twin.forward(p, d["x"].double(), sizes)
    say("features", far(z, d["features"]), 1e-4)
    say("logits", max(far(v, d["logits." + k]) for k, v in logits.items()), 1e-4)
    loss = sum(F.cross_entropy(v, label[:few, 0, i], reduction="sum") / (label[:few, 0, i] >= 0).sum().clamp(min=1) for i, v in enumerate(logits.values()))
    say("loss", far(loss, d["loss"][0]), 1e-4)
    loss.backward()
    name, worst = "", 0.0
    for k, v in p.items():
        if k == "key.bias":  # shifts all of a query's scores alike: its gradient is rounding
            say("gradient of key.bias", float(d["grad." + k].abs().max()) / float(d["grad.key.weight"].abs().max()), 1e-3)
        elif not far(v.grad, d["grad." + k]) <= worst:
            name, worst = k, far(v.grad, d["grad." + k])
    say(f"gradients, worst: {name}", worst, 1e-3)
    with torch.no_grad():
        p = {k: v.float() for k, v in p.items()}
        seen = torch.stack([v.argmax(1) for v in twin.forward(p, twin.net_input(frames), sizes)[0].values()], 1)
    say(f"facts of {n} clips read otherwise in bf16", float((seen != d["seen"]).float().mean()), 0.02)
    say("facts that all clips are told alike", float((seen == seen[:1]).all(0).float().mean()), 0.7)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.exit(1 if bad else 0)
