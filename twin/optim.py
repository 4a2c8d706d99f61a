"""optim.py - Muon for matrices, AdamW for the rest, clipping, EMA: src/train/optim.c in PyTorch.   SPDX-License-Identifier: MIT

Everything lives in flat vectors, matrices of one shape side by side, so that a step is a few kernels and no parameter is
copied; nothing waits for the device, so that a step can be captured in a CUDA graph. Muon: Jordan et al. 2024.
"""
import math

import torch


def is_muon(name, nd):
    """Of the transformer and the text encoder: params.c, kind_of."""
    block = "transformer_blocks." in name or "encoder.block." in name
    return block and nd == 2 and name.endswith(".weight") and "relative_attention_bias" not in name and "local_mix" not in name


def muladd(c, beta, a, b, alpha):
    """alpha a b + beta c of bf16 matrices, added up in f32 and rounded once; CPUs without bf16 are slow at it by themselves."""
    if c.device.type == "cpu":
        return torch.baddbmm(c.float(), a.float(), b.float(), beta=beta, alpha=alpha).bfloat16()
    return torch.baddbmm(c, a, b, beta=beta, alpha=alpha)


def newton_schulz(x):
    """x [n,r,c] bf16, r <= c, norms <= 1 -> about the nearest semi-orthogonal matrices."""
    for _ in range(5):
        a = muladd(x[:, :, : x.shape[1]], 0, x, x.transpose(1, 2), 1)
        x = muladd(x, 3.4445, muladd(a, -4.7750, a, a, 2.0315), x, 1)
    return x


