"""test_locked.py HIMMEL MAKE_MODEL - films that strangers send are decoded in processes that can do nothing else; what goes wrong there
ends one job with a sentence. SPDX-License-Identifier: MIT"""
import os, signal, subprocess, sys, tempfile, time
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-locked-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
FILM = dict(prompt="sunset over a calm sea", seconds="2", size="64x64", steps=1, seed=5)
CHANGE = [("prompt", "fog"), ("box", "0,0,32,64")]


def rights():
    """Of the function that every reader calls first, and of the limits that it sets."""
    for name in ("a", "b"):
        with open(f"{D}/{name}", "w") as f: f.write(name)
    p = subprocess.run([os.path.dirname(himmel) + "/himmel-locked", D + "/a", D + "/b"], cwd=D, capture_output=True, text=True, timeout=60)
    can = dict(line.split(" ", 1) for line in p.stdout.splitlines())
    print("the kernel lacks", can.get("lacks"))
    check(p.returncode in (-signal.SIGXCPU, -signal.SIGKILL), f"computing without end: {p.returncode} {p.stderr}")
    check(can.get("read") == "yes", f"its own file: {can}")
    never = ["memory"] if can.get("lacks") == "seccomp and Landlock" else ["write", "make", "remove", "socket", "signal", "memory", "program", "fork"]
    if "Landlock" not in can.get("lacks", ""): never += ["other", "folder"]
    for what in never: check(can.get(what) == "no", f"{what}: {can}")
    check(os.path.exists(D + "/b") and not os.path.exists(D + "/made-by-locked"), "files changed")
    return can.get("lacks") == "nothing"


def processes(s, want):
    """(readers, their worker) below the server, once there are some of the name `want`."""
    start = time.time()
    while time.time() - start < 60:
        by = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f: name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            except OSError: continue
            by[int(pid)] = (name, int(rest.split()[1]), rest.split()[0])
        up = lambda p: by.get(p, ("", 0, ""))[1]
        workers = [p for p in by if by[p][0] == "himmel-worker" and up(up(p)) == s.process.pid]
        readers = [p for p in by if by[p][0] == "himmel-reader" and up(p) in workers and by[p][2] != "Z"]
        if want == "none" and workers and not readers: return readers, workers[0]
        if want == "worker" and workers: return readers, workers[0]
        if want == "reader" and readers: return readers, workers[0]
        time.sleep(0.02)
    check(False, f"no {want} below the server")
    return [], 0


def sampling(s, id):
    while True:
        v = s.ask("GET", "/v1/videos/" + id).json
        if v["status"] not in ("queued", "in_progress"): return check(False, f"ended early: {v}")
        if v["himmel"].get("step", 0) >= 3: return True
        time.sleep(0.02)


def strike(s, job, sig, but=()):
    """Every reader of the job, but for those, gets the signal in the middle of its work: once it is locked down."""
    worker, hit, but = processes(s, "worker")[1], set(), set(but)
    while s.ask("GET", "/v1/videos/" + job["id"]).json["status"] in ("queued", "in_progress"):
        until = time.time() + 0.3
        while time.time() < until:
            try:
                with open(f"/proc/{worker}/task/{worker}/children") as f: readers = [int(p) for p in f.read().split()]
            except OSError: readers = processes(s, "worker")[0]
            for r in set(readers) - hit - but:
                try:
                    with open(f"/proc/{r}/status") as f: status = f.read()
                except OSError: continue
                if "Name:\thimmel-reader" in status and "NoNewPrivs:\t1" in status:
                    os.kill(r, sig)
                    hit.add(r)
            time.sleep(0.001)
    check(hit, f"{sig}: no reader was seen")


def failed(s, id, *words):
    v = s.wait(id)
    message = (v.get("error") or {}).get("message", "")
    check(v["status"] == "failed" and all(w in message for w in words), f"{words}: {v}")


def next_works(s, film, worker, what):
    v = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("video", ("b.mp4", film)), ("seconds", "1"), ("steps", "1")]).json
    e = s.wait(v["id"])
    check(e["status"] == "completed", f"the job after {what}: {e}")
    check(processes(s, "none")[1] == worker, f"{what}: it ended the worker")


