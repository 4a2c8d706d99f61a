"""test_server.py HIMMEL MAKE_MODEL - himmel serve from outside, over sockets, on random weights. SPDX-License-Identifier: MIT"""
import base64, hashlib, http.server, json, os, signal, socket, struct, subprocess, sys, tempfile, threading, time, zlib
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-server-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
QUICK = dict(seconds="1", size="64x64", steps=1, seed=5)
KEYS13 = {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size", "seconds",
          "remixed_from_video_id", "error"}


def png(w, h, pixel):
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(w)) for y in range(h))
    def chunk(t, d): return struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Pictures(http.server.BaseHTTPRequestHandler):
    """Another web server."""
    seen = []

    def do_GET(self):
        Pictures.seen.append(self.path)
        status = {"/moved.png": 302, "/none.png": 404}.get(self.path, 200)
        self.send_response(status)
        if status == 302: self.send_header("Location", "/secret.png")
        body = {"/red.png": png(64, 64, lambda x, y: (255, 40, 40)), "/text.png": b"text", "/huge.png": bytes(21 << 20)}.get(self.path, b"")
        self.end_headers()
        try: self.wfile.write(body)
        except OSError: pass

    def log_message(self, *a): pass


def make(s, path="/v1/videos", **fields):
    a = s.ask("POST", path, {"prompt": "sunset over a calm sea", **QUICK, **fields})
    check(a.status == 200, f"{path} {fields}: {a.status} {a.body[:300]}")
    return a.json