class Optim:
    """params: name -> tensor (start values). self.p: name -> leaf with .grad, views of the flat vectors.
    muon(name, nd) -> bool; scale(name) -> multiplier of the step size."""

    def __init__(self, params, device, muon=is_muon, scale=lambda name: 1.0, lr_muon=0.02, lr_adamw=1e-3, beta1=0.9, beta2=0.95,
                 eps=1e-8, momentum=0.95, weight_decay=0.01, clip=1.0, ema=0.999, warmup=50, decay_from=0, total=0):
        self.o = dict(lr_muon=lr_muon, lr_adamw=lr_adamw, beta1=beta1, beta2=beta2, eps=eps, momentum=momentum,
                      weight_decay=weight_decay, clip=clip, ema=ema, warmup=warmup, decay_from=decay_from, total=total)
        kind = {k: muon(k, v.dim()) for k, v in params.items()}
        mat = lambda k: (params[k].shape[0], params[k].numel() // params[k].shape[0])
        self.names = sorted(params, key=lambda k: (not kind[k], (mat(k), scale(k)) if kind[k] else ((0, 0), 0)))
        n = sum(v.numel() for v in params.values())
        self.w, self.g, self.m, self.ema = (torch.zeros(n, device=device) for _ in range(4))
        self.at, self.groups, i = {}, [], 0
        for k in self.names:
            self.at[k] = (i, i + params[k].numel(), params[k].shape)
            if kind[k]:
                if not self.groups or self.groups[-1][2:] != (mat(k), scale(k)):
                    self.groups.append((i, i, mat(k), scale(k)))
                a, _, s, f = self.groups[-1]
                self.groups[-1] = (a, i + params[k].numel(), s, f)
            i += params[k].numel()
        self.first = self.groups[-1][1] if self.groups else 0  # AdamW's begin here
        rest = [k for k in self.names if not kind[k]]
        self.v = torch.zeros(n - self.first, device=device)
        fill = lambda f: torch.cat([torch.full((params[k].numel(),), float(f(k))) for k in rest] or [torch.zeros(0)]).to(device)
        self.rate, self.decay = fill(scale), fill(lambda k: params[k].dim() >= 2 and not k.endswith("scale_shift_table"))
        self.p = {}
        for k in params:
            self.view(self.w, k).copy_(params[k])
            self.p[k] = self.view(self.w, k).detach().requires_grad_()
            self.p[k].grad = self.view(self.g, k)
        self.ema.copy_(self.w)
        self.norm = torch.zeros((), device=device)
        self.now = torch.zeros(5, device=device)  # this step's: lr muon, lr adamw, bias corrections, EMA's share of the new

    def view(self, flat, k):
        a, b, s = self.at[k]
        return flat[a:b].view(s)

    def factor(self, step):
        o = self.o
        f = (step + 1) / o["warmup"] if step < o["warmup"] else 1.0
        if o["total"] > 0 and step >= o["decay_from"]:
            f *= max(0.0, (o["total"] - step) / max(1, o["total"] - o["decay_from"]))
        return f

    def prepare(self, step, adamw=1.0, all_rates=1.0):
        """Numbers of this step onto the device; other factors of the step sizes: AdamW's, both."""
        o, f = self.o, self.factor(step) * all_rates
        now = torch.tensor([o["lr_muon"] * f, o["lr_adamw"] * f * adamw, 1 / (1 - o["beta1"] ** (step + 1)),
                            1 / (1 - o["beta2"] ** (step + 1)), 1 - min(o["ema"], (1 + step) / (10 + step))])
        self.now.copy_(now.pin_memory() if self.now.is_cuda else now, non_blocking=True)

    @torch.no_grad()
    def apply(self):
        """One step with the gradients in self.g, which are then zero again."""
        o, w, m, k = self.o, self.w, self.m, self.first
        lr_muon, lr_adamw, c1, c2, fresh = self.now.unbind()
        self.norm.copy_(self.g.double().pow(2).sum().sqrt() if self.g.device.type == "cpu" else self.g.norm())
        g = self.g * (o["clip"] / self.norm).clamp(max=1.0) if o["clip"] > 0 else self.g
        m[:k].mul_(o["momentum"]).add_(g[:k], alpha=1 - o["momentum"])
        u = o["momentum"] * m[:k] + (1 - o["momentum"]) * g[:k]
        for a, b, (O, I), scale in self.groups:
            x = u[a:b].view(-1, O, I)
            x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)).bfloat16()
            x = newton_schulz(x.transpose(1, 2).contiguous()).transpose(1, 2) if O > I else newton_schulz(x)
            lr = lr_muon * (scale * math.sqrt(max(1.0, O / I)))
            y = w[a:b].view(-1, O, I)
            y.sub_(lr * (o["weight_decay"] * y + x.float()))
        m[k:].mul_(o["beta1"]).add_(g[k:], alpha=1 - o["beta1"])
        self.v.mul_(o["beta2"]).addcmul_(g[k:], g[k:], value=1 - o["beta2"])
        lr = lr_adamw * self.rate
        w[k:].sub_(lr * (o["weight_decay"] * self.decay * w[k:] + (m[k:] * c1) / ((self.v * c2).sqrt() + o["eps"])))
        self.ema.add_((w - self.ema) * fresh)
        self.g.zero_()

    def state(self, prefix):
        """Tensors of an exact resume, named as src/train/params.c names them."""
        out = {}
        for k in self.names:
            for flat, tail in ((self.w, ""), (self.ema, ".ema"), (self.m, ".m")):
                out[prefix + k + tail] = self.view(flat, k)
            if self.at[k][0] >= self.first:
                a, b, s = self.at[k]
                out[prefix + k + ".v"] = self.v[a - self.first : b - self.first].view(s)
        return out

    @torch.no_grad()
    def restore(self, tensors, prefix, path):
        for k, t in self.state(prefix).items():
            if k not in tensors or tensors[k].shape != t.shape:
                raise ValueError(f"{path}: not the state of this model (\"{k}\" is missing or of another shape)")
            t.copy_(tensors[k])

    def averaged(self, prefix=""):
        """What is released."""
        return {prefix + k: self.view(self.ema, k) for k in self.names if not k.startswith("train_only.")}
