"""test_masks.py HIMMEL MAKE_MODEL - what may change in a picture: the fully transparent part of the mask or of the picture itself, or
the white of a mask that is nowhere transparent; everything else stays. SPDX-License-Identifier: MIT"""
import base64, struct, subprocess, sys, tempfile, zlib
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-masks-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
SIDE = 96
LEAST, MOST = 20, 4  # mean difference where something new was made; largest difference elsewhere: the watermark's


def write_png(pixel):
    """pixel(x, y): 3 or 4 bytes"""
    n = len(pixel(0, 0))
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(SIDE)) for y in range(SIDE))
    def chunk(t, d): return struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, {3: 2, 4: 6}[n], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read_png(data):
    """Rows of 8-bit RGB."""
    at, idat = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR": w, h, depth, color = struct.unpack(">IIBB", data[at + 8:at + 18])
        if kind == b"IDAT": idat += data[at + 8:at + 8 + n]
        at += 12 + n
    check((w, h, depth, color) == (SIDE, SIDE, 8, 2), f"PNG: {w}x{h}, {depth} bits, kind {color}")
    raw, rows, stride = zlib.decompress(idat), [], 3 * w
    for y in range(h):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        up = rows[-1] if rows else bytes(stride)
        for i in range(stride):
            a, b, c = row[i - 3] if i >= 3 else 0, up[i], up[i - 3] if i >= 3 else 0
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = (row[i] + (0, a, b, (a + b) // 2, near)[kind]) & 255
        rows.append(row)
    return rows


def color(x, y):
    return 40 + 2 * x, 200 - y, 90 + (x + y) // 4


def left(x, y): return x < SIDE // 2
def corner(x, y): return x >= SIDE // 2 and y >= SIDE // 2


def differences(got, where):
    """Mean where something new was made, leaving out what fades at its border; the largest elsewhere."""
    new, old = [], [0]
    for y in range(SIDE):
        for x in range(SIDE):
            d = max(abs(got[y][3 * x + k] - color(x, y)[k]) for k in range(3))
            if not where(x, y): old.append(d)
            elif all(where(x + i, y + j) for i in (-8, 8) if 0 <= x + i < SIDE for j in (-8, 8) if 0 <= y + j < SIDE): new.append(d)
    return sum(new) / len(new), max(old)


def edit(s, what, where, image, mask=None):
    fields = [("prompt", "fog"), ("steps", "2"), ("seed", "3"), ("visible_mark", "false"), ("image", ("a.png", image))]
    a = s.ask("POST", "/v1/images/edits", form=fields + ([("mask", ("m.png", mask))] if mask else []))
    if not check(a.status == 200, f"{what}: {a.status} {a.body[:300]}"): return
    new, old = differences(read_png(base64.b64decode(a.json["data"][0]["b64_json"])), where)
    check(new >= LEAST, f"{what}: what may change differs by {new:.1f} on average, at least {LEAST} are wanted")
    check(old <= MOST, f"{what}: what must stay differs by {old}, at most {MOST} are possible")


s = Server(himmel, D + "/data", MODEL, "--min-free", "1")
whole = write_png(color)
hole = lambda where: lambda x, y: (*color(x, y), 0 if where(x, y) else 255)
edit(s, "the picture's own alpha", left, write_png(hole(left)))
edit(s, "the mask's alpha, all of it white", corner, whole, write_png(lambda x, y: (255, 255, 255, 0 if corner(x, y) else 255)))
edit(s, "the mask's alpha before the picture's", corner, write_png(lambda x, y: (*color(x, y), 254 if left(x, y) else 255)), write_png(hole(corner)))
edit(s, "the white of a mask", left, whole, write_png(lambda x, y: (255, 255, 255) if left(x, y) else (0, 0, 0)))
a = s.ask("POST", "/v1/images/edits", form=[("prompt", "fog"), ("steps", "2"), ("image", ("a.png", whole)), ("mask", ("m.png", write_png(lambda x, y: (0, 0, 0))))])
check(a.status == 400 and "mask is empty" in a.error()["message"], f"a mask that says nothing: {a.status} {a.body[:200]}")
check(s.stop() == 0, "SIGTERM")
sys.exit(end())
