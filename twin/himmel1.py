"""himmel1.py - himmel-1 once more, in PyTorch: parity reference of the C code and base of the GPU trainer.
SPDX-License-Identifier: MIT

Reads and writes the same safetensors file with the same names and config as the C code; runs on PyTorch 1.13 (CPU) and 2.x
(CUDA). Each function names the C file that it mirrors; tests/twin/parity.py compares the two. Models are dictionaries of
tensors under the names of the file, without their prefix. Shapes: B samples, N tokens, D width, M text tokens, K coefficients.
"""
import functools
import json
import math
import os
import struct

import torch
import torch.nn.functional as F

BLOCK, FPS, WINDOW, LAP, DCT_T = 16, 24, 36, 6, 10  # src/models/himmel/codec.h
PLACE = 16  # src/models/himmel/himmel1.h
DIT, TEXT, REFINER = "model.diffusion_model.", "text_encoder.", "refiner."
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}
NAMES = {v: k for k, v in TYPES.items()}


# ---- safetensors (src/formats) ----
def load(path):
    """-> (tensors by name in file order, metadata); tensors are views of the mapped file: do not write to them."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0] if size > 8 else size
        if n > size - 8:
            raise ValueError(f"{path}: not a safetensors file (its header is cut)")
        head = json.loads(f.read(n))
    raw = torch.from_file(path, shared=False, size=size, dtype=torch.uint8)
    meta, out = head.pop("__metadata__", {}), {}
    for name, e in sorted(head.items(), key=lambda kv: kv[1]["data_offsets"][0]):
        dtype, (a, b) = TYPES[e["dtype"]], e["data_offsets"]
        if 8 + n + b > size:
            raise ValueError(f"{path}: tensor \"{name}\" ends behind the file")
        t = raw[8 + n + a : 8 + n + b]
        if (8 + n + a) % torch.empty(0, dtype=dtype).element_size():
            t = t.clone()  # views need aligned data
        out[name] = t.view(dtype).view(e["shape"])
    return out, meta


def save(path, tensors, meta):
    """Beside path first, then renamed. Order as the C writer's: by size of the type, then as given."""
    items = sorted(((k, v.detach().cpu().contiguous()) for k, v in tensors.items()), key=lambda kv: -kv[1].element_size())
    head, at = {"__metadata__": meta}, 0
    for name, t in items:
        n = t.numel() * t.element_size()
        head[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, t in items:
            if t.numel():
                f.write(t.reshape(-1).view(torch.uint8).numpy())
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".part", path)


def part(tensors, prefix, device="cpu"):
    """The tensors below prefix, as f32."""
    return {k[len(prefix):]: v.to(device, torch.float32) for k, v in tensors.items() if k.startswith(prefix)}


# ---- layers (src/tensor) ----
def rms_norm(x, w=None, eps=1e-6):
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (y if w is None else y * w).to(x.dtype)


def layer_norm(x, eps):
    return F.layer_norm(x.float(), x.shape[-1:], eps=eps)


def gelu(x):
    return F.gelu(x, approximate="tanh")


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))


def attend(q, k, v, heads, scale, bias=None):
    """q [B,N,D], k and v [B,M,D], bias [B or 1, K or 1, N or 1, M] is added to the scores."""
    q, k, v = (t.view(t.shape[0], t.shape[1], heads, -1).transpose(1, 2) for t in (q, k, v))
    if hasattr(F, "scaled_dot_product_attention"):
        q = q if scale is None else q * (scale * math.sqrt(q.shape[-1]))  # it divides by that root
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))
    else:
        s = (q @ k.transpose(2, 3)).float() * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        y = torch.softmax(s if bias is None else s + bias, -1).to(v.dtype) @ v
    return y.transpose(1, 2).flatten(2)


