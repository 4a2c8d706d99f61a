#!/bin/sh
# The shared library shows himmel_* and nothing else; every internal global is hm_* (or a model's own prefix).
set -eu
out=$(nm -D --defined-only build/libhimmel.so | awk '{print $3}' | grep -v '^himmel_' || true)
[ -z "$out" ] || { echo "libhimmel.so exports: $out"; exit 1; }
out=$(nm -A -g --defined-only build/libhimmel.a 2>/dev/null | awk '{print $NF}' | grep -vE '^(hm_|himmel_|\.gomp_|\.gomp_critical|.*\.(resolver|default|arch_x86_64_v[34]).*)' | sort -u || true)
[ -z "$out" ] || { echo "globals without prefix: $out"; exit 1; }
echo "symbols: ok"
