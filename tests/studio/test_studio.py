"""test_studio.py HIMMEL MAKE_MODEL [SCREENSHOTS] - starts a server with a tiny model and walks through the studio in Chromium:
test_studio.mjs. SPDX-License-Identifier: MIT"""
import os, subprocess, sys, tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here + "/../server")
from client import Server

himmel, make_model = sys.argv[1:3]
folder = tempfile.TemporaryDirectory(prefix="himmel-studio-")
D = folder.name
subprocess.run([make_model, D + "/tiny.safetensors"], check=True)
node = ["sh", here + "/../../tools/node.sh"]
server = Server(himmel, D + "/data", D + "/tiny.safetensors", "--min-free", "1")
rc = subprocess.run([*node, here + "/test_studio.mjs", f"http://127.0.0.1:{server.port}", *sys.argv[3:]]).returncode
if not rc: # from the first key on, a key is needed
    def keys(*args):
        return subprocess.run([himmel, "keys", *args, "--data", D + "/data"], check=True, capture_output=True, text=True).stdout.strip()
    owner, guest = keys("new", "Ada", "--scopes", "create,read,admin"), keys("new", "Grace", "--days", "14", "--max-films", "20")
    code = keys("invite", "preview", "--uses", "10", "--days", "14")
    invited = server.ask("POST", "/himmel/v1/invitations", {"code": code}).json["key"]
    rc = subprocess.run([*node, here + "/test_door.mjs", f"http://127.0.0.1:{server.port}", owner, guest, invited, *sys.argv[3:]]).returncode
sys.exit(server.stop() or rc)