def wire(s):
    """Create, poll, download, list, edit, delete: what a Sora program does."""
    v = make(s)
    check(KEYS13 <= set(v), f"keys missing: {KEYS13 - set(v)}")
    check(v["object"] == "video" and v["status"] == "queued" and v["progress"] == 0 and v["seconds"] == "1" and v["size"] == "64x64", f"queued: {v}")
    a = s.ask("GET", "/v1/videos/" + v["id"])
    check("openai-poll-after-ms" in a.headers and a.headers["x-request-id"].startswith("req_"), f"headers of polls: {a.headers}")
    done = s.wait(v["id"])
    check(done["status"] == "completed" and done["progress"] == 100 and done["completed_at"] >= done["created_at"] and done["error"] is None, f"end: {done}")
    film = s.ask("GET", f"/v1/videos/{v['id']}/content", headers={"Accept": "application/binary"})
    check(film.status == 200 and film.headers["Content-Type"] == "video/mp4" and film.body[4:8] == b"ftyp", f"film: {film.status} {film.body[:20]}")
    for header, status, want in (("bytes=4-7", 206, b"ftyp"), ("bytes=-3", 206, film.body[-3:]), (f"bytes={len(film.body)}-", 416, None),
                                 ("bytes=0-0,2-3", 200, film.body), ("bytes=7-4", 200, film.body)):
        r = s.ask("GET", f"/v1/videos/{v['id']}/content", headers={"Range": header})
        check(r.status == status and (want is None or r.body == want), f"Range {header}: {r.status}, {len(r.body)} bytes")
    thumb = s.ask("GET", f"/v1/videos/{v['id']}/content?variant=thumbnail")
    sheet = s.ask("GET", f"/v1/videos/{v['id']}/content?variant=spritesheet")
    check(thumb.body[8:12] == b"WEBP" and thumb.headers["Content-Type"] == "image/webp", "thumbnail")
    check(sheet.body[:2] == b"\xff\xd8" and sheet.headers["Content-Type"] == "image/jpeg", "spritesheet")
    # the same again as the official clients send it: multipart, seconds as text
    w = s.ask("POST", "/v1/videos", form=[("prompt", "sunset over a calm sea"), ("seconds", "1"), ("size", "64x64"), ("steps", "1"), ("seed", "5"), ("model", "sora-2")])
    check(w.status == 200 and w.json["model"] == "sora-2", f"multipart: {w.status} {w.body[:200]}")
    s.wait(w.json["id"])
    again = s.ask("GET", f"/v1/videos/{w.json['id']}/content")
    check(again.body == film.body, "same request, other bytes")
    # edits
    red = png(64, 64, lambda x, y: (255, 40, 40))
    started = s.ask("POST", "/v1/videos", form=[("prompt", "fog"), ("seconds", "1"), ("size", "64x64"), ("steps", "1"), ("input_reference", ("a.png", red))])
    remix = s.ask("POST", f"/v1/videos/{v['id']}/remix", {"prompt": "fog", "steps": 1})
    edit = s.ask("POST", "/v1/videos/edits", form=[("prompt", "fog"), ("video[id]", v["id"]), ("steps", "1"), ("box", "0,0,32,64")])
    longer = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("video", ("unknown_file", film.body)), ("seconds", "1"), ("steps", "1")])
    board = s.ask("POST", "/himmel/v1/storyboards", {"seconds": 2, "size": "64x64", "steps": 1, "cards": [{"at": 0, "prompt": "day"}, {"at": 1, "prompt": "night"}]})
    join = s.ask("POST", "/himmel/v1/joins", {"clips": [{"id": v["id"]}, {"id": w.json["id"]}], "between": 1, "steps": 1})
    for name, a, seconds, source in (("input_reference", started, "1", None), ("remix", remix, "1", v["id"]), ("edit", edit, "1", v["id"]), ("extension", longer, "2", None),
                                     ("storyboard", board, "2", None), ("join", join, "3", None)):
        if not check(a.status == 200, f"{name}: {a.status} {a.body[:300]}"):
            continue
        e = s.wait(a.json["id"])
        check(e["status"] == "completed" and e["seconds"] == seconds and e["size"] == "64x64" and e["remixed_from_video_id"] == source, f"{name}: {e}")
        got = s.ask("GET", f"/v1/videos/{e['id']}/content")
        check(got.body[4:8] == b"ftyp", f"{name}: no film")
        if name == "remix":
            check(e["himmel"]["strength"] == 0.6, f"remix without a strength is mild, as himmel remix is: {e}")
    # lists
    all = s.ask("GET", "/v1/videos?limit=100").json
    check(all["object"] == "list" and not all["has_more"] and len(all["data"]) == 8 and all["first_id"] == all["data"][0]["id"], f"list: {all}"[:400])
    ids, after = [], ""
    while True:
        page = s.ask("GET", f"/v1/videos?limit=3&order=asc{after}").json
        ids += [x["id"] for x in page["data"]]
        if not page["has_more"]:
            break
        after = "&after=" + page["last_id"]
    check(ids == [x["id"] for x in all["data"]][::-1], "pages do not make the list")
    check(len(s.ask("GET", "/v1/videos?search=SUNSET").json["data"]) == 2, "search")
    # delete
    d = s.ask("DELETE", "/v1/videos/" + v["id"])
    check(d.json == {"id": v["id"], "deleted": True, "object": "video.deleted"}, f"delete: {d.body}")
    check(s.ask("GET", "/v1/videos/" + v["id"]).status == 404 and s.ask("DELETE", "/v1/videos/" + v["id"]).status == 404, "deleted, yet there")
    check(not [f for f in os.listdir(D + "/data/results") if f.startswith(v["id"])], "deleted, yet on the disk")
    check(os.listdir(D + "/data/inputs") == [] and os.listdir(D + "/data/work") == [], "work left over")
    return film.body


