"""train.py - the transformer on a GPU: `himmel train dit` with the same recipe, options, log and state file.
SPDX-License-Identifier: MIT
usage: train.py --model WEIGHTS --data DIR --state FILE --out FILE [--val DIR] [--log FILE] and what --help tells
A run is its state file; batches are functions of (seed, step), so that a resumed run repeats an uninterrupted one. The text
encoder is frozen, as in the C recipe (docs/training-log.md). src/train/dit.c and batch.c have the reasons.
"""
import argparse
import ctypes
import glob
import math
import os
import random
import time

import torch

import himmel1 as h
from optim import Optim
from world import codec_hash

LEVELS = (0.2, 0.5, 0.8, 0.95, 1.0)  # of validation
LAYOUT = "train_only.layout.proj_out"  # src/train/dit.c
CROPS = (2, 4, 6, 11)  # latent frames of time crops: few shapes, each is captured once


class Group:
    """All records of one shape, on the device: z [n,T,gh,gw,K], stills [n,T-1,..], subject, ids [n,2,captions,M]."""

    def __init__(self, shards, device):
        cat = lambda k: torch.cat([s[k].to(device) for s in shards]) if all(k in s for s in shards) else None
        self.z, self.stills, self.subject, self.ids = (cat(k) for k in ("z", "stills", "subject", "ids"))
        self.n, self.T, self.gh, self.gw = self.z.shape[:4]


def open_cache(folder, codec, device):
    shapes, manifest = {}, ""
    for path in sorted(glob.glob(folder + "/*.st")):
        t, meta = h.load(path)
        if meta.get("codec_sha256") != codec:
            raise ValueError(f"{path}: made with another codec than the model's")
        if "ids" not in t:
            raise ValueError(f"{path}: has no tokenised captions (himmel-world cache and twin/world.py write them)")
        n, T, gh, gw = t["z"].shape[:4]
        shapes.setdefault((T, gw, gh), []).append(t)
        manifest += ('{"renderer":"%s","grid":"%dx%d","latent_frames":%d,"scenes":%d,"first_seed":%d,"last_seed":%d,"scenes_sha256":"%s"}\n'
                     % (meta["renderer"], gw, gh, T, n, t["seed"][0], t["seed"][-1], meta["scenes_sha256"]))
    if not shapes:
        raise ValueError(f"{folder}: no shards (*.st) in it")
    return [Group(shapes[k], device) for k in sorted(shapes)], manifest


def draw_known(B, T, gh, gw, share, g, device):
    """[B,T,gh,gw]: stills, seconds at either end, boxes and ellipses that are known; batch.c, draw_known."""
    r = torch.rand(12, B, generator=g, device=device)
    u = r[1] if T > 1 else torch.ones_like(r[1])
    more = 1 + (r[2] * (T - 2)).long() if T > 2 else torch.ones(B, dtype=torch.long, device=device)
    zero, one = torch.zeros_like(more), torch.ones_like(more)
    front = torch.where(u < 0.40, one, torch.where(u < 0.54, 1 + more if T > 2 else one, torch.where(u < 0.62, zero, one)))
    back = torch.where(u < 0.54, zero, torch.where(u < 0.62, more.clamp(max=T - 1), more.clamp(max=T - 2) if T > 2 else zero))
    t = torch.arange(T, device=device)
    seconds = ((t < front[:, None]) | (t >= T - back[:, None]))[:, :, None, None]
    at = lambda v: v[:, None, None, None]
    dy = (torch.arange(gh, device=device)[None, None, :, None] + 0.5 - at(r[3] * gh)) / at((0.15 + 0.35 * r[4]) * gh)
    dx = (torch.arange(gw, device=device)[None, None, None] + 0.5 - at(r[5] * gw)) / at((0.15 + 0.35 * r[6]) * gw)
    inside = torch.where(at(r[7] < 0.5), dx * dx + dy * dy < 1, (dx.abs() < 1) & (dy.abs() < 1))
    part = (r[8] < 0.3) & (T > 2)
    t0 = torch.where(part, (r[9] * (T - 1)).long(), zero)
    t1 = torch.where(part, t0 + 1 + (r[10] * (T - t0)).long(), T)
    inside = inside & ((t >= t0[:, None]) & (t < t1[:, None]))[:, :, None, None]
    shape = torch.where(at(r[11] < 0.35), inside, ~inside)
    known = torch.where(at(u < 0.70), seconds.expand_as(shape), shape) & at(r[0] < share * (0.3 if T == 1 else 1.0))
    return known & ~known.flatten(1).all(1)[:, None, None, None]  # something must be left to learn


