"""test_pull.py HIMMEL MAKE_MODEL - himmel pull against a hub of our own: files and folders, downloads that break off and go on,
wrong hashes, tokens, proxies. SPDX-License-Identifier: MIT"""
import hashlib, http.server, json, os, re, signal, socket, subprocess, sys, tempfile, threading, time
from client import check, end

himmel = os.path.abspath(sys.argv[1])
folder = tempfile.TemporaryDirectory(prefix="himmel-pull-")
D = folder.name
os.chdir(D)
BIG = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(100000))  # 3.2 MB
FILES = {"model.safetensors": BIG, "config.json": b'{"a": 1}\n', "vae/x.safetensors": BIG[:1000], "vae/x.index.json": b"{}", "a b/\u00e9%.bin": b"odd name"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def lfs(path, data):
    f = {"rfilename": path, "size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
    if path.endswith("safetensors"):  # the blob is a pointer then
        f.update(blobId="f" * 40, lfs={"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130})
    return f


class Hub:
    """What the hub does, and what it was asked."""
    def __init__(self):
        self.seen, self.cut, self.slow, self.ranges, self.token, self.lie, self.busy = [], 0, False, True, None, {}, 0
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_): pass

            def say(self, status, body=b"", **headers):
                self.send_response(status)
                for k, v in headers.items(): self.send_header(k.replace("_", "-"), v)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD": self.wfile.write(body)

            def do_HEAD(self): self.do_GET()

            def do_GET(self):
                path = self.path if self.path.startswith("/") else "/" + self.path.split("/", 3)[3]  # as a proxy is asked
                hub.seen.append((self.command, self.headers.get("Host"), path, self.headers.get("Range"), self.headers.get("Authorization")))
                if m := re.fullmatch(r"/api/models/(org/\w+)/revision/([^?]+)\?blobs=true", path): return self.api(m[1], m[2])
                if m := re.fullmatch(r"/org/good/resolve/" + COMMIT + r"/(.+)", path):
                    if hub.token and self.headers.get("Authorization") != "Bearer " + hub.token: return self.say(401)
                    return self.say(302, Location=f"http://localhost:{hub.port}/cdn/{m[1]}")
                if path.startswith("/cdn/"): return self.data(path[5:])
                self.say(404)

            def api(self, repo, revision):
                if hub.token and self.headers.get("Authorization") != "Bearer " + hub.token: return self.say(401)
                if repo != "org/good" or revision not in ("main", "v%2F1"): return self.say(404)
                files = [{**lfs(p, d), **hub.lie.get(p, {})} for p, d in FILES.items()] + hub.lie.get("more", [])
                self.say(200, json.dumps({"sha": COMMIT, "cardData": {"license": "other", "license_name": "ltx-open"}, "siblings": files}).encode())

            def data(self, name):
                import urllib.parse
                body, start = FILES[urllib.parse.unquote(name)], 0
                if hub.busy:
                    hub.busy -= 1
                    return self.say(503)
                m = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                if m and hub.ranges:
                    start = int(m[1])
                    if start >= len(body): return self.say(416)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                if self.command == "HEAD": return
                rest = body[start:]
                if hub.cut:  # the line breaks after a part
                    hub.cut -= 1
                    self.wfile.write(rest[:len(rest) // 3])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                for at in range(0, len(rest), 100000):
                    try: self.wfile.write(rest[at:at + 100000])
                    except OSError: return
                    if hub.slow: time.sleep(0.3)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def asked(self, part):
        return [s for s in self.seen if part in s[2]]


hub = Hub()
ENV = {k: v for k, v in os.environ.items() if k.lower() not in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "hf_token", "hf_endpoint")}


def pull(*args, env=None, yes=True, endpoint=True):
    hub.seen.clear()
    return subprocess.run([himmel, "pull", *args, *(["--endpoint", hub.url] if endpoint else []), *(["--yes"] if yes else [])], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL, env={**ENV, **(env or {})})


def there(path, data):
    check(os.path.exists(path) and open(path, "rb").read() == data, f"{path} is not there or has other bytes")
    check(not os.path.exists(path + ".part"), f"{path}.part is left")
    if os.path.exists(path): os.unlink(path)


def refused(r, code, word, *gone):
    check(r.returncode == code and word in r.stderr, f"{r.args}: {r.returncode}, not {code} \"{word}\": {r.stderr}")
    for g in gone or ("model.safetensors", "model.safetensors.part"): check(not os.path.exists(g), f"{g} is there: {r.args}")


def files():
    r = pull("org/good", yes=False)
    check(r.returncode == 0 and r.stdout.split("\n")[0].split() == ["3.1", "MiB", "model.safetensors"] and "licence other, ltx-open" in r.stderr, f"list: {r}")
    r = pull("org/good/model.safetensors")
    check(r.returncode == 0 and "3.1 MiB" in r.stderr and "ltx-open" in r.stderr and "SHA-256 is right" in r.stderr, f"one file: {r}")
    again = pull("org/good/model.safetensors")
    check(again.returncode == 0 and "was there already" in again.stderr and not hub.asked("/cdn/"), f"again: {again}")
    there("model.safetensors", BIG)
    r = pull("org/good/config.json", "-o", "sub/c.json")
    check(r.returncode == 0 and "git's hash is right" in r.stderr, f"a small file: {r}")
    there("sub/c.json", FILES["config.json"])
    r = pull("org/good/vae", "--dir", "m", "--revision", "v/1")
    check(r.returncode == 0 and hub.asked("/revision/v%2F1?"), f"a folder: {r}")
    for name in ("vae/x.safetensors", "vae/x.index.json"): there("m/" + name, FILES[name])
    r = pull("org/good/a b/\u00e9%.bin")
    check(r.returncode == 0, f"odd name: {r}")
    there("\u00e9%.bin", b"odd name")
    for url in (hub.url, "https://huggingface.co"):
        r = pull(url + "/org/good/resolve/main/vae/x.safetensors?download=true")
        check(r.returncode == 0, f"address: {r}")
        there("x.safetensors", BIG[:1000])
    r = pull("org/good/config.json", env={"HF_ENDPOINT": hub.url}, endpoint=False)
    check(r.returncode == 0, f"HF_ENDPOINT: {r}")
    there("config.json", FILES["config.json"])
    sha = hashlib.sha256(BIG).hexdigest()
    refused(pull(f"http://localhost:{hub.port}/cdn/model.safetensors"), 2, "--sha256")
    r = pull(f"http://localhost:{hub.port}/cdn/model.safetensors", "--sha256", sha, "--json")
    check(r.returncode == 0 and json.loads(r.stdout.strip().split("\n")[-1])["sha256"] == sha, f"another address: {r}")
    there("model.safetensors", BIG)


def going_on():
    hub.cut = 3
    r = pull("org/good/model.safetensors")
    ranges = [s[3] for s in hub.asked("/cdn/")]
    check(r.returncode == 0 and len(ranges) == 4 and ranges[0] is None and ranges[1] == f"bytes={len(BIG) // 3}-", f"three broken lines: {ranges} {r.stderr}")
    there("model.safetensors", BIG)
    hub.busy = 2
    r = pull("org/good/model.safetensors")
    check(r.returncode == 0 and len(hub.asked("/cdn/")) == 3, f"a server that is busy: {r}")
    there("model.safetensors", BIG)
    # stopped by Ctrl-C: the part stays, nothing else does, and the next call asks for the rest only
    hub.slow = True
    p = subprocess.Popen([himmel, "pull", "org/good/model.safetensors", "--endpoint", hub.url, "--yes"], stderr=subprocess.PIPE, text=True, env=ENV)
    until = time.time() + 60
    while time.time() < until and not (os.path.exists("model.safetensors.part") and os.path.getsize("model.safetensors.part") > 200000): time.sleep(0.05)
    r = pull("org/good/model.safetensors")
    check(r.returncode == 1 and "another himmel pull is at it" in r.stderr, f"two at once: {r}")
    p.send_signal(signal.SIGINT)
    words = p.communicate(timeout=60)[1]
    check(p.returncode == 130 and "goes on from there" in words, f"Ctrl-C: {p.returncode} {words}")
    half = os.path.getsize("model.safetensors.part")
    check(0 < half < len(BIG) and not os.path.exists("model.safetensors"), f"{half} bytes of a stopped download")
    hub.slow = False
    r = pull("org/good/model.safetensors")
    check(r.returncode == 0 and [s[3] for s in hub.asked("/cdn/")] == [f"bytes={half}-"], f"goes on: {hub.asked('/cdn/')} {r.stderr}")
    there("model.safetensors", BIG)
    # a server without ranges gives all of it: the part begins anew
    open("model.safetensors.part", "wb").write(BIG[:500])
    hub.ranges = False
    r = pull("org/good/model.safetensors")
    check(r.returncode == 0, f"no ranges: {r}")
    there("model.safetensors", BIG)
    hub.ranges = True
    open("model.safetensors.part", "wb").write(BIG + b"too long")
    check(pull("org/good/model.safetensors").returncode == 0, "a part that is too long")
    there("model.safetensors", BIG)


def wrong():
    wrong_sha = {"lfs": {"sha256": "0" * 64, "size": len(BIG)}}
    hub.lie = {"model.safetensors": wrong_sha}
    refused(pull("org/good/model.safetensors"), 1, "its SHA-256 is " + hashlib.sha256(BIG).hexdigest())
    hub.lie = {"config.json": {"blobId": "0" * 40}}
    refused(pull("org/good/config.json"), 1, "its git hash is", "config.json", "config.json.part")
    hub.lie = {"model.safetensors": {"lfs": {"size": len(BIG) - 1, "sha256": hashlib.sha256(BIG).hexdigest()}}}
    refused(pull("org/good/model.safetensors"), 1, "model.safetensors", "model.safetensors")
    if os.path.exists("model.safetensors.part"): os.unlink("model.safetensors.part")
    hub.lie = {}
    open("model.safetensors.part", "wb").write(b"x" * 1000)  # of another file
    refused(pull("org/good/model.safetensors"), 1, "is right")
    refused(pull("org/good/model.safetensors", "--sha256", "1" * 64), 1, "its SHA-256 is")
    open("model.safetensors", "wb").write(b"mine")
    r = pull("org/good/model.safetensors")
    check(r.returncode == 2 and "is another file" in r.stderr and open("model.safetensors").read() == "mine", f"a file that is there: {r}")
    os.unlink("model.safetensors")
    for bad in ("../evil.safetensors", "/etc/evil", "a/../../evil", "a//b"):
        hub.lie = {"more": [{"rfilename": bad, "size": 1, "blobId": "0" * 40}]}
        refused(pull("org/good", yes=False), 1, "which is not taken")
    hub.lie = {}
    for name, code, word in (("org/none/x", 1, "no such thing (404)"), ("org/good/x.safetensors", 2, "has no file or folder x.safetensors"),
                             ("good", 2, "not the name of a model"), ("org/../x", 2, "not the name"), ("org/good/../x", 2, "cannot be a file's name"),
                             (hub.url + "/org/good/raw", 2, "not the address of a file")):
        refused(pull(name), code, word)
    refused(pull("org/good/model.safetensors", yes=False), 2, "--yes agrees")
    refused(pull("org/good/model.safetensors", "--sha256", "abc"), 2, "64 hex digits")
    refused(pull("org/good/vae", "-o", "one"), 2, "cannot all become one", "one")
    refused(pull("org/good/model.safetensors", "-o", "x", "--dir", "y"), 2, "himmel pull")


def doors():
    hub.token = "hf_secret"
    refused(pull("org/good/model.safetensors"), 1, "set HF_TOKEN")
    refused(pull("org/good/model.safetensors", env={"HF_TOKEN": "hf_other"}), 1, "does not do")
    r = pull("org/good/model.safetensors", env={"HF_TOKEN": "hf_secret"})
    check(r.returncode == 0 and "hf_secret" not in r.stderr + r.stdout, f"with a token: {r}")
    check(all(s[4] is None for s in hub.asked("/cdn/")) and len(hub.asked("/cdn/")) == 1, f"the token went to another host: {hub.asked('/cdn/')}")
    there("model.safetensors", BIG)
    hub.token = None
    # a proxy is asked instead of a host that does not exist
    r = subprocess.run([himmel, "pull", "org/good/config.json", "--endpoint", "http://hub.invalid", "--yes"], capture_output=True, text=True, timeout=60,
                       env={**ENV, "http_proxy": hub.url, "NO_PROXY": "localhost"})
    check(r.returncode == 0, f"through a proxy: {r}")
    there("config.json", FILES["config.json"])
    lines = []
    s = socket.create_server(("127.0.0.1", 0))

    def answer():
        c, _ = s.accept()
        lines.append(c.recv(1000).split(b"\r\n")[0])
        c.sendall(b"HTTP/1.1 502 no\r\n\r\n")
        c.close()

    t = threading.Thread(target=answer)
    t.start()
    r = subprocess.run([himmel, "pull", "org/good/config.json", "--endpoint", "https://hub.invalid", "--yes"], capture_output=True, text=True, timeout=60,
                       env={**ENV, "HTTPS_PROXY": f"http://127.0.0.1:{s.getsockname()[1]}"})
    t.join(20)
    check(lines == [b"CONNECT hub.invalid:443 HTTP/1.1"] and r.returncode == 1, f"HTTPS_PROXY: {lines} {r}")


files()
going_on()
wrong()
doors()
sys.exit(end())
