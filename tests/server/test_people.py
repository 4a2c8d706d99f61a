"""test_people.py HIMMEL MAKE_MODEL - who may enter: addresses, keys, scopes, quotas, invitations, logs, webhooks; taking
everything away and deleting it. SPDX-License-Identifier: MIT"""
import base64, hashlib, hmac, http.client, http.server, io, json, os, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time, zipfile
from client import Server, check, end

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-people-")
D = folder.name
MODEL, DATA = D + "/tiny.safetensors", D + "/data"
subprocess.run([make_model, MODEL], check=True)
FILM = dict(prompt="sunset over a calm sea", seconds="1", size="64x64", steps=1, seed=5)


def run(*args):
    return subprocess.run([himmel, *args, "--data", DATA], capture_output=True, text=True, timeout=60)


def new_key(name, *options):
    r = run("keys", "new", name, *options)
    check(r.returncode == 0 and r.stdout.startswith("hm-") and len(r.stdout.strip()) == 46, f"keys new {name}: {r}")
    return {"Authorization": "Bearer " + r.stdout.strip()}


def journal(sql):
    """Change the server's journal behind its back; no connection stays open."""
    db = sqlite3.connect(DATA + "/journal.db")
    with db: check(db.execute(sql).rowcount == 1, sql)
    db.close()


def doors():
    for args, word in ((["--bind", "0.0.0.0"], "only with a key"), (["--behind-proxy"], "only with a key"), (["--bind", "::"], "only with a key"),
                       (["--tls-cert", "x"], "go together")):
        r = subprocess.run([himmel, "serve", "--data", D + "/empty", "--port", "0", "--model", MODEL, *args], capture_output=True, text=True, timeout=60)
        check(r.returncode == 2 and word in r.stderr, f"{args}: {r.returncode} {r.stderr}")


