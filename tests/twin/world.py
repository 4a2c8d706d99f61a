"""world.py - footage by three roads: C trainer, stand-alone program, twin.   SPDX-License-Identifier: MIT
usage: world.py LIB WEIGHTS TRAINER_SHARD PROGRAM_SHARD TWIN_SHARD FRAME_PPM. Exit status 1 where two of them disagree."""
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "twin"))
import himmel1 as h
from world import World

bad = 0


def say(what, error, bar):
    global bad
    ok = error <= bar
    bad += not ok
    print(f"| {'footage':24} | {what:38} | {error:8.1e} | {bar:5.0e} | {'ok' if ok else 'TOO FAR'} |", flush=True)


def compare(name, a, b, ids):
    for k in ("z", "stills"):
        if k in b:  # bf16 rounds at 2^-9 of the value: a value on the edge may fall to either side
            x, y = a[k].float(), b[k].float()
            say(f"{name}, {k}", float(((x - y).abs() / (y.abs() + 1)).max()), 1e-2)
            size = y.abs() >= 0.05  # smaller ones are what is left of large sums: f32 noise, many bf16 steps of theirs
            say(f"{name}, {k}, of 0.05 and up that differ", float((x != y)[size].float().mean()), 1e-2)
    say(f"{name}, subject (of 255)", float((a["subject"].float() - b["subject"].float()).abs().max()), 1)
    for k in ("seed", "start") + (("ids",) if ids else ()):
        say(f"{name}, {k}", float((a[k] != b[k]).sum()), 0)


def main(lib, weights, trainer, program, twin, ppm):
    (t, tm), (p, pm), (w, wm) = (h.load(x) for x in (trainer, program, twin))
    for k in tm:
        say(f"metadata {k}", float(tm[k] != pm.get(k)) + float(tm[k] != wm.get(k)), 0)
    compare("program", p, t, False)
    compare("twin", w, t, False)
    say("twin and program, captions", float((w["ids"] != p["ids"]).sum()), 0)
    say("captions that say nothing", float((p["ids"][..., 1] == 0).float().mean()), 0.2)
    with open(ppm, "rb") as f:  # himmel-world sheet of seeds 1..24 at t = 5, dithered to 8 bit
        f.readline(), f.readline(), f.readline()
        sheet = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8).view(6, 144, 4, 256, 3).transpose(1, 2).reshape(24, 144, 256, 3)
    mine = World(lib).render(torch.arange(1, 25), torch.full((24,), 5.0), (256, 144), 256, 144) * 255
    d = (mine - sheet).abs()
    say("24 pictures: pixels over 1.02 of 255", float((d > 1.02).float().mean()), 1e-3)
    say("24 pictures: mean difference", float(d.mean()), 0.6)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.exit(1 if bad else 0)
