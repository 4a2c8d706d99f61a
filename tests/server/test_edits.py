"""test_edits.py HIMMEL MAKE_MODEL - extend, loop, blend and verify from outside: new seconds are where they were asked for, every frame
that was there before is still there, and what a file says of itself is told. SPDX-License-Identifier: MIT"""
import subprocess, sys, tempfile
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-edits-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
SIDE, FPS = 64, 24
SAME = 6  # mean difference of a frame that was encoded again and watermarked
NO_MARK = [("visible_mark", "false")]  # it covers much of so small a film


def ffmpeg(*args, data=b""):
    return subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *args], input=data, capture_output=True, check=True, timeout=60).stdout


def film_of(seed, name):
    """A film of two seconds, every frame of it different."""
    ffmpeg("-f", "lavfi", "-i", f"gradients=size={SIDE}x{SIDE}:rate={FPS}:duration=2:speed=0.2:seed={seed}", "-pix_fmt", "yuv420p", "-crf", "10", f"{D}/{name}.mp4")
    with open(f"{D}/{name}.mp4", "rb") as f: return f.read()


def frames(film):
    with open(D + "/x.mp4", "wb") as f: f.write(film)
    raw, n = ffmpeg("-i", D + "/x.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"), 3 * SIDE * SIDE
    return [raw[i:i + n] for i in range(0, len(raw), n)]


