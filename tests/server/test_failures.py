"""test_failures.py HIMMEL MAKE_MODEL - broken weights, a full disk, too little memory, a crash, a full queue: a clear sentence, and
the server lives on. SPDX-License-Identifier: MIT"""
import hashlib, os, signal, subprocess, sys, tempfile, time
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-failures-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
FILM = dict(prompt="sunset over a calm sea", seconds="1", size="64x64", steps=1, seed=5)


def alive(s, what):
    check(s.ask("GET", "/himmel/v1/health").status == 200 and s.process.poll() is None, f"{what}: the server has ended")


def broken_weights():
    with open(MODEL, "rb") as f: good = f.read()
    for name, data in (("cut", good[:len(good) // 2]), ("junk", b"junk" * 100), ("empty", b"")):
        with open(D + "/broken", "wb") as f: f.write(data)
        s = Server(himmel, D + "/b-" + name, D + "/broken", "--min-free", "1")
        v = s.ask("POST", "/v1/videos", FILM)
        e = s.wait(v.json["id"])
        check(e["status"] == "failed" and e["error"]["code"] == "model_unavailable" and "broken" in e["error"]["message"], f"{name}: {e}")
        m = s.ask("GET", "/himmel/v1/health").json["model"]
        check(m["state"] == "failed" and m["error"], f"{name}: {m}")
        alive(s, name)
        check(s.stop() == 0, name)


def full_disk():
    """No file may grow over 700 KiB: as a disk that is full while the film is written."""
    s = Server(himmel, D + "/full", MODEL, "--min-free", "1", shell="ulimit -f 700;")
    big = s.ask("POST", "/v1/videos", {**FILM, "seconds": "3", "size": "640x640"}).json
    e = s.wait(big["id"])
    check(e["status"] == "failed" and e["error"]["code"] == "server_error" and e["error"]["message"], f"full disk: {e}")
    check(not [f for f in os.listdir(D + "/full/results") if f.startswith(big["id"])], "half a film under its final name")
    alive(s, "full disk")
    small = s.ask("POST", "/v1/videos", FILM).json
    check(s.wait(small["id"])["status"] == "completed", "a small film after it")
    upload = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("seconds", "1"), ("video", ("a.mp4", b"x" * 900000))])
    check(upload.status == 507 and upload.error(), f"an upload that does not fit: {upload.status} {upload.body[:100]}")
    s.stop()
    s = Server(himmel, D + "/full", MODEL, "--min-free", str(1 << 30))
    a = s.ask("POST", "/v1/videos", FILM)
    check(a.status == 507 and a.error()["code"] == "storage_full", f"too little is free: {a.status} {a.body}")
    s.stop()


def little_memory():
    s = Server(himmel, D + "/mem", MODEL, "--min-free", "1", "--max-memory", "300")
    check(s.wait(s.ask("POST", "/v1/videos", FILM).json["id"])["status"] == "completed", "a film that fits")
    for path, body in (("/v1/videos", {**FILM, "size": "2048x2048", "seconds": "8"}), ("/himmel/v1/storyboards", {"size": "2048x2048", "seconds": "8", "cards": [{"at": 0, "prompt": "day"}]})):
        a = s.ask("POST", path, body)
        check(a.status == 400 and a.error()["code"] == "out_of_memory" and "MiB" in a.error()["message"], f"{path}: planned memory: {a.status} {a.body[:200]}")
    s.stop()


def crashes():
    """The worker dies while a film is made: that film fails, the next one is made, with the bytes that it has on another day."""
    s = Server(himmel, D + "/crash", MODEL, "--min-free", "1")
    digest = lambda id: hashlib.sha256(s.ask("GET", f"/v1/videos/{id}/content").body).hexdigest()
    a = s.ask("POST", "/v1/videos", FILM).json
    check(s.wait(a["id"])["status"] == "completed", "before any crash")
    for sig, code, word in ((signal.SIGSEGV, "server_error", "crashed (signal 11)"), (signal.SIGKILL, "out_of_memory", "runs out of memory"),
                            (signal.SIGABRT, "out_of_memory", "signal 6")):
        v, waits = [s.ask("POST", "/v1/videos", {**FILM, "steps": n}).json for n in (200, 1)]
        while s.ask("GET", "/v1/videos/" + v["id"]).json["himmel"].get("step", 0) < 3: time.sleep(0.02)
        os.kill(s.worker(), sig)
        e = s.wait(v["id"])
        check(e["status"] == "failed" and e["error"]["code"] == code and word in e["error"]["message"], f"{sig}: {e}")
        check(s.wait(waits["id"])["status"] == "completed" and digest(waits["id"]) == digest(a["id"]), f"{sig}: the film behind it")
        alive(s, f"{sig}")
    left = [f for sub in ("work", "saved", "inputs") for f in os.listdir(f"{D}/crash/{sub}")]
    check(not left, f"left over: {left}")
    os.kill(s.worker(), signal.SIGKILL)  # with nothing to do: nothing fails
    check(s.wait(s.ask("POST", "/v1/videos", FILM).json["id"])["status"] == "completed", "after a death between films")
    check(s.stop() == 0, "SIGTERM")


def enough():
    """KiB of data within which a server makes a small film: the libraries' own needs differ from machine to machine."""
    for kib in range(400000, 2000000, 100000):
        s = Server(himmel, f"{D}/enough{kib}", MODEL, "--min-free", "1", shell=f"ulimit -d {kib};")
        made = s.wait(s.ask("POST", "/v1/videos", FILM).json["id"])["status"] == "completed"
        s.stop()
        if made: return kib
    check(False, "a small film within 2 GB")
    return 2000000


def no_memory():
    """Less memory than was planned with: wherever it runs out, in our code or in a library, the film fails and the next is made."""
    least = enough()
    for kib in (least, least + 200000):
        s = Server(himmel, f"{D}/nomem{kib}", MODEL, "--min-free", "1", shell=f"ulimit -d {kib};")
        e = s.wait(s.ask("POST", "/v1/videos", {**FILM, "seconds": "8", "size": "2048x2048"}).json["id"])
        check(e["status"] == "failed" and e["error"]["message"], f"{kib} KiB: {e}")
        alive(s, "no memory")
        after = s.wait(s.ask("POST", "/v1/videos", FILM).json["id"])
        check(after["status"] == "completed", f"{kib} KiB: a small film after it: {after['error']}, after {e['error']}")
        s.stop()


def full_queue():
    s = Server(himmel, D + "/queue", MODEL, "--min-free", "1", "--max-queue", "2")
    a = [s.ask("POST", "/v1/videos", {**FILM, "steps": 200}) for _ in range(5)]
    full = [x for x in a if x.status == 429]
    check(full and full[0].error()["code"] == "queue_full" and int(full[0].headers["retry-after"]) > 0, f"queue: {[x.status for x in a]}")
    s.stop()


broken_weights()
full_disk()
full_queue()
little_memory()
crashes()
no_memory()
sys.exit(end())
