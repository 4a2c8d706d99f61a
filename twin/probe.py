"""probe.py - the scoring probe on a GPU: `himmel train probe` with the same network, scenes and file.   SPDX-License-Identifier: MIT
usage: probe.py --lib libworld.so --out FILE and what --help tells
A pool of clips (eight frames of 128 x 72, 8 bit) is rendered first and stays on the device; then batches are drawn from it, until
--seconds are over: the rate falls to nothing by then. The file is written after 1/3, 2/3 and all of the time. At the end: how well
it reads held-out footage. src/train/probe.h and probe_net.c have the network and its reasons.
"""
import argparse
import ctypes
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

import himmel1 as h
from optim import Optim
from world import World

W, H, FRAMES, PAIRS, D, IN = 128, 72, 8, 7, 64, 28  # src/train/probe.h
C1, C2, C3, C4, CP, CM, QUERIES, CH = 48, 96, 128, 160, 24, 160, 8, 256  # src/train/probe_net.c
CQ = 16 * QUERIES
PAIR = C4 + CM + CQ
META = "himmel.probe"


def facts(world):
    """Names and sizes of the facts, in their order."""
    world.lib.tw_fact_name.restype = ctypes.c_char_p
    out = {}
    while world.lib.tw_fact_size(len(out)):
        out[world.lib.tw_fact_name(len(out)).decode()] = world.lib.tw_fact_size(len(out))
    return out


def shapes(sizes):
    """Names and shapes in the order of probe_net.c."""
    out = {}

    def layer(name, *dims):
        out[name + ".weight"], out[name + ".bias"] = dims, dims[:1]

    layer("conv1", C1, 3, 3, IN)
    for i, o, c in ((2, C2, C1), (3, C2, C2), (4, C3, C2), (5, C3, C3), (6, C3, C3), (7, C4, C3)):
        layer(f"conv{i}", o, 3, 3, c)
        out[f"norm{i}.weight"] = out[f"norm{i}.bias"] = (o,)
    layer("place", CP, C4)
    layer("map", CM, 40 * CP)
    out["query"] = (1, CQ)
    layer("key", CQ, C2)
    layer("value", CQ, C2)
    layer("hidden", CH, 3 * PAIR)
    layer("feature", D, CH)
    for name, n in sizes.items():
        layer("head." + name, n, D)
    return out


def fresh(sizes, seed):
    """Start values as src/train/params.c has them: by name and shape."""
    g, p = torch.Generator().manual_seed(seed), {}
    for name, dims in shapes(sizes).items():
        if len(dims) == 1:
            p[name] = torch.full(dims, 1.0 if name.startswith("norm") and name.endswith("weight") else 0.0)
        else:
            p[name] = torch.randn(dims, generator=g) * ((2 if len(dims) > 2 else 1) / math.prod(dims[1:])) ** 0.5
    return p


# ---- network (src/train/probe_net.c) ----
def flow(a, b, gain):
    """Normal flow from a to b [...,h,w] -> x and y part."""
    m = F.pad((a + b) / 2, (1, 1, 1, 1), mode="replicate")
    gx, gy = (m[..., 1:-1, 2:] - m[..., 1:-1, :-2]) / 2, (m[..., 2:, 1:-1] - m[..., :-2, 1:-1]) / 2
    s = gain * (a - b) / (gx * gx + gy * gy + 2e-4)
    return (s * gx).clamp(-4, 4), (s * gy).clamp(-4, 4)