def keys(s):
    check(s.ask("POST", "/v1/videos", FILM).status == 200, "no key yet: loopback is the owner")
    owner = new_key("boss", "--scopes", "admin")
    r = subprocess.run([himmel, "serve", "--data", D + "/d2", "--port", "0", "--bind", "0.0.0.0"], capture_output=True, text=True, timeout=60)
    check(r.returncode == 2, "other machines without TLS")
    a = s.ask("GET", "/v1/videos")
    check(a.status == 401 and a.error()["code"] == "invalid_api_key" and a.headers["WWW-Authenticate"] == "Bearer", f"without a key: {a.status}")
    for bad in ("hm-" + "x" * 43, "hm-", "x" * 5000, owner["Authorization"][7:-1]):
        check(s.ask("GET", "/v1/videos", headers={"Authorization": "Bearer " + bad}).status in (401, 431), f"key {bad[:10]}")
    reader, maker = new_key("reader", "--scopes", "read"), new_key("maker", "--max-films", "3", "--max-seconds", "4")
    check(s.ask("POST", "/v1/videos", FILM, headers=reader).status == 403, "a reader makes films")
    check(s.ask("GET", "/himmel/v1/keys", headers=maker).status == 403 and s.ask("GET", "/himmel/v1/log?key=boss", headers=maker).status == 403, "admin's routes")
    v = s.ask("POST", "/v1/videos", FILM, headers=maker).json
    check(s.wait(v["id"], headers=maker)["status"] == "completed", "the maker's film")
    for path in ("", "/content"):
        check(s.ask("GET", f"/v1/videos/{v['id']}{path}", headers=reader).status == 404, "another key's film")
    check(s.ask("DELETE", f"/v1/videos/{v['id']}", headers=reader).status == 403, "a reader deletes")
    check(s.ask("GET", f"/v1/videos/{v['id']}", headers=owner).status == 200, "an admin sees all")
    check(len(s.ask("GET", "/v1/videos", headers=owner).json["data"]) == 0 and len(s.ask("GET", "/v1/videos?all=true", headers=owner).json["data"]) == 2, "all=true")
    check(len(s.ask("GET", "/v1/videos?all=true", headers=maker).json["data"]) == 1, "all=true is not for everyone")
    q = s.ask("POST", "/v1/videos", {**FILM, "seconds": "4"}, headers=maker)
    check(q.status == 429 and q.error()["code"] == "quota_exceeded" and q.headers["x-should-retry"] == "false", f"seconds a day: {q.status} {q.body[:200]}")
    answers = []
    t = [threading.Thread(target=lambda: answers.append(s.ask("POST", "/v1/videos", FILM, headers=maker).status)) for _ in range(6)]
    for x in t: x.start()
    for x in t: x.join()
    check(sorted(answers) == [200, 200, 429, 429, 429, 429], f"films a day, asked for at once: {answers}")
    one = new_key("one", "--max-concurrent", "1")
    long = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=one)
    check(long.status == 200 and s.ask("POST", "/v1/videos", FILM, headers=one).status == 429, "one job at a time")
    check(run("keys", "revoke", "one").returncode == 0 and run("keys", "revoke", "nobody").returncode == 1, "revoke")
    stopped(s, [long.json["id"]], owner, "keys revoke")
    check(s.ask("GET", "/v1/videos", headers=one).status == 401, "a revoked key")
    over = new_key("over", "--days", "1")
    check(s.ask("GET", "/v1/videos", headers=over).status == 200, "a day is not over yet")
    journal("UPDATE keys SET expires = 1 WHERE name = 'over'")
    check(s.ask("GET", "/v1/videos", headers=over).status == 401, "an expired key")
    listed = run("keys", "list").stdout
    check(all(n in listed for n in ("boss", "maker", "REVOKED")) and not any(k["Authorization"][10:] in listed for k in (owner, maker)), listed)
    with open(DATA + "/journal.db", "rb") as f:
        check(owner["Authorization"][7:].encode() not in f.read(), "a key in the journal")
    check([s.ask("GET", p, headers=maker).status for p in ("/v1/nope", "/himmel/v1/keys/revoke", "/himmel/v1/invitations")] == [404, 405, 403], "what is not there")
    time.sleep(1.2)
    listed = run("keys", "log", "maker").stdout
    check(listed.count("POST /v1/videos") == 8, "the log of a key")
    check(all(f"{n}  GET {p}" in listed for n, p in ((404, "/v1/nope"), (405, "/himmel/v1/keys/revoke"), (403, "/himmel/v1/invitations"))), f"refused calls too: {listed}")
    log = s.ask("GET", "/himmel/v1/log?key=maker&limit=500", headers=owner).json["data"]
    check(sum(c["status"] == 429 for c in log) == 5 and all(c["address"] == "127.0.0.1" for c in log), f"log: {log[:2]}")
    session = s.ask("POST", "/himmel/v1/session", {"key": maker["Authorization"][7:]})
    check(session.status == 200, f"session: {session.status} {session.body}")
    cookie = session.headers["Set-Cookie"] or ""
    check("HttpOnly" in cookie and "SameSite=Strict" in cookie and s.ask("GET", "/himmel/v1/me", headers={"Cookie": cookie.split(";")[0]}).json["name"] == "maker", "session")
    check(s.ask("POST", "/himmel/v1/session", {"key": "hm-no"}).status == 401, "session with a wrong key")
    return owner, maker


def stopped(s, ids, owner, what):
    """Now, without waiting: the jobs have their end, and nothing is left of them."""
    for id in ids:
        e = s.ask("GET", f"/v1/videos/{id}", headers=owner).json
        check(e["status"] == "failed" and e["error"]["code"] == "cancelled" and "revoked" in e["error"]["message"], f"{what}: {e}")
    left = [n for sub in ("work", "saved", "inputs", "results") for n in os.listdir(f"{DATA}/{sub}") if any(n.startswith(id) for id in ids)]
    check(not left, f"{what}: files left: {left}")


