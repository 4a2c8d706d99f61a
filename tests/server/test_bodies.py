"""test_bodies.py HIMMEL MAKE_MODEL - those who poll do not wait for what others send: not for a large body, nor for the process that
looks at it. SPDX-License-Identifier: MIT"""
import base64, http.client, os, random, signal, socket, subprocess, sys, tempfile, threading, time
from client import Server, check, end, multipart

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-bodies-")
D = folder.name
MODEL = D + "/tiny.safetensors"
subprocess.run([make_model, MODEL], check=True)
FILM = dict(prompt="sunset over a calm sea", seconds="1", size="64x64", steps=1, seed=5)
PATIENCE = 5  # seconds that a poll may take on a machine that does other things too; before bodies had threads, it took as long as they


class Poller(threading.Thread):
    """Asks for the film again and again over one connection; the times it took."""
    def __init__(self, s, path):
        super().__init__()
        self.port, self.path, self.times, self.over = s.port, path, [], threading.Event()
        self.start()

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.over.is_set():
            start = time.time()
            try:
                c.request("GET", self.path)
                good = c.getresponse().read().startswith(b'{"id"')
            except OSError:
                good = False
                c.close()
            self.times.append(time.time() - start if good else 60)
            self.over.wait(0.01)
        c.close()

    def end(self, what):
        self.over.set()
        self.join()
        check(len(self.times) > 5 and max(self.times) < PATIENCE, f"{what}: {len(self.times)} polls, slowest {max(self.times):.2f} s")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f: return [int(p) for p in f.read().split()]


def name(pid):
    with open(f"/proc/{pid}/comm") as f: return f.read().strip()


def asleep(s, id, film):
    """The process that looks at uploads sleeps: more uploads wait for it than the server has threads for them."""
    keepers = [p for p in children(s.process.pid) if name(p) != "himmel-keeper"]
    check(len(keepers) == 1, f"children {[(p, name(p)) for p in children(s.process.pid)]}")
    os.kill(keepers[0], signal.SIGSTOP)
    answers, poller = [], Poller(s, "/v1/videos/" + id)
    form = [("prompt", "fog"), ("video", ("a.mp4", film)), ("seconds", "1"), ("steps", "1")]
    senders = [threading.Thread(target=lambda: answers.append(s.ask("POST", "/v1/videos/extensions", form=form))) for _ in range(6)]
    for t in senders: t.start()
    time.sleep(2)
    check(not answers, f"nobody has looked at them: {[a.status for a in answers]}")
    check(s.ask("GET", "/v1/videos").status == 200 and s.ask("GET", "/himmel/v1/health").status == 200, "the others")
    poller.end("beside uploads that wait")
    os.kill(keepers[0], signal.SIGCONT)
    for t in senders: t.join()
    check([a.status for a in answers] == [200] * 6, f"the uploads: {[(a.status, a.body[:200]) for a in answers]}")
    for a in answers:
        if a.status == 200: s.ask("DELETE", "/v1/videos/" + a.json["id"])


def large(s, id):
    """At full speed: forms that go to the disk, JSON with a picture in it."""
    noise = random.Random(1).randbytes(3 << 20)
    form = multipart([("prompt", "fog"), ("video", ("a.mp4", noise * 30)), ("seconds", "1")])
    url = "data:image/png;base64," + base64.b64encode(noise * 7).decode()
    picture = ('{"prompt": "fog", "input_reference": {"image_url": "%s"}}' % url).encode()
    poller, answers = Poller(s, "/v1/videos/" + id), []

    def send(path, raw, type):
        for _ in range(2): answers.append(s.ask("POST", path, raw=raw, type=type))

    senders = [threading.Thread(target=send, args=("/v1/videos/extensions", form, "multipart/form-data; boundary=openai-x1")) for _ in range(2)]
    senders += [threading.Thread(target=send, args=("/v1/videos", picture, "application/json")) for _ in range(2)]
    for t in senders: t.start()
    for t in senders: t.join()
    poller.end("beside large bodies")
    check([a.error().get("code") for a in answers] == ["invalid_file"] * 8, f"noise is no film: {[a.body[:200] for a in answers]}")


def chunks(s, film):
    """A body that comes in chunks of all sizes, as clients send streams, is the body that comes at once."""
    body = multipart([("prompt", "fog"), ("seconds", "1"), ("steps", "1"), ("seed", "3"), ("video", ("a.mp4", film + bytes(500000)))])
    head = ("POST /v1/videos/extensions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=openai-x1\r\n"
            "Idempotency-Key: twice\r\n%s\r\n\r\n")
    ids = set()
    for seed in range(5):
        c = socket.create_connection(("127.0.0.1", s.port), timeout=60)
        rest, draw = body, random.Random(seed)
        if seed:
            c.sendall((head % "Transfer-Encoding: chunked").encode())
            while rest:
                n = draw.choice([1, 100, 5000, 70000, 300000])
                c.sendall(b"%x\r\n%s\r\n" % (len(rest[:n]), rest[:n]))
                rest = rest[n:]
            c.sendall(b"0\r\n\r\n")
        else:
            c.sendall((head % f"Content-Length: {len(body)}").encode() + body)
        r = http.client.HTTPResponse(c)
        r.begin()
        answer = r.read()
        check(r.status == 200, f"chunked, {seed}: {r.status} {answer[:200]}")
        ids.add(answer[:80])
        c.close()
    check(len(ids) == 1, f"the same request: {ids}")


def gone(s, id):
    """Clients that leave in the middle of a body, or while it is looked at: nothing is left of them."""
    for n in (10, 70000, 200000, 400000):
        for full in (False, True):
            c = socket.create_connection(("127.0.0.1", s.port))
            body = multipart([("prompt", "fog"), ("seconds", "1"), ("video", ("a.mp4", bytes(n)))])
            c.sendall(b"POST /v1/videos/extensions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=openai-x1\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(body) + (body if full else body[:-5]))
            c.close()
    check(s.ask("GET", "/v1/videos/" + id).status == 200, "after those who left")


def stops(s):
    """SIGTERM while bodies are on their way and looked at."""
    keepers = [p for p in children(s.process.pid) if name(p) != "himmel-keeper"]
    os.kill(keepers[0], signal.SIGSTOP)
    body = multipart([("prompt", "fog"), ("seconds", "1"), ("video", ("a.mp4", bytes(300000)))])
    started = []
    for i in range(12):
        c = socket.create_connection(("127.0.0.1", s.port), timeout=60)
        c.sendall(b"POST /v1/videos/extensions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=openai-x1\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + (body[:200000] if i % 3 == 0 else body))
        started.append(c)
    time.sleep(1)
    s.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(keepers[0], signal.SIGCONT)
    check(s.process.wait(60) == 0, f"SIGTERM in the middle of bodies: {s.process.returncode}")
    for c in started: c.close()


s = Server(himmel, D + "/data", MODEL, "--min-free", "1")
v = s.ask("POST", "/v1/videos", FILM).json
e = s.wait(v["id"])
check(e["status"] == "completed", f"a film: {e}")
film = s.ask("GET", f"/v1/videos/{v['id']}/content").body
asleep(s, v["id"], film)
large(s, v["id"])
chunks(s, film)
gone(s, v["id"])
stops(s)
sys.exit(end())
