"""parity.py - the twin against what the C code wrote (himmel-twin-dump): one table.   SPDX-License-Identifier: MIT
usage: parity.py WEIGHTS DUMP..., two arguments per model. Exit status 1 where a figure is over its bar."""
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "twin"))
import himmel1 as h
from optim import Optim, is_muon

STEPS, LARGE, NORMS = 20, 3, 8  # steps of the optimiser; of a large model, where each is seconds on a CPU


def steps_for(params):
    return STEPS if sum(v.numel() for v in params.values()) < 10**6 else LARGE


def far(a, b):
    """Largest difference, relative to the largest value of what is right."""
    return float((a.float() - b).abs().max() / b.abs().max().clamp(min=1e-30))


def transformer(m, d, say):
    c = m.c["transformer"]
    known = d["row"] % 2 == 1
    pos = h.positions(2, 4, 4, (1,))
    rope, where = h.rope_tables(c, pos), h.place(c, 2, 4, 4, pos)
    pieces = {h.TEXT + k: v for k, v in m.p["t5"].items()} | {h.DIT + k: v for k, v in m.p["dit"].items()}
    opt = Optim(pieces, "cpu", scale=lambda k: 0.125 if k.startswith(h.TEXT) else 1.0, warmup=5, decay_from=10, total=30)
    t5p, ditp = h_part(opt.p, h.TEXT), h_part(opt.p, h.DIT)
    losses, norms, steps = [], [], steps_for(pieces)
    for s in range(steps):
        text = h.t5(t5p, m.c["text_encoder"], d["ids"], d["mask"])
        v = h.dit(ditp, c, d["x"], d["levels"], known, rope, where, text, d["mask"], (2, 4, 4))
        loss = h.mse(v, d["target"], d["weight"])
        loss.backward()
        if s == 0:
            say("text encoder, forward", far(text, d["text"]), 1e-4)
            say("transformer, forward", far(v, d["velocity"]), 1e-4)
            worst(say, "gradients, %d parameters", opt.p, d)
        opt.prepare(s)
        opt.apply()
        losses.append(float(loss))
        norms.append(float(opt.norm))
    say(f"{steps} optimiser steps, losses", step_error(losses, d["loss"]), 1e-3)
    # of the first steps: a bf16 value of Muon that is rounded the other way doubles its difference at every step from then on
    say(f"{min(steps, NORMS)} optimiser steps, gradient norms", step_error(norms[:NORMS], d["norm"]), 2e-3)


def h_part(p, prefix):
    return {k[len(prefix):]: v for k, v in p.items() if k.startswith(prefix)}


def step_error(mine, theirs):
    return float(((torch.tensor(mine) - theirs[: len(mine)]).abs() / theirs[: len(mine)]).max())


def worst(say, what, p, d):
    """Over parameters; one whose gradient is nothing but rounding (biases before a softmax) is measured against the rest."""
    least = 1e-4 * max(float(d["grad." + k].abs().max()) for k in p)
    e = max((float((t.grad - d["grad." + k]).abs().max()) / max(float(d["grad." + k].abs().max()), least), k) for k, t in p.items())
    say(what % len(p), e[0], 1e-3)


def sampler(m, d, say):
    c = m.c["transformer"]
    area, film = 16, len(d["sampler.z"])
    known = torch.arange(film + area)
    known = (known < area) | (known >= film)
    x = torch.cat((torch.where(known[:film, None], d["sampler.z"], d["sampler.noise"]), d["sampler.extra"]))
    text = m.text(d["sampler.ids"], d["sampler.mask"])
    pos = h.positions(2, 4, 4, (1,))
    out = h.sample(m.p["dit"], c, x, known, pos, h.place(c, 2, 4, 4, pos), text, d["sampler.mask"], (2, 4, 4), STEPS, 3.0, m.c["himmel"]["shift"])
    say("sampler, 20 steps", far(out[:film], d["sampler.out"]), 1e-3)


def codec(m, d, say):
    px, z = d["codec.frames"], d["codec.z"]
    say("codec, encode", far(m.codec.encode(px[None])[0], d["codec.encoded"]), 1e-4)
    say("codec, encode still", far(m.codec.encode_still(px[:1])[0], d["codec.encoded_still"]), 1e-4)
    frames = torch.arange(len(d["codec.decoded"]))[None]
    say("codec, decode", far(m.codec.decode(z[None], frames)[0], d["codec.decoded"]), 1e-4)
    say("codec, decode picture", far(m.codec.decode(z[None, :1], frames[:, :1])[0], d["codec.picture"]), 1e-4)


def refiner(m, d, say):
    one = torch.tensor
    x = h.refiner_input(d["refiner.dec"][None], one([29]), one([22]), one([6]), d["refiner.known"][None], d["refiner.mask"][None])
    say("refiner, input", far(x[0], d["refiner.x"]), 1e-4)
    residual = h.refiner_residual(x, d["refiner.target"][None])
    say("refiner, residual", far(residual[0], d["refiner.residual"]), 1e-4)
    last = lambda k: "proj_out" in k
    opt = Optim({h.REFINER + k: v for k, v in m.p["refiner"].items()}, "cpu", muon=lambda k, nd: nd == 4 and not last(k),
                scale=lambda k: 0.1 if last(k) else 1.0, lr_muon=0.01, lr_adamw=5e-4, clip=0.05, beta2=0.99, weight_decay=0,
                eps=1e-10, warmup=5)
    p, losses, steps = h_part(opt.p, h.REFINER), [], steps_for(opt.p)
    for s in range(steps):
        y = h.refiner(p, m.c["refiner"], x)
        detail = h.loss_detail(y, residual, d["refiner.target"][None])
        loss = h.mse(y, residual, d["refiner.weight"]) + 0.3 * detail
        loss.backward()
        if s == 0:
            say("refiner, loss of detail", far(detail.detach().reshape(1), d["refiner.detail"]), 1e-4)
            say("refiner, forward", far(y, d["refiner.correction"]), 1e-4)
            say("refiner, picture", far(h.refiner_compose(x, y)[0], d["refiner.picture"]), 1e-4)
            worst(say, "refiner, gradients, %d parameters", opt.p, d)
        opt.prepare(s)
        opt.apply()
        losses.append(float(loss))
    say(f"refiner, {steps} optimiser steps, losses", step_error(losses, d["refiner.loss"]), 1e-3)


def main(args):
    bad = 0
    for weights, dump in zip(args[::2], args[1::2]):
        m, (d, _) = h.Himmel1(weights), h.load(dump)
        d = {k: v.clone() for k, v in d.items()}

        def say(what, error, bar):
            nonlocal bad
            ok = error <= bar  # a NaN is not
            bad += not ok
            print(f"| {os.path.basename(weights):24} | {what:38} | {error:8.1e} | {bar:5.0e} | {'ok' if ok else 'TOO FAR'} |", flush=True)

        for check in (transformer, sampler, codec, refiner):
            check(m, d, say)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
