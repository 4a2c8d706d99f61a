#!/bin/bash
# test_stamp.sh HIMMEL MAKE_MODEL - RFC 3161: a server on this machine (openssl ts) stamps a picture; c2pa-rs accepts it, a server
# that is not there or lies gives one sentence and no file.   SPDX-License-Identifier: MIT
himmel=$1 make_model=$2 here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d /tmp/himmel-stamp-XXXXXX)
cd "$dir" || exit 1
unset HIMMEL_TIME_SERVER http_proxy HTTP_PROXY
passed=0 failed=0
check() { local what=$1; shift; if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what" >&2; fi; }

"$make_model" tiny.safetensors || exit 1
export HIMMEL_MODEL=$dir/tiny.safetensors HIMMEL_IDENTITY_DIR=$dir/id
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsaroot.key -out tsaroot.pem -days 9 -subj "/O=clocks/CN=root of clocks" \
    -addext keyUsage=critical,keyCertSign 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsa.key -out tsa.csr -subj "/O=clocks/CN=clock" 2>/dev/null
printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >ext
openssl x509 -req -in tsa.csr -CA tsaroot.pem -CAkey tsaroot.key -CAcreateserial -days 8 -extfile ext -out tsa.pem 2>/dev/null
printf '[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ncrypto_device=builtin\nsigner_cert=tsa.pem\nsigner_key=tsa.key\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\nclock_precision_digits=0\n' >tsa.cnf
echo 01 >serial
cat >server.py <<'P'
import http.server, subprocess, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        query = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/other":  # a stamp of something else, as good as any
            subprocess.run(["openssl", "ts", "-query", "-data", "server.py", "-sha256", "-cert", "-out", "q"], check=True, stderr=subprocess.DEVNULL)
        else:
            open("q", "wb").write(query)
        subprocess.run(["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q", "-out", "r"], check=True, stderr=subprocess.DEVNULL)
        reply = b"no stamp" if self.path == "/junk" else open("r", "rb").read()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 0), H)
print(s.server_port, flush=True)
s.serve_forever()
P
python3 server.py >port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
url=http://127.0.0.1:$(cat port)

make() { HIMMEL_TIME_SERVER=$1 "$himmel" image sunset --size 64x64 --steps 1 --seed 5 -q -o "$2" 2>err.txt; }
for kind in png webp; do
    make "$url/" "a.$kind"
    check "stamped $kind: $(cat err.txt)" test $? = 0
    "$himmel" verify "a.$kind" >said.txt
    check "not valid: $(cat said.txt)" grep -q "credentials  valid" said.txt
    check "no time, or one of somebody trusted: $(cat said.txt)" grep -q "signed at    20.*do not know" said.txt
done
"$himmel" identity trust tsaroot.pem >/dev/null
"$himmel" verify a.png >said.txt
check "the clock is trusted now: $(cat said.txt)" grep -q "signed at    20.*trust$" said.txt
sh "$here/../../tools/node.sh" "$here/compare_readers.mjs" "$himmel" a.png a.webp >others.txt
# c2pa-ts 0.9.4 wants the server's whole response where the specification (and c2pa-rs) has the token alone.
check "c2pa-rs: $(cat others.txt)" test "$(grep -c 'himmel valid , c2pa-rs valid ' others.txt)" = 2
for bad in "$url/junk" "$url/other" http://127.0.0.1:1/ https://127.0.0.1/ nonsense; do
    make "$bad" b.png
    check "$bad: exit code" test $? = 1
    check "$bad: $(cat err.txt)" grep -q "time stamp server" err.txt
    check "$bad left a file" test ! -e b.png
done
make "" c.png
make "" d.png
check "no server: same bytes" cmp -s c.png d.png
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