def extras(s, film):
    h = s.ask("GET", "/himmel/v1/health").json
    check(h["model"]["state"] == "loaded" and len(h["model"]["sha256"]) == 64, f"health: {h}")
    check("himmel_jobs{status=\"completed\"}" in s.ask("GET", "/himmel/v1/metrics").body.decode(), "metrics")
    names = [m["id"] for m in s.ask("GET", "/v1/models").json["data"]]
    check("himmel-1" in names and "my-model" in names and s.ask("GET", "/v1/models/sora-2-pro").status == 200, f"models: {names}")
    p = s.ask("GET", "/himmel/v1/prompt?prompt=a%20piano%20at%20dusk").json
    check(p["unknown"] == 1 and p["words"] == "piano" and p["expanded"], f"prompt: {p}")
    c = s.ask("POST", "/v1/content_provenance_checks", form=[("file", ("a.mp4", film))]).json
    check(c["object"] == "content_provenance_check" and c["results"][0]["type"] == "c2pa" and c["results"][0]["outcome"] == "detected", f"provenance: {c}"[:300])
    ch = s.ask("POST", "/v1/videos/characters", form=[("name", "Mossy"), ("video", ("a.mp4", film))])
    check(ch.status == 200 and s.ask("GET", "/v1/videos/characters/" + ch.json["id"]).json == ch.json, f"character: {ch.body}")
    used = s.ask("POST", "/v1/videos", {"prompt": "x", "characters": [{"id": ch.json["id"]}]})
    check(used.status == 400 and used.error().get("param") == "characters", f"character used: {used.body}")
    # events until the end
    v = make(s, steps=8)
    events = s.ask("GET", f"/himmel/v1/jobs/{v['id']}/events").body.decode()
    check("event: progress" in events and events.rstrip().split("event: ")[-1].startswith("end"), f"events: {events[-300:]}")
    check('"step":' in events and "event: preview" in events, "events without steps or previews")
    # idempotent creation
    key = {"Idempotency-Key": "abc"}
    one = s.ask("POST", "/v1/videos", {"prompt": "fog", **QUICK}, headers=key).json
    two = s.ask("POST", "/v1/videos", {"prompt": "fog", **QUICK}, headers=key).json
    other = s.ask("POST", "/v1/videos", {"prompt": "rain", **QUICK}, headers=key)
    check(one["id"] == two["id"] and other.status == 400 and other.error()["code"] == "idempotency_key_reused", "idempotency")
    s.wait(one["id"])


def images(s):
    a = s.ask("POST", "/v1/images/generations", {"prompt": "aurora", "size": "64x64", "n": 2, "steps": 1, "model": "gpt-image-1"})
    check(a.status == 200 and len(a.json["data"]) == 2, f"images: {a.status} {a.body[:300]}")
    pictures = [base64.b64decode(x["b64_json"]) for x in a.json["data"]]
    check(all(p[:8] == b"\x89PNG\r\n\x1a\n" for p in pictures) and pictures[0] != pictures[1], "two different PNGs")
    stream = s.ask("POST", "/v1/images/generations", {"prompt": "aurora", "size": "64x64", "steps": 4, "stream": True, "partial_images": 2, "output_format": "webp"}).body.decode()
    check(stream.count("event: image_generation.completed") == 1 and "image_generation.partial_image" in stream, f"stream: {stream[:200]}")
    white = png(64, 64, lambda x, y: (255, 255, 255) if x < 32 else (0, 0, 0))
    e = s.ask("POST", "/v1/images/edits", form=[("prompt", "fog"), ("image", ("a.png", pictures[0])), ("mask", ("m.png", white)), ("steps", "1"), ("response_format", "url")])
    check(e.status == 200 and e.json["data"][0]["url"].startswith(f"http://127.0.0.1:{s.port}/"), f"image edit: {e.status} {e.body[:300]}")
    got = s.ask("GET", "/" + e.json["data"][0]["url"].split("/", 3)[3])
    check(got.status == 200 and got.headers["Content-Type"] == "image/png", "picture by url")
    w = s.ask("POST", "/v1/images/variations", form=[("image", ("a.png", pictures[0])), ("steps", "1")])
    check(w.status == 200 and len(w.json["data"]) == 1, f"variation: {w.status} {w.body[:200]}")
    listed = s.ask("GET", "/himmel/v1/images").json["data"]
    check(len(listed) == 5 and s.ask("DELETE", "/himmel/v1/images/" + listed[0]["id"]).json["deleted"], "images listed and deleted")