def attacks(all_means):
    s = Server(himmel, D + "/data", MODEL, "--min-free", "1")
    with open(D + "/data.log") as f: log = f.read()
    check(("this kernel has no" in log) != all_means, f"said at start: {log}")
    v = s.ask("POST", "/v1/videos", FILM).json
    check(s.wait(v["id"])["status"] == "completed", "a film")
    film = s.ask("GET", f"/v1/videos/{v['id']}/content").body
    worker = processes(s, "worker")[1]

    def changing(steps): return s.ask("POST", "/v1/videos/edits", form=CHANGE + [("steps", steps), ("video[id]", v["id"])]).json

    job = changing(200)
    sampling(s, job["id"])
    readers, _ = processes(s, "reader")
    for r in readers:  # what the running ones are allowed
        with open(f"/proc/{r}/status") as f: status = f.read()
        with open(f"/proc/{r}/limits") as f: limits = f.read()
        if all_means: check("Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, status)
        check(any(l.startswith("Max cpu time") and "600" in l for l in limits.splitlines()), limits)
        check(any(l.startswith("Max file size") and l.split()[3] == "0" for l in limits.splitlines()), limits)
        check(len(os.listdir(f"/proc/{r}/fd")) <= 4, f"open in a reader: {[os.readlink(f'/proc/{r}/fd/{i}') for i in os.listdir(f'/proc/{r}/fd')]}")
    check(s.ask("DELETE", "/v1/videos/" + job["id"]).status == 200, "delete")
    processes(s, "none")  # they end with their job

    big = s.ask("POST", "/v1/videos", {**FILM, "size": "512x512", "seconds": "4"}).json
    check(s.wait(big["id"])["status"] == "completed", "a larger film")
    def longer(): return s.ask("POST", "/v1/videos/edits", form=[("prompt", "fog"), ("steps", "1"), ("box", "0,0,32,64"), ("video[id]", big["id"])]).json

    job = longer()
    strike(s, job, signal.SIGKILL)
    failed(s, job["id"], "the process that decoded it has ended")
    next_works(s, film, worker, "a killed reader")

    job = changing(60)  # its frames have readers since it began; who reads its Content Credentials comes at its end
    sampling(s, job["id"])
    strike(s, job, signal.SIGKILL, processes(s, "reader")[0])
    failed(s, job["id"], "the process that decoded it has ended")
    next_works(s, film, worker, "a killed reader of credentials")

    job = longer()
    strike(s, job, signal.SIGSTOP)  # as one that never answers
    failed(s, job["id"], "takes longer than 20 s")
    next_works(s, film, worker, "a reader that hangs")

    hold = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}).json  # while it runs, the next one's input is exchanged
    job = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "1"), ("steps", "1")]).json
    inputs = [f"{D}/data/inputs/{f}" for f in os.listdir(D + "/data/inputs")]
    check(len(inputs) == 1, f"inputs: {inputs}")
    for path in inputs:
        with open(path, "wb") as f: f.write(b"this is no film at all\n" * 100)
    check(s.ask("DELETE", "/v1/videos/" + hold["id"]).status == 200, "delete")
    failed(s, job["id"], "inputs")
    next_works(s, film, worker, "a text that says that it is a film")

    for at in (0.4, 0.6, 0.8):  # the index in front is whole, what it leads to is not
        n = int(len(film) * at)
        for name, bad in (("cut", film[:n]), ("junk", film[:n] + bytes((i * 2654435761 >> 7) & 255 for i in range(len(film) - n)))):
            a = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("video", ("a.mp4", bad)), ("seconds", "1"), ("steps", "1")])
            e = s.wait(a.json["id"]) if a.status == 200 else {"status": "failed", "error": a.error()}
            check(e["status"] == "completed" or e["error"]["message"], f"{name} at {at}: {e}")
    next_works(s, film, worker, "broken films")
    check(s.stop() == 0, "SIGTERM")


attacks(rights())
sys.exit(end())