# ---- text encoder (src/text/t5.c) ----
@functools.lru_cache(8)
def t5_buckets(buckets, distance, n, device):
    """[n,n] bucket of key - query; in float32 as the original: in double the edges fall into other buckets."""
    d = torch.arange(n)[None] - torch.arange(n)[:, None]
    half = buckets // 2
    exact, a = half // 2, d.abs()
    span = torch.tensor(math.log(distance / exact), dtype=torch.float32)
    far = torch.log(a.clamp(min=1).float() / exact) / span * (half - exact)
    far = exact + far.clamp(max=half).long()
    return (torch.where(d > 0, half, 0) + torch.where(a < exact, a, far.clamp(max=half - 1))).to(device)


def t5(p, c, ids, mask):
    """ids, mask [B,M] -> hidden states [B,M,d_model]."""
    eps, heads = c["layer_norm_epsilon"], c["num_heads"]
    h = F.embedding(ids.long(), p["shared.weight"])
    pad = torch.where(mask.bool(), 0.0, -1e30)[:, None, None]
    at = t5_buckets(c["relative_attention_num_buckets"], c["relative_attention_max_distance"], ids.shape[1], ids.device)
    for i in range(c["num_layers"]):
        b = f"encoder.block.{i}.layer."
        if i == 0 or c["bias_every_layer"]:
            bias = F.embedding(at, p[b + "0.SelfAttention.relative_attention_bias.weight"]).permute(2, 0, 1)[None]
        n = rms_norm(h, p[b + "0.layer_norm.weight"], eps)
        q, k, v = (linear(p, b + "0.SelfAttention." + x, n) for x in "qkv")
        h = h + linear(p, b + "0.SelfAttention.o", attend(q, k, v, heads, 1.0, bias + pad))
        n = rms_norm(h, p[b + "1.layer_norm.weight"], eps)
        h = h + linear(p, b + "1.DenseReluDense.wo",
                       gelu(linear(p, b + "1.DenseReluDense.wi_0", n)) * linear(p, b + "1.DenseReluDense.wi_1", n))
    return rms_norm(h, p["encoder.final_layer_norm.weight"], eps)


# ---- transformer (src/models/ltx) ----
def dit_shapes(c):
    """Names and shapes in the order of dit_params.c."""
    D, out = c["num_attention_heads"] * c["attention_head_dim"], {}
    for name, o, i in (("patchify_proj", D, c["in_channels"]), ("adaln_single.emb.timestep_embedder.linear_1", D, 256),
                       ("adaln_single.emb.timestep_embedder.linear_2", D, D), ("adaln_single.linear", 6 * D, D),
                       ("caption_projection.linear_1", D, c["caption_channels"]), ("caption_projection.linear_2", D, D)):
        out[name + ".weight"], out[name + ".bias"] = (o, i), (o,)
    if c.get("place_features"):
        out["place_proj.weight"] = (D, c["place_features"])
    if c.get("caption_modulation"):
        out["caption_modulation.weight"] = (D, c["caption_channels"])
        if c.get("place_features"):
            out["caption_place.weight"] = (D, c["caption_channels"])
    out["scale_shift_table"] = (2, D)
    out["proj_out.weight"], out["proj_out.bias"] = (c["out_channels"], D), (c["out_channels"],)
    for i in range(c["num_layers"]):
        b = f"transformer_blocks.{i}."
        if c.get("local_mixing"):
            out[b + "local_mix.weight"] = (27, D)
            if c.get("caption_modulation"):
                out[b + "local_mix.caption.weight"], out[b + "local_mix.gate.weight"] = (27, D), (D, c["caption_channels"])
        for a in ("attn1", "attn2"):
            for x in ("to_q", "to_k", "to_v", "to_out.0"):
                out[f"{b}{a}.{x}.weight"], out[f"{b}{a}.{x}.bias"] = (D, D), (D,)
            out[f"{b}{a}.q_norm.weight"] = out[f"{b}{a}.k_norm.weight"] = (D,)
        out[b + "ff.net.0.proj.weight"], out[b + "ff.net.0.proj.bias"] = (4 * D, D), (4 * D,)
        out[b + "ff.net.2.weight"], out[b + "ff.net.2.bias"] = (D, 4 * D), (D,)
        out[b + "scale_shift_table"] = (6, D)
    return out