def late_body(s, guest, name, owner):
    """A request that was let in, and whose body ends when the key does not hold any more."""
    body = json.dumps(FILM).encode()
    with socket.create_connection(("127.0.0.1", s.port), timeout=30) as c:
        c.sendall(f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nAuthorization: {guest['Authorization']}\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        time.sleep(0.3)
        a = s.ask("POST", "/himmel/v1/keys/revoke", {"name": name}, headers=owner)
        check(a.status == 200 and a.json["revoked"], f"revoke {name}: {a.body}")
        c.sendall(body[5:])
        head = c.recv(100)
    check(head.startswith(b"HTTP/1.1 401"), f"a job of a key that was revoked meanwhile: {head}")


def revoking(s, owner):
    """When revoking is answered, the jobs have stopped: waiting ones and the one that works, also in the middle of a long step."""
    guests = {n: new_key(n) for n in ("queued", "stepping", "late", "beside", "gone")}
    other = s.ask("POST", "/v1/videos", {**FILM, "steps": 60}, headers=guests["beside"]).json["id"]
    waiting = [s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=guests["queued"]).json["id"] for _ in range(3)]
    listener = threading.Thread(target=lambda: heard.append(s.ask("GET", f"/himmel/v1/jobs/{waiting[2]}/events", headers=owner).body))
    heard = []
    listener.start()
    a = s.ask("POST", "/himmel/v1/keys/revoke", {"name": "queued"}, headers=owner)
    check(a.status == 200 and a.json == {"name": "queued", "revoked": True, "stopped": 3}, f"three waiting jobs: {a.body}")
    stopped(s, waiting, owner, "waiting jobs")
    listener.join(20)
    check(heard and b"event: end" in heard[0], "who listens to a job that was stopped hears of it")
    check(s.wait(other, headers=owner)["status"] == "completed", "another key's job goes on")
    late_body(s, guests["late"], "late", owner)
    # on a file that the worker cannot get on with: a step that takes for ever
    v = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=guests["stepping"]).json["id"]
    s.wait_phase(v, "sample", owner)
    worker = s.worker()
    os.kill(worker, signal.SIGSTOP)
    threading.Timer(3, lambda: os.kill(worker, signal.SIGCONT)).start()
    start = time.time()
    r = run("keys", "revoke", "stepping")
    check(r.returncode == 0 and time.time() - start < 20, f"revoke in the middle of a step: {r}, {time.time() - start:.1f} s")
    stopped(s, [v], owner, "in the middle of a step")
    check(s.worker() != worker, "the process that did not stop")
    # without a server: a job that a crash left as running
    v = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=guests["gone"]).json["id"]
    s.wait_phase(v, "sample", owner)
    s.stop(signal.SIGKILL)
    check(run("keys", "revoke", "gone").returncode == 0, "revoke without a server")
    s.start()
    stopped(s, [v], owner, "without a server")


def invitations(s, owner):
    r = run("keys", "invite", "preview", "--uses", "2", "--days", "1", "--max-films", "5")
    code = r.stdout.strip()
    check(code.startswith("inv-"), f"invite: {r}")
    got = [s.ask("POST", "/himmel/v1/invitations", {"code": code}) for _ in range(3)]
    check([g.status for g in got] == [200, 200, 403], f"redeemed: {[g.status for g in got]}")
    check([g.json["name"] for g in got[:2]] == ["preview-1", "preview-2"], "names of invited keys")
    guests = [{"Authorization": "Bearer " + g.json["key"]} for g in got[:2]]
    check(s.ask("POST", "/himmel/v1/invitations", {"code": "inv-" + "x" * 43}).status == 403, "a made-up code")
    v = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=guests[0])
    check(v.status == 200 and s.ask("GET", "/himmel/v1/keys", headers=guests[0]).status == 403, "a guest")
    check("2 redeemed" in run("keys", "list").stdout and s.ask("GET", "/himmel/v1/invitations", headers=owner).json["data"][0]["uses_left"] == 0, "list of invitations")
    w = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=guests[1])
    r = s.ask("POST", "/himmel/v1/keys/revoke", {"name": "preview"}, headers=owner)
    check(r.status == 200 and r.json["stopped"] == 2, f"revoke an invitation: {r.body}")
    stopped(s, [v.json["id"], w.json["id"]], owner, "an invitation's jobs")
    check(all(s.ask("GET", "/v1/videos", headers=g).status == 401 for g in guests), "its keys")
    check(s.ask("GET", "/himmel/v1/invitations", headers=owner).json["data"][0]["revoked"], "the list says so")
    run("keys", "new", "early-1")
    code = run("keys", "invite", "early", "--uses", "1", "--days", "1").stdout.strip()
    got = s.ask("POST", "/himmel/v1/invitations", {"code": code})
    check(got.status == 200 and got.json["name"].startswith("early-1-" + got.json["key"][:5]), f"a name that is taken: {got.body}")
    over = run("keys", "invite", "ended", "--uses", "5", "--days", "1").stdout.strip()
    journal("UPDATE invitations SET expires = 1 WHERE name = 'ended'")
    check(s.ask("POST", "/himmel/v1/invitations", {"code": over}).status == 403, "an invitation after its end")