def qualities(s):
    """quality is a number of steps; output_compression is what JPEG and WebP lose."""
    def ask(**fields):
        a = s.ask("POST", "/v1/images/generations", {"prompt": "aurora", "size": "64x64", "seed": 3, **fields})
        check(a.status == 200, f"{fields}: {a.status} {a.body[:300]}")
        row = s.ask("GET", "/himmel/v1/images?limit=1").json["data"][0]
        return a.json, row["himmel"].get("steps"), base64.b64decode(a.json["data"][0]["b64_json"])
    for quality, steps in (("low", 12), ("high", 50), ("hd", 50), ("medium", None), ("standard", None), ("auto", None)):
        answer, got, _ = ask(quality=quality)
        check(got == steps and answer["quality"] == quality, f"{quality}: {got} steps, not {steps}; {answer['quality']}")
    check(ask(quality="high", steps=2)[1] == 2, "steps come before quality")
    for format, magic in (("jpeg", b"\xff\xd8"), ("webp", b"RIFF")):
        best, good, poor = (ask(steps=1, output_format=format, **({"output_compression": n} if n else {}))[2] for n in (None, 90, 10))
        # Content Credentials have the same length in all three
        check(best[:len(magic)] == magic and len(poor) < len(good) - 50 and len(poor) < len(best) - 100, f"{format}: {len(best)}, {len(good)}, {len(poor)} bytes")
    for n in (0, 100): check(ask(steps=1, output_format="jpeg", output_compression=n)[2][:2] == b"\xff\xd8", f"output_compression {n}")


def fetches(s, origin):
    """image_url leads to listed origins only: the same scheme, host and port, and wherever that sends us is not followed."""
    def ask(url): return s.ask("POST", "/v1/videos", {"prompt": "fog", **QUICK, "input_reference": {"image_url": url}})
    a = ask(origin + "/red.png")
    check(a.status == 200 and s.wait(a.json["id"])["status"] == "completed", f"a listed origin: {a.status} {a.body[:200]}")
    port = origin.rsplit(":", 1)[1]
    for url in (f"http://localhost:{port}/red.png", "http://127.0.0.1:1/red.png", f"https://127.0.0.1:{port}/red.png", f"http://127.0.0.1:{port}@example.org/red.png",
                f"http://example.org#@127.0.0.1:{port}/red.png", f"http://x@127.0.0.1:{port}/red.png", f"http://127.0.0.1:{port}.example.org/red.png", "file:///etc/passwd",
                f"ftp://127.0.0.1:{port}/red.png", "//" + origin[7:] + "/red.png"):
        a = ask(url)
        check(a.status == 400 and a.error().get("code") == "unsupported_url", f"{url}: {a.status} {a.body[:200]}")
    for path, word in (("/moved.png", "302"), ("/none.png", "404"), ("/huge.png", "20 MiB"), ("/text.png", "no film or picture")):
        a = ask(origin + path)
        check(a.status == 400 and word in a.error().get("message", ""), f"{path}: {a.status} {a.body[:200]}")
    check("/secret.png" not in Pictures.seen and "/red.png" in Pictures.seen, f"asked for: {Pictures.seen}")
    check(subprocess.run([himmel, "serve", "--fetch-from", origin + "/a"], capture_output=True).returncode == 2, "an address is no origin")


