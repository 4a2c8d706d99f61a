#!/bin/sh
# test.sh - the PyTorch twin against the C code: make test-twin. One table; the last line says how it went.   SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/../.."
PY=${PYTHON:-/usr/bin/python3}
if ! "$PY" -c 'import torch' 2>/dev/null; then
    as=""; [ "$(id -u)" = 0 ] || as=sudo
    echo "installing: python3-torch"
    $as apt-get install -y -qq --no-install-recommends python3-torch >/dev/null
fi
dir=build/twin
rm -rf $dir/shards
mkdir -p $dir/shards
cmake --build build --target himmel-twin-dump himmel-twin-probe himmel-make-model | tail -1
build/himmel-make-model $dir/tiny.safetensors
build/himmel-twin-dump $dir/tiny.safetensors $dir/tiny.dump
build/himmel-twin-dump weights/himmel-1.safetensors $dir/himmel-1.dump
echo "| weights                  | what                                   | error    | bar   |    |"
echo "|---|---|---|---|---|"
ok=0
"$PY" tests/twin/parity.py $dir/tiny.safetensors $dir/tiny.dump weights/himmel-1.safetensors $dir/himmel-1.dump || ok=1
# footage: the trainer, the program of one compiler call, the twin's library (here without a GPU)
make -s world
sh twin/build.sh $dir/libworld.so host
s=$dir/shards w=weights/himmel-1.safetensors
build/himmel train cache --model $w --out $s/trainer --scenes 4 --latent-frames 3 --grid-width 9 --grid-height 16 --seed 700 >/dev/null 2>&1
./himmel-world cache --model $w --out $s/program --scenes 4 --latent-frames 3 --grid 9x16 --seed 700 2>/dev/null
"$PY" twin/world.py --lib $dir/libworld.so --model $w --out $s/twin --scenes 4 --latent-frames 3 --grid 9x16 --seed 700 --device cpu >/dev/null
./himmel-world sheet --n 24 --columns 4 --seed 1 >$dir/sheet.ppm
"$PY" tests/twin/world.py $dir/libworld.so $w $s/trainer/*.st $s/program/*.st $s/twin/*.st $dir/sheet.ppm || ok=1
# the scoring probe: trained for moments by the twin, read by both
"$PY" twin/probe.py --device cpu --lib $dir/libworld.so --out $dir/probe.st --clips 64 --batch 8 --seconds 600 --steps 40 --render-seconds 600 \
    --warmup 3 --ema 0.8 --test 16 >$dir/probe.log
build/himmel-twin-probe $dir/probe.st $dir/probe.dump
"$PY" tests/twin/probe.py $dir/libworld.so $dir/probe.st $dir/probe.dump || ok=1
# the trainer: resumed = uninterrupted, and what it writes makes a picture
sh tests/twin/train.sh "$PY" || ok=1
[ $ok = 0 ] && echo "twin: all of it within the bars" || echo "twin: NOT all of it within the bars"
exit $ok
