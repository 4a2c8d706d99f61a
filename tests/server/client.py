"""client.py - a himmel serve to test, and the few lines of HTTP that talk to it. SPDX-License-Identifier: MIT"""
import atexit, http.client, json, os, re, signal, subprocess, sys, time

passed = failed = 0


def check(ok, what):
    """Count a check; what it was is printed only when it fails."""
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}", file=sys.stderr)
    return ok


def end():
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def error(self):
        """The error object if it has the wire format's shape, else {}."""
        try:
            e = self.json["error"]
            return e if set(e) == {"message", "type", "param", "code"} and e["message"] else {}
        except (ValueError, KeyError, TypeError):
            return {}


class Server:
    def __init__(self, himmel, data, model, *args, env=None, shell=""):
        """shell: put before the command, as 'ulimit -f 100;'"""
        self.himmel, self.data, self.model = himmel, data, model
        self.args, self.shell, self.env = args, shell, env or {}
        self.start()

    def start(self):
        env = dict(os.environ, OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1", HIMMEL_IDENTITY_DIR=self.data + "/../identity", **self.env)
        command = [self.himmel, "serve", "--data", self.data, "--port", "0", "--threads", "1", "--model", self.model, *self.args]
        if self.shell:
            command = ["bash", "-c", self.shell + ' exec "$@"', "bash", *command]
        self.log = open(self.data + ".log", "a+")
        seen = os.path.getsize(self.data + ".log")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=env)
        atexit.register(lambda p=self.process: p.poll() is None and p.kill())
        self.port = None
        start = time.time()
        while time.time() - start < 60 and self.process.poll() is None and not self.port:
            time.sleep(0.02)
            with open(self.data + ".log") as f:
                f.seek(seen)
                line = re.search(r"himmel: https?://\S+:(\d+)  studio", f.read())
            if line:
                self.port = int(line[1])
        assert self.port, f"no server: {open(self.data + '.log').read()[seen:]}"

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        rc = self.process.wait(60)
        self.log.close()
        return rc

    def ask(self, method, path, body=None, form=None, headers=None, raw=None, type=None):
        """body: JSON; form: [(name, text or (filename, bytes))]; raw with type: bytes as they are."""
        headers = dict(headers or {})
        if body is not None:
            raw, type = json.dumps(body).encode(), "application/json"
        if form is not None:
            raw, type = multipart(form), "multipart/form-data; boundary=openai-x1"
        if type:
            headers["Content-Type"] = type
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            c.request(method, path, raw, headers)
            return Answer(c.getresponse())
        finally:
            c.close()

    def wait(self, id, seconds=400, headers=None):
        """The video once it has an end."""
        start = time.time()
        while time.time() - start < seconds:
            v = self.ask("GET", "/v1/videos/" + id, headers=headers).json
            if v.get("status") not in ("queued", "in_progress"):
                return v
            time.sleep(0.05)
        return v

    def wait_status(self, id, status, seconds=60):
        start = time.time()
        while time.time() - start < seconds:
            v = self.ask("GET", "/v1/videos/" + id).json
            if v.get("status") == status:
                return True
            time.sleep(0.01)
        return False


    def wait_phase(self, id, phase, headers=None, seconds=60):
        """The job is at that: "text", "sample" ..."""
        start = time.time()
        while time.time() - start < seconds:
            v = self.ask("GET", "/v1/videos/" + id, headers=headers).json
            if v.get("himmel", {}).get("phase") == phase: return True
            time.sleep(0.01)
        return check(False, f"{id} never came to {phase}: {v}")

    def worker(self, seconds=30):
        """The process that owns the model: a child of the server's keeper."""
        start = time.time()
        while time.time() - start < seconds:
            for n in os.listdir("/proc"):
                try:
                    if n.isdigit() and stat(n)[0] == "himmel-worker" and stat(stat(n)[1])[1] == str(self.process.pid): return int(n)
                except OSError: pass
            time.sleep(0.05)
        raise AssertionError("no worker")


def stat(pid):
    """Name and parent of a process."""
    with open(f"/proc/{pid}/stat") as f: s = f.read()
    return s[s.index("(") + 1:s.rindex(")")], s[s.rindex(")") + 1:].split()[1]


def multipart(fields):
    out = b""
    for name, value in fields:
        out += b'--openai-x1\r\nContent-Disposition: form-data; name="' + name.encode() + b'"'
        if isinstance(value, tuple):
            out += b'; filename="' + value[0].encode() + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + value[1]
        else:
            out += b"\r\n\r\n" + str(value).encode()
        out += b"\r\n"
    return out + b"--openai-x1--\r\n"
