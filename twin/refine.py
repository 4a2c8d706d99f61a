"""refine.py - the refiner on a GPU: `himmel train refiner` with the same recipe and state file.   SPDX-License-Identifier: MIT
usage: refine.py --lib libworld.so --model WEIGHTS --state FILE --out FILE and what --help tells
Records (a window's coefficients, a few frames at full size) stand in a ring; record i is a function of (seed, i), a batch of
(seed, step), so a resumed run goes on as it would have. src/train/refine.c and refine_data.c have the reasons.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F

import himmel1 as h
from optim import Optim
from world import World

GRIDS = [(16, 9)] * 5 + [(12, 12), (9, 16)]
FRAMES, VAL, TURN = 6, 24, 32
LAST = 2 * h.FPS  # of a film of two seconds


class Pool:
    """Records in two rings, pictures (one frame) and films of two seconds, each [cap, ...] on the device."""

    def __init__(self, world, codec, crop, cap, seed, held_out=False):
        self.world, self.codec, self.C, self.cap, self.seed, self.held_out, self.made = world, codec, crop, cap, seed, held_out, 0
        self.blocks = (crop + 14) // h.BLOCK + 3  # enough for any place, with a neighbour on either side
        self.rec = {}

    def place(self, r, size):
        at = r.randrange(size - self.C + 2 * h.BLOCK) - h.BLOCK  # borders more often than by chance
        return min(max(at, 0), size - self.C) // 2 * 2

    def make(self, i):
        r, C, w, c = random.Random(f"{self.seed} {i}"), self.C, self.world, self.codec
        seed = None
        while seed is None:  # now and then no scene of a range is suitable
            seed = w.pick(r.randrange(1 << 40), 1, 1, self.held_out)[0]
        gw, gh = r.choice(GRIDS)
        x0, y0 = self.place(r, h.BLOCK * gw), self.place(r, h.BLOCK * gh)
        bw, bh = min(self.blocks, gw), min(self.blocks, gh)
        bx, by = (min(max(p // h.BLOCK - 1, 0), g - b) for p, g, b in ((x0, gw, bw), (y0, gh, bh)))
        T = 1 if r.random() < 0.3 else 3
        t = [0] if T == 1 else [min(LAST, int((k + r.random()) * (LAST + 1) / FRAMES)) for k in range(FRAMES)]
        t0, whole, side = 8 * r.random(), (h.BLOCK * gw, h.BLOCK * gh), (h.BLOCK * bw, h.BLOCK * bh)
        draw = lambda at, whole, place, w_, h_: w.render(seed.repeat(len(at)), t0 + torch.tensor(at, dtype=torch.float64) / h.FPS, whole,
                                                         w_, h_, torch.tensor([place]).expand(len(at), 2))
        px = draw([0] if T == 1 else range(1 - h.LAP, LAST + h.LAP + 1), whole, (h.BLOCK * bx, h.BLOCK * by), *side)
        z = [c.encode_still(px[:1] if T == 1 else px[h.LAP - 1 : h.LAP])] + [c.encode(px[h.FPS * j : h.FPS * j + h.WINDOW][None]) for j in range(T - 1)]
        big = draw(t, (8 * whole[0], 8 * whole[1]), (8 * x0, 8 * y0), 8 * C, 8 * C)
        return dict(z=torch.stack(z, 1)[0], frames=(big.clamp(0, 1) * 255 + 0.5).to(torch.uint8), t=t, whole=whole, crop=(x0, y0),
                    at=(x0 - h.BLOCK * bx, y0 - h.BLOCK * by))

    def fill(self, upto):
        for i in range(max(self.made, upto - self.cap), upto):
            self.rec[i % self.cap] = self.make(i)
        self.made = max(self.made, upto)

    def sample(self, n, seed, noise, known):
        """-> x [n,C,C,28], residual [n,2C,2C,48], weight [n,2C,2C], the picture [n,8C,8C,3]. The batch is all pictures or all films."""
        r, C, c = random.Random(seed), self.C, self.codec
        have = list(self.rec.values())
        first = r.choice(have)
        same = [q for q in have if q["z"].shape == first["z"].shape]
        picks = [first] + [r.choice(same) for _ in range(n - 1)]
        z = torch.stack([q["z"] for q in picks])
        g = torch.Generator(z.device).manual_seed(r.randrange(1 << 62))
        f = [r.randrange(len(q["t"])) for q in picks]
        target = torch.stack([q["frames"][k] for q, k in zip(picks, f)]).float() / 255
        size = torch.tensor([noise * r.random() ** 2 for _ in picks], device=z.device)
        z = z + size[:, None, None, None, None] * c.std.clamp(max=1) * torch.randn(z.shape, generator=g, device=z.device)
        t = torch.tensor([q["t"][k] for q, k in zip(picks, f)], device=z.device)
        last = h.FPS * (z.shape[1] - 1)
        dec = c.decode(z, torch.stack([(t + k).clamp(0, last) for k in (-1, 0, 1)], 1))
        dec = torch.stack([d[:, q["at"][1] : q["at"][1] + C, q["at"][0] : q["at"][0] + C] for d, q in zip(dec, picks)])
        flip = torch.tensor([r.random() < 0.5 for _ in picks], device=z.device)
        x0 = torch.tensor([q["whole"][0] - q["crop"][0] - C if b else q["crop"][0] for q, b in zip(picks, flip.tolist())], device=z.device)
        y0 = torch.tensor([q["crop"][1] for q in picks], device=z.device)
        dec = torch.where(flip[:, None, None, None, None], dec.flip(3), dec)
        target = torch.where(flip[:, None, None, None], target.flip(2), target)
        mask = torch.zeros(n, 2 * C, 2 * C, device=z.device)
        for i in range(n):  # a random box, or what is outside of it
            if r.random() >= known:
                continue
            m, x, y = 2 * C, r.randrange(2 * C), r.randrange(2 * C)
            box = torch.zeros(m, m, device=z.device)
            box[y : y + 4 + r.randrange(m), x : x + 4 + r.randrange(m)] = 1
            mask[i] = box if r.random() < 0.5 else 1 - box
        pix = target.unflatten(2, (-1, 4)).unflatten(1, (-1, 4)).mean((2, 4))
        x = h.refiner_input(dec, t, x0, y0, pix, mask)
        residual = h.refiner_residual(x, target)
        typical = 2e-4  # 37 dB; samples differ a thousandfold in what is missing
        weight = typical / (typical + residual.pow(2).mean((1, 2, 3)))
        return x, residual, weight[:, None, None].expand(n, 2 * C, 2 * C).contiguous(), target


class Run:
    def __init__(self, o):
        self.o, self.m, dev = o, h.Himmel1(o.model, o.device), o.device
        m, c = self.m, self.m.c["refiner"]
        old = m.p["refiner"] if not o.fresh and "proj_out.weight" in m.p["refiner"] else None
        if old is None:
            c.update(width=o.width, n_blocks=o.blocks, width2=o.width2, n_convs2=o.convs2)
        last = lambda k: "proj_out" in k
        start = old or h.fresh(h.refiner_shapes(c), o.seed)
        self.opt = Optim({k: start[k] for k in h.refiner_shapes(c)}, dev, muon=lambda k, nd: nd == 4 and not last(k), scale=lambda k: 0.1 if last(k) else 1.0,
                         lr_muon=o.lr_muon, lr_adamw=o.lr, clip=0.05, beta2=0.99, weight_decay=0, eps=1e-10, ema=o.ema, warmup=o.warmup)
        world = World(o.lib, dev)
        self.pool, self.val = Pool(world, m.codec, o.crop, o.records, o.seed), Pool(world, m.codec, o.crop, VAL, 0x76616C, True)
        self.step, self.seconds, self.version = 0, 0.0, world.version
        self.log = open(o.log, "a") if o.log else None
        self.c = c
        if os.path.exists(o.state):
            t, meta = h.load(o.state)
            self.opt.restore(t, h.REFINER, o.state)
            a, s = meta["progress"].split()
            self.step, self.seconds = int(a), float(s)

    def say(self, text):
        print(text, flush=True)
        if self.log:
            self.log.write(text + "\n")
            self.log.flush()

    def correction(self, p, x):
        with torch.autocast(torch.device(self.o.device).type, torch.bfloat16, enabled=not self.o.f32):
            return h.refiner(p, self.c, x)

    @torch.no_grad()
    def validate(self):
        p, out = self.opt.averaged(), []
        self.val.fill(VAL)
        have = want = 0.0
        for noise in (0, 0.25):
            a = b = 0.0
            for i in range(VAL):
                x, residual, _, target = self.val.sample(1, f"77 {i}", noise, 0)
                y = self.correction(p, x).float()
                a += float((residual - y).pow(2).mean()) / VAL
                b += float(residual.pow(2).mean()) / VAL
                energy = lambda v: float(v.diff(dim=1).pow(2).mean() + v.diff(dim=2).pow(2).mean())
                made = target + F.pixel_shuffle((y - residual).permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
                have, want = have + energy(made) * (noise == 0), want + energy(target) * (noise == 0)
            out += [-10 * math.log10(b + 1e-12), -10 * math.log10(a + 1e-12)]
        self.say("validation at step %d: enlarged %.3f dB, refined %.3f dB (%+.3f); with errors %.3f, %.3f (%+.3f); gradient energy %.3f of footage" % (
            self.step, out[0], out[1], out[1] - out[0], out[2], out[3], out[3] - out[2], have / want))

    def save(self):
        if not torch.isfinite(self.opt.w).all():
            raise SystemExit(f"refine: a weight is not finite at step {self.step}; {self.o.state} keeps the last good state")
        h.save(self.o.state, self.opt.state(h.REFINER), {"progress": f"{self.step} {self.seconds:.3f}"})
        how = {"trainer": "twin/refine.py", "steps": self.step, "samples": self.step * self.o.batch, "seconds": round(self.seconds), "seed": self.o.seed,
               "renderer": self.version}
        self.m.save(self.o.out, self.opt.averaged(h.REFINER), {"himmel.refiner_training": json.dumps(how, separators=(",", ":"))})

    def one_step(self, left):
        o = self.o
        if self.step % TURN == 0 or not self.pool.made:
            turn = self.step // TURN * TURN
            self.pool.fill(o.records // 4 + 1 + int(turn * o.batch / (o.reuse * FRAMES)))
        x, residual, weight, target = self.pool.sample(o.batch, f"{o.seed} {self.step}", o.noise, o.known)
        self.opt.prepare(self.step, adamw=max(left / o.decay, 0.02) if left < o.decay else 1.0)
        y = self.correction(self.opt.p, x)
        loss = h.mse(y, residual, weight)
        if o.detail > 0:
            loss = loss + o.detail * h.loss_detail(y, residual, target)
        loss.backward()
        self.opt.apply()
        self.step += 1
        return loss.detach()

    def train(self):
        o, start, done, n, loss, norm, t0 = self.o, time.time(), self.seconds, 0, 0.0, 0.0, time.time()
        self.say(f"refiner: {self.opt.w.numel()} parameters, width {self.c['width']}, {self.c['n_blocks']} blocks, then {self.c['width2']} channels, "
                 f"{self.c['n_convs2']} convolutions; {o.device}")
        while self.step < o.steps and time.time() - start < o.seconds:
            left = 1 - (time.time() - start) / o.seconds if o.seconds < 1e9 else 1 - self.step / o.steps
            loss, n = loss + self.one_step(left), n + 1
            norm = norm + self.opt.norm
            self.seconds = done + time.time() - start
            if self.step % 25 == 0:
                self.say("step %d loss %.6f grad %.4f samples/s %.1f %.0f s" % (self.step, float(loss) / n, float(norm) / n,
                                                                           n * o.batch / (time.time() - t0), self.seconds))
                n, loss, norm, t0 = 0, 0.0, 0.0, time.time()
            if self.step % o.val_every == 0:
                self.validate()
            if self.step % o.save_every == 0:
                self.save()
        self.validate()
        self.save()


def options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lib", "model", "state", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--log")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (("steps", 10**9), ("batch", 16), ("crop", 64), ("records", 512), ("seed", 1), ("val-every", 1000), ("save-every", 1000),
                        ("warmup", 100), ("width", 96), ("blocks", 3), ("width2", 32), ("convs2", 2)):
        a.add_argument("--" + name, type=int, default=value)
    for name, value in (("seconds", 1e9), ("lr", 5e-4), ("lr-muon", 0.01), ("ema", 0.998), ("reuse", 4.0), ("noise", 0.3), ("known", 0.25), ("detail", 0.0), ("decay", 0.4)):
        a.add_argument("--" + name, type=float, default=value)
    for name in ("f32", "fresh"):
        a.add_argument("--" + name, action="store_true")
    return a.parse_args()


if __name__ == "__main__":
    Run(options()).train()
