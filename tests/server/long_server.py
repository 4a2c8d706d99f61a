"""long_server.py HIMMEL MAKE_MODEL kill|load|bodies|idle|soak [RESPONDER] - what takes minutes: kill -9 at random moments, 500 clients
while a film is sampled, clients while others send large bodies, 10,000 idle connections and slowloris, a long run without growth. Loopback
only. Environment: KILLS (50), LOAD_SECONDS (40), SOAK_SECONDS (1800), LOAD_MODEL (random weights). Prints what it measured.
SPDX-License-Identifier: MIT"""
import asyncio, base64, hashlib, multiprocessing, os, random, re, resource, select, signal, socket, subprocess, sys, tempfile, time
from client import Server, check, end, multipart, stat

himmel, make_model, what = sys.argv[1:4]
folder = tempfile.TemporaryDirectory(prefix="himmel-long-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
FILM = dict(prompt="sunset over a calm sea", seconds="1", size="64x64", steps=200, seed=5)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def digest(s, id):
    e = s.wait(id)
    check(e["status"] == "completed", f"{e}")
    return hashlib.sha256(s.ask("GET", f"/v1/videos/{id}/content").body).hexdigest()


def kill():
    """Films, each killed at a random moment of its life; those that were ready before do not count."""
    random.seed(int(os.environ.get("SEED", "1")))
    FILM["steps"] = 150
    s = Server(himmel, D + "/data", MODEL, "--min-free", "1")
    start = time.time()
    id = s.ask("POST", "/v1/videos", FILM).json["id"]
    whole, takes, went_on, phases, i, kills = digest(s, id), time.time() - start, 0, {}, 0, int(os.environ.get("KILLS", "50"))
    while i < kills:
        v = s.ask("POST", "/v1/videos", FILM).json
        time.sleep(random.uniform(0, takes))
        at = s.ask("GET", "/v1/videos/" + v["id"]).json
        if at["status"] == "completed":
            takes *= 0.9  # the machine has more time for us than when it was measured
            continue
        s.stop(signal.SIGKILL)
        i += 1
        phase = at["himmel"].get("phase") or at["status"]
        phases[phase] = phases.get(phase, 0) + 1
        s.start()
        first = s.ask("GET", f"/himmel/v1/jobs/{v['id']}/events").body.decode()
        steps = [int(n) for n in re.findall(r'"phase":"sample","step":(\d+)', first)]
        went_on += bool(steps) and steps[0] > 5
        check(digest(s, v["id"]) == whole, f"kill {i} in {phase}: other bytes")
        s.ask("DELETE", "/v1/videos/" + v["id"])
    left = [f for sub in ("work", "saved", "inputs") for f in os.listdir(f"{D}/data/{sub}")]
    ready = s.ask("GET", "/v1/videos?limit=100").json["data"]
    check(not left and len(os.listdir(D + "/data/results")) == 3 * len(ready), f"left over: {left}")
    print(f"killed at {phases}; {went_on} went on in the middle of sampling; a film takes {takes:.1f} s")
    s.stop()


async def poll(port, path, every, until, times):
    await asyncio.sleep(random.uniform(0, every))
    while time.time() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while time.time() < until:
                start = time.time()
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
                times.append(time.time() - start if head.startswith(b"HTTP/1.1 200") else 9)
                await asyncio.sleep(every)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            times.append(9)
        await asyncio.sleep(0.2)


def polls(port, path, n, seconds, pipe):
    """n clients that ask every two seconds; how long each answer took."""
    times = []

    async def everyone():
        until = time.time() + seconds
        await asyncio.gather(*(poll(port, path, 2, until, times) for _ in range(n)))
    asyncio.run(everyone())
    pipe.send(times)


def streams(port, path, n, seconds, pipe):
    """n clients that listen to events; how many bytes each got. They do next to nothing, so that it is the server that is measured."""
    got, until, poller = {}, time.time() + seconds, select.epoll()
    for _ in range(n):
        c = socket.create_connection(("127.0.0.1", port))
        c.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        poller.register(c, select.EPOLLIN)
        got[c.fileno()] = [c, 0]
    buffer = bytearray(1 << 16)
    while time.time() < until:
        for fd, _ in poller.poll(max(0, until - time.time())):
            n = got[fd][0].recv_into(buffer)
            got[fd][1] += n
            if not n: poller.unregister(fd)
    pipe.send([n for _, n in got.values()])


def crowd(port, path, stream, seconds):
    """500 clients in two processes of their own: the times of the polls, the bytes of the streams."""
    started = []
    for who, where in ((polls, path), (streams, stream)):
        ours, theirs = multiprocessing.Pipe()
        p = multiprocessing.Process(target=who, args=(port, where, 250, seconds, theirs))
        p.start()
        started.append((p, ours))
    out = [ours.recv() for _, ours in started]
    for p, _ in started: p.join()
    return out


def cpu(s):
    """Seconds that the server's own process has computed."""
    with open(f"/proc/{s.process.pid}/stat") as f:
        a = f.read().rsplit(")", 1)[1].split()
    return (int(a[11]) + int(a[12])) / os.sysconf("SC_CLK_TCK")


def load():
    """Steps a second of a film while 500 clients ask this server, and while they ask an empty responder instead."""
    responder = sys.argv[4]
    seconds = int(os.environ.get("LOAD_SECONDS", "40"))
    model = os.environ.get("LOAD_MODEL") or D + "/full.safetensors"
    if not os.environ.get("LOAD_MODEL"): subprocess.run([make_model, model, "full"], check=True)
    s = Server(himmel, D + "/load", model, "--min-free", "1")
    empty = subprocess.Popen([responder], stdout=subprocess.PIPE, text=True)
    port = int(empty.stdout.readline())
    rates, times, least, used = {"empty": [], "server": []}, [], [], []
    for turn in ("empty", "server", "server", "empty"):
        v = s.ask("POST", "/v1/videos", dict(FILM, seconds="10", size="1280x720")).json
        s.wait_status(v["id"], "in_progress")
        step = lambda: s.ask("GET", "/v1/videos/" + v["id"]).json["himmel"].get("step", 0)
        while step() < 2: time.sleep(0.1)
        a, t0, c0 = step(), time.time(), cpu(s)
        path, stream = f"/v1/videos/{v['id']}", f"/himmel/v1/jobs/{v['id']}/events"
        answered, bytes = crowd(s.port if turn == "server" else port, path, stream, seconds)
        took = time.time() - t0
        rates[turn].append(round((step() - a) / took, 3))
        if turn == "server":
            times += answered
            least.append(min(bytes))
            used.append(round(100 * (cpu(s) - c0) / took, 1))
        s.ask("POST", f"/himmel/v1/jobs/{v['id']}/cancel")
        s.wait(v["id"])
    times.sort()
    p99 = times[int(0.99 * len(times))]
    slower = 1 - sum(rates["server"]) / sum(rates["empty"])
    print(f"{len(times)} polls: p50 {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * p99:.1f} ms; steps a second {rates}; {100 * slower:.1f} % slower; "
          f"the server took {used} % of a core; a stream got at least {min(least)} bytes")
    check(min(least) > 2000, f"a stream got {min(least)} bytes")
    check(p99 <= 0.05, f"p99 is {1000 * p99:.1f} ms, at most 50")
    check(slower <= 0.05, f"sampling is {100 * slower:.1f} % slower, at most 5")
    empty.kill()
    s.stop()


def send(port, path, type, size, seconds, pipe):
    """Bodies of `size` bytes one after the other, as fast as they are taken; how many were."""
    noise, n, until = random.Random(1).randbytes(1 << 20), 0, time.time() + seconds
    if type == "application/json":
        url = b"data:image/png;base64," + base64.b64encode(noise[:3 * (len(noise) // 3)]) * (size // (4 * len(noise) // 3))
        body = b'{"prompt": "fog", "input_reference": {"image_url": "' + url + b'"}}'
    else:
        body = multipart([("prompt", "fog"), ("seconds", "1"), ("video", ("a.mp4", noise * (size // len(noise))))])
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {type}\r\nContent-Length: {len(body)}\r\n\r\n"
    while time.time() < until:
        with socket.create_connection(("127.0.0.1", port)) as c:
            c.sendall(head.encode())
            c.sendall(body)
            if not c.recv(100).startswith(b"HTTP/1.1 400"): n -= 1000000
        n += 1
    pipe.send(n)


def bodies():
    """250 clients that poll while a film is sampled and two send forms of 200 MiB, or JSON of 30 MiB, at full speed."""
    seconds = int(os.environ.get("LOAD_SECONDS", "40"))
    model = os.environ.get("LOAD_MODEL") or D + "/full.safetensors"
    if not os.environ.get("LOAD_MODEL"): subprocess.run([make_model, model, "full"], check=True)
    s = Server(himmel, D + "/bodies", model, "--min-free", "1")
    v = s.ask("POST", "/v1/videos", dict(FILM, seconds="10", size="1280x720")).json
    s.wait_status(v["id"], "in_progress")
    form = ("/v1/videos/extensions", "multipart/form-data; boundary=openai-x1", 200 << 20)
    for name, work in (("nothing", None), ("forms of 200 MiB", form), ("JSON of 30 MiB", ("/v1/videos", "application/json", 30 << 20))):
        started = []
        for who, args in [(polls, (f"/v1/videos/{v['id']}", 250))] + [(send, work)] * 2 * bool(work):
            ours, theirs = multiprocessing.Pipe()
            p = multiprocessing.Process(target=who, args=(s.port, *args, seconds, theirs))
            p.start()
            started.append((p, ours))
        times, *sent = [ours.recv() for _, ours in started]
        for p, _ in started: p.join()
        times.sort()
        p99 = times[int(0.99 * len(times))]
        print(f"beside {name}, {sum(sent)} sent: {len(times)} polls, p50 {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * p99:.1f} ms, "
              f"slowest {1000 * times[-1]:.0f} ms", flush=True)
        check(p99 <= 0.05, f"p99 beside {name} is {1000 * p99:.1f} ms, at most 50")
        check(not work or min(sent) > 0, f"bodies sent: {sent}")
    s.stop()


def idle():
    """10,000 connections that say nothing, and 200 that never end their sentence, while films are made and polled."""
    s = Server(himmel, D + "/idle", MODEL, "--min-free", "1")
    open_ones = []
    for i in range(10000):
        c = socket.socket()
        c.connect(("127.0.0.1", s.port))
        open_ones.append(c)
    slow = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(200)]
    for c in slow: c.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nX-A: ")
    start, worst = time.time(), 0
    v = s.ask("POST", "/v1/videos", FILM).json
    while time.time() - start < 100:
        for c in slow:
            try: c.sendall(b"a")
            except OSError: pass
        t = time.time()
        check(s.ask("GET", "/v1/videos/" + v["id"]).status == 200, "poll")
        worst = max(worst, time.time() - t)
        time.sleep(1)
    check(s.wait(v["id"])["status"] == "completed", "the film")
    check(worst < 1, f"slowest poll {worst:.3f} s")
    gone = 0
    for c in slow:
        c.settimeout(1)
        try: gone += c.recv(1) == b""
        except (ConnectionError, BrokenPipeError): gone += 1
        except OSError: pass
    check(gone == 200, f"{gone} of 200 slow connections were closed after 100 s")
    print(f"10,000 idle connections: slowest poll {1000 * worst:.0f} ms; {gone} of 200 endless requests closed")
    s.stop()


def memory(pid):
    """KiB of a process that are its own: what it maps of files (weights, the journal) comes and goes as the system likes."""
    with open(f"/proc/{pid}/status") as f: text = f.read()
    return sum(int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("RssAnon", "RssShmem"))


def family(s):
    """The server, the keeper of its worker, the worker, and the process that looks at uploads: name -> pid."""
    of = {"server": s.process.pid, "worker": s.worker()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if stat(pid)[1] == str(s.process.pid): of["keeper" if stat(pid)[0] == "himmel-keeper" else "jail"] = int(pid)
        except OSError: pass
    return of


def soak():
    """Films, edits of them, pictures, uploads, refusals and exports over and over: no process of the server may grow."""
    s = Server(himmel, D + "/soak", MODEL, "--min-free", "1")
    seconds = int(os.environ.get("SOAK_SECONDS", "1800"))
    first = s.ask("POST", "/v1/videos", dict(FILM, steps=1)).json
    check(s.wait(first["id"])["status"] == "completed", "the first film")
    film = s.ask("GET", f"/v1/videos/{first['id']}/content").body
    who, marks, start, n = family(s), {}, time.time(), 0
    check(set(who) == {"server", "worker", "keeper", "jail"}, f"processes: {who}")
    while time.time() - start < seconds:
        v = s.ask("POST", "/v1/videos", dict(FILM, steps=2)).json
        s.ask("GET", f"/himmel/v1/jobs/{v['id']}/events")
        check(s.wait(v["id"])["status"] == "completed", "film")
        s.ask("GET", f"/v1/videos/{v['id']}/content")
        s.ask("POST", "/v1/images/generations", dict(prompt="fog", size="64x64", steps=1))
        s.ask("POST", "/v1/videos", raw=b"{", type="application/json")
        s.ask("POST", "/v1/content_provenance_checks", form=[("file", ("a.mp4", film))])
        longer = s.ask("POST", "/v1/videos/extensions", form=[("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "1"), ("steps", "1")]).json
        stopped = s.ask("POST", "/v1/videos", dict(FILM, steps=200)).json
        s.ask("POST", f"/himmel/v1/jobs/{stopped['id']}/cancel")
        check(s.wait(longer["id"])["status"] == "completed", "longer film")
        if n % 10 == 0: s.ask("GET", "/himmel/v1/export")
        for x in (longer, stopped) + ((v,) if n % 3 else ()): s.ask("DELETE", "/v1/videos/" + x["id"])
        n += 1
        for name, pid in who.items(): marks.setdefault(name, []).append((time.time() - start, memory(pid)))
        time.sleep(0.2)
    check(family(s) == who, f"processes were started anew: {who}, {family(s)}")
    for name, seen in marks.items():
        early = sorted(m for t, m in seen if seconds / 4 <= t < seconds / 2)
        late = sorted(m for t, m in seen if t >= 3 * seconds / 4)
        if not check(early and late, f"{len(seen)} rounds in {seconds} s are too few"): break
        a, b = early[len(early) // 2], late[len(late) // 2]
        print(f"{name}: {a} KiB in the second quarter, {b} KiB in the last, at most {max(m for _, m in seen)}")
        check(b <= a * 1.02 + 1024, f"the {name} grew from {a} to {b} KiB")
    print(f"{n} rounds in {seconds} s")
    s.stop()


{"kill": kill, "load": load, "bodies": bodies, "idle": idle, "soak": soak}[what]()
sys.exit(end())