def difference(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def kept(got, at, old, what):
    """The frames from `at` on are those of the old film, in their order, and the others are not."""
    there = got[at:at + len(old)]
    worst = max(difference(a, b) for a, b in zip(there, old))
    check(len(there) == len(old) and worst < SAME, f"{what}: {len(there)} of {len(old)} frames, one that was there differs by {worst:.1f}")
    for i in range(0, len(there), 6):
        nearest = min(range(len(old)), key=lambda k: difference(there[i], old[k]))
        check(nearest == i, f"{what}: at {at + i} is frame {nearest} of the old ones, not {i}")
    for i in (at - 12, at + len(old) + 11):  # in the middle of new seconds
        if 0 <= i < len(got):
            nearest = min(difference(got[i], f) for f in old)
            check(nearest > SAME, f"{what}: new frame {i} is one of the old ones ({nearest:.1f})")


def made(s, path, n, what, body=None, form=None):
    """n frames, the Video object, the file."""
    a = s.ask("POST", path, body, form)
    if not check(a.status == 200, f"{what}: {a.status} {a.body[:300]}"): sys.exit(end())
    e = s.wait(a.json["id"])
    check(e["status"] == "completed" and abs(float(e["seconds"]) - n / FPS) < 0.05, f"{what}: {e}")
    film = s.ask("GET", f"/v1/videos/{e['id']}/content").body
    got = frames(film)
    check(len(got) == n, f"{what}: {len(got)} frames, not {n}")
    return got, e, film


def extend(s, film, old):
    for before, after in ((0, 1), (1, 0), (1, 2)):
        fields = [("prompt", "fog"), ("video", ("a.mp4", film)), ("steps", "1"), ("seed", "3"), ("seconds", str(after)), ("seconds_before", str(before)), *NO_MARK]
        got, e, _ = made(s, "/v1/videos/extensions", (2 + before + after) * FPS, f"{before} before, {after} after", form=fields)
        kept(got, before * FPS, old, f"{before} before, {after} after")
        check(e["remixed_from_video_id"] is None, "an uploaded film has no id")


def loop(s, film, old):
    """The frame behind the last one is the first one: it is not there twice."""
    fields = [("prompt", "fog"), ("video", ("a.mp4", film)), ("steps", "1"), ("seed", "3"), ("seconds", "1"), *NO_MARK]
    got, e, _ = made(s, "/v1/videos/extensions", 3 * FPS - 1, "loop", form=fields + [("loop", "true")])
    kept(got, 0, old, "loop")
    plain, *_ = made(s, "/v1/videos/extensions", 3 * FPS, "no loop", form=fields)
    closed, open_ = difference(got[-1], got[0]), difference(plain[-1], plain[0])
    check(closed < open_ / 2, f"the last frame of a loop leads to the first: {closed:.1f}, of an extension {open_:.1f}")
    # the same from a film that was made here, by its id
    _, again, signed = made(s, "/v1/videos/extensions", 4 * FPS - 2, "loop by id", body={"prompt": "fog", "video": {"id": e["id"]}, "steps": 1, "seconds": 1, "loop": True})
    check(again["remixed_from_video_id"] == e["id"], f"{again}")
    return e["id"], got, signed


def blend(s, id, first, film, old):
    """A second passes from the last frame of the one to the first of the other."""
    path = "/himmel/v1/joins"
    n = len(first)
    got, *_ = made(s, path, n + 3 * FPS - 1, "blend", form=NO_MARK + [("clips[0][id]", id), ("clips[1]", ("b.mp4", film)), ("between", "1"), ("steps", "1"), ("prompt", "fog")])
    kept(got, 0, first, "blend, first film")
    kept(got, n + FPS - 1, old, "blend, second film")
    got, *_ = made(s, path, n + 2 * FPS, "cut", form=NO_MARK + [("clips[0]", ("b.mp4", film)), ("clips[1][id]", id), ("between", "0"), ("steps", "1")])
    kept(got[:2 * FPS], 0, old, "cut, first film")
    kept(got[2 * FPS:], 0, first, "cut, second film")


def verify(s, film, plain):
    path = "/v1/content_provenance_checks"
    def ask(name, data): return s.ask("POST", path, form=[("file", (name, data))])
    a = ask("unknown_file", film)
    h = a.json["himmel"]
    check(a.status == 200 and h["credentials"]["state"] == "valid" and h["credentials"]["made_by_machine"] and h["visible_mark"]["state"] == "drawn", f"a film: {a.body[:400]}")
    check({"credentials", "watermark", "visible_mark"} <= set(h) and D.encode() not in a.body, "three layers, and no path of this machine")
    changed = bytearray(film)
    changed[len(film) // 2] ^= 255
    b = ask("a.mp4", bytes(changed))
    check(b.status == 200 and b.json["himmel"]["credentials"]["state"] == "broken", f"a changed film: {b.body[:300]}")
    check(b.json["results"][0]["validation_state"] == "invalid", f"a changed film: {b.body[:300]}")
    c = ask("a.mp4", plain)
    check(c.status == 200 and c.json["himmel"]["credentials"]["state"] == "none" and c.json["himmel"]["watermark"]["state"] == "none", f"a film of another: {c.body[:300]}")
    stripped = D + "/stripped.mp4"
    with open(D + "/signed.mp4", "wb") as f: f.write(film)
    ffmpeg("-i", D + "/signed.mp4", "-c", "copy", "-map_metadata", "-1", stripped)
    with open(stripped, "rb") as f: d = ask("a.mp4", f.read())
    check(d.json["himmel"]["credentials"]["state"] == "none", f"without its credentials: {d.body[:300]}")
    for name, data, state in (("a.txt", b"this is text", "none"), ("a.mp4", b"", "none"), ("a.mp4", film[:200], "broken")):
        e = ask(name, data)
        check(e.status == 200 and e.json["himmel"]["credentials"]["state"] == state, f"{name}, {len(data)} bytes: {e.status} {e.body[:300]}")
    check(s.ask("POST", path, form=[("prompt", "x")]).status == 400, "no file")


def refusals(s, film):
    for path, word, form in (("/v1/videos/extensions", "seconds", [("prompt", "fog"), ("video", ("a.mp4", film))]),
                             ("/v1/videos/extensions", "seconds", [("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "21")]),
                             ("/v1/videos/extensions", "seconds", [("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "9"), ("loop", "true")]),
                             ("/v1/videos/extensions", "loop", [("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "1"), ("loop", "maybe")]),
                             ("/himmel/v1/joins", "clips", [("prompt", "fog")]), ("/himmel/v1/joins", "clips", [("clips[0]", ("a.mp4", film))]),
                             ("/himmel/v1/joins", "between", [("clips[0]", ("a.mp4", film)), ("clips[1]", ("a.mp4", film)), ("between", "9")])):
        a = s.ask("POST", path, form=form)
        check(a.status == 400 and word in a.error().get("message", ""), f"{path} {[f[0] for f in form]}: {a.status} {a.body[:200]}, not 400 '{word}'")


s = Server(himmel, D + "/data", MODEL, "--min-free", "1")
a, b = film_of(1, "a"), film_of(2, "b")
extend(s, a, frames(a))
id, looped, signed = loop(s, a, frames(a))
blend(s, id, looped, b, frames(b))
verify(s, signed, a)
refusals(s, a)
check(s.stop() == 0, "SIGTERM")
sys.exit(end())