def make_batch(d, B, T, extra, codec, o, seed, level=None):
    """Of group d: x, target [B,N,K], weight [B,N], levels [B,2], known [B,N], ids [B,M]. level: validation at that noise."""
    dev, A, check = d.z.device, d.gh * d.gw, level is not None
    g = torch.Generator(dev).manual_seed(seed % (1 << 63))
    rand = lambda *s: torch.rand(*s, generator=g, device=dev)
    pick = torch.arange(B, device=dev) % d.n if check else (rand(B) * d.n).long().clamp(max=d.n - 1)
    start = torch.zeros(B, dtype=torch.long, device=dev) if check else (rand(B) * (d.T - T + 1)).long().clamp(max=d.T - T)
    mirror = torch.zeros(B, dtype=torch.bool, device=dev) if check else rand(B) < 0.5
    t = start[:, None] + torch.arange(T, device=dev)
    x = d.z[pick[:, None], t]
    if d.stills is not None:
        first = torch.where((start > 0)[:, None, None, None], d.stills[pick, (start - 1).clamp(min=0)], x[:, 0])
        x = torch.cat((first[:, None], x[:, 1:], *[d.stills[pick, start + e - 1][:, None] for e in extra]), 1)
    x = x.float()
    x = torch.where(mirror[:, None, None, None, None], x.flip(3) * codec.parity, x).flatten(1, 3)
    N = x.shape[1]
    known = draw_known(B, T, d.gh, d.gw, 0 if check else o.known, g, dev).flatten(1)
    known = torch.cat((known, torch.ones(B, N - T * A, dtype=torch.bool, device=dev)), 1)
    level = torch.full((B,), level, device=dev) if check else torch.sigmoid(o.t_mean + o.t_scale * torch.randn(B, generator=g, device=dev))
    eps = torch.randn(x.shape, generator=g, device=dev)
    weight = (N / (~known).sum(1).clamp(min=1)).clamp(max=4.0)[:, None] * ~known
    share, told = torch.zeros_like(weight), torch.zeros_like(weight)
    if d.subject is not None:
        s = d.subject[pick[:, None], t].float()
        s = torch.where(mirror[:, None, None, None], s.flip(3), s).flatten(1)
        share[:, : T * A], told[:, : T * A] = s / 255, ~known[:, : T * A]
    if not check and d.subject is not None and o.subject > 1:
        more = ((0.95 - level) / 0.25).clamp(0, 1) * (o.subject - 1) / 255 * (0.25 / (s.mean(1) / 255).clamp(min=1e-9)).clamp(max=1)
        weight[:, : T * A] *= 1 + more[:, None] * s
    free, lv = ~known[..., None], level[:, None, None]
    ids = d.ids[pick, mirror.long(), (rand(B) * d.ids.shape[2]).long() if not check else 0]
    if not check:  # the empty prompt is its end alone
        empty = torch.zeros_like(ids[:1])
        empty[:, 0] = 1
        ids = torch.where((rand(B) < 0.10)[:, None], empty, ids)
    return dict(x=torch.where(free, (1 - lv) * x + lv * eps, x), target=torch.where(free, eps - x, torch.zeros_like(x)), weight=weight,
                levels=torch.stack((level, torch.zeros_like(level)), 1), known=known, ids=ids, share=share, told=told)