def net_input(f):
    """Frames [B,8,72,128,3] in [0,1] -> [B,7,36,64,28]."""
    B = f.shape[0]
    c = f.view(B, FRAMES, H // 2, 2, W // 2, 2, 3).permute(0, 1, 2, 4, 6, 3, 5).reshape(B, FRAMES, H // 2, W // 2, 12)
    cell = c.mean(-1)
    large = cell.view(B, FRAMES, H // 4, 2, W // 4, 2).mean((3, 5))
    first, last = [max(p - 2, 0) for p in range(PAIRS)], [min(p + 3, FRAMES - 1) for p in range(PAIRS)]
    gain = torch.tensor([16 / (b - a) for a, b in zip(first, last)], device=f.device)[:, None, None]
    far = flow(torch.stack([large[:, p] for p in first], 1), torch.stack([large[:, p] for p in last], 1), gain)
    big = [v.repeat_interleave(2, 2).repeat_interleave(2, 3) for v in far]
    flows = torch.stack(flow(cell[:, :-1], cell[:, 1:], 4) + tuple(big), -1)
    return torch.cat((2 * c[:, :-1] - 1, 4 * (c[:, 1:] - c[:, :-1]), flows), -1)


def conv(p, name, x, stride):
    return F.conv2d(x, p[name + ".weight"].permute(0, 3, 1, 2), p[name + ".bias"], stride, 1)


def conv_norm(p, i, x, stride):
    y = conv(p, f"conv{i}", x, stride).permute(0, 2, 3, 1)
    return F.relu(F.layer_norm(y, y.shape[-1:], p[f"norm{i}.weight"], p[f"norm{i}.bias"], 1e-5)).permute(0, 3, 1, 2)


def looks(p, x):
    """Each query's 16 values from all places of x [n,M,C2]. Keys and values are linear: folded into the query, and after the mean."""
    key = torch.einsum("kh,khc->kc", p["query"].view(QUERIES, 16), p["key.weight"].view(QUERIES, 16, C2))  # a bias shifts all scores alike
    a = torch.softmax((x @ key.t()).float(), 1).to(x.dtype)
    seen = a.transpose(1, 2) @ x
    y = torch.einsum("nkc,khc->nkh", seen, p["value.weight"].view(QUERIES, 16, C2))
    return y.flatten(1) + p["value.bias"]


def forward(p, x, sizes):
    """x [B,7,36,64,28], p in its dtype -> logits per fact, features [B,64]."""
    B = x.shape[0]
    x = x.reshape(B * PAIRS, H // 2, W // 2, IN).permute(0, 3, 1, 2)
    y = F.relu(conv(p, "conv1", x, 1))
    y = conv_norm(p, 2, y, 2)
    y = y + conv_norm(p, 3, y, 1)
    seen = looks(p, y.permute(0, 2, 3, 1).reshape(B * PAIRS, -1, C2))
    y = conv_norm(p, 4, y, 2)
    y = y + conv_norm(p, 5, y, 1)
    y = y + conv_norm(p, 6, y, 1)
    y = conv_norm(p, 7, y, 2).permute(0, 2, 3, 1).reshape(B * PAIRS, -1, C4)
    where = h.gelu(h.linear(p, "map", F.relu(h.linear(p, "place", y)).flatten(1)))
    y = torch.cat((y.mean(1), where, seen), 1).view(B, PAIRS, PAIR)
    z = torch.cat((y.mean(1), y[:, -3:].mean(1) - y[:, :3].mean(1), (y[:, 1:] - y[:, :-1]).abs().mean(1)), 1)
    z = h.linear(p, "feature", h.gelu(h.linear(p, "hidden", z)))
    g = h.gelu(z)
    return {k: h.linear(p, "head." + k, g) for k in sizes}, z


# ---- footage ----
def scenes(world, test, at, n, n_facts):
    """-> seeds, start seconds, labels [n,2,facts] (-100: not asked), where the next ones begin."""
    seeds, start, label = torch.zeros(n, dtype=torch.int64), torch.zeros(n), torch.zeros(n, 2, n_facts, dtype=torch.uint8)
    world.lib.tw_probe_scenes.restype = ctypes.c_uint64
    at = world.lib.tw_probe_scenes(int(test), ctypes.c_uint64(at), n, world._p(seeds), world._p(start), world._p(label))
    label = label.long()
    return seeds, start, torch.where(label == 255, -100, label), at


def clips(world, seeds, start):
    """-> U8 [n,8,72,128,3] on the device: hm_probe_render."""
    t = start.double()[:, None] + (4 + 9 * torch.arange(FRAMES).double()) / h.FPS
    px = world.render(seeds.repeat_interleave(FRAMES), t.reshape(-1), (W, H), W, H)
    return (px.clamp(0, 1) * 255 + 0.5).to(torch.uint8).view(-1, FRAMES, H, W, 3)


def augment(f, g):
    """Mild: what a codec may do to a film should not matter. f [B,8,72,128,3] in [0,1]; g: generator on the device."""
    B = f.shape[0]
    u = lambda a, b: (a + (b - a) * torch.rand(B, generator=g, device=f.device)).view(B, 1, 1, 1, 1)
    blur = u(0, 0.25) * (u(0, 1) < 0.5)
    for d in (2, 3):
        n = f.shape[d]
        before, after = (torch.cat(v, d) for v in ((f.narrow(d, 0, 1), f.narrow(d, 0, n - 1)), (f.narrow(d, 1, n - 1), f.narrow(d, n - 1, 1))))
        f = f + blur * (before + after - 2 * f)
    noise = 1.7 * u(0, 0.012) * (2 * torch.rand(f.shape, generator=g, device=f.device) - 1)
    return f * u(0.97, 1.03) + u(-0.015, 0.015) + noise


class Run:
    def __init__(self, o):
        self.o, self.world = o, World(o.lib, o.device)
        self.sizes = facts(self.world)
        self.dtype = torch.float32 if o.f32 or o.device == "cpu" else torch.bfloat16
        self.opt = Optim(fresh(self.sizes, o.seed), o.device, muon=lambda name, nd: False, lr_adamw=o.lr, beta2=0.99, weight_decay=0.05,
                         ema=o.ema, warmup=o.warmup)
        self.g = torch.Generator(o.device).manual_seed(o.seed)
        self.pool = self.labels = None
        self.made = self.step = 0
        self.losses = torch.zeros(len(self.sizes), device=o.device)

    def say(self, text):
        print(text, flush=True)

    def render(self):
        o, t0, at = self.o, time.time(), self.o.seed << 30
        self.pool = torch.empty(o.clips, FRAMES, H, W, 3, dtype=torch.uint8, device=o.device)
        self.labels = torch.empty(o.clips, 2, len(self.sizes), dtype=torch.int64, device=o.device)
        said = t0
        while self.made < o.clips and (self.made == 0 or time.time() - t0 < o.render_seconds):
            n = min(256 if o.device != "cpu" else 16, o.clips - self.made)
            seeds, start, label, at = scenes(self.world, False, at, n, len(self.sizes))
            self.pool[self.made : self.made + n] = clips(self.world, seeds, start)
            self.labels[self.made : self.made + n] = label.to(o.device)
            self.made += n
            if time.time() - said > 5:
                said = time.time()
                self.say(f"rendering: {self.made} clips, {said - t0:.1f} s")
        self.say(f"rendered {self.made} clips in {time.time() - t0:.1f} s")

    def one_step(self, left):
        o, g = self.o, self.g
        pick = torch.randint(self.made, (o.batch,), generator=g, device=o.device)
        mirror = torch.rand(o.batch, generator=g, device=o.device) < 0.5
        f = self.pool[pick].float() / 255
        f = augment(torch.where(mirror.view(-1, 1, 1, 1, 1), f.flip(3), f), g)
        label = self.labels[pick, mirror.long()]
        self.opt.prepare(self.step, all_rates=left)
        logits, _ = forward({k: v.to(self.dtype) for k, v in self.opt.p.items()}, net_input(f).to(self.dtype), self.sizes)
        losses = [F.cross_entropy(v.float(), label[:, i], reduction="sum") / (label[:, i] >= 0).sum().clamp(min=1) for i, v in enumerate(logits.values())]
        sum(losses).backward()
        self.opt.apply()
        self.losses += torch.stack(losses).detach()
        self.step += 1

    def save(self):
        p = self.opt.averaged()
        about = {"trainer": "twin/probe.py", "renderer": self.world.version, "seed": self.o.seed, "clips": self.made, "steps": self.step,
                 "parameters": self.opt.w.numel()}
        h.save(self.o.out, {k: p[k].bfloat16() for k in shapes(self.sizes)}, {META: json.dumps(about, separators=(",", ":"))})
        self.say(f"{self.o.out}: written at step {self.step}")

    def train(self):
        o, start, done, saved, losses_at = self.o, time.time(), 0.0, 0, 0
        self.say(f"probe: {self.opt.w.numel()} parameters; {o.device}, {self.dtype}")
        while self.step < o.steps and done < 1:
            self.one_step(1 - done)
            if o.device != "cpu" and self.step % 10 == 0:
                torch.cuda.synchronize()  # else the time of what is only queued would not count
            done = max((time.time() - start) / o.seconds, self.step / o.steps)
            if self.step % o.every == 0 or done >= 1:
                each = (self.losses / (self.step - losses_at)).tolist()
                self.say("step %d loss %.3f (%s) samples/s %.0f %.1f s" % (self.step, sum(each), " ".join(f"{k} {v:.2f}" for k, v in zip(self.sizes, each)),
                                                                    self.step * o.batch / (time.time() - start), time.time() - start))
                self.losses.zero_()
                losses_at = self.step
            if saved < 2 and done < 1 and 3 * done >= saved + 1:
                saved += 1
                self.save()
        self.save()

    @torch.no_grad()
    def measure(self):
        """Accuracy on held-out combinations of facts, by the file that was written."""
        o, at, t0 = self.o, 0, time.time()
        p = {k: v.to(o.device, self.dtype) for k, v in h.load(o.out)[0].items()}
        asked, right = (torch.zeros(len(self.sizes), device=o.device) for _ in range(2))
        for i in range(0, o.test, 64):
            seeds, start, label, at = scenes(self.world, True, at, min(64, o.test - i), len(self.sizes))
            logits, _ = forward(p, net_input(clips(self.world, seeds, start).float() / 255).to(self.dtype), self.sizes)
            label, seen = label[:, 0].to(o.device), torch.stack([v.argmax(1) for v in logits.values()], 1)
            asked += (label >= 0).sum(0)
            right += (label == seen).sum(0)
        rates = (100 * right / asked.clamp(min=1)).tolist()
        self.say(f"facts read from {o.test} held-out clips: " + " ".join(f"{k} {v:.1f} %" for k, v in zip(self.sizes, rates)) + f" ({time.time() - t0:.1f} s)")


def options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lib", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (("clips", 40000), ("steps", 10**9), ("batch", 256), ("seed", 1), ("warmup", 100), ("every", 200), ("test", 1000)):
        a.add_argument("--" + name, type=int, default=value)
    for name, value in (("seconds", 60.0), ("render-seconds", 30.0), ("lr", 1.5e-3), ("ema", 0.998)):
        a.add_argument("--" + name, type=float, default=value)
    a.add_argument("--f32", action="store_true")
    return a.parse_args()


def main():
    o = options()
    torch.backends.cudnn.benchmark = True
    run = Run(o)
    with torch.no_grad():
        run.render()
    run.train()
    run.measure()


if __name__ == "__main__":
    sys.exit(main())
