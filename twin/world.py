"""world.py - footage for the twin: render on the GPU (or the host), encode, write shards as `himmel train cache` does.
SPDX-License-Identifier: MIT
usage: world.py --lib libworld.so --model WEIGHTS --out DIR [--grid 16x9] [--latent-frames 1] [--scenes 256] [--shards 1]
       [--seed N] [--captions 8] [--held-out] [--device cuda|cpu] [--seconds S: start no shard after S seconds]
"""
import argparse
import ctypes
import hashlib
import os
import sys
import time

import torch

import himmel1 as h


def codec_hash(tensors):
    """src/train/cache_write.c, hm_codec_hash: what encoding depends on, in the order of the file."""
    s = hashlib.sha256()
    for name, t in tensors.items():
        if name.startswith("codec.") and name != "codec.decoder":
            s.update(name.encode())
            s.update(t.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return s.hexdigest()


class World:
    def __init__(self, lib, device="cpu"):
        self.lib, self.device = ctypes.CDLL(os.path.abspath(lib)), device
        self.lib.tw_render.restype = self.lib.tw_version.restype = ctypes.c_char_p
        self.version = self.lib.tw_version().decode()

    @staticmethod
    def _p(t):
        return ctypes.c_void_p(t.data_ptr())

    def pick(self, seed, n, T, held_out):
        """The next n suitable scenes from seed on: seeds, start seconds, hash; None if there are too few near it."""
        seeds, start, sha = torch.zeros(n, dtype=torch.int64), torch.zeros(n), ctypes.create_string_buffer(65)
        if self.lib.tw_pick(ctypes.c_uint64(seed), n, T, int(held_out), self._p(seeds), self._p(start), sha):
            return None, None, None
        return seeds, start, sha.value.decode()

    def captions(self, spiece, seeds, captions, text_len):
        ids = torch.zeros(len(seeds), 2, captions, text_len, dtype=torch.int32)
        spiece = spiece.contiguous()
        if self.lib.tw_captions(self._p(spiece), ctypes.c_int64(spiece.numel()), self._p(seeds), len(seeds), captions, text_len, self._p(ids)):
            raise ValueError("captions cannot be tokenised")
        return ids

    def render(self, seed, t, whole, w, h_, place=None, bare=None):
        """seed, t [n] (CPU tensors), whole (W, H) or [n,2], place [n,2] -> pictures [n,h,w,3] on the device."""
        n = len(seed)
        whole = torch.tensor(whole, dtype=torch.int32).expand(n, 2).contiguous()
        place = torch.zeros(n, 2, dtype=torch.int32) if place is None else place.to(torch.int32).contiguous()
        bare = torch.zeros(n, dtype=torch.uint8) if bare is None else bare.to(torch.uint8)
        seed, t = seed.contiguous(), t.double().contiguous()
        out = torch.empty(n, h_, w, 3, device=self.device)
        if self.device != "cpu":
            torch.cuda.current_stream().synchronize()
        wrong = self.lib.tw_render(n, self._p(seed), self._p(bare), self._p(t), self._p(whole), self._p(place), w, h_, self._p(out))
        if wrong:
            raise RuntimeError(wrong.decode())
        return out


def latents(world, codec, seeds, start, T, gh, gw):
    """src/train/cache_write.c: z [n,T,gh,gw,K] and the still of each later second [n,T-1,gh,gw,K]."""
    W, H, n = gw * h.BLOCK, gh * h.BLOCK, len(seeds)
    at = lambda frames: (seeds.repeat_interleave(len(frames)), (start.double()[:, None] + torch.tensor(frames, dtype=torch.float64) / h.FPS).reshape(-1))
    z, stills = [codec.encode_still(world.render(*at([0]), (W, H), W, H))], []
    old = None
    for j in range(1, T):  # window j: 36 frames, of which 12 are the last window's
        first = h.FPS * (j - 1) + 1 - h.LAP
        have = 0 if old is None else h.WINDOW - h.FPS
        new = world.render(*at(range(first + have, first + h.WINDOW)), (W, H), W, H).view(n, -1, H, W, 3)
        old = new if old is None else torch.cat((old[:, h.FPS :], new), 1)
        z.append(codec.encode(old))
        stills.append(codec.encode_still(old[:, h.FPS + h.LAP - 1]))
    return torch.stack(z, 1), torch.stack(stills, 1) if stills else None


def subject(world, seeds, start, T, gh, gw):
    """How much of a block is the scene's subject, U8 [n,T,gh,gw]: what a picture without it lacks, 0.05 -> 255."""
    W, H, n = gw * h.BLOCK, gh * h.BLOCK, len(seeds)
    s, t = seeds.repeat_interleave(T), (start.double()[:, None] + torch.arange(T)).reshape(-1)
    d = (world.render(s, t, (W, H), W, H) - world.render(s, t, (W, H), W, H, bare=torch.ones(n * T))).abs()
    d = d.view(n, T, gh, h.BLOCK, gw, h.BLOCK * 3).sum((3, 5))
    v = (255 * (d / (0.05 * 3 * 256)).clamp(max=1)).to(torch.uint8)
    out = v.clone()
    out[:, 1:] = torch.maximum(v[:, 1:], v[:, :-1])  # the picture at second j belongs to both seconds beside it
    return out


def write_shard(world, model, path, seed, n, T, gh, gw, captions, held_out, batch):
    seeds, start, sha = world.pick(seed, n, T, held_out)
    if seeds is None:
        raise ValueError(f"{path}: too few suitable scenes from seed {seed}")
    z, stills, share = [], [], []
    for i in range(0, n, batch):
        a, b = latents(world, model.codec, seeds[i : i + batch], start[i : i + batch], T, gh, gw)
        z.append(a.bfloat16().cpu())
        stills += [] if b is None else [b.bfloat16().cpu()]
        share.append(subject(world, seeds[i : i + batch], start[i : i + batch], T, gh, gw).cpu())
    out = {"z": torch.cat(z)}
    if T > 1:
        out["stills"] = torch.cat(stills)
    out["subject"], out["seed"], out["start"] = torch.cat(share), seeds, start
    if captions:
        out["ids"] = world.captions(model.tensors["tokenizer.spiece"], seeds, captions, model.c["himmel"]["text_len"])
    h.save(path, out, {"renderer": world.version, "scenes_sha256": sha, "codec_sha256": codec_hash(model.tensors)})


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lib", "model", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--grid", default="16x9")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (("latent-frames", 1), ("scenes", 256), ("shards", 1), ("seed", 1000000), ("captions", 8), ("batch", 32)):
        a.add_argument("--" + name, type=int, default=value)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--held-out", action="store_true")
    o = a.parse_args()
    gw, gh = (int(v) for v in o.grid.split("x"))
    world, model, t0, made = World(o.lib, o.device), h.Himmel1(o.model, o.device), time.time(), 0
    for i in range(o.shards):
        seed = o.seed + i * o.scenes * 64
        path = f"{o.out}/{gw}x{gh}-{o.latent_frames}-{seed:012x}.st"
        if os.path.exists(path) or time.time() - t0 > o.seconds:
            continue
        write_shard(world, model, path, seed, o.scenes, o.latent_frames, gh, gw, o.captions, o.held_out, o.batch)
        made += o.scenes
    print(f"{o.out} {o.grid} T={o.latent_frames}: {made} scenes in {time.time() - t0:.1f} s")


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
