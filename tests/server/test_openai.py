"""test_openai.py HIMMEL MAKE_MODEL - starts a server and runs the unchanged official client against it: test_openai.mjs.
SPDX-License-Identifier: MIT"""
import os, socket, subprocess, sys, tempfile
from client import Server

himmel, make_model = sys.argv[1:3]
here = os.path.dirname(os.path.abspath(__file__))
folder = tempfile.TemporaryDirectory(prefix="himmel-openai-")
D = folder.name
subprocess.run([make_model, D + "/tiny.safetensors"], check=True)
node = ["sh", here + "/../../tools/node.sh"]
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
secret = subprocess.run([himmel, "webhooks", "new", f"http://127.0.0.1:{port}/", "--data", D + "/data"], check=True, capture_output=True,
                        text=True).stdout.strip()
server = Server(himmel, D + "/data", D + "/tiny.safetensors", "--min-free", "1")
rc = subprocess.run([*node, here + "/test_openai.mjs", f"http://127.0.0.1:{server.port}", str(port), secret]).returncode
sys.exit(server.stop() or rc)