class Mix(torch.autograd.Function):
    """himmel1.local_mix by twin/mix.cu: bf16 activations and a filter a sample, on a GPU."""

    @staticmethod
    def use(path):
        Mix.lib = ctypes.CDLL(os.path.abspath(path))
        return lambda w, x, grid: Mix.apply(w.expand(x.shape[0], 27, x.shape[2]).float().contiguous(), x.contiguous(), grid)

    @staticmethod
    def call(name, a, b, c, x, grid, *more):
        p = [ctypes.c_void_p(t.data_ptr()) for t in (a, b, c)]
        size = (x.shape[0], grid[0], x.shape[1] // (grid[1] * grid[2]), grid[1], grid[2], x.shape[2])
        if getattr(Mix.lib, name)(*p, *size, *more, ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)):
            raise RuntimeError(f"{name} could not be started")

    @staticmethod
    def forward(ctx, w, x, grid):
        ctx.save_for_backward(w, x)
        ctx.grid, y = grid, torch.empty_like(x)
        if x.dtype != torch.bfloat16:
            raise TypeError("bf16 activations only")
        Mix.call("tw_mix", x, w, y, x, grid, 0)
        return y

    @staticmethod
    def backward(ctx, dy):
        (w, x), dy = ctx.saved_tensors, dy.to(torch.bfloat16).contiguous()
        dx, dw = torch.empty_like(x), torch.zeros_like(w)
        Mix.call("tw_mix", dy, w, dx, x, ctx.grid, 1)
        Mix.call("tw_mix_filter", x, dy, dw, x, ctx.grid)
        return dw, dx, None