def over_tls(owner):
    """Another address: with a key and TLS, and nothing in the clear."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", D + "/key.pem", "-out", D + "/cert.pem",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    s = Server(himmel, DATA, MODEL, "--min-free", "1", "--bind", "0.0.0.0", "--tls-cert", D + "/cert.pem", "--tls-key", D + "/key.pem")

    def ask(headers):
        c = http.client.HTTPSConnection("localhost", s.port, timeout=30, context=ssl.create_default_context(cafile=D + "/cert.pem"))
        c.request("GET", "/v1/videos", headers=headers)
        r = c.getresponse()
        r.read()
        return r.status
    check(ask(owner) == 200 and ask({}) == 401, "over TLS a key is needed")
    session = http.client.HTTPSConnection("localhost", s.port, timeout=30, context=ssl.create_default_context(cafile=D + "/cert.pem"))
    session.request("POST", "/himmel/v1/session", json.dumps({"key": owner["Authorization"][7:]}), {"Content-Type": "application/json"})
    check("; Secure" in (session.getresponse().headers["Set-Cookie"] or ""), "the cookie never goes in the clear")
    try: check(s.ask("GET", "/v1/videos", headers=owner).status >= 400, "a key in the clear")
    except (OSError, http.client.HTTPException): check(True, "no answer in the clear")
    check(s.stop() == 0, "stop")


def shared(s, key, owner):
    """Behind a proxy: the address is the proxy's word, not the client's own."""
    for i in range(7):
        s.ask("GET", "/v1/models", headers={**key, "X-Forwarded-For": f"1.2.3.4, 10.0.0.{i}"})
    time.sleep(1.2)
    k = [k for k in s.ask("GET", "/himmel/v1/keys", headers={**owner, "X-Forwarded-For": "10.9.9.9"}).json["data"] if k["name"] == "maker"][0]
    check(k["shared"] and k["addresses"] >= 7, f"a key from many addresses: {k}")
    check(s.ask("GET", "/v1/models").status == 401, "behind a proxy nobody is the owner")


def webhooks(s, maker, owner):
    seen = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(seen) == 1 else 204)
            self.end_headers()

        def log_message(self, *a): pass
    hook = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    secret = run("webhooks", "new", f"http://127.0.0.1:{hook.server_port}/x").stdout.strip()
    check(run("webhooks", "new", "ftp://x").returncode == 1 and run("webhooks", "new", "http://127.0.0.1:1/", "--key", "nobody").returncode == 1, "webhooks that cannot be")
    other = new_key("hooked")
    check(run("webhooks", "new", "http://127.0.0.1:9/never", "--key", "maker").returncode == 0, "webhook of a key")
    v = s.ask("POST", "/v1/videos", FILM, headers=other).json
    bad = s.ask("POST", "/v1/videos", {**FILM, "steps": 200}, headers=other).json
    s.wait(v["id"], headers=other)
    s.ask("POST", f"/himmel/v1/jobs/{bad['id']}/cancel", headers=other)
    start = time.time()
    while len(seen) < 3 and time.time() - start < 60: time.sleep(0.1)
    check(len(seen) == 3 and seen[0][1] in (seen[1][1], seen[2][1]), f"webhooks: {len(seen)}, the refused one again")
    bodies = {json.loads(b)["data"]["id"]: json.loads(b) for _, b in seen}
    check(bodies[v["id"]]["type"] == "video.completed" and bodies[bad["id"]]["type"] == "video.failed", f"{bodies}")
    for h, b in seen:
        h = {k.lower(): x for k, x in h.items()}
        text = f"{h['webhook-id']}.{h['webhook-timestamp']}.".encode() + b
        mac = base64.b64encode(hmac.new(base64.b64decode(secret[6:]), text, hashlib.sha256).digest()).decode()
        check(h["webhook-signature"] == "v1," + mac and json.loads(b)["id"] == h["webhook-id"], "signature")
    check(run("webhooks", "list").stdout.count("http://") == 2 and run("webhooks", "remove", "2").returncode == 0 and run("webhooks", "remove", "2").returncode == 1, "list, remove")
    hook.shutdown()


def everything(s, maker, owner):
    film = [v for v in s.ask("GET", "/v1/videos", headers=maker).json["data"] if v["status"] == "completed"][0]
    content = s.ask("GET", f"/v1/videos/{film['id']}/content", headers=maker).body
    ch = s.ask("POST", "/v1/videos/characters", form=[("name", "Mossy"), ("video", ("a.mp4", content))], headers=maker).json
    check([c["id"] for c in s.ask("GET", "/v1/videos/characters", headers=maker).json["data"]] == [ch["id"]], "characters listed")
    seen = s.ask("POST", "/v1/content_provenance_checks", form=[("file", ("a.mp4", content))], headers=maker)
    check(seen.status == 200 and seen.json["results"][0]["validation_state"] == "valid" and D.encode() not in seen.body, f"what is in a film: {seen.body[:300]}")
    z = s.ask("GET", "/himmel/v1/export", headers=maker)
    check(z.status == 200 and z.headers["Content-Type"] == "application/zip", f"export: {z.status}")
    with zipfile.ZipFile(io.BytesIO(z.body)) as f:
        check(f.testzip() is None and f.read(f"videos/{film['id']}.mp4") == content and f.read(f"characters/{ch['id']}.mp4") == content, "files of the export")
        m = json.loads(f.read("manifest.json"))
        row = [j for j in m["jobs"] if j["id"] == film["id"]][0]
        check(row["prompt"] == FILM["prompt"] and row["request"]["seed"] == 5 and row["file"] == f"videos/{film['id']}.mp4", f"manifest: {row}")
        check(not [n for n in f.namelist() if ".." in n or n.startswith("/")], "names in the export")
    d = s.ask("DELETE", "/himmel/v1/everything", headers=maker)
    check(d.status == 200 and d.json["jobs"] == len(m["jobs"]), f"everything: {d.body}")
    check(s.ask("GET", "/v1/videos", headers=maker).json["data"] == [] and s.ask("GET", "/v1/videos/characters", headers=maker).json["data"] == [], "after it")
    left = [n for sub in os.listdir(DATA) if os.path.isdir(f"{DATA}/{sub}") for n in os.listdir(f"{DATA}/{sub}") if film["id"] in n or ch["id"] in n]
    check(not left and s.ask("GET", "/v1/videos?all=true", headers=owner).json["data"], f"files left: {left}; other keys' films stay")


doors()
s = Server(himmel, DATA, MODEL, "--min-free", "1")
owner, maker = keys(s)
revoking(s, owner)
invitations(s, owner)
webhooks(s, maker, owner)
everything(s, maker, owner)
check(s.stop() == 0, "stop")
s.args = ("--min-free", "1", "--behind-proxy")
s.start()
shared(s, maker, owner)
check(s.stop() == 0, "stop")
over_tls(owner)
sys.exit(end())