def fresh(shapes, seed):
    """Starting values as src/train/params.c draws them (other numbers, same distribution)."""
    g, out = torch.Generator().manual_seed(seed), {}
    for name, s in shapes.items():
        if len(s) == 1:
            w = torch.full(s, 1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("scale_shift_table"):
            w = torch.zeros(s)
            if s[0] == 6:
                w[2] = w[5] = 0.25
        elif name.endswith(("proj_out.weight", "adaln_single.linear.weight", "local_mix.weight", "local_mix.caption.weight")):
            w = torch.zeros(s)
        else:
            std = (math.sqrt(2) if len(s) > 2 else 1) / math.sqrt(math.prod(s[1:]))
            w = torch.randn(s, generator=g) * std * (0.25 if "attn2.to_out" in name or "caption_modulation" in name else 0.2 if "conv2." in name or "convs2." in name else 1)
        out[name] = w
    return out


def positions(T, gh, gw, extra=()):
    """[N,3] seconds, y, x: the still at 0, second j at j - 0.5; extra stills at their own seconds (himmel1.c)."""
    t = [0.0] + [j - 0.5 for j in range(1, T)] + [float(e) for e in extra]
    y, x = BLOCK * torch.arange(gh, dtype=torch.float64), BLOCK * torch.arange(gw, dtype=torch.float64)
    return torch.stack(torch.meshgrid(torch.tensor(t, dtype=torch.float64), y, x, indexing="ij"), -1).reshape(-1, 3)


def rope_tables(c, pos):
    """pos [N,3] -> cos, sin [N,D/2]: D/6 frequencies for t, y, x in turn; D % 6 channels in front stay. In double."""
    D = c["num_attention_heads"] * c["attention_head_dim"]
    n = D // 6
    f = math.pi / 2 * c["positional_embedding_theta"] ** (torch.arange(n, dtype=torch.float64) / max(n - 1, 1))
    at = 2 * pos / torch.tensor(c["positional_embedding_max_pos"], dtype=torch.float64) - 1
    a = (f[None, :, None] * at[:, None, :]).reshape(len(pos), -1)
    a = F.pad(a, (D % 6 // 2, 0))
    return torch.cos(a).float(), torch.sin(a).float()


def place(c, T, gh, gw, pos):
    """Where in the picture the tokens at pos [N,3] lie: [N,place_features], or None for a model without (himmel1.c)."""
    if not c.get("place_features"):
        return None
    k = math.pi * torch.arange(1, 7, dtype=torch.float64)
    v, u = ((pos[:, a] / BLOCK + 0.5)[:, None] / n for a, n in ((1, gh), (2, gw)))
    one = torch.ones(len(pos), 1, dtype=torch.float64)
    t = pos[:, :1]
    return torch.cat((torch.cos(k * u), torch.cos(k * v), (t == t.floor()).double(), 0.1 * t, 0.1 * (T - 1) * one,
                      math.log(gw / gh) * one), 1).float()


def rotate(x, rope):
    """Pairs (2i, 2i+1) over all of D, before heads are split."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * rope[0] - b * rope[1], b * rope[0] + a * rope[1]), -1).flatten(-2).to(x.dtype)


def local_mix(w, x, grid):
    """The 27 neighbours of x [B,N,D] in time and space times w [27,D] or [B,27,D]; frames behind grid = (T, gh, gw) stand alone
    (local.c). As sums of shifted copies, which a compiler makes one kernel of: convolutions with a filter a channel are slow."""
    T, gh, gw = grid
    B, N, D = x.shape
    f, E = x.reshape(B, -1, gh, gw, D), N // (gh * gw) - T
    w = w.to(x.dtype).reshape(-1, 27, 1, 1, 1, D)
    y = 0
    for dt in (0, 1, 2) if T > 1 else (1,):
        at = f if dt == 1 else F.pad(f[:, : T - 1], (0, 0, 0, 0, 0, 0, 1, E)) if dt == 0 else F.pad(f[:, 1:T], (0, 0, 0, 0, 0, 0, 0, 1 + E))
        at = F.pad(at, (0, 0, 1, 1, 1, 1))
        for dy in (0, 1, 2):
            for dx in (0, 1, 2):
                y = y + w[:, (dt * 3 + dy) * 3 + dx] * at[:, :, dy : dy + gh, dx : dx + gw]
    return y.reshape(B, N, D)


def told(known, mod):
    """mod [b,2,D]: of unknown and of known tokens -> [b,N,D]."""
    return torch.where(known[..., None], mod[:, 1:2], mod[:, 0:1])


def modulate(x, known, shift, scale, eps):
    return (rms_norm(x, None, eps).float() * (1 + told(known, scale)) + told(known, shift)).to(x.dtype)


def gated(x, h, known, gate):
    return (x + h * told(known, gate)).to(x.dtype)


def norm_rotate(x, w, cos, sin):
    return rotate(rms_norm(x, w, 1e-5), (cos, sin))


KERNELS = {"modulate": modulate, "gated": gated, "norm_rotate": norm_rotate, "local_mix": local_mix}  # a trainer may put faster ones here


def dit_block(p, c, x, ada, known, rope, text, text_bias, grid, caption):
    """p: the block's parameters by their short names; ada [b,2,6,D], b = B or 1; grid: of local_mix; caption [B,1,C]: its mean or None."""
    heads, eps, k_ = c["num_attention_heads"], c["norm_eps"], KERNELS
    m = (ada + p["scale_shift_table"]).float().unbind(2)
    h = k_["modulate"](x, known, m[0], m[1], eps)
    w = torch.cat([p[f"attn1.to_{a}.weight"] for a in "qkv"])
    q, k, v = F.linear(h, w, torch.cat([p[f"attn1.to_{a}.bias"] for a in "qkv"])).chunk(3, -1)
    q, k = (k_["norm_rotate"](t, p[f"attn1.{n}_norm.weight"], rope[0], rope[1]) for t, n in ((q, "q"), (k, "k")))
    h = linear(p, "attn1.to_out.0", attend(q, k, v, heads, None))
    x = k_["gated"](x, h, known, m[2])
    q = rms_norm(linear(p, "attn2.to_q", x), p["attn2.q_norm.weight"], 1e-5)
    k = rms_norm(linear(p, "attn2.to_k", text), p["attn2.k_norm.weight"], 1e-5)
    x = (x + linear(p, "attn2.to_out.0", attend(q, k, linear(p, "attn2.to_v", text), heads, None, text_bias))).to(x.dtype)
    h = k_["modulate"](x, known, m[3], m[4], eps)
    if c.get("local_mixing"):
        w = p["local_mix.weight"]
        if caption is not None:  # what the neighbours say times what the caption says
            w = w + p["local_mix.caption.weight"] * linear(p, "local_mix.gate", caption).float()
        h = (h + k_["local_mix"](w, h, grid)).to(x.dtype)
    h = linear(p, "ff.net.2", gelu(linear(p, "ff.net.0.proj", h)))
    return k_["gated"](x, h, known, m[5])


def dit(p, c, x, levels, known, rope, where, text, mask, grid, act=None, tap=0):
    """Velocity of x [B,N,K]. levels [b,2]: noise level of unknown and known tokens, b = B or 1; known [b,N] bool;
    where: of place(), on x's device; grid: (T, gh, gw) of the film's tokens, extra stills behind them; text [B,M,d], mask [B,M] 1 = token. act: dtype of the residual stream (None: x's).
    tap: with the tokens after that many blocks, for a loss of their own."""
    a, b = "adaln_single.", levels.shape[0]
    f = torch.exp(-math.log(1e4) * torch.arange(128, device=x.device) / 128)
    s = (levels.float() * 1000)[..., None] * f
    e = linear(p, a + "emb.timestep_embedder.linear_1", torch.cat((torch.cos(s), torch.sin(s)), -1))
    e = linear(p, a + "emb.timestep_embedder.linear_2", F.silu(e))
    caption = None
    if c.get("caption_modulation"):  # what the whole caption says, as the noise level does
        w = mask.to(text.dtype)[..., None]
        caption = (text * w).sum(1, keepdim=True) / w.sum(1, keepdim=True)
        e = e + linear(p, "caption_modulation", caption)
    b = e.shape[0]
    ada = linear(p, a + "linear", F.silu(e)).view(b, 2, 6, -1)
    text = linear(p, "caption_projection.linear_2", gelu(linear(p, "caption_projection.linear_1", text)))
    bias = torch.where(mask.bool(), 0.0, -1e4)[:, None, None]
    x = linear(p, "patchify_proj", x)
    if where is not None:
        at = linear(p, "place_proj", where)
        x = x + at
        if c.get("caption_modulation"):
            x = x + at * linear(p, "caption_place", caption)
    x = x if act is None else x.to(act)
    for i in range(c["num_layers"]):
        n = f"transformer_blocks.{i}."
        x = dit_block({k[len(n):]: v for k, v in p.items() if k.startswith(n)}, c, x, ada, known, rope, text, bias, grid, caption)
        if i + 1 == tap:
            half = x
    mod = (e[:, :, None] + p["scale_shift_table"]).float()
    shift, scale = (torch.where(known[..., None], mod[:, 1:2, s], mod[:, 0:1, s]) for s in (0, 1))
    v = linear(p, "proj_out", (layer_norm(x, c["norm_eps"]) * (1 + scale) + shift).to(x.dtype))
    return (v, half) if tap else v


def mse(pred, target, weight, l1=0.0):
    """src/tensor/loss.c: mean over all values of weight [.., 1 value per row] times squared (and absolute) error."""
    d = pred.float() - target
    e = d * d if not l1 else d * d + l1 * d.abs()
    return (e * weight[..., None]).mean()


def loss_detail(pred, residual, picture):
    """src/tensor/loss_detail.c: as much detail as picture [B,H,W,3], wherever it is. pred, residual [B,H/4,W/4,48]."""
    q = picture.permute(0, 3, 1, 2).float()
    p = q + F.pixel_shuffle((pred.float() - residual).permute(0, 3, 1, 2), 4)
    total, terms = 0.0, 0
    for k in range(3):
        for axis in (3, 2):
            rms = []
            for v in (p, q):
                d = v.diff(dim=axis).pow(2)
                d = F.pad(d, (0, 1) if axis == 3 else (0, 0, 0, 1))
                rms.append((F.avg_pool2d(d, 8, 4) + 0.005**2).sqrt())
            total, terms = total + (rms[0] - rms[1]).pow(2).sum((2, 3)).mean(), terms + rms[0].shape[2] * rms[0].shape[3]
        p, q = F.avg_pool2d(p, 2), F.avg_pool2d(q, 2)
    return total / terms


def dit_flops(c, B, N, M):
    """Multiplications and additions of matmuls in one forward pass of the transformer."""
    D = c["num_attention_heads"] * c["attention_head_dim"]
    layer = 2 * N * D * D * 14 + 4 * N * N * D + 4 * M * D * D + 4 * N * M * D  # q k v o, q o, ff; scores; k v of the text
    return B * (c["num_layers"] * layer + 2 * N * D * (c["in_channels"] + c["out_channels"]) + 2 * M * D * (D + c["caption_channels"]))


# ---- sampler (src/diffusion/sampler.c, src/film/sample.c) ----
def schedule(steps, shift):
    t = [1 - i / steps for i in range(steps)]
    return [shift * s / (1 + (shift - 1) * s) for s in t] + [0.0]


@torch.no_grad()
def sample(p, c, x, known, pos, where, text, mask, grid, steps, guidance, shift, act=None):
    """x [N,K]: noise, and clean values where known [N]; text, mask [2,M,..]: prompt, empty prompt. -> clean [N,K]."""
    rope = tuple(t.to(x.device) for t in rope_tables(c, pos))
    where = None if where is None else where.to(x.device)
    times = [float(torch.tensor(t)) for t in schedule(steps, shift)]
    for now, after in zip(times, times[1:]):
        v = dit(p, c, torch.stack((x, x)), torch.tensor([[now, 0.0]], device=x.device), known[None], rope, where, text, mask, grid, act=act).float()
        v = v[1] + guidance * (v[0] - v[1])
        x = torch.where(known[:, None], x, x + (after - now) * v)
    return x


# ---- linear codec (src/models/himmel/codec*.c) ----
def dct(n, f):
    i = torch.arange(f, dtype=torch.float64)[:, None]
    m = torch.cos(math.pi * (2 * torch.arange(n, dtype=torch.float64) + 1) * i / (2 * n)) * math.sqrt(2 / n)
    m[0] /= math.sqrt(2)
    return m.float()


def window_share(T, j, f):
    """Share of window j (0: the still) in frames f (a tensor) of a film of T latent frames."""
    f = f.float()
    still = torch.ones_like(f) if T == 1 else torch.where(f < 7, 1 - f / 7, torch.zeros_like(f))
    if j == 0:
        return still
    w = f - FPS * (j - 1) + LAP - 1
    s = torch.ones_like(f)
    if j == 1:
        s = s - still
    else:
        s = torch.where(w < 2 * LAP, (w + 0.5) / (2 * LAP), s)
    if j < T - 1:
        s = torch.where(w >= WINDOW - 2 * LAP, (WINDOW - w - 0.5) / (2 * LAP), s)
    return torch.where((w < 0) | (w >= WINDOW), torch.zeros_like(f), s)


def smooth_seams(x):
    """x [..,H,W,3]: jumps between blocks, spread over half a block (codec_seams.c); columns, then rows."""
    for turn in (0, 1):
        y = x.transpose(-3, -2) if turn else x  # [.., along, across, 3]
        y = y.unflatten(-2, (-1, BLOCK))
        left, right = y[..., :-1, :, :], y[..., 1:, :, :]
        jump = 1.5 * (right[..., 0, :] - left[..., 15, :]) - 0.5 * (right[..., 1, :] - left[..., 14, :])  # [.., along, seam, 3]
        flat = jump.transpose(-3, -1).flatten(0, -2)[:, None]
        mean = F.avg_pool1d(flat, 5, 1, 2, count_include_pad=False)[:, 0].view(jump.transpose(-3, -1).shape).transpose(-3, -1)
        mean = mean / (1 + mean * mean / 0.01)
        ramp = 0.5 * (1 - (torch.arange(8, device=x.device) + 0.5) / 8)
        give = mean[..., None, :] * ramp[:, None]
        y = y.clone()
        y[..., 1:, :8, :] -= give
        y[..., :-1, 8:, :] += give.flip(-2)
        y = y.flatten(-3, -2)
        x = y.transpose(-3, -2) if turn else y
    return x


class Codec:
    def __init__(self, tensors, device="cpu"):
        t = part(tensors, "codec.", device)
        self.index, self.mean, self.std, self.parity = t["dct_index"].long(), t["mean"], t["std"], t["parity"]
        self.still = torch.nonzero(self.index // 256 % DCT_T == 0)[:, 0]
        self.project = t["basis"] * t["scale"][:, None]
        self.offset = (self.project.double() @ self.mean.double()).float()
        self.decoder, self.still_decoder = t["decoder"], t["still_decoder"]
        self.K = len(self.project)
        self.space, self.time = dct(BLOCK, BLOCK).to(device), dct(WINDOW, DCT_T).to(device)
        s3, s2, s6 = 3 ** -0.5, 2 ** -0.5, 6 ** -0.5
        self.colour = torch.tensor([[s3, s3, s3], [s2, 0, -s2], [s6, -2 * s6, s6]], device=device)

    def _boxes(self, planes):
        """[B,f,H,W,3] -> DCT values [B,gh,gw,c*f*y*x]."""
        p = planes.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)) @ self.colour.T  # b f h y w x c
        p = torch.einsum("vx,bfhywxc->bfhywvc", self.space, p)
        return torch.einsum("uy,bfhywvc->bhwcfuv", self.space, p).flatten(3)

    def encode(self, frames):
        """[B,36,H,W,3] -> [B,gh,gw,K]."""
        v = self._boxes((self.time @ frames.flatten(2)).view(len(frames), DCT_T, *frames.shape[2:]))[..., self.index]
        return v @ self.project.T - self.offset

    def encode_still(self, frame):
        """[B,H,W,3] -> [B,gh,gw,K]."""
        at = self.index[self.still]
        v = self._boxes(6.0 * frame[:, None])[..., at // (DCT_T * 256) * 256 + at % 256]
        return v @ self.project[:, self.still].T - self.offset

    def _planes(self, z, still):
        """One latent frame [B,gh,gw,K] -> its temporal frequencies as pictures [B,f,H,W,3]."""
        B, gh, gw, _ = z.shape
        pad = F.pad(z, (0, 0, 1, 1, 1, 1))
        near = torch.cat([pad[:, y : y + gh, x : x + gw] for y in range(3) for x in range(3)], -1)
        at, f = (self.index[self.still], 1) if still else (self.index, DCT_T)
        v = near @ (self.still_decoder if still else self.decoder) + (self.mean[self.still] if still else self.mean)
        box = z.new_zeros(B, gh, gw, 3 * f * 256)
        box[..., at // (DCT_T * 256) * 256 + at % 256 if still else at] = v
        p = torch.einsum("bhwcfuv,uy->bhwcfyv", box.view(B, gh, gw, 3, f, BLOCK, BLOCK), self.space)
        p = torch.einsum("bhwcfyv,vx->bfhywxc", p, self.space) @ self.colour
        return p.reshape(B, f, gh * BLOCK, gw * BLOCK, 3)

    def decode_linear(self, z, frames):
        """z [B,T,gh,gw,K], frames [B,n] (numbers in the film) -> pictures [B,n,H,W,3]."""
        out, T = 0, z.shape[1]
        for j in range(T):
            share = window_share(T, j, frames)  # [B,n]
            if j == 0:
                k = self.time[0, 0] * share[..., None]
            else:
                w = (frames - FPS * (j - 1) + LAP - 1).clamp(0, WINDOW - 1)
                k = self.time.T[w] * share[..., None]  # [B,n,f]
            p = self._planes(z[:, j], j == 0)
            out = out + (k @ p.flatten(2)).view(*frames.shape, *p.shape[2:])
        return out

    def decode(self, z, frames):
        return smooth_seams(self.decode_linear(z, frames))


# ---- refiner (src/models/himmel/refiner*.c) ----
def refiner_shapes(c):
    w, w2, out = c["width"], c["width2"], {}
    convs = [("conv_in", w, 3, 112)] + [(f"blocks.{i // 2}.conv{i % 2 + 1}", w, 3, w) for i in range(2 * c["n_blocks"])]
    convs += [("up", 16 * w2, 1, w)] + [(f"convs2.{i}", w2, 3, w2) for i in range(c["n_convs2"])] + [("proj_out", 48, 3, w2)]
    for name, o, k, i in convs:
        out[name + ".weight"], out[name + ".bias"] = (o, k, k, i), (o,)
    return out


def refiner_input(dec, t, x0, y0, known=None, mask=None):
    """dec [B,3,H,W,3]: frames t-1, t, t+1; t, x0, y0 [B]; known [B,2H,2W,3] with mask [B,2H,2W] -> [B,H,W,28]."""
    B, _, H, W, _ = dec.shape

    def phase(at, n):  # triangle wave: -1 at an edge of a block, 1 in its middle
        i = (at[:, None] + torch.arange(n, device=dec.device)) % BLOCK
        return 1 - ((i + 0.5) / (BLOCK / 4) - 2).abs()

    still = window_share(2, 0, t)
    pt = torch.where(still > 0, 2 * still, -(((t - 1) % FPS + 0.5) / (FPS / 2) - 1).abs())
    ph = torch.stack((phase(x0, W)[:, None].expand(B, H, W), phase(y0, H)[:, :, None].expand(B, H, W), pt[:, None, None].expand(B, H, W)), -1)
    k = dec.new_zeros(B, H, W, 16)
    if known is not None:
        quad = lambda v: v.view(B, H, 2, W, 2, -1).permute(0, 1, 3, 2, 4, 5).flatten(3)
        k = torch.cat((quad((2 * known - 1) * mask[..., None]), quad(mask)), -1)
    return torch.cat((2 * dec.permute(0, 2, 3, 1, 4).flatten(3) - 1, ph, k), -1)


def conv(p, name, x):
    w = p[name + ".weight"].permute(0, 3, 1, 2)
    return F.conv2d(x, w, p[name + ".bias"], padding=w.shape[-1] // 2)


def refiner(p, c, x):
    """x [B,H,W,28] -> correction [B,2H,2W,48]."""
    h = conv(p, "conv_in", F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2))
    for i in range(c["n_blocks"]):
        h = h + conv(p, f"blocks.{i}.conv2", F.relu(conv(p, f"blocks.{i}.conv1", h)))
    h = F.pixel_shuffle(conv(p, "up", h), 4)
    for i in range(c["n_convs2"]):
        h = h + conv(p, f"convs2.{i}", F.relu(h))
    return conv(p, "proj_out", h).permute(0, 2, 3, 1)


def enlarge(frame):
    """[B,H,W,3] -> [B,8H,8W,3]: bicubic (Keys, a = -1/2), pixel centres aligned, borders repeated."""

    def matrix(n):
        m, at = torch.zeros(8 * n, n, dtype=torch.float64), (torch.arange(8 * n, dtype=torch.float64) + 0.5) / 8 - 0.5
        for k in range(-1, 3):
            i = at.floor() + k
            d = (at - i).abs()
            w = torch.where(d < 1, (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2)
            m.scatter_add_(1, i.long().clamp(0, n - 1)[:, None], w[:, None])
        return m.float().to(frame.device)

    y = torch.einsum("ph,bhwc->bpwc", matrix(frame.shape[1]), frame)
    return torch.einsum("qw,bpwc->bpqc", matrix(frame.shape[2]), y)


def refiner_compose(x, correction=None):
    """Frame t of x enlarged, plus the correction -> [B,8H,8W,3]."""
    big = enlarge(0.5 + 0.5 * x[..., 3:6])
    return big if correction is None else big + F.pixel_shuffle(correction.permute(0, 3, 1, 2).float(), 4).permute(0, 2, 3, 1)


def refiner_residual(x, target):
    return F.pixel_unshuffle((target - refiner_compose(x)).permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)


# ---- the whole model ----
class Himmel1:
    """One weights file: config c, and p["dit"], p["t5"], p["refiner"] in f32."""

    def __init__(self, path, device="cpu"):
        self.tensors, self.meta = load(path)
        if "config" not in self.meta:
            raise ValueError(f"{path}: not a himmel-1 weights file (no config in its header)")
        self.c = json.loads(self.meta["config"])
        self.p = {k: part(self.tensors, v, device) for k, v in (("dit", DIT), ("t5", TEXT), ("refiner", REFINER))}
        self.codec, self.device = Codec(self.tensors, device), device

    def text(self, ids, mask):
        return t5(self.p["t5"], self.c["text_encoder"], ids, mask)

    def save(self, path, parts, meta):
        """This file with other tensors (full names) in place of its own, in bf16, and other metadata."""
        out = dict(self.tensors)
        prefixes = {n[: n.index(".") + 1] for n in parts}
        out = {k: v for k, v in out.items() if k[: k.find(".") + 1] not in prefixes}
        out.update({k: v.detach().to("cpu", torch.bfloat16) for k, v in parts.items()})
        save(path, out, {**self.meta, "config": json.dumps(self.c, separators=(",", ":")), **meta})
