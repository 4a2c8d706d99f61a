#!/bin/sh
# build.sh - libworld.so: the renderer for the twin, with nvcc where there is one (else g++ on the host).   SPDX-License-Identifier: MIT
# usage: twin/build.sh OUT.so [host]
set -eu
cd "$(dirname "$0")/.."
out=$1 tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
inc="-D_GNU_SOURCE -Iinclude -Isrc -Itwin"
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
for f in src/base/*.c src/world/*.c src/train/scenes.c src/text/tokenizer.c src/text/unigram.c src/text/unigram_read.c src/text/normalize.c twin/world.c; do
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -O2 -fPIC -fopenmp $inc -c "$f" -o "$tmp/$(echo "$f" | tr / _).o" &
done
if [ -n "$nvcc" ] && [ "${2:-}" != host ]; then
    # shellcheck disable=SC2086
    "$nvcc" -std=c++17 -O3 -arch="${CUDA_ARCH:-native}" -Xcompiler -fPIC -diag-suppress 1675 $inc -c twin/world.cu -o "$tmp/world_cu.o" &
    "$nvcc" -std=c++17 -O3 -arch="${CUDA_ARCH:-native}" -Xcompiler -fPIC -c twin/mix.cu -o "$tmp/mix_cu.o"
    wait
    "$nvcc" -shared -Xcompiler -fopenmp -o "$out" "$tmp"/*.o -lm
else
    # shellcheck disable=SC2086
    ${CXX:-g++} -std=c++17 -O2 -fPIC -fopenmp $inc -x c++ -c twin/world.cu -o "$tmp/world_cu.o"
    wait
    ${CXX:-g++} -shared -fopenmp -o "$out" "$tmp"/*.o -lm
fi