class Trainer:
    def __init__(self, o):
        self.o, self.device = o, o.device
        self.m = m = h.Himmel1(o.model, o.device)
        c = m.c["transformer"]
        old = m.p["dit"] if not o.fresh and "proj_out.weight" in m.p["dit"] else None
        if old is None:
            c.update(num_layers=o.layers, num_attention_heads=o.heads, attention_head_dim=64, in_channels=m.codec.K, out_channels=m.codec.K,
                     cross_attention_dim=64 * o.heads)
        c["place_features"], c["caption_modulation"], c["local_mixing"] = h.PLACE, 1, 1  # weights from before there were any learn them on top
        self.c, start = c, dict(old or h.fresh(h.dit_shapes(c), o.seed))
        shapes = h.dit_shapes(c)
        for name in shapes.keys() - start.keys():
            start[name] = h.fresh({name: shapes[name]}, o.seed)[name].to(o.device)
        D = shapes["patchify_proj.bias"][0]
        start |= {LAYOUT + ".weight": torch.zeros(1, D, device=o.device), LAYOUT + ".bias": torch.zeros(1, device=o.device)}
        self.opt = Optim({k: start[k] for k in [*shapes, LAYOUT + ".weight", LAYOUT + ".bias"]}, o.device, lr_muon=o.lr_muon, lr_adamw=o.lr, ema=o.ema, warmup=o.warmup)
        self.data, self.manifest = open_cache(o.data, codec_hash(m.tensors), o.device)
        self.val = open_cache(o.val, codec_hash(m.tensors), o.device)[0] if o.val else []
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.log = open(o.log, "a") if o.log else None
        self.act = torch.float32 if o.f32 else torch.bfloat16
        self.graphs, self.seen, self.ropes, self.places = {}, {}, {}, {}
        if os.path.exists(o.state):
            t, meta = h.load(o.state)
            self.opt.restore(t, h.DIT, o.state)
            a, b, s = meta["progress"].split()
            self.step, self.samples, self.seconds = int(a), int(b), float(s)
        if o.device != "cpu":
            self.faster()

    def faster(self):
        """Kernels of our own for neighbours, compiled ones for chains of small operations; each is checked on the spot, and one
        that cannot be had, or answers otherwise than the plain function, is not used."""
        o, D = self.o, self.c["num_attention_heads"] * self.c["attention_head_dim"]
        g = torch.Generator(o.device).manual_seed(1)
        r = lambda *s: torch.randn(*s, generator=g, device=o.device)
        grid, N = (3, 5, 6), 4 * 30  # a frame stands alone behind the film
        known = r(2, N) > 1
        cases = {"local_mix": (r(2, 27, D), r(2, N, D).to(self.act), grid), "modulate": (r(2, N, D).to(self.act), known, r(2, 2, D), r(2, 2, D), 1e-6),
                 "gated": (r(2, N, D).to(self.act), r(2, N, D).to(self.act), known, r(2, 2, D)), "norm_rotate": (r(2, N, D).to(self.act), r(D), r(N, D // 2), r(N, D // 2))}
        for name, args in cases.items():
            plain, args = h.KERNELS[name], tuple(a.requires_grad_() if torch.is_tensor(a) and a.is_floating_point() and a.shape[-1] == D else a for a in args)
            leaves = [a for a in args if torch.is_tensor(a) and a.requires_grad]
            try:
                made = Mix.use(o.lib) if name == "local_mix" else torch.compile(plain, dynamic=True)
                at, want, have = time.time(), plain(*args), made(*args)
                cot = r(*want.shape)
                a, b = ([v.detach().float(), *(t.float() for t in torch.autograd.grad((v.float() * cot).sum(), leaves))] for v in (want, have))
                far = max(float((x - y).norm() / x.norm()) for x, y in zip(a, b))
                if not far < 0.02:
                    raise ValueError(f"its answer is {far:.3f} off")
                h.KERNELS[name] = made
                self.say(f"kernel {name}: {far:.1e} off the plain one, {time.time() - at:.1f} s")
            except Exception as e:
                self.say(f"no kernel {name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")

    def say(self, text, end="\n"):
        print(text, end=end, flush=True)
        if self.log:
            self.log.write(text + end)
            self.log.flush()

    def rope(self, T, gh, gw, extra):
        key = (T, gh, gw, extra)
        if key not in self.ropes:
            self.ropes[key] = torch.stack(h.rope_tables(self.c, h.positions(*key))).to(self.device)
        return self.ropes[key]

    def place(self, T, gh, gw, extra):
        key = (T, gh, gw, extra)
        if key not in self.places:
            self.places[key] = h.place(self.c, T, gh, gw, h.positions(*key)).to(self.device)
        return self.places[key]

    def forward(self, p, b, layout=False):
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.act == torch.bfloat16, cache_enabled=False):
            mask = b["ids"] != 0
            with torch.no_grad():
                text = self.m.text(b["ids"], mask)
            tap = max(1, self.c["num_layers"] // 2) if layout else 0
            v = h.dit(p, self.c, b["x"], b["levels"], b["known"], (b["rope"][0], b["rope"][1]), b["place"], text, mask, b["grid"], self.act, tap)
            if layout:  # the subject's map from the features halfway (src/train/dit.c)
                v, half = v
                told = h.linear(p, LAYOUT, h.rms_norm(half, None, self.c["norm_eps"]))
        loss = h.mse(v, b["target"], b["weight"])
        return loss + h.mse(told, b["share"][..., None], self.o.layout * b["told"]) if layout else loss

    def learn(self, b):
        loss = self.forward(self.opt.p, b, self.o.layout > 0)
        loss.backward()
        return loss.detach()

    def run_step(self, b):
        """One step on batch b. A version of PyTorch that cannot capture a graph runs plainly: nothing is learnt before a step's
        last part, the optimiser, so that a step that broke can be done again."""
        try:
            return self.try_step(b)
        except Exception as e:
            if not self.o.graph or self.device == "cpu":
                raise
            self.say(f"no graph step: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")
            self.o.graph = 0
            self.opt.g.zero_()
            return self.run_step(b)

    def try_step(self, b):
        """As a CUDA graph of the batch's shape where there is a GPU."""
        key = (tuple(b["x"].shape), b["rope"].shape, b["grid"])
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.device == "cpu" or not self.o.graph or self.seen[key] < 3:  # rare shapes are not worth a graph
            loss = self.learn(b)
            self.opt.apply()
            return loss
        if key not in self.graphs:
            static = {k: v.clone() if torch.is_tensor(v) else v for k, v in b.items()}
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # warm up: kernels are chosen, nothing is learnt
                for _ in range(2):
                    self.learn(static)
                    self.opt.g.zero_()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
            with torch.cuda.graph(graph, pool=pool):
                loss = self.learn(static)
                self.opt.apply()
            self.graphs[key] = (graph, static, loss)
        graph, static, loss = self.graphs[key]
        for k, v in b.items():
            if torch.is_tensor(v):
                static[k].copy_(v)
        graph.replay()
        return loss.clone()

    def choose(self):
        """Group, time crop and extra stills of this step."""
        o, r = self.o, random.Random(f"{self.o.seed} {self.step}")
        clips = [d for d in self.data if d.T > 1 and o.frames > 1]
        pictures = [d for d in self.data if d.T == 1]
        groups = pictures if not clips or (pictures and r.random() < o.images) else clips
        d = r.choices(groups, [g.n * g.T * g.gh * g.gw for g in groups])[0]  # a batch holds few long clips
        T = min(d.T, o.frames)
        if T > 2 and r.random() < 0.3:
            T = r.choice([t for t in CROPS if t <= T])
        extra = tuple(sorted(r.sample(range(1, T), min(2, T - 1)))) if T > 1 and r.random() < 0.1 else ()
        return d, T, extra

    def batch(self, d, T, extra, B, seed, level=None):
        b = make_batch(d, B, T, extra, self.m.codec, self.o, seed, level)
        b["rope"], b["place"], b["grid"] = self.rope(T, d.gh, d.gw, extra), self.place(T, d.gh, d.gw, extra), (T, d.gh, d.gw)
        return b

    def size(self, d, T, extra=()):
        return max(1, self.o.batch_tokens // ((T + len(extra)) * d.gh * d.gw))

    @torch.no_grad()
    def validate(self):
        p, total = self.opt.averaged(), 0.0
        for d in self.val:
            self.say(f"  val {d.gw}x{d.gh} T={d.T}:", "")
            mean = 0.0
            for i, level in enumerate(LEVELS):
                rounds = 4 if d.T > 1 else 3
                part = sum(float(self.forward(p, self.batch(d, d.T, (), min(d.n, self.size(d, d.T)), 99 + 16 * i + j, level))) for j in range(rounds)) / rounds
                self.say(f" t{level:.2f} {part:.4f}", "")
                mean += part / len(LEVELS)
            self.say(f" mean {mean:.4f}")
            total += mean / len(self.val)
        self.say(f"validation {total:.4f} at step {self.step}, {self.seconds:.0f} s")

    def save(self):
        import hashlib
        import json

        h.save(self.o.state, self.opt.state(h.DIT), {"progress": f"{self.step} {self.samples} {self.seconds:.3f}"})
        how = {"trainer": "twin/train.py", "device": torch.cuda.get_device_name() if self.device != "cpu" else "cpu", "steps": self.step,
               "samples": self.samples, "seconds": round(self.seconds), "parameters": self.opt.w.numel()}
        self.m.save(self.o.out, self.opt.averaged(h.DIT), {
            "himmel.data_manifest": self.manifest, "himmel.data_manifest_sha256": hashlib.sha256(self.manifest.encode()).hexdigest(),
            "himmel.training": json.dumps(how, separators=(",", ":"))})

    def train(self):
        o, start, first = self.o, time.time(), self.step
        peak = measure_peak(self.device, self.act)
        D = self.c["num_attention_heads"] * self.c["attention_head_dim"]
        self.say(f"run: {self.opt.w.numel()} parameters, {self.c['num_layers']} layers of width {D}, step {self.step}, peak {peak * 1e-9:.0f} GFLOPS, {self.device}")
        t0, n, samples, flops, fill, done = time.time(), 0, 0, 0, 0.0, self.seconds
        loss = norm = 0.0
        while self.step < o.steps and time.time() - start < o.seconds:
            d, T, extra = self.choose()
            B, at = self.size(d, T, extra), time.time()
            b = self.batch(d, T, extra, B, (o.seed << 32) + self.step)
            fill += time.time() - at
            left = 1 - self.step / o.steps if o.seconds >= 1e9 else 1 - (time.time() - start) / o.seconds
            self.opt.prepare(self.step, all_rates=min(1.0, left / o.decay) if o.decay else 1.0)
            loss, norm = loss + self.run_step(b), norm + self.opt.norm
            flops += 3 * h.dit_flops(self.c, B, b["x"].shape[1], b["ids"].shape[1])
            self.step, self.samples, n, samples = self.step + 1, self.samples + B, n + 1, samples + B
            if self.step % 25 == 0 or self.step == o.steps:
                if not math.isfinite(float(norm)):
                    raise SystemExit(f"train: the gradient is not finite before step {self.step}; {o.state} keeps the last good state")
                dt, self.seconds = time.time() - t0, done + time.time() - start
                self.say("step %d loss %.4f grad %.2f lr %.4f samples/s %.1f GFLOPS %.0f (%.0f %% of peak) data %.0f %% %.0f s" % (
                    self.step, float(loss) / n, float(norm) / n, self.opt.factor(self.step), samples / dt, flops / dt * 1e-9,
                    100 * flops / dt / peak, 100 * fill / dt, self.seconds))
                t0, n, samples, flops, fill, loss, norm = time.time(), 0, 0, 0, 0.0, 0.0, 0.0
            if self.val and self.step % o.val_every == 0:
                self.validate()
            if self.step % o.save_every == 0:
                self.save()
        self.seconds = done + time.time() - start
        if self.val and self.step > first:
            self.validate()
        if not torch.isfinite(self.opt.w).all():
            raise SystemExit(f"train: a weight is not finite at step {self.step}; {o.state} keeps the last good state")
        self.save()


def measure_peak(device, act):
    """Best rate of a large multiplication, operations a second."""
    n = 512 if device == "cpu" else 8192
    a, best = torch.randn(n, n, device=device, dtype=torch.float32 if device == "cpu" else act), 0.0
    for _ in range(4):
        t = time.time()
        for _ in range(4):
            a @ a
        if device != "cpu":
            torch.cuda.synchronize()
        best = max(best, 4 * 2 * n**3 / (time.time() - t))
    return best


def options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "state", "out"):
        a.add_argument("--" + name, required=True)
    for name in ("val", "log", "lib"):
        a.add_argument("--" + name)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (("steps", 10**9), ("batch-tokens", 27648), ("seed", 1), ("val-every", 2000), ("save-every", 2000), ("layers", 8),
                        ("heads", 5), ("warmup", 50), ("frames", 11), ("graph", 0)):
        a.add_argument("--" + name, type=int, default=value)
    for name, value in (("seconds", 1e9), ("images", 0.5), ("lr", 1e-3), ("lr-muon", 0.02), ("ema", 0.999), ("known", 0.5), ("t-mean", 1.5),
                        ("t-scale", 1.8), ("subject", 1.0), ("layout", 0.2), ("decay", 0.0)):
        a.add_argument("--" + name, type=float, default=value)
    for name in ("f32", "fresh"):
        a.add_argument("--" + name, action="store_true")
    return a.parse_args()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high") if hasattr(torch, "set_float32_matmul_precision") else None
    Trainer(options()).train()