def refusals(s):
    P = "/v1/videos"
    data = "data:image/png;base64,"
    for status, word, kw in (
            (400, "prompt", dict(body={})), (400, "prompt", dict(body={"prompt": ""})), (400, "4096", dict(body={"prompt": "x" * 4097})),
            (400, "size", dict(body={"prompt": "x", "size": "big"})), (400, "63", dict(body={"prompt": "x", "size": "63x64"})), (400, "9999", dict(body={"prompt": "x", "size": "9999x9999"})),
            (400, "seconds", dict(body={"prompt": "x", "seconds": "61"})), (400, "seconds", dict(body={"prompt": "x", "seconds": "nan"})),
            (400, "model", dict(body={"prompt": "x", "model": "veo"})), (400, "steps", dict(body={"prompt": "x", "steps": 0})),
            (400, "sed", dict(body={"prompt": "x", "sed": 1})), (400, "seed", dict(body={"prompt": "x", "seed": -1})),
            (400, "fps", dict(body={"prompt": "x", "fps": "1/0"})), (400, "visible_mark", dict(body={"prompt": "x", "visible_mark": "maybe"})),
            (400, "fetches nothing", dict(body={"prompt": "x", "input_reference": {"image_url": "http://169.254.169.254/"}})),
            (400, "base64", dict(body={"prompt": "x", "input_reference": {"image_url": data + "!!"}})),
            (400, "picture", dict(body={"prompt": "x", "input_reference": {"image_url": data + "AAAA"}})),
            (400, "input_reference", dict(form=[("prompt", "x"), ("input_reference", ("a", b""))])),
            (404, "video_1", dict(body={"prompt": "x", "video": "video_1"}, path=P + "/edits")), (400, "../", dict(body={"prompt": "x", "video": "../../etc"}, path=P + "/edits")),
            (400, "video", dict(body={"prompt": "x"}, path=P + "/extensions")), (404, "video_0", dict(body={"prompt": "x"}, path=P + "/video_0/remix")),
            (400, "not JSON", dict(raw=b'{"prompt": ', type="application/json")), (400, "object", dict(raw=b"[1]", type="application/json")),
            (400, "nested", dict(raw=b'{"a":' * 9 + b"1" + b"}" * 9, type="application/json")), (400, "", dict(raw=b"[" * 100000, type="application/json")),
            (400, "twice", dict(form=[("prompt", "x"), ("prompt", "y")])), (400, "UTF-8", dict(raw=b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--b--', type="multipart/form-data; boundary=b")),
            (400, "boundary", dict(raw=b"x", type="multipart/form-data")), (400, "boundary", dict(raw=b"--b\r\n\r\n", type="multipart/form-data; boundary=b")),
            (400, "no name", dict(raw=b"--b\r\nX: y\r\n\r\nz\r\n--b--", type="multipart/form-data; boundary=b")),
            (415, "text/plain", dict(raw=b"x", type="text/plain")), (413, "", dict(raw=b"", type="application/json", headers={"Content-Length": str(1 << 40)})),
            (400, "n is", dict(body={"prompt": "x", "n": 11}, path="/v1/images/generations")), (400, "background", dict(body={"prompt": "x", "background": "transparent"}, path="/v1/images/generations")),
            (404, "nothing", dict(body={}, path="/v1/nope")), (404, "", dict(body={}, path="/v1/videos/" + "a" * 300))):
        path = kw.pop("path", P)
        a = s.ask("POST", path, **kw)
        e = a.error()
        check(a.status == status and e and word in e["message"], f"{path} {str(kw)[:120]}: {a.status} {a.body[:200]}, not {status} '{word}'")
        check(a.headers["x-should-retry"] == "false", f"{path} {str(kw)[:80]} would be tried again")
    for method, path, status in (("GET", "/v1/videos/video_1", 404), ("GET", "/v1/videos/..%2f..%2fetc", 404), ("GET", "/v1/videos?limit=101", 400), ("GET", "/v1/videos?order=up", 400),
                                 ("GET", "/v1/videos?after=video_1", 400), ("PUT", "/v1/videos", 405), ("GET", "/v1/videos/%00", 404), ("GET", "/../../etc/passwd", 404), ("OPTIONS", "/v1/videos", 405)):
        a = s.ask(method, path)
        check(a.status == status and a.error(), f"{method} {path}: {a.status} {a.body[:100]}, not {status}")
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        a = s.ask("GET", P, headers=headers)
        check(a.status == 403 and a.error() and "Access-Control-Allow-Origin" not in a.headers, f"{headers}: {a.status}")
    check(s.ask("POST", P, {"prompt": "x"}, headers={"Sec-Fetch-Site": "cross-site"}).status == 403, "a cross-site form")
    check(s.ask("GET", P, headers={"Origin": f"http://127.0.0.1:{s.port}"}).status == 200, "the studio's own origin")
    for junk in (b"\0" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET " + b"a" * 40000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", s.port), 5) as c:
            c.sendall(junk)
            c.settimeout(2)
            try: c.recv(1000)
            except OSError: pass
    check(s.ask("GET", "/himmel/v1/health").status == 200, "junk killed the server")


def never_lost(s):
    """kill -9 in the middle, cancel, delete, SIGTERM."""
    slow = dict(steps=150)
    expected = hashlib.sha256(finished(s, make(s, **slow))).digest()
    a, b = make(s, **slow), make(s)
    check(s.wait_status(a["id"], "in_progress"), "it never started")
    s.stop(signal.SIGKILL)
    s.start()
    check(hashlib.sha256(finished(s, a)).digest() == expected, "after kill -9: other bytes")
    check(s.wait(b["id"])["status"] == "completed", "after kill -9: the second job is lost")
    # SIGTERM: back into the queue, no attempt lost
    c = make(s, **slow)
    check(s.wait_status(c["id"], "in_progress"), "it never started")
    start = time.time()
    check(s.stop() == 0 and time.time() - start < 20, f"SIGTERM took {time.time() - start:.1f} s")
    s.start()
    check(hashlib.sha256(finished(s, c)).digest() == expected, "after SIGTERM: other bytes")
    # cancel, while it runs and while it waits; delete while it runs
    run, waits, gone = make(s, **slow), make(s), make(s, **slow)
    check(s.wait_status(run["id"], "in_progress"), "it never started")
    for v in (waits, run):
        check(s.ask("POST", f"/himmel/v1/jobs/{v['id']}/cancel").json["cancelled"], "cancel")
        e = s.wait(v["id"])
        check(e["status"] == "failed" and e["error"]["code"] == "cancelled", f"cancelled: {e}")
    check(s.ask("POST", f"/himmel/v1/jobs/{run['id']}/cancel").status == 400, "cancelled twice")
    check(s.wait_status(gone["id"], "in_progress"), "it never started")
    check(s.ask("DELETE", "/v1/videos/" + gone["id"]).json["deleted"], "delete")
    check(finished(s, make(s)) != b"", "nothing runs after a delete")
    check(not [f for f in os.listdir(D + "/data/results") + os.listdir(D + "/data/work") if f.startswith(gone["id"])], "a deleted film came back")


def finished(s, v):
    e = s.wait(v["id"])
    check(e["status"] == "completed", f"{e}")
    return s.ask("GET", f"/v1/videos/{v['id']}/content").body


def crowd(s):
    """Many clients at once, and some that never finish their sentence."""
    slow = [socket.create_connection(("127.0.0.1", s.port), 5) for _ in range(200)]
    for c in slow:
        c.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Le")
    v = make(s, steps=60)
    times, errors = [], []

    def poll():
        for _ in range(5):
            start = time.time()
            a = s.ask("GET", "/v1/videos/" + v["id"])
            times.append(time.time() - start)
            if a.status != 200:
                errors.append(a.status)
    threads = [threading.Thread(target=poll) for _ in range(40)]
    for t in threads: t.start()
    for t in threads: t.join()
    check(len(times) == 200 and not errors, f"polls: {len(times)} {errors[:5]}")
    check(s.wait(v["id"])["status"] == "completed", "the film among the crowd")
    for c in slow: c.close()


def main():
    data = D + "/data"
    other = http.server.HTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{other.server_port}"
    s = Server(himmel, data, MODEL, "--alias", "my-model", "--min-free", "1", "--fetch-from", origin)
    film = wire(s)
    extras(s, film)
    images(s)
    qualities(s)
    fetches(s, origin)
    refusals(s)
    crowd(s)
    twice = subprocess.run([himmel, "serve", "--data", data, "--port", "0"], capture_output=True, text=True)
    check(twice.returncode == 1 and "another himmel serve" in twice.stderr, f"two servers on one folder: {twice}")
    never_lost(s)
    check(s.stop() == 0, "SIGTERM")


main()
sys.exit(end())
